import type { TableDefinition, ValueFormat } from './define.ts'
import type { WrittenFormat } from './define-avro.ts'
import type { ColumnKind, ColumnSpecs, KindsOf } from './define-kinds.ts'
import type { AnyRow, Decimal, Flat, ValueOf } from './define-row.ts'

/**
 * What producers write to the topics of tables, as a program has it: types alone. A value is what the column's rows have,
 * or what its format takes: numbers for decimals, texts and Dates for instants, base64 for bytes.
 */

/** Of a table with these columns `S`, key `Q`, format `F`; `U`: its `unknown`; `P`: what its function
 * gives, or its file; never where it has none. */
export type InputOf<S extends ColumnSpecs, Q extends string, F, U, P> = [F] extends ['raw']
  ? RawInput
  : string extends keyof S
    ? AnyRow
    : FormatOf<F> extends 'json'
      ? JsonInput<S, Q, U, P>
      : FormatOf<F> extends 'debezium'
        ? InputRow<S, Q> | ChangeInput<S, Q>
        : // Which fields there are, the schema says that the values are written with.
          InputRow<S, Q> & AnyRow

/** What a function reads is for the function to know. */
type JsonInput<S extends ColumnSpecs, Q extends string, U, P> = [P] extends [never]
  ? U extends 'extra'
    ? InputRow<S, Q> & AnyRow
    : InputRow<S, Q>
  : AnyRow

/** `raw()`: text, bytes, or what becomes JSON. */
export interface RawInput {
  readonly key?: string | Uint8Array | object | null | undefined
  readonly value?: string | Uint8Array | object | null | undefined
  readonly headers?: readonly { readonly key: string; readonly value?: unknown }[] | null | undefined
}

/** Any change of a change stream. Of the row before often the key alone is told. */
export interface ChangeInput<S extends ColumnSpecs, Q extends string> {
  readonly op: 'c' | 'r' | 'u' | 'd' | 't' | 'm'
  readonly before?: Partial<InputRow<S, Q>> | null | undefined
  readonly after?: InputRow<S, Q> | null | undefined
  readonly source?: AnyRow | undefined
  readonly [field: string]: unknown
}

type FormatOf<F> = F extends ValueFormat ? F : F extends { readonly format: infer G } ? G : ValueFormat

/** The columns of the value: those that are computed are not in it. */
export type InputRow<S extends ColumnSpecs, Q extends string> = Flat<
  { readonly [N in Needed<S, Q>]: InputValue<KindsOf<S>[N], Exclude<ValueOf<S[N]>, null>> } & {
    readonly [N in Exclude<Declared<S>, Needed<S, Q>>]?:
      | InputValue<KindsOf<S>[N], Exclude<ValueOf<S[N]>, null>>
      | null
      | undefined
  }
>

type Declared<S extends ColumnSpecs> = {
  [N in keyof S & string]: S[N] extends `${string}=${string}` ? never : N
}[keyof S & string]

type Needed<S extends ColumnSpecs, Q extends string> = {
  [N in Declared<S>]: N extends Q ? N : null extends ValueOf<S[N]> ? never : N
}[Declared<S>]

type InputValue<K extends ColumnKind, V> = [K] extends ['long'] ? bigint | number | Date : Written<V>

/** Of values inside of others no more is known than what they are in a program. */
type Written<V> = unknown extends V
  ? unknown
  : V extends bigint
    ? bigint | number | Date | string
    : V extends Date
      ? Date | bigint | number | string
      : V extends Uint8Array
        ? Uint8Array | string
        : V extends number
          ? number | bigint
          : V extends string
            ? WrittenText<V>
            : V extends readonly (infer E)[]
              ? readonly Written<E>[]
              : V extends object
                ? WrittenObject<V>
                : V

/** A decimal may be any text here: what a program computes one with gives a string. */
type WrittenText<V extends string> = string extends V ? V : Decimal extends V ? string | number | bigint : V

type WrittenObject<V> = string extends keyof V
  ? { readonly [N in keyof V]: Written<V[N]> } | ReadonlyMap<string, Written<V[keyof V]>>
  : Flat<
      { readonly [N in keyof V as null extends V[N] ? never : N]: Written<V[N]> } & {
        readonly [N in keyof V as null extends V[N] ? N : never]?: Written<V[N]> | undefined
      }
    >

/** What may be produced of what stands for a table; a table by its name takes anything. Null is a tombstone. */
export type ProducedOf<T> = T extends { readonly $input: infer I } ? I | null : AnyRow | null

/** What a definition says of fields that are no columns. */
export type UnknownFields = TableDefinition['unknown']

/** A format in its two forms. */
export type FormatAs<G extends ValueFormat> = G | (WrittenFormat & { readonly format: G })
