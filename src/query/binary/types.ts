import { DuckDBTypeId, type DuckDBType } from '@duckdb/node-api'

/** What a column of a binary result holds: the types that Arrow and Parquet both have. */
export type BinaryType =
  | { readonly kind: 'boolean' | 'date' | 'time' | 'text' | 'bytes' }
  | { readonly kind: 'integer'; readonly bits: 8 | 16 | 32 | 64; readonly isSigned: boolean }
  | { readonly kind: 'float'; readonly bits: 32 | 64 }
  /** Always 16 bytes, two's complement. */
  | { readonly kind: 'decimal'; readonly precision: number; readonly scale: number }
  | { readonly kind: 'timestamp'; readonly unit: 'ms' | 'us' | 'ns'; readonly isUtc: boolean }
  | { readonly kind: 'list'; readonly item: BinaryType }
  | { readonly kind: 'map'; readonly key: BinaryType; readonly value: BinaryType }
  | { readonly kind: 'struct'; readonly fields: readonly BinaryField[] }

export interface BinaryField {
  readonly name: string
  readonly type: BinaryType
}

/** Digits of the widest decimal. */
const DIGITS_MAX = 38

/**
 * How a column of a result is written. Integers of 128 bits become decimals, as sums of integers are; what the formats
 * have no type for (intervals, bits, unions, times with a zone, enums, uuids) is the text that JSON has for it.
 */
export function binaryType(type: DuckDBType): BinaryType {
  switch (type.typeId) {
    case DuckDBTypeId.BOOLEAN:
      return { kind: 'boolean' }
    case DuckDBTypeId.TINYINT:
      return integer(8, true)
    case DuckDBTypeId.SMALLINT:
      return integer(16, true)
    case DuckDBTypeId.INTEGER:
      return integer(32, true)
    case DuckDBTypeId.BIGINT:
      return integer(64, true)
    case DuckDBTypeId.UTINYINT:
      return integer(8, false)
    case DuckDBTypeId.USMALLINT:
      return integer(16, false)
    case DuckDBTypeId.UINTEGER:
      return integer(32, false)
    case DuckDBTypeId.UBIGINT:
      return integer(64, false)
    case DuckDBTypeId.HUGEINT:
    case DuckDBTypeId.UHUGEINT:
      return { kind: 'decimal', precision: DIGITS_MAX, scale: 0 }
    case DuckDBTypeId.DECIMAL:
      return { kind: 'decimal', precision: type.width, scale: type.scale }
    case DuckDBTypeId.FLOAT:
      return { kind: 'float', bits: 32 }
    case DuckDBTypeId.DOUBLE:
      return { kind: 'float', bits: 64 }
    case DuckDBTypeId.DATE:
      return { kind: 'date' }
    case DuckDBTypeId.TIME:
      return { kind: 'time' }
    case DuckDBTypeId.TIMESTAMP:
      return { kind: 'timestamp', unit: 'us', isUtc: false }
    case DuckDBTypeId.TIMESTAMP_TZ:
      return { kind: 'timestamp', unit: 'us', isUtc: true }
    // Parquet has no seconds.
    case DuckDBTypeId.TIMESTAMP_S:
    case DuckDBTypeId.TIMESTAMP_MS:
      return { kind: 'timestamp', unit: 'ms', isUtc: false }
    case DuckDBTypeId.TIMESTAMP_NS:
      return { kind: 'timestamp', unit: 'ns', isUtc: false }
    case DuckDBTypeId.BLOB:
      return { kind: 'bytes' }
    case DuckDBTypeId.LIST:
    case DuckDBTypeId.ARRAY:
      return { kind: 'list', item: binaryType(type.valueType) }
    case DuckDBTypeId.MAP:
      return { kind: 'map', key: binaryType(type.keyType), value: binaryType(type.valueType) }
    case DuckDBTypeId.STRUCT:
      return structType(type.entryNames, type.entryTypes)
    default:
      return { kind: 'text' }
  }
}

/** `row(1, 2)` gives its fields no names, and neither format has such a struct. */
function structType(names: readonly string[], types: readonly DuckDBType[]): BinaryType {
  if (names.includes('') || new Set(names).size < names.length) return { kind: 'text' }
  return { kind: 'struct', fields: names.map((name, index) => ({ name, type: binaryType(types[index]!) })) }
}

function integer(bits: 8 | 16 | 32 | 64, isSigned: boolean): BinaryType {
  return { kind: 'integer', bits, isSigned }
}

/** Bytes of a value; a boolean takes a whole one here. Undefined where values differ in length. */
export function widthOf(type: BinaryType): number | undefined {
  switch (type.kind) {
    case 'boolean':
      return 1
    case 'integer':
    case 'float':
      return type.bits / 8
    case 'date':
      return 4
    case 'time':
    case 'timestamp':
      return 8
    case 'decimal':
      return 16
    default:
      return undefined
  }
}
