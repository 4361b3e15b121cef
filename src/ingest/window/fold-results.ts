import { quoted } from '../decode/data-file-writer.ts'
import type { FoldDatabase } from './fold-database.ts'
import { chooseIslands } from './fold-islands.ts'
import {
  becameFinal,
  END,
  LAST_EVENT,
  list,
  MIN_END,
  PART,
  type Relations,
  ROWS,
  same,
  START,
  upTo,
} from './fold-relations.ts'
import { mergeSql, resultsSql } from '../../window/sql.ts'

// Relations that one fold makes: `fresh` (result rows of windows that may have changed), `stored` (what the table has of
// them), `results` (rows of the results file), `outdated` (rows of `stored` that they replace, or that are no more).

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

/** Rows of what may have changed, as `resultsSql` takes them. */
function chooseRows(database: FoldDatabase, relations: Relations, options: ResultOptions): Promise<string> {
  if (relations.hasIslands) return chooseIslands(database, relations, options)
  return relations.slices === undefined
    ? chooseCells(database, relations, options)
    : chooseWindows(database, relations, options)
}

/** Makes the result rows of windows that changed or became final, and brings `outputs` up to them. */
export async function makeResults(
  database: FoldDatabase,
  relations: Relations,
  options: ResultOptions,
): Promise<Results> {
  const { definition, groups, identity, outputs, shape, slices } = relations
  const rows = await chooseRows(database, relations, options)
  const isFinal = upTo(END, options.finalUntil)
  await database.temporary(
    'fresh',
    `SELECT *, ${isFinal} AS _final FROM (${resultsSql(shape, rows)}) WHERE ${ROWS} <> 0`,
  )
  const [negative, vanished] = await database.numbers(
    `SELECT count(*) FILTER (WHERE ${ROWS} < 0), (SELECT count(*) FROM vanished) FROM fresh`,
  )
  const here = `SELECT ${list(identity)}, ${START} AS __to FROM fresh`
  const gone = `SELECT ${list(identity)}, __to FROM vanished`
  const looked = vanished === 0 ? here : `${here} UNION ${gone}`
  await database.temporary(
    'stored',
    `SELECT o.*, o.rowid AS __rid, k.__to FROM ${outputs} o JOIN (${looked}) k ON ${same('o', 'k', identity)}`,
  )
  await database.temporary('compared', comparedSql(relations))
  const isClosing = definition.emit === 'close' || slices !== undefined
  const isDue = options.openSince !== undefined
  const isTime = isClosing ? '_final' : `(_final OR ${isDue} OR __was_final OR __is_joined)`
  await database.temporary(
    'results',
    `SELECT * EXCLUDE (_corrections), CAST(_corrections AS INTEGER) AS _corrections FROM compared
WHERE ${isTime} AND (__before IS NULL OR __differs) ORDER BY ${list([END, START, ...groups])}`,
  )
  await database.temporary(
    'outdated',
    `SELECT * FROM stored WHERE __rid IN (SELECT __before FROM results WHERE __before IS NOT NULL)
OR __rid NOT IN (SELECT __before FROM compared WHERE __before IS NOT NULL AND ${isClosing ? '_final' : 'true'})`,
  )
  await database.run(`DELETE FROM ${outputs} WHERE rowid IN (SELECT __rid FROM outdated)`)
  const columns = outputColumns(relations)
  const isKnown = `NOT ${upTo(END, options.settledUntil)}`
  await database.run(
    `INSERT INTO ${outputs} SELECT ${list(columns)}, ${options.file}, rowid FROM results WHERE ${isKnown}`,
  )
  const [written, corrected] = await database.numbers(
    'SELECT count(*), count(*) FILTER (WHERE __was_final) FROM results',
  )
  return { written: written!, negative: negative!, corrected: corrected! }
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
  return `SELECT f.*, s.__rid AS __before, (${differs}) AS __differs, coalesce(${corrections}, 0) AS _corrections,
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
  return `SELECT ${list(columns)} FROM results ORDER BY rowid`
}

/**
 * Where a cell is a window: rows of those that changed, which are at hand, and of those that became final or whose open
 * rows are due, which are looked for only when there may be some.
 */
async function chooseCells(
  database: FoldDatabase,
  relations: Relations,
  { fold, finalUntil, finalBefore, openSince }: ResultOptions,
): Promise<string> {
  const { cells, columns, definition, groups, key, values } = relations
  const isLooked = (await isFinalAlone(database, relations, finalUntil)) ? upTo(END, finalUntil) : 'true'
  const touched = [`SELECT ${list(columns)} FROM changed WHERE ${isLooked}`]
  if (values.length > 0)
    touched.push(`SELECT ${list(columns)} FROM held WHERE ${isLooked} AND __rid NOT IN (SELECT __rid FROM replaced)`)
  const isOpenDue = definition.emit === 'update' && openSince !== undefined && openSince < fold - 1
  const wanted = [
    ...(finalUntil === undefined || finalUntil === finalBefore ? [] : [becameFinal(END, finalUntil, finalBefore)]),
    ...(isOpenDue ? [`__fold > ${openSince}`] : []),
  ]
  if (wanted.length === 0) return `(${touched.join(' UNION ALL ')})`
  const isWanted = `${PART} = 0 AND __fold < ${fold} AND (${wanted.join(' OR ')})`
  if (values.length === 0) {
    await database.temporary('chosen_rows', `SELECT ${list(columns)} FROM ${cells} WHERE ${isWanted}`)
  } else {
    await database.temporary('chosen', `SELECT ${list([...groups, START, END])} FROM ${cells} WHERE ${isWanted}`)
    const rows = columns.map((name) => (name === END ? `k.${END}` : `c.${name}`))
    await database.temporary(
      'chosen_rows',
      `SELECT ${list(rows)} FROM ${cells} c JOIN chosen k ON ${same('c', 'k', key)}`,
    )
  }
  return `(${[...touched, 'FROM chosen_rows'].join(' UNION ALL ')})`
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

/**
 * Where cells are slices: the windows that became final, and those that were and have a slice that changed, put together
 * from all of their slices (rules S1 to S3). A slice counts for windows that end at its `__min_end` or later.
 */
async function chooseWindows(
  database: FoldDatabase,
  { cells, columns, groups, shape, slices }: Relations,
  { fold, finalUntil, finalBefore, goneUntil }: ResultOptions,
): Promise<string> {
  const { sizeMs, firstEnd, lastEnd, windowStarts } = slices!
  const end = `(__window + ${sizeMs})`
  const isWhole = goneUntil === undefined ? 'true' : `${end} > ${goneUntil}`
  const counts = `(${MIN_END} IS NULL OR ${MIN_END} <= ${end})`
  const isReached = `${upTo(firstEnd(START), finalUntil)}`
  const windows = (from: string): string => `(SELECT *, unnest(${windowStarts(START)}) AS __window FROM ${from})`
  const isNew = (column: string): string => becameFinal(column, finalUntil, finalBefore)
  const reaches = finalBefore === undefined ? 'true' : `(__fold = ${fold} OR ${lastEnd(START)} > ${finalBefore})`
  await database.temporary(
    'chosen',
    `SELECT DISTINCT ${list([...groups, '__window'])} FROM ${windows(`(SELECT * FROM ${cells} WHERE ${PART} = 0 AND ${isReached} AND ${reaches})`)}
WHERE ${counts} AND ${isWhole} AND (${isNew(end)} OR (__fold = ${fold} AND ${upTo(end, finalUntil)}))`,
  )
  // A window of which nothing is left has no fresh row: its stored one, if any, goes.
  await database.run(`INSERT INTO vanished SELECT ${list([...groups, '__window', end, '__window'])} FROM chosen`)
  const rest = columns.filter((name) => ![...groups, START, END, MIN_END].includes(name))
  await database.temporary(
    'chosen_slices',
    `SELECT ${list([...groups, `__window AS ${START}`, `${end} AS ${END}`, `CAST(NULL AS BIGINT) AS ${MIN_END}`, ...rest])}
FROM ${windows(`(SELECT * FROM ${cells} WHERE ${isReached})`)} c SEMI JOIN chosen k ON ${same('c', 'k', [...groups, '__window'])}
WHERE ${counts}`,
  )
  await database.temporary('chosen_rows', mergeSql(shape, 'chosen_slices'))
  return 'chosen_rows'
}
