import { isSliced, stateTable } from '../define-window.ts'
import type { LakeTable } from '../lake/table.ts'
import type { Version } from '../version.ts'
import { storedWindow, type StoredWindow } from '../window-property.ts'
import type { View } from './messages.ts'
import { aggregateSql, mergeSql, resultsSql, type WindowShape } from '../window/sql.ts'

/** The windows of a table that stand in it only when they are final, and until then in slices of its state. */
export interface OpenWindows {
  /** Name of the table with the slices. */
  readonly state: string
  /** The SELECT of their rows, with the columns of the table, over the state's rows. */
  sql(columns: View['columns'], relation: string): string
}

/**
 * Hopping windows that share slices (rule S1) get a row in their table when they are final; what is open is put together
 * from the slices whenever somebody asks. Undefined for tables whose rows all stand in their files.
 */
export function openWindowsOf({ name, properties }: LakeTable, version: Version): OpenWindows | undefined {
  const window = storedWindow(properties)
  if (window === undefined || window.definition.name !== name) return undefined
  const { emit, source } = window.definition
  if (emit === 'close' || !isSliced(window.definition)) return undefined
  const watermarkMs = Object.hasOwn(version.watermarksMs, source) ? version.watermarksMs[source] : undefined
  return {
    state: stateTable(name),
    sql: (columns, relation) => openSql(window, columns, relation, watermarkMs),
  }
}

const instant = (ms: string) => `make_timestamptz(${ms} * 1000)`

function openSql(window: StoredWindow, columns: View['columns'], relation: string, watermarkMs: number | undefined) {
  const shape = shapeOf(window)
  const merged = mergeSql(shape, 'windows')
  const own = new Map([
    ['window_start', instant('"__start"')],
    ['window_end', instant('"__end"')],
    ...(shape.hasLastEvent ? [['last_event_time', instant('"__last_event"')] as const] : []),
    ['_final', 'false'],
    ['_corrections', '0'],
  ])
  const list = columns.map(({ name, type }) => `CAST(${own.get(name) ?? quoted(name)} AS ${type}) AS ${quoted(name)}`)
  return `WITH windows AS MATERIALIZED (${windowsSql(window, relation, watermarkMs)}),
merged AS MATERIALIZED (${merged})
SELECT ${list.join(', ')} FROM (${resultsSql(shape, 'merged')}) WHERE "__rows" > 0`
}

/**
 * Each slice once for each open window that it counts for: those that begin with it or before it and do not end before
 * it, are not final (rule C2), and do not end before its `__min_end` (rule S2).
 */
function windowsSql({ definition }: StoredWindow, relation: string, watermarkMs: number | undefined): string {
  const { window, allowedLatenessMs } = definition
  if (window.kind !== 'hopping') return `FROM ${relation}`
  const { sizeMs, slideMs, offsetMs } = window
  const behind = `((("__start" - ${offsetMs}) % ${slideMs}) + ${slideMs}) % ${slideMs}`
  const bounds = `SELECT *, "__start" - ${behind} - "__hop" * ${slideMs} AS "__first"
    FROM ${relation}, range(${Math.ceil(sizeMs / slideMs)}) AS hops("__hop")`
  const end = `"__first" + ${sizeMs}`
  const isOpen = watermarkMs === undefined ? '' : `AND ${end} - 1 + ${allowedLatenessMs} > ${watermarkMs}`
  return `SELECT * EXCLUDE ("__first", "__hop")
      REPLACE ("__first" AS "__start", ${end} AS "__end", CAST(NULL AS BIGINT) AS "__min_end")
    FROM (${bounds}) WHERE ${end} > "__start" AND ("__min_end" IS NULL OR "__min_end" <= ${end}) ${isOpen}`
}

function shapeOf({ definition, columns }: StoredWindow): WindowShape {
  // Tables that were made before there were computed results say nothing of them.
  const { computed = [], groupBy, select, input } = definition
  return {
    groups: groupBy.map((name) => columns.find((column) => column.name === name)!),
    aggregates: select.map((each) => aggregateSql(each, columns, input)),
    computed,
    hasLastEvent: input === 'events',
    isSliced: true,
  }
}

function quoted(name: string): string {
  return `"${name.replaceAll('"', '""')}"`
}
