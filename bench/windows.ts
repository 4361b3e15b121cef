import { mkdtemp, rm } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { DuckDBInstance, type DuckDBConnection } from '@duckdb/node-api'
import { systemClock } from '../src/clock.ts'
import { lateTable, stateTable } from '../src/define-window.ts'
import { table, tumbling } from '../src/define.ts'
import { tableColumns } from '../src/ingest/decode/columns.ts'
import { lateColumns, partialColumns, resultColumns } from '../src/window/columns.ts'
import { openWindowFold } from '../src/ingest/window/fold.ts'
import { partialsSql } from '../src/window/long-rows.ts'
import { shapeOf } from '../src/ingest/window/shape.ts'
import { openStorage } from '../src/lake/storage/open.ts'
import { createTable, writePlan, type Storage, type WritePlan } from '../src/lake/table.ts'
import type { Column } from '../src/batch.ts'
import { rounded } from './support/figures.mjs'

const GROUPS = 1_000_000
const BATCH_ROWS = 100_000
/** Groups that have a row in a micro-batch. */
const TOUCHED = [20_000, 100_000]
const ROUNDS = 15
const MERGE_MS_MAX = 100

const orders = table('orders', {
  from: { topic: 'orders' },
  columns: { customer_id: 'long', amount: 'long', event_time: 'timestamptz(ms)' },
  eventTime: { column: 'event_time' },
})
// Nothing is written while it is open: what is measured is the merge.
const revenue = tumbling('revenue', orders, {
  size: '1d',
  input: 'events',
  emit: 'close',
  groupBy: ['customer_id'],
  select: ({ count, sum }) => ({ order_count: count(), total_amount: sum('amount') }),
})
const shape = shapeOf(revenue, orders)

/**
 * How long a micro-batch takes to be merged into a million open groups, of which it touches a fiftieth, others each time;
 * and where each of its rows is of another group, for which there is no bar.
 */
export async function measureMerge() {
  const folder = await mkdtemp(path.join(os.tmpdir(), 'kappalake-bench-'))
  const storage = await openStorage({ url: `file://${folder}/store` }, systemClock)
  const instance = await DuckDBInstance.create(':memory:')
  const connection = await instance.connect()
  const fold = await openWindowFold({ windows: [revenue], tables: [orders], storage, clock: systemClock })
  try {
    const plans = {
      results: await planOf(storage, revenue.name, resultColumns(shape)),
      state: await planOf(storage, stateTable(revenue.name), partialColumns(shape)),
      late: await planOf(storage, lateTable(revenue.name), lateColumns(tableColumns(orders))),
    }
    await fold.load(revenue.name, { results: [], state: [], watermarkMs: undefined })
    const merge = async (from: number, groups: number): Promise<{ readonly ms: number; readonly cpuMs: number }> => {
      const file = path.join(folder, `${systemClock.uuid()}.parquet`)
      await writeBatch(connection, file, from, groups)
      const startedMs = performance.now()
      const before = process.cpuUsage()
      const standing = { watermarkMs: undefined, clockMsMin: undefined, nowMs: startedMs, isLast: false }
      await fold.fold(revenue.name, { head: undefined, partials: [file], ...standing, ...plans })
      const { user, system } = process.cpuUsage(before)
      return { ms: performance.now() - startedMs, cpuMs: (user + system) / 1_000 }
    }
    for (let from = 0; from < GROUPS; from += BATCH_ROWS) await merge(from, BATCH_ROWS)
    const figures = []
    for (const touched of TOUCHED) {
      const times: Awaited<ReturnType<typeof merge>>[] = []
      for (let round = 0; round < ROUNDS; round++) times.push(await merge((round * touched) % GROUPS, touched))
      figures.push(mergeFigure(touched, times))
    }
    return figures
  } finally {
    await fold.close()
    connection.closeSync()
    instance.closeSync()
    await storage.close()
    await rm(folder, { recursive: true, force: true })
  }
}

function mergeFigure(touched: number, times: readonly { readonly ms: number; readonly cpuMs: number }[]) {
  const middleOf = (list: readonly number[]): number => list.toSorted((a, b) => a - b)[ROUNDS >> 1]!
  const middle = middleOf(times.map(({ ms }) => ms))
  const isJudged = touched < BATCH_ROWS
  return {
    name: `windows.merge.${touched}`,
    value: rounded(middle),
    unit: 'ms',
    target: isJudged ? `< ${MERGE_MS_MAX}` : 'none',
    ratio: rounded(middle / MERGE_MS_MAX),
    peer: { name: 'the bar', value: MERGE_MS_MAX },
    pass: !isJudged || middle < MERGE_MS_MAX,
    // On a busy machine it is the time of the processor that says something.
    detail: { cpuMs: rounded(middleOf(times.map(({ cpuMs }) => cpuMs))), rounds: times.map(({ ms }) => rounded(ms)) },
  }
}

async function planOf(storage: Storage, name: string, columns: readonly Column[]): Promise<WritePlan> {
  return writePlan(await createTable(storage, { name, columns, partitionBy: [], formatVersion: 3 }, systemClock))
}

/** What a lane makes of a micro-batch of the customers `from`, `from + 1`, …, spread over all of them. */
async function writeBatch(connection: DuckDBConnection, file: string, from: number, groups: number): Promise<void> {
  // A prime, so that the groups of one micro-batch do not lie beside each other.
  const customer = `((range % ${groups} + ${from}) * 7919) % ${GROUPS}`
  const rows = `(SELECT ${customer} AS customer_id, range % 1000 AS amount, 0::BIGINT AS "__start",
    86400000::BIGINT AS "__end", 1000::BIGINT AS "__event_ms", 0 AS _kafka_partition, range AS _offset FROM range(${BATCH_ROWS}))`
  await connection.run(`COPY (${partialsSql(shape, 'events', rows)}) TO '${file}' (FORMAT parquet)`)
}
