import { OWN_SEGMENT, OwnText } from './column-builder.ts'
import { DEPTH_MAX, type DeadLetterCode, type Reason } from './codes.ts'

/** What is thrown when a text does not fit; the reason is in `JsonText.reason`. One constant: nothing is allocated. */
export const MISFIT = Object.freeze({ name: 'misfit' })

/**
 * A place in a JSON text (RFC 8259, strictly): the grammar, without any meaning. The methods begin at `at`, leave it
 * behind what they read, and throw MISFIT after setting `reason`. UTF-8 is not checked here; `sawHighByte` says whether
 * a string held bytes over 127, so that the caller need not check texts that are ASCII.
 */
export class JsonText {
  bytes: Uint8Array = new Uint8Array(0)
  /** Number of the batch's buffer, as texts refer to it. */
  segment = OWN_SEGMENT
  start = 0
  end = 0
  at = 0
  depth = 0
  sawHighByte = false
  reason: Reason = { code: 'decode.json', message: '' }
  readonly own: OwnText
  /** The last string: where it lies once unescaped. */
  textBytes: Uint8Array = this.bytes
  textSegment = OWN_SEGMENT
  textStart = 0
  textEnd = 0
  /** The last number. */
  isInteger = false

  constructor(own: OwnText) {
    this.own = own
  }

  open(bytes: Uint8Array, segment: number, start: number, end: number): void {
    this.bytes = bytes
    this.segment = segment
    this.start = start
    this.end = end
    this.at = start
    this.depth = 0
    this.sawHighByte = false
  }

  /** Byte at the current place, −1 at the end. */
  peek(): number {
    return this.at < this.end ? this.bytes[this.at]! : -1
  }

  /** The next byte that is no white space. */
  token(): number {
    for (;;) {
      const c = this.peek()
      if (c > 32 || (c !== 32 && c !== 10 && c !== 13 && c !== 9)) return c
      this.at++
    }
  }

  fail(code: DeadLetterCode, message: string, at = this.at): never {
    this.reason = { code, message: `${message} at byte ${at - this.start}` }
    throw MISFIT
  }

  unexpected(expected: string): never {
    if (this.at >= this.end) this.fail('decode.json', `expected ${expected}, found the end`)
    if (this.at === this.start && this.bytes[this.at] === 0xef) this.fail('decode.json', 'a byte order mark')
    this.fail('decode.json', `expected ${expected}`)
  }

  /** Nothing but white space may follow. */
  finish(): void {
    if (this.token() !== -1) this.fail('decode.json', 'expected the end of the value')
  }

  enter(): void {
    if (++this.depth > DEPTH_MAX) this.fail('decode.depth', `nested deeper than ${DEPTH_MAX}`)
    this.at++
  }

  leave(): void {
    this.depth--
    this.at++
  }

  /** `true`, `false` or `null`, whose first letter was seen. */
  word(word: string): void {
    for (let k = 0; k < word.length; k++) {
      if (this.peek() !== word.charCodeAt(k)) this.unexpected(word)
      this.at++
    }
  }

  /** A string, whose opening quote was seen; gives whether it was escaped. */
  string(): boolean {
    const { bytes, end } = this
    const first = this.at + 1
    let at = first
    for (; at < end; at++) {
      const c = bytes[at]!
      if (c === 34) {
        this.textBytes = bytes
        this.textSegment = this.segment
        this.textStart = first
        this.textEnd = at
        this.at = at + 1
        return false
      }
      if (c === 92) break
      if (c < 32) {
        this.at = at
        this.fail('decode.json', 'a control character in a string')
      }
      if (c > 127) this.sawHighByte = true
    }
    this.at = at
    if (at >= end) this.unexpected('a closing quote')
    this.#unescape(first)
    return true
  }

  /** The string from `first`, of which all up to `at` is plain, goes into our own buffer. */
  #unescape(first: number): void {
    const { bytes, end, own } = this
    const to = own.reserve(end - first)
    const begin = own.used
    let out = begin
    for (let k = first; k < this.at; k++) to[out++] = bytes[k]!
    for (;;) {
      const c = this.peek()
      if (c === 34) break
      if (c < 32) {
        if (c < 0) this.unexpected('a closing quote')
        this.fail('decode.json', 'a control character in a string')
      }
      if (c > 127) this.sawHighByte = true
      if (c === 92) out = this.#escape(to, out)
      else {
        to[out++] = c
        this.at++
      }
    }
    this.at++
    own.used = out
    this.textBytes = to
    this.textSegment = OWN_SEGMENT
    this.textStart = begin
    this.textEnd = out
  }

  #escape(to: Uint8Array, out: number): number {
    const begin = this.at++
    const c = this.peek()
    const plain = c < 0 ? 0 : ESCAPES[c]!
    if (plain !== 0) {
      to[out] = plain
      this.at++
      return out + 1
    }
    if (c !== 117) this.unexpected('an escape')
    let code = this.#hex()
    if (code >= 0xd800 && code <= 0xdfff) {
      const isPair = code <= 0xdbff && this.peek() === 92 && this.bytes[this.at + 1] === 117 && this.at + 1 < this.end
      if (isPair) this.at++
      const low = isPair ? this.#hex() : 0
      if (low < 0xdc00 || low > 0xdfff) this.fail('decode.utf8', 'half of a surrogate pair', begin)
      code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00)
    }
    return encode(code, to, out)
  }

  /** Four hexadecimal digits after the `u`, which is the current byte. */
  #hex(): number {
    let code = 0
    for (let k = 1; k <= 4; k++) {
      const c = this.at + k < this.end ? this.bytes[this.at + k]! : 0
      const digit = c >= 48 && c <= 57 ? c - 48 : (c | 32) >= 97 && (c | 32) <= 102 ? (c | 32) - 87 : -1
      if (digit < 0) {
        this.at += k
        this.unexpected('four hexadecimal digits')
      }
      code = code * 16 + digit
    }
    this.at += 5
    return code
  }

  /** A number, whose first byte (a digit or a minus) was seen. */
  number(): void {
    if (this.peek() === 45) this.at++
    if (this.peek() === 48) this.at++
    else this.#digits()
    this.isInteger = true
    if (this.peek() === 46) {
      this.at++
      this.#digits()
      this.isInteger = false
    }
    const c = this.peek()
    if (c === 101 || c === 69) {
      this.at++
      const sign = this.peek()
      if (sign === 43 || sign === 45) this.at++
      this.#digits()
      this.isInteger = false
    }
    // 01 and 1x: what follows a number is the business of the grammar around it, but a digit never fits there.
  }

  #digits(): void {
    const first = this.at
    for (;;) {
      const c = this.peek()
      if (c < 48 || c > 57) break
      this.at++
    }
    if (this.at === first) this.unexpected('a digit')
  }

  /** Any value, checked and passed over. */
  skip(): void {
    const c = this.token()
    if (c === 34) this.#skipString()
    else if (c === 123) this.#skipObject()
    else if (c === 91) this.#skipArray()
    else if (c === 45 || (c >= 48 && c <= 57)) this.number()
    else if (c === 116) this.word('true')
    else if (c === 102) this.word('false')
    else if (c === 110) this.word('null')
    else this.unexpected('a value')
  }

  #skipString(): void {
    const { used } = this.own
    this.string()
    this.own.used = used
  }

  #skipArray(): void {
    this.enter()
    if (this.token() !== 93)
      for (;;) {
        this.skip()
        const c = this.token()
        if (c === 93) break
        if (c !== 44) this.unexpected('a comma or ]')
        this.at++
      }
    this.leave()
  }

  #skipObject(): void {
    this.enter()
    if (this.token() !== 125) {
      const keys = new KeySet()
      for (;;) {
        if (this.token() !== 34) this.unexpected('a key')
        const at = this.at
        const { used } = this.own
        const isEscaped = this.string()
        if (!keys.add(this, isEscaped)) this.fail('decode.duplicate_key', 'a key that stands twice', at)
        this.own.used = used
        this.colon()
        this.skip()
        const c = this.token()
        if (c === 125) break
        if (c !== 44) this.unexpected('a comma or }')
        this.at++
      }
    }
    this.leave()
  }

  colon(): void {
    if (this.token() !== 58) this.unexpected('a colon')
    this.at++
  }
}

/** The keys of one object: which stood before? Few plain keys are compared where they lie. */
export class KeySet {
  readonly #ranges: number[] = []
  #names: Set<string> | undefined

  /** Adds the text's last string; false when it was there before. */
  add(text: JsonText, isEscaped: boolean): boolean {
    const { textStart: start, textEnd: end } = text
    if (this.#names === undefined && !isEscaped && this.#ranges.length < 16) {
      for (let k = 0; k < this.#ranges.length; k += 2)
        if (isSame(text.bytes, this.#ranges[k]!, this.#ranges[k + 1]!, start, end)) return false
      this.#ranges.push(start, end)
      return true
    }
    if (this.#names === undefined) {
      this.#names = new Set()
      for (let k = 0; k < this.#ranges.length; k += 2)
        this.#names.add(latin1(text.bytes, this.#ranges[k]!, this.#ranges[k + 1]!))
    }
    const { size } = this.#names
    this.#names.add(latin1(text.textBytes, start, end))
    return this.#names.size > size
  }
}

/** One character per byte: a name for a byte string. */
export function latin1(bytes: Uint8Array, start: number, end: number): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset + start, end - start).toString('latin1')
}

/** What begins with this byte; undefined when nothing does. */
export function found(c: number): string | undefined {
  if (c === 34) return 'text'
  if (c === 123) return 'an object'
  if (c === 91) return 'an array'
  if (c === 116 || c === 102) return 'a boolean'
  if (c === 110) return 'null'
  return c === 45 || (c >= 48 && c <= 57) ? 'a number' : undefined
}

function isSame(bytes: Uint8Array, a: number, aEnd: number, b: number, bEnd: number): boolean {
  if (aEnd - a !== bEnd - b) return false
  for (let k = 0; a + k < aEnd; k++) if (bytes[a + k] !== bytes[b + k]) return false
  return true
}

const ESCAPES = new Uint8Array(256)
for (const [letter, code] of [
  ['"', 34],
  ['\\', 92],
  ['/', 47],
  ['b', 8],
  ['f', 12],
  ['n', 10],
  ['r', 13],
  ['t', 9],
] as const)
  ESCAPES[letter.charCodeAt(0)] = code

function encode(code: number, to: Uint8Array, at: number): number {
  if (code < 0x80) {
    to[at] = code
    return at + 1
  }
  if (code < 0x800) {
    to[at] = 0xc0 | (code >> 6)
    to[at + 1] = 0x80 | (code & 63)
    return at + 2
  }
  if (code < 0x10000) {
    to[at] = 0xe0 | (code >> 12)
    to[at + 1] = 0x80 | ((code >> 6) & 63)
    to[at + 2] = 0x80 | (code & 63)
    return at + 3
  }
  to[at] = 0xf0 | (code >> 18)
  to[at + 1] = 0x80 | ((code >> 12) & 63)
  to[at + 2] = 0x80 | ((code >> 6) & 63)
  to[at + 3] = 0x80 | (code & 63)
  return at + 4
}
