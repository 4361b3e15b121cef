import type { Column } from '../batch.ts'
import { isFloating } from './sql-type.ts'

/**
 * What a double is to an exact sum, as columns beside its own: to take it to pieces in SQL takes as long as to group the
 * rows. Bucket and weight are those of `EXACT`, the weight in two halves of 64 bits.
 */
export interface DoublePieces {
  /** int: the bucket, or one of `PIECE_KINDS`; null where the value is. */
  readonly bucket: string
  /** long: the weight is high · 2^26 + low; 0 without a bucket. */
  readonly high: string
  readonly low: string
}

/** What has no bucket. */
export const PIECE_KINDS = { nan: -1, positiveInfinity: -2, negativeInfinity: -3, zero: -4 } as const

/** Names of the pieces of a column. */
export function piecesOf(name: string): DoublePieces {
  return { bucket: `__bucket_${name}`, high: `__high_${name}`, low: `__low_${name}` }
}

/** Columns of the pieces of a column; none of one that is exact. */
export function pieceColumns({ name, type }: Column): readonly Column[] {
  if (!isFloating(type)) return []
  const { bucket, high, low } = piecesOf(name)
  return [
    { name: bucket, type: { kind: 'int' } },
    { name: high, type: { kind: 'long' } },
    { name: low, type: { kind: 'long' } },
  ]
}
