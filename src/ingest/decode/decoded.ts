import type { PartitionId } from '../../log.ts'
import type { KeyOperations } from './key-ops.ts'
import type { Slab } from './slab.ts'

/** What became of the records of some batches of one table. */
export interface Decoded {
  readonly rows: readonly Slab[]
  readonly deadLetters: readonly Slab[]
  readonly counts: ReadonlyMap<PartitionId, MutableCounts>
  /** Rows of `<table>__deletes`, of a table with a version. */
  readonly markers: readonly Slab[]
  /** Of keyed tables, valid until the next call. */
  readonly operations: KeyOperations | undefined
  /** What records do not carry, of decoders that leave the clocks to others; in the order of the rows. */
  readonly kept: readonly KeptValues[]
}

/** A row with values of an earlier one, as far as this micro-batch happens to know them: they say nothing of the event. */
export interface KeptValues {
  readonly row: number
  readonly partition: number
  readonly offset: bigint
  /** Numbers of the columns. */
  readonly columns: readonly number[]
}

/** Counts of one partition while they are made. */
export interface MutableCounts {
  rows: number
  deadLetters: number
  tombstones: number
  skipped: number
  filtered?: number
  futureEvents?: number
  clockMs: number | undefined
}
