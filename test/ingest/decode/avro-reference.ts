import type { Column, ColumnType } from '../../../src/batch.ts'
import type { Json } from './avro-arbitrary.ts'
import type { Plain } from './reference.ts'

/** A value as avsc gives it, in a column of the type that the schema has by itself: slow and plain. */
export function plainAvro(value: unknown, schema: Json, type: ColumnType): Plain {
  if (Array.isArray(schema)) {
    if (value === null) return null
    const branch = schema.find((each) => each !== 'null') as Json
    return plainAvro(Object.values(value as object)[0], branch, type)
  }
  const given = (typeof schema === 'string' ? { type: schema } : schema) as Readonly<Record<string, any>>
  switch (type.kind) {
    case 'struct':
      return type.fields.map((field) => fieldPlain(value, given, field))
    case 'list':
      return (value as unknown[]).map((item) => plainAvro(item, given['items'], type.element))
    case 'map':
      return Object.entries(value as object).map(([key, item]) => [key, plainAvro(item, given['values'], type.value)])
    case 'decimal':
      return String(unscaledOf(value as Buffer))
    case 'binary':
      return Buffer.from(value as Buffer).toString('hex')
    case 'uuid': {
      if (typeof value === 'string') return value.toLowerCase()
      const hex = Buffer.from(value as Buffer).toString('hex')
      return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-')
    }
    case 'timestamp':
    case 'timestamptz':
      return String(microsOf(value as bigint, given['logicalType']))
    case 'float':
    case 'double':
      return String(value as number)
    default:
      return String(value)
  }
}

export function fieldPlain(value: unknown, schema: Readonly<Record<string, any>>, { name, type }: Column): Plain {
  const field = schema['fields'].find((each: any) => each.name === name)
  return plainAvro((value as Record<string, unknown>)[name], field.type, type)
}

function unscaledOf(bytes: Buffer): bigint {
  return BigInt.asIntN(8 * bytes.length, BigInt(`0x${bytes.toString('hex') || '0'}`))
}

function microsOf(value: bigint, logicalType: string): bigint {
  if (logicalType.endsWith('millis')) return value * 1000n
  if (logicalType.endsWith('micros')) return value
  let floor = value / 1000n
  if (value < 0n && floor * 1000n !== value) floor--
  return floor
}
