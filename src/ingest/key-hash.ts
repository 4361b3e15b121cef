import type { Column, ColumnType } from '../batch.ts'

/**
 * Keys as bytes, and their hash. The canonical encoding of a key is, column by column: string, enum and binary as a
 * length (4 bytes, little endian) and their bytes; int, long, date and timestamps as 8 bytes little endian, so that a
 * promotion changes nothing; boolean as one byte; uuid as its 16 bytes; decimal as 16 bytes of its unscaled value, two's
 * complement, little endian. No bytes are normalised.
 *
 * The hash has 128 bits: the rounds of MurmurHash3_x86_128 over blocks of 16 bytes, the last one filled up with zeros,
 * then the length into all four words, and its final mix twice. So every word sees all input, also under 16 bytes, where
 * Murmur's own tail leaves words alone. Its state begins as the 16 bytes of the table's uuid.
 */
export class KeyHasher {
  readonly #a: number
  readonly #b: number
  readonly #c: number
  readonly #d: number
  readonly #isText: boolean
  /** Views of the last two buffers: texts of rows lie in turns in the batch and in their column. */
  #bytes: Uint8Array = new Uint8Array(0)
  #view = new DataView<ArrayBufferLike>(this.#bytes.buffer)
  #otherBytes = this.#bytes
  #otherView = this.#view

  /** `columns` are those of the key, in its order. Throws RangeError when the uuid is none. */
  constructor(uuid: string, columns: readonly Column[]) {
    const seed = Buffer.from(uuid.replaceAll('-', ''), 'hex')
    if (seed.length !== 16 || columns.length === 0) throw new RangeError(`${uuid}: a key needs a uuid and columns`)
    this.#a = seed.readInt32LE(0)
    this.#b = seed.readInt32LE(4)
    this.#c = seed.readInt32LE(8)
    this.#d = seed.readInt32LE(12)
    this.#isText = columns.length === 1 && isText(columns[0]!.type)
  }

  /** Whether the key is one text, which `hashText` takes where it lies. */
  get isText(): boolean {
    return this.#isText
  }

  /** Four words over the canonical bytes of one key, [start, end), into `out` from `at` on. */
  hash(bytes: Uint8Array, start: number, end: number, out: Uint32Array, at: number): void {
    const view = this.#viewOf(bytes)
    rounds(view, start, end, this.#a, this.#b, this.#c, this.#d, end - start, out, at)
  }

  /** The same as `hash` over the length of the text [start, end) and then its bytes, without writing them together. */
  hashText(bytes: Uint8Array, start: number, end: number, out: Uint32Array, at: number): void {
    const view = this.#viewOf(bytes)
    const isWhole = start + 16 <= view.byteLength
    const head = isWhole ? view : lastBytes(view, start)
    const from = isWhole ? start : 0
    const mask = 4 * Math.min(end - start, 16)
    const h1 = mix1(this.#a, this.#b, end - start)
    const h2 = mix2(this.#b, this.#c, head.getInt32(from, true) & MASKS[mask]!)
    const h3 = mix3(this.#c, this.#d, head.getInt32(from + 4, true) & MASKS[mask + 1]!)
    const h4 = mix4(this.#d, h1, head.getInt32(from + 8, true) & MASKS[mask + 2]!)
    rounds(view, start + 12, end, h1, h2, h3, h4, end - start + 4, out, at)
  }

  #viewOf(bytes: Uint8Array): DataView {
    if (bytes === this.#bytes) return this.#view
    const view =
      bytes === this.#otherBytes ? this.#otherView : new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
    this.#otherBytes = this.#bytes
    this.#otherView = this.#view
    this.#bytes = bytes
    this.#view = view
    return view
  }
}

/** A value of a key column: int, date as number; long, times in µs and unscaled decimals as bigint; uuid, binary as bytes. */
export type KeyValue = boolean | number | bigint | string | Uint8Array

/** Writes canonical keys: `begin`, then one value per column of the key, in order. The bytes are those up to `end`. */
export class KeyEncoder {
  bytes = new Uint8Array(256)
  end = 0
  #view = new DataView(this.bytes.buffer)

  begin(): void {
    this.end = 0
  }

  /** A value of a type that a key may have, in the form that KeyValue tells. Throws TypeError for another. */
  value(type: ColumnType, value: KeyValue): void {
    if (typeof value === 'string' && isText(type)) {
      const length = Buffer.byteLength(value)
      this.#reserve(4 + length)
      Buffer.from(this.bytes.buffer).write(value, this.end + 4)
      this.#lengthOf(length)
    } else if (value instanceof Uint8Array && isText(type)) this.text(value, 0, value.length)
    else if (value instanceof Uint8Array && type.kind === 'uuid' && value.length === 16) this.uuid(value)
    else if (typeof value === 'boolean' && type.kind === 'boolean') this.boolean(value)
    else if (typeof value === 'bigint' && type.kind === 'decimal') this.decimal(value)
    else if (typeof value === 'bigint' && WHOLE.has(type.kind)) this.long(value)
    else if (typeof value === 'number' && WHOLE.has(type.kind)) this.long(BigInt(value))
    else throw new TypeError(`${typeof value} is no key of type ${type.kind}`)
  }

  /** string, enum, binary */
  text(from: Uint8Array, start: number, end: number): void {
    const length = end - start
    this.#reserve(4 + length)
    const to = this.end + 4
    if (length > 64) this.bytes.set(from.subarray(start, end), to)
    else for (let k = 0; k < length; k++) this.bytes[to + k] = from[start + k]!
    this.#lengthOf(length)
  }

  /** int and date */
  int(value: number): void {
    this.words(value | 0, value >> 31)
  }

  long(value: bigint): void {
    this.#reserve(8)
    this.#view.setBigInt64(this.end, value, true)
    this.end += 8
  }

  /** The two halves of a 64-bit integer. */
  words(low: number, high: number): void {
    this.#reserve(8)
    this.#view.setInt32(this.end, low, true)
    this.#view.setInt32(this.end + 4, high, true)
    this.end += 8
  }

  boolean(value: boolean): void {
    this.#reserve(1)
    this.bytes[this.end++] = value ? 1 : 0
  }

  /** 16 bytes, the most significant first. */
  uuid(value: Uint8Array): void {
    this.#reserve(16)
    this.bytes.set(value, this.end)
    this.end += 16
  }

  decimal(unscaled: bigint): void {
    this.long(BigInt.asIntN(64, unscaled))
    this.long(unscaled >> 64n)
  }

  #lengthOf(length: number): void {
    this.#view.setInt32(this.end, length, true)
    this.end += 4 + length
  }

  #reserve(length: number): void {
    if (this.end + length <= this.bytes.length) return
    const grown = new Uint8Array(Math.max(2 * this.bytes.length, this.end + length))
    grown.set(this.bytes.subarray(0, this.end))
    this.bytes = grown
    this.#view = new DataView(grown.buffer)
  }
}

const WHOLE: ReadonlySet<string> = new Set(['int', 'long', 'date', 'timestamp', 'timestamptz'])

function isText(type: ColumnType): boolean {
  return type.kind === 'string' || type.kind === 'enum' || type.kind === 'binary'
}

/**
 * The blocks of [start, end), filled up with zeros, and the end. Small enough that a compiler takes all of it into one
 * piece: with its steps called one by one a key took half as long again.
 */
function rounds(
  view: DataView,
  start: number,
  end: number,
  a: number,
  b: number,
  c: number,
  d: number,
  length: number,
  out: Uint32Array,
  to: number,
): void {
  let h1 = a
  let h2 = b
  let h3 = c
  let h4 = d
  for (let at = start; at < end; at += 16) {
    let k1: number, k2: number, k3: number, k4: number
    if (at + 16 <= end) {
      k1 = view.getInt32(at, true)
      k2 = view.getInt32(at + 4, true)
      k3 = view.getInt32(at + 8, true)
      k4 = view.getInt32(at + 12, true)
    } else {
      const isWhole = at + 16 <= view.byteLength
      const tail = isWhole ? view : lastBytes(view, at)
      const from = isWhole ? at : 0
      const mask = 4 * (end - at)
      k1 = tail.getInt32(from, true) & MASKS[mask]!
      k2 = tail.getInt32(from + 4, true) & MASKS[mask + 1]!
      k3 = tail.getInt32(from + 8, true) & MASKS[mask + 2]!
      k4 = tail.getInt32(from + 12, true) & MASKS[mask + 3]!
    }
    h1 = mix1(h1, h2, k1)
    h2 = mix2(h2, h3, k2)
    h3 = mix3(h3, h4, k3)
    h4 = mix4(h4, h1, k4)
  }
  h1 ^= length
  h2 ^= length
  h3 ^= length
  h4 ^= length
  for (let round = 0; round < 2; round++) {
    h1 = (h1 + h2 + h3 + h4) | 0
    h2 = avalanche((h2 + h1) | 0)
    h3 = avalanche((h3 + h1) | 0)
    h4 = avalanche((h4 + h1) | 0)
    h1 = avalanche(h1)
  }
  h1 = (h1 + h2 + h3 + h4) | 0
  out[to] = h1
  out[to + 1] = (h2 + h1) | 0
  out[to + 2] = (h3 + h1) | 0
  out[to + 3] = (h4 + h1) | 0
}

/** Four words for each number of bytes up to 16: ones where the bytes of a block are, zeros behind them. */
const MASKS = new Int32Array(17 * 4)
for (let bytes = 1; bytes <= 16; bytes++) new Uint8Array(MASKS.buffer, 16 * bytes).fill(0xff, 0, bytes)

const LAST = new DataView(new ArrayBuffer(16))

/** A block that begins at `at` and is longer than what is left of its buffer. */
function lastBytes(view: DataView, at: number): DataView {
  for (let k = 0; k < 16; k++) LAST.setUint8(k, at + k < view.byteLength ? view.getUint8(at + k) : 0)
  return LAST
}

// The rounds of MurmurHash3_x86_128: `h` with a word of input and the word of the state that stands next to it. Spelled
// out, as a compiler counts what it puts together by the length of its code.

export function mix1(h: number, next: number, k: number): number {
  const a = Math.imul(k, 0x239b961b)
  const b = h ^ Math.imul((a << 15) | (a >>> 17), 0xab0e9789)
  return (Math.imul(((b << 19) | (b >>> 13)) + next, 5) + 0x561ccd1b) | 0
}

export function mix2(h: number, next: number, k: number): number {
  const a = Math.imul(k, 0xab0e9789)
  const b = h ^ Math.imul((a << 16) | (a >>> 16), 0x38b34ae5)
  return (Math.imul(((b << 17) | (b >>> 15)) + next, 5) + 0x0bcaa747) | 0
}

export function mix3(h: number, next: number, k: number): number {
  const a = Math.imul(k, 0x38b34ae5)
  const b = h ^ Math.imul((a << 17) | (a >>> 15), 0xa1e38b93)
  return (Math.imul(((b << 15) | (b >>> 17)) + next, 5) + 0x96cd1c35) | 0
}

export function mix4(h: number, next: number, k: number): number {
  const a = Math.imul(k, 0xa1e38b93)
  const b = h ^ Math.imul((a << 18) | (a >>> 14), 0x239b961b)
  return (Math.imul(((b << 13) | (b >>> 19)) + next, 5) + 0x32ac3b17) | 0
}

export function avalanche(word: number): number {
  let h = word
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b)
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35)
  return h ^ (h >>> 16)
}
