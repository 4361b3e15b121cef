import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { ColumnType } from '../../src/batch.ts'
import { systemClock } from '../../src/clock.ts'
import type { TableDefinition } from '../../src/define.ts'
import { KeyEncoder, KeyHasher, type KeyValue } from '../../src/ingest/key-hash.ts'
import { stretchesOf, type ConcatenateInput, type TableWork } from '../../src/ingest/keys.ts'
import { openTableWork } from '../../src/ingest/table-work.ts'
import { LocalStorage } from '../../src/lake/storage/local.ts'
import { MemoryStorage } from '../../src/lake/storage/memory.ts'
import { DeletedRank, DeletedRows, type DataFile, type Storage } from '../../src/lake/table.ts'
import { definition, tablePlan } from '../support/lake-table.ts'
import { ParquetReader } from '../support/parquet.ts'
import { PlainWriter } from '../support/plain-rows.ts'
import { alive, hashesByRow, keysByRow } from '../support/stored-keys.ts'

const folder = mkdtempSync(path.join(os.tmpdir(), 'kappalake-table-work-'))
const closing: (() => Promise<void>)[] = []
let storage: Storage
let reader: ParquetReader
let writer: PlainWriter
beforeAll(async () => {
  storage = await LocalStorage.open(path.join(folder, 'a store'))
  reader = await ParquetReader.open()
  writer = await PlainWriter.open()
})
afterAll(async () => {
  for (const close of closing) await close()
  reader.close()
  writer.close()
  await storage.close()
  rmSync(folder, { recursive: true, force: true })
})

async function workOn(tables: readonly TableDefinition[], where = storage): Promise<TableWork> {
  const work = await openTableWork({ tables, storage: where, clock: systemClock, memoryMaxBytes: 1 << 28 })
  closing.push(() => work.close())
  return work
}

/** Values of `_kafka_partition`, `_offset` and `_timestamp`. */
const system = (offset: number, partition = 0) => [partition, BigInt(offset), null]

const bytesOf = (text: string): Uint8Array => new Uint8Array(Buffer.from(text))

describe('readKeys', () => {
  const uuid = new Uint8Array(Buffer.from('f47ac10b58cc4372a5670e02b2c3d479', 'hex'))
  const samples: readonly (readonly [ColumnType, readonly KeyValue[]])[] = [
    [
      { kind: 'string' },
      ['', 'short', 'twelve bytes', 'a text of over twelve bytes', 'ünï', 'x'.repeat(100_000), '\u0000'],
    ],
    [{ kind: 'enum', symbols: ['A', 'B'] }, ['A', 'B']],
    [{ kind: 'binary' }, [new Uint8Array(), bytesOf('ab'), new Uint8Array(40).fill(255)]],
    [{ kind: 'int' }, [0, 1, -1, 2 ** 31 - 1, -(2 ** 31)]],
    [{ kind: 'long' }, [0n, -1n, 2n ** 63n - 1n, -(2n ** 63n)]],
    [{ kind: 'boolean' }, [true, false]],
    [{ kind: 'date' }, [0, -1, 20_000]],
    [{ kind: 'timestamp', unit: 'us' }, [0n, -1n, 1_700_000_000_123_456n]],
    [{ kind: 'timestamptz', unit: 'ms' }, [0n, 1_700_000_000_123_000n]],
    [{ kind: 'uuid' }, [uuid, new Uint8Array(16), new Uint8Array(16).fill(255)]],
    [{ kind: 'decimal', precision: 4, scale: 2 }, [0n, -9_999n, 9_999n]],
    [{ kind: 'decimal', precision: 9, scale: 2 }, [-999_999_999n, 5n]],
    [{ kind: 'decimal', precision: 18, scale: 0 }, [-(10n ** 17n), 7n]],
    [{ kind: 'decimal', precision: 38, scale: 10 }, [-(10n ** 37n), 10n ** 37n, -1n]],
  ]

  test.each(samples)('hashes the canonical bytes of %j', async (type, values) => {
    const columns = [{ name: 'k', type, required: true }] as const
    const def = definition({ columns, key: ['k'] })
    const plan = tablePlan(def)
    const work = await workOn([def])
    const file = await writer.write(
      storage,
      plan.data,
      values.map((value, k) => [value, ...system(k)]),
    )
    const keys = await work.readKeys(plan, [alive(file)])
    const hashes = hashesOf(
      plan.data.uuid,
      def,
      values.map((value) => [value]),
    )
    expect(keysByRow(keys)).toEqual(hashesByRow(hashes))
    expect(keys.versions).toBeUndefined()
  })

  test('takes the columns of the key in its order, versions, and partitions in runs, over many chunks', async () => {
    const def = definition({
      columns: [
        { name: 'at', type: { kind: 'date' } },
        { name: 'n', type: { kind: 'long' }, required: true },
        { name: 'name', type: { kind: 'string' }, required: true },
      ],
      key: ['name', 'n'],
      version: 'at',
    })
    const plan = tablePlan(def)
    const work = await workOn([def])
    const rows = Array.from({ length: 5_000 }, (_, k) => ({
      at: k - 100,
      n: BigInt(k) * 3n,
      name: `${'long '.repeat(k % 7)}${k % 50}`,
      partition: Math.floor(k / 1_700),
    }))
    const file = await writer.write(
      storage,
      plan.data,
      rows.map(({ at, n, name, partition }, k) => [at, n, name, ...system(k, partition)]),
    )
    const keys = await work.readKeys(plan, [alive(file)])
    const hashes = hashesOf(
      plan.data.uuid,
      def,
      rows.map(({ n, name }) => [name, n]),
    )
    const versions = BigInt64Array.from(rows, ({ at }) => BigInt(at))
    expect(keysByRow(keys)).toEqual(hashesByRow(hashes, versions))
    expect(keys.runs).toEqual([
      [
        { partition: 0, count: 1_700 },
        { partition: 1, count: 1_700 },
        { partition: 2, count: 1_600 },
      ],
    ])
  })

  test('reads markers of deleted keys by the same hash, with their versions', async () => {
    const key = { name: 'k', type: { kind: 'string' }, required: true } as const
    const def = definition({ columns: [key, { name: 'v', type: { kind: 'long' } }], key: ['k'], version: 'v' })
    const plan = tablePlan(def)
    const markers = tablePlan(
      definition({ name: 'orders__deletes', columns: [key, { name: 'v', type: { kind: 'long' } }] }),
    ).data
    const deletes = { ...markers, uuid: 'a0000000-0000-4000-8000-000000000000' }
    const work = await workOn([def])
    const file = await writer.write(storage, deletes, [['gone', 17n, ...system(3, 2)]])
    const keys = await work.readKeys({ ...plan, deletes }, [alive(file)])
    const hashes = hashesOf(plan.data.uuid, def, [['gone']])
    expect(keysByRow(keys)).toEqual(hashesByRow(hashes, BigInt64Array.of(17n)))
    expect(keys.runs).toEqual([[{ partition: 2, count: 1 }]])
  })

  test('gives the live rows of several files, shard by shard, each file in the order of its rows', async () => {
    const def = definition({ columns: [{ name: 'k', type: { kind: 'string' }, required: true }], key: ['k'] })
    const plan = tablePlan(def)
    const work = await workOn([def])
    const sizes = [3_000, 1, 2_500]
    const names = sizes.map((rows, k) =>
      Array.from({ length: rows }, (_, row) => `order ${k} ${'x'.repeat(row % 40)} ${row}`),
    )
    const files: ReturnType<typeof alive<DataFile>>[] = []
    for (const keys of names) {
      const rows = keys.map((key, row) => [key, ...system(row)])
      files.push(alive(await writer.write(storage, plan.data, rows)))
    }
    for (let row = 0; row < 2_500; row += 3) files[2]!.deleted.add(row)
    files[1]!.deleted.add(0)
    const keys = await work.readKeys(plan, files)
    for (const [k, { deleted }] of files.entries()) {
      const all = hashesByRow(
        hashesOf(
          plan.data.uuid,
          def,
          names[k]!.map((name) => [name]),
        ),
      )
      expect(keysByRow(keys, k)).toEqual(all.filter(([row]) => !deleted.has(Number(row))))
    }
    expect(keys.cells.length).toBe(4 * (3_000 + 2_500 - 834))
    for (const { from, until } of stretchesOf(keys))
      for (let key = from + 1; key < until; key++)
        expect(keys.cells[4 * key + 3]).toBeGreaterThan(keys.cells[4 * key - 1]!)
  })

  test('a file that has other rows than its manifest says is not believed', async () => {
    const def = definition({ columns: [{ name: 'k', type: { kind: 'int' }, required: true }], key: ['k'] })
    const work = await workOn([def])
    const file = await writer.write(storage, tablePlan(def).data, [
      [1, ...system(0)],
      [2, ...system(1)],
    ])
    for (const recordCount of [1, 3])
      await expect(work.readKeys(tablePlan(def), [alive({ ...file, recordCount })])).rejects.toMatchObject({
        code: 'store.corrupt',
      })
  })
})

describe('concatenate', () => {
  const def = definition({
    columns: [
      { name: 'file_row_number', type: { kind: 'long' } },
      { name: "o'clock", type: { kind: 'struct', fields: [{ name: '1', type: { kind: 'string' } }] } },
      {
        name: 'tags',
        type: { kind: 'map', value: { kind: 'list', element: { kind: 'decimal', precision: 5, scale: 1 } } },
      },
    ],
  })
  const plan = tablePlan(def).data

  const input = async (first: number, count: number, where = storage): Promise<ConcatenateInput> => {
    const rows = Array.from({ length: count }, (_, k) => [
      BigInt(first + k),
      k % 3 === 0 ? null : { 1: `text ${first + k}` },
      new Map([['a', [BigInt(k % 99), null]]]),
      ...system(first + k),
    ])
    const file = await writer.write(where, plan, rows)
    return { file: file, firstRowId: undefined, sequenceNumber: 1n, deleted: new DeletedRows(count) }
  }

  test('row p of an input comes to stand at base + p − dead rows below it', async () => {
    const work = await workOn([def])
    const inputs = [await input(0, 5_000), await input(10_000, 1), await input(20_000, 3_000)]
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.nat({ max: 2 }), fc.nat({ max: 4_999 }), fc.integer({ min: 1, max: 2_500 })), {
          maxLength: 8,
        }),
        async (spans) => {
          const deleted = inputs.map(({ file }) => new DeletedRows(file.recordCount))
          for (const [k, first, length] of spans)
            for (let row = first; row < first + length && row < deleted[k]!.rows; row++) deleted[k]!.add(row)
          const file = await work.concatenate(
            plan,
            inputs.map((each, k) => ({ ...each, deleted: deleted[k]! })),
          )
          const there = (await reader.rows(storage, file, '"file_row_number"')).map(([id]) => Number(id))
          const expected: number[] = []
          let base = 0
          for (const rows of deleted) {
            const rank = new DeletedRank(rows)
            const firstId = [0, 10_000, 20_000][deleted.indexOf(rows)]!
            for (let row = 0; row < rows.rows; row++)
              if (!rows.has(row)) expected[base + row - rank.rank(row)] = firstId + row
            base += rows.rows - rows.count
          }
          expect(there).toEqual(expected)
          expect(file.recordCount).toBe(expected.length)
        },
      ),
      { numRuns: 12 },
    )
  })

  test('values of all kinds, metrics and the partition stay what they were', async () => {
    const work = await workOn([def])
    const one = await input(0, 4)
    const file = await work.concatenate(plan, [one])
    const all = 'to_json(COLUMNS(*))'
    expect(await reader.rows(storage, file, all)).toEqual(await reader.rows(storage, one.file, all))
    expect([...file.metrics.keys()]).toEqual([...one.file.metrics.keys()])
    expect(file).toMatchObject({ recordCount: 4, partition: [] })
    expect(file.metrics.get(1)).toMatchObject({ valueCount: 4, lower: one.file.metrics.get(1)!.lower })
  })

  test('rows keep their ids and sequence numbers, also the second time', async () => {
    const work = await workOn([def])
    const first = { ...(await input(0, 3)), firstRowId: 100n, sequenceNumber: 7n }
    const second = { ...(await input(10, 2)), firstRowId: 500n, sequenceNumber: 9n }
    first.deleted.add(1)
    const file = await work.concatenate(plan, [first, second])
    const lineage = 'file_row_number, _row_id, _last_updated_sequence_number'
    const rows = [
      [0n, 100n, 7n],
      [2n, 102n, 7n],
      [10n, 500n, 9n],
      [11n, 501n, 9n],
    ]
    expect(await reader.rows(storage, file, lineage)).toEqual(rows)
    const again = { file, firstRowId: 900n, sequenceNumber: 20n, deleted: new DeletedRows(4) }
    again.deleted.add(0)
    const third = { ...(await input(30, 1)), firstRowId: 700n, sequenceNumber: 11n }
    const last = await work.concatenate(plan, [third, again])
    expect(await reader.rows(storage, last, lineage)).toEqual([[30n, 700n, 11n], ...rows.slice(1)])
    const ids = await reader.query(
      storage,
      last,
      "SELECT field_id FROM parquet_schema(file) WHERE name IN ('_row_id', '_last_updated_sequence_number') ORDER BY ALL",
    )
    expect(ids).toEqual([[2_147_483_539n], [2_147_483_540n]])
  })

  test('rows that are all dead leave a file without rows', async () => {
    const work = await workOn([def])
    const one = await input(0, 3)
    one.deleted.addAll()
    const file = await work.concatenate(plan, [{ ...one, firstRowId: 1n }])
    expect(file.recordCount).toBe(0)
    expect(await reader.rows(storage, file)).toEqual([])
  })

  test('refuses files of two partitions, and bitmaps of another length', async () => {
    const work = await workOn([def])
    const one = await input(0, 2)
    const other = { ...one, file: { ...one.file, partition: [1] } }
    await expect(work.concatenate(plan, [one, other])).rejects.toMatchObject({ code: 'internal' })
    await expect(work.concatenate(plan, [{ ...one, deleted: new DeletedRows(3) }])).rejects.toMatchObject({
      code: 'internal',
    })
    const lies = { file: { ...one.file, recordCount: 3 }, deleted: new DeletedRows(3) }
    await expect(work.concatenate(plan, [{ ...one, ...lies }])).rejects.toMatchObject({ code: 'internal' })
    expect(readdirSync(storage.scratch)).toEqual([])
  })

  test('a store that is not local is read through copies, which go again', async () => {
    const remote = new MemoryStorage('table-work')
    closing.push(() => remote.close())
    const work = await workOn([def], remote)
    const one = await input(0, 3, remote)
    const file = await work.concatenate(plan, [one, one])
    expect(await reader.rows(remote, file, 'file_row_number')).toEqual([0, 1, 2, 0, 1, 2].map((id) => [BigInt(id)]))
    expect(readdirSync(remote.scratch)).toEqual([])
    const gone: DataFile = { ...one.file, key: `${plan.dataPrefix}gone.parquet` }
    await expect(work.concatenate(plan, [{ ...one, file: gone }])).rejects.toMatchObject({ code: 'store.corrupt' })
  })
})

describe('fill', () => {
  const def = definition({
    columns: [
      { name: 'id', type: { kind: 'int' } },
      { name: 'a', type: { kind: 'string' } },
      { name: 'b', type: { kind: 'list', element: { kind: 'int' } } },
    ],
  })
  const plan = tablePlan(def).data

  test('takes just the named columns of the named rows, nulls too, and keeps the order', async () => {
    const work = await workOn([def])
    const rows = (first: number, count: number, text: string | null) =>
      Array.from({ length: count }, (_, k) => [
        first + k,
        text && `${text} ${k}`,
        text === null ? null : [k],
        ...system(k),
      ])
    const file = await writer.write(storage, plan, rows(0, 3_000, null))
    const one = await writer.write(storage, plan, rows(10_000, 100, 'one'))
    const two = await writer.write(storage, plan, [...rows(20_000, 5, 'two'), [1, null, null, ...system(9)]])
    const filled = await work.fill(plan, file, [
      { row: 2_999, columns: ['a'], from: { key: one.key, row: 7 } },
      { row: 1, columns: ['a', 'b'], from: { key: two.key, row: 2 } },
      { row: 0, columns: ['b'], from: { key: one.key, row: 7 } },
      { row: 2_048, columns: ['a'], from: { key: two.key, row: 5 } },
    ])
    const there = await reader.rows(storage, filled, 'id, a, b::varchar, _offset')
    const expected = Array.from({ length: 3_000 }, (_, k): unknown[] => [k, null, null, BigInt(k)])
    expected[2_999] = [2_999, 'one 7', null, 2_999n]
    expected[1] = [1, 'two 2', '[2]', 1n]
    expected[0] = [0, null, '[7]', 0n]
    expect(there).toEqual(expected)
    expect(filled.recordCount).toBe(3_000)
    expect(filled.metrics.get(2)).toMatchObject({ nullCount: 2_998 })
  })

  test('a value that is not there is an error, as are two for one row', async () => {
    const work = await workOn([def])
    const file = await writer.write(storage, plan, [[1, null, null, ...system(0)]])
    const from = { key: file.key, row: 0 }
    const absent = [{ row: 0, columns: ['a'], from: { ...from, row: 1 } }]
    await expect(work.fill(plan, file, absent)).rejects.toMatchObject({ code: 'store.corrupt' })
    const twice = [
      { row: 0, columns: ['a'], from },
      { row: 0, columns: ['b'], from },
    ]
    await expect(work.fill(plan, file, twice)).rejects.toMatchObject({ code: 'store.corrupt' })
    await expect(work.fill(plan, file, [{ row: 0, columns: ['none'], from }])).rejects.toMatchObject({
      code: 'internal',
    })
  })
})

function hashesOf(
  uuid: string,
  { columns, key }: TableDefinition,
  rows: readonly (readonly KeyValue[])[],
): Uint32Array {
  const of = key.map((name) => columns.find((column) => column.name === name)!)
  const [hasher, encoder] = [new KeyHasher(uuid, of), new KeyEncoder()]
  const hashes = new Uint32Array(4 * rows.length)
  for (const [k, row] of rows.entries()) {
    encoder.begin()
    for (const [c, value] of row.entries()) encoder.value(of[c]!.type, value)
    hasher.hash(encoder.bytes, 0, encoder.end, hashes, 4 * k)
  }
  return hashes
}
