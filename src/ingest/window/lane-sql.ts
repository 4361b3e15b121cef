import { SYSTEM_COLUMNS, type Column } from '../../batch.ts'
import { type TableDefinition } from '../../define.ts'
import { windowCodeHash } from '../../define-code.ts'
import type { WindowDefinition } from '../../define-window.ts'
import { tableColumns } from '../decode/columns.ts'
import { literal, quoted } from '../decode/data-file-writer.ts'
import type { KeptValues } from '../decode/table-decoder.ts'
import { LATE_COLUMNS } from './assign.ts'
import { ISLAND_COLUMNS, islandsSql } from './islands.ts'
import { LANE_COLUMNS } from './window.ts'
import { CELL_COLUMNS } from '../../window/sql.ts'

/** Sessions of a micro-batch that touch are one from the start: otherwise every event would be a cell of its own. */
export function cellsSql({ window, groupBy }: WindowDefinition, counted: string): string {
  if (window.kind !== 'session') return counted
  const { start, end } = ISLAND_COLUMNS
  return `SELECT * EXCLUDE (${start}, ${end}) REPLACE (${start} AS ${CELL_COLUMNS.start}, ${end} AS ${CELL_COLUMNS.end})
FROM (${islandsSql(counted, groupBy)})`
}

/** Columns as in `lateColumns`. */
export function lateRowsSql(
  source: TableDefinition,
  definition: WindowDefinition,
  rows: string,
  late: string,
  kept: readonly KeptValues[],
): string {
  const said = ({ name }: Column, k: number): string => {
    const of = kept.filter(({ columns }) => columns.includes(k))
    const value = `__source.${quoted(name)}`
    return of.length === 0 ? value : `CASE WHEN NOT (${isAmong(of, '__source.')}) THEN ${value} END AS ${quoted(name)}`
  }
  const { partition, offset } = SYSTEM_COLUMNS
  const { lateWindows, countedWindows, reason } = LATE_COLUMNS
  // Columns of the source may be called anything but what begins with "_": no name here may be one of theirs.
  const window = `{'start': ${instant('__w.start')}, 'end': ${instant('__w."end"')}}`
  return `SELECT ${[
    ...tableColumns(source).map(said),
    `${literal(source.topic)} AS _topic`,
    `${instant(`__late.${LANE_COLUMNS.event}`)} AS _event_time`,
    `${instant(`__late.${LANE_COLUMNS.clock}`)} AS _clock`,
    `[${window} FOR __w IN __late.${lateWindows}] AS _late_windows`,
    `__late.${countedWindows} AS _counted_windows`,
    'CAST(1 AS INTEGER) AS _weight',
    `__late.${reason} AS _reason`,
    `${literal(windowCodeHash(definition, source))} AS _code_hash`,
  ].join(', ')}
FROM ${rows} AS __source JOIN ${late} AS __late
ON __source.${partition} = __late.${partition} AND __source.${offset} = __late.${offset}`
}

/** Whether a row is one of these. */
export function isAmong(rows: readonly KeptValues[], prefix = ''): string {
  const { partition, offset } = SYSTEM_COLUMNS
  const places = rows.map((row) => `(${row.partition}, ${row.offset})`)
  return `(${prefix}${partition}, ${prefix}${offset}) IN (VALUES ${places.join(', ')})`
}

function instant(milliseconds: string): string {
  return `make_timestamptz(${milliseconds} * 1000)`
}
