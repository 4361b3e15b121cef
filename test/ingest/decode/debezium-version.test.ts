import * as fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { parseAvro } from '../../../src/avro-schema.ts'
import { debezium } from '../../../src/define.ts'
import { OwnText } from '../../../src/ingest/decode/column-builder.ts'
import { ChangeEnvelope } from '../../../src/ingest/decode/debezium-envelope.ts'
import { avroOf } from '../../../src/testing/encode-avro.ts'
import { ParquetReader } from '../../support/parquet.ts'
import { changeTable, folded, type Bare } from './debezium-capture.ts'

// MySQL and MariaDB count positions anew in each file of their log: what a change comes after is said by both.

let reader: ParquetReader
beforeAll(async () => {
  reader = await ParquetReader.open()
})
afterAll(() => reader.close())

interface Place {
  readonly file: number
  readonly pos: number
}

const places: fc.Arbitrary<Place> = fc.record({
  file: fc.oneof(fc.nat(12), fc.integer({ min: 999_990, max: 2 ** 27 - 1 })),
  pos: fc.oneof(fc.nat(2_000), fc.integer({ min: 0, max: 2 ** 36 - 1 })),
})
const nameOf = (file: number) => `mysql-bin.${String(file).padStart(6, '0')}`
const compare = (a: Place, b: Place) => a.file - b.file || a.pos - b.pos

const envelope = new ChangeEnvelope(new OwnText(), 'pos')
function versionOf(source: object, isWrapped = false): bigint | undefined {
  const event = { before: { file: 'x.9', pos: 1 }, source, op: 'u', after: { id: 1, file: 'y.8', pos: 2 } }
  const bytes = Buffer.from(JSON.stringify(isWrapped ? { schema: {}, payload: event } : event))
  expect(envelope.read(bytes, 1, 0, bytes.length)).toBeUndefined()
  return envelope.version
}

test('changes of MySQL are ordered by the file of its log, then by the position in it', () => {
  fc.assert(
    fc.property(places, places, fc.boolean(), fc.boolean(), (a, b, isFirst, isWrapped) => {
      const version = ({ file, pos }: Place) =>
        versionOf(isFirst ? { file: nameOf(file), pos } : { pos, file: nameOf(file) }, isWrapped)!
      const [x, y] = [version(a), version(b)]
      expect(x < y ? -1 : x > y ? 1 : 0).toBe(Math.sign(compare(a, b)))
      expect(BigInt.asIntN(64, x)).toBe(x)
    }),
  )
})

test('a position alone is the version, and one that fits into no file is none', () => {
  expect(versionOf({ pos: 7 })).toBe(7n)
  expect(versionOf({ file: null, pos: 7 })).toBe(7n)
  expect(versionOf({ file: 'bin', pos: 7 })).toBe(7n)
  expect(versionOf({ file: 'bin.1' })).toBeUndefined()
  expect(versionOf({ file: 'bin.1', pos: 2 ** 36 })).toBeUndefined()
  expect(versionOf({ file: 'bin.1', pos: -1 })).toBeUndefined()
  // Of the record before nothing is left.
  expect(versionOf({ pos: 8 })).toBe(8n)
})

const SCHEMA = parseAvro({
  type: 'record',
  name: 'Envelope',
  fields: [
    {
      name: 'after',
      type: [
        'null',
        {
          type: 'record',
          name: 'Row',
          fields: [
            { name: 'id', type: 'int' },
            { name: 'v', type: 'string' },
          ],
        },
      ],
    },
    {
      name: 'source',
      type: {
        type: 'record',
        name: 'Source',
        fields: [
          { name: 'file', type: ['null', 'string'] },
          { name: 'pos', type: 'long' },
        ],
      },
    },
    { name: 'op', type: 'string' },
  ],
})

test.each(['json', 'avro'] as const)('a log that goes on in another file loses no change (%s)', async (format) => {
  const log: readonly (Place & { v: string })[] = [
    { file: 1, pos: 900, v: 'first' },
    { file: 1, pos: 7_000, v: 'second' },
    { file: 2, pos: 4, v: 'third' },
    { file: 10, pos: 3, v: 'last' },
  ]
  const records = log.map(({ file, pos, v }): Bare => {
    const event = { after: { id: 1, v }, source: { file: nameOf(file), pos }, op: 'u' }
    const value =
      format === 'json' ? JSON.stringify(event) : Buffer.concat([Buffer.of(0, 0, 0, 0, 1), avroOf(SCHEMA, event)])
    return { key: null, value }
  })
  const value = format === 'json' ? 'debezium' : debezium({ encoding: 'avro' })
  const definition = changeTable('t', { id: 'int', v: 'string' }, { key: ['id'], version: 'source.pos' }, value)
  const registry = { schema: () => Promise.resolve({ kind: 'schema', schema: SCHEMA } as const) }
  const { versions, rows, dead } = await folded(definition, records, reader, 2, registry)
  expect(dead).toEqual([])
  expect(rows).toMatchObject([{ id: '1', v: 'last' }])
  expect(versions).toEqual(log.map(({ file, pos }) => (BigInt(file) << 36n) + BigInt(pos)))
})
