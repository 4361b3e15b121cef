import type { IcebergType, PartitionValue } from '../lake/table.ts'
import type { Constant } from './messages.ts'

// Constants of SQL as values of a column, for comparing them with what manifests say of its files. DuckDB casts one side
// or the other before it compares; only pairs of types are known here for which that changes no order.

export type Value = Exclude<PartitionValue, null>

/** A constant lies between the two, ends included. Of most types they are the same. */
export interface Range {
  readonly low: Value
  readonly high: Value
}

/** Undefined when it is not certain how DuckDB compares the constant with a column of this type. */
export function rangeOf(type: IcebergType, constant: Constant): Range | undefined {
  switch (type) {
    case 'int':
    case 'long':
      return wholeRange(decimalOf(constant), 0)
    case 'float':
    case 'double':
      return floatRange(constant, type === 'float' ? FLOAT_SLACK : DOUBLE_SLACK)
    case 'boolean':
      return constant.kind === 'boolean' ? exactly(constant.value) : undefined
    case 'string':
      return constant.kind === 'text' && (constant.as ?? 'VARCHAR') === 'VARCHAR' ? exactly(constant.text) : undefined
    case 'binary':
      return constant.kind === 'bytes' ? exactly(constant.value) : undefined
    case 'date':
      return dateRange(constant)
    case 'timestamp':
    case 'timestamptz':
      return instantRange(constant)
  }
  const scale = scaleOf(type)
  return scale === undefined ? undefined : wholeRange(decimalOf(constant), scale)
}

/** The value of a bound in Iceberg's binary form, of the types that `rangeOf` knows. */
export function boundValue(type: IcebergType, bytes: Uint8Array): Value | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  switch (type) {
    case 'boolean':
      return bytes[0] === 1
    case 'int':
      return BigInt(view.getInt32(0, true))
    case 'date':
      return view.getInt32(0, true)
    case 'long':
      // A bound from before the column was widened has four bytes.
      return bytes.length === 4 ? BigInt(view.getInt32(0, true)) : view.getBigInt64(0, true)
    case 'timestamp':
    case 'timestamptz':
      return view.getBigInt64(0, true)
    case 'float':
      return view.getFloat32(0, true)
    case 'double':
      return bytes.length === 4 ? view.getFloat32(0, true) : view.getFloat64(0, true)
    case 'string':
      return Buffer.from(bytes).toString('utf8')
    case 'binary':
      return bytes
  }
  return scaleOf(type) === undefined ? undefined : bigEndian(bytes)
}

function bigEndian(bytes: Uint8Array): bigint {
  const whole = bytes.reduce((sum, byte) => (sum << 8n) | BigInt(byte), 0n)
  return BigInt.asIntN(8 * bytes.length, whole)
}

function scaleOf(type: IcebergType): number | undefined {
  const match = typeof type === 'string' ? /^decimal\(\s*\d+\s*,\s*(\d+)\s*\)$/.exec(type) : null
  return match === null ? undefined : Number(match[1])
}

function exactly(value: Value): Range {
  return { low: value, high: value }
}

interface Decimal {
  readonly unscaled: bigint
  readonly scale: number
  /** A text is rounded to the column's digits before it is compared. */
  readonly isText: boolean
}

const DIGITS_MAX = 38

function decimalOf(constant: Constant): Decimal | undefined {
  if (constant.kind === 'number') return { ...constant, isText: false }
  if (constant.kind !== 'text' || constant.as !== undefined) return undefined
  const [, whole, fraction = ''] = /^(-?\d+)(?:\.(\d+))?$/.exec(constant.text) ?? []
  if (whole === undefined || whole.length + fraction.length > DIGITS_MAX) return undefined
  return { unscaled: BigInt(whole + fraction), scale: fraction.length, isText: true }
}

/** Between which two whole multiples of the column's last digit the number lies. */
function wholeRange(decimal: Decimal | undefined, scale: number): Range | undefined {
  if (decimal === undefined) return undefined
  const { unscaled, scale: own, isText } = decimal
  if (own <= scale) return exactly(unscaled * 10n ** BigInt(scale - own))
  if (isText) return undefined
  const unit = 10n ** BigInt(own - scale)
  const rest = ((unscaled % unit) + unit) % unit
  const low = (unscaled - rest) / unit
  return { low, high: rest === 0n ? low : low + 1n }
}

/** More than DuckDB may round a constant by on its way to a float. */
const FLOAT_SLACK = 1e-6
const DOUBLE_SLACK = 1e-14

function floatRange(constant: Constant, slack: number): Range | undefined {
  const decimal = constant.kind === 'number' ? constant : undefined
  const value =
    decimal !== undefined
      ? Number(decimal.unscaled) / 10 ** decimal.scale
      : constant.kind === 'double'
        ? constant.value
        : Number.NaN
  if (!Number.isFinite(value)) return undefined
  const around = Math.abs(value) * slack + (slack === FLOAT_SLACK ? 1e-40 : 1e-300)
  return { low: value - around, high: value + around }
}

const DATE = /^(\d{4})-(\d\d)-(\d\d)$/
const INSTANT = /^(\d{4}-\d\d-\d\d)(?:[ T](\d\d):(\d\d):(\d\d)(?:\.(\d{1,6}))?(Z|[+-]\d\d:\d\d)?)?$/
const US_PER_DAY = 86_400_000_000n

function dateRange(constant: Constant): Range | undefined {
  if (constant.kind !== 'text' || (constant.as ?? 'DATE') !== 'DATE') return undefined
  const days = daysOf(constant.text)
  return days === undefined ? undefined : exactly(days)
}

function daysOf(text: string): number | undefined {
  const [, year, month, day] = DATE.exec(text) ?? []
  if (year === undefined || year === '0000') return undefined
  const inMs = Date.UTC(Number(year), Number(month) - 1, Number(day))
  // Date.UTC takes years below 100 for those of the last century, and the 30th of February for one of March.
  return new Date(inMs).toISOString().slice(0, 10) === text ? inMs / 86_400_000 : undefined
}

const INSTANT_TYPES = [undefined, 'DATE', 'TIMESTAMP', 'TIMESTAMP WITH TIME ZONE']

/** A text without a zone is in UTC, which is the zone of every query. */
function instantRange(constant: Constant): Range | undefined {
  if (constant.kind === 'instant') return exactly(constant.us)
  if (constant.kind !== 'text' || !INSTANT_TYPES.includes(constant.as)) return undefined
  const [, date, hour, minute, second, fraction = '', zone] = INSTANT.exec(constant.text) ?? []
  const days = date === undefined ? undefined : daysOf(date)
  if (days === undefined || (constant.as === 'DATE' && hour !== undefined)) return undefined
  const midnight = BigInt(days) * US_PER_DAY
  if (hour === undefined) return exactly(midnight)
  if (Number(hour) > 23 || Number(minute) > 59 || Number(second) > 59) return undefined
  // A timestamp without a zone drops what is said of one, or takes it in: that is not for us to know.
  if (zone !== undefined && zone !== 'Z' && constant.as !== 'TIMESTAMP WITH TIME ZONE') return undefined
  const inUs = BigInt((Number(hour) * 60 + Number(minute)) * 60 + Number(second)) * 1_000_000n
  return exactly(midnight + inUs + BigInt(fraction.padEnd(6, '0')) - zoneUs(zone))
}

function zoneUs(zone: string | undefined): bigint {
  if (zone === undefined || zone === 'Z') return 0n
  const minutes = Number(zone.slice(1, 3)) * 60 + Number(zone.slice(4))
  return BigInt(zone.startsWith('-') ? -minutes : minutes) * 60_000_000n
}
