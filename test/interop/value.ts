import { compareValues, type IcebergType, type PartitionValue } from '../../src/lake/table.ts'

/**
 * A cell as a test writes it: primitives in the forms of `PartitionValue`, a list as an array, a map as its pairs, a
 * struct as an object.
 */
export type Value =
  | PartitionValue
  | readonly Value[]
  | readonly (readonly [string, Value])[]
  | { readonly [field: string]: Value }

export type Row = Readonly<Record<string, Value>>

/** A cell as every reader prints it: JSON in which no type of any engine is left. */
export type Canonical =
  | null
  | boolean
  | number
  | string
  | readonly Canonical[]
  | { readonly [field: string]: Canonical }

const US_PER_DAY = 86_400_000_000n

/**
 * int and boolean plain; long as text; float and double as the hex of their bits, or NaN; decimal with its scale; binary
 * as x and hex; dates and times as in ISO 8601 with six digits; uuid in lower case; a map as pairs in the order of keys.
 */
export function canonical(type: IcebergType, value: Value): Canonical {
  if (value === null || value === undefined) return null
  if (typeof type !== 'string') return canonicalNested(type, value)
  if (type.startsWith('decimal')) return decimalText(type, value as bigint)
  switch (type) {
    case 'boolean':
    case 'int':
      return value as boolean | number
    case 'long':
      return String(value)
    case 'float':
    case 'double':
      return floatText(type, value as number)
    case 'date':
      return dateText(BigInt(value as number))
    case 'timestamp':
      return timestampText(value as bigint)
    case 'timestamptz':
      return `${timestampText(value as bigint)}+00:00`
    case 'uuid':
      return uuidText(value as Uint8Array)
    case 'binary':
      return `x${Buffer.from(value as Uint8Array).toString('hex')}`
    default:
      return value as string
  }
}

function canonicalNested(type: Exclude<IcebergType, string>, value: Value): Canonical {
  if (type.type === 'list') return (value as readonly Value[]).map((item) => canonical(type.element, item))
  if (type.type === 'map')
    return (value as readonly (readonly [string, Value])[])
      .toSorted(([a], [b]) => compareValues(a, b))
      .map(([key, item]) => [key, canonical(type.value, item)])
  const struct = value as { readonly [field: string]: Value }
  return Object.fromEntries(type.fields.map((field) => [field.name, canonical(field.type, struct[field.name]!)]))
}

/** A cell as JSON text of a record, from which the decoder makes exactly this value. NaN and infinities have none. */
export function jsonText(type: IcebergType, value: Value): string {
  if (value === null || value === undefined) return 'null'
  if (typeof type !== 'string') return jsonNested(type, value)
  switch (type) {
    case 'boolean':
    case 'int':
    case 'long':
    case 'float':
    case 'double':
      return String(value as boolean | number | bigint)
    case 'binary':
      return JSON.stringify(Buffer.from(value as Uint8Array).toString('base64'))
    case 'timestamptz':
      return `"${timestampText(value as bigint)}Z"`
    default:
      return JSON.stringify(canonical(type, value))
  }
}

function jsonNested(type: Exclude<IcebergType, string>, value: Value): string {
  if (type.type === 'list')
    return `[${(value as readonly Value[]).map((item) => jsonText(type.element, item)).join(',')}]`
  const pairs: readonly (readonly [string, IcebergType, Value])[] =
    type.type === 'map'
      ? (value as readonly (readonly [string, Value])[]).map(([key, item]) => [key, type.value, item])
      : type.fields.map(({ name, type: inner }) => [name, inner, (value as Row)[name]!])
  return `{${pairs.map(([key, inner, item]) => `${JSON.stringify(key)}:${jsonText(inner, item)}`).join(',')}}`
}

/** A DuckDB expression of exactly this value and type. */
export function sqlLiteral(type: IcebergType, value: Value): string {
  const sql = sqlType(type)
  if (value === null || value === undefined) return `NULL::${sql}`
  if (typeof type !== 'string') return `${sqlNested(type, value)}::${sql}`
  switch (type) {
    case 'string':
      return `decode(${blob(Buffer.from(value as string))})`
    case 'binary':
      return blob(Buffer.from(value as Uint8Array))
    case 'date':
      return `(DATE '1970-01-01' + INTERVAL (${value as number}) DAY)::DATE`
    case 'timestamp':
      return `make_timestamp(${value as bigint})`
    case 'timestamptz':
      return `make_timestamptz(${value as bigint})`
    case 'float':
    case 'double':
      return `'${String(value as number)}'::${sql}`
    default:
      return `'${String(canonical(type, value))}'::${sql}`
  }
}

function sqlNested(type: Exclude<IcebergType, string>, value: Value): string {
  if (type.type === 'list')
    return `[${(value as readonly Value[]).map((item) => sqlLiteral(type.element, item)).join(',')}]`
  if (type.type === 'map') {
    const pairs = value as readonly (readonly [string, Value])[]
    const keys = pairs.map(([key]) => sqlLiteral('string', key)).join(',')
    return `MAP([${keys}]::VARCHAR[], [${pairs.map(([, item]) => sqlLiteral(type.value, item)).join(',')}]::${sqlType(type.value)}[])`
  }
  const struct = value as { readonly [field: string]: Value }
  return `{${type.fields.map(({ name, type: inner }) => `'${name}': ${sqlLiteral(inner, struct[name]!)}`).join(',')}}`
}

export function sqlType(type: IcebergType): string {
  if (typeof type === 'string') return SQL_TYPES[type] ?? type
  switch (type.type) {
    case 'list':
      return `${sqlType(type.element)}[]`
    case 'map':
      return `MAP(VARCHAR, ${sqlType(type.value)})`
    case 'struct':
      return `STRUCT(${type.fields.map((field) => `"${field.name}" ${sqlType(field.type)}`).join(', ')})`
  }
}

const SQL_TYPES: Readonly<Record<string, string>> = {
  boolean: 'BOOLEAN',
  int: 'INTEGER',
  long: 'BIGINT',
  float: 'FLOAT',
  double: 'DOUBLE',
  string: 'VARCHAR',
  binary: 'BLOB',
  date: 'DATE',
  uuid: 'UUID',
  timestamp: 'TIMESTAMP',
  timestamptz: 'TIMESTAMPTZ',
}

function blob(bytes: Buffer): string {
  return `'${Array.from(bytes, (byte) => `\\x${byte.toString(16).padStart(2, '0')}`).join('')}'::BLOB`
}

function floatText(type: 'float' | 'double', value: number): string {
  if (Number.isNaN(value)) return 'NaN'
  const bytes = Buffer.alloc(type === 'float' ? 4 : 8)
  if (type === 'float') bytes.writeFloatBE(value)
  else bytes.writeDoubleBE(value)
  return `0x${bytes.toString('hex')}`
}

function decimalText(type: string, unscaled: bigint): string {
  const scale = Number(/(\d+)\)$/.exec(type)![1])
  const digits = String(unscaled < 0n ? -unscaled : unscaled).padStart(scale + 1, '0')
  const whole = digits.slice(0, digits.length - scale)
  return `${unscaled < 0n ? '-' : ''}${whole}${scale === 0 ? '' : `.${digits.slice(-scale)}`}`
}

function dateText(days: bigint): string {
  return new Date(Number(days) * 86_400_000).toISOString().slice(0, 10)
}

function timestampText(us: bigint): string {
  const inDay = ((us % US_PER_DAY) + US_PER_DAY) % US_PER_DAY
  const time = new Date(Number(inDay / 1_000n)).toISOString().slice(11, 23)
  return `${dateText((us - inDay) / US_PER_DAY)}T${time}${String(inDay % 1_000n).padStart(3, '0')}`
}

function uuidText(bytes: Uint8Array): string {
  return Buffer.from(bytes)
    .toString('hex')
    .replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-')
}
