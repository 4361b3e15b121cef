import avsc from 'avsc'
import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { avroText, parseAvro, sizeMin } from '../../src/avro-schema.ts'
import { columnText, type Column } from '../../src/batch.ts'
import { checkPipelines } from '../../src/define-check.ts'
import { checkRegistry, columnsOfAvro, needsRegistry } from '../../src/define-avro.ts'
import { avro, debezium, defineLake, table } from '../../src/define.ts'
import { codeHash } from '../../src/define-code.ts'
import { avscType, schemaArbitrary, valueArbitrary } from '../ingest/decode/avro-arbitrary.ts'

const texts = (columns: readonly Column[]): Record<string, string> =>
  Object.fromEntries(columns.map((column) => [column.name, columnText(column)]))

describe('a schema', () => {
  test('is the same when it is written down and read again', () => {
    fc.assert(
      fc.property(schemaArbitrary, (schema) => {
        const parsed = parseAvro(schema)
        expect(parseAvro(avroText(parsed))).toEqual(parsed)
        expect(avroText(parseAvro(JSON.stringify(schema, undefined, 3)))).toBe(avroText(parsed))
      }),
    )
  })

  test('has no value of fewer bytes than it says', () => {
    const cases = schemaArbitrary.chain((schema) => fc.tuple(fc.constant(schema), valueArbitrary(schema)))
    fc.assert(
      fc.property(cases, ([schema, value]) => {
        expect(avscType(schema).toBuffer(value).length).toBeGreaterThanOrEqual(sizeMin(parseAvro(schema)))
      }),
    )
  })

  test('finds names by namespace, in itself and in others', () => {
    const names = new Map()
    parseAvro({ type: 'enum', name: 'Colour', namespace: 'shop', symbols: ['RED'] }, names)
    const schema = parseAvro(
      {
        type: 'record',
        name: 'shop.Node',
        fields: [
          { name: 'colour', type: 'Colour' },
          { name: 'next', type: ['null', 'Node'] },
          { name: 'other', type: ['null', 'shop.Node'] },
          { name: 'in', type: { type: 'record', name: 'x.In', fields: [{ name: 'c', type: 'shop.Colour' }] } },
        ],
      },
      names,
    )
    expect(schema).toMatchObject({ name: 'shop.Node', fields: [{ type: { symbols: ['RED'] } }, {}, {}, {}] })
    expect(avroText(schema)).toContain('{"name":"next","type":["null","shop.Node"]}')
  })

  test('may say primitives in every form', () => {
    for (const form of ['string', '"string"', { type: 'string' }, { type: { type: 'string' } }, '{"type":"string"}'])
      expect(parseAvro(form)).toEqual({ kind: 'string', logical: undefined })
  })

  test.each<[string, unknown]>([
    ['no JSON', '{"type":'],
    ['an unknown type', 'strin'],
    ['a number', 7],
    ['a union in a union', ['null', ['int']]],
    ['a union with a type twice', ['int', 'int']],
    ['an empty union', []],
    ['a record without a name', { type: 'record', fields: [] }],
    ['a record without fields', { type: 'record', name: 'R' }],
    [
      'a field twice',
      {
        type: 'record',
        name: 'R',
        fields: [
          { name: 'a', type: 'int' },
          { name: 'a', type: 'int' },
        ],
      },
    ],
    [
      'a type twice',
      { type: 'record', name: 'R', fields: [{ name: 'a', type: { type: 'fixed', name: 'R', size: 1 } }] },
    ],
    ['a record that always holds itself', { type: 'record', name: 'R', fields: [{ name: 'a', type: 'R' }] }],
    ['an enum without symbols', { type: 'enum', name: 'E', symbols: [] }],
    ['a fixed of no size', { type: 'fixed', name: 'F', size: -1 }],
    ['nesting without end', '['.repeat(200_000)],
    ['arrays of arrays of arrays', `${'{"type":"array","items":'.repeat(200)}"int"${'}'.repeat(200)}`],
  ])('is refused when it is %s', (_, given) => {
    expect(() => parseAvro(given)).toThrow(expect.objectContaining({ code: 'config.invalid' }))
  })

  test('that refers to itself and grows is no work', () => {
    const fields = (name: string) => [1, 2, 3].map((k) => ({ name: `f${k}`, type: name }))
    const parts: unknown[] = [{ type: 'record', name: 'R0', fields: [] }]
    for (let k = 1; k < 60; k++) parts.push({ type: 'record', name: `R${k}`, fields: fields(`R${k - 1}`) })
    const schema = parseAvro({
      type: 'record',
      name: 'All',
      fields: parts.map((type, k) => ({ name: `p${k}`, type })),
    })
    expect(sizeMin(schema)).toBe(0)
  })

  test.each([
    [{ type: 'bytes', logicalType: 'decimal', precision: 4, scale: 5 }, 'bytes'],
    [{ type: 'bytes', logicalType: 'decimal' }, 'bytes'],
    [{ type: 'bytes', logicalType: 'decimal', precision: 2_000_000, scale: 1_500_000 }, 'bytes'],
    [{ type: 'string', logicalType: 'date' }, 'string'],
    [{ type: 'int', logicalType: 'timestamp-millis' }, 'int'],
    [{ type: 'long', logicalType: 'toString' }, 'long'],
  ])('with a logical type that does not fit is the plain type: %j', (given, kind) => {
    expect(parseAvro(given)).toEqual({ kind, logical: undefined })
  })
})

const CLICK = {
  type: 'record',
  name: 'Click',
  doc: 'what was clicked',
  fields: [
    { name: 'id', type: { type: 'string', logicalType: 'uuid' } },
    { name: 'at', type: { type: 'long', logicalType: 'timestamp-millis' }, doc: 'when' },
    { name: 'local', type: ['null', { type: 'long', logicalType: 'local-timestamp-micros' }], default: null },
    { name: 'price', type: ['null', { type: 'bytes', logicalType: 'decimal', precision: 12, scale: 2 }] },
    { name: 'kind', type: { type: 'enum', name: 'Kind', symbols: ['A', 'B'] } },
    { name: 'tags', type: { type: 'array', items: ['null', 'string'] } },
    { name: 'counts', type: { type: 'map', values: 'long' } },
    { name: 'where', type: ['null', { type: 'record', name: 'Where', fields: [{ name: '_x', type: 'double' }] }] },
    { name: 'mixed', type: ['null', 'string', 'long'] },
    { name: 'next', type: ['null', 'Click'] },
    { name: '_hidden', type: 'int' },
    { name: 'AT', type: 'int' },
    { name: 'day', type: { type: 'int', logicalType: 'date' } },
    { name: 'seconds', type: { type: 'int', logicalType: 'time-millis' } },
    { name: 'hash', type: { type: 'fixed', name: 'Hash', size: 16 } },
  ],
}

describe('columns of a schema', () => {
  const columns = {
    id: 'uuid required',
    at: 'timestamptz required',
    local: 'timestamp',
    price: 'decimal(12,2)',
    kind: 'string required',
    tags: 'list<string> required',
    counts: 'map<string,long> required',
    where: 'struct<_x:double required>',
    day: 'date required',
    seconds: 'int required',
    hash: 'binary required',
  }
  test('are its fields, but for those that cannot be one', () => {
    expect(texts(columnsOfAvro(parseAvro(CLICK)))).toEqual(columns)
  })

  test('are those of a table that declares none', () => {
    const clicks = table('clicks', { from: { topic: 'clicks', value: avro({ schema: CLICK }) } })
    expect(texts(clicks.columns)).toEqual(columns)
    expect(needsRegistry(clicks)).toBe(false)
  })

  test('are those that are declared otherwise', () => {
    const clicks = table('clicks', {
      from: { topic: 'clicks', value: avro({ schema: CLICK }) },
      columns: { id: 'string' },
    })
    expect(texts(clicks.columns)).toEqual({ id: 'string' })
  })
})

describe('a table in Avro', () => {
  const yaml = (value: unknown, rest: object = {}) =>
    checkPipelines(
      { p: { tables: { clicks: { from: { topic: 'clicks', value }, columns: { id: 'long' }, ...rest } } } },
      [],
    ).pipelines[0]!.tables[0]!
  const schema = { type: 'record', name: 'R', fields: [{ name: 'id', type: 'long' }] }

  test('is the same table in YAML and in TypeScript, whatever the white space and documentation', () => {
    const written = yaml({ format: 'avro', schema: JSON.stringify({ ...schema, doc: 'x' }, undefined, 2) })
    const typed = table('clicks', { from: { topic: 'clicks', value: avro({ schema }) }, columns: { id: 'long' } })
    expect(written).toEqual(typed)
    expect(codeHash(written)).toBe(codeHash(typed))
  })

  test('is other code when its schema is another', () => {
    const of = (name: string) => yaml({ format: 'avro', schema: { ...schema, fields: [{ name, type: 'long' }] } })
    expect(codeHash(of('id'))).not.toBe(codeHash(of('other')))
    expect(codeHash(yaml('avro'))).not.toBe(codeHash(yaml('json')))
    expect(codeHash(yaml('avro'))).toBe(codeHash(yaml({ format: 'avro' })))
  })

  test('without a schema needs a registry', () => {
    const lake = defineLake({ p: [yaml('avro')] })
    expect(() => checkRegistry(lake, {})).toThrow(/registry\.url: is missing/)
    expect(() => checkRegistry(lake, { registry: { url: 'http://r' } })).not.toThrow()
    expect(() => checkRegistry(defineLake({ p: [yaml({ format: 'avro', schema })] }), {})).not.toThrow()
  })

  test.each<[string, unknown, object, string]>([
    ['a registry, a text key', 'avro', { columns: { id: 'string' }, key: ['id'] }, 'string'],
    ['a registry, another key', 'avro', { key: ['id'] }, 'avro'],
    ['a schema', { format: 'avro', schema }, { key: ['id'] }, 'json'],
    ['a change stream', debezium({ encoding: 'avro' }), { key: ['id'] }, 'avro'],
    ['a change stream in JSON', debezium(), { key: ['id'] }, 'debezium'],
    ['no key', 'avro', {}, 'none'],
  ])('with %s takes record keys as it is usual', (_, value, rest, recordKey) => {
    expect(yaml(value, rest).recordKey).toBe(recordKey)
  })

  test.each<[string, unknown, RegExp]>([
    [
      'a schema that is none',
      { format: 'avro', schema: '{' },
      /from\.value\.schema: the Avro schema: the text is not JSON/,
    ],
    ['a schema of a number', { format: 'avro', schema: '"int"' }, /of type int, and a row is a record/],
    ['a schema beside JSON', { format: 'json', schema }, /from\.value\.schema: is of values in Avro/],
    ['an encoding of rows', { format: 'avro', encoding: 'avro' }, /from\.value\.encoding: is of change envelopes/],
    ['an unknown format', 'avrro', /Did you mean "avro"/],
    ['an unknown option', { format: 'avro', shema: '' }, /there is no key "shema"/],
    ['a format to come', 'csv', /not in this release/],
  ])('with %s says so', (_, value, message) => {
    let error: unknown
    try {
      yaml(value)
    } catch (caught) {
      error = caught
    }
    expect(`${(error as Error).message} ${(error as { fix?: string }).fix}`).toMatch(message)
  })
})

test('avsc, the reference, reads the schema of the example', () => {
  expect(avsc.Type.forSchema(CLICK as avsc.Schema).name).toBe('Click')
})
