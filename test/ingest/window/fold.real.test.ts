import { afterEach, describe, expect, test } from 'vitest'
import type { WindowDefinition } from '../../../src/define-window.ts'
import { aggregate, FoldHarness, type Counted } from './fold-harness.ts'

const open: FoldHarness[] = []
afterEach(async () => {
  for (const harness of open.splice(0)) await harness.close()
})

async function harnessOf(parts: Partial<WindowDefinition>): Promise<FoldHarness> {
  const harness = await FoldHarness.open(parts)
  open.push(harness)
  return harness
}

/** Records of one group in tumbling windows. */
function tumbling(times: readonly number[], size = 10): Counted[] {
  return times.map((ts) => {
    const start = Math.floor(ts / size) * size
    return { g: 'a', v: ts, ts, start, end: start + size }
  })
}

/** Records of one group, each as the session that it would be alone. */
function session(times: readonly number[], gap = 10, g = 'a'): Counted[] {
  return times.map((ts) => ({ g, v: ts, ts, start: ts, end: ts + gap }))
}

/** `g [start,end) n final corrections` as the table has it. */
function rows({ results }: FoldHarness): string[] {
  return results.rows
    .map(
      (row) =>
        `${String(row['g'])} [${String(row['window_start'])},${String(row['window_end'])}) n=${String(row['n'])} ${row['_final'] === true ? 'final' : 'open'} ${String(row['_corrections'])}`,
    )
    .toSorted()
}

/** `[start,end) rows` as the companion has it. */
function cells({ state }: FoldHarness): string[] {
  return state.rows
    .filter((row) => row['__part'] === 0)
    .map((row) => `[${String(row['__start'])},${String(row['__end'])}) ${String(row['__rows'])}`)
    .toSorted()
}

describe('finality and settlement', () => {
  test('C2: a row is final from C = end - 1 + L on', async () => {
    const harness = await harnessOf({ allowedLatenessMs: 3 })
    await harness.fold({ batches: [tumbling([1, 4])], watermarkMs: 11 })
    expect(rows(harness)).toEqual(['a [0,10) n=2 open 0'])
    await harness.fold({ watermarkMs: 12 })
    expect(rows(harness)).toEqual(['a [0,10) n=2 final 0'])
  })

  test('C2: a session one millisecond later, since an event a gap away still joins', async () => {
    const harness = await harnessOf({ window: { kind: 'session', gapMs: 10 }, allowedLatenessMs: 3 })
    await harness.fold({ batches: [session([0])], watermarkMs: 12 })
    expect(rows(harness)).toEqual(['a [0,10) n=1 open 0'])
    await harness.fold({ watermarkMs: 13 })
    expect(rows(harness)).toEqual(['a [0,10) n=1 final 0'])
  })

  test('C4: partials leave when every clock is at end + L + B, and not before', async () => {
    const harness = await harnessOf({ allowedLatenessMs: 3 })
    await harness.fold({ batches: [tumbling([1])], watermarkMs: 12, clockMsMin: 17 })
    expect(cells(harness)).toEqual(['[0,10) 1'])
    const { openRows } = await harness.fold({ watermarkMs: 12, clockMsMin: 18 })
    expect([cells(harness), openRows]).toEqual([[], 0])
    expect(rows(harness)).toEqual(['a [0,10) n=1 final 0'])
  })

  test('C4: those of a session a gap later', async () => {
    const harness = await harnessOf({ window: { kind: 'session', gapMs: 10 } })
    await harness.fold({ batches: [session([0])], watermarkMs: 18, clockMsMin: 24 })
    expect(cells(harness)).toEqual(['[0,10) 1'])
    await harness.fold({ watermarkMs: 19, clockMsMin: 25 })
    expect(cells(harness)).toEqual([])
  })

  test('C5: a final row that an idle partition corrects (table of section 6)', async () => {
    const harness = await harnessOf({})
    await harness.fold({ batches: [tumbling([10, 20], 50)], watermarkMs: 14 })
    expect(rows(harness)).toEqual(['a [0,50) n=2 open 0'])
    await harness.fold({ watermarkMs: 94 })
    expect(rows(harness)).toEqual(['a [0,50) n=2 final 0'])
    const woken = await harness.fold({ batches: [tumbling([30], 50)], watermarkMs: 94 })
    expect([rows(harness), woken.corrected]).toEqual([['a [0,50) n=3 final 1'], 1])
    await harness.restart()
    await harness.fold({ batches: [tumbling([60], 50)], watermarkMs: 94 })
    await harness.fold({ batches: [tumbling([40], 50)], watermarkMs: 94 })
    expect(rows(harness)).toEqual(['a [0,50) n=4 final 2', 'a [50,100) n=1 open 0'])
  })

  test('C5: what comes for a window that left goes to the late table, with its group and number', async () => {
    const harness = await harnessOf({})
    await harness.fold({ batches: [tumbling([1, 2])], watermarkMs: 94, clockMsMin: 100 })
    const folded = await harness.fold({ batches: [tumbling([3, 4, 25])], watermarkMs: 94 })
    expect(rows(harness)).toEqual(['a [0,10) n=2 final 0'])
    expect([folded.late, folded.lateAssignments]).toEqual([3, 3])
    expect(
      harness.late.map((row) => [row['g'], row['v'], row['_weight'], row['_reason'], row['_late_windows']]),
    ).toEqual([
      ['a', null, 2, 'row_expired', [{ start: 0, end: 10 }]],
      ['a', null, 1, 'row_expired', [{ start: 20, end: 30 }]],
    ])
  })

  test('E6: rows that ended longer ago than `retain` go with their state, after they were final', async () => {
    const harness = await harnessOf({ retainMs: 20 })
    await harness.fold({ batches: [tumbling([1])], watermarkMs: 60 })
    expect(rows(harness)).toEqual(['a [0,10) n=1 final 0'])
    // What is written in a commit is there in its version.
    await harness.fold({ batches: [tumbling([2])], watermarkMs: 60 })
    expect([rows(harness), cells(harness)]).toEqual([['a [0,10) n=2 final 1'], ['[0,10) 2']])
    await harness.fold({ watermarkMs: 60 })
    expect([rows(harness), cells(harness)]).toEqual([[], []])
    const { lateAssignments } = await harness.fold({ batches: [tumbling([3])], watermarkMs: 60 })
    expect([rows(harness), lateAssignments]).toEqual([[], 1])
  })

  test('E6: settled rows go too, whether they were settled before a restart or after', async () => {
    const harness = await harnessOf({ retainMs: 20 })
    await harness.fold({ batches: [tumbling([1])], watermarkMs: 20, clockMsMin: 26 })
    await harness.fold({ batches: [tumbling([21])], watermarkMs: 29, clockMsMin: 35 })
    expect([rows(harness), cells(harness)]).toEqual([['a [0,10) n=1 final 0', 'a [20,30) n=1 final 0'], []])
    await harness.fold({ watermarkMs: 30, clockMsMin: 36 })
    expect(rows(harness)).toHaveLength(2)
    await harness.fold({ watermarkMs: 31, clockMsMin: 37 })
    expect(rows(harness)).toEqual(['a [20,30) n=1 final 0'])
    await harness.restart()
    await harness.compact('results')
    await harness.fold({ watermarkMs: 50, clockMsMin: 56 })
    expect(rows(harness)).toHaveLength(1)
    await harness.fold({ watermarkMs: 51, clockMsMin: 57 })
    expect(rows(harness)).toEqual([])
  })

  test.each([{ kind: 'tumbling', sizeMs: 10, offsetMs: 0 } as const, { kind: 'session', gapMs: 9 } as const])(
    'C5: what was expired before a restart is not begun anew: $kind',
    async (window) => {
      const harness = await harnessOf({ retainMs: 20, window })
      const batch = (ts: number) => (window.kind === 'session' ? session([ts], 9) : tumbling([ts]))
      await harness.fold({ batches: [batch(1)], watermarkMs: 60 })
      await harness.fold({ watermarkMs: 61 })
      expect([rows(harness), cells(harness)]).toEqual([[], []])
      await harness.restart()
      const { lateAssignments } = await harness.fold({ batches: [batch(2)], watermarkMs: 61 })
      expect([rows(harness), lateAssignments]).toEqual([[], 1])
      // What is not is.
      await harness.fold({ batches: [batch(45)], watermarkMs: 61 })
      expect(rows(harness)).toHaveLength(1)
    },
  )

  test('E6: what was due at a restart and still stands is corrected, not expired', async () => {
    const harness = await harnessOf({ retainMs: 20 })
    await harness.fold({ batches: [tumbling([1])], watermarkMs: 60 })
    await harness.restart()
    await harness.fold({ batches: [tumbling([2])], watermarkMs: 60 })
    expect(rows(harness)).toEqual(['a [0,10) n=2 final 1'])
  })

  test('openRowsMax counts the cells that are held', async () => {
    const harness = await harnessOf({ openRowsMax: 2 })
    await harness.fold({ batches: [tumbling([1, 11])], watermarkMs: 0 })
    await expect(harness.fold({ batches: [tumbling([21])] })).rejects.toMatchObject({
      code: 'window.open_rows_max',
      context: { window: 'w', openRows: 3, openRowsMax: 2 },
    })
  })
})

describe('what is written', () => {
  test('E2: one change per commit, and none for a row that stays as it is', async () => {
    const harness = await harnessOf({ select: [aggregate('n', 'count'), aggregate('top', 'max', 'v')], groupBy: [] })
    const first = await harness.fold({ batches: [tumbling([1]), tumbling([2]), tumbling([3])] })
    expect(first.results.files.map(({ recordCount }) => recordCount)).toEqual([1])
    const second = await harness.fold({})
    expect(second.results).toEqual({ files: [], superseded: [] })
    expect(second.state).toEqual({ files: [], superseded: [] })
    const third = await harness.fold({ batches: [tumbling([5])] })
    expect(third.results.superseded).toEqual([{ key: first.results.files[0]!.key, rows: Uint32Array.of(0) }])
  })

  test('E2: partials may change where the row does not', async () => {
    const harness = await harnessOf({ window: { kind: 'session', gapMs: 10 }, select: [aggregate('top', 'max', 'v')] })
    await harness.fold({ batches: [[{ g: 'a', v: 7, ts: 5, start: 5, end: 15 }]] })
    const { results, state } = await harness.fold({ batches: [[{ g: 'a', v: 3, ts: 5, start: 5, end: 15 }]] })
    expect([results.files.length, state.files.length]).toEqual([0, 1])
  })

  test('computed results are text over the others; what fails on its values is null and stops nothing', async () => {
    const computed = (name: string, as: string) => ({ name, type: { kind: 'string' } as const, as })
    const harness = await harnessOf({
      select: [aggregate('n', 'count'), aggregate('least', 'min', 'v')],
      computed: [
        computed('message', "g || ': ' || n || ' errors since ' || strftime(window_start, '%S.%g')"),
        computed('fragile', "CAST(CASE WHEN n > 1 THEN 'no number' ELSE '7' END AS INTEGER)"),
      ],
    })
    const told = () => harness.results.rows.map((row) => [row['message'], row['fragile'], row['_corrections']])
    const first = await harness.fold({ batches: [tumbling([11])] })
    expect(told()).toEqual([['a: 1 errors since 00.010', '7', 0]])
    await harness.restart()
    const second = await harness.fold({})
    expect([first.results.files.length, second.results.files.length]).toEqual([1, 0])
    await harness.fold({ batches: [tumbling([12, 13])] })
    expect(told()).toEqual([['a: 3 errors since 00.010', null, 0]])
  })

  test('E3: `close` writes only what is final', async () => {
    const harness = await harnessOf({ emit: 'close' })
    await harness.fold({ batches: [tumbling([1, 11])], watermarkMs: 8 })
    expect([rows(harness), cells(harness)]).toEqual([[], ['[0,10) 1', '[10,20) 1']])
    await harness.restart()
    await harness.fold({ watermarkMs: 9, isLast: true })
    expect(rows(harness)).toEqual(['a [0,10) n=1 final 0'])
  })

  test('E3: with `early` open rows wait, final ones do not, and state never', async () => {
    const harness = await harnessOf({ earlyMs: 1_000 })
    await harness.fold({ batches: [tumbling([1, 11])], watermarkMs: 0, nowMs: 5_000 })
    await harness.fold({ batches: [tumbling([2, 12])], watermarkMs: 9, nowMs: 5_999 })
    expect(rows(harness)).toEqual(['a [0,10) n=2 final 0', 'a [10,20) n=1 open 0'])
    expect(cells(harness)).toEqual(['[0,10) 2', '[10,20) 2'])
    await harness.fold({ watermarkMs: 9, nowMs: 6_000 })
    expect(rows(harness)).toEqual(['a [0,10) n=2 final 0', 'a [10,20) n=2 open 0'])
  })

  test('E3: a bounded end writes all that is open', async () => {
    const harness = await harnessOf({ earlyMs: 1_000 })
    await harness.fold({ batches: [tumbling([1])], nowMs: 0 })
    await harness.fold({ batches: [tumbling([2])], nowMs: 1 })
    expect(rows(harness)).toEqual(['a [0,10) n=1 open 0'])
    await harness.fold({ nowMs: 2, isLast: true })
    expect(rows(harness)).toEqual(['a [0,10) n=2 open 0'])
  })

  test('E3: what `early` left behind is written after a restart', async () => {
    const harness = await harnessOf({ earlyMs: 1_000 })
    await harness.fold({ batches: [tumbling([1])], nowMs: 0 })
    await harness.fold({ batches: [tumbling([2])], nowMs: 1 })
    await harness.restart()
    await harness.fold({ nowMs: 2 })
    expect(rows(harness)).toEqual(['a [0,10) n=2 open 0'])
  })

  test('E4: a jump in time emits all that it closes', async () => {
    const harness = await harnessOf({ retainMs: 0 })
    // ts 0 1 2 0 3 0 10 30, the late 0 left out, L + B = 2.
    const batch = tumbling([0, 1, 2, 0, 3, 0, 10, 30], 2)
    await harness.fold({ batches: [batch], watermarkMs: 27, clockMsMin: 30 })
    expect(rows(harness)).toEqual([
      'a [0,2) n=4 final 0',
      'a [10,12) n=1 final 0',
      'a [2,4) n=2 final 0',
      'a [30,32) n=1 open 0',
    ])
    expect(cells(harness)).toEqual(['[30,32) 1'])
  })
})

describe('sessions', () => {
  const window = { kind: 'session', gapMs: 10 } as const

  test('N1: a distance of exactly the gap merges', async () => {
    const harness = await harnessOf({ window })
    await harness.fold({ batches: [session([0])] })
    await harness.fold({ batches: [session([10])] })
    await harness.fold({ batches: [session([0, 11], 10, 'b')] })
    expect(rows(harness)).toEqual(['a [0,20) n=2 open 0', 'b [0,10) n=1 open 0', 'b [11,21) n=1 open 0'])
  })

  test('N3: a bridge deletes both rows and inserts one, in the same commit', async () => {
    const harness = await harnessOf({ window, allowedLatenessMs: 20 })
    const { results } = await harness.fold({ batches: [session([0, 15])] })
    expect(rows(harness)).toEqual(['a [0,10) n=1 open 0', 'a [15,25) n=1 open 0'])
    const bridged = await harness.fold({ batches: [session([8])] })
    expect(rows(harness)).toEqual(['a [0,25) n=3 open 0'])
    expect(bridged.results.superseded).toEqual([{ key: results.files[0]!.key, rows: Uint32Array.of(0, 1) }])
    expect(bridged.state.superseded.map((of) => of.rows)).toEqual([Uint32Array.of(0, 1)])
  })

  test('N3: so does an earlier start, also while open rows wait', async () => {
    const harness = await harnessOf({ window, earlyMs: 1_000 })
    await harness.fold({ batches: [session([8])], nowMs: 0 })
    await harness.fold({ batches: [session([3])], nowMs: 1 })
    expect(rows(harness)).toEqual(['a [3,18) n=2 open 0'])
  })

  test('N2: one that is final merges with what touches it in time, and is marked', async () => {
    const harness = await harnessOf({ window })
    await harness.fold({ batches: [[...session([0]), ...session([16], 10, 'b')]], watermarkMs: 10 })
    expect(rows(harness)).toEqual(['a [0,10) n=1 final 0', 'b [16,26) n=1 open 0'])
    await harness.fold({ batches: [session([9])], watermarkMs: 10 })
    expect(rows(harness)).toEqual(['a [0,19) n=2 open 1', 'b [16,26) n=1 open 0'])
  })

  test('N2: with `close` it is no row until it is final again', async () => {
    const harness = await harnessOf({ window, emit: 'close' })
    await harness.fold({ batches: [session([0])], watermarkMs: 10 })
    await harness.fold({ batches: [session([9])], watermarkMs: 10 })
    expect(rows(harness)).toEqual([])
    await harness.fold({ watermarkMs: 19 })
    expect(rows(harness)).toEqual(['a [0,19) n=2 final 0'])
  })

  test('values of a session that is taken in are added to those of the other', async () => {
    const harness = await harnessOf({
      window,
      select: [aggregate('n', 'count'), aggregate('d', 'count_distinct', 'v')],
    })
    await harness.fold({
      batches: [
        [
          { ...session([0])[0]!, v: 1 },
          { ...session([15])[0]!, v: 1 },
          { ...session([15])[0]!, v: 2 },
        ],
      ],
    })
    await harness.fold({ batches: [[{ ...session([8])[0]!, v: 3 }]] })
    expect(harness.results.rows.map((row) => [row['n'], row['d']])).toEqual([[4, 3]])
    const weights = harness.state.rows.filter((row) => row['__part'] === 2)
    expect(weights.map((row) => [row['__start'], row['d__value'], row['d__weight']]).toSorted()).toEqual([
      [0, 1, 2],
      [0, 2, 1],
      [0, 3, 1],
    ])
  })
})

describe('slices', () => {
  const window = { kind: 'hopping', sizeMs: 20, slideMs: 5, offsetMs: 0 } as const

  test('S2: a record counts only for the windows that it is not late for', async () => {
    const harness = await harnessOf({ window })
    // Windows that end at 25 are over for the second record: it counts from the one that ends at 30 on.
    await harness.fold({
      batches: [
        [
          { g: 'a', v: 1, ts: 12, start: 10, end: 15 },
          { g: 'a', v: 1, ts: 13, start: 10, end: 15, minEnd: 30 },
        ],
      ],
      watermarkMs: 40,
    })
    expect(rows(harness)).toEqual([
      'a [-5,15) n=1 final 0',
      'a [0,20) n=1 final 0',
      'a [10,30) n=2 final 0',
      'a [5,25) n=1 final 0',
    ])
    expect(cells(harness)).toEqual(['[10,15) 1', '[10,15) 1'])
  })

  test('E3: rows are written when they are final, open ones are in the state', async () => {
    const harness = await harnessOf({ window })
    await harness.fold({ batches: [[{ g: 'a', v: 1, ts: 12, start: 10, end: 15 }]], watermarkMs: 18, isLast: true })
    expect(rows(harness)).toEqual(['a [-5,15) n=1 final 0'])
    await harness.restart()
    await harness.fold({ watermarkMs: 19 })
    expect(rows(harness)).toEqual(['a [-5,15) n=1 final 0', 'a [0,20) n=1 final 0'])
  })

  test('S3: slices stay until every window that uses them is settled, and corrections merge them again', async () => {
    const harness = await harnessOf({ window })
    const slice = { g: 'a', v: 1, ts: 12, start: 10, end: 15 }
    await harness.fold({
      batches: [[slice, { ...slice, ts: 16, start: 15, end: 20 }]],
      watermarkMs: 28,
      clockMsMin: 34,
    })
    expect(cells(harness)).toEqual(['[10,15) 1', '[15,20) 1'])
    await harness.restart()
    const { corrected } = await harness.fold({
      batches: [
        [
          { ...slice, ts: 27, start: 25, end: 30 },
          { ...slice, ts: 17, start: 15, end: 20, minEnd: 30 },
        ],
      ],
      watermarkMs: 29,
      clockMsMin: 34,
    })
    expect(corrected).toBe(0)
    expect(rows(harness)).toEqual([
      'a [-5,15) n=1 final 0',
      'a [0,20) n=2 final 0',
      'a [10,30) n=4 final 0',
      'a [5,25) n=2 final 0',
    ])
    await harness.fold({
      batches: [[{ ...slice, ts: 18, start: 15, end: 20, minEnd: 30 }]],
      watermarkMs: 29,
      clockMsMin: 35,
    })
    expect(rows(harness)).toContain('a [10,30) n=5 final 1')
    expect(cells(harness)).toEqual(['[15,20) 1', '[15,20) 2', '[25,30) 1'])
  })
})

test('A5: a sum of more than 38 digits stops', async () => {
  const harness = await harnessOf({ select: [aggregate('total', 'sum', 'd')] })
  const most = '9'.repeat(38)
  await harness.fold({ batches: [[{ ...tumbling([1])[0]!, d: most }]] })
  await expect(harness.fold({ batches: [[{ ...tumbling([1])[0]!, d: most }]] })).rejects.toMatchObject({
    code: 'aggregate.overflow',
  })
})

test('a row that is held and not in the file that it should have moved to is an error', async () => {
  const harness = await harnessOf({})
  await harness.fold({ batches: [tumbling([1])] })
  await expect(harness.loseResults()).rejects.toMatchObject({ code: 'internal' })
})
