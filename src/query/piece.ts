import type { DuckDBValue } from '@duckdb/node-api'
import type { FromProcess } from './messages.ts'

export type Chunk = Extract<FromProcess, { kind: 'chunk' }>

/** Rows on their way out. */
export interface Piece {
  readonly isFull: boolean
  /** Returns about how many bytes the row takes. */
  add(values: readonly DuckDBValue[]): number
  /** The rows since the last time. */
  take(): Chunk
  /** What is left, and what stands behind the last row. */
  end(): Chunk | undefined
}
