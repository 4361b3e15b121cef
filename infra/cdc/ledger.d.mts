import type { LedgerValues, StreamOptions } from './stream.d.mts'
import type { StreamTable } from './tables.d.mts'

export interface LedgerRow {
  readonly values: LedgerValues
  readonly partition: number
  readonly offset: number
}

export class Ledger {
  constructor(options: StreamOptions & { readonly partitions: number })
  moveTo(positions: Readonly<Record<string, string>>): void
  rows(table: StreamTable): ReadonlyMap<string, LedgerRow>
  deadLetters(table: StreamTable): readonly string[]
}

export interface Comparison {
  readonly missing: number
  readonly twice: number
  readonly extra: number
  readonly cells: number
  /** The first difference in words. */
  readonly first: string | undefined
}

export function compareRows(
  table: StreamTable,
  expected: ReadonlyMap<string, LedgerRow>,
  found: readonly Readonly<Record<string, unknown>>[],
): Comparison
