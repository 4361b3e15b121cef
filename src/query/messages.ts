import type { ErrorMessage } from '../error.ts'

/**
 * What the engine and a query process say to each other, by structured clone. One query at a time:
 *
 *   engine   run ─▶          views ─▶            more ─▶ …
 *   process       ◀─ tables        ◀─ columns          ◀─ chunk …  ◀─ done
 *
 * The process may answer `error` in the place of anything; it is idle after `done` and `error`. The engine may say
 * `drop` in the place of `views`. A process sends at most as many chunks as it has been told `more`, plus
 * CHUNKS_AHEAD.
 */
export type ToProcess =
  | {
      readonly kind: 'run'
      readonly sql: string
      /** What must be one expression by itself; it stands in `sql` between brackets. */
      readonly where: string | undefined
      readonly params: QueryParams | undefined
      readonly format: ResultFormat
      readonly rowsMax: number
      readonly bytesMax: number
    }
  | { readonly kind: 'views'; readonly views: readonly View[] }
  | { readonly kind: 'drop' }
  | { readonly kind: 'more' }

export type FromProcess =
  | { readonly kind: 'ready' }
  | { readonly kind: 'tables'; readonly uses: readonly TableUse[] }
  | { readonly kind: 'columns'; readonly columns: readonly ResultColumn[] }
  | { readonly kind: 'chunk'; readonly rows: number; readonly data: Uint8Array | readonly (readonly unknown[])[] }
  | { readonly kind: 'done'; readonly cpuMs: number }
  /** `isTainted`: the process should not be used again. */
  | { readonly kind: 'error'; readonly error: ErrorMessage; readonly isTainted: boolean; readonly cpuMs: number }

export const CHUNKS_AHEAD = 4

/** Values of `$1`, `$2`, … or of `$name`. */
export type QueryParams = readonly unknown[] | Readonly<Record<string, unknown>>

/** `values` is for callers in this process: rows as arrays, int64 as bigint. */
export type ResultFormat = 'json' | 'ndjson' | 'csv' | 'arrow' | 'parquet' | 'values'

export interface ResultColumn {
  /** Unique within a result. */
  readonly name: string
  /** DuckDB's name of the type, such as `DECIMAL(12,2)`. */
  readonly type: string
}

/** One table of the lake at one version, as files on this machine. */
export interface View {
  readonly name: string
  readonly columns: readonly ViewColumn[]
  /** Absolute paths of Parquet files all of whose rows are there. */
  readonly files: readonly string[]
  /** Rows of `files`, for the planner: from a scan alone DuckDB takes every file for a thousand rows. */
  readonly fileRows?: number
  /** Sizes of `files` as the manifests give them, where they lie in the store itself. */
  readonly fileBytes?: readonly number[] | undefined
  /** Files some of whose rows are there. */
  readonly partial?: readonly PartialFiles[] | undefined
  /** Rows of the table, in the place of its files, for a query that asks for nothing else. */
  readonly rows?: bigint | undefined
  /** Rows that are in no file of the table's own. */
  readonly open?: OpenRows | undefined
}

/** Rows that are computed from another table, when they are asked for. */
export interface OpenRows {
  /** It stands where callers' SQL cannot name it. */
  readonly state: View
  /** A SELECT with the columns of the table that they are rows of. */
  readonly sql: string
}

/** Files of which some rows count and others do not. Each file has its own share of `positions`. */
export interface PartialFiles {
  /** `without`: the positions are those of deleted rows. `only`: of the rows that are there. */
  readonly kind: 'without' | 'only'
  readonly files: readonly string[]
  /** Rows of `files`, those that do not count included; for the planner. */
  readonly fileRows?: number
  /** As of a view. */
  readonly fileBytes?: readonly number[] | undefined
  /** Where the positions of each file end. */
  readonly ends: Uint32Array
  /** Positions in the file, ascending within each. */
  readonly positions: Uint32Array
  /** In the place of positions: a file for each, whose only column says of every row whether it counts; see alive-file.ts. */
  readonly alive?: readonly string[]
}

/** What a statement does with a table. */
export interface TableUse {
  /** In lower case. */
  readonly name: string
  /** For each place where the table is read, what must hold of every row that matters there: an empty list is no condition. */
  readonly scans: readonly (readonly Filter[])[]
  /** The statement asks for the number of rows and nothing else. */
  readonly isCount: boolean
  /** It may be asked first where its rows stand: those of partial files are told apart by positions then. */
  readonly isPlaced?: boolean
}

/** A condition on one column that a row must meet; of `in`, one of the values. */
export interface Filter {
  readonly column: string
  /** The name before the dot: of the table, unless the table has a column of that name. */
  readonly qualifier: string | undefined
  readonly op: '=' | '<' | '<=' | '>' | '>=' | 'in' | 'null' | 'not null'
  readonly values: readonly Constant[]
}

/** A value as the statement or its parameters have it: what it means depends on the column's type. */
export type Constant =
  | { readonly kind: 'number'; readonly unscaled: bigint; readonly scale: number }
  | { readonly kind: 'double'; readonly value: number }
  | { readonly kind: 'boolean'; readonly value: boolean }
  | { readonly kind: 'bytes'; readonly value: Uint8Array }
  | { readonly kind: 'instant'; readonly us: bigint }
  /** `as` is the type that it is cast to; undefined for a plain text. */
  | { readonly kind: 'text'; readonly text: string; readonly as: string | undefined }

export interface ViewColumn {
  readonly fieldId: number
  readonly name: string
  /** DuckDB's text form of the type. */
  readonly type: string
}

/** Limits that a query process gets when it is started. */
export interface ProcessSettings {
  readonly threads: number
  readonly memoryBytesMax: number
}
