import { LakeError } from '../error.ts'
import type { IcebergType, LakeTable } from '../lake/table.ts'
import type { View } from './messages.ts'

/** A table's columns as a view has them. */
export function viewOf({ name, schema }: Pick<LakeTable, 'name' | 'schema'>): Pick<View, 'name' | 'columns'> {
  return { name, columns: schema.fields.map(({ id, name, type }) => ({ fieldId: id, name, type: duckdbType(type) })) }
}

const TYPES: Readonly<Record<string, string>> = {
  boolean: 'BOOLEAN',
  int: 'INTEGER',
  long: 'BIGINT',
  float: 'FLOAT',
  double: 'DOUBLE',
  date: 'DATE',
  time: 'TIME',
  timestamp: 'TIMESTAMP',
  timestamptz: 'TIMESTAMP WITH TIME ZONE',
  timestamp_ns: 'TIMESTAMP_NS',
  string: 'VARCHAR',
  uuid: 'UUID',
  binary: 'BLOB',
}

/** DuckDB's name of an Iceberg type. */
export function duckdbType(type: IcebergType): string {
  if (typeof type === 'string') {
    const named = TYPES[type] ?? (type.startsWith('fixed') ? 'BLOB' : undefined)
    const [, precision, scale] = /^decimal\(\s*(\d+)\s*,\s*(\d+)\s*\)$/.exec(type) ?? []
    if (named === undefined && precision === undefined)
      throw new LakeError('store.corrupt', `a table has a column of the unknown type ${type}`)
    return named ?? `DECIMAL(${precision},${scale})`
  }
  switch (type.type) {
    case 'list':
      return `${duckdbType(type.element)}[]`
    case 'map':
      return `MAP(${duckdbType(type.key)}, ${duckdbType(type.value)})`
    case 'struct': {
      const fields = type.fields.map((field) => `"${field.name.replaceAll('"', '""')}" ${duckdbType(field.type)}`)
      return `STRUCT(${fields.join(', ')})`
    }
  }
}
