import { stat } from 'node:fs/promises'
import path from 'node:path'
import type { Hono } from 'hono'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { systemClock } from '../../src/clock.ts'
import { defineLake, table } from '../../src/define.ts'
import { deadLetterColumns } from '../../src/ingest/decode/columns.ts'
import { appendFiles, createTable, openTable } from '../../src/lake/table.ts'
import type { Engine } from '../../src/query/engine.ts'
import { createApp } from '../../src/server/app.ts'
import { createMetrics } from '../../src/server/metrics.ts'
import { writeParquet } from '../query/support.ts'
import { makeLake, openLakeEngine, settings, type TestLake } from './support.ts'

// Pages of dead letters of several tables, one of which was made before there were clocks.

let lake: TestLake
let engine: Engine
let app: Hono
const of = (name: string) => table(name, { from: { topic: `shop.${name}` }, columns: { id: 'long' } })
const definition = defineLake({ shop: [of('orders'), of('clicks')] })
const OLD = deadLetterColumns.filter(({ name }) => name !== '_clock')

beforeAll(async () => {
  lake = await makeLake({ shop: ['orders', 'clicks'] })
  await lake.commit('shop', 1)
  await addLetters('orders', deadLetterColumns, 5)
  await addLetters('clicks', OLD, 2)
  engine = await openLakeEngine(lake)
  app = createApp({
    ...lake,
    engine,
    definition,
    settings,
    metrics: createMetrics(),
    clock: systemClock,
    pipelines: [],
  })
})
afterAll(async () => {
  await engine.close()
  await lake.close()
})

/** Offsets 0 to `rows`, in partitions 0 and 1; the last one is resolved. */
async function addLetters(of: string, columns: typeof deadLetterColumns, rows: number): Promise<void> {
  const { storage, folder } = lake
  const name = `${of}__dlq`
  const empty = await createTable(storage, { name, columns, partitionBy: [], formatVersion: 3 }, systemClock)
  const local = path.join(folder, `${name}.parquet`)
  const fields = empty.schema.fields.map(({ id, name }) => ({ fieldId: id, name, type: '' }))
  const clock = columns.length === OLD.length ? '' : `, TIMESTAMPTZ '2026-01-01 00:00:00Z' AS _clock`
  await writeParquet(
    local,
    fields,
    `SELECT 'shop.${of}' AS _topic, (range % 2)::INTEGER AS _kafka_partition, range::BIGINT AS _offset,
NULL::TIMESTAMPTZ AS _timestamp, NULL::BLOB AS key, 'v'::BLOB AS value,
[{'key': 'h', 'value': 'x'::BLOB}] AS headers, 'decode' AS stage,
CASE WHEN range = 0 THEN 'decode.json' ELSE 'decode.type' END AS code, 'm' AS message, 'c' AS code_hash,
CASE WHEN range = ${rows - 1} THEN 'resolved' ELSE 'pending' END AS status, range::INTEGER AS attempts${clock} FROM range(${rows})`,
  )
  const key = `tables/${name}/data/${systemClock.uuid()}.parquet`
  const fileSizeBytes = (await stat(local)).size
  await storage.putFile(key, local)
  const file = { key, fileSizeBytes, recordCount: rows, partition: [], metrics: new Map() }
  const chain = lake.chains.get('shop')!
  const head = (await chain.head())!
  const commitId = systemClock.uuid()
  const build = async () => {
    const stamp = { commitId, version: head.number + 1n, ranges: '' }
    const opened = await openTable(storage, empty.metadata)
    const { metadata, snapshot } = await appendFiles(storage, opened, [file], stamp, systemClock)
    return { ...head, tables: { ...head.tables, [name]: { metadata, snapshot, code: 'c' } } }
  }
  expect((await chain.append(head, { commitId, build })).kind).toBe('committed')
}

async function list(query: string) {
  const response = await app.request(`/v1/dlq/shop${query}`, { headers: { host: 'localhost' } })
  return { status: response.status, body: (await response.json()) as any }
}

const placesOf = (items: readonly any[]) => items.map((each) => `${each.table} ${each.partition}@${each.offset}`)
const ALL = ['clicks 0@0', 'clicks 1@1', 'orders 0@0', 'orders 0@2', 'orders 0@4', 'orders 1@1', 'orders 1@3']

test('pages go on where the one before ended, in the order of tables, partitions and offsets', async () => {
  const places: string[] = []
  let cursor = ''
  for (let pages = 0; pages < 10; pages++) {
    const { body } = await list(`?limit=3${cursor}`)
    places.push(...placesOf(body.items))
    if (body.nextCursor === null) break
    cursor = `&cursor=${body.nextCursor}`
  }
  expect(places).toEqual(ALL)
})

test('a dead letter is told as it is', async () => {
  const { body } = await list('?table=orders&from=2&until=3')
  expect(body).toEqual({
    items: [
      {
        table: 'orders',
        topic: 'shop.orders',
        partition: 0,
        offset: '2',
        timestamp: null,
        clock: '2026-01-01T00:00:00.000000Z',
        key: null,
        value: 'dg==',
        headers: [{ key: 'h', value: 'eA==' }],
        stage: 'decode',
        code: 'decode.type',
        message: 'm',
        codeHash: 'c',
        status: 'pending',
        attempts: 2,
      },
    ],
    nextCursor: null,
  })
  const old = await list('?table=clicks&status=resolved&bytes=none')
  expect(old.body.items).toMatchObject([{ offset: '1', clock: null, value: null, headers: [] }])
})

test.each([
  ['?code=decode.json', ['clicks 0@0', 'orders 0@0']],
  ['?partition=1', ['clicks 1@1', 'orders 1@1', 'orders 1@3']],
  ['?status=resolved', ['clicks 1@1', 'orders 0@4']],
  ['?stage=transform', []],
])('%s', async (query, places) => {
  expect(placesOf((await list(query)).body.items)).toEqual(places)
})
