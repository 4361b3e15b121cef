import * as fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { islandsSql } from '../../../src/ingest/window/islands.ts'
import { windowDefinition } from './arbitrary.ts'
import { Assigner, clocked } from './assigned.ts'

let assigner: Assigner
beforeAll(async () => {
  assigner = await Assigner.open()
})
afterAll(() => {
  assigner.close()
})

type Cell = readonly [group: string | null, region: string | null, start: number, end: number]
type Session = {
  readonly group: string | null
  readonly region: string | null
  start: number
  end: number
  cells: number
}

const text = (value: string | null): string => (value === null ? 'NULL' : `'${value}'`)
const key = ({ group, region, start }: Session): string => JSON.stringify([group, region, start])
const sorted = (sessions: Session[]): Session[] => sessions.toSorted((a, b) => (key(a) < key(b) ? -1 : 1))

/** What a relation of cells becomes, ordered. */
async function sessionsOf(
  cells: readonly Cell[],
  groups: readonly string[] = ['grp', 'the "region"'],
): Promise<Session[]> {
  const values = cells.map(([group, region, start, end]) => `(${text(group)}, ${text(region)}, ${start}, ${end})`)
  await assigner.connection
    .run(`CREATE OR REPLACE TEMP TABLE cells AS SELECT grp, r AS "the ""region""", s::BIGINT AS __start, e::BIGINT AS __end
FROM (VALUES ${values.join(', ')}) t(grp, r, s, e)`)
  const answer = await assigner.connection.runAndReadAll(
    `SELECT grp, "the ""region""" AS region, __island_start, __island_end, count(*) FROM (${islandsSql('cells', groups)}) GROUP BY ALL ORDER BY ALL NULLS FIRST`,
  )
  return answer.getRowsJson().map(([group, region, start, end, count]) => ({
    group: group as string | null,
    region: region as string | null,
    start: Number(start),
    end: Number(end),
    cells: Number(count),
  }))
}

/** One after the other, as rule N1 says: a cell merges with every session of its group that it touches. */
function merged(cells: readonly Cell[]): Session[] {
  let sessions: Session[] = []
  for (const [group, region, start, end] of cells) {
    const touches = (each: Session): boolean =>
      each.group === group && each.region === region && each.start <= end && each.end >= start
    const touched = [...sessions.filter(touches), { group, region, start, end, cells: 1 }]
    const whole = {
      group,
      region,
      start: Math.min(...touched.map((each) => each.start)),
      end: Math.max(...touched.map((each) => each.end)),
      cells: touched.reduce((sum, each) => sum + each.cells, 0),
    }
    sessions = [...sessions.filter((each) => !touches(each)), whole]
  }
  return sessions
}

/** In-time events of one group, then their sessions as [start, end, events]. */
async function sessionsOfEvents(
  events: readonly number[],
  L = 0,
  B = 0,
): Promise<{ sessions: number[][]; late: number[] }> {
  const definition = windowDefinition({ kind: 'session', gapMs: 10 }, { allowedLatenessMs: L })
  const { counted, late } = await assigner.assign(
    definition,
    B,
    clocked(events.map((eventMs) => ({ partition: 0, eventMs }))),
  )
  const sessions = await sessionsOf(counted.map(({ start, end }) => ['a', null, start, end]))
  return {
    sessions: sessions.map(({ start, end, cells }) => [start, end, cells]),
    late: late.map(({ id }) => events[id]!),
  }
}

describe('the table of section 8, g = 10', () => {
  test.each([
    ['N1 a distance of exactly g merges', [0, 10], 0, 0, [[0, 20, 2]], []],
    [
      'N1 one more does not',
      [0, 11],
      0,
      0,
      [
        [0, 10, 1],
        [11, 21, 1],
      ],
      [],
    ],
    ['N3 a bridge, L = 20', [0, 15, 8], 20, 0, [[0, 25, 3]], []],
    [
      'L2 late by its own provisional window: 22 ≤ 25',
      [0, 25, 12],
      0,
      0,
      [
        [0, 10, 1],
        [25, 35, 1],
      ],
      [12],
    ],
    ['N1 the same instant twice', [5, 5], 0, 0, [[5, 15, 2]], []],
    ['W4 across the year 1970', [-7, 3], 0, 0, [[-7, 13, 2]], []],
  ])('%s', async (_, events, L, B, sessions, late) => {
    expect(await sessionsOfEvents(events, L, B)).toEqual({ sessions, late })
  })

  test('N2: a session that was final merges when an event in time touches it, L2 judges the event alone', async () => {
    // a:9 comes when the clock says 16: 9 + 10 + 5 = 24 > 16.
    expect(await sessionsOfEvents([0, 16, 9], 0, 5)).toEqual({ sessions: [[0, 26, 3]], late: [] })
    const own = await sessionsOf([
      ['a', null, 0, 10],
      ['b', null, 16, 26],
      ['a', null, 9, 19],
    ])
    expect(own.map(({ group, start, end, cells }) => [group, start, end, cells])).toEqual([
      ['a', 0, 19, 2],
      ['b', 16, 26, 1],
    ])
  })
})

const cellArbitrary = fc
  .tuple(
    fc.option(fc.constantFrom('a', 'b')),
    fc.option(fc.constantFrom('x')),
    fc.integer({ min: -60, max: 60 }),
    // Provisional windows are of one size, partial sessions of any.
    fc.oneof(fc.constant(5), fc.integer({ min: 5, max: 30 })),
  )
  .map(([group, region, start, size]): Cell => [group, region, start, start + size])

test('N1, N2: components of random cells are those of merging one by one, in any order; null is a group', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(cellArbitrary, { minLength: 1, maxLength: 40, size: 'max' }), async (cells) => {
      expect(sorted(await sessionsOf(cells))).toEqual(sorted(merged(cells)))
      expect(sorted(merged(cells.toReversed()))).toEqual(sorted(merged(cells)))
    }),
    { numRuns: 150 },
  )
})

describe('section 20: where others differ', () => {
  test('a distance of exactly the gap: two sessions in Arroyo and Proton, one here, in Flink, Spark and Kafka Streams', async () => {
    expect((await sessionsOfEvents([0, 10])).sessions).toEqual([[0, 20, 2]])
  })

  test('a closed session that an event in time touches: Flink and Kafka Streams begin a new one, here it merges', async () => {
    // At 16 the first session is final; 9 comes in time and touches it.
    expect((await sessionsOfEvents([0, 16, 9], 0, 5)).sessions).toEqual([[0, 26, 3]])
  })

  test('the closing instant: last + g + grace = clock is in time in Kafka Streams, and late here, whose L is grace + 1', async () => {
    expect((await sessionsOfEvents([20, 5], 5)).late).toEqual([5])
    expect((await sessionsOfEvents([20, 5], 6)).late).toEqual([])
  })
})

test.each([
  ['testMergeSinglePointWindow', [[0, 0]], [[0, 0, 1]]],
  ['testMergeSingleWindow', [[0, 1]], [[0, 1, 1]]],
  [
    'testMergeConsecutiveWindows',
    [
      [0, 1],
      [1, 2],
      [2, 3],
      [4, 5],
      [5, 6],
    ],
    [
      [0, 3, 3],
      [4, 6, 2],
    ],
  ],
  [
    'testMergeCoveringWindow',
    [
      [1, 1],
      [0, 2],
      [4, 7],
      [5, 6],
    ],
    [
      [0, 2, 2],
      [4, 7, 2],
    ],
  ],
])("N1: the numbers of Flink's EventTimeSessionWindowsTest: %s", async (_, windows, sessions) => {
  const found = await sessionsOf(windows.map(([start, end]) => ['a', null, start!, end!]))
  expect(found.map(({ start, end, cells }) => [start, end, cells])).toEqual(sessions)
})

test('without groups all cells are of one', async () => {
  await sessionsOf([
    ['a', null, 0, 10],
    ['b', null, 10, 20],
    [null, 'x', 21, 30],
  ])
  const answer = await assigner.connection.runAndReadAll(
    `SELECT DISTINCT __island_start, __island_end FROM (${islandsSql('SELECT * FROM cells', [])}) ORDER BY 1`,
  )
  expect(answer.getRowsJson()).toEqual([
    ['0', '20'],
    ['21', '30'],
  ])
})
