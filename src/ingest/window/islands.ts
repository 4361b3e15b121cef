import { quoted } from '../decode/data-file-writer.ts'
import { fromText } from './assign.ts'
import { CELL_COLUMNS } from '../../window/sql.ts'

/** Columns that `islandsSql` adds: the session that a cell is part of. With the groups, the start identifies it. */
export const ISLAND_COLUMNS = { start: '__island_start', end: '__island_end' } as const

const { start: START, end: END } = CELL_COLUMNS

/**
 * Sessions as the connected components of provisional or partial ones (rules N1, N2): `relation`, a query or what may
 * follow FROM, has `__start`, `__end` and the group columns, which may be null; each row gets the start and the end of
 * its component. Cells that touch are one, since an end is a gap after the last event.
 */
export function islandsSql(relation: string, groupColumns: readonly string[]): string {
  const groups = groupColumns.map(quoted).join(', ')
  const within = groups === '' ? '' : `PARTITION BY ${groups} `
  const component = `PARTITION BY ${[...groupColumns.map(quoted), ISLAND_COLUMNS.start].join(', ')}`
  // Rows of one start are peers: exactly one of them may begin a component, and the frame by RANGE gives it to them all.
  const begins = `${START} > max(${END}) OVER (${within}ORDER BY ${START} ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)`
  return `SELECT *, max(${END}) OVER (${component}) AS ${ISLAND_COLUMNS.end}
FROM (SELECT * EXCLUDE (__begins), max(__begins) OVER (${within}ORDER BY ${START} RANGE UNBOUNDED PRECEDING) AS ${ISLAND_COLUMNS.start}
FROM (SELECT *, CASE WHEN (${begins}) IS NOT FALSE THEN ${START} END AS __begins FROM ${fromText(relation)}))`
}
