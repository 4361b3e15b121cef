import { mkdtempSync, rmSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { avro, defineLake, open, protobuf, t, table, type Lake } from '../../src/index.ts'
import { startKafka, type TestKafka } from '../support/kafka.ts'
import { until } from '../support/processes.ts'
import { framed, RegistryServer } from '../support/registry-server.ts'
import { avscType, type Json } from './decode/avro-arbitrary.ts'

const LIMIT_MS = 60_000
const TOPIC = 'shop.orders'
let kafka: TestKafka
let registry: RegistryServer
let folder: string
let lake: Lake
let offset = 0n

beforeAll(async () => {
  folder = mkdtempSync(path.join(os.tmpdir(), 'kappalake-avro-'))
  ;[kafka, registry] = await Promise.all([startKafka(), RegistryServer.start()])
  await kafka.createTopic(TOPIC, 1)
  await kafka.createTopic('shop.sums', 1)
  const orders = table('orders', {
    from: { topic: TOPIC, value: avro(), key: 'avro' },
    columns: { id: t.string(), amount: t.long(), status: t.enum('created', 'paid') },
    key: ['id'],
  })
  const sums = table('sums', {
    from: { topic: 'shop.sums', value: protobuf(), key: protobuf() },
    columns: { id: t.long(), region: t.string(), n: t.long() },
    key: ['region', 'id'],
  })
  lake = await open(
    defineLake({ shop: [orders, sums] }),
    {
      kafka: { brokers: kafka.brokers },
      store: `file:${folder}/lake`,
      registry: { url: registry.url, cacheDir: `${folder}/schemas` },
      commit: { minInterval: '100ms', microBatch: { age: '50ms' } },
      lanes: 1,
    },
    {},
  )
}, 120_000)
afterAll(async () => {
  await lake?.close()
  await Promise.all([kafka?.stop(), registry?.close()])
  rmSync(folder, { recursive: true, force: true })
})

const record = (...fields: readonly (readonly [string, Json])[]): Json => ({
  type: 'record',
  name: 'Order',
  fields: fields.map(([name, type]) => ({ name, type })),
})
const STATUS = { type: 'enum', name: 'Status', symbols: ['created', 'paid', 'lost'] }
const V1 = record(['id', 'string'], ['amount', 'int'], ['status', STATUS])
const V2 = record(['note', ['null', 'string']], ['status', STATUS], ['amount', 'long'], ['id', 'string'])

/** Written as a producer with the schema under this id does. */
async function produce(id: number, schema: Json, ...values: readonly unknown[]): Promise<void> {
  await send(values.map((value) => ({ value: framed(id, avscType(schema).toBuffer(value)) })))
}

async function send(records: readonly { key?: Buffer; value?: Buffer }[]): Promise<void> {
  await kafka.produce(
    TOPIC,
    0,
    records.map(({ key, value }) => ({ timestampMs: 1_760_000_000_000, key, value })),
  )
  offset += BigInt(records.length)
}

const caughtUp = () => lake.waitFor('orders', { partition: 0, offset: offset - 1n })
const rows = () => lake.sql('SELECT id, amount, status, _extra FROM orders ORDER BY id')

test(
  'records of several schemas fill one table, and null values find their rows by keys in Avro',
  { timeout: LIMIT_MS },
  async () => {
    const [v1, v2] = [registry.add('orders-value', V1), registry.add('orders-value', V2)]
    const key = registry.add('orders-key', '"string"')
    await produce(v1, V1, { id: 'a', amount: 1, status: 'created' }, { id: 'b', amount: 2, status: 'created' })
    await produce(v2, V2, { id: 'a', amount: 2n ** 60n, status: 'paid', note: { string: 'new' } })
    await produce(v1, V1, { id: 'c', amount: 3, status: 'lost' })
    await send([{ key: framed(key, avscType('string').toBuffer('b')) }, { value: Buffer.from('{"id":"d"}') }])
    await caughtUp()
    expect(await rows()).toEqual([{ id: 'a', amount: 2n ** 60n, status: 'paid', _extra: '{"note":"new"}' }])
    const dead = await lake.sql('SELECT _offset, code FROM orders__dlq ORDER BY _offset')
    expect(dead).toEqual([
      { _offset: 3n, code: 'decode.range' },
      { _offset: 5n, code: 'decode.avro' },
    ])
  },
)

test('keys that are messages of a registry find the rows of theirs', { timeout: LIMIT_MS }, async () => {
  const type = { type: 'PROTOBUF' }
  const ofValue = registry.add(
    'shop.sums-value',
    'syntax = "proto3"; message Sum { int64 id = 1; string region = 2; int64 n = 3; }',
    type,
  )
  const ofKey = registry.add('shop.sums-key', 'syntax = "proto3"; message K { int64 id = 1; string region = 2; }', type)
  const message = (...bytes: number[]) => Buffer.of(0, ...bytes)
  const key = (id: number) => framed(ofKey, message(0x08, id, 0x12, 1, 0x61))
  const row = (id: number, n: number) => framed(ofValue, message(0x08, id, 0x12, 1, 0x61, 0x18, n))
  const records = [
    { key: key(1), value: row(1, 5) },
    { key: key(2), value: row(2, 6) },
    { key: key(1), value: undefined },
    // Of another schema than that of the key.
    { key: framed(ofValue, message(0x08, 2)), value: undefined },
    { key: Buffer.from('2'), value: undefined },
  ]
  await kafka.produce(
    'shop.sums',
    0,
    records.map((each) => ({ ...each, timestampMs: 1_760_000_000_000 })),
  )
  await lake.waitFor('sums', { partition: 0, offset: 4n })
  expect(await lake.sql('SELECT id, region, n FROM sums')).toEqual([{ id: 2n, region: 'a', n: 6n }])
  expect(await lake.sql('SELECT _offset, code FROM sums__dlq')).toEqual([{ _offset: 4n, code: 'key.unmappable' }])
})

test('a registry that is away is waited for: nothing is judged, nothing is lost', { timeout: LIMIT_MS }, async () => {
  const V3 = record(['id', 'string'], ['amount', 'long'])
  const v3 = registry.add('orders-value', V3)
  registry.mood = 'error'
  await produce(v3, V3, { id: 'e', amount: 5n })
  const [pipeline] = lake.pipelines
  await until('waiting', () => pipeline!.status().reason?.code === 'registry.unavailable', LIMIT_MS)
  expect(pipeline!.status().state).toBe('waiting')
  registry.mood = 'well'
  await caughtUp()
  expect(await rows()).toEqual([
    expect.objectContaining({ id: 'a' }),
    { id: 'e', amount: 5n, status: null, _extra: null },
  ])
})

test('an id that stays unknown is a dead letter', { timeout: LIMIT_MS }, async () => {
  await produce(9_999, V1, { id: 'f', amount: 1, status: 'paid' })
  await caughtUp()
  expect(await lake.sql`SELECT code FROM orders__dlq WHERE _offset = ${offset - 1n}`).toEqual([
    { code: 'schema.unknown' },
  ])
})

test('a schema that does not fit holds its partition before any of its records', { timeout: LIMIT_MS }, async () => {
  const V4 = record(['id', 'string'], ['amount', 'string'])
  await produce(registry.add('orders-value', V4), V4, { id: 'g', amount: 'five' })
  const [pipeline] = lake.pipelines
  await until('held', () => pipeline!.status().partitions[0]?.held !== undefined, LIMIT_MS)
  expect(pipeline!.status()).toMatchObject({ state: 'running', reason: { code: 'schema.incompatible' } })
  expect(pipeline!.status().partitions[0]!.held?.reason).toMatchObject({
    code: 'schema.incompatible',
    message: expect.stringContaining('amount: the column is of type long, the schema has a string'),
  })
  expect(await rows()).toHaveLength(2)
})
