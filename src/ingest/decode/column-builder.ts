import type { Column, ColumnType } from '../../batch.ts'

/** Rows of one DuckDB vector. */
export const VECTOR_ROWS = 2048

/** Segment number of texts that lie in the builder's own buffer, not in a record batch. */
export const OWN_SEGMENT = 0

/**
 * How a column's values lie in memory, as DuckDB's vectors have them.
 * text: 16 bytes, DuckDB's `string_t`: length, then up to 12 bytes in place; a longer one has its first 4 bytes, and
 * where the native pointer will stand, offset and segment (resolved when the chunk is sealed).
 * list: 16 bytes, offset and length in the child. A map is a list of structs of key and value.
 */
export type Layout = 'fixed' | 'text' | 'struct' | 'list'

/** One column that is being filled: typed views over one buffer. Children of lists grow, all others have 2,048 rows. */
export class ColumnBuilder {
  readonly type: ColumnType
  readonly layout: Layout
  /** Bytes of one value; 0 for a struct. */
  readonly width: number
  readonly children: readonly ColumnBuilder[]
  readonly isInList: boolean
  u8: Uint8Array
  i16: Int16Array
  i32: Int32Array
  i64: BigInt64Array
  f32: Float32Array
  f64: Float64Array
  /** Bit set: valid. Words of 32 rows. */
  valid: Int32Array
  /** Rows so far; of children of lists only. */
  size = 0
  /** Sealed with room for nulls, whether there are any or not. */
  isNulledLater = false
  #capacity: number

  constructor(type: ColumnType, isInList = false) {
    this.type = type
    this.isInList = isInList
    this.layout = layoutOf(type)
    this.width = widthOf(type, this.layout)
    this.children = childTypes(type).map((child) => new ColumnBuilder(child, isInList || this.layout === 'list'))
    this.#capacity = isInList ? 256 : VECTOR_ROWS
    const buffer = new ArrayBuffer(this.#capacity * Math.max(this.width, 1))
    this.u8 = new Uint8Array(buffer)
    this.i16 = new Int16Array(buffer)
    this.i32 = new Int32Array(buffer)
    this.i64 = this.width < 8 ? NO_LONGS : new BigInt64Array(buffer)
    this.f32 = new Float32Array(buffer)
    this.f64 = this.width < 8 ? NO_DOUBLES : new Float64Array(buffer)
    this.valid = new Int32Array(this.#capacity >> 5).fill(-1)
  }

  /** Makes room for one more row in a child of a list and gives its index. */
  add(): number {
    const row = this.size++
    this.reserve(this.size)
    return row
  }

  reserve(rows: number): void {
    if (this.layout === 'struct') for (const child of this.children) child.reserve(rows)
    if (rows <= this.#capacity) return
    while (this.#capacity < rows) this.#capacity *= 2
    const buffer = new ArrayBuffer(this.#capacity * Math.max(this.width, 1))
    const before = this.u8
    this.u8 = new Uint8Array(buffer)
    this.u8.set(before)
    this.i16 = new Int16Array(buffer)
    this.i32 = new Int32Array(buffer)
    if (this.width >= 8) this.i64 = new BigInt64Array(buffer)
    this.f32 = new Float32Array(buffer)
    if (this.width >= 8) this.f64 = new Float64Array(buffer)
    const valid = new Int32Array(this.#capacity >> 5).fill(-1)
    valid.set(this.valid)
    this.valid = valid
  }

  setValid(row: number): void {
    this.valid[row >> 5]! |= 1 << (row & 31)
  }

  /** A null struct's children are null too, and a null's text or list is empty: nothing dangles. */
  setNull(row: number): void {
    this.valid[row >> 5]! &= ~(1 << (row & 31))
    if (this.width === 16) {
      const { i32 } = this
      const at = row * 4
      i32[at] = i32[at + 1] = i32[at + 2] = i32[at + 3] = 0
    }
    if (this.layout !== 'struct') return
    for (const child of this.children) child.setNull(row)
  }

  isNull(row: number): boolean {
    return (this.valid[row >> 5]! & (1 << (row & 31))) === 0
  }

  /** Text or bytes that lie in `bytes`, which is the segment, from `start` to `end`. */
  setText(row: number, bytes: Uint8Array, segment: number, start: number, end: number): void {
    const length = end - start
    const at = row * 4
    const { i32, u8 } = this
    i32[at] = length
    i32[at + 1] = 0
    i32[at + 2] = 0
    i32[at + 3] = 0
    const to = at * 4 + 4
    const inPlace = length <= 12 ? length : 4
    for (let k = 0; k < inPlace; k++) u8[to + k] = bytes[start + k]!
    if (length > 12) {
      i32[at + 2] = start
      i32[at + 3] = segment
    }
  }

  /** A 64-bit integer that a double holds exactly. */
  setLong(row: number, value: number): void {
    const high = Math.floor(value / 4294967296)
    this.i32[2 * row] = value - high * 4294967296
    this.i32[2 * row + 1] = high
  }

  /** Forgets a row that did not come about; whoever counts the children of lists sets their sizes back. */
  resetRow(row: number): void {
    this.setValid(row)
    if (this.layout !== 'list') for (const child of this.children) child.resetRow(row)
  }

  /** All of its values will be taken back once rows are complete, with all parts of structs. */
  willBeNulled(): void {
    this.isNulledLater = true
    if (this.layout === 'struct') for (const child of this.children) child.willBeNulled()
  }

  /** Empty again, for the next chunk. */
  clear(): void {
    this.size = 0
    this.valid.fill(-1)
    for (const child of this.children) child.clear()
  }
}

const NO_LONGS = new BigInt64Array(0)
const NO_DOUBLES = new Float64Array(0)

export function buildersOf(columns: readonly Column[]): readonly ColumnBuilder[] {
  return columns.map((column) => new ColumnBuilder(column.type))
}

/** Bytes that the builders of one table own: unescaped texts, decoded base64. Grows; emptied with each chunk. */
export class OwnText {
  bytes = new Uint8Array(1 << 16)
  used = 0

  /** Makes room and gives the buffer, which may be a new one. */
  reserve(length: number): Uint8Array {
    if (this.used + length > this.bytes.length) {
      const grown = new Uint8Array(Math.max(this.bytes.length * 2, this.used + length))
      grown.set(this.bytes.subarray(0, this.used))
      this.bytes = grown
    }
    return this.bytes
  }

  /** Copies bytes in and gives where they start. */
  append(source: Uint8Array): number {
    this.reserve(source.length).set(source, this.used)
    this.used += source.length
    return this.used - source.length
  }
}

function layoutOf(type: ColumnType): Layout {
  switch (type.kind) {
    case 'string':
    case 'enum':
    case 'binary':
      return 'text'
    case 'list':
    case 'map':
      return 'list'
    case 'struct':
      return 'struct'
    default:
      return 'fixed'
  }
}

function widthOf(type: ColumnType, layout: Layout): number {
  if (layout === 'struct') return 0
  if (layout !== 'fixed') return 16
  switch (type.kind) {
    case 'boolean':
      return 1
    case 'int':
    case 'float':
    case 'date':
      return 4
    case 'uuid':
      return 16
    case 'decimal':
      return type.precision <= 4 ? 2 : type.precision <= 9 ? 4 : type.precision <= 18 ? 8 : 16
    default:
      return 8
  }
}

function childTypes(type: ColumnType): readonly ColumnType[] {
  switch (type.kind) {
    case 'list':
      return [type.element]
    case 'map':
      return [
        {
          kind: 'struct',
          fields: [
            { name: 'key', type: { kind: 'string' }, required: true },
            { name: 'value', type: type.value },
          ],
        },
      ]
    case 'struct':
      return type.fields.map((field) => field.type)
    default:
      return []
  }
}
