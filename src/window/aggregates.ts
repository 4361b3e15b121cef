import type { Column } from '../batch.ts'
import type { AggregateDefinition } from '../define-window.ts'
import { LakeError } from '../error.ts'
import { quoted } from '../sql-text.ts'
import type { AggregateSql } from './aggregate.ts'
import { piecesOf } from './double-pieces.ts'
import { doubleAverage, doubleSum } from './double-sums.ts'
import { exactAverage, exactSum, exactVariance } from './exact-sums.ts'
import { distinct, extreme, greatest, positioned } from './kept-values.ts'
import { countPartial, type Operand, type WindowInput } from './operand.ts'
import { isFloating } from './sql-type.ts'
import { CELL_COLUMNS } from './cells.ts'

/**
 * The SQL of an aggregate over the rows of a table with these columns (rules A4, A5). Texts of `events` name no sign;
 * with `rows` every row has one, what can be inverted is added up with it, and of the rest each value has a weight.
 * Over nothing but nulls counts are 0 and everything else is null. `finish` needs the functions of `registerExact`.
 * Columns of events may have their pieces among them.
 */
export function aggregateSql(
  { name, fn, column: columnName, n, where }: AggregateDefinition,
  columns: readonly Column[],
  input: WindowInput,
): AggregateSql {
  if (columnName === undefined) return countOfRows(name, where, input)
  const column = columns.find((candidate) => candidate.name === columnName)
  if (column === undefined)
    throw new LakeError('internal', `${name}: an aggregate of ${columnName}, which is no column`)
  const filtered = (column: string): string =>
    where === undefined ? quoted(column) : `CASE WHEN ${condition(where)} THEN ${quoted(column)} END`
  const value = filtered(columnName)
  const pieces = piecesOf(columnName)
  const bucket = columns.some((each) => each.name === pieces.bucket) ? filtered(pieces.bucket) : undefined
  const operand: Operand = { name, column, value, input, bucket }
  switch (fn) {
    case 'count':
      return countOf(name, `(${value}) IS NOT NULL`, input)
    case 'count_distinct':
      return distinct(operand)
    case 'sum':
      return isFloating(column.type) ? doubleSum(operand) : exactSum(operand)
    case 'avg':
      return isFloating(column.type) ? doubleAverage(operand) : exactAverage(operand)
    case 'var':
      return exactVariance(operand)
    case 'min':
    case 'max':
      return extreme(operand, fn)
    case 'first':
    case 'last':
      return positioned(operand, fn)
    case 'top':
      return greatest(operand, n!)
  }
}

/** Whether a statement failed because a sum, or a square, has more than 38 digits: `aggregate.overflow`. */
export function isOverflow(error: unknown): boolean {
  return error instanceof Error && OVERFLOWS.some((message) => message.test(error.message))
}

const OVERFLOWS = [
  /Overflow in HUGEINT (addition|multiplication)/,
  /Overflow in (addition|subtract|subtraction|multiplication) of (INT128|DECIMAL\(38\))/,
  /Could not cast value -?\d+ to DECIMAL\(38,0\)/,
]

/** All rows of a cell are counted anyway. */
function countOfRows(name: string, where: string | undefined, input: WindowInput): AggregateSql {
  if (where !== undefined) return countOf(name, condition(where), input)
  const result: Column = { name, type: { kind: 'long' } }
  return { result, partials: [], detail: undefined, finish: quoted(CELL_COLUMNS.rows) }
}

function countOf(name: string, isCounted: string, input: WindowInput): AggregateSql {
  const count = countPartial(name, 'count', isCounted, input)
  const result: Column = { name, type: { kind: 'long' } }
  return { result, partials: [count], detail: undefined, finish: quoted(count.column.name) }
}

/**
 * A text of the user's, which may end in a comment. Rows on which it fails are not aggregated; but DuckDB may look at them
 * before it filters them.
 */
function condition(where: string): string {
  return `TRY(CAST((${where}\n) AS BOOLEAN))`
}
