import type { Clock } from '../../clock.ts'
import { LakeError } from '../../error.ts'
import type { DataFile, IcebergSchema, Storage, WritePlan } from '../../lake/table.ts'
import { checkColumns, copyDataFile } from '../decode/data-file-writer.ts'
import type { ConcatenateInput } from '../keys.ts'
import { takeExpired } from './expired.ts'
import { canRebuild, rebuild, type RebuildParts } from './rebuild.ts'
import type { FoldDatabase } from './fold-database.ts'
import { loadWindow, schemasOf, type Loaded } from './fold-load.ts'
import { settledIslandsSql } from './fold-islands.ts'
import { createSql, END, list, PART, type Relations, same, upTo } from './fold-relations.ts'
import { makeResults, resultRowsSql } from './fold-results.ts'
import { mergeCells, stage } from './merge-cells.ts'
import { RetainedRows } from './retained-rows.ts'
import { RowPlaces } from './row-places.ts'
import type { FoldedRows } from './fold-rows.ts'
import type { FoldedWindow, FoldRequest, StoredWindow, TableDelta } from './window.ts'
import { partialColumns, resultColumns } from '../../window/sql.ts'

/** Of `openRowsMax`: with so many cells what is final is let go. */
const CROWDED_SHARE = 2

/** The cells and outputs of one window table. */
export class OpenWindow {
  readonly #database: FoldDatabase
  readonly #relations: Relations
  readonly #rows: FoldedRows | undefined
  readonly #storage: Storage
  readonly #clock: Clock
  readonly #outOfOrdernessMs: number
  readonly #results: RowPlaces
  readonly #state: RowPlaces
  /** Where rows are deleted when they are old. */
  #retained: RetainedRows | undefined
  /** Number of the last fold; rows that were loaded are of fold 0. */
  #fold = 0
  /** Windows that end until then are final: they were written as such. */
  #finalUntil: number | undefined
  /** What ends until then left, settled or expired. */
  #goneUntil: number | undefined
  /** Cells that the last fold left. */
  #openRows = 0
  /** What ends until then has been deleted. */
  #expiredUntil: number | undefined
  #openWrittenMs: number | undefined
  /** The fold after which open rows were written; at first that is not known of any row, since `early` may have been another. */
  #openSince = -1

  /** `rows`: of `input: rows`. */
  constructor(
    database: FoldDatabase,
    relations: Relations,
    rows: FoldedRows | undefined,
    storage: Storage,
    clock: Clock,
  ) {
    this.#database = database
    this.#rows = rows
    this.#relations = relations
    this.#storage = storage
    this.#clock = clock
    this.#outOfOrdernessMs = relations.source.eventTime!.outOfOrdernessMs
    this.#results = new RowPlaces(relations.outputs)
    this.#state = new RowPlaces(relations.cells)
  }

  async open(): Promise<void> {
    for (const sql of createSql(this.#relations)) await this.#database.run(sql)
    await this.#rows?.old.open()
  }

  async load(stored: StoredWindow): Promise<void> {
    if (this.#fold !== 0) throw new LakeError('internal', 'a window is loaded before its first fold')
    const loaded: Loaded = await loadWindow(this.#database, this.#relations, this.#storage, this.#clock, {
      results: stored.results.map((rows) => ({ ...rows, number: this.#results.add(rows.file.key) })),
      state: stored.state.map((rows) => ({ ...rows, number: this.#state.add(rows.file.key) })),
      schemas: stored.schemas,
    })
    this.#finalUntil = loaded.finalUntil
    const { results: schema } = stored.schemas ?? schemasOf(this.#relations)
    this.#retained = this.#retaining(stored.results, schema)
    this.#expiredUntil = await this.#expiredBy(stored.watermarkMs)
    this.#goneUntil = greatest(loaded.goneUntil, this.#expiredUntil)
    this.#openRows = await this.#countCells()
    if (this.#rows === undefined) return
    const { name } = this.#relations.definition
    if (stored.source === undefined) throw new LakeError('internal', `${name}: old values are read from its source`)
    await this.#rows.old.load(this.#storage, this.#clock, stored.source)
  }

  /** What had expired by then, as far as nothing of it stands any more: the last to be due may not have gone yet. */
  async #expiredBy(watermarkMs: number | undefined): Promise<number | undefined> {
    const { cells, definition, slices } = this.#relations
    const until = definition.retainMs === undefined ? undefined : plus(watermarkMs, -definition.retainMs - 1)
    if (until === undefined) return undefined
    const due = (await this.#retained!.findDue(until)) ?? until + 1
    if (slices !== undefined) return Math.min(until, due - 1)
    const [held] = await this.#database.numbers(
      `SELECT coalesce(min(${END}), ${until + 1}) FROM ${cells} WHERE ${PART} = 0`,
    )
    return Math.min(until, due - 1, held! - 1)
  }

  #retaining(stored: StoredWindow['results'], schema: IcebergSchema): RetainedRows | undefined {
    if (this.#relations.definition.retainMs === undefined) return undefined
    return new RetainedRows(this.#parts, stored, schema)
  }

  get #parts(): RebuildParts {
    return {
      database: this.#database,
      relations: this.#relations,
      storage: this.#storage,
      clock: this.#clock,
      results: this.#results,
    }
  }

  async moved(
    table: 'results' | 'state',
    inputs: readonly ConcatenateInput[],
    output: DataFile | undefined,
  ): Promise<void> {
    if (table === 'results') this.#retained?.move(inputs, output)
    await (table === 'results' ? this.#results : this.#state).move(this.#database, inputs, output)
  }

  async fold(request: FoldRequest): Promise<FoldedWindow> {
    const [database, relations] = [this.#database, this.#relations]
    checkColumns(request.results, resultColumns(relations.shape))
    checkColumns(request.state, partialColumns(relations.shape))
    const fold = ++this.#fold
    // Of a final window that was read back some slices may be here for the sake of others, and some not: those that are
    // touched are made again, where that can be done.
    if (fold === 1 && relations.slices !== undefined && request.head !== undefined && canRebuild(relations))
      this.#goneUntil = greatest(this.#goneUntil, this.#finalUntil)
    this.#retained ??= this.#retaining([], request.results.schema)
    const bounds = this.#bounds(request)
    await stage(database, relations, this.#rows === undefined ? request.partials : [])
    const halves = await this.#rows?.stage(request.partials, this.#goneUntil)
    const isReopened = await this.#rebuild(request)
    const lostUntil = isReopened ? this.#expiredUntil : this.#goneUntil
    const expired = await takeExpired(database, relations, lostUntil)
    const merged = await mergeCells(database, relations, { fold, file: this.#state.next, ...bounds })
    const results = await makeResults(database, relations, {
      fold,
      file: this.#results.next,
      ...bounds,
      finalBefore: this.#finalUntil,
      goneUntil: relations.hasIslands ? this.#goneUntil : lostUntil,
      isReopened,
      openSince: this.#openTurn(request),
    })
    this.#refuseNegative(merged.negative + results.negative)
    await this.#leave(bounds)
    const openRows = (this.#openRows = await this.#countCells())
    this.#refuseTooMany(openRows)
    const stateRows = `SELECT ${list(relations.columns)} FROM ${merged.written} WHERE NOT __settled`
    const resultFile = await this.#write(request.results, () => resultRowsSql(relations), results.written)
    const stateFile = await this.#write(request.state, () => stateRows, merged.rows)
    const lateFiles = [await this.#write(request.late, () => expired.rowsSql(request.late), expired.rows)]
    if (halves !== undefined)
      lateFiles.push(await this.#write(request.late, () => halves.rowsSql(request.late), halves.rows))
    // Rows that stand in files of earlier commits and are over.
    const expiring = this.#retained === undefined ? [] : ['expired_outputs']
    const resultDelta = await this.#results.delta(database, resultFile, unionOfPlaces(['outdated', ...expiring]))
    this.#retained?.apply(resultDelta)
    const stateDelta = await this.#state.delta(database, stateFile, unionOfPlaces([merged.replaced, 'left_cells']))
    const { keys: oldKeys = 0, replaced = 0 } = this.#rows?.old ?? {}
    await database.retire(rowsOf(resultDelta) + rowsOf(stateDelta) + replaced, 2 * openRows + oldKeys)
    return {
      results: resultDelta,
      state: stateDelta,
      lateFiles: lateFiles.filter((file) => file !== undefined),
      late: expired.late + (halves?.late ?? 0),
      lateAssignments: expired.lateAssignments + (halves?.lateAssignments ?? 0),
      failed: halves?.failed ?? 0,
      corrected: results.corrected,
      retractOfUnknown: halves?.retractOfUnknown ?? 0,
      openRows,
      stateBytes: await database.bytes(),
    }
  }

  /** Whether all that was staged for windows which had left the fold, and are not deleted, finds them here again. */
  async #rebuild({ head }: FoldRequest): Promise<boolean> {
    if (head === undefined || this.#goneUntil === undefined || !canRebuild(this.#relations)) return false
    await rebuild(this.#parts, head, { goneUntil: this.#goneUntil, expiredUntil: this.#expiredUntil })
    return true
  }

  async #countCells(): Promise<number> {
    const { cells, values } = this.#relations
    const [rows] = await this.#database.numbers(
      `SELECT count(*) FROM ${cells}${values.length === 0 ? '' : ` WHERE ${PART} = 0`}`,
    )
    return rows!
  }

  /**
   * A partition that is quiet, or has never had an event, settles nothing for as long as it stays so. Before what is final
   * fills the fold, it is let go as if it were settled, where it can be made again should that partition wake.
   */
  #isCrowded({ head }: FoldRequest): boolean {
    const { openRowsMax } = this.#relations.definition
    return this.#openRows > openRowsMax / CROWDED_SHARE && head !== undefined && canRebuild(this.#relations)
  }

  /** Rules C2, C4 and E6, as ends of windows; an end is final before it is settled, and was final before it expires. */
  #bounds(request: FoldRequest): Bounds {
    const { watermarkMs, clockMsMin } = request
    const { window, allowedLatenessMs, retainMs } = this.#relations.definition
    const gapMs = window.kind === 'session' ? window.gapMs : 0
    const instantMs = window.kind === 'session' ? 0 : 1
    const lagMs = gapMs + allowedLatenessMs + this.#outOfOrdernessMs
    const finalUntil = greatest(this.#finalUntil, plus(watermarkMs, instantMs - allowedLatenessMs))
    const settledUntil = least(finalUntil, plus(clockMsMin, -lagMs))
    const expiredUntil = retainMs === undefined ? undefined : plus(watermarkMs, -retainMs - 1)
    return {
      finalUntil,
      // What touches a session may end a gap later.
      settledUntil: this.#isCrowded(request) ? greatest(settledUntil, plus(finalUntil, -gapMs)) : settledUntil,
      expiredUntil: least(this.#finalUntil, expiredUntil),
    }
  }

  /** The fold after which open rows are due; undefined: none are now. */
  #openTurn({ nowMs, isLast }: FoldRequest): number | undefined {
    const { earlyMs } = this.#relations.definition
    const isDue = isLast || this.#openWrittenMs === undefined || nowMs - this.#openWrittenMs >= earlyMs
    if (!isDue) return undefined
    const since = this.#openSince
    this.#openWrittenMs = nowMs
    this.#openSince = this.#fold
    return since
  }

  /** Rules C4 and E6. Slices stay for the sake of windows that others of them are part of. */
  async #leave(bounds: Bounds): Promise<void> {
    const { cells, definition, outputs, key, values, slices, cellEnd, hasIslands } = this.#relations
    const { finalUntil, settledUntil, expiredUntil } = bounds
    // Values of a cell have its end, but for those of a session, and may have changed longer ago than it.
    const isSession = definition.window.kind === 'session'
    const isUntouched = `__fold < ${this.#fold}${isSession || values.length === 0 ? '' : ' AND rowid NOT IN (SELECT __rid FROM held)'}`
    const isExpired =
      slices === undefined && expiredUntil !== undefined ? ` OR (${upTo(END, expiredUntil)} AND ${isUntouched})` : ''
    const isOver = `(${upTo(cellEnd, settledUntil)}${isExpired})`
    const place = `__file, __row, c.rowid AS __rid FROM ${cells} c`
    const over = hasIslands
      ? settledIslandsSql(this.#relations, this.#fold, greatest(settledUntil, expiredUntil))
      : values.length === 0 || !isSession
        ? `SELECT ${place} WHERE ${isOver}`
        : `SELECT ${place} SEMI JOIN (SELECT ${list(key)} FROM ${cells} WHERE ${PART} = 0 AND ${isOver}) k ON ${same('c', 'k', key)}`
    const database = this.#database
    await database.temporary('left_cells', over)
    await database.run(`DELETE FROM ${cells} WHERE rowid IN (SELECT __rid FROM left_cells)`)
    await this.#retained?.findDue(expiredUntil)
    const isOld = `${upTo(END, expiredUntil)} AND __file <> ${this.#results.next}`
    await database.run(`DELETE FROM ${outputs} WHERE ${upTo(END, settledUntil)} OR (${isOld})`)
    this.#finalUntil = finalUntil
    this.#expiredUntil = greatest(this.#expiredUntil, expiredUntil)
    this.#goneUntil = greatest(this.#goneUntil, greatest(settledUntil, expiredUntil))
  }

  #refuseNegative(cells: number): void {
    if (cells === 0) return
    const { name } = this.#relations.definition
    throw new LakeError('aggregate.negative_count', `${name}: more rows were taken back than were counted`, {
      context: { window: name, cells },
    })
  }

  #refuseTooMany(openRows: number): void {
    const { name, openRowsMax } = this.#relations.definition
    if (openRows <= openRowsMax) return
    throw new LakeError('window.open_rows_max', `${name}: ${openRows} groups and windows are open`, {
      context: { window: name, openRows, openRowsMax },
      fix: 'Raise openRowsMax, group by fewer values, or look for the partition that holds the watermark back.',
    })
  }

  async #write(plan: WritePlan, from: () => string, rows: number): Promise<DataFile | undefined> {
    if (rows === 0) return undefined
    return copyDataFile(this.#database.connection, this.#storage, this.#clock, plan, { from: from(), rows, tuple: [] })
  }
}

/** Ends of windows, or sessions: all until then, that one included. Undefined: none. */
interface Bounds {
  readonly finalUntil: number | undefined
  readonly settledUntil: number | undefined
  readonly expiredUntil: number | undefined
}

function rowsOf({ superseded }: TableDelta): number {
  return superseded.reduce((sum, { rows }) => sum + rows.length, 0)
}

function unionOfPlaces(relations: readonly string[]): string {
  return relations.map((name) => `SELECT __file, __row FROM ${name}`).join(' UNION ')
}

function plus(value: number | undefined, more: number): number | undefined {
  return value === undefined ? undefined : value + more
}

function greatest(a: number | undefined, b: number | undefined): number | undefined {
  if (a === undefined || b === undefined) return a ?? b
  return Math.max(a, b)
}

/** Undefined is below everything. */
function least(a: number | undefined, b: number | undefined): number | undefined {
  return a === undefined || b === undefined ? undefined : Math.min(a, b)
}
