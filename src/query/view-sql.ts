import type { View } from './messages.ts'

/**
 * The statement that makes a table out of files. Columns are found by Iceberg field id, so that a file written before a
 * column existed reads as null there, and a renamed column keeps its values.
 */
export function viewSql({ name, columns, files }: View): string {
  return `CREATE VIEW ${identifier(name)} AS ${files.length === 0 ? noRows(columns) : fromFiles(columns, files)}`
}

function fromFiles(columns: View['columns'], files: View['files']): string {
  const schema = columns.map(
    ({ fieldId, name, type }) => `${fieldId}: {name: ${text(name)}, type: ${text(type)}, default_value: NULL}`,
  )
  return `SELECT * FROM read_parquet([${files.map(text).join(', ')}], schema = MAP {${schema.join(', ')}})`
}

function noRows(columns: View['columns']): string {
  return `SELECT ${columns.map(({ name, type }) => `CAST(NULL AS ${type}) AS ${identifier(name)}`).join(', ')} WHERE false`
}

function identifier(name: string): string {
  return `"${name.replaceAll('"', '""')}"`
}

function text(value: string): string {
  return `'${value.replaceAll("'", "''")}'`
}
