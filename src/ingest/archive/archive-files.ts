import type { DuckDBConnection } from '@duckdb/node-api'
import { SYSTEM_COLUMNS } from '../../batch.ts'
import { ARCHIVE_COLUMN_NAMES } from '../../define-raw.ts'
import { LakeError } from '../../error.ts'
import {
  openTable,
  storedFiles,
  type DataFile,
  type IcebergField,
  type LakeTable,
  type Storage,
} from '../../lake/table.ts'
import { filesSql, nameOf } from '../table-work/stored-sql.ts'
import type { Archive, KeptRange } from './archive.ts'
import type { LocalCopies } from './local-copies.ts'
import type { Piece } from './windows.ts'

/** A file of an archive, or of its dead letters, which have other columns. */
export interface ArchiveFile {
  readonly file: DataFile
  readonly fields: ArchiveFields
}

export interface ArchiveFields {
  readonly partition: IcebergField
  readonly offset: IcebergField
  readonly timestamp: IcebergField
  readonly key: IcebergField
  readonly value: IcebergField
  readonly headers: IcebergField
  /** Dead letters have neither. */
  readonly timestampType: IcebergField | undefined
  readonly timestampMs: IcebergField | undefined
}

/** Files whose partitions are looked at in one go. */
const LOOK_FILES = 16

/** The files of one archive, in the order in which they were written, and which records stand in which. */
export class ArchiveFiles {
  readonly files: readonly ArchiveFile[]
  /** By number of the file; those that were looked at. */
  readonly #pieces = new Map<number, readonly Piece[]>()

  private constructor(files: readonly ArchiveFile[]) {
    this.files = files
  }

  static async open(storage: Storage, { metadata }: Archive): Promise<ArchiveFiles> {
    const files: (ArchiveFile & { readonly sequenceNumber: bigint })[] = []
    for (const key of metadata) {
      const table = await openTable(storage, key)
      const fields = fieldsOf(table)
      for (const file of await storedFiles(storage, table))
        files.push({ file, fields, sequenceNumber: file.sequenceNumber })
    }
    return new ArchiveFiles(files.toSorted((a, b) => Number(a.sequenceNumber - b.sequenceNumber)))
  }

  /** Rows of a window that takes about so many bytes as they are stored. */
  rowsOf(bytes: number): number {
    const rows = this.files.reduce((sum, { file }) => sum + file.recordCount, 0)
    const stored = this.files.reduce((sum, { file }) => sum + file.fileSizeBytes, 0)
    return Math.max(1, Math.floor((bytes * rows) / Math.max(1, stored)))
  }

  /** Where the records of some ranges stand. What a file's statistics leave open is read from the file, once. */
  async pieces(
    ranges: ReadonlyMap<number, KeptRange>,
    connection: DuckDBConnection,
    copies: LocalCopies,
  ): Promise<readonly Piece[]> {
    const wanted = [...this.files.keys()].filter((k) => mayHold(this.files[k]!, ranges))
    const open = wanted.filter((k) => !this.#pieces.has(k))
    for (const k of open) {
      const piece = pieceOf(k, this.files[k]!)
      if (piece !== undefined) this.#pieces.set(k, [piece])
    }
    const left = open.filter((k) => !this.#pieces.has(k))
    // Dead letters have columns of their own.
    for (const fields of new Set(left.map((k) => this.files[k]!.fields))) {
      const alike = left.filter((k) => this.files[k]!.fields === fields)
      for (let from = 0; from < alike.length; from += LOOK_FILES)
        await this.#look(alike.slice(from, from + LOOK_FILES), fields, connection, copies)
    }
    return wanted.flatMap((k) => this.#pieces.get(k)!.filter(({ partition }) => ranges.has(partition)))
  }

  async #look(
    numbers: readonly number[],
    { partition, offset }: ArchiveFields,
    connection: DuckDBConnection,
    copies: LocalCopies,
  ): Promise<void> {
    const files = numbers.map((k) => this.files[k]!.file)
    const [p, o] = [nameOf(partition), nameOf(offset)]
    const found = numbers.map((): Piece[] => [])
    await copies.with(files, async (paths) => {
      const sql = `SELECT file_index::INTEGER, ${p}, min(${o}), max(${o}), count(*)::INTEGER
FROM ${filesSql(paths, [partition, offset])} GROUP BY ALL`
      for (const row of (await connection.runAndReadAll(sql)).getRows()) {
        const [index, partition, first, last, rows] = row as [number, number, bigint, bigint, number]
        found[index]!.push({ file: numbers[index]!, partition, first, last, rows })
      }
    })
    for (const [index, k] of numbers.entries()) this.#pieces.set(k, found[index]!)
  }
}

/** Whether a file may have a record of the ranges, by its statistics. */
function mayHold({ file, fields }: ArchiveFile, ranges: ReadonlyMap<number, KeptRange>): boolean {
  const [partitions, offsets] = [boundsOf(file, fields.partition), boundsOf(file, fields.offset)]
  for (const [partition, { from, until }] of ranges) {
    const isOther = partitions !== undefined && (partition < partitions.least || partition > partitions.greatest)
    const isElsewhere = offsets !== undefined && (offsets.greatest < from || offsets.least >= until)
    if (!isOther && !isElsewhere) return true
  }
  return false
}

/** Of a file with records of one partition, by its statistics. */
function pieceOf(number: number, { file, fields }: ArchiveFile): Piece | undefined {
  const [partitions, offsets] = [boundsOf(file, fields.partition), boundsOf(file, fields.offset)]
  if (partitions === undefined || offsets === undefined || partitions.least !== partitions.greatest) return undefined
  const { least: first, greatest: last } = offsets
  return { file: number, partition: Number(partitions.least), first, last, rows: file.recordCount }
}

/** Least and greatest value of an integer column; those of `int` and `long` are exact. */
export function boundsOf(
  file: DataFile,
  { id }: IcebergField,
): { readonly least: bigint; readonly greatest: bigint } | undefined {
  const { lower, upper } = file.metrics.get(id) ?? {}
  if (lower === undefined || upper === undefined) return undefined
  return { least: integerOf(lower), greatest: integerOf(upper) }
}

function integerOf(bytes: Uint8Array): bigint {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  return bytes.length === 4 ? BigInt(view.getInt32(0, true)) : view.getBigInt64(0, true)
}

function fieldsOf({ name, schema }: LakeTable): ArchiveFields {
  const find = (column: string): IcebergField | undefined => schema.fields.find((field) => field.name === column)
  const field = (column: string): IcebergField => {
    const found = find(column)
    if (found === undefined) throw new LakeError('internal', `${name} has no column ${column}`)
    return found
  }
  return {
    partition: field(SYSTEM_COLUMNS.partition),
    offset: field(SYSTEM_COLUMNS.offset),
    timestamp: field(SYSTEM_COLUMNS.timestamp),
    key: field('key'),
    value: field('value'),
    headers: field('headers'),
    timestampType: find(ARCHIVE_COLUMN_NAMES.timestampType),
    timestampMs: find(ARCHIVE_COLUMN_NAMES.timestampMs),
  }
}
