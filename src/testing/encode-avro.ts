import type { AvroSchema, IntegerLogical } from '../avro-schema.ts'
import { LakeError } from '../error.ts'

/** A value of a schema as Avro's binary form. Of a union the first branch that fits is taken. Throws `request.invalid`. */
export function avroOf(schema: AvroSchema, value: unknown, at = 'value'): Buffer {
  switch (schema.kind) {
    case 'null':
      return Buffer.alloc(0)
    case 'boolean':
      return Buffer.from([value === true ? 1 : 0])
    case 'int':
    case 'long':
      return zigZag(integerOf(value, schema.logical, at))
    case 'float': {
      const bytes = Buffer.alloc(4)
      bytes.writeFloatLE(Number(value))
      return bytes
    }
    case 'double': {
      const bytes = Buffer.alloc(8)
      bytes.writeDoubleLE(Number(value))
      return bytes
    }
    case 'string':
      return withLength(Buffer.from(String(value)))
    case 'bytes':
      return withLength(
        schema.logical?.kind === 'decimal' ? signed(unscaledOf(value, schema.logical.scale, at)) : bytesOf(value, at),
      )
    case 'fixed':
      if (schema.logical?.kind === 'decimal') return signed(unscaledOf(value, schema.logical.scale, at), schema.size)
      return schema.logical?.kind === 'uuid' && typeof value === 'string'
        ? Buffer.from(value.replaceAll('-', ''), 'hex')
        : bytesOf(value, at)
    case 'enum': {
      const index = schema.symbols.indexOf(String(value))
      if (index < 0) throw wrong(at, `is none of ${schema.symbols.join(', ')}`)
      return zigZag(BigInt(index))
    }
    case 'array': {
      const items = (value as readonly unknown[]).map((item, k) => avroOf(schema.items, item, `${at}[${k}]`))
      return block(items)
    }
    case 'map': {
      const entries = value instanceof Map ? [...value] : Object.entries(value as object)
      return block(
        entries.map(([key, item]: readonly [unknown, unknown]) =>
          Buffer.concat([withLength(Buffer.from(String(key))), avroOf(schema.values, item, `${at}.${String(key)}`)]),
        ),
      )
    }
    case 'union': {
      const index = schema.branches.findIndex((branch) => fits(branch, value))
      if (index < 0) throw wrong(at, 'fits no type of the union')
      return Buffer.concat([zigZag(BigInt(index)), avroOf(schema.branches[index]!, value, at)])
    }
    case 'record': {
      if (typeof value !== 'object' || value === null) throw wrong(at, 'must be an object')
      const row = value as Readonly<Record<string, unknown>>
      return Buffer.concat(
        schema.fields.map(({ name, type }) => {
          const field = row[name]
          if ((field === undefined || field === null) && !fits(type, null)) throw wrong(`${at}.${name}`, 'is missing')
          return avroOf(type, field ?? null, `${at}.${name}`)
        }),
      )
    }
  }
}

function fits(schema: AvroSchema, value: unknown): boolean {
  if (value === null || value === undefined)
    return schema.kind === 'null' || (schema.kind === 'union' && schema.branches.some(({ kind }) => kind === 'null'))
  switch (schema.kind) {
    case 'null':
      return false
    case 'boolean':
      return typeof value === 'boolean'
    case 'int':
    case 'long':
      return (
        typeof value === 'bigint' ||
        (typeof value === 'number' && Number.isInteger(value)) ||
        (schema.logical !== undefined && (value instanceof Date || typeof value === 'string'))
      )
    case 'float':
    case 'double':
      return typeof value === 'number'
    case 'string':
      return typeof value === 'string'
    case 'enum':
      return schema.symbols.includes(value as string)
    case 'bytes':
    case 'fixed':
      return value instanceof Uint8Array || (schema.logical !== undefined && typeof value !== 'object')
    case 'array':
      return Array.isArray(value)
    default:
      return typeof value === 'object' && !Array.isArray(value) && !(value instanceof Date)
  }
}

const PER_SECOND = { ms: 1_000n, us: 1_000_000n, ns: 1_000_000_000n }
const DAY_MS = 86_400_000

function integerOf(value: unknown, logical: IntegerLogical | undefined, at: string): bigint {
  const ms = value instanceof Date ? value.getTime() : typeof value === 'string' ? Date.parse(value) : undefined
  if (logical !== undefined && ms !== undefined) {
    if (Number.isNaN(ms)) throw wrong(at, 'is no time')
    if (logical.kind === 'date') return BigInt(Math.floor(ms / DAY_MS))
    return (BigInt(ms) * PER_SECOND[logical.unit]) / 1_000n
  }
  try {
    return BigInt(value as number)
  } catch {
    throw wrong(at, 'is no whole number')
  }
}

function unscaledOf(value: unknown, scale: number, at: string): bigint {
  const match = /^(-?)(\d+)(?:\.(\d*))?$/.exec(String(value))
  if (match === null || (match[3] ?? '').length > scale) throw wrong(at, `is no decimal of scale ${scale}`)
  const digits = BigInt(match[2]! + (match[3] ?? '').padEnd(scale, '0'))
  return match[1] === '-' ? -digits : digits
}

function bytesOf(value: unknown, at: string): Buffer {
  if (value instanceof Uint8Array) return Buffer.from(value)
  throw wrong(at, 'must be bytes, a Uint8Array')
}

/** Two's complement, big endian, in as few bytes as it takes or in `size`. */
function signed(value: bigint, size?: number): Buffer {
  let length = size ?? 1
  while (size === undefined && BigInt.asIntN(8 * length, value) !== value) length++
  const hex = BigInt.asUintN(8 * length, value).toString(16)
  return Buffer.from(hex.padStart(2 * length, '0'), 'hex')
}

function block(items: readonly Buffer[]): Buffer {
  if (items.length === 0) return Buffer.from([0])
  return Buffer.concat([zigZag(BigInt(items.length)), ...items, Buffer.from([0])])
}

function withLength(bytes: Buffer): Buffer {
  return Buffer.concat([zigZag(BigInt(bytes.length)), bytes])
}

function zigZag(value: bigint): Buffer {
  let rest = BigInt.asUintN(64, (value << 1n) ^ (value >> 63n))
  const bytes: number[] = []
  for (; rest > 127n; rest >>= 7n) bytes.push(Number(rest & 127n) | 128)
  bytes.push(Number(rest))
  return Buffer.from(bytes)
}

function wrong(at: string, what: string): LakeError {
  return new LakeError('request.invalid', `${at} ${what}`, { fix: 'Give the row the fields of its Avro schema.' })
}
