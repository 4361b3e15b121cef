import { binary, bool, byte, i32, struct, type ThriftValue } from './thrift.ts'
import type { BinaryField, BinaryType } from './types.ts'

const REQUIRED = 0
const OPTIONAL = 1
const REPEATED = 2

/** The schema as Parquet has it: a tree, written parents first. */
export function parquetSchema(fields: readonly BinaryField[]): readonly ThriftValue[] {
  return [struct({ 4: binary('schema'), 5: i32(fields.length) }), ...fields.flatMap((field) => elements(field))]
}

/** Numbers of the types that values are stored as. */
export function physicalType(type: BinaryType): number {
  switch (type.kind) {
    case 'boolean':
      return 0
    case 'date':
      return INT32
    case 'integer':
      return type.bits === 64 ? INT64 : INT32
    case 'time':
    case 'timestamp':
      return INT64
    case 'float':
      return type.bits === 64 ? 5 : 4
    case 'decimal':
      return type.precision <= 9 ? INT32 : type.precision <= 18 ? INT64 : FIXED_LENGTH
    default:
      return 6
  }
}

const INT32 = 1
const INT64 = 2
const FIXED_LENGTH = 7

function elements({ name, type }: BinaryField, repetition = OPTIONAL): readonly ThriftValue[] {
  switch (type.kind) {
    case 'struct':
      return [group(name, repetition, type.fields.length), ...type.fields.flatMap((field) => elements(field))]
    case 'list':
      return [
        group(name, repetition, 1, { converted: 3, logical: { 3: struct({}) } }),
        group('list', REPEATED, 1),
        ...elements({ name: 'element', type: type.item }),
      ]
    case 'map':
      return [
        group(name, repetition, 1, { converted: 1, logical: { 2: struct({}) } }),
        group('key_value', REPEATED, 2),
        ...elements({ name: 'key', type: type.key }, REQUIRED),
        ...elements({ name: 'value', type: type.value }),
      ]
    default:
      return [leaf(name, type, repetition)]
  }
}

/** What values mean beyond how they are stored: by its number of today, and by the older one where there is one. */
interface Meaning {
  readonly converted?: number
  readonly logical?: Readonly<Record<number, ThriftValue>>
}

function group(name: string, repetition: number, children: number, meaning: Meaning = {}): ThriftValue {
  return struct({ 3: i32(repetition), 4: binary(name), 5: i32(children), ...meaningFields(meaning) })
}

function leaf(name: string, type: BinaryType, repetition: number): ThriftValue {
  const physical = physicalType(type)
  return struct({
    1: i32(physical),
    2: physical === FIXED_LENGTH ? i32(16) : undefined,
    3: i32(repetition),
    4: binary(name),
    ...meaningFields(meaningOf(type)),
    ...(type.kind === 'decimal' ? { 7: i32(type.scale), 8: i32(type.precision) } : {}),
  })
}

function meaningFields({ converted, logical }: Meaning): Record<number, ThriftValue> {
  return {
    ...(converted === undefined ? {} : { 6: i32(converted) }),
    ...(logical === undefined ? {} : { 10: struct(logical) }),
  }
}

const UNITS = { ms: 1, us: 2, ns: 3 } as const

function meaningOf(type: BinaryType): Meaning {
  switch (type.kind) {
    case 'text':
      return { converted: 0, logical: { 1: struct({}) } }
    case 'decimal':
      return { converted: 5, logical: { 5: struct({ 1: i32(type.scale), 2: i32(type.precision) }) } }
    case 'date':
      return { converted: 6, logical: { 6: struct({}) } }
    case 'time':
      return { converted: 8, logical: { 7: instant('us', false) } }
    case 'timestamp': {
      // The older meaning is always in UTC, and knows no nanoseconds.
      const converted = !type.isUtc || type.unit === 'ns' ? {} : { converted: type.unit === 'ms' ? 9 : 10 }
      return { ...converted, logical: { 8: instant(type.unit, type.isUtc) } }
    }
    case 'integer': {
      const converted = (type.isSigned ? 15 : 11) + Math.log2(type.bits / 8)
      return { converted, logical: { 10: struct({ 1: byte(type.bits), 2: bool(type.isSigned) }) } }
    }
    default:
      return {}
  }
}

function instant(unit: 'ms' | 'us' | 'ns', isUtc: boolean): ThriftValue {
  return struct({ 1: bool(isUtc), 2: struct({ [UNITS[unit]]: struct({}) }) })
}
