import { LakeError } from './error.ts'

/**
 * An Avro schema (Apache Avro 1.12) as a value: names are resolved, so a type that refers to itself is a cycle of
 * objects. Unknown attributes are dropped, a logical type that does not fit its type is ignored, as the specification has it.
 */
export type AvroSchema =
  | { readonly kind: 'null' | 'boolean' | 'float' | 'double' }
  | { readonly kind: 'int' | 'long'; readonly logical: IntegerLogical | undefined }
  | { readonly kind: 'string' | 'bytes'; readonly logical: TextLogical | undefined }
  | { readonly kind: 'fixed'; readonly name: string; readonly size: number; readonly logical: TextLogical | undefined }
  | AvroEnum
  | { readonly kind: 'array'; readonly items: AvroSchema }
  | { readonly kind: 'map'; readonly values: AvroSchema }
  | { readonly kind: 'union'; readonly branches: readonly AvroSchema[] }
  | AvroRecord

export interface AvroEnum {
  readonly kind: 'enum'
  readonly name: string
  readonly symbols: readonly string[]
  readonly default: string | undefined
}

export interface AvroRecord {
  readonly kind: 'record'
  readonly name: string
  readonly fields: readonly AvroField[]
  /** What Kafka Connect calls the type, `io.debezium.data.VariableScaleDecimal`. */
  readonly connectName: string | undefined
}

export interface AvroField {
  readonly name: string
  readonly aliases: readonly string[]
  readonly type: AvroSchema
}

/** What an integer stands for: a date, an instant in a unit since 1970, with (`timestamp`) or without (`local`) a zone. */
export type IntegerLogical =
  | { readonly kind: 'date' }
  | { readonly kind: 'timestamp' | 'local'; readonly unit: 'ms' | 'us' | 'ns' }

export type TextLogical =
  | { readonly kind: 'uuid' }
  | { readonly kind: 'decimal'; readonly precision: number; readonly scale: number }

/** Types of other schemas that a schema refers to, by full name. */
export type AvroNames = Map<string, AvroSchema>

/** Characters of a schema's text, nesting of its definitions, and types and fields in all. */
const TEXT_MAX = 4 * 1024 * 1024
const DEPTH_MAX = 100
const PARTS_MAX = 20_000
/** Digits behind the point: a decimal of more is left as the bytes that it is. */
const SCALE_MAX = 1_000

/**
 * Reads a schema from its JSON text, or from the JSON itself. `names` holds what it may refer to, and is added to.
 * Throws `config.invalid` with what is wrong where.
 */
export function parseAvro(given: unknown, names: AvroNames = new Map()): AvroSchema {
  const schema = new Parser(names).whole(given)
  sizeMin(schema)
  return schema
}

/** The same schema as text: what matters to reading values, in one form, whatever white space and documentation it had. */
export function avroText(schema: AvroSchema): string {
  return JSON.stringify(plainOf(schema, new Set()))
}

const sizes = new WeakMap<AvroSchema, number>()

/** Bytes that a value takes at least. 0: all of its values take none. Throws `config.invalid` for a type without values. */
export function sizeMin(schema: AvroSchema, around: ReadonlySet<AvroSchema> = new Set()): number {
  switch (schema.kind) {
    case 'null':
      return 0
    case 'float':
      return 4
    case 'double':
      return 8
    case 'fixed':
      return schema.size
    case 'record': {
      const known = sizes.get(schema)
      if (known !== undefined) return known
      if (around.has(schema)) throw wrong(`${schema.name} holds itself, so it has no values`)
      const inside = new Set([...around, schema])
      const size = schema.fields.reduce((sum, { type }) => sum + sizeMin(type, inside), 0)
      sizes.set(schema, size)
      return size
    }
    default:
      return 1
  }
}

const PRIMITIVES = ['null', 'boolean', 'int', 'long', 'float', 'double', 'bytes', 'string'] as const
type Primitive = (typeof PRIMITIVES)[number]
type Attributes = Readonly<Record<string, unknown>>

class Parser {
  readonly #names: AvroNames
  #parts = 0
  #depth = 0

  constructor(names: AvroNames) {
    this.#names = names
  }

  whole(given: unknown): AvroSchema {
    if (typeof given !== 'string') return this.#schema(given, '')
    if (given.length > TEXT_MAX) throw wrong(`the text has more than ${TEXT_MAX} characters`)
    return this.#schema(jsonOf(given), '')
  }

  #schema(given: unknown, namespace: string): AvroSchema {
    if (++this.#depth > DEPTH_MAX) throw wrong(`nested deeper than ${DEPTH_MAX}`)
    if (++this.#parts > PARTS_MAX) throw wrong(`more than ${PARTS_MAX} types and fields`)
    const schema = this.#any(given, namespace)
    this.#depth--
    return schema
  }

  #any(given: unknown, namespace: string): AvroSchema {
    if (typeof given === 'string') return this.#named(given, namespace)
    if (Array.isArray(given)) return this.#union(given, namespace)
    if (!isObject(given)) throw wrong('a type is neither a name, a list nor an object')
    const { type } = given
    switch (type) {
      case 'record':
      case 'error':
        return this.#record(given, namespace)
      case 'enum':
        return this.#enum(given, namespace)
      case 'fixed':
        return this.#fixed(given, namespace)
      case 'array':
        return { kind: 'array', items: this.#schema(given['items'], namespace) }
      case 'map':
        return { kind: 'map', values: this.#schema(given['values'], namespace) }
      default:
        if (isPrimitive(type)) return primitive(type, given)
        return this.#schema(type, namespace)
    }
  }

  #named(name: string, namespace: string): AvroSchema {
    if (isPrimitive(name)) return primitive(name, {})
    const found = this.#names.get(name.includes('.') ? name : fullName(name, namespace)) ?? this.#names.get(name)
    if (found === undefined) throw wrong(`there is no type "${name}"`)
    return found
  }

  #union(given: readonly unknown[], namespace: string): AvroSchema {
    const branches = given.map((branch) => this.#schema(branch, namespace))
    const seen = new Set<string>()
    for (const branch of branches) {
      const label = 'name' in branch ? branch.name : branch.kind
      if (branch.kind === 'union' || seen.has(label)) throw wrong(`a union holds ${label} twice, or another union`)
      seen.add(label)
    }
    if (branches.length === 0) throw wrong('a union without a type')
    return { kind: 'union', branches }
  }

  #record(given: Attributes, namespace: string): AvroSchema {
    const { name, inner } = nameOf(given, namespace)
    const list = given['fields']
    if (!Array.isArray(list)) throw wrong(`record ${name} has no list of fields`)
    const fields: AvroField[] = []
    const connectName = textOf(given['connect.name'])
    this.#define(name, { kind: 'record', name, fields, connectName })
    for (const each of list as unknown[]) {
      if (!isObject(each) || typeof each['name'] !== 'string') throw wrong(`a field of ${name} has no name`)
      const field = each['name']
      if (fields.some((other) => other.name === field)) throw wrong(`${name} has the field "${field}" twice`)
      fields.push({ name: field, aliases: textsOf(each['aliases']), type: this.#schema(each['type'], inner) })
    }
    return this.#names.get(name)!
  }

  #enum(given: Attributes, namespace: string): AvroSchema {
    const { name } = nameOf(given, namespace)
    const symbols = textsOf(given['symbols'])
    if (symbols.length === 0 || new Set(symbols).size !== symbols.length)
      throw wrong(`enum ${name} has no symbols, or one twice`)
    const other = textOf(given['default'])
    return this.#define(name, {
      kind: 'enum',
      name,
      symbols,
      default: other !== undefined && symbols.includes(other) ? other : undefined,
    })
  }

  #fixed(given: Attributes, namespace: string): AvroSchema {
    const { name } = nameOf(given, namespace)
    const size = given['size']
    if (typeof size !== 'number' || !Number.isInteger(size) || size < 0 || size > 2 ** 31 - 1)
      throw wrong(`fixed ${name} has no size`)
    const logical = textLogical(given, size)
    return this.#define(name, {
      kind: 'fixed',
      name,
      size,
      logical: logical?.kind === 'uuid' && size !== 16 ? undefined : logical,
    })
  }

  #define(name: string, schema: AvroSchema): AvroSchema {
    if (this.#names.has(name)) throw wrong(`there are two types "${name}"`)
    this.#names.set(name, schema)
    return schema
  }
}

function primitive(kind: Primitive, given: Attributes): AvroSchema {
  switch (kind) {
    case 'int':
    case 'long':
      return { kind, logical: integerLogical(kind, given) }
    case 'string':
      return { kind, logical: given['logicalType'] === 'uuid' ? { kind: 'uuid' } : undefined }
    case 'bytes': {
      const logical = textLogical(given, undefined)
      return { kind, logical: logical?.kind === 'decimal' ? logical : undefined }
    }
    default:
      return { kind }
  }
}

const INSTANTS: Readonly<Record<string, IntegerLogical>> = {
  'timestamp-millis': { kind: 'timestamp', unit: 'ms' },
  'timestamp-micros': { kind: 'timestamp', unit: 'us' },
  'timestamp-nanos': { kind: 'timestamp', unit: 'ns' },
  'local-timestamp-millis': { kind: 'local', unit: 'ms' },
  'local-timestamp-micros': { kind: 'local', unit: 'us' },
  'local-timestamp-nanos': { kind: 'local', unit: 'ns' },
  // What Kafka Connect calls them beside the type: the times of a database have no zone.
  'io.debezium.time.Timestamp': { kind: 'local', unit: 'ms' },
  'io.debezium.time.MicroTimestamp': { kind: 'local', unit: 'us' },
  'io.debezium.time.NanoTimestamp': { kind: 'local', unit: 'ns' },
}

function integerLogical(kind: 'int' | 'long', given: Attributes): IntegerLogical | undefined {
  const names = [textOf(given['logicalType']), textOf(given['connect.name'])]
  if (kind === 'int')
    return names.some((name) => name === 'date' || name === 'io.debezium.time.Date') ? { kind: 'date' } : undefined
  const found = names.find((name) => name !== undefined && Object.hasOwn(INSTANTS, name))
  return found === undefined ? undefined : INSTANTS[found]
}

/** `size`: of a fixed. */
function textLogical(given: Attributes, size: number | undefined): TextLogical | undefined {
  if (given['logicalType'] === 'uuid') return { kind: 'uuid' }
  if (given['logicalType'] !== 'decimal') return undefined
  const [precision, scale] = [given['precision'], given['scale'] ?? 0].map(Number) as [number, number]
  const isWhole = Number.isInteger(precision) && Number.isInteger(scale)
  if (!isWhole || precision < 1 || scale < 0 || scale > Math.min(precision, SCALE_MAX) || size === 0) return undefined
  return { kind: 'decimal', precision, scale }
}

/** The full name of a type, and the namespace of what stands in it. */
function nameOf(given: Attributes, namespace: string): { readonly name: string; readonly inner: string } {
  const name = given['name']
  if (typeof name !== 'string' || name === '') throw wrong('a record, enum or fixed has no name')
  const own = textOf(given['namespace']) ?? namespace
  const full = name.includes('.') ? name : fullName(name, own)
  if (isPrimitive(full)) throw wrong(`"${full}" cannot be the name of a type`)
  return { name: full, inner: full.slice(0, Math.max(0, full.lastIndexOf('.'))) }
}

function fullName(name: string, namespace: string): string {
  return namespace === '' ? name : `${namespace}.${name}`
}

function plainOf(schema: AvroSchema, seen: Set<string>): unknown {
  if ('name' in schema) {
    if (seen.has(schema.name)) return schema.name
    seen.add(schema.name)
  }
  const logical = 'logical' in schema && schema.logical !== undefined ? attributesOf(schema.logical) : {}
  switch (schema.kind) {
    case 'array':
      return { type: 'array', items: plainOf(schema.items, seen) }
    case 'map':
      return { type: 'map', values: plainOf(schema.values, seen) }
    case 'union':
      return schema.branches.map((branch) => plainOf(branch, seen))
    case 'record': {
      const { name, connectName } = schema
      const fields = schema.fields.map(({ name: field, aliases, type }) => ({
        name: field,
        ...(aliases.length === 0 ? {} : { aliases }),
        type: plainOf(type, seen),
      }))
      return { type: 'record', name, fields, ...(connectName === undefined ? {} : { 'connect.name': connectName }) }
    }
    case 'enum': {
      const { name, symbols, default: other } = schema
      return { type: 'enum', name, symbols, ...(other === undefined ? {} : { default: other }) }
    }
    case 'fixed':
      return { type: 'fixed', name: schema.name, size: schema.size, ...logical }
    default:
      return Object.keys(logical).length === 0 ? schema.kind : { type: schema.kind, ...logical }
  }
}

function attributesOf(logical: IntegerLogical | TextLogical): Attributes {
  switch (logical.kind) {
    case 'decimal':
      return { logicalType: 'decimal', precision: logical.precision, scale: logical.scale }
    case 'timestamp':
    case 'local': {
      const unit = { ms: 'millis', us: 'micros', ns: 'nanos' }[logical.unit]
      return { logicalType: `${logical.kind === 'local' ? 'local-' : ''}timestamp-${unit}` }
    }
    default:
      return { logicalType: logical.kind }
  }
}

function jsonOf(text: string): unknown {
  // A primitive may stand there without its quotes.
  if (isPrimitive(text.trim())) return text.trim()
  try {
    return JSON.parse(text)
  } catch {
    throw wrong('the text is not JSON')
  }
}

function isPrimitive(name: unknown): name is Primitive {
  return (PRIMITIVES as readonly unknown[]).includes(name)
}

function isObject(given: unknown): given is Attributes {
  return typeof given === 'object' && given !== null && !Array.isArray(given)
}

function textOf(given: unknown): string | undefined {
  return typeof given === 'string' ? given : undefined
}

function textsOf(given: unknown): readonly string[] {
  return Array.isArray(given) ? given.filter((each) => typeof each === 'string') : []
}

function wrong(message: string): LakeError {
  return new LakeError('config.invalid', `the Avro schema: ${message}`, { fix: 'Correct the schema.' })
}
