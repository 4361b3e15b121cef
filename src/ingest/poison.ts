import { LakeError } from '../error.ts'
import type { PartitionId } from '../log.ts'
import type { DeadLetterSettings } from '../settings.ts'
import type { Staged, StagedCounts } from './lane.ts'

const LIMITS: DeadLetterSettings = { shareMax: 0.5, records: 1_000 }

interface Counted {
  readonly records: number
  readonly failed: number
}

/**
 * Stops a pipeline whose records fail by the thousand: then the definition is wrong, not the records, and a topic
 * must not drain into the dead letters. Judged of each table and partition, over the micro-batches that its last thousand
 * records came in: a good past excuses nothing. It begins anew with each run, since whoever starts one has looked.
 */
export class PoisonGuard {
  readonly #limits: DeadLetterSettings
  /** The micro-batches behind the last `records` of each table and partition, and the counts of all of them. */
  readonly #recent = new Map<string, { readonly batches: Counted[]; records: number; failed: number }>()

  constructor(limits: DeadLetterSettings = LIMITS) {
    this.#limits = limits
  }

  /** Throws `decode.too_many_dead_letters` when too many of the last records of a partition failed. */
  check(staged: Staged): void {
    for (const { table, counts } of staged.tables)
      for (const [partition, count] of counts) this.#count(table, partition, count)
  }

  #count(table: string, partition: PartitionId, count: StagedCounts): void {
    const key = `${table} ${partition}`
    const failed = count.deadLetters + count.skipped
    const records = count.rows + count.tombstones + (count.filtered ?? 0) + failed
    if (records === 0) return
    const recent = this.#recent.get(key) ?? { batches: [], records: 0, failed: 0 }
    this.#recent.set(key, recent)
    recent.batches.push({ records, failed })
    recent.records += records
    recent.failed += failed
    // What lies behind the last thousand no longer counts.
    while (recent.records - recent.batches[0]!.records >= this.#limits.records) {
      const gone = recent.batches.shift()!
      recent.records -= gone.records
      recent.failed -= gone.failed
    }
    if (recent.records < this.#limits.records || recent.failed <= recent.records * this.#limits.shareMax) return
    throw new LakeError(
      'decode.too_many_dead_letters',
      `${table}: ${recent.failed} of the last ${recent.records} records of ${partition} could not be read`,
      {
        context: { table, partition, failed: recent.failed, records: recent.records },
        fix: `Compare the columns of ${table} with the records of ${partition}; the last of them were not committed.`,
      },
    )
  }
}
