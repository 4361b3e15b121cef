import type { ColumnType } from './batch.ts'
import type { TypeSpec } from './define-type.ts'
import type { TableDefinition } from './define.ts'

/**
 * What the compiler knows of a table's columns, so that a window over it names columns that are there and sums what is
 * a number. Types alone: at run time a table is a plain `TableDefinition`, checked by `define-window-check.ts`.
 */
export type ColumnKind = ColumnType['kind']

/** Kinds of columns by name. Of a table that was not written in place: any name, any kind. */
export type ColumnKinds = Readonly<Record<string, ColumnKind>>

export type ColumnSpecs<C extends string = string> = Readonly<Record<C, TypeSpec | string>>

/** Kinds of declared columns, from builders and from texts. */
export type KindsOf<S extends ColumnSpecs> = { readonly [N in keyof S & string]: KindOf<S[N]> }

type KindOf<S> = S extends TypeSpec<infer K, unknown, boolean> ? K : S extends string ? TextKind<S> : ColumnKind

/** `decimal(12,2) required` is a decimal. A text that the compiler cannot read may be anything. */
type TextKind<S extends string> = S extends ` ${infer Rest}`
  ? TextKind<Rest>
  : {
        [K in ColumnKind]: S extends K | `${K} ${string}` | `${K}(${string}` | `${K}<${string}` | `${K}=${string}`
          ? K
          : never
      }[ColumnKind] extends infer Found
    ? [Found] extends [never]
      ? ColumnKind
      : Found
    : never

declare const kinds: unique symbol
declare const rows: unique symbol

/** A table definition that the compiler knows the columns of, and what its rows are. */
export type TableOf<K extends ColumnKinds, R = any> = TableDefinition & {
  readonly [kinds]?: K
  readonly [rows]?: R
}

/** Names of the columns that are of these kinds. */
export type NamesOf<K extends ColumnKinds, Of extends ColumnKind> = {
  [N in keyof K]: [Extract<K[N], Of>] extends [never] ? never : N
}[keyof K] &
  string

export type NumericKind = 'int' | 'long' | 'float' | 'double' | 'decimal'
export type ExactKind = 'int' | 'long' | 'decimal'
export type PrimitiveKind = Exclude<ColumnKind, 'list' | 'map' | 'struct'>
