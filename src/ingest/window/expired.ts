import { windowCodeHash } from '../../define-code.ts'
import type { WritePlan } from '../../lake/table.ts'
import { literal, quoted } from '../decode/data-file-writer.ts'
import { sqlType } from '../table-work/stored-sql.ts'
import type { FoldDatabase } from './fold-database.ts'
import { END, list, PART, type Relations, ROWS, same, START } from './fold-relations.ts'

/** What came for windows that left the fold and do not come back: it cannot be counted any more. */
export interface Expired {
  /** Rows of the late file. */
  readonly rows: number
  readonly late: number
  readonly lateAssignments: number
  /** The query that gives them, with the columns of the late table. */
  rowsSql(plan: WritePlan): string
}

/**
 * Takes from `staged` what belongs to a cell that ended until then and is not held (rule C5, `row_expired`): that is
 * deleted, or, where nothing can be made again, settled. That is possible only for records of a partition that was added
 * later, or under a `retain` that is shorter than the lateness.
 * The records themselves are known no more, only their partials: the late table gets a row per group and window with
 * the group's columns and, as its weight, the number of records.
 */
export async function takeExpired(
  database: FoldDatabase,
  relations: Relations,
  goneUntil: number | undefined,
): Promise<Expired> {
  const { cells, definition, groups, key, slices, source } = relations
  const { kind } = definition.window
  // A session may have taken in what begins before it ended.
  const end = kind === 'session' ? START : slices === undefined ? END : slices.lastEnd(START)
  const isGone = `${PART} = 0 AND ${end} <= ${goneUntil ?? 'NULL'}`
  const rowsSql = (plan: WritePlan): string =>
    lateRowsSql(plan, groups, source.topic, windowCodeHash(definition, source))
  const [candidates] =
    goneUntil === undefined ? [0] : await database.numbers(`SELECT count(*) FROM staged WHERE ${isGone}`)
  if (candidates === 0) return { rows: 0, late: 0, lateAssignments: 0, rowsSql }
  const isHeld =
    kind === 'session'
      ? `${same('s', 'c', groups)} AND c.${START} <= s.${END} AND c.${END} >= s.${START}`
      : same('s', 'c', key)
  const cell = [...new Set([...key, END])]
  await database.temporary(
    'expired',
    `SELECT ${list([...cell, `sum(${ROWS}) AS ${ROWS}`])} FROM (SELECT * FROM staged WHERE ${isGone}) s ANTI JOIN (SELECT * FROM ${cells} WHERE ${PART} = 0) c ON ${isHeld} GROUP BY ${list(cell)}`,
  )
  await database.run(
    `DELETE FROM staged WHERE rowid IN (SELECT s.rowid FROM staged s SEMI JOIN expired e ON ${same('s', 'e', cell)})`,
  )
  const [rows, records] = await database.numbers(
    `SELECT count(*), coalesce(sum(abs(${ROWS})), 0) FROM expired WHERE ${ROWS} <> 0`,
  )
  // Elsewhere a record may have counted in other windows.
  const isOnly = kind === 'tumbling' || kind === 'calendar' || kind === 'session'
  return { rows: rows!, late: isOnly ? records! : 0, lateAssignments: records!, rowsSql }
}

function lateRowsSql(plan: WritePlan, groups: readonly string[], topic: string, hash: string): string {
  const instant = (column: string): string => `make_timestamptz(${column} * 1000)`
  const values: ReadonlyMap<string, string> = new Map([
    ...groups.map((name) => [name, name] as const),
    ['"_topic"', literal(topic)],
    ['"_late_windows"', `[{'start': ${instant(START)}, 'end': ${instant(END)}}]`],
    ['"_counted_windows"', '0'],
    ['"_weight"', ROWS],
    ['"_reason"', literal('row_expired')],
    ['"_code_hash"', literal(hash)],
  ])
  const columns = plan.schema.fields.map(({ name, type }) => {
    const column = quoted(name)
    return `CAST(${values.get(column) ?? 'NULL'} AS ${sqlType(type)}) AS ${column}`
  })
  return `SELECT ${columns.join(', ')} FROM expired WHERE ${ROWS} <> 0 ORDER BY ${list([END, START, ...groups])}`
}
