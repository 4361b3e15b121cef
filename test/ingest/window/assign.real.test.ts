import type { Json } from '@duckdb/node-api'
import * as fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  isSliced,
  type AggregateDefinition,
  type WindowDefinition,
  type WindowKind,
} from '../../../src/define-window.ts'
import { quoted } from '../../../src/ingest/decode/data-file-writer.ts'
import { assignedSql } from '../../../src/ingest/window/assign.ts'
import { sliceOf, windowsOf } from '../../../src/ingest/window/kinds.ts'
import { calendarKind, hoppingKind, plainKind, windowDefinition, type Hopping } from './arbitrary.ts'
import { Assigner, BOUNDARIES, clocked, UNBOUND, type Counted, type Late, type Row } from './assigned.ts'

let assigner: Assigner
beforeAll(async () => {
  assigner = await Assigner.open()
})
afterAll(() => {
  assigner.close()
})

/** Fails for the group b, whatever else is true of a row. */
const FRAGILE = `keep AND CAST(CASE WHEN grp = 'b' THEN 'x' ELSE '1' END AS INTEGER) = 1`
/** Its condition fails for rows of the group a that have no clock; other rows than those of `where` are not looked at. */
const FRAGILE_COUNT: AggregateDefinition = {
  name: 'n',
  fn: 'count',
  column: undefined,
  n: undefined,
  where: `CAST(CASE WHEN grp = 'a' AND __clock_ms IS NULL THEN 'x' ELSE '1' END AS INTEGER) = 2`,
}

/** The rules, a row and a window at a time. */
function judged(
  definition: WindowDefinition,
  slackMs: number,
  rows: readonly Row[],
  fromMs = -Infinity,
): { counted: Counted[]; late: Late[] } {
  const { window, where, groupBy, nullGroup } = definition
  const counted: Counted[] = []
  const late: Late[] = []
  for (const [id, { group, keep, eventMs, clockMs }] of rows.entries()) {
    if (where === FRAGILE && group === 'b') {
      late.push({ id, windows: [], counted: 0, reason: 'expression_failed' })
      continue
    }
    if (where !== undefined && keep !== true) continue
    if (definition.select.length > 0 && group === 'a' && clockMs === null) {
      late.push({ id, windows: [], counted: 0, reason: 'expression_failed' })
      continue
    }
    if (eventMs === null) late.push({ id, windows: [], counted: 0, reason: 'null_event_time' })
    else if (groupBy.length > 0 && nullGroup === 'late' && group === null)
      late.push({ id, windows: [], counted: 0, reason: 'null_group_key' })
    else {
      const all = windowsOf(window, eventMs)
      // What starts earlier is not there.
      const windows = all.filter(({ startMs }) => startMs >= fromMs)
      const inTime = windows.filter(({ endMs }) => clockMs === null || endMs + slackMs > clockMs)
      const lateOnes = windows.filter((each) => !inTime.includes(each))
      if (isSliced(definition)) {
        const { startMs: start, endMs: end } = sliceOf(window as Hopping, eventMs)
        const minEnd = inTime.length === all.length ? null : inTime[0]?.endMs
        if (minEnd !== undefined) counted.push({ id, start, end, minEnd })
      } else counted.push(...inTime.map(({ startMs: start, endMs: end }) => ({ id, start, end })))
      if (lateOnes.length > 0)
        late.push({
          id,
          windows: lateOnes.map(({ startMs, endMs }) => [startMs, endMs] as const),
          counted: inTime.length,
          reason: 'late',
        })
    }
  }
  return { counted, late }
}

const rowsArbitrary = (instant: fc.Arbitrary<number>, reachMs: number): fc.Arbitrary<Row[]> =>
  fc.array(
    fc
      .record({
        group: fc.option(fc.constantFrom('a', 'b'), { freq: 8 }),
        keep: fc.option(fc.boolean(), { freq: 8 }),
        eventMs: fc.option(instant, { freq: 10 }),
        aheadMs: fc.option(fc.integer({ min: -reachMs, max: reachMs }), { freq: 6 }),
      })
      .map(({ group, keep, eventMs, aheadMs }) => ({
        group,
        keep,
        eventMs,
        clockMs: aheadMs === null ? null : (eventMs ?? 0) + aheadMs,
      })),
    { maxLength: 40, size: 'max' },
  )

const plainRows = rowsArbitrary(
  fc.oneof(
    fc.integer({ min: -100, max: 100 }),
    fc.constantFrom(-8.64e15, 8.64e15),
    fc.integer({ min: -8.64e15, max: 8.64e15 }),
  ),
  120,
)
const DAY = 86_400_000
const calendarRows = rowsArbitrary(
  fc.oneof(
    fc.integer({ min: Date.parse('2026-10-20'), max: Date.parse('2026-11-02') }),
    fc.integer({ min: Date.parse('2011-12-28'), max: Date.parse('2012-01-02') }),
    fc.integer({ min: -8.64e15, max: 8.64e15 }),
  ),
  40 * DAY,
)

const changes = fc.record({
  groupBy: fc.constantFrom([], ['grp']),
  nullGroup: fc.constantFrom('late' as const, 'keep' as const),
  where: fc.constantFrom(undefined, 'keep -- only these', FRAGILE),
  select: fc.constantFrom([], [FRAGILE_COUNT]),
})

const agree = async (
  kinds: fc.Arbitrary<WindowKind>,
  rows: fc.Arbitrary<Row[]>,
  unitMs: number,
  numRuns: number,
  starts: fc.Arbitrary<number | undefined> = fc.constant(undefined),
): Promise<void> => {
  const bound = fc.integer({ min: 0, max: 20 }).map((each) => each * unitMs)
  const given = fc.tuple(kinds, changes, bound, bound, rows, starts)
  await fc.assert(
    fc.asyncProperty(given, async ([window, changed, allowedLatenessMs, boundMs, rows, fromMs]) => {
      const definition = windowDefinition(window, { ...changed, allowedLatenessMs })
      const { mayBeLate, ...assigned } = await assigner.assign(definition, boundMs, rows, fromMs)
      const expected = judged(definition, allowedLatenessMs + boundMs, rows, fromMs)
      expect(assigned).toEqual(expected)
      // L5: what is late may be late.
      for (const { id } of expected.late) expect(mayBeLate).toContain(id)
    }),
    { numRuns },
  )
}

describe('SQL says what the rules say, row by row and window by window', () => {
  test('W1 to W4, S1, S2, L2, L3, N1, T3: kinds that are arithmetic', () => agree(plainKind(), plainRows, 1, 300))
  test('S2: hopping windows that are sliced', () =>
    agree(
      hoppingKind().filter((window) => isSliced({ window })),
      plainRows,
      1,
      150,
    ))
  test('R2: windows that start before the log is read are not there, neither counted nor late', async () => {
    const starts = fc.integer({ min: -110, max: 110 })
    await agree(plainKind(), plainRows, 1, 200, starts)
    const days = fc.integer({ min: Date.parse('2026-10-18'), max: Date.parse('2026-11-03') })
    await agree(calendarKind(), calendarRows, DAY / 24, 50, days)
  })
  test('R2: slices are tagged with the first window that is there', () =>
    agree(
      hoppingKind().filter((window) => isSliced({ window })),
      plainRows,
      1,
      150,
      fc.integer({ min: -110, max: 110 }),
    ))
  test('W5: kinds that follow a wall clock', () => agree(calendarKind(), calendarRows, DAY / 24, 100))
})

const tumbling = (allowedLatenessMs = 0): WindowDefinition =>
  windowDefinition({ kind: 'tumbling', sizeMs: 10, offsetMs: 0 }, { allowedLatenessMs })
const log = (...events: readonly number[]): Row[] => clocked(events.map((eventMs) => ({ partition: 0, eventMs })))
/** How the partitions of a log are read: whose record comes next. */
const interleaved = (partitions: readonly (readonly number[])[], order: readonly number[]): Reading => {
  const next = partitions.map(() => 0)
  return order.map((partition) => ({ partition, eventMs: partitions[partition]![next[partition]!++]! }))
}
type Reading = { readonly partition: number; readonly eventMs: number }[]
const results = async (rows: Row[]): Promise<Record<string, number>> =>
  counts((await assigner.assign(tumbling(), 0, rows)).counted)
/** One clock for all partitions: what others do. */
const merged = (reading: Reading): Row[] => clocked(reading.map((each) => ({ ...each, partition: 0 })))
const read = async (sql: string): Promise<unknown> => (await assigner.connection.runAndReadAll(sql)).getRowObjectsJson()

const LANE = { __event_ms: 'BIGINT', __clock_ms: 'BIGINT' }
const typesOf = async (sql: string): Promise<Record<string, Json>> => {
  const rows = (await assigner.connection.runAndReadAll(`DESCRIBE ${sql}`)).getRowsJson()
  return Object.fromEntries(rows.map(([name, type]) => [String(name), type!]))
}

test('L5: an event that its clock is not ahead of by more than B + L is not even looked at', async () => {
  const definition = windowDefinition({ kind: 'tumbling', sizeMs: 1, offsetMs: 0 }, { allowedLatenessMs: 3 })
  const rows = [14, 15, 16].map((clockMs) => ({ group: null, keep: true, eventMs: 10, clockMs }))
  const { counted, late, mayBeLate } = await assigner.assign(definition, 2, rows)
  expect([counted.map(({ id }) => id), late.map(({ id }) => id), mayBeLate]).toEqual([[0, 1], [2], [2]])
})

test('all columns of the input are there, a query is an input too', async () => {
  const definition = windowDefinition({ kind: 'hopping', sizeMs: 10, slideMs: 2, offsetMs: 0 })
  const input = `SELECT 9::BIGINT AS __event_ms, 12::BIGINT AS __clock_ms, 'x' AS "odd ""name"""`
  const { counted, late } = assignedSql(definition, UNBOUND, input)
  expect(await read(counted)).toEqual([
    { __event_ms: '9', __clock_ms: '12', 'odd "name"': 'x', __start: '8', __end: '10', __min_end: '14' },
  ])
  expect(await read(late)).toEqual([
    {
      __event_ms: '9',
      __clock_ms: '12',
      'odd "name"': 'x',
      __late_windows: [
        { start: '0', end: '10' },
        { start: '2', end: '12' },
      ],
      __counted_windows: 3,
      __reason: 'late',
    },
  ])
})

test('what is added is of the types that files and messages have', async () => {
  const kinds: readonly WindowKind[] = [
    { kind: 'tumbling', sizeMs: 10, offsetMs: 0 },
    { kind: 'hopping', sizeMs: 10, slideMs: 4, offsetMs: 0 },
    { kind: 'hopping', sizeMs: 10, slideMs: 1, offsetMs: 0 },
    { kind: 'cumulate', stepMs: 10, maxMs: 60, offsetMs: 0 },
    { kind: 'session', gapMs: 10 },
    { kind: 'calendar', unit: 'month', timeZone: 'UTC' },
  ]
  const input = 'SELECT NULL::BIGINT AS __event_ms, NULL::BIGINT AS __clock_ms'
  for (const window of kinds) {
    await assigner.assign(windowDefinition(window), 0, [])
    const { counted, late } = assignedSql(windowDefinition(window), UNBOUND, input, quoted(BOUNDARIES))
    const minEnd = isSliced({ window }) ? { __min_end: 'BIGINT' } : {}
    expect(await typesOf(counted)).toEqual({ ...LANE, __start: 'BIGINT', __end: 'BIGINT', ...minEnd })
    expect(await typesOf(late)).toEqual({
      ...LANE,
      __late_windows: 'STRUCT("start" BIGINT, "end" BIGINT)[]',
      __counted_windows: 'INTEGER',
      __reason: 'VARCHAR',
    })
  }
})

test('W5: an event for which no boundaries were made stops the work, it does not vanish', async () => {
  const definition = windowDefinition({ kind: 'calendar', unit: 'day', timeZone: 'Europe/Berlin' })
  await assigner.assign(definition, 0, [{ group: 'a', keep: true, eventMs: 0, clockMs: null }])
  const { counted } = assignedSql(
    definition,
    UNBOUND,
    'SELECT 1e12::BIGINT AS __event_ms, 0::BIGINT AS __clock_ms',
    quoted(BOUNDARIES),
  )
  await expect(assigner.connection.runAndReadAll(counted)).rejects.toThrow('outside the boundaries')
})

describe('section 5, lateness', () => {
  test('L1, L2: one partition, size 10, B = 5, L = 10', async () => {
    const rows = log(3, 12, 7, 25, 9, 14)
    expect(rows.map(({ clockMs }) => clockMs)).toEqual([null, 3, 12, 12, 25, 25])
    const { counted, late } = await assigner.assign(tumbling(10), 5, rows)
    expect(counted.map(({ id, end }) => [id, end])).toEqual([
      [0, 10],
      [1, 20],
      [2, 10],
      [3, 30],
      [5, 20],
    ])
    expect(late).toEqual([{ id: 4, windows: [[0, 10]], counted: 0, reason: 'late' }])
  })

  test('L3: a hop is late for its oldest windows first', async () => {
    const definition = windowDefinition({ kind: 'hopping', sizeMs: 10, slideMs: 4, offsetMs: 0 })
    const { counted, late } = await assigner.assign(definition, 0, log(14, 8))
    expect(counted.filter(({ id }) => id === 1).map(({ start, end }) => [start, end])).toEqual([[8, 18]])
    expect(late).toEqual([
      {
        id: 1,
        windows: [
          [0, 10],
          [4, 14],
        ],
        counted: 1,
        reason: 'late',
      },
    ])
  })

  test('L5: the first record of a partition is never late, however old', async () => {
    const rows = clocked([
      { partition: 0, eventMs: 1000 },
      { partition: 1, eventMs: -1000 },
    ])
    expect((await assigner.assign(tumbling(), 0, rows)).late).toEqual([])
  })

  test('E4: a jump in time loses nothing but what is late', async () => {
    const definition = windowDefinition({ kind: 'tumbling', sizeMs: 2, offsetMs: 0 })
    const { counted, late } = await assigner.assign(definition, 2, log(0, 1, 2, 0, 3, 0, 10, 0, 30))
    expect(counts(counted)).toEqual({ '0': 4, '2': 2, '10': 1, '30': 1 })
    expect(late.map(({ id }) => id)).toEqual([7])
  })

  test('S2: size 10, slide 5, clock 12: late for the first window of two', async () => {
    // Written as slices although two windows are cheaper one by one: late for [0, 10), counts for [5, 15).
    const rows = [{ group: 'a', keep: true, eventMs: 9, clockMs: 12 }]
    const two = windowDefinition({ kind: 'hopping', sizeMs: 10, slideMs: 5, offsetMs: 0 })
    expect((await assigner.assign(two, 0, rows)).counted).toEqual([{ id: 0, start: 5, end: 15 }])
    const four = windowDefinition({ kind: 'hopping', sizeMs: 20, slideMs: 5, offsetMs: 0 })
    expect((await assigner.assign(four, 0, rows)).counted).toEqual([{ id: 0, start: 5, end: 10, minEnd: 15 }])
  })

  test('L4: p0 = 5, 31 and p1 = 8, 12 in any order, and with a merged clock', async () => {
    const partitions = [
      [5, 31],
      [8, 12],
    ]
    const orders = [
      [0, 0, 1, 1],
      [0, 1, 0, 1],
      [0, 1, 1, 0],
      [1, 0, 0, 1],
      [1, 0, 1, 0],
      [1, 1, 0, 0],
    ]
    for (const order of orders)
      expect(await results(clocked(interleaved(partitions, order)))).toEqual({ '0': 2, '10': 1, '30': 1 })
    expect(await results(merged(interleaved(partitions, [0, 0, 1, 1])))).toEqual({ '0': 1, '30': 1 })
    expect(await results(merged(interleaved(partitions, [1, 1, 0, 0])))).toEqual({ '0': 1, '10': 1, '30': 1 })
    expect(await results(merged(interleaved(partitions, [0, 1, 1, 0])))).toEqual({ '0': 2, '10': 1, '30': 1 })
  })

  test('L4: random logs and orders: own clocks give one result, a merged clock often another', async () => {
    let differing = 0
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.integer({ min: 0, max: 2 }), fc.integer({ min: 0, max: 60 })), {
          minLength: 6,
          maxLength: 30,
        }),
        fc.infiniteStream(fc.nat()),
        async (log, chance) => {
          const partitions = [0, 1, 2].map((p) =>
            log.filter(([partition]) => partition === p).map(([, eventMs]) => eventMs),
          )
          const order = log.map(([partition]) => partition)
          const shuffled = order.map((partition) => [chance.next().value as number, partition] as const)
          const other = shuffled.toSorted(([a], [b]) => a - b).map(([, partition]) => partition)
          const [one, two] = [interleaved(partitions, order), interleaved(partitions, other)]
          expect(await results(clocked(one))).toEqual(await results(clocked(two)))
          const [mergedOne, mergedTwo] = [await results(merged(one)), await results(merged(two))]
          if (JSON.stringify(mergedOne) !== JSON.stringify(mergedTwo)) differing++
        },
      ),
      { numRuns: 100 },
    )
    expect(differing).toBeGreaterThan(20)
  })
})

describe('section 20: where others differ', () => {
  test('late rows: RisingWave and Feldera drop a record, here it counts in every window that is open for it', async () => {
    const definition = windowDefinition({ kind: 'cumulate', stepMs: 10, maxMs: 30, offsetMs: 0 })
    const rows = [{ group: 'a', keep: true, eventMs: 5, clockMs: 15 }]
    const { counted, late } = await assigner.assign(definition, 0, rows)
    expect(counted.map(({ end }) => end)).toEqual([20, 30])
    expect(late).toEqual([{ id: 0, windows: [[0, 10]], counted: 2, reason: 'late' }])
  })

  test("the instant of lateness is Flink's: its watermark, the clock − B − 1, has passed end − 1 + L", async () => {
    const definition = windowDefinition({ kind: 'tumbling', sizeMs: 10, offsetMs: 0 }, { allowedLatenessMs: 3 })
    for (const clockMs of [14, 15, 16]) {
      const { late } = await assigner.assign(definition, 2, [{ group: 'a', keep: true, eventMs: 1, clockMs }])
      const watermark = clockMs - 2 - 1
      expect(late.length === 1).toBe(10 - 1 + 3 <= watermark)
    }
  })
})

describe('S2: slices merged are windows counted one by one', () => {
  test('random logs of two partitions; without the smallest end it would be wrong', async () => {
    let wrongWithout = 0
    await fc.assert(
      fc.asyncProperty(
        hoppingKind().filter((window) => isSliced({ window })),
        fc.array(fc.record({ partition: fc.nat(1), eventMs: fc.integer({ min: -60, max: 120 }) }), {
          minLength: 5,
          maxLength: 40,
          size: 'max',
        }),
        fc.nat(10),
        async (window, log, boundMs) => {
          const rows = clocked(log)
          const expected: Record<string, number> = {}
          for (const { eventMs, clockMs } of rows)
            for (const { startMs, endMs } of windowsOf(window, eventMs!))
              if (clockMs === null || endMs + boundMs > clockMs) expected[startMs] = (expected[startMs] ?? 0) + 1
          const { counted } = await assigner.assign(windowDefinition(window), boundMs, rows)
          // Cells are what the rows of one slice with one smallest end become.
          const merge = (isTagged: boolean): Record<string, number> => {
            const found: Record<string, number> = {}
            for (const { start, minEnd } of counted)
              for (const { startMs, endMs } of windowsOf(window, start))
                if (!isTagged || minEnd === null || minEnd! <= endMs) found[startMs] = (found[startMs] ?? 0) + 1
            return found
          }
          expect(merge(true)).toEqual(expected)
          if (JSON.stringify(merge(false)) !== JSON.stringify(expected)) wrongWithout++
        },
      ),
      { numRuns: 200 },
    )
    expect(wrongWithout).toBeGreaterThan(50)
  })
})

/** Rows per start of a window. */
function counts(counted: readonly Counted[]): Record<string, number> {
  const found: Record<string, number> = {}
  for (const { start } of counted) found[start] = (found[start] ?? 0) + 1
  return found
}
