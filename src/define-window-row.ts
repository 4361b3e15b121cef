import type { Aggregate } from './define-aggregate.ts'
import type { ColumnKind, ColumnKinds } from './define-kinds.ts'
import type { AnyRow, Decimal, Flat, SumOf, ValueAt, ValueOf, WindowBounds } from './define-row.ts'
import type { TypeSpec } from './define-type.ts'

/** Results of a window by name, in any of their forms. */
export type Results = Readonly<Record<string, Aggregate | TypeSpec | string>>

/** A row of a window table: its groups, its bounds, its results. Types alone. */
export type WindowRow<
  K extends ColumnKinds,
  R,
  G extends string,
  S extends Results,
  U extends 'late' | 'keep',
> = string extends keyof K
  ? AnyRow
  : Flat<
      { readonly [N in G]: U extends 'keep' ? (N extends keyof R ? R[N] : unknown) : ValueAt<R, N> } & WindowBounds & {
          readonly [N in keyof S & string]: ResultOf<S[N], K, R>
        }
    >

type ResultOf<X, K extends ColumnKinds, R> =
  X extends Aggregate<infer V, any>
    ? V
    : X extends TypeSpec<ColumnKind, infer V, boolean>
      ? V | null
      : X extends string
        ? TextResult<X, K, R>
        : unknown

/** Of the text forms: `count()`, `sum(amount) where …`, `double = total / n`. */
type TextResult<X extends string, K extends ColumnKinds, R> = X extends `count(${string}`
  ? bigint
  : X extends `${'avg' | 'var'}(${string}`
    ? number | null
    : X extends `sum(${infer N})${string}`
      ? (N extends keyof K ? SumOf<K[N]> : number | Decimal) | null
      : X extends `${'min' | 'max' | 'first' | 'last'}(${infer N})${string}`
        ? ValueAt<R, N> | null
        : X extends `top(${string})${string}`
          ? readonly unknown[] | null
          : X extends `${infer T}=${string}`
            ? ValueOf<T> | null
            : unknown
