import { unlink } from 'node:fs/promises'
import path from 'node:path'
import type { DuckDBConnection } from '@duckdb/node-api'
import { SYSTEM_COLUMNS, type Column } from '../../batch.ts'
import type { Clock } from '../../clock.ts'
import { codeHash, type TableDefinition } from '../../define.ts'
import type { WindowDefinition } from '../../define-window.ts'
import { LakeError } from '../../error.ts'
import type { DataFile, Storage, WritePlan } from '../../lake/table.ts'
import { laneColumns, mayRead, tableColumns } from '../decode/columns.ts'
import { checkColumns, copyDataFile, literal, quoted } from '../decode/data-file-writer.ts'
import { Relation } from '../decode/relation.ts'
import type { Slab } from '../decode/slab.ts'
import type { TablePlan } from '../lane.ts'
import type { AggregateSql } from './aggregate.ts'
import { aggregateSql, partialsSql } from './aggregates.ts'
import { assignedSql, mayBeLate } from './assign.ts'
import { lateColumns } from './columns.ts'
import { LANE_COLUMNS, type StagedWindow } from './window.ts'

export interface LaneWindowsParts {
  readonly connection: DuckDBConnection
  readonly storage: Storage
  readonly clock: Clock
  /** Of the relations that it makes. */
  readonly name: string
}

interface Window {
  readonly definition: WindowDefinition
  readonly aggregates: readonly AggregateSql[]
  readonly groups: readonly string[]
}

/** What a lane makes of the rows of one table for the windows over its events: partials of what counts, and late rows. */
export class LaneWindows {
  readonly #source: TableDefinition
  readonly #windows: readonly Window[]
  readonly #rows: Relation
  readonly #read: Relation
  readonly #parts: LaneWindowsParts
  readonly #outOfOrdernessMs: number

  /** `rows` gives the stored columns of slabs, which have the lane's columns behind them. */
  constructor(source: TableDefinition, windows: readonly WindowDefinition[], rows: Relation, parts: LaneWindowsParts) {
    this.#source = source
    this.#rows = rows
    this.#parts = parts
    this.#outOfOrdernessMs = source.eventTime?.outOfOrdernessMs ?? 0
    const columns = [...tableColumns(source), ...laneColumns]
    this.#windows = windows
      .filter(({ input }) => input === 'events')
      .map((definition) => ({
        definition,
        groups: definition.groupBy,
        aggregates: definition.select.map((each) => aggregateSql(each, columns, 'events')),
      }))
    const read = columns.flatMap((column, k) => (isRead(column, windows) ? [k] : []))
    this.#read = new Relation(
      parts.connection,
      `${parts.name}_read`,
      read.map((k) => columns[k]!),
      read,
    )
  }

  /** Files of each window; none has the partials of a window for which nothing counts. */
  async stage(slabs: readonly Slab[], plan: TablePlan): Promise<readonly StagedWindow[]> {
    const input = `${this.#parts.name}_rows`
    const staged: StagedWindow[] = []
    try {
      await this.#makeTable(input, this.#read, slabs)
      for (const window of this.#windows) staged.push(await this.#window(window, input, slabs, plan))
      return staged
    } catch (error) {
      for (const { partials } of staged) if (partials !== undefined) await unlink(partials).catch(() => undefined)
      throw error
    } finally {
      await this.#drop(input)
    }
  }

  async #window(
    { definition, aggregates, groups }: Window,
    input: string,
    slabs: readonly Slab[],
    plan: TablePlan,
  ): Promise<StagedWindow> {
    const window = definition.name
    const assigned = assignedSql(definition, this.#outOfOrdernessMs, input)
    const partials = await this.#copyPartials(partialsSql(aggregates, groups, `(${assigned.counted})`))
    try {
      if (!(await this.#isAny(input, mayBeLate(definition, this.#outOfOrdernessMs))))
        return { window, partials, lateFiles: [], late: 0, lateAssignments: 0 }
      const target = plan.windows?.find((each) => each.window === window)?.late
      if (target === undefined) throw new LakeError('internal', `the lane has no plan of ${window}`)
      return { window, partials, ...(await this.#copyLate(assigned.late, slabs, target)) }
    } catch (error) {
      if (partials !== undefined) await unlink(partials).catch(() => undefined)
      throw error
    }
  }

  /** A local file; undefined when there is nothing to put into it. */
  async #copyPartials(sql: string): Promise<string | undefined> {
    const { storage, clock } = this.#parts
    const file = path.join(storage.scratch, `${clock.uuid()}.parquet`)
    try {
      const rows = await this.#number(`COPY (${sql}) TO ${literal(file)} (FORMAT parquet, COMPRESSION uncompressed)`)
      if (rows > 0) return file
    } catch (error) {
      await unlink(file).catch(() => undefined)
      throw error
    }
    await unlink(file).catch(() => undefined)
    return undefined
  }

  /** Rows that are late: whole, with all columns of the source, which were not needed so far. */
  async #copyLate(
    sql: string,
    slabs: readonly Slab[],
    plan: WritePlan,
  ): Promise<Pick<StagedWindow, 'lateFiles' | 'late' | 'lateAssignments'>> {
    const { connection, storage, clock, name } = this.#parts
    const columns = lateColumns(tableColumns(this.#source))
    checkColumns(plan, columns)
    const late = `${name}_late`
    await connection.run(`CREATE OR REPLACE TEMP TABLE ${late} AS ${sql}`)
    try {
      const rows = await this.#number(`SELECT count(*) FROM ${late}`)
      if (rows === 0) return { lateFiles: [], late: 0, lateAssignments: 0 }
      this.#rows.feed(slabs)
      const from = lateRowsSql(this.#source, `${this.#rows.name}()`, late)
      const file: DataFile = await copyDataFile(connection, storage, clock, plan, { from, rows, tuple: [] })
      const entirely = `SELECT count(*) FROM ${late} WHERE _reason = 'late' AND _counted_windows = 0`
      const assignments = `SELECT coalesce(sum(len(_late_windows)), 0) FROM ${late}`
      return {
        lateFiles: [file],
        late: await this.#number(entirely),
        lateAssignments: await this.#number(assignments),
      }
    } finally {
      this.#rows.feed([])
      await this.#drop(late)
    }
  }

  async #makeTable(table: string, relation: Relation, slabs: readonly Slab[]): Promise<void> {
    relation.feed(slabs)
    try {
      await this.#parts.connection.run(`CREATE OR REPLACE TEMP TABLE ${table} AS FROM ${relation.name}()`)
    } finally {
      relation.feed([])
    }
  }

  async #isAny(table: string, condition: string): Promise<boolean> {
    return (await this.#number(`SELECT count(*) FROM (SELECT 1 FROM ${table} WHERE ${condition} LIMIT 1)`)) > 0
  }

  async #number(sql: string): Promise<number> {
    const result = await this.#parts.connection.runAndReadAll(sql)
    return Number(result.getRows()[0]![0])
  }

  async #drop(table: string): Promise<void> {
    await this.#parts.connection.run(`DROP TABLE IF EXISTS ${table}`)
  }
}

/** Whether some window needs the column; those that say where and when a row was, always. */
function isRead(column: Column, windows: readonly WindowDefinition[]): boolean {
  const { partition, offset } = SYSTEM_COLUMNS
  if ([partition, offset, LANE_COLUMNS.event, LANE_COLUMNS.clock].includes(column.name as typeof offset)) return true
  return windows.some(
    ({ groupBy, select, where }) =>
      groupBy.includes(column.name) ||
      mayRead(where ?? '', column) ||
      select.some((each) => each.column === column.name || mayRead(each.where ?? '', column)),
  )
}

/** Columns as in `lateColumns`. */
function lateRowsSql(source: TableDefinition, rows: string, late: string): string {
  const { partition, offset } = SYSTEM_COLUMNS
  const instant = (column: string): string => `make_timestamptz(late.${column} * 1000)`
  return `SELECT ${[
    ...tableColumns(source).map(({ name }) => `source.${quoted(name)}`),
    `${literal(source.topic)} AS _topic`,
    `${instant(LANE_COLUMNS.event)} AS _event_time`,
    `${instant(LANE_COLUMNS.clock)} AS _clock`,
    'late._late_windows',
    'CAST(late._counted_windows AS INTEGER) AS _counted_windows',
    'CAST(1 AS INTEGER) AS _weight',
    'late._reason',
    `${literal(codeHash(source))} AS _code_hash`,
  ].join(', ')}
FROM ${rows} AS source JOIN ${late} AS late
ON source.${partition} = late.${partition} AND source.${offset} = late.${offset}`
}
