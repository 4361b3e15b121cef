import { lateTable, stateTable, type WindowDefinition } from '../define-window.ts'
import type { LakeEvent } from '../event.ts'
import { writePlan, type DataFile, type WritePlan } from '../lake/table.ts'
import { storedWindow } from '../window-property.ts'
import type { Tables } from './tables.ts'
import type { Times } from './watermark.ts'
import { LiveRows } from './window/live-rows.ts'
import type { FoldedWindow, HeadTables, StagedWindow, StoredRows, WindowFold } from './window/window.ts'

interface WindowStanding {
  readonly results: readonly StoredRows[]
  readonly state: readonly StoredRows[]
  readonly times: Times
  readonly hasSource: boolean
}

/** One window table between two commits. */
export class WindowTable {
  readonly definition: WindowDefinition
  readonly late: string
  readonly results: LiveRows
  readonly state: LiveRows
  readonly #plans: { readonly results: WritePlan; readonly state: WritePlan; readonly late: WritePlan }
  partials: string[] = []
  lateFiles: DataFile[] = []
  #late = 0
  #lateAssignments = 0
  #failed = 0
  #folded: FoldedWindow | undefined
  /** As they were at the last fold. */
  #times: Times
  /** Cells that the fold holds; after a start at most the rows of the state. */
  #openRows: number
  #stateBytes = 0
  /** Whether the source table holds the rows that the window is made of. */
  readonly #hasSource: boolean
  /** When rows that `early` may have kept back are asked for. */
  #dueMs: number

  constructor(definition: WindowDefinition, tables: Tables, { results, state, times, hasSource }: WindowStanding) {
    const { name, earlyMs } = definition
    this.definition = definition
    this.late = lateTable(name)
    this.results = new LiveRows(name, results)
    this.state = new LiveRows(stateTable(name), state)
    const plan = (table: string): WritePlan => writePlan(tables.get(table)!)
    this.#plans = { results: plan(name), state: plan(this.state.name), late: plan(this.late) }
    this.#times = times
    this.#hasSource = hasSource
    this.#openRows = this.state.rows - this.state.deadRows
    this.#dueMs = earlyMs > 0 && this.#openRows > 0 ? -Infinity : Infinity
  }

  add({ partials, lateFiles, late, lateAssignments, failed }: StagedWindow): void {
    if (partials !== undefined) this.partials.push(partials)
    this.lateFiles.push(...lateFiles)
    this.#late += late
    this.#lateAssignments += lateAssignments
    this.#failed += failed
  }

  hasWork({ watermarkMs, clockMsMin }: Times, nowMs: number, isLast: boolean): boolean {
    const { retainMs } = this.definition
    if (this.partials.length > 0 || (isLast && this.#openRows > 0)) return true
    const hasMoved = watermarkMs !== this.#times.watermarkMs || clockMsMin !== this.#times.clockMsMin
    if (hasMoved && (this.#openRows > 0 || retainMs !== undefined)) return true
    return nowMs >= this.#dueMs
  }

  async fold(fold: WindowFold, times: Times, tables: Tables, nowMs: number, isLast: boolean): Promise<void> {
    const { name, earlyMs } = this.definition
    const { partials } = this
    // The fold deletes them, whatever comes of it.
    this.partials = []
    const folded = await fold.fold(name, {
      head: this.#headOf(tables),
      partials,
      ...times,
      nowMs,
      isLast,
      ...this.#plans,
    })
    this.results.apply(folded.results)
    this.state.apply(folded.state)
    this.lateFiles.push(...folded.lateFiles)
    this.#late += folded.late
    this.#lateAssignments += folded.lateAssignments
    this.#failed += folded.failed
    this.#folded = folded
    this.#openRows = folded.openRows
    this.#stateBytes = folded.stateBytes
    this.#times = times
    // What came is asked for again, whether or not it was kept back; a fold before its time leaves that as it is.
    if (partials.length > 0 && earlyMs > 0) this.#dueMs = nowMs + earlyMs
    else if (nowMs >= this.#dueMs) this.#dueMs = Infinity
  }

  #headOf(tables: Tables): HeadTables | undefined {
    if (!this.#hasSource) return undefined
    const [source, results, late] = [this.definition.source, this.definition.name, this.late].map((name) =>
      tables.get(name)!,
    )
    const { fromMs } = storedWindow(late!.properties) ?? {}
    return { source: source!.metadata, results: results!.metadata, late: late!.metadata, fromMs }
  }

  event(pipeline: string): LakeEvent {
    const { corrected = 0, retractOfUnknown = 0 } = this.#folded ?? {}
    return {
      kind: 'windows',
      pipeline,
      table: this.definition.name,
      watermarkMs: this.#times.watermarkMs,
      openRows: this.#openRows,
      stateBytes: this.#stateBytes,
      late: this.#late,
      lateAssignments: this.#lateAssignments,
      failed: this.#failed,
      corrected,
      retractOfUnknown,
    }
  }

  committed(): void {
    this.results.committed()
    this.state.committed()
    this.lateFiles = []
    this.#late = this.#lateAssignments = this.#failed = 0
    this.#folded = undefined
  }
}
