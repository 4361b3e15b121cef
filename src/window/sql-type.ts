import type { ColumnType } from '../batch.ts'
import { quoted } from '../sql-text.ts'

/** DuckDB's name of a column's type. */
export function sqlTypeOf(type: ColumnType): string {
  switch (type.kind) {
    case 'decimal':
      return `DECIMAL(${type.precision}, ${type.scale})`
    case 'list':
      return `${sqlTypeOf(type.element)}[]`
    case 'map':
      return `MAP(VARCHAR, ${sqlTypeOf(type.value)})`
    case 'struct':
      return `STRUCT(${type.fields.map((field) => `${quoted(field.name)} ${sqlTypeOf(field.type)}`).join(', ')})`
    default:
      return NAMES[type.kind]
  }
}

/** One value for what compares as equal, so that it does not matter which of them came first: −0 is 0, all NaN are one. */
export function canonical(sql: string, type: ColumnType): string {
  if (!isFloating(type)) return sql
  const name = sqlTypeOf(type)
  return `CASE WHEN ${sql} = 0 THEN CAST(0 AS ${name}) WHEN isnan(${sql}) THEN CAST('NaN' AS ${name}) ELSE ${sql} END`
}

export function isFloating({ kind }: ColumnType): boolean {
  return kind === 'float' || kind === 'double'
}

const NAMES = {
  boolean: 'BOOLEAN',
  int: 'INTEGER',
  long: 'BIGINT',
  float: 'FLOAT',
  double: 'DOUBLE',
  string: 'VARCHAR',
  enum: 'VARCHAR',
  binary: 'BLOB',
  date: 'DATE',
  uuid: 'UUID',
  timestamp: 'TIMESTAMP',
  timestamptz: 'TIMESTAMP WITH TIME ZONE',
} as const
