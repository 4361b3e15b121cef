import { type TableDefinition } from '../../define.ts'
import { windowDefinitionText } from '../../define-code.ts'
import { lateTable, stateTable, windowKey, type WindowDefinition } from '../../define-window.ts'
import { mayName, type TableSpec } from '../../lake/table.ts'
import { definitionProperties } from '../../stored-definition.ts'
import { windowProperties, type StoredWindow } from '../../window-property.ts'
import { tableColumns } from '../decode/columns.ts'
import { shapeOf } from './shape.ts'
import { lateColumns, partialColumns, resultColumns } from '../../window/sql.ts'

/**
 * A window table and its companions. Its key names a row where no group is null. `fromMs`: the least start of a window
 * that is not left out.
 */
export function windowSpecs(window: WindowDefinition, source: TableDefinition, fromMs?: number): readonly TableSpec[] {
  const { name } = window
  const shape = shapeOf(window, source)
  const columns = resultColumns(shape)
  const key = windowKey(window)
  const common = {
    partitionBy: [],
    formatVersion: 3,
    properties: windowProperties({ ...storedWindowOf(window, source), ...(fromMs === undefined ? {} : { fromMs }) }),
  } as const
  const own = { ...common.properties, ...definitionProperties(windowDefinitionText(window, source)) }
  return [
    { name, columns, ...common, properties: own, key: mayName(columns, key) ? key : [] },
    { name: stateTable(name), columns: partialColumns(shape), ...common },
    { name: lateTable(name), columns: lateColumns(tableColumns(source)), ...common },
  ]
}

/** What readers must know of a window beside its tables' columns. */
function storedWindowOf(definition: WindowDefinition, source: TableDefinition): StoredWindow {
  const read = new Set([...definition.groupBy, ...definition.select.map(({ column }) => column)])
  return {
    definition,
    topic: source.topic,
    outOfOrdernessMs: source.eventTime?.outOfOrdernessMs ?? 0,
    columns: tableColumns(source).filter(({ name }) => read.has(name)),
  }
}
