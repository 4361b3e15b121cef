import { execFile } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { open, type Lake } from '../../src/index.ts'
import { shopDefinition } from '../../src/ingest/shop-ledger.ts'
import { listen, type Listening } from '../../src/server/listen.ts'
import { makeKey } from '../server/fake-door.ts'
import type { StoreSettings } from '../../src/settings.ts'
import { startS3, storeOn, type S3Server } from '../support/s3-server.ts'
import { boundedShop, shopSettings, trustStore } from '../support/shop-store.ts'
import { READERS } from './readers.ts'

const LIMIT_MS = 120_000
const key = makeKey('engine', ['query:*'])
const http = { host: '127.0.0.1', port: 0, keys: [key.entry] }
const folder = mkdtempSync(path.join(os.tmpdir(), 'kappalake-catalog-'))
const cache = path.resolve(import.meta.dirname, '../..', process.env['KAPPALAKE_CACHE'] ?? '.cache')
let s3: S3Server
let lakes: Readonly<Record<'disk' | 's3', { readonly lake: Lake; readonly server: Listening }>>

beforeAll(async () => {
  s3 = await startS3()
  const [disk, onS3] = [
    await served('disk', { url: `file:${folder}/lake` }),
    await served('s3', storeOn(s3, 'catalog')),
  ]
  lakes = { disk, s3: onS3 }
}, LIMIT_MS)

afterAll(async () => {
  for (const { server, lake } of Object.values(lakes ?? {})) {
    await server.close()
    await lake.close()
  }
  await s3?.stop()
  rmSync(folder, { recursive: true, force: true })
})

async function served(name: string, store: StoreSettings) {
  await trustStore(store)
  const settings = { ...shopSettings(store, boundedShop(300), path.join(folder, name)), lanes: 1, http }
  const lake = await open(shopDefinition, settings)
  await lake.pipelines[0]!.flush()
  return { lake, server: await listen(lake.http(), http) }
}

const ask = (route: string, init: RequestInit = {}) =>
  fetch(`${lakes.disk.server.url}/iceberg${route}`, {
    ...init,
    headers: { authorization: `Bearer ${key.text}`, ...(init.headers as Record<string, string>) },
  })

/** By table, its rows and the sum of their offsets. */
type Seen = Record<string, [number, number | null]>

describe.each(['disk', 's3'] as const)('a lake on %s', (kind) => {
  /** What a reader has of its own: the catalog hands out no keys. */
  const own = () => {
    const { accessKeyId, secretAccessKey, endpoint } = s3.settings
    return JSON.stringify(kind === 'disk' ? {} : { key: accessKeyId, secret: secretAccessKey, endpoint })
  }

  async function read(program: string, ...args: readonly string[]): Promise<unknown> {
    expect(existsSync(program), `${program} is missing: run \`npm run setup\``).toBe(true)
    const all = [...args, `${lakes[kind].server.url}/iceberg`, key.text, own()]
    // No credentials of the caller.
    const env = { PATH: process.env['PATH'], HOME: folder, PYTHONDONTWRITEBYTECODE: '1' }
    const { stdout } = await promisify(execFile)(program, all, { env })
    return JSON.parse(stdout)
  }

  async function expected(): Promise<Seen> {
    const { lake } = lakes[kind]
    const all: Seen = {}
    for (const name of lake.pipelines[0]!.status().tables) {
      const [row] = await lake.sql<{ n: bigint; s: bigint }>(
        `SELECT count(*) AS n, coalesce(sum(_offset), 0)::BIGINT AS s FROM "${name}"`,
      )
      all[`shop.${name}`] = [Number(row!.n), Number(row!.s)]
    }
    expect(Object.values(all).some(([rows]) => rows > 250)).toBe(true)
    return all
  }

  test(
    'PyIceberg and DuckDB find the tables of a pipeline in the catalog, and read its rows',
    { timeout: LIMIT_MS },
    async () => {
      const script = path.join(import.meta.dirname, 'python/read_catalog.py')
      const seen = (await read(path.join(cache, 'python/bin/python'), script)) as Record<'pyiceberg' | 'duckdb', Seen>
      expect(seen).toEqual({
        pyiceberg: await expected(),
        duckdb: await expected(),
        refusals: ['NoSuchTableError', 'NoSuchTableError', 'UnauthorizedError', expect.not.stringMatching('done')],
      })
    },
  )

  // Large and slow to start: only where it is asked for (`npm run interop -- --spark`).
  if (READERS.includes('spark'))
    test('Spark reads them too', { timeout: LIMIT_MS }, async () => {
      const script = path.join(import.meta.dirname, 'python/read_catalog_spark.py')
      const jars = ['spark', 'spark-s3'].map((part) => path.join(cache, part, 'jars/*.jar')).join(':')
      const seen = await read(path.join(cache, 'spark/bin/python'), script, jars)
      expect(seen).toEqual({ spark: await expected(), refusal: expect.not.stringMatching('done') })
    })
})

describe('answers', () => {
  test('config lists what is offered, and nothing that writes', async () => {
    const { endpoints } = (await (await ask('/v1/config')).json()) as { endpoints: string[] }
    expect(endpoints.filter((each) => /^(POST|DELETE|PUT)/.test(each))).toEqual([
      'POST /v1/{prefix}/namespaces/{namespace}/tables/{table}/metrics',
    ])
  })

  test('an unchanged table is not sent twice; ids are numbers of 64 bits', async () => {
    const first = await ask('/v1/namespaces/shop/tables/orders?snapshots=all')
    const text = await first.text()
    const etag = first.headers.get('etag')!
    const version = lakes.disk.lake.pipelines[0]!.status().head!
    expect(text).toContain(
      `"current-snapshot-id": ${version.tables['orders']!.snapshot}`.replaceAll(' ', text.includes('": ') ? ' ' : ''),
    )
    expect(
      (await ask('/v1/namespaces/shop/tables/orders?snapshots=all', { headers: { 'if-none-match': etag } })).status,
    ).toBe(304)
    const refs = await ask('/v1/namespaces/shop/tables/orders?snapshots=refs', { headers: { 'if-none-match': etag } })
    expect(refs.status).toBe(200)
    const all = JSON.parse(text).metadata.snapshots.length as number
    const named = JSON.parse(await refs.text()).metadata.snapshots.length as number
    expect(named).toBeGreaterThan(0)
    expect(named).toBeLessThan(all)
  })

  test.each([
    ['GET', '/v1/namespaces/nobody', 404, 'NoSuchNamespaceException'],
    ['GET', '/v1/namespaces?parent=nobody', 404, 'NoSuchNamespaceException'],
    ['GET', '/v1/namespaces/shop%1Forders/tables/snapshots', 404, 'NoSuchNamespaceException'],
    ['GET', '/v1/namespaces/shop/tables/nothing', 404, 'NoSuchTableException'],
    ['GET', '/v1/namespaces/shop/tables/constructor', 404, 'NoSuchTableException'],
    ['GET', '/v1/namespaces/shop/tables/orders?snapshots=none', 400, 'BadRequestException'],
    ['GET', '/v1/namespaces/shop/views/orders', 404, 'NoSuchViewException'],
    ['GET', '/v1/elsewhere', 404, 'NoSuchEndpointException'],
    ['DELETE', '/v1/namespaces/shop/tables/orders', 405, 'UnsupportedOperationException'],
    ['POST', '/v1/namespaces/shop/tables', 405, 'UnsupportedOperationException'],
  ])('%s %s: %i %s', async (method, route, status, type) => {
    const answer = await ask(route, {
      method,
      ...(method === 'POST' ? { body: '{}', headers: { 'content-type': 'application/json' } } : {}),
    })
    expect(answer.status).toBe(status)
    expect(await answer.json()).toEqual({ error: { message: expect.any(String), type, code: status } })
  })

  test.each([
    ['/v1/namespaces/shop', 204],
    ['/v1/namespaces/nobody', 404],
    ['/v1/namespaces/shop/tables/orders', 204],
    ['/v1/namespaces/shop/tables/nothing', 404],
  ])('HEAD %s: %i', async (route, status) => {
    expect((await ask(route, { method: 'HEAD' })).status).toBe(status)
  })

  test('a web page elsewhere gets nothing', async () => {
    const answer = await ask('/v1/config', { headers: { origin: 'https://elsewhere.example' } })
    expect(answer.status).toBe(403)
  })
})
