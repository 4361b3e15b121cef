import type { PartitionId } from '../../src/log.ts'
import type { Version } from '../../src/version.ts'
import { atOf, type Fail, type TableWatch } from './check-tables.ts'
import { cellsOf, WindowWatch } from './check-windows.ts'
import type { SimTable, SimWindow } from './plan.ts'
import type { SimRow } from './row-encoder.ts'
import { lateRow } from './row-operations.ts'
import { cellOfRow, groupOfRow, isLate, spanOf, type Cell } from './window-rules.ts'

/** What one record did to the rows of a keyed table, in the order of its partition. */
export interface RowStep {
  readonly id: PartitionId
  /** Rows that it took away and those that it brought; of a truncation all, otherwise one of each at most. */
  readonly changes: readonly { readonly before: SimRow | undefined; readonly after: SimRow | undefined }[]
  /** Its event time, when it moves the clock. */
  readonly movesToMs: number | undefined
}

/**
 * A window over the rows of a keyed table, computed anew at every version: which halves are late follows from the log
 * alone (rules A2, L2), and the window is what SQL over the rows comes to, less what is late times its weight.
 */
export class RowsWindow {
  readonly #window: SimWindow
  readonly #watch: WindowWatch
  readonly #clocks = new Map<PartitionId, number>()
  readonly #late = new Map<string, SimRow>()

  constructor(window: SimWindow, table: SimTable, fail: Fail, isSteady: boolean) {
    this.#window = window
    this.#watch = new WindowWatch(window, table, fail, isSteady)
  }

  /** `rows` are those that live in the table. */
  async step(version: Version, steps: readonly RowStep[], rows: Iterable<SimRow>, tables: TableWatch): Promise<void> {
    for (const step of steps) this.#take(step)
    const events = this.#counted(rows)
    const cells = cellsOf(this.#window, events).map((cell) => this.#shown(cell))
    // Of sessions each instant is held (rule N4).
    const state = this.#window.kind === 'session' ? this.#instants(events) : cells
    const clockMs = Math.max(...this.#clocks.values())
    await this.#watch.step(version, tables, { cells, state, late: this.#late.keys(), clockMs })
  }

  #take({ id, changes, movesToMs }: RowStep): void {
    const clockMs = this.#clocks.get(id)
    for (const { before, after } of changes) {
      if (before !== undefined && after !== undefined && placeOf(before) === placeOf(after)) continue
      if (before !== undefined) this.#judge(before, -1, clockMs)
      if (after !== undefined) this.#judge(after, 1, clockMs)
    }
    if (movesToMs !== undefined) this.#clocks.set(id, Math.max(clockMs ?? -Infinity, movesToMs))
  }

  #judge(row: SimRow, weight: 1 | -1, clockMs: number | undefined): void {
    const span = spanOf(this.#window, groupOf(row), row.at!)
    if (!isLate(this.#window, span, clockMs)) return
    const late = lateRow({ ...row, a: row.a ?? null, atMs: row.at! }, weight)
    this.#late.set(atOf(late), late)
  }

  /** Event times that count, by group: those of the rows, without late ones, and with what was not taken back. */
  #counted(rows: Iterable<SimRow>): ReadonlyMap<string, readonly number[]> {
    const weights = new Map<string, Map<number, number>>()
    const add = (row: SimRow, weight: number) => {
      const of = weights.get(groupOf(row)) ?? new Map<number, number>()
      weights.set(groupOf(row), of.set(row.at!, (of.get(row.at!) ?? 0) + weight))
    }
    for (const row of rows) add(row, 1)
    for (const row of this.#late.values()) add(row, -row.n!)
    return new Map([...weights].map(([g, of]) => [g, [...of].flatMap(([t, n]) => Array<number>(n).fill(t))]))
  }

  #shown(cell: Cell): Cell {
    return this.#window.kind === 'session' ? cell : cellOfRow(this.#window, cell, cell.count)
  }

  #instants(events: ReadonlyMap<string, readonly number[]>): Cell[] {
    return [...events].flatMap(([g, times]) =>
      [...new Set(times)].map((t) => {
        const count = times.filter((each) => each === t).length
        return cellOfRow(this.#window, spanOf(this.#window, g, t), count)
      }),
    )
  }
}

function groupOf({ a }: SimRow): string {
  return groupOfRow({ a: a ?? null })
}

/** All that the window sees of a row. */
function placeOf(row: SimRow): string {
  return `${groupOf(row)} ${row.at}`
}
