import duckdb from '@duckdb/node-bindings'
import {
  BIGINT,
  BLOB,
  BOOLEAN,
  DATE,
  DECIMAL,
  DOUBLE,
  FLOAT,
  INTEGER,
  LIST,
  MAP,
  STRUCT,
  TIMESTAMP,
  TIMESTAMPTZ,
  UUID,
  VARCHAR,
  type DuckDBType,
} from '@duckdb/node-api'
import type { Column, ColumnType } from '../../batch.ts'

/** Rows of one DuckDB chunk. */
export const rowsMax = 2_048

const STRING: ColumnType = { kind: 'string' }

/**
 * One column under construction, laid out as DuckDB keeps a vector, so that handing it over is a copy of memory.
 * All views lie over `data`; which one a type uses follows from its width: `bytes` boolean, `shorts` and `words`
 * integers, `words` in pairs for 64 and in fours for 128 bits, strings and list entries.
 */
export class Vector {
  readonly type: ColumnType
  /** Fields of a struct; key and value of a map's entries; the element of a list; the entry of a map. */
  readonly children: readonly Vector[]
  /** Bytes of an entry; 0 for a struct. */
  readonly width: number
  data!: ArrayBuffer
  bytes!: Uint8Array
  shorts!: Int16Array
  words!: Int32Array
  floats!: Float32Array
  doubles!: Float64Array
  /** One bit per entry, set when it is not null. */
  valid!: Uint32Array
  capacity = 0
  hasNulls = false
  /** Entries in use, where rows do not count them: below a list or map. */
  length = 0

  constructor(type: ColumnType, capacity = rowsMax) {
    this.type = type
    this.width = widthOf(type)
    this.children = childrenOf(type, capacity)
    this.#allocate(capacity)
  }

  setNull(index: number): void {
    this.valid[index >> 5]! &= ~(1 << (index & 31))
    this.hasNulls = true
    if (this.width === 16) this.words.fill(0, 4 * index, 4 * index + 4)
    if (this.type.kind === 'struct') for (const child of this.children) child.setNull(index)
  }

  isNull(index: number): boolean {
    return (this.valid[index >> 5]! & (1 << (index & 31))) === 0
  }

  setLong(index: number, value: bigint): void {
    this.words[2 * index] = Number(BigInt.asIntN(32, value))
    this.words[2 * index + 1] = Number(BigInt.asIntN(32, value >> 32n))
  }

  getLong(index: number): bigint {
    return (BigInt(this.words[2 * index + 1]!) << 32n) | BigInt(this.words[2 * index]! >>> 0)
  }

  setHuge(index: number, value: bigint): void {
    for (let word = 0; word < 4; word++)
      this.words[4 * index + word] = Number(BigInt.asIntN(32, value >> BigInt(32 * word)))
  }

  getHuge(index: number): bigint {
    let value = BigInt(this.words[4 * index + 3]!)
    for (let word = 2; word >= 0; word--) value = (value << 32n) | BigInt(this.words[4 * index + word]! >>> 0)
    return value
  }

  /** Makes room for entry `index`, which may be the next one, and for the same entry of a struct's fields. */
  reserve(index: number): void {
    if (index < this.capacity) return
    this.#allocate(Math.max(2 * this.capacity, index + 1))
    if (this.type.kind === 'struct') for (const child of this.children) child.reserve(this.capacity - 1)
  }

  /** Forgets entries from `length` on. What lies below a list is cut to what the kept entries use. */
  cut(length: number): void {
    for (let index = length; index < this.capacity && (index & 31) !== 0; index++)
      this.valid[index >> 5]! |= 1 << (index & 31)
    this.valid.fill(0xffff_ffff, (length + 31) >> 5)
    if (length === 0) this.hasNulls = false
    if (this.type.kind === 'list' || this.type.kind === 'map') {
      const used = length === 0 ? 0 : this.#listEnd(length)
      this.children[0]!.length = used
      this.children[0]!.cut(used)
    } else for (const child of this.children) child.cut(length)
  }

  /** Copies the first `count` entries into a vector of DuckDB's. */
  flush(target: duckdb.Vector, count: number): void {
    if (this.width > 0 && count > 0) duckdb.copy_data_to_vector(target, 0, this.data, 0, count * this.width)
    if (this.hasNulls) {
      duckdb.vector_ensure_validity_writable(target)
      duckdb.copy_data_to_vector_validity(target, 0, this.valid.buffer as ArrayBuffer, 0, ((count + 63) >> 6) * 8)
    }
    if (this.type.kind === 'list' || this.type.kind === 'map') {
      const child = this.children[0]!
      duckdb.list_vector_reserve(target, Math.max(child.length, 1))
      duckdb.list_vector_set_size(target, child.length)
      child.flush(duckdb.list_vector_get_child(target), child.length)
    } else this.children.forEach((child, index) => child.flush(duckdb.struct_vector_get_child(target, index), count))
  }

  /** End of the last of `length` lists; null entries have offset and length 0. */
  #listEnd(length: number): number {
    for (let index = length - 1; index >= 0; index--)
      if (!this.isNull(index)) return this.words[4 * index]! + this.words[4 * index + 2]!
    return 0
  }

  #allocate(capacity: number): void {
    const rounded = (capacity + 63) & ~63
    const data = new ArrayBuffer(Math.max(rounded * this.width, 8))
    const valid = new Uint32Array(rounded >> 5).fill(0xffff_ffff)
    if (this.capacity > 0) {
      new Uint8Array(data).set(this.bytes)
      valid.set(this.valid)
    }
    this.data = data
    this.bytes = new Uint8Array(data)
    this.shorts = new Int16Array(data)
    this.words = new Int32Array(data)
    this.floats = new Float32Array(data)
    this.doubles = new Float64Array(data)
    this.valid = valid
    this.capacity = rounded
  }
}

function childrenOf(type: ColumnType, capacity: number): readonly Vector[] {
  switch (type.kind) {
    case 'list':
      return [new Vector(type.element, capacity)]
    case 'map':
      return [new Vector(entryOf(type.value), capacity)]
    case 'struct':
      return type.fields.map((field) => new Vector(field.type, capacity))
    default:
      return []
  }
}

/** The struct that a map's entries are in DuckDB. */
export function entryOf(value: ColumnType): ColumnType {
  const fields: readonly Column[] = [
    { name: 'key', type: STRING, required: true },
    { name: 'value', type: value },
  ]
  return { kind: 'struct', fields }
}

function widthOf(type: ColumnType): number {
  switch (type.kind) {
    case 'struct':
      return 0
    case 'boolean':
      return 1
    case 'int':
    case 'date':
    case 'float':
      return 4
    case 'long':
    case 'double':
    case 'timestamp':
    case 'timestamptz':
      return 8
    case 'decimal':
      return type.precision <= 4 ? 2 : type.precision <= 9 ? 4 : type.precision <= 18 ? 8 : 16
    default:
      return 16
  }
}

export function duckType(type: ColumnType): DuckDBType {
  switch (type.kind) {
    case 'boolean':
      return BOOLEAN
    case 'int':
      return INTEGER
    case 'long':
      return BIGINT
    case 'float':
      return FLOAT
    case 'double':
      return DOUBLE
    case 'decimal':
      return DECIMAL(type.precision, type.scale)
    case 'string':
    case 'enum':
      return VARCHAR
    case 'binary':
      return BLOB
    case 'date':
      return DATE
    case 'timestamp':
      return TIMESTAMP
    case 'timestamptz':
      return TIMESTAMPTZ
    case 'uuid':
      return UUID
    case 'list':
      return LIST(duckType(type.element))
    case 'map':
      return MAP(VARCHAR, duckType(type.value))
    case 'struct':
      return STRUCT(Object.fromEntries(type.fields.map((field) => [field.name, duckType(field.type)])))
  }
}
