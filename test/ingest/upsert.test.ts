import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { DELETE, TRUNCATE, type ConcatenateInput, type KeyRun, type StagedKeys } from '../../src/ingest/keys.ts'
import type { StagedTable } from '../../src/ingest/lane.ts'
import { byShard, type FileKeys } from '../../src/ingest/table-work/by-shard.ts'
import { KeyedTable } from '../../src/ingest/upsert.ts'
import { DeletedRows, type DataFile } from '../../src/lake/table.ts'
import { alive } from '../support/stored-keys.ts'

// The fold against the plain one: rows as objects in a map, files as lists of them.

interface Operation {
  readonly key: number
  readonly what: 'upsert' | 'delete' | 'bare' | 'truncate'
  readonly partition: number
  readonly version: number
}

interface Row extends Operation {
  readonly id: number
}

/** A table whose files are lists of rows, and what became of them. */
class World {
  table: KeyedTable
  readonly isVersioned: boolean
  readonly files = new Map<string, readonly Row[]>()
  model = new Map<number, Row>()
  markers = new Map<number, { version: number; partition: number }>()
  /** Rows of files of deletes: of those since the last commit by file, and those that versions hold. */
  readonly #deletes = new Map<DataFile, readonly Row[]>()
  readonly #stored: Row[] = []
  /** Data files that versions hold, with the rows that they say are dead, and those staged since. */
  readonly #held = new Map<string, { readonly file: DataFile; readonly deleted: DeletedRows }>()
  #staged: DataFile[] = []
  #files = 0
  #rows = 0

  constructor(isVersioned: boolean) {
    this.isVersioned = isVersioned
    this.table = new KeyedTable('t', isVersioned)
  }

  fold(batch: readonly Operation[], filesPerBatch: number): void {
    const byPartition = batch.toSorted((a, b) => a.partition - b.partition)
    const files: Row[][] = Array.from({ length: filesPerBatch }, () => [])
    const staged = byPartition.map((operation) => {
      const row = { ...operation, id: this.#rows++ }
      const file = operation.what === 'upsert' ? operation.key % filesPerBatch : DELETE
      const target = operation.what === 'truncate' ? TRUNCATE : file
      if (target >= 0) files[target]!.push(row)
      return { row, target, at: target >= 0 ? files[target]!.length - 1 : 0 }
    })
    const kept = files.map((rows) => this.#fileOf(rows))
    this.#staged.push(...kept)
    const deletes = staged.filter(({ row: { what } }) => what === 'delete' || what === 'bare').map(({ row }) => row)
    // How many operations are folded in one go decides nothing.
    const given = stagedTable(staged, kept, this.isVersioned, deletes.length)
    for (const file of given.deleteFiles ?? []) this.#deletes.set(file, deletes)
    for (const _ of this.table.folding(given, undefined, 1 + (this.#rows % 7)));
    for (const { row } of staged) this.#plain(row)
  }

  /** What a plain fold makes of one record. */
  #plain(row: Row): void {
    const { key, what, partition, version } = row
    if (what === 'truncate') return this.model.clear()
    if (!this.isVersioned) {
      if (what === 'upsert') this.model.set(key, row)
      else this.model.delete(key)
      return
    }
    const stood = this.model.get(key) ?? this.markers.get(key)
    const live = this.model.get(key)
    if (what === 'bare') {
      if (live === undefined || live.partition !== partition) return
      this.model.delete(key)
      this.markers.set(key, { version: live.version, partition })
      return
    }
    if (stood !== undefined && (stood.version > version || (stood.version === version && stood.partition > partition)))
      return
    if (what === 'upsert') {
      this.model.set(key, row)
      this.markers.delete(key)
    } else {
      this.model.delete(key)
      this.markers.set(key, { version, partition })
    }
  }

  /** Rows that the files say are alive, by key. */
  alive(): Map<number, number> {
    const alive = new Map<number, number>()
    for (const { file, deleted } of this.table.files)
      for (const [at, { key, id }] of this.files.get(file.key)!.entries()) {
        if (deleted.has(at)) continue
        expect(alive.has(key), `key ${key} is alive twice`).toBe(false)
        alive.set(key, id)
      }
    return alive
  }

  commit(): void {
    for (const { file, deleted, fillings } of this.table.markers?.changes() ?? []) {
      const versions = new Map(fillings.map(([row, from]) => [row, this.files.get(from.key)![from.row]!.version]))
      for (const [at, row] of this.#deletes.get(file)!.entries())
        if (!deleted.has(at)) this.#stored.push({ ...row, version: versions.get(at) ?? row.version })
    }
    this.#deletes.clear()
    this.#hold()
    this.table.committed()
  }

  /** Does to the files of versions what the table asks of its commit: they must tell the same as the table does. */
  #hold(): void {
    const { removed, swapped, gone, deletes } = this.table.changes()
    for (const key of removed) expect(this.#held.delete(key), `${key} leaves and was never there`).toBe(true)
    for (const file of [...this.#staged.filter(({ key }) => !gone.has(key)), ...swapped])
      this.#held.set(file.key, { file, deleted: new DeletedRows(file.recordCount) })
    this.#staged = []
    for (const { file, rows } of deletes) {
      expect(rows.count).toBeGreaterThan(0)
      this.#held.set(file.key, { file: this.#held.get(file.key)!.file, deleted: rows.clone() })
    }
    const told = (files: Iterable<{ readonly file: DataFile; readonly deleted: DeletedRows }>) =>
      [...files].map(({ file, deleted }) => [file.key, ...deleted.positions()].join(' ')).toSorted()
    expect(told(this.table.files)).toEqual(told(this.#held.values()))
  }

  /** The table as its files tell of it, in whatever order they are read. */
  reopen(isReversed: boolean): void {
    const files = [...this.#held.values()].map(({ file, deleted }) => [file, deleted.clone()] as const)
    this.table = new KeyedTable('t', this.isVersioned)
    const order = <T>(list: readonly T[]): readonly T[] => (isReversed ? list.toReversed() : list)
    if (this.isVersioned) {
      const keys = fileKeys(order(this.#stored))
      drain(this.table.loadingMarkers(byShard([{ keys, deleted: new DeletedRows(keys.count) }])))
    }
    // In groups of two.
    const ordered = order(files)
    for (let from = 0; from < ordered.length; from += 2) {
      const stored = ordered.slice(from, from + 2).map(([file, deleted]) => ({
        file: { ...file, sequenceNumber: 1n, firstRowId: 0n, deletes: undefined },
        keys: fileKeys(this.files.get(file.key)!),
        deleted,
      }))
      drain(this.table.loading(stored, byShard(stored)))
    }
  }

  begin(picked: readonly number[], taken: readonly ConcatenateInput[] = []): ConcatenateInput[] {
    const isTaken = (key: string) => taken.some(({ file }) => file.key === key)
    const files = this.table.files.filter(({ file }, index) => picked.includes(index) && !isTaken(file.key))
    return files.map(({ file, deleted }) => ({
      file,
      deleted: deleted.clone(),
      firstRowId: undefined,
      sequenceNumber: 1n,
    }))
  }

  end(inputs: readonly ConcatenateInput[]): void {
    if (inputs.length === 0 || !this.table.holds(inputs)) return
    const rows = inputs.flatMap(({ file, deleted }) => this.files.get(file.key)!.filter((_, at) => !deleted.has(at)))
    this.table.replace(inputs, rows.length === 0 ? undefined : this.#fileOf(rows))
  }

  #fileOf(rows: readonly Row[]): DataFile {
    const key = `f${this.#files++}`
    this.files.set(key, rows)
    return { key, recordCount: rows.length, fileSizeBytes: 1, partition: [], metrics: new Map() }
  }
}

/** All stretches of a load. */
function drain(loading: Iterable<number>): void {
  for (const keys of loading) expect(keys).toBeGreaterThan(0)
}

function fileKeys(rows: readonly Row[]): FileKeys {
  return {
    count: rows.length,
    hashes: Uint32Array.from(rows.flatMap(({ key }) => hashOf(key))),
    versions: BigInt64Array.from(rows, ({ version }) => BigInt(version)),
    runs: rows.map(({ partition }) => ({ partition, count: 1 })),
  }
}

function stagedTable(
  staged: readonly { readonly row: Row; readonly target: number; readonly at: number }[],
  files: readonly DataFile[],
  isVersioned: boolean,
  deletes: number,
): StagedTable {
  const runs: KeyRun[] = []
  const bare = new Uint32Array(staged.length + 1)
  for (const [index, { row }] of staged.entries()) {
    const last = runs.at(-1)
    if (last?.partition === row.partition) runs[runs.length - 1] = { ...last, count: last.count + 1 }
    else runs.push({ partition: row.partition, count: 1 })
    if (row.what === 'bare') bare[index >>> 5]! |= 1 << (index & 31)
  }
  const hashes = new Uint32Array(staged.length * 4)
  for (const [index, { row }] of staged.entries()) hashes.set(hashOf(row.key), index * 4)
  const keys: StagedKeys = {
    count: staged.length,
    hashes,
    files: Int32Array.from(staged, ({ target }) => target),
    rows: Uint32Array.from(staged, ({ at }) => at),
    offsets: BigInt64Array.from(staged, ({ row }) => BigInt(row.id)),
    runs,
    versions: isVersioned ? BigInt64Array.from(staged, ({ row }) => BigInt(row.version)) : undefined,
    bare: isVersioned ? bare : undefined,
    holes: undefined,
  }
  const marks = { key: 'd', recordCount: deletes, fileSizeBytes: 1, partition: [], metrics: new Map() }
  return { table: 't', files, deadLetterFiles: [], counts: new Map(), keys, deleteFiles: deletes > 0 ? [marks] : [] }
}

const hashOf = (key: number) => [Math.imul(key, 0x9e3779b1), key, Math.imul(key, 31), Math.imul(key, 0x5bd1e995)]

/** Without a version a key keeps to one partition; with one it comes from any. */
const operations = (isVersioned: boolean, hasTruncates: boolean): fc.Arbitrary<Operation> =>
  fc
    .record({
      key: fc.nat(12),
      what: fc.constantFrom<Operation['what']>(
        ...(['upsert', 'upsert', 'upsert', 'delete'] as const),
        isVersioned ? 'bare' : hasTruncates ? 'truncate' : 'delete',
      ),
      partition: fc.nat(2),
      version: fc.nat(6),
    })
    .map((operation) => (isVersioned ? operation : { ...operation, partition: hasTruncates ? 0 : operation.key % 3 }))

const steps = (isVersioned: boolean, hasTruncates: boolean) =>
  fc.array(
    fc.oneof(
      { weight: 4, arbitrary: fc.array(operations(isVersioned, hasTruncates), { minLength: 1, maxLength: 20 }) },
      { weight: 2, arbitrary: fc.record({ begin: fc.array(fc.nat(6), { maxLength: 4 }) }) },
      { weight: 2, arbitrary: fc.constantFrom('end first', 'end last') },
      { weight: 1, arbitrary: fc.record({ sweep: fc.integer({ min: 1, max: 300 }) }) },
      { weight: 1, arbitrary: fc.constantFrom('commit', 'reopen', 'reopen in reverse') },
    ),
    { minLength: 1, maxLength: 30, size: 'max' },
  )

describe.each([
  [false, false],
  [false, true],
  [true, false],
])('with versions: %s, with truncates: %s', (isVersioned, hasTruncates) => {
  test('any order of batches and compactions leaves the rows of a plain fold', () => {
    fc.assert(
      fc.property(steps(isVersioned, hasTruncates), fc.integer({ min: 1, max: 3 }), (steps, filesPerBatch) => {
        const world = new World(isVersioned)
        // Two at once, of different files, that end in any order.
        let begun: ConcatenateInput[][] = []
        for (const step of steps) {
          if (step === 'commit') world.commit()
          else if (step === 'reopen' || step === 'reopen in reverse') {
            world.commit()
            world.reopen(step === 'reopen in reverse')
            begun = []
          } else if (step === 'end first' || step === 'end last') {
            world.end((step === 'end first' ? begun.shift() : begun.pop()) ?? [])
          } else if (Array.isArray(step)) world.fold(step, filesPerBatch)
          else if ('sweep' in step) world.table.sweep(step.sweep)
          else if (begun.length < 2) begun.push(world.begin(step.begin, begun.flat()))
          const expected = [...world.model].map(([key, { id }]) => [key, id] as const)
          expect([...world.alive()].toSorted()).toEqual(expected.toSorted())
        }
        const markers = world.markers.size
        expect(world.table.keys).toBe(world.model.size + markers)
      }),
      { numRuns: 150 },
    )
  })
})

test('a truncation takes all rows, those of its own batch too, and a begun compaction with them', () => {
  const world = new World(false)
  const upsert = (key: number): Operation => ({ key, what: 'upsert', partition: 0, version: 0 })
  world.fold([upsert(1), upsert(2)], 1)
  world.table.committed()
  const begun = world.begin([0])
  world.fold([upsert(3), { key: 0, what: 'truncate', partition: 0, version: 0 }, upsert(4)], 1)
  expect(world.table.holds(begun)).toBe(false)
  const { removed, gone, deletes } = world.table.changes()
  expect([removed, [...gone]]).toEqual([['f0'], []])
  expect(deletes.map(({ file, rows }) => [file.key, [...rows.positions()]])).toEqual([['f1', [0]]])
  expect([...world.alive().keys()]).toEqual([4])
})

test('a file whose rows came from partition after partition, time and again, is compacted', () => {
  const partitions = 200
  const rows = Array.from({ length: 140_000 }, (_, key): Row => ({
    id: key,
    key,
    what: 'upsert',
    partition: key % partitions,
    version: 0,
  }))
  // As when many small files of all partitions became one: no two neighbours are of one partition.
  const file = { key: 'all', recordCount: rows.length, fileSizeBytes: 1, partition: [], metrics: new Map() }
  const table = new KeyedTable('t', false)
  const stored = alive({ ...file, sequenceNumber: 1n, firstRowId: 0n, deletes: undefined })
  drain(table.loading([stored], byShard([{ ...stored, keys: fileKeys(rows) }])))
  const input = { file, deleted: stored.deleted.clone(), firstRowId: 0n, sequenceNumber: 1n }
  table.replace([input], { ...file, key: 'again' })
  expect(
    table.files.map(({ partitions }) => [partitions.at(0), partitions.at(139_999), partitions.runs.length]),
  ).toEqual([[0, 139_999 % partitions, rows.length]])
})

test('a key in two partitions without a version stops the fold, by its tombstone too', () => {
  const of = (what: Operation['what'], partition: number): Operation => ({ key: 1, what, partition, version: 0 })
  for (const what of ['upsert', 'delete'] as const) {
    const world = new World(false)
    world.fold([of('upsert', 0)], 1)
    expect(() => world.fold([of(what, 1)], 1)).toThrow(
      expect.objectContaining({
        code: 'upsert.key_in_two_partitions',
        context: expect.objectContaining({ partitions: [0, 1] }),
      }),
    )
  }
})
