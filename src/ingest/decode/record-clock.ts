import type { Column } from '../../batch.ts'
import { SYSTEM_COLUMNS } from '../../batch.ts'
import type { TableDefinition } from '../../define.ts'
import { partitionId, type PartitionId } from '../../log.ts'
import type { Clocks } from '../../version.ts'
import type { RetriedRecords } from '../letters/letters.ts'
import { eventMsOf, unitOf } from './event-clock.ts'
import { LetterClocks } from './letter-clocks.ts'
import type { Slab, SlabColumn } from './slab.ts'
import type { KeptValues, MutableCounts } from './table-decoder.ts'

/** Times beyond are no instants (rule T2): a computed event time may be one. */
const EVENT_MS_MAX = 8.64e15

/**
 * The clocks of partitions over rows that are known to count, record by record (rule L1): what a lane does when a filter
 * decides first, or when windows need to know each row's clock. Rows are in the order of the log.
 */
export class RecordClock {
  readonly #event: number
  readonly #partition: number
  readonly #timestamp: number
  readonly #offset: number
  /** Number of the first lane column, −1 without them. */
  readonly #lane: number
  readonly #unit: ReturnType<typeof unitOf>
  readonly #maxFutureSkewMs: number

  /** `columns` are the table's; slabs have the lane's behind them, or none of them. */
  constructor(definition: TableDefinition, columns: readonly Column[], hasLaneColumns: boolean) {
    const { eventTime } = definition
    const at = (name: string | undefined): number => columns.findIndex((column) => column.name === name)
    this.#event = at(eventTime?.column)
    this.#partition = at(SYSTEM_COLUMNS.partition)
    this.#timestamp = at(SYSTEM_COLUMNS.timestamp)
    this.#offset = at(SYSTEM_COLUMNS.offset)
    this.#lane = hasLaneColumns ? columns.length : -1
    this.#unit = unitOf(definition, columns[this.#event])
    this.#maxFutureSkewMs = eventTime?.maxFutureSkewMs ?? 0
  }

  /**
   * Fills the lane columns and the clocks of `counts`. `clocksMs` are the clocks before the rows. An event time
   * that is `kept` is none. Records that are `retried` are judged by the clocks they had, and move none. Gives how far
   * the clock is ahead of the oldest event, seen from it: Infinity when a row has none.
   */
  judge(
    slabs: readonly Slab[],
    kept: readonly KeptValues[],
    topic: string,
    counts: ReadonlyMap<PartitionId, MutableCounts>,
    clocksMs: Clocks[string],
    retried?: RetriedRecords,
  ): number {
    let lagMsMax = 0
    const clocks = new Map<number, Moving>()
    const eventless = kept.filter(({ columns }) => columns.includes(this.#event)).map(({ row }) => row)
    let [first, next] = [0, 0]
    for (const slab of slabs) {
      const partitions = viewOf(slab, slab.columns[this.#partition]!).i32
      const timestamps = viewOf(slab, slab.columns[this.#timestamp]!)
      const offsets = viewOf(slab, slab.columns[this.#offset]!).i64
      const events = this.#event < 0 ? undefined : viewOf(slab, slab.columns[this.#event]!)
      const lane = this.#lane < 0 ? undefined : this.#laneOf(slab)
      let partition = -1
      let moving: Moving | undefined
      for (let row = 0; row < slab.rows; row++) {
        if (moving === undefined || partitions[row] !== partition) {
          partition = partitions[row]!
          moving = clocks.get(partition)
          const id = partitionId(topic, partition)
          if (moving === undefined)
            clocks.set(partition, (moving = { id, clock: clocksMs[id] ?? -Infinity, own: -Infinity, futureEvents: 0 }))
        }
        if (retried !== undefined) moving.clock = retried.get(`${moving.id}@${offsets[row]!}`)?.clockMs ?? -Infinity
        if (lane !== undefined && moving.clock !== -Infinity) setLong(lane.clock, row, moving.clock)
        const isEventless = eventless[next] === first + row
        if (isEventless) next++
        const eventMs =
          isEventless || events === undefined || isNull(events, row) ? NaN : eventMsOf(events, row, this.#unit)
        if (!(eventMs <= EVENT_MS_MAX && eventMs >= -EVENT_MS_MAX)) {
          lagMsMax = Infinity
          continue
        }
        if (lane !== undefined) setLong(lane.event, row, eventMs)
        if (moving.clock - eventMs > lagMsMax) lagMsMax = moving.clock - eventMs
        if (!isNull(timestamps, row) && eventMs > eventMsOf(timestamps, row, 'us') + this.#maxFutureSkewMs) {
          moving.futureEvents++
          continue
        }
        if (eventMs <= moving.own || retried !== undefined) continue
        moving.own = eventMs
        if (eventMs > moving.clock) moving.clock = eventMs
      }
      first += slab.rows
    }
    for (const { id, own, futureEvents } of clocks.values()) {
      const count = counts.get(id)!
      if (own !== -Infinity) count.clockMs = own
      if (futureEvents > 0) count.futureEvents = futureEvents
    }
    return lagMsMax
  }

  /**
   * Fills in what the clock of its partition was before each dead letter, once the rows have been judged: that of the
   * next row of the partition, or of who comes after the micro-batch. Without lane columns nobody asks.
   */
  placeLetters(
    letters: readonly Slab[],
    slabs: readonly Slab[],
    topic: string,
    counts: ReadonlyMap<PartitionId, MutableCounts>,
    clocksMs: Clocks[string],
    retried?: RetriedRecords,
  ): void {
    if (this.#lane < 0 || letters.length === 0) return
    const waiting = new LetterClocks(letters)
    if (retried !== undefined) return waiting.set((id, offset) => retried.get(`${id}@${offset}`)?.clockMs, topic)
    for (const slab of slabs) {
      const partitions = viewOf(slab, slab.columns[this.#partition]!).i32
      const offsets = viewOf(slab, slab.columns[this.#offset]!).i64
      const clock = this.#laneOf(slab).clock
      for (let row = 0; row < slab.rows; row++)
        if (waiting.isBelow(partitions[row]!, offsets[row]!))
          waiting.passed(partitions[row]!, offsets[row]!, isNull(clock, row) ? undefined : Number(clock.i64[row]!))
    }
    waiting.set((id) => {
      const after = Math.max(clocksMs[id] ?? -Infinity, counts.get(id)?.clockMs ?? -Infinity)
      return after === -Infinity ? undefined : after
    }, topic)
  }

  #laneOf(slab: Slab): { readonly event: View; readonly clock: View } {
    return { event: viewOf(slab, slab.columns[this.#lane]!), clock: viewOf(slab, slab.columns[this.#lane + 1]!) }
  }
}

/** A partition's clock, and the largest guarded event time of these rows alone. */
interface Moving {
  readonly id: PartitionId
  clock: number
  own: number
  /** Events beyond the guard. */
  futureEvents: number
}

/** A column of 64-bit values, or of 32-bit ones. */
export interface View {
  readonly i32: Int32Array
  readonly i64: BigInt64Array
  /** Undefined when nothing is null. */
  readonly valid: Uint8Array | undefined
}

export function viewOf({ buffer }: Slab, { dataAt, validAt, rows, width }: SlabColumn): View {
  return {
    i32: new Int32Array(buffer, dataAt, (rows * width) / 4),
    i64: width < 8 ? NO_LONGS : new BigInt64Array(buffer, dataAt, rows),
    valid: validAt < 0 ? undefined : new Uint8Array(buffer, validAt, Math.ceil(rows / 8)),
  }
}

const NO_LONGS = new BigInt64Array(0)

function isNull({ valid }: View, row: number): boolean {
  return valid !== undefined && (valid[row >> 3]! & (1 << (row & 7))) === 0
}

/** Lane columns are sealed as null. */
function setLong({ i32, valid }: View, row: number, value: number): void {
  const high = Math.floor(value / 4294967296)
  i32[2 * row] = value - high * 4294967296
  i32[2 * row + 1] = high
  valid![row >> 3]! |= 1 << (row & 7)
}
