import { literal } from '../decode/data-file-writer.ts'
import type { FoldDatabase } from './fold-database.ts'
import { END, list, PART, partialsDdl, type Relations, ROWS, same, START, upTo } from './fold-relations.ts'
import { ISLAND_COLUMNS, islandsSql } from './islands.ts'
import { mergeSql } from '../../window/sql.ts'

// Relations that one fold makes: `staged` (what the lanes brought), `held` (all rows of the cells that it touches, as
// they were), `replaced` (those of them that change, where some do not), `changed` (what becomes of them), `written` (rows
// of the state file, where those are others), `vanished` (identities of result rows that have no cell any more). A touched row is deleted and inserted
// again: no relation is ever rewritten.

/** What the lanes brought, as `staged`. */
export async function stage(database: FoldDatabase, relations: Relations, files: readonly string[]): Promise<void> {
  await database.run(`CREATE OR REPLACE TEMP TABLE staged (${partialsDdl(relations.shape)})`)
  if (files.length === 0) return
  const from = `read_parquet([${files.map(literal).join(', ')}])`
  await database.run(`INSERT INTO staged SELECT ${list(relations.columns)} FROM ${from}`)
}

export interface MergeOptions {
  /** Number of the fold, and of the state file that it writes. */
  readonly fold: number
  readonly file: number
  /** What ends until then is settled when the fold is done: it gets no place in the state file. */
  readonly settledUntil: number | undefined
}

export interface Merged {
  /** Relation of the rows of the state file, in their order, those that are not `__settled`, and how many they are. */
  readonly written: string
  readonly rows: number
  /** Relation of the rows that changed, as they were. */
  readonly replaced: string
  /** Cells of which more was taken back than there was. */
  readonly negative: number
}

/** Merges `staged` into the cells. */
export async function mergeCells(
  database: FoldDatabase,
  relations: Relations,
  { fold, file, settledUntil }: MergeOptions,
): Promise<Merged> {
  const { cells, columns, definition, hasIslands, key, shape, slices, values } = relations
  const isJoined = definition.window.kind === 'session' && !hasIslands
  await (isJoined ? joinSessions(database, relations) : holdCells(database, relations))
  const replaced = values.length === 0 ? 'held' : 'replaced'
  if (values.length > 0) await database.temporary(replaced, replacedSql(relations))
  const parts = `SELECT ${list(columns)} FROM staged UNION ALL SELECT ${list(columns)} FROM ${replaced}`
  // Each detail reads them once more.
  if (values.length > 0) await database.temporary('parts', parts)
  const merged = mergeSql(shape, values.length === 0 ? `(${parts})` : 'parts')
  const order = ['__settled', PART, START, ...key.filter((name) => name !== START), ...values]
  // What the end of a session is, its cells do not say.
  const isSettled = hasIslands ? 'false' : upTo(relations.cellEnd, settledUntil)
  await database.temporary('changed', `SELECT *, ${isSettled} AS __settled FROM (${merged}) ORDER BY ${list(order)}`)
  const { empty, negative } = await removeEmpty(database, relations)
  await database.run(`DELETE FROM ${cells} WHERE rowid IN (SELECT __rid FROM ${replaced})`)
  const [all, settled] = await database.numbers('SELECT count(*), count(*) FILTER (WHERE __settled) FROM changed')
  // Row ids are positions in the file, those of what is settled come last: where some are missing, they are counted anew.
  const written = empty === 0 ? 'changed' : 'written'
  if (written === 'written') await database.temporary(written, 'SELECT * FROM changed WHERE NOT __settled')
  await database.run(
    `INSERT INTO ${cells} SELECT ${list(columns)}, ${fold}, ${file}, rowid FROM ${written} WHERE NOT __settled`,
  )
  // Where a cell is a window, its results are made of `changed`, and it is gone after that; its other values go by its end.
  if (settled! > 0 && (slices !== undefined || definition.window.kind === 'session'))
    await database.run(`INSERT INTO ${cells} SELECT ${list(columns)}, ${fold}, NULL, NULL FROM changed WHERE __settled`)
  return { written, rows: all! - settled!, replaced, negative }
}

/** `held`, where a cell has one start for ever. */
async function holdCells(database: FoldDatabase, { cells, columns, identity, key }: Relations): Promise<void> {
  await database.temporary(
    'held',
    `SELECT ${list(columns, 'c')}, c.__file, c.__row, c.rowid AS __rid, c.${START} AS __was FROM ${cells} c SEMI JOIN staged s ON ${same('c', 's', key)}`,
  )
  await database.temporary('vanished', `SELECT ${list(identity)}, ${START} AS __to FROM staged LIMIT 0`)
}

/**
 * Sessions that touch are one (rules N1, N2): connected components of what came and of what the same groups have. Rows
 * of both get start and end of their component, so that they merge like cells of any window. Rows of a detail keep the
 * end that their session had when they last changed: it is its start that names it.
 */
async function joinSessions(database: FoldDatabase, relations: Relations): Promise<void> {
  const { cells, columns, groups, shape } = relations
  const own = [...groups, START]
  const spans = `SELECT ${list([...own, END])}, true AS __new FROM staged WHERE ${PART} = 0
UNION ALL
SELECT ${list([...own, END], 'c')}, false FROM ${cells} c SEMI JOIN staged s ON ${same('c', 's', groups)} WHERE c.${PART} = 0`
  const { start, end } = ISLAND_COLUMNS
  const islands = islandsSql(
    spans,
    shape.groups.map(({ name }) => name),
  )
  await database.temporary(
    'joined',
    `SELECT DISTINCT ${list([...own, start, end])} FROM (
SELECT *, bool_or(__new) OVER (PARTITION BY ${list([...groups, start])}) AS __touched FROM (${islands})) WHERE __touched`,
  )
  const joined = (of: string): string => `${of} JOIN joined j ON ${same(of, 'j', own)}`
  const moved = `REPLACE (j.${start} AS ${START}, j.${end} AS ${END})`
  await database.temporary('incoming', `SELECT staged.* ${moved} FROM ${joined('staged')}`)
  await database.temporary('staged', `SELECT ${list(columns)} FROM incoming`)
  await database.temporary(
    'held',
    `SELECT ${cells}.* ${moved}, ${cells}.rowid AS __rid, ${cells}.${START} AS __was FROM ${joined(cells)}`,
  )
  await database.temporary(
    'vanished',
    `SELECT ${list([...groups, '__was'])} AS ${START}, ${START} AS __to FROM held WHERE __was <> ${START} AND ${PART} = 0`,
  )
}

/** Rows of cells change, and of details only the values that came, or that come from another session. */
function replacedSql({ key, values }: Relations): string {
  if (values.length === 0) return 'SELECT * FROM held'
  const isMoved = `(${PART} = 0 OR __was <> ${START})`
  const value = [...key, ...values]
  // A staged row may be a cell and have values of several details; a held one is either, and has one value.
  const came = values.map((name) => {
    const alone = values.map((other) => (other === name ? name : `NULL AS ${other}`))
    return `SELECT ${list([...key, ...alone])} FROM staged WHERE ${name} IS NOT NULL`
  })
  return `SELECT * FROM held WHERE ${isMoved}
UNION ALL
SELECT h.* FROM (SELECT * FROM held WHERE NOT ${isMoved}) h SEMI JOIN (
${came.join(' UNION ALL ')} UNION ALL SELECT ${list(value)} FROM held WHERE __was <> ${START}) s ON ${same('h', 's', value)}`
}

/**
 * A cell without rows goes, with all of its details (rule A3). Slices stay: their rows may have been counted in another
 * slice, for other windows. Gives the number of those cells, and of cells with less than none.
 */
async function removeEmpty(
  database: FoldDatabase,
  { identity, key, slices, values }: Relations,
): Promise<{ readonly empty: number; readonly negative: number }> {
  if (slices !== undefined) return { empty: 0, negative: 0 }
  const isEmpty = `${PART} = 0 AND ${ROWS} = 0`
  const [empty, negative] = await database.numbers(
    `SELECT count(*) FILTER (WHERE ${isEmpty}), count(*) FILTER (WHERE ${PART} = 0 AND ${ROWS} < 0) FROM changed`,
  )
  if (empty === 0) return { empty, negative: negative! }
  await database.temporary('empty', `SELECT ${list(key)} FROM changed WHERE ${isEmpty}`)
  await database.run(`INSERT INTO vanished SELECT ${list([...identity, START])} FROM empty`)
  if (values.length > 0)
    await database.run(
      `INSERT INTO replaced SELECT h.* FROM held h SEMI JOIN empty e ON ${same('h', 'e', key)}
WHERE __rid NOT IN (SELECT __rid FROM replaced)`,
    )
  await database.run(
    `DELETE FROM changed WHERE rowid IN (SELECT c.rowid FROM changed c SEMI JOIN empty e ON ${same('c', 'e', key)})`,
  )
  return { empty: empty!, negative: negative! }
}
