import * as fc from 'fast-check'
import protobuf from 'protobufjs'
import { describe, expect, test } from 'vitest'
import { protobuf as format, table, type TableDefinition } from '../../../src/define.ts'
import { codeHash } from '../../../src/define-code.ts'
import { readProtobuf } from '../../../src/protobuf-text.ts'
import { definition } from '../../support/lake-table.ts'
import { Outcomes } from './outcomes.ts'
import { decoded, reference } from './protobuf-reference.ts'
import { PROTO_SCALARS } from '../../../src/protobuf-schema.ts'

function tableOf(
  schema: string,
  more: {
    readonly columns?: Record<string, string>
    readonly unknown?: 'extra' | 'ignore' | 'fail'
    readonly framing?: 'confluent'
    readonly message?: string
  } = {},
): TableDefinition {
  const { columns, unknown = 'ignore', framing, message } = more
  const value = format({
    schema,
    ...(framing === undefined ? {} : { framing }),
    ...(message === undefined ? {} : { message }),
  })
  return table('orders', {
    from: { topic: 'shop.orders', value },
    ...(columns === undefined ? {} : { columns }),
    unknown,
  })
}

/** Writes a value as protobufjs does. */
function encode(schema: string, value: object, message = 'M'): Uint8Array {
  const type = typeOf(schema, message)
  return type.encode(type.fromObject(value)).finish()
}

function typeOf(schema: string, message = 'M'): protobuf.Type {
  const root = new protobuf.Root()
  for (const file of ['timestamp', 'wrappers'])
    root.addJSON(protobuf.common.get(`google/protobuf/${file}.proto`)!.nested!)
  protobuf.parse(schema, root, { keepCase: true })
  root.resolveAll()
  return root.lookupType(message)
}

const HEAD = 'syntax = "proto3"; import "google/protobuf/timestamp.proto"; import "google/protobuf/wrappers.proto";'
type Made = { readonly type: string; readonly value: fc.Arbitrary<unknown> }

const long = (min: bigint, max: bigint) =>
  fc.oneof(fc.bigInt({ min, max }), fc.constantFrom(min, max, 0n, 1n)).map((value) => String(value))
const VALUES: Readonly<Record<(typeof PROTO_SCALARS)[number], fc.Arbitrary<unknown>>> = {
  double: fc.double(),
  float: fc.float(),
  int32: fc.integer(),
  sint32: fc.integer(),
  sfixed32: fc.integer(),
  uint32: fc.nat({ max: 0xffff_ffff }),
  fixed32: fc.nat({ max: 0xffff_ffff }),
  int64: long(-(2n ** 63n), 2n ** 63n - 1n),
  sint64: long(-(2n ** 63n), 2n ** 63n - 1n),
  sfixed64: long(-(2n ** 63n), 2n ** 63n - 1n),
  uint64: long(0n, 2n ** 64n - 1n),
  fixed64: long(0n, 2n ** 64n - 1n),
  bool: fc.boolean(),
  string: fc.string({ unit: 'grapheme', maxLength: 30 }),
  bytes: fc.uint8Array({ maxLength: 30 }),
}
const scalar: fc.Arbitrary<Made> = fc.constantFrom(...PROTO_SCALARS).map((type) => ({ type, value: VALUES[type] }))
const leaf: fc.Arbitrary<Made> = fc.oneof(
  { weight: 6, arbitrary: scalar },
  fc.constant<Made>({ type: 'E', value: fc.constantFrom('ZERO', 'ONE', 'MINUS', 77) }),
  fc.constant<Made>({
    type: 'google.protobuf.Timestamp',
    value: fc.record({ seconds: long(-62_135_596_800n, 253_402_300_799n), nanos: fc.nat(999_999_999) }),
  }),
  fc.constant<Made>({ type: 'google.protobuf.Int64Value', value: VALUES.int64.map((value) => ({ value })) }),
  fc.constant<Made>({ type: 'google.protobuf.StringValue', value: VALUES.string.map((value) => ({ value })) }),
)

interface Shape {
  readonly text: string
  readonly value: fc.Arbitrary<object>
}

/** A message, with messages of its own inside, and values of it. `isFlat`: nothing that protobufjs does not merge. */
function messageOf(name: string, depth: number, isFlat = false): fc.Arbitrary<Shape> {
  const inner = depth === 0 ? fc.constant(undefined) : fc.option(messageOf('Inner', depth - 1), { nil: undefined })
  const field = fc.tuple(
    leaf,
    fc.constantFrom('one', 'one', 'optional', 'list', 'map', 'inner', 'oneof'),
    fc.constantFrom('string', 'int32', 'bool', 'sint64'),
  )
  return fc
    .tuple(inner, fc.array(field, { minLength: 1, maxLength: 7 }), fc.nat(2_000))
    .map(([message, fields, first]) => {
      const lines: string[] = []
      const values: Record<string, fc.Arbitrary<unknown>> = {}
      fields.forEach(([{ type, value }, kind, key], k) => {
        const [own, number] = [`f${k}`, first + 1 + 3 * k]
        const isMessage = type.startsWith('google.')
        if (kind === 'inner' && message !== undefined) {
          const isOne = k % 2 === 0 && !isFlat
          lines.push(`${isOne ? '' : 'repeated '}Inner ${own} = ${number};`)
          values[own] = isOne ? message.value : fc.array(message.value, { maxLength: 3 })
        } else if (kind === 'list') {
          lines.push(
            `repeated ${type} ${own} = ${number}${k % 3 === 0 && !isMessage && !['string', 'bytes'].includes(type) ? ' [packed = false]' : ''};`,
          )
          values[own] = fc.array(value, { maxLength: 4 })
        } else if (kind === 'map') {
          lines.push(`map<${key}, ${type}> ${own} = ${number};`)
          values[own] = fc.dictionary(keysOf(key), value, { maxKeys: 3 })
        } else if (kind === 'oneof' && !isFlat) {
          lines.push(`oneof o${k} { ${type} ${own} = ${number}; bool other${k} = ${number + 1}; }`)
          values[own] = value
        } else {
          const isOptional = kind === 'optional' && !isMessage
          if (isFlat && isMessage) return
          lines.push(`${isOptional ? 'optional ' : ''}${type} ${own} = ${number};`)
          values[own] = value
        }
      })
      if (lines.length === 0) lines.push('int32 only = 1;')
      const body = [...(message === undefined ? [] : [message.text]), ...lines].join(' ')
      return { text: `message ${name} { ${body} }`, value: fc.record(values, { requiredKeys: [] }) }
    })
}

function keysOf(scalarType: string): fc.Arbitrary<string> {
  if (scalarType === 'string')
    return fc.string({ maxLength: 5 }).filter((key) => key !== '__proto__' && key !== 'constructor')
  if (scalarType === 'bool') return fc.constantFrom('true', 'false')
  return fc.integer().map(String)
}

const schemaText = ({ text }: Shape): string => `${HEAD} enum E { ZERO = 0; ONE = 1; MINUS = -5; } ${text}`

test('every message is the row that protobufjs reads', () => {
  const cases = messageOf('M', 2).chain((shape) =>
    fc.tuple(fc.constant(shape), fc.array(shape.value, { minLength: 1, maxLength: 20 })),
  )
  fc.assert(
    fc.property(cases, ([shape, values]) => {
      const schema = schemaText(shape)
      const def = tableOf(schema)
      const [type, proto] = [typeOf(schema), readProtobuf(schema, undefined)]
      const records = values.map((value) => type.encode(type.fromObject(value)).finish())
      expect(decoded(def, records), schema).toEqual(records.map((bytes) => reference(proto, def.columns, type, bytes)))
    }),
    { numRuns: Number(process.env['RUNS'] ?? 25) },
  )
})

test('messages that were put together without being read are merged', () => {
  const cases = messageOf('M', 1, true).chain((shape) =>
    fc.tuple(fc.constant(shape), fc.array(shape.value, { minLength: 2, maxLength: 3 })),
  )
  fc.assert(
    fc.property(cases, ([shape, values]) => {
      const schema = schemaText(shape)
      const def = tableOf(schema)
      const [type, proto] = [typeOf(schema), readProtobuf(schema, undefined)]
      const bytes = Buffer.concat(values.map((value) => type.encode(type.fromObject(value)).finish()))
      expect(decoded(def, [bytes]), schema).toEqual([reference(proto, def.columns, type, bytes)])
    }),
    { numRuns: Number(process.env['RUNS'] ?? 20) },
  )
})

const ORDER = `${HEAD}
message M {
  int64 id = 1; optional string name = 2; uint64 big = 3; State state = 4; repeated int32 numbers = 5; map<string, Item> items = 6;
  oneof either { string left = 7; Item right = 8; } google.protobuf.Timestamp at = 9; Item item = 10; bytes raw = 11;
  message Item { int32 x = 1; string note = 2; repeated int32 many = 3; } enum State { NEW = 0; PAID = 1; }
}
message Second { int32 x = 1; message Deep { int32 y = 1; } message Deeper { int32 z = 1; } }`

describe('columns', () => {
  test('are the fields, by default', () => {
    expect(tableOf(ORDER).columns.map(({ name, type }) => [name, type.kind])).toEqual([
      ['id', 'long'],
      ['name', 'string'],
      ['big', 'decimal'],
      ['state', 'string'],
      ['numbers', 'list'],
      ['items', 'map'],
      ['left', 'string'],
      ['right', 'struct'],
      ['at', 'timestamptz'],
      ['item', 'struct'],
      ['raw', 'binary'],
    ])
  })

  test('what is not written is zero, or null where the message tells', () => {
    expect(decoded(tableOf(ORDER), [new Uint8Array(0)])).toEqual([
      ['0', null, '0', 'NEW', [], [], null, null, null, null, ''],
    ])
  })

  test('integers are exact to the last', () => {
    const bytes = encode(ORDER, { id: '-9223372036854775808', big: '18446744073709551615' })
    const def = tableOf(ORDER, { columns: { id: 'long', big: 'decimal(20,0)' } })
    expect(decoded(def, [bytes])).toEqual([['-9223372036854775808', '18446744073709551615']])
  })

  test.each<[Record<string, string>, object, string]>([
    [{ id: 'int' }, { id: '2147483648' }, 'decode.range'],
    [{ big: 'long' }, { big: '9223372036854775808' }, 'decode.range'],
    [{ big: 'decimal(19,0)' }, { big: '18446744073709551615' }, 'decode.range'],
    [{ id: 'double' }, { id: '9007199254740993' }, 'decode.range'],
    [{ id: 'timestamptz(ms)' }, { id: '9223372036854775807' }, 'decode.range'],
    [{ state: 'enum(NEW)' }, { state: 'PAID' }, 'decode.range'],
    [{ name: 'uuid' }, { name: 'x' }, 'decode.type'],
    [{ name: 'string required' }, {}, 'decode.required'],
    [{ at: 'timestamptz' }, { at: { seconds: '9223372036854775807' } }, 'decode.range'],
    [{ at: 'timestamptz' }, { at: { nanos: -1 } }, 'decode.range'],
  ])('%j refuse %j', (columns, value, code) => {
    expect(decoded(tableOf(ORDER, { columns }), [encode(ORDER, value)])).toEqual([code])
  })

  test.each<[string, string, string]>([
    ['a wire type that is another', '0a0161', 'decode.protobuf'],
    ['a cut value', '12ff', 'decode.protobuf'],
    ['a length beyond the end', '1205616263', 'decode.protobuf'],
    ['a length of 2^63', `12${'ff'.repeat(8)}7f`, 'decode.protobuf'],
    ['a number of eleven bytes', `08${'80'.repeat(10)}01`, 'decode.protobuf'],
    ['a number of 65 bits', `08${'ff'.repeat(9)}02`, 'decode.protobuf'],
    ['a group', '0b0c', 'decode.protobuf'],
    ['the field 0', '0001', 'decode.protobuf'],
    ['the wire type 7', '0f', 'decode.protobuf'],
    ['text that is not UTF-8', '1201ff', 'decode.utf8'],
    ['a packed list that ends in a number', '2a0180', 'decode.protobuf'],
    ['more than 32 bits in an int32', '2a06808080808010', 'decode.range'],
  ])('%s is a dead letter', (_, bytes, code) => {
    expect(decoded(tableOf(ORDER), [Buffer.from(bytes, 'hex')])).toEqual([code])
  })

  test('of several members of a oneof, and of several values, the last; messages become one', () => {
    const left = encode(ORDER, { left: 'a' })
    const right = encode(ORDER, { right: { x: 1, many: [1] } })
    const more = encode(ORDER, { right: { note: 'n', many: [2] } })
    const def = tableOf(ORDER, { columns: { left: 'string', right: 'struct<x:int,note:string,many:list<int>>' } })
    expect(
      decoded(def, [
        Buffer.concat([left, right]),
        Buffer.concat([right, left]),
        Buffer.concat([right, more]),
        Buffer.concat([right, left, more]),
        Buffer.concat([left, left]),
      ]),
    ).toEqual([
      [null, ['1', '', ['1']]],
      ['a', null],
      [null, ['1', 'n', ['1', '2']]],
      [null, ['0', 'n', ['2']]],
      ['a', null],
    ])
  })

  test('a member of a oneof without a column ends one that has one', () => {
    const both = Buffer.concat([encode(ORDER, { left: 'a' }), encode(ORDER, { right: {} })])
    expect(decoded(tableOf(ORDER, { columns: { left: 'string' } }), [both])).toEqual([[null]])
  })
})

describe('fields without a column', () => {
  const full = {
    id: '9007199254740993',
    big: '18446744073709551615',
    state: 'PAID',
    numbers: [1, -1],
    items: { 'a "key"': { x: 1, note: 'n' } },
    at: { seconds: '5' },
    item: { x: 7, note: 'kept' },
    raw: Buffer.from([1, 2]),
  }

  test('are kept as JSON, numbers to the letter, those without a name by their number', () => {
    const def = tableOf(ORDER, { columns: { name: 'string', item: 'struct<x:int>' }, unknown: 'extra' })
    const bytes = Buffer.concat([encode(ORDER, full), Buffer.from('f80305' + 'f80306' + 'fa030161', 'hex')])
    const [[name, item, extra]] = decoded(def, [bytes]) as [[null, string[], string]]
    expect([name, item]).toEqual([null, ['7']])
    expect(extra).toBe(
      '{"id":9007199254740993,"big":18446744073709551615,"state":"PAID","numbers":[1,-1],"items":{"a \\"key\\"":{"x":1,"note":"n"}},"at":{"seconds":5},"item":{"note":"kept"},"raw":"AQI=","63":[5,6,"YQ=="]}',
    )
  })

  test('are passed over, or dead letters', () => {
    const columns = { name: 'string' }
    expect(decoded(tableOf(ORDER, { columns }), [encode(ORDER, full)])).toEqual([[null]])
    expect(decoded(tableOf(ORDER, { columns, unknown: 'fail' }), [encode(ORDER, full)])).toEqual([
      'decode.unknown_field',
    ])
  })

  test('messages in messages are looked into up to a depth', () => {
    const schema = `${HEAD} message M { int32 id = 1; M inner = 2; }`
    const nested = (depth: number): Buffer => {
      let bytes = Buffer.from('0801', 'hex')
      for (let k = 0; k < depth; k++) {
        const head = bytes.length < 128 ? [0x12, bytes.length] : [0x12, (bytes.length & 127) | 128, bytes.length >> 7]
        bytes = Buffer.concat([Uint8Array.from(head), bytes])
      }
      return bytes
    }
    const def = tableOf(schema, { columns: { id: 'int' }, unknown: 'extra' })
    expect(decoded(def, [nested(98), nested(200)]).map((one) => typeof one)).toEqual(['object', 'string'])
    expect(decoded(def, [nested(200)])).toEqual(['decode.depth'])
  })
})

describe('framed by a registry', () => {
  const value = encode(ORDER, { id: '5' })
  const framed = (head: string, body: Uint8Array): Uint8Array => Buffer.concat([Buffer.from(head, 'hex'), body])
  const columns = { id: 'long' }

  test.each<[string, string, unknown]>([
    ['the first message', '000000000900', ['5']],
    ['the first message, written out', '00000000090200', ['5']],
    ['another message', '00000000090202', 'decode.type'],
    ['a nested one', '0000000009040202', 'decode.type'],
    ['no zero', '010000000900', 'decode.framing'],
    ['a cut index', '000000000904', 'decode.type'],
    ['an index of 2^31 numbers', '0000000009feffffff0f', 'decode.protobuf'],
  ])('%s', (_, head, expected) => {
    expect(decoded(tableOf(ORDER, { columns, framing: 'confluent' }), [framed(head, value)])).toEqual([expected])
  })

  test('a message inside another is named by both their numbers', () => {
    const def = tableOf(ORDER, { framing: 'confluent', message: 'Second.Deeper' })
    expect(decoded(def, [framed('0000000009040202', Buffer.from('0803', 'hex'))])).toEqual([['3']])
    expect(decoded(def, [framed('0000000009040200', Buffer.from('0803', 'hex'))])).toEqual(['decode.type'])
  })

  test('what is too short for a frame is none', () => {
    expect(decoded(tableOf(ORDER, { columns, framing: 'confluent' }), [Buffer.alloc(4)])).toEqual(['decode.framing'])
  })
})

describe('a definition', () => {
  test.each<[string, string, RegExp]>([
    ['no text', 'hello', /no \.proto text/],
    ['no message', 'syntax = "proto3";', /no message/],
    [
      'an import that is not given',
      'syntax = "proto3"; import "x.proto"; message M { int32 a = 1; }',
      /imports "x.proto"/,
    ],
    ['a type that is not there', 'syntax = "proto3"; message M { Nothing a = 1; }', /no \.proto text|unknown type/],
    ['a group', 'syntax = "proto2"; message M { optional group G = 1 { optional int32 a = 2; } }', /group/],
    ['two fields of one number', 'syntax = "proto3"; message M { int32 a = 1; int32 b = 1; }', /no \.proto text/],
  ])('%s is refused', (_, schema, message) => {
    expect(() => tableOf(schema)).toThrow(message)
  })

  test('columns that their fields cannot fill are refused, with their path', () => {
    expect(() => tableOf(ORDER, { columns: { id: 'string' } })).toThrow(/id is of int64, which no string takes/)
    expect(() => tableOf(ORDER, { columns: { nothing: 'string' } })).toThrow(/no such field/)
    expect(() => tableOf(ORDER, { columns: { item: 'struct<x:boolean>' } })).toThrow(/item\.x is of int32/)
    expect(() => tableOf(ORDER, { columns: { id: 'timestamptz' } })).toThrow(/needs a unit/)
  })

  test('its code is what is read of the schema, not how it is written', () => {
    const spaced = ORDER.replace('int64 id = 1;', '\n// the number of the order\n  int64   id = 1 ; /* first */')
    expect(codeHash(tableOf(spaced))).toBe(codeHash(tableOf(ORDER)))
    expect(codeHash(tableOf(ORDER.replace('id = 1', 'id = 21')))).not.toBe(codeHash(tableOf(ORDER)))
    expect(structuredClone(tableOf(ORDER))).toEqual(tableOf(ORDER))
    expect(JSON.parse(JSON.stringify(tableOf(ORDER).protobuf))).toEqual(tableOf(ORDER).protobuf)
  })

  test('imports come with their texts', () => {
    const value = format({
      schema: 'syntax = "proto3"; package a; import "b.proto"; message M { b.N n = 1; }',
      imports: { 'b.proto': 'syntax = "proto3"; package b; message N { int32 x = 1; }' },
      message: 'a.M',
    })
    const def = table('t', { from: { topic: 't', value } })
    expect(def.columns.map(({ type }) => type)).toEqual([
      { kind: 'struct', fields: [{ name: 'x', type: { kind: 'int' } }] },
    ])
  })
})

test('rows of many chunks are in the file as they were decoded', { timeout: 60_000 }, async () => {
  const outcomes = await Outcomes.open()
  try {
    const { columns } = tableOf(ORDER)
    const def = definition({ value: 'protobuf', protobuf: { schema: readProtobuf(ORDER, undefined) }, columns })
    const records = Array.from({ length: 2_500 }, (_, k) => {
      const once = encode(ORDER, {
        id: String(k),
        name: k % 3 === 0 ? undefined : `the name of record ${k}`,
        numbers: Array.from({ length: k % 4 }, (__, i) => i - k),
        items: k % 2 === 0 ? { [`key ${k} of more than twelve`]: { x: k, many: [k, -1] } } : {},
        ...(k % 5 === 0 ? { right: { note: `note ${k}`, many: [1, 2] } } : { left: 'l' }),
      })
      // Now and then one that must be merged first, or does not fit.
      if (k % 97 === 0) return Buffer.concat([once, encode(ORDER, { left: 'the last one counts' })])
      return k % 101 === 0 ? Buffer.concat([once, Uint8Array.of(0x0b)]) : once
    })
    const select =
      'id::varchar, name, to_json(numbers)::varchar, to_json(items)::varchar, "left", to_json("right")::varchar'
    const { rows, dead } = await outcomes.read(
      def,
      records.map((value) => ({ value })),
      select,
    )
    const seen = decoded(def, records)
    const good = seen.filter((row) => typeof row !== 'string') as readonly (readonly unknown[])[]
    expect([rows.length, dead.length]).toEqual([good.length, seen.length - good.length])
    expect(dead.length).toBe(24)
    const plain = (value: unknown): unknown =>
      value === null ? null : JSON.stringify(value).replaceAll(/"(-?\d+)"/g, '$1')
    rows.forEach((row, k) => {
      const [id, name, , , numbers, items, left, right] = good[k] as readonly unknown[]
      expect(row.slice(0, 2)).toEqual([id, name])
      expect(row[2]).toBe(plain(numbers))
      const entries = (items as readonly (readonly [string, readonly unknown[]])[]).map(([key, [x, note, many]]) => [
        key,
        { x, note, many },
      ])
      expect(row[3]).toBe(plain(Object.fromEntries(entries)))
      expect(row[4]).toBe(left)
      const [x, note, many] = (right ?? []) as readonly unknown[]
      expect(row[5]).toBe(right === null ? null : plain({ x, note, many }))
    })
  } finally {
    await outcomes.close()
  }
})
