import type { Clock } from '../../clock.ts'
import { schemaOf, type IcebergField, type IcebergSchema, type Storage } from '../../lake/table.ts'
import { quoted } from '../decode/data-file-writer.ts'
import { withLocalFiles } from '../table-work/local-files.ts'
import { filesSql, nameOf } from '../table-work/stored-sql.ts'
import type { FoldDatabase } from './fold-database.ts'
import { outputColumns } from './fold-results.ts'
import { cellIslandsSql } from './fold-islands.ts'
import { ISLAND_COLUMNS } from './islands.ts'
import { END, LAST_EVENT, list, PART, type Relations, same, START } from './fold-relations.ts'
import type { StoredRows, StoredSchemas } from './window.ts'
import { partialColumns, resultColumns } from '../../window/sql.ts'

/** A file, with the number that `RowPlaces` gave it. */
export interface NumberedRows extends StoredRows {
  readonly number: number
}

interface LoadedFiles {
  readonly results: readonly NumberedRows[]
  readonly state: readonly NumberedRows[]
  readonly schemas?: StoredSchemas | undefined
}

export interface Loaded {
  /** The last end of a window that was final. */
  readonly finalUntil: number | undefined
  /** The last end of a window that has a row and no cell any more. */
  readonly goneUntil: number | undefined
}

/**
 * Reads cells back, and the results of those that are held. Files of results that end before all of them are not read:
 * their bounds say all that must be known.
 */
export async function loadWindow(
  database: FoldDatabase,
  relations: Relations,
  storage: Storage,
  clock: Clock,
  { results, state, schemas = schemasOf(relations) }: LoadedFiles,
): Promise<Loaded> {
  const { cells, columns, outputs } = relations
  const read = (files: readonly NumberedRows[], of: IcebergSchema, insert: (from: string) => string) =>
    readFiles(database, storage, clock, files, of.fields, insert)
  await read(
    state,
    schemas.state,
    (from) => `INSERT INTO ${cells} SELECT ${list(columns)}, 0, __file, __row FROM ${from}`,
  )
  const [first] = await database.rows(`SELECT min(${END}) FROM ${cells} WHERE ${PART} = 0`)
  const firstEnd = first![0] === null ? undefined : Number(first![0])
  const { id } = schemas.results.fields.find(({ name }) => name === 'window_end')!
  const ends = results.map(({ file }) => upperMs(file.metrics.get(id)?.upper))
  const isOver = (k: number): boolean => ends[k] !== undefined && (firstEnd === undefined || ends[k] < firstEnd)
  await database.run(`CREATE OR REPLACE TEMP TABLE loaded AS FROM ${outputs} LIMIT 0`)
  const values = new Map([
    [START, 'epoch_ms(window_start)'],
    [END, 'epoch_ms(window_end)'],
    [LAST_EVENT, 'epoch_ms(last_event_time)'],
  ])
  const output = outputColumns(relations).map((name) => values.get(name) ?? name)
  await read(
    results.filter((_, k) => !isOver(k)),
    schemas.results,
    (from) => `INSERT INTO loaded SELECT ${list(output)}, __file, __row FROM ${from}`,
  )
  await database.temporary(
    'held',
    `SELECT l.* FROM loaded l SEMI JOIN (${windowsSql(relations)}) c ON ${same('l', 'c', relations.identity)}`,
  )
  await database.run(`INSERT INTO ${outputs} FROM held`)
  const [row] = await database.rows(
    `SELECT max(${END}) FILTER (WHERE _final), max(${END}) FILTER (WHERE __row IS NULL) FROM (
SELECT l.${END}, l._final, h.__row FROM loaded l LEFT JOIN held h ON l.__file = h.__file AND l.__row = h.__row)`,
  )
  await database.run('DROP TABLE loaded')
  await database.run('DROP TABLE held')
  const [finalUntil, goneUntil] = row!.map((end) => (end === null ? [] : [Number(end)]))
  // A row that is deleted may have been the last, and was not final.
  const over = ends.filter((_, k) => isOver(k) && results[k]!.deleted.count === 0) as number[]
  return { finalUntil: last([...finalUntil!, ...over]), goneUntil: last([...goneUntil!, ...over]) }
}

export function schemasOf({ shape }: Relations): StoredSchemas {
  return { results: schemaOf(resultColumns(shape)).schema, state: schemaOf(partialColumns(shape)).schema }
}

async function readFiles(
  database: FoldDatabase,
  storage: Storage,
  clock: Clock,
  files: readonly NumberedRows[],
  fields: readonly IcebergField[],
  insert: (from: string) => string,
): Promise<void> {
  if (files.length === 0) return
  const { alive } = database
  const stored = files.map(({ file }) => file)
  const numbers = `[${files.map(({ number }) => number).join(', ')}][CAST(file_index AS BIGINT) + 1]`
  await withLocalFiles(storage, clock, stored, async (paths) => {
    const named = fields.map((field) => `${nameOf(field)} AS ${quoted(field.name)}`).join(', ')
    const from = `(SELECT ${named}, ${numbers} AS __file, file_row_number AS __row
FROM ${filesSql(paths, fields)} WHERE ${alive.name}(file_index, file_row_number))`
    alive.feed(files.map(({ file, deleted }) => ({ file, deleted, firstRowId: undefined, sequenceNumber: 0n })))
    await database.run(insert(from))
    alive.assertDone()
  })
}

/** Identities of the windows that cells are, or are part of. */
function windowsSql(relations: Relations): string {
  const { cells, groups, identity, slices } = relations
  if (relations.hasIslands) {
    const { start, end } = ISLAND_COLUMNS
    return `SELECT DISTINCT ${list([...groups, `${start} AS ${START}`, `${end} AS ${END}`])} FROM (${cellIslandsSql(relations, cells)})`
  }
  if (slices === undefined) return `SELECT ${list(identity)} FROM ${cells} WHERE ${PART} = 0`
  const starts = `SELECT ${list([...groups, `unnest(${slices.windowStarts(START)}) AS ${START}`])} FROM ${cells} WHERE ${PART} = 0`
  return `SELECT *, ${START} + ${slices.sizeMs} AS ${END} FROM (${starts})`
}

/** An upper bound of a timestamptz, microseconds in little-endian order. */
function upperMs(bound: Uint8Array | undefined): number | undefined {
  if (bound === undefined) return undefined
  return Number(Buffer.from(bound).readBigInt64LE() / 1_000n)
}

function last(ends: readonly number[]): number | undefined {
  return ends.length === 0 ? undefined : Math.max(...ends)
}
