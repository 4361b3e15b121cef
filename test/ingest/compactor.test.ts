import { describe, expect, test } from 'vitest'
import { LakeError } from '../../src/error.ts'
import { CompactionRequest, Compactor, type LiveTable } from '../../src/ingest/compactor.ts'
import type { ConcatenateInput, TableWork } from '../../src/ingest/keys.ts'
import { MemoryStorage } from '../../src/lake/storage/memory.ts'
import {
  changeTable,
  COMPACTION,
  createTable,
  DeletedRows,
  storedFiles,
  type CompactionPolicy,
  type DataFile,
  type LakeTable,
  type TableChange,
} from '../../src/lake/table.ts'
import { InstantClock } from '../support/instant-clock.ts'

const POLICY = { ...COMPACTION, smallFilesMax: 4, fanIn: 4 }

/** One table that gets a file of ten rows whenever it is told to, and a compactor that is told of all heads. */
class Bench {
  readonly clock = new InstantClock()
  readonly storage = new MemoryStorage('compactor')
  readonly errors: string[] = []
  readonly asked = new Map<string, CompactionRequest>()
  readonly compactor: Compactor
  concatenations = 0
  fails: Error | undefined
  /** What is under way ends when it is let go, when there is such a list. */
  waiting: (() => void)[] | undefined
  table!: LakeTable
  /** Keys of the inputs of each concatenation. */
  readonly taken: string[][] = []
  #files = 0

  constructor(policy: CompactionPolicy) {
    const { clock, storage } = this
    this.compactor = new Compactor({
      pipeline: 'p',
      storage,
      work: () => ({ concatenate: (_, inputs) => this.#concatenate(inputs) }) as TableWork,
      policy,
      clock,
      observer: (event) => {
        if (event.kind === 'compaction' && event.error !== undefined) this.errors.push(event.error.code)
      },
    })
  }

  static async open(policy: CompactionPolicy = POLICY): Promise<Bench> {
    const bench = new Bench(policy)
    const columns = [{ name: 'v', type: { kind: 'long' as const } }]
    const spec = { name: 't', columns, partitionBy: [], formatVersion: 3 as const }
    bench.table = await createTable(bench.storage, spec, bench.clock)
    return bench
  }

  async write(): Promise<void> {
    await this.#change({ kind: 'write', added: [this.#file(10)], deletes: [], removed: [] })
  }

  /** One look of the compactor, and the commit of what it comes to. */
  async look(live: ReadonlyMap<string, LiveTable> = new Map()): Promise<void> {
    this.compactor.consider(new Map([['t', this.table]]), live, this.asked)
    for (let k = 0; k < 20; k++) await new Promise(setImmediate)
    const done = this.compactor.take()
    if (done === undefined) return
    const removed = done.inputs.map(({ file }) => file.key)
    await this.#change({ kind: 'replace', added: done.output ? [done.output] : [], deletes: [], removed })
    this.asked.get('t')?.add(done.inputs.length, done.output)
    this.compactor.settled(done)
  }

  async #change(change: TableChange): Promise<void> {
    const stamp = { commitId: this.clock.uuid(), version: 1n, ranges: '' }
    this.table = await changeTable(this.storage, this.table, change, stamp, this.clock)
  }

  #file(recordCount: number): DataFile {
    const key = `tables/t/data/${this.#files++}.parquet`
    return { key, recordCount, fileSizeBytes: 100 * recordCount, partition: [], metrics: new Map() }
  }

  #concatenate(inputs: readonly ConcatenateInput[]): Promise<DataFile> {
    this.concatenations++
    this.taken.push(inputs.map(({ file }) => file.key))
    if (this.fails !== undefined) return Promise.reject(this.fails)
    const output = this.#file(inputs.reduce((sum, { file }) => sum + file.recordCount, 0))
    if (this.waiting === undefined) return Promise.resolve(output)
    return new Promise((resolve) => this.waiting!.push(() => resolve(output)))
  }
}

describe('a table that ingestion has to wait for', () => {
  const FILES = 40

  /** Half of its rows are dead, file by file. */
  async function dying(): Promise<{ bench: Bench; live: ReadonlyMap<string, LiveTable> }> {
    const bench = await Bench.open({ ...POLICY, smallFilesMax: 1_000, urgentRows: 100, inputsMax: 4, rowsMax: 20 })
    bench.waiting = []
    for (let k = 0; k < FILES; k++) await bench.write()
    const stored = await storedFiles(bench.storage, bench.table)
    const files = stored.map((file) => {
      const deleted = new DeletedRows(file.recordCount)
      for (let row = 0; row < file.recordCount / 2; row++) deleted.add(row)
      return { file, deleted }
    })
    const table = {
      name: 't',
      rows: 10 * FILES,
      deadRows: 5 * FILES,
      files,
      holds: () => true,
      replace: () => undefined,
    }
    return { bench, live: new Map([['t', table]]) }
  }

  test('has two compactions at once, never of one file, and the third when one has been committed', async () => {
    const { bench, live } = await dying()
    for (let k = 0; k < 4; k++) await bench.look(live)
    expect(bench.taken).toHaveLength(2)
    const [first, second] = bench.taken as [string[], string[]]
    expect(first.length).toBeGreaterThan(0)
    expect(second.filter((key) => first.includes(key))).toEqual([])
    bench.waiting![1]!()
    for (let k = 0; k < 2; k++) await bench.look(live)
    expect(bench.taken).toHaveLength(3)
    expect(bench.taken[2]!.filter((key) => first.includes(key))).toEqual([])
    expect(bench.compactor.isBusy).toBe(true)
  })

  test('has one while it need not wait yet', async () => {
    const { bench, live } = await dying()
    const table = { ...live.get('t')!, deadRows: 10 * FILES * POLICY.deadShareMax * 0.75 }
    for (let k = 0; k < 4; k++) await bench.look(new Map([['t', table]]))
    expect(bench.taken).toHaveLength(1)
  })

  test('is not looked at for a second one again and again when there is nothing else to do', async () => {
    const { bench, live } = await dying()
    const table = { ...live.get('t')!, files: live.get('t')!.files.slice(0, 4) }
    let looks = 0
    const counted = {
      ...table,
      get files() {
        looks++
        return table.files
      },
    }
    for (let k = 0; k < 9; k++) await bench.look(new Map([['t', counted]]))
    expect([bench.taken.length, looks]).toEqual([1, 2])
    bench.waiting![0]!()
    for (let k = 0; k < 2; k++) await bench.look(new Map([['t', counted]]))
    expect(looks).toBeGreaterThan(2)
  })
})

describe('a compaction that somebody waits for', () => {
  test('comes to an end though the stream brings files all the time', async () => {
    const bench = await Bench.open()
    const request = new CompactionRequest()
    bench.asked.set('t', request)
    for (let k = 0; k < 5; k++) await bench.write()
    for (let k = 0; k < 50 && !request.isDone; k++) {
      await bench.look()
      for (let more = 0; more < 3; more++) await bench.write()
    }
    expect(request).toMatchObject({ isDone: true, removedFiles: 5, addedFiles: 1 })
  })

  test('says why it cannot be', async () => {
    const bench = await Bench.open()
    bench.fails = new LakeError('lane.failed', 'no space left', { retryable: true })
    const request = new CompactionRequest()
    bench.asked.set('t', request)
    for (let k = 0; k < 5; k++) await bench.write()
    for (let k = 0; k < 10; k++) await bench.look()
    expect(request.error?.message).toBe('no space left')
    expect(bench.concatenations).toBe(1)
  })
})

test('ingestion does not wait for compactions that fail', async () => {
  const bench = await Bench.open()
  for (let k = 0; k < 8; k++) await bench.write()
  bench.fails = new Error('no space left')
  await bench.look()
  expect(bench.errors).toEqual(['internal'])
  expect(bench.compactor.isBehind(new Map())).toBe(false)
  bench.fails = undefined
  bench.clock.advance(60_000)
  await bench.look()
  expect(bench.concatenations).toBe(2)
})

test.each([
  ['a small table', 1_000_000, 0.252],
  ['a large one', 20_000_000, 0.2925],
])(
  'ingestion waits while %s has so many dead rows that batches under way could pass the limit',
  async (_, rows, share) => {
    const bench = await Bench.open()
    const isBehindAt = (deadRows: number): boolean => {
      const live = { name: 't', rows, deadRows, files: [], holds: () => true, replace: () => undefined }
      return bench.compactor.isBehind(new Map([['t', live]]))
    }
    expect(isBehindAt(rows * share - 1)).toBe(false)
    expect(isBehindAt(rows * share)).toBe(true)
  },
)

test('a table that is well as it is is looked at again only when it has changed, or somebody asks', async () => {
  const bench = await Bench.open()
  let looks = 0
  const table = {
    name: 't',
    rows: 0,
    deadRows: 0,
    get files() {
      looks++
      return []
    },
  }
  const live = new Map([['t', table as unknown as LiveTable]])
  const seen: number[] = []
  for (let k = 0; k < 6; k++) {
    if (k % 3 === 0) await bench.write()
    await bench.look(live)
    seen.push(looks)
    bench.clock.advance(60_000)
  }
  expect(seen).toEqual([1, 1, 1, 2, 2, 2])
  const request = new CompactionRequest()
  bench.asked.set('t', request)
  await bench.look(live)
  expect(request.isDone).toBe(true)
  expect(looks).toBe(3)
})

test('a table that a look failed at is looked at again as it is', async () => {
  const bench = await Bench.open()
  for (let k = 0; k < 4; k++) await bench.write()
  bench.fails = new Error('no space left')
  for (let k = 0; k < 3; k++) {
    await bench.look()
    bench.clock.advance(60_000)
  }
  expect(bench.concatenations).toBe(3)
})
