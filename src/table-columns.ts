import { SYSTEM_COLUMNS, type Column, type ColumnType } from './batch.ts'
import { deadLetterTable, deletesTable, type LakeDefinition, type TableDefinition } from './define.ts'
import { lateTable, resultType, stateTable, type WindowDefinition } from './define-window.ts'
import { LakeError } from './error.ts'
import type { RowsOf } from './row-filter.ts'

/** What a definition says of one of its tables, companions among them. */
export interface TableColumns extends RowsOf {
  readonly columns: readonly Pick<Column, 'name' | 'type'>[]
}

const INSTANT: ColumnType = { kind: 'timestamptz' }
const POSITION = [SYSTEM_COLUMNS.partition, SYSTEM_COLUMNS.offset] as const
const SYSTEM = [
  { name: SYSTEM_COLUMNS.partition, type: { kind: 'int' } },
  { name: SYSTEM_COLUMNS.offset, type: { kind: 'long' } },
  { name: SYSTEM_COLUMNS.timestamp, type: INSTANT },
] as const

/** Of a table that is not of this definition, nothing but its name is known. */
export function columnsOfTable({ pipelines }: LakeDefinition, name: string): TableColumns {
  for (const { tables, windows } of pipelines) {
    for (const table of tables) {
      if (table.name === name)
        return known(name, [...table.columns, ...SYSTEM], table.key.length > 0 ? table.key : POSITION)
      if (deadLetterTable(table.name) === name) return known(name, SYSTEM, POSITION)
      if (deletesTable(table.name) === name) return known(name, [...table.columns, ...SYSTEM], table.key)
    }
    for (const window of windows) {
      const source = tables.find((table) => table.name === window.source)
      if (source === undefined) continue
      if (window.name === name) return ofWindow(window, source)
      if (lateTable(window.name) === name) {
        const instants = ['_event_time', '_clock'].map((column) => ({ name: column, type: INSTANT }))
        return known(name, [...source.columns, ...SYSTEM, ...instants], [...POSITION, '_weight'])
      }
      if (stateTable(window.name) === name) return known(name, [], [])
    }
  }
  return known(name, [], [])
}

function ofWindow(window: WindowDefinition, source: TableDefinition): TableColumns {
  const typeIn = (column: string | undefined) => source.columns.find((each) => each.name === column)?.type
  const results = window.select.flatMap((aggregate) => {
    const type = resultType(aggregate, typeIn(aggregate.column))
    return type instanceof LakeError ? [] : [{ name: aggregate.name, type }]
  })
  const groups = window.groupBy.flatMap((name) => {
    const type = typeIn(name)
    return type === undefined ? [] : [{ name, type }]
  })
  const instants = ['window_start', 'window_end', 'last_event_time'].map((name) => ({ name, type: INSTANT }))
  // A session is named by its start alone: its end moves.
  const bounds = window.window.kind === 'session' ? ['window_start'] : ['window_start', 'window_end']
  return known(window.name, [...groups, ...instants, ...results, ...window.computed], [...bounds, ...window.groupBy])
}

function known(name: string, columns: TableColumns['columns'], key: readonly string[]): TableColumns {
  const types = new Map(columns.map((column) => [column.name, column.type]))
  return { name, columns, key, typeOf: (column) => types.get(column) }
}
