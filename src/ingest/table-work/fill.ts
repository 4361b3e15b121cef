import duckdb from '@duckdb/node-bindings'
import { BIGINT, DuckDBDataChunk, type DuckDBConnection } from '@duckdb/node-api'
import type { Clock } from '../../clock.ts'
import { LakeError } from '../../error.ts'
import type { DataFile, IcebergField, Storage, WritePlan } from '../../lake/table.ts'
import { copyDataFile, quoted } from '../decode/data-file-writer.ts'
import type { Filling } from '../keys.ts'
import { filesSql, nameOf } from './stored-sql.ts'

/** Rows of one DuckDB chunk. */
const CHUNK_ROWS = 2_048

/** The files that fillings take values from, each once. */
export function sourceKeys(fillings: readonly Filling[]): readonly string[] {
  return [...new Set(fillings.map(({ from }) => from.key))]
}

/**
 * Writes a file anew, row for row, with the values of the named columns of the named rows taken from other files.
 * `sources` has the paths of `sourceKeys`, and the plan of their table. Throws `store.corrupt` when a row that is named there does not exist.
 */
export async function fill(
  connection: DuckDBConnection,
  storage: Storage,
  clock: Clock,
  plan: WritePlan,
  file: DataFile,
  path: string,
  fillings: readonly Filling[],
  sources: { readonly plan: WritePlan; readonly paths: readonly string[] },
): Promise<DataFile> {
  const kinds = columnSets(fillings)
  const { fields } = plan.schema
  const filled = filledFields(plan, kinds)
  const there = ({ name }: IcebergField): IcebergField => {
    const found = sources.plan.schema.fields.find((field) => field.name === name)
    if (found === undefined) throw new LakeError('internal', `${sources.plan.table} has no column ${name}`)
    return found
  }
  try {
    await connection.run('CREATE OR REPLACE TEMP TABLE holes (target BIGINT, kind BIGINT, source BIGINT, place BIGINT)')
    await append(connection, fillings, kinds)
    await connection.run(`CREATE OR REPLACE TEMP TABLE patches AS
SELECT holes.target, holes.kind, ${filled.map(({ field }) => `stored.${nameOf(there(field))} AS ${nameOf(field)}`).join(', ')}
FROM ${filesSql(
      sources.paths,
      filled.map(({ field }) => there(field)),
    )} stored JOIN holes ON stored.file_index = holes.source AND stored.file_row_number = holes.place`)
    await assertPatches(connection, file, fillings)
    const columns = fields.map((field) => {
      const name = nameOf(field)
      const found = filled.find((each) => each.field === field)
      // A row without a patch has no kind.
      const value =
        found === undefined
          ? `base.${name}`
          : `CASE WHEN patches.kind IN (${found.kinds.join(', ')}) THEN patches.${name} ELSE base.${name} END`
      return `${value} AS ${quoted(field.name)}`
    })
    // A join may change the order; the file is as large as a micro-batch, so its rows can be sorted.
    const from = `SELECT ${columns.join(', ')} FROM (SELECT *, file_row_number AS position FROM ${filesSql([path], fields)}) base
LEFT JOIN patches ON patches.target = base.position ORDER BY base.position`
    return await copyDataFile(connection, storage, clock, plan, { from, rows: file.recordCount, tuple: file.partition })
  } finally {
    await connection.run('DROP TABLE IF EXISTS holes')
    await connection.run('DROP TABLE IF EXISTS patches')
  }
}

/** Sets of columns that rows lack, each once: number by the columns' names. */
function columnSets(fillings: readonly Filling[]): ReadonlyMap<string, number> {
  const kinds = new Map<string, number>()
  for (const { columns } of fillings) {
    const text = JSON.stringify(columns)
    if (!kinds.has(text)) kinds.set(text, kinds.size)
  }
  return kinds
}

/** The columns that some row lacks, with the sets that they are in. */
function filledFields(
  plan: WritePlan,
  sets: ReadonlyMap<string, number>,
): readonly { readonly field: IcebergField; readonly kinds: readonly number[] }[] {
  const kinds = new Map<string, number[]>()
  for (const [text, kind] of sets)
    for (const name of JSON.parse(text) as string[]) kinds.set(name, [...(kinds.get(name) ?? []), kind])
  return [...kinds].map(([name, of]) => {
    const field = plan.schema.fields.find((each) => each.name === name)
    const isPartition = plan.spec.fields.some((each) => each['source-id'] === field?.id)
    // Its value decided which file the row went into.
    if (field === undefined || isPartition)
      throw new LakeError('internal', `${plan.table}: ${name} is no column that can be filled in later`)
    return { field, kinds: of }
  })
}

async function append(
  connection: DuckDBConnection,
  fillings: readonly Filling[],
  kinds: ReadonlyMap<string, number>,
): Promise<void> {
  const sources = new Map(sourceKeys(fillings).map((key, k) => [key, k]))
  const columns = [
    BigInt64Array.from(fillings, ({ row }) => BigInt(row)),
    BigInt64Array.from(fillings, (filling) => BigInt(kinds.get(JSON.stringify(filling.columns))!)),
    BigInt64Array.from(fillings, ({ from }) => BigInt(sources.get(from.key)!)),
    BigInt64Array.from(fillings, ({ from }) => BigInt(from.row)),
  ]
  const appender = await connection.createAppender('holes')
  try {
    for (let first = 0; first < fillings.length; first += CHUNK_ROWS) {
      const rows = Math.min(CHUNK_ROWS, fillings.length - first)
      const chunk = DuckDBDataChunk.create([BIGINT, BIGINT, BIGINT, BIGINT], rows)
      columns.forEach(({ buffer }, k) =>
        duckdb.copy_data_to_vector(duckdb.data_chunk_get_vector(chunk.chunk, k), 0, buffer, first * 8, rows * 8),
      )
      appender.appendDataChunk(chunk)
    }
  } finally {
    appender.closeSync()
  }
}

async function assertPatches(
  connection: DuckDBConnection,
  file: DataFile,
  fillings: readonly Filling[],
): Promise<void> {
  const reader = await connection.runAndReadAll(
    `SELECT count(*), count(DISTINCT target) FROM patches WHERE target BETWEEN 0 AND ${file.recordCount - 1}`,
  )
  const [found, distinct] = reader.getRows()[0]!.map(Number)
  if (found === fillings.length && distinct === fillings.length) return
  throw new LakeError('store.corrupt', `${file.key}: values of ${fillings.length} rows were to be filled in`, {
    context: { key: file.key, fillings: fillings.length, found, distinct },
  })
}
