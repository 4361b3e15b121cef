import { expect, test } from 'vitest'
import { systemClock } from '../../src/clock.ts'
import { decodeContainer } from '../../src/lake/avro.ts'
import { dataFiles } from '../../src/lake/scan.ts'
import { MemoryStorage } from '../../src/lake/storage/memory.ts'
import type { Storage } from '../../src/lake/storage/storage.ts'
import { appendFiles, createTable, openTable, type DataFile } from '../../src/lake/table.ts'

/** Counts what goes through the door. */
function counted(storage: MemoryStorage): Storage & { reads: number; writtenBytes: number } {
  const counting = {
    reads: 0,
    writtenBytes: 0,
    url: storage.url,
    isLocal: storage.isLocal,
    scratch: storage.scratch,
    get: (key: string) => {
      counting.reads++
      return storage.get(key)
    },
    put: (key: string, bytes: Uint8Array) => {
      counting.writtenBytes += bytes.length
      return storage.put(key, bytes)
    },
    head: (key: string) => storage.head(key),
    putFile: (key: string, path: string) => storage.putFile(key, path),
    putIfAbsent: (key: string, bytes: Uint8Array) => storage.putIfAbsent(key, bytes),
    list: (prefix: string) => storage.list(prefix),
    delete: (key: string) => storage.delete(key),
    close: () => storage.close(),
  }
  return counting
}

const file = (index: number): DataFile => ({
  key: `tables/t/data/${index}.parquet`,
  recordCount: 1 + (index % 3),
  fileSizeBytes: 100,
  partition: [],
  metrics: new Map([[1, { sizeBytes: 8, valueCount: 1, nullCount: 0 }]]),
})

test(
  'a commit costs the same whatever came before, and merged entries keep their numbers',
  { timeout: 60_000 },
  async () => {
    const storage = counted(new MemoryStorage('merge'))
    const spec = {
      name: 't',
      columns: [{ name: 'a', type: { kind: 'long' } }],
      partitionBy: [],
      formatVersion: 3,
    } as const
    let table = await createTable(storage, spec, systemClock)
    const expected = new Map<string, readonly [bigint, bigint]>()
    let [rows, mostReads, next] = [0n, 0, 0]
    for (let commit = 1; commit <= 160; commit++) {
      const before = storage.reads
      const stamp = { commitId: systemClock.uuid(), version: BigInt(commit), ranges: '' }
      const files = Array.from({ length: commit % 2 === 0 ? 1 : 40 }, () => file(next++))
      table = await appendFiles(storage, table, files, stamp, systemClock)
      for (const { key, recordCount } of files) {
        expected.set(`${storage.url}/${key}`, [rows, BigInt(commit)])
        rows += BigInt(recordCount)
      }
      mostReads = Math.max(mostReads, storage.reads - before)
      expect(table.manifests!.length).toBeLessThan(32 + 32 + 4)
    }
    expect(mostReads).toBeLessThanOrEqual(64)
    expect(table.manifests!.filter(({ existingFiles }) => existingFiles >= 1_024).length).toBeGreaterThan(1)

    const found = new Map<string, readonly [bigint, bigint]>()
    for (const manifest of table.manifests!) {
      let rowId = manifest.firstRowId!
      const key = manifest.path.slice(storage.url.length + 1)
      for (const entry of decodeContainer(key, (await storage.get(key))!).records) {
        const own = entry.data_file.first_row_id?.long
        found.set(entry.data_file.file_path, [own ?? rowId, entry.sequence_number?.long ?? manifest.sequenceNumber])
        if (own === undefined) rowId += entry.data_file.record_count
        // Readers refuse an existing entry without a sequence number of its own.
        expect(entry.status === 0).toBe(entry.sequence_number !== null)
      }
      expect(manifest.minSequenceNumber <= manifest.sequenceNumber).toBe(true)
    }
    expect(found).toEqual(expected)
    expect(table.raw['next-row-id']).toBe(rows)
  },
)

test('a reopened table lists the same files, and reads each manifest once', async () => {
  const storage = counted(new MemoryStorage('cache'))
  const spec = {
    name: 't',
    columns: [{ name: 'a', type: { kind: 'long' } }],
    partitionBy: [],
    formatVersion: 2,
  } as const
  let table = await createTable(storage, spec, systemClock)
  for (let commit = 0; commit < 5; commit++) {
    const stamp = { commitId: systemClock.uuid(), version: 1n, ranges: '' }
    table = await appendFiles(storage, table, [file(commit)], stamp, systemClock)
  }
  const read = await openTable(storage, table.metadata)
  const first = await dataFiles(storage, read)
  const reads = storage.reads
  expect(await dataFiles(storage, read)).toEqual(first)
  // Only the manifest list.
  expect(storage.reads - reads).toBe(1)
  expect(first.map(({ key }) => key).toSorted()).toEqual([0, 1, 2, 3, 4].map((index) => file(index).key))
})

test('files that would hide rows from readers are refused', async () => {
  const storage = new MemoryStorage('refuse')
  const spec = {
    name: 't',
    columns: [{ name: 'a', type: { kind: 'long' } }],
    partitionBy: [],
    formatVersion: 2,
  } as const
  const table = await createTable(storage, spec, systemClock)
  const stamp = { commitId: 'c', version: 1n, ranges: '' }
  const good = file(1)
  for (const files of [
    [{ ...good, fileSizeBytes: 0 }],
    [{ ...good, partition: [1] }],
    [{ ...good, key: 'tables/other/data/1.parquet' }],
    [good, good],
  ])
    await expect(appendFiles(storage, table, files, stamp, systemClock)).rejects.toMatchObject({ code: 'internal' })
  expect(await appendFiles(storage, table, [], stamp, systemClock)).toBe(table)
})
