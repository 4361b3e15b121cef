import path from 'node:path'
import { SYSTEM_COLUMNS, type Column } from '../../batch.ts'
import type { TableDefinition } from '../../define.ts'
import type { WindowDefinition } from '../../define-window.ts'
import type { Clocks } from '../../version.ts'
import { laneColumns, tableColumns } from '../decode/columns.ts'
import { literal, quoted } from '../decode/data-file-writer.ts'
import { Relation } from '../decode/relation.ts'
import type { Slab } from '../decode/slab.ts'
import type { Decoded } from '../decode/table-decoder.ts'
import { mayBeLate } from './assign.ts'
import { CHANGE, CHANGE_COLUMNS, rowShapeOf, type RowShape } from './change-columns.ts'
import type { RetriedRecords } from '../letters/letters.ts'
import type { LaneWindowsParts } from './lane-windows.ts'
import { removeLocal } from './partial-files.ts'
import { NO_CLOCK, operationColumns, operationSlabs, type Places } from './operation-slabs.ts'
import { LANE_COLUMNS, type StagedWindow } from './window.ts'
import { sqlTypeOf } from '../../window/sql.ts'

/** Index of a row among those of its batch. A field of a record may be called `rowid`: DuckDB's own would be hidden. */
const PLACE = '__place'
const NUMBERED = `*, row_number() OVER () - 1 AS ${PLACE}`

interface Window {
  readonly definition: WindowDefinition
  readonly shape: RowShape
}

/**
 * What a lane stages for windows over the rows of a keyed table: one row per operation on a key, `changeColumns`. What an
 * operation takes back only the fold knows, so nothing is aggregated here.
 */
export class RowChanges {
  readonly #source: TableDefinition
  readonly #windows: readonly Window[]
  readonly #parts: LaneWindowsParts
  readonly #operations: Relation
  readonly #read: Relation
  readonly #rows: Relation
  readonly #places: Places

  /** `rows` gives the stored columns of slabs, which have the lane's columns behind them. */
  constructor(source: TableDefinition, windows: readonly WindowDefinition[], rows: Relation, parts: LaneWindowsParts) {
    const columns = tableColumns(source)
    this.#source = source
    this.#windows = windows.map((definition) => ({ definition, shape: rowShapeOf(definition, source) }))
    this.#parts = parts
    this.#rows = rows
    const event = columns.findIndex(({ name }) => name === source.eventTime?.column)
    this.#places = { event, lane: columns.length }
    this.#operations = new Relation(parts.connection, `${parts.name}_given`, operationColumns)
    const all = [...columns, ...laneColumns]
    const read = all.flatMap((column, k) => (k >= columns.length || this.#isRead(column) ? [k] : []))
    this.#read = new Relation(
      parts.connection,
      `${parts.name}_changed`,
      read.map((k) => all[k]!),
      read,
    )
  }

  /**
   * `clocksMs` are the clocks of the table's partitions before the batch. Records that are `retried` have their own; those
   * of them that are stale are no change of any row.
   */
  async stage(decoded: Decoded, clocksMs: Clocks[string], retried?: RetriedRecords): Promise<readonly StagedWindow[]> {
    const { name } = this.#parts
    const operations = decoded.operations!
    const [ops, rows, whole] = [`${name}_ops`, `${name}_new`, `${name}_whole`]
    const staged: StagedWindow[] = []
    const stage = async (window: Window, sets: readonly (readonly string[])[]): Promise<void> => {
      const late = await this.#isAny(`${rows} JOIN ${ops} o ON o.__row = ${rows}.${PLACE}`, this.#mayNeedRest(window))
      if (late) await this.#makeTable(whole, this.#rows, decoded.rows, NUMBERED)
      const partials = await this.#copy(this.#changesSql(window, sets, ops, rows, late ? whole : undefined))
      staged.push({ window: window.definition.name, partials, lateFiles: [], late: 0, lateAssignments: 0, failed: 0 })
    }
    if (operations.count === 0)
      return this.#windows.map(({ definition }) => ({
        window: definition.name,
        partials: undefined,
        lateFiles: [],
        late: 0,
        lateAssignments: 0,
        failed: 0,
      }))
    try {
      const { slabs, sets } = operationSlabs(operations, decoded, this.#places, this.#source.topic, clocksMs, retried)
      await this.#makeTable(ops, this.#operations, slabs)
      await this.#leaveOut(ops, staleOf(retried))
      await this.#makeTable(rows, this.#read, decoded.rows, NUMBERED)
      for (const window of this.#windows) await stage(window, sets)
      return staged
    } catch (error) {
      for (const { partials } of staged) await removeLocal(partials)
      throw error
    } finally {
      for (const table of [ops, rows, whole]) await this.#parts.connection.run(`DROP TABLE IF EXISTS ${table}`)
    }
  }

  #isRead({ name }: Column): boolean {
    return this.#windows.some(({ shape }) => shape.read.some((column) => column.name === name))
  }

  /** Whether a row may be in the late table: what it lacks may be what makes it so. */
  #mayNeedRest({ definition }: Window): string {
    return `(${mayBeLate(definition, this.#source)} OR o.__eventless <> 0 OR o.__holes >= 0)`
  }

  /** `whole` has all columns of the rows; undefined: no row may be late. */
  #changesSql(
    window: Window,
    sets: readonly (readonly string[])[],
    ops: string,
    rows: string,
    whole: string | undefined,
  ): string {
    const { read, rest, holes, hasEventHoles, isVersioned } = window.shape
    const [event, clock] = [LANE_COLUMNS.event, LANE_COLUMNS.clock]
    const lacking = (name: string): readonly number[] =>
      sets.flatMap((columns, k) => (columns.includes(name) ? [k] : []))
    const listed = ({ name }: Column): string => {
      const without = lacking(name)
      const isThere = `o.__kind = ${CHANGE.upsert}${without.length === 0 ? '' : ` AND o.__holes NOT IN (${without.join(', ')})`}`
      return `CASE WHEN ${isThere} THEN [r.${quoted(name)}] END`
    }
    const isOwn = `o.__kind = ${CHANGE.upsert} AND o.__eventless = 0`
    const fields = rest.map(({ name }) => `${quoted(name)} := w.${quoted(name)}`).join(', ')
    const restType = sqlTypeOf({ kind: 'struct', fields: rest })
    const restSql =
      whole === undefined
        ? `CAST(NULL AS ${restType})`
        : `CASE WHEN r.${PLACE} IS NOT NULL AND r.__needs_rest THEN struct_pack(${fields}) END`
    const columns = [
      `CAST(o.rowid AS INTEGER) AS ${CHANGE_COLUMNS.order}`,
      `o.__key AS ${CHANGE_COLUMNS.key}`,
      `o.__partition AS ${SYSTEM_COLUMNS.partition}`,
      `o.__offset AS ${SYSTEM_COLUMNS.offset}`,
      `o.__kind AS ${CHANGE_COLUMNS.kind}`,
      ...(isVersioned
        ? [`CASE WHEN o.__kind <> ${CHANGE.tombstone} THEN o.__version END AS ${CHANGE_COLUMNS.version}`]
        : []),
      `${hasEventHoles ? `CASE WHEN ${isOwn} THEN [r.${event}] END` : `r.${event}`} AS ${event}`,
      `NULLIF(o.__clock, ${NO_CLOCK}) AS ${clock}`,
      ...read.map((column) =>
        holes.has(column.name) ? `${listed(column)} AS ${quoted(column.name)}` : `r.${quoted(column.name)}`,
      ),
      ...(rest.length === 0 ? [] : [`${restSql} AS ${CHANGE_COLUMNS.rest}`]),
    ]
    const needed = whole === undefined ? '' : `, ${this.#mayNeedRest(window)} AS __needs_rest`
    const found = `(SELECT ${rows}.*${needed} FROM ${rows}${whole === undefined ? '' : ` JOIN ${ops} o ON o.__row = ${rows}.${PLACE}`})`
    return `SELECT ${columns.join(', ')} FROM ${ops} o LEFT JOIN ${found} r ON o.__row = r.${PLACE}${
      whole === undefined ? '' : ` LEFT JOIN ${whole} w ON o.__row = w.${PLACE}`
    }`
  }

  async #copy(sql: string): Promise<string> {
    const { connection, clock, partialsFolder } = this.#parts
    const file = path.join(partialsFolder, `${clock.uuid()}.parquet`)
    try {
      await connection.run(`COPY (${sql}) TO ${literal(file)} (FORMAT parquet, COMPRESSION uncompressed)`)
      return file
    } catch (error) {
      await removeLocal(file)
      throw error
    }
  }

  async #leaveOut(ops: string, stale: readonly string[]): Promise<void> {
    if (stale.length === 0) return
    const among = `(__partition, __offset) IN (VALUES ${stale.join(', ')})`
    await this.#parts.connection.run(`DELETE FROM ${ops} WHERE ${among}`)
  }

  async #makeTable(table: string, relation: Relation, slabs: readonly Slab[], columns = '*'): Promise<void> {
    relation.feed(slabs)
    try {
      await this.#parts.connection.run(
        `CREATE OR REPLACE TEMP TABLE ${table} AS SELECT ${columns} FROM ${relation.name}()`,
      )
    } finally {
      relation.feed([])
    }
  }

  async #isAny(from: string, condition: string): Promise<boolean> {
    const result = await this.#parts.connection.runAndReadAll(`SELECT 1 FROM ${from} WHERE ${condition} LIMIT 1`)
    return result.currentRowCount > 0
  }
}

/** Places of records that are stale, as rows of SQL. */
function staleOf(retried: RetriedRecords | undefined): readonly string[] {
  return [...(retried ?? [])].flatMap(([record, { isStale }]) => {
    const [, partition, offset] = /(\d+)@(\d+)$/.exec(record)!
    return isStale ? [`(${partition}, ${offset})`] : []
  })
}
