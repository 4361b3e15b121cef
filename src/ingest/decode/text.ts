/** Text forms of dates, instants, UUIDs and base64, read from bytes. Everything that does not fit is refused. */

const DAYS_BEFORE_MONTH = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334] as const
const DAYS_IN_MONTH = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] as const
/** Days from 0000-01-01 of the proleptic Gregorian calendar to 1970-01-01. */
const EPOCH_DAYS = 719_528

/** Days since 1970 of `YYYY-MM-DD` (RFC 3339 full-date), NaN when it is none. */
export function parseDate(bytes: Uint8Array, start: number, end: number): number {
  if (end - start !== 10 || bytes[start + 4] !== 45 || bytes[start + 7] !== 45) return Number.NaN
  const year = two(bytes, start) * 100 + two(bytes, start + 2)
  const month = two(bytes, start + 5)
  const day = two(bytes, start + 8)
  if (!(year >= 0 && month >= 1 && month <= 12 && day >= 1)) return Number.NaN
  const isLeap = (year % 4 === 0 && year % 100 !== 0) || year % 400 === 0
  const daysInMonth = month === 2 && isLeap ? 29 : DAYS_IN_MONTH[month - 1]!
  if (day > daysInMonth) return Number.NaN
  // Days before the year, counted from year 0, which is a leap year.
  const before =
    year === 0
      ? 0
      : year * 365 + Math.floor((year - 1) / 4) - Math.floor((year - 1) / 100) + Math.floor((year - 1) / 400) + 1
  return before + DAYS_BEFORE_MONTH[month - 1]! + (month > 2 && isLeap ? 1 : 0) + day - 1 - EPOCH_DAYS
}

export interface Instant {
  /** Whole seconds since 1970, rounded toward −∞. */
  seconds: number
  /** 0 to 999,999; finer digits are dropped, which is rounding toward −∞. */
  micros: number
}

/**
 * RFC 3339 date-time, also with a blank for the T. Without a zone only when `zone` is 'optional': then it is taken as it
 * stands. No leap seconds. Writes into `out` and says whether the text fits.
 */
export function parseInstant(
  bytes: Uint8Array,
  start: number,
  end: number,
  zone: 'required' | 'optional',
  out: Instant,
): boolean {
  if (end - start < 19) return false
  const days = parseDate(bytes, start, start + 10)
  const separator = bytes[start + 10]!
  if (separator !== 84 && separator !== 116 && separator !== 32) return false
  if (bytes[start + 13] !== 58 || bytes[start + 16] !== 58) return false
  const hour = two(bytes, start + 11)
  const minute = two(bytes, start + 14)
  const second = two(bytes, start + 17)
  if (!(hour <= 23 && minute <= 59 && second <= 59) || Number.isNaN(days)) return false
  let at = start + 19
  let micros = 0
  if (at < end && bytes[at] === 46) {
    let unit = 100_000
    const first = ++at
    for (; at < end; at++) {
      const digit = bytes[at]! - 48
      if (digit < 0 || digit > 9) break
      micros += digit * unit
      unit = unit === 1 ? 0 : unit / 10
    }
    if (at === first) return false
  }
  const offset = zoneSeconds(bytes, at, end, zone)
  if (Number.isNaN(offset)) return false
  out.seconds = days * 86_400 + hour * 3_600 + minute * 60 + second - offset
  out.micros = micros
  return true
}

/** Writes 16 bytes as DuckDB keeps a UUID (a 128-bit integer, little endian, its highest bit flipped). */
export function parseUuid(bytes: Uint8Array, start: number, end: number, to: Uint8Array, at: number): boolean {
  if (end - start !== 36) return false
  let from = start
  for (let k = 15; k >= 0; k--) {
    if (k === 11 || k === 9 || k === 7 || k === 5) if (bytes[from++] !== 45) return false
    const value = (HEX[bytes[from]!]! << 4) | HEX[bytes[from + 1]!]!
    if (value > 255) return false
    to[at + k] = value
    from += 2
  }
  to[at + 15]! ^= 0x80
  return true
}

/** Decodes RFC 4648 base64 (standard alphabet, padded, canonical) into `to`; gives the length, or −1. */
export function parseBase64(bytes: Uint8Array, start: number, end: number, to: Uint8Array, at: number): number {
  const length = end - start
  if (length % 4 !== 0) return -1
  if (length === 0) return 0
  const padding = bytes[end - 1] !== 61 ? 0 : bytes[end - 2] !== 61 ? 1 : 2
  let out = at
  for (let from = start; from < end; from += 4) {
    const isLast = from + 4 === end
    const c = isLast && padding === 2 ? 0 : BASE64[bytes[from + 2]!]!
    const d = isLast && padding > 0 ? 0 : BASE64[bytes[from + 3]!]!
    const a = BASE64[bytes[from]!]!
    const b = BASE64[bytes[from + 1]!]!
    if ((a | b | c | d) > 63) return -1
    const word = (a << 18) | (b << 12) | (c << 6) | d
    if (isLast && padding > 0 && (word & (padding === 2 ? 0xffff : 0xff)) !== 0) return -1
    to[out++] = word >> 16
    if (!isLast || padding < 2) to[out++] = word >> 8
    if (!isLast || padding < 1) to[out++] = word
  }
  return out - at
}

const HEX = table('0123456789abcdef', 4096)
for (const [letter, value] of [...'ABCDEF'].map((c, i) => [c.charCodeAt(0), 10 + i] as const)) HEX[letter] = value
const BASE64 = table('ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/', 64)

function table(alphabet: string, none: number): Int32Array {
  const values = new Int32Array(256).fill(none)
  for (let k = 0; k < alphabet.length; k++) values[alphabet.charCodeAt(k)] = k
  return values
}

/** Two digits, NaN when they are none. */
function two(bytes: Uint8Array, at: number): number {
  const high = bytes[at]! - 48
  const low = bytes[at + 1]! - 48
  return high >= 0 && high <= 9 && low >= 0 && low <= 9 ? high * 10 + low : Number.NaN
}

function zoneSeconds(bytes: Uint8Array, at: number, end: number, zone: 'required' | 'optional'): number {
  if (at === end) return zone === 'optional' ? 0 : Number.NaN
  const sign = bytes[at]!
  if (sign === 90 || sign === 122) return at + 1 === end ? 0 : Number.NaN
  if ((sign !== 43 && sign !== 45) || at + 6 !== end || bytes[at + 3] !== 58) return Number.NaN
  const hour = two(bytes, at + 1)
  const minute = two(bytes, at + 4)
  if (!(hour <= 23 && minute <= 59)) return Number.NaN
  return (sign === 43 ? 1 : -1) * (hour * 3_600 + minute * 60)
}
