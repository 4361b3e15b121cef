import { LakeError } from '../../error.ts'

/** Longest key and longest part of a key in UTF-8 bytes: what every store can hold below a prefix. */
export const keyBytesMax = 900
export const keyPartBytesMax = 255

/** First part of keys that no caller may use: a local store keeps its unfinished files there. */
export const scratchPart = '.scratch'

// XML 1.0, which carries S3 listings, has none of these; a lone surrogate has no UTF-8 form. A listing could not name them.
const unnameable = /[\p{Cc}\p{Cs}\ufffe\uffff]/u

/**
 * Throws `internal` when a key could leave the root of a store or cannot be held by every kind of store: keys are made
 * by code, never by records or requests, so a bad one is a mistake in the code.
 */
export function checkKey(key: string): void {
  const parts = key.split('/')
  if (parts.some((part) => part === '' || part === '.' || part === '..'))
    throw badKey(key, 'has an empty, . or .. part')
  checkText(key, parts)
}

/** As checkKey, for a list prefix: it may be empty, and its last part may be empty or the beginning of a name. */
export function checkPrefix(prefix: string): void {
  const parts = prefix.split('/')
  if (parts.slice(0, -1).some((part) => part === '' || part === '.' || part === '..')) {
    throw badKey(prefix, 'has an empty, . or .. part')
  }
  if (parts.at(-1) === '..') throw badKey(prefix, 'ends with ..')
  checkText(prefix, parts)
}

function checkText(key: string, parts: readonly string[]): void {
  if (unnameable.test(key)) throw badKey(key, 'has a character that listings cannot carry')
  if (parts[0] === scratchPart) throw badKey(key, `lies in ${scratchPart}, which belongs to the store`)
  if (Buffer.byteLength(key) > keyBytesMax) throw badKey(key, `is longer than ${keyBytesMax} bytes`)
  if (parts.some((part) => part.length * 3 > keyPartBytesMax && Buffer.byteLength(part) > keyPartBytesMax)) {
    throw badKey(key, `has a part longer than ${keyPartBytesMax} bytes`)
  }
}

function badKey(key: string, why: string): LakeError {
  return new LakeError('internal', `the key ${JSON.stringify(key)} ${why}`, { context: { key } })
}

/** Byte order of the UTF-8 forms, which is the order of code points; `<` on strings is the order of UTF-16 units. */
export function compareKeys(a: string, b: string): number {
  const length = Math.min(a.length, b.length)
  for (let i = 0; i < length; i++) {
    const x = a.charCodeAt(i)
    const y = b.charCodeAt(i)
    if (x !== y) return aboveSurrogates(x) - aboveSurrogates(y)
  }
  return a.length - b.length
}

/** Units of a pair stand for code points above U+FFFF, so they sort after U+E000 to U+FFFF. */
function aboveSurrogates(unit: number): number {
  return unit >= 0xd800 && unit <= 0xdfff ? unit + 0x10000 : unit
}
