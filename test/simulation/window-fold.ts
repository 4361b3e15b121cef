import { LakeError } from '../../src/error.ts'
import type { ConcatenateInput } from '../../src/ingest/keys.ts'
import type {
  FoldedWindow,
  FoldRequest,
  StoredRows,
  StoredWindow,
  TableDelta,
  WindowFold,
} from '../../src/ingest/window/window.ts'
import type { Storage } from '../../src/lake/storage/storage.ts'
import { DeletedRank, type DataFile, type WritePlan } from '../../src/lake/table.ts'
import type { SimTable, SimWindow } from './plan.ts'
import type { SimProcess } from './process.ts'
import type { SimRow } from './row-encoder.ts'
import { storedRows, writeRows } from './row-files.ts'
import { OldRows, readOperations } from './row-operations.ts'
import { isFinal, type Cell } from './window-rules.ts'

/** A row of a window table or of its state: `o` is like no other's. */
export interface CellRow extends SimRow, Cell {}

export interface ResultRow extends CellRow {
  readonly isFinal: boolean
  readonly corrections: number
}

interface WindowOf {
  readonly window: SimWindow
  readonly table: SimTable
}

interface Place {
  key: string
  row: number
}

interface Stored<R> {
  readonly row: R
  readonly at: Place
}

/** What is open of one window: cells, the rows that the tables have of them, and of a window over rows their old values. */
interface Open {
  cells: Map<string, Cell>
  readonly state: Map<string, Stored<CellRow>>
  readonly results: Map<string, Stored<ResultRow>>
  readonly old: OldRows
}

/**
 * The fold in plain code over rows in JSON: what is simulated is how its answers get into versions, and how it gets back
 * what they say. Keeps what is settled.
 */
export class SimFold implements WindowFold {
  readonly #process: SimProcess
  readonly #storage: Storage
  readonly #windows: ReadonlyMap<string, WindowOf>
  readonly #open = new Map<string, Open>()

  constructor(process: SimProcess, storage: Storage, tables: readonly SimTable[]) {
    this.#process = process
    this.#storage = storage
    this.#windows = new Map(
      tables.flatMap((table) => table.windows.map((window) => [window.name, { window, table }] as const)),
    )
  }

  async load(window: string, stored: StoredWindow): Promise<void> {
    const state = await this.#read<CellRow>(stored.state)
    const results = await this.#read<ResultRow>(stored.results)
    const cells = new Map([...state].map(([key, { row }]) => [key, cellOf(row)]))
    const { window: definition, table } = this.#windows.get(window)!
    const old = new OldRows(definition, table.keyed?.isVersioned === true)
    if (stored.source !== undefined)
      old.load(await this.#live(stored.source.rows), await this.#live(stored.source.deletes?.rows ?? []))
    this.#open.set(window, { cells, state, results, old })
  }

  async fold(window: string, request: FoldRequest): Promise<FoldedWindow> {
    if (this.#process.happens('W1', 'fold'))
      throw new LakeError('window.fold_failed', 'the fold is gone', { retryable: true })
    const { window: definition } = this.#windows.get(window)!
    const open = this.#open.get(window)!
    const isOfRows = definition.input === 'rows'
    const { cells: came, late } = isOfRows
      ? open.old.take(request.partials.flatMap(readOperations))
      : { cells: request.partials.flatMap(readPartials), late: [] }
    const all = [...open.cells.values(), ...came]
    const isSession = definition.kind === 'session'
    // Of rows a session may fall apart again: what is held is each instant with its net weight (rule N4).
    const cells = summed(isSession && !isOfRows ? joined(all) : all)
    const shown = isSession && isOfRows ? summed(joined([...cells.values()])) : cells
    for (const cell of cells.values()) if (cell.count < 0) throw negative(definition, cell)
    open.cells = cells
    let corrected = 0
    const results = new Map<string, Omit<ResultRow, keyof SimRow>>()
    for (const [key, cell] of shown) {
      // Of a session what it took in is corrected too.
      const before = [...open.results.values()].filter(({ row }) => row.g === cell.g && overlap(row, cell))
      const wasFinal = before.some(({ row }) => row.isFinal)
      const isChanged = before.length !== 1 || !sameCell(before[0]!.row, cell)
      const was = Math.max(0, ...before.map(({ row }) => row.corrections + (row.isFinal && isChanged ? 1 : 0)))
      if (wasFinal && isChanged) corrected++
      results.set(key, { ...cell, isFinal: isFinal(definition, cell.end, request.watermarkMs), corrections: was })
    }
    return {
      results: await this.#write(request.results, open.results, results, sameResult),
      state: await this.#write(request.state, open.state, cells, sameCell),
      lateFiles: late.length === 0 ? [] : [await writeRows(this.#process, this.#storage, request.late, late)],
      late: late.length,
      lateAssignments: late.length,
      failed: 0,
      corrected,
      retractOfUnknown: 0,
      openRows: cells.size,
      stateBytes: 0,
    }
  }

  async moved(
    window: string,
    table: 'results' | 'state',
    inputs: readonly ConcatenateInput[],
    output: DataFile | undefined,
  ): Promise<void> {
    let base = 0
    const moves = new Map<string, (row: number) => number>()
    for (const { file, deleted } of inputs) {
      const [rank, from] = [new DeletedRank(deleted), base]
      moves.set(file.key, (row) => from + row - rank.rank(row))
      base += file.recordCount - deleted.count
    }
    for (const { at } of this.#open.get(window)![table].values()) {
      const move = moves.get(at.key)
      if (move !== undefined) Object.assign(at, { key: output!.key, row: move(at.row) })
    }
  }

  discard(): Promise<void> {
    return Promise.resolve()
  }

  close(): Promise<void> {
    return Promise.resolve()
  }

  /** Brings `stored` up to what should be there: rows that differ are written, what they replace is superseded. */
  async #write<C extends Cell, R extends CellRow & C>(
    plan: WritePlan,
    stored: Map<string, Stored<R>>,
    wanted: ReadonlyMap<string, C>,
    isSame: (a: C, b: C) => boolean,
  ): Promise<TableDelta> {
    const superseded = new Map<string, number[]>()
    for (const [key, { row, at }] of stored) {
      const next = wanted.get(key)
      if (next !== undefined && isSame(row, next)) continue
      stored.delete(key)
      superseded.set(at.key, [...(superseded.get(at.key) ?? []), at.row])
    }
    const fresh = [...wanted].filter(([key]) => !stored.has(key))
    const rows = fresh.map(([, cell]) => ({ ...cell, p: -1, o: this.#process.clock.uuid(), v: '' }) as unknown as R)
    const files = rows.length === 0 ? [] : [await writeRows(this.#process, this.#storage, plan, rows)]
    for (const [k, [key]] of fresh.entries()) stored.set(key, { row: rows[k]!, at: { key: files[0]!.key, row: k } })
    return {
      files,
      superseded: [...superseded].map(([key, list]) => ({
        key,
        rows: Uint32Array.from(list.toSorted((a, b) => a - b)),
      })),
    }
  }

  async #live(stored: readonly StoredRows[]): Promise<SimRow[]> {
    const live: SimRow[] = []
    for (const { file, deleted } of stored)
      live.push(...(await storedRows(this.#storage, file.key)).filter((_, row) => !deleted.has(row)))
    return live
  }

  async #read<R extends CellRow>(stored: readonly StoredRows[]): Promise<Map<string, Stored<R>>> {
    const found = new Map<string, Stored<R>>()
    for (const { file, deleted } of stored) {
      for (const [row, each] of (await storedRows<R>(this.#storage, file.key)).entries())
        if (!deleted.has(row)) found.set(keyOf(each), { row: each, at: { key: file.key, row } })
    }
    return found
  }
}

/** What lanes hand over: no file, so that nothing waits for a disk. */
export function writePartials(cells: readonly Cell[]): string | undefined {
  return cells.length === 0 ? undefined : JSON.stringify(cells)
}

function readPartials(text: string): readonly Cell[] {
  return JSON.parse(text) as Cell[]
}

/** Rule N2: what touches is one session. */
function joined(cells: readonly Cell[]): Cell[] {
  const sessions: Cell[] = []
  for (const cell of cells.toSorted((a, b) => a.start - b.start)) {
    const at = sessions.findLastIndex(({ g }) => g === cell.g)
    const before = sessions[at]
    if (before === undefined || before.end < cell.start) sessions.push(cell)
    else
      sessions[at] = {
        ...before,
        end: Math.max(before.end, cell.end),
        count: before.count + cell.count,
        last: Math.max(before.last, cell.last),
      }
  }
  return sessions
}

/** Cells of one place as one, without those of which nothing is left. */
function summed(all: readonly Cell[]): Map<string, Cell> {
  const cells = new Map<string, Cell>()
  for (const cell of all) {
    const before = cells.get(keyOf(cell))
    const sum = before && { count: before.count + cell.count, last: Math.max(before.last, cell.last) }
    cells.set(keyOf(cell), { ...cell, ...sum })
  }
  for (const [key, { count }] of cells) if (count === 0) cells.delete(key)
  return cells
}

function negative({ name }: SimWindow, { g, start }: Cell): LakeError {
  return new LakeError('aggregate.negative_count', `${name}: more of ${g} [${start} was taken back than counted`)
}

function cellOf({ g, start, end, count, last }: CellRow): Cell {
  return { g, start, end, count, last }
}

function keyOf({ g, start }: Cell): string {
  return `${g} ${start}`
}

function overlap(a: Cell, b: Cell): boolean {
  return a.start < b.end && b.start < a.end
}

function sameCell(a: Cell, b: Cell): boolean {
  return a.g === b.g && a.start === b.start && a.end === b.end && a.count === b.count && a.last === b.last
}

type Result = Omit<ResultRow, keyof SimRow>

function sameResult(a: Result, b: Result): boolean {
  return sameCell(a, b) && a.isFinal === b.isFinal && a.corrections === b.corrections
}
