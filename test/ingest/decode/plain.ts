import {
  DuckDBBlobValue,
  DuckDBDateValue,
  DuckDBDecimalValue,
  DuckDBListValue,
  DuckDBMapValue,
  DuckDBStructValue,
  DuckDBTimestampTZValue,
  DuckDBTimestampValue,
  DuckDBUUIDValue,
  type DuckDBValue,
} from '@duckdb/node-api'
import type { ColumnType } from '../../../src/batch.ts'
import type { Plain } from './reference.ts'

/** What DuckDB read, in the comparable form of the reference. */
export function plainOf(value: DuckDBValue, type: ColumnType): Plain {
  if (value === null || value === undefined) return null
  if (value instanceof DuckDBBlobValue) return Buffer.from(value.bytes).toString('hex')
  if (value instanceof DuckDBDateValue) return String(value.days)
  if (value instanceof DuckDBDecimalValue) return String(value.value)
  if (value instanceof DuckDBListValue && type.kind === 'list') return value.items.map((v) => plainOf(v, type.element))
  if (value instanceof DuckDBMapValue && type.kind === 'map')
    return value.entries.map(({ key, value: v }) => [plainOf(key, { kind: 'string' }), plainOf(v, type.value)])
  if (value instanceof DuckDBStructValue && type.kind === 'struct')
    return type.fields.map((field) => plainOf(value.entries[field.name]!, field.type))
  if (value instanceof DuckDBTimestampValue || value instanceof DuckDBTimestampTZValue) return String(value.micros)
  if (value instanceof DuckDBUUIDValue) return value.toString()
  return Object.is(value, -0) ? '-0' : String(value)
}
