import type { SimWindow } from './plan.ts'
import type { SimRow } from './row-encoder.ts'
import { cellOfRow, groupOfRow, isLate, spanOf, type Cell } from './window-rules.ts'

/** What one record does to the row of its key, as a lane hands it over for a window over rows. */
export interface RowOperation {
  /** A tombstone is a delete without a version. */
  readonly kind: 'upsert' | 'delete' | 'tombstone' | 'truncate'
  readonly p: number
  readonly o: string
  readonly k: string
  readonly n: number
  /** Absent: as it was. */
  readonly a?: string | null
  readonly atMs: number
  /** M_p before the record. */
  readonly clockMs: number | undefined
}

/** What a fold holds of a key: its row as the window sees it, or that it was deleted at a version. */
interface OldRow {
  readonly n: number
  readonly p: number
  readonly o: string
  readonly a: string | null
  readonly atMs: number
  readonly isAlive: boolean
}

/** What operations come to: signed cells, and rows of the late table. */
export interface Halves {
  readonly cells: readonly Cell[]
  readonly late: readonly SimRow[]
}

/** Rules A1 and A2 in plain code: each change of a row takes its old values back and counts the new ones. */
export class OldRows {
  readonly #window: SimWindow
  readonly #isVersioned: boolean
  readonly #rows = new Map<string, OldRow>()
  #cells: Cell[] = []
  #late: SimRow[] = []

  constructor(window: SimWindow, isVersioned: boolean) {
    this.#window = window
    this.#isVersioned = isVersioned
  }

  load(rows: readonly SimRow[], deletes: readonly SimRow[]): void {
    for (const { p, o, k, n, a, at } of rows)
      this.#rows.set(k!, { n: n ?? 0, p, o, a: a ?? null, atMs: at!, isAlive: true })
    for (const { p, o, k, n } of deletes) {
      const known = this.#rows.get(k!)
      if (known === undefined || (!known.isAlive && known.n < n!))
        this.#rows.set(k!, { n: n!, p, o, a: null, atMs: 0, isAlive: false })
    }
  }

  take(operations: readonly RowOperation[]): Halves {
    this.#cells = []
    this.#late = []
    for (const operation of operations) this.#apply(operation)
    return { cells: this.#cells, late: this.#late }
  }

  #apply(operation: RowOperation): void {
    const { kind, k, n, p, o, clockMs, atMs } = operation
    if (kind === 'truncate') {
      for (const row of this.#rows.values()) this.#change(row, undefined, clockMs)
      this.#rows.clear()
      return
    }
    const old = this.#rows.get(k)
    if (this.#isVersioned && kind !== 'tombstone' && old !== undefined && old.n > n) return
    if (kind !== 'upsert') {
      this.#change(old, undefined, clockMs)
      if (!this.#isVersioned) this.#rows.delete(k)
      else if (old !== undefined) this.#rows.set(k, { ...old, n: kind === 'delete' ? n : old.n, isAlive: false })
      else if (kind === 'delete') this.#rows.set(k, { n, p, o, a: null, atMs: 0, isAlive: false })
      return
    }
    const a = operation.a === undefined ? (old?.a ?? null) : operation.a
    const next = { n, p, o, a, atMs, isAlive: true }
    this.#change(old, next, clockMs)
    this.#rows.set(k, next)
  }

  /** Nothing when the window sees no difference. */
  #change(old: OldRow | undefined, next: OldRow | undefined, clockMs: number | undefined): void {
    const was = old?.isAlive === true ? old : undefined
    if (was !== undefined && next !== undefined && was.atMs === next.atMs && groupOfRow(was) === groupOfRow(next))
      return
    if (was !== undefined) this.#half(was, -1, clockMs)
    if (next !== undefined) this.#half(next, 1, clockMs)
  }

  #half(row: OldRow, weight: 1 | -1, clockMs: number | undefined): void {
    const span = spanOf(this.#window, groupOfRow(row), row.atMs)
    if (isLate(this.#window, span, clockMs)) this.#late.push(lateRow(row, weight))
    else this.#cells.push(cellOfRow(this.#window, span, weight))
  }
}

/** A row of the late table: a row may be listed twice, when it was not counted and when it was not taken back. */
export function lateRow({ p, o, a, atMs }: Pick<OldRow, 'p' | 'o' | 'a' | 'atMs'>, weight: 1 | -1): SimRow {
  return { p, o: `${o} ${weight}`, v: '', a, at: atMs, n: weight }
}

/** As a local file: what a lane stages. */
export function writeOperations(operations: readonly RowOperation[]): string | undefined {
  return operations.length === 0 ? undefined : JSON.stringify(operations)
}

export function readOperations(text: string): readonly RowOperation[] {
  return JSON.parse(text) as RowOperation[]
}
