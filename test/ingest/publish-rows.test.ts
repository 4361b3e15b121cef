import { writeFileSync } from 'node:fs'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import fc from 'fast-check'
import { afterEach, describe, expect, test } from 'vitest'
import { systemClock, type Clock } from '../../src/clock.ts'
import { table, type PipelineDefinition } from '../../src/define.ts'
import { LakeError } from '../../src/error.ts'
import type { LakeEvent } from '../../src/event.ts'
import type { ChangeRecord, ChangeSink } from '../../src/ingest/change-sink.ts'
import type { ChangedRows, ChangesRequest, TableWork } from '../../src/ingest/keys.ts'
import { Publisher } from '../../src/ingest/publisher.ts'
import { openChain } from '../../src/lake/chain.ts'
import { MemoryStorage } from '../../src/lake/storage/memory.ts'
import { changeTable, createTable, type DataFile, type LakeTable } from '../../src/lake/table.ts'
import type { Version, VersionKind } from '../../src/version.ts'
import { NOTHING_ELSE } from '../support/version-content.ts'

// What a reader of the topic of an append table gets: every row of every version, in the order of its source.

const DEFINITION: PipelineDefinition = {
  name: 'p',
  onDataLoss: 'stop',
  tables: [table('t', { from: { topic: 'c' }, columns: { v: 'string' }, to: { topic: 'rows' } })],
  windows: [],
}

const clock: Clock = {
  ...systemClock,
  nowMs: () => systemClock.nowMs(),
  monotonicMs: () => systemClock.monotonicMs(),
  random: () => systemClock.random(),
  uuid: () => systemClock.uuid(),
  sleep: (ms, signal) => sleep(Math.min(ms, 1), undefined, { signal }).catch(() => undefined),
}

/** `p/o`: the offset of a partition. */
type Place = readonly [partition: number, offset: number]
const LINES_MAX = 3

class Bench {
  readonly storage = new MemoryStorage('publish-rows')
  readonly chain = openChain(this.storage, 'p', clock)
  readonly log: ChangeRecord[] = []
  readonly events: Extract<LakeEvent, { kind: 'published' }>[] = []
  failing: (records: number) => number | undefined = () => undefined
  head!: Version
  publisher = Publisher.none
  /** Files of the table, as it is at the head. */
  files: DataFile[] = []
  /** Next offset of each partition. */
  next = [0, 0]
  readonly #tables = new Map<bigint, { table: LakeTable; files: DataFile[]; next: number[] }>()
  readonly #rows = new Map<string, readonly Place[]>()
  #table!: LakeTable

  constructor() {
    benches.push(this)
  }

  async start(): Promise<void> {
    const columns = [
      { name: 'v', type: { kind: 'string' } },
      { name: '_kafka_partition', type: { kind: 'int' } },
      { name: '_offset', type: { kind: 'long' } },
    ] as const
    this.#table = await createTable(this.storage, { name: 't', columns, partitionBy: [], formatVersion: 2 }, clock)
    await this.append('ingest', { t: 1n })
    this.open()
  }

  open(): void {
    const { chain, storage } = this
    const observer = (event: LakeEvent) => void (event.kind === 'published' && this.events.push(event))
    const work = { changes: (_, request) => this.#changes(request) } as TableWork
    const sink: ChangeSink = {
      send: async (topic, records) => {
        expect(topic).toBe('rows')
        await sleep(0)
        const until = this.failing(records.length)
        this.log.push(...records.slice(0, until ?? records.length))
        if (until !== undefined) throw new LakeError('kafka.unavailable', 'no broker answers', { retryable: true })
      },
      close: async () => undefined,
    }
    const parts = { definition: DEFINITION, chain, storage, clock, observer, sink, work: () => work }
    this.publisher = Publisher.open(DEFINITION, this.head, () => parts)
  }

  crash(): void {
    void this.publisher.close()
    this.open()
  }

  /** One version with so many records more of each partition, in two files whose offsets meet. */
  async write(counts: readonly number[]): Promise<void> {
    const rows = counts.flatMap((count, p) => Array.from({ length: count }, (_, k): Place => [p, this.next[p]! + k]))
    this.next = this.next.map((at, p) => at + (counts[p] ?? 0))
    await this.add(rows, 'ingest')
  }

  async add(rows: readonly Place[], kind: VersionKind): Promise<void> {
    const halves = [rows.filter((_, k) => k % 2 === 1), rows.filter((_, k) => k % 2 === 0)]
    const added = await Promise.all(halves.filter((half) => half.length > 0).map((half) => this.#file(half)))
    await this.#change({ kind: 'write', added, removed: [] })
    this.files.push(...added)
    await this.append(kind)
  }

  /** All rows in one file, the later ones first. */
  async compact(): Promise<void> {
    const rows = this.files.flatMap(({ key }) => this.#rows.get(key)!).toReversed()
    if (rows.length === 0) return
    const file = await this.#file(rows)
    await this.#change({ kind: 'replace', added: [file], removed: this.files.map(({ key }) => key) })
    this.files = [file]
    await this.append('maintenance')
  }

  /** Tables and positions of another version, and what was read beyond it: as a rollback or the head of a fork has them. */
  async jump(kind: 'rollback' | 'cutover', to: bigint, more: readonly number[] = []): Promise<void> {
    const found = this.#tables.get(to)!
    this.#table = found.table
    this.files = [...found.files]
    this.next = [...found.next]
    const rows = more.flatMap((count, p) => Array.from({ length: count }, (_, k): Place => [p, this.next[p]! + k]))
    this.next = this.next.map((at, p) => at + (more[p] ?? 0))
    const added = rows.length === 0 ? [] : [await this.#file(rows)]
    await this.#change({ kind: 'write', added, removed: [] })
    this.files.push(...added)
    await this.append(kind)
  }

  rowsAt(version: bigint): readonly string[] {
    return this.#tables
      .get(version)!
      .files.flatMap(({ key }) => this.#rows.get(key)!)
      .map(String)
      .toSorted()
  }

  async settled(): Promise<void> {
    const startMs = systemClock.monotonicMs()
    const isSent = () =>
      this.publisher.published['t'] === this.head.number ||
      (this.events.at(-1)?.lagVersions === 0 && this.events.at(-1)?.version === this.head.number)
    while (!isSent()) {
      if (systemClock.monotonicMs() - startMs > 20_000) throw new Error('nothing more is published')
      await sleep(1)
    }
  }

  async append(kind: VersionKind, published: Version['published'] = {}): Promise<void> {
    const { metadata, snapshot } = this.#table
    const isJump = kind === 'cutover'
    const result = await this.chain.append(this.head, {
      commitId: clock.uuid(),
      build: async () => ({
        kind,
        writer: 'w',
        tables: { t: { metadata, snapshot, code: 'c' } },
        positions: new Map(this.next.map((at, p) => [`c/${p}` as const, BigInt(at)])),
        ...NOTHING_ELSE,
        published: { ...this.head?.published, ...this.publisher.published, ...published },
        fork: isJump
          ? { id: 'f', base: { number: 2n, commitId: 'c' }, rebuilt: ['t'], building: undefined }
          : undefined,
      }),
    })
    if (result.kind !== 'committed') throw new Error(result.kind)
    this.head = result.version
    this.#tables.set(this.head.number, { table: this.#table, files: [...this.files], next: [...this.next] })
    this.publisher.saw(this.head)
  }

  async #change(change: {
    readonly kind: 'write' | 'replace'
    readonly added: readonly DataFile[]
    readonly removed: readonly string[]
  }): Promise<void> {
    const stamp = { commitId: clock.uuid(), version: this.head.number + 1n, ranges: '' }
    this.#table = await changeTable(this.storage, this.#table, { ...change, deletes: [] }, stamp, clock)
  }

  async #file(rows: readonly Place[]): Promise<DataFile> {
    const key = `tables/t/data/${clock.uuid()}.json`
    const bytes = Buffer.from(JSON.stringify(rows))
    await this.storage.put(key, bytes)
    this.#rows.set(key, rows)
    return { key, recordCount: rows.length, fileSizeBytes: bytes.length, partition: [], metrics: new Map() }
  }

  /** As the lanes do it, in plain JavaScript; a file of changes holds few. */
  async #changes({ before, after, key, since = [], from }: ChangesRequest) {
    expect(key).toBeUndefined()
    const rowsOf = (sides: readonly ChangedRows[]): Place[] =>
      sides.flatMap(({ file, deleted }) => this.#rows.get(file.key)!.filter((_, row) => !deleted.has(row)))
    const known = new Set(rowsOf(before).map(String))
    const isBeyond = ([p, o]: Place) => o >= Number(since.find(({ partition }) => partition === p)?.offset ?? 0)
    const isLeft = ([p, o]: Place) =>
      typeof from !== 'object' || p > from.partition || (p === from.partition && o >= Number(from.offset))
    const rows = rowsOf(after)
      .filter((row) => !known.has(String(row)) && isBeyond(row) && isLeft(row))
      .toSorted(([p, o], [q, r]) => p - q || o - r)
    if (rows.length === 0) return { path: undefined, count: 0 }
    const file = path.join(this.storage.scratch, `${clock.uuid()}.ndjson`)
    const lines = rows.slice(0, LINES_MAX).map(([p, o]) => `${JSON.stringify([p, `${p},${o}`])}\n`)
    writeFileSync(file, lines.join(''))
    const rest = rows[LINES_MAX]
    const next = rest === undefined ? {} : { next: { partition: rest[0], offset: BigInt(rest[1]) } }
    return { path: file, count: lines.length, ...next }
  }
}

const benches: Bench[] = []
afterEach(async () => {
  for (const bench of benches.splice(0)) {
    await bench.publisher.close()
    await bench.storage.close()
  }
})

const placeOf = ({ headers }: ChangeRecord) => `${headers['kappalake.version']}/${headers['kappalake.position']}`
const values = (log: readonly ChangeRecord[]) => log.map(({ value }) => value!)

/** What is not a repeat, by what a change is named by for ever; repeats are the same record. */
function firstTimes(log: readonly ChangeRecord[]): ChangeRecord[] {
  const seen = new Map<string, string>()
  return log.filter((record) => {
    const at = placeOf(record)
    const isNew = !seen.has(at)
    expect(seen.get(at) ?? record.value).toBe(record.value)
    seen.set(at, record.value!)
    return isNew
  })
}

function expectSourceOrder(log: readonly ChangeRecord[]): void {
  const last = new Map<number, number>()
  for (const { key, partition, value } of log) {
    const [p, o] = value!.split(',').map(Number) as [number, number]
    expect([key, partition]).toEqual([null, p])
    expect(o).toBeGreaterThan(last.get(p) ?? -1)
    last.set(p, o)
  }
}

const steps = fc.array(
  fc.oneof(
    {
      weight: 6,
      arbitrary: fc.record({
        kind: fc.constant('write' as const),
        counts: fc.array(fc.nat(5), { minLength: 2, maxLength: 2 }),
      }),
    },
    {
      weight: 3,
      arbitrary: fc.record({ kind: fc.constantFrom('compact' as const, 'crash' as const, 'settle' as const) }),
    },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant('wait' as const), ms: fc.nat(4) }) },
    {
      weight: 2,
      arbitrary: fc.record({
        kind: fc.constant('fail' as const),
        after: fc.array(fc.option(fc.nat(3), { nil: null }), { maxLength: 6 }),
      }),
    },
    {
      weight: 1,
      arbitrary: fc.record({
        kind: fc.constant('cutover' as const),
        back: fc.nat(3),
        more: fc.array(fc.nat(12), { minLength: 2, maxLength: 2 }),
      }),
    },
  ),
  { maxLength: 25 },
)

describe('the topic of an append table (E7)', () => {
  test('has every row once but for repeats, in the order of its source, whatever fails, crashes and is replayed', async () => {
    const property = fc.asyncProperty(steps, async (all) => {
      const bench = new Bench()
      await bench.start()
      let jumps = 0
      const wanted = new Set<string>()
      for (const step of all) {
        if (step.kind === 'write') await bench.write(step.counts)
        else if (step.kind === 'compact') await bench.compact()
        else if (step.kind === 'crash') bench.crash()
        else if (step.kind === 'settle') await bench.settled()
        else if (step.kind === 'wait') await sleep(step.ms)
        else if (step.kind === 'fail') {
          const left = [...step.after]
          bench.failing = () => left.shift() ?? undefined
        } else if (step.kind === 'cutover') {
          // Another process has it from here on: what the one before had not sent, this one does.
          jumps++
          for (const row of bench.rowsAt(bench.head.number)) wanted.add(row)
          await bench.publisher.close()
          const to = bench.head.number - BigInt(step.back)
          await bench.jump('cutover', to < 1n ? 1n : to, step.more)
          bench.open()
        }
      }
      await bench.settled()
      for (const row of bench.rowsAt(bench.head.number)) wanted.add(row)
      expect(new Set(values(bench.log))).toEqual(wanted)
      const first = firstTimes(bench.log)
      // Records that a fork had not read are read again after its cut-over.
      if (jumps === 0) {
        expect(first).toHaveLength(wanted.size)
        expectSourceOrder(first)
      }
    })
    await fc.assert(property, { numRuns: 25 })
  })

  test('after a cut-over has what its fork read and nobody else, and says that it comes after one', async () => {
    const bench = new Bench()
    await bench.start()
    await bench.write([2, 1])
    await bench.write([1, 0])
    await bench.settled()
    await bench.publisher.close()
    // It stands one record behind in the first partition, and two ahead in the second one.
    await bench.jump('cutover', 2n, [0, 2])
    bench.open()
    await bench.settled()
    const told = (log: readonly ChangeRecord[]) =>
      log.map(({ value, headers }) => [
        value,
        headers['kappalake.version'],
        headers['kappalake.discontinuity'],
        headers['kappalake.since'],
      ])
    expect(told(bench.log.slice(4))).toEqual([
      ['1,1', '4', '4', undefined],
      ['1,2', '4', undefined, undefined],
    ])
    await bench.write([1, 1])
    await bench.settled()
    expect(told(bench.log.slice(6))).toEqual([
      ['0,2', '5', undefined, undefined],
      ['1,3', '5', undefined, undefined],
    ])
  })

  test('a rollback publishes nothing; what is read again is published again', async () => {
    const bench = new Bench()
    await bench.start()
    await bench.write([2, 0])
    await bench.write([1, 1])
    await bench.jump('rollback', 2n)
    await bench.settled()
    expect(values(bench.log)).toEqual(['0,0', '0,1', '0,2', '1,0'])
    await bench.write([1, 1])
    await bench.settled()
    expect(values(bench.log).slice(4)).toEqual(['0,2', '1,0'])
    expect(bench.log[4]!.headers).toMatchObject({ 'kappalake.discontinuity': '4' })
  })

  test('dead letters that became rows come with the version that made them so', async () => {
    const bench = new Bench()
    await bench.start()
    bench.next = [1, 0]
    await bench.write([2, 0])
    await bench.add([[0, 0]], 'repair')
    await bench.settled()
    expect(bench.log.map((record) => [record.value, record.headers['kappalake.version']])).toEqual([
      ['0,1', '2'],
      ['0,2', '2'],
      ['0,0', '3'],
    ])
  })
})
