import avsc from 'avsc'
import { parseAvro } from '../src/avro-schema.ts'
import type { TableDefinition } from '../src/define.ts'
import { NativeText } from '../src/ingest/decode/native-text.ts'
import { SlabPool } from '../src/ingest/decode/slab.ts'
import { TableDecoder } from '../src/ingest/decode/table-decoder.ts'
import type { RecordBatch } from '../src/log.ts'
import { batchOf, definition } from '../test/support/lake-table.ts'
import { orders } from './orders.ts'

// What a record costs in CPU time from Avro, with the id of a schema in front, to columns. The peer is our own decoder of
// JSON, in the same process and on the same rows. One JSON line a figure.

const RECORDS = 150_000
const ROUNDS = 9
const BATCH = 5_000
/** How many times the rate of JSON. */
const BAR = 1.3
const ID = 42

const string = { kind: 'string' } as const
const columns: TableDefinition['columns'] = [
  { name: 'order_id', type: string, required: true },
  { name: 'customer_id', type: string },
  { name: 'amount', type: { kind: 'double' } },
  { name: 'event_time', type: { kind: 'timestamptz', unit: 'ms' } },
  { name: 'status', type: string },
  {
    name: 'address',
    type: { kind: 'struct', fields: ['street', 'city', 'zip', 'country'].map((name) => ({ name, type: string })) },
  },
]
const eventTime = {
  column: 'event_time',
  unit: 'ms',
  outOfOrdernessMs: 5_000,
  idleAfterMs: 30_000,
  maxFutureSkewMs: 300_000,
} as const
const texts = ['street', 'city', 'zip', 'country'].map((name) => ({ name, type: 'string' as const }))
const schema: avsc.Schema = {
  type: 'record',
  name: 'Order',
  fields: [
    { name: 'order_id', type: 'string' },
    { name: 'customer_id', type: 'string' },
    { name: 'amount', type: 'double' },
    { name: 'event_time', type: { type: 'long', logicalType: 'timestamp-millis' } },
    { name: 'status', type: 'string' },
    { name: 'address', type: ['null', { type: 'record', name: 'Address', fields: texts }] },
  ],
}

const type = avsc.Type.forSchema(schema, { wrapUnions: false })
const frame = Buffer.from([0, 0, 0, 0, ID])
const stream = orders()
const rows = Array.from({ length: RECORDS }, () => stream.next().value)
const json = batchesOf(rows)
const avro = batchesOf(
  rows.map((row) => {
    const order = JSON.parse(row) as Record<string, unknown>
    return Buffer.concat([frame, type.toBuffer({ address: null, ...order })])
  }),
)

const pool = new SlabPool()
const native = new NativeText()
const common = { columns, eventTime, unknown: 'extra' } as const
const readers = [
  { decoder: new TableDecoder(definition(common), native, pool), batches: json },
  {
    decoder: new TableDecoder(
      definition({ ...common, value: 'avro', avro: { schema: undefined, onIncompatible: 'stop' } }),
      native,
      pool,
      { schemas: new Map([[ID, { kind: 'schema', schema: parseAvro(schema) }]]) },
    ),
    batches: avro,
  },
]

// In turns, so that whatever else the machine does falls on both.
const costs: number[][] = readers.map(() => [])
for (let round = 0; round < ROUNDS; round++)
  for (const [k, { decoder, batches }] of readers.entries()) {
    const before = process.cpuUsage()
    const decoded = decoder.decode(batches, new Set())
    const { user, system } = process.cpuUsage(before)
    if (decoded.counts.get('shop.orders/0')?.rows !== RECORDS) throw new Error('records are missing')
    for (const slab of decoded.rows) pool.give(slab)
    native.clear()
    // In the first two rounds code is still being compiled.
    if (round >= 2) costs[k]!.push((user + system) / RECORDS)
  }
const [peer, value] = costs.map((list) => list.toSorted((a, b) => a - b)[Math.floor(list.length / 2)]!) as [
  number,
  number,
]
const pass = peer / value >= BAR
process.stdout.write(
  `${JSON.stringify({
    name: 'avro decoder',
    value: Number(value.toFixed(3)),
    unit: 'CPU-s per million records',
    ratio: Number((peer / value).toFixed(2)),
    target: BAR,
    peer: 'our JSON decoder, same rows',
    pass,
  })}\n`,
)
process.exitCode = pass ? 0 : 1

function batchesOf(values: readonly (string | Uint8Array)[]): readonly RecordBatch[] {
  return Array.from({ length: RECORDS / BATCH }, (_, k) =>
    batchOf(
      values.slice(k * BATCH, (k + 1) * BATCH).map((value) => ({ value, timestampMs: 1_760_000_500_000 })),
      { first: BigInt(k * BATCH) },
    ),
  )
}
