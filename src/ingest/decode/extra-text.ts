import type { OwnText } from './column-builder.ts'
import type { JsonRule } from './redact-text.ts'

/**
 * The JSON text of `_extra`: the fields of a record that no column has, where they stood. Unknown fields of a struct
 * stand in an object under the struct's name; those of an element under its number, of a map's value under its key:
 * `{"colour":"red","address":{"planet":"earth"},"items":{"0":{"sku2":1}}}`. Keys, values and their order are the
 * record's own bytes, but for fields of the record that are redacted.
 */
export class ExtraText {
  bytes = new Uint8Array(1024)
  used = 0
  /** Fields that were met, kept or not. */
  met = 0
  /** Raw keys of the levels below the record, with their quotes. */
  readonly #levels: Uint8Array[] = []
  /** Levels whose object is open in `bytes`. */
  #open = 0
  readonly #redact: ReadonlyMap<string, JsonRule>

  /** What becomes of fields of the record that are redacted. */
  constructor(redact: ReadonlyMap<string, JsonRule>) {
    this.#redact = redact
  }

  begin(): void {
    this.used = 0
    this.#open = 0
    // Setting a length costs more than reading it, and hardly a record leaves levels behind.
    if (this.#levels.length > 0) this.#levels.length = 0
  }

  enter(rawKey: Uint8Array): void {
    this.#levels.push(rawKey)
  }

  leave(): void {
    this.#levels.pop()
    if (this.#open <= this.#levels.length) return
    this.#open--
    this.#put(CLOSE)
  }

  /** A field of the current level, its raw key with quotes and its raw value. */
  add(rawKey: Uint8Array, rawValue: Uint8Array): void {
    this.met++
    if (this.#redact.size > 0) {
      // What stands in a column that is redacted is that column's.
      const rule = this.#redact.get(nameOf(this.#levels[0] ?? rawKey))
      const redacted = rule === undefined ? rawValue : this.#levels.length > 0 ? undefined : rule(rawValue)
      if (redacted === undefined) return
      rawValue = redacted
    }
    if (this.used === 0) this.#put(OPEN)
    for (; this.#open < this.#levels.length; this.#open++) {
      this.#key(this.#levels[this.#open]!)
      this.#put(OPEN)
    }
    this.#key(rawKey)
    this.#put(rawValue)
  }

  /** Copies the finished text and gives where it starts, or −1 when no field was added. */
  finish(own: OwnText): number {
    if (this.used === 0) return -1
    this.#put(CLOSE)
    return own.append(this.bytes.subarray(0, this.used))
  }

  #key(rawKey: Uint8Array): void {
    if (this.bytes[this.used - 1] !== 123) this.#put(COMMA)
    this.#put(rawKey)
    this.#put(COLON)
  }

  #put(bytes: Uint8Array): void {
    if (this.used + bytes.length > this.bytes.length) {
      const grown = new Uint8Array(Math.max(this.bytes.length * 2, this.used + bytes.length))
      grown.set(this.bytes.subarray(0, this.used))
      this.bytes = grown
    }
    this.bytes.set(bytes, this.used)
    this.used += bytes.length
  }
}

function nameOf(rawKey: Uint8Array): string {
  return JSON.parse(Buffer.from(rawKey).toString('utf8')) as string
}

const OPEN = new Uint8Array([123])
const CLOSE = new Uint8Array([125])
const COMMA = new Uint8Array([44])
const COLON = new Uint8Array([58])
