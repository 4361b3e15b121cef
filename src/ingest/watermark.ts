import type { Clock } from '../clock.ts'
import type { TableDefinition } from '../define.ts'
import type { PartitionId, Positions, Source } from '../log.ts'
import type { Clocks } from '../version.ts'
import { clocksOf } from './clocks.ts'
import type { StagedRange } from './lane.ts'

/** How far the events of one source table have come, over all its partitions. */
export interface Times {
  /** C (rule C1): no event at or below it is expected of a partition that is not idle. Undefined: nothing is known yet. */
  readonly watermarkMs: number | undefined
  /** The least clock of all partitions, idle ones too (rule C4); undefined when one has none. */
  readonly clockMsMin: number | undefined
}

/** Where a pipeline stands: all of it that a watermark depends on, beside what is idle. */
export interface Standing {
  readonly positions: Positions
  readonly clocksMs: Clocks
  /** C of each source table in the version before. */
  readonly watermarksMs: Readonly<Record<string, number>>
}

/** Of a fork: nothing that a wall clock says of it may decide what is final (docs/adr/0011). */
export interface Bound {
  /** Where its log ends while it is built; undefined: it goes on. */
  readonly until: Positions | undefined
  /**
   * C of source tables at `until`: what was final there stays final, and no more is. Undefined: there was none. Tables that
   * are not named were made by other code.
   */
  readonly watermarksMs: Readonly<Record<string, number | undefined>>
}

interface Seen {
  /** End of the log when it was last answered. */
  readonly end: bigint
  /** Since when no record of it came, in time that counts. */
  readonly sinceMs: number
}

/**
 * The combined watermark of each source table that feeds windows: what is final, and what leaves memory. It never
 * decides whether a record counts, which is why what is idle may depend on the wall clock.
 */
export class Watermarks {
  readonly #tables: ReadonlyMap<string, TableDefinition>
  readonly #clock: Clock
  readonly #bound: Bound | undefined
  readonly #seen = new Map<PartitionId, Seen>()
  /** Time that does not count: nothing was read. */
  #heldMs = 0

  /** `tables` feed windows, so each has an event time. */
  constructor(tables: readonly TableDefinition[], clock: Clock, bound?: Bound) {
    this.#tables = new Map(tables.map((table) => [table.name, table]))
    this.#clock = clock
    this.#bound = bound
  }

  get tables(): readonly string[] {
    return [...this.#tables.keys()]
  }

  /** Asks for the ends of partitions that nothing was staged of: one that is empty must not hold C for ever (rule C9). */
  async look(source: Source, positions: Positions): Promise<void> {
    const topics = new Set([...this.#tables.values()].map(({ topic }) => `${topic}/`))
    const unseen = [...positions.keys()].filter((id) => !this.#seen.has(id) && topics.has(topicPrefix(id)))
    if (unseen.length === 0) return
    const sinceMs = this.#nowMs
    for (const [id, { end }] of await source.bounds(unseen)) this.#seen.set(id, { end, sinceMs })
  }

  saw({ partition, end }: StagedRange): void {
    const before = this.#seen.get(partition)?.end ?? 0n
    this.#seen.set(partition, { end: end > before ? end : before, sinceMs: this.#nowMs })
  }

  /** Nothing was read for so long, for reasons of ours: that makes no partition idle (rule C6). */
  hold(ms: number): void {
    this.#heldMs += ms
  }

  /** `isLast`: a bounded log is drained, so that a partition without a clock will never have one. Not of a fork, which goes on. */
  timesOf(table: string, { positions, clocksMs, watermarksMs }: Standing, isLast = false): Times {
    const { topic, eventTime } = this.#tables.get(table)!
    const { outOfOrdernessMs, idleAfterMs } = eventTime!
    const clocks = clocksOf(clocksMs, table)
    const mine = [...positions].filter(([id]) => topicPrefix(id) === `${topic}/`)
    const isEnd = this.#isAtEnd(mine, isLast)
    let [least, leastOfAll, isHeld, isUnknown] = [Infinity, Infinity, false, false]
    for (const [id, position] of mine) {
      const clockMs = clocks[id]
      if (clockMs === undefined) isUnknown = true
      else leastOfAll = Math.min(leastOfAll, clockMs)
      if (!isEnd && this.#isIdle(id, position, idleAfterMs)) continue
      if (clockMs !== undefined) least = Math.min(least, clockMs)
      else if (!isEnd) isHeld = true
    }
    const before = own(watermarksMs, table)
    const isMoving = !isHeld && least < Infinity
    const moved = isMoving ? Math.max(before ?? -Infinity, least - outOfOrdernessMs - 1) : before
    return {
      watermarkMs: this.#bounded(table, before, moved, isEnd),
      clockMsMin: isUnknown || leastOfAll === Infinity ? undefined : leastOfAll,
    }
  }

  #isAtEnd(positions: readonly (readonly [PartitionId, bigint])[], isLast: boolean): boolean {
    if (this.#bound === undefined) return isLast
    const { until } = this.#bound
    return until !== undefined && positions.every(([id, position]) => position >= (until.get(id) ?? 0n))
  }

  /** A fork that is built has what the base had at the end, and never more on its way there. */
  #bounded(table: string, before: number | undefined, moved: number | undefined, isEnd: boolean): number | undefined {
    if (this.#bound?.until === undefined || !Object.hasOwn(this.#bound.watermarksMs, table)) return moved
    const most = this.#bound.watermarksMs[table]
    if (most === undefined || (moved === undefined && !isEnd)) return before
    return Math.max(before ?? -Infinity, isEnd ? most : Math.min(moved!, most))
  }

  /** As a version has them, whatever is idle by now. */
  timesAt(table: string, version: Standing): Times {
    return { ...this.timesOf(table, version), watermarkMs: own(version.watermarksMs, table) }
  }

  /** Partitions that no watermark waits for; of those that a watermark is made of. */
  idle(positions: Positions): ReadonlyMap<PartitionId, boolean> {
    const found = new Map<PartitionId, boolean>()
    for (const { topic, eventTime } of this.#tables.values())
      for (const [id, position] of positions)
        if (topicPrefix(id) === `${topic}/`)
          found.set(id, this.#isIdle(id, position, eventTime!.idleAfterMs) && found.get(id) !== false)
    return found
  }

  /** In a bounded log: one that has come to its end (rule C6). */
  #isIdle(id: PartitionId, position: bigint, idleAfterMs: number): boolean {
    const until = this.#bound?.until
    if (until !== undefined) return position >= (until.get(id) ?? 0n)
    const seen = this.#seen.get(id)
    return seen !== undefined && position >= seen.end && this.#nowMs - seen.sinceMs >= idleAfterMs
  }

  get #nowMs(): number {
    return this.#clock.monotonicMs() - this.#heldMs
  }
}

/** `constructor` is a table like any other. */
function own<V>(record: Readonly<Record<string, V>>, key: string): V | undefined {
  return Object.hasOwn(record, key) ? record[key] : undefined
}

/** A topic's name has no slash. */
function topicPrefix(id: PartitionId): string {
  return id.slice(0, id.lastIndexOf('/') + 1)
}
