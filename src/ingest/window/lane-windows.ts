import path from 'node:path'
import type { DuckDBConnection } from '@duckdb/node-api'
import { SYSTEM_COLUMNS, type Column } from '../../batch.ts'
import type { Clock } from '../../clock.ts'
import { declaredColumns, type TableDefinition } from '../../define.ts'
import { isSliced, type WindowDefinition } from '../../define-window.ts'
import { LakeError } from '../../error.ts'
import type { Storage, WritePlan } from '../../lake/table.ts'
import { laneColumns, mayRead, tableColumns } from '../decode/columns.ts'
import { checkColumns, copyDataFile, literal, quoted } from '../decode/data-file-writer.ts'
import { Relation } from '../decode/relation.ts'
import type { Slab } from '../decode/slab.ts'
import type { KeptValues } from '../decode/table-decoder.ts'
import type { TablePlan } from '../lane.ts'
import { assignedSql, LATE_COLUMNS, needsBoundaries } from './assign.ts'
import { createBoundaries } from './boundaries.ts'
import { cellsSql, isAmong, lateRowsSql } from './lane-sql.ts'
import { sliceMs } from './kinds.ts'
import { removeLocal } from './partial-files.ts'
import { verdictSql } from './verdict.ts'
import { shapeOf } from './shape.ts'
import { slabPieces } from './slab-pieces.ts'
import { LANE_COLUMNS, type StagedWindow } from './window.ts'
import {
  isOverflow,
  lateColumns,
  partialsSql,
  pieceColumns,
  piecesOf,
  scansOf,
  type WindowShape,
} from '../../window/sql.ts'

export interface LaneWindowsParts {
  readonly connection: DuckDBConnection
  readonly storage: Storage
  readonly clock: Clock
  /** Folder on this machine for what the fold will read. */
  readonly partialsFolder: string
  /** What the names of its relations begin with. */
  readonly name: string
}

interface Window {
  readonly definition: WindowDefinition
  readonly shape: WindowShape
}

/** What was decoded and judged. */
export interface FedRows {
  readonly slabs: readonly Slab[]
  readonly kept: readonly KeptValues[]
  /** As `RecordClock` says. */
  readonly lagMsMax: number
}

type LateRows = Pick<StagedWindow, 'lateFiles' | 'late' | 'lateAssignments' | 'failed'>

/** Read once, on this machine: whatever would make the file smaller takes more than it saves. */
const PARTIALS_FORMAT = 'FORMAT parquet, COMPRESSION uncompressed, DICTIONARY_SIZE_LIMIT 1, WRITE_BLOOM_FILTER false'

const NONE_LATE: LateRows = { lateFiles: [], late: 0, lateAssignments: 0, failed: 0 }

/**
 * What a lane makes of the rows of one table for the windows over its events: partials of what counts, and late rows.
 * Where none is late, a window takes one statement over the decoded columns as they are.
 */
export class LaneWindows {
  readonly #source: TableDefinition
  readonly #windows: readonly Window[]
  readonly #rows: Relation
  readonly #read: Relation
  readonly #parts: LaneWindowsParts
  readonly #outOfOrdernessMs: number

  /** `windows` are over events of the table. `rows` gives the stored columns of slabs, which have the lane's columns behind them. */
  constructor(source: TableDefinition, windows: readonly WindowDefinition[], rows: Relation, parts: LaneWindowsParts) {
    this.#source = source
    this.#rows = rows
    this.#parts = parts
    this.#outOfOrdernessMs = source.eventTime?.outOfOrdernessMs ?? 0
    const columns = [...tableColumns(source), ...laneColumns]
    const read = columns.flatMap((column, k) => (isRead(column, windows) ? [{ column, at: k }] : []))
    const summed = read.filter(({ column }) => isSummed(column, windows))
    const all = [...columns, ...summed.flatMap(({ column }) => pieceColumns(column))]
    this.#windows = windows.map((definition) => ({
      definition,
      shape: { ...shapeOf(definition, source, all), sizeMs: cellSizeMs(definition) },
    }))
    this.#read = new Relation(
      parts.connection,
      `${parts.name}_read`,
      [...read.map(({ column }) => column), ...all.slice(columns.length)],
      [...read.map(({ at }) => at), ...summed.flatMap(({ column, at }) => slabPieces(column, at))],
    )
  }

  /** Files of each window. Throws `aggregate.overflow`. */
  async stage(rows: FedRows, plan: TablePlan): Promise<readonly StagedWindow[]> {
    if (rows.slabs.length === 0)
      return this.#windows.map(({ definition }) => ({ window: definition.name, partials: undefined, ...NONE_LATE }))
    const input = this.#input(rows.kept)
    const staged: StagedWindow[] = []
    this.#read.feed(rows.slabs)
    try {
      for (const window of this.#windows) staged.push(await this.#stage(window, input, rows, plan))
      return staged
    } catch (error) {
      for (const { partials } of staged) await removeLocal(partials)
      throw error
    } finally {
      this.#read.feed([])
    }
  }

  async #stage({ definition, shape }: Window, input: string, rows: FedRows, plan: TablePlan): Promise<StagedWindow> {
    const { connection, name } = this.#parts
    const boundaries = needsBoundaries(definition.window) ? `${name}_boundaries` : undefined
    if (boundaries !== undefined) await createBoundaries(connection, definition.window, input, boundaries)
    let partials: string | undefined
    try {
      const fromMs = plan.windows?.find(({ window }) => window === definition.name)?.fromMs
      const assigned = assignedSql(definition, this.#source, input, boundaries, fromMs)
      partials = await this.#copyPartials(definition, shape, cellsSql(definition, assigned.counted))
      const late = (await this.#mayBeLate(definition, input, rows))
        ? await this.#late(definition, assigned.late, rows, plan)
        : NONE_LATE
      return { window: definition.name, partials, ...late }
    } catch (error) {
      await removeLocal(partials)
      throw overflowError(definition, error)
    } finally {
      if (boundaries !== undefined) await this.#drop(boundaries)
    }
  }

  /** A local file; undefined when nothing counts. */
  async #copyPartials(definition: WindowDefinition, shape: WindowShape, counted: string): Promise<string | undefined> {
    const { connection, clock, partialsFolder, name } = this.#parts
    const file = path.join(partialsFolder, `${clock.uuid()}.parquet`)
    // To assign tumbling windows again takes less than to write their rows down.
    const isWrittenDown = definition.window.kind !== 'tumbling' && scansOf(shape) > 1
    const table = `${name}_counted`
    try {
      if (isWrittenDown) await connection.run(`CREATE OR REPLACE TEMP TABLE ${table} AS ${counted}`)
      const sql = partialsSql(shape, 'events', isWrittenDown ? table : `(${counted})`)
      const rows = await this.#number(`COPY (${sql}) TO ${literal(file)} (${PARTIALS_FORMAT})`)
      if (rows > 0) return file
      await removeLocal(file)
      return undefined
    } catch (error) {
      await removeLocal(file)
      throw error
    } finally {
      if (isWrittenDown) await this.#drop(table)
    }
  }

  /** False where certainly no row is late or cannot be assigned, as SQL of the same name would say row by row. */
  async #mayBeLate(definition: WindowDefinition, input: string, { slabs, kept, lagMsMax }: FedRows): Promise<boolean> {
    const { allowedLatenessMs, groupBy, nullGroup } = definition
    if (kept.length > 0 || lagMsMax > allowedLatenessMs + this.#outOfOrdernessMs) return true
    const at = groupBy.map((name) => this.#rows.columns.findIndex((column) => column.name === name))
    const hasNulls = nullGroup !== 'keep' && slabs.some(({ columns }) => at.some((k) => columns[k]!.validAt >= 0))
    const verdict = verdictSql(definition, this.#source)
    return hasNulls || (verdict !== undefined && (await this.#count(`(${input}) WHERE ${verdict.fails}`)) > 0)
  }

  /** Rows that are late: whole, with all columns of the source, which were not needed so far. */
  async #late(definition: WindowDefinition, sql: string, rows: FedRows, plan: TablePlan): Promise<LateRows> {
    const { connection, name } = this.#parts
    const late = `${name}_late`
    await connection.run(`CREATE OR REPLACE TEMP TABLE ${late} AS ${sql}`)
    try {
      const count = await this.#count(late)
      if (count === 0) return NONE_LATE
      const { countedWindows, lateWindows, reason } = LATE_COLUMNS
      const target = plan.windows?.find(({ window }) => window === definition.name)?.late
      if (target === undefined) throw new LakeError('internal', `the lane has no plan of ${definition.name}`)
      return {
        lateFiles: [await this.#copyLate(definition, late, count, rows, target)],
        late: await this.#count(`${late} WHERE ${reason} = 'late' AND ${countedWindows} = 0`),
        lateAssignments: await this.#number(`SELECT coalesce(sum(len(${lateWindows})), 0) FROM ${late}`),
        failed: await this.#count(`${late} WHERE ${reason} = 'expression_failed'`),
      }
    } finally {
      await this.#drop(late)
    }
  }

  async #copyLate(
    definition: WindowDefinition,
    late: string,
    count: number,
    { slabs, kept }: FedRows,
    plan: WritePlan,
  ): Promise<StagedWindow['lateFiles'][number]> {
    const { connection, storage, clock } = this.#parts
    // What came from a registry is none of theirs.
    const source = { ...this.#source, columns: declaredColumns(this.#source) }
    checkColumns(plan, lateColumns(tableColumns(source)))
    const unsaid = kept.length === 0 ? kept : await this.#keptIn(late, kept)
    this.#rows.feed(slabs)
    try {
      const from = lateRowsSql(source, definition, `${this.#rows.name}()`, late, unsaid)
      return await copyDataFile(connection, storage, clock, plan, { from, rows: count, tuple: [] })
    } finally {
      this.#rows.feed([])
    }
  }

  /** A window sees what the record says: what its row keeps of another is null, wherever that other one was read. */
  #input(kept: readonly KeptValues[]): string {
    const said = tableColumns(this.#source).flatMap(({ name }, k) => {
      const rows = kept.filter(({ columns }) => columns.includes(k))
      if (rows.length === 0) return []
      const made = this.#read.columns.filter((column) => [name, piecesOf(name).bucket].includes(column.name))
      return made.map(
        (column) => `CASE WHEN NOT (${isAmong(rows)}) THEN ${quoted(column.name)} END AS ${quoted(column.name)}`,
      )
    })
    const all = said.length === 0 ? '*' : `* REPLACE (${said.join(', ')})`
    return `SELECT ${all} FROM ${this.#read.name}()`
  }

  async #keptIn(table: string, kept: readonly KeptValues[]): Promise<readonly KeptValues[]> {
    const { partition, offset } = SYSTEM_COLUMNS
    const answer = await this.#parts.connection.runAndReadAll(`SELECT ${partition}, ${offset} FROM ${table}`)
    const there = new Set(answer.getRows().map(([p, o]) => `${String(p)}@${String(o)}`))
    return kept.filter(({ partition, offset }) => there.has(`${partition}@${offset}`))
  }

  #count(from: string): Promise<number> {
    return this.#number(`SELECT count(*) FROM ${from}`)
  }

  async #number(sql: string): Promise<number> {
    const result = await this.#parts.connection.runAndReadAll(sql)
    return Number(result.getRows()[0]![0])
  }

  async #drop(table: string): Promise<void> {
    await this.#parts.connection.run(`DROP TABLE IF EXISTS ${table}`)
  }
}

/** Undefined where cells are not all as long, as those of a wall clock that is changed twice a year (rule W5). */
function cellSizeMs({ window }: WindowDefinition): number | undefined {
  if (needsBoundaries(window)) return undefined
  if (window.kind === 'tumbling') return window.sizeMs
  if (window.kind !== 'hopping') return undefined
  return isSliced({ window }) ? sliceMs(window) : window.sizeMs
}

/** Whether some window needs the column; those that say where and when a row was, always. */
function isRead(column: Column, windows: readonly WindowDefinition[]): boolean {
  const always: readonly string[] = [
    SYSTEM_COLUMNS.partition,
    SYSTEM_COLUMNS.offset,
    LANE_COLUMNS.event,
    LANE_COLUMNS.clock,
  ]
  return (
    always.includes(column.name) ||
    windows.some(
      ({ groupBy, select, where }) =>
        groupBy.includes(column.name) ||
        mayRead(where ?? '', column) ||
        select.some((each) => each.column === column.name || mayRead(each.where ?? '', column)),
    )
  )
}

/** Whether its sums need pieces. */
function isSummed(column: Column, windows: readonly WindowDefinition[]): boolean {
  const isSum = ({ fn, column: of }: WindowDefinition['select'][number]): boolean =>
    of === column.name && (fn === 'sum' || fn === 'avg')
  return pieceColumns(column).length > 0 && windows.some(({ select }) => select.some(isSum))
}

/** What DuckDB says of a statement that is ours but for the values: a sum of more digits than there are stops (rule A5). */
export function overflowError({ name }: WindowDefinition, error: unknown): unknown {
  if (error instanceof LakeError || !isOverflow(error)) return error
  return new LakeError('aggregate.overflow', `${name}: an exact sum has more digits than its column`, {
    context: { table: name },
    fix: 'Aggregate a column of fewer digits, or in smaller windows.',
    cause: error,
  })
}
