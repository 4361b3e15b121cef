import { ALIVE } from './alive-file.ts'
import type { PartialFiles, View } from './messages.ts'
import { PLACE } from './top-rows.ts'

/** Where the positions of partial files stand: callers' SQL names no schemas, so it cannot reach them. */
export const SCHEMA = 'kappalake'

export const SCHEMA_SQL = `CREATE SCHEMA ${SCHEMA}`

/** The name of the view that a table's open rows are computed from, as their SELECT writes it. */
export function stateView(table: string): { readonly name: string; readonly relation: string } {
  const name = `${table} state`
  return { name, relation: `${SCHEMA}.${identifier(name)}` }
}

/**
 * The statement that makes a table out of files. Columns are found by Iceberg field id, so that a file written before a
 * column existed reads as null there, and a renamed column keeps its values. Rows of partial files are told apart by
 * their positions, and through that conditions and the choice of columns still reach the files; or, for who has no
 * conditions, by a column beside them, which costs a third. Whole files are read without either.
 */
export function viewSql(view: View, withPlaces = false, schema = 'main'): string {
  const { columns, files, partial, rows, open } = view
  const name = `${schema}.${identifier(view.name)}`
  if (withPlaces) return `CREATE VIEW ${name} AS ${placedSql(view)}`
  const parts = [
    ...(rows === undefined ? [] : [`${nulls(columns)} FROM range(${rows})`]),
    ...(files.length === 0 ? [] : [`SELECT * FROM ${scan(columns, files, view.fileRows)}`]),
    ...(partial ?? []).map((part, index) => partSql(view, part, index)),
    ...(open === undefined ? [] : [`(${open.sql})`]),
  ]
  return `CREATE OR REPLACE VIEW ${name} AS ${parts.length === 0 ? `${nulls(columns)} WHERE false` : parts.join(' UNION ALL ')}`
}

/** Where the positions of a view's partial files stand, and what makes the place. */
export function positionsTable(view: View, index: number) {
  const table = `${view.name} ${index}`
  const sql = `CREATE OR REPLACE TABLE ${SCHEMA}.${identifier(table)} (file UINTEGER, row UINTEGER)`
  return { schema: SCHEMA, table, sql }
}

/** The same rows, each with its place. */
function placedSql(view: View): string {
  const { files, fileRows, partial = [] } = view
  const whole = files.length === 0 ? [] : [partSql(view, { kind: 'without', files, fileRows }, -1, true)]
  return [...whole, ...partial.map((part, index) => partSql(view, part, index, true))].join(' UNION ALL ')
}

type Part = Pick<PartialFiles, 'kind' | 'files' | 'alive'> & { readonly fileRows?: number | undefined }

/** Rows of one of a view's lists of files; of the one before the partial ones, -1, all of them. */
function partSql(view: View, { kind, files, fileRows, alive }: Part, index: number, withPlaces = false): string {
  const { columns } = view
  // In the files' own scan, columns have names that none of DuckDB's own can have.
  const inner = columns.map((column) => ({ ...column, name: `c${column.fieldId}` }))
  const outer = columns.map((column) => `f.c${column.fieldId} AS ${identifier(column.name)}`)
  const places = [String(index), 'f.file_index', 'f.file_row_number']
  if (withPlaces) outer.unshift(...places.map((value, at) => `CAST(${value} AS BIGINT) AS ${identifier(PLACE[at]!)}`))
  if (alive !== undefined) {
    const rows = Math.ceil((fileRows ?? 0) / files.length)
    // File by file: chunks of both sides begin at the same rows then, and none has to be copied.
    return files
      .map((file, k) => `SELECT ${outer.join(', ')} FROM ${scan(inner, [file], rows)} f ${withAlive(alive[k]!)}`)
      .join(' UNION ALL ')
  }
  const rows = `SELECT ${outer.join(', ')} FROM ${scan(inner, files, fileRows)} f`
  if (index < 0) return rows
  // Not an ANTI JOIN: after a condition that the planner takes for a strict one, that would hash the rows instead of the positions.
  const test = kind === 'without' ? 'NOT IN' : 'IN'
  const positions = `${SCHEMA}.${identifier(positionsTable(view, index).table)}`
  return `${rows} WHERE (f.file_index, f.file_row_number) ${test} (SELECT file, row FROM ${positions})`
}

/** Row by row beside what says whether it counts: no position is compared with any. */
function withAlive(file: string): string {
  return `POSITIONAL JOIN read_parquet(${text(file)}) a WHERE a.${ALIVE}`
}

function scan(columns: View['columns'], files: readonly string[], fileRows: number | undefined): string {
  const schema = columns.map(
    ({ fieldId, name, type }) => `${fieldId}: {name: ${text(name)}, type: ${text(type)}, default_value: NULL}`,
  )
  const rows = fileRows === undefined ? '' : `, explicit_cardinality = ${Math.max(1, fileRows)}`
  return `read_parquet([${files.map(text).join(', ')}], schema = MAP {${schema.join(', ')}}${rows})`
}

function nulls(columns: View['columns']): string {
  return `SELECT ${columns.map(({ name, type }) => `CAST(NULL AS ${type}) AS ${identifier(name)}`).join(', ')}`
}

function identifier(name: string): string {
  return `"${name.replaceAll('"', '""')}"`
}

function text(value: string): string {
  return `'${value.replaceAll("'", "''")}'`
}
