import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { parseAvro } from '../../../src/avro-schema.ts'
import type { Column } from '../../../src/batch.ts'
import { avro, debezium, table, type TableDefinition } from '../../../src/define.ts'
import { CompiledSchemas, type SchemaEntry } from '../../../src/ingest/decode/avro-schemas.ts'
import { MapKeys } from '../../../src/ingest/decode/avro-values.ts'
import { framed } from '../../support/registry-server.ts'
import { avscType, type Json } from './avro-arbitrary.ts'
import { decode, decodeTable } from './avro-decode.ts'

const record = (name: string, ...fields: readonly (readonly [string, Json])[]): Json => ({
  type: 'record',
  name,
  fields: fields.map(([field, type]) => ({ name: field, type })),
})
const entry = (schema: Json): SchemaEntry => ({ kind: 'schema', schema: parseAvro(schema) })
const value = (id: number, schema: Json, of: unknown): Buffer => framed(id, avscType(schema).toBuffer(of))

const V1 = record('O', ['id', 'string'], ['n', 'int'])
const V2 = record('O', ['n', ['null', 'long']], ['note', 'string'], ['id', 'string'])
const WRONG = record('O', ['id', 'string'], ['n', 'string'])
const schemas = new Map<number, SchemaEntry>([
  [1, entry(V1)],
  [2, entry(V2)],
  [3, entry(WRONG)],
  [4, { kind: 'unknown' }],
  [5, { kind: 'unreadable', message: 'it is a schema of type JSON' }],
  [6, entry(record('K', ['id', 'string']))],
  [7, entry('string')],
])
const columns = { id: 'string', n: 'long' }
const orders = (onIncompatible?: 'stop' | 'dead-letter', rest: object = {}) =>
  table('orders', {
    from: { topic: 'shop.orders', value: avro(onIncompatible === undefined ? {} : { onIncompatible }) },
    columns,
    ...rest,
  })

describe('values that name their schemas', () => {
  test('are read by them, whatever came before', () => {
    const written = fc.array(fc.tuple(fc.boolean(), fc.string({ maxLength: 30 }), fc.integer()), { maxLength: 60 })
    fc.assert(
      fc.property(written, (list) => {
        const records = list.map(([isOld, id, n]) => ({
          value: isOld ? value(1, V1, { id, n }) : value(2, V2, { id, n: { long: BigInt(n) }, note: 'x' }),
        }))
        const { of } = decodeTable(orders(), records, schemas)
        expect([...of].toSorted(([a], [b]) => a - b).map(([, row]) => row)).toEqual(
          list.map(([isOld, id, n]) => [id, String(n), isOld ? null : '{"note":"x"}']),
        )
      }),
      { numRuns: 30 },
    )
  })

  test.each([
    ['drop', null],
    ['mask', '{"note":"****"}'],
  ] as const)('have no redacted field in _extra: %s', (how, extra) => {
    const written = [{ value: value(2, V2, { id: 'a', n: { long: 1n }, note: 'secret' }) }]
    const { of } = decodeTable(orders(undefined, { redact: { note: how } }), written, schemas)
    expect([...of].map(([, row]) => row)).toEqual([['a', '1', extra]])
  })

  test('whose schema cannot be used are dead letters where the table says so', () => {
    const { of, messages } = decodeTable(
      orders('dead-letter'),
      [
        { value: value(3, WRONG, { id: 'a', n: 'b' }) },
        { value: framed(4, Buffer.of(2)) },
        { value: framed(5, Buffer.of(2)) },
        { value: Buffer.from('{"id":"x"}') },
        { value: Buffer.of(0, 0, 0) },
        { value: value(1, V1, { id: 'a', n: 1 }) },
        { value: framed(1, Buffer.of(2)) },
      ],
      schemas,
    )
    expect([0, 1, 2, 3, 4, 5, 6].map((k) => of.get(k))).toEqual([
      'schema.incompatible',
      'schema.unknown',
      'schema.incompatible',
      'decode.avro',
      'decode.avro',
      ['a', '1', null],
      'decode.avro',
    ])
    expect(messages.get(0)).toBe('schema 3: n: the column is of type long, the schema has a string')
    expect(messages.get(2)).toBe('schema 5: it is a schema of type JSON')
    // Places are counted from the zero in front.
    expect(messages.get(6)).toMatch(/at byte [67]$/)
  })

  test.each([3, 5])('stop the pipeline at schema %i, which does not fit', (id) => {
    const good = { value: value(1, V1, { id: 'a', n: 1 }) }
    expect(() => decodeTable(orders(), [good, { value: framed(id, Buffer.of(0)) }], schemas)).toThrow(
      expect.objectContaining({ code: 'schema.incompatible', context: { table: 'orders', schemaId: id } }),
    )
  })

  test('an unknown id that comes to be known is read', () => {
    const changing = new Map<number, SchemaEntry>([[1, { kind: 'unknown' }]])
    let compiled = 0
    const made = new CompiledSchemas(orders(), changing, (schema) => {
      compiled++
      return schema
    })
    expect(made.of(1)).toMatchObject({ reason: { code: 'schema.unknown' } })
    changing.set(1, entry(V1))
    expect(made.of(1)).toMatchObject({ kind: 'record', name: 'O' })
    expect(made.of(1)).toBe(made.of(1))
    expect(compiled).toBe(1)
  })
})

describe('keys of null values', () => {
  const keyed = table('orders', { from: { topic: 'shop.orders', value: avro(), key: 'avro' }, columns, key: ['id'] })

  test.each<[string, Buffer]>([
    ['a record', value(6, record('K', ['id', 'string']), { id: 'a' })],
    ['the bare value', value(7, 'string', 'a')],
  ])('are %s with the id of a schema', (_, key) => {
    const { counts } = decodeTable(keyed, [{ key, value: null }], schemas)
    expect(counts).toMatchObject({ tombstones: 1, deadLetters: 0 })
  })

  test.each<[string, Buffer]>([
    ['without an id', Buffer.from('a')],
    ['of an unknown schema', framed(4, Buffer.from('a'))],
    ['of a schema without the column', value(3, WRONG, { id: 'a', n: 'b' }).subarray(0, 6)],
    ['cut short', framed(7, Buffer.of(20, 97))],
  ])('that are %s name no row', (_, key) => {
    const { of } = decodeTable(keyed, [{ key, value: null }], schemas)
    expect(of.get(0)).toBe('key.unmappable')
  })
})

describe('what a record does not carry', () => {
  test('is kept where the schema lacks the column', () => {
    const kept = table('orders', {
      from: { topic: 'shop.orders', value: avro() },
      columns: { ...columns, other: 'string' },
      key: ['id'],
      missing: 'keep',
    })
    const { of, counts } = decodeTable(kept, [{ value: value(1, V1, { id: 'a', n: 1 }) }], schemas)
    expect(of.get(0)).toEqual(['a', '1', null, null])
    expect(counts).toMatchObject({ rows: 1, deadLetters: 0 })
  })
})

describe('a field that is no column of its schema', () => {
  const SEVERAL = record(
    'O',
    ['id', 'string'],
    ['a', ['int', 'string']],
    ['s', record('S', ['x', 'int'], ['y', ['null', 'int', 'string']])],
    ['l', { type: 'array', items: record('I', ['x', 'int'], ['y', ['int', 'string']]) }],
  )
  const own = table('orders', { from: { topic: 'shop.orders', value: avro() } })
  const inner = (...names: string[]) => names.map((name) => ({ name, type: { kind: 'string' } as const }))
  const grown = (...names: string[]): TableDefinition => {
    const struct = {
      kind: 'struct',
      fields: [{ name: 'x', type: { kind: 'int' } as const }, ...inner(...names)],
    } as const
    const columns: Column[] = [
      { name: 'id', type: { kind: 'string' } },
      { name: 's', type: struct },
      { name: 'l', type: { kind: 'list', element: struct } },
      ...(names.length === 0 ? [] : inner('a')),
    ]
    return { ...own, columns: columns.map((column) => ({ ...column, fromRegistry: true })) }
  }

  test('stands in _extra whatever columns other schemas have made of the name', () => {
    const given = { id: 'i', a: { string: 'b' }, s: { x: 1, y: { string: 'z' } }, l: [{ x: 2, y: { int: 3 } }] }
    const records = [{ value: value(1, SEVERAL, given) }]
    const before = decodeTable(grown(), records, new Map([[1, entry(SEVERAL)]])).of.get(0)
    const after = decodeTable(grown('y'), records, new Map([[1, entry(SEVERAL)]])).of.get(0)
    const extra = '{"a":"b","s":{"y":"z"},"l":{"0":{"y":3}}}'
    expect(before).toEqual(['i', ['1'], [['2']], extra])
    expect(after).toEqual(['i', ['1', null], [['2', null]], null, extra])
  })
})

describe('lists and maps', () => {
  test('of structs keep what no column has at its place', () => {
    const item = record('I', ['sku', 'string'], ['colour', 'string'])
    const schema = record('O', ['items', { type: 'array', items: item }], ['by', { type: 'map', values: 'I' }])
    const bytes = avscType(schema).toBuffer({
      items: [
        { sku: 'a', colour: 'red' },
        { sku: 'b', colour: 'blue' },
      ],
      by: { 'k"1': { sku: 'c', colour: 'green' } },
    })
    const sku = { name: 'sku', type: { kind: 'string' } } as const
    const struct = { kind: 'struct', fields: [sku] } as const
    const { of } = decode(
      schema,
      [
        { name: 'items', type: { kind: 'list', element: struct } },
        { name: 'by', type: { kind: 'map', value: struct } },
      ],
      [bytes],
      { unknown: 'extra' },
    )
    expect(of.get(0)).toEqual([
      [['a'], ['b']],
      [['k"1', ['c']]],
      '{"items":{"0":{"colour":"red"},"1":{"colour":"blue"}},"by":{"k\\"1":{"colour":"green"}}}',
    ])
  })

  test('have limits of cells, which the bytes of one record may not pass', () => {
    const schema = record('O', ['a', { type: 'array', items: ['null', record('W', ['x', 'int'])] }])
    const fields = Array.from({ length: 40 }, (_, k) => ({ name: `c${k}`, type: { kind: 'string' } }) as const)
    const list = { name: 'a', type: { kind: 'list', element: { kind: 'struct', fields } } } as const
    const count = 500_000
    const head = Buffer.from([...varint(BigInt(count) * 2n)])
    const began = performance.now()
    const { of } = decode(schema, [list], [Buffer.concat([head, Buffer.alloc(count + 1)])])
    expect(of.get(0)).toBe('decode.avro')
    expect(performance.now() - began).toBeLessThan(500)
  })

  test('keys are compared, however many they are', () => {
    const names = fc.array(fc.string({ maxLength: 3 }), { maxLength: 200, size: 'max' })
    fc.assert(
      fc.property(names, (list) => {
        const keys = new MapKeys()
        const bytes = Buffer.from(list.join(''))
        const seen = new Set<string>()
        let at = 0
        for (const name of list) {
          const end = at + Buffer.byteLength(name)
          const text = bytes.toString('latin1', at, end)
          expect(keys.add(bytes, at, end)).toBe(!seen.has(text))
          seen.add(text)
          at = end
        }
      }),
    )
  })
})

const changes = (doc: string) =>
  table('orders', {
    from: { topic: 'shop.orders', value: debezium({ encoding: 'avro' }) },
    columns: { id: 'int', doc },
    key: ['id'],
    onTruncate: 'apply',
  })

describe('rows of a change stream', () => {
  const row = record('Row', ['id', 'int'], ['doc', ['null', 'string']])
  const envelope = record('Envelope', ['before', ['null', row]], ['after', ['null', 'Row']], ['op', 'string'])
  const known = new Map([[1, entry(envelope)]])
  const change = (op: string, doc: string | null, hasRow = true) => ({
    value: value(1, envelope, {
      before: null,
      after: hasRow ? { Row: { id: 1, doc: doc === null ? null : { string: doc } } } : null,
      op,
    }),
  })

  test('may hold JSON text for lists, maps and structs', () => {
    const { of, messages } = decodeTable(
      changes('struct<n:long>'),
      [change('c', '{"n":9007199254740993}'), change('u', null), change('u', '{"n":'), change('u', '{"n":"x"}')],
      known,
    )
    expect([0, 1, 2, 3].map((k) => of.get(k))).toEqual([
      ['1', ['9007199254740993'], null],
      ['1', null, null],
      'decode.type',
      'decode.type',
    ])
    expect(messages.get(2)).toMatch(/^doc, as JSON text: /)
  })

  test.each<[string, string, boolean, string]>([
    ['an insert without a row', 'c', false, 'decode.debezium'],
    ['an unknown operation', 'x', true, 'decode.debezium'],
    ['an operation of two letters', 'cc', true, 'decode.debezium'],
  ])('%s is no event', (_, op, hasRow, code) => {
    expect(decodeTable(changes('string'), [change(op, null, hasRow)], known).of.get(0)).toBe(code)
  })

  test('that are not in an envelope make the schema incompatible', () => {
    const bare = new Map([[1, entry(row)]])
    expect(() => decodeTable(changes('string'), [change('c', 'x')], bare)).toThrow(/no change envelope/)
  })

  test('changed bytes are an event or a dead letter', () => {
    const bytes = change('u', 'some text').value
    const edits = fc.array(fc.tuple(fc.nat(bytes.length - 1), fc.nat(255)), { minLength: 1, maxLength: 3 })
    fc.assert(
      fc.property(edits, (list) => {
        const edited = Buffer.from(bytes)
        for (const [at, byte] of list) edited[at] = byte
        const ids = new Map([[edited.readInt32BE(1), entry(envelope)], ...known])
        const { counts } = decodeTable(changes('string'), [{ value: edited }], ids)
        const { rows, deadLetters, tombstones, skipped } = counts!
        expect(rows + deadLetters + tombstones + skipped).toBe(1)
      }),
    )
  })
})

function* varint(value: bigint): Generator<number> {
  let rest = value
  for (; rest > 127n; rest >>= 7n) yield Number(rest & 127n) | 128
  yield Number(rest)
}
