import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { table, tableNames, type PipelineDefinition, type TableDefinition } from '../../src/define.ts'
import { isSliced, stateTable, type WindowDefinition, type WindowKind } from '../../src/define-window.ts'
import { LETTER_CLOCK } from '../../src/ingest/decode/columns.ts'
import { changedTables, partOf } from '../../src/ingest/pipeline.ts'
import { openTable } from '../../src/lake/table.ts'
import type { Version } from '../../src/version.ts'
import { beginFork, reachBase, type ForkParts } from '../support/fork.ts'
import { runOnce } from '../support/fork-lake.ts'
import { windowOf } from '../support/window-cases.ts'
import { Lakes, type Lake } from '../support/window-lake.ts'

// Section 17: fork and what comes after it = a fresh run of the new code, table by table, whatever the code, the batches,
// the lanes and the interruptions; with real Parquet and real windows.

let lakes: Lakes
beforeAll(async () => {
  lakes = await Lakes.open()
})
afterAll(() => lakes.close())

const PARTITIONS = 2
const columns = { at: 'long', g: 'string required', v: 'long', n: 'long' } as const
const eventTime = { column: 'at', unit: 'ms', outOfOrderness: '5ms', idleAfter: '1h', maxFutureSkew: '1000h' } as const
const from = { topic: 'c' } as const

const SOURCES: Readonly<Record<string, (where?: string) => TableDefinition>> = {
  t: (where) => table('t', { from, columns, eventTime, ...(where === undefined ? {} : { where }) }),
  k: (where) => table('k', { from, columns, eventTime, key: ['g'], ...(where === undefined ? {} : { where }) }),
  v: (where) =>
    table('v', { from, columns, eventTime, key: ['g'], version: 'n', ...(where === undefined ? {} : { where }) }),
  m: (where) =>
    table('m', { from, columns, eventTime, key: ['g'], missing: 'keep', ...(where === undefined ? {} : { where }) }),
}

/** A record of `m` may leave `v` as it is, so that no filter may ask for it. */
const FILTERS: Readonly<Record<string, string>> = {
  t: 'v IS NULL OR v <> 1',
  k: 'v IS NULL OR v <> 1',
  v: 'v IS NULL OR v <> 1',
  m: `g <> 'c'`,
}

interface Plan {
  readonly sources: readonly { readonly name: string; readonly isFiltered: readonly [boolean, boolean] }[]
  readonly windows: readonly {
    readonly source: number
    readonly kind: WindowKind
    readonly input: 'events' | 'rows'
    readonly emit: 'update' | 'close'
    readonly nullGroup: 'keep' | 'late'
    /** Of the old and the new code: undefined, where there is none. */
    readonly latenessMs: readonly [number | undefined, number]
  }[]
}

const plans: fc.Arbitrary<Plan> = fc.record({
  sources: fc
    .shuffledSubarray(Object.keys(SOURCES), { minLength: 1, maxLength: 2 })
    .chain((names) =>
      fc.tuple(
        ...names.map((name) => fc.record({ name: fc.constant(name), isFiltered: fc.tuple(mostlyNot(), mostlyNot()) })),
      ),
    ),
  windows: fc.array(
    fc.record({
      source: fc.nat(1),
      kind: fc.constantFrom<WindowKind>(
        { kind: 'tumbling', sizeMs: 10, offsetMs: 0 },
        { kind: 'hopping', sizeMs: 20, slideMs: 5, offsetMs: 1 },
        { kind: 'session', gapMs: 4 },
      ),
      input: fc.constantFrom('events', 'rows'),
      emit: fc.constantFrom('update', 'close'),
      nullGroup: fc.constant('keep'),
      latenessMs: fc.tuple(fc.constantFrom(undefined, undefined, 0, 8), fc.constantFrom(0, 8)),
    }),
    { minLength: 1, maxLength: 3 },
  ),
})

function mostlyNot(): fc.Arbitrary<boolean> {
  return fc.nat(4).map((n) => n === 0)
}

function definitionOf({ sources, windows }: Plan, code: 0 | 1): PipelineDefinition {
  const tables = sources.map(({ name, isFiltered }) => SOURCES[name]!(isFiltered[code] ? FILTERS[name]! : undefined))
  return {
    name: 'p',
    onDataLoss: 'stop',
    tables,
    windows: windows.flatMap(({ source, kind, input, emit, latenessMs }, k): WindowDefinition[] => {
      const of = tables[source % tables.length]!
      const allowedLatenessMs = latenessMs[code]
      if (allowedLatenessMs === undefined) return []
      const select = windowOf(kind).select.filter(({ name }) => ['n', 'total', 'high', 'newest'].includes(name))
      const overRows = of.key.length > 0 ? input : 'events'
      return [{ ...windowOf(kind, of.name), name: `w${k}`, select, input: overRows, emit, allowedLatenessMs }]
    }),
  }
}

/**
 * Source tables whose windows have other watermarks in a fork than in a fresh run until the log has passed them: those of
 * other code, and those that fed no window before. What is final at their base is what a bounded log says.
 */
function unlikeUntilPassed({ sources, windows }: Plan): ReadonlySet<string> {
  const isFedBefore = (at: number): boolean =>
    windows.some(({ source, latenessMs }) => source % sources.length === at && latenessMs[0] !== undefined)
  return new Set(
    sources.filter((each, at) => each.isFiltered[0] !== each.isFiltered[1] || !isFedBefore(at)).map(({ name }) => name),
  )
}

const records = fc.array(
  fc.record({
    g: fc.constantFrom('a', 'b', 'c', 'd'),
    // Time moves on, with some that are late.
    lag: fc.oneof({ weight: 4, arbitrary: fc.integer({ min: 0, max: 6 }) }, { weight: 1, arbitrary: fc.constant(40) }),
    v: fc.constantFrom(undefined, 0, 1, 2, 3),
    n: fc.nat(3),
    what: fc.constantFrom('row', 'row', 'row', 'row', 'row', 'row', 'tombstone', 'poison', 'hole'),
  }),
  { minLength: 4, maxLength: 40 },
)

const hows = fc.record({
  lanes: fc.constantFrom(1, 3),
  recordsMax: fc.constantFrom(1, 3, 1_000),
  offsetsMax: fc.constantFrom(1, 4, 100),
})

const PARTITION_OF: Readonly<Record<string, number>> = { a: 0, b: 1, c: 0, d: 1 }

function append(lake: Lake, all: readonly Rec[], start: number, end: number): void {
  for (const [k, { g, lag, v, n, what }] of all.entries()) {
    if (k < start || k >= end) continue
    const [partition, at] = [PARTITION_OF[g]!, 3 * k - lag]
    const key = Buffer.from(g)
    const text = what === 'poison' ? '{"at": "no"' : JSON.stringify({ at, g, v, n: k + n })
    if (what === 'hole') lake.log.appendHidden('c', partition, 2)
    else if (what === 'tombstone') lake.log.append('c', partition, [{ timestampMs: 1_000, key, value: undefined }])
    else lake.log.append('c', partition, [{ timestampMs: 1_000, key, value: Buffer.from(text) }])
  }
}

type Rec = typeof records extends fc.Arbitrary<(infer T)[]> ? T : never

/** An event in each partition that all windows lie far behind. */
function pass(lake: Lake): void {
  for (const g of ['a', 'b'] as const) {
    const value = Buffer.from(JSON.stringify({ at: 1_000_000, g, v: 2, n: 1_000 }))
    lake.log.append('c', PARTITION_OF[g]!, [{ timestampMs: 1_000, key: Buffer.from(g), value }])
  }
}

/**
 * All rows of all tables but those of states (how cells are cut is nobody's business), without the columns that are
 * `left` out. Of sources that are `unlike`, no results that show their watermark.
 */
async function contentOf(
  lake: Lake,
  version: Version,
  definition: PipelineDefinition,
  { unlike, left }: { readonly unlike: ReadonlySet<string>; readonly left: readonly string[] },
): Promise<Record<string, string[]>> {
  const content: Record<string, string[]> = {}
  for (const each of [...definition.tables, ...definition.windows])
    for (const name of tableNames(each)) {
      if (each.kind === 'window' && name === stateTable(each.name)) continue
      if (each.kind === 'window' && name === each.name && unlike.has(each.source) && isShownWhenFinal(each)) continue
      // Files that were put together have more columns than their table.
      const { fields } = (await openTable(lake.storage, version.tables[name]!.metadata)).schema
      const columns = fields.filter((field) => !left.includes(field.name)).map((field) => `"${field.name}"`)
      const rows = await lake.rows(version, name, columns.join(', '))
      content[name] = rows.map((row) => row.map(String).join(' | ')).toSorted()
    }
  return content
}

/** Of sliced windows the table has final rows alone. */
function isShownWhenFinal(definition: WindowDefinition): boolean {
  return definition.emit === 'close' || isSliced(definition)
}

interface Case {
  readonly plan: Plan
  readonly records: readonly Rec[]
  readonly baseAt: number
  readonly main: { readonly lanes: number; readonly recordsMax: number; readonly offsetsMax: number }
  readonly fork: Case['main']
  readonly versionsMax: number
}

const cases: fc.Arbitrary<Case> = fc.record({
  plan: plans,
  records,
  baseAt: fc.integer({ min: 4, max: 20 }).map((part) => part / 20),
  main: hows,
  fork: hows,
  versionsMax: fc.integer({ min: 1, max: 4 }),
})

async function check({ plan, records, baseAt, main, fork: how, versionsMax }: Case): Promise<string[]> {
  const [before, after] = [definitionOf(plan, 0), definitionOf(plan, 1)]
  const lake = await lakes.create(before, PARTITIONS)
  const { storage, log } = lake
  append(lake, records, 0, Math.ceil(baseAt * records.length))
  const base = await runOnce({ storage, log, chain: lake.chain, definition: before, ...main })
  const rebuilt = new Set(changedTables(after, base))
  const parts: ForkParts = { storage, definition: after, rebuilt, base, before }
  const fork = await beginFork(parts)
  // The log goes on while the fork is built, which sees none of it.
  append(lake, records, Math.ceil(baseAt * records.length), records.length)
  const building = {
    storage,
    log,
    chain: fork.chain,
    definition: fork.part.definition,
    fork: fork.run,
    until: fork.until,
  }
  await runOnce({ ...building, ...how, versionsMax })
  await runOnce({ ...building, ...how })
  await reachBase(fork, parts)
  const whole = { storage, log, chain: fork.chain, definition: after, fork: fork.run, ...how }
  let head = await runOnce(whole)

  const fresh = await lakes.create(after, PARTITIONS)
  append(fresh, records, 0, records.length)
  const again = { storage: fresh.storage, log: fresh.log, chain: fresh.chain, definition: after, ...main }
  let wanted = await runOnce(again)
  const unlike = unlikeUntilPassed(plan)
  // Nobody kept the clocks of dead letters before there were windows.
  const left = ['_corrections', '_final', ...(unlike.size > 0 ? [LETTER_CLOCK] : [])]
  const expectEqual = async (but: ReadonlySet<string>): Promise<void> => {
    const as = { unlike: but, left }
    expect(await contentOf(lake, head, after, as)).toEqual(await contentOf(fresh, wanted, after, as))
    expect(head.clocksMs).toEqual(wanted.clocksMs)
    expect([...head.origins]).toEqual([...wanted.origins])
  }
  await expectEqual(unlike)
  if (unlike.size > 0) {
    for (const each of [lake, fresh]) pass(each)
    ;[head, wanted] = [await runOnce(whole), await runOnce(again)]
    await expectEqual(new Set())
  }
  const { unwritten, temporary } = partOf(after, rebuilt)
  return [...rebuilt, ...[...unwritten].map(() => 'unwritten'), ...[...temporary].map(() => 'temporary')]
}

const WAYS = { lanes: 1, recordsMax: 3, offsetsMax: 4 } as const
const RECORDS: readonly Rec[] = Array.from({ length: 24 }, (_, k) => ({
  g: ['a', 'b', 'c', 'd'][k % 4] as 'a',
  lag: k % 7 === 6 ? 40 : k % 5,
  v: ([1, undefined, 2, 0, 3] as const)[k % 5],
  n: k % 3,
  what: (['row', 'row', 'tombstone', 'row', 'row', 'poison', 'row'] as const)[k % 7]!,
}))
/** New windows over a source that is as it was: read and not written, or written for a while. */
const example = (name: string, input: 'events' | 'rows', kind: WindowKind): Case => ({
  plan: {
    sources: [{ name, isFiltered: [false, false] }],
    windows: [
      { source: 0, kind, input, emit: 'update', nullGroup: 'keep', latenessMs: [undefined, 0] },
      { source: 0, kind, input, emit: 'update', nullGroup: 'keep', latenessMs: [8, 8] },
    ],
  },
  records: RECORDS,
  baseAt: 0.7,
  main: WAYS,
  fork: { lanes: 3, recordsMax: 2, offsetsMax: 3 },
  versionsMax: 2,
})
const TUMBLING: WindowKind = { kind: 'tumbling', sizeMs: 10, offsetMs: 0 }

describe('a run on a fork, and the whole pipeline after it, give what a fresh run gives', () => {
  test.each([
    ['t', 'events', 'unwritten', { kind: 'session', gapMs: 4 }],
    ['k', 'events', 'unwritten', { kind: 'hopping', sizeMs: 20, slideMs: 5, offsetMs: 1 }],
    ['k', 'rows', 'temporary', TUMBLING],
    ['v', 'rows', 'temporary', TUMBLING],
    ['m', 'events', 'temporary', TUMBLING],
  ] as const)('a new window over %s, %s: its source is %s', { timeout: 300_000 }, async (name, input, how, kind) => {
    expect(await check(example(name, input, kind))).toEqual(['w0', how])
  })

  test('a new hopping window where a partition has no clock yet', { timeout: 300_000 }, async () => {
    const kind: WindowKind = { kind: 'hopping', sizeMs: 20, slideMs: 5, offsetMs: 1 }
    const alone: Case = {
      plan: {
        sources: [{ name: 'v', isFiltered: [false, false] }],
        windows: [{ source: 0, kind, input: 'events', emit: 'close', nullGroup: 'keep', latenessMs: [undefined, 8] }],
      },
      records: RECORDS.map((each, k) => (k % 2 === 0 ? each : { ...each, what: 'poison' })),
      baseAt: 0.85,
      main: WAYS,
      fork: WAYS,
      versionsMax: 1,
    }
    expect(await check(alone)).toEqual(['w0', 'unwritten'])
  })

  test('whatever the code, the log, the lanes and the batches', { timeout: 600_000 }, async () => {
    const runs = { numRuns: Number(process.env['FORK_RUNS'] ?? 10), endOnFailure: true }
    // On a machine that is busy otherwise fewer of them tell as much.
    const within = { interruptAfterTimeLimit: 240_000, markInterruptAsFailure: false }
    await fc.assert(
      fc.asyncProperty(cases, async (each) => void (await check(each))),
      { ...runs, ...within },
    )
  })
})
