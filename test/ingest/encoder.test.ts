import { readdirSync } from 'node:fs'
import { expect, test } from 'vitest'
import { systemClock } from '../../src/clock.ts'
import { DuckDBInstance } from '@duckdb/node-api'
import { writeDataFile } from '../../src/ingest/decode/data-file-writer.ts'
import { NativeText } from '../../src/ingest/decode/native-text.ts'
import { Relation } from '../../src/ingest/decode/relation.ts'
import { SlabPool } from '../../src/ingest/decode/slab.ts'
import { TableDecoder } from '../../src/ingest/decode/table-decoder.ts'
import { tableColumns } from '../../src/ingest/decode/columns.ts'
import { openEncoder } from '../../src/ingest/encoder.ts'
import { batchOf, definition, tablePlan } from '../support/lake-table.ts'
import { openStore } from '../support/parquet.ts'

const { storage, reader } = await openStore('encoder')

test('a reader finds binary values that stand in a dictionary', async () => {
  const def = definition({ columns: [{ name: 'b', type: { kind: 'binary' } }] })
  const encoder = await openEncoder({ tables: [def], storage, clock: systemClock })
  const values = Array.from({ length: 3_000 }, (_, index) => Buffer.of(0xaa, index % 3).toString('base64'))
  const staged = await encoder.encode(
    tablePlan(def),
    [batchOf(values.map((b) => ({ value: JSON.stringify({ b }) })))],
    new Set(),
  )
  await encoder.close()
  const found = await reader.query(storage, staged.files[0]!, "SELECT count(*) FROM file WHERE b = '\\xAA\\x01'::blob")
  expect(found).toEqual([[1_000n]])
})

test.each([
  [2, ['PLAIN', 'PLAIN', 'PLAIN']],
  [3, ['DELTA_BINARY_PACKED', 'BYTE_STREAM_SPLIT', 'DELTA_LENGTH_BYTE_ARRAY']],
] as const)('a table of Iceberg %i has encodings that its readers know', async (formatVersion, encodings) => {
  const columns = (['long', 'double', 'string'] as const).map((kind) => ({ name: kind, type: { kind } }))
  const def = definition({ columns })
  const encoder = await openEncoder({ tables: [def], storage, clock: systemClock })
  const plan = tablePlan(def)
  const values = Array.from({ length: 20_000 }, (_, k) =>
    JSON.stringify({ long: k * 7_919, double: k / 7, string: `text ${k}` }),
  )
  const batches = [batchOf(values.map((value) => ({ value })))]
  const { files } = await encoder.encode({ ...plan, data: { ...plan.data, formatVersion } }, batches, new Set())
  await encoder.close()
  const found = await reader.query(
    storage,
    files[0]!,
    "SELECT encodings FROM parquet_metadata(file) WHERE path_in_schema IN ('long', 'double', 'string') ORDER BY column_id",
  )
  expect(found.flat()).toEqual(encodings)
  expect(await reader.query(storage, files[0]!, 'SELECT sum(long), count(DISTINCT string) FROM file')).toEqual([
    [7_919n * 199_990_000n, 20_000n],
  ])
})

test('its end waits for the micro-batch that is encoded, and takes no other', async () => {
  const def = definition({ columns: [{ name: 'b', type: { kind: 'string' } }] })
  const encoder = await openEncoder({ tables: [def], storage, clock: systemClock })
  const batches = [batchOf(Array.from({ length: 2_000 }, (_, k) => ({ value: JSON.stringify({ b: `text ${k}` }) })))]
  let isEncoded = false
  const encoding = encoder.encode(tablePlan(def), batches, new Set()).then(({ files }) => {
    isEncoded = true
    return files
  })
  await encoder.close()
  await new Promise(setImmediate)
  expect(isEncoded).toBe(true)
  expect((await encoding)[0]!.recordCount).toBe(2_000)
  await expect(encoder.encode(tablePlan(def), batches, new Set())).rejects.toMatchObject({ code: 'internal' })
})

test('records become rows, tombstones are counted, what does not fit is a dead letter', async () => {
  const def = definition({
    columns: [
      { name: 'id', type: { kind: 'string' }, required: true },
      { name: 'amount', type: { kind: 'decimal', precision: 12, scale: 2 } },
      { name: 'at', type: { kind: 'timestamptz', unit: 'ms' } },
      { name: 'tags', type: { kind: 'list', element: { kind: 'string' } } },
    ],
    unknown: 'extra',
    eventTime: { column: 'at', unit: 'ms', outOfOrdernessMs: 0, idleAfterMs: 0, maxFutureSkewMs: 1000 },
  })
  const encoder = await openEncoder({ tables: [def], storage, clock: systemClock })
  const staged = await encoder.encode(
    tablePlan(def),
    [
      batchOf([
        { value: '{"id":"a","amount":12.5,"at":1700000000123,"tags":["x",null]}' },
        { value: '{"id":"a rather long text that is not kept in place","amount":"0.07","at":"2099-01-01T00:00:00Z"}' },
        { value: null },
        { value: '{"amount":1}', key: 'k', headers: [{ key: 'h', value: Buffer.from('v') }] },
        { value: '{"id":"esc\\naped","colour":{"red": 1.50}}', timestampMs: -1 },
      ]),
    ],
    new Set(),
  )
  await encoder.close()
  expect(staged.counts).toEqual(
    new Map([['shop.orders/0', { rows: 3, deadLetters: 1, tombstones: 1, skipped: 0, clockMs: 1_700_000_000_123 }]]),
  )
  const rows = await reader.rows(
    storage,
    staged.files[0]!,
    'id, amount::varchar, epoch_us("at"), tags::varchar, _extra, _kafka_partition, _offset, epoch_ms(_timestamp)',
  )
  expect(rows).toEqual([
    ['a', '12.50', 1_700_000_000_123_000n, '[x, NULL]', null, 0, 0n, 1_700_000_000_000n],
    [
      'a rather long text that is not kept in place',
      '0.07',
      4_070_908_800_000_000n,
      null,
      null,
      0,
      1n,
      1_700_000_000_000n,
    ],
    ['esc\naped', null, null, null, '{"colour":{"red": 1.50}}', 0, 4n, null],
  ])
  const dead = await reader.rows(
    storage,
    staged.deadLetterFiles[0]!,
    '_topic, _offset, decode(key), decode(value), headers::varchar, code, message, status',
  )
  expect(dead).toEqual([
    [
      'shop.orders',
      3n,
      'k',
      '{"amount":1}',
      "[{'key': h, 'value': v}]",
      'decode.required',
      'id: absent, a required column at byte 11',
      'pending',
    ],
  ])
})

test('a COPY that saw fewer rows than were handed in is not believed, and leaves nothing behind', async () => {
  const def = definition({ columns: [{ name: 'a', type: { kind: 'long' } }] })
  const native = new NativeText()
  const { rows } = new TableDecoder(def, native, new SlabPool()).decode([batchOf([{ value: '{"a":1}' }])], new Set())
  const instance = await DuckDBInstance.create(':memory:')
  const connection = await instance.connect()
  const relation = new Relation(connection, 'rows_0', tableColumns(def))
  const write = (): Promise<unknown> =>
    writeDataFile(connection, storage, systemClock, tablePlan(def).data, relation, rows, [])
  await expect(write()).resolves.toMatchObject({ recordCount: 1 })
  const feed = relation.feed.bind(relation)
  relation.feed = () => feed([])
  await expect(write()).rejects.toMatchObject({ code: 'internal', context: { rows: 1, written: 0 } })
  expect(readdirSync(storage.scratch)).toEqual([])
  connection.closeSync()
})

test('a table with other columns than the definition is refused', async () => {
  const def = definition({ columns: [{ name: 'a', type: { kind: 'long' } }] })
  const other = tablePlan(definition({ columns: [{ name: 'b', type: { kind: 'long' } }] }))
  const encoder = await openEncoder({ tables: [def], storage, clock: systemClock })
  await expect(encoder.encode(other, [batchOf([{ value: '{"a":1}' }])], new Set())).rejects.toMatchObject({
    code: 'internal',
  })
  await encoder.close()
})
