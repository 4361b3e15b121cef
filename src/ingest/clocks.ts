import type { PartitionId } from '../log.ts'
import type { Clocks } from '../version.ts'
import type { Staged } from './lane.ts'

/** The clocks of one table; none when no record of it had an event time. A table may be called `constructor`. */
export function clocksOf(clocksMs: Clocks | undefined, table: string): Clocks[string] | undefined {
  if (clocksMs === undefined) return undefined
  return Object.hasOwn(clocksMs, table) ? clocksMs[table] : {}
}

/** The clocks behind a micro-batch: they never go back. */
export function advancedBy({ tables }: Pick<Staged, 'tables'>, clocksMs: Clocks): Clocks {
  const after: Record<string, Record<PartitionId, number>> = Object.fromEntries(Object.entries(clocksMs))
  for (const { table, counts } of tables) {
    const clocks = { ...clocksOf(after, table) }
    for (const [partition, { clockMs }] of counts)
      if (clockMs !== undefined) clocks[partition] = Math.max(clocks[partition] ?? -Infinity, clockMs)
    after[table] = clocks
  }
  return after
}
