import { createHash } from 'node:crypto'
import type { Clock } from '../../src/clock.ts'
import type { PipelineDefinition, TableDefinition } from '../../src/define.ts'
import type { Observer } from '../../src/event.ts'
import type { ChangeSink } from '../../src/ingest/change-sink.ts'
import { Changes } from '../../src/ingest/changes.ts'
import type { Encoder } from '../../src/ingest/lane.ts'
import type { TableWork } from '../../src/ingest/keys.ts'
import { inlineLanes } from '../../src/ingest/lanes.ts'
import { ContentSource, MemoryLog } from '../../src/ingest/memory-log.ts'
import { Supervisor } from '../../src/ingest/supervise.ts'
import { openChain } from '../../src/lake/chain.ts'
import { openJobs } from '../../src/lake/job-store.ts'
import { MemoryStorage } from '../../src/lake/storage/memory.ts'
import type { Storage } from '../../src/lake/table.ts'
import { partitionId, type Positions, type Source } from '../../src/log.ts'
import type { ReplayDifference, ReplayOptions, Replays, ReplayStatus } from '../../src/replay-status.ts'
import { openReplays } from '../../src/replay/replays.ts'
import { runReplays } from '../../src/replay/run-replays.ts'
import type { Version } from '../../src/version.ts'
import { Random } from '../simulation/random.ts'
import { World } from '../simulation/world.ts'
import { record } from '../support/log.ts'
import { rowEncoder, rowsOf, rowTable } from '../support/rows.ts'

export const TAKEOVER_MS = 5_000

/** Code as text: what stands behind the value of each row; values that begin with it make no row. */
export function coded(name: string, topic: string, code: string): TableDefinition {
  return { ...rowTable(name, topic), where: code }
}

export function pipeline(...tables: readonly TableDefinition[]): PipelineDefinition {
  return { name: 'shop', onDataLoss: 'stop', windows: [], tables }
}

export interface Process {
  readonly supervisor: Supervisor
  readonly replays: Replays
  readonly storage: Storage
  /** Ends it as SIGTERM does. */
  close(): void
  /** Takes it off the network, as if it were dead. */
  cut(): void
}

export interface ProcessOptions {
  /** Stands between the process and the store. */
  readonly through?: (storage: Storage) => Storage
  readonly recordsMax?: number
  readonly isLive?: boolean
  /** Whether it does replays. */
  readonly isWorking?: boolean
  readonly observer?: Observer
  readonly source?: (source: Source) => Source
  readonly encoder?: (encoder: Encoder) => Encoder
  /** Where its tables are published, and who reads their rows. */
  readonly publishing?: { readonly sink: ChangeSink; readonly work: TableWork }
}

/** A store and a log, and processes with a whole life over them, in a time of their own. */
export class Bench {
  readonly world = new World()
  readonly random = new Random(1)
  readonly clock: Clock
  readonly storage: MemoryStorage
  readonly log = new MemoryLog()
  readonly #processes: Process[] = []

  constructor() {
    const world = this.world
    this.clock = {
      ...world.clock(this.random),
      sleep: (ms, signal) =>
        new Promise((resolve) => {
          if (signal?.aborted === true) return resolve()
          const stop = () => {
            cancel()
            resolve()
          }
          const cancel = world.after(ms, 'sleep', () => {
            signal?.removeEventListener('abort', stop)
            resolve()
          })
          signal?.addEventListener('abort', stop, { once: true })
        }),
    }
    this.storage = new MemoryStorage('bench', this.clock)
  }

  start(writer: string, definition: PipelineDefinition, options: ProcessOptions = {}): Process {
    const { clock } = this
    const { through = (storage) => storage, recordsMax = 7, isLive = true, isWorking = true } = options
    let isCut = false
    const storage = new Proxy(through(this.storage), {
      get: (target, name) => {
        const value: unknown = Reflect.get(target, name, target)
        if (typeof value !== 'function') return value
        return (...args: unknown[]) =>
          isCut ? (name === 'list' ? never() : new Promise(() => undefined)) : Reflect.apply(value, target, args)
      },
    })
    const log = new ContentSource(this.log, clock, { batchOffsetsMax: 5 })
    const source = options.source?.(log) ?? log
    const codes = new Map(definition.tables.map(({ name, where = '' }) => [name, where]))
    const rowOf = (table: string, value: string) => {
      const code = codes.get(table)!
      return code !== '' && value.startsWith(code) ? undefined : `${value}${code}`
    }
    const { encoder: wrap = (each) => each } = options
    const encoder = wrap(rowEncoder(storage, undefined, rowOf))
    const work = options.publishing?.work ?? ({} as never)
    const microBatch = { bytesMax: 1 << 20, recordsMax, ageMsMax: 50 }
    const lanesOver = (of: Source) =>
      Promise.resolve(inlineLanes({ source: of, encoder, lanes: 2, microBatch, clock, work }))
    const main = openChain(storage, 'shop', clock)
    const { publishing } = options
    const common = {
      definition,
      source,
      storage,
      policy: { writer, minIntervalMs: 100, heartbeatMs: 2_000 },
      takeoverAfterMs: TAKEOVER_MS,
      clock,
    }
    const supervisor = new Supervisor({
      ...common,
      chain: main,
      observer: () => undefined,
      startLanes: lanesOver,
      ...(publishing === undefined ? {} : { openSink: () => publishing.sink }),
    })
    const jobs = openJobs(storage, clock)
    const changes = new Changes(clock)
    const stop = new AbortController()
    if (isLive) void supervisor.run()
    const lanes = { open: (_: PipelineDefinition, of: Source) => lanesOver(of), close: () => Promise.resolve() }
    const parts = {
      ...common,
      observer: options.observer ?? (() => undefined),
      main,
      jobs,
      changes,
      lanes,
      verify: compare,
      compaction: undefined,
    }
    if (isWorking) void runReplays(parts, stop.signal)
    const replays = openReplays({
      pipelines: [definition],
      chains: new Map([['shop', main]]),
      storage,
      jobs,
      clock,
      changes,
    })
    const process: Process = {
      supervisor,
      replays,
      storage,
      close: () => {
        supervisor.close()
        stop.abort()
      },
      cut: () => (isCut = true),
    }
    this.#processes.push(process)
    return process
  }

  /** Lets time pass until a promise has settled. */
  async settle<T>(promise: Promise<T>, ms = 120_000): Promise<T> {
    let isOver = false
    const done = () => (isOver = true)
    promise.then(done, done)
    await this.world.run(this.world.nowMs + ms, () => isOver)
    if (!isOver) throw new Error(`not settled after ${ms} ms`)
    return promise
  }

  /** Lets time pass until something holds; asked for four times a second. */
  async until(holds: () => Promise<boolean> | boolean, ms = 120_000): Promise<void> {
    const end = this.world.nowMs + ms
    while (!(await this.settle(Promise.resolve(holds())))) {
      if (this.world.nowMs >= end) throw new Error(`does not hold after ${ms} ms`)
      await this.pass(250)
    }
  }

  async pass(ms: number): Promise<void> {
    let isOver = false
    this.world.after(ms, 'pass', () => (isOver = true))
    await this.world.run(this.world.nowMs + ms, () => isOver)
  }

  async close(): Promise<void> {
    for (const process of this.#processes) process.close()
    await this.pass(20_000)
  }

  async keys(prefix: string): Promise<readonly string[]> {
    const keys: string[] = []
    for await (const { key } of this.storage.list(prefix)) keys.push(key)
    return keys
  }

  head(): Promise<Version> {
    return openChain(this.storage, 'shop', this.clock).at({ kind: 'head' })
  }

  ends(topics: ReadonlySet<string>): Positions {
    return new Map(
      this.log
        .topics()
        .filter(({ topic }) => topics.has(topic))
        .flatMap(({ topic, partitions }) =>
          partitions.map((partition) => [partitionId(topic, partition), this.log.end(topic, partition)] as const),
        ),
    )
  }

  /** Until main stands at the end of the log, of the topics of a definition. */
  async drained({ tables } = OLD): Promise<void> {
    const topics = new Set(tables.map(({ topic }) => topic))
    await this.until(async () => {
      const { positions } = await this.head().catch(() => ({ positions: new Map() }))
      return [...this.ends(topics)].every(([id, end]) => positions.get(id) === end)
    })
  }

  content(definition: PipelineDefinition, version: Version): Promise<Record<string, readonly string[]>> {
    return contentOf(this.storage, definition, version)
  }

  /** Starts a replay and waits until it is in a phase. */
  async replay(
    { replays }: Process,
    options: Partial<ReplayOptions>,
    isThere: (status: ReplayStatus) => boolean,
  ): Promise<ReplayStatus> {
    const { id } = await this.settle(replays.start('shop', options))
    return this.reaches(replays, id, isThere)
  }

  async reaches(
    replays: Replays,
    id: string,
    isThere: (status: ReplayStatus) => boolean,
    ms = 120_000,
  ): Promise<ReplayStatus> {
    let status: ReplayStatus | undefined
    try {
      await this.until(async () => isThere((status = await replays.get(id))), ms)
    } catch (error) {
      throw new Error(`${JSON.stringify(status)}`, { cause: error })
    }
    return status!
  }
}

export const isReady = ({ progress }: ReplayStatus): boolean => progress?.phase === 'ready'
export const isOver = ({ endedMs }: ReplayStatus): boolean => endedMs !== null

export const OLD = pipeline(coded('orders', 'orders', 'a'), coded('clicks', 'clicks', 'a'))
export const NEW = pipeline(coded('orders', 'orders', 'b'), coded('clicks', 'clicks', 'a'))

export function shop(): Bench {
  const bench = new Bench()
  bench.log.createTopic('orders', 2)
  bench.log.createTopic('clicks', 1)
  for (let i = 0; i < 60; i++) write(bench, i)
  return bench
}

export function write({ log }: Bench, i: number): void {
  const value = `${['a', 'b', 'c', 'bad'][i % 4]}${i}`
  log.append('orders', i % 2, [record(value)])
  if (i % 3 === 0) log.append('clicks', 0, [record(value)])
  if (i % 7 === 0) log.appendHidden('orders', 0, 2)
}

/** What a pipeline that always had this code would hold. */
export async function fresh(log: Bench['log'], definition = NEW): Promise<Record<string, readonly string[]>> {
  const bench = new Bench()
  Object.assign(bench, { log })
  bench.start('fresh', definition)
  await bench.drained(definition)
  const content = await bench.content(definition, await bench.head())
  await bench.close()
  return content
}

async function* never(): AsyncGenerator<never> {
  yield await new Promise<never>(() => undefined)
}

export async function contentOf(
  storage: Storage,
  { tables }: PipelineDefinition,
  version: Version,
): Promise<Record<string, readonly string[]>> {
  const names = tables.flatMap(({ name }) => [name, `${name}__dlq`]).filter((name) => name in version.tables)
  return Object.fromEntries(
    await Promise.all(names.map(async (name) => [name, await rowsOf(storage, version, name)] as const)),
  )
}

/** What verification finds, from the rows as these tables have them. */
export async function compare(
  base: Version,
  fork: Version,
  definition: PipelineDefinition,
  storage: Storage,
): Promise<ReplayDifference> {
  const [before, after] = [await contentOf(storage, definition, base), await contentOf(storage, definition, fork)]
  const rebuilt = definition.tables.map(({ name }) => name).filter((name) => fork.fork!.rebuilt.includes(name))
  const tables = rebuilt.map((table) => {
    const [a = [], b = []] = [before[table], after[table]]
    const kind = before[table] === undefined ? 'new' : JSON.stringify(a) === JSON.stringify(b) ? 'equal' : 'different'
    return { table, kind, rowsBefore: String(a.length), rowsAfter: String(b.length) }
  })
  const id = createHash('sha256')
    .update(JSON.stringify([before, after]))
    .digest('hex')
  const isEqual = tables.every(({ kind }) => kind === 'equal')
  return { id, isEqual, version: String(base.number), tables } as unknown as ReplayDifference
}
