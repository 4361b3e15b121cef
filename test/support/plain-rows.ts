import {
  DuckDBBlobValue,
  DuckDBDataChunk,
  DuckDBDateValue,
  DuckDBDecimalValue,
  DuckDBInstance,
  DuckDBListValue,
  DuckDBMapValue,
  DuckDBStructValue,
  DuckDBTimestampTZValue,
  DuckDBTimestampValue,
  DuckDBUUIDValue,
  type DuckDBConnection,
  type DuckDBValue,
} from '@duckdb/node-api'
import { systemClock } from '../../src/clock.ts'
import { copyDataFile, quoted } from '../../src/ingest/decode/data-file-writer.ts'
import { nameOf, sqlType } from '../../src/ingest/table-work/stored-sql.ts'
import type { DataFile, IcebergType, Storage, WritePlan } from '../../src/lake/table.ts'

/** Rows of one DuckDB chunk. */
const CHUNK_ROWS = 2_048

export type PlainRow = readonly unknown[]

/** A DuckDB that writes data files, as the encoder would, from rows that a test gives. */
export class PlainWriter {
  readonly #instance: DuckDBInstance
  readonly #connection: DuckDBConnection

  private constructor(instance: DuckDBInstance, connection: DuckDBConnection) {
    this.#instance = instance
    this.#connection = connection
  }

  static async open(): Promise<PlainWriter> {
    const instance = await DuckDBInstance.create(':memory:', { threads: '1' })
    return new PlainWriter(instance, await instance.connect())
  }

  /**
   * One file of a table that is not partitioned. Values are those of partition tuples: int, date and floats as number;
   * long, timestamps and unscaled decimals as bigint; binary and uuid as bytes. Lists are arrays, structs objects by
   * name, maps `Map`s.
   */
  async write(storage: Storage, plan: WritePlan, rows: readonly PlainRow[]): Promise<DataFile> {
    const { fields } = plan.schema
    const columns = fields.map((field) => `${nameOf(field)} ${sqlType(field.type)}`)
    const from = `FROM plain SELECT ${fields.map((field) => `${nameOf(field)} AS ${quoted(field.name)}`).join(', ')} ORDER BY rowid`
    await this.#connection.run(`CREATE OR REPLACE TEMP TABLE plain (${columns.join(', ')})`)
    await append(this.#connection, plan, rows)
    return copyDataFile(this.#connection, storage, systemClock, plan, { from, rows: rows.length, tuple: [] })
  }

  close(): void {
    this.#connection.closeSync()
    this.#instance.closeSync()
  }
}

async function append(connection: DuckDBConnection, plan: WritePlan, rows: readonly PlainRow[]): Promise<void> {
  const types = (await connection.run('FROM plain LIMIT 0')).columnTypes()
  const appender = await connection.createAppender('plain')
  try {
    for (let first = 0; first < rows.length; first += CHUNK_ROWS) {
      const chunk = DuckDBDataChunk.create(types)
      const part = rows.slice(first, first + CHUNK_ROWS)
      chunk.setRows(part.map((row) => plan.schema.fields.map(({ type }, k) => duckValue(type, row[k] ?? null))))
      appender.appendDataChunk(chunk)
    }
  } finally {
    appender.closeSync()
  }
}

function duckValue(type: IcebergType, value: unknown): DuckDBValue {
  if (value === null) return null
  if (typeof type !== 'string') return nestedValue(type, value)
  switch (type) {
    case 'binary':
      return new DuckDBBlobValue(value as Uint8Array)
    case 'date':
      return new DuckDBDateValue(value as number)
    case 'timestamp':
      return new DuckDBTimestampValue(value as bigint)
    case 'timestamptz':
      return new DuckDBTimestampTZValue(value as bigint)
    case 'uuid':
      return DuckDBUUIDValue.fromUint128(BigInt(`0x${Buffer.from(value as Uint8Array).toString('hex')}`))
  }
  const [, precision, scale] = /^decimal\((\d+), ?(\d+)\)$/.exec(type) ?? []
  if (precision !== undefined) return new DuckDBDecimalValue(value as bigint, Number(precision), Number(scale))
  return value as DuckDBValue
}

function nestedValue(type: Exclude<IcebergType, string>, value: unknown): DuckDBValue {
  if (type.type === 'list')
    return new DuckDBListValue((value as readonly unknown[]).map((each) => duckValue(type.element, each ?? null)))
  if (type.type === 'map')
    return new DuckDBMapValue(
      [...(value as ReadonlyMap<unknown, unknown>)].map(([key, each]) => ({
        key: duckValue(type.key, key),
        value: duckValue(type.value, each ?? null),
      })),
    )
  const fields = value as Readonly<Record<string, unknown>>
  return new DuckDBStructValue(
    Object.fromEntries(type.fields.map((field) => [field.name, duckValue(field.type, fields[field.name] ?? null)])),
  )
}
