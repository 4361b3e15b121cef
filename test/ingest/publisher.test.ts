import { readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import fc from 'fast-check'
import { afterEach, describe, expect, test } from 'vitest'
import { systemClock, type Clock } from '../../src/clock.ts'
import type { PipelineDefinition } from '../../src/define.ts'
import type { WindowDefinition } from '../../src/define-window.ts'
import { LakeError } from '../../src/error.ts'
import type { LakeEvent } from '../../src/event.ts'
import type { ChangeRecord, ChangeSink } from '../../src/ingest/change-sink.ts'
import type { ChangedRows, ChangesRequest, TableWork } from '../../src/ingest/keys.ts'
import { Publisher } from '../../src/ingest/publisher.ts'
import { openChain, type VersionContent } from '../../src/lake/chain.ts'
import { MemoryStorage } from '../../src/lake/storage/memory.ts'
import {
  changeTable,
  createTable,
  DeletedRows,
  type DataFile,
  type LakeTable,
  type TableChange,
} from '../../src/lake/table.ts'
import type { Version, VersionKind } from '../../src/version.ts'
import { NOTHING_ELSE } from '../support/version-content.ts'

// What a reader of a change topic makes of it, against the table: whatever fails, and wherever it is gone on from.

interface Row {
  readonly k: string
  readonly n: number
}

const WINDOW = {
  name: 'w',
  window: { kind: 'tumbling', sizeMs: 10, offsetMs: 0 },
  groupBy: ['k'],
  to: { topic: 'changes', where: undefined },
} as unknown as WindowDefinition
const DEFINITION = { name: 'p', tables: [], windows: [WINDOW] } as unknown as PipelineDefinition

/** Sleeps are real, and short. */
const clock: Clock = {
  ...systemClock,
  nowMs: () => systemClock.nowMs(),
  monotonicMs: () => systemClock.monotonicMs(),
  random: () => systemClock.random(),
  uuid: () => systemClock.uuid(),
  sleep: (ms, signal) => sleep(Math.min(ms, 1), undefined, { signal }).catch(() => undefined),
}

class MemorySink implements ChangeSink {
  readonly log: ChangeRecord[] = []
  isClosed = false
  /** How many records of a call are written before it fails; undefined: none fails. */
  failing: (records: number) => number | undefined = () => undefined
  error = new LakeError('kafka.unavailable', 'no broker answers', { retryable: true })

  async send(topic: string, records: readonly ChangeRecord[]): Promise<void> {
    expect(topic).toBe('changes')
    await sleep(0)
    const until = this.failing(records.length)
    this.log.push(...records.slice(0, until ?? records.length))
    if (until !== undefined) throw this.error
  }

  async close(): Promise<void> {
    this.isClosed = true
  }
}

/** A table whose files are JSON, its versions, and whoever publishes them. */
class Bench {
  readonly storage = new MemoryStorage('publisher')
  readonly chain = openChain(this.storage, 'p', clock)
  readonly sink = new MemorySink()
  readonly events: Extract<LakeEvent, { kind: 'published' }>[] = []
  readonly definition: PipelineDefinition
  /** Rows of the table by version. */
  readonly states = new Map<bigint, ReadonlyMap<string, number>>()
  head!: Version
  publisher = Publisher.none
  #table!: LakeTable
  #files = new Map<DataFile, DeletedRows>()
  #tables = new Map<bigint, [LakeTable, Map<DataFile, DeletedRows>]>()

  constructor(definition = DEFINITION) {
    this.definition = definition
    benches.push(this)
  }

  async start(published: Version['published'] = { w: 1n }): Promise<void> {
    const columns = [
      { name: 'k', type: { kind: 'string' }, required: true },
      { name: 'n', type: { kind: 'long' }, required: true },
    ] as const
    this.#table = await createTable(this.storage, { name: 'w', columns, partitionBy: [], formatVersion: 3 }, clock)
    await this.#append('ingest', new Map(), published)
    this.open()
  }

  open(): void {
    const { chain, storage, sink } = this
    const observer = (event: LakeEvent) => void (event.kind === 'published' && this.events.push(event))
    const work = { changes: (_, request) => this.#changes(request) } as TableWork
    const parts = { definition: this.definition, chain, storage, clock, observer, sink, work: () => work }
    this.publisher = Publisher.open(this.definition, this.head, () => parts)
  }

  /** Nothing is waited for: what was under way may go on for a while. */
  crash(): void {
    void this.publisher.close()
    this.open()
  }

  /** One version: rows by key, null deletes. */
  async write(rows: Readonly<Record<string, number | null>>): Promise<void> {
    const state = new Map(this.states.get(this.head.number))
    for (const [file, deleted] of this.#files)
      for (const [row, { k }] of this.#rows(file).entries()) if (Object.hasOwn(rows, k)) deleted.add(row)
    const added: Row[] = []
    for (const [k, n] of Object.entries(rows))
      if (n === null) state.delete(k)
      else {
        state.set(k, n)
        added.push({ k, n })
      }
    const file = added.length === 0 ? undefined : await this.#file(added)
    const deletes = [...this.#files].map(([file, rows]) => ({ file, rows: rows.clone() }))
    await this.#change({
      kind: 'write',
      added: file === undefined ? [] : [file],
      deletes: deletes.filter(({ rows }) => rows.count > 0),
      removed: [],
    })
    if (file !== undefined) this.#files.set(file, new DeletedRows(file.recordCount))
    await this.#append('ingest', state)
  }

  /** All rows in one file. */
  async compact(): Promise<void> {
    const alive = [...this.#files].flatMap(([file, deleted]) => this.#rows(file).filter((_, k) => !deleted.has(k)))
    if (alive.length === 0) return
    const file = await this.#file(alive)
    await this.#change({
      kind: 'replace',
      added: [file],
      deletes: [],
      removed: [...this.#files.keys()].map((f) => f.key),
    })
    this.#files = new Map([[file, new DeletedRows(file.recordCount)]])
    await this.#append('maintenance', this.states.get(this.head.number)!)
  }

  #goTo(version: bigint): void {
    const [table, files] = this.#tables.get(version)!
    this.#table = table
    this.#files = new Map([...files].map(([file, deleted]) => [file, deleted.clone()]))
  }

  async rollBack(to: bigint): Promise<void> {
    this.#goTo(to)
    await this.#append('rollback', this.states.get(to)!)
  }

  /** Other code has the pipeline from here on: with the tables of a fork, or with those that are there. */
  async cutOver(to: bigint | undefined): Promise<void> {
    if (to !== undefined) this.#goTo(to)
    const published = { w: to === undefined ? this.head.published['w']! : this.head.number + 1n }
    const fork = { id: 'f', base: { number: 2n, commitId: 'c' }, rebuilt: ['w'], building: undefined }
    const state = this.states.get(to ?? this.head.number)!
    await this.#append('cutover', state, published, to === undefined ? undefined : fork)
  }

  /** Forgets the data files of a version's table, as expiry does when it is old. */
  async lose(version: bigint): Promise<void> {
    const [table] = this.#tables.get(version)!
    await this.storage.delete(table.metadata)
  }

  async settled(): Promise<void> {
    const startMs = systemClock.monotonicMs()
    while (this.publisher.published['w'] !== this.head.number) {
      if (systemClock.monotonicMs() - startMs > 20_000) throw new Error('nothing more is published')
      await sleep(1)
    }
  }

  async #change(change: TableChange): Promise<void> {
    const stamp = { commitId: clock.uuid(), version: this.head.number + 1n, ranges: '' }
    this.#table = await changeTable(this.storage, this.#table, change, stamp, clock)
  }

  async #append(
    kind: VersionKind,
    state: ReadonlyMap<string, number>,
    published = { ...this.head?.published, ...this.publisher.published },
    fork: Version['fork'] = undefined,
  ): Promise<void> {
    const { metadata, snapshot } = this.#table
    const content: VersionContent = {
      kind,
      writer: 'w',
      tables: { w: { metadata, snapshot, code: 'c' } },
      positions: new Map(),
      ...NOTHING_ELSE,
      published,
      fork,
    }
    // What a version says is sent must have been: the reader has all of it by now.
    const sent = published['w']
    if (sent !== undefined && this.head !== undefined && !this.isLossy)
      expect(tableOf(this.sink.log, sent)).toEqual(this.states.get(sent))
    const result = await this.chain.append(this.head, { commitId: clock.uuid(), build: async () => content })
    if (result.kind !== 'committed') throw new Error(result.kind)
    this.head = result.version
    this.states.set(this.head.number, new Map(state))
    const files = [...this.#files].map(([file, deleted]) => [file, deleted.clone()] as const)
    this.#tables.set(this.head.number, [this.#table, new Map(files)])
    this.publisher.saw(this.head)
  }

  /** A reader does not learn of keys that went when nobody looked. */
  isLossy = false

  async #file(rows: readonly Row[]): Promise<DataFile> {
    const key = `tables/w/data/${clock.uuid()}.json`
    const bytes = Buffer.from(JSON.stringify(rows))
    await this.storage.put(key, bytes)
    this.#content.set(key, rows)
    return { key, recordCount: rows.length, fileSizeBytes: bytes.length, partition: [], metrics: new Map() }
  }

  readonly #content = new Map<string, readonly Row[]>()

  #rows({ key }: DataFile): readonly Row[] {
    return this.#content.get(key)!
  }

  /** As the lanes do it, in plain JavaScript. */
  async #changes({ before, after, key }: ChangesRequest) {
    expect(key).toEqual(['k', 'window_start'])
    const rowsOf = (sides: readonly ChangedRows[]): Row[] =>
      sides.flatMap(({ file, deleted }) => this.#rows(file).filter((_, row) => !deleted.has(row)))
    const [old, now] = [rowsOf(before), rowsOf(after)]
    const has = (rows: readonly Row[], { k, n }: Row) => rows.some((row) => row.k === k && row.n === n)
    const lines = [
      ...now.filter((row) => !has(old, row)).map(({ k, n }) => [k, String(n)]),
      ...old.filter(({ k }) => !now.some((row) => row.k === k)).map(({ k }) => [k, null]),
    ]
    if (lines.length === 0) return { path: undefined, count: 0 }
    const file = path.join(this.storage.scratch, `${clock.uuid()}.ndjson`)
    writeFileSync(file, lines.map((line) => `${JSON.stringify(line)}\n`).join(''))
    expect(readFileSync(file).length).toBeGreaterThan(0)
    return { path: file, count: lines.length }
  }
}

const benches: Bench[] = []
afterEach(async () => {
  for (const bench of benches.splice(0)) {
    await bench.publisher.close()
    await bench.storage.close()
  }
})

const versionOf = ({ headers }: ChangeRecord): bigint => BigInt(headers['kappalake.version']!)

/** The table of a reader that drops repeats, as docs/topics.md tells him; of versions up to `until` only. */
function tableOf(log: readonly ChangeRecord[], until: bigint): Map<string, number> {
  const versions = new Map<string, bigint>()
  const table = new Map<string, number>()
  for (const record of log) {
    const version = versionOf(record)
    const key = record.key!
    if (version > until || version <= (versions.get(key) ?? 0n)) continue
    versions.set(key, version)
    if (record.value === null) table.delete(key)
    else table.set(key, Number(record.value))
  }
  return table
}

/** Repeats are the same records at the same positions, and what is new of a key comes in the order of versions. */
function checkOrder(log: readonly ChangeRecord[]): void {
  const seen = new Map<string, string>()
  const newest = new Map<string, bigint>()
  for (const record of log) {
    const { value, headers } = record
    const key = record.key!
    expect(headers['kappalake.table']).toBe('w')
    const place = `${headers['kappalake.version']}/${headers['kappalake.position']}`
    const isRepeat = seen.has(place)
    expect(seen.get(place) ?? `${key}=${value}`).toBe(`${key}=${value}`)
    seen.set(place, `${key}=${value}`)
    if (isRepeat) continue
    expect(versionOf(record)).toBeGreaterThan(newest.get(key) ?? 0n)
    newest.set(key, versionOf(record))
  }
}

type Step =
  | { readonly kind: 'write'; readonly rows: Readonly<Record<string, number | null>> }
  | { readonly kind: 'compact' | 'crash' | 'settle' }
  | { readonly kind: 'wait'; readonly ms: number }
  | { readonly kind: 'fail'; readonly after: readonly (number | null)[] }

const steps = fc.array(
  fc.oneof(
    {
      weight: 6,
      arbitrary: fc.record({
        kind: fc.constant('write' as const),
        rows: fc.dictionary(fc.constantFrom('a', 'b', 'c', 'd', 'e'), fc.option(fc.nat(3), { nil: null })),
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
  ),
  { maxLength: 25 },
)

describe('a change topic (E7)', () => {
  test('gives its reader the table of each version that was sent, whatever failed and crashed', async () => {
    const property = fc.asyncProperty(steps, async (all: readonly Step[]) => {
      const bench = new Bench()
      await bench.start()
      for (const step of all) {
        switch (step.kind) {
          case 'write':
            await bench.write(step.rows)
            break
          case 'compact':
            await bench.compact()
            break
          case 'crash':
            bench.crash()
            break
          case 'settle':
            await bench.settled()
            break
          case 'wait':
            await sleep(step.ms)
            break
          case 'fail': {
            const left = [...step.after]
            bench.sink.failing = () => left.shift() ?? undefined
          }
        }
      }
      await bench.settled()
      expect(tableOf(bench.sink.log, bench.head.number)).toEqual(bench.states.get(bench.head.number))
      checkOrder(bench.sink.log)
      await bench.publisher.close()
    })
    await fc.assert(property, { numRuns: 60 })
  })

  test('what was sent stands in a later version, and is not sent again', async () => {
    const bench = new Bench()
    await bench.start()
    await bench.write({ a: 1 })
    expect(bench.head.published).toEqual({ w: 1n })
    await bench.settled()
    await bench.write({ a: 2, b: 1 })
    expect(bench.head.published).toEqual({ w: 2n })
    await bench.settled()
    await bench.write({ a: null })
    await bench.settled()
    await bench.write({})
    expect(bench.head.published).toEqual({ w: 4n })
    await bench.publisher.close()
    bench.open()
    await bench.settled()
    const at = (version: number, position: number) => ({
      'kappalake.table': 'w',
      'kappalake.version': String(version),
      'kappalake.position': String(position),
    })
    expect(bench.sink.log).toEqual([
      { key: 'a', value: '1', headers: at(2, 0) },
      { key: 'a', value: '2', headers: at(3, 0) },
      { key: 'b', value: '1', headers: at(3, 1) },
      { key: 'a', value: null, headers: at(4, 0) },
    ])
    expect(bench.sink.isClosed).toBe(true)
  })

  test('compactions publish nothing', async () => {
    const bench = new Bench()
    await bench.start()
    await bench.write({ a: 1 })
    await bench.write({ b: 1 })
    await bench.compact()
    await bench.write({ b: 2 })
    await bench.compact()
    await bench.settled()
    expect(bench.sink.log.map(({ key, value }) => `${key}=${value}`)).toEqual(['a=1', 'b=1', 'b=2'])
  })

  test('a topic that is missing is told, waited for, and stops nothing', async () => {
    const bench = new Bench()
    await bench.start()
    let isMissing = true
    bench.sink.error = new LakeError('kafka.topic_missing', 'changes does not exist', { fix: 'Create it.' })
    bench.sink.failing = () => (isMissing ? 0 : undefined)
    await bench.write({ a: 1 })
    while (!bench.events.some(({ error }) => error !== undefined)) await sleep(1)
    await bench.write({ a: 2 })
    while (bench.events.at(-1)!.lagVersions !== 2) await sleep(1)
    expect(bench.events.at(-1)).toMatchObject({
      table: 'w',
      topic: 'changes',
      version: 1n,
      records: 0,
      error: { code: 'kafka.topic_missing', fix: 'Create it.' },
    })
    expect(bench.publisher.published).toEqual({ w: 1n })
    isMissing = false
    await bench.settled()
    expect(bench.sink.log.map(({ value }) => value)).toEqual(['1', '2'])
    expect(bench.events.at(-1)).toMatchObject({ version: 3n, records: 1, lagVersions: 0 })
  })

  test('a rollback publishes nothing; the next change tells of it, also after a restart', async () => {
    const bench = new Bench()
    bench.isLossy = true
    await bench.start()
    await bench.write({ a: 1 })
    await bench.write({ a: 2 })
    await bench.rollBack(2n)
    await bench.settled()
    expect(bench.sink.log).toHaveLength(2)
    await bench.write({})
    await bench.write({})
    while (bench.events.at(-1)!.version !== 6n) await sleep(1)
    expect(bench.head.published).toEqual({ w: 4n })
    await bench.publisher.close()
    bench.open()
    await bench.write({ a: 3, b: 1 })
    await bench.write({ a: 4 })
    await bench.settled()
    const told = bench.sink.log.map(({ value, headers }) => [value, headers['kappalake.discontinuity']])
    expect(told.slice(2)).toEqual([
      ['3', '4'],
      ['1', undefined],
      ['4', undefined],
    ])
  })

  test('K7: nothing is sent for a cut-over itself; the first change of the new code tells of it', async () => {
    const bench = new Bench()
    bench.isLossy = true
    await bench.start()
    await bench.write({ a: 1 })
    await bench.write({ a: 2, b: 5 })
    await bench.settled()
    await bench.publisher.close()
    await bench.cutOver(2n)
    bench.open()
    await bench.write({})
    while (bench.events.at(-1)!.version !== 5n) await sleep(1)
    expect(bench.sink.log).toHaveLength(3)
    // Until a change has told of it a restart begins there again.
    expect(bench.publisher.published).toEqual({ w: 4n })
    await bench.publisher.close()
    bench.open()
    await bench.write({ c: 7 })
    await bench.settled()
    expect(bench.sink.log.slice(3)).toMatchObject([{ key: 'c', headers: { 'kappalake.discontinuity': '4' } }])
  })

  test('code that is accepted from here on is no discontinuity', async () => {
    const bench = new Bench()
    await bench.start()
    await bench.write({ a: 1 })
    await bench.cutOver(undefined)
    await bench.write({ a: 2 })
    await bench.settled()
    expect(bench.sink.log.map(({ value, headers }) => [value, headers['kappalake.discontinuity']])).toEqual([
      ['1', undefined],
      ['2', undefined],
    ])
  })

  test('a table that gets a topic later is published as it stands', async () => {
    const bench = new Bench()
    await bench.start({})
    await bench.publisher.close()
    bench.publisher = Publisher.none
    await bench.write({ a: 1, b: 1 })
    await bench.write({ a: null })
    bench.open()
    await bench.settled()
    expect(bench.sink.log).toMatchObject([{ key: 'b', value: '1', headers: { 'kappalake.since': '0' } }])
    await bench.write({ b: 2 })
    await bench.settled()
    expect(bench.head.published).toEqual({ w: 3n })
    expect(bench.sink.log.at(-1)!.headers).not.toHaveProperty('kappalake.since')
  })

  test('versions that are gone: from the last one sent to the head in one, or from nothing, which is told', async () => {
    const bench = new Bench()
    bench.isLossy = true
    await bench.start()
    await bench.write({ a: 1, b: 1 })
    await bench.settled()
    await bench.write({ a: 2 })
    await bench.settled()
    await bench.publisher.close()
    bench.publisher = Publisher.none
    await bench.write({ a: 3 })
    await bench.write({ a: null, c: 1 })
    await bench.lose(4n)
    bench.open()
    await bench.settled()
    const since = (value: string) => ({ 'kappalake.version': '5', 'kappalake.since': value })
    const last = bench.sink.log.slice(3)
    // The head says that version 2 was sent: version 3 is sent again.
    expect(last[0]).toMatchObject({ key: 'a', value: '2', headers: { 'kappalake.version': '3' } })
    expect(last.slice(1)).toMatchObject([
      { key: 'c', value: '1', headers: since('3') },
      { key: 'a', value: null, headers: since('3') },
    ])
    expect(tableOf(bench.sink.log, 5n)).toEqual(bench.states.get(5n))
    await bench.publisher.close()
    bench.publisher = Publisher.none
    await bench.write({ c: 2 })
    await bench.lose(2n)
    bench.open()
    await bench.settled()
    expect(bench.sink.log.slice(6)).toMatchObject([
      { key: 'c', value: '2', headers: { 'kappalake.version': '6', 'kappalake.since': '0' } },
      { key: 'b', value: '1', headers: { 'kappalake.version': '6', 'kappalake.since': '0' } },
    ])
    expect(bench.events.at(-1)).toMatchObject({ version: 6n, isWhole: true, lagVersions: 0 })
  })
})
