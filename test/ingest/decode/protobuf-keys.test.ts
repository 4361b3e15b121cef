import * as fc from 'fast-check'
import protobuf from 'protobufjs'
import { describe, expect, test } from 'vitest'
import { codeHash } from '../../../src/define-code.ts'
import { checkPipelines } from '../../../src/define-check.ts'
import { needsRegistry } from '../../../src/define-avro.ts'
import { avro, protobuf as format, table, type TableOptions } from '../../../src/define.ts'
import type { SchemaEntry } from '../../../src/ingest/decode/avro-schemas.ts'
import { framed } from '../../support/registry-server.ts'
import { operations } from './operations.ts'

/** Writes a message as protobufjs does. */
function encode(schema: string, value: object, message = 'Key'): Buffer {
  const root = protobuf.parse(schema, new protobuf.Root(), { keepCase: true }).root
  const type = root.lookupType(message)
  return Buffer.from(type.encode(type.fromObject(value)).finish())
}

/** A key of columns that are fields of a message, which stand in another order there. */
const FIELDS = {
  i: ['sint32', 'int', fc.integer()],
  l: ['int64', 'long', fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }).map(String)],
  u: ['fixed64', 'decimal(20,0)', fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }).map(String)],
  b: ['bool', 'boolean', fc.boolean()],
  s: ['string', 'string', fc.string({ unit: 'grapheme', maxLength: 20 })],
  y: ['bytes', 'binary', fc.uint8Array({ maxLength: 20 })],
} as const
type Field = keyof typeof FIELDS
const keys = fc.shuffledSubarray(Object.keys(FIELDS) as Field[], { minLength: 1 }).chain((names) =>
  fc.tuple(
    fc.constant(names),
    fc.array(fc.record(Object.fromEntries(names.map((name) => [name, FIELDS[name][2] as fc.Arbitrary<unknown>]))), {
      minLength: 1,
      maxLength: 8,
    }),
  ),
)

const messageOf = (names: readonly Field[]) =>
  `syntax = "proto3"; message Before { string x = 1; } message Key { ${names
    .toReversed()
    .map((name, k) => `${FIELDS[name][0]} ${name} = ${k + 3};`)
    .join(' ')} string more = 1; }`

const columnsOf = (names: readonly Field[]) => Object.fromEntries(names.map((name) => [name, FIELDS[name][1]]))

/** A zero, an id, and how deep and where its message stands: the second of its file. */
const behind = (id: number, bytes: Uint8Array) => framed(id, Buffer.concat([Buffer.of(2, 2), bytes]))

describe('a null value whose key is a message', () => {
  test('names the row that a value with the same fields made', () => {
    fc.assert(
      fc.property(keys, fc.constantFrom('plain', 'framed', 'registry'), fc.nat(), ([names, rows], how, id) => {
        const schema = messageOf(names)
        const frame = (bytes: Buffer) => (how === 'plain' ? bytes : behind(id, bytes))
        const of = { message: 'Key', ...(how === 'registry' ? {} : { schema }) }
        const keyed = table('orders', {
          from: {
            topic: 'shop.orders',
            value: format({ schema, message: 'Key' }),
            key: format({ ...of, ...(how === 'framed' ? { framing: 'confluent' } : {}) }),
          },
          columns: columnsOf(names),
          key: names,
        })
        const bytes = rows.map((row) => encode(schema, row))
        const records = [
          ...bytes.map((value) => ({ value })),
          // What is no column says nothing, and of a field that stands twice the last counts.
          ...bytes.map((value, k) => ({
            value: null,
            key: frame(
              Buffer.concat([bytes[(k + 1) % bytes.length]!, encode(schema, { more: 'x' }), zeros(rows[k]!), value]),
            ),
          })),
        ]
        const schemas = new Map<number, SchemaEntry>([[id, { kind: 'protobuf', text: schema, imports: {} }]])
        const { hashes, deadLetters } = operations(keyed, records, schemas)
        expect(deadLetters).toBe(0)
        expect(hashes.slice(rows.length)).toEqual(hashes.slice(0, rows.length))

        /** Fields that are not written say nothing of those that stood before. */
        function zeros(row: Readonly<Record<string, unknown>>): Buffer {
          const number = (name: Field) => names.toReversed().indexOf(name) + 3
          const empty = names.filter((name) => encode(schema, { [name]: row[name] }).length === 0)
          return Buffer.concat(
            empty.map((name) => {
              const wire = { i: 0, l: 0, u: 1, b: 0, s: 2, y: 2 }[name]
              return Buffer.from([(number(name) << 3) | wire, ...Array<number>(wire === 1 ? 8 : 1).fill(0)])
            }),
          )
        }
      }),
      { numRuns: 40 },
    )
  })

  const KEY = 'syntax = "proto3"; message OrderKey { string region = 1; int64 id = 2; }'
  const orders = (more: Partial<TableOptions['from']> = {}, key = ['id', 'region']) =>
    table('orders', {
      from: { topic: 'shop.orders', key: format({ schema: KEY }), ...more } as never,
      columns: { id: 'long', region: 'string', text: 'string' },
      key: key as never,
    })
  const schemas = new Map<number, SchemaEntry>([
    [1, { kind: 'protobuf', text: KEY, imports: {} }],
    [2, { kind: 'protobuf', text: 'syntax = "proto3"; message OrderKey { int64 id = 1; }', imports: {} }],
    [3, { kind: 'schema', schema: { kind: 'string' } as never }],
    [4, { kind: 'unknown' }],
  ])

  test('finds rows of values in other formats', () => {
    const key = encode(KEY, { id: 5, region: 'eu' }, 'OrderKey')
    const { hashes } = operations(orders(), [{ value: '{"id":5,"region":"eu"}' }, { value: null, key }])
    expect([hashes.length, new Set(hashes).size]).toEqual([2, 1])
    const zero = operations(orders(), [{ value: '{"id":0,"region":""}' }, { value: null, key: Buffer.alloc(0) }])
    expect([zero.hashes.length, new Set(zero.hashes).size]).toEqual([2, 1])
  })

  test.each<[string, Buffer]>([
    ['no frame', encode(KEY, { id: 5 }, 'OrderKey')],
    ['nothing', Buffer.alloc(0)],
    ['another message of the file', framed(1, Buffer.concat([Buffer.of(2, 2), encode(KEY, { id: 5 }, 'OrderKey')]))],
    ['a schema without a column', framed(2, Buffer.of(0))],
    ['a schema in Avro', framed(3, Buffer.of(0))],
    ['no such schema', framed(4, Buffer.of(0))],
    ['bytes cut short', framed(1, Buffer.of(0, 0x0a, 9, 0x61))],
  ])('with %s names no row', (_, key) => {
    const { hashes, deadLetters } = operations(orders({ key: 'protobuf' }), [{ value: null, key }], schemas)
    expect([hashes.length, deadLetters]).toEqual([0, 1])
  })

  test('is part of the code, and says whether a registry is needed', () => {
    const [own, registry] = [orders(), orders({ key: 'protobuf' })]
    expect([needsRegistry(own), needsRegistry(registry)]).toEqual([false, true])
    const others = [
      own,
      registry,
      orders({ key: 'json' }),
      orders({ key: format({ schema: KEY, framing: 'confluent' }) }),
    ]
    expect(new Set(others.map(codeHash)).size).toBe(others.length)
    const spaced = KEY.replaceAll(';', ' ;\n')
    expect(codeHash(orders({ key: format({ schema: spaced }) }))).toBe(codeHash(own))
  })

  test('is written in YAML as in a program', () => {
    const written = (key: unknown) => {
      const from = { topic: 'shop.orders', key }
      const fields = { from, columns: { id: 'long', region: 'string', text: 'string' }, key: ['id', 'region'] }
      return checkPipelines({ shop: { tables: { orders: fields } } }, []).pipelines[0]!.tables[0]
    }
    expect(written({ format: 'protobuf', schema: KEY })).toEqual(orders())
    expect(written('protobuf')).toEqual(orders({ key: format() }))
    expect(written('protobuf')).toEqual(orders({ key: 'protobuf' }))
  })

  test.each<[unknown, RegExp]>([
    [format({ schema: 'syntax = "proto3"; message K { int64 id = 1; }' }), /region: the message K has no such field/],
    [format({ schema: 'syntax = "proto3"; message K { string id = 1; string region = 2; }' }), /which no long takes/],
    [format({ schema: 'no schema' }), /from\.key/],
    [format({ schema: KEY, message: 'Other' }), /Other/],
    [format({ imports: {} }), /imports/],
    [format({ onIncompatible: 'dead-letter' }), /onIncompatible/],
    [avro(), /must be protobuf/],
    ['proto', /must be string, json, avro, protobuf, debezium or none/],
  ])('of a wrong definition is refused: %j', (key, message) => {
    expect(() => orders({ key: key as never })).toThrow(message)
  })
})
