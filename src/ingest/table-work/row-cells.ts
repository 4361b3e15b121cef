import duckdb from '@duckdb/node-bindings'
import { LakeError } from '../../error.ts'
import type { IcebergType } from '../../lake/table.ts'
import { nullsOf, type Cells, type IsNull } from './cells.ts'
import { decimalWidth, TextColumn } from './key-columns.ts'
import { ListCells, MapCells, StructCells } from './nested-cells.ts'
import { mixBlock, mixBytes, NULL_LENGTH, type CanonicalBytes } from './row-hash.ts'

/** Throws when the type is none of the lake's. */
export function cellsOf(type: IcebergType): Cells {
  if (typeof type !== 'string')
    switch (type.type) {
      case 'list':
        return new ListCells(cellsOf(type.element))
      case 'map':
        return new MapCells(cellsOf(type.key), cellsOf(type.value))
      case 'struct':
        return new StructCells(type.fields, cellsOf)
    }
  if (type === 'string' || type === 'binary') return new TextCells()
  const precision = /^decimal\((\d+),/.exec(type)?.[1]
  const form = precision === undefined ? FORMS[type] : decimalForm(Number(precision))
  if (form === undefined) throw new LakeError('internal', `rows with a column of type ${type} cannot be compared`)
  return new WordCells(form)
}

/** How DuckDB keeps values of one size, and what they are as words. */
interface Form {
  /** Bytes in DuckDB's memory. */
  readonly width: number
  /** Canonical bytes; those of one word may be fewer than four, and are the first of it. */
  readonly length: number
  readonly words: 1 | 2 | 4
  read(bytes: Uint8Array, rows: number, to: Int32Array): void
}

class WordCells implements Cells {
  readonly #form: Form
  #words = new Int32Array(0)
  #isNull: IsNull | undefined

  constructor(form: Form) {
    this.#form = form
  }

  load(vector: duckdb.Vector, rows: number, isAbsent?: IsNull): void {
    const { width, words, read } = this.#form
    if (this.#words.length < rows * words) this.#words = new Int32Array(2 * rows * words)
    read(duckdb.vector_get_data(vector, rows * width), rows, this.#words)
    this.#isNull = nullsOf(vector, rows, isAbsent)
  }

  mix(rows: number, states: Int32Array): void {
    const { length, words: count } = this.#form
    const [words, isNull] = [this.#words, this.#isNull]
    for (let row = 0, at = 0; row < rows; row++, at += 4) {
      if (isNull !== undefined && isNull(row)) mixBlock(states, at, NULL_LENGTH, 0, 0, 0)
      else if (count === 1) mixBlock(states, at, length, words[row]!, 0, 0)
      else if (count === 2) mixBlock(states, at, length, words[2 * row]!, words[2 * row + 1]!, 0)
      else {
        mixBlock(states, at, length, words[4 * row]!, words[4 * row + 1]!, words[4 * row + 2]!)
        mixBlock(states, at, words[4 * row + 3]!, 0, 0, 0)
      }
    }
  }

  put(row: number, to: CanonicalBytes): void {
    if (this.#isNull?.(row) === true) return to.null()
    const { length, words } = this.#form
    to.word(length)
    if (length < 4) return to.byte(this.#words[row]! >>> 24)
    for (let k = 0; k < words; k++) to.word(this.#words[words * row + k]!)
  }
}

/** Strings and binaries. */
class TextCells implements Cells {
  readonly #text = new TextColumn()
  #view = new DataView<ArrayBufferLike>(new ArrayBuffer(0))
  #isNull: IsNull | undefined

  load(vector: duckdb.Vector, rows: number, isAbsent?: IsNull): void {
    this.#isNull = nullsOf(vector, rows, isAbsent)
    this.#text.load(vector, rows, this.#isNull)
    const { buffer, byteOffset, length } = this.#text.bytes
    if (this.#view.buffer !== buffer) this.#view = new DataView(buffer, byteOffset, length)
  }

  mix(rows: number, states: Int32Array): void {
    const { starts, lengths } = this.#text
    const [view, isNull] = [this.#view, this.#isNull]
    for (let row = 0, at = 0; row < rows; row++, at += 4)
      if (isNull !== undefined && isNull(row)) mixBlock(states, at, NULL_LENGTH, 0, 0, 0)
      else mixBytes(states, at, view, starts[row]!, lengths[row]!)
  }

  put(row: number, to: CanonicalBytes): void {
    if (this.#isNull?.(row) === true) return to.null()
    const { bytes, starts, lengths } = this.#text
    to.word(lengths[row]!)
    to.copy(bytes, starts[row]!, lengths[row]!)
  }
}

const BOOLEAN: Form = {
  width: 1,
  length: 1,
  words: 1,
  read(bytes, rows, to) {
    for (let row = 0; row < rows; row++) to[row] = bytes[row] === 0 ? 0 : 1 << 24
  },
}

const INT: Form = {
  width: 4,
  length: 4,
  words: 1,
  read: (bytes, rows, to) => to.set(wordsOf(bytes, rows)),
}

const FLOAT: Form = {
  width: 4,
  length: 4,
  words: 1,
  read(bytes, rows, to) {
    const words = wordsOf(bytes, rows)
    for (let row = 0; row < rows; row++) {
      const word = words[row]!
      const magnitude = word & 0x7fff_ffff
      to[row] = magnitude > 0x7f80_0000 ? 0x7fc0_0000 : magnitude === 0 ? 0 : word
    }
  },
}

const LONG: Form = {
  width: 8,
  length: 8,
  words: 2,
  read(bytes, rows, to) {
    const words = wordsOf(bytes, 2 * rows)
    for (let at = 0; at < 2 * rows; at += 2) {
      to[at] = words[at + 1]!
      to[at + 1] = words[at]!
    }
  },
}

const DOUBLE: Form = {
  width: 8,
  length: 8,
  words: 2,
  read(bytes, rows, to) {
    const words = wordsOf(bytes, 2 * rows)
    for (let at = 0; at < 2 * rows; at += 2) {
      const [low, high] = [words[at]!, words[at + 1]!]
      const magnitude = high & 0x7fff_ffff
      const isNan = magnitude > 0x7ff0_0000 || (magnitude === 0x7ff0_0000 && low !== 0)
      to[at] = isNan ? 0x7ff8_0000 : magnitude === 0 && low === 0 ? 0 : high
      to[at + 1] = isNan ? 0 : low
    }
  },
}

/** DuckDB keeps a UUID as an integer whose sign is turned. */
const UUID: Form = {
  width: 16,
  length: 16,
  words: 4,
  read(bytes, rows, to) {
    const words = wordsOf(bytes, 4 * rows)
    for (let at = 0; at < 4 * rows; at += 4) {
      to[at] = words[at + 3]! ^ 0x8000_0000
      to[at + 1] = words[at + 2]!
      to[at + 2] = words[at + 1]!
      to[at + 3] = words[at]!
    }
  },
}

const FORMS: Readonly<Record<string, Form>> = {
  boolean: BOOLEAN,
  int: INT,
  date: INT,
  float: FLOAT,
  long: LONG,
  timestamp: LONG,
  timestamptz: LONG,
  double: DOUBLE,
  uuid: UUID,
}

function decimalForm(precision: number): Form {
  const width = decimalWidth(precision)
  return {
    width,
    length: 16,
    words: 4,
    read(bytes, rows, to) {
      const shorts = width === 2 ? new Int16Array(bytes.buffer, bytes.byteOffset, rows) : undefined
      const words = shorts ?? wordsOf(bytes, (rows * width) / 4)
      const each = Math.max(1, width / 4)
      for (let row = 0; row < rows; row++) {
        const sign = words[row * each + each - 1]! >> 31
        for (let k = 0; k < 4; k++) to[4 * row + 3 - k] = k < each ? words[row * each + k]! : sign
      }
    },
  }
}

/** As DuckDB and this machine have them, the least significant first. */
function wordsOf(bytes: Uint8Array, count: number): Int32Array {
  return new Int32Array(bytes.buffer, bytes.byteOffset, count)
}
