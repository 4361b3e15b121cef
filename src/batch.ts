/**
 * The shape of columns: what a definition declares, what a decoder fills, what the lake stores.
 * Iceberg's words are used wherever Iceberg has the notion.
 */

/** Unit of a number that stands for an instant. Without a unit only text forms (RFC 3339) are accepted. */
export type TimeUnit = 's' | 'ms' | 'us'

export type ColumnType =
  | { readonly kind: 'boolean' | 'int' | 'long' | 'float' | 'double' | 'string' | 'binary' | 'date' | 'uuid' }
  | { readonly kind: 'decimal'; readonly precision: number; readonly scale: number }
  /** One of the symbols, stored as a string. */
  | { readonly kind: 'enum'; readonly symbols: readonly string[] }
  /** Microseconds, without or with a zone; stored as Iceberg timestamp and timestamptz. */
  | { readonly kind: 'timestamp' | 'timestamptz'; readonly unit?: TimeUnit }
  | { readonly kind: 'list'; readonly element: ColumnType }
  /** In JSON an object; keys are strings. */
  | { readonly kind: 'map'; readonly value: ColumnType }
  | { readonly kind: 'struct'; readonly fields: readonly Column[] }

export interface Column {
  readonly name: string
  readonly type: ColumnType
  /** A null or absent value is then a dead letter. Default: optional. */
  readonly required?: boolean
  /** SQL, row-wise over the columns that come from the value: the column is computed, and not read from the value. */
  readonly as?: string
  /** No definition has it: it came from a schema of the registry, and is part of the table's state, not of its code. */
  readonly fromRegistry?: true
}

/** Columns that every source table gets beside the declared ones, in this order, after them. */
export const SYSTEM_COLUMNS = {
  extra: '_extra', // string, JSON text of the unknown fields; null when there are none; absent unless `unknown: extra`
  version: '_version', // long, only of a change stream that is ordered by a field of its source
  partition: '_kafka_partition', // int; Iceberg reserves the shorter name for a column of its own
  offset: '_offset', // long
  timestamp: '_timestamp', // timestamptz, the record's own timestamp; null when the producer gave none
  topic: '_topic', // string, only when several topics feed the table (not yet)
} as const

/** `decimal(12,2)`, `list<struct<a:int,b:string required>>`: the one text form, used by YAML, hashes and messages. */
export function typeText(type: ColumnType): string {
  switch (type.kind) {
    case 'decimal':
      return `decimal(${type.precision},${type.scale})`
    case 'enum':
      return `enum(${type.symbols.join(',')})`
    case 'timestamp':
    case 'timestamptz':
      return type.unit === undefined ? type.kind : `${type.kind}(${type.unit})`
    case 'list':
      return `list<${typeText(type.element)}>`
    case 'map':
      return `map<string,${typeText(type.value)}>`
    case 'struct':
      return `struct<${type.fields.map((f) => `${f.name}:${columnText(f)}`).join(',')}>`
    default:
      return type.kind
  }
}

export function columnText({ type, required, as }: Column): string {
  return `${typeText(type)}${required === true ? ' required' : ''}${as === undefined ? '' : ` = ${as}`}`
}
