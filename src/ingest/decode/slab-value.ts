import duckdb from '@duckdb/node-bindings'
import type { ColumnType } from '../../batch.ts'
import type { DataFile } from '../../lake/table.ts'
import type { Slab, SlabColumn } from './slab.ts'

type Value = DataFile['partition'][number]

/**
 * Reads single values of a column as partition tuples have them: int, date as number; long and times as bigint; decimal
 * as its unscaled bigint; binary and uuid (most significant byte first) as bytes. Only of columns without parts.
 */
export function valueReader(slab: Slab, column: SlabColumn, type: ColumnType): (row: number) => Value {
  const { buffer } = slab
  const { dataAt, validAt, rows } = column
  const valid = validAt < 0 ? undefined : new Uint8Array(buffer, validAt, Math.ceil(rows / 8))
  const read = plainReader(buffer, dataAt, rows, type)
  if (valid === undefined) return read
  return (row) => ((valid[row >> 3]! & (1 << (row & 7))) === 0 ? null : read(row))
}

function plainReader(buffer: ArrayBuffer, at: number, rows: number, type: ColumnType): (row: number) => Value {
  switch (type.kind) {
    case 'boolean': {
      const values = new Uint8Array(buffer, at, rows)
      return (row) => values[row] === 1
    }
    case 'int':
    case 'date': {
      const values = new Int32Array(buffer, at, rows)
      return (row) => values[row]!
    }
    case 'float': {
      const values = new Float32Array(buffer, at, rows)
      return (row) => values[row]!
    }
    case 'double': {
      const values = new Float64Array(buffer, at, rows)
      return (row) => values[row]!
    }
    case 'decimal':
      return decimalReader(buffer, at, rows, type.precision)
    case 'string':
    case 'enum':
      return (row) => Buffer.from(textAt(buffer, at + row * 16)).toString('utf8')
    case 'binary':
      return (row) => textAt(buffer, at + row * 16).slice()
    case 'uuid':
      return (row) => {
        const bytes = new Uint8Array(buffer, at + row * 16, 16).toReversed()
        bytes[0]! ^= 0x80
        return bytes
      }
    default: {
      const values = new BigInt64Array(buffer, at, rows)
      return (row) => values[row]!
    }
  }
}

function decimalReader(buffer: ArrayBuffer, at: number, rows: number, precision: number): (row: number) => bigint {
  if (precision <= 9) {
    const values = precision <= 4 ? new Int16Array(buffer, at, rows) : new Int32Array(buffer, at, rows)
    return (row) => BigInt(values[row]!)
  }
  const values = new BigInt64Array(buffer, at, precision <= 18 ? rows : 2 * rows)
  if (precision <= 18) return (row) => values[row]!
  return (row) => (values[2 * row + 1]! << 64n) | BigInt.asUintN(64, values[2 * row]!)
}

/** The bytes of a `string_t`, in place or behind its pointer. */
export function textAt(buffer: ArrayBuffer, at: number): Uint8Array {
  const length = new DataView(buffer).getUint32(at, true)
  return length <= 12 ? new Uint8Array(buffer, at + 4, length) : duckdb.get_data_from_pointer(buffer, at + 8, length)
}
