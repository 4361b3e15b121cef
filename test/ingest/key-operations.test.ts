import { describe, expect, test } from 'vitest'
import type { Column } from '../../src/batch.ts'
import { systemClock } from '../../src/clock.ts'
import type { TableDefinition } from '../../src/define.ts'
import { openEncoder } from '../../src/ingest/encoder.ts'
import { KeyEncoder, KeyHasher, type KeyValue } from '../../src/ingest/key-hash.ts'
import { DELETE } from '../../src/ingest/keys.ts'
import type { StagedTable } from '../../src/ingest/lane.ts'
import { MemoryStorage } from '../../src/lake/storage/memory.ts'
import type { RecordBatch } from '../../src/log.ts'
import { batchOf, definition, tablePlan, type TestRecord } from '../support/lake-table.ts'
import { ParquetReader } from '../support/parquet.ts'

const storage = new MemoryStorage('operations')
const required = (name: string, type: Column['type']): Column => ({ name, type, required: true })
const ID = required('id', { kind: 'string' })
const AT: Column = { name: 'at', type: { kind: 'timestamp' } }
const TEXT: Column = { name: 'text', type: { kind: 'string' } }

async function encode(
  def: TableDefinition,
  batches: readonly RecordBatch[],
  baseless?: ReadonlySet<string>,
): Promise<StagedTable> {
  const encoder = await openEncoder({ tables: [def], storage, clock: systemClock })
  try {
    return await encoder.encode(tablePlan(def), batches, new Set(), baseless)
  } finally {
    await encoder.close()
  }
}

async function codes({ deadLetterFiles }: StagedTable): Promise<unknown[]> {
  const reader = await ParquetReader.open()
  const rows = await Promise.all(deadLetterFiles.map((file) => reader.rows(storage, file, '_offset, code')))
  reader.close()
  return rows.flat().map(([offset, code]) => `${offset} ${code}`)
}

const row = (id: string, rest: object = {}): TestRecord => ({ value: JSON.stringify({ id, ...rest }) })

const hashAt = ({ keys }: StagedTable, k: number): string => keys!.hashes.slice(4 * k, 4 * k + 4).join(' ')

function hashOf(def: TableDefinition, values: readonly KeyValue[]): string {
  const columns = def.key.map((name) => def.columns.find((column) => column.name === name)!)
  const encoder = new KeyEncoder()
  columns.forEach((column, k) => encoder.value(column.type, values[k]!))
  const out = new Uint32Array(4)
  new KeyHasher(tablePlan(def).data.uuid, columns).hash(encoder.bytes, 0, encoder.end, out, 0)
  return out.join(' ')
}

describe('record keys', () => {
  const uuid = '00112233-4455-6677-8899-aabbccddeeff'
  const UUID_BYTES = new Uint8Array(Buffer.from(uuid.replaceAll('-', ''), 'hex'))
  const symbols = { kind: 'enum', symbols: ['a', 'b'] } as const
  const decimal = { kind: 'decimal', precision: 9, scale: 2 } as const
  test.each<[string, Column['type'], TableDefinition['recordKey'], string | Uint8Array, KeyValue | undefined]>([
    ['text', { kind: 'string' }, 'string', '"a"', '"a"'],
    ['the empty text', { kind: 'string' }, 'string', '', ''],
    ['no UTF-8', { kind: 'string' }, 'string', Uint8Array.of(0xff), undefined],
    ['a symbol', symbols, 'string', 'b', 'b'],
    ['no symbol', symbols, 'string', 'c', undefined],
    ['a UUID', { kind: 'uuid' }, 'string', uuid.toUpperCase(), UUID_BYTES],
    ['no UUID', { kind: 'uuid' }, 'string', 'x', undefined],
    ['a bare text', { kind: 'string' }, 'json', ' "\\u0061 text of some length" ', 'a text of some length'],
    ['a bare number', { kind: 'long' }, 'json', '-7', -7n],
    ['a number in an object', { kind: 'long' }, 'json', '{"other":1,"k":7.0}', 7n],
    ['a decimal', decimal, 'json', '1.5', 150n],
    ['a day', { kind: 'date' }, 'json', '"1970-01-03"', 2],
    ['an object without it', { kind: 'long' }, 'json', '{"x":1}', undefined],
    ['null', { kind: 'long' }, 'json', 'null', undefined],
    ['text where a number is due', { kind: 'long' }, 'json', '"7"', undefined],
    ['two values', { kind: 'long' }, 'json', '7 8', undefined],
    ['no JSON', { kind: 'string' }, 'json', 'a', undefined],
    ['a change stream’s', { kind: 'int' }, 'debezium', '{"k":7}', 7],
    ['one with its schema', { kind: 'int' }, 'debezium', '{"schema":{"type":"struct"},"payload":{"k":7}}', 7],
    ['neither', { kind: 'int' }, 'debezium', '{"payload":{"x":7}}', undefined],
  ])('%s', async (_, type, recordKey, key, value) => {
    const def = definition({ columns: [required('k', type)], key: ['k'], recordKey })
    const staged = await encode(def, [batchOf([{ key, value: null }])])
    expect(staged.keys!.count).toBe(value === undefined ? 0 : 1)
    if (value === undefined) expect(await codes(staged)).toEqual(['0 key.unmappable'])
    else {
      expect(staged.keys!.files[0]).toBe(DELETE)
      expect(hashAt(staged, 0)).toBe(hashOf(def, [value]))
      expect(staged.counts.get('shop.orders/0')).toMatchObject({ rows: 0, deadLetters: 0, tombstones: 1 })
    }
  })

  test('none: null values are counted and mean nothing', async () => {
    const def = definition({ columns: [ID], key: ['id'], recordKey: 'none' })
    const staged = await encode(def, [batchOf([{ value: null }, { key: 'a', value: null }])])
    expect(staged.keys!.count).toBe(0)
    expect(staged.counts.get('shop.orders/0')).toMatchObject({ tombstones: 2, deadLetters: 0 })
  })

  test('an append table stages no keys', async () => {
    const staged = await encode(definition({ columns: [ID] }), [batchOf([{ value: '{"id":"a"}' }, { value: null }])])
    expect(staged.keys).toBeUndefined()
  })
})

describe('operations', () => {
  const def = definition({ columns: [ID, TEXT], key: ['id'], recordKey: 'string' })

  test('stand in the order of the log, in runs of their partitions', async () => {
    const staged = await encode(def, [
      batchOf([row('a'), { key: 'a', value: null }], { partition: 2, first: 5n }),
      batchOf([{ value: '{' }, row('b')], { partition: 2, first: 7n }),
      batchOf([{ value: '{' }], { partition: 0 }),
      batchOf([row('a'), row('c')], { partition: 1, first: 9n }),
    ])
    const { files, rows, offsets, runs, versions, bare, holes } = staged.keys!
    expect([...files]).toEqual([0, DELETE, 0, 0, 0])
    expect([rows[0], rows[2], rows[3], rows[4]]).toEqual([0, 1, 2, 3])
    expect([...offsets]).toEqual([5n, 6n, 8n, 9n, 10n])
    expect(runs).toEqual([
      { partition: 2, count: 3 },
      { partition: 1, count: 2 },
    ])
    expect([versions, bare, holes]).toEqual([undefined, undefined, undefined])
    expect(hashAt(staged, 1)).toBe(hashAt(staged, 0))
    expect(hashAt(staged, 3)).toBe(hashAt(staged, 0))
    expect(hashAt(staged, 2)).toBe(hashOf(def, ['b']))
  })

  test('records without their key are dead letters of their own', async () => {
    const staged = await encode(def, [batchOf([row('a'), { value: '{"id":null}' }, { value: '{}' }, { value: null }])])
    expect(await codes(staged)).toEqual(['1 key.null', '2 key.null', '3 key.null'])
    expect(staged.keys!.count).toBe(1)
  })

  test.each<[Column['type'], unknown[], bigint[]]>([
    [{ kind: 'int' }, [-3, 2], [-3n, 2n]],
    [{ kind: 'long' }, [-(2 ** 40), 2 ** 40], [-(2n ** 40n), 2n ** 40n]],
    [{ kind: 'date' }, ['1969-12-31', '1970-01-02'], [-1n, 1n]],
    [{ kind: 'timestamptz' }, ['1969-12-31T23:59:59.5Z', '1970-01-01T00:00:01Z'], [-500_000n, 1_000_000n]],
  ])('versions of %j are 64-bit integers', async (type, given, expected) => {
    const versioned = { ...def, columns: [ID, { name: 'v', type }], version: 'v' }
    const records = [...given.map((v) => row('a', { v })), { key: 'a', value: null }, row('b', { v: null }), row('b')]
    const staged = await encode(versioned, [batchOf(records)])
    expect([...staged.keys!.versions!]).toEqual([...expected, 0n])
    expect([...staged.keys!.bare!]).toEqual([0b100])
    expect(await codes(staged)).toEqual(['3 version.null', '4 version.null'])
  })

  test('skip and stop hold for keys too', async () => {
    const skipped = await encode({ ...def, onError: 'skip' }, [batchOf([{ value: null }, row('a')])])
    expect(skipped.counts.get('shop.orders/0')).toMatchObject({ rows: 1, skipped: 1, deadLetters: 0 })
    await expect(encode({ ...def, onError: 'stop' }, [batchOf([{ value: null }])])).rejects.toThrow(
      expect.objectContaining({ code: 'decode.stopped' }),
    )
  })
})

describe('holes', () => {
  const def = definition({ columns: [ID, AT, TEXT], key: ['id'], recordKey: 'string', missing: 'keep' })
  const gone = { key: 'a', value: null }

  test('name what only the table knows, once per set of columns', async () => {
    const at = '2026-01-01T00:00:00'
    const records = [row('a', { at }), row('a', { text: null }), row('b', { text: 'x' }), row('c', { at }), row('c')]
    const { holes } = (await encode(def, [batchOf(records)])).keys!
    expect([...holes!.operations].map((k, i) => [k, ...holes!.columns[holes!.lacking[i]!]!])).toEqual([
      [0, 'text'],
      [2, 'at'],
      [3, 'text'],
      [4, 'text'],
    ])
    expect(holes!.columns).toEqual([['text'], ['at']])
  })

  test('after a delete there is nothing to keep, until the next whole row', async () => {
    const whole = row('a', { at: null, text: 'x' })
    const staged = await encode(def, [batchOf([gone, row('a'), whole, row('a'), gone, row('a', { at: null })])])
    expect(await codes(staged)).toEqual(['1 cdc.unavailable_without_base', '5 cdc.unavailable_without_base'])
    expect(staged.keys!.holes).toBeUndefined()
    expect([...staged.keys!.offsets]).toEqual([0n, 2n, 3n, 4n])
  })

  test('a record that is known to have no base is a dead letter', async () => {
    const staged = await encode(def, [batchOf([row('a'), row('b')])], new Set(['shop.orders/0@0']))
    expect(await codes(staged)).toEqual(['0 cdc.unavailable_without_base'])
    expect(staged.keys!.count).toBe(1)
  })

  test('with a version the batch decides nothing: all that is lacking is named', async () => {
    const columns = [ID, { name: 'v', type: { kind: 'long' } } as const, TEXT]
    const versioned = { ...def, columns, version: 'v' }
    const records = [row('a', { v: 5, text: 'five' }), row('a', { v: 6 }), gone, row('a', { v: 7 })]
    const staged = await encode(versioned, [batchOf(records)])
    expect([...staged.keys!.holes!.operations]).toEqual([1, 3])
    expect(await codes(staged)).toEqual([])
  })

  test('an event time that is kept moves no clock', async () => {
    const eventTime = { column: 'at', unit: 'us', outOfOrdernessMs: 0, idleAfterMs: 0, maxFutureSkewMs: 0 } as const
    const records = [
      { ...row('a', { at: '2026-01-01T00:00:00', text: '' }), timestampMs: 0 },
      { ...row('a', { text: '' }), timestampMs: Date.UTC(2027, 0) },
    ]
    expect(
      (await encode({ ...def, eventTime }, [batchOf(records)])).counts.get('shop.orders/0')!.clockMs,
    ).toBeUndefined()
  })

  test('a column that the table is partitioned by is not kept', async () => {
    const staged = await encode({ ...def, partitionBy: ['day(at)'] }, [batchOf([row('a', { text: '' })])])
    expect(await codes(staged)).toEqual(['0 cdc.unavailable_without_base'])
  })
})
