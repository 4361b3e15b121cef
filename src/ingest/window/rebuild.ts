import { SYSTEM_COLUMNS } from '../../batch.ts'
import type { Clock } from '../../clock.ts'
import type { Storage } from '../../lake/table.ts'
import { resultColumns, SIGN_COLUMN, partialsSql, mergeSql } from '../../window/sql.ts'
import { quoted } from '../decode/data-file-writer.ts'
import { assignedSql, needsBoundaries } from './assign.ts'
import { createBoundaries } from './boundaries.ts'
import { rowShapeOf } from './change-columns.ts'
import { storedEventMs } from './event-sql.ts'
import type { FoldDatabase } from './fold-database.ts'
import { END, list, LAST_EVENT, MIN_END, PART, type Relations, ROWS, same, START } from './fold-relations.ts'
import { outputColumns } from './fold-results.ts'
import type { RowPlaces } from './row-places.ts'
import { readStored } from './stored-relation.ts'
import { LANE_COLUMNS, type HeadTables } from './window.ts'

// Relations that a rebuild makes: `wanted` (the settled windows, or what may touch settled sessions, that `staged` has
// rows of), `stored_rows` (their rows in the table), `targets` (those whose cells are to be made again), `source_rows`,
// `late_rows`, `recounted` (rows of the source with the windows that they counted in), `rebuilt` (their partials).

const { event: EVENT, clock: CLOCK } = LANE_COLUMNS
const [PARTITION, OFFSET, SIGN] = [SYSTEM_COLUMNS.partition, SYSTEM_COLUMNS.offset, SIGN_COLUMN]

export interface RebuildParts {
  readonly database: FoldDatabase
  readonly relations: Relations
  readonly storage: Storage
  readonly clock: Clock
  readonly results: RowPlaces
}

/** Ends of windows: what is over, and what of it has been deleted and stays so. */
export interface Over {
  readonly goneUntil: number
  readonly expiredUntil: number | undefined
}

/**
 * Whether what left the fold can be made again (rules C4, C5): the rows that counted are those of the source table, less
 * those that the late table lists. Of a window over the events of a keyed table they have been superseded.
 */
export function canRebuild({ definition, source }: Relations): boolean {
  return source.store && (definition.input === 'rows' || source.key.length === 0)
}

/**
 * Puts back into `cells` and `outputs` what left them settled and is touched by `staged` again, which happens when a
 * partition is added later (rule C4). From there on it is corrected like any final row (rule C5).
 */
export async function rebuild(parts: RebuildParts, head: HeadTables, over: Over): Promise<void> {
  const { database } = parts
  await makeWanted(parts, over)
  const [wanted, from, until] = await database.numbers(
    `SELECT count(*), coalesce(min(${START}), 0), coalesce(max(${END}), 0) FROM wanted`,
  )
  if (wanted === 0) return
  await readResults(parts, head, from!, until!)
  await makeTargets(parts)
  const [targets, first, last] = await database.numbers(
    `SELECT count(*), coalesce(min(${START}), 0), coalesce(max(${END}), 0) FROM targets`,
  )
  if (targets === 0) return
  await readSource(parts, head, first!, last!)
  await recount(parts, head.fromMs)
  await insertCells(parts)
}

/** Of hopping windows in slices all windows that a slice counts for, elsewhere the cells. */
async function makeWanted({ database, relations }: RebuildParts, { goneUntil, expiredUntil }: Over): Promise<void> {
  const { definition, groups, slices } = relations
  const isSession = definition.window.kind === 'session'
  const windows =
    slices === undefined
      ? 'staged'
      : `(SELECT * EXCLUDE (${START}, ${END}, __window), __window AS ${START}, __window + ${slices.sizeMs} AS ${END}
FROM (SELECT *, unnest(${slices.windowStarts(START)}) AS __window FROM staged WHERE ${PART} = 0))`
  // A session that is touched may have ended, whatever touches it ends later.
  const end = isSession ? START : END
  const counts = slices === undefined ? 'true' : `(${MIN_END} IS NULL OR ${MIN_END} <= ${END})`
  const isOver = `${end} <= ${goneUntil} AND ${expiredUntil === undefined ? 'true' : `${end} > ${expiredUntil}`}`
  await database.temporary(
    'wanted',
    `SELECT DISTINCT ${list([...groups, START, END])} FROM ${windows} WHERE ${PART} = 0 AND ${counts} AND ${isOver}`,
  )
}

/** Result rows of what is wanted, with their places; `outputs` gets those that it does not hold. */
async function readResults(parts: RebuildParts, head: HeadTables, from: number, until: number): Promise<void> {
  const { database, relations, storage, clock, results } = parts
  const { definition, identity, outputs, shape, groups } = relations
  await readStored(database, storage, clock, 'stored_results', {
    metadata: head.results,
    columns: resultColumns(shape).map(({ name }) => name),
    // A session may be longer than what touches it.
    between:
      definition.window.kind === 'session'
        ? { column: 'window_end', from: micros(from), until: 2n ** 63n - 1n }
        : { column: 'window_end', from: micros(from), until: micros(until) },
    numberOf: (key) => results.numberOf(key),
  })
  const values = new Map([
    [START, 'epoch_ms(window_start)'],
    [END, 'epoch_ms(window_end)'],
    [LAST_EVENT, 'epoch_ms(last_event_time)'],
  ])
  const columns = outputColumns(relations).map((name) => (values.has(name) ? `${values.get(name)} AS ${name}` : name))
  const touches =
    definition.window.kind === 'session'
      ? `${same('r', 'w', groups)} AND r.${START} <= w.${END} AND r.${END} >= w.${START}`
      : same('r', 'w', identity)
  await database.temporary(
    'stored_rows',
    `SELECT r.* FROM (SELECT ${list(columns)}, __file, __row FROM stored_results) r SEMI JOIN wanted w ON ${touches}`,
  )
  await database.run(
    `INSERT INTO ${outputs} SELECT r.* FROM stored_rows r ANTI JOIN ${outputs} o ON ${same('r', 'o', identity)}`,
  )
}

/** What has no cells: of sessions those that had a row, elsewhere all that is wanted. */
async function makeTargets({ database, relations }: RebuildParts): Promise<void> {
  const { cells, definition, groups, hasIslands, key } = relations
  const span = list([...groups, START, END])
  const isSession = definition.window.kind === 'session'
  const held = `SELECT ${list([...key, ...(key.includes(END) ? [] : [END])])} FROM ${cells} WHERE ${PART} = 0`
  const isHeld = hasIslands
    ? `${same('t', 'c', groups)} AND c.${START} >= t.${START} AND c.${END} <= t.${END}`
    : same('t', 'c', isSession ? key : [...groups, START, END])
  // Slices are looked at one by one when they are inserted.
  await database.temporary(
    'targets',
    relations.slices === undefined
      ? `SELECT ${span} FROM ${isSession ? 'stored_rows' : 'wanted'} t ANTI JOIN (${held}) c ON ${isHeld}`
      : `SELECT ${span} FROM wanted`,
  )
}

/** Rows whose event time may lie in a target, of the source and of the late table. */
async function readSource(parts: RebuildParts, head: HeadTables, from: number, until: number): Promise<void> {
  const { database, relations, storage, clock } = parts
  const { definition, source } = relations
  const event = source.eventTime!.column
  const read = [...new Set([...rowShapeOf(definition, source).read.map(({ name }) => name), PARTITION, OFFSET])]
  const bounds = `${EVENT} >= ${from} AND ${EVENT} < ${until}`
  const values = read.map(quoted)
  await readStored(database, storage, clock, 'stored_source', {
    metadata: head.source,
    columns: [...new Set([...read, event])],
  })
  await database.temporary(
    'source_rows',
    `SELECT * FROM (SELECT ${list(values)}, CAST(1 AS BIGINT) AS ${SIGN}, ${storedEventMs(source, quoted(event))} AS ${EVENT}, CAST(NULL AS BIGINT) AS ${CLOCK}
FROM stored_source) WHERE ${bounds}`,
  )
  await database.run('DROP TABLE stored_source')
  await readStored(database, storage, clock, 'stored_late', {
    metadata: head.late,
    columns: [...new Set([...read, '_event_time', '_late_windows', '_counted_windows', '_weight', '_reason'])],
    between: { column: '_event_time', from: micros(from), until: micros(until) },
  })
  const windows = `[{'start': epoch_ms(w.start), 'end': epoch_ms(w."end")} FOR w IN _late_windows]`
  await database.temporary(
    'late_rows',
    `SELECT * FROM (SELECT ${list(values)}, CAST(_weight AS BIGINT) AS ${SIGN}, epoch_ms(_event_time) AS ${EVENT}, CAST(NULL AS BIGINT) AS ${CLOCK},
${windows} AS __listed, list_max([w."end" FOR w IN ${windows}]) AS __last_end, _counted_windows AS __counted
FROM stored_late WHERE _reason = 'late') WHERE ${bounds}`,
  )
  await database.run('DROP TABLE stored_late')
}

/** The rows of the source with the windows that they counted in. With signs, what is listed counts against them. */
async function recount({ database, relations }: RebuildParts, fromMs: number | undefined): Promise<void> {
  const { definition, slices, source } = relations
  const assigned = async (rows: string): Promise<string> => {
    const boundaries = needsBoundaries(definition.window) ? `${rows}_boundaries` : undefined
    if (boundaries !== undefined) await createBoundaries(database.connection, definition.window, rows, boundaries)
    // Without a clock nothing is late.
    return assignedSql(definition, source, rows, boundaries, fromMs).counted
  }
  const all = await assigned('source_rows')
  const isListed = `list_contains(l.__listed, {'start': ${START}, 'end': ${END}})`
  const position = `r.${PARTITION} = l.${PARTITION} AND r.${OFFSET} = l.${OFFSET}`
  if (definition.input === 'events') {
    const minEnd = slices === undefined ? '' : ` REPLACE (l.__last_end + ${slices.slideMs} AS ${MIN_END})`
    const isLeft = slices === undefined ? `NOT ${isListed}` : 'l.__counted > 0'
    const sql = `SELECT r.* FROM (${all}) r ANTI JOIN late_rows l ON ${position}
UNION ALL SELECT r.*${minEnd} FROM (${all}) r JOIN late_rows l ON ${position} WHERE ${isLeft}`
    return database.temporary('recounted', sql)
  }
  const late = `SELECT * EXCLUDE (__listed, __last_end, __counted)`
  const minus = `REPLACE (-${SIGN} AS ${SIGN})`
  const listed = await assigned('late_rows')
  const more =
    slices === undefined
      ? `${late} ${minus} FROM (${listed}) l WHERE ${isListed}`
      : `${late} ${minus} FROM (${listed})
UNION ALL ${late} REPLACE (__last_end + ${slices.slideMs} AS ${MIN_END}) FROM (${listed}) WHERE __counted > 0`
  return database.temporary('recounted', `${all} UNION ALL ${more}`)
}

/** Partials of what was counted, of the targets alone. Nobody knows them in the state: they have no place. */
async function insertCells({ database, relations }: RebuildParts): Promise<void> {
  const { cells, columns, definition, groups, hasIslands, key, shape, slices } = relations
  await database.temporary('rebuilt', partialsSql(shape, definition.input, 'recounted'))
  const isSession = definition.window.kind === 'session'
  const within = `${same('r', 't', groups)} AND r.${START} >= t.${START} AND r.${END} <= t.${END}`
  const isTarget = isSession || slices !== undefined ? within : same('r', 't', [...groups, START, END])
  let chosen = `SELECT r.* FROM rebuilt r SEMI JOIN targets t ON ${isTarget}`
  if (isSession && !hasIslands)
    chosen = `SELECT r.* REPLACE (t.${START} AS ${START}, t.${END} AS ${END}) FROM rebuilt r JOIN targets t ON ${within}`
  if (slices !== undefined)
    chosen = `SELECT r.* FROM (${chosen}) r ANTI JOIN (SELECT ${list([...groups, START])} FROM ${cells}) c ON ${same('r', 'c', [...groups, START])}`
  await database.temporary('chosen', chosen)
  await database.temporary('rebuilt', mergeSql(shape, 'chosen'))
  // What was taken back entirely is not there.
  const isThere = slices === undefined ? `${PART} = 0 AND ${ROWS} <> 0` : `${PART} = 0`
  await database.run(
    `INSERT INTO ${cells} SELECT ${list(columns)}, 0, NULL, NULL FROM rebuilt r SEMI JOIN (SELECT ${list(key)} FROM rebuilt WHERE ${isThere}) k ON ${same('r', 'k', key)}`,
  )
}

function micros(milliseconds: number): bigint {
  return BigInt(milliseconds) * 1_000n
}
