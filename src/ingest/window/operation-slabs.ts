import type { Column } from '../../batch.ts'
import { partitionId } from '../../log.ts'
import type { Clocks } from '../../version.ts'
import type { KeyOperations } from '../decode/key-ops.ts'
import type { Slab, SlabColumn } from '../decode/slab.ts'
import type { Decoded } from '../decode/table-decoder.ts'
import { TRUNCATE } from '../keys.ts'
import { recordText, type RetriedRecords } from '../letters/letters.ts'
import { CHANGE } from './change-columns.ts'

/** Rows of a slab: those of a vector of DuckDB's. */
const SLAB_ROWS = 2_048

/** In place of a number of `sets`: the record has all of its values. */
export const NO_HOLES = -1

/** Operations as a relation: what `operationSlabs` makes. `__row` numbers the rows of the micro-batch, −1: there is none. */
export const operationColumns: readonly Column[] = [
  { name: '__key', type: { kind: 'uuid' } },
  { name: '__offset', type: { kind: 'long' } },
  { name: '__version', type: { kind: 'long' } },
  { name: '__clock', type: { kind: 'long' } },
  { name: '__partition', type: { kind: 'int' } },
  { name: '__row', type: { kind: 'int' } },
  { name: '__kind', type: { kind: 'int' } },
  { name: '__holes', type: { kind: 'int' } },
  { name: '__eventless', type: { kind: 'int' } },
]
const WIDTHS = [16, 8, 8, 8, 4, 4, 4, 4, 4]

/** In place of a clock: there is none. */
export const NO_CLOCK = '(-9223372036854775808)'

/** Numbers of columns of the rows. */
export interface Places {
  readonly event: number
  /** The first of those of the lane. */
  readonly lane: number
}

export interface OperationSlabs {
  readonly slabs: readonly Slab[]
  /** What `__holes` numbers: sets of columns that rows lack. */
  readonly sets: readonly (readonly string[])[]
}

/**
 * What a micro-batch does to keys, operation by operation, each with the clock of its partition before it (rule L1): of a
 * row what `RecordClock` gave it, of others, which move no clock, what the next row of the partition has, or who comes
 * after the batch. `clocksMs` are the clocks before it.
 */
export function operationSlabs(
  operations: KeyOperations,
  decoded: Decoded,
  { event: eventAt, lane: laneAt }: Places,
  topic: string,
  clocksMs: Clocks[string],
  retried?: RetriedRecords,
): OperationSlabs {
  const { count } = operations
  const starts: number[] = []
  let bytes = 0
  for (const width of WIDTHS) {
    starts.push(bytes)
    bytes += Math.ceil((count * width) / 8) * 8
  }
  const buffer = new ArrayBuffer(bytes)
  const words = (column: number, perRow: number): Int32Array => new Int32Array(buffer, starts[column], count * perRow)
  new Uint32Array(buffer, starts[0], 4 * count).set(operations.hashes.subarray(0, 4 * count))
  new BigInt64Array(buffer, starts[1], count).set(operations.offsets.subarray(0, count))
  new BigInt64Array(buffer, starts[2], count).set(operations.versions.subarray(0, count))
  const [partitions, rows, kinds, holes, eventless] = [words(4, 1), words(5, 1), words(6, 1), words(7, 1), words(8, 1)]
  let operation = 0
  for (const { partition, count: length } of operations.runs) {
    partitions.fill(partition, operation, operation + length)
    operation += length
  }
  const isEventless = new Uint8Array(decoded.rows.reduce((sum, slab) => sum + slab.rows, 0))
  for (const { row, columns } of decoded.kept) if (columns.includes(eventAt)) isEventless[row] = 1
  const sets = new HoleSets()
  for (let k = 0; k < count; k++) {
    const row = operations.rows[k]!
    rows[k] = Math.max(row, -1)
    kinds[k] = row >= 0 ? CHANGE.upsert : kindOf(operations, k)
    holes[k] = operations.hasHoles ? sets.number(operations.holesOf(k)) : NO_HOLES
    eventless[k] = row >= 0 ? isEventless[row]! : 0
  }
  if (retried === undefined) setClocks(words(3, 2), operations, decoded, laneAt, topic, clocksMs)
  else setOwnClocks(words(3, 2), operations, topic, retried)
  const slabs: Slab[] = []
  for (let first = 0; first < count; first += SLAB_ROWS) {
    const size = Math.min(SLAB_ROWS, count - first)
    const column = (width: number, k: number): SlabColumn => ({
      layout: 'fixed',
      width,
      rows: size,
      dataAt: starts[k]! + first * width,
      validAt: -1,
      children: [],
    })
    slabs.push({ rows: size, buffer, columns: WIDTHS.map(column) })
  }
  return { slabs, sets: sets.all }
}

/** From the last operation to the first. */
function setClocks(
  clocks: Int32Array,
  operations: KeyOperations,
  { rows: slabs, counts }: Decoded,
  laneAt: number,
  topic: string,
  clocksMs: Clocks[string],
): void {
  let slab = slabs.length
  let first = slabs.reduce((sum, { rows }) => sum + rows, 0)
  let words = new Int32Array(0)
  let valid = new Uint8Array(0)
  let k = operations.count
  for (const { partition, count } of operations.runs.toReversed()) {
    const id = partitionId(topic, partition)
    const after = Math.max(clocksMs[id] ?? -Infinity, counts.get(id)?.clockMs ?? -Infinity)
    let [low, high] = after === -Infinity ? NONE_WORDS : wordsOf(after)
    for (const end = k - count; k > end;) {
      const row = operations.rows[--k]!
      if (row >= 0) {
        while (row < first) {
          const { buffer, columns, rows } = slabs[--slab]!
          const { dataAt, validAt } = columns[laneAt + 1]!
          first -= rows
          words = new Int32Array(buffer, dataAt, 2 * rows)
          valid = new Uint8Array(buffer, validAt)
        }
        const at = row - first
        const isKnown = (valid[at >> 3]! & (1 << (at & 7))) !== 0
        low = isKnown ? words[2 * at]! : NONE_WORDS[0]
        high = isKnown ? words[2 * at + 1]! : NONE_WORDS[1]
      }
      clocks[2 * k] = low
      clocks[2 * k + 1] = high
    }
  }
}

/** Of records that are read again, each of which has its own. */
function setOwnClocks(clocks: Int32Array, operations: KeyOperations, topic: string, retried: RetriedRecords): void {
  let k = 0
  for (const { partition, count } of operations.runs)
    for (const end = k + count; k < end; k++) {
      const record = recordText(topic, { partition, offset: operations.offsets[k]! })
      const clockMs = retried.get(record)?.clockMs
      ;[clocks[2 * k], clocks[2 * k + 1]] = clockMs === undefined ? NONE_WORDS : wordsOf(clockMs)
    }
}

/** Sets of columns that rows lack, each once. */
class HoleSets {
  readonly all: (readonly string[])[] = []
  readonly #numbers = new Map<string, number>()

  number(columns: readonly string[]): number {
    if (columns.length === 0) return NO_HOLES
    const text = JSON.stringify(columns)
    let number = this.#numbers.get(text)
    if (number === undefined) this.#numbers.set(text, (number = this.all.push(columns) - 1))
    return number
  }
}

function kindOf(operations: KeyOperations, operation: number): number {
  if (operations.rows[operation] === TRUNCATE) return CHANGE.truncate
  return operations.isBare(operation) ? CHANGE.tombstone : CHANGE.delete
}

/** −2^63, which is no instant. */
const NONE_WORDS = [0, -2_147_483_648] as const

/** A whole number as 64 bits, the low word first. */
function wordsOf(value: number): readonly [number, number] {
  const high = Math.floor(value / 4_294_967_296)
  return [(value - high * 4_294_967_296) | 0, high]
}
