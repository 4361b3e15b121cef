import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { PipelineDefinition } from '../../src/define.ts'
import type { Encoder } from '../../src/ingest/lane.ts'
import { inlineLanes } from '../../src/ingest/lanes.ts'
import { ContentSource, MemoryLog } from '../../src/ingest/memory-log.ts'
import { run, seedingOf, type Control, type ForkRun, type RunResult } from '../../src/ingest/pipeline.ts'
import { openChain, openFork, type Chain } from '../../src/lake/chain.ts'
import { MemoryStorage } from '../../src/lake/storage/memory.ts'
import { parsePartitionId, type PartitionId, type Positions } from '../../src/log.ts'
import { bounded } from '../../src/replay/bounded.ts'
import type { Version } from '../../src/version.ts'
import { beginFork, reachBase, type ForkParts } from '../support/fork.ts'
import { InstantClock } from '../support/instant-clock.ts'
import { record } from '../support/log.ts'
import { rowEncoder, rowsOf, rowTable } from '../support/rows.ts'

const PIPELINE: PipelineDefinition = {
  name: 'shop',
  onDataLoss: 'stop',
  windows: [],
  tables: [rowTable('orders', 'orders'), rowTable('clicks', 'clicks'), rowTable('again', 'orders')],
}
/** Other code of one table; the encoder here knows nothing of it, so the rows are the same. */
const CHANGED: PipelineDefinition = {
  ...PIPELINE,
  tables: PIPELINE.tables.map((table) => (table.name === 'orders' ? { ...table, unknown: 'extra' as const } : table)),
}
const NAMES = ['orders', 'clicks', 'again']
const TABLES = NAMES.flatMap((name) => [name, `${name}__dlq`])

interface How {
  readonly lanes: number
  readonly recordsMax: number
  readonly offsetsMax: number
}
const PLAIN: How = { lanes: 1, recordsMax: 1_000, offsetsMax: 1_000 }

interface Given {
  readonly chain: Chain
  readonly definition?: PipelineDefinition
  readonly how?: How
  readonly fork?: ForkRun
  readonly until?: Positions
  readonly versionsMax?: number
}

class Bench {
  readonly clock = new InstantClock()
  readonly storage = new MemoryStorage('fork')
  readonly main = openChain(this.storage, 'shop', this.clock)
  readonly log: MemoryLog

  constructor(log = shop()) {
    this.log = log
  }

  /** Until the log is drained, or all that it holds is committed. */
  async run({
    chain,
    definition = PIPELINE,
    how = PLAIN,
    fork,
    until,
    versionsMax = Infinity,
  }: Given): Promise<RunResult> {
    const { clock, storage, log } = this
    const stop = new AbortController()
    let versions = 0
    const control: Control = {
      pauseReason: undefined,
      isHurried: true,
      compactions: new Map(),
      onHead: ({ positions }) => {
        const isAtEnd = [...positions].every(([id, at]) => at === endOf(log, id))
        if (++versions >= versionsMax || (until === undefined && positions.size > 3 && isAtEnd)) stop.abort()
      },
    }
    const content = new ContentSource(log, clock, { batchOffsetsMax: how.offsetsMax })
    const source = until === undefined ? content : bounded(content, until)
    const microBatch = { recordsMax: how.recordsMax, bytesMax: 1 << 20, ageMsMax: 1 }
    const lanes = { source, encoder: clocked(rowEncoder(storage)), lanes: how.lanes, microBatch, clock }
    const pipeline = {
      definition,
      storage,
      clock,
      observer: () => undefined,
      control,
      compaction: undefined,
      ...(fork === undefined ? {} : { fork }),
      startLanes: () => Promise.resolve(inlineLanes(lanes)),
    }
    const policy = { writer: 'w', minIntervalMs: 1, heartbeatMs: 1_000 }
    return run(source, pipeline, chain, policy, stop.signal)
  }

  async base(until?: Positions): Promise<Version> {
    const result = await this.run({ chain: this.main, ...(until === undefined ? {} : { until }) })
    expect(result.kind).toBe(until === undefined ? 'stopped' : 'drained')
    return (await this.main.head())!
  }

  async content(version: Version): Promise<Record<string, readonly string[]>> {
    const rows = TABLES.map(async (name) => [name, await rowsOf(this.storage, version, name)] as const)
    return Object.fromEntries(await Promise.all(rows))
  }

  async hints(): Promise<string[]> {
    const hints: string[] = []
    for await (const { key } of this.storage.list('tables/'))
      if (key.endsWith('version-hint.text'))
        hints.push(`${key} ${Buffer.from((await this.storage.get(key))!).toString()}`)
    return hints
  }
}

/** Clocks of a row are the timestamps of its record. */
function clocked(encoder: Encoder): Encoder {
  return {
    async encode(plan, batches, ...rest) {
      const staged = await encoder.encode(plan, batches, ...rest)
      const counts = new Map(
        [...staged.counts].map(([id, count]) => {
          const mine = batches.filter(({ topic, partition }) => `${topic}/${partition}` === id)
          const clockMs = Math.max(...mine.flatMap(({ timestampsMs }) => [...timestampsMs]))
          return [id, { ...count, clockMs: clockMs === -Infinity ? undefined : clockMs }] as const
        }),
      )
      return { ...staged, counts }
    },
    close: () => encoder.close(),
  }
}

function shop(): MemoryLog {
  const log = new MemoryLog()
  log.createTopic('orders', 3)
  log.createTopic('clicks', 1)
  for (let i = 0; i < 60; i++) {
    const [topic, partition] = i % 5 === 0 ? (['clicks', 0] as const) : (['orders', i % 3] as const)
    if (i % 7 === 3) log.appendHidden(topic, partition, 1 + (i % 3))
    else log.append(topic, partition, [record(i % 11 === 0 ? `bad${i}` : `v${i}`, undefined, 1_000 + i)])
  }
  log.appendHidden('orders', 1, 2)
  return log
}

function endOf(log: MemoryLog, id: PartitionId): bigint {
  const { topic, partition } = parsePartitionId(id)
  return log.end(topic, partition)
}

/** So far into each partition. */
function partWay(log: MemoryLog, share: number): Positions {
  const ids = log.topics().flatMap(({ topic, partitions }) => partitions.map((p): PartitionId => `${topic}/${p}`))
  return new Map(ids.map((id) => [id, BigInt(Math.floor(share * Number(endOf(log, id))))]))
}

const hows = fc.record({
  lanes: fc.constantFrom(1, 3),
  recordsMax: fc.integer({ min: 1, max: 40 }),
  offsetsMax: fc.integer({ min: 1, max: 40 }),
})

describe('a run on a fork', () => {
  it('and the whole pipeline after it give what a fresh run gives, wherever the fork began and stopped', async () => {
    const fresh = new Bench()
    const wanted = await fresh.content(await fresh.base())
    const given = fc.record({
      share: fc.nat(20).map((part) => part / 20),
      rebuilt: fc.subarray(NAMES),
      how: hows,
      versionsMax: fc.integer({ min: 1, max: 5 }),
    })
    await fc.assert(
      fc.asyncProperty(given, async ({ share, rebuilt: names, how, versionsMax }) => {
        const bench = new Bench()
        const { clock, storage } = bench
        const base = await bench.base(partWay(bench.log, share))
        const rebuilt = new Set(names)
        const parts: ForkParts = { storage, clock, definition: PIPELINE, rebuilt, base }
        const fork = await beginFork(parts)
        const { chain, part, run: forkRun, until } = fork
        const building = { chain, definition: part.definition, fork: forkRun, until, how }
        await bench.run({ ...building, versionsMax })
        expect((await bench.run(building)).kind).toBe('drained')
        expect((await chain.head())!.positions).toEqual(until)
        await reachBase(fork, parts)
        const result = await bench.run({ chain, fork: forkRun, how })
        expect(result.kind).toBe('stopped')
        expect(await bench.content((await chain.head())!)).toEqual(wanted)
      }),
      { numRuns: 10 },
    )
  })

  it('nothing leads readers to it', async () => {
    const bench = new Bench()
    const { storage, clock } = bench
    const base = await bench.base()
    const hints = await bench.hints()
    const parts: ForkParts = { storage, clock, definition: CHANGED, rebuilt: new Set(['orders']), base }
    const fork = await beginFork(parts)
    const of = { chain: fork.chain, fork: fork.run }
    await bench.run({ ...of, definition: fork.part.definition, until: fork.until })
    await reachBase(fork, parts)
    bench.log.append('orders', 0, [record('new')])
    await bench.run({ ...of, definition: CHANGED })
    const head = (await fork.chain.head())!
    expect(await rowsOf(storage, head, 'orders')).toContain(`0@${bench.log.end('orders', 0) - 1n}=new`)
    expect(head.tables['orders']!.metadata).not.toBe(base.tables['orders']!.metadata)
    expect(await bench.hints()).toEqual(hints)
    expect(hints.length).toBeGreaterThan(0)
    expect((await bench.main.head())!.number).toBe(base.number)
  })

  it('a source that is not written moves positions and clocks, and no table', async () => {
    const bench = new Bench()
    const { storage, clock } = bench
    const base = await bench.base()
    const fork = await beginFork({ storage, clock, definition: PIPELINE, rebuilt: new Set(['orders']), base })
    const { chain, part, until } = fork
    const unwritten = new Set(['orders'])
    await bench.run({ chain, definition: part.definition, fork: { unwritten, watermarksMsMin: {} }, until })
    const head = (await chain.head())!
    expect(head.positions).toEqual(until)
    expect(head.clocksMs['orders']).toEqual(base.clocksMs['orders'])
    expect(head.tables['orders']!.snapshot).toBeUndefined()
    expect(head.tables['orders__dlq']!.snapshot).toBeUndefined()
    expect(head.tables['clicks']).toEqual(base.tables['clicks'])
  })

  it('R2: seeding gives the clocks at the start, and writes nothing', async () => {
    const bench = new Bench()
    const { storage, clock } = bench
    const from = partWay(bench.log, 0.5)
    const base = await bench.base()
    const fork = await beginFork({ storage, clock, definition: PIPELINE, rebuilt: new Set(NAMES), base, until: from })
    const { definition, unwritten } = seedingOf(fork.part)
    const seeding = { unwritten, watermarksMsMin: {} }
    expect((await bench.run({ chain: fork.chain, definition, fork: seeding, until: from })).kind).toBe('drained')
    const head = (await fork.chain.head())!
    expect(Object.values(head.tables).filter(({ snapshot }) => snapshot !== undefined)).toEqual([])
    expect(head.positions).toEqual(from)
    const other = new Bench()
    expect(head.clocksMs).toEqual((await other.base(from)).clocksMs)
  })

  it('is drained at once when it has nothing to read, also of no topic', async () => {
    const bench = new Bench()
    const { storage, clock } = bench
    const base = await bench.base()
    const parts: ForkParts = { storage, clock, definition: PIPELINE, rebuilt: new Set(['orders']), base }
    for (const until of [base.origins, new Map<PartitionId, bigint>()]) {
      const none = { ...base, origins: until === base.origins ? base.origins : new Map<PartitionId, bigint>() }
      const fork = await beginFork({ ...parts, base: none, until })
      const given = { chain: fork.chain, definition: fork.part.definition, fork: fork.run, until: fork.until }
      expect((await bench.run(given)).kind).toBe('drained')
    }
  })

  it('sees no partition that its base did not know, and the whole pipeline then reads it from its beginning', async () => {
    const bench = new Bench()
    const { storage, clock, log } = bench
    const base = await bench.base()
    log.addPartitions('orders', 4)
    log.append('orders', 3, [record('young')])
    const parts: ForkParts = { storage, clock, definition: CHANGED, rebuilt: new Set(['orders']), base }
    const fork = await beginFork(parts)
    const of = { chain: fork.chain, fork: fork.run }
    await bench.run({ ...of, definition: fork.part.definition, until: fork.until })
    expect((await fork.chain.head())!.positions.has('orders/3')).toBe(false)
    await reachBase(fork, parts)
    await bench.run({ ...of, definition: CHANGED, versionsMax: 4 })
    await bench.run({ ...of, definition: CHANGED })
    const head = (await fork.chain.head())!
    expect(head.origins.get('orders/3')).toBe(0n)
    expect(await rowsOf(storage, head, 'orders')).toContain('3@0=young')
  })

  it('is told apart from its base by other numbers, and by the same uuid', async () => {
    const bench = new Bench()
    const { storage, clock } = bench
    const base = await bench.base()
    const { chain } = await beginFork({ storage, clock, definition: CHANGED, rebuilt: new Set(['orders']), base })
    const first = (await chain.head())!
    expect(first.tables['clicks']).toEqual(base.tables['clicks'])
    expect(first.tables['orders']!.code).not.toBe(base.tables['orders']!.code)
    expect(first.tables['orders__dlq']!.code).toBe(first.tables['orders']!.code)
    const metadata = async ({ tables }: Version): Promise<string> =>
      /"table-uuid": "[^"]+"/.exec(Buffer.from((await storage.get(tables['orders']!.metadata))!).toString())![0]
    expect(await metadata(first)).toBe(await metadata(base))
    expect(await openFork(storage, 'shop', first.fork!.id, clock).head()).toEqual(first)
  })
})
