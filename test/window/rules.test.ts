import { readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { describe, expect, test } from 'vitest'
import type { Column } from '../../src/batch.ts'
import { resultColumns, type WindowShape } from '../../src/window/columns.ts'

// The rules of windows that have an example: event time (T), assignment (W), slices (S), lateness (L), the combined
// watermark (C), what readers see (E), sessions (N), aggregates and retractions (A). Each is named by the title of a test.

const RULES: Readonly<Record<string, string>> = {
  T1: 'event times are floored to milliseconds: −1.5 ms is −2',
  T2: 'beyond ±8.64e15 ms, and what cannot be read as a time, are dead letters, never 0',
  T3: 'no event time, or no group key: the row is stored, the window lists it',
  T4: 'late rows move the clock; dead letters, deletes and rows beyond the guard do not',
  T5: 'what gives another value each time is refused at the start',
  W1: 'tumbling: −10 is in [−10,0), −11 in [−20,−10)',
  W2: 'hopping: size 10, slide 4, 11 is in two windows, 8 in three',
  W3: 'cumulate: step 15, max 60, 14 is in four windows, 59 in one',
  W4: 'negative times are times like any other',
  W5: 'days of a wall clock have 23 or 25 hours twice a year',
  S1: 'a window is the merge of its slices',
  S2: 'size 10, slide 5, clock 12: 9 is late for [0,10) and counts for [5,15) alone',
  S3: 'slices stay while a window that uses them may change',
  L1: 'the clock moves from record to record, not from batch to batch',
  L2: 'late when end + L + B ≤ clock: equality is late',
  L3: 'a hop is late for its oldest windows first',
  L4: 'p0 = 5, 31 and p1 = 8, 12: no clock of another partition decides',
  L5: 'the first record of a partition is never late',
  C1: 'size 50, two partitions at 100 and 20: C is 14',
  C2: 'final at end − 1 + L, a session one millisecond later',
  C3: 'what is final is held no more; a limit bounds the rest',
  C4: 'settled when every clock is at end + L + B',
  C5: 'an idle partition wakes: a final row is corrected',
  C6: 'a partition with lag is never idle',
  C7: 'when all are idle, C holds',
  C8: 'kts 1,000,000: 1,300,000 moves the clock, 8,200,000 does not',
  C9: 'C never goes back',
  E1: 'results only, with bounds, _final and _corrections',
  E2: 'a row that stays as it is is not written',
  E3: 'update, close, and early',
  E4: 'a jump in time emits all that it closes: 4, 2, 1',
  E5: 'late rows are listed with where, when, why and their weight',
  E6: 'what ended before C − T is deleted',
  E7: 'changes are published after their version',
  N1: 'a distance of exactly the gap merges, one more does not',
  N2: 'a final session merges with what touches it in time',
  N3: 'a bridge deletes two rows and inserts one',
  N4: 'taking a row back splits a session',
  A1: 'an update takes the old row back and counts the new one',
  A2: 'a late retraction leaves the window as it closed, and is listed with weight −1',
  A3: 'a group without rows is gone; less than none stops',
  A4: 'max over {5, 9}, without 9, is 5',
  A5: '0.1 + 0.2 + 0.3 is 0.6, and 1e16 + 1 − 1e16 is 1',
  A6: 'strings by their bytes, NaN is the greatest',
  A7: 'old values are held, so many at most',
}

/** Where the same letters number other things: outcomes of commits, stores. */
const ELSEWHERE = ['test/lake/', 'test/crash/', 'test/cli/', 'test/simulation/']

const root = path.join(import.meta.dirname, '../..')
const files = readdirSync(path.join(root, 'test'), { recursive: true, encoding: 'utf8' })
  .map((file) => `test/${file}`)
  .filter((file) => file.endsWith('.test.ts') && !ELSEWHERE.some((folder) => file.startsWith(folder)))

/** Titles of tests and groups, also of those that stand in a table behind `.each`. */
function titlesOf(text: string): string[] {
  const title = /(?:\b(?:test|it|describe)(?:\.\w+)*|\))\(\s*(['"`])((?:\\.|(?!\1)[^\\])*)\1/gs
  return [...text.matchAll(title)].map((match) => match[2]!)
}

const titles = files.flatMap((file) => titlesOf(readFileSync(path.join(root, file), 'utf8')))
/** Rules of one title: single ones, and spans as `W1 to W4`. */
function rulesOf(title: string): string[] {
  const spans = [...title.matchAll(/\b([A-Z])(\d) to \1(\d)\b/g)].flatMap(([, letter, from, to]) =>
    Array.from({ length: Number(to) - Number(from) + 1 }, (_, k) => `${letter}${Number(from) + k}`),
  )
  return [...spans, ...[...title.matchAll(/\b[A-Z]\d\b/g)].map(([id]) => id)]
}

describe('rules with an example', () => {
  const named = new Set(titles.flatMap(rulesOf))

  test('are named by the title of a test', () => {
    expect(Object.keys(RULES).filter((id) => !named.has(id))).toEqual([])
  })

  test('titles are found wherever they stand', () => {
    const text = "test('a', () => {})\nit.each([1])(\n  `b ${x}`, f)\ndescribe.concurrent(\"c's\", g)\nrun('d')"
    expect(titlesOf(text)).toEqual(['a', 'b ${x}', "c's"])
    expect(rulesOf('W1 to W3, S2: slices (T4)')).toEqual(['W1', 'W2', 'W3', 'W1', 'W3', 'S2', 'T4'])
  })
})

describe('E1: a window table holds results only', () => {
  const group: Column = { name: 'g', type: { kind: 'string' } }
  const shape: WindowShape = { groups: [group], aggregates: [], computed: [], hasLastEvent: true, isSliced: false }
  const names = (given: WindowShape) => resultColumns(given).map(({ name }) => name)

  test('groups, bounds, results, and how final they are', () => {
    expect(names(shape)).toEqual(['g', 'window_start', 'window_end', 'last_event_time', '_final', '_corrections'])
  })

  test('rows that may be taken back have no last event', () => {
    expect(names({ ...shape, hasLastEvent: false })).toEqual([
      'g',
      'window_start',
      'window_end',
      '_final',
      '_corrections',
    ])
  })
})
