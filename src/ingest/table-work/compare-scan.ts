import duckdb from '@duckdb/node-bindings'
import type { DuckDBConnection } from '@duckdb/node-api'
import type { Clock } from '../../clock.ts'
import { SYSTEM_COLUMNS } from '../../batch.ts'
import { LakeError } from '../../error.ts'
import type { IcebergField, Storage } from '../../lake/table.ts'
import type { ChangedRows, CompareRequest, CompareSide } from '../keys.ts'
import type { Cells } from './cells.ts'
import type { SideNumber } from './group-sums.ts'
import { literal } from '../decode/data-file-writer.ts'
import { withLocalFiles } from './local-files.ts'
import { cellsOf } from './row-cells.ts'
import { byName, finishStates, resetStates, seedOf } from './row-hash.ts'
import { filesSql, nameOf } from './stored-sql.ts'

/** Files that are read by one statement; of a store elsewhere, those that lie here at once. */
const BATCH_BYTES = 1024 * 1024 * 1024
const BATCH_FILES = 64
/** Chunks between two signs of life. */
const STEP_CHUNKS = 256

export interface CompareContext {
  readonly connection: DuckDBConnection
  readonly storage: Storage
  readonly clock: Clock
  /** Called every now and then, while it gets on. */
  onStep(): void
}

/** One side as it is read. */
export class ComparedSide {
  readonly number: SideNumber
  readonly rows: readonly ChangedRows[]
  readonly fields: readonly IcebergField[]
  readonly table: string
  /** SQL over `nameOf` of fields: which rows are looked at; undefined: all. */
  readonly isWanted: string | undefined

  constructor(number: SideNumber, { plan, rows }: CompareSide, request: CompareRequest) {
    this.number = number
    this.rows = rows
    this.fields = plan.schema.fields
    this.table = plan.table
    this.isWanted = isWantedSql(request, (name) => nameOf(this.field(name)))
  }

  field(name: string): IcebergField {
    const found = this.fields.find((field) => field.name === name)
    if (found === undefined) throw new LakeError('internal', `${this.table} has no column ${name}`)
    return found
  }

  /** Files in the order of `rows`, so many at once as one statement reads. */
  *batches(): Generator<FileBatch, void, undefined> {
    let [first, bytes] = [0, 0]
    for (let k = 0; k <= this.rows.length; k++) {
      const size = this.rows[k]?.file.fileSizeBytes ?? 0
      const isFull = k === this.rows.length || k - first === BATCH_FILES || (k > first && bytes + size > BATCH_BYTES)
      if (isFull && k > first) {
        yield { first, rows: this.rows.slice(first, k) }
        ;[first, bytes] = [k, 0]
      }
      bytes += size
    }
  }
}

export interface FileBatch {
  /** Number of the first file. */
  readonly first: number
  readonly rows: readonly ChangedRows[]
}

/** A chunk of rows of a side. */
export interface ScannedChunk {
  readonly chunk: duckdb.DataChunk
  readonly rows: number
  /** 1: the row is alive and wanted. */
  readonly isLive: Uint8Array
  /** The number of the file of each row in `ComparedSide.rows`, and the row in it. */
  file(row: number): number
  place(row: number): number
}

/** Columns of a chunk before those that were asked for. */
export const FIRST_COLUMN = 3

/** Reads columns of all rows of a side, in no order that counts. Throws `store.corrupt` when files have other rows than they should. */
export async function scanSide(
  { connection, storage, clock, onStep }: CompareContext,
  side: ComparedSide,
  fields: readonly IcebergField[],
  take: (chunk: ScannedChunk) => Promise<void> | void,
): Promise<void> {
  const columns = ['file_index', 'file_row_number', side.isWanted ?? 'TRUE', ...fields.map(nameOf)]
  const isLive = new Uint8Array(4_096)
  for (const { first, rows } of side.batches()) {
    const files = rows.map(({ file }) => file)
    const dead = rows.map(({ deleted }) => (deleted.count === 0 ? undefined : deleted))
    let seen = 0
    await withLocalFiles(storage, clock, files, async (paths) => {
      const result = await connection.stream(`SELECT ${columns.join(', ')} FROM ${filesSql(paths, side.fields)}`)
      // The next chunk is on its way while this one is looked at.
      let next = result.fetchChunk()
      try {
        for (let chunks = 0; ; chunks++) {
          const read = await next
          if (read === null || read.rowCount === 0) break
          next = result.fetchChunk()
          const { chunk, rowCount: count } = read
          const files = longs(chunk, 0, count)
          const places = longs(chunk, 1, count)
          const wanted = duckdb.vector_get_data(duckdb.data_chunk_get_vector(chunk, 2), count)
          for (let row = 0; row < count; row++) {
            const isDead = dead[files[2 * row]!]?.has(places[2 * row]!) === true
            isLive[row] = isDead ? 0 : wanted[row]!
          }
          const [file, place] = [(row: number) => first + files[2 * row]!, (row: number) => places[2 * row]!]
          await take({ chunk, rows: count, isLive, file, place })
          seen += count
          if (chunks % STEP_CHUNKS === 0) onStep()
        }
      } finally {
        await next.catch(() => undefined)
      }
    })
    const expected = rows.reduce((sum, { file }) => sum + file.recordCount, 0)
    if (seen !== expected)
      throw new LakeError('store.corrupt', `${side.table}: files have ${seen} rows, and should have ${expected}`, {
        context: { table: side.table, first: files[0]?.key, files: files.length },
      })
  }
}

/** The hashes of the rows of a chunk: of some columns, each read once. */
export class RowHashes {
  readonly fields: readonly IcebergField[]
  readonly #first: number
  readonly #cells: readonly Cells[]
  readonly #hashed: readonly { readonly cells: readonly number[]; readonly seed: Int32Array }[]
  #states: Int32Array[]

  /** Of which columns one hash each is made; `first`: which column of a chunk is the first of `fields`. */
  constructor(field: (name: string) => IcebergField, hashed: readonly (readonly string[])[], first: number) {
    this.fields = byName([...new Set(hashed.flat())].map(field))
    this.#first = first
    this.#cells = this.fields.map(({ type }) => cellsOf(type))
    this.#hashed = hashed.map((names) => {
      const columns = this.fields.filter(({ name }) => names.includes(name))
      return { cells: columns.map((column) => this.fields.indexOf(column)), seed: seedOf(columns) }
    })
    this.#states = hashed.map(() => new Int32Array(4 * 2_048))
  }

  /** Four words a row for each of `hashed`, until the next call. */
  of(chunk: duckdb.DataChunk, rows: number): readonly Int32Array[] {
    if (4 * rows > this.#states[0]!.length) this.#states = this.#hashed.map(() => new Int32Array(4 * rows))
    this.#hashed.forEach(({ seed }, k) => resetStates(this.#states[k]!, rows, seed))
    this.#cells.forEach((cells, at) => {
      cells.load(duckdb.data_chunk_get_vector(chunk, this.#first + at), rows)
      this.#hashed.forEach((hashed, k) => {
        if (hashed.cells.includes(at)) cells.mix(rows, this.#states[k]!)
      })
    })
    for (const states of this.#states) finishStates(states, rows)
    return this.#states
  }
}

function isWantedSql(
  { within = [], since = [], except }: CompareRequest,
  name: (column: string) => string,
): string | undefined {
  const ranges = within.flatMap(({ column, fromUs, untilUs }) => [
    ...(fromUs === undefined ? [] : [`epoch_us(${name(column)}) >= ${fromUs}`]),
    ...(untilUs === undefined ? [] : [`epoch_us(${name(column)}) <= ${untilUs}`]),
  ])
  const earlier = since.map(
    ({ partition, offset }) =>
      `(${name(SYSTEM_COLUMNS.partition)} = ${partition} AND ${name(SYSTEM_COLUMNS.offset)} < ${offset})`,
  )
  const conditions = [
    ...(except === undefined ? [] : [`coalesce(${name(except.column)} <> ${literal(except.text)}, TRUE)`]),
    ...(ranges.length === 0 ? [] : [`coalesce(${ranges.join(' AND ')}, FALSE)`]),
    ...(earlier.length === 0 ? [] : [`NOT coalesce(${earlier.join(' OR ')}, FALSE)`]),
  ]
  return conditions.length === 0 ? undefined : conditions.join(' AND ')
}

/** Of 64-bit integers that are no more than 32 bits long, every second word. */
function longs(chunk: duckdb.DataChunk, column: number, rows: number): Uint32Array {
  const bytes = duckdb.vector_get_data(duckdb.data_chunk_get_vector(chunk, column), rows * 8)
  return new Uint32Array(bytes.buffer, bytes.byteOffset, 2 * rows)
}
