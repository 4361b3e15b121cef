import type { ColumnType } from './batch.ts'

/** Messages of Protocol Buffers as a plain value: JSON, so that it crosses processes and has one text to hash. */
export interface ProtoSchema {
  /** Full name of the message that a value is, `shop.Order`. */
  readonly message: string
  /** Where the message stands in its file: the number of each message around it, then its own. */
  readonly index: readonly number[]
  /** All messages that values may hold, by full name. */
  readonly messages: Readonly<Record<string, readonly ProtoField[]>>
  /** Numbers of symbols, by the enum's full name. */
  readonly enums: Readonly<Record<string, Readonly<Record<string, number>>>>
}

export interface ProtoField {
  readonly name: string
  readonly number: number
  readonly type: ProtoType
  readonly kind: 'one' | 'list' | 'map'
  /** Of the keys of a map. */
  readonly key?: ProtoScalar
  /** Whether a message tells that it is absent. Otherwise an absent one has the zero of its type. */
  readonly hasPresence?: true
  readonly isRequired?: true
  /** Of the fields under one such name a message has one. */
  readonly oneof?: string
}

export type ProtoType =
  | { readonly kind: 'scalar'; readonly scalar: ProtoScalar }
  | { readonly kind: 'enum'; readonly name: string }
  | { readonly kind: 'message'; readonly name: string }

export const PROTO_SCALARS = [
  'double',
  'float',
  'int32',
  'int64',
  'uint32',
  'uint64',
  'sint32',
  'sint64',
  'fixed32',
  'fixed64',
  'sfixed32',
  'sfixed64',
  'bool',
  'string',
  'bytes',
] as const

export type ProtoScalar = (typeof PROTO_SCALARS)[number]

/** Messages that stand for a value: an instant, or a scalar that may be absent. */
export const TIMESTAMP = 'google.protobuf.Timestamp'
const WRAPPERS: Readonly<Record<string, ProtoScalar>> = {
  'google.protobuf.DoubleValue': 'double',
  'google.protobuf.FloatValue': 'float',
  'google.protobuf.Int64Value': 'int64',
  'google.protobuf.UInt64Value': 'uint64',
  'google.protobuf.Int32Value': 'int32',
  'google.protobuf.UInt32Value': 'uint32',
  'google.protobuf.BoolValue': 'bool',
  'google.protobuf.StringValue': 'string',
  'google.protobuf.BytesValue': 'bytes',
}

/** The scalar that a message wraps; undefined when it is none of Google's wrappers. */
export function wrappedScalar(message: string): ProtoScalar | undefined {
  return Object.hasOwn(WRAPPERS, message) ? WRAPPERS[message] : undefined
}

const INTEGERS: readonly ColumnType['kind'][] = ['int', 'long', 'decimal', 'double', 'timestamp', 'timestamptz']

/** Kinds of columns that take values of a scalar, exactly or not at all; the first is what it is by itself. */
const KINDS_OF_SCALAR: Readonly<Record<ProtoScalar, readonly ColumnType['kind'][]>> = {
  double: ['double'],
  float: ['float', 'double'],
  int32: INTEGERS,
  sint32: INTEGERS,
  sfixed32: INTEGERS,
  int64: ['long', ...INTEGERS],
  sint64: ['long', ...INTEGERS],
  sfixed64: ['long', ...INTEGERS],
  uint32: ['long', ...INTEGERS],
  fixed32: ['long', ...INTEGERS],
  uint64: ['decimal', ...INTEGERS],
  fixed64: ['decimal', ...INTEGERS],
  bool: ['boolean'],
  string: ['string', 'enum', 'uuid', 'date', 'timestamp', 'timestamptz', 'decimal'],
  bytes: ['binary', 'uuid'],
}

/** The largest unsigned integer of 64 bits has 20 digits. */
const UNSIGNED_LONG: ColumnType = { kind: 'decimal', precision: 20, scale: 0 }

/** Nesting of messages that become columns. */
const DEPTH_MAX = 30

/** The column that a field is by itself; undefined: it is none, since a message holds itself or nests too deep. */
export function columnTypeOf(
  schema: ProtoSchema,
  field: Pick<ProtoField, 'type' | 'kind'>,
  around: readonly string[],
): ColumnType | undefined {
  const value = valueTypeOf(schema, field.type, around)
  if (value === undefined || field.kind === 'one') return value
  return field.kind === 'list' ? { kind: 'list', element: value } : { kind: 'map', value }
}

function valueTypeOf(schema: ProtoSchema, type: ProtoType, around: readonly string[]): ColumnType | undefined {
  if (type.kind === 'enum') return { kind: 'string' }
  const scalar = type.kind === 'scalar' ? type.scalar : wrappedScalar(type.name)
  if (scalar !== undefined) {
    const [kind] = KINDS_OF_SCALAR[scalar] as [ColumnType['kind']]
    return kind === 'decimal' ? UNSIGNED_LONG : ({ kind } as ColumnType)
  }
  const { name } = type as Extract<ProtoType, { kind: 'message' }>
  if (name === TIMESTAMP) return { kind: 'timestamptz' }
  if (around.includes(name) || around.length > DEPTH_MAX) return undefined
  const fields = columnsOfMessage(schema, name, around)
  return fields.length === 0 ? undefined : { kind: 'struct', fields }
}

/** The columns of a message: its fields in the order in which they are written. Required are those that must be there. */
export function columnsOfMessage(
  schema: ProtoSchema,
  message: string,
  around: readonly string[] = [],
): readonly { readonly name: string; readonly type: ColumnType; readonly required?: boolean }[] {
  const names = new Set<string>()
  return (schema.messages[message] ?? []).flatMap((field) => {
    const type = columnTypeOf(schema, field, [...around, message])
    const name = field.name.toLowerCase()
    // SQL ignores case, and a leading underscore is that of system columns.
    if (type === undefined || names.has(name) || (around.length === 0 && name.startsWith('_'))) return []
    names.add(name)
    return [{ name: field.name, type, ...(field.isRequired === true ? { required: true } : {}) }]
  })
}

/** Why a column cannot be read from a field; undefined when it can. `path` names the column. */
export function protobufProblem(
  schema: ProtoSchema,
  field: Pick<ProtoField, 'type' | 'kind'>,
  column: ColumnType,
  path: string,
  mayLack = false,
): string | undefined {
  if (field.kind === 'list')
    return column.kind === 'list'
      ? protobufProblem(schema, { ...field, kind: 'one' }, column.element, `${path}[]`, mayLack)
      : `${path} is repeated, and a list in a column`
  if (field.kind === 'map')
    return column.kind === 'map'
      ? protobufProblem(schema, { ...field, kind: 'one' }, column.value, `${path}{}`, mayLack)
      : `${path} is a map`
  const { type } = field
  if (type.kind === 'enum')
    return ['string', 'enum', 'int', 'long'].includes(column.kind)
      ? undefined
      : `${path} is an enum, and a string, an int or a long in a column`
  const scalar = type.kind === 'scalar' ? type.scalar : wrappedScalar(type.name)
  if (scalar !== undefined) return scalarProblem(scalar, column, path)
  const { name } = type as Extract<ProtoType, { kind: 'message' }>
  if (name === TIMESTAMP && (column.kind === 'timestamp' || column.kind === 'timestamptz')) return undefined
  if (column.kind !== 'struct') return `${path} is the message ${name}, and a struct in a column`
  return fieldsProblem(schema, name, column.fields, `${path}.`, mayLack)
}

/** The same of columns and the fields of a message. `mayLack`: those that are not required may have no field. */
export function fieldsProblem(
  schema: ProtoSchema,
  message: string,
  columns: readonly {
    readonly name: string
    readonly type: ColumnType
    readonly as?: string
    readonly required?: boolean
  }[],
  prefix = '',
  mayLack = false,
): string | undefined {
  for (const { name, type, as, required = false } of columns) {
    if (as !== undefined) continue
    const field = (schema.messages[message] ?? []).find((candidate) => candidate.name === name)
    if (field === undefined && mayLack && !required) continue
    if (field === undefined) return `${prefix}${name}: the message ${message} has no such field`
    const problem = protobufProblem(schema, field, type, `${prefix}${name}`, mayLack)
    if (problem !== undefined) return problem
  }
  return undefined
}

function scalarProblem(scalar: ProtoScalar, column: ColumnType, path: string): string | undefined {
  if (!KINDS_OF_SCALAR[scalar].includes(column.kind)) return `${path} is of ${scalar}, which no ${column.kind} takes`
  const isInstant = column.kind === 'timestamp' || column.kind === 'timestamptz'
  if (isInstant && scalar !== 'string' && column.unit === undefined)
    return `${path} is of ${scalar}: its ${column.kind} needs a unit, such as ${column.kind}(ms)`
  return undefined
}
