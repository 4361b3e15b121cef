import type { Clock } from '../clock.ts'
import type { Cursor, PartitionId, Positions } from '../log.ts'
import type { Clocks } from '../version.ts'
import { advancedBy } from './clocks.ts'
import type { Assignment, MicroBatchLimits, Staged, TablePlan } from './lane.ts'
import type { Span } from './lane-messages.ts'
import type { LaneTask } from './lanes.ts'

/** Records of a batch after the first, second, … death over it: down to the one that kills. */
const BISECT = [4_096, 256, 16, 1]

/**
 * What one lane has to do for one pipeline, kept where no lane can take it along when it dies: how far its batches
 * have come, and how often it died over the next one.
 */
export class LaneWork {
  isEnded = false
  /** Number of the assignment that the lane was last given; answers to an earlier one are dropped. */
  task = 0
  /** Deaths since the last batch. */
  deaths = 0
  readonly #cursors: Map<PartitionId, Cursor>
  readonly #tables: readonly TablePlan[]
  readonly #until: Positions | undefined
  readonly #holds: Positions | undefined
  readonly #baseless: ReadonlySet<string>
  #clocksMs: Clocks | undefined
  readonly #limits: MicroBatchLimits
  readonly #clock: Clock
  readonly #fatal = new Set<string>()
  /** Deaths over the records of `#blamed`, which shrinks with each. */
  #blames = 0
  #blamed: readonly Span[] = []
  #spans: readonly Span[] | undefined
  #suspect: string | undefined
  #encodingSinceMs = 0

  /** `from` is the lane's share of the task's partitions. */
  constructor(from: ReadonlyMap<PartitionId, Cursor>, task: LaneTask, limits: MicroBatchLimits, clock: Clock) {
    this.#cursors = new Map(from)
    this.#tables = task.tables
    this.#until = task.until
    this.#holds = task.holds
    // As it is now: a later assignment may name more.
    this.#baseless = new Set(task.baseless)
    this.#clocksMs = task.clocksMs
    this.#limits = limits
    this.#clock = clock
  }

  assignment(lane: number): Assignment {
    const microBatch = { ...this.#limits, recordsMax: Math.min(this.#recordsMax, this.#limits.recordsMax) }
    const [from, fatal] = [new Map(this.#cursors), new Set(this.#fatal)]
    const clocks = this.#clocksMs === undefined ? {} : { clocksMs: this.#clocksMs }
    const until = this.#until === undefined ? {} : { until: this.#until }
    const holds = this.#holds === undefined ? {} : { holds: this.#holds }
    return {
      lane,
      from,
      ...until,
      ...holds,
      tables: this.#tables,
      microBatch,
      fatal,
      baseless: this.#baseless,
      ...clocks,
    }
  }

  get isEncoding(): boolean {
    return this.#spans !== undefined
  }

  get encodingMs(): number {
    return this.#spans === undefined ? 0 : this.#clock.monotonicMs() - this.#encodingSinceMs
  }

  encoding(spans: readonly Span[]): void {
    this.#spans = spans
    this.#encodingSinceMs = this.#clock.monotonicMs()
  }

  encoded(): void {
    this.#spans = undefined
  }

  /** Takes note of a batch; true when the records that killed are behind it and the lane may take full batches again. */
  staged(staged: Staged): boolean {
    this.deaths = 0
    if (this.#clocksMs !== undefined) this.#clocksMs = advancedBy(staged, this.#clocksMs)
    for (const { partition, until, leaderEpoch } of staged.ranges) {
      const { topicId } = this.#cursors.get(partition)!
      this.#cursors.set(partition, { offset: until, leaderEpoch, topicId })
    }
    if (this.#blamed.some(({ partition, last }) => this.#cursors.get(partition)!.offset <= last)) return false
    const wasReduced = this.#blames > 1
    this.#blames = 0
    this.#blamed = []
    return wasReduced
  }

  /**
   * A death in the middle of records is blamed on them; a second one over the same single record is its verdict.
   * `isSure`: the lane was at no other pipeline's records when it died. Doubt makes batches smaller and condemns nobody.
   */
  died(isSure: boolean): void {
    this.deaths++
    const spans = this.#spans
    this.#spans = undefined
    if (spans === undefined) return
    this.#blames++
    this.#blamed = spans
    if (!isSure || spans.length !== 1 || spans[0]!.records !== 1) return
    const record = `${spans[0]!.partition}@${spans[0]!.first}`
    if (this.#suspect === record) this.#fatal.add(record)
    this.#suspect = record
  }

  /** The first death is forgiven: whoever was killed from outside tries the same batch again. */
  get #recordsMax(): number {
    return this.#blames < 2 ? this.#limits.recordsMax : BISECT[Math.min(this.#blames - 2, BISECT.length - 1)]!
  }
}
