import { isUtf8 } from 'node:buffer'
import type { ColumnType } from '../../batch.ts'
import { parseDate } from './text.ts'
import { fewestBytes } from './transform.ts'

/**
 * Iceberg's single-value bytes (specification, appendix D) from the statistics that COPY returns as text. Undefined
 * when the text is not understood: no bound is better than a wrong one.
 */
export function boundOf(type: ColumnType, text: Uint8Array, side: 'lower' | 'upper'): Uint8Array | undefined {
  const plain = Buffer.from(text.buffer, text.byteOffset, text.length).toString('latin1')
  switch (type.kind) {
    case 'boolean':
      return plain === '1' || plain === 'true'
        ? Buffer.of(1)
        : plain === '0' || plain === 'false'
          ? Buffer.of(0)
          : undefined
    case 'int':
      return INTEGER.test(plain) ? int32(Number(plain)) : undefined
    case 'long':
      return INTEGER.test(plain) ? int64(BigInt(plain)) : undefined
    case 'float':
    case 'double':
      return floating(type.kind, plain, side)
    case 'decimal':
      return decimal(plain, type.scale)
    case 'string':
    case 'enum':
      return stringBound(text, side)
    case 'binary':
      return /^(?:[0-9A-F]{2})*$/.test(plain) ? binaryBound(Buffer.from(plain, 'hex'), side) : undefined
    case 'uuid':
      return UUID.test(plain) ? Buffer.from(plain.replaceAll('-', ''), 'hex') : undefined
    case 'date': {
      const days = daysOf(plain)
      return days === undefined ? undefined : int32(days)
    }
    case 'timestamp':
    case 'timestamptz': {
      const micros = microsOf(plain)
      return micros === undefined ? undefined : int64(micros)
    }
    default:
      return undefined
  }
}

/** At most 16 code points; a longer upper bound is raised at its last code point that can be. */
export function stringBound(bytes: Uint8Array, side: 'lower' | 'upper'): Uint8Array | undefined {
  if (!isUtf8(bytes)) return undefined
  let end = 0
  for (let points = 0; end < bytes.length && points < 16; points++) end += lengthOf(bytes[end]!)
  if (end >= bytes.length || side === 'lower') return bytes.slice(0, end)
  const points = Array.from(Buffer.from(bytes.subarray(0, end)).toString(), (c) => c.codePointAt(0)!)
  // A leading byte order mark would be dropped by toString of a stream decoder, not by Buffer's.
  while (points.length > 0) {
    const last = points.pop()!
    if (last === 0x10ffff) continue
    points.push(last === 0xd7ff ? 0xe000 : last + 1)
    return Buffer.from(String.fromCodePoint(...points))
  }
  return undefined
}

/** At most 16 bytes; a longer upper bound is raised at its last byte that can be. */
export function binaryBound(bytes: Uint8Array, side: 'lower' | 'upper'): Uint8Array | undefined {
  const cut = bytes.slice(0, 16)
  if (bytes.length <= 16 || side === 'lower') return cut
  for (let k = 15; k >= 0; k--) {
    if (cut[k] === 255) continue
    cut[k]!++
    return cut.slice(0, k + 1)
  }
  return undefined
}

const INTEGER = /^-?\d+$/
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/
const DATE = /^(\d{4,})-(\d\d-\d\d)( \(BC\))?$/
const TIMESTAMP = /^(.*) (\d\d):(\d\d):(\d\d)(?:\.(\d{1,6}))?(?:\+00)?$/

function int32(value: number): Uint8Array {
  const bytes = Buffer.alloc(4)
  bytes.writeInt32LE(value)
  return bytes
}

function int64(value: bigint): Uint8Array {
  const bytes = Buffer.alloc(8)
  bytes.writeBigInt64LE(value)
  return bytes
}

/** A zero bound has the sign that takes in both zeros. */
function floating(kind: 'float' | 'double', text: string, side: 'lower' | 'upper'): Uint8Array | undefined {
  const parsed = text === 'inf' ? Infinity : text === '-inf' ? -Infinity : text === '' ? Number.NaN : Number(text)
  if (Number.isNaN(parsed)) return undefined
  const value = parsed === 0 ? (side === 'lower' ? -0 : 0) : parsed
  const bytes = Buffer.alloc(kind === 'float' ? 4 : 8)
  if (kind === 'float') bytes.writeFloatLE(value)
  else bytes.writeDoubleLE(value)
  return bytes
}

function decimal(text: string, scale: number): Uint8Array | undefined {
  const match = /^(-?)(\d*)(?:\.(\d*))?$/.exec(text)
  if (match === null) return undefined
  const [, sign, whole = '', fraction = ''] = match
  if (fraction.length > scale || whole + fraction === '') return undefined
  const unscaled = BigInt(whole + fraction.padEnd(scale, '0'))
  return fewestBytes(sign === '-' ? -unscaled : unscaled)
}

function daysOf(text: string): number | undefined {
  const match = DATE.exec(text)
  if (match === null) return undefined
  const year = match[3] === undefined ? Number(match[1]) : 1 - Number(match[1])
  // The calendar repeats every 400 years, which have 146,097 days.
  const cycles = Math.floor(year / 400)
  const inCycle = `${String(year - cycles * 400).padStart(4, '0')}-${match[2]}`
  const days = parseDate(Buffer.from(inCycle), 0, 10) + cycles * 146_097
  return Number.isNaN(days) ? undefined : days
}

function microsOf(text: string): bigint | undefined {
  const match = TIMESTAMP.exec(text)
  const days = match === null ? undefined : daysOf(match[1]!)
  if (match === null || days === undefined) return undefined
  const seconds = days * 86_400 + Number(match[2]) * 3_600 + Number(match[3]) * 60 + Number(match[4])
  return BigInt(seconds) * 1_000_000n + BigInt((match[5] ?? '').padEnd(6, '0'))
}

function lengthOf(lead: number): number {
  return lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4
}
