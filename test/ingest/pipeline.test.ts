import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { PipelineDefinition } from '../../src/define.ts'
import { Committer } from '../../src/ingest/committer.ts'
import { CompactionRequest } from '../../src/ingest/compactor.ts'
import { Housekeeping } from '../../src/ingest/housekeeping.ts'
import { KeyedTables } from '../../src/ingest/keyed-tables.ts'
import type { ConcatenateInput, TableWork } from '../../src/ingest/keys.ts'
import type { Staged, StagedTable } from '../../src/ingest/lane.ts'
import { inlineLanes } from '../../src/ingest/lanes.ts'
import { ContentSource, MemoryLog } from '../../src/ingest/memory-log.ts'
import { run, type Control, type RunResult } from '../../src/ingest/pipeline.ts'
import { openHead, tablePlans } from '../../src/ingest/start.ts'
import { openTables } from '../../src/ingest/tables.ts'
import { openChain } from '../../src/lake/chain.ts'
import { MemoryStorage } from '../../src/lake/storage/memory.ts'
import {
  COMPACTION,
  DeletedRows,
  readDeletedRows,
  storedFiles,
  type CompactionPolicy,
  type DataFile,
  type WritePlan,
} from '../../src/lake/table.ts'
import type { Version } from '../../src/version.ts'
import { Random } from '../simulation/random.ts'
import { World } from '../simulation/world.ts'
import { record } from '../support/log.ts'
import { rowEncoder, rowsOf, rowTable } from '../support/rows.ts'

interface Chunking {
  readonly lanes: number
  readonly recordsMax: number
  readonly bytesMax: number
  readonly ageMsMax: number
  readonly batchOffsetsMax: number
  readonly minIntervalMs: number
  /** Ages, in milliseconds, at which the runs before the last one are stopped. */
  readonly stops: readonly number[]
}

const PLAIN: Chunking = {
  lanes: 1,
  recordsMax: 1_000,
  bytesMax: 1 << 20,
  ageMsMax: 100,
  batchOffsetsMax: 1_000,
  minIntervalMs: 100,
  stops: [],
}
const DEFINITION: PipelineDefinition = {
  name: 'shop',
  onDataLoss: 'stop',
  windows: [],
  tables: [rowTable('orders', 'orders'), rowTable('clicks', 'clicks'), rowTable('again', 'orders')],
}
const TABLES = ['orders', 'clicks', 'again', 'orders__dlq', 'clicks__dlq', 'again__dlq']

/** A pipeline over a log, a world of its own around it. */
class Bench {
  readonly world = new World()
  readonly clock = this.world.clock(new Random(1))
  readonly storage = new MemoryStorage('bench')
  readonly log: MemoryLog
  readonly definition: PipelineDefinition
  readonly control: Control & { missing: readonly string[] | undefined }
  head: Version | undefined

  constructor(log: MemoryLog, definition = DEFINITION) {
    this.log = log
    this.definition = definition
    this.control = {
      pauseReason: undefined,
      isHurried: false,
      compactions: new Map(),
      missing: undefined,
      onHead: (head, missing) => {
        this.head = head
        this.control.missing = missing ?? this.control.missing
      },
    }
  }

  /** Runs for so long, then stops it; the result, or the error that ended it. */
  async run(
    ms: number,
    chunking = PLAIN,
    onEncode?: () => Promise<void> | void,
    compaction?: CompactionPolicy,
  ): Promise<RunResult> {
    const { clock, storage, definition, control } = this
    const { lanes, minIntervalMs, batchOffsetsMax, ...microBatch } = chunking
    const stop = new AbortController()
    const source = new ContentSource(this.log, clock, { batchOffsetsMax })
    const encoder = rowEncoder(storage, onEncode)
    const work = { concatenate: (plan, inputs) => this.#concatenate(plan, inputs) } as TableWork
    const startLanes = () => Promise.resolve(inlineLanes({ source, encoder, work, lanes, microBatch, clock }))
    const policy = { writer: 'w', minIntervalMs, heartbeatMs: 5_000 }
    const pipeline = {
      definition,
      storage,
      clock,
      observer: () => undefined,
      control,
      compaction,
      startLanes,
    }
    let result: RunResult | undefined
    let error: unknown
    void run(source, pipeline, openChain(storage, 'shop', clock), policy, stop.signal).then(
      (value) => (result = value),
      (thrown) => (error = thrown),
    )
    await this.world.run(this.world.nowMs + ms, () => result !== undefined || error !== undefined)
    stop.abort()
    await this.world.run(this.world.nowMs + 60_000, () => result !== undefined || error !== undefined)
    if (error !== undefined) throw error
    return result!
  }

  async #concatenate({ dataPrefix }: WritePlan, inputs: readonly ConcatenateInput[]): Promise<DataFile> {
    const rows: unknown[] = []
    for (const { file } of inputs) rows.push(...JSON.parse(Buffer.from((await this.storage.get(file.key))!).toString()))
    const key = `${dataPrefix}${this.clock.uuid()}.json`
    await this.storage.put(key, Buffer.from(JSON.stringify(rows)))
    return { key, recordCount: rows.length, fileSizeBytes: 100, partition: [], metrics: new Map() }
  }

  async content(): Promise<Record<string, string[]>> {
    const head = (await openChain(this.storage, 'shop', this.clock).head())!
    return Object.fromEntries(
      await Promise.all(TABLES.map(async (table) => [table, await rowsOf(this.storage, head, table)] as const)),
    )
  }
}

function shop(): MemoryLog {
  const log = new MemoryLog()
  const random = new Random(7)
  log.createTopic('orders', 3)
  log.createTopic('clicks', 1)
  for (let i = 0; i < 120; i++) {
    const [topic, partition] = random.pick([
      ['orders', 0],
      ['orders', 1],
      ['orders', 2],
      ['clicks', 0],
    ] as const)
    if (random.chance(0.2)) log.appendHidden(topic, partition, 1 + random.int(3))
    else log.append(topic, partition, [record(random.chance(0.1) ? `bad${i}` : `v${i}`)])
  }
  log.appendHidden('orders', 1, 2)
  return log
}

const expected = shop()
async function expectedContent(): Promise<Record<string, string[]>> {
  const rows = (topic: string, isBad: boolean) =>
    expected
      .topics()
      .find((info) => info.topic === topic)!
      .partitions.flatMap((partition) =>
        Array.from({ length: Number(expected.end(topic, partition)) }, (_, offset) => {
          const value = expected.record(topic, partition, BigInt(offset))?.value
          const text = value === undefined ? undefined : Buffer.from(value).toString()
          return text === undefined || text.startsWith('bad') !== isBad ? [] : [`${partition}@${offset}=${text}`]
        }).flat(),
      )
      .sort()
  return {
    orders: rows('orders', false),
    clicks: rows('clicks', false),
    again: rows('orders', false),
    orders__dlq: rows('orders', true),
    clicks__dlq: rows('clicks', true),
    again__dlq: rows('orders', true),
  }
}

describe('run', () => {
  it('the chunking law: no limit, number of lanes or restart changes a row', async () => {
    const chunking = fc.record<Chunking>({
      lanes: fc.integer({ min: 1, max: 4 }),
      recordsMax: fc.integer({ min: 1, max: 40 }),
      bytesMax: fc.integer({ min: 1, max: 400 }),
      ageMsMax: fc.integer({ min: 0, max: 300 }),
      batchOffsetsMax: fc.integer({ min: 1, max: 60 }),
      minIntervalMs: fc.integer({ min: 1, max: 300 }),
      stops: fc.array(fc.integer({ min: 0, max: 700 }), { maxLength: 4 }),
    })
    const wanted = await expectedContent()
    await fc.assert(
      fc.asyncProperty(chunking, async (chunking) => {
        const bench = new Bench(shop())
        for (const ms of chunking.stops) expect((await bench.run(ms, chunking)).kind).toBe('stopped')
        await bench.run(20_000, chunking)
        expect(await bench.content()).toEqual(wanted)
        for (const [id, position] of bench.head!.positions)
          expect(position).toBe(expected.end(id.slice(0, -2), Number(id.at(-1))))
      }),
      { numRuns: 25 },
    )
  })

  it('commits first positions and empty tables before anything is fetched', async () => {
    const bench = new Bench(shop())
    const source = new ContentSource(bench.log, bench.clock)
    const policy = { writer: 'w', minIntervalMs: 1, heartbeatMs: 1_000 }
    const chain = openChain(bench.storage, 'shop', bench.clock)
    const { signal } = new AbortController()
    const opened = await openHead(source, { ...bench, definition: DEFINITION }, chain, policy, signal)
    expect(opened).toMatchObject({ kind: 'head', head: { number: 1n } })
    expect([...opened.head.positions.values()]).toEqual([0n, 0n, 0n, 0n])
    expect(Object.keys(opened.head.tables)).toHaveLength(6)
    for (const table of TABLES) expect(await rowsOf(bench.storage, opened.head, table)).toEqual([])
  })

  it('waits for topics that do not exist, without a version a second', async () => {
    const bench = new Bench(new MemoryLog())
    await bench.run(12_000)
    expect(bench.control.missing).toEqual(['orders', 'clicks'])
    expect(bench.head!.number).toBeLessThan(6n)
    bench.log.createTopic('orders', 1)
    bench.log.append('orders', 0, [record('a'), record('b')])
    await bench.run(15_000)
    expect(bench.control.missing).toEqual(['clicks'])
    expect((await bench.content())['orders']).toEqual(['0@0=a', '0@1=b'])
  })

  it.each(['constructor', '__proto__'])('waits for a topic named %s', async (topic) => {
    const tables = [rowTable('orders', 'orders'), rowTable('late', topic)]
    const bench = new Bench(shop(), { ...DEFINITION, tables })
    await bench.run(1_000)
    bench.log.createTopic(topic, 1)
    bench.log.append(topic, 0, [record('a')])
    expect((await bench.run(15_000)).kind).toBe('stopped')
    expect(await rowsOf(bench.storage, bench.head!, 'late')).toEqual(['0@0=a'])
  })

  it('reads a new partition from its beginning', async () => {
    const latest = DEFINITION.tables.map((table) => ({ ...table, startAt: 'latest' as const }))
    const log = shop()
    const bench = new Bench(log, { ...DEFINITION, tables: latest })
    await bench.run(1_000)
    log.addPartitions('orders', 4)
    log.append('orders', 3, [record('new')])
    await bench.run(15_000)
    expect((await bench.content())['orders']).toEqual(['3@0=new'])
  })

  it.each(['stop', 'record-gap'] as const)('retention that overtakes a lane: %s', async (onDataLoss) => {
    const log = new MemoryLog()
    log.createTopic('orders', 2)
    log.createTopic('clicks', 1)
    log.append(
      'orders',
      0,
      Array.from({ length: 50 }, (_, i) => record(`v${i}`)),
    )
    const bench = new Bench(log, { ...DEFINITION, onDataLoss })
    let encodes = 0
    // The first batches have been handed over; of what is read ahead, the log loses everything up to 40.
    const result = await bench.run(5_000, { ...PLAIN, recordsMax: 10, batchOffsetsMax: 5 }, () => {
      if (++encodes === 3) log.deleteRecordsBefore('orders', 0, 40n)
    })
    const head = (await openChain(bench.storage, 'shop', bench.clock).head())!
    const holes = head.holes.get('orders/0') ?? []
    const rows = (await bench.content())['orders']!.map((row) => Number(/@(\d+)/.exec(row)![1])).sort((a, b) => a - b)
    if (onDataLoss === 'stop') {
      const position = head.positions.get('orders/0')!
      expect(result).toEqual({ kind: 'gap', partition: 'orders/0', from: position, until: 40n })
      expect(rows).toEqual(Array.from({ length: Number(position) }, (_, i) => i))
      expect(position).toBeGreaterThan(0n)
      expect(holes).toEqual([])
    } else {
      expect(result.kind).toBe('stopped')
      expect(holes).toEqual([{ from: BigInt(rows.findIndex((offset, i) => offset !== i)), until: 40n }])
      expect(rows.slice(-10)).toEqual(Array.from({ length: 10 }, (_, i) => 40 + i))
    }
  })

  it('a hole begins where the rows end, not where a lane met it that had read on', async () => {
    const log = new MemoryLog()
    log.createTopic('orders', 1)
    log.createTopic('clicks', 1)
    const append = (count: number) =>
      log.append(
        'orders',
        0,
        Array.from({ length: count }, () => record('v')),
      )
    append(15)
    const bench = new Bench(log, { ...DEFINITION, onDataLoss: 'record-gap' })
    // What the lane has read by then is not old enough to be handed over.
    void bench.clock.sleep(1_000).then(() => {
      append(35)
      log.deleteRecordsBefore('orders', 0, 40n)
    })
    expect((await bench.run(20_000, { ...PLAIN, ageMsMax: 10_000 })).kind).toBe('stopped')
    expect(bench.head!.holes.get('orders/0')).toEqual([{ from: 0n, until: 40n }])
    expect(bench.head!.positions.get('orders/0')).toBe(50n)
    expect((await bench.content())['orders']).toHaveLength(10)
  })

  it('does not take a change of leaders for a truncation when only markers stand behind it', async () => {
    const log = shop()
    const bench = new Bench(log)
    await bench.run(1_000)
    log.changeLeader('orders', 0)
    log.appendHidden('orders', 0, 3)
    await bench.run(10_000)
    log.append('orders', 0, [record('after')])
    expect((await bench.run(2_000)).kind).toBe('stopped')
    expect(bench.head!.positions.get('orders/0')).toBe(log.end('orders', 0))
  })

  it('finds that markers were cut off behind the last record and others written in their place', async () => {
    const log = shop()
    const bench = new Bench(log)
    log.append('orders', 0, [record('last')])
    log.changeLeader('orders', 0)
    log.appendHidden('orders', 0, 2)
    await bench.run(10_000)
    const end = log.end('orders', 0)
    expect(bench.head!.positions.get('orders/0')).toBe(end)
    log.truncate('orders', 0, end - 1n)
    log.append('orders', 0, [record('lost'), record('instead')])
    await expect(bench.run(2_000)).rejects.toMatchObject({ code: 'kafka.log_truncated' })
  })

  it('goes on behind a hole that a change of leaders lies in', async () => {
    const log = shop()
    const bench = new Bench(log, { ...DEFINITION, onDataLoss: 'record-gap' })
    await bench.run(1_000)
    for (const value of ['a', 'b', 'c']) {
      log.append('orders', 0, [record(value)])
      log.changeLeader('orders', 0)
    }
    const until = log.append('orders', 0, [record('kept')])
    log.deleteRecordsBefore('orders', 0, until)
    expect((await bench.run(2_000)).kind).toBe('stopped')
    expect((await bench.content())['orders']).toContain(`0@${until}=kept`)
  })

  it('a pause is a version, and the next run honours it', async () => {
    const bench = new Bench(shop())
    bench.control.pauseReason = 'inventory'
    expect((await bench.run(5_000)).kind).toBe('paused')
    bench.control.pauseReason = undefined
    const again = await bench.run(5_000)
    expect(again).toMatchObject({ kind: 'paused', head: { paused: { reason: 'inventory' } } })
  })

  it('stops although the store no longer answers', async () => {
    const bench = new Bench(shop())
    await bench.run(1_000)
    bench.storage.putIfAbsent = () => Promise.resolve({ kind: 'unknown', cause: undefined })
    bench.log.append('clicks', 0, [record('x')])
    await expect(bench.run(10)).rejects.toMatchObject({ code: 'commit.unknown' })
  })
})

/** Work on files that is not asked for. */
const NO_WORK = {} as TableWork

/** Lets everything that waits for nothing get on. */
async function until(isDone: () => boolean): Promise<void> {
  while (!isDone()) await new Promise(setImmediate)
  await new Promise(setImmediate)
}

function fileOf(name: string, recordCount: number): DataFile {
  return { key: `tables/orders/data/${name}.json`, recordCount, fileSizeBytes: 100, partition: [], metrics: new Map() }
}

function nameOf({ key }: DataFile): string {
  return key.slice(key.lastIndexOf('/') + 1, key.lastIndexOf('.'))
}

/** A batch that writes rows of these keys, in a file that is called by them. */
function upserts(committer: Committer, keys: readonly number[]): Staged {
  const from = committer.cursors.get('orders/0')!.offset
  const until = from + BigInt(keys.length)
  const count = keys.length
  const counts = { rows: count, deadLetters: 0, tombstones: 0, skipped: 0, clockMs: undefined }
  const table: StagedTable = {
    table: 'orders',
    files: [fileOf(keys.join(), count)],
    deadLetterFiles: [],
    counts: new Map([['orders/0', counts]]),
    keys: {
      count,
      hashes: Uint32Array.from(keys.flatMap((key) => [key, key, key, key])),
      files: new Int32Array(count),
      rows: Uint32Array.from(keys.keys()),
      offsets: BigInt64Array.from(keys, (_, k) => from + BigInt(k)),
      runs: [{ partition: 0, count }],
      versions: undefined,
      bare: undefined,
      holes: undefined,
    },
  }
  const range = { partition: 'orders/0' as const, from, until, leaderEpoch: 0, tail: undefined, end: until }
  return { lane: 0, ranges: [range], tables: [table], records: count, bytes: count, encodeMs: 0 }
}

it('shows what it commits on the way to a compaction', async () => {
  const log = new MemoryLog()
  log.createTopic('orders', 1)
  log.createTopic('clicks', 1)
  const bench = new Bench(log)
  const { world, control } = bench
  const chain = openChain(bench.storage, 'shop', bench.clock)
  let [shown, staleMs, isOver] = [0n, 0, false]
  const onHead = control.onHead
  Object.assign(control, {
    onHead: (...args: Parameters<typeof onHead>) => ((shown = args[0].number), onHead(...args)),
  })
  const watch = async () => {
    for (let sinceMs = world.nowMs; !isOver; await bench.clock.sleep(50)) {
      log.append('orders', 0, [record('v')])
      const head = await chain.head()
      if ((head?.number ?? 0n) <= shown) sinceMs = world.nowMs
      else staleMs = Math.max(staleMs, world.nowMs - sinceMs)
    }
  }
  void watch()
  const chunking = { ...PLAIN, minIntervalMs: 4_000, ageMsMax: 50 }
  await bench.run(30_000, chunking, undefined, { ...COMPACTION, fanIn: 2 })
  isOver = true
  const kinds = (await chain.versions(100)).map(({ kind }) => kind)
  expect(kinds).toContain('maintenance')
  expect(staleMs).toBeLessThan(500)
})

describe('Housekeeping', () => {
  const DEFINITION: PipelineDefinition = {
    name: 'shop',
    onDataLoss: 'stop',
    windows: [],
    tables: [
      {
        ...rowTable('orders', 'orders'),
        key: ['v'],
        columns: [{ name: 'v', type: { kind: 'string' }, required: true }],
      },
    ],
  }

  /** A keyed table of two files that are put together, and what of the rest is given. */
  async function open(published: readonly string[], asked: ReadonlyMap<string, CompactionRequest>) {
    const log = new MemoryLog()
    log.createTopic('orders', 1)
    const bench = new Bench(log, DEFINITION)
    await bench.run(0)
    const { storage, clock } = bench
    const chain = openChain(storage, 'shop', clock)
    const head = (await chain.head())!
    const tables = await openTables(storage, head.tables)
    const plans = tablePlans(DEFINITION, tables)
    const keyed = await KeyedTables.load(DEFINITION.tables, tables, plans, storage, () => NO_WORK, clock)
    const policy = { writer: 'w', minIntervalMs: 100, heartbeatMs: 5_000 }
    const common = { storage, clock, observer: () => undefined }
    const committer = await Committer.open({ chain, policy, keyed, ...common }, head, tables)
    const concatenated: ConcatenateInput[][] = []
    const concatenate: TableWork['concatenate'] = (_, inputs) => {
      concatenated.push([...inputs])
      return Promise.resolve(
        fileOf(
          'whole',
          inputs.reduce((rows, { file, deleted }) => rows + file.recordCount - deleted.count, 0),
        ),
      )
    }
    const options = { pipeline: 'shop', work: () => ({ ...NO_WORK, concatenate }), policy: { ...COMPACTION, fanIn: 2 } }
    const housekeeping = new Housekeeping(committer, { ...options, ...common }, asked, new Set(published))
    for (const keys of [
      [1, 2, 3],
      [4, 5],
    ]) {
      await committer.fold(upserts(committer, keys))
      await committer.commit()
    }
    const signal = new AbortController().signal
    expect(await housekeeping.step(signal)).toBeUndefined()
    await until(() => concatenated.length > 0)
    return { storage, chain, committer, step: () => housekeeping.step(signal) }
  }

  /** What the head holds: rows of each file, and those of them that are dead. */
  async function stored(storage: MemoryStorage, committer: Committer): Promise<unknown[]> {
    const files = await storedFiles(storage, committer.tables.get('orders')!)
    const told = files.map(async (file) => [
      nameOf(file),
      file.recordCount,
      ...(await readDeletedRows(storage, file)).positions(),
    ])
    return (await Promise.all(told)).toSorted()
  }

  it('swaps files of a keyed table with the rows that are committed anyway', async () => {
    const { storage, chain, committer, step } = await open([], new Map())
    const before = committer.head.number
    await committer.fold(upserts(committer, [2, 9]))
    expect([await step(), committer.head.number]).toEqual([undefined, before])
    // Rows die in what no version holds yet.
    await committer.fold(upserts(committer, [4]))
    expect((await committer.commit()).kind).toBe('committed')
    expect((await chain.head())!).toMatchObject({ number: before + 1n, kind: 'ingest' })
    expect(committer.tables.get('orders')!.snapshots.at(-1)!.operation).toBe('overwrite')
    expect(await stored(storage, committer)).toEqual([
      ['2,9', 2],
      ['4', 1],
      // The younger file comes first: 4 and 5, then 1, 2 and 3.
      ['whole', 5, 0, 3],
    ])
  })

  it.each([
    ['when no rows are waiting', [], [], []],
    ['when changes of the table are published', ['orders'], [], [7]],
    ['when somebody waits for it', [], ['orders'], [7]],
  ])('makes a version of its own %s', async (_, published, waiting, keys) => {
    const asked = new Map(waiting.map((table) => [table, new CompactionRequest()]))
    const { storage, chain, committer, step } = await open(published, asked)
    if (keys.length > 0) await committer.fold(upserts(committer, keys))
    const before = committer.head.number
    expect((await step())?.kind).toBe('committed')
    const kinds = (await chain.versions(Number(committer.head.number - before))).map(({ kind }) => kind)
    expect(kinds).toEqual(['maintenance', ...keys.map(() => 'ingest')])
    expect(committer.tables.get('orders')!.snapshots.at(-1)!.operation).toBe('replace')
    expect(await stored(storage, committer)).toEqual([...keys.map((key) => [String(key), 1]), ['whole', 5]])
  })
})

describe('Committer', () => {
  async function open() {
    const bench = new Bench(shop())
    await bench.run(0)
    const chain = openChain(bench.storage, 'shop', bench.clock)
    const head = (await chain.head())!
    const policy = { writer: 'w', minIntervalMs: 100, heartbeatMs: 5_000 }
    const parts = { chain, storage: bench.storage, policy, clock: bench.clock, observer: () => undefined }
    return { bench, committer: await Committer.open(parts, head), at: head.positions.get('clicks/0')! }
  }
  const counts = { rows: 2, deadLetters: 0, tombstones: 0, skipped: 0, clockMs: undefined }
  const batch = (from: bigint, until: bigint, recordCount = 2) => ({
    lane: 0,
    ranges: [{ partition: 'clicks/0' as const, from, until, leaderEpoch: 0, tail: undefined, end: until }],
    tables: [
      {
        table: 'clicks',
        files: [
          { key: `tables/clicks/data/${from}.json`, recordCount, fileSizeBytes: 2, partition: [], metrics: new Map() },
        ],
        deadLetterFiles: [],
        counts: new Map([['clicks/0' as const, counts]]),
      },
    ],
    records: 2,
    bytes: 2,
    encodeMs: 0,
  })

  it('takes batches strictly in the order of the log', async () => {
    const { committer, at } = await open()
    expect(await committer.fold(batch(at + 2n, at + 4n))).toBe('gap')
    expect(await committer.fold(batch(at, at + 2n))).toBe('folded')
    expect(await committer.fold(batch(at, at + 2n))).toBe('repeated')
    expect(await committer.fold(batch(at + 1n, at + 3n))).toBe('gap')
    expect(await committer.fold(batch(at + 2n, at + 4n))).toBe('folded')
    expect(committer.cursors.get('clicks/0')).toMatchObject({ offset: at + 4n })
  })

  it('does not believe a file that holds fewer rows than were counted', async () => {
    const { committer, at } = await open()
    await expect(committer.fold(batch(at, at + 2n, 1))).rejects.toThrow(
      expect.objectContaining({ code: 'lane.failed' }),
    )
    await expect(committer.fold(batch(at, at + 2n, 3))).rejects.toThrow(
      expect.objectContaining({ code: 'lane.failed' }),
    )
    expect(committer.cursors.get('clicks/0')).toMatchObject({ offset: at })
  })

  it('is due by rows, by hurry, and by the heartbeat', async () => {
    const { bench, committer, at } = await open()
    expect(committer.dueInMs()).toBe(5_000)
    await committer.fold({ ...batch(at, at + 2n), tables: [] })
    expect(committer.dueInMs()).toBe(5_000)
    committer.hurry()
    expect(committer.dueInMs()).toBe(100)
    bench.world.nowMs += 100
    expect(committer.dueInMs()).toBe(0)
    expect((await committer.commit()).kind).toBe('committed')
    expect(committer.dueInMs()).toBe(5_000)
    await committer.fold(batch(at + 2n, at + 4n))
    expect(committer.dueInMs()).toBe(100)
  })

  it('is stale where somebody else has put the files together that it was about to', async () => {
    const { bench, committer, at } = await open()
    for (const from of [at, at + 2n]) {
      await committer.fold(batch(from, from + 2n))
      await committer.commit()
    }
    const table = committer.tables.get('clicks')!
    const inputs = (await storedFiles(bench.storage, table)).map((file) => ({
      file,
      firstRowId: undefined,
      sequenceNumber: file.sequenceNumber,
      deleted: new DeletedRows(file.recordCount),
    }))
    const sequenceNumber = table.raw['last-sequence-number']
    const output = (name: string) => ({
      ...inputs[0]!.file,
      key: `tables/clicks/data/${name}.json`,
      recordCount: 4,
      sequenceNumber,
    })
    const replacement = { table: 'clicks', inputs, sequenceNumber }
    const parts = { storage: bench.storage, clock: bench.clock, observer: () => undefined }
    const policy = { writer: 'other', minIntervalMs: 100, heartbeatMs: 5_000 }
    const chain = openChain(bench.storage, 'shop', bench.clock)
    const other = await Committer.open({ chain, policy, ...parts }, (await chain.head())!)
    expect((await other.replace({ ...replacement, output: output('theirs') })).kind).toBe('committed')
    await expect(committer.replace({ ...replacement, output: output('ours') })).rejects.toMatchObject({
      code: 'commit.stale',
      retryable: true,
    })
  })

  it('keeps the clock of a table named constructor', async () => {
    const { committer, at } = await open()
    const [table] = batch(at, at + 2n).tables
    const clocked = {
      ...table!,
      table: 'constructor',
      counts: new Map([['clicks/0' as const, { ...counts, clockMs: 7 }]]),
    }
    await committer.fold({ ...batch(at, at + 2n), tables: [clocked] })
    expect(Object.keys(Object)).toEqual([])
    await committer.commit()
    expect(Object.entries(committer.head.clocksMs)).toEqual([['constructor', { 'clicks/0': 7 }]])
  })

  it('skips only forward, and from where it stands', async () => {
    const { committer, at } = await open()
    committer.skip('clicks/0', at)
    await committer.fold(batch(at, at + 2n))
    committer.skip('clicks/0', at + 9n)
    const result = await committer.commit()
    expect(result).toMatchObject({ kind: 'committed' })
    expect(committer.head.holes.get('clicks/0')).toEqual([{ from: at + 2n, until: at + 9n }])
    expect(committer.head.positions.get('clicks/0')).toBe(at + 9n)
  })
})
