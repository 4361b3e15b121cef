import { deadLetterTable, type TableDefinition } from './define.ts'
import type { ColumnKinds, TableOf } from './define-kinds.ts'
import type { AnyRow, DeadLetterRow, LateRow } from './define-row.ts'
import { lateTable, type WindowDefinition } from './define-window.ts'

/**
 * What a program holds of its tables beside their definitions: what their rows are, and the tables that come with them.
 * Neither is seen by what copies or compares definitions.
 */

declare const rows: unique symbol

/** A table that belongs to another, as a program refers to it. */
export interface TableReference<R = AnyRow> {
  readonly kind: 'companion'
  readonly name: string
  /** What its rows are: `typeof orders.deadLetters.$row`. Of the compiler alone, undefined at run time. */
  readonly $row: R
}

/** A source table as `table` makes it. */
export type Table<K extends ColumnKinds, R = AnyRow, I = AnyRow> = TableOf<K, R> & {
  /** What its rows are: `typeof orders.$row`. Of the compiler alone, undefined at run time. */
  readonly $row: R
  /** What its producers write, as a test gives it: `typeof orders.$input`. Of the compiler alone as well. */
  readonly $input: I
  /** Records that could not be read. */
  readonly deadLetters: TableReference<DeadLetterRow>
}

/** A window table as `tumbling` and its like make it; `S`: rows of its source. */
export type Window<R = AnyRow, S = AnyRow> = WindowDefinition & {
  readonly [rows]?: R
  /** What its rows are: `typeof revenue.$row`. Of the compiler alone, undefined at run time. */
  readonly $row: R
  /** Records that came too late for it. */
  readonly late: TableReference<LateRow<S>>
}

/** Whatever stands for a table in a program. */
export type TableLike = TableDefinition | WindowDefinition | TableReference<unknown> | string

/** Rows of what stands for a table. */
export type RowIn<T> = T extends { readonly $row: infer R } ? R : AnyRow

export function withDeadLetters<K extends ColumnKinds, R, I>(table: TableDefinition): Table<K, R, I> {
  return withReference(table, 'deadLetters', deadLetterTable(table.name)) as Table<K, R, I>
}

export function withLate<R, S>(window: WindowDefinition): Window<R, S> {
  return withReference(window, 'late', lateTable(window.name)) as Window<R, S>
}

function withReference<D extends object>(definition: D, key: string, name: string): D {
  return Object.defineProperty(definition, key, { value: { kind: 'companion', name }, enumerable: false })
}
