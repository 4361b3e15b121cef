import type { PartitionId } from '../log.ts'
import type { Clocks } from '../version.ts'
import type { Staged } from './lane.ts'

/** The clocks of one table; none when no record of it had an event time. A table may be called `constructor`. */
export function clocksOf(clocksMs: Clocks, table: string): Clocks[string]
export function clocksOf(clocksMs: Clocks | undefined, table: string): Clocks[string] | undefined
export function clocksOf(clocksMs: Clocks | undefined, table: string): Clocks[string] | undefined {
  if (clocksMs === undefined) return undefined
  return Object.hasOwn(clocksMs, table) ? clocksMs[table] : {}
}

/** The clocks behind a micro-batch: they never go back. A table of which no record had an event time stays without any. */
export function advancedBy({ tables }: Pick<Staged, 'tables'>, clocksMs: Clocks): Clocks {
  const after: Record<string, Record<PartitionId, number>> = Object.fromEntries(Object.entries(clocksMs))
  for (const { table, counts } of tables) {
    let clocks: Record<PartitionId, number> | undefined
    for (const [partition, { clockMs }] of counts) {
      if (clockMs === undefined) continue
      clocks ??= { ...clocksOf(after, table) }
      clocks[partition] = Math.max(clocks[partition] ?? -Infinity, clockMs)
    }
    if (clocks !== undefined) after[table] = clocks
  }
  return after
}
