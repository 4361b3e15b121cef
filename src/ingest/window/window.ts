import type { ConcatenateInput } from '../keys.ts'
import type { DataFile, DeletedRows, IcebergSchema, WritePlan } from '../../lake/table.ts'

/**
 * Between lanes, committer and fold. Times are whole milliseconds since 1970 in messages and relations of ours, and
 * `timestamptz` in tables.
 */

/** How the lane writes late rows of one window, beside the source table that the plan belongs to. */
export interface WindowPlan {
  readonly window: string
  readonly late: WritePlan
  /** Windows that start earlier are left out: neither counted nor listed as late (rule R2). Not with `input: rows`. */
  readonly fromMs?: number
}

/** What one micro-batch brings to one window. */
export interface StagedWindow {
  readonly window: string
  /**
   * Path of a Parquet file on this machine, not in the store, with what counts, long as `PART_COLUMN`
   * says, columns as in `partialColumns`; with `input: rows` one row per operation on a key, columns as in
   * `changeColumns`. Undefined: nothing counts.
   * The fold deletes it.
   */
  readonly partials: string | undefined
  /** Of `<window>__late`. With `input: rows` none: what is late there, the fold finds. */
  readonly lateFiles: readonly DataFile[]
  /** Records that were late for all their windows, and (record, window) pairs that were late. */
  readonly late: number
  readonly lateAssignments: number
  /** Records on which an expression of the window failed. */
  readonly failed: number
}

/** Columns that the lane adds to the relation of a source table that feeds windows, before lateness is judged. */
export const LANE_COLUMNS = {
  /** long: event time, floored to milliseconds; null when the row has none. */
  event: '__event_ms',
  /** long: M_p before the row: largest guarded event time of its partition below its offset; null when there is none. */
  clock: '__clock_ms',
} as const

/** Rows that a table holds in one file: `deleted` ones are not there. */
export interface StoredRows {
  readonly file: DataFile
  readonly deleted: DeletedRows
}

/** What `input: rows` reads back: the rows of the source table and, when it has a version column, its deleted keys. */
export interface StoredSource {
  readonly plan: WritePlan
  readonly rows: readonly StoredRows[]
  readonly deletes: { readonly plan: WritePlan; readonly rows: readonly StoredRows[] } | undefined
}

/** What stands at the head of one window table, and with `input: rows` of its source. */
export interface StoredWindow {
  readonly results: readonly StoredRows[]
  readonly state: readonly StoredRows[]
  /** C of the source there: what it has expired is gone for good. */
  readonly watermarkMs: number | undefined
  /** By whose field ids files are read. Default: those of tables that succeed none. */
  readonly schemas?: StoredSchemas
  readonly source?: StoredSource
}

/** Metadata files of the tables that a commit builds on, from which what left the fold is made again. */
export interface HeadTables {
  readonly source: string
  readonly results: string
  readonly late: string
  /** Least start of a window that has all of its input. */
  readonly fromMs: number | undefined
}

export interface StoredSchemas {
  readonly results: IcebergSchema
  readonly state: IcebergSchema
}

export interface FoldRequest {
  /** Undefined: they do not hold what the windows were made of, so that what left the fold does not come back. */
  readonly head: HeadTables | undefined
  /** Local files of `StagedWindow.partials`, in the order in which they were folded. */
  readonly partials: readonly string[]
  /** C of the source table at the version to come; undefined while nothing is known of some partition. */
  readonly watermarkMs: number | undefined
  /** The least clock of all partitions of the source table, idle ones too; undefined when one has none. */
  readonly clockMsMin: number | undefined
  /** By the monotonic clock; paces `emit: early` and nothing else. */
  readonly nowMs: number
  /** Everything that is open is written: a bounded run ends. */
  readonly isLast: boolean
  readonly results: WritePlan
  readonly state: WritePlan
  readonly late: WritePlan
}

/** What a fold does to one table. */
export interface TableDelta {
  readonly files: readonly DataFile[]
  /** Positions in files of earlier commits whose rows are replaced or gone, ascending. */
  readonly superseded: readonly { readonly key: string; readonly rows: Uint32Array }[]
}

export interface FoldedWindow {
  readonly results: TableDelta
  readonly state: TableDelta
  /** With `input: rows`, and rows that were expired. */
  readonly lateFiles: readonly DataFile[]
  /** As in `StagedWindow`, of halves: an update is the old row taken back and the new one counted. */
  readonly late: number
  readonly lateAssignments: number
  readonly failed: number
  /** Rows that were final and were written again. */
  readonly corrected: number
  /** Retractions of rows that are not known. */
  readonly retractOfUnknown: number
  /** Cells that are held. */
  readonly openRows: number
  /** Bytes that DuckDB holds, in memory and spilled. */
  readonly stateBytes: number
}

/**
 * The open windows of one pipeline: a cache of what its tables hold. Calls are made one after the other. After a
 * failure, or a commit that was refused, it is thrown away: nobody undoes a fold.
 */
export interface WindowFold {
  /** Reads back what is stored at the head, before any fold of the window. */
  load(window: string, stored: StoredWindow): Promise<void>
  /**
   * Throws `window.open_rows_max`, `window.memory_max`, `aggregate.overflow`, `aggregate.negative_count`; with `input: rows`
   * `window.old_values_max`, `upsert.key_in_two_partitions`.
   */
  fold(window: string, request: FoldRequest): Promise<FoldedWindow>
  /** Rows stand elsewhere: those of `inputs` that are not deleted are those of `output`, in their order. */
  moved(
    window: string,
    table: 'results' | 'state',
    inputs: readonly ConcatenateInput[],
    output: DataFile | undefined,
  ): Promise<void>
  /** Partials that no fold will take. */
  discard(partials: readonly string[]): Promise<void>
  close(): Promise<void>
}
