import { mkdtempSync, rmSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { DuckDBInstance } from '@duckdb/node-api'
import { systemClock } from '../src/clock.ts'
import { table } from '../src/define.ts'
import { readRecords } from '../src/ingest/change-records.ts'
import { openEncoder } from '../src/ingest/encoder.ts'
import type { ChangesRequest } from '../src/ingest/keys.ts'
import { openTableWork } from '../src/ingest/table-work.ts'
import { LocalStorage } from '../src/lake/storage/local.ts'
import { DeletedRows } from '../src/lake/table.ts'
import { batchOf, tablePlan } from '../test/support/lake-table.ts'
import { orders } from './orders.ts'

// What it costs to make records of a topic out of stored rows: in a lane, which reads and prints them, and in the main
// process, which hands them to the producer. The peer is DuckDB, which prints the same rows as JSON of its own. One JSON
// line a figure.

const RECORDS = Number(process.env['RECORDS'] ?? 200_000)
const ROUNDS = 3
const BATCH = 5_000

const folder = mkdtempSync(path.join(os.tmpdir(), 'kappalake-bench-'))
const storage = await LocalStorage.open(folder)
const definition = table('orders', {
  from: { topic: 'shop.orders' },
  columns: {
    order_id: 'string required',
    customer_id: 'string',
    amount: 'double',
    event_time: 'timestamptz(ms)',
    status: 'string',
  },
})
const plan = tablePlan(definition)
const stream = orders()
const encoder = await openEncoder({ tables: [definition], storage, clock: systemClock })
const batches = Array.from({ length: RECORDS / BATCH }, (_, k) =>
  batchOf(
    Array.from({ length: BATCH }, () => ({ value: stream.next().value, timestampMs: 1_760_000_500_000 })),
    { first: BigInt(k * BATCH) },
  ),
)
const { files } = await encoder.encode(plan, batches, new Set())
await encoder.close()
const after = files.map((file) => ({ file, deleted: new DeletedRows(file.recordCount) }))

const work = await openTableWork({ tables: [], storage, clock: systemClock })
const peer = await best(peerCost)
const whole = { before: [], after, key: undefined, where: undefined }
const isRight = [
  figure('a lane, in the order of the source', 14, await best(() => laneCost(whole))),
  figure('a lane, by key', 14, await best(() => laneCost({ ...whole, key: ['order_id'] }))),
  figure('the main process', 8, await best(mainCost)),
].every(Boolean)
await work.close()
await storage.close()
rmSync(folder, { recursive: true, force: true })
process.exitCode = isRight ? 0 : 1

async function laneCost(request: ChangesRequest): Promise<number> {
  return cost(async () => {
    const { path: file, count } = await work.changes(plan.data, request)
    if (count !== RECORDS) throw new Error('rows are missing')
    rmSync(file!)
  })
}

async function mainCost(): Promise<number> {
  const { path: file } = await work.changes(plan.data, whole)
  const headers = { 'kappalake.table': 'orders', 'kappalake.version': '7' }
  const spent = await cost(async () => {
    let count = 0
    for await (const records of readRecords(file!, headers, {})) count += records.length
    if (count !== RECORDS) throw new Error('records are missing')
  })
  rmSync(file!)
  return spent
}

async function peerCost(): Promise<number> {
  const connection = await (await DuckDBInstance.create(':memory:', { threads: '1' })).connect()
  const paths = files.map(({ key }) => `'${folder}/${key}'`).join(', ')
  const to = path.join(folder, 'peer.ndjson')
  const spent = await cost(async () => {
    await connection.run(
      `COPY (FROM read_parquet([${paths}]) ORDER BY _kafka_partition, _offset) TO '${to}' (FORMAT json)`,
    )
  })
  rmSync(to)
  connection.closeSync()
  return spent
}

async function best(round: () => Promise<number>): Promise<number> {
  let least = Infinity
  for (let k = 0; k < ROUNDS; k++) least = Math.min(least, await round())
  return least
}

/** CPU seconds for a million rows. */
async function cost(run: () => Promise<void>): Promise<number> {
  const before = process.cpuUsage()
  await run()
  const { user, system } = process.cpuUsage(before)
  return (user + system) / RECORDS
}

function figure(name: string, target: number, value: number): boolean {
  const pass = value <= target
  console.log(
    JSON.stringify({
      name: `publish: ${name}`,
      value: Number(value.toFixed(2)),
      unit: 'CPU s per million rows',
      target: `<= ${target}`,
      ratio: Number((value / peer).toFixed(2)),
      peer: "DuckDB's own COPY to JSON",
      pass,
    }),
  )
  return pass
}
