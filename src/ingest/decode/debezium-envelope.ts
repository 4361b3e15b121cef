import { isUtf8 } from 'node:buffer'
import { RECORD_BYTES_MAX, type Reason } from './codes.ts'
import type { OwnText } from './column-builder.ts'
import { isUnavailableText } from './debezium-unavailable.ts'
import { fileFieldOf, fileNumber, versionInFile } from './debezium-version.ts'
import { JsonText, latin1, MISFIT } from './json-text.ts'

/** What a change event asks for. `tombstone` is a null in the schema wrapper, `message` no change of a table at all. */
export type ChangeKind = 'upsert' | 'delete' | 'truncate' | 'message' | 'tombstone'

/** What a change event says: places in the record's buffer, valid until the next event is read. */
export interface Change {
  readonly kind: ChangeKind
  /** The row after the change; only of upserts. */
  readonly after: Range
  /** The row before it; −1 when it is null or absent. Of use for its key columns alone: it may be partial. */
  readonly before: Range
  readonly version: bigint | undefined
}

/**
 * Finds the parts of a change event (Debezium's envelope, bare or as `payload` beside its `schema`) without building it:
 * places in the record's buffer, valid until the next `read`. The row itself, `after`, is only delimited, which is sound
 * because its reader judges every byte of it; all else is checked strictly.
 */
export class ChangeEnvelope implements Change {
  kind: ChangeKind = 'message'
  /** `after`, an object; only of upserts. */
  readonly after: Range = { start: -1, end: -1 }
  /** `before`, an object; −1 when it is null or absent. Of use for its key columns alone: it may be partial. */
  readonly before: Range = { start: -1, end: -1 }
  /** Of the source's field that orders changes, with the file that it is a position in; undefined when it is absent, null, or none was asked for. */
  version: bigint | undefined
  /** Number of the schema in the wrapper, as `schemaText` gives its text; 0 without a wrapper. Grows with each new one. */
  schema = 0
  schemaText = ''
  /** Whether `after` may hold the text that stands for an unchanged large value. */
  mayLackValues = false
  readonly #text: JsonText
  readonly #versionField: Uint8Array | undefined
  readonly #fileField: Uint8Array | undefined
  /** Number of the file of the log that the source names, −1 when it names none. */
  #file = -1
  readonly #schemaRange: Range = { start: -1, end: -1 }
  #schemaBytes: Uint8Array = new Uint8Array(0)
  #schemas = 0
  #op = 0
  #isWrapped = false
  #isPayloadNull = false
  #isAfterObject = false
  /** Objects that were only delimited; more than one: not all of that is for the row's reader to check. */
  #unchecked = 0
  readonly #keys: Readonly<Record<Level, FewKeys>> = [new FewKeys(), new FewKeys(), new FewKeys()]

  /** `versionField`: name of the field of `source` that becomes the version. */
  constructor(own: OwnText, versionField?: string) {
    this.#text = new JsonText(own)
    this.#versionField = bytesOf(versionField)
    this.#fileField = bytesOf(fileFieldOf(versionField))
  }

  /** Reads one record's value. The reason when it is none of the known events. */
  read(bytes: Uint8Array, segment: number, start: number, end: number): Reason | undefined {
    if (end - start > RECORD_BYTES_MAX)
      return {
        code: 'decode.too_large',
        message: `the value has ${end - start} bytes, the limit is ${RECORD_BYTES_MAX}`,
      }
    const text = this.#text
    const { used } = text.own
    text.open(bytes, segment, start, end)
    this.#clear()
    try {
      if (text.token() === 123) this.#object(OUTER)
      else text.skip()
      text.finish()
      // `after` is checked by its reader, but only when it is a row.
      if (this.#unchecked > (this.#isAfterObject && isUpsert(this.#op) ? 1 : 0)) this.#strictly(start, end)
      if (text.sawHighByte && !isUtf8(bytes.subarray(start, end)))
        return { code: 'decode.utf8', message: 'the value is not UTF-8' }
      this.#judge()
      this.#takeSchema()
      return undefined
    } catch (error) {
      if (error !== MISFIT) throw error
      return this.#firstFault(start, end)
    } finally {
      text.own.used = used
    }
  }

  #clear(): void {
    clear(this.#schemaRange)
    this.#isWrapped = false
    this.#unchecked = 0
    this.#clearEnvelope()
  }

  #clearEnvelope(): void {
    clear(this.after)
    clear(this.before)
    this.version = undefined
    this.mayLackValues = false
    this.#op = 0
    this.#isAfterObject = false
  }

  /** A fault of the text comes before one that only the envelope sees, and of those the first in the text. */
  #firstFault(start: number, end: number): Reason {
    const text = this.#text
    const { reason } = text
    if (!isUtf8(text.bytes.subarray(start, end))) return { code: 'decode.utf8', message: 'the value is not UTF-8' }
    try {
      this.#strictly(start, end)
      return reason
    } catch (error) {
      if (error !== MISFIT) throw error
      return text.reason
    }
  }

  #strictly(start: number, end: number): void {
    const text = this.#text
    text.open(text.bytes, text.segment, start, end)
    text.skip()
    text.finish()
  }

  /** Walks through an object; `version` is the name of the one of its fields that orders changes. */
  #object(level: Level, version?: Uint8Array): void {
    const text = this.#text
    const others = this.#keys[level]
    let seen = 0
    others.clear()
    text.enter()
    if (text.token() !== 125)
      for (;;) {
        if (text.token() !== 34) text.unexpected('a key')
        const at = text.at
        const isEscaped = text.string()
        const key = level !== FIELDS ? keyOf(text) : version === undefined ? 0 : this.#sourceKey(text, version)
        if (key === 0 ? !this.#isNew(others, isEscaped) : (seen & key) !== 0)
          text.fail('decode.duplicate_key', 'a key that stands twice', at)
        seen |= key
        text.colon()
        if (level === FIELDS) this.#field(key)
        else this.#part(key, level === OUTER)
        const c = text.token()
        if (c === 125) break
        if (c !== 44) text.unexpected('a comma or }')
        text.at++
      }
    text.leave()
  }

  #part(key: number, isOuter: boolean): void {
    const text = this.#text
    const c = text.token()
    if (isOuter && this.#isWrapped && key !== SCHEMA) text.skip()
    else if (key === AFTER && c === 123) this.#skipAfter()
    else if (key === BEFORE && c === 123) {
      this.before.start = text.at
      this.#object(FIELDS)
      this.before.end = text.at
    } else if (key === SOURCE && c === 123) {
      this.#file = -1
      this.#object(FIELDS, this.#versionField)
      this.version = versionInFile(this.version, this.#file)
    } else if (key === OP && c === 34) {
      text.string()
      this.#op = text.textEnd - text.textStart === 1 ? text.textBytes[text.textStart]! : 0
    } else if (key === PAYLOAD && isOuter) {
      this.#isWrapped = true
      this.#isPayloadNull = c === 110
      this.#clearEnvelope()
      if (c === 123) this.#object(INNER)
      else text.skip()
    } else if (key === SCHEMA && isOuter && c === 123) this.#skipSchema()
    else text.skip()
  }

  #skipAfter(): void {
    const text = this.#text
    this.#isAfterObject = true
    this.#unchecked++
    this.after.start = text.at
    const until = this.#delimit(text.bytes, text.at, text.end)
    if (until < 0) text.skip()
    else text.at = until
    this.after.end = text.at
  }

  /** Behind the object that begins at `at`, judged by its braces and strings alone; −1 when it does not end. */
  #delimit(bytes: Uint8Array, at: number, end: number): number {
    let depth = 0
    for (let p = at; p < end; p++) {
      const c = bytes[p]!
      if (c === 34) {
        const first = p + 1
        for (p = first; p < end && bytes[p] !== 34; p++) if (bytes[p] === 92) p++
        if (isUnavailableText(bytes, first, p)) this.mayLackValues = true
      } else if (c === 123) depth++
      else if (c === 125 && --depth === 0) return p + 1
    }
    return -1
  }

  #sourceKey(text: JsonText, version: Uint8Array): number {
    if (isText(text, version)) return VERSION
    return this.#fileField !== undefined && isText(text, this.#fileField) ? FILE : 0
  }

  #field(key: number): void {
    const text = this.#text
    const c = text.token()
    if (key === FILE && c === 34) {
      text.string()
      this.#file = fileNumber(latin1(text.textBytes, text.textStart, text.textEnd))
      return
    }
    const from = text.at
    text.skip()
    if (key === VERSION && (c === 45 || (c >= 48 && c <= 57)) && text.isInteger) this.version = longIn(text, from)
  }

  /** Whether the last string is a new key. What is not seen at a glance is left to a strict look at the whole. */
  #isNew(keys: FewKeys, isEscaped: boolean): boolean {
    const { bytes, textStart, textEnd } = this.#text
    if (isEscaped || keys.isFull) {
      this.#unchecked += 2
      return true
    }
    return keys.add(bytes, textStart, textEnd)
  }

  /** A producer writes the same schema with each record: one that is known is compared, not read. */
  #skipSchema(): void {
    const text = this.#text
    const known = this.#schemaBytes
    const { at } = text
    const until = at + known.length
    this.#schemaRange.start = at
    if (known.length > 0 && until <= text.end && isSame(text.bytes, at, until, known)) text.at = until
    else text.skip()
    this.#schemaRange.end = text.at
  }

  #takeSchema(): void {
    const { start, end } = this.#schemaRange
    if (start < 0) {
      this.schema = 0
      return
    }
    const { bytes } = this.#text
    if (!isSame(bytes, start, end, this.#schemaBytes)) {
      this.#schemaBytes = bytes.slice(start, end)
      this.schemaText = Buffer.from(this.#schemaBytes).toString('utf8')
      this.#schemas++
    }
    this.schema = this.#schemas
  }

  #judge(): void {
    if (this.#isWrapped && this.#isPayloadNull) {
      this.kind = 'tombstone'
      return
    }
    const kind = kindOf(this.#op, this.#isAfterObject)
    if (typeof kind !== 'string') {
      this.#text.reason = kind
      throw MISFIT
    }
    this.kind = kind
  }
}

/** What an operation, one letter, asks for; the reason when that cannot be. */
export function kindOf(op: number, hasRow: boolean): ChangeKind | Reason {
  switch (op) {
    case C:
    case R:
    case U:
      return hasRow ? 'upsert' : { code: 'decode.debezium', message: 'an insert or update without the row after it' }
    case D:
      return 'delete'
    case T:
      return 'truncate'
    case M:
      return 'message'
    default:
      return {
        code: 'decode.debezium',
        message: hasRow ? 'an unknown operation' : 'no change envelope: it has no operation and no row',
      }
  }
}

/** Plain keys of one object, compared where they lie; nothing is allocated for a record. */
class FewKeys {
  readonly #ranges = new Int32Array(128)
  #size = 0

  clear(): void {
    this.#size = 0
  }

  get isFull(): boolean {
    return this.#size === this.#ranges.length
  }

  /** False when the key was there before. */
  add(bytes: Uint8Array, start: number, end: number): boolean {
    const ranges = this.#ranges
    for (let k = 0; k < this.#size; k += 2) {
      const from = ranges[k]!
      if (ranges[k + 1]! - from !== end - start) continue
      let at = start
      while (at < end && bytes[from + at - start] === bytes[at]) at++
      if (at === end) return false
    }
    ranges[this.#size++] = start
    ranges[this.#size++] = end
    return true
  }
}

/** [start, end) in the buffer of the record, −1 when there is nothing. */
export interface Range {
  start: number
  end: number
}

/** What is read at a level: the envelope or what may be the wrapper around it; the envelope in it; the fields of `source` or `before`. */
const [OUTER, INNER, FIELDS] = [0, 1, 2] as const
type Level = typeof OUTER | typeof INNER | typeof FIELDS
const [OP, BEFORE, AFTER, SOURCE, PAYLOAD, SCHEMA, VERSION, FILE] = [1, 2, 4, 8, 16, 32, 64, 128] as const
const NAMES = (
  [
    ['op', OP],
    ['before', BEFORE],
    ['after', AFTER],
    ['source', SOURCE],
    ['payload', PAYLOAD],
    ['schema', SCHEMA],
  ] as const
).map(([name, key]) => ({ name: Buffer.from(name), key }))
const [C, R, U, D, T, M] = [99, 114, 117, 100, 116, 109] as const

function isUpsert(op: number): boolean {
  return op === C || op === R || op === U
}

/** What the last string of the text names; 0: nothing of the envelope. */
function keyOf(text: JsonText): number {
  for (let k = 0; k < NAMES.length; k++) if (isText(text, NAMES[k]!.name)) return NAMES[k]!.key
  return 0
}

function isText({ textBytes, textStart, textEnd }: JsonText, name: Uint8Array): boolean {
  return textEnd - textStart === name.length && isSame(textBytes, textStart, textEnd, name)
}

function isSame(bytes: Uint8Array, start: number, end: number, other: Uint8Array): boolean {
  if (end - start !== other.length) return false
  if (other.length > 64) return Buffer.compare(bytes.subarray(start, end), other) === 0
  for (let k = 0; k < other.length; k++) if (bytes[start + k] !== other[k]) return false
  return true
}

function bytesOf(name: string | undefined): Uint8Array | undefined {
  return name === undefined ? undefined : Buffer.from(name)
}

/** An integer in 64 bits, undefined when it has more. */
function longIn(text: JsonText, from: number): bigint | undefined {
  if (text.at - from > 20) return undefined
  const value = BigInt(latin1(text.bytes, from, text.at))
  return BigInt.asIntN(64, value) === value ? value : undefined
}

function clear(range: Range): void {
  range.start = -1
  range.end = -1
}
