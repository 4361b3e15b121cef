import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { systemClock, type Clock } from '../../src/clock.ts'
import { decodeContainer } from '../../src/lake/avro.ts'
import { decodeMetadata, encodeMetadata } from '../../src/lake/metadata.ts'
import { dataFiles } from '../../src/lake/scan.ts'
import { MemoryStorage } from '../../src/lake/storage/memory.ts'
import { keyOf } from '../../src/lake/storage/storage.ts'
import {
  appendFiles,
  createTable,
  openTable,
  singleValue,
  writePlan,
  type DataFile,
  type LakeTable,
} from '../../src/lake/table.ts'

const columns = [
  { name: 'id', type: { kind: 'long' }, required: true },
  { name: 'day', type: { kind: 'date' } },
  { name: 'price', type: { kind: 'decimal', precision: 12, scale: 2 } },
  { name: 'tags', type: { kind: 'map', value: { kind: 'struct', fields: [{ name: 'a', type: { kind: 'int' } }] } } },
] as const

function clockAt(startMs: number, stepMs: number): Clock {
  let nowMs = startMs
  return { ...systemClock, nowMs: () => (nowMs += stepMs) }
}

function file(table: LakeTable, index: number, rows: number): DataFile {
  const bound = Buffer.from(singleValue('long', BigInt(index)))
  return {
    key: `${writePlan(table).dataPrefix}${index}.parquet`,
    recordCount: rows,
    fileSizeBytes: 1_000 + index,
    partition: [index % 3 === 0 ? null : index % 5, BigInt(index) * 100n],
    metrics: new Map([[1, { sizeBytes: 8, valueCount: rows, nullCount: 0, lower: bound, upper: bound }]]),
  }
}

const stamp = (index: number) => ({ commitId: `c${index}`, version: BigInt(index), ranges: 't:0=0-1' })

async function open(formatVersion: 2 | 3 = 2, clock: Clock = systemClock) {
  const storage = new MemoryStorage('table')
  const spec = { name: 'orders', columns, partitionBy: ['identity(day)', 'truncate(100, price)'], formatVersion }
  return { storage, clock, table: await createTable(storage, spec, clock) }
}

describe('a table', () => {
  test('is empty at first, with ids for every nested field', async () => {
    const { storage, table } = await open()
    const read = await openTable(storage, table.metadata)
    expect(read.snapshot).toBe(undefined)
    expect(await dataFiles(storage, read)).toEqual([])
    expect(read.schema).toEqual(table.schema)
    const map = read.schema.fields[3]!.type as { 'key-id': number; 'value-id': number; value: any }
    expect([map['key-id'], map['value-id'], map.value.fields[0].id]).toEqual([5, 6, 7])
    expect(read.raw['last-column-id']).toBe(7)
  })

  test('says what is missing', async () => {
    const { storage } = await open()
    await expect(openTable(storage, 'tables/orders/metadata/v9-x.metadata.json')).rejects.toMatchObject({
      code: 'store.corrupt',
    })
  })

  test('gives back every file that was added, whatever the commits, and right totals', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom<2 | 3>(2, 3),
        fc.array(fc.array(fc.integer({ min: 1, max: 50 }), { minLength: 1, maxLength: 4 }), {
          minLength: 1,
          maxLength: 8,
        }),
        async (formatVersion, commits) => {
          const { storage, clock, table: empty } = await open(formatVersion)
          let table = empty
          const all: DataFile[] = []
          for (const [number, rows] of commits.entries()) {
            const files = rows.map((count, index) => file(table, all.length + index, count))
            all.push(...files)
            // Every other commit starts from what the store holds, as a new process does.
            const base = number % 2 === 0 ? table : await openTable(storage, table.metadata)
            table = await appendFiles(storage, base, files, stamp(number), clock)
          }
          const read = await openTable(storage, table.metadata)
          expect((await dataFiles(storage, read)).toSorted(byKey)).toEqual(all.toSorted(byKey))
          expect(read.totalFiles).toBe(BigInt(all.length))
          expect(read.totalRecords).toBe(all.reduce((sum, { recordCount }) => sum + BigInt(recordCount), 0n))
          expect(read.raw['last-sequence-number']).toBe(BigInt(commits.length))
          if (formatVersion === 3) expect(read.raw['next-row-id']).toBe(read.totalRecords)
          expect(read.snapshots.map(({ sequenceNumber }) => sequenceNumber)).toEqual(
            commits.map((_, i) => BigInt(i + 1)),
          )
        },
      ),
      { numRuns: 40 },
    )
  })

  test('keeps old snapshots readable', async () => {
    const { storage, clock, table } = await open()
    const one = await appendFiles(storage, table, [file(table, 1, 5)], stamp(1), clock)
    const two = await appendFiles(storage, one, [file(table, 2, 5)], stamp(2), clock)
    expect((await dataFiles(storage, two, one.snapshot)).map(({ key }) => key)).toEqual([file(table, 1, 5).key])
    await expect(dataFiles(storage, two, 5n)).rejects.toMatchObject({ code: 'snapshot.expired' })
  })

  test.each([2, 3] as const)(
    'v%i stays small after many commits, and loses no file and no row id',
    async (formatVersion) => {
      const { storage, clock, table: empty } = await open(formatVersion, clockAt(Date.UTC(2026, 0, 1), 60_000))
      let table = empty
      for (let index = 0; index < 450; index++) {
        if (index % 97 === 0) table = await openTable(storage, table.metadata)
        table = await appendFiles(storage, table, [file(table, index, 2)], stamp(index), clock)
      }
      const read = await openTable(storage, table.metadata)
      const files = await dataFiles(storage, read)
      expect(new Set(files.map(({ key }) => key)).size).toBe(450)
      expect(files.length).toBe(450)
      expect(read.snapshots.length).toBeLessThan(115)
      expect((await storage.get(read.metadata))!.length).toBeLessThan(150_000)
      // Two sleeps of the clock a commit: what is older than the last hundred stays once an hour, as a tag.
      const tags = Object.entries(read.raw.refs).filter(([, ref]) => ref.type === 'tag')
      expect(tags.length).toBeGreaterThan(4)
      for (const [, ref] of Object.entries(read.raw.refs))
        expect(read.snapshots.some(({ id }) => id === ref['snapshot-id'])).toBe(true)
      for (const entry of read.raw['snapshot-log'])
        expect(read.snapshots.some(({ id }) => id === entry['snapshot-id'])).toBe(true)
      const list = await manifestsOf(storage, read)
      expect(list.length).toBeLessThan(66)
      if (formatVersion === 3) {
        const ranges = list.map((m) => m.first_row_id.long as bigint)
        expect(ranges.every((id) => id < read.raw['next-row-id']!)).toBe(true)
        expect(read.raw['next-row-id']).toBe(900n)
      }
    },
  )

  test('refuses a partition field that it cannot have', async () => {
    const storage = new MemoryStorage('spec')
    for (const text of ['nope', 'day(id)', 'bucket(id)', 'bucket(0, id)', 'hour(day)', 'identity(tags)', 'day(day) x'])
      await expect(
        createTable(storage, { name: 'orders', columns, partitionBy: [text], formatVersion: 2 }, systemClock),
      ).rejects.toMatchObject({ code: 'config.invalid' })
  })
})

describe('metadata', () => {
  test('64-bit integers survive, and texts that look like them do too', async () => {
    const { table } = await open()
    const raw = {
      ...table.raw,
      'last-sequence-number': 9_223_372_036_854_775_807n,
      properties: { a: '9223372036854775807', b: 'x "12345678901234567890" y\\', c: '{"n": 12345678901234567}' },
    }
    const back = decodeMetadata('m', encodeMetadata(raw))
    expect(back).toEqual(raw)
    expect(Buffer.from(encodeMetadata(raw)).toString()).toContain('"last-sequence-number": 9223372036854775807')
  })

  test('what is not metadata is corrupt', () => {
    for (const text of ['', '{', '{"format-version": 1}', '[]', `{"location": "${'a'.repeat(100)}`])
      expect(() => decodeMetadata('m', Buffer.from(text))).toThrow(expect.objectContaining({ code: 'store.corrupt' }))
  })

  test('a cut manifest is corrupt', async () => {
    const { storage, clock, table } = await open()
    const next = await appendFiles(storage, table, [file(table, 1, 1)], stamp(1), clock)
    const key = keyOf(storage, next.manifests![0]!.path)
    const bytes = (await storage.get(key))!
    for (let length = 0; length < bytes.length; length += 97)
      expect(() => decodeContainer(key, bytes.subarray(0, length))).toThrow(
        expect.objectContaining({ code: 'store.corrupt' }),
      )
  })
})

async function manifestsOf(storage: MemoryStorage, table: LakeTable): Promise<readonly any[]> {
  const snapshot = table.raw.snapshots.find((one) => one['snapshot-id'] === table.snapshot)!
  const key = keyOf(storage, snapshot['manifest-list'])
  return decodeContainer(key, (await storage.get(key))!).records
}

function byKey(a: DataFile, b: DataFile): number {
  return a.key < b.key ? -1 : 1
}
