import { createHash } from 'node:crypto'

/**
 * The values that Debezium writes in the place of a large value that an update left as it was: one text, in the form
 * that the column's type asks for.
 */
const TEXT = Buffer.from('__debezium_unavailable_value')

const TEXTS: readonly Uint8Array[] = [
  TEXT,
  ...(['base64', 'base64url', 'hex'] as const).map((encoding) => Buffer.from(TEXT.toString(encoding))),
  Buffer.from(TEXT.toString('hex').toUpperCase()),
  Buffer.from(uuidOf(TEXT)),
]
const LIST = Buffer.from(`[${[...TEXT].join(',')}]`)
const MAP = Buffer.from(`{"${TEXT.toString()}":"${TEXT.toString()}"}`)

const LENGTHS: ReadonlySet<number> = new Set(TEXTS.map((text) => text.length))
const FIRST: ReadonlySet<number> = new Set(TEXTS.map((text) => text[0]!))

/** Whether the bytes of a string, unescaped, stand for a value. */
export function isUnavailableText(bytes: Uint8Array, start: number, end: number): boolean {
  if (!LENGTHS.has(end - start) || !FIRST.has(bytes[start]!)) return false
  return TEXTS.some((text) => text.length === end - start && startsWith(bytes, start, text))
}

/** Length of the list of numbers at this place that stands for a list; 0 when it is another. */
export function isUnavailableList(bytes: Uint8Array, at: number): number {
  return startsWith(bytes, at, LIST) ? LIST.length : 0
}

/** The same of a map. */
export function isUnavailableMap(bytes: Uint8Array, at: number): number {
  return startsWith(bytes, at, MAP) ? MAP.length : 0
}

function startsWith(bytes: Uint8Array, at: number, text: Uint8Array): boolean {
  for (let k = 0; k < text.length; k++) if (bytes[at + k] !== text[k]) return false
  return true
}

/** Java's `UUID.nameUUIDFromBytes`. */
function uuidOf(name: Uint8Array): string {
  const hash = createHash('md5').update(name).digest()
  hash[6] = (hash[6]! & 0x0f) | 0x30
  hash[8] = (hash[8]! & 0x3f) | 0x80
  return hash.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5')
}
