import { mkdtemp, rm } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { systemClock, type Clock } from '../src/clock.ts'
import { collectLate } from '../src/garbage.ts'
import { Compactor } from '../src/ingest/compactor.ts'
import type { ConcatenateInput, StagedKeys, TableWork } from '../src/ingest/keys.ts'
import type { StagedTable } from '../src/ingest/lane.ts'
import { KeyedTable } from '../src/ingest/upsert.ts'
import { openStorage } from '../src/lake/storage/open.ts'
import {
  changeTable,
  COMPACTION,
  createTable,
  lowerBound,
  singleValue,
  upperBound,
  writePlan,
  type DataFile,
  type LakeTable,
  type Storage,
  type TableChange,
} from '../src/lake/table.ts'
import { keyBatch, PartitionKeys } from './support/key-numbers.ts'

/**
 * What a keyed table costs its committer, by the number of its keys: folding, commits with their deletion vectors, files
 * swapped by compaction, and how many rows compaction writes again. The committer's own code, files that are only
 * described (a commit never opens one), and time that goes by as fast as the modelled rate of ingestion and compaction says.
 */
export interface KeyedCost {
  readonly keys: number
  readonly records: number
  readonly foldMicros: number
  /** CPU of commits by the stream, for each. */
  readonly commitCpuMs: number
  readonly commitMs: number
  readonly commits: number
  readonly replaceCpuMs: number
  readonly replaces: number
  /** Of the committer in all, CPU-seconds per million records. */
  readonly cpuPerMillion: number
  readonly rewrittenShare: number
  readonly deadShareMax: number
  readonly files: number
}

/** What a micro-batch of 32 MiB holds, of the records of the other benchmarks. */
const BATCH = 140_000
/** Records a second of two lanes, and microseconds for a row that compaction writes, at half speed because of them. */
const RATE = 310_000
const MICROS_PER_ROW = 1.8
const COLUMNS = 9

/** `updates`: operations before the measurement, in multiples of the keys; four of five of them update a key. */
export async function measure(keys: number, updates: number, records: number): Promise<KeyedCost> {
  // As `kappalake start` does.
  collectLate()
  const folder = await mkdtemp(path.join(os.tmpdir(), 'kappalake-bench-'))
  const storage = await openStorage({ url: `file://${folder}` }, systemClock)
  try {
    const run = await Run.open(storage, keys)
    while (run.records < keys * (1 + updates)) await run.step()
    run.begin()
    const until = run.records + records
    while (run.records < until) await run.step()
    return run.cost(keys)
  } finally {
    await storage.close()
    await rm(folder, { recursive: true, force: true })
  }
}

class Run {
  readonly #storage: Storage
  readonly #keyed = new KeyedTable('orders', false)
  /** Of two lanes, two partitions each. */
  readonly #lanes: readonly (readonly (readonly [number, PartitionKeys])[])[]
  readonly #compactor: Compactor
  readonly #time: ModelledTime
  #table: LakeTable
  #files = 0
  #rewritten = 0
  #began = { records: 0, rewritten: 0 }
  #deadShareMax = 0
  readonly #fold = new Meter()
  readonly #commit = new Meter()
  readonly #replace = new Meter()
  records = 0

  private constructor(storage: Storage, table: LakeTable, keys: number) {
    this.#storage = storage
    this.#table = table
    const keysOf = (partition: number) => [partition, new PartitionKeys(partition, keys / 4)] as const
    this.#lanes = [[0, 2].map(keysOf), [1, 3].map(keysOf)]
    this.#time = new ModelledTime()
    this.#compactor = new Compactor({
      pipeline: 'bench',
      storage,
      work: () => ({ concatenate: (_, inputs) => this.#concatenate(inputs) }) as TableWork,
      policy: COMPACTION,
      clock: this.#time.clock,
      observer: (event) => {
        if (event.kind === 'compaction' && event.error !== undefined) throw new Error(event.error.message)
      },
    })
  }

  static async open(storage: Storage, keys: number): Promise<Run> {
    const columns = Array.from({ length: COLUMNS }, (_, k) => ({ name: `c${k}`, type: { kind: 'string' } as const }))
    const spec = { name: 'orders', columns, partitionBy: [], formatVersion: 3 } as const
    return new Run(storage, await createTable(storage, spec, systemClock), keys)
  }

  begin(): void {
    for (const meter of [this.#fold, this.#commit, this.#replace]) meter.reset()
    this.#began = { records: this.records, rewritten: this.#rewritten }
    this.#deadShareMax = 0
  }

  /** What a run does between two batches, and one batch with its commit. */
  async step(): Promise<void> {
    const live = new Map([['orders', this.#keyed]])
    this.#keyed.sweep(4)
    await settled()
    const done = this.#compactor.take()
    if (done !== undefined) {
      await this.#replace.of(async () => void this.#keyed.replace(done.inputs, done.output))
      this.#compactor.settled(done)
    }
    this.#compactor.consider(new Map([['orders', this.#table]]), live)
    await settled()
    if (this.#compactor.isBehind(live)) return this.#time.pass(20)
    const keys = this.#batch()
    const file = this.#file(BATCH)
    await this.#fold.of(async () => this.#keyed.fold(stagedOf(file, keys)))
    await this.#commit.of(async () => {
      const { deletes, swapped, removed } = this.#keyed.changes()
      await this.#change({ kind: 'write', added: [file, ...swapped], deletes, removed })
      this.#keyed.committed()
    })
    this.records += BATCH
    this.#deadShareMax = Math.max(this.#deadShareMax, this.#keyed.deadRows / this.#keyed.rows)
    this.#time.pass((1_000 * BATCH) / RATE)
  }

  cost(keys: number): KeyedCost {
    const records = this.records - this.#began.records
    const [fold, commit, replace] = [this.#fold, this.#commit, this.#replace]
    return {
      keys,
      records,
      foldMicros: (1_000 * fold.cpuMs) / records,
      commitCpuMs: commit.cpuMs / commit.count,
      commitMs: commit.wallMs / commit.count,
      commits: commit.count,
      replaceCpuMs: replace.cpuMs / Math.max(1, replace.count),
      replaces: replace.count,
      cpuPerMillion: (1_000 * (fold.cpuMs + commit.cpuMs + replace.cpuMs)) / records,
      rewrittenShare: (this.#rewritten - this.#began.rewritten) / records,
      deadShareMax: this.#deadShareMax,
      files: this.#keyed.files.length,
    }
  }

  async #change(change: TableChange): Promise<void> {
    const stamp = { commitId: systemClock.uuid(), version: 1n, ranges: 'bench:0=0-1' }
    this.#table = await changeTable(this.#storage, this.#table, change, stamp, systemClock)
  }

  async #concatenate(inputs: readonly ConcatenateInput[]): Promise<DataFile> {
    const rows = inputs.reduce((sum, { file, deleted }) => sum + file.recordCount - deleted.count, 0)
    this.#rewritten += rows
    await this.#time.after((rows * MICROS_PER_ROW) / 1_000)
    return this.#file(rows)
  }

  #batch(): StagedKeys {
    const { hashes, runs } = keyBatch(this.#lanes[(this.records / BATCH) % 2]!, BATCH)
    return {
      count: BATCH,
      hashes,
      files: new Int32Array(BATCH),
      rows: Uint32Array.from({ length: BATCH }, (_, k) => k),
      offsets: new BigInt64Array(BATCH),
      runs,
      versions: undefined,
      bare: undefined,
      holes: undefined,
    }
  }

  #file(recordCount: number): DataFile {
    const bytes = singleValue('string', `${String(this.#files++).padStart(8, '0')} a value longer than its bounds`)
    const [lower, upper] = [lowerBound('string', bytes), upperBound('string', bytes)!]
    const metrics = { sizeBytes: 10_000, valueCount: recordCount, nullCount: 3, lower, upper }
    return {
      key: `${writePlan(this.#table).dataPrefix}${systemClock.uuid()}.parquet`,
      recordCount,
      fileSizeBytes: 66 * recordCount,
      partition: [],
      metrics: new Map(Array.from({ length: COLUMNS }, (_, k) => [k + 1, metrics])),
    }
  }
}

function stagedOf(file: DataFile, keys: StagedKeys): StagedTable {
  return { table: 'orders', files: [file], deadLetterFiles: [], counts: new Map(), keys }
}

/** A clock that goes on only when it is told to. */
class ModelledTime {
  #nowMs = 0
  #waiting: { readonly atMs: number; readonly resolve: () => void }[] = []
  readonly clock: Clock = { ...systemClock, monotonicMs: () => this.#nowMs }

  after(ms: number): Promise<void> {
    return new Promise((resolve) => this.#waiting.push({ atMs: this.#nowMs + ms, resolve }))
  }

  pass(ms: number): void {
    this.#nowMs += ms
    for (const each of this.#waiting) if (each.atMs <= this.#nowMs) each.resolve()
    this.#waiting = this.#waiting.filter(({ atMs }) => atMs > this.#nowMs)
  }
}

/** CPU time and time of something that is done again and again. */
class Meter {
  cpuMs = 0
  wallMs = 0
  count = 0

  async of(work: () => Promise<void>): Promise<void> {
    const [cpu, startMs] = [process.cpuUsage(), systemClock.monotonicMs()]
    await work()
    const { user, system } = process.cpuUsage(cpu)
    this.cpuMs += (user + system) / 1_000
    this.wallMs += systemClock.monotonicMs() - startMs
    this.count++
  }

  reset(): void {
    this.cpuMs = this.wallMs = this.count = 0
  }
}

/** What was made ready by others has its turn. */
async function settled(): Promise<void> {
  for (let k = 0; k < 4; k++) await new Promise(setImmediate)
}
