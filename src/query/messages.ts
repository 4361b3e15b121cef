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
  | { readonly kind: 'tables'; readonly names: readonly string[] }
  | { readonly kind: 'columns'; readonly columns: readonly ResultColumn[] }
  | { readonly kind: 'chunk'; readonly rows: number; readonly data: Uint8Array | readonly (readonly unknown[])[] }
  | { readonly kind: 'done'; readonly cpuMs: number }
  /** `isTainted`: the process should not be used again. */
  | { readonly kind: 'error'; readonly error: ErrorMessage; readonly isTainted: boolean; readonly cpuMs: number }

export const CHUNKS_AHEAD = 4

/** Values of `$1`, `$2`, … or of `$name`. */
export type QueryParams = readonly unknown[] | Readonly<Record<string, unknown>>

/** `values` is for callers in this process: rows as arrays, int64 as bigint. */
export type ResultFormat = 'json' | 'ndjson' | 'csv' | 'values'

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
  /** Absolute paths of Parquet files. */
  readonly files: readonly string[]
}

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
