import type { FoldDatabase } from './fold-database.ts'
import { becameFinal, END, list, PART, partOf, partsOf, type Relations, same, START, upTo } from './fold-relations.ts'
import type { ResultOptions, UsePart } from './fold-results.ts'
import { ISLAND_COLUMNS, islandsSql } from './islands.ts'
import { mergeSql } from '../../window/sql.ts'

// Sessions over rows (rule N4): cells are event times of a group, one gap long, and what touches of them is a session. It
// is put together anew for every group that changed, so a row that goes may shrink, split or remove it.

const [ISLAND_START, ISLAND_END] = [ISLAND_COLUMNS.start, ISLAND_COLUMNS.end]

/** The cells of `from`, details left out, each with start and end of its session. */
export function cellIslandsSql({ groups, shape }: Relations, from: string): string {
  const cells = `SELECT ${list([...groups, START, END, '__fold'])} FROM ${from} WHERE ${PART} = 0`
  return islandsSql(
    cells,
    shape.groups.map(({ name }) => name),
  )
}

/** The sessions of all groups that changed, or of which a session may have become final; `vanished` are those that were. */
export async function chooseIslands(
  database: FoldDatabase,
  relations: Relations,
  { fold, finalUntil, finalBefore, goneUntil, isReopened, openSince }: ResultOptions,
  use: UsePart,
): Promise<void> {
  const { cells, columns, definition, groups, shape } = relations
  const group = list([...groups, 'true AS __any'])
  // What is not due now is known by its cells later, also where all that happened is that one of them went.
  if (definition.earlyMs > 0)
    await database.run(
      `UPDATE ${cells} SET __fold = ${fold} WHERE rowid IN (SELECT c.rowid FROM ${cells} c SEMI JOIN staged s ON ${same('c', 's', groups)})`,
    )
  const due = openSince === undefined ? 'false' : `__fold > ${openSince}`
  const isWanted = `${PART} = 0 AND (${becameFinal(END, finalUntil, finalBefore)} OR ${due})`
  await database.temporary(
    'touched',
    `SELECT ${group} FROM staged UNION SELECT ${group} FROM ${cells} WHERE ${isWanted}`,
  )
  const own = `(SELECT c.* FROM ${cells} c SEMI JOIN touched t ON ${same('c', 't', groups)})`
  await database.temporary('islands', cellIslandsSql(relations, own))
  await makeVanished(database, relations)
  const rows = columns.map((name) =>
    name === START ? `i.${ISLAND_START} AS ${START}` : name === END ? `i.${ISLAND_END} AS ${END}` : `c.${name}`,
  )
  // What is left of a session that is gone, or was not yet given up, has been written for the last time.
  const reopened = `EXISTS (SELECT 1 FROM wanted w WHERE ${same('w', 'i', groups)} AND w.${START} <= i.${ISLAND_END} AND w.${END} >= i.${ISLAND_START})`
  const isHere =
    goneUntil === undefined ? 'true' : `(i.${ISLAND_END} > ${goneUntil}${isReopened ? ` OR ${reopened}` : ''})`
  await database.temporary(
    'chosen',
    `SELECT ${list(rows)} FROM ${cells} c JOIN islands i ON ${same('c', 'i', [...groups, START])} WHERE ${isHere}`,
  )
  const [count, vanished] = await database.numbers(
    'SELECT (SELECT count(*) FROM chosen), (SELECT count(*) FROM vanished)',
  )
  if (count! + vanished! === 0) return
  const parts = partsOf(groups, count!, database.rowsMax)
  for (let k = 0; k < parts; k++) {
    const isOurs = partOf(groups, k, parts)
    await database.temporary('chosen_rows', mergeSql(shape, `(SELECT * FROM chosen WHERE ${isOurs})`))
    await use({ rows: 'chosen_rows', gone: `(SELECT * FROM vanished WHERE ${isOurs})`, isMerged: false })
  }
}

/** Result rows that begin where no session begins any more, and the first session that has a part of them, if one does. */
async function makeVanished(database: FoldDatabase, { groups, identity, outputs }: Relations): Promise<void> {
  const spans = `(SELECT DISTINCT ${list([...groups, ISLAND_START, ISLAND_END])} FROM islands)`
  await database.temporary(
    'vanished',
    `SELECT ${list(identity, 'o')}, min(i.${ISLAND_START}) AS __to
FROM (SELECT o.* FROM ${outputs} o SEMI JOIN touched t ON ${same('o', 't', groups)}) o
LEFT JOIN ${spans} i ON ${same('o', 'i', groups)} AND i.${ISLAND_START} < o.${END} AND o.${START} < i.${ISLAND_END}
GROUP BY ALL HAVING bool_or(i.${ISLAND_START} = o.${START}) IS NOT TRUE`,
  )
}

/** Places of all rows of the cells of sessions that end until then and were left alone by this fold, with `__rid`. */
export function settledIslandsSql(relations: Relations, fold: number, until: number | undefined): string {
  const { cells, groups } = relations
  const own = `(SELECT c.* FROM ${cells} c SEMI JOIN (SELECT ${list([...groups, 'true AS __any'])} FROM ${cells} WHERE ${PART} = 0 AND ${upTo(END, until)}) t ON ${same('c', 't', groups)})`
  const session = list([...groups, ISLAND_START])
  return `SELECT c.__file, c.__row, c.rowid AS __rid FROM ${cells} c SEMI JOIN (
SELECT *, max(__fold) OVER (PARTITION BY ${session}) AS __touched FROM (${cellIslandsSql(relations, own)})) i
ON ${same('c', 'i', [...groups, START])} AND i.__touched < ${fold} AND ${upTo(`i.${ISLAND_END}`, until)}`
}
