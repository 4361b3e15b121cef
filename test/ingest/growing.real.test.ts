import { mkdtempSync, rmSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { avro, defineLake, open, protobuf, t, table, tumbling, type Lake } from '../../src/index.ts'
import { systemClock } from '../../src/clock.ts'
import { openStorage } from '../../src/lake/storage/open.ts'
import { openTable } from '../../src/lake/table.ts'
import type { StoreSettings } from '../../src/settings.ts'
import { ReaderProcess } from '../interop/readers.ts'
import { startKafka, type TestKafka } from '../support/kafka.ts'
import { until } from '../support/processes.ts'
import { framed, RegistryServer } from '../support/registry-server.ts'
import { avscType, type Json } from './decode/avro-arbitrary.ts'

// A table whose columns are those of the registry's schemas, with real Kafka, lanes and files.

const LIMIT_MS = 60_000
const TOPIC = 'shop.orders'
let kafka: TestKafka
let registry: RegistryServer
let folder: string
let lake: Lake
const ends = [0n, 0n]

const record = (...fields: readonly (readonly [string, Json])[]): Json => ({
  type: 'record',
  name: 'Order',
  fields: fields.map(([name, type]) => ({ name, type })),
})
const address = (...fields: readonly (readonly [string, Json])[]): Json => ({
  type: 'record',
  name: 'Address',
  fields: fields.map(([name, type]) => ({ name, type })),
})
const V1 = record(['id', 'string'], ['amount', 'int'], ['to', address(['city', 'string'])])
const V2 = record(
  ['id', 'string'],
  ['amount', 'long'],
  ['to', address(['city', 'string'], ['zip', ['null', 'int']])],
  ['tags', { type: 'array', items: 'string' }],
)
const V3 = record(['id', 'string'], ['note', ['null', 'string']])
/** Its note is no column, whatever those of others are. */
const SEVERAL = record(['id', 'string'], ['note', ['null', 'int', 'string']])

const fed = (options: Parameters<typeof avro>[0]) =>
  table('fed', {
    from: { topic: TOPIC, value: avro(options) },
    columns: { id: t.string() },
    evolve: 'add-widen',
    eventTime: { column: '_timestamp', outOfOrderness: '5s' },
  })

const start = (options: Parameters<typeof avro>[0] = {}) =>
  open(
    defineLake({
      shop: [
        table('orders', { from: { topic: TOPIC, value: avro(options) } }),
        table('messages', { from: { topic: 'shop.messages', value: protobuf() } }),
        fed(options),
        tumbling('by_id', fed(options), { size: '1m', groupBy: ['id'], select: { n: 'count()' } }),
        table('latest', {
          from: { topic: TOPIC, value: avro(options), key: 'string' },
          columns: { id: t.string().required() },
          evolve: 'add-widen',
          key: ['id'],
        }),
      ],
    }),
    {
      kafka: { brokers: kafka.brokers },
      store: `file:${folder}/lake`,
      registry: { url: registry.url, cacheDir: `${folder}/schemas` },
      commit: { minInterval: '100ms', microBatch: { age: '50ms' } },
      lanes: 2,
    },
    { acceptCode: true },
  )

beforeAll(async () => {
  folder = mkdtempSync(path.join(os.tmpdir(), 'kappalake-growing-'))
  ;[kafka, registry] = await Promise.all([startKafka(), RegistryServer.start()])
  await kafka.createTopic(TOPIC, 2)
  await kafka.createTopic('shop.messages', 1)
}, 120_000)
afterAll(async () => {
  await lake?.close()
  await Promise.all([kafka?.stop(), registry?.close()])
  rmSync(folder, { recursive: true, force: true })
})

async function produce(partition: 0 | 1, id: number, schema: Json, ...values: readonly unknown[]): Promise<void> {
  const records = values.map((value) => ({
    key: undefined,
    timestampMs: 1_760_000_000_000,
    value: framed(id, avscType(schema).toBuffer(value)),
  }))
  await kafka.produce(TOPIC, partition, records)
  ends[partition]! += BigInt(values.length)
}

async function caughtUp(): Promise<void> {
  for (const [partition, end] of ends.entries())
    if (end > 0n) await lake.waitFor('orders', { partition, offset: end - 1n })
}

test('begins with the newest schema of the subject, and grows with what comes', { timeout: LIMIT_MS }, async () => {
  const v1 = registry.add('shop.orders-value', V1)
  lake = await start()
  await produce(0, v1, V1, { id: 'a', amount: 1, to: { city: 'Bern' } })
  await caughtUp()
  expect(await lake.sql('SELECT * EXCLUDE (_timestamp) FROM orders')).toEqual([
    { id: 'a', amount: 1, to: { city: 'Bern' }, _extra: null, _kafka_partition: 0, _offset: 0n },
  ])
  const several = registry.add('shop.orders-value', SEVERAL)
  await produce(1, several, SEVERAL, { id: 'y', note: { string: 'before' } })
  await caughtUp()
  const [v2, v3] = [registry.add('shop.orders-value', V2), registry.add('shop.orders-value', V3)]
  await produce(1, v2, V2, { id: 'b', amount: 2n ** 40n, to: { city: 'Rom', zip: { int: 7 } }, tags: ['x'] })
  await produce(0, v1, V1, { id: 'c', amount: 3, to: { city: 'Oslo' } })
  await produce(1, v3, V3, { id: 'd', note: { string: 'n' } })
  await produce(1, several, SEVERAL, { id: 'z', note: { string: 'after' } })
  await caughtUp()
  const rows = await lake.sql('SELECT id, amount, "to", tags, note FROM orders ORDER BY id')
  expect(rows).toEqual([
    { id: 'a', amount: 1n, to: { city: 'Bern', zip: null }, tags: null, note: null },
    { id: 'b', amount: 2n ** 40n, to: { city: 'Rom', zip: 7 }, tags: ['x'], note: null },
    { id: 'c', amount: 3n, to: { city: 'Oslo', zip: null }, tags: null, note: null },
    { id: 'd', amount: null, to: null, tags: null, note: 'n' },
    { id: 'y', amount: null, to: null, tags: null, note: null },
    { id: 'z', amount: null, to: null, tags: null, note: null },
  ])
  expect(await lake.sql('SELECT _extra FROM orders WHERE _extra IS NOT NULL ORDER BY id')).toEqual([
    { _extra: '{"note":"before"}' },
    { _extra: '{"note":"after"}' },
  ])
  expect(await lake.sql('SELECT id, amount, "to", tags, note FROM latest ORDER BY id')).toEqual(rows)
})

test('a schema that does not fit holds its partition; others go on', { timeout: LIMIT_MS }, async () => {
  const V4 = record(['id', 'string'], ['amount', 'string'])
  const v4 = registry.add('shop.orders-value', V4)
  const v1 = registry.add('shop.orders-value', V1)
  await produce(0, v1, V1, { id: 'e', amount: 5, to: { city: 'Ulm' } })
  const before = ends[0]!
  await produce(0, v4, V4, { id: 'f', amount: 'six' })
  await produce(0, v1, V1, { id: 'g', amount: 7, to: { city: 'Jena' } })
  await produce(1, v1, V1, { id: 'h', amount: 8, to: { city: 'Graz' } })
  const [pipeline] = lake.pipelines
  const held = () => pipeline!.status().partitions.find(({ partition }) => partition === `${TOPIC}/0`)?.held
  await until('held', () => held()?.reason.message.includes('version 5') === true, LIMIT_MS)
  expect(held()).toMatchObject({
    offset: before,
    reason: {
      code: 'schema.incompatible',
      message: expect.stringContaining('amount: the table has long, the schema string'),
    },
  })
  await lake.waitFor('orders', { partition: 1, offset: ends[1]! - 1n })
  await lake.waitFor('orders', { partition: 0, offset: before - 1n })
  await expect(lake.waitFor('orders', { partition: 0, offset: before })).rejects.toMatchObject({
    code: 'pipeline.stopped',
    context: { reason: 'schema.incompatible' },
  })
  const ids = async () =>
    (await lake.sql<{ id: string }>('SELECT id FROM orders ORDER BY id')).map(({ id }) => id).join('')
  expect(await ids()).toBe('abcdehyz')
  const answer = await lake.http().request('/v1/pipelines/shop', { headers: { host: 'localhost' } })
  expect(await answer.json()).toMatchObject({
    state: 'running',
    partitions: expect.arrayContaining([
      expect.objectContaining({ partition: `${TOPIC}/0`, held: expect.objectContaining({ offset: String(before) }) }),
      expect.objectContaining({ partition: `${TOPIC}/1`, held: null }),
    ]),
  })
  // A replay comes as far as the pipeline, and waits at the same record.
  const replay = await lake.replay('shop', { tables: ['orders'] })
  const waits = await until(
    'ready',
    async () => {
      const { progress, error } = await replay.status()
      return progress?.phase === 'ready' && error !== null ? error : undefined
    },
    LIMIT_MS,
  )
  expect(waits).toMatchObject({
    code: 'schema.incompatible',
    message: expect.stringContaining(`${TOPIC}/0 waits at offset ${before}`),
  })
  expect(await replay.difference()).toMatchObject({ isEmpty: true })
  await replay.cancel()
  await until('cancelled', async () => (await replay.status()).state === 'cancelled', LIMIT_MS)
  // Tried again, it waits again; so it does after a restart.
  await pipeline!.resume()
  await until('held again', () => held() !== undefined, LIMIT_MS)
  await lake.close()
  lake = await start({ onIncompatible: 'dead-letter' })
  await caughtUp()
  expect(await ids()).toBe('abcdeghyz')
  expect(await lake.sql('SELECT _offset, code FROM orders__dlq')).toEqual([
    { _offset: before, code: 'schema.incompatible' },
  ])
})

test('a table of messages grows with its .proto files', { timeout: LIMIT_MS }, async () => {
  const type = { type: 'PROTOBUF' }
  const one = registry.add('shop.messages-value', 'syntax = "proto3"; message M { string id = 1; int32 n = 2; }', type)
  const two = registry.add(
    'shop.messages-value',
    'syntax = "proto3"; message M { string id = 1; int64 n = 2; In inner = 3; } message In { int32 x = 1; }',
    type,
  )
  const values = [
    framed(one, Buffer.of(0, 0x0a, 1, 0x61, 0x10, 5)),
    framed(two, Buffer.of(0, 0x0a, 1, 0x62, 0x10, 6, 0x1a, 2, 0x08, 7)),
  ]
  await kafka.produce(
    'shop.messages',
    0,
    values.map((value) => ({ key: undefined, timestampMs: 1_760_000_000_000, value })),
  )
  await lake.waitFor('messages', { partition: 0, offset: 1n })
  expect(await lake.sql('SELECT id, n, "inner" FROM messages ORDER BY id')).toEqual([
    { id: 'a', n: 5n, inner: null },
    { id: 'b', n: 6n, inner: { x: 7 } },
  ])
})

test('windows over it count all rows', { timeout: LIMIT_MS }, async () => {
  expect(await lake.sql('SELECT sum(n)::BIGINT AS n FROM by_id')).toEqual(
    await lake.sql('SELECT count(*) AS n FROM fed'),
  )
  expect(await lake.sql('SELECT count(*) AS n FROM fed WHERE tags IS NOT NULL')).toEqual([{ n: 1n }])
})

test('a rebuilt table is the same', { timeout: LIMIT_MS }, async () => {
  const replay = await lake.replay('shop', { mode: 'verify' })
  expect(await replay.difference()).toMatchObject({ isEmpty: true })
})

test('PyIceberg reads it', { timeout: LIMIT_MS }, async () => {
  const storage = await openStorage({ url: `file:${folder}/lake` } as StoreSettings, systemClock)
  const reader = new ReaderProcess('pyiceberg')
  try {
    const { metadata } = lake.pipelines[0]!.status().head!.tables['orders']!
    const { schema } = await openTable(storage, metadata)
    const job = { predicates: [], snapshots: [], lineage: false, key: 'id', fields: schema.fields, table: 'orders' }
    const { error, rows } = await reader.ask({ ...job, metadata: `${storage.url}/${metadata}` })
    expect(error).toBeUndefined()
    const seen = rows.map(({ id, amount, to, tags }) => JSON.stringify({ id, amount, to, tags }))
    expect(seen.toSorted()).toEqual([
      '{"id":"a","amount":"1","to":{"city":"Bern","zip":null},"tags":null}',
      '{"id":"b","amount":"1099511627776","to":{"city":"Rom","zip":7},"tags":["x"]}',
      '{"id":"c","amount":"3","to":{"city":"Oslo","zip":null},"tags":null}',
      '{"id":"d","amount":null,"to":null,"tags":null}',
      '{"id":"e","amount":"5","to":{"city":"Ulm","zip":null},"tags":null}',
      '{"id":"g","amount":"7","to":{"city":"Jena","zip":null},"tags":null}',
      '{"id":"h","amount":"8","to":{"city":"Graz","zip":null},"tags":null}',
      '{"id":"y","amount":null,"to":null,"tags":null}',
      '{"id":"z","amount":null,"to":null,"tags":null}',
    ])
  } finally {
    await reader.close()
    await storage.close()
  }
})
