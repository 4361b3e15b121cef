import type { Column } from '../batch.ts'

/**
 * The SQL of one aggregate, in three steps: partials of rows (lane), partials of partials (fold), the result (fold).
 * Everything is exact and commutative, so that no result depends on the order in which rows came. Column names are
 * quoted in the texts.
 */
export interface AggregateSql {
  /** As the window table has it. */
  readonly result: Column
  /** Partials of fixed size: one value per cell. */
  readonly partials: readonly PartialSql[]
  /** What is not of fixed size: rows beside the cell, one per value. */
  readonly detail: DetailSql | undefined
  /** The result: a scalar over the cell's partials, `__rows`, and `reduced` of its detail. */
  readonly finish: string
}

export interface PartialSql {
  /** `<aggregate>__<part>`: in partial files, in cells and in `<w>__state`. */
  readonly column: Column
  /** An aggregate over rows of the source's columns (and `__event_ms`, `_kafka_partition`, `_offset`, `__sign`). */
  readonly ofRows: string
  /** The same over rows that are grouped by the `key` of the aggregate's detail, in less time. */
  readonly ofGroup?: string
  /** An aggregate over rows of partials of one cell. */
  readonly ofPartials: string
}

/** Value → weight. Weights of one value are added up; a value of weight 0 is gone. */
export interface DetailSql {
  /** Whether a cell has a handful of values at most: rows are then grouped by them and by their cell at once. */
  readonly isFew: boolean
  /** Whether `reduce` adds up the weights of a value that has several rows. */
  readonly addsUp: boolean
  /** `<aggregate>__value`. */
  readonly value: Column
  /** `<aggregate>__weight`: long, or decimal(38,0). */
  readonly weight: Column
  /**
   * Of rows: the value that one brings, a scalar; the weight of all that bring it, an aggregate; whether one does. `key`
   * is a scalar that the value depends on, and groups by it.
   */
  readonly ofRows: { readonly value: string; readonly weight: string; readonly isThere: string; readonly key: string }
  /** An aggregate over the detail rows of one cell, which `finish` finds under the name of `reduced`. */
  readonly reduce: string
  /** `<aggregate>__reduced`. */
  readonly reduced: string
}

/**
 * The fold's relations and `<w>__state` are long: a row is either a cell (`__part` 0, partials of fixed size) or one
 * value of the detail of the k-th aggregate of `select` (`__part` k, from 1). So a change of one value of many writes
 * one row. In partial files a cell may have several rows, and each of them a value of details of which there are few.
 */
export const PART_COLUMN = '__part'

/** bigint 1 or −1: whether a row is counted or taken back. Of rows input; elsewhere it is absent and texts do not name it. */
export const SIGN_COLUMN = '__sign'
