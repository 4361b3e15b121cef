/**
 * Why a record became a dead letter. Codes are stable: they are stored in the dead-letter table and never renamed.
 * docs/dead-letters.md tells what to do about each.
 */
export type DeadLetterCode = (typeof CODES)[number]

/** In the readers a failure is a negative position, `-index` into this list: no object per value. */
const CODES = [
  'ok',
  /** Not JSON (RFC 8259): broken syntax, leading zeros, a byte order mark, bytes after the value, an empty value. */
  'decode.json',
  /** JSON of another type than the column's, or text that is not a date, time, UUID, base64 or decimal. */
  'decode.type',
  /** A number or time that the column cannot hold exactly. */
  'decode.range',
  /** A required column is null or absent. */
  'decode.required',
  /** A field that is no column, in a table with `unknown: fail`. */
  'decode.unknown_field',
  /** Bytes that are not UTF-8, or an escaped half of a surrogate pair. */
  'decode.utf8',
  /** An object that has one key twice. */
  'decode.duplicate_key',
  /** A value of more than `valueBytesMax`. */
  'decode.too_large',
  /** Nested deeper than `depthMax`. */
  'decode.depth',
  /** Text that is none of an enum's symbols. */
  'decode.enum',
  /** Event time beyond ±8.64e15 ms, the range of every clock. */
  'event_time.out_of_range',
  /** The record killed its lane twice; nobody looked inside. */
  'decode.fatal',
] as const

export const JSON_SYNTAX = -1
export const TYPE = -2
export const RANGE = -3
export const REQUIRED = -4
export const UNKNOWN_FIELD = -5
export const UTF8 = -6
export const DUPLICATE_KEY = -7
export const TOO_LARGE = -8
export const DEPTH = -9
export const ENUM = -10
export const EVENT_TIME = -11
export const FATAL = -12

/** Containers inside one another. */
export const depthMax = 100
/** Bytes of one record's value. */
export const valueBytesMax = 16 * 1024 * 1024

/** Code and explanation of a dead letter. The message names places, never the value, which may be secret. */
export interface Verdict {
  readonly code: DeadLetterCode
  readonly message: string
}

const WORDS: Readonly<Record<DeadLetterCode, string>> = {
  ok: '',
  'decode.json': 'not valid JSON',
  'decode.type': 'not a value of type',
  'decode.range': 'does not fit exactly into',
  'decode.required': 'required, but null or absent',
  'decode.unknown_field': 'holds a field that is no column',
  'decode.utf8': 'not valid UTF-8',
  'decode.duplicate_key': 'has the same key twice',
  'decode.too_large': `larger than ${valueBytesMax} bytes`,
  'decode.depth': `nested deeper than ${depthMax}`,
  'decode.enum': 'none of the symbols of',
  'event_time.out_of_range': 'event time beyond ±8.64e15 ms',
  'decode.fatal': 'the record killed its lane twice and was not read',
}

/** `failure` is one of the negative constants; `at` a byte position in the value; `column` a path such as `address.zip`. */
export function verdict(failure: number, at: number, column: string, type: string): Verdict {
  const code = CODES[-failure]!
  const words = WORDS[code]
  if (failure === FATAL || failure === TOO_LARGE) return { code, message: words }
  const subject = column === '' ? '' : `column ${column}: `
  const object = failure === TYPE || failure === RANGE || failure === ENUM ? ` ${type}` : ''
  return { code, message: `${subject}${words}${object} (byte ${at})` }
}
