import { readdir, utimes } from 'node:fs/promises'
import path from 'node:path'
import { systemClock as clock } from '../../src/clock.ts'
import { table, type TableDefinition } from '../../src/define.ts'
import { openEncoder } from '../../src/ingest/encoder.ts'
import { inlineLanes } from '../../src/ingest/lanes.ts'
import { ContentSource, MemoryLog } from '../../src/ingest/memory-log.ts'
import { run, type Control, type RunResult } from '../../src/ingest/pipeline.ts'
import { openTableWork } from '../../src/ingest/table-work.ts'
import { openChain } from '../../src/lake/chain.ts'
import { openStorage } from '../../src/lake/storage/open.ts'
import { expire } from '../../src/lake/upkeep.ts'
import { COMPACTION, type Storage } from '../../src/lake/table.ts'
import { partitionId, type Positions } from '../../src/log.ts'
import type { LakeEvent } from '../../src/event.ts'
import type { Expired } from '../../src/status.ts'
import type { Version } from '../../src/version.ts'
import type { Row } from './value.ts'

const [TOPIC, PARTITIONS, KEYS, TIMESTAMP_MS] = ['c', 3, 400, 1_700_000_000_123]
const EAGER = { ...COMPACTION, smallBytes: 1 << 30, fanIn: 3, deadShare: 0.05, restAfter: 0 }
const HOUR_MS = 3_600_000

const columns = { id: 'string', v: 'long', note: 'string' }
/** A later record replaces a row; or one of a later version does, and what was deleted stays so for older ones. */
export const LIVE_TABLES: readonly TableDefinition[] = [
  table('by_offset', { from: { topic: TOPIC }, key: ['id'], columns }),
  table('by_version', { from: { topic: TOPIC }, key: ['id'], columns, version: 'v', partitionBy: ['bucket(2, id)'] }),
]

interface Event {
  readonly id: string
  readonly v: bigint
  readonly note: string | null
  readonly isTombstone: boolean
}

/** A pipeline of keyed tables under a stream that does not end, with compactions all the time. */
export class LiveLake {
  head: Version | undefined
  compactions = 0
  readonly storage: Storage
  readonly #folder: string
  readonly #log = new MemoryLog()
  readonly #events: readonly Event[][] = Array.from({ length: PARTITIONS }, () => [])
  readonly #stop = new AbortController()
  #random = 1
  #work: Promise<unknown> = Promise.resolve()
  #failure: unknown

  private constructor(folder: string, storage: Storage) {
    this.#folder = folder
    this.storage = storage
    this.#log.createTopic(TOPIC, PARTITIONS)
  }

  static async start(folder: string): Promise<LiveLake> {
    const lake = new LiveLake(folder, await openStorage({ url: `file:${folder}` }, clock))
    lake.#work = Promise.all([lake.#feed(), lake.#run()]).catch((error) => (lake.#failure = error))
    return lake
  }

  /** Resolves with a head of at least this number, after at least so many compactions. */
  async until(number: bigint, compactions: number): Promise<Version> {
    for (;;) {
      if (this.#failure !== undefined) throw this.#failure
      if (this.head !== undefined && this.head.number >= number && this.compactions >= compactions) return this.head
      await clock.sleep(10)
    }
  }

  /** The rows of a table as a plain fold of the log below these positions makes them. */
  fold({ version }: TableDefinition, positions: Positions): readonly Row[] {
    const stood = new Map<string, { readonly v: bigint; readonly row: Row | undefined }>()
    for (const [partition, events] of this.#events.entries())
      for (const [offset, event] of events.slice(0, Number(positions.get(partitionId(TOPIC, partition)))).entries()) {
        const { id, v, note, isTombstone } = event
        const before = stood.get(id)
        if (isTombstone) {
          if (before !== undefined) stood.set(id, { v: before.v, row: undefined })
        } else if (version === undefined || before === undefined || before.v <= v) {
          const system = {
            _kafka_partition: partition,
            _offset: BigInt(offset),
            _timestamp: BigInt(TIMESTAMP_MS) * 1_000n,
          }
          stood.set(id, { v, row: { id, v, note, _extra: null, ...system } })
        }
      }
    return [...stood.values()].flatMap(({ row }) => (row === undefined ? [] : [row]))
  }

  /** Files of the store as they are now; those of a commit under way may be among them. */
  async files(): Promise<readonly string[]> {
    const entries = await readdir(this.#folder, { recursive: true, withFileTypes: true })
    return entries.filter((entry) => entry.isFile()).map((entry) => path.join(entry.parentPath, entry.name))
  }

  /**
   * Lets go of whatever is kept no longer, as if `files` had been written two days ago; of version files, only those
   * below a number.
   */
  async expire(files: readonly string[], below: bigint): Promise<Expired> {
    const then = new Date(clock.nowMs() - 48 * HOUR_MS)
    for (const file of files) {
      const number = /\/v(\d{16})\.json$/.exec(file)?.[1]
      if (number === undefined || BigInt(number) < below) await utimes(file, then, then).catch(() => undefined)
    }
    return expire(this.storage, 'p', HOUR_MS, clock, this.#stop.signal)
  }

  async close(): Promise<void> {
    this.#stop.abort()
    await this.#work
    await this.storage.close()
    if (this.#failure !== undefined) throw this.#failure
  }

  async #feed(): Promise<void> {
    for (let batch = 0; !this.#stop.signal.aborted; batch++) {
      for (let count = 0; count < 8; count++) this.#append(batch)
      await clock.sleep(10, this.#stop.signal)
    }
  }

  /** A key stays in its partition, so that the order of its records is that of their offsets. */
  #append(batch: number): void {
    const key = this.#below(KEYS)
    const partition = key % PARTITIONS
    const id = `key-${key}-${'long'.repeat(key % 3)}`
    const isTombstone = this.#below(6) === 0
    const note = this.#below(4) === 0 ? null : `n${this.#below(1_000)}`
    // Versions grow on the whole, and many come too late.
    const event: Event = { id, v: BigInt(batch - this.#below(120)), note, isTombstone }
    this.#events[partition]!.push(event)
    const value = JSON.stringify({ id, v: Number(event.v), ...(note === null ? {} : { note }) })
    const record = {
      timestampMs: TIMESTAMP_MS,
      key: Buffer.from(id),
      value: isTombstone ? undefined : Buffer.from(value),
    }
    this.#log.append(TOPIC, partition, [record])
  }

  #below(n: number): number {
    this.#random = (Math.imul(this.#random, 1_664_525) + 1_013_904_223) >>> 0
    return Math.floor((this.#random / 2 ** 32) * n)
  }

  async #run(): Promise<RunResult> {
    const { storage } = this
    const control: Control = {
      pauseReason: undefined,
      isHurried: false,
      compactions: new Map(),
      onHead: (head) => (this.head = head),
    }
    const source = new ContentSource(this.#log, clock)
    const encoder = await openEncoder({ tables: LIVE_TABLES, storage, clock })
    const work = await openTableWork({ tables: LIVE_TABLES, storage, clock })
    const microBatch = { recordsMax: 1_000, bytesMax: 1 << 20, ageMsMax: 20 }
    const pipeline = {
      definition: { name: 'p', tables: LIVE_TABLES, windows: [], onDataLoss: 'stop' as const },
      storage,
      clock,
      observer: (event: LakeEvent) => {
        if (event.kind === 'compaction' && event.error === undefined) this.compactions++
      },
      control,
      compaction: EAGER,
      startLanes: () => Promise.resolve(inlineLanes({ source, encoder, work, lanes: 2, microBatch, clock })),
    }
    const policy = { writer: 'w', minIntervalMs: 50, heartbeatMs: 1_000 }
    try {
      return await run(source, pipeline, openChain(storage, 'p', clock), policy, this.#stop.signal)
    } finally {
      await encoder.close()
      await work.close()
    }
  }
}
