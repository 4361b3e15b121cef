import { mkdtempSync, rmSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { systemClock } from '../src/clock.ts'
import { table, type TableOptions } from '../src/define.ts'
import { openEncoder } from '../src/ingest/encoder.ts'
import { LocalStorage } from '../src/lake/storage/local.ts'
import { batchOf, tablePlan } from '../test/support/lake-table.ts'
import { ReferenceTable } from '../test/support/reference-table.ts'
import { orders } from './orders.ts'

// What transforms add to the CPU time of a record on its way to a Parquet file on disk. The peer is the same table
// without any, in the same process and on the same bytes. One JSON line a figure.

const RECORDS = 100_000
const ROUNDS = 5
const BATCH = 5_000
const RANGES = 10_000
const SALT = 'a salt of more than sixteen characters'

const stream = orders()
const batches = Array.from({ length: RECORDS / BATCH }, (_, k) =>
  batchOf(
    Array.from({ length: BATCH }, () => ({ value: stream.next().value, timestampMs: 1_760_000_500_000 })),
    { first: BigInt(k * BATCH) },
  ),
)
const folder = mkdtempSync(path.join(os.tmpdir(), 'kappalake-bench-'))
const storage = await LocalStorage.open(folder)
const ranges = new ReferenceTable(storage, 'ranges', { first: 'double', last: 'double', band: 'string' })
const { number: at } = await ranges.add(
  Array.from({ length: RANGES }, (_, k) => ({ first: k / 10, last: k / 10 + 0.09, band: `band ${k}` })),
)

const COLUMNS = {
  order_id: 'string required',
  customer_id: 'string',
  amount: 'double',
  event_time: 'timestamptz(ms)',
  status: 'string',
}
const plain = await cost({})
const isRight = [
  figure(
    'where and a computed column',
    0.6,
    await cost({ where: `status <> 'none'` }, { loud: 'string = upper(status)' }),
  ),
  figure('mask and drop', 0.3, await cost({ redact: { status: 'mask', address: 'drop' } })),
  figure('hash', 2, await cost({ redact: { customer_id: { hash: 'people' } } })),
  figure(
    'look-up by range',
    3,
    await cost(
      {
        lookup: {
          of: {
            table: 'ranges',
            at: String(at),
            between: { value: 'amount', from: 'first', to: 'last' },
            select: ['band'],
          },
        },
      },
      { band: 'string = "of".band' },
    ),
  ),
  figure('function', 15, await cost({ map: (row) => ({ ...row, status: String(row['status']).toUpperCase() }) })),
].every(Boolean)
await storage.close()
rmSync(folder, { recursive: true, force: true })
process.exitCode = isRight ? 0 : 1

/** CPU seconds for a million records, the least of some rounds. */
async function cost(options: Partial<TableOptions>, computed: Readonly<Record<string, string>> = {}): Promise<number> {
  const definition = table('orders', {
    ...options,
    from: { topic: 'shop.orders' },
    columns: { ...COLUMNS, ...computed },
  } as TableOptions)
  const encoder = await openEncoder({ tables: [definition], storage, clock: systemClock, salts: { people: SALT } })
  let best = Infinity
  for (let round = 0; round < ROUNDS; round++) {
    const before = process.cpuUsage()
    const staged = await encoder.encode(tablePlan(definition), batches, new Set())
    const { user, system } = process.cpuUsage(before)
    if (staged.counts.get('shop.orders/0')?.rows !== RECORDS) throw new Error('records are missing')
    best = Math.min(best, (user + system) / RECORDS)
  }
  await encoder.close()
  return best
}

/** `target`: what it may add to the plain table, in CPU seconds for a million records. */
function figure(name: string, target: number, value: number): boolean {
  const added = value - plain
  const pass = added <= target
  console.log(
    JSON.stringify({
      name: `transform: ${name}`,
      value: Number(added.toFixed(2)),
      unit: 'CPU s per million records, added',
      target: `<= ${target}`,
      ratio: Number((value / plain).toFixed(2)),
      peer: 'the same table without it',
      pass,
    }),
  )
  return pass
}
