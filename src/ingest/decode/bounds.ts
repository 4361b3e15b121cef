import { isUtf8 } from 'node:buffer'
import { lowerBound, singleValue, upperBound, type IcebergType } from '../../lake/table.ts'
import { parseDate } from './text.ts'

/**
 * A column's bound from the statistics that COPY returns as text: Iceberg's single-value bytes, cut and rounded.
 * Undefined when the text is not understood: no bound is better than a wrong one.
 */
export function boundOf(type: IcebergType, text: Uint8Array, side: 'lower' | 'upper'): Uint8Array | undefined {
  const exact = exactBytes(type, text)
  if (exact === undefined) return undefined
  return side === 'lower' ? lowerBound(type, exact) : upperBound(type, exact)
}

const INTEGER = /^-?\d+$/
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/
const DATE = /^(\d{4,})-(\d\d-\d\d)( \(BC\))?$/
const TIMESTAMP = /^(.*) (\d\d):(\d\d):(\d\d)(?:\.(\d{1,6}))?(?:\+00)?$/

function exactBytes(type: IcebergType, text: Uint8Array): Uint8Array | undefined {
  // COPY cuts long texts; a cut that left half a character is no text.
  if (type === 'string') return isUtf8(text) ? text : undefined
  const plain = Buffer.from(text.buffer, text.byteOffset, text.length).toString('latin1')
  switch (type) {
    case 'boolean':
      return plain === '1' || plain === '0' ? singleValue(type, plain === '1') : undefined
    case 'int':
      return INTEGER.test(plain) ? singleValue(type, Number(plain)) : undefined
    case 'long':
      return INTEGER.test(plain) ? singleValue(type, BigInt(plain)) : undefined
    case 'float':
    case 'double': {
      const value = plain === '' ? Number.NaN : Number(plain)
      return Number.isFinite(value) ? singleValue(type, value) : undefined
    }
    case 'binary':
      return /^(?:[0-9A-F]{2})*$/.test(plain) ? Buffer.from(plain, 'hex') : undefined
    case 'uuid':
      return UUID.test(plain) ? Buffer.from(plain.replaceAll('-', ''), 'hex') : undefined
    case 'date': {
      const days = daysOf(plain)
      return days === undefined ? undefined : singleValue(type, days)
    }
    case 'timestamp':
    case 'timestamptz': {
      const micros = microsOf(plain)
      return micros === undefined ? undefined : singleValue(type, micros)
    }
    default: {
      const unscaled = typeof type === 'string' ? unscaledOf(type, plain) : undefined
      return unscaled === undefined ? undefined : singleValue(type, unscaled)
    }
  }
}

function unscaledOf(type: string, text: string): bigint | undefined {
  const scale = Number(/^decimal\(\d+, ?(\d+)\)$/.exec(type)?.[1] ?? Number.NaN)
  const match = /^(-?)(\d*)(?:\.(\d*))?$/.exec(text)
  if (match === null || Number.isNaN(scale)) return undefined
  const [, sign, whole = '', fraction = ''] = match
  if (fraction.length > scale || whole + fraction === '') return undefined
  const unscaled = BigInt(whole + fraction.padEnd(scale, '0'))
  return sign === '-' ? -unscaled : unscaled
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
