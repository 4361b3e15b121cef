import avsc from 'avsc'
import * as fc from 'fast-check'

/** A schema as JSON, a value of it as avsc takes it (unions wrapped, longs as bigint). */
export type Json = string | readonly Json[] | { readonly [key: string]: unknown }

const long = avsc.types.LongType.__with({
  fromBuffer: (buffer: Buffer) => buffer.readBigInt64LE(),
  toBuffer: (value: bigint) => {
    const buffer = Buffer.alloc(8)
    buffer.writeBigInt64LE(value)
    return buffer
  },
  fromJSON: BigInt,
  toJSON: String,
  isValid: (value: unknown) => typeof value === 'bigint' && BigInt.asIntN(64, value) === value,
  compare: (a: bigint, b: bigint) => (a < b ? -1 : a > b ? 1 : 0),
})

/** avsc with exact longs: a hook, since longs are also written as objects. */
export function avscType(schema: Json): avsc.Type {
  return avsc.Type.forSchema(structuredClone(schema) as avsc.Schema, {
    wrapUnions: true,
    typeHook: (given: any) => (given === 'long' || given?.type === 'long' ? long : undefined),
  })
}

const fieldName = fc.stringMatching(/^[a-z][a-z0-9_]{0,6}$/)

const scalar: fc.Arbitrary<Json> = fc.oneof(
  fc.constantFrom<Json>('boolean', 'int', 'long', 'float', 'double', 'string', 'string', 'bytes'),
  fc.constantFrom<Json>(
    { type: 'int', logicalType: 'date' },
    { type: 'int', logicalType: 'time-millis' },
    { type: 'long', logicalType: 'timestamp-millis' },
    { type: 'long', logicalType: 'timestamp-micros' },
    { type: 'long', logicalType: 'timestamp-nanos' },
    { type: 'long', logicalType: 'local-timestamp-micros' },
    { type: 'string', logicalType: 'uuid' },
  ),
  fc
    .tuple(fc.constantFrom(1, 4, 5, 9, 10, 18, 19, 38), fc.nat(38), fc.boolean())
    .map(([precision, scale, isFixed]): Json => {
      const logical = { logicalType: 'decimal', precision, scale: Math.min(precision, scale) }
      return isFixed ? { type: 'fixed', size: 17, ...logical } : { type: 'bytes', ...logical }
    }),
  fc.nat(20).map((size): Json => ({ type: 'fixed', size })),
  fc.constant<Json>({ type: 'fixed', size: 16, logicalType: 'uuid' }),
  fc.constant<Json>({ type: 'enum', symbols: ['NEW', 'PAID', 'a_symbol_of_more_than_twelve'] }),
)

function typeOf(depth: number): fc.Arbitrary<Json> {
  if (depth === 0) return fc.oneof({ weight: 4, arbitrary: scalar }, nullable(scalar))
  const below = typeOf(depth - 1)
  const inner = fc.oneof(
    { weight: 5, arbitrary: scalar },
    { weight: 2, arbitrary: below.map((items): Json => ({ type: 'array', items })) },
    { weight: 1, arbitrary: below.map((values): Json => ({ type: 'map', values })) },
    { weight: 2, arbitrary: recordOf(below, 4) },
  )
  return fc.oneof({ weight: 3, arbitrary: inner }, { weight: 2, arbitrary: nullable(inner) })
}

function nullable(type: fc.Arbitrary<Json>): fc.Arbitrary<Json> {
  return fc
    .tuple(type, fc.boolean())
    .map(([inner, isFirst]): Json => (Array.isArray(inner) ? inner : isFirst ? ['null', inner] : [inner, 'null']))
}

function recordOf(type: fc.Arbitrary<Json>, maxLength: number): fc.Arbitrary<Json> {
  return fc
    .uniqueArray(fc.record({ name: fieldName, type }), { minLength: 1, maxLength, selector: ({ name }) => name })
    .map((fields): Json => ({ type: 'record', fields }))
}

/** A record's schema; its named types have names. */
export const schemaArbitrary: fc.Arbitrary<Json> = recordOf(typeOf(2), 7).map((schema) => named(schema, { next: 0 }))

function named(schema: Json, names: { next: number }): Json {
  if (typeof schema === 'string') return schema
  if (Array.isArray(schema)) return schema.map((branch) => named(branch as Json, names))
  const given = schema as Readonly<Record<string, any>>
  const name = `T${names.next++}`
  switch (given['type']) {
    case 'record':
      return { ...given, name, fields: given['fields'].map((f: any) => ({ ...f, type: named(f.type, names) })) }
    case 'array':
      return { ...given, items: named(given['items'], names) }
    case 'map':
      return { ...given, values: named(given['values'], names) }
    case 'enum':
    case 'fixed':
      return { ...given, name }
    default:
      return given
  }
}

const text = fc.oneof(
  fc.string({ maxLength: 6 }),
  fc.string({ unit: 'grapheme', maxLength: 40 }),
  fc.constantFrom('', 'ÿ', 'exactly12byt', 'thirteen byte', '😀～', 'x'.repeat(300)),
)

/** Unscaled decimals as bytes. */
function unscaled(precision: number, size: number | undefined): fc.Arbitrary<Buffer> {
  const limit = 10n ** BigInt(precision) - 1n
  return fc.bigInt({ min: -limit, max: limit }).map((value) => {
    let bytes = size ?? 1
    while (size === undefined && BigInt.asIntN(8 * bytes, value) !== value) bytes++
    return Buffer.from(
      BigInt.asUintN(8 * bytes, value)
        .toString(16)
        .padStart(2 * bytes, '0'),
      'hex',
    )
  })
}

/** Values of a schema that its columns can hold. */
export function valueArbitrary(schema: Json): fc.Arbitrary<unknown> {
  if (typeof schema === 'string') return plainValue(schema, {})
  if (Array.isArray(schema))
    return fc.oneof(
      ...schema.map((branch: any) =>
        branch === 'null'
          ? fc.constant(null)
          : valueArbitrary(branch).map((value) => ({ [branch.name ?? branch.type ?? branch]: value })),
      ),
    )
  const given = schema as Readonly<Record<string, any>>
  switch (given['type']) {
    case 'record':
      return fc
        .tuple(...given['fields'].map((field: any) => valueArbitrary(field.type)))
        .map((values) =>
          Object.fromEntries(values.map((value: unknown, k: number) => [given['fields'][k].name, value])),
        )
    case 'array':
      return fc.array(valueArbitrary(given['items']), { maxLength: 5 })
    case 'map':
      return fc
        .uniqueArray(fc.tuple(fc.stringMatching(/^[a-zé]{1,14}$/), valueArbitrary(given['values'])), {
          maxLength: 5,
          selector: ([key]) => key,
        })
        .map((entries) => Object.fromEntries(entries))
    case 'enum':
      return fc.constantFrom(...given['symbols'])
    case 'fixed':
      if (given['logicalType'] === 'decimal') return unscaled(given['precision'], given['size'])
      return fc.uint8Array({ minLength: given['size'], maxLength: given['size'] }).map((bytes) => Buffer.from(bytes))
    default:
      return plainValue(given['type'], given)
  }
}

function plainValue(type: string, given: Readonly<Record<string, any>>): fc.Arbitrary<unknown> {
  const logical = given['logicalType']
  switch (type) {
    case 'boolean':
      return fc.boolean()
    case 'int':
      return logical === 'date' ? fc.integer({ min: -100_000_000, max: 100_000_000 }) : fc.integer()
    case 'long': {
      const most = { 'timestamp-millis': 8_640_000_000_000_000n, 'timestamp-nanos': 2n ** 63n - 1n }[logical as string]
      const max = logical === undefined ? 2n ** 63n - 1n : (most ?? 8_640_000_000_000_000_000n)
      return fc.oneof(fc.bigInt({ min: -max, max }), fc.integer().map(BigInt), fc.constantFrom(0n, -1n, 63n, 64n, max))
    }
    case 'float':
      return fc.float()
    case 'double':
      return fc.double()
    case 'string':
      return logical === 'uuid' ? fc.uuid() : text
    default:
      if (logical === 'decimal') return unscaled(given['precision'], undefined)
      return fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes))
  }
}
