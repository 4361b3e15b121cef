import type { Mutation } from '../support/mutated-bundle.ts'

/** A bug put into production code while it is bundled: the property over windows must then fail. */
export interface WindowPlant {
  readonly name: string
  /** The rule that it breaks. */
  readonly rule: string
  readonly mutations: readonly Mutation[]
}

const RECORD_CLOCK = 'src/ingest/decode/record-clock.ts'
const WATERMARK = 'src/ingest/watermark.ts'
const WINDOWS = 'src/ingest/windows.ts'
const ASSIGN = 'src/ingest/window/assign.ts'
const OPEN_WINDOW = 'src/ingest/window/open-window.ts'
const FOLD_WINDOWS = 'src/ingest/window/fold-windows.ts'

const CLOCK_OF_A_ROW = 'if (lane !== undefined && moving.clock !== -Infinity) setLong(lane.clock, row, moving.clock)'
const CHANGE_OF_ROWS = 'return this.#live.get(table)?.rows.change()'
const NO_CHANGE = `{ kind: 'write', added: [], deletes: [], removed: [] } satisfies TableChange`

export const windowPlants: readonly WindowPlant[] = [
  {
    name: 'lateness-once-per-batch',
    rule: 'L1: a record is judged by the clock before it, not by that before its batch',
    mutations: [
      {
        file: RECORD_CLOCK,
        text: CLOCK_OF_A_ROW,
        replacement: `const before = clocksMs[moving.id]
        if (lane !== undefined && before !== undefined) setLong(lane.clock, row, before)`,
      },
    ],
  },
  {
    name: 'lateness-at-the-end-of-the-batch',
    rule: 'L1: what comes after a record does not make it late',
    mutations: [
      {
        file: RECORD_CLOCK,
        text: 'for (const { id, own, futureEvents } of clocks.values()) {',
        replacement: `const lanes = slabs.map((slab) => (this.#lane < 0 ? undefined : this.#laneOf(slab)))
    for (const [k, slab] of slabs.entries())
      for (let row = 0; row < slab.rows; row++) {
        const { clock } = clocks.get(viewOf(slab, slab.columns[this.#partition]!).i32[row]!)!
        if (lanes[k] !== undefined && clock !== -Infinity) setLong(lanes[k].clock, row, clock)
      }
    for (const { id, own, futureEvents } of clocks.values()) {`,
      },
    ],
  },
  {
    name: 'merged-clock',
    rule: 'L4: the largest clock of all partitions decides in place of the own one',
    mutations: [
      {
        file: RECORD_CLOCK,
        text: CLOCK_OF_A_ROW,
        replacement: `const merged = Math.max(...Object.values(clocksMs), ...[...clocks.values()].map(({ clock }) => clock))
        if (lane !== undefined && merged !== -Infinity) setLong(lane.clock, row, merged)`,
      },
    ],
  },
  {
    name: 'closed-by-the-wall-clock',
    rule: 'C2: a window is final when the time of its end has come for us',
    mutations: [
      {
        file: OPEN_WINDOW,
        text: 'plus(watermarkMs, instantMs - allowedLatenessMs)',
        replacement: 'plus(this.#clock.nowMs(), instantMs - allowedLatenessMs)',
      },
    ],
  },
  {
    name: 'watermark-of-the-wall-clock',
    rule: 'C1: the watermark goes on with our clock',
    mutations: [
      {
        file: WATERMARK,
        text: 'Math.max(before ?? -Infinity, least - outOfOrdernessMs - 1)',
        replacement: 'this.#clock.nowMs() - outOfOrdernessMs - 1',
      },
    ],
  },
  {
    name: 'state-left-out',
    rule: 'a version has the results of a fold and not its state',
    mutations: [
      {
        file: WINDOWS,
        text: CHANGE_OF_ROWS,
        replacement: `const live = this.#live.get(table)
    return live?.of === 'state' ? ${NO_CHANGE} : live?.rows.change()`,
      },
    ],
  },
  {
    name: 'state-of-results-alone',
    rule: 'a version has the state of a fold only when that wrote results',
    mutations: [
      {
        file: WINDOWS,
        text: CHANGE_OF_ROWS,
        replacement: `const live = this.#live.get(table)
    const results = live === undefined ? undefined : this.#windows.get(live.window)!.results.change()
    const isWritten = results?.kind === 'write' && results.added.length > 0
    return live?.of === 'state' && !isWritten ? ${NO_CHANGE} : live?.rows.change()`,
      },
    ],
  },
  {
    name: 'state-one-version-later',
    rule: 'the state of a fold is in the version after that of its results',
    mutations: [
      {
        file: WINDOWS,
        text: CHANGE_OF_ROWS,
        replacement: `const live = this.#live.get(table)
    if (live?.of !== 'state') return live?.rows.change()
    const held = this as unknown as { later?: Map<string, TableChange> }
    const before = (held.later ??= new Map()).get(table)
    held.later.set(table, live.rows.change())
    return before ?? ${NO_CHANGE}`,
      },
    ],
  },
  {
    name: 'slice-without-min-end',
    rule: 'S2: a record leaks into windows that it is late for',
    mutations: [
      {
        file: ASSIGN,
        text: 'CASE WHEN __late > 0 THEN __first_end + __late * ${kind.slideMs} END AS ${MIN_END}',
        replacement: 'CAST(NULL AS BIGINT) AS ${MIN_END}',
      },
    ],
  },
  {
    name: 'min-end-not-asked',
    rule: 'S2: a final window is put together from slices that do not count for it',
    mutations: [
      {
        file: FOLD_WINDOWS,
        text: 'return `(${MIN_END} IS NULL OR ${MIN_END} <= ${end})`',
        replacement: "return end === '' ? '' : 'true'",
      },
    ],
  },
]
