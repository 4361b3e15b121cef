import type { Column } from '../../batch.ts'
import type { DerivedColumn } from '../decode/relation.ts'
import type { Slab } from '../decode/slab.ts'
import { PIECE_KINDS } from '../../window/sql.ts'

const ROWS_MAX = 2_048
const [HIGH_AT, LOW_AT, BUCKET_AT, VALID_AT] = [0, 8 * ROWS_MAX, 16 * ROWS_MAX, 20 * ROWS_MAX] as const
const UNITS = Float64Array.from({ length: 32 }, (_, k) => 2 ** k)
const LOW_BITS = 0x3ffffff
const IMPLICIT_BIT = 0x4000000

/**
 * The pieces of a column of floats or doubles, in the order of `pieceColumns`, made when they are read: most slabs are
 * read once. All three share one buffer, so a slab must be copied before the next one is asked for.
 */
export function slabPieces({ type }: Column, at: number): readonly DerivedColumn[] {
  const buffer = new ArrayBuffer(VALID_AT + ROWS_MAX / 8)
  const high = new Int32Array(buffer, HIGH_AT, 2 * ROWS_MAX)
  const low = new Int32Array(buffer, LOW_AT, 2 * ROWS_MAX)
  const bucket = new Int32Array(buffer, BUCKET_AT, ROWS_MAX)
  const widened = new Float64Array(ROWS_MAX)
  let last: Slab | undefined
  const fill = (slab: Slab): void => {
    if (slab === last) return
    const { dataAt, validAt } = slab.columns[at]!
    if (type.kind === 'float') widened.set(new Float32Array(slab.buffer, dataAt, slab.rows))
    const words = type.kind === 'float' ? widened.buffer : slab.buffer
    takeToPieces(new Int32Array(words, type.kind === 'float' ? 0 : dataAt), slab.rows, high, low, bucket)
    if (validAt >= 0)
      new Uint8Array(buffer, VALID_AT).set(new Uint8Array(slab.buffer, validAt, Math.ceil(slab.rows / 64) * 8))
    last = slab
  }
  const piece = (width: number, dataAt: number): DerivedColumn => {
    return (slab) => {
      fill(slab)
      const validAt = slab.columns[at]!.validAt >= 0 ? VALID_AT : -1
      return { buffer, column: { layout: 'fixed', width, rows: slab.rows, dataAt, validAt, children: [] } }
    }
  }
  return [piece(4, BUCKET_AT), piece(8, HIGH_AT), piece(8, LOW_AT)]
}

/** `words` are doubles in halves, as a little-endian machine has them. */
function takeToPieces(words: Int32Array, rows: number, high: Int32Array, low: Int32Array, bucket: Int32Array): void {
  for (let row = 0; row < rows; row++) {
    const [upper, lower] = [words[2 * row + 1]!, words[2 * row]!]
    const bits = (upper >>> 20) & 2_047
    const isNegative = upper < 0
    const rest = upper & 0xfffff
    if (bits === 2_047 || (bits === 0 && rest === 0 && lower === 0)) {
      bucket[row] = kindOf(bits, (rest | lower) !== 0, isNegative)
      high[2 * row] = high[2 * row + 1] = low[2 * row] = low[2 * row + 1] = 0
      continue
    }
    const exponent = bits === 0 ? 1 : bits
    const unit = isNegative ? -UNITS[exponent & 31]! : UNITS[exponent & 31]!
    bucket[row] = exponent >>> 5
    setLong(high, row, ((rest << 6) | (lower >>> 26) | (bits === 0 ? 0 : IMPLICIT_BIT)) * unit)
    setLong(low, row, (lower & LOW_BITS) * unit)
  }
}

function kindOf(bits: number, hasMantissa: boolean, isNegative: boolean): number {
  if (bits === 0) return PIECE_KINDS.zero
  if (hasMantissa) return PIECE_KINDS.nan
  return isNegative ? PIECE_KINDS.negativeInfinity : PIECE_KINDS.positiveInfinity
}

/** A whole number that a double holds exactly. */
function setLong(to: Int32Array, row: number, value: number): void {
  const upper = Math.floor(value / 4_294_967_296)
  to[2 * row] = value - upper * 4_294_967_296
  to[2 * row + 1] = upper
}
