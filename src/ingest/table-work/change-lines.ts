import { open, rm, type FileHandle } from 'node:fs/promises'
import type { DuckDBConnection, DuckDBValue } from '@duckdb/node-api'
import { SYSTEM_COLUMNS } from '../../batch.ts'
import type { PublishedField } from '../../define-topic.ts'
import type { DataFile, IcebergField } from '../../lake/table.ts'
import { jsonStyle, plainValue } from '../../values.ts'
import { sqlTypeOf } from '../../window/sql.ts'
import { quoted } from '../decode/data-file-writer.ts'
import type { ChangeFile, SourcePlace } from '../keys.ts'
import { nameOf } from './stored-sql.ts'

/** Characters that are gathered before they are written. */
const PIECE_LENGTH = 1 << 20
/** Characters of one file of changes, about: what is left is asked for again. */
export const LENGTH_MAX = 256 * 1024 * 1024
/** Stored bytes of the rows that are sorted or compared in memory together, where they are several times as large. */
const BYTES_AT_ONCE = 16 * 1024 * 1024
const ROWS_AT_ONCE = { least: 2_048, most: 100_000 }

/** A member of a printed object, and the column of the statement that has its value. */
export interface Printed {
  readonly label: string
  readonly column: string
}

/** How the columns of a table are printed by their own names. */
export function printedColumns(fields: readonly IcebergField[]): readonly Printed[] {
  return fields.map((field) => ({ label: field.name, column: nameOf(field) }))
}

/** What is printed of a row, and the SQL of what is computed for it, which sees columns by name. */
export function printedValue(
  fields: readonly IcebergField[],
  select: readonly PublishedField[] | undefined,
): { readonly value: readonly Printed[]; readonly computed: readonly string[] } {
  if (select === undefined) return { value: printedColumns(fields), computed: [] }
  const value = select.map(({ name, type, as }, k): Printed => {
    const field = fields.find((each) => each.name === as)
    return { label: name, column: type === undefined ? nameOf(field!) : `s${k}` }
  })
  const computed = select.flatMap(({ type, as }, k) =>
    type === undefined ? [] : [`TRY(CAST((${as}\n) AS ${sqlTypeOf(type)})) AS s${k}`],
  )
  return { value, computed }
}

/**
 * Rows by field id (`nameOf`), of rows by name: with what is computed of them, and whether they are wanted. Conditions
 * and expressions are the definition's.
 */
export function wantedSql(
  fields: readonly IcebergField[],
  computed: readonly string[],
  where: string | undefined,
  rows: string,
  more: readonly string[] = [],
): string {
  const columns = fields.map((field) => `${quoted(field.name)} AS ${nameOf(field)}`)
  const isWanted = where === undefined ? 'TRUE' : `coalesce((${where}\n), FALSE)`
  return `SELECT ${[...columns, ...computed, `${isWanted} AS is_wanted`, ...more].join(', ')} FROM (${rows})`
}

/** Columns of stored files as `wantedSql` takes them. */
export function namedColumns(fields: readonly IcebergField[], prefix = ''): string {
  return fields.map((field) => `${prefix}${nameOf(field)} AS ${quoted(field.name)}`).join(', ')
}

/** Names of the columns that say which record a row of a source table came from. */
export function placeColumns(fields: readonly IcebergField[]): { readonly partition: string; readonly offset: string } {
  const columnOf = (name: string): string => nameOf(fields.find((field) => field.name === name)!)
  return { partition: columnOf(SYSTEM_COLUMNS.partition), offset: columnOf(SYSTEM_COLUMNS.offset) }
}

/** What lies behind positions; partitions that these do not name are new as a whole. */
export function sinceSql(since: readonly SourcePlace[] | undefined, partition: string, offset: string): string[] {
  if (since === undefined || since.length === 0) return []
  const cases = since.map((at) => `WHEN ${at.partition} THEN ${offset} >= ${at.offset}`)
  return [`CASE ${partition} ${cases.join(' ')} ELSE TRUE END`]
}

/** Rows of files that fit into memory together. Follows from the files alone. */
export function rowsAtOnce(files: readonly DataFile[]): number {
  const bytes = files.reduce((sum, { fileSizeBytes }) => sum + fileSizeBytes, 0)
  const each = Math.max(1, bytes / Math.max(1, rowCount(files)))
  return Math.min(ROWS_AT_ONCE.most, Math.max(ROWS_AT_ONCE.least, Math.floor(BYTES_AT_ONCE / each)))
}

export function rowCount(files: readonly DataFile[]): number {
  return files.reduce((sum, { recordCount }) => sum + recordCount, 0)
}

/** A line of `ChangeFile` for the values of one row. */
export type PrintLine = (values: readonly DuckDBValue[]) => string

/** As the HTTP API prints rows; the values begin at `from`. */
export function objectPrinter(members: readonly Printed[], from: number): PrintLine {
  const labels = members.map(({ label }) => `${JSON.stringify(label)}:`)
  return (values) => {
    let text = ''
    for (const [k, label] of labels.entries())
      text += `${text === '' ? '{' : ','}${label}${JSON.stringify(plainValue(values[from + k]!, jsonStyle))}`
    return `${text}}`
  }
}

/** The file of the changes, which is made when there is something to write. */
export class ChangeLines {
  readonly #connection: DuckDBConnection
  readonly #onStep: () => void
  readonly #path: string
  #file: FileHandle | undefined
  #text = ''
  #count = 0
  #length = 0

  constructor(connection: DuckDBConnection, path: string, onStep: () => void) {
    this.#connection = connection
    this.#onStep = onStep
    this.#path = path
  }

  /** Characters so far. */
  get length(): number {
    return this.#length
  }

  /** Adds a line for each row of a statement. */
  async read(sql: string, print: PrintLine): Promise<void> {
    this.#onStep()
    const result = await this.#connection.stream(sql)
    for (
      let chunk = await result.fetchChunk();
      chunk !== null && chunk.rowCount > 0;
      chunk = await result.fetchChunk()
    ) {
      const vectors = Array.from({ length: chunk.columnCount }, (_, index) => chunk!.getColumnVector(index))
      for (let row = 0; row < chunk.rowCount; row++) {
        const line = print(vectors.map((vector) => vector.getItem(row) as DuckDBValue))
        this.#text += line
        this.#length += line.length
      }
      this.#count += chunk.rowCount
      await this.#flush(PIECE_LENGTH)
    }
  }

  async close(): Promise<ChangeFile> {
    if (this.#count === 0) return { path: undefined, count: 0 }
    await this.#flush(0)
    await this.#file!.close()
    return { path: this.#path, count: this.#count }
  }

  async discard(): Promise<void> {
    if (this.#file === undefined) return
    await this.#file.close().catch(() => undefined)
    await rm(this.#path, { force: true })
  }

  /** Writes what was added, if it is so long. */
  async #flush(lengthMin: number): Promise<void> {
    if (this.#text.length < lengthMin) return
    this.#file ??= await open(this.#path, 'wx')
    await this.#file.writeFile(this.#text)
    this.#text = ''
    this.#onStep()
  }
}
