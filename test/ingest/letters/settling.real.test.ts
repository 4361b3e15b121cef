import { mkdtempSync, rmSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { DuckDBInstance, type DuckDBConnection } from '@duckdb/node-api'
import * as fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { systemClock as clock } from '../../../src/clock.ts'
import type { SettleRequest } from '../../../src/dead-letters.ts'
import { table, type PipelineDefinition } from '../../../src/define.ts'
import type { WindowDefinition } from '../../../src/define-window.ts'
import { LakeError } from '../../../src/error.ts'
import { acceptCode } from '../../../src/ingest/accept-code.ts'
import { ContentSource, MemoryLog } from '../../../src/ingest/memory-log.ts'
import { SettleJob } from '../../../src/ingest/letters/settle-job.ts'
import { openChain, type Chain } from '../../../src/lake/chain.ts'
import { openStorage } from '../../../src/lake/storage/open.ts'
import { openTable, readDeletedRows, storedFiles, type Storage } from '../../../src/lake/table.ts'
import type { Version } from '../../../src/version.ts'
import { runOnce, type RunParts } from '../../support/fork-lake.ts'
import { windowOf } from '../../support/window-cases.ts'

// Dead letters read again by the path as it is, with real Parquet. Records fail because they are taken for ones that
// killed their lanes; what a retry makes of them must be what a log without that would have come to.

const folder = mkdtempSync(path.join(os.tmpdir(), 'kappalake-letters-'))
let instance: DuckDBInstance
let connection: DuckDBConnection
beforeAll(async () => {
  instance = await DuckDBInstance.create()
  connection = await instance.connect()
})
afterAll(() => {
  connection.closeSync()
  instance.closeSync()
  rmSync(folder, { recursive: true, force: true })
})

const columns = { id: 'string', g: 'string', v: 'long', at: 'long' }
const eventTime = { column: 'at', unit: 'ms', outOfOrderness: '1h' } as const
const from = { topic: 'c', key: 'string' } as const
const appended = table('a', { from: { topic: 'c' }, columns, eventTime })
const keyed = table('k', { from, key: ['id'], columns, eventTime, missing: 'keep' })
const versioned = table('v', { from: { topic: 'c', key: 'none' }, key: ['id'], columns, version: 'v' })
const select = [
  { name: 'n', fn: 'count', column: undefined, n: undefined, where: undefined },
  { name: 'total', fn: 'sum', column: 'v', n: undefined, where: undefined },
] as const
const tumbling: WindowDefinition = {
  ...windowOf({ kind: 'tumbling', sizeMs: 10, offsetMs: 0 }, 'a'),
  name: 'w',
  select,
  groupBy: ['g'],
}
const standing: WindowDefinition = { ...tumbling, name: 'r', source: 'k', input: 'rows' }
const WHOLE: PipelineDefinition = {
  name: 'p',
  tables: [appended, keyed, versioned],
  windows: [tumbling, standing],
  onDataLoss: 'stop',
}
const RESULTS = {
  a: 'id, g, v, "at", _kafka_partition, _offset',
  k: 'id, g, v, "at", _kafka_partition, _offset',
  v: 'id, g, v, "at", _kafka_partition, _offset',
  w: 'g, window_start, window_end, n, total',
  r: 'g, window_start, window_end, n, total',
}

type How = Pick<RunParts, 'lanes' | 'recordsMax' | 'offsetsMax'>
const ONE: How = { lanes: 1, recordsMax: 1_000, offsetsMax: 100 }

class Lake {
  readonly definition: PipelineDefinition
  readonly log: MemoryLog
  readonly storage: Storage
  readonly chain: Chain

  private constructor(definition: PipelineDefinition, log: MemoryLog, storage: Storage) {
    this.definition = definition
    this.log = log
    this.storage = storage
    this.chain = openChain(storage, definition.name, clock)
  }

  static async open(definition: PipelineDefinition, log: MemoryLog = newLog(), storage?: Storage): Promise<Lake> {
    const url = `file:${mkdtempSync(path.join(folder, 's-'))}`
    return new Lake(definition, log, storage ?? (await openStorage({ url }, clock)))
  }

  run(how: How & Partial<RunParts> = ONE): Promise<Version> {
    const { definition, log, storage, chain } = this
    return runOnce({ definition, log, storage, chain, ...how })
  }

  /** Runs until a job is done, once more for each of `stops`: numbers of versions after which the run dies. */
  async settle(request: Omit<SettleRequest, 'pipeline'>, stops: readonly number[] = [], how: How = ONE) {
    const id = String(++jobs).padStart(64, '0')
    const ask = () => new SettleJob(id, { pipeline: this.definition.name, ...request })
    for (const versionsMax of stops) {
      const job = ask()
      await this.run({ ...how, settling: new Map([[id, job]]), versionsMax })
      if (job.isOpen) continue
      await this.run(how)
      return job.counts
    }
    const job = ask()
    await this.run({ ...how, settling: new Map([[id, job]]) })
    expect(job.error).toBeUndefined()
    return job.counts
  }

  /** Live rows, as files and deletion vectors say, in an order of their own. */
  async rows(name: string, list: string): Promise<unknown[][]> {
    const head = (await this.chain.head())!
    const files = await storedFiles(this.storage, await openTable(this.storage, head.tables[name]!.metadata))
    const rows: unknown[][] = []
    for (const file of files) {
      const deleted = await readDeletedRows(this.storage, file)
      const sql = `SELECT ${list} FROM read_parquet('${this.storage.url.slice(7)}/${file.key}') ORDER BY file_row_number`
      const all = (await connection.runAndReadAll(sql)).getRows()
      rows.push(...all.filter((_, row) => !deleted.has(row)).map((row) => row.map(String)))
    }
    return rows.toSorted((a, b) => (a.join(' ') < b.join(' ') ? -1 : 1))
  }

  async results(): Promise<Record<string, unknown[][]>> {
    const names = [...this.definition.tables, ...this.definition.windows].map(({ name }) => name)
    const found = await Promise.all(
      names.map(async (name) => [name, await this.rows(name, RESULTS[name as keyof typeof RESULTS])] as const),
    )
    return Object.fromEntries(found)
  }

  letters(name: string): Promise<unknown[][]> {
    return this.rows(`${name}__dlq`, '_kafka_partition, _offset, code, status, attempts')
  }
}

let jobs = 0

function newLog(): MemoryLog {
  const log = new MemoryLog()
  log.createTopic('c', 2)
  return log
}

interface Event {
  readonly key: number
  /** Undefined: the row keeps what it had. */
  readonly v: number | undefined
  readonly at: number
  readonly isTombstone: boolean
  readonly isBad: boolean
}

/** A key keeps to its partition. */
function append(log: MemoryLog, { key, v, at, isTombstone }: Event): string {
  const partition = key % 2
  const record = `c/${partition}@${log.end('c', partition)}`
  const value = JSON.stringify({ id: `k${key}`, g: `g${key % 3}`, at, ...(v === undefined ? {} : { v }) })
  const bytes = isTombstone ? undefined : Buffer.from(value)
  log.append('c', partition, [{ timestampMs: 1_000, key: Buffer.from(`k${key}`), value: bytes }])
  return record
}

/** Values that a record keeps are those of the row before it: a retry cannot know a row that is no more. */
const whole = ({ v, ...rest }: Event): Event => ({ ...rest, v: v ?? 0 })

const event = fc.record({
  key: fc.nat(5),
  v: fc.option(fc.nat(9), { nil: undefined, freq: 6 }),
  at: fc.nat(40),
  isTombstone: fc.nat(5).map((n) => n === 0),
  isBad: fc.nat(2).map((n) => n === 0),
})
const how = fc.record({
  lanes: fc.constantFrom(1, 3),
  recordsMax: fc.constantFrom(1, 7, 1_000),
  offsetsMax: fc.constantFrom(1, 5, 100),
})

test(
  'what is read again is what a first reading would have made of it, once, whenever its process dies',
  { timeout: 400_000 },
  async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(event, how), { minLength: 1, maxLength: 25 }),
        fc.array(event, { maxLength: 8 }),
        how,
        fc.array(fc.integer({ min: 1, max: 3 }), { maxLength: 2 }),
        async (first, later, chunking, stops) => {
          const lake = await Lake.open(WHOLE)
          const bad = first.flatMap(([each]) => {
            const record = append(lake.log, whole(each))
            return each.isBad ? [record] : []
          })
          await lake.run({ ...chunking, fatal: new Set(bad) })
          for (const name of ['a', 'k', 'v'])
            expect((await lake.letters(name)).map(([p, o]) => `c/${p}@${o}`).toSorted()).toEqual(bad.toSorted())
          for (const each of later) append(lake.log, whole(each))
          const where = { code: 'decode.fatal' }
          await lake.settle({ kind: 'retry', where }, stops, first[0]![1])
          const clean = await Lake.open(WHOLE, lake.log)
          await clean.run()
          const expected = await clean.results()
          expect(await lake.results()).toEqual(expected)
          for (const name of ['a', 'k', 'v'])
            expect((await lake.letters(name)).map(([, , , ...rest]) => rest)).toEqual(bad.map(() => ['resolved', '1']))
          const again = await lake.settle({ kind: 'retry', where })
          expect(again).toMatchObject({ resolved: 0, failed: 0, undecided: 0 })
          expect(await lake.results()).toEqual(expected)
        },
      ),
      { numRuns: Number(process.env['LETTER_RUNS'] ?? 3), endOnFailure: true },
    )
  },
)

test('a commit whose outcome nobody heard of is not made twice', { timeout: 60_000 }, async () => {
  const lake = await Lake.open({ name: 'p', tables: [appended], windows: [], onDataLoss: 'stop' })
  for (const value of ['{', '{"v": "text"}'])
    lake.log.append('c', 0, [{ timestampMs: 1, key: undefined, value: Buffer.from(value) }])
  await lake.run()
  const job = () => new SettleJob('1'.repeat(64), { kind: 'retry', pipeline: 'p', where: {} })
  const { chain } = lake
  const deaf: Chain = {
    pipeline: chain.pipeline,
    head: () => chain.head(),
    at: (when) => chain.at(when),
    versions: (limit, before) => chain.versions(limit, before),
    append: async (...given) => {
      const result = await chain.append(...given)
      if (result.kind !== 'committed' || result.version.kind !== 'repair') return result
      throw new LakeError('commit.unknown', 'the answer was lost', { retryable: true })
    },
  }
  await expect(lake.run({ ...ONE, chain: deaf, settling: new Map([['1', job()]]) })).rejects.toThrow('was lost')
  expect((await lake.letters('a')).map(([, , , , attempts]) => attempts)).toEqual(['1', '1'])
  const again = job()
  await lake.run({ ...ONE, settling: new Map([['1', again]]) })
  expect(again).toMatchObject({ isDone: true, counts: { failed: 2 } })
  expect((await lake.letters('a')).map(([, , , , attempts]) => attempts)).toEqual(['1', '1'])
})

const at = (key: number, time: number, isTombstone = false): Event => ({
  key,
  v: time,
  at: time,
  isTombstone,
  isBad: false,
})

test('it is late by the clock of its place in the log, and no other', { timeout: 60_000 }, async () => {
  const tight = table('a', { from: { topic: 'c' }, columns, eventTime: { ...eventTime, outOfOrderness: '0s' } })
  const lake = await Lake.open({ name: 'p', tables: [tight], windows: [tumbling], onDataLoss: 'stop' })
  const bad = [at(0, 3), at(0, 5), at(0, 100), at(0, 6)].map((each) => append(lake.log, each))
  await lake.run({ ...ONE, fatal: new Set([bad[1]!, bad[3]!]) })
  expect(await lake.rows('a__dlq', '_offset, epoch_ms(_clock)')).toEqual([
    ['1', '3'],
    ['3', '100'],
  ])
  const counts = await lake.settle({ kind: 'retry', where: { code: 'decode.fatal' } })
  expect(counts).toMatchObject({ resolved: 2, stale: 0, failed: 0 })
  expect(await lake.rows('a', '_offset')).toEqual([['0'], ['1'], ['2'], ['3']])
  // Of [0, 10) the second counts, and the fourth came when it was over.
  expect(await lake.rows('w', 'epoch_ms(window_start), n, total')).toEqual([
    ['0', '2', '8'],
    ['100', '1', '100'],
  ])
  expect(await lake.rows('w__late', '_offset, _counted_windows, epoch_ms(_clock)')).toEqual([['3', '0', '100']])
  const head = (await lake.chain.head())!
  expect(head.clocksMs).toEqual({ a: { 'c/0': 100 } })
  expect(head.positions.get('c/0')).toBe(4n)
})

test('a later record of the key has the last word, also one that removed it', { timeout: 60_000 }, async () => {
  const only: PipelineDefinition = { name: 'p', tables: [keyed], windows: [standing], onDataLoss: 'stop' }
  const lake = await Lake.open(only)
  // k0: replaced later. k1: removed later. k2: nothing came later. k4: removed before.
  const list = [at(0, 1), at(1, 2), at(2, 3), at(4, 4), at(0, 5), at(1, 6, true), at(4, 7, true), at(4, 8)]
  const records = list.map((each) => append(lake.log, each))
  const bad = new Set([records[0]!, records[1]!, records[2]!, records[7]!])
  await lake.run({ ...ONE, fatal: bad })
  const where = { code: 'decode.fatal' }
  const dry = await lake.settle({ kind: 'retry', where, dryRun: true })
  expect(dry).toEqual({ resolved: 4, stale: 2, failed: 0, undecided: 0, discarded: 0 })
  expect(new Set((await lake.letters('k')).map(([, , , status]) => status))).toEqual(new Set(['pending']))
  expect(await lake.settle({ kind: 'retry', where })).toEqual(dry)
  expect(await lake.rows('k', 'id, "at"')).toEqual([
    ['k0', '5'],
    ['k2', '3'],
    ['k4', '8'],
  ])
  const head = (await lake.chain.head())!
  expect(head.retried).toMatchObject({ kind: 'retry', counts: dry })
  expect(await lake.rows('r', 'n, total')).toEqual(
    [
      ['1', '5'],
      ['1', '8'],
      ['1', '3'],
    ].toSorted((a, b) => (a.join(' ') < b.join(' ') ? -1 : 1)),
  )
})

test(
  'a record that keeps values has those of the row before it, whatever is read beside it',
  {
    timeout: 60_000,
  },
  async () => {
    const lake = await Lake.open({ name: 'p', tables: [keyed], windows: [], onDataLoss: 'stop' })
    // The last one has no row to keep a value of.
    const list = [at(0, 1), { ...at(0, 2), v: 9 }, { ...at(0, 3), v: 5 }, { ...at(0, 4), v: undefined }]
    list.push({ ...at(2, 5), v: undefined })
    const records = list.map((each) => append(lake.log, each))
    await lake.run({ ...ONE, fatal: new Set([records[1]!, records[3]!, records[4]!]) })
    const counts = await lake.settle({ kind: 'retry', where: { code: 'decode.fatal' } })
    expect(counts).toMatchObject({ resolved: 2, stale: 1, failed: 1 })
    expect((await lake.letters('k')).at(-1)).toEqual(['0', '4', 'cdc.unavailable_without_base', 'pending', '1'])
    expect(await lake.rows('k', 'id, v, "at"')).toEqual([['k0', '5', '4']])
  },
)

test('the code of today reads what that of yesterday refused', { timeout: 60_000 }, async () => {
  const of = (type: string): PipelineDefinition => ({
    name: 'p',
    tables: [table('a', { from: { topic: 'c' }, columns: { ...columns, v: type } })],
    windows: [],
    onDataLoss: 'stop',
  })
  const lake = await Lake.open(of('int'))
  for (const v of [1, 3_000_000_000, 2]) append(lake.log, { ...at(0, 1), v })
  await lake.run()
  expect(await lake.letters('a')).toEqual([['0', '1', 'decode.range', 'pending', '0']])
  const { storage, chain, log } = lake
  const source = new ContentSource(log, clock)
  await acceptCode({ definition: of('long'), chain, storage, source, writer: 'w', clock })
  const wide = await Lake.open(of('long'), log, storage)
  expect(await wide.settle({ kind: 'retry', where: { table: 'a' } })).toMatchObject({ resolved: 1, failed: 0 })
  expect(await wide.rows('a', '_offset, v')).toEqual([
    ['0', '1'],
    ['1', '3000000000'],
    ['2', '2'],
  ])
  expect(await wide.letters('a')).toEqual([['0', '1', 'decode.range', 'resolved', '1']])
})

test('where the log no longer says what came later, nothing is done', { timeout: 60_000 }, async () => {
  const lake = await Lake.open({ name: 'p', tables: [keyed], windows: [], onDataLoss: 'stop' })
  const records = [at(0, 1), at(2, 2), at(0, 3), at(2, 4, true), at(0, 5)].map((each) => append(lake.log, each))
  await lake.run({ ...ONE, fatal: new Set([records[0]!, records[1]!]) })
  lake.log.deleteRecordsBefore('c', 0, 4n)
  const where = { code: 'decode.fatal' }
  expect(await lake.settle({ kind: 'retry', where })).toMatchObject({ resolved: 1, stale: 1, undecided: 1 })
  expect(await lake.letters('k')).toEqual([
    ['0', '0', 'decode.fatal', 'resolved', '1'],
    ['0', '1', 'decode.fatal', 'pending', '0'],
  ])
  expect(await lake.rows('k', 'id, "at"')).toEqual([['k0', '5']])
})

test(
  'what fails again has one attempt more; what is discarded is left alone, also after a cut-over',
  {
    timeout: 60_000,
  },
  async () => {
    const lake = await Lake.open({ name: 'p', tables: [appended], windows: [], onDataLoss: 'stop' })
    const bytes = (text: string) =>
      lake.log.append('c', 0, [{ timestampMs: 1, key: undefined, value: Buffer.from(text) }])
    bytes('{"id": "x", "v": "no number"}')
    bytes('{')
    const fine = append(lake.log, at(0, 1))
    await lake.run({ ...ONE, fatal: new Set([fine]) })
    expect(await lake.settle({ kind: 'retry', where: {} })).toMatchObject({ resolved: 0, failed: 2 })
    expect(await lake.letters('a')).toEqual([
      ['0', '0', 'decode.type', 'pending', '1'],
      ['0', '1', 'decode.json', 'pending', '1'],
      ['0', '2', 'decode.fatal', 'pending', '0'],
    ])
    const before = (await lake.chain.head())!
    expect(await lake.settle({ kind: 'discard', where: { code: 'decode.json' } })).toMatchObject({ discarded: 1 })
    expect(await lake.settle({ kind: 'retry', where: {}, limit: 1 })).toMatchObject({ failed: 1 })
    expect(await lake.letters('a')).toEqual([
      ['0', '0', 'decode.type', 'pending', '2'],
      ['0', '1', 'decode.json', 'discarded', '1'],
      ['0', '2', 'decode.fatal', 'pending', '0'],
    ])
    // As a replay leaves it: all dead letters are pending again.
    const head = (await lake.chain.head())!
    const fork = {
      id: 'f'.repeat(64),
      base: { number: head.number, commitId: head.commitId },
      rebuilt: ['a', 'a__dlq'],
      building: undefined,
    }
    const cut = { ...head, kind: 'cutover' as const, tables: before.tables, fork }
    const result = await lake.chain.append(head, { commitId: clock.uuid(), build: () => Promise.resolve(cut) })
    expect(result.kind).toBe('committed')
    bytes('{"id": "y"}')
    await lake.run()
    await lake.run()
    expect(await lake.letters('a')).toEqual([
      ['0', '0', 'decode.type', 'pending', '1'],
      ['0', '1', 'decode.json', 'discarded', '1'],
      ['0', '2', 'decode.fatal', 'pending', '0'],
    ])
    expect((await lake.chain.head())!.retried).toMatchObject({ job: fork.id, counts: { discarded: 1 } })
  },
)
