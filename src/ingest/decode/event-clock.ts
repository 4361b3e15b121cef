import type { Column, TimeUnit } from '../../batch.ts'
import type { TableDefinition } from '../../define.ts'
import type { RecordBatch } from '../../log.ts'
import { VECTOR_ROWS, type ColumnBuilder } from './column-builder.ts'

/** A `long` that is the event time must be an instant: what it may hold at most, in its own unit. */
export function eventLimits(definition: TableDefinition): ReadonlyMap<string, bigint> {
  const { eventTime, columns } = definition
  const column = columns.find(({ name }) => name === eventTime?.column)
  if (eventTime === undefined || column?.type.kind !== 'long') return new Map()
  const limit = { s: 8_640_000_000_000n, ms: 8_640_000_000_000_000n, us: 8_640_000_000_000_000_000n }[eventTime.unit]
  return new Map([[column.name, limit]])
}

/** In place of a record's number: its event time is not its own. */
export const NO_EVENT = -1

/** The largest guarded event time of rows. An event further ahead of its record than the guard allows moves nothing. */
export class EventClock {
  /** Per row of the current chunk the record of the current batch that it came from. */
  readonly recordIndex = new Int32Array(VECTOR_ROWS)
  readonly #builder: ColumnBuilder | undefined
  readonly #maxFutureSkewMs: number
  readonly #unit: TimeUnit

  constructor(definition: TableDefinition, builders: readonly ColumnBuilder[], columns: readonly Column[]) {
    const { eventTime } = definition
    const at = columns.findIndex(({ name }) => name === eventTime?.column)
    this.#builder = builders[at]
    this.#maxFutureSkewMs = eventTime?.maxFutureSkewMs ?? 0
    this.#unit = unitOf(definition, columns[at])
  }

  /** The clock after rows [from, until) of the chunk, all of one batch; `clockMs` is the clock before them. */
  latest(batch: RecordBatch, from: number, until: number, clockMs: number | undefined): number | undefined {
    const builder = this.#builder
    if (builder === undefined) return clockMs
    let clock = clockMs ?? Number.NEGATIVE_INFINITY
    for (let row = from; row < until; row++) {
      if (builder.isNull(row)) continue
      const eventMs = eventMsOf(builder, row, this.#unit)
      if (eventMs <= clock) continue
      const index = this.recordIndex[row]!
      if (index === NO_EVENT) continue
      const recordMs = batch.timestampsMs[index]!
      if (recordMs === -1 || eventMs <= recordMs + this.#maxFutureSkewMs) clock = eventMs
    }
    return clock === Number.NEGATIVE_INFINITY ? undefined : clock
  }
}

/** How a number of this column says an instant: a timestamp has microseconds. */
export function unitOf({ eventTime }: TableDefinition, column: Column | undefined): TimeUnit {
  return column?.type.kind === 'long' && eventTime !== undefined ? eventTime.unit : 'us'
}

/** The value of a row as whole milliseconds, rounded toward −∞ (rule T1). */
export function eventMsOf(
  { i32, i64 }: { readonly i32: Int32Array; readonly i64: BigInt64Array },
  row: number,
  unit: TimeUnit,
): number {
  if (unit !== 'us') return Number(i64[row]!) * (unit === 's' ? 1000 : 1)
  const high = i32[2 * row + 1]!
  // Up to 2^52 a double is exact; beyond, 64-bit arithmetic.
  const isExact = high < 1 << 20 && high >= -(1 << 20)
  if (isExact) return Math.floor((high * 4294967296 + (i32[2 * row]! >>> 0)) / 1000)
  const value = i64[row]!
  const whole = value / 1000n
  return Number(value < 0n && whole * 1000n !== value ? whole - 1n : whole)
}
