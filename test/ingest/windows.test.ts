import { writeFileSync } from 'node:fs'
import path from 'node:path'
import fc from 'fast-check'
import { afterEach, describe, expect, test } from 'vitest'
import type { PipelineDefinition } from '../../src/define.ts'
import { lateTable, stateTable, windowTableNames, type WindowDefinition } from '../../src/define-window.ts'
import { LakeError } from '../../src/error.ts'
import type { LakeEvent } from '../../src/event.ts'
import { Committer } from '../../src/ingest/committer.ts'
import type { ConcatenateInput, TableWork } from '../../src/ingest/keys.ts'
import type { Staged } from '../../src/ingest/lane.ts'
import { inlineLanes } from '../../src/ingest/lanes.ts'
import { ContentSource, MemoryLog } from '../../src/ingest/memory-log.ts'
import { run, type Control, type RunResult } from '../../src/ingest/pipeline.ts'
import { codeDifferences } from '../../src/ingest/code-difference.ts'
import { openTables } from '../../src/ingest/tables.ts'
import type { TableDelta, WindowFold } from '../../src/ingest/window/window.ts'
import { openChain } from '../../src/lake/chain.ts'
import { readDeletedRows, storedFiles } from '../../src/lake/scan.ts'
import { MemoryStorage } from '../../src/lake/storage/memory.ts'
import { COMPACTION, openTable, type DataFile, type WritePlan } from '../../src/lake/table.ts'
import type { PartitionId, Source } from '../../src/log.ts'
import type { Version } from '../../src/version.ts'
import { Random } from '../simulation/random.ts'
import { World } from '../simulation/world.ts'
import { record } from '../support/log.ts'
import {
  isLate,
  leftPartials,
  parseValue,
  plainEncoder,
  PlainFold,
  startOf,
  type Counted,
  type PlainRules,
  type ResultRow,
} from '../support/plain-fold.ts'
import { rowTable } from '../support/rows.ts'

// The committer's side of windows against a plain recomputation, at every version: lanes and fold are plain objects.

const RULES: PlainRules = { sizeMs: 10, latenessMs: 4, boundMs: 5 }
const EAGER = { ...COMPACTION, smallBytes: 1 << 30, fanIn: 2, deadShare: 0.05, restAfter: 0 }
const NEVER_MS = 1e12

function definition(idleAfterMs: number): PipelineDefinition {
  const eventTime = {
    column: 'v',
    unit: 'ms',
    outOfOrdernessMs: RULES.boundMs,
    idleAfterMs,
    maxFutureSkewMs: 0,
  } as const
  return { name: 'p', onDataLoss: 'stop', tables: [{ ...rowTable('t', 'c'), eventTime }], windows: [WINDOW] }
}

const WINDOW: WindowDefinition = {
  kind: 'window',
  name: 'w',
  source: 't',
  window: { kind: 'tumbling', sizeMs: RULES.sizeMs, offsetMs: 0 },
  allowedLatenessMs: RULES.latenessMs,
  input: 'events',
  groupBy: ['v'],
  nullGroup: 'late',
  where: undefined,
  select: [{ name: 'n', fn: 'count', column: undefined, n: undefined, where: undefined }],
  emit: 'update',
  earlyMs: 0,
  openRowsMax: 1_000,
  oldValuesMax: 1_000,
  computed: [],
  retainMs: undefined,
  to: undefined,
}

interface How {
  readonly lanes: number
  readonly recordsMax: number
  readonly offsetsMax: number
  readonly intervalMs: number
  readonly forMs: number
}

const PLAIN: How = { lanes: 1, recordsMax: 100, offsetsMax: 100, intervalMs: 20, forMs: 400 }

class Bench {
  readonly world = new World()
  readonly clock = this.world.clock(new Random(1))
  readonly storage = new MemoryStorage('windows')
  readonly chain = openChain(this.storage, 'p', this.clock)
  readonly log = new MemoryLog()
  definition: PipelineDefinition
  readonly events: LakeEvent[] = []
  readonly folds: PlainFold[] = []
  /** Stands between the committer and the fold. */
  around: (fold: WindowFold) => WindowFold = (fold) => fold

  constructor(idleAfterMs = NEVER_MS, partitions = 3) {
    this.definition = definition(idleAfterMs)
    this.log.createTopic('c', partitions)
    benches.push(this)
  }

  append(partition: number, ...values: readonly string[]): void {
    this.log.append(
      'c',
      partition,
      values.map((value) => record(value)),
    )
  }

  async run({ lanes, recordsMax, offsetsMax, intervalMs, forMs }: How = PLAIN, isBounded = false): Promise<RunResult> {
    const { clock, storage, definition } = this
    const stop = new AbortController()
    const source: Source = new ContentSource(this.log, clock, { batchOffsetsMax: offsetsMax, pollMs: 10 })
    if (isBounded) source.read = bounded(source.read.bind(source))
    const control: Control = {
      pauseReason: undefined,
      isHurried: false,
      compactions: new Map(),
      onHead: () => undefined,
    }
    const microBatch = { recordsMax, bytesMax: 1 << 20, ageMsMax: 5 }
    const work = { concatenate: (plan, inputs) => this.#concatenate(plan, inputs) } as TableWork
    const pipeline = {
      definition,
      storage,
      clock,
      observer: (event: LakeEvent) => this.events.push(event),
      control,
      compaction: EAGER,
      startLanes: () => {
        const encoder = plainEncoder(storage, clock, RULES)
        return Promise.resolve(inlineLanes({ source, encoder, work, lanes, microBatch, clock }))
      },
      openFold: () => {
        const fold = new PlainFold(storage, clock, RULES)
        this.folds.push(fold)
        return Promise.resolve(this.around(fold))
      },
    }
    const policy = { writer: 'w', minIntervalMs: intervalMs, heartbeatMs: 60_000 }
    let result: RunResult | undefined
    let error: unknown
    const isOver = () => result !== undefined || error !== undefined
    void run(source, pipeline, this.chain, policy, stop.signal).then(
      (value) => (result = value),
      (thrown) => (error = thrown),
    )
    await this.world.run(this.world.nowMs + forMs, isOver)
    stop.abort()
    while (!isOver()) await this.world.run(this.world.nowMs + 60_000, isOver)
    if (error !== undefined) throw error
    return result!
  }

  /** Rows of a table at a version that are alive. */
  async rows<R>(version: Version, table: string): Promise<R[]> {
    const rows: R[] = []
    for (const file of await storedFiles(
      this.storage,
      await openTable(this.storage, version.tables[table]!.metadata),
    )) {
      const deleted = await readDeletedRows(this.storage, file)
      rows.push(...(await this.#read<R>(file)).filter((_, row) => !deleted.has(row)))
    }
    return rows
  }

  async check(): Promise<Version> {
    const versions = await this.chain.versions(1_000)
    for (const version of versions) await this.#checkVersion(version)
    return versions[0]!
  }

  async results(): Promise<string[]> {
    const rows = await this.rows<ResultRow>((await this.chain.head())!, 'w')
    return rows.map(resultText).toSorted()
  }

  /** Section 17: at every version a window is what is counted from its source rows, less the late ones. */
  async #checkVersion(version: Version): Promise<void> {
    const { sizeMs, latenessMs, boundMs } = RULES
    const wanted = recount(await this.rows<string>(version, 't'))
    expect(version.clocksMs.t ?? {}).toEqual(wanted.clocks)
    expect((await this.rows<string>(version, lateTable('w'))).toSorted()).toEqual(wanted.late.toSorted())
    const results = await this.rows<ResultRow>(version, 'w')
    expect(results.map(text).toSorted()).toEqual(wanted.cells.map(text).toSorted())
    const c = version.watermarksMs.t ?? -Infinity
    expect(version.watermarkMs).toBe(version.watermarksMs.t)
    const isFinalAt = (start: number): boolean => c >= start + sizeMs - 1 + latenessMs
    for (const { start, isFinal } of results) expect(isFinal).toBe(isFinalAt(start))
    const least = Math.min(...[...version.positions.keys()].map((id) => wanted.clocks[id] ?? -Infinity))
    const open = wanted.cells.filter(({ start }) => !isFinalAt(start) || least < start + sizeMs + latenessMs + boundMs)
    expect((await this.rows<Counted>(version, stateTable('w'))).map(text).toSorted()).toEqual(open.map(text).toSorted())
  }

  async #concatenate({ dataPrefix }: WritePlan, inputs: readonly ConcatenateInput[]): Promise<DataFile> {
    const rows: unknown[] = []
    for (const { file, deleted } of inputs) rows.push(...(await this.#read(file)).filter((_, row) => !deleted.has(row)))
    await this.clock.sleep(15)
    const key = `${dataPrefix}${this.clock.uuid()}.json`
    await this.storage.put(key, Buffer.from(JSON.stringify(rows)))
    return { key, recordCount: rows.length, fileSizeBytes: 100, partition: [], metrics: new Map() }
  }

  async #read<R>({ key }: DataFile): Promise<R[]> {
    return JSON.parse(Buffer.from((await this.storage.get(key))!).toString()) as R[]
  }
}

/** A log that ends: at the first poll that brings nothing. */
function bounded(read: Source['read']): Source['read'] {
  return async function* (from, signal) {
    for await (const batch of read(from, signal)) {
      if (batch.count === 0) return
      yield batch
    }
  }
}

const benches: Bench[] = []
afterEach(async () => {
  for (const { storage } of benches.splice(0)) await storage.close()
})

const text = ({ group, start, n }: Counted): string => `${group} ${start} ${n}`

const resultText = (row: ResultRow): string =>
  `${text(row)}${row.isFinal ? ' final' : ''}${row.corrections > 0 ? ` corrected ${row.corrections}` : ''}`

/** Rule L2, row by row in the order of each partition. */
function recount(rows: readonly string[]) {
  const clocks: Record<PartitionId, number> = {}
  const cells = new Map<string, Counted>()
  const late: string[] = []
  const parsed = rows
    .map((row) => /^(\d+)@(\d+)=(.*)$/.exec(row)!)
    .map(([row, p, o, value]) => ({
      row: row!,
      id: `c/${Number(p)}` as const,
      offset: Number(o),
      value: parseValue(value!),
    }))
  for (const { row, id, value } of parsed.toSorted((a, b) => a.offset - b.offset)) {
    if (value === undefined) continue
    const { group, atMs } = value
    const start = startOf(atMs, RULES)
    if (isLate(atMs, clocks[id] ?? -Infinity, RULES)) late.push(row)
    else {
      const key = `${group}:${start}`
      cells.set(key, { group, start, n: (cells.get(key)?.n ?? 0) + 1 })
    }
    clocks[id] = Math.max(clocks[id] ?? -Infinity, atMs)
  }
  return { clocks, late, cells: [...cells.values()] }
}

interface Step {
  readonly values: readonly { readonly partition: number; readonly group: string; readonly atMs: number | undefined }[]
  readonly how: How
}

const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.record({
    values: fc.array(
      fc.record({
        partition: fc.nat(2),
        group: fc.constantFrom('a', 'b'),
        atMs: fc.option(fc.integer({ min: -30, max: 120 }), { nil: undefined, freq: 9 }),
      }),
      { maxLength: 25 },
    ),
    how: fc.record({
      lanes: fc.constantFrom(1, 3),
      recordsMax: fc.constantFrom(1, 4, 100),
      offsetsMax: fc.constantFrom(1, 3, 100),
      intervalMs: fc.constantFrom(1, 20, 100),
      forMs: fc.constantFrom(30, 400, 5_000),
    }),
  }),
  { minLength: 1, maxLength: 4 },
)

async function replay(list: readonly Step[], idleAfterMs: number, around?: Bench['around']): Promise<Bench> {
  const bench = new Bench(idleAfterMs)
  if (around !== undefined) bench.around = around
  for (const { values, how } of list) {
    // While the run is under way, so that compactions come in between.
    for (const [k, { partition, group, atMs }] of values.entries())
      bench.world.after((k * how.forMs) / values.length, 'record', () =>
        bench.append(partition, atMs === undefined ? group : `${group}:${atMs}`),
      )
    expect((await bench.run(how)).kind).toBe('stopped')
  }
  await bench.run()
  return bench
}

describe('windows', { timeout: 60_000 }, () => {
  test('equal a recount of their source at every version, whatever the batches, lanes, restarts and compactions', async () => {
    let compactions = 0
    await fc.assert(
      fc.asyncProperty(steps, fc.constantFrom(40, NEVER_MS), async (list, idleAfterMs) => {
        const bench = await replay(list, idleAfterMs)
        const head = await bench.check()
        for (const [id, position] of head.positions) expect(position).toBe(bench.log.end('c', Number(id.at(-1))))
        expect(bench.folds.every(({ isClosed }) => isClosed)).toBe(true)
        const isCompacted = (event: LakeEvent) =>
          event.kind === 'compaction' && windowTableNames(WINDOW).includes(event.table)
        compactions += bench.events.filter(isCompacted).length
        expect(bench.events.filter((event) => event.kind === 'compaction' && event.error !== undefined)).toEqual([])
        if (idleAfterMs === NEVER_MS) expect((await bench.results()).filter((row) => row.includes('corr'))).toEqual([])
      }),
      { numRuns: 10 },
    )
    expect(compactions).toBeGreaterThan(3)
  })

  test('one that was not in the definition while its source went on is not taken up again', async () => {
    const bench = new Bench()
    const whole = bench.definition
    bench.append(0, 'a:1', 'a:2')
    await bench.run()
    bench.definition = { ...whole, windows: [] }
    await bench.run()
    bench.definition = whole
    expect((await bench.run()).kind).toBe('stopped')
    bench.definition = { ...whole, windows: [] }
    bench.append(0, 'a:3')
    await bench.run()
    bench.definition = whole
    const result = await bench.run()
    expect(result.kind).toBe('superseded')
    const { head } = result as { readonly head: Version }
    const [difference] = codeDifferences(whole, head, await openTables(bench.storage, head.tables))
    const hole = 'lacks records that its topic took while it was not in the definition'
    expect(difference).toEqual({ table: 'w', isNew: false, changes: [hole], obstacles: [hole] })
    bench.definition = { ...whole, windows: [] }
    expect((await bench.run()).kind).toBe('stopped')
  })

  test('E3: rows that `early` kept back are asked for in time, also when the watermark moves before', async () => {
    const bench = new Bench(1_000)
    const windows = bench.definition.windows.map((window) => ({ ...window, earlyMs: 5_000 }))
    bench.definition = { ...bench.definition, windows }
    const folds: { readonly nowMs: number; readonly isNew: boolean }[] = []
    bench.around = (fold) => ({
      load: (...args) => fold.load(...args),
      moved: (...args) => fold.moved(...args),
      discard: (partials) => fold.discard(partials),
      close: () => fold.close(),
      fold: (window, request) => {
        folds.push({ nowMs: request.nowMs, isNew: request.partials.length > 0 })
        return fold.fold(window, request)
      },
    })
    bench.append(0, 'a:1')
    bench.world.after(500, 'record', () => bench.append(1, 'a:2'))
    // Partition 1 is idle before it.
    bench.world.after(1_000, 'record', () => bench.append(0, 'a:50'))
    await bench.run({ ...PLAIN, forMs: 9_000 })
    const newest = folds.findLast(({ isNew }) => isNew)!
    expect(folds.some(({ nowMs, isNew }) => !isNew && nowMs > newest.nowMs && nowMs < newest.nowMs + 5_000)).toBe(true)
    expect(folds.at(-1)!.nowMs).toBeGreaterThanOrEqual(newest.nowMs + 5_000)
  })

  test('plant: state that comes one commit later is found', async () => {
    const around = (fold: WindowFold): WindowFold => {
      let held: TableDelta = { files: [], superseded: [] }
      return {
        load: (...args) => fold.load(...args),
        moved: (...args) => fold.moved(...args),
        discard: (partials) => fold.discard(partials),
        close: () => fold.close(),
        fold: async (window, request) => {
          const folded = await fold.fold(window, request)
          const state = held
          held = folded.state
          return { ...folded, state }
        },
      }
    }
    const values = [{ partition: 0, group: 'a', atMs: 1 }]
    const bench = await replay([{ values, how: PLAIN }], NEVER_MS, around)
    await expect(bench.check()).rejects.toThrow()
  })

  test('C5, C6: an idle partition lets rows be final without a record; when it wakes they are corrected', async () => {
    const bench = new Bench(100, 2)
    bench.append(0, 'a:3', 'a:100')
    bench.append(1, 'b:20')
    await bench.run({ ...PLAIN, forMs: 60 })
    expect((await bench.check()).watermarksMs).toEqual({ t: 14 })
    expect(await bench.results()).toEqual(['a 0 1 final', 'a 100 1', 'b 20 1'])
    // Partition 0 goes on; nothing more comes from the other.
    const running = bench.run({ ...PLAIN, forMs: 400 })
    bench.world.after(90, 'later', () => bench.append(0, 'a:101'))
    await running
    expect((await bench.check()).watermarksMs).toEqual({ t: 95 })
    expect(await bench.results()).toEqual(['a 0 1 final', 'a 100 2', 'b 20 1 final'])
    bench.append(1, 'b:24')
    await bench.run()
    await bench.check()
    expect(await bench.results()).toEqual(['a 0 1 final', 'a 100 2', 'b 20 2 final corrected 1'])
  })

  test('a partition that becomes idle is reason enough for a commit', async () => {
    // Long times: what a commit compresses takes time that the world does not know of.
    const bench = new Bench(20_000, 2)
    bench.append(0, 'a:3', 'a:100')
    bench.append(1, 'b:20')
    const seen: Version[] = []
    const watch = () => void bench.chain.head().then((head) => seen.push(head!))
    bench.world.after(12_000, 'more', () => bench.append(0, 'a:102'))
    bench.world.after(19_000, 'not yet', watch)
    bench.world.after(31_000, 'idle', watch)
    await bench.run({ ...PLAIN, forMs: 32_000 })
    expect(seen.map(({ watermarksMs }) => watermarksMs)).toEqual([{ t: 14 }, { t: 96 }])
    expect(seen[0]!.positions).toEqual(seen[1]!.positions)
    expect((await bench.rows<ResultRow>(seen[1]!, 'w')).map(resultText).toSorted()).toEqual([
      'a 0 1 final',
      'a 100 2',
      'b 20 1 final',
    ])
  })

  test('C that moves while the fold is loaded reaches it all the same', async () => {
    const bench = new Bench(20_000, 2)
    bench.append(0, 'a:3', 'a:100')
    bench.append(1, 'b:20')
    await bench.run({ ...PLAIN, forMs: 5_000 })
    expect((await bench.check()).watermarksMs).toEqual({ t: 14 })
    bench.around = (fold) => {
      const load = fold.load.bind(fold)
      return Object.assign(fold, {
        load: async (...args: Parameters<typeof load>) => {
          await bench.clock.sleep(30_000)
          await load(...args)
        },
      })
    }
    // No window takes it.
    bench.append(0, 'a')
    await bench.run({ ...PLAIN, forMs: 40_000 })
    expect((await bench.check()).watermarksMs).toEqual({ t: 94 })
  })

  test('at the end of a bounded log what is certain is final, and a partition without records holds nothing', async () => {
    const bench = new Bench()
    bench.append(0, 'a:3', 'a:100')
    bench.append(1, 'b:20')
    expect((await bench.run(PLAIN, true)).kind).toBe('drained')
    expect((await bench.check()).watermarksMs).toEqual({ t: 14 })
    expect(await bench.results()).toEqual(['a 0 1 final', 'a 100 1', 'b 20 1'])
  })

  test('a fold that fails ends the run; the next one goes on from the head', async () => {
    const bench = new Bench()
    bench.append(0, 'a:3')
    await bench.run()
    const failure = new LakeError('window.fold_failed', 'the process died', { retryable: true })
    bench.around = (fold) => Object.assign(fold, { fold: () => Promise.reject(failure) })
    bench.append(1, 'a:4', 'b:50')
    await expect(bench.run()).rejects.toBe(failure)
    expect(bench.folds.at(-1)!.isClosed).toBe(true)
    bench.around = (fold) => fold
    await bench.run()
    await bench.check()
    expect(await bench.results()).toEqual(['a 0 2', 'b 50 1'])
  })

  test('partials of a batch that is not folded are deleted', async () => {
    const bench = new Bench()
    bench.append(0, 'a:3')
    await bench.run()
    const head = (await bench.chain.head())!
    const { chain, storage, clock } = bench
    const policy = { writer: 'w', minIntervalMs: 1, heartbeatMs: 1 }
    const committer = await Committer.open({ chain, storage, clock, policy, observer: () => undefined }, head)
    const staged = async (from: bigint) => {
      const partials = path.join(storage.scratch, `partials-${from}`)
      writeFileSync(partials, '')
      const windows = [{ window: 'w', partials, lateFiles: [], late: 0, lateAssignments: 0, failed: 0 }]
      const ranges = [{ partition: 'c/0', from, until: from + 1n }]
      return committer.fold({ ranges, tables: [{ table: 't', windows }] } as unknown as Staged)
    }
    expect(await staged(0n)).toBe('repeated')
    expect(await staged(5n)).toBe('gap')
    expect(leftPartials(storage)).toEqual([])
  })

  test('commits tell what is open and late', async () => {
    const bench = new Bench(NEVER_MS, 1)
    bench.append(0, 'a:3', 'a:100', 'a:4')
    await bench.run()
    const told = bench.events.filter((event) => event.kind === 'windows' && event.late > 0)
    expect(told).toMatchObject([
      { pipeline: 'p', table: 'w', watermarkMs: 94, openRows: 1, late: 1, lateAssignments: 1, failed: 0, corrected: 0 },
    ])
  })

  test('a window that is new to a pipeline, or another one, is refused', async () => {
    const bench = new Bench()
    const windows = [...bench.definition.windows]
    const change = (to: readonly WindowDefinition[]) => Object.assign(bench.definition, { windows: to })
    change([])
    bench.append(0, 'a:1')
    await bench.run()
    change(windows)
    const result = await bench.run()
    expect(result.kind).toBe('superseded')
    const { head } = result as { readonly head: Version }
    const differences = codeDifferences(bench.definition, head, await openTables(bench.storage, head.tables))
    expect(differences).toEqual([{ table: 'w', isNew: true, changes: ['is new'], obstacles: [] }])
  })
})
