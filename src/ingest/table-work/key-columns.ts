import duckdb from '@duckdb/node-bindings'
import { LakeError } from '../../error.ts'
import type { DeletedRows, IcebergField } from '../../lake/table.ts'

/** Hashes into four words of `out` from `at` on: canonical bytes [start, end), or the text there with its length. */
export interface KeyHash {
  hash(bytes: Uint8Array, start: number, end: number, out: Uint32Array, at: number): void
  hashText(bytes: Uint8Array, start: number, end: number, out: Uint32Array, at: number): void
}

/**
 * A key column of one chunk, read from DuckDB's own memory: a few calls per chunk, none per row. Gives the canonical
 * bytes of its values (docs/adr/0007-keyed-tables.md).
 */
export interface KeyColumn {
  /** Takes the column of the next chunk, whose values are there until the chunk goes. */
  load(vector: duckdb.Vector, rows: number): void
  /** The most bytes that a value of the loaded chunk has. */
  readonly bytesMax: number
  /** Writes the value of a row at `at`; gives the position behind it. */
  put(row: number, to: Uint8Array, at: number): number
}

export function keyColumn(field: IcebergField): KeyColumn {
  const { type, name } = field
  switch (type) {
    case 'string':
    case 'binary':
      return new TextColumn()
    case 'int':
    case 'date':
      return new IntegerColumn(4, 8)
    case 'long':
    case 'timestamp':
    case 'timestamptz':
      return new IntegerColumn(8, 8)
    case 'boolean':
      return new IntegerColumn(1, 1)
    case 'uuid':
      return new UuidColumn()
  }
  const precision = typeof type === 'string' ? /^decimal\((\d+),/.exec(type)?.[1] : undefined
  if (precision === undefined) throw new LakeError('internal', `${name} is of a type that no key has`)
  return new IntegerColumn(decimalWidth(Number(precision)), 16)
}

/** Bytes in which DuckDB keeps a decimal. */
export function decimalWidth(precision: number): number {
  return precision <= 4 ? 2 : precision <= 9 ? 4 : precision <= 18 ? 8 : 16
}

/** Little-endian integers, lengthened by their sign. */
class IntegerColumn implements KeyColumn {
  readonly bytesMax: number
  readonly #width: number
  #bytes: Uint8Array = new Uint8Array()

  constructor(width: number, canonical: number) {
    this.#width = width
    this.bytesMax = canonical
  }

  load(vector: duckdb.Vector, rows: number): void {
    this.#bytes = duckdb.vector_get_data(vector, rows * this.#width)
  }

  put(row: number, to: Uint8Array, at: number): number {
    const [bytes, width, end] = [this.#bytes, this.#width, at + this.bytesMax]
    const from = row * width
    for (let k = 0; k < width; k++) to[at + k] = bytes[from + k]!
    to.fill(this.bytesMax > width && bytes[from + width - 1]! > 0x7f ? 0xff : 0, at + width, end)
    return end
  }
}

/** DuckDB keeps a UUID as an integer whose sign is turned, least byte first. */
class UuidColumn implements KeyColumn {
  readonly bytesMax = 16
  #bytes: Uint8Array = new Uint8Array()

  load(vector: duckdb.Vector, rows: number): void {
    this.#bytes = duckdb.vector_get_data(vector, rows * 16)
  }

  put(row: number, to: Uint8Array, at: number): number {
    const last = row * 16 + 15
    to[at] = this.#bytes[last]! ^ 0x80
    for (let k = 1; k < 16; k++) to[at + k] = this.#bytes[last - k]!
    return at + 16
  }
}

/** Bytes between two texts that are still fetched in one piece: those of one chunk follow each other. */
const GAP_MAX = 16

/** Strings and binaries: their length, then their bytes. */
export class TextColumn implements KeyColumn {
  bytesMax = 0
  /** Where the value of each row lies in `bytes`, and how long it is; 0 for those that are not looked at. */
  get starts(): Int32Array {
    return this.#starts
  }

  get lengths(): Int32Array {
    return this.#lengths
  }

  get bytes(): Uint8Array {
    return this.#bytes
  }

  /** The entries as they came, then the long texts. */
  #bytes = new Uint8Array(65_536)
  #used = 0
  #starts = new Int32Array(0)
  #lengths = new Int32Array(0)
  /** Rows of the chunk by the address of their text, as far as one began a run: those of a dictionary come again. */
  readonly #known = new Map<number, number>()

  /** `isNull`: rows that have no value, whose entries say nothing. */
  load(vector: duckdb.Vector, rows: number, isNull?: (row: number) => boolean): void {
    const entries = duckdb.vector_get_data(vector, rows * 16)
    const words = new Uint32Array(entries.buffer, entries.byteOffset, rows * 4)
    if (this.#starts.length < rows) {
      this.#starts = new Int32Array(rows)
      this.#lengths = new Int32Array(rows)
    }
    this.#used = 0
    this.#known.clear()
    this.#append(entries)
    let lengthMax = 0
    // A run of long texts that lie behind each other.
    let [first, start, end] = [-1, 0, 0]
    for (let row = 0; row < rows; row++) {
      const length = isNull?.(row) === true ? 0 : words[4 * row]!
      this.#lengths[row] = length
      if (length > lengthMax) lengthMax = length
      if (length <= 12) {
        this.#starts[row] = row * 16 + 4
        continue
      }
      const address = words[4 * row + 2]! + words[4 * row + 3]! * 4_294_967_296
      if (first < 0 || address < end || address - end > GAP_MAX) {
        const known = this.#known.get(address)
        if (known !== undefined && this.#lengths[known]! >= length) {
          this.#starts[row] = this.#starts[known]!
          continue
        }
        this.#known.set(address, row)
        if (first >= 0) this.#fetch(entries, first, end - start)
        ;[first, start] = [row, address]
      }
      this.#starts[row] = this.#used + (address - start)
      end = address + length
    }
    if (first >= 0) this.#fetch(entries, first, end - start)
    this.bytesMax = 4 + lengthMax
  }

  put(row: number, to: Uint8Array, at: number): number {
    const [bytes, from, length] = [this.#bytes, this.#starts[row]!, this.#lengths[row]!]
    to[at] = length
    to[at + 1] = length >>> 8
    to[at + 2] = length >>> 16
    to[at + 3] = length >>> 24
    for (let k = 0; k < length; k++) to[at + 4 + k] = bytes[from + k]!
    return at + 4 + length
  }

  /**
   * Hashes the values as keys of this column alone, where they lie: four words each into `out`, from row `base` on. Rows
   * that are `deleted` there are left out.
   */
  hashRows(rows: number, hasher: KeyHash, out: Uint32Array, base: number, deleted: DeletedRows | undefined): void {
    for (let row = 0; row < rows; row++) {
      if (deleted?.has(base + row) === true) continue
      const start = this.#starts[row]!
      hasher.hashText(this.#bytes, start, start + this.#lengths[row]!, out, 4 * (base + row))
    }
  }

  /** Copies `length` bytes from where the text of row `row` begins. */
  #fetch(entries: Uint8Array, row: number, length: number): void {
    this.#append(duckdb.get_data_from_pointer(entries.buffer as ArrayBuffer, entries.byteOffset + row * 16 + 8, length))
  }

  #append(bytes: Uint8Array): void {
    const used = this.#used + bytes.length
    if (used > this.#bytes.length) {
      const larger = new Uint8Array(2 * used)
      larger.set(this.#bytes.subarray(0, this.#used))
      this.#bytes = larger
    }
    this.#bytes.set(bytes, this.#used)
    this.#used = used
  }
}
