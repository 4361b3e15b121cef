import { mkdtempSync, rmSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
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

// What a record costs in CPU time: JSON to columns, and on to a Parquet file on disk. The peer is JSON.parse and a look
// at every property, in the same process and on the same bytes. One JSON line a figure.

const RECORDS = 150_000
const ROUNDS = 7
const BATCH = 5_000
const string = { kind: 'string' } as const

const table: TableDefinition = definition({
  columns: [
    { name: 'order_id', type: string, required: true },
    { name: 'customer_id', type: string },
    { name: 'amount', type: { kind: 'double' } },
    { name: 'event_time', type: { kind: 'timestamptz', unit: 'ms' } },
    { name: 'status', type: string },
    {
      name: 'address',
      type: { kind: 'struct', fields: ['street', 'city', 'zip', 'country'].map((name) => ({ name, type: string })) },
    },
  ],
  unknown: 'extra',
  eventTime: {
    column: 'event_time',
    unit: 'ms',
    outOfOrdernessMs: 5_000,
    idleAfterMs: 30_000,
    maxFutureSkewMs: 300_000,
  },
})

const stream = orders()
const batches = Array.from({ length: RECORDS / BATCH }, (_, k) =>
  batchOf(
    Array.from({ length: BATCH }, () => ({ value: stream.next().value, timestampMs: 1_760_000_500_000 })),
    { first: BigInt(k * BATCH) },
  ),
)

const peer = await cpuPerMillion(async () => parseAll(batches))
const native = new NativeText()
const pool = new SlabPool()
const decoder = new TableDecoder(table, native, pool)
const decode = await cpuPerMillion(async () => {
  for (const slab of decoder.decode(batches, new Set()).rows) pool.give(slab)
  native.clear()
})

const folder = mkdtempSync(path.join(os.tmpdir(), 'kappalake-bench-'))
const storage = await LocalStorage.open(folder)
const encoder = await openEncoder({ tables: [table], storage, clock: systemClock })
const encode = await cpuPerMillion(async () => {
  const staged = await encoder.encode(tablePlan(table), batches, new Set())
  if (staged.counts.get('shop.orders/0')?.rows !== RECORDS) throw new Error('records are missing')
})
await encoder.close()
await storage.close()
rmSync(folder, { recursive: true, force: true })

const passes = [
  figure('json decoder', decode, 0.6, peer),
  figure('json decoder and parquet encoder', encode, 1.5, peer),
].every(Boolean)
process.exitCode = passes ? 0 : 1

function figure(name: string, value: number, target: number, other: number): boolean {
  const ratio = other / value
  const line = {
    name,
    value,
    unit: 'CPU-s per million records',
    target,
    ratio,
    peer: 'JSON.parse',
    pass: value <= target,
  }
  process.stdout.write(
    `${JSON.stringify({ ...line, value: Number(value.toFixed(3)), ratio: Number(ratio.toFixed(2)) })}\n`,
  )
  return line.pass
}

/** Median over the rounds after the first two, in which code is still being compiled. */
async function cpuPerMillion(work: () => Promise<void>): Promise<number> {
  const costs: number[] = []
  for (let round = 0; round < ROUNDS; round++) {
    const before = process.cpuUsage()
    await work()
    const { user, system } = process.cpuUsage(before)
    costs.push((user + system) / RECORDS)
  }
  return costs.slice(2).sort((a, b) => a - b)[Math.floor((ROUNDS - 2) / 2)]!
}

function parseAll(list: readonly RecordBatch[]): void {
  let sum = 0
  for (const { buffer, valueRanges, count } of list) {
    const bytes = Buffer.from(buffer.buffer, buffer.byteOffset, buffer.length)
    for (let i = 0; i < count; i++) {
      const order = JSON.parse(bytes.toString('utf8', valueRanges[2 * i], valueRanges[2 * i + 1])) as Order
      sum += order.order_id.length + order.customer_id.length + order.amount + order.event_time + order.status.length
      const { address } = order
      if (address !== undefined)
        sum += address.street.length + address.city.length + address.zip.length + address.country.length
    }
  }
  if (Number.isNaN(sum)) throw new Error('a property was missing')
}

interface Order {
  readonly order_id: string
  readonly customer_id: string
  readonly amount: number
  readonly event_time: number
  readonly status: string
  readonly address?: { readonly street: string; readonly city: string; readonly zip: string; readonly country: string }
}
