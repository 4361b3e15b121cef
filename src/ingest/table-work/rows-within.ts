import type { DuckDBConnection } from '@duckdb/node-api'
import { SYSTEM_COLUMNS } from '../../batch.ts'
import { LakeError } from '../../error.ts'
import type { IcebergField, WritePlan } from '../../lake/table.ts'
import type { OffsetRange } from '../keys.ts'
import { filesSql, nameOf } from './stored-sql.ts'

/** See `TableWork.rowsWithin`; `path` is that of the file on this machine. */
export async function rowsWithin(
  connection: DuckDBConnection,
  plan: WritePlan,
  path: string,
  ranges: readonly OffsetRange[],
): Promise<Uint32Array> {
  const [partition, offset] = [fieldOf(plan, SYSTEM_COLUMNS.partition), fieldOf(plan, SYSTEM_COLUMNS.offset)]
  const within = ranges.map(
    (range) =>
      `(${nameOf(partition)} = ${range.partition} AND ${nameOf(offset)} >= ${range.from} AND ${nameOf(offset)} < ${range.until})`,
  )
  const result = await connection.runAndReadAll(
    `SELECT file_row_number FROM ${filesSql([path], [partition, offset])} WHERE ${['false', ...within].join(' OR ')} ORDER BY 1`,
  )
  return Uint32Array.from(result.getRows(), ([row]) => Number(row))
}

function fieldOf({ table, schema }: WritePlan, name: string): IcebergField {
  const found = schema.fields.find((field) => field.name === name)
  if (found === undefined) throw new LakeError('internal', `${table} has no column ${name}`)
  return found
}
