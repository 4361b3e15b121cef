import type { ColumnType } from './batch.ts'
import { columnsAs, conditionText, type ColumnsOf, type Condition } from './define-expression.ts'
import { didYouMean, problem } from './define-fields.ts'
import type { ColumnKinds, ExactKind, NamesOf, NumericKind, PrimitiveKind } from './define-kinds.ts'
import type { RowOfKinds, SumOf, ValueAt } from './define-row.ts'
import { expressionProblem } from './define-sql-tokens.ts'
import type { AggregateDefinition, AggregateFunction } from './define-window.ts'

declare const result: unique symbol

/** One aggregate as a program writes it; its text is what YAML has. It gives a `V`, over rows `R`. */
export interface Aggregate<V = unknown, R = any> {
  readonly text: string
  /** Of the compiler alone. */
  readonly [result]?: V
  /** Only rows for which the SQL is true are aggregated. */
  where(condition: Condition<R>): Aggregate<V, R>
}

/** What `select` may use: columns are those of the source that fit. Where there was no value, all but counts are null. */
export interface Aggregates<K extends ColumnKinds, R = RowOfKinds<K>> {
  /** Of rows, or of the values of a column that are not null. */
  count(column?: keyof K & string): Aggregate<bigint, R>
  countDistinct(column: NamesOf<K, PrimitiveKind>): Aggregate<bigint, R>
  /** Exact: of whole numbers and decimals it is a decimal. */
  sum<N extends NamesOf<K, NumericKind>>(column: N): Aggregate<SumOf<K[N]> | null, R>
  avg(column: NamesOf<K, NumericKind>): Aggregate<number | null, R>
  min<N extends NamesOf<K, PrimitiveKind>>(column: N): Aggregate<ValueAt<R, N> | null, R>
  max<N extends NamesOf<K, PrimitiveKind>>(column: N): Aggregate<ValueAt<R, N> | null, R>
  /** By event time, then partition and offset. */
  first<N extends NamesOf<K, PrimitiveKind>>(column: N): Aggregate<ValueAt<R, N> | null, R>
  last<N extends NamesOf<K, PrimitiveKind>>(column: N): Aggregate<ValueAt<R, N> | null, R>
  /** Variance of a sample. */
  var(column: NamesOf<K, ExactKind>): Aggregate<number | null, R>
  /** The `n` greatest values, the greatest first. */
  top<N extends NamesOf<K, PrimitiveKind>>(n: number, column: N): Aggregate<readonly ValueAt<R, N>[] | null, R>
}

/** Over a table whose columns are of these types. */
export function aggregatesOver(typeOf: (column: string) => ColumnType | undefined): Aggregates<ColumnKinds, any> {
  const columns = columnsAs<any>(typeOf)
  const aggregate = (text: string) => aggregateOf<any>(text, columns)
  return {
    count: (column = '') => aggregate(`count(${column})`),
    countDistinct: (column) => aggregate(`count(distinct ${column})`),
    sum: (column) => aggregate(`sum(${column})`),
    avg: (column) => aggregate(`avg(${column})`),
    min: (column) => aggregate(`min(${column})`),
    max: (column) => aggregate(`max(${column})`),
    first: (column) => aggregate(`first(${column})`),
    last: (column) => aggregate(`last(${column})`),
    var: (column) => aggregate(`var(${column})`),
    top: (n, column) => aggregate(`top(${n}, ${column})`),
  }
}

/** Values of one `top`. */
export const TOP_MAX = 1_000

const FORMS = 'Write count(), count(a), count(distinct a), sum avg min max first last var of (a), or top(3, a).'
const NAME = /^[\p{L}\p{N}_$@][\p{L}\p{N}\p{M}_$@-]*$/u
const ONE_COLUMN: readonly AggregateFunction[] = ['sum', 'avg', 'min', 'max', 'first', 'last', 'var']

/** `sum(amount)`, `count(distinct id) where amount > 5`, `top(3, amount)`. Throws `config.invalid`. */
export function readAggregate(text: string): Omit<AggregateDefinition, 'name'> {
  const parts = /^([A-Za-z_]+)\s*\(([^()]*)\)(?:\s+where\s+([\s\S]+))?$/i.exec(text)
  if (parts === null) throw problem(`"${text}" is not an aggregate`, FORMS)
  const [word, argument, condition] = [parts[1]!.toLowerCase(), parts[2]!.trim(), parts[3]]
  return { ...readCall(word, argument, text), where: condition === undefined ? undefined : readCondition(condition) }
}

function readCall(word: string, argument: string, text: string): Pick<AggregateDefinition, 'fn' | 'column' | 'n'> {
  if (word === 'count') {
    const distinct = /^distinct\s+(\S+)$/i.exec(argument)
    if (distinct !== null) return { fn: 'count_distinct', column: distinct[1]!, n: undefined }
    if (argument === '' || argument === '*') return { fn: 'count', column: undefined, n: undefined }
  }
  if (word === 'top') {
    const parts = /^(\d{1,9})\s*,\s*([^\s,]+)$/.exec(argument)
    if (parts === null) throw problem(`"${text}" is not an aggregate`, 'Write top(3, column).')
    const n = Number(parts[1])
    if (n < 1 || n > TOP_MAX) throw problem(`top(${n}) is not from 1 to ${TOP_MAX}`)
    return { fn: 'top', column: parts[2]!, n }
  }
  const fn = word === 'count' ? word : ONE_COLUMN.find((one) => one === word)
  if (fn === undefined) {
    const meant = didYouMean(word, [...ONE_COLUMN, 'count', 'top'])
    throw problem(`there is no aggregate "${word}"`, meant === undefined ? FORMS : `Did you mean "${meant}"?`)
  }
  if (!NAME.test(argument))
    throw problem(
      `"${text}" needs one column`,
      `Write ${fn}(column); for what is computed, add a column to the table, "x: decimal(12,2) = price * quantity".`,
    )
  return { fn, column: argument, n: undefined }
}

function readCondition(text: string): string {
  const wrong = expressionProblem(text)
  if (wrong !== undefined) throw wrong
  return text.trim()
}

function aggregateOf<V>(text: string, columns: ColumnsOf<any>): Aggregate<V> {
  return { text, where: (condition) => aggregateOf(`${text} where ${conditionText(condition, columns)}`, columns) }
}
