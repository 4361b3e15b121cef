import { mkdtempSync, rmSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import avsc from 'avsc'
import { parseAvro } from '../src/avro-schema.ts'
import { systemClock } from '../src/clock.ts'
import type { TableDefinition } from '../src/define.ts'
import { NativeText } from '../src/ingest/decode/native-text.ts'
import { SlabPool } from '../src/ingest/decode/slab.ts'
import { TableDecoder } from '../src/ingest/decode/table-decoder.ts'
import { openEncoder } from '../src/ingest/encoder.ts'
import { LocalStorage } from '../src/lake/storage/local.ts'
import type { RecordBatch } from '../src/log.ts'
import { batchOf, definition, tablePlan } from '../test/support/lake-table.ts'
import { orders } from './orders.ts'

// What a record costs in CPU time from Avro, with the id of a schema in front: to columns, and on to a Parquet file. The
// peer is the same way from JSON, in the same process and on the same rows. One JSON line a figure.

const RECORDS = 150_000
const ROUNDS = 9
const BATCH = 5_000
/** How many times the rate of JSON. */
const BAR = 1.3
/** On to a file: encoding, the larger part, costs the same whatever the values were. See docs/performance.md. */
const BAR_TO_FILE = 1.1
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

const common = { columns, eventTime, unknown: 'extra' } as const
const inAvro = definition({ ...common, value: 'avro', avro: { schema: undefined, onIncompatible: 'stop' } })
const entry = { kind: 'schema', schema: parseAvro(schema) } as const
const formats = [
  { table: definition(common), batches: json },
  { table: inAvro, batches: avro },
]

const pool = new SlabPool()
const native = new NativeText()
const decoders = formats.map(({ table, batches }) => {
  const decoder = new TableDecoder(table, native, pool, { schemas: new Map([[ID, entry]]) })
  return async () => {
    const { rows, counts } = decoder.decode(batches, new Set())
    check(counts)
    for (const slab of rows) pool.give(slab)
    native.clear()
  }
})
const decoded = figure('avro decoder', await cpuPerMillion(decoders), BAR)

const folder = mkdtempSync(path.join(os.tmpdir(), 'kappalake-bench-'))
const storage = await LocalStorage.open(folder)
const tables = formats.map(({ table }) => table)
const registry = { schema: async () => entry }
const encoders = await Promise.all(
  tables.map((table) => openEncoder({ tables: [table], storage, clock: systemClock, registry })),
)
const encoded = figure(
  'avro decoder and parquet encoder',
  await cpuPerMillion(
    encoders.map((encoder, k) => async () => {
      check((await encoder.encode(tablePlan(tables[k]!), formats[k]!.batches, new Set())).counts)
    }),
  ),
  BAR_TO_FILE,
)
for (const encoder of encoders) await encoder.close()
await storage.close()
rmSync(folder, { recursive: true, force: true })
process.exitCode = decoded && encoded ? 0 : 1

/** Medians of JSON and of Avro, which take turns, so that whatever else the machine does falls on both. */
async function cpuPerMillion(ways: readonly (() => Promise<void>)[]): Promise<readonly [number, number]> {
  const costs: number[][] = ways.map(() => [])
  for (let round = 0; round < ROUNDS; round++)
    for (const [k, way] of ways.entries()) {
      const before = process.cpuUsage()
      await way()
      const { user, system } = process.cpuUsage(before)
      // In the first two rounds code is still being compiled.
      if (round >= 2) costs[k]!.push((user + system) / RECORDS)
    }
  const [peer, value] = costs.map((list) => list.toSorted((a, b) => a - b)[Math.floor(list.length / 2)]!)
  return [peer!, value!]
}

function figure(name: string, [peer, value]: readonly [number, number], target: number): boolean {
  const pass = peer / value >= target
  const line = {
    name,
    value: Number(value.toFixed(3)),
    unit: 'CPU-s per million records',
    ratio: Number((peer / value).toFixed(2)),
    target,
    peer: 'the same from JSON',
    pass,
  }
  process.stdout.write(`${JSON.stringify(line)}\n`)
  return pass
}

function check(counts: ReadonlyMap<string, { readonly rows: number }>): void {
  if (counts.get('shop.orders/0')?.rows !== RECORDS) throw new Error('records are missing')
}

function batchesOf(values: readonly (string | Uint8Array)[]): readonly RecordBatch[] {
  return Array.from({ length: RECORDS / BATCH }, (_, k) =>
    batchOf(
      values.slice(k * BATCH, (k + 1) * BATCH).map((value) => ({ value, timestampMs: 1_760_000_500_000 })),
      { first: BigInt(k * BATCH) },
    ),
  )
}
