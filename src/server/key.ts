import { SYSTEM_COLUMNS } from '../batch.ts'
import type { IcebergType, LakeTable } from '../lake/table.ts'
import { duckdbType } from '../query/engine.ts'

/** A column that orders the rows of a table, alone or with others, and names each. */
export interface KeyColumn {
  readonly name: string
  readonly type: IcebergType
}

/**
 * The key columns of a table in the order of its schema; of a table without, the position of the record that a row came
 * from. Empty when it has neither.
 */
export function keyOf({ schema }: Pick<LakeTable, 'schema'>): readonly KeyColumn[] {
  const { fields } = schema
  const ids = (schema as { readonly 'identifier-field-ids'?: readonly number[] })['identifier-field-ids'] ?? []
  if (ids.length > 0) return fields.filter(({ id }) => ids.includes(id))
  const position = [SYSTEM_COLUMNS.partition, SYSTEM_COLUMNS.offset].map((name) =>
    fields.find((field) => field.name === name),
  )
  return position.includes(undefined) ? [] : (position as readonly KeyColumn[])
}

/**
 * SQL that holds for rows after the one whose key values are the parameters from `$1` on. `columnOf` gives the
 * expression of a key column.
 */
export function isAfter(key: readonly KeyColumn[], columnOf: (name: string) => string): string {
  const [first] = key
  const terms = key.map(({ name }, index) => {
    const equal = key.slice(0, index).map((each, k) => `${columnOf(each.name)} = ${parameter(each, k)}`)
    return [...equal, `${columnOf(name)} > ${parameter(key[index]!, index)}`].join(' AND ')
  })
  // The first is implied, and may leave files out.
  return `${columnOf(first!.name)} >= ${parameter(first!, 0)} AND (${terms.map((term) => `(${term})`).join(' OR ')})`
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
