import duckdb from '@duckdb/node-bindings'
import { BIGINT, DuckDBDataChunk, UUID } from '@duckdb/node-api'
import { SYSTEM_COLUMNS } from '../../batch.ts'
import type { Clock } from '../../clock.ts'
import { LakeError } from '../../error.ts'
import type { IcebergField, Storage, WritePlan } from '../../lake/table.ts'
import { tableColumns, versionColumn } from '../decode/columns.ts'
import { quoted } from '../decode/data-file-writer.ts'
import { KeyHasher } from '../key-hash.ts'
import { withLocalFiles } from '../table-work/local-files.ts'
import { readKeys } from '../table-work/read-keys.ts'
import { filesSql, nameOf } from '../table-work/stored-sql.ts'
import { CHANGE_COLUMNS, type RowShape } from './change-columns.ts'
import { storedEventMs } from './event-sql.ts'
import type { FoldDatabase } from './fold-database.ts'
import { list, type Relations } from './fold-relations.ts'
import { LANE_COLUMNS, type StoredRows, type StoredSource } from './window.ts'
import { sqlTypeOf } from '../../window/sql.ts'

const { key: KEY, version: VERSION } = CHANGE_COLUMNS
const { partition: PARTITION, offset: OFFSET } = SYSTEM_COLUMNS
const EVENT = LANE_COLUMNS.event
/** Rows of one DuckDB chunk. */
const CHUNK_ROWS = 2_048

export interface OldValuesOptions {
  /** Name of the relation. */
  readonly table: string
  /** Keys at most. */
  readonly max: number
}

/**
 * The rows of a source table as a window over them saw them last (rule A7): by key hash the columns that it reads. Of a
 * table with versions deleted keys stay, not `__alive`, for the sake of their version (rule U5).
 */
export class OldValues {
  readonly table: string
  /** Keys that are held, and rows that the last `replace` deleted. */
  keys = 0
  replaced = 0
  readonly #database: FoldDatabase
  readonly #relations: Relations
  readonly #shape: RowShape
  readonly #max: number
  readonly #columns: readonly string[]

  constructor(database: FoldDatabase, relations: Relations, shape: RowShape, { table, max }: OldValuesOptions) {
    this.table = table
    this.#database = database
    this.#relations = relations
    this.#shape = shape
    this.#max = max
    const version = shape.isVersioned ? [VERSION] : []
    this.#columns = [KEY, PARTITION, OFFSET, ...version, EVENT, ...shape.read.map(({ name }) => quoted(name))]
  }

  async open(): Promise<void> {
    const { read, isVersioned } = this.#shape
    const typed = [
      `${KEY} UUID`,
      `${PARTITION} INTEGER`,
      `${OFFSET} BIGINT`,
      ...(isVersioned ? [`${VERSION} BIGINT`] : []),
      `${EVENT} BIGINT`,
      ...read.map(({ name, type }) => `${quoted(name)} ${sqlTypeOf(type)}`),
      '__alive BOOLEAN',
    ]
    await this.#database.run(`CREATE TABLE ${this.table} (${typed.join(', ')})`)
  }

  /** Reads back the rows of the source, and of a table with versions the markers of deleted keys. */
  async load(storage: Storage, clock: Clock, { plan, rows, deletes }: StoredSource): Promise<void> {
    const { source } = this.#relations
    const version = versionColumn(source)
    const stored = (name: string): string => nameOf(fieldOf(plan, name))
    const event = source.eventTime!.column
    const values = [
      ...[PARTITION, OFFSET].map(stored),
      ...(version === undefined ? [] : [versionSql(fieldOf(plan, version))]),
    ]
    const reads = this.#shape.read.map(({ name }) => stored(name))
    const millis = storedEventMs(source, stored(event))
    const names = [
      PARTITION,
      OFFSET,
      event,
      ...(version === undefined ? [] : [version]),
      ...this.#shape.read.map(({ name }) => name),
    ]
    const fields = [...new Set(names)].map((name) => fieldOf(plan, name))
    for (const each of rows)
      await this.#eachFile(storage, clock, plan, plan.uuid, each, fields, (from) =>
        this.#database.run(
          `INSERT INTO ${this.table} (${list([...this.#columns, '__alive'])}) SELECT ${list([KEY, ...values, millis, ...reads, 'true'])} FROM ${from}`,
        ),
      )
    if (deletes !== undefined) await this.#loadMarkers(storage, clock, plan.uuid, deletes)
    await this.#assertSize()
  }

  /** Takes up the last rows of the keys in a chain, as `FoldedRows` makes it. */
  async replace(chain: string): Promise<void> {
    const { isVersioned } = this.#shape
    const { table } = this
    const [replaced] = await this.#database.numbers(`SELECT count(*) FROM ${chain} WHERE __seed`)
    this.replaced = replaced!
    await this.#database.run(`DELETE FROM ${table} WHERE ${KEY} IN (SELECT ${KEY} FROM ${chain} WHERE __seed)`)
    const columns = this.#columns.map((name) => (name === VERSION ? '__latest' : name))
    const isKept = isVersioned ? '(__alive OR __latest IS NOT NULL)' : '__alive'
    await this.#database.run(
      `INSERT INTO ${table} (${list([...this.#columns, '__alive'])}) SELECT ${list([...columns, '__alive'])} FROM ${chain} WHERE __last AND ${isKept}`,
    )
    await this.#assertSize()
  }

  /** Of several markers of a key the latest counts, and none beside a row. */
  async #loadMarkers(
    storage: Storage,
    clock: Clock,
    uuid: string,
    { plan, rows }: NonNullable<StoredSource['deletes']>,
  ): Promise<void> {
    const database = this.#database
    const fields = [PARTITION, OFFSET, versionColumn(this.#relations.source)!].map((name) => fieldOf(plan, name))
    const [partition, offset] = fields.map(nameOf)
    const version = versionSql(fields[2]!)
    const columns = [KEY, PARTITION, OFFSET, VERSION]
    await database.run(`CREATE OR REPLACE TEMP TABLE markers AS SELECT ${list(columns)} FROM ${this.table} LIMIT 0`)
    for (const each of rows)
      await this.#eachFile(storage, clock, plan, uuid, each, fields, (from) =>
        database.run(`INSERT INTO markers SELECT ${list([KEY, partition!, offset!, version])} FROM ${from}`),
      )
    const latest = (name: string): string => `arg_max(${name}, (${VERSION}, ${PARTITION}, ${OFFSET}))`
    await database.run(
      `INSERT INTO ${this.table} (${list([...columns, '__alive'])})
SELECT ${list([KEY, latest(PARTITION), latest(OFFSET), `max(${VERSION})`, 'false'])} FROM markers
WHERE ${KEY} NOT IN (SELECT ${KEY} FROM ${this.table}) GROUP BY ${KEY}`,
    )
    await database.run('DROP TABLE markers')
  }

  /** Hands over each live row of a file with its key: `file_row_number`, fields by their `nameOf`, `__key`. */
  async #eachFile(
    storage: Storage,
    clock: Clock,
    plan: WritePlan,
    uuid: string,
    { file, deleted }: StoredRows,
    fields: readonly IcebergField[],
    take: (from: string) => Promise<void>,
  ): Promise<void> {
    const { source } = this.#relations
    const { connection, alive } = this.#database
    const columns = tableColumns(source)
    const hasher = new KeyHasher(
      uuid,
      source.key.map((name) => columns.find((column) => column.name === name)!),
    )
    await withLocalFiles(storage, clock, [file], async ([path]) => {
      const { hashes, count } = await readKeys(
        connection,
        plan,
        { key: source.key, version: undefined },
        file,
        path!,
        hasher,
      )
      await connection.run('CREATE OR REPLACE TEMP TABLE stored_keys (__row BIGINT, __key UUID)')
      await this.#appendKeys(hashes, count)
      alive.feed([{ file, deleted }])
      await take(
        `(SELECT * FROM (SELECT *, file_row_number AS __at FROM ${filesSql([path!], fields)} WHERE ${alive.name}(file_index, file_row_number)) JOIN stored_keys ON __row = __at)`,
      )
      alive.assertDone()
    })
    await connection.run('DROP TABLE stored_keys')
  }

  async #appendKeys(hashes: Uint32Array, count: number): Promise<void> {
    const rows = BigInt64Array.from({ length: count }, (_, row) => BigInt(row))
    const appender = await this.#database.connection.createAppender('stored_keys')
    try {
      for (let first = 0; first < count; first += CHUNK_ROWS) {
        const size = Math.min(CHUNK_ROWS, count - first)
        const chunk = DuckDBDataChunk.create([BIGINT, UUID], size)
        const [row, key] = [0, 1].map((k) => duckdb.data_chunk_get_vector(chunk.chunk, k))
        duckdb.copy_data_to_vector(row!, 0, rows.buffer, first * 8, size * 8)
        duckdb.copy_data_to_vector(key!, 0, hashes.buffer as ArrayBuffer, hashes.byteOffset + first * 16, size * 16)
        appender.appendDataChunk(chunk)
      }
    } finally {
      appender.closeSync()
    }
  }

  async #assertSize(): Promise<void> {
    const [keys] = await this.#database.numbers(`SELECT count(*) FROM ${this.table}`)
    this.keys = keys!
    if (keys! <= this.#max) return
    const { definition, source } = this.#relations
    throw new LakeError(
      'window.old_values_max',
      `${definition.name}: old values of ${keys} keys of ${source.name} are held`,
      {
        context: { window: definition.name, table: source.name, keys, oldValuesMax: this.#max },
        fix: 'Raise oldValuesMax and the memory of the process, or take input: events.',
      },
    )
  }
}

function fieldOf({ table, schema }: WritePlan, name: string): IcebergField {
  const found = schema.fields.find((field) => field.name === name)
  if (found === undefined) throw new LakeError('internal', `${table} has no column ${name}`)
  return found
}

/** A version as lanes stage it. */
function versionSql(field: IcebergField): string {
  const name = nameOf(field)
  if (field.type === 'date') return `date_diff('day', DATE '1970-01-01', ${name})`
  return field.type === 'int' || field.type === 'long' ? name : `epoch_us(${name})`
}
