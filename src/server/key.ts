import { SYSTEM_COLUMNS } from '../batch.ts'
import { lateTable } from '../define-window.ts'
import type { IcebergType, LakeTable } from '../lake/table.ts'
import { duckdbType } from '../query/engine.ts'
import { storedWindow } from '../window-property.ts'

/** A column that orders the rows of a table, alone or with others, and names each. */
export interface KeyColumn {
  readonly name: string
  readonly type: IcebergType
  /** Others may be null, which comes last and is equal to itself. The first column of a key is required. */
  readonly required: boolean
  /** The greatest first. */
  readonly isDescending?: boolean
}

/**
 * The key columns of a table in the order of its schema; of a window table, which window and which group; of a table
 * without, the position of the record that a row came from. Empty when it has neither.
 */
export function keyOf(table: Pick<LakeTable, 'name' | 'schema' | 'properties'>): readonly KeyColumn[] {
  const { fields } = table.schema
  const window = storedWindow(table.properties)
  if (window !== undefined && window.definition.name === table.name) {
    const { groupBy, window: kind } = window.definition
    // A session is named by its start alone: its end moves.
    const bounds = kind.kind === 'session' ? ['window_start'] : ['window_start', 'window_end']
    return [...bounds, ...groupBy].map((name) => fields.find((field) => field.name === name)!)
  }
  const ids = (table.schema as { readonly 'identifier-field-ids'?: readonly number[] })['identifier-field-ids'] ?? []
  if (ids.length > 0) return fields.filter(({ id }) => ids.includes(id))
  const names: string[] = [SYSTEM_COLUMNS.partition, SYSTEM_COLUMNS.offset]
  // Both halves of a change can be late.
  if (window !== undefined && lateTable(window.definition.name) === table.name) names.push('_weight')
  const position = names.map((name) => fields.find((field) => field.name === name))
  return position.includes(undefined) ? [] : (position as readonly KeyColumn[])
}

/** Values of the key of a row, as a cursor carries them. */
export function keyValues(key: readonly KeyColumn[], row: Readonly<Record<string, unknown>>): (string | null)[] {
  return key.map(({ name, type }) => (row[name] === null ? null : valueText(type, String(row[name]))))
}

/** Years above 9999 have a sign and six digits in JSON, which DuckDB does not read. */
function valueText(type: IcebergType, text: string): string {
  return typeof type === 'string' && /^(date$|timestamp)/.test(type) ? text.replace(/^\+0*/, '') : text
}

/** What rows are ordered by. */
export function orderOf(key: readonly KeyColumn[], columnOf: (name: string) => string): string {
  return key
    .map(
      ({ name, required, isDescending }) =>
        `${columnOf(name)}${isDescending === true ? ' DESC' : ''}${required ? '' : ' NULLS LAST'}`,
    )
    .join(', ')
}

/**
 * SQL that holds for rows after the one whose key values are the parameters from `$1` on. `columnOf` gives the
 * expression of a key column.
 */
export function isAfter(key: readonly KeyColumn[], columnOf: (name: string) => string): string {
  const [first] = key
  const terms = key.map((column, index) => {
    const equal = key.slice(0, index).map((each, k) => isSame(each, columnOf(each.name), parameter(each, k)))
    return [...equal, isBehind(column, columnOf(column.name), parameter(column, index))].join(' AND ')
  })
  // The first is implied, and may leave files out.
  const reach = first!.isDescending === true ? '<=' : '>='
  return `${columnOf(first!.name)} ${reach} ${parameter(first!, 0)} AND (${terms.map((term) => `(${term})`).join(' OR ')})`
}

/** SQL that holds for two values of a key column that name the same row. */
export function isSame({ required }: KeyColumn, left: string, right: string): string {
  return required ? `${left} = ${right}` : `${left} IS NOT DISTINCT FROM ${right}`
}

function isBehind({ required, isDescending }: KeyColumn, value: string, other: string): string {
  const isBeyond = `${value} ${isDescending === true ? '<' : '>'} ${other}`
  return required ? isBeyond : `(${isBeyond} OR (${value} IS NULL AND ${other} IS NOT NULL))`
}

/** A value as JSON has it, back as it was. */
function parameter({ type }: KeyColumn, index: number): string {
  const given = `$${index + 1}::VARCHAR`
  return type === 'binary' || (typeof type === 'string' && type.startsWith('fixed'))
    ? `from_base64(${given})`
    : `CAST($${index + 1} AS ${duckdbType(type)})`
}

export function quoted(name: string): string {
  return `"${name.replaceAll('"', '""')}"`
}
