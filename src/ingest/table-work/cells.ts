import duckdb from '@duckdb/node-bindings'
import type { CanonicalBytes } from './row-hash.ts'

/** One column of a chunk, read from DuckDB's own memory, and its values as row-hash.ts has them. */
export interface Cells {
  /**
   * Takes the column of the next chunk, whose values are there until the chunk goes. `isAbsent`: rows of a struct that
   * is null, of which nothing is looked at.
   */
  load(vector: duckdb.Vector, rows: number, isAbsent?: IsNull): void
  /** Mixes the value of each row into its state. */
  mix(rows: number, states: Int32Array): void
  /** Writes the value of a row behind others. */
  put(row: number, to: CanonicalBytes): void
}

export type IsNull = (row: number) => boolean

/** Which rows are null; undefined when none is. */
export function nullsOf(vector: duckdb.Vector, rows: number, isAbsent?: IsNull): IsNull | undefined {
  const valid = duckdb.vector_get_validity(vector, Math.ceil(rows / 64) * 8)
  if (valid === null) return isAbsent
  const isNull: IsNull = (row) => (valid[row >> 3]! & (1 << (row & 7))) === 0
  return isAbsent === undefined ? isNull : (row) => isNull(row) || isAbsent(row)
}
