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
    const h1 = mix1(this.#a, this.#b, end - start)
    const h2 = mix2(this.#b, this.#c, wordAt(view, start, end))
    const h3 = mix3(this.#c, this.#d, wordAt(view, start + 4, end))
    const h4 = mix4(this.#d, h1, wordAt(view, start + 8, end))
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

/** The blocks of [at, end), filled up with zeros, and the end. */
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
  let at = start
  for (; at + 16 <= end; at += 16) {
    h1 = mix1(h1, h2, view.getInt32(at, true))
    h2 = mix2(h2, h3, view.getInt32(at + 4, true))
    h3 = mix3(h3, h4, view.getInt32(at + 8, true))
    h4 = mix4(h4, h1, view.getInt32(at + 12, true))
  }
  if (at < end) {
    h1 = mix1(h1, h2, wordAt(view, at, end))
    h2 = mix2(h2, h3, wordAt(view, at + 4, end))
    h3 = mix3(h3, h4, wordAt(view, at + 8, end))
    h4 = mix4(h4, h1, wordAt(view, at + 12, end))
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
  out[to + 1] = h2 + h1
  out[to + 2] = h3 + h1
  out[to + 3] = h4 + h1
}

/** Four bytes little endian, of which those from `end` on are 0. */
function wordAt(view: DataView, at: number, end: number): number {
  if (at + 4 <= end) return view.getInt32(at, true)
  let word = 0
  for (let k = 0; at + k < end; k++) word |= view.getUint8(at + k) << (8 * k)
  return word
}

function rotl(word: number, bits: number): number {
  return (word << bits) | (word >>> (32 - bits))
}

// The rounds of MurmurHash3_x86_128: `h` with a word of input and the word of the state that stands next to it.

const C1 = 0x239b961b
const C2 = 0xab0e9789 | 0
const C3 = 0x38b34ae5
const C4 = 0xa1e38b93 | 0

export function mix1(h: number, next: number, k: number): number {
  const mixed = h ^ Math.imul(rotl(Math.imul(k, C1), 15), C2)
  return (Math.imul(rotl(mixed, 19) + next, 5) + 0x561ccd1b) | 0
}

export function mix2(h: number, next: number, k: number): number {
  const mixed = h ^ Math.imul(rotl(Math.imul(k, C2), 16), C3)
  return (Math.imul(rotl(mixed, 17) + next, 5) + 0x0bcaa747) | 0
}

export function mix3(h: number, next: number, k: number): number {
  const mixed = h ^ Math.imul(rotl(Math.imul(k, C3), 17), C4)
  return (Math.imul(rotl(mixed, 15) + next, 5) + 0x96cd1c35) | 0
}

export function mix4(h: number, next: number, k: number): number {
  const mixed = h ^ Math.imul(rotl(Math.imul(k, C4), 18), C1)
  return (Math.imul(rotl(mixed, 13) + next, 5) + 0x32ac3b17) | 0
}

export function avalanche(word: number): number {
  let h = word
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b)
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35)
  return h ^ (h >>> 16)
}
