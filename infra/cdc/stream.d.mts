import type { StreamTable } from './tables.d.mts'

/** Values as the HTTP API prints them: longs, decimals and times as texts. */
export type LedgerValues = Readonly<Record<string, string | number | boolean | null>>

export interface StreamOptions {
  readonly seed: number
  /** Most live keys of a partition. */
  readonly keys: number
  /** Updates carry only some columns. Default: all. */
  readonly isPartial?: boolean
}

export class ChangeStream {
  readonly rows: ReadonlyMap<string, { readonly values: LedgerValues; readonly offset: number }>
  readonly deadLetters: readonly number[]
  readonly offset: number
  constructor(table: StreamTable, partition: number, options: StreamOptions)
  next(): { readonly key: string | null; readonly value: string | null }
  skipTo(offset: number): void
}

export function keyText(table: StreamTable, values: Readonly<Record<string, unknown>>): string
