import type { TableDefinition } from './define.ts'
import { invalidField, type FieldPath } from './define-fields.ts'
import { columnsRead } from './define-sql-tokens.ts'

/**
 * Computed columns, the filter of a table and tables that keep no rows. Keys, versions and event times are taken from
 * the record before any SQL is run, so nothing computed can be one of them. Throws `config.invalid`.
 */
export function checkComputed(table: TableDefinition, at: FieldPath): void {
  const { columns, key, where } = table
  const computed = columns.filter(({ as }) => as !== undefined).map(({ name }) => name)
  for (const { name, as, required } of columns) {
    if (as === undefined) continue
    const path = [...at, 'columns', name]
    if (key.includes(name)) throw fromRecord([...at, 'key', key.indexOf(name)], name, 'a key')
    if (required === true) throw invalidField(path, 'a computed column is always optional', 'Remove "required".')
    const [inner] = columnsRead(as, computed)
    if (inner !== undefined)
      throw invalidField(
        path,
        inner === name ? `"${name}" is computed from itself` : `reads "${inner}", which is computed too`,
        'Compute it from columns that come from the value.',
      )
    refuseKept(table, as, path)
  }
  if (table.version !== undefined && computed.includes(table.version))
    throw fromRecord([...at, 'version'], table.version, 'a version')
  if (table.eventTime !== undefined && computed.includes(table.eventTime.column))
    throw fromRecord([...at, 'eventTime', 'column'], table.eventTime.column, 'an event time')
  if (where !== undefined) refuseKept(table, where, [...at, 'where'])
  if (!table.store && key.length > 0)
    throw invalidField(
      [...at, 'store'],
      'a table with a key keeps its rows: a later record of a key replaces one of them',
      'Remove "store", or remove "key".',
    )
}

/** Columns of which a record may say nothing, so that its row keeps what it had (`missing: keep`). */
export function keptColumns({
  columns,
  key,
  version,
  missing,
}: Pick<TableDefinition, 'columns' | 'key' | 'version' | 'missing'>): readonly string[] {
  if (missing === 'null') return []
  return columns.map(({ name }) => name).filter((name) => name !== version && !key.includes(name))
}

function refuseKept(table: TableDefinition, sql: string, at: FieldPath): void {
  const [kept] = columnsRead(sql, keptColumns(table))
  if (kept !== undefined)
    throw invalidField(
      at,
      `reads "${kept}", which a record may leave as it is: what it then holds is known only after the SQL has run`,
      'Take missing: null, or read columns of the key or the version.',
    )
}

function fromRecord(at: FieldPath, column: string, what: string) {
  return invalidField(
    at,
    `"${column}" is computed, and ${what} comes from the record as it is`,
    'Name a column that comes from the value.',
  )
}
