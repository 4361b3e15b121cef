import { stat } from 'node:fs/promises'
import { DuckDBInstance, type DuckDBConnection } from '@duckdb/node-api'
import {
  applyTransform,
  compareValues,
  lowerBound,
  singleValue,
  upperBound,
  writePlan,
  type ColumnMetrics,
  type DataFile,
  type IcebergField,
  type IcebergType,
  type LakeTable,
  type PartitionValue,
  type Storage,
} from '../../src/lake/table.ts'
import { sqlLiteral, type Row, type Value } from './value.ts'

/** Reserved columns of rows that are written again. */
const LINEAGE = [
  ['_row_id', 2_147_483_540],
  ['_last_updated_sequence_number', 2_147_483_539],
] as const

/** Writes rows of chosen values as Parquet files, with statistics computed from the values themselves. */
export class Writer {
  readonly #connection: DuckDBConnection
  readonly #storage: Storage
  #files = 0

  private constructor(connection: DuckDBConnection, storage: Storage) {
    this.#connection = connection
    this.#storage = storage
  }

  static async open(storage: Storage): Promise<Writer> {
    const instance = await DuckDBInstance.create(':memory:', { threads: '1' })
    const connection = await instance.connect()
    await connection.run(`SET TimeZone = 'UTC'`)
    return new Writer(connection, storage)
  }

  /**
   * One file for each partition tuple. Returns the rows in the order of the files. Rows that are written again carry the
   * row id and the sequence number that they had.
   */
  async write(
    table: LakeTable,
    rows: readonly Row[],
    lineage?: (row: Row) => readonly [string, string],
  ): Promise<{ readonly files: readonly DataFile[]; readonly rows: readonly Row[] }> {
    const groups = new Map<string, Row[]>()
    for (const row of rows) {
      const tuple = JSON.stringify(tupleOf(table, row).map((value) => keyText(value)))
      const group = groups.get(tuple)
      if (group === undefined) groups.set(tuple, [row])
      else group.push(row)
    }
    const files: DataFile[] = []
    for (const group of groups.values()) files.push(await this.#writeFile(table, group, lineage))
    return { files, rows: [...groups.values()].flat() }
  }

  close(): void {
    this.#connection.closeSync()
  }

  async #writeFile(
    table: LakeTable,
    rows: readonly Row[],
    lineage: ((row: Row) => readonly [string, string]) | undefined,
  ): Promise<DataFile> {
    const name = `${table.name}-${this.#files++}.parquet`
    const path = `${this.#storage.scratch}/${name}`
    const { fields } = table.schema
    const values = rows.map((row) => {
      const cells = fields.map((field) => sqlLiteral(field.type, row[field.name]!))
      return `(${[...cells, ...(lineage?.(row) ?? []).map((number) => `${number}::BIGINT`)].join(', ')})`
    })
    const names = [...fields.map(({ name }) => `"${name}"`), ...(lineage ? LINEAGE.map(([column]) => column) : [])]
    const ids = [...fields.map(fieldIds), ...(lineage ? LINEAGE.map(([column, id]) => `${column}: ${id}`) : [])]
    await this.#connection.run(
      `COPY (SELECT * FROM (VALUES ${values.join(', ')}) AS t(${names.join(', ')})) TO '${path}' (FORMAT parquet, COMPRESSION zstd, FIELD_IDS {${ids.join(', ')}})`,
    )
    const { size } = await stat(path)
    const key = `${writePlan(table).dataPrefix}${name}`
    await this.#storage.putFile(key, path)
    return {
      key,
      recordCount: rows.length,
      fileSizeBytes: size,
      partition: tupleOf(table, rows[0]!),
      metrics: new Map(
        fields.flatMap((field) =>
          metricsOf(
            field,
            rows.map((row) => row[field.name]!),
          ),
        ),
      ),
    }
  }
}

function tupleOf(table: LakeTable, row: Row): PartitionValue[] {
  return table.spec.fields.map((part) => {
    const source = table.schema.fields.find(({ id }) => id === part['source-id'])!
    return applyTransform(part.transform, source.type, row[source.name] as PartitionValue)
  })
}

function keyText(value: PartitionValue): string {
  return `${typeof value} ${value instanceof Uint8Array ? Buffer.from(value).toString('hex') : String(value)}`
}

function fieldIds({ id, name, type }: IcebergField): string {
  return `"${name}": ${idsOf(id, type)}`
}

function idsOf(id: number, type: IcebergType): string {
  if (typeof type === 'string') return String(id)
  const own = `__duckdb_field_id: ${id}`
  switch (type.type) {
    case 'struct':
      return `{${[own, ...type.fields.map(fieldIds)].join(', ')}}`
    case 'list':
      return `{${own}, element: ${idsOf(type['element-id'], type.element)}}`
    case 'map':
      return `{${own}, key: ${type['key-id']}, value: ${idsOf(type['value-id'], type.value)}}`
  }
}

/** Of the primitives in the column that are not repeated. */
function metricsOf({ id, type }: IcebergField, values: readonly Value[]): [number, ColumnMetrics][] {
  if (typeof type === 'string') return [[id, leafMetrics(type, values as readonly PartitionValue[])]]
  if (type.type !== 'struct') return []
  return type.fields.flatMap((field) =>
    metricsOf(
      field,
      values.map((value) => (value === null ? null : (value as { readonly [name: string]: Value })[field.name]!)),
    ),
  )
}

function leafMetrics(type: string, values: readonly PartitionValue[]): ColumnMetrics {
  const present = values.filter((value) => value !== null)
  const sorted = present.filter((value) => !Number.isNaN(value)).toSorted(compareValues)
  const nanCount = present.length - sorted.length
  const [least, greatest] = [sorted[0], sorted.at(-1)]
  const upper =
    greatest === undefined || nanCount > 0 ? undefined : upperBound(type, Buffer.from(singleValue(type, greatest)))
  return {
    sizeBytes: 8 * values.length,
    valueCount: values.length,
    nullCount: values.length - present.length,
    ...(type === 'float' || type === 'double' ? { nanCount } : {}),
    ...(least === undefined ? {} : { lower: lowerBound(type, Buffer.from(singleValue(type, least))) }),
    ...(upper === undefined ? {} : { upper }),
  }
}
