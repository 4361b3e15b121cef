import protobuf from 'protobufjs'
import { describe, expect, test } from 'vitest'
import { wantedOfMessage } from '../../../src/define-protobuf.ts'
import { codeHash } from '../../../src/define-code.ts'
import { protobuf as format, table } from '../../../src/define.ts'
import type { SchemaEntry } from '../../../src/ingest/decode/avro-schemas.ts'
import { readProtobuf } from '../../../src/protobuf-text.ts'
import { framed } from '../../support/registry-server.ts'
import { decodeTable } from './avro-decode.ts'

const V1 = 'syntax = "proto3"; message Order { string id = 1; int32 amount = 2; }'
const V2 =
  'syntax = "proto3"; import "shop/money.proto"; message Order { string id = 1; int64 amount = 2; shop.Money tip = 3; optional string note = 4; }'
const MONEY = 'syntax = "proto3"; package shop; message Money { int64 units = 1; string currency = 2; }'
const WRONG = 'syntax = "proto3"; message Order { string id = 1; string amount = 2; }'
const imports = { 'shop/money.proto': MONEY }
const entry = (text: string): SchemaEntry => ({ kind: 'protobuf', text, imports })
const schemas = new Map<number, SchemaEntry>([
  [1, entry(V1)],
  [2, entry(V2)],
  [3, entry(WRONG)],
  [4, entry('no schema')],
  [5, { kind: 'unreadable', message: 'it is a schema of type JSON' }],
  [6, entry('syntax = "proto3"; message Other { int32 x = 1; } message Order { string id = 1; }')],
])

function value(id: number, text: string, of: object, index: readonly number[] = [0]): Buffer {
  const root = new protobuf.Root()
  protobuf.parse(MONEY, root, { keepCase: true })
  protobuf.parse(text, root, { keepCase: true })
  const type = root.lookupType('Order')
  return framed(id, Buffer.concat([Buffer.from(index), type.encode(type.fromObject(of)).finish()]))
}

const orders = (options: Parameters<typeof format>[0] = {}, columns: Record<string, string> = COLUMNS) =>
  table('orders', { from: { topic: 'shop.orders', value: format(options) }, columns })
const COLUMNS = { id: 'string', amount: 'long', note: 'string' }

describe('messages that name their schemas', () => {
  test('are read by them; what a schema lacks is null', () => {
    const { of } = decodeTable(
      orders(),
      [
        { value: value(2, V2, { id: 'a', amount: 7, tip: { units: 1, currency: 'CHF' }, note: 'n' }) },
        { value: value(1, V1, { id: 'b', amount: 2 }) },
        { value: value(2, V2, { id: 'c' }) },
      ],
      schemas,
    )
    expect([...of].toSorted(([a], [b]) => a - b).map(([, row]) => row)).toEqual([
      ['a', '7', 'n', '{"tip":{"units":1,"currency":"CHF"}}'],
      ['b', '2', null, null],
      ['c', '0', null, null],
    ])
  })

  test('whose schema cannot be used are dead letters where the table says so', () => {
    const { messages } = decodeTable(
      orders({ onIncompatible: 'dead-letter' }),
      [
        { value: value(3, WRONG, { id: 'a', amount: 'b' }) },
        { value: framed(4, Buffer.of(0)) },
        { value: framed(5, Buffer.of(0)) },
        { value: Buffer.from('x') },
        { value: value(6, V1, { id: 'a' }, [2, 2]) },
      ],
      schemas,
    )
    expect([...messages.values()].map((text) => text.slice(0, 60))).toEqual([
      expect.stringContaining('schema 3: amount is of string, which no long takes'),
      expect.stringContaining('schema 4: the schema is no .proto text'),
      'schema 5: it is a schema of type JSON',
      'the value does not begin with a zero and the id of a schema',
      expect.stringContaining('message 1 of its schema, not Other'),
    ])
  })

  test('stop the table for it otherwise', () => {
    const wrong = () => decodeTable(orders(), [{ value: value(3, WRONG, { id: 'a' }) }], schemas)
    expect(wrong).toThrow(
      expect.objectContaining({ code: 'schema.incompatible', context: { table: 'orders', schemaId: 3 } }),
    )
  })

  test('a message that is named is found where it stands', () => {
    const given = [{ value: value(6, V1, { id: 'a' }, [2, 2]) }]
    const { of } = decodeTable(orders({ message: 'Order' }, { id: 'string' }), given, schemas)
    expect([...of.values()]).toEqual([['a', null]])
  })
})

describe('a definition', () => {
  test('without a schema takes its columns from the registry', () => {
    const bare = table('orders', { from: { topic: 't', value: format() } })
    expect(bare).toMatchObject({ columns: [], evolve: 'add-widen', protobuf: { onIncompatible: 'stop' } })
    expect(codeHash(bare)).not.toBe(codeHash(orders()))
    expect(orders().evolve).toBeUndefined()
  })

  test('asks for optional columns, and for none that are declared', () => {
    const wanted = wantedOfMessage(readProtobuf(V2, undefined, imports), orders({}, { id: 'string' }))
    expect(wanted).toEqual({
      columns: [
        { name: 'amount', type: { kind: 'long' }, fromRegistry: true },
        {
          name: 'tip',
          type: {
            kind: 'struct',
            fields: [
              { name: 'units', type: { kind: 'long' } },
              { name: 'currency', type: { kind: 'string' } },
            ],
          },
          fromRegistry: true,
        },
        { name: 'note', type: { kind: 'string' }, fromRegistry: true },
      ],
      others: [],
    })
  })

  test('leaves a message that holds itself to _extra', () => {
    const schema = readProtobuf('syntax = "proto3"; message N { int32 n = 1; N next = 2; }', undefined)
    expect(wantedOfMessage(schema, { columns: [] })).toMatchObject({ columns: [{ name: 'n' }], others: ['next'] })
  })

  test('leaves it there when other schemas have made a column of the name', () => {
    const NODE = 'syntax = "proto3"; message Order { int32 n = 1; Order next = 2; }'
    const records = [{ value: value(1, NODE, { n: 1, next: { n: 2 } }) }]
    const bare = table('orders', { from: { topic: 'shop.orders', value: format() } })
    for (const type of [
      { kind: 'string' },
      { kind: 'struct', fields: [{ name: 'n', type: { kind: 'int' } }] },
    ] as const) {
      const columns = [
        { name: 'n', type: { kind: 'int' } as const },
        { name: 'next', type },
      ]
      const grown = { ...bare, columns: columns.map((column) => ({ ...column, fromRegistry: true as const })) }
      const { of } = decodeTable(grown, records, new Map([[1, entry(NODE)]]))
      expect(of.get(0)).toEqual(['1', null, '{"next":{"n":2}}'])
    }
  })

  test('has imports only with a schema', () => {
    expect(() => orders({ imports })).toThrow(/of a schema in the definition/)
  })
})
