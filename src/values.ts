import accessors from '@duckdb/node-api/lib/vectors/dataAccessors.js'
import {
  DuckDBArrayValue,
  DuckDBBlobValue,
  DuckDBDateValue,
  DuckDBListValue,
  DuckDBMapValue,
  DuckDBStructValue,
  DuckDBTimestampMillisecondsValue,
  DuckDBTimestampNanosecondsValue,
  DuckDBTimestampSecondsValue,
  DuckDBTimestampTZValue,
  DuckDBTimestampValue,
  DuckDBTimeValue,
  DuckDBUnionValue,
  DuckDBVariantValue,
  type DuckDBValue,
} from '@duckdb/node-api'

// The binding drops a leading U+FEFF of every text; the bytes in DuckDB are right. Its decoder can be replaced, and
// whoever prints values takes them from here.
Object.assign(accessors, { textDecoder: new TextDecoder('utf-8', { ignoreBOM: true }) })

/** How the values that JSON or JavaScript cannot hold plainly are written. */
export interface ValueStyle {
  bigint(value: bigint): unknown
  bytes(value: Uint8Array): unknown
  /** NaN and the infinities. */
  notFinite(value: number): unknown
  /** Microseconds since 1970; `text` is the instant as RFC 3339 has it. */
  instant(micros: bigint, text: () => string): unknown
}

/** For text: whatever a JSON number cannot carry exactly is a string. */
export const jsonStyle: ValueStyle = {
  bigint: String,
  bytes: (value) => Buffer.from(value).toString('base64'),
  notFinite: String,
  instant: (_, text) => text(),
}

/** For callers in this process. */
export const nativeStyle: ValueStyle = {
  bigint: (value) => value,
  bytes: (value) => new Uint8Array(value),
  notFinite: (value) => value,
  instant: (micros) => micros,
}

/**
 * A value of DuckDB as plain data: decimals, times, intervals and uuids as text, instants as the style has them, in
 * microseconds (a timestamp without zone is taken as UTC; the infinities are texts), lists as arrays, structs and maps with text keys as objects,
 * other maps as arrays of {key, value}.
 */
export function plainValue(value: DuckDBValue, style: ValueStyle): unknown {
  switch (typeof value) {
    case 'string':
    case 'boolean':
      return value
    case 'number':
      return Number.isFinite(value) ? value : style.notFinite(value)
    case 'bigint':
      return style.bigint(value)
  }
  if (value === null || value === undefined) return null
  if (value instanceof DuckDBTimestampTZValue || value instanceof DuckDBTimestampValue)
    return instant(value.micros, value, style)
  if (value instanceof DuckDBDateValue) return value.isFinite ? dateText(value) : value.toString()
  if (value instanceof DuckDBTimeValue) return timeText(value.micros)
  if (value instanceof DuckDBBlobValue) return style.bytes(value.bytes)
  if (value instanceof DuckDBListValue || value instanceof DuckDBArrayValue)
    return value.items.map((item) => plainValue(item, style))
  if (value instanceof DuckDBStructValue)
    return objectOf(Object.entries(value.entries).map(([key, item]) => [key, plainValue(item, style)]))
  if (value instanceof DuckDBMapValue) return plainMap(value, style)
  if (value instanceof DuckDBUnionValue || value instanceof DuckDBVariantValue) return plainValue(value.value, style)
  if (value instanceof DuckDBTimestampMillisecondsValue) return instant(value.millis * 1_000n, value, style)
  if (value instanceof DuckDBTimestampSecondsValue) return instant(value.seconds * 1_000_000n, value, style)
  if (value instanceof DuckDBTimestampNanosecondsValue)
    return value.isFinite ? style.instant(floorDivide(value.nanos, 1_000n), () => nanosText(value)) : value.toString()
  return value.toString()
}

function plainMap(map: DuckDBMapValue, style: ValueStyle): unknown {
  if (map.entries.every(({ key }) => typeof key === 'string'))
    return objectOf(map.entries.map(({ key, value }) => [key as string, plainValue(value, style)]))
  return map.entries.map(({ key, value }) => ({ key: plainValue(key, style), value: plainValue(value, style) }))
}

/** Own properties whatever their names: `__proto__` is a column name like any other. */
function objectOf(entries: readonly (readonly [string, unknown])[]): object {
  return Object.fromEntries(entries)
}

const DATE_MS_MAX = 8_640_000_000_000_000n

function instant(
  micros: bigint,
  value: { readonly isFinite: boolean; toString(): string },
  style: ValueStyle,
): unknown {
  return value.isFinite ? style.instant(micros, () => instantText(micros, true, value)) : value.toString()
}

function instantText(micros: bigint, isFinite: boolean, value: { toString(): string }): string {
  const inMs = floorDivide(micros, 1_000n)
  // Beyond what Date knows (some years of the far end of the range) DuckDB's own text stands.
  if (!isFinite || inMs > DATE_MS_MAX || inMs < -DATE_MS_MAX) return value.toString()
  const below = String(micros - inMs * 1_000n).padStart(3, '0')
  return new Date(Number(inMs)).toISOString().replace('Z', `${below}Z`)
}

function nanosText(value: DuckDBTimestampNanosecondsValue): string {
  if (!value.isFinite) return value.toString()
  const micros = floorDivide(value.nanos, 1_000n)
  const below = String(value.nanos - micros * 1_000n).padStart(3, '0')
  return instantText(micros, true, value).replace('Z', `${below}Z`)
}

function dateText(value: DuckDBDateValue): string {
  const inMs = value.days * 86_400_000
  return Math.abs(inMs) > Number(DATE_MS_MAX) ? value.toString() : new Date(inMs).toISOString().split('T')[0]!
}

function timeText(micros: bigint): string {
  const seconds = micros / 1_000_000n
  const below = String(micros % 1_000_000n).padStart(6, '0')
  return `${two(seconds / 3_600n)}:${two((seconds / 60n) % 60n)}:${two(seconds % 60n)}.${below}`
}

function two(part: bigint): string {
  return String(part).padStart(2, '0')
}

function floorDivide(value: bigint, by: bigint): bigint {
  const quotient = value / by
  return value < 0n && quotient * by !== value ? quotient - 1n : quotient
}
