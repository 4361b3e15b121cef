import * as fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { systemClock } from '../../../src/clock.ts'
import { openEncoder } from '../../../src/ingest/encoder.ts'
import { MemoryStorage } from '../../../src/lake/storage/memory.ts'
import { batchOf, tablePlan } from '../../support/lake-table.ts'
import { ParquetReader } from '../../support/parquet.ts'
import { mutated } from './arbitrary.ts'
import { capture, changeTable, decoded, folded } from './debezium-capture.ts'

let reader: ParquetReader
beforeAll(async () => {
  reader = await ParquetReader.open()
})
afterAll(() => reader.close())

const U = '__debezium_unavailable_value'
const COLUMNS = {
  id: 'decimal(20,0)',
  a: 'string',
  by: 'binary',
  tags: 'list<string>',
  ints: 'list<int>',
  m: 'map<string,string>',
  s: 'struct<x:string,y:int>',
  n: 'int required',
}
const FULL = {
  id: 'AQ==',
  a: 'first',
  by: '3q2+7w==',
  tags: ['t', null],
  ints: [1],
  m: { k: 'v' },
  s: { x: 'x', y: 1 },
  n: 7,
}
const ROW = {
  id: '1',
  a: 'first',
  by: 'deadbeef',
  tags: ['t', null],
  ints: ['1'],
  m: [['k', 'v']],
  s: ['x', '1'],
  n: '7',
}

interface Event {
  readonly key: string | null
  readonly value: string | null
}

function change(op: string, after: object | null, before: object | null = null, lsn?: number): string {
  return JSON.stringify({ before, after, source: { lsn }, op })
}
const upsert = (after: object, lsn?: number): Event => ({ key: '{"id":"AQ=="}', value: change('u', after, null, lsn) })

const things = changeTable('things', COLUMNS, { key: ['id'] })
const ordered = changeTable('things', COLUMNS, { key: ['id'], version: 'source.lsn' })

test.each([
  ['text', { a: U }],
  ['escaped text', { a: `${U.slice(0, 1)}\\u005f${U.slice(2)}` }],
  ['base64 in a column of bytes', { by: Buffer.from(U).toString('base64') }],
  ['base64 in a column of text', { a: Buffer.from(U).toString('base64') }],
  ['hexadecimal digits', { a: Buffer.from(U).toString('hex') }],
  ['the element of an array', { tags: [U] }],
  ['an array of its letters', { ints: [...Buffer.from(U)] }],
  ['a map', { m: { [U]: U } }],
  ['text where a map is due', { m: U }],
  ['text where a struct is due', { s: U }],
  ['inside of a struct', { s: { x: U, y: 2 } }],
  ['text where a required number is due', { n: U }],
  ['several columns', { a: U, by: U, tags: [U], m: U, s: U }],
])('a value that a change does not carry is kept, resolved record by record: %s', async (_, given) => {
  const json = (after: object): Event => ({
    key: '{"id":"AQ=="}',
    value: change('u', after).replaceAll('\\\\u', '\\u'),
  })
  const records = [upsert(FULL), json({ ...FULL, ...given }), json({ ...FULL, ...given })]
  for (const size of [1, 3]) {
    const { rows, dead } = await folded(things, records, reader, size)
    expect(dead).toEqual([])
    expect(rows).toEqual([ROW])
  }
})

test('a value of its own counts, before a kept one and after it', async () => {
  const kept = upsert({ ...FULL, a: U, n: 8 })
  const records = [upsert(FULL), upsert({ ...FULL, a: 'second' }), kept]
  for (const size of [1, 2, 3]) {
    const { rows } = await folded(things, records, reader, size)
    expect(rows).toEqual([{ ...ROW, a: 'second', n: '8' }])
  }
  const { rows } = await folded(things, [...records, upsert({ ...FULL, a: 'third' })], reader)
  expect(rows).toEqual([{ ...ROW, a: 'third' }])
})

test('a kept value without a row is a dead letter, and so is a placeholder in the key', async () => {
  const removed = { key: '{"id":"AQ=="}', value: change('d', null) }
  const { dead, rows } = await folded(
    things,
    [upsert(FULL), removed, upsert({ ...FULL, a: U }), upsert({ ...FULL, id: U })],
    reader,
  )
  expect(dead).toEqual([
    ['2', 'cdc.unavailable_without_base'],
    ['3', 'key.null'],
  ])
  expect(rows).toEqual([])
})

const schema = (name: string, fields: readonly object[]) => ({ type: 'struct', fields, name })
const idField = (scale: number) => ({
  type: 'bytes',
  name: 'org.apache.kafka.connect.data.Decimal',
  parameters: { scale: String(scale) },
  field: 'id',
})

test.each([
  ['an object', '{"id":"AQ=="}', null],
  ['a number', '{"id":1}', null],
  ['more fields than columns', '{"x":{"id":2},"id":"AQ=="}', null],
  ['beside its schema', JSON.stringify({ schema: schema('k', [idField(0)]), payload: { id: 'AQ==' } }), null],
  ['in the scale of its schema', JSON.stringify({ schema: schema('k', [idField(1)]), payload: { id: 'Cg==' } }), null],
  ['the bare value', '"AQ=="', null],
  ['the bare value beside its schema', '{"schema":{"type":"bytes"},"payload":"AQ=="}', null],
  ['none, but a row before', null, { id: 'AQ==', a: 'other' }],
  ['another than that of the table', '{"other":5}', { id: 'AQ==' }],
])('a delete names its row by its key: %s', async (_, key, before) => {
  const { rows, dead } = await folded(things, [upsert(FULL), { key, value: change('d', null, before) }], reader)
  expect({ rows, dead }).toEqual({ rows: [], dead: [] })
  if (before !== null) return
  const tombstone = await folded(things, [upsert(FULL), { key, value: null }], reader)
  expect(tombstone).toMatchObject({ rows: [], dead: [] })
})

test.each([
  ['{"other":5}', null, 'key.unmappable'],
  ['{"id":null}', null, 'key.unmappable'],
  ['{"id":', null, 'key.unmappable'],
  ['{"id":"AQ==","id":"AQ=="}', null, 'key.unmappable'],
  [`{"id":"${U}"}`, null, 'key.unmappable'],
  [null, { a: 'x' }, 'key.null'],
  [null, { id: null }, 'key.null'],
  [null, { id: 'no base64' }, 'decode.type'],
])('a delete of key %j and row before %j is a dead letter', async (key, before, code) => {
  const { rows, dead } = await folded(things, [upsert(FULL), { key, value: change('d', null, before) }], reader)
  expect(dead).toEqual([['1', code]])
  expect(rows).toEqual([ROW])
})

test('the deletes of a table without keys, and what follows them, are counted and nothing else', async () => {
  const { rows, dead } = await folded(
    things,
    [upsert(FULL), { key: null, value: change('d', null) }, { key: null, value: null }],
    reader,
  )
  expect({ rows, dead }).toEqual({ rows: [ROW], dead: [] })
})

test('a key whose columns are named like the parts of the wrapper', async () => {
  const definition = changeTable('odd', { schema: 'int', payload: 'int' }, { key: ['schema', 'payload'] })
  const row = { schema: 1, payload: 2 }
  const { rows, dead } = await folded(
    definition,
    [
      { key: null, value: change('c', row) },
      { key: JSON.stringify(row), value: null },
    ],
    reader,
  )
  expect({ rows, dead }).toEqual({ rows: [], dead: [] })
})

test('changes take their version from the source; without one a row is a dead letter and a delete is bare', async () => {
  const removed = (lsn?: number): Event => ({ key: '{"id":"AQ=="}', value: change('d', null, null, lsn) })
  const records = [upsert(FULL, 5), upsert(FULL), removed(7), removed()]
  const { versions, bare, dead } = await folded(ordered, records, reader)
  expect(versions).toEqual([5n, 7n, 0n])
  expect(bare).toEqual([2])
  expect(dead).toEqual([['1', 'version.null']])
})

test('the version is a column of the table, exact', async () => {
  const definition = changeTable('v', { id: 'int' }, { key: ['id'], version: 'source.lsn' })
  const storage = new MemoryStorage('version')
  const encoder = await openEncoder({ tables: [definition], storage, clock: systemClock })
  const values = ['9007199254740993', '-1'].map((lsn) => `{"op":"c","after":{"id":1},"source":{"lsn":${lsn}}}`)
  const batch = batchOf(
    values.map((value) => ({ value })),
    { topic: 'v' },
  )
  const staged = await encoder.encode(tablePlan(definition), [batch], new Set())
  expect(staged.keys!.versions).toEqual(BigInt64Array.of(9007199254740993n, -1n))
  expect(await reader.rows(storage, staged.files[0]!, '_version')).toEqual([[9007199254740993n], [-1n]])
  await encoder.close()
})

test('partial images keep what they do not carry', async () => {
  const definition = changeTable('p', { id: 'int', a: 'string', b: 'string' }, { key: ['id'], missing: 'keep' })
  const key = '{"id":1}'
  const records = [
    { key, value: change('c', { id: 1, a: 'a', b: 'b' }) },
    { key, value: change('u', { id: 1, a: null }) },
    { key, value: change('u', { id: 1, b: U }) },
  ]
  for (const size of [1, 3]) {
    const { rows, dead } = await folded(definition, records, reader, size)
    expect({ rows, dead }).toEqual({ rows: [{ id: '1', a: null, b: 'b' }], dead: [] })
  }
})

test('damaged changes: each is a row, an operation or a dead letter', { timeout: 60_000 }, async () => {
  const types = capture('postgres/json-plain.ndjson.gz').filter(({ topic }) => topic.endsWith('.types'))
  const wrapped = capture('postgres/json-schema.ndjson.gz').filter(({ topic }) => topic.endsWith('.types'))
  const texts = [...types, ...wrapped].flatMap(({ value }) => (value === null ? [] : [value]))
  const keys = [...types, ...wrapped].flatMap(({ key }) => (key === null ? [] : [key]))
  const definition = changeTable(
    'types',
    {
      id: 'int',
      n: 'string',
      n5: 'decimal(12,2)',
      ts: 'timestamp(us)',
      jb: 'struct<a:map<string,long>>',
      na: 'list<decimal(8,2)>',
      h: 'map<string,string>',
      by: 'binary',
      d: 'date',
      b: 'boolean',
    },
    { key: ['id'], version: 'source.lsn' },
  )
  const damaged = fc.record({
    key: fc.option(mutated(fc.constantFrom(...keys))),
    value: fc.option(mutated(fc.constantFrom(...texts)), { freq: 20 }),
  })
  await fc.assert(
    fc.asyncProperty(fc.array(damaged, { minLength: 1, maxLength: 40, size: 'max' }), async (records) => {
      const { rows, dead, counts } = await decoded(definition, records as never, reader)
      expect(rows.size).toBe(counts.rows)
      expect(dead.size).toBe(counts.deadLetters)
      expect(counts.rows + counts.deadLetters + counts.tombstones + counts.skipped).toBe(records.length)
      records.forEach((_, k) => expect(rows.has(String(k)) && dead.has(String(k))).toBe(false))
    }),
    { numRuns: Number(process.env['RUNS'] ?? 10) },
  )
})
