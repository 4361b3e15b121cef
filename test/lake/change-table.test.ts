import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { systemClock, type Clock } from '../../src/clock.ts'
import { decodeContainer } from '../../src/lake/avro.ts'
import { MemoryStorage } from '../../src/lake/storage/memory.ts'
import { keyOf } from '../../src/lake/storage/storage.ts'
import {
  changeTable,
  createTable,
  DeletedRows,
  openTable,
  readDeletedRows,
  storedFiles,
  type AddedFile,
  type DataFile,
  type LakeTable,
  type TableChange,
} from '../../src/lake/table.ts'

const columns = [
  { name: 'id', type: { kind: 'long' }, required: true },
  { name: 'part', type: { kind: 'string' } },
] as const

async function open(formatVersion: 2 | 3 = 3) {
  const storage = new MemoryStorage('change')
  const spec = { name: 't', columns, partitionBy: ['part'], formatVersion, key: ['id'] }
  return { storage, table: await createTable(storage, spec, systemClock) }
}

function file(name: number, rows: number): DataFile {
  return {
    key: `tables/t/data/${name}.parquet`,
    recordCount: rows,
    fileSizeBytes: 100 + name,
    partition: [name % 3 === 0 ? null : `p${name % 3}`],
    metrics: new Map([[1, { sizeBytes: 8, valueCount: rows, nullCount: 0 }]]),
  }
}

function deletedOf(rows: number, positions: Iterable<number>): DeletedRows {
  const deleted = new DeletedRows(rows)
  for (const position of positions) deleted.add(position)
  return deleted
}

const stamp = (number: number) => ({ commitId: `c${number}`, version: BigInt(number), ranges: 't:0=0-1' })
const change = (of: Partial<TableChange>): TableChange => ({
  kind: 'write',
  added: [],
  deletes: [],
  removed: [],
  ...of,
})
const apply = (
  storage: MemoryStorage,
  table: LakeTable,
  of: Partial<TableChange>,
  number = 1,
  clock: Clock = systemClock,
) => changeTable(storage, table, change(of), stamp(number), clock)

/** A data file as a table should have it. */
interface ModelFile {
  readonly file: DataFile
  readonly deleted: Set<number>
  readonly sequenceNumber: bigint
  readonly firstRowId: bigint
}

/** One step of a random history: sizes of new files, which rows die, which files are rewritten. */
const step = fc.record({
  // With `both` rows of the stream come together with files that hold the rows of others.
  of: fc.constantFrom('write' as const, 'write' as const, 'replace' as const, 'both' as const),
  added: fc.array(fc.integer({ min: 0, max: 40 }), { maxLength: 3 }),
  dead: fc.array(fc.tuple(fc.nat(1_000), fc.nat(1_000)), { maxLength: 6 }),
  removed: fc.array(fc.nat(1_000), { maxLength: 2 }),
  isReopened: fc.boolean(),
})

describe('a keyed table', () => {
  test('is what a model says, whatever was added, deleted, removed and replaced', { timeout: 30_000 }, async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 14 }), async (steps) => {
        const { storage, table: empty } = await open()
        const model = new Map<string, ModelFile>()
        const history = new Map<bigint, ReadonlyMap<string, ModelFile>>()
        let [table, names, nextRowId] = [empty, 0, 0n]
        for (const [number, { of, added, dead, removed, isReopened }] of steps.entries()) {
          const kind = of === 'both' ? 'write' : of
          const base = isReopened ? await openTable(storage, table.metadata) : table
          const sequenceNumber = base.raw['last-sequence-number'] + 1n
          const keys = [...model.keys()]
          const gone = of === 'write' ? [] : [...new Set(removed.flatMap((pick) => keys[pick % keys.length] ?? []))]
          const old = of !== 'write' && sequenceNumber > 1n ? sequenceNumber - 1n : undefined
          const files = added.map((rows, k): AddedFile => ({
            ...file(names++, rows),
            ...(old === undefined || (of === 'both' && k % 2 === 1) ? {} : { sequenceNumber: old }),
          }))
          const dying = new Set<ModelFile>()
          for (const key of gone) model.delete(key)
          const result = new Map(model)
          for (const { sequenceNumber: own = sequenceNumber, ...one } of files) {
            result.set(one.key, { file: one, deleted: new Set(), sequenceNumber: own, firstRowId: nextRowId })
            nextRowId += BigInt(one.recordCount)
          }
          for (const [pick, row] of dead) {
            const target = [...result.values()][pick % result.size]
            if (target === undefined || target.file.recordCount === 0) continue
            const before = target.deleted
            const copy = dying.has(target) ? target : { ...target, deleted: new Set(before) }
            copy.deleted.add(row % target.file.recordCount)
            result.set(target.file.key, copy)
            dying.add(copy)
          }
          const deletes = [...dying].map((one) => ({
            file: one.file,
            rows: deletedOf(one.file.recordCount, one.deleted),
          }))
          table = await apply(storage, base, { kind, added: files, deletes, removed: gone }, number)
          if (files.length + deletes.length + gone.length === 0) {
            expect(table).toBe(base)
            continue
          }
          model.clear()
          for (const [key, one] of result) model.set(key, one)
          history.set(table.snapshot!, new Map(model))
          assertTotals(table, model, nextRowId)
          await assertExact(storage, table)
        }
        const read = await openTable(storage, table.metadata)
        for (const [snapshot, files] of history) await assertFiles(storage, read, snapshot, files)
      }),
      { numRuns: 30 },
    )
  })

  test('says what a commit did, in the words of the specification', async () => {
    const { storage, table: empty } = await open()
    const [a, b, c] = [file(1, 10), file(2, 5), file(3, 8)]
    const one = await apply(storage, empty, { added: [a, b] })
    const two = await apply(storage, one, { added: [c], deletes: [{ file: a, rows: deletedOf(10, [1, 2]) }] })
    const three = await apply(storage, two, {
      deletes: [
        { file: a, rows: deletedOf(10, [1, 2, 3]) },
        { file: b, rows: deletedOf(5, [0]) },
      ],
    })
    const four = await apply(storage, three, {
      kind: 'replace',
      added: [{ ...file(4, 7), sequenceNumber: 3n }],
      removed: [a.key],
    })
    expect(four.snapshots.map(({ operation }) => operation)).toEqual(['append', 'overwrite', 'delete', 'replace'])
    const [, second, third, fourth] = four.snapshots.map(({ summary }) => summary)
    expect(second).toMatchObject({
      'added-data-files': '1',
      'added-records': '8',
      'added-delete-files': '1',
      'added-dvs': '1',
      'added-position-deletes': '2',
      'total-records': '23',
      'total-delete-files': '1',
      'total-position-deletes': '2',
    })
    expect(third).toMatchObject({
      'added-dvs': '2',
      'removed-dvs': '1',
      'removed-delete-files': '1',
      'added-position-deletes': '4',
      'removed-position-deletes': '2',
      'changed-partition-count': '2',
      'total-data-files': '3',
      'total-records': '23',
      'total-delete-files': '2',
      'total-position-deletes': '4',
    })
    expect(third).not.toHaveProperty('added-data-files')
    expect(fourth).toMatchObject({
      'added-data-files': '1',
      'deleted-data-files': '1',
      'added-records': '7',
      'deleted-records': '10',
      'removed-dvs': '1',
      'removed-position-deletes': '3',
      'total-data-files': '3',
      'total-records': '20',
      'total-delete-files': '1',
      'total-position-deletes': '1',
    })
    expect(four.totalDeletes).toBe(1n)
    // Every row that came was given an id, also those that came again.
    expect(four.raw['next-row-id']).toBe(30n)
  })

  test('keeps both sequence numbers of a rewritten file when its manifest is rewritten', async () => {
    const { storage, table: empty } = await open()
    const one = await apply(storage, empty, { added: [file(1, 10)] })
    const two = await apply(storage, one, { added: [file(2, 10)] })
    const added = [3, 4].map((name) => ({ ...file(name, 10), sequenceNumber: 1n }))
    const three = await apply(storage, two, { kind: 'replace', added, removed: [file(1, 10).key] })
    const four = await apply(storage, three, { removed: [file(3, 10).key] })
    const entries = (await manifestsOf(storage, four)).flatMap(({ entries: all }) => all)
    const numbers = entries
      .filter(({ status }) => status === 0)
      .map((entry) => [entry.data_file.file_path.at(-9), entry.sequence_number.long, entry.file_sequence_number.long])
    expect(numbers).toEqual([['4', 1n, 3n]])
    expect((await storedFiles(storage, four)).map(({ sequenceNumber }) => sequenceNumber)).toEqual([1n, 2n])
  })

  test('names its key columns', async () => {
    const { storage, table } = await open()
    expect(table.schema['identifier-field-ids']).toEqual([1])
    expect((await openTable(storage, table.metadata)).schema).toEqual(table.schema)
    for (const key of [['part'], ['none']])
      await expect(
        createTable(storage, { name: 'x', columns, partitionBy: [], formatVersion: 3, key }, systemClock),
      ).rejects.toMatchObject({ code: 'config.invalid' })
  })

  test('reads no manifest of data files to delete rows, and one manifest of vectors after a restart', async () => {
    const { storage, table: empty } = await open()
    const files = Array.from({ length: 20 }, (_, index) => file(index, 50))
    let table = empty
    for (const [index, one] of files.entries()) table = await apply(storage, table, { added: [one] }, index)
    const deletes = (rows: number) =>
      files.map((one) => ({
        file: one,
        rows: deletedOf(
          50,
          Array.from({ length: rows }, (_, row) => row),
        ),
      }))
    table = await apply(storage, table, { deletes: deletes(1) })
    const reads: string[] = []
    const get = storage.get.bind(storage)
    storage.get = (key: string) => (reads.push(key), get(key))
    const again = await apply(storage, table, { deletes: deletes(2) })
    expect(reads).toEqual([])
    // What another process finds: a list, and the one manifest that lists all vectors.
    const fresh = new MemoryStorage('change')
    for await (const { key } of storage.list('')) await fresh.put(key, (await get(key))!)
    const freshReads: string[] = []
    const freshGet = fresh.get.bind(fresh)
    const opened = await openTable(fresh, again.metadata)
    fresh.get = (key: string) => (freshReads.push(key), freshGet(key))
    await apply(fresh, opened, { deletes: deletes(3) })
    expect(freshReads.length).toBe(2)
  })

  test.each([
    ['a file removed that is not there', { removed: ['tables/t/data/9.parquet'] }],
    ['a file added and removed', { added: [file(5, 1)], removed: [file(5, 1).key] }],
    [
      'deletes of a removed file',
      { deletes: [{ file: file(1, 10), rows: deletedOf(10, [1, 2, 3]) }], removed: [file(1, 10).key] },
    ],
    ['deletes of no row', { deletes: [{ file: file(1, 10), rows: deletedOf(10, []) }] }],
    ['deletes of another number of rows', { deletes: [{ file: file(1, 10), rows: deletedOf(11, [1, 2]) }] }],
    ['fewer deletes than before', { deletes: [{ file: file(1, 10), rows: deletedOf(10, [1]) }] }],
    ['a sequence number to come', { added: [{ ...file(5, 1), sequenceNumber: 9n }] }],
  ])('refuses %s', async (_, wrong) => {
    const { storage, table: empty } = await open()
    const table = await apply(storage, empty, {
      added: [file(1, 10)],
      deletes: [{ file: file(1, 10), rows: deletedOf(10, [1, 2]) }],
    })
    await expect(apply(storage, table, wrong)).rejects.toMatchObject({ code: 'internal' })
  })

  test('refuses deletion vectors in a v2 table', async () => {
    const { storage, table } = await open(2)
    const deletes = [{ file: file(1, 10), rows: deletedOf(10, [1]) }]
    await expect(apply(storage, table, { added: [file(1, 10)], deletes })).rejects.toMatchObject({ code: 'internal' })
  })

  test('is corrupt where a Puffin file is missing or another', async () => {
    const { storage, table: empty } = await open()
    const deletes = [1, 2].map((name) => ({ file: file(name, 10), rows: deletedOf(10, [name, 9]) }))
    const table = await apply(storage, empty, { added: [file(1, 10), file(2, 10)], deletes })
    const [one, two] = await storedFiles(storage, table)
    expect([...(await readDeletedRows(storage, one!)).positions()]).toEqual([1, 9])
    const wrong = [
      { ...one!, deletes: { ...one!.deletes!, key: 'tables/t/data/none.puffin' } },
      { ...one!, deletes: { ...one!.deletes!, offset: two!.deletes!.offset + 1 } },
      { ...one!, deletes: { ...one!.deletes!, count: 3 } },
    ]
    for (const stored of wrong)
      await expect(readDeletedRows(storage, stored)).rejects.toMatchObject({ code: 'store.corrupt' })
  })

  test('keeps its files, vectors and row ids over hundreds of commits that merge manifests and expire snapshots', async () => {
    const { storage, table: empty } = await open()
    let table = empty
    for (let number = 0; number < 150; number++) {
      const added = file(number, 2)
      const deletes = [{ file: added, rows: deletedOf(2, [number % 2]) }]
      table = await apply(storage, table, { added: [added], deletes }, number)
    }
    const read = await openTable(storage, table.metadata)
    expect(read.raw.snapshots.length).toBeLessThan(150)
    const files = await storedFiles(storage, read)
    expect(files.map(({ firstRowId }) => firstRowId).toSorted((a, b) => Number(a! - b!))).toEqual(
      Array.from({ length: 150 }, (_, index) => 2n * BigInt(index)),
    )
    for (const one of files)
      expect([...(await readDeletedRows(storage, one)).positions()]).toEqual([Number(one.sequenceNumber - 1n) % 2])
    expect(read.manifests).toBe(undefined)
    expect(table.manifests!.filter(({ content }) => content === 'deletes').length).toBe(1)
    expect(table.manifests!.length).toBeLessThan(40)

    // Files of the oldest manifest and of a young one leave; whoever shared a manifest with them keeps all it had.
    const removed = [file(3, 2).key, file(148, 2).key]
    const less = await apply(storage, read, { kind: 'replace', removed })
    expect(byKey(await storedFiles(storage, less))).toEqual(byKey(files.filter(({ key }) => !removed.includes(key))))
    expect([less.totalFiles, less.totalRecords, less.totalDeletes]).toEqual([148n, 296n, 148n])
    await assertExact(storage, less)
  })
})

function assertTotals(table: LakeTable, model: ReadonlyMap<string, ModelFile>, nextRowId: bigint): void {
  const files = [...model.values()]
  const sum = (of: (one: ModelFile) => number) => BigInt(files.reduce((total, one) => total + of(one), 0))
  expect(table.totalFiles).toBe(BigInt(files.length))
  expect(table.totalRecords).toBe(sum(({ file: one }) => one.recordCount))
  expect(table.totalDeletes).toBe(sum(({ deleted }) => deleted.size))
  const summary = table.snapshots.at(-1)!.summary
  expect(summary['total-delete-files']).toBe(String(files.filter(({ deleted }) => deleted.size > 0).length))
  expect(table.raw['next-row-id']).toBe(nextRowId)
}

async function assertFiles(
  storage: MemoryStorage,
  table: LakeTable,
  snapshot: bigint,
  model: ReadonlyMap<string, ModelFile>,
): Promise<void> {
  const found = new Map<string, ModelFile>()
  for (const { sequenceNumber, firstRowId, deletes, ...one } of await storedFiles(storage, table, snapshot)) {
    const deleted = await readDeletedRows(storage, { ...one, sequenceNumber, firstRowId, deletes })
    expect(deletes?.count ?? 0).toBe(deleted.count)
    expect(found.has(one.key)).toBe(false)
    found.set(one.key, { file: one, deleted: new Set(deleted.positions()), sequenceNumber, firstRowId: firstRowId! })
  }
  expect(found).toEqual(new Map(model))
}

/** The counts of the manifest list, and the numbers that entries must carry, as strict readers want them. */
async function assertExact(storage: MemoryStorage, table: LakeTable): Promise<void> {
  const vectorsOf = new Map<string, number>()
  for (const { manifest, metadata, entries: records } of await manifestsOf(storage, table)) {
    expect(metadata['content']).toBe(manifest.content === 1 ? 'deletes' : 'data')
    const of = (status: number) => records.filter((entry) => entry.status === status)
    const rows = (status: number) => of(status).reduce((sum, entry) => sum + entry.data_file.record_count, 0n)
    expect([manifest.existing_files_count, manifest.added_files_count, manifest.deleted_files_count]).toEqual(
      [0, 1, 2].map((status) => of(status).length),
    )
    expect([manifest.existing_rows_count, manifest.added_rows_count, manifest.deleted_rows_count]).toEqual(
      [0, 1, 2].map(rows),
    )
    const live = records.filter(({ status }) => status !== 2)
    const numbers = live.map((entry) => entry.sequence_number?.long ?? manifest.sequence_number)
    const least = numbers.reduce((a, b) => (a < b ? a : b), manifest.sequence_number)
    expect(manifest.min_sequence_number).toBe(least)
    expect(manifest.first_row_id === null).toBe(manifest.content === 1)
    for (const entry of records) {
      expect(entry.data_file.content).toBe(manifest.content)
      expect(entry.file_sequence_number === null).toBe(entry.status === 1)
      if (entry.status !== 1) expect(entry.sequence_number).not.toBe(null)
      if (entry.status === 2) expect(entry.snapshot_id.long).toBe(manifest.added_snapshot_id)
      if (manifest.content === 0) expect(entry.data_file.first_row_id === null).toBe(entry.status === 1)
      else if (entry.status !== 2) {
        const target = entry.data_file.referenced_data_file.string
        vectorsOf.set(target, (vectorsOf.get(target) ?? 0) + 1)
      }
    }
  }
  for (const [target, count] of vectorsOf) expect([target, count]).toEqual([target, 1])
}

/** The manifests of the current snapshot as they stand in the store. */
async function manifestsOf(
  storage: MemoryStorage,
  table: LakeTable,
): Promise<readonly { readonly manifest: any; readonly metadata: any; readonly entries: readonly any[] }[]> {
  const snapshot = table.raw.snapshots.find((one) => one['snapshot-id'] === table.snapshot)!
  const list = decodeContainer('list', (await storage.get(keyOf(storage, snapshot['manifest-list'])))!)
  return Promise.all(
    list.records.map(async (manifest) => {
      const key = keyOf(storage, manifest.manifest_path)
      const { records, metadata } = decodeContainer(key, (await storage.get(key))!)
      return { manifest, metadata, entries: records }
    }),
  )
}

function byKey<F extends DataFile>(files: readonly F[]): readonly F[] {
  return files.toSorted((a, b) => (a.key < b.key ? -1 : 1))
}
