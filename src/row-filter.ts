import type { ColumnType } from './batch.ts'
import {
  columnsAs,
  conditionText,
  EXPRESSIONS,
  isExpression,
  type ColumnsOf,
  type Condition,
} from './define-expression.ts'
import type { ComparedWith } from './define-row.ts'
import { LakeError } from './error.ts'
import { quoted } from './sql-text.ts'

type Comparable = string | number | bigint | boolean | Date | Uint8Array

/** What a column is to be: a value, one of several, null, or all that these say. */
export type ColumnFilter<V> =
  | V
  | readonly V[]
  | {
      readonly eq?: V
      readonly ne?: V
      readonly lt?: V
      readonly lte?: V
      readonly gt?: V
      readonly gte?: V
      readonly in?: readonly V[]
      readonly isNull?: boolean
    }

/** Which rows: what all of these columns are to be. Lists, maps and structs are not compared. */
export type RowFilter<R> = {
  readonly [N in keyof R]?: unknown extends R[N]
    ? ColumnFilter<Comparable> | null
    : NonNullable<R[N]> extends Comparable
      ? ColumnFilter<ComparedWith<N, NonNullable<R[N]>>> | (null extends R[N] ? null : never)
      : never
}

export interface RowsOptions<R> {
  /** `{ status: 'paid', amount: { gte: '10' } }`, a function of the columns, or SQL. */
  readonly where?: RowFilter<R> | Condition<R>
  /** Default: the order of the key, or of the log. `{}`: as they come, which is the fastest. */
  readonly orderBy?: { readonly [N in keyof R]?: 'asc' | 'desc' }
  readonly limit?: number
  /** A version (12, 12n, 'shop@12'), a time, or 'topic/partition@offset'. Default: the newest. */
  readonly asOf?: string | number | bigint | Date
  readonly signal?: AbortSignal
}

/** What is known of a table when rows of it are asked for. */
export interface RowsOf {
  readonly name: string
  readonly typeOf: (column: string) => ColumnType | undefined
  /** What rows are ordered by when nobody says. */
  readonly key: readonly string[]
}

const LIMIT_MAX = 2 ** 31

/** The statement that gives the rows. Throws `request.invalid`. */
export function rowsSql({ name, typeOf, key }: RowsOf, options: RowsOptions<any>): string {
  const { where, orderBy, limit } = options
  const filter = where === undefined ? '' : ` WHERE (\n${whereText(where, typeOf)}\n)`
  const order =
    orderBy === undefined
      ? key.map((column) => `${quoted(column)} NULLS LAST`)
      : Object.entries(orderBy).flatMap(([column, direction]) =>
          direction === undefined ? [] : [`${quoted(column)} ${directionText(direction)} NULLS LAST`],
        )
  if (limit !== undefined && !(Number.isInteger(limit) && limit >= 0 && limit <= LIMIT_MAX))
    throw invalid(`limit: ${limit} is no number of rows`, 'Take a whole number.')
  return [
    `SELECT * FROM ${quoted(name)}${filter}`,
    ...(order.length === 0 ? [] : [`ORDER BY ${order.join(', ')}`]),
    ...(limit === undefined ? [] : [`LIMIT ${limit}`]),
  ].join(' ')
}

/** `asOf` as it is written everywhere. */
export function asOfText(asOf: RowsOptions<unknown>['asOf']): string | undefined {
  if (!(asOf instanceof Date)) return asOf === undefined ? undefined : String(asOf)
  if (Number.isNaN(asOf.getTime())) throw invalid('asOf: this Date is none', 'Take one that is an instant.')
  return asOf.toISOString()
}

function whereText(where: RowFilter<any> | Condition<any>, typeOf: RowsOf['typeOf']): string {
  const columns = columnsAs<any>(typeOf)
  try {
    if (typeof where !== 'object') return conditionText(where, columns)
    const conditions = Object.entries(where).map(([column, filter]) => columnText(columns, column, filter))
    return conditions.length === 0 ? 'true' : conditions.join(' AND ')
  } catch (error) {
    // A value that no column holds is an error of the request here, not of a definition.
    if (error instanceof LakeError && error.code === 'config.invalid') throw invalid(error.message, error.fix)
    throw error
  }
}

function columnText(columns: ColumnsOf<any>, name: string, filter: unknown): string {
  const column = columns[name]!
  const { eq, inList, isNull, isNotNull } = EXPRESSIONS
  if (filter === undefined || isExpression(filter))
    throw invalid(`where.${name}: there is nothing to compare with`, 'Leave it out, or write null.')
  if (filter === null) return isNull(column).sql
  if (Array.isArray(filter)) return inList(column, filter).sql
  if (typeof filter !== 'object' || filter instanceof Date || filter instanceof Uint8Array)
    return eq(column, filter).sql
  const parts = Object.entries(filter).flatMap(([word, value]) => {
    if (value === undefined) return []
    if (word === 'isNull') return [(value === true ? isNull : isNotNull)(column).sql]
    if (word === 'in') return [inList(column, value as readonly unknown[]).sql]
    if (!isComparison(word)) throw invalid(`where.${name}: there is no "${word}"`, WORDS)
    return [EXPRESSIONS[word](column, value).sql]
  })
  return parts.length === 0 ? 'true' : parts.join(' AND ')
}

const COMPARISONS = ['eq', 'ne', 'lt', 'lte', 'gt', 'gte'] as const
const WORDS = `Take ${COMPARISONS.join(', ')}, in or isNull.`

function isComparison(word: string): word is (typeof COMPARISONS)[number] {
  return (COMPARISONS as readonly string[]).includes(word)
}

function directionText(direction: unknown): string {
  if (direction === 'asc' || direction === 'desc') return direction.toUpperCase()
  throw invalid(`orderBy: ${JSON.stringify(direction)} is no direction`, 'Write asc or desc.')
}

function invalid(message: string, fix: string | undefined): LakeError {
  return new LakeError('request.invalid', message, fix === undefined ? {} : { fix })
}
