import type { Clock } from '../clock.ts'
import { deletesTable, type PipelineDefinition } from '../define.ts'
import { stateTable, type WindowDefinition } from '../define-window.ts'
import type { Observer } from '../event.ts'
import {
  readDeletedRows,
  storedFiles,
  writePlan,
  type DataFile,
  type LakeTable,
  type Storage,
  type TableChange,
} from '../lake/table.ts'
import type { PartitionId, Positions, Source } from '../log.ts'
import type { Version } from '../version.ts'
import type { ConcatenateInput } from './keys.ts'
import { compactedElsewhere } from './keyed-tables.ts'
import type { StagedRange, StagedTable } from './lane.ts'
import type { Tables } from './tables.ts'
import { Watermarks, type Bound, type Standing } from './watermark.ts'
import { WindowTable } from './window-table.ts'
import type { LiveRows } from './window/live-rows.ts'
import { partialsOf, removeLocalFiles } from './window/partial-files.ts'
import type { StoredRows, StoredSource, WindowFold } from './window/window.ts'

export interface WindowParts {
  readonly definition: PipelineDefinition
  readonly fold: WindowFold
  readonly storage: Storage
  readonly clock: Clock
  readonly source: Source
  /** The tables at the head, and where it stands. */
  readonly tables: Tables
  readonly head: Standing
  /** Of a fork. */
  readonly bound?: Bound | undefined
  /** Source tables that are not written, and do not hold the rows that windows are made of. */
  readonly unwritten?: ReadonlySet<string>
}

/**
 * The window tables of one pipeline, as its committer holds them: what lanes staged for them since the last commit,
 * which rows of theirs are dead, and the fold, which holds what is open. Like the fold a cache of what the tables say.
 *
 *   staged partials, C ──▶ fold ──▶ files and positions they replace ──▶ changes of `<w>`, `<w>__state`, `<w>__late`
 */
export class WindowTables {
  /** Undefined without windows. */
  readonly #open: Open | undefined
  readonly #windows: ReadonlyMap<string, WindowTable>
  /** By the table whose rows they are: results and states. */
  readonly #live: ReadonlyMap<string, Live>

  private constructor(open?: Open, windows: readonly WindowTable[] = []) {
    this.#open = open
    this.#windows = new Map(windows.map((window) => [window.definition.name, window]))
    const live = windows.flatMap(({ definition: { name }, results, state }): [string, Live][] => [
      [results.name, { window: name, of: 'results', rows: results }],
      [state.name, { window: name, of: 'state', rows: state }],
    ])
    this.#live = new Map(live)
  }

  /** Of a pipeline without any, or of a commit that folds nothing. */
  static readonly none = new WindowTables()

  /** Has the fold read back what is open at the head. */
  static async load(parts: WindowParts): Promise<WindowTables> {
    const { definition, fold, storage, clock, source, tables, head, bound, unwritten = new Set() } = parts
    const { windows: definitions } = definition
    const sources = definition.tables.filter(({ name }) => definitions.some((window) => window.source === name))
    const watermarks = new Watermarks(sources, clock, bound)
    await watermarks.look(source, head.positions)
    const windows: WindowTable[] = []
    for (const definition of definitions) {
      const { name } = definition
      const results = await storedRows(storage, tables.get(name)!)
      const state = await storedRows(storage, tables.get(stateTable(name))!)
      const rows = definition.input === 'rows' ? { source: await storedSource(storage, tables, definition) } : {}
      const times = watermarks.timesAt(definition.source, head)
      const schemas = { results: tables.get(name)!.schema, state: tables.get(stateTable(name))!.schema }
      await fold.load(name, { results, state, watermarkMs: times.watermarkMs, schemas, ...rows })
      windows.push(
        new WindowTable(definition, tables, { results, state, times, hasSource: !unwritten.has(definition.source) }),
      )
    }
    return new WindowTables({ fold, clock, watermarks }, windows)
  }

  /** Tables whose rows die one by one. */
  get all(): readonly LiveRows[] {
    return [...this.#live.values()].map(({ rows }) => rows)
  }

  /** Whether a table is one of theirs. */
  has(table: string): boolean {
    return this.#live.has(table) || [...this.#windows.values()].some(({ late }) => late === table)
  }

  /** Partitions that are new, or that nothing was staged of, are asked for their ends. */
  async look(source: Source, positions: Positions): Promise<void> {
    await this.#open?.watermarks.look(source, positions)
  }

  /** Nothing was read for so long: that makes no partition idle. */
  hold(ms: number): void {
    this.#open?.watermarks.hold(ms)
  }

  /** Of the partitions that feed windows: whether their watermark does not wait for them. */
  idle(positions: Positions): ReadonlyMap<PartitionId, boolean> {
    return this.#open?.watermarks.idle(positions) ?? new Map()
  }

  add(ranges: readonly StagedRange[], tables: readonly StagedTable[]): void {
    if (this.#open === undefined) return
    for (const range of ranges) this.#open.watermarks.saw(range)
    for (const { windows = [] } of tables) for (const staged of windows) this.#windows.get(staged.window)!.add(staged)
  }

  /** Files of a batch that nobody folds. */
  async discard(tables: readonly StagedTable[]): Promise<void> {
    const partials = partialsOf(tables)
    if (partials.length > 0) await (this.#open?.fold.discard(partials) ?? removeLocalFiles(partials))
  }

  /** Whether rows could be written, closed or settled by a commit. */
  isWaiting(standing: Standing): boolean {
    if (this.#open === undefined) return false
    const { clock, watermarks } = this.#open
    const nowMs = clock.monotonicMs()
    return [...this.#windows.values()].some(
      (window) =>
        window.lateFiles.length > 0 ||
        window.hasWork(watermarks.timesOf(window.definition.source, standing), nowMs, false),
    )
  }

  /**
   * Folds what was staged onto the tables of the head, at the watermarks of the version to come, which it returns;
   * undefined without windows. Once
   * for each commit, before `changeOf`. `isLast`: a bounded log is drained.
   */
  async fold(standing: Standing, tables: Tables, isLast: boolean): Promise<WatermarksAt | undefined> {
    if (this.#open === undefined) return undefined
    const { fold, clock, watermarks } = this.#open
    const nowMs = clock.monotonicMs()
    const timesOf = new Map(watermarks.tables.map((table) => [table, watermarks.timesOf(table, standing, isLast)]))
    for (const window of this.#windows.values()) {
      const times = timesOf.get(window.definition.source)!
      if (window.hasWork(times, nowMs, isLast)) await window.fold(fold, times, tables, nowMs, isLast)
    }
    const all = [...timesOf].map(([table, { watermarkMs }]) => [table, watermarkMs] as const)
    const known = all.filter((each): each is [string, number] => each[1] !== undefined)
    const least = known.length < all.length ? undefined : Math.min(...known.map(([, watermarkMs]) => watermarkMs))
    return { watermarksMs: Object.fromEntries(known), watermarkMs: least }
  }

  /** What a commit does to a table of ours; undefined when it is none. */
  changeOf(table: string): TableChange | undefined {
    for (const window of this.#windows.values())
      if (table === window.late) return { kind: 'write', added: window.lateFiles, deletes: [], removed: [] }
    return this.#live.get(table)?.rows.change()
  }

  committed(pipeline: string, observer: Observer): void {
    for (const window of this.#windows.values()) {
      observer(window.event(pipeline))
      window.committed()
    }
  }

  /** After a compaction was committed. */
  async moved(table: string, inputs: readonly ConcatenateInput[], output: DataFile | undefined): Promise<void> {
    const live = this.#live.get(table)
    if (live !== undefined) await this.#open!.fold.moved(live.window, live.of, inputs, output)
  }

  /** Throws when other files hold the rows than those that the fold knows. */
  assertCurrent(base: ReadonlyMap<string, LakeTable>, head: ReadonlyMap<string, LakeTable>): void {
    for (const name of this.#live.keys())
      if (base.get(name)?.metadata !== head.get(name)?.metadata) throw compactedElsewhere(name)
  }

  async close(): Promise<void> {
    const left = [...this.#windows.values()].flatMap(({ partials }) => partials)
    if (left.length > 0) await this.#open?.fold.discard(left)
    await this.#open?.fold.close()
  }
}

interface Open {
  readonly fold: WindowFold
  readonly clock: Clock
  readonly watermarks: Watermarks
}

interface Live {
  readonly window: string
  readonly of: 'results' | 'state'
  readonly rows: LiveRows
}

/** As a version has them. */
export type WatermarksAt = Pick<Version, 'watermarksMs' | 'watermarkMs'>

/** The rows whose old values a window over them takes back; with versions those of deleted keys count too. */
async function storedSource(storage: Storage, tables: Tables, { source }: WindowDefinition): Promise<StoredSource> {
  const table = tables.get(source)!
  const deletes = tables.get(deletesTable(source))
  return {
    plan: writePlan(table),
    rows: await storedRows(storage, table),
    deletes: deletes && { plan: writePlan(deletes), rows: await storedRows(storage, deletes) },
  }
}

async function storedRows(storage: Storage, table: LakeTable): Promise<readonly StoredRows[]> {
  const files = await storedFiles(storage, table)
  return Promise.all(files.map(async (file) => ({ file, deleted: await readDeletedRows(storage, file) })))
}
