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
import { boundedShop, shopSettings, trustStore } from '../support/shop-store.ts'

const LIMIT_MS = 120_000
const key = makeKey('engine', ['query:*'])
const http = { host: '127.0.0.1', port: 0, keys: [key.entry] }
const folder = mkdtempSync(path.join(os.tmpdir(), 'kappalake-catalog-'))
const cache = path.resolve(import.meta.dirname, '../..', process.env['KAPPALAKE_CACHE'] ?? '.cache')
let lake: Lake
let server: Listening

beforeAll(async () => {
  const store = { url: `file:${folder}/lake` }
  await trustStore(store)
  const settings = { ...shopSettings(store, boundedShop(300), folder), lanes: 1, http }
  lake = await open(shopDefinition, settings)
  await lake.pipelines[0]!.flush()
  server = await listen(lake.http(), http)
}, LIMIT_MS)

afterAll(async () => {
  await server.close()
  await lake.close()
  rmSync(folder, { recursive: true, force: true })
})

const ask = (route: string, init: RequestInit = {}) =>
  fetch(`${server.url}/iceberg${route}`, {
    ...init,
    headers: { authorization: `Bearer ${key.text}`, ...(init.headers as Record<string, string>) },
  })

test(
  'PyIceberg and DuckDB find the tables of a pipeline in the catalog, and read its rows',
  { timeout: LIMIT_MS },
  async () => {
    const python = path.join(cache, 'python/bin/python')
    expect(existsSync(python), `${python} is missing: run \`npm run setup\``).toBe(true)
    const script = path.join(import.meta.dirname, 'python/read_catalog.py')
    const { stdout } = await promisify(execFile)(python, [script, `${server.url}/iceberg`, key.text])
    const seen = JSON.parse(stdout) as Record<'pyiceberg' | 'duckdb', Record<string, [number, number | null]>> & {
      refusals: string[]
    }
    const expected: Record<string, [number, number | null]> = {}
    for (const name of lake.pipelines[0]!.status().tables) {
      const [row] = await lake.sql<{ n: bigint; s: bigint }>(
        `SELECT count(*) AS n, coalesce(sum(_offset), 0)::BIGINT AS s FROM "${name}"`,
      )
      expected[`shop.${name}`] = [Number(row!.n), Number(row!.s)]
    }
    expect(Object.values(expected).some(([rows]) => rows > 250)).toBe(true)
    expect(seen.pyiceberg).toEqual(expected)
    expect(seen.duckdb).toEqual(expected)
    expect(seen.refusals).toEqual([
      'NoSuchTableError',
      'NoSuchTableError',
      'UnauthorizedError',
      expect.not.stringMatching('done'),
    ])
  },
)

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
    const version = lake.pipelines[0]!.status().head!
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
