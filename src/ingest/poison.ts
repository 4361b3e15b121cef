import { LakeError } from '../error.ts'
import type { PartitionId } from '../log.ts'
import type { Staged, StagedCounts } from './lane.ts'

/** Records of one partition over which the share of failures is judged. */
const WINDOW_RECORDS = 1_000
const FAILED_SHARE_MAX = 0.5

/**
 * Stops a pipeline whose records fail by the thousand: then the definition is wrong, not the records, and a topic
 * must not drain into the dead letters.
 */
export class PoisonGuard {
  readonly #windows = new Map<string, { records: number; failed: number }>()

  /** Throws `decode.too_many_dead_letters` when more than half of the last thousand records of a partition failed. */
  check(staged: Staged): void {
    for (const { table, counts } of staged.tables)
      for (const [partition, count] of counts) this.#count(table, partition, count)
  }

  #count(table: string, partition: PartitionId, count: StagedCounts): void {
    const key = `${table} ${partition}`
    const window = this.#windows.get(key) ?? { records: 0, failed: 0 }
    const failed = count.deadLetters + count.skipped
    window.records += count.rows + count.tombstones + (count.filtered ?? 0) + failed
    window.failed += failed
    this.#windows.set(key, window)
    if (window.records < WINDOW_RECORDS) return
    if (window.failed > window.records * FAILED_SHARE_MAX)
      throw new LakeError(
        'decode.too_many_dead_letters',
        `${table}: ${window.failed} of the last ${window.records} records of ${partition} could not be read`,
        {
          context: { table, partition, failed: window.failed, records: window.records },
          fix: `Compare the columns of ${table} with the records of ${partition}; the last of them were not committed.`,
        },
      )
    this.#windows.delete(key)
  }
}
