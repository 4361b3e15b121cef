import { lateTable, stateTable } from '../../src/define-window.ts'
import type { PartitionId } from '../../src/log.ts'
import type { Version } from '../../src/version.ts'
import type { Fail, TableWatch } from './check-tables.ts'
import type { SimTable, SimWindow } from './plan.ts'
import type { SimRow } from './row-encoder.ts'
import type { CellRow, ResultRow } from './window-fold.ts'
import { groupOf, isFinal, isLate, spanOf, type Cell, type Span } from './window-rules.ts'

/** A row of the source as the log has it. */
export interface SourceRow {
  readonly id: PartitionId
  readonly offset: bigint
  readonly v: string
  readonly atMs: number
}

/** What the tables of a window must hold at a version, and the newest clock of the source's partitions. */
export interface WantedWindow {
  readonly cells: readonly Cell[]
  readonly state: readonly Cell[]
  readonly late: Iterable<string>
  readonly clockMs: number
}

/** The tables of one window, from version to version, against what they must hold. */
export class WindowWatch {
  readonly #window: SimWindow
  readonly #table: SimTable
  readonly #fail: Fail
  readonly #isSteady: boolean
  readonly #found = { results: [] as readonly ResultRow[], state: [] as readonly CellRow[] }
  #listed: readonly string[] = []
  #watermarkMs: number | undefined

  /** `isSteady`: no partition is idle or comes later than others. */
  constructor(window: SimWindow, table: SimTable, fail: Fail, isSteady: boolean) {
    this.#window = window
    this.#table = table
    this.#fail = fail
    this.#isSteady = isSteady
  }

  async step(version: Version, tables: TableWatch, wanted: WantedWindow): Promise<void> {
    const { name } = this.#window
    const what = `v${version.number} of ${name}`
    const [results, state, late] = [
      await tables.step(version, name),
      await tables.step(version, stateTable(name)),
      await tables.step(version, lateTable(name)),
    ]
    if (results.live !== undefined) {
      const before = this.#found.results
      this.#found.results = (await results.live()) as readonly ResultRow[]
      this.#checkCorrections(what, before, this.#found.results)
    }
    if (state.live !== undefined) this.#found.state = (await state.live()) as readonly CellRow[]
    if (late.live !== undefined) this.#listed = (await late.live()).map(({ p, o }: SimRow) => `${p}@${o}`)
    if (late.lost.length > 0) this.#fail('E5', `${what}: ${late.lost.join()} is no longer listed as late`)
    const watermarkMs = version.watermarksMs[this.#table.name]
    this.#compare('A1', what, this.#found.results.map(cellText), wanted.cells.map(cellText))
    this.#compare('K4', `${what}, state`, this.#found.state.map(cellText), wanted.state.map(cellText))
    this.#compare('L2', `${what}, late`, this.#listed, [...wanted.late])
    for (const row of this.#found.results)
      if (row.isFinal !== isFinal(this.#window, row.end, watermarkMs))
        this.#fail('C2', `${what}: ${cellText(row)} is ${row.isFinal ? '' : 'not '}final at ${watermarkMs}`)
    if (this.#watermarkMs !== undefined && !(watermarkMs! >= this.#watermarkMs))
      this.#fail('C9', `${what} takes the watermark from ${this.#watermarkMs} back to ${watermarkMs}`)
    this.#watermarkMs = watermarkMs
    const newest = wanted.clockMs - this.#window.boundMs - 1
    if (watermarkMs !== undefined && !(watermarkMs <= newest))
      this.#fail('C1', `${what} has the watermark ${watermarkMs}, where no clock is beyond ${newest}`)
  }

  /** Rule C5: how often a row changed in a version after one in which it was final; of sessions, which merge, not told. */
  #checkCorrections(what: string, before: readonly ResultRow[], now: readonly ResultRow[]): void {
    if (this.#window.kind === 'session') return
    const known = new Map(before.map((row) => [`${row.g} ${row.start}`, row]))
    for (const row of now) {
      const was = known.get(`${row.g} ${row.start}`)
      const isCorrected = was !== undefined && was.isFinal && cellText(was) !== cellText(row)
      const wanted = (was?.corrections ?? 0) + Number(isCorrected)
      if (row.corrections !== wanted)
        this.#fail('C5', `${what}: ${cellText(row)} says ${row.corrections} corrections, there were ${wanted}`)
      if (this.#isSteady && row.corrections > 0)
        this.#fail('C5', `${what}: ${cellText(row)} was corrected, though no partition was idle or new`)
    }
  }

  #compare(rule: string, what: string, found: readonly string[], wanted: readonly string[]): void {
    const [there, due] = [new Set(found), new Set(wanted)]
    if (there.size !== found.length) this.#fail(rule, `${what}: a row is there twice`)
    for (const row of due) if (!there.has(row)) this.#fail(rule, `${what}: ${row} is missing`)
    for (const row of there) if (!due.has(row)) this.#fail(rule, `${what}: ${row} is there, by the log it is not`)
  }
}

/**
 * A window over the events of a table, computed anew from the rows that the table was given: what is late, what counts,
 * what is final. At every version the window table, its state and its late table must say the same.
 */
export class EventsWindow {
  readonly #window: SimWindow
  readonly #watch: WindowWatch
  readonly #clocks = new Map<PartitionId, number>()
  readonly #events = new Map<string, number[]>()
  readonly #late = new Set<string>()

  constructor(window: SimWindow, table: SimTable, fail: Fail, isSteady: boolean) {
    this.#window = window
    this.#watch = new WindowWatch(window, table, fail, isSteady)
  }

  /** `rows` are those that the version added to the source, those of a partition in their order. */
  async step(version: Version, rows: readonly SourceRow[], tables: TableWatch): Promise<void> {
    for (const row of rows) this.#take(row)
    const cells = cellsOf(this.#window, this.#events)
    const clockMs = Math.max(...this.#clocks.values())
    await this.#watch.step(version, tables, { cells, state: cells, late: this.#late, clockMs })
  }

  #take({ id, offset, v, atMs }: SourceRow): void {
    const clockMs = this.#clocks.get(id)
    this.#clocks.set(id, Math.max(clockMs ?? -Infinity, atMs))
    const g = groupOf(v)
    if (isLate(this.#window, spanOf(this.#window, g, atMs), clockMs)) {
      this.#late.add(`${id.slice(id.lastIndexOf('/') + 1)}@${offset}`)
      return
    }
    const of = this.#events.get(g) ?? []
    this.#events.set(g, of)
    of.push(atMs)
  }
}

/** By group, one event time after the other: what is not further apart than the gap is a session (rule N1). */
export function cellsOf(window: SimWindow, events: ReadonlyMap<string, readonly number[]>): Cell[] {
  const cells: Cell[] = []
  const isOpen = (open: Span, span: Span): boolean =>
    window.kind === 'session' ? open.end >= span.start : open.start === span.start
  for (const [g, times] of events) {
    let open: Cell | undefined
    for (const atMs of times.toSorted((a, b) => a - b)) {
      const span = spanOf(window, g, atMs)
      if (open !== undefined && isOpen(open, span)) {
        open = { ...open, end: span.end, count: open.count + 1, last: atMs }
        continue
      }
      if (open !== undefined) cells.push(open)
      open = { ...span, count: 1, last: atMs }
    }
    if (open !== undefined) cells.push(open)
  }
  return cells
}

function cellText({ g, start, end, count, last }: Cell): string {
  return `${g} [${start}, ${end}) n=${count} last ${last}`
}
