import type { Column } from '../../batch.ts'
import type { TableDefinition } from '../../define.ts'
import type { WindowDefinition } from '../../define-window.ts'
import { squareFits } from '../../window/sql.ts'
import { quoted } from '../decode/data-file-writer.ts'

/** How the expressions of a window judge a row, as SQL over the columns of its source. None is ever null. */
export interface VerdictSql {
  /** Whether the row counts, as far as its values say. */
  readonly passes: string
  /** Whether an expression fails on its values. */
  readonly fails: string
}

/** What is asked of a source to judge its rows. */
export type JudgedSource = Pick<TableDefinition, 'columns' | 'eventTime'>

/**
 * What `where`, and the conditions of aggregates, say of a row; undefined where there are none. A row on which one of
 * them fails counts in nothing, so that the windows are those of all other rows (rules X1, section 17): bad input must
 * not stop a stream. So does a row of which one value alone is more than an aggregate can hold. Conditions of aggregates
 * are looked at where `where` is true. Whatever the rows beside it and the order in which DuckDB would evaluate it, a row
 * has one verdict: both sides of AND and OR are evaluated.
 *
 *   null: fails · 0: another row · above: counts
 */
export function verdictSql(
  { where, select }: Pick<WindowDefinition, 'where' | 'select'>,
  { columns }: Pick<JudgedSource, 'columns'>,
): VerdictSql | undefined {
  const conditions = select.flatMap((each) => [
    ...(each.where === undefined ? [] : [truth(each.where)]),
    ...holds(each, columns),
  ])
  if (where === undefined && conditions.length === 0) return undefined
  const all = ['1', ...conditions].join(' + ')
  const verdict = `TRY(${where === undefined ? all : `CASE WHEN ${truth(where)} = 1 THEN ${all} ELSE 0 END`})`
  return { passes: `coalesce(${verdict}, 0) > 0`, fails: `${verdict} IS NULL` }
}

/** 1 or 0. As a value, not as a condition, which DuckDB would evaluate from left to right and only as far as it must. */
function truth(condition: string): string {
  return `CAST(coalesce(CAST((${condition}\n) AS BOOLEAN), false) AS INTEGER)`
}

/** Of an aggregate that a single value can be too much for: 0, null where it is and would count. */
function holds({ fn, column, where }: WindowDefinition['select'][number], columns: readonly Column[]): string[] {
  const type = columns.find(({ name }) => name === column)?.type
  const fits = fn === 'var' && type !== undefined ? squareFits(quoted(column!), type) : undefined
  if (fits === undefined) return []
  return [`CASE WHEN ${where === undefined ? '' : `${truth(where)} = 0 OR `}${fits} THEN 0 END`]
}
