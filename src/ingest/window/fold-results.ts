import { quoted } from '../decode/data-file-writer.ts'
import type { FoldDatabase } from './fold-database.ts'
import { chooseIslands } from './fold-islands.ts'
import { eachFinalWindow } from './fold-windows.ts'
import {
  becameFinal,
  END,
  LAST_EVENT,
  list,
  PART,
  partOf,
  partsOf,
  type Relations,
  ROWS,
  same,
  START,
  upTo,
} from './fold-relations.ts'
import { resultsSql } from '../../window/sql.ts'

// Relations that one fold makes: `results` (rows of the results file) and `outdated` (rows of the table that they replace,
// or that are no more); and for each part of them, which is small enough to be made at once, `fresh` (result rows of windows
// that may have changed), `stored` (what the table has of them) and `compared` (both side by side).

export interface ResultOptions {
  readonly fold: number
  /** Of the results file. */
  readonly file: number
  /** Windows that end until then are final; undefined: none is. */
  readonly finalUntil: number | undefined
  /** What it was at the fold before: those windows were written as final rows, if they were not touched since. */
  readonly finalBefore: number | undefined
  /** Windows that end until then were gone before: they are not looked at, what is left of them is not all. */
  readonly goneUntil: number | undefined
  /** Whether `wanted` says which of them are here again, as `rebuild` made it. */
  readonly isReopened: boolean
  readonly settledUntil: number | undefined
  /** Open rows are written of cells that changed after that fold; undefined: it is not their time. */
  readonly openSince: number | undefined
}

export interface Results {
  readonly written: number
  /** Rows of which more was taken back than there was. */
  readonly negative: number
  readonly corrected: number
}

/** Some of the windows that may have changed: all of their rows. */
export interface ResultPart {
  /** As `resultsSql` takes them. */
  readonly rows: string
  /** Relation of identities of rows that may have no window any more, and `__to`. */
  readonly gone: string | undefined
  /** Whether a cell has one row. */
  readonly isMerged: boolean
}

export type UsePart = (part: ResultPart) => Promise<void>

/** Makes the result rows of windows that changed or became final, and brings `outputs` up to them. */
export async function makeResults(
  database: FoldDatabase,
  relations: Relations,
  options: ResultOptions,
): Promise<Results> {
  const { outputs, hasIslands, slices } = relations
  await database.temporary('fresh', freshSql(relations, options, { rows: '(FROM changed LIMIT 0)', isMerged: true }))
  await database.temporary('results', `SELECT ${NEW_ROW} FROM fresh`)
  await database.temporary('outdated', `SELECT *, rowid AS __rid, ${START} AS __to FROM ${outputs} LIMIT 0`)
  let negative = 0
  let parts = 0
  const use = async (part: ResultPart): Promise<void> => {
    parts++
    negative += await addResults(database, relations, options, part)
  }
  if (hasIslands) await chooseIslands(database, relations, options, use)
  else if (slices === undefined) await chooseCells(database, relations, options, use)
  else await eachFinalWindow(database, relations, options, use)
  // Readers skip files and row groups by the end of windows.
  if (parts > 1 && slices === undefined) await database.sort('results', orderOf(relations))
  await database.run(`DELETE FROM ${outputs} WHERE rowid IN (SELECT __rid FROM outdated)`)
  const columns = outputColumns(relations)
  const isKnown = `NOT ${upTo(END, options.settledUntil)}`
  await database.run(
    `INSERT INTO ${outputs} SELECT ${list(columns)}, ${options.file}, rowid FROM results WHERE ${isKnown}`,
  )
  const [written, corrected] = await database.numbers(
    'SELECT count(*), count(*) FILTER (WHERE __was_final) FROM results',
  )
  return { written: written!, negative, corrected: corrected! }
}

/** Columns of a row that nothing stored is the same as, behind its own. */
const NEW_ROW =
  '*, CAST(NULL AS BIGINT) AS __before, true AS __differs, CAST(0 AS INTEGER) AS _corrections, false AS __was_final, false AS __is_joined'

/** Takes up a part. Gives the number of rows of which more was taken back than there was. */
async function addResults(
  database: FoldDatabase,
  relations: Relations,
  options: ResultOptions,
  part: ResultPart,
): Promise<number> {
  const { definition, identity, outputs, slices } = relations
  await database.temporary('fresh', freshSql(relations, options, part))
  const here = `SELECT ${list(identity)}, ${START} AS __to FROM fresh`
  const looked = part.gone === undefined ? here : `${here} UNION SELECT ${list(identity)}, __to FROM ${part.gone}`
  await database.temporary(
    'stored',
    `SELECT o.*, o.rowid AS __rid, k.__to FROM ${outputs} o JOIN (${looked}) k ON ${same('o', 'k', identity)}`,
  )
  const [negative, stored] = await database.numbers(
    `SELECT count(*) FILTER (WHERE ${ROWS} < 0), (SELECT count(*) FROM stored) FROM fresh`,
  )
  const isClosing = definition.emit === 'close' || slices !== undefined
  const isDue = options.openSince !== undefined
  const order = list(orderOf(relations))
  if (stored === 0) {
    const isTime = isClosing ? '_final' : `(_final OR ${isDue})`
    await database.run(`INSERT INTO results SELECT ${NEW_ROW} FROM fresh WHERE ${isTime} ORDER BY ${order}`)
    return negative!
  }
  await database.temporary('compared', comparedSql(relations))
  const isTime = isClosing ? '_final' : `(_final OR ${isDue} OR __was_final OR __is_joined)`
  const isWritten = `${isTime} AND (__before IS NULL OR __differs)`
  await database.run(`INSERT INTO results SELECT * FROM compared WHERE ${isWritten} ORDER BY ${order}`)
  await database.run(
    `INSERT INTO outdated SELECT * FROM stored WHERE __rid IN (SELECT __before FROM compared WHERE __before IS NOT NULL AND ${isWritten})
OR __rid NOT IN (SELECT __before FROM compared WHERE __before IS NOT NULL AND ${isClosing ? '_final' : 'true'})`,
  )
  return negative!
}

function freshSql(
  { shape }: Relations,
  { finalUntil }: ResultOptions,
  { rows, isMerged }: Pick<ResultPart, 'rows' | 'isMerged'>,
): string {
  const made = resultsSql(shape, rows, isMerged)
  return `SELECT *, ${upTo(END, finalUntil)} AS _final FROM (${made}) WHERE ${ROWS} <> 0`
}

function orderOf({ groups }: Relations): readonly string[] {
  return [END, START, ...groups]
}

/**
 * Fresh rows with the stored row of the same identity, `__before`, whether it differs, and what the row was before: of a
 * session that took in others, what they were is corrected too, and N3 wants one row where they stood.
 */
function comparedSql({ definition, identity, results, shape }: Relations): string {
  const values = [END, ...results, ...(shape.hasLastEvent ? [LAST_EVENT] : []), '_final']
  const differs = values.map((name) => `f.${name} IS DISTINCT FROM s.${name}`).join(' OR ')
  const isSession = definition.window.kind === 'session'
  const others = identity.filter((name) => name !== START)
  const prior = `SELECT * EXCLUDE (__to), __to AS ${START} FROM (
SELECT ${list([...others, '__to'])}, max(_corrections + CAST(_final AS INTEGER)) AS __was, bool_or(_final) AS __final, bool_or(__to <> ${START}) AS __joined
FROM stored GROUP BY ALL)`
  const join = isSession ? `LEFT JOIN (${prior}) p ON ${same('f', 'p', identity)}` : ''
  const [corrections, wasFinal, isJoined] = isSession
    ? ['p.__was', 'p.__final', 'p.__joined']
    : ['s._corrections + CAST(s._final AS INTEGER)', 's._final', 'false']
  return `SELECT f.*, s.__rid AS __before, (${differs}) AS __differs, CAST(coalesce(${corrections}, 0) AS INTEGER) AS _corrections,
coalesce(${wasFinal}, false) AS __was_final, coalesce(${isJoined}, false) AS __is_joined
FROM fresh f LEFT JOIN stored s ON ${same('f', 's', identity)} ${join}`
}

/** Columns of `outputs` before those of its place. */
export function outputColumns({ groups, results, shape }: Relations): readonly string[] {
  return [...groups, START, END, ...results, ...(shape.hasLastEvent ? [LAST_EVENT] : []), '_final', '_corrections']
}

/** Rows of the results file, with the columns of the table in their order. */
export function resultRowsSql({ groups, results, shape }: Relations): string {
  const instant = (column: string, name: string): string => `make_timestamptz(${column} * 1000) AS ${quoted(name)}`
  const columns = [
    ...groups,
    instant(START, 'window_start'),
    instant(END, 'window_end'),
    ...results,
    ...(shape.hasLastEvent ? [instant(LAST_EVENT, 'last_event_time')] : []),
    '_final',
    '_corrections',
  ]
  return `SELECT ${list(columns)} FROM results`
}

/**
 * Where a cell is a window: rows of those that changed, which are at hand, and of those that became final or whose open
 * rows are due, which are looked for only when there may be some.
 */
async function chooseCells(
  database: FoldDatabase,
  relations: Relations,
  { fold, finalUntil, finalBefore, openSince }: ResultOptions,
  use: UsePart,
): Promise<void> {
  const { cells, columns, definition, groups, key, values } = relations
  const isLooked = (await isFinalAlone(database, relations, finalUntil)) ? upTo(END, finalUntil) : 'true'
  const rows = [`SELECT ${list(columns)} FROM changed WHERE ${isLooked}`]
  if (values.length > 0)
    rows.push(`SELECT ${list(columns)} FROM held WHERE ${isLooked} AND __rid NOT IN (SELECT __rid FROM replaced)`)
  const isOpenDue = definition.emit === 'update' && openSince !== undefined && openSince < fold - 1
  const wanted = [
    ...(finalUntil === undefined || finalUntil === finalBefore ? [] : [becameFinal(END, finalUntil, finalBefore)]),
    ...(isOpenDue ? [`__fold > ${openSince}`] : []),
  ]
  if (wanted.length > 0) {
    const isWanted = `__fold < ${fold} AND (${wanted.join(' OR ')})`
    // What counts for a cell says all of its values too, but for when they changed, and for the end of a session.
    const isPlain = !isOpenDue && definition.window.kind !== 'session'
    const all = columns.map((name) => (name === END ? `k.${END}` : `c.${name}`))
    if (values.length === 0 || isPlain) {
      const isOther = values.length === 0 ? 'true' : 'rowid NOT IN (SELECT __rid FROM held)'
      rows.push(`SELECT ${list(columns)} FROM ${cells} WHERE ${isWanted} AND ${isOther}`)
    } else {
      const chosen = `SELECT ${list([...groups, START, END])} FROM ${cells} WHERE ${PART} = 0 AND ${isWanted}`
      await database.temporary('chosen', chosen)
      rows.push(`SELECT ${list(all)} FROM ${cells} c JOIN chosen k ON ${same('c', 'k', key)}`)
    }
  }
  const counts = rows.map((sql) => `(SELECT count(*) FROM (${sql}))`)
  const [count, vanished] = await database.numbers(`SELECT ${counts.join(' + ')}, (SELECT count(*) FROM vanished)`)
  if (count! + vanished! === 0) return
  // What became part of another session, and where it is now, are of one group.
  const by = definition.window.kind === 'session' ? groups : [...groups, START]
  const parts = partsOf(by, count!, database.rowsMax)
  for (let k = 0; k < parts; k++) {
    const isOurs = partOf(by, k, parts)
    const gone = vanished === 0 ? undefined : `(SELECT * FROM vanished WHERE ${isOurs})`
    await use({ rows: `(SELECT * FROM (${rows.join(' UNION ALL ')}) WHERE ${isOurs})`, gone, isMerged: true })
  }
}

/** Whether windows that are not final have no rows, now and before. Those of a session may be of one that was shorter. */
async function isFinalAlone(
  database: FoldDatabase,
  { definition, outputs }: Relations,
  finalUntil: number | undefined,
): Promise<boolean> {
  if (definition.emit === 'update' || definition.window.kind === 'session') return false
  const [open] = await database.numbers(`SELECT count(*) FROM ${outputs} WHERE NOT ${upTo(END, finalUntil)}`)
  return open === 0
}
