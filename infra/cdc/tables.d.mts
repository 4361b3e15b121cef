export interface StreamTable {
  readonly name: string
  readonly topic: string
  /** Whether every record carries its schema. */
  readonly isWrapped: boolean
  readonly key: readonly string[]
  readonly columns: Readonly<
    Record<string, { readonly lake: string; readonly duckdb: string; readonly schema: object }>
  >
}

export const TABLES: readonly StreamTable[]

/** What stands in `tables` of a configuration. */
export function tableConfig(table: StreamTable, options?: { readonly isPartial?: boolean }): object
