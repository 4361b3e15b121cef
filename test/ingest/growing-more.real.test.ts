import { mkdtempSync, rmSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { systemClock } from '../../src/clock.ts'
import { avro, defineLake, open, t, table, tumbling, type Lake } from '../../src/index.ts'
import { openKafka } from '../../src/ingest/kafka.ts'
import { startKafka, type TestKafka } from '../support/kafka.ts'
import { until } from '../support/processes.ts'
import { readTopic } from '../support/read-topic.ts'
import { framed, RegistryServer } from '../support/registry-server.ts'
import { avscType, type Json } from './decode/avro-arbitrary.ts'

// What else is done with a table that grows: it is published, its dead letters are retried, windows follow its rows.

const LIMIT_MS = 60_000
const TOPIC = 'shop.events'
let kafka: TestKafka
let registry: RegistryServer
let folder: string
let lake: Lake
let end = 0n

const record = (...fields: readonly (readonly [string, Json])[]): Json => ({
  type: 'record',
  name: 'Event',
  fields: fields.map(([name, type]) => ({ name, type })),
})
const V1 = record(['id', 'string'], ['n', 'int'])
/** Names that databases have for things of their own. */
const V2 = record(
  ['id', 'string'],
  ['n', 'long'],
  ['rowid', 'string'],
  ['file_row_number', 'int'],
  ['is_wanted', 'int'],
  ['f1', 'string'],
  ['s0', 'string'],
)
const V3 = record(['id', 'string'], ['n', 'int'], ['later', ['null', 'string']])

const columns = { id: t.string().required() }
const from = { topic: TOPIC, value: avro() }
const eventTime = { column: '_timestamp', outOfOrderness: '5s' } as const
const latest = table('latest', {
  from: { ...from, key: 'string' },
  columns,
  evolve: 'add-widen',
  key: ['id'],
  eventTime,
  to: { topic: 'latest-out' },
})
const events = table('events', {
  from,
  columns,
  evolve: 'add-widen',
  eventTime,
  to: { topic: 'events-out', key: ['id'], where: "id <> 'hidden'", select: { id: 'id', up: 'string = upper(id)' } },
})
const definition = defineLake({
  shop: [
    latest,
    events,
    table('whole', { from, to: { topic: 'whole-out' } }),
    tumbling('by_row', latest, { size: '1m', groupBy: ['id'], select: { n: 'count()' } }),
    tumbling('by_event', events, { size: '1m', groupBy: ['id'], select: { n: 'count()' } }),
  ],
})

beforeAll(async () => {
  folder = mkdtempSync(path.join(os.tmpdir(), 'kappalake-growing-'))
  ;[kafka, registry] = await Promise.all([startKafka(), RegistryServer.start()])
  for (const topic of [TOPIC, 'latest-out', 'events-out', 'whole-out']) await kafka.createTopic(topic, 1)
}, 120_000)
afterAll(async () => {
  await lake?.close()
  await Promise.all([kafka?.stop(), registry?.close()])
  rmSync(folder, { recursive: true, force: true })
})

async function produce(id: number, schema: Json, timestampMs: number, ...values: readonly unknown[]): Promise<void> {
  await kafka.produce(
    TOPIC,
    0,
    values.map((value) => ({ key: undefined, timestampMs, value: framed(id, avscType(schema).toBuffer(value)) })),
  )
  end += BigInt(values.length)
  await lake.waitFor('whole', { partition: 0, offset: end - 1n })
}

async function published(topic: string, count: number): Promise<unknown[]> {
  const source = openKafka({ brokers: kafka.brokers }, systemClock)
  try {
    let records: Awaited<ReturnType<typeof readTopic>> = []
    await until(
      `${count} of ${topic}`,
      async () => {
        records = await readTopic(source, topic)
        return records.length >= count
      },
      LIMIT_MS,
    )
    return records.map(({ value }) => {
      const { _timestamp: _, ...rest } = JSON.parse(value!)
      return rest
    })
  } finally {
    await source.close()
  }
}

const MS = 1_760_000_000_000

test('columns that come have any names, and are published', { timeout: LIMIT_MS }, async () => {
  const v1 = registry.add(`${TOPIC}-value`, V1)
  lake = await open(definition, {
    kafka: { brokers: kafka.brokers },
    store: `file:${folder}/lake`,
    registry: { url: registry.url, cacheDir: `${folder}/schemas` },
    commit: { minInterval: '100ms', microBatch: { age: '50ms' } },
    lanes: 1,
  })
  await produce(v1, V1, MS, { id: 'a', n: 1 }, { id: 'hidden', n: 2 })
  const v2 = registry.add(`${TOPIC}-value`, V2)
  const more = { rowid: 'r', file_row_number: 1, is_wanted: 0, f1: 'f', s0: 's' }
  await produce(v2, V2, MS, { id: 'b', n: 2n ** 40n, ...more }, { id: 'a', n: 3n, ...more })
  // Late, whole.
  await produce(v2, V2, MS + 600_000, { id: 'c', n: 4n, ...more })
  await produce(v2, V2, MS, { id: 'd', n: 5n, ...more })
  expect(await published('events-out', 5)).toEqual(
    ['A', 'B', 'A', 'C', 'D'].map((up) => ({ id: up.toLowerCase(), up })),
  )
  const whole = (await published('whole-out', 6)) as Record<string, unknown>[]
  expect(whole[0]).toEqual({ id: 'a', n: 1, _extra: null, _kafka_partition: 0, _offset: '0' })
  expect(whole[2]).toMatchObject({ id: 'b', n: String(2n ** 40n), ...more })
  const keyed = (await published('latest-out', 5)) as Record<string, unknown>[]
  expect(keyed.at(-1)).toMatchObject({ id: 'd', n: '5', ...more })
  const rows = (of: string) => lake.sql(`SELECT id, n::INT AS n FROM ${of} ORDER BY id`)
  await until('windows', async () => (await rows('by_row')).length === 4, LIMIT_MS)
  expect((await rows('by_row')).map(({ id, n }) => `${String(id)}${String(n)}`)).toEqual(['a1', 'b1', 'c1', 'hidden1'])
  expect((await rows('by_event')).map(({ id, n }) => `${String(id)}${String(n)}`)).toEqual([
    'a2',
    'b1',
    'c1',
    'hidden1',
  ])
  for (const of of ['by_row__late', 'by_event__late'])
    expect(await lake.sql(`SELECT id, _offset, _reason FROM ${of}`)).toEqual([
      { id: 'd', _offset: 5n, _reason: 'late' },
    ])
})

test('a dead letter that is retried brings a column', { timeout: LIMIT_MS }, async () => {
  // The next id of the registry, which it does not have yet.
  const next = registry.add('elsewhere', V1) + 1
  await produce(next, V3, MS + 600_000, { id: 'e', n: 6, later: { string: 'x' } })
  expect(await lake.sql('SELECT code FROM whole__dlq')).toEqual([{ code: 'schema.unknown' }])
  expect(registry.add(`${TOPIC}-value`, V3)).toBe(next)
  // An id that is unknown is asked for again after some seconds.
  let [job, resolved] = [0, 0]
  await until('resolved', async () => {
    await systemClock.sleep(2_000)
    const counts = await lake.pipelines[0]!.settle(`job-${job++}`, { kind: 'retry', pipeline: 'shop', where: {} })
    resolved += counts.resolved
    return resolved === 3
  })
  expect(await lake.sql("SELECT id, n, later FROM whole WHERE id = 'e'")).toEqual([{ id: 'e', n: 6n, later: 'x' }])
  expect(await lake.sql("SELECT id, n, later FROM latest WHERE id = 'e'")).toEqual([{ id: 'e', n: 6n, later: 'x' }])
  expect((await published('whole-out', 7)).at(-1)).toMatchObject({ id: 'e', later: 'x' })
})
