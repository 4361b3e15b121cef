import { stat, unlink } from 'node:fs/promises'
import path from 'node:path'
import type { DuckDBConnection } from '@duckdb/node-api'
import type { Column } from '../../batch.ts'
import type { Clock } from '../../clock.ts'
import { LakeError } from '../../error.ts'
import type { ColumnMetrics, DataFile, IcebergField, IcebergType, Storage, WritePlan } from '../../lake/table.ts'
import { boundOf } from './bounds.ts'
import { readStatistics, type CopyStatistics } from './copy-statistics.ts'
import type { PartitionTuple } from './partition.ts'
import type { Relation } from './relation.ts'
import type { Slab } from './slab.ts'
import { literal, quoted } from '../../sql-text.ts'

export { literal, quoted }

type Metrics = DataFile['metrics']

/** Rows of a Parquet row group; readers skip whole groups. */
export const ROW_GROUP_ROWS = 122_880
/** Distinct values of a column in a row group. Looking for more of them costs an eighth of all encoding. */
const DICTIONARY_MAX = 4_096

/** Where files are made, and where they go. */
export type FileStore = Pick<Storage, 'scratch' | 'putFile'>

/** Writes slabs as one Parquet file of a table and puts it into the store. Asserts that every row arrived. */
export async function writeDataFile(
  connection: DuckDBConnection,
  storage: FileStore,
  clock: Clock,
  plan: WritePlan,
  relation: Relation,
  slabs: readonly Slab[],
  tuple: PartitionTuple,
): Promise<DataFile> {
  const rows = slabs.reduce((sum, slab) => sum + slab.rows, 0)
  try {
    relation.feed(slabs)
    // A relation may know more than the table has room for.
    const isWhole = relation.columns.length === plan.schema.fields.length
    const columns = isWhole ? '*' : plan.schema.fields.map(({ name }) => quoted(name)).join(', ')
    const from = `SELECT ${columns} FROM ${relation.name}()`
    return await copyDataFile(connection, storage, clock, plan, { from, rows, tuple })
  } finally {
    relation.feed([])
  }
}

/** The rows of one data file. */
export interface FileRows {
  /** A query that gives them, with the columns of the plan's schema in its order, then those of `lineage`. */
  readonly from: string
  /** How many they must be. */
  readonly rows: number
  readonly tuple: PartitionTuple
  /** Of a row group: fewer than usual, when rows are so large that a group would not fit into memory. */
  readonly groupRows?: number
  /** Columns of rewritten rows that no schema lists. */
  readonly lineage?: readonly IcebergField[]
}

/** Writes what a query gives as one Parquet file of a table and puts it into the store. Asserts that every row arrived. */
export async function copyDataFile(
  connection: DuckDBConnection,
  storage: FileStore,
  clock: Clock,
  plan: WritePlan,
  { from, rows, tuple, groupRows = ROW_GROUP_ROWS, lineage = [] }: FileRows,
): Promise<DataFile> {
  const name = `${clock.uuid()}.parquet`
  const file = path.join(storage.scratch, name)
  try {
    const result = await connection.run(copySql(plan, lineage, from, file, groupRows))
    const chunk = await result.fetchChunk()
    if (chunk === null || chunk.rowCount !== 1)
      throw new LakeError('internal', `${plan.table}: COPY gave no statistics`)
    const statistics = readStatistics(chunk)
    const { size } = await stat(file)
    if (statistics.rows !== rows || statistics.fileSizeBytes !== size)
      throw new LakeError('internal', `${plan.table}: ${rows} rows went into a file of ${statistics.rows}`, {
        context: { table: plan.table, rows, written: statistics.rows, bytes: size, reported: statistics.fileSizeBytes },
      })
    const metrics = metricsOf(plan, statistics)
    const key = `${plan.dataPrefix}${name}`
    await storage.putFile(key, file)
    return { key, recordCount: rows, fileSizeBytes: size, partition: tuple, metrics }
  } catch (error) {
    await unlink(file).catch(() => undefined)
    throw error
  }
}

/**
 * No bloom filters: those that DuckDB writes of binary columns hide rows from DuckDB itself under `column = value`.
 * `v2` are Parquet's encodings of differences, of lengths beside texts, and of split bytes, for whoever knows Iceberg 3:
 * rows of its tables are written again and again.
 */
function copySql(
  { schema, formatVersion }: WritePlan,
  lineage: readonly IcebergField[],
  from: string,
  file: string,
  groupRows: number,
): string {
  const fields = [...schema.fields, ...lineage]
  const ids = fields.map((field) => `${literal(field.name)}: ${fieldIds(field.id, field.type)}`)
  return `COPY (${from}) TO ${literal(file)} (FORMAT parquet, PARQUET_VERSION ${formatVersion === 3 ? 'v2' : 'v1'},
COMPRESSION zstd, COMPRESSION_LEVEL 1, ROW_GROUP_SIZE ${groupRows}, DICTIONARY_SIZE_LIMIT ${DICTIONARY_MAX},
WRITE_BLOOM_FILTER false, FIELD_IDS {${ids.join(', ')}}, RETURN_STATS true)`
}

/** Field ids of a column and its parts: a part without one would be read as null. */
function fieldIds(id: number, type: IcebergType): string {
  if (typeof type === 'string') return String(id)
  const parts = [`__duckdb_field_id: ${id}`]
  if (type.type === 'struct')
    parts.push(...type.fields.map((field) => `${literal(field.name)}: ${fieldIds(field.id, field.type)}`))
  else if (type.type === 'list') parts.push(`element: ${fieldIds(type['element-id'], type.element)}`)
  else parts.push(`key: ${type['key-id']}`, `value: ${fieldIds(type['value-id'], type.value)}`)
  return `{${parts.join(', ')}}`
}

/** Metrics of every leaf column, by field id. */
function metricsOf(plan: WritePlan, statistics: CopyStatistics): Metrics {
  const metrics = new Map<number, ColumnMetrics>()
  const walk = (id: number, path: string, type: IcebergType, isRepeated: boolean): void => {
    if (typeof type === 'string') {
      const found = statistics.columns.get(path)
      if (found === undefined) throw new LakeError('internal', `${plan.table}: COPY gave no statistics of ${path}`)
      metrics.set(id, columnMetrics(found, type, isRepeated))
    } else if (type.type === 'struct')
      for (const field of type.fields) walk(field.id, `${path}.${quoted(field.name)}`, field.type, isRepeated)
    else if (type.type === 'list') walk(type['element-id'], `${path}."element"`, type.element, true)
    else {
      walk(type['key-id'], `${path}."key"`, type.key, true)
      walk(type['value-id'], `${path}."value"`, type.value, true)
    }
  }
  for (const field of plan.schema.fields) walk(field.id, quoted(field.name), field.type, false)
  return metrics
}

function columnMetrics(found: ReadonlyMap<string, Uint8Array>, type: IcebergType, isRepeated: boolean): ColumnMetrics {
  const number = (name: string): number => Number(Buffer.from(found.get(name) ?? []).toString('latin1') || Number.NaN)
  const isFloating = type === 'float' || type === 'double'
  const hasNan = isFloating && Buffer.from(found.get('has_nan') ?? []).toString('latin1') !== 'false'
  const min = found.get('min')
  const max = found.get('max')
  // Within lists and maps a bound says nothing of a row, and readers expect none.
  const lower = min === undefined || isRepeated ? undefined : boundOf(type, min, 'lower')
  // Readers that sort NaN above everything would lose it under an upper bound.
  const upper = max === undefined || isRepeated || hasNan ? undefined : boundOf(type, max, 'upper')
  return {
    sizeBytes: number('column_size_bytes'),
    valueCount: number('num_values'),
    nullCount: number('null_count'),
    ...(isFloating && !hasNan ? { nanCount: 0 } : {}),
    ...(lower === undefined ? {} : { lower }),
    ...(upper === undefined ? {} : { upper }),
  }
}

/** The table's columns must be the relation's, in order; nothing is matched by guess. */
export function checkColumns(plan: WritePlan, columns: readonly Column[]): void {
  const there = plan.schema.fields.map(({ name }) => name)
  const here = columns.map(({ name }) => name)
  if (there.join('\n') !== here.join('\n'))
    throw new LakeError('internal', `${plan.table}: the table has other columns than its definition`, {
      context: { table: plan.table, there, here },
    })
}
