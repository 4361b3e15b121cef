import type { ColumnType } from './batch.ts'
import { problem } from './define-fields.ts'
import type { ComparedWith, Decimal } from './define-row.ts'
import { literal, quoted } from './sql-text.ts'

/**
 * Conditions and computed values that the compiler checks: `(o, { and, gt, ne }) => and(ne(o.status, 'test'), gt(o.amount, '10'))`.
 * They are SQL when they are made, and then what the same text would be.
 */

declare const value: unique symbol

/** SQL over the columns of one row that gives a `V`, or null. */
export interface Expression<V> {
  readonly kind: 'expression'
  readonly sql: string
  /** Says how values beside it are written; undefined where nobody knows. */
  readonly type: ColumnType | undefined
  /** Of the compiler alone. */
  readonly [value]?: V
}

/** The columns of a row as expressions. */
export type ColumnsOf<R> = { readonly [N in keyof R]-?: Expression<ComparedWith<N, NonNullable<R[N]>>> }

/** A condition as text, or as a function of the columns. */
export type Condition<R> = string | ((columns: ColumnsOf<R>, expressions: Expressions) => Expression<boolean>)

type Numeric = number | bigint | Decimal
/** What a column is compared with: another, or a value. */
type Operand<V> = Expression<V> | V
type Compare = <V>(left: Expression<V>, right: Operand<NoInfer<V>>) => Expression<boolean>
type Compute = (left: Expression<Numeric>, right: Operand<Numeric>) => Expression<Numeric>
type Join = (...conditions: readonly Expression<boolean>[]) => Expression<boolean>

/** What conditions and computed values are made of. A comparison with null is null, which is not true. */
export interface Expressions {
  readonly eq: Compare
  /** Also with texts that an enum does not have: no row holds one. */
  readonly ne: <V>(
    left: Expression<V>,
    right: Operand<NoInfer<V>> | (V extends string ? string : never),
  ) => Expression<boolean>
  readonly lt: Compare
  readonly lte: Compare
  readonly gt: Compare
  readonly gte: Compare
  readonly between: <V>(left: Expression<V>, from: Operand<NoInfer<V>>, to: Operand<NoInfer<V>>) => Expression<boolean>
  readonly inList: <V>(left: Expression<V>, values: readonly NoInfer<V>[]) => Expression<boolean>
  /** `%` stands for any text, `_` for a character. */
  readonly like: (text: Expression<string>, pattern: string) => Expression<boolean>
  readonly isNull: (value: Expression<unknown>) => Expression<boolean>
  readonly isNotNull: (value: Expression<unknown>) => Expression<boolean>
  /** Of none: true. */
  readonly and: Join
  /** Of none: false. */
  readonly or: Join
  readonly not: (condition: Expression<boolean>) => Expression<boolean>
  readonly add: Compute
  readonly sub: Compute
  readonly mul: Compute
  /** With a fraction, `7 / 2` is 3.5. */
  readonly div: Compute
  readonly lower: (text: Expression<string>) => Expression<string>
  readonly upper: (text: Expression<string>) => Expression<string>
  /** The first that is not null. */
  readonly coalesce: <V>(first: Expression<V>, ...rest: readonly Operand<NoInfer<V>>[]) => Expression<V>
}

export const EXPRESSIONS: Expressions = {
  eq: (left, right) => binary(left, '=', right),
  ne: (left, right) => binary(left, '<>', right),
  lt: (left, right) => binary(left, '<', right),
  lte: (left, right) => binary(left, '<=', right),
  gt: (left, right) => binary(left, '>', right),
  gte: (left, right) => binary(left, '>=', right),
  between: (left, from, to) =>
    expression(`(${left.sql} BETWEEN ${operand(from, left.type)} AND ${operand(to, left.type)})`),
  inList: (left, values) =>
    values.length === 0
      ? expression('(false)')
      : expression(`(${left.sql} IN (${values.map((each) => operand(each, left.type)).join(', ')}))`),
  like: (text, pattern) => expression(`(${text.sql} LIKE ${literal(pattern)})`),
  isNull: (given) => expression(`(${given.sql} IS NULL)`),
  isNotNull: (given) => expression(`(${given.sql} IS NOT NULL)`),
  and: (...conditions) => joined(conditions, 'AND', 'true'),
  or: (...conditions) => joined(conditions, 'OR', 'false'),
  not: (condition) => expression(`(NOT ${condition.sql})`),
  add: (left, right) => binary(left, '+', right),
  sub: (left, right) => binary(left, '-', right),
  mul: (left, right) => binary(left, '*', right),
  div: (left, right) => binary(left, '/', right),
  lower: (text) => expression(`lower(${text.sql})`),
  upper: (text) => expression(`upper(${text.sql})`),
  coalesce: (first, ...rest) =>
    expression(`coalesce(${[first.sql, ...rest.map((each) => operand(each, first.type))].join(', ')})`, first.type),
}

/**
 * Columns by name, whatever the name: whether there is such a column is found where the SQL is. `typeOf` says of which type
 * it is.
 */
export function columnsAs<R>(typeOf: (name: string) => ColumnType | undefined): ColumnsOf<R> {
  const get = (_: unknown, name: string | symbol) =>
    typeof name === 'string' ? expression(quoted(name), typeOf(name)) : undefined
  return new Proxy({}, { get }) as ColumnsOf<R>
}

/** The text of a condition. Throws `config.invalid` for a function that gives none. */
export function conditionText<R>(condition: Condition<R>, columns: ColumnsOf<R>): string {
  if (typeof condition !== 'function') return condition
  const made: unknown = condition(columns, EXPRESSIONS)
  if (isExpression(made)) return made.sql
  throw problem('the function gives no condition', "Write where: (row, { eq }) => eq(row.status, 'paid').")
}

export function isExpression(given: unknown): given is Expression<unknown> {
  return typeof given === 'object' && given !== null && (given as { kind?: unknown }).kind === 'expression'
}

/**
 * A value of a program as SQL, beside something of this type. Throws `config.invalid` for what no column holds.
 */
export function valueText(given: unknown, type: ColumnType | undefined): string {
  const kind = type?.kind
  switch (typeof given) {
    case 'boolean':
      return String(given)
    case 'number':
      if (Number.isFinite(given)) return String(given)
      return `${literal(given !== given ? 'nan' : given > 0 ? 'inf' : '-inf')}::DOUBLE`
    case 'bigint':
      return kind === 'timestamp' || kind === 'timestamptz' ? instant(given, kind) : String(given)
    case 'string':
      return kind === 'decimal' ? decimal(given) : literal(given)
    case 'object':
      if (given === null) return 'NULL'
      if (given instanceof Date) return instant(microsOf(given), kind === 'timestamp' ? kind : 'timestamptz')
      if (given instanceof Uint8Array) return bytes(given)
  }
  throw problem(
    `a ${typeof given} is no value of a column`,
    'Take a text, number, bigint, boolean, Date, Uint8Array or null.',
  )
}

function operand(given: unknown, type: ColumnType | undefined): string {
  return isExpression(given) ? given.sql : valueText(given, type)
}

function binary<V>(left: Expression<unknown>, sign: string, right: unknown): Expression<V> {
  return expression(`(${left.sql} ${sign} ${operand(right, left.type)})`)
}

function joined(conditions: readonly Expression<boolean>[], word: string, none: string): Expression<boolean> {
  return expression(`(${conditions.length === 0 ? none : conditions.map(({ sql }) => sql).join(` ${word} `)})`)
}

function expression<V>(sql: string, type?: ColumnType): Expression<V> {
  return { kind: 'expression', sql, type }
}

/** Unquoted, it is exact: a text would be read by whatever stands beside it. */
function decimal(text: string): string {
  if (/^[+-]?(\d{1,38}(\.\d{0,38})?|\.\d{1,38})$/.test(text)) return text
  throw problem(`${JSON.stringify(text.slice(0, 60))} is not a decimal`, "Write digits, such as '12.50'.")
}

function microsOf(date: Date): bigint {
  const inMs = date.getTime()
  if (Number.isNaN(inMs)) throw problem('this Date is none', 'Take one that is an instant.')
  return BigInt(inMs) * 1_000n
}

/** Years that a text of four digits can say, which every engine reads alike. */
const MICROS = { min: -62_135_596_800_000_000n, max: 253_402_300_799_999_999n }

function instant(micros: bigint, kind: 'timestamp' | 'timestamptz'): string {
  if (micros < MICROS.min || micros > MICROS.max)
    throw problem(`${micros} is not in the years 1 to 9999`, 'Take microseconds since 1970.')
  const below = ((micros % 1_000_000n) + 1_000_000n) % 1_000_000n
  const seconds = new Date(Number((micros - below) / 1_000n)).toISOString().slice(0, 19)
  const text = `${seconds}.${String(below).padStart(6, '0')}`
  return kind === 'timestamp' ? `TIMESTAMP '${text.replace('T', ' ')}'` : `TIMESTAMPTZ '${text}Z'`
}

function bytes(given: Uint8Array): string {
  return `'${[...given].map((byte) => `\\x${byte.toString(16).padStart(2, '0').toUpperCase()}`).join('')}'::BLOB`
}
