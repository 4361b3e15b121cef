import { open, rm, type FileHandle } from 'node:fs/promises'
import path from 'node:path'
import type { DuckDBConnection, DuckDBValue } from '@duckdb/node-api'
import type { Clock } from '../../clock.ts'
import { LakeError } from '../../error.ts'
import type { IcebergField, Storage, WritePlan } from '../../lake/table.ts'
import { jsonStyle, plainValue } from '../../values.ts'
import { quoted } from '../decode/data-file-writer.ts'
import type { ChangedRows, ChangeFile, ChangesRequest } from '../keys.ts'
import type { AliveRows } from './concatenate.ts'
import { filesSql, nameOf } from './stored-sql.ts'

/** Characters that are gathered before they are written. */
const PIECE_LENGTH = 1 << 20
const BEFORE = 'changed_before'
const AFTER = 'changed_after'

/** See `TableWork.changes`; `paths` are those of the files before, then of those after. */
export async function writeChanges(
  connection: DuckDBConnection,
  alive: AliveRows,
  storage: Storage,
  clock: Clock,
  plan: WritePlan,
  request: ChangesRequest,
  paths: readonly string[],
): Promise<ChangeFile> {
  const { before, after, key, where } = request
  const { fields } = plan.schema
  const keys = key.map((name) => fields.find((field) => field.name === name)!)
  const lines = new Lines(path.join(storage.scratch, `changes-${clock.uuid()}.ndjson`))
  const rowsOf = (paths: readonly string[]): string => rowsSql(paths, fields, where, alive)
  const read = async (sql: string, columns: readonly IcebergField[]): Promise<void> => {
    const result = await connection.stream(sql)
    const print = printer(columns, keys)
    for (
      let chunk = await result.fetchChunk();
      chunk !== null && chunk.rowCount > 0;
      chunk = await result.fetchChunk()
    ) {
      const vectors = columns.map((_, index) => chunk!.getColumnVector(index))
      for (let row = 0; row < chunk.rowCount; row++)
        lines.add(print(vectors.map((vector) => vector.getItem(row) as DuckDBValue)))
      await lines.flush(PIECE_LENGTH)
    }
  }
  const keep = async (table: string, rows: readonly ChangedRows[], from: readonly string[]): Promise<void> => {
    alive.feed(rows)
    await connection.run(`CREATE TEMP TABLE ${table} AS ${rowsOf(from)}`)
    alive.assertDone()
  }
  try {
    // Nothing to compare with: rows pass as they are read, however many there are.
    if (before.length === 0 && after.length > 0) {
      alive.feed(after)
      await read(`SELECT ${names(fields)} FROM (${rowsOf(paths)}) WHERE is_wanted`, fields)
      alive.assertDone()
    } else if (before.length > 0) {
      await keep(BEFORE, before, paths.slice(0, before.length))
      if (after.length > 0) {
        await keep(AFTER, after, paths.slice(before.length))
        await read(othersSql(AFTER, BEFORE, fields, fields), fields)
        await read(othersSql(BEFORE, AFTER, keys, keys), keys)
      } else await read(`SELECT ${names(keys)} FROM ${BEFORE} WHERE is_wanted ORDER BY place`, keys)
    }
    return await lines.close()
  } catch (error) {
    await lines.discard()
    throw asFailure(error, plan, where)
  } finally {
    alive.feed([])
    for (const table of [BEFORE, AFTER]) await connection.run(`DROP TABLE IF EXISTS ${table}`)
  }
}

/** Living rows of the files by field id, whether they are wanted, and their place. The condition sees columns by name. */
function rowsSql(
  paths: readonly string[],
  fields: readonly IcebergField[],
  where: string | undefined,
  alive: AliveRows,
): string {
  const named = fields.map((field) => `${nameOf(field)} AS ${quoted(field.name)}`)
  const rows = `SELECT ${named.join(', ')} FROM ${filesSql(paths, fields)} WHERE ${alive.name}(file_index, file_row_number)`
  const columns = fields.map((field) => `${quoted(field.name)} AS ${nameOf(field)}`)
  const isWanted = where === undefined ? 'TRUE' : `coalesce((${where}\n), FALSE)`
  return `SELECT ${columns.join(', ')}, ${isWanted} AS is_wanted, row_number() OVER () AS place FROM (${rows})`
}

/** Rows of one table that the other does not have: null is equal to null. */
function othersSql(table: string, than: string, columns: readonly IcebergField[], by: readonly IcebergField[]): string {
  const same = by.map((field) => `o.${nameOf(field)} IS NOT DISTINCT FROM t.${nameOf(field)}`)
  return (
    `SELECT ${names(columns, 't.')} FROM ${table} t WHERE t.is_wanted ` +
    `AND NOT EXISTS (SELECT 1 FROM ${than} o WHERE ${same.join(' AND ')}) ORDER BY t.place`
  )
}

function names(fields: readonly IcebergField[], prefix = ''): string {
  return fields.map((field) => prefix + nameOf(field)).join(', ')
}

/** A line of `ChangeFile`: a row that has more than its key is there, one that has only its key is gone. */
function printer(
  columns: readonly IcebergField[],
  keys: readonly IcebergField[],
): (values: readonly DuckDBValue[]) => string {
  const key = objectPrinter(columns, keys)
  const value = columns === keys ? undefined : objectPrinter(columns, columns)
  return (values) => `${JSON.stringify([key(values), value?.(values) ?? null])}\n`
}

/** As the HTTP API prints rows. */
function objectPrinter(
  columns: readonly IcebergField[],
  printed: readonly IcebergField[],
): (values: readonly DuckDBValue[]) => string {
  const members = printed.map((field) => [`${JSON.stringify(field.name)}:`, columns.indexOf(field)] as const)
  return (values) => {
    let text = ''
    for (const [label, at] of members)
      text += `${text === '' ? '{' : ','}${label}${JSON.stringify(plainValue(values[at]!, jsonStyle))}`
    return `${text}}`
  }
}

/** A file that is made when there is something to write. */
class Lines {
  readonly #path: string
  #file: FileHandle | undefined
  #text = ''
  #count = 0

  constructor(path: string) {
    this.#path = path
  }

  add(line: string): void {
    this.#text += line
    this.#count++
  }

  /** Writes what was added, if it is so long. */
  async flush(lengthMin: number): Promise<void> {
    if (this.#text.length < lengthMin) return
    this.#file ??= await open(this.#path, 'wx')
    await this.#file.writeFile(this.#text)
    this.#text = ''
  }

  async close(): Promise<ChangeFile> {
    if (this.#count === 0) return { path: undefined, count: 0 }
    await this.flush(0)
    await this.#file!.close()
    return { path: this.#path, count: this.#count }
  }

  async discard(): Promise<void> {
    if (this.#file === undefined) return
    await this.#file.close().catch(() => undefined)
    await rm(this.#path, { force: true })
  }
}

/** What a condition can do to a statement is the definition's; a file that is gone, and all else, is not. */
function asFailure(error: unknown, { table }: WritePlan, where: string | undefined): unknown {
  if (error instanceof LakeError || where === undefined) return error
  const message = error instanceof Error ? error.message : String(error)
  if (!/^(Conversion|Out of Range|Invalid Input) Error/.test(message)) return error
  return new LakeError('window.expression_failed', `${table}.to.where: ${message.split('\n')[0]!}`, {
    context: { table },
    fix: 'Write it so that it holds for every row, with TRY_CAST for instance.',
    cause: error,
  })
}
