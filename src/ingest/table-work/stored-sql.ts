import type { IcebergField, IcebergType } from '../../lake/table.ts'
import { literal, quoted } from '../decode/data-file-writer.ts'

/** Row lineage of Iceberg v3, as rewritten rows carry it. No schema lists these columns. */
export const ROW_ID: IcebergField = { id: 2_147_483_540, name: '_row_id', required: false, type: 'long' }
export const SEQUENCE_NUMBER: IcebergField = {
  id: 2_147_483_539,
  name: '_last_updated_sequence_number',
  required: false,
  type: 'long',
}

/**
 * Stored files as a relation, one after the other in their order. Columns are found by field id, and called by it
 * (`nameOf`), so that none hides `file_index` and `file_row_number`, which can be selected beside them. A column that a
 * file does not have is null.
 */
export function filesSql(paths: readonly string[], fields: readonly IcebergField[]): string {
  const schema = fields.map(
    (field) =>
      `${field.id}: {name: ${literal(nameOf(field))}, type: ${literal(sqlType(field.type))}, default_value: NULL}`,
  )
  return `read_parquet([${paths.map(literal).join(', ')}], schema = MAP {${schema.join(', ')}})`
}

/** What a column is called in `filesSql`. */
export function nameOf({ id }: IcebergField): string {
  return `f${id}`
}

/** DuckDB's name of an Iceberg type. */
export function sqlType(type: IcebergType): string {
  if (typeof type !== 'string') {
    if (type.type === 'list') return `${sqlType(type.element)}[]`
    if (type.type === 'map') return `MAP(${sqlType(type.key)}, ${sqlType(type.value)})`
    return `STRUCT(${type.fields.map((field) => `${quoted(field.name)} ${sqlType(field.type)}`).join(', ')})`
  }
  return PRIMITIVES[type] ?? type.toUpperCase()
}

/** Those that DuckDB calls by another name; `decimal(p, s)`, `boolean`, `float`, … are called the same. */
const PRIMITIVES: Readonly<Record<string, string>> = {
  int: 'INTEGER',
  long: 'BIGINT',
  string: 'VARCHAR',
  binary: 'BLOB',
  timestamptz: 'TIMESTAMP WITH TIME ZONE',
}
