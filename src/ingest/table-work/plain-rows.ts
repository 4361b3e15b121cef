import {
  DuckDBBlobValue,
  DuckDBDataChunk,
  DuckDBDateValue,
  DuckDBDecimalValue,
  DuckDBListValue,
  DuckDBMapValue,
  DuckDBStructValue,
  DuckDBTimestampTZValue,
  DuckDBTimestampValue,
  DuckDBUUIDValue,
  type DuckDBConnection,
  type DuckDBValue,
} from '@duckdb/node-api'
import type { Clock } from '../../clock.ts'
import { LakeError } from '../../error.ts'
import {
  applyTransform,
  type DataFile,
  type IcebergType,
  type PartitionValue,
  type Storage,
  type WritePlan,
} from '../../lake/table.ts'
import { copyDataFile } from '../decode/data-file-writer.ts'
import type { PartitionTuple } from '../decode/partition.ts'
import { nameOf, sqlType } from './stored-sql.ts'
import { quoted } from '../decode/data-file-writer.ts'

/** Rows of one DuckDB chunk. */
const CHUNK_ROWS = 2_048

export type PlainRow = readonly unknown[]

/**
 * Writes rows of plain values, one file per partition tuple, in the order in which tuples come up. Values are those of
 * partition tuples: int, date and floats as number; long, timestamps and unscaled decimals as bigint; binary and uuid
 * as bytes. Lists are arrays, structs objects by name, maps `Map`s.
 */
export async function encodeRows(
  connection: DuckDBConnection,
  storage: Storage,
  clock: Clock,
  plan: WritePlan,
  rows: readonly PlainRow[],
): Promise<readonly DataFile[]> {
  const { fields } = plan.schema
  const columns = fields.map((field) => `${nameOf(field)} ${sqlType(field.type)}`)
  const from = `FROM plain SELECT ${fields.map((field) => `${nameOf(field)} AS ${quoted(field.name)}`).join(', ')} ORDER BY rowid`
  const files: DataFile[] = []
  for (const { tuple, rows: part } of divideRows(plan, rows)) {
    await connection.run(`CREATE OR REPLACE TEMP TABLE plain (${columns.join(', ')})`)
    await append(connection, plan, part)
    files.push(await copyDataFile(connection, storage, clock, plan, { from, rows: part.length, tuple }))
  }
  await connection.run('DROP TABLE IF EXISTS plain')
  return files
}

function divideRows(
  plan: WritePlan,
  rows: readonly PlainRow[],
): readonly { readonly tuple: PartitionTuple; readonly rows: readonly PlainRow[] }[] {
  const { fields } = plan.schema
  const parts = plan.spec.fields.map(({ transform, ...field }) => {
    const index = fields.findIndex(({ id }) => id === field['source-id'])
    return { index, transform, source: fields[index]!.type }
  })
  const groups = new Map<string, { readonly tuple: PartitionTuple; readonly rows: PlainRow[] }>()
  for (const row of rows) {
    if (row.length !== fields.length)
      throw new LakeError('internal', `${plan.table}: a row of ${row.length} values for ${fields.length} columns`)
    const missing = fields.find((field, k) => field.required && (row[k] ?? null) === null)
    if (missing !== undefined) throw new LakeError('internal', `${plan.table}: a row without ${missing.name}`)
    const tuple = parts.map(({ index, transform, source }) =>
      applyTransform(transform, source, (row[index] ?? null) as PartitionValue),
    )
    const text = tuple
      .map((value) => (value instanceof Uint8Array ? Buffer.from(value).toString('hex') : `${typeof value} ${value}`))
      .join('\u0000')
    const group = groups.get(text)
    if (group === undefined) groups.set(text, { tuple, rows: [row] })
    else group.rows.push(row)
  }
  return [...groups.values()]
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
