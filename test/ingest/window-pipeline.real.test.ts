import { mkdtempSync, rmSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { DuckDBInstance, type DuckDBConnection } from '@duckdb/node-api'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { systemClock as clock } from '../../src/clock.ts'
import { table, type PipelineDefinition, type TableDefinition } from '../../src/define.ts'
import { isSliced, lateTable, type WindowDefinition, type WindowKind } from '../../src/define-window.ts'
import { openEncoder } from '../../src/ingest/encoder.ts'
import { inlineLanes } from '../../src/ingest/lanes.ts'
import { ContentSource, MemoryLog } from '../../src/ingest/memory-log.ts'
import { run, type Control } from '../../src/ingest/pipeline.ts'
import { openTableWork } from '../../src/ingest/table-work.ts'
import { openWindowFold } from '../../src/ingest/window/fold.ts'
import { openChain } from '../../src/lake/chain.ts'
import { readDeletedRows, storedFiles } from '../../src/lake/scan.ts'
import { openStorage } from '../../src/lake/storage/open.ts'
import { COMPACTION, openTable, type Storage } from '../../src/lake/table.ts'
import type { PartitionId } from '../../src/log.ts'
import type { Version } from '../../src/version.ts'

// The whole path of windows, lanes, fold and committer, with real Parquet: what every version holds must be what plain
// TypeScript makes of the log below its positions, whatever the batches, lanes, restarts and compactions.

const folder = mkdtempSync(path.join(os.tmpdir(), 'kappalake-windows-'))
let duck: DuckDBConnection
beforeAll(async () => {
  duck = await (await DuckDBInstance.create()).connect()
  await duck.run(`SET TimeZone = 'UTC'`)
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const EAGER = { ...COMPACTION, smallBytes: 1 << 30, fanIn: 2, deadShare: 0.05, restAfter: 0 }

interface How {
  readonly lanes: number
  readonly recordsMax: number
  readonly offsetsMax: number
  /** The partition that all records of the run come from; the others are idle. */
  readonly only?: number | undefined
}

class Lake {
  readonly definition: PipelineDefinition
  readonly log = new MemoryLog()
  readonly storage: Storage
  onHead: (head: Version) => void = () => undefined

  private constructor(definition: PipelineDefinition, storage: Storage, partitions: number) {
    this.definition = definition
    this.storage = storage
    this.log.createTopic('c', partitions)
  }

  static async open(definition: PipelineDefinition, partitions: number): Promise<Lake> {
    const storage = await openStorage({ url: `file:${mkdtempSync(path.join(folder, 's-'))}` }, clock)
    return new Lake(definition, storage, partitions)
  }

  get chain() {
    return openChain(this.storage, this.definition.name, clock)
  }

  /** Runs until everything is committed, and a little longer. */
  async run(how: How, lingerMs = 40): Promise<void> {
    const { storage, definition } = this
    const { tables, windows } = definition
    const stop = new AbortController()
    const control: Control = {
      pauseReason: undefined,
      isHurried: true,
      compactions: new Map(),
      onHead: (head) => {
        this.onHead(head)
        const isAtEnd = ([id, at]: [string, bigint]) => at === this.log.end('c', Number(id.at(-1)))
        if (head.positions.size > 0 && [...head.positions].every(isAtEnd))
          void clock.sleep(lingerMs).then(() => stop.abort())
      },
    }
    const source = new ContentSource(this.log, clock, { batchOffsetsMax: how.offsetsMax, pollMs: 5 })
    const encoder = await openEncoder({ tables, windows, storage, clock })
    const work = await openTableWork({ tables, storage, clock })
    const microBatch = { recordsMax: how.recordsMax, bytesMax: 1 << 20, ageMsMax: 2 }
    const pipeline = {
      definition,
      storage,
      clock,
      observer: () => undefined,
      control,
      compaction: EAGER,
      startLanes: () => Promise.resolve(inlineLanes({ source, encoder, work, lanes: how.lanes, microBatch, clock })),
      openFold: () => openWindowFold({ windows, tables, storage, clock }),
    }
    const policy = { writer: 'w', minIntervalMs: 10, heartbeatMs: 1_000 }
    try {
      const result = await run(source, pipeline, this.chain, policy, stop.signal)
      expect(result.kind).toBe('stopped')
    } finally {
      await encoder.close()
      await work.close()
    }
  }

  /** Live rows, as files and deletion vectors of a version say. */
  async rows(version: Version, name: string, columns: string): Promise<unknown[][]> {
    const rows: unknown[][] = []
    for (const file of await storedFiles(this.storage, await openTable(this.storage, version.tables[name]!.metadata))) {
      const deleted = await readDeletedRows(this.storage, file)
      const sql = `SELECT ${columns} FROM read_parquet('${this.storage.url.slice(7)}/${file.key}') ORDER BY file_row_number`
      const all = (await duck.runAndReadAll(sql)).getRows()
      expect(all.length).toBe(file.recordCount)
      rows.push(...all.filter((_, row) => !deleted.has(row)))
    }
    return rows
  }

  async head(): Promise<Version> {
    return (await this.chain.head())!
  }
}

describe('P1, hourly revenue, on the small log of the semantics', () => {
  const orders = table('orders', {
    from: { topic: 'c' },
    columns: {
      order_id: 'string required',
      customer_id: 'string',
      amount: 'double',
      timestamp: 'long',
      status: 'string',
    },
    key: ['order_id'],
    eventTime: { column: 'timestamp', unit: 'ms', outOfOrderness: '5s' },
  })
  const at = (time: string): number => Date.parse(`2026-03-02T${time}Z`)
  const LOG: readonly (readonly [string, string, number, string, string] | string)[][] = [
    [
      ['A', 'c1', 0.1, '10:00:00', 'created'],
      ['B', 'c2', 5, '10:30:00', 'created'],
      ['A', 'c1', 0.3, '10:59:58', 'paid'],
      ['C', 'c1', 0.4, '11:00:04', 'created'],
      ['D', 'c1', 0.2, '10:59:59', 'cancelled'],
      ['B', 'c2', 6, '11:00:05', 'paid'],
      ['E', 'c2', 3, '10:59:59', 'created'],
      ['B', 'c2', 7, '11:00:06', 'paid'],
    ],
    [['F', 'c3', 1, '10:15:00', 'created'], 'F'],
  ]
  const revenue: WindowDefinition = {
    ...windowOf({ kind: 'tumbling', sizeMs: 3_600_000, offsetMs: 0 }, 'orders'),
    name: 'revenue_by_customer_hour',
    groupBy: ['customer_id'],
    select: [
      { name: 'order_count', fn: 'count', column: undefined, n: undefined, where: undefined },
      { name: 'total_amount', fn: 'sum', column: 'amount', n: undefined, where: undefined },
    ],
  }

  const standing: WindowDefinition = { ...revenue, name: 'revenue_by_customer_hour_rows', input: 'rows' }

  test.each([
    { lanes: 1, recordsMax: 1_000, offsetsMax: 100, restartAt: 0 },
    { lanes: 3, recordsMax: 1, offsetsMax: 1, restartAt: 4 },
    { lanes: 2, recordsMax: 3, offsetsMax: 2, restartAt: 7 },
  ])('$lanes lanes, $recordsMax records, restart at $restartAt', { timeout: 60_000 }, async ({ restartAt, ...how }) => {
    const definition: PipelineDefinition = {
      name: 'p1',
      tables: [orders],
      windows: [revenue, standing],
      onDataLoss: 'stop',
    }
    const lake = await Lake.open(definition, 2)
    const append = (from: number, until: number) => {
      for (const [partition, records] of LOG.entries())
        for (const each of records.slice(from, until)) {
          const [id, customer, amount, time, status] = typeof each === 'string' ? [each] : each
          const value = { order_id: id, customer_id: customer, amount, timestamp: time && at(time), status }
          const bytes = typeof each === 'string' ? undefined : Buffer.from(JSON.stringify(value))
          const timestampMs = time === undefined ? at('11:00:00') : at(time)
          lake.log.append('c', partition, [{ timestampMs, key: Buffer.from(id!), value: bytes }])
        }
    }
    append(0, restartAt)
    if (restartAt > 0) await lake.run(how)
    append(restartAt, 8)
    await lake.run(how)
    const head = await lake.head()
    const stands = await lake.rows(head, 'orders', 'order_id, amount, status')
    expect(stands.toSorted()).toEqual([
      ['A', 0.3, 'paid'],
      ['B', 7, 'paid'],
      ['C', 0.4, 'created'],
      ['D', 0.2, 'cancelled'],
      ['E', 3, 'created'],
    ])
    const columns = `customer_id, strftime(window_start, '%H:%M'), order_count, total_amount`
    expect((await lake.rows(head, revenue.name, columns)).toSorted()).toEqual([
      ['c1', '10:00', 3n, 0.6],
      ['c1', '11:00', 1n, 0.4],
      ['c2', '10:00', 1n, 5],
      ['c2', '11:00', 2n, 13],
      ['c3', '10:00', 1n, 1],
    ])
    expect((await lake.rows(head, standing.name, columns)).toSorted()).toEqual([
      ['c1', '10:00', 2n, 0.5],
      ['c1', '11:00', 1n, 0.4],
      ['c2', '11:00', 1n, 7],
    ])
    for (const { name } of [revenue, standing]) {
      const late = await lake.rows(head, lateTable(name), '_kafka_partition, _offset, order_id, _reason, _weight')
      expect(late).toEqual([[0, 6n, 'E', 'late', 1]])
    }
  })
})

const source = (idleAfter: string): TableDefinition =>
  table('t', {
    from: { topic: 'c' },
    columns: { at: 'long', g: 'string', v: 'long', d: 'double' },
    eventTime: { column: 'at', unit: 'ms', outOfOrderness: '5ms', idleAfter, maxFutureSkew: '1000ms' },
  })
/** Partitions are idle all the time, or never. */
const idleAfters = fc.constantFrom('1ms', '1h')
const B = 5
const KAFKA_MS = 0
const FUTURE_MS = 1_000

interface Record {
  readonly partition: number
  readonly at: number | null
  readonly g: string | null
  readonly v: number | null
  readonly d: number | null
  readonly isPoison: boolean
}

function windowOf(window: WindowKind, source = 't'): WindowDefinition {
  const of = (name: string, fn: WindowDefinition['select'][number]['fn'], column?: string, where?: string) => ({
    name,
    fn,
    column,
    n: undefined,
    where,
  })
  return {
    kind: 'window',
    name: 'w',
    source,
    window,
    allowedLatenessMs: 0,
    input: 'events',
    groupBy: ['g'],
    nullGroup: 'keep',
    where: undefined,
    select: [
      of('n', 'count'),
      of('total', 'sum', 'v'),
      of('mean', 'avg', 'v'),
      of('low', 'min', 'v'),
      of('high', 'max', 'v'),
      of('different', 'count_distinct', 'v'),
      of('newest', 'last', 'at'),
      of('exact', 'sum', 'd'),
      of('positive', 'count', undefined, 'v > 0'),
    ],
    emit: 'update',
    earlyMs: 0,
    openRowsMax: 1_000,
    retainMs: undefined,
    to: undefined,
  }
}

const kinds: fc.Arbitrary<WindowKind> = fc.constantFrom<WindowKind>(
  { kind: 'tumbling', sizeMs: 10, offsetMs: 3 },
  { kind: 'hopping', sizeMs: 10, slideMs: 4, offsetMs: 0 },
  { kind: 'hopping', sizeMs: 20, slideMs: 5, offsetMs: 1 },
  { kind: 'cumulate', stepMs: 10, maxMs: 30, offsetMs: 0 },
  { kind: 'session', gapMs: 7 },
)

const windows: fc.Arbitrary<WindowDefinition> = fc
  .record({
    kind: kinds,
    allowedLatenessMs: fc.constantFrom(0, 8),
    nullGroup: fc.constantFrom('keep', 'late'),
    groupBy: fc.constantFrom(['g'], []),
    where: fc.constantFrom(undefined, 'v IS NULL OR v < 3'),
    emit: fc.constantFrom('update', 'close'),
  })
  .map(({ kind, ...options }) => ({ ...windowOf(kind), ...options }) as WindowDefinition)

const records: fc.Arbitrary<Record[]> = fc.array(
  fc.record({
    partition: fc.nat(2),
    // Around a time that moves on, with some that are late, and some beyond the guard.
    at: fc.oneof(
      { weight: 12, arbitrary: fc.integer({ min: -25, max: 90 }) },
      { weight: 1, arbitrary: fc.constant(KAFKA_MS + FUTURE_MS + 77) },
      { weight: 1, arbitrary: fc.constant(null) },
    ),
    g: fc.constantFrom('a', 'b', 'b', 'a group of more than twelve bytes', null),
    v: fc.constantFrom(null, -2, 0, 1, 1, 4),
    d: fc.constantFrom(null, 0.5, 0.25, -1.75, 1e16, -1e16),
    isPoison: fc.nat(15).map((n) => n === 0),
  }),
  { minLength: 1, maxLength: 40 },
)

interface Span {
  readonly start: number
  readonly end: number
}

/** Rules W1 to W3, N1: the windows of one instant, of a session the provisional one. */
function spansAt(window: WindowKind, ts: number): Span[] {
  const floor = (value: number, size: number, offset: number) => Math.floor((value - offset) / size) * size + offset
  switch (window.kind) {
    case 'tumbling': {
      const start = floor(ts, window.sizeMs, window.offsetMs)
      return [{ start, end: start + window.sizeMs }]
    }
    case 'hopping': {
      const { sizeMs, slideMs, offsetMs } = window
      const spans: Span[] = []
      for (let start = floor(ts, slideMs, offsetMs); start > ts - sizeMs; start -= slideMs)
        spans.push({ start, end: start + sizeMs })
      return spans
    }
    case 'cumulate': {
      const { stepMs, maxMs, offsetMs } = window
      const start = floor(ts, maxMs, offsetMs)
      return Array.from({ length: maxMs / stepMs }, (_, k) => ({ start, end: start + (k + 1) * stepMs })).filter(
        ({ end }) => end > ts,
      )
    }
    case 'session':
      return [{ start: ts, end: ts + window.gapMs }]
    case 'calendar':
      throw new Error('not here')
  }
}

interface Counted extends Span {
  readonly g: string | null
  readonly record: Record & { readonly at: number; readonly offset: number }
}

/** What a version must hold: all that follows from the log below its positions. */
class Recount {
  readonly clocks = new Map<PartitionId, number>()
  readonly late: string[] = []
  readonly rows: string[] = []
  readonly stored: string[] = []

  constructor(log: readonly (readonly Record[])[], version: Version, definition: WindowDefinition) {
    const counted: Counted[] = []
    const { window, where, nullGroup, groupBy, allowedLatenessMs } = definition
    for (const [partition, all] of log.entries()) {
      const id: PartitionId = `c/${partition}`
      for (const [offset, record] of all.slice(0, Number(version.positions.get(id) ?? 0n)).entries()) {
        if (record.isPoison) continue
        this.stored.push(`${partition}@${offset}`)
        const clockMs = this.clocks.get(id)
        const { at, v } = record
        // Rules T4 and C8.
        if (at !== null && at - KAFKA_MS <= FUTURE_MS) this.clocks.set(id, Math.max(clockMs ?? -Infinity, at))
        if (where !== undefined && !(v === null || v < 3)) continue
        const g = groupBy.length === 0 ? null : record.g
        const isGroupless = groupBy.length > 0 && nullGroup === 'late' && g === null
        if (at === null || isGroupless) {
          this.late.push(`${partition}@${offset} ${at === null ? 'null_event_time' : 'null_group_key'} 0 0`)
          continue
        }
        const spans = spansAt(window, at)
        const inTime = spans.filter(({ end }) => end + allowedLatenessMs + B > (clockMs ?? -Infinity))
        if (inTime.length < spans.length)
          this.late.push(`${partition}@${offset} late ${spans.length - inTime.length} ${inTime.length}`)
        for (const span of inTime) counted.push({ ...span, g, record: { ...record, at, offset } })
      }
    }
    const isOpenSeen = definition.emit === 'update' && !isSliced(definition)
    const watermarkMs = version.watermarksMs.t ?? -Infinity
    for (const [{ g, start, end }, list] of window.kind === 'session' ? sessions(counted) : cells(counted)) {
      const isFinal = watermarkMs >= end - (window.kind === 'session' ? 0 : 1) + allowedLatenessMs
      if (isFinal || isOpenSeen) this.rows.push(rowText(g, start, end, list, isFinal))
    }
  }
}

function cells(counted: readonly Counted[]): [Counted, Counted[]][] {
  const found = new Map<string, [Counted, Counted[]]>()
  for (const each of counted) {
    const key = JSON.stringify([each.g, each.start, each.end])
    const cell = found.get(key)
    if (cell === undefined) found.set(key, [each, [each]])
    else cell[1].push(each)
  }
  return [...found.values()]
}

/** Rule N2: the connected components of each group; a distance of exactly the gap merges. */
function sessions(counted: readonly Counted[]): [Counted, Counted[]][] {
  const found: [Counted, Counted[]][] = []
  for (const each of counted.toSorted((a, b) => a.start - b.start)) {
    const open = found.findLast(([{ g }]) => g === each.g)
    if (open === undefined || open[0].end < each.start) found.push([each, [each]])
    else {
      open[1].push(each)
      open[0] = { ...open[0], end: Math.max(open[0].end, each.end) }
    }
  }
  return found
}

function rowText(g: string | null, start: number, end: number, list: readonly Counted[], isFinal: boolean): string {
  const of = list.map(({ record }) => record)
  const values = of.flatMap(({ v }) => (v === null ? [] : [v]))
  const sum = values.reduce((total, v) => total + v, 0)
  const doubles = of.flatMap(({ d }) => (d === null ? [] : [d]))
  // Exact: in quarters, as integers; rounded once.
  const quarters = doubles.reduce((total, d) => total + BigInt(d * 4), 0n)
  const none = values.length === 0
  const newest = of.reduce((best, each) => (each.at >= best.at ? each : best))
  return [
    ...(g === undefined ? [] : [g]),
    start,
    end,
    of.length,
    none ? null : sum,
    none ? null : sum / values.length,
    none ? null : Math.min(...values),
    none ? null : Math.max(...values),
    new Set(values).size,
    newest.at,
    doubles.length === 0 ? null : Number(quarters) / 4,
    values.filter((v) => v > 0).length,
    Math.max(...of.map(({ at }) => at)),
    isFinal,
  ].join(' ')
}

const MS = (column: string): string => `epoch_ms(${column})`
const SPAN = `${MS('window_start')}, ${MS('window_end')}`
const RESULTS = `${SPAN}, n, total::BIGINT, mean, low, high, different, newest, exact, positive, ${MS('last_event_time')}, _final`

async function check(lake: Lake, version: Version, log: readonly (readonly Record[])[]): Promise<void> {
  const stored = await lake.rows(version, 't', '_kafka_partition, _offset')
  for (const definition of lake.definition.windows) await checkWindow(lake, version, log, definition, stored)
}

async function checkWindow(
  lake: Lake,
  version: Version,
  log: readonly (readonly Record[])[],
  definition: WindowDefinition,
  stored: readonly unknown[][],
): Promise<void> {
  const wanted = new Recount(log, version, definition)
  expect(new Map(Object.entries(version.clocksMs.t ?? {}))).toEqual(wanted.clocks)
  expect(stored.map((row) => row.join('@')).toSorted()).toEqual(wanted.stored.toSorted())
  const lateColumns = `_kafka_partition || '@' || _offset, _reason, coalesce(len(_late_windows), 0), _counted_windows`
  const late = await lake.rows(version, lateTable(definition.name), lateColumns)
  expect(late.map((row) => row.join(' ')).toSorted()).toEqual(wanted.late.toSorted())
  const group = definition.groupBy.length === 0 ? 'NULL' : 'g'
  const rows = await lake.rows(version, definition.name, `${group}, ${RESULTS}`)
  expect(rows.map((row) => row.join(' ')).toSorted()).toEqual(wanted.rows.toSorted())
  // Section 17: without idle partitions nothing but sessions is ever corrected.
  const isIdle = lake.definition.tables[0]!.eventTime!.idleAfterMs === 1
  if (!isIdle && definition.window.kind !== 'session')
    expect((await lake.rows(version, definition.name, '_corrections')).filter(([n]) => n !== 0)).toEqual([])
}

describe('windows over a log of three partitions', () => {
  const how: fc.Arbitrary<How> = fc.record({
    lanes: fc.constantFrom(1, 3),
    recordsMax: fc.constantFrom(1, 5, 1_000),
    offsetsMax: fc.constantFrom(1, 4, 100),
    only: fc.constantFrom(undefined, 0, 1, 2),
  })

  test('at every version are what plain TypeScript makes of the log', { timeout: 180_000 }, async () => {
    let versions = 0
    await fc.assert(
      fc.asyncProperty(
        records,
        fc.array(windows, { minLength: 1, maxLength: 2 }),
        idleAfters,
        fc.array(how, { minLength: 1, maxLength: 3 }),
        async (list, windows, idleAfter, runs) => {
          const tables = [source(idleAfter)]
          const named = windows.map((window, k) => ({ ...window, name: `w${k}` }))
          const lake = await Lake.open({ name: 'p', tables, windows: named, onDataLoss: 'stop' }, 3)
          const log: Record[][] = [[], [], []]
          const share = Math.ceil(list.length / runs.length)
          for (const [k, how] of runs.entries()) {
            for (const each of list.slice(k * share, (k + 1) * share)) {
              const record = { ...each, partition: how.only ?? each.partition }
              const { at, g, v, d, isPoison, partition } = record
              const value = isPoison ? '{"at": "no"' : JSON.stringify({ at, g, v, d })
              lake.log.append('c', partition, [{ timestampMs: KAFKA_MS, key: undefined, value: Buffer.from(value) }])
              log[partition]!.push(record)
            }
            await lake.run(how)
          }
          for (const version of await lake.chain.versions(100)) {
            await check(lake, version, log)
            versions++
          }
        },
      ),
      { numRuns: 10 },
    )
    expect(versions).toBeGreaterThan(20)
  })
})

describe('limits and paces', () => {
  const how: How = { lanes: 1, recordsMax: 1_000, offsetsMax: 100 }
  const open = async (more: Partial<WindowDefinition>, idleAfter = '1h', partitions = 1) => {
    const window = { ...windowOf({ kind: 'tumbling', sizeMs: 10, offsetMs: 0 }), ...more }
    return Lake.open({ name: 'p', tables: [source(idleAfter)], windows: [window], onDataLoss: 'stop' }, partitions)
  }
  const append = (lake: Lake, at: number, g: string, partition = 0) =>
    lake.log.append('c', partition, [{ timestampMs: 0, key: undefined, value: Buffer.from(JSON.stringify({ at, g })) }])

  test(
    'E3: what `early` keeps back is written when it is due, without another record',
    { timeout: 30_000 },
    async () => {
      const lake = await open({ earlyMs: 1_000 })
      append(lake, 1, 'a')
      // The first is in a version before the second is there.
      lake.onHead = ({ positions }) =>
        positions.get('c/0') === 1n && lake.log.end('c', 0) === 1n && append(lake, 2, 'a')
      await lake.run(how, 3_000)
      const seen: string[] = []
      for (const version of (await lake.chain.versions(100)).toReversed()) {
        const [row] = await lake.rows(version, 'w', 'n')
        const stored = await lake.rows(version, 't', '_offset')
        seen.push(`${stored.length} ${String(row ?? 0)}`)
      }
      expect(new Set(seen)).toEqual(new Set(['0 0', '1 1', '2 1', '2 2']))
    },
  )

  test(
    'C5: a row that an idle partition let become final is corrected when that wakes',
    { timeout: 60_000 },
    async () => {
      const lake = await open({}, '600ms', 2)
      const rows = async () => {
        const head = await lake.head()
        return { c: head.watermarksMs, rows: (await lake.rows(head, 'w', 'g, n, _final, _corrections')).toSorted() }
      }
      append(lake, 100, 'a')
      append(lake, 20, 'b', 1)
      await lake.run(how)
      // The other has been at its end for long enough by then.
      void clock.sleep(1_000).then(() => append(lake, 101, 'a'))
      await lake.run(how, 2_000)
      const a = ['a', 2n, false, 0]
      expect(await rows()).toEqual({ c: { t: 95 }, rows: [a, ['b', 1n, true, 0]] })
      append(lake, 24, 'b', 1)
      await lake.run(how)
      expect(await rows()).toEqual({ c: { t: 95 }, rows: [a, ['b', 2n, true, 1]] })
    },
  )

  test(
    'C3: more open rows than the limit stop the pipeline; raising it is no new code',
    { timeout: 30_000 },
    async () => {
      const lake = await open({ openRowsMax: 2 })
      for (const g of ['a', 'b', 'c']) append(lake, 1, g)
      await expect(lake.run(how)).rejects.toMatchObject({ code: 'window.open_rows_max', retryable: false })
      Object.assign(lake.definition.windows[0]!, { openRowsMax: 3 })
      await lake.run(how)
      expect(await lake.rows(await lake.head(), 'w', 'g, n')).toHaveLength(3)
    },
  )
})
