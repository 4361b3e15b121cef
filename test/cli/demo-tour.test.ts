import { describe, expect, test } from 'vitest'
import { systemClock, type Clock } from '../../src/clock.ts'
import { changedDefinition, DEMO_WINDOW, demoDefinition } from '../../src/cli/demo-lake.ts'
import { runTour, type TourOptions } from '../../src/cli/demo-tour.ts'
import { LakeError } from '../../src/error.ts'
import { tableCodes } from '../../src/ingest/pipeline.ts'
import { startReplay } from '../../src/replay-handle.ts'
import type { ReplayDifference } from '../../src/replay-status.ts'
import { DIFFERENCE, FakeReplays } from '../support/fake-replays.ts'

const FIGURES = '240 rows of 6000 orders, revenue 12.50'

/** What the changed definition makes of the window. */
const FOUND: ReplayDifference = {
  ...DIFFERENCE,
  tables: [
    {
      ...DIFFERENCE.tables[1]!,
      table: DEMO_WINDOW,
      columns: { added: ['average'], removed: [], retyped: [] },
      rowsBefore: '240',
      rowsAfter: '240',
      added: '0',
      removed: '0',
      changed: '60',
    },
    { ...DIFFERENCE.tables[0]!, table: `${DEMO_WINDOW}__late` },
  ],
}

interface Played {
  readonly difference?: ReplayDifference
  readonly rebuilt?: readonly string[]
  readonly averages?: string
  /** What the window holds, at first and after the cut-over and the roll back. */
  readonly figures?: readonly string[]
  readonly old?: string
}

/** Two lakes over one store, as far as the tour sees them. */
function play({
  difference = FOUND,
  rebuilt = [DEMO_WINDOW],
  averages = '240',
  figures = [],
  old = 'superseded',
}: Played) {
  let [now, looked] = [0, 0]
  const clock: Clock = { ...systemClock, monotonicMs: () => now, sleep: async (ms) => void (now += ms) }
  const replays = new FakeReplays()
  const states = { old: 'running', changed: 'superseded' }
  const said: string[] = []
  let closed = 0
  replays.onOrder = ({ id }, { kind }) => {
    const isOver = kind === 'cutover'
    replays.phase(id, isOver ? 'cut-over' : 'rolled-back')
    replays.put({ id, state: 'done', cutover: { version: '20', before: '19' } })
    states.changed = isOver ? 'running' : 'superseded'
    states.old = isOver ? old : 'running'
  }
  const lakeOf = (name: keyof typeof states) => ({
    pipelines: [{ status: () => ({ state: states[name], reason: undefined }) }],
    sql: async (text: string) =>
      text.includes('average') ? [{ n: averages }] : [{ text: figures[looked++] ?? FIGURES }],
    replay: async (pipeline: string) => {
      const replay = await startReplay(replays, clock, pipeline)
      replays.put({ id: replay.id, rebuilt })
      replays.differences.set(replay.id, difference)
      setImmediate(() => {
        replays.phase(replay.id, 'rebuilding')
        replays.put({ id: replay.id, difference: { id: difference.id, isEqual: difference.isEqual } })
        replays.phase(replay.id, 'ready', { percent: 100 })
      })
      return replay
    },
    close: async () => void closed++,
  })
  const options = {
    lake: lakeOf('old'),
    openChanged: async () => lakeOf('changed'),
    say: (line: string) => void said.push(line),
    clock,
    signal: new AbortController().signal,
    isStill: true,
  } as unknown as TourOptions
  return { options, said, orders: replays.orders, closed: () => closed }
}

describe('the tour', () => {
  test('goes from the change to the roll back', async () => {
    const { options, said, orders, closed } = play({})
    const steps = await runTour(options)
    expect(steps.map(({ step, ok }) => [step, ok])).toEqual([
      ['change', true],
      ['replay', true],
      ['difference', true],
      ['cutover', true],
      ['rollback', true],
    ])
    expect(orders.map(({ order }) => order)).toEqual([{ kind: 'cutover', approve: FOUND.id }, { kind: 'rollback' }])
    expect(closed()).toBe(1)
    expect(said.join('\n')).toMatchInlineSnapshot(`
      "tour: revenue_1m is changed: revenue without cancelled orders, and an average
      ✓ the new definition waits beside the old one: superseded
        ready 100 %
      ✓ rebuilt revenue_1m from 18014398509481986 offsets beside version 12, shared orders
      ✓ difference d1ff0000: revenue_1m: column average is new, of 240 rows 0 added, 0 removed, 60 changed
      ✓ version 20 has the new window, with 240 averages; the old process is superseded
      ✓ rolled back: the old process is running, its window holds 240 rows of 6000 orders, revenue 12.50"
    `)
  })

  const [window, late] = FOUND.tables
  const different = (change: Partial<typeof window>) => ({ ...FOUND, tables: [{ ...window!, ...change }, late!] })
  test.each<[string, Played, string]>([
    ['nothing differs', { difference: { ...FOUND, isEqual: true } }, 'difference'],
    ['no row differs', { difference: different({ changed: '0' }) }, 'difference'],
    ['rows are missing', { difference: different({ removed: '1', rowsAfter: '239' }) }, 'difference'],
    [
      'another column is gone',
      { difference: different({ columns: { added: ['average'], removed: ['n'], retyped: [] } }) },
      'difference',
    ],
    [
      'another table differs',
      { difference: { ...FOUND, tables: [window!, { ...late!, kind: 'different' }] } },
      'difference',
    ],
    ['more was rebuilt than was changed', { rebuilt: ['orders', DEMO_WINDOW] }, 'replay'],
    ['the new column is empty', { averages: '0' }, 'cutover'],
    ['the old process goes on writing', { old: 'running' }, 'cutover'],
    ['what did not change did', { figures: [FIGURES, 'other'] }, 'cutover'],
    ['it is not what it was', { figures: [FIGURES, FIGURES, 'other'] }, 'rollback'],
  ])('ends where %s', async (_, played, step) => {
    const { options, closed } = play(played)
    const steps = await runTour(options)
    expect(steps.at(-1)).toMatchObject({ step, ok: false })
    expect(steps.slice(0, -1).every(({ ok }) => ok)).toBe(true)
    expect(closed()).toBe(1)
  })

  test('says what went wrong, as a step that did', async () => {
    const { options, closed } = play({})
    const { openChanged } = options
    const steps = await runTour({
      ...options,
      openChanged: async () => ({
        ...(await openChanged()),
        replay: async () => {
          throw new LakeError('replay.running', 'another one is there')
        },
      }),
    })
    expect(steps.at(-1)).toEqual({ step: 'replay', ok: false, found: 'replay.running: another one is there' })
    expect([steps.length, closed()]).toEqual([2, 1])
  })

  test('ended in the middle it says nothing of what it did not see', async () => {
    const ending = new AbortController()
    const { options, said } = play({})
    const { openChanged } = options
    const steps = await runTour({
      ...options,
      isStill: false,
      signal: ending.signal,
      openChanged: async () => {
        ending.abort()
        return openChanged()
      },
    })
    expect([steps, said.length]).toEqual([[], 1])
  })

  test('while events come in, figures move', async () => {
    const { options } = play({ figures: [FIGURES, 'more', 'still more'] })
    expect((await runTour({ ...options, isStill: false })).map(({ ok }) => ok)).toEqual([true, true, true, true, true])
  })
})

test('one window is all that the two definitions differ in', () => {
  const codes = [demoDefinition, changedDefinition].map(({ pipelines }) => tableCodes(pipelines[0]!))
  const differing = [...codes[0]!].filter(([name, code]) => codes[1]!.get(name) !== code).map(([name]) => name)
  expect([differing, codes[1]!.size]).toEqual([[DEMO_WINDOW], codes[0]!.size])
})
