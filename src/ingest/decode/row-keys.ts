import type { KeyEncoder, KeyHasher } from '../key-hash.ts'
import { OWN_SEGMENT, type ColumnBuilder, type OwnText } from './column-builder.ts'
import { setOwnText } from './raw.ts'

/** Hashes the keys of rows as they stand in builders, without an object per row: a text is read where it lies. */
export class RowKeys {
  readonly #hasher: KeyHasher
  readonly #encoder: KeyEncoder
  readonly #columns: readonly ColumnBuilder[]
  readonly #text: ColumnBuilder | undefined
  readonly #own: OwnText
  readonly #uuid = new Uint8Array(16)
  #bytes = new Uint8Array(0)

  /** `columns` are the builders of the key's columns, in its order; `own` holds the texts of their own segment. */
  constructor(hasher: KeyHasher, encoder: KeyEncoder, columns: readonly ColumnBuilder[], own: OwnText) {
    this.#hasher = hasher
    this.#encoder = encoder
    this.#columns = columns
    this.#text = hasher.isText ? columns[0] : undefined
    this.#own = own
  }

  /** The bytes of the segment that the next rows' texts lie in, when it is not their own. */
  open(bytes: Uint8Array): void {
    this.#bytes = bytes as Uint8Array<ArrayBuffer>
  }

  /** Four words of the key of one row, into `out` from `at` on. None of its columns may be null. */
  hash(row: number, out: Uint32Array, at: number): void {
    const { i32, u8 } = this.#columns[0]!
    if (this.#text === undefined) return this.#hashEncoded(row, out, at)
    const length = i32[4 * row]!
    if (length <= 12) return this.#hasher.hashText(u8, 16 * row + 4, 16 * row + 4 + length, out, at)
    const start = i32[4 * row + 2]!
    const bytes = i32[4 * row + 3] === OWN_SEGMENT ? this.#own.bytes : this.#bytes
    this.#hasher.hashText(bytes, start, start + length, out, at)
  }

  /** The key of one row in a row of other builders of the same columns. */
  copyTo(row: number, builders: readonly ColumnBuilder[], to: number, own: OwnText): void {
    for (const [k, column] of this.#columns.entries()) {
      const { width, u8, i32, layout } = column
      const builder = builders[k]!
      if (layout === 'text' && i32[4 * row]! > 12) {
        const start = i32[4 * row + 2]!
        const bytes = i32[4 * row + 3] === OWN_SEGMENT ? this.#own.bytes : this.#bytes
        setOwnText(builder, to, bytes.subarray(start, start + i32[4 * row]!), own)
      } else builder.u8.set(u8.subarray(row * width, (row + 1) * width), to * width)
    }
  }

  #hashEncoded(row: number, out: Uint32Array, at: number): void {
    const encoder = this.#encoder
    encoder.begin()
    for (let k = 0; k < this.#columns.length; k++) this.#encode(this.#columns[k]!, row)
    this.#hasher.hash(encoder.bytes, 0, encoder.end, out, at)
  }

  #encode(column: ColumnBuilder, row: number): void {
    const { type, i32, u8 } = column
    switch (type.kind) {
      case 'string':
      case 'enum':
      case 'binary': {
        const length = i32[4 * row]!
        if (length <= 12) return this.#encoder.text(u8, 16 * row + 4, 16 * row + 4 + length)
        const start = i32[4 * row + 2]!
        const bytes = i32[4 * row + 3] === OWN_SEGMENT ? this.#own.bytes : this.#bytes
        return this.#encoder.text(bytes, start, start + length)
      }
      case 'boolean':
        return this.#encoder.boolean(u8[row] === 1)
      case 'int':
      case 'date':
        return this.#encoder.int(i32[row]!)
      case 'uuid':
        return this.#encodeUuid(u8, 16 * row)
      case 'decimal':
        return this.#encodeDecimal(column, row)
      default:
        return this.#encoder.words(i32[2 * row]!, i32[2 * row + 1]!)
    }
  }

  /** DuckDB keeps the least significant byte first, and flips the highest bit. */
  #encodeUuid(u8: Uint8Array, at: number): void {
    const uuid = this.#uuid
    for (let k = 0; k < 16; k++) uuid[k] = u8[at + 15 - k]!
    uuid[0]! ^= 0x80
    this.#encoder.uuid(uuid)
  }

  #encodeDecimal({ width, i16, i32 }: ColumnBuilder, row: number): void {
    if (width <= 4) {
      const value = width === 2 ? i16[row]! : i32[row]!
      this.#encoder.int(value)
      return this.#encoder.words(value >> 31, value >> 31)
    }
    const at = (width / 4) * row
    const high = i32[at + 1]!
    this.#encoder.words(i32[at]!, high)
    if (width === 8) return this.#encoder.words(high >> 31, high >> 31)
    this.#encoder.words(i32[at + 2]!, i32[at + 3]!)
  }
}
