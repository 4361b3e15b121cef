import { appendFileSync, mkdtempSync, rmSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { Hono } from 'hono'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startTrino, type TrinoServer } from '../../infra/trino.mjs'
import { systemClock } from '../../src/clock.ts'
import { defineLake, open, table, tumbling, type Lake } from '../../src/index.ts'
import { shopDefinition } from '../../src/ingest/shop-ledger.ts'
import type { Chain } from '../../src/lake/chain.ts'
import { LocalStorage } from '../../src/lake/storage/local.ts'
import { openAccess } from '../../src/server/access.ts'
import type { ServerDoor } from '../../src/server/door.ts'
import { listen, type Listening } from '../../src/server/listen.ts'
import { restCatalog } from '../../src/server/rest-catalog.ts'
import type { StoreSettings } from '../../src/settings.ts'
import { makeKey } from '../server/fake-door.ts'
import { startS3, storeOn, type S3Server } from '../support/s3-server.ts'
import { boundedShop, shopSettings, trustStore } from '../support/shop-store.ts'
import { PLANS, writeTables, type Written } from './tables.ts'
import { answered, ofTrino, textOf } from './trino-value.ts'
import { canonical } from './value.ts'

// Trino, which reads tables by a catalog alone: the tables of ../tables.ts cell by cell, and a running lake's on disk and
// on S3. It is large and slow to start: only where it is asked for (`npm run interop -- --trino`).

const LIMIT_MS = 300_000
const key = makeKey('engine', ['query:*'])
const http = { host: '127.0.0.1', port: 0, keys: [key.entry] }
const folder = mkdtempSync(path.join(os.tmpdir(), 'kappalake-trino-'))
const closing: (() => Promise<unknown>)[] = []
let written: ReadonlyMap<string, Written>
let lakes: Readonly<Record<'disk' | 's3', { readonly lake: Lake; readonly server: Listening }>>
let trino: TrinoServer

/** What Trino says of a table with deletion vectors. */
const VECTORS = 'Unexpected PUFFIN file format'
const REWRITTEN = ['orders', 'views_by_customer']
/** What else it refuses: truncating the least decimal of a type gives one of more digits, as it does in Java. */
const FAULTS: Readonly<Record<string, string>> = { encoded_parts: 'decimal precision larger than column precision' }

const page = {
  from: { topic: 'shop.page_views' },
  eventTime: { column: 'at', unit: 'ms', outOfOrderness: '5s' },
} as const
const before = table('page_views', {
  ...page,
  columns: { viewId: 'uuid required', path: 'string', durationMs: 'int', at: 'long required' },
})
const views = table('page_views', {
  ...page,
  columns: {
    viewId: 'uuid required',
    customerId: 'string',
    path: 'string',
    durationMs: 'int',
    bytes: 'long',
    at: 'long required',
  },
})
const byCustomer = tumbling('views_by_customer', views, {
  size: '1m',
  groupBy: ['customerId'],
  nullGroup: 'keep',
  select: { n: 'count()', total: 'sum(bytes)' },
})

describe.runIf(process.env['KAPPALAKE_TRINO'] === '1')('Trino', () => {
  beforeAll(async () => {
    const s3 = await startS3()
    closing.push(() => s3.stop())
    const tables = await servedTables()
    lakes = { disk: await served('disk', { url: `file:${folder}/disk` }), s3: await served('s3', storeOn(s3, 'trino')) }
    trino = await startTrino({
      catalogs: {
        tables: catalogOf(tables),
        disk: catalogOf(lakes.disk.server),
        s3: { ...catalogOf(lakes.s3.server), ...storeOf(s3) },
      },
    })
    closing.push(() => trino.stop())
  }, LIMIT_MS)

  describe.each(PLANS.map(({ name, steps }) => [name, steps !== undefined] as const))('%s', (name, isKeyed) => {
    const all = () => trino.query(`SELECT * FROM tables.lab."${name}"`)
    const fault = FAULTS[name] ?? (isKeyed ? VECTORS : undefined)

    test.runIf(fault !== undefined)('is refused', { timeout: LIMIT_MS }, async () => {
      await expect(all()).rejects.toThrow(fault)
    })

    test.runIf(fault === undefined)('is read cell by cell', { timeout: LIMIT_MS }, async () => {
      const [one, found] = [written.get(name)!, await all()]
      const { fields } = one.table.schema
      expect(found.columns).toEqual(fields.map((field) => field.name.toLowerCase()))
      const rows = found.rows.map((row) => fields.map(({ type }, index) => ofTrino(type, row[index])))
      const want = one.rows.map((row) => fields.map((field) => canonical(field.type, row[field.name]!)))
      expect(sorted(rows)).toEqual(sorted(want))
      count(rows.length * fields.length)
    })
  })

  describe.each(['disk', 's3'] as const)('a lake on %s', (kind) => {
    const tables = () => lakes[kind].lake.pipelines[0]!.status().tables

    test('shows its tables, and none can be dropped', { timeout: LIMIT_MS }, async () => {
      const { rows } = await trino.query(`SHOW TABLES FROM ${kind}.shop`)
      expect(rows.flat().toSorted()).toEqual(tables().toSorted())
      await expect(trino.query(`DROP TABLE ${kind}.shop.page_views`)).rejects.toThrow('does not support endpoint')
    })

    test('has the rows that our own queries find', { timeout: LIMIT_MS }, async () => {
      const names = tables().filter((name) => !REWRITTEN.includes(name) && !name.endsWith('__state'))
      expect(names).toContain('views_by_customer__late')
      for (const name of names) {
        const ours = await answered(lakes[kind].server.url, key.text, `SELECT * FROM "${name}"`)
        const { rows } = await trino.query(`SELECT * FROM ${kind}.shop."${name}"`)
        expect([name, sorted(rows.map(textOf))]).toEqual([name, sorted(ours.map(textOf))])
        count(rows.flat().length)
      }
    })

    test('has grown a column, which is null in the first rows', { timeout: LIMIT_MS }, async () => {
      const counts = 'count(*), count(bytes), count(durationms)'
      const { rows } = await trino.query(`SELECT ${counts} FROM ${kind}.shop.page_views`)
      const [all, grown, old] = rows[0]!.map(Number)
      expect([grown! > 0, grown! < old!, old! <= all!]).toEqual([true, true, true])
    })

    test.each(REWRITTEN)('%s, whose rows are replaced, is refused', { timeout: LIMIT_MS }, async (name) => {
      await expect(trino.query(`SELECT * FROM ${kind}.shop.${name}`)).rejects.toThrow(VECTORS)
    })
  })
})

afterAll(async () => {
  for (const close of closing.toReversed()) await close()
  rmSync(folder, { recursive: true, force: true })
})

/** The tables of ./tables.ts as a pipeline has them. */
async function servedTables(): Promise<Listening> {
  const all = await writeTables(`${folder}/tables`)
  written = new Map(all.map((one) => [one.table.name, one]))
  const tables = Object.fromEntries(all.map(({ table: { name, metadata } }) => [name, { metadata }]))
  const storage = await LocalStorage.open(`${folder}/tables`)
  closing.push(() => storage.close())
  const chains = new Map([['lab', { head: async () => ({ tables }) } as unknown as Chain]])
  const door = { storage, chains, settings: { store: { url: storage.url } } } as unknown as ServerDoor
  const app = new Hono().route('/iceberg', restCatalog(door, openAccess(http, systemClock)))
  const server = await listen(app, http)
  closing.push(() => server.close())
  return server
}

/** A lake that has grown columns: they are null in its first rows. */
async function served(name: string, store: StoreSettings) {
  await trustStore(store)
  const { tables } = shopDefinition.pipelines[0]!
  const others = tables.filter((each) => each.name !== 'page_views')
  const shop = boundedShop(150)
  const settings = (more: number) => ({
    ...shopSettings(store, { ...shop, untilMs: shop.epochMs + more * 1_000 }, path.join(folder, `${name}-work`)),
    lanes: 1,
    http,
  })
  const first = await open(defineLake({ shop: [...others, before] }), settings(0))
  await first.pipelines[0]!.flush()
  await first.close()
  const lake = await open(defineLake({ shop: [...others, views, byCustomer] }), settings(600), { acceptCode: true })
  closing.push(() => lake.close())
  await lake.pipelines[0]!.flush()
  const server = await listen(lake.http(), http)
  closing.push(() => server.close())
  return { lake, server }
}

function catalogOf({ url }: Listening): Record<string, string> {
  return {
    'connector.name': 'iceberg',
    'iceberg.catalog.type': 'rest',
    'iceberg.rest-catalog.uri': `${url}/iceberg`,
    'iceberg.rest-catalog.security': 'OAUTH2',
    'iceberg.rest-catalog.oauth2.token': key.text,
    'iceberg.rest-catalog.oauth2.token-refresh-enabled': 'false',
    'fs.hadoop.enabled': 'true',
  }
}

/** Trino does not take from a catalog where the store is. */
function storeOf({ settings }: S3Server): Record<string, string> {
  return {
    'fs.native-s3.enabled': 'true',
    's3.endpoint': settings.endpoint,
    's3.region': settings.region!,
    's3.path-style-access': 'true',
    's3.aws-access-key': settings.accessKeyId!,
    's3.aws-secret-key': settings.secretAccessKey!,
  }
}

function sorted(rows: readonly unknown[]): readonly string[] {
  return rows.map((row) => JSON.stringify(row)).toSorted()
}

/** Figures for `npm run interop`, one JSON line each. */
function count(value: number): void {
  const file = process.env['KAPPALAKE_FIGURES']
  if (file !== undefined) appendFileSync(file, `${JSON.stringify({ what: 'cells', reader: 'trino', value })}\n`)
}
