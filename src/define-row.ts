import type { TimeUnit } from './batch.ts'
import type { ColumnKind, ColumnKinds, ColumnSpecs, ExactKind, KindsOf } from './define-kinds.ts'
import type { TypeSpec } from './define-type.ts'

/**
 * What rows of tables are in a program: types alone. 64-bit integers are bigint; decimals, dates and uuids are texts;
 * instants are bigint microseconds since 1970, but a Date where the column is in milliseconds (`t.timestampMs()`).
 */

/** A number as text, `'12.50'`: what a double would round is exact. */
export type Decimal = `${number}`

/** Values of a column by its kind, where nothing more is known of it. */
export interface ValuesByKind {
  readonly boolean: boolean
  readonly int: number
  readonly long: bigint
  readonly float: number
  readonly double: number
  readonly string: string
  readonly binary: Uint8Array
  /** `2026-01-31` */
  readonly date: string
  readonly uuid: string
  readonly decimal: Decimal
  readonly enum: string
  readonly timestamp: bigint
  readonly timestamptz: bigint
  readonly list: readonly unknown[]
  readonly map: Readonly<Record<string, unknown>>
  readonly struct: Readonly<Record<string, unknown>>
}

/** An instant of a column whose numbers are of this unit. */
export type InstantOf<U extends TimeUnit | undefined> = U extends 'ms' ? Date : bigint

/** A row of a table that the compiler knows nothing of. */
export type AnyRow = Readonly<Record<string, unknown>>

/** Columns that source tables have beside the declared ones. */
export interface SystemRow {
  /** JSON text of the fields that are no columns; absent unless the table keeps them. */
  readonly _extra?: string | null
  readonly _kafka_partition: number
  readonly _offset: bigint
  readonly _timestamp: bigint | null
}

/** Instants that tables and windows have of their own: bigint microseconds in a row, and compared with a Date as well. */
type OwnInstant = '_timestamp' | '_event_time' | '_clock' | 'window_start' | 'window_end' | 'last_event_time'

/** What the column `N`, whose values are `V`, may be compared with. */
export type ComparedWith<N, V> = N extends OwnInstant ? V | Date : V

/** `value: raw()` */
export interface RawRow {
  readonly key: Uint8Array | null
  readonly value: Uint8Array | null
  readonly headers: RecordHeaders
}

type RecordHeaders = readonly { readonly key: string; readonly value: Uint8Array | null }[] | null

/** Rows of `<table>__dlq`: records that could not be read. */
export interface DeadLetterRow extends RawRow {
  readonly _topic: string
  readonly _kafka_partition: number
  readonly _offset: bigint
  readonly _timestamp: bigint | null
  readonly stage: string
  readonly code: string
  readonly message: string
  readonly code_hash: string
  readonly status: string
  readonly attempts: number
}

/** Rows of `<window>__late`: those of the source that came too late, any column of which may be null. */
export type LateRow<R> = Flat<
  { readonly [N in keyof R]: R[N] | null } & {
    readonly _topic: string
    readonly _event_time: bigint | null
    readonly _clock: bigint | null
    readonly _late_windows: readonly { readonly start: bigint; readonly end: bigint }[] | null
    readonly _counted_windows: number
    readonly _weight: number
    readonly _reason: string
    readonly _code_hash: string
  }
>

/** What every window table has beside groups and results. */
export interface WindowBounds {
  readonly window_start: bigint
  readonly window_end: bigint
  /** Absent where rows of a keyed table are aggregated, but for sessions. */
  readonly last_event_time?: bigint | null
  readonly _final: boolean
  readonly _corrections: number
}

/** A row of a table: `Q` are the columns of its key, which are never null, `M` those that are computed. */
export type RowOf<S extends ColumnSpecs, Q extends string, M extends ColumnSpecs> = string extends keyof S
  ? AnyRow
  : Flat<DeclaredRow<S, Q> & DeclaredRow<M, never> & SystemRow>

export type DeclaredRow<S extends ColumnSpecs, Q extends string = never> = {
  readonly [N in keyof S & string]: N extends Q ? NonNullable<ValueOf<S[N]>> : ValueOf<S[N]>
}

/** Value of a declared column, null where it may be. */
export type ValueOf<S> =
  S extends TypeSpec<ColumnKind, infer V, infer Required>
    ? Required extends true
      ? V
      : V | null
    : S extends string
      ? S extends `${string} required${string}`
        ? TextValue<S>
        : TextValue<S> | null
      : unknown

/** Of a column that is declared as text, `timestamptz(ms) required`. What is inside of lists and the like is not read. */
type TextValue<S extends string> = S extends `${string}timestamp${string}(${infer U})${string}`
  ? InstantOf<Trim<U> extends 'ms' ? 'ms' : undefined>
  : S extends `${' ' | ''}enum(${infer Symbols})${string}`
    ? Split<Symbols>
    : ValuesByKind[KindsOf<{ readonly column: S }>['column']]

type Split<T extends string> = T extends `${infer First},${infer Rest}` ? Trim<First> | Split<Rest> : Trim<T>
type Trim<T extends string> = T extends ` ${infer Rest}` ? Trim<Rest> : T extends `${infer Rest} ` ? Trim<Rest> : T

/** What a sum of a column of this kind is. */
export type SumOf<K extends ColumnKind> = [K] extends ['float' | 'double']
  ? number
  : [K] extends [ExactKind]
    ? Decimal
    : number | Decimal

/** A column's values, null left out; anything of a table that the compiler does not know. */
export type ValueAt<R, N> = N extends keyof R ? NonNullable<R[N]> : unknown

/** Of a table whose columns are known by their kinds alone. */
export type RowOfKinds<K extends ColumnKinds> = { readonly [N in keyof K]: ValuesByKind[K[N]] | null }

/** One object type in the place of several: what an editor shows of it can be read. */
export type Flat<T> = { readonly [N in keyof T]: T[N] } & {}
