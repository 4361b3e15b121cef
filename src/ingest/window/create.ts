import type { Clock } from '../../clock.ts'
import { windowDefinitionText, type TableDefinition } from '../../define.ts'
import { lateTable, stateTable, windowKey, type WindowDefinition } from '../../define-window.ts'
import { createTable, mayName, type LakeTable, type Storage, type TableSpec } from '../../lake/table.ts'
import { definitionProperties } from '../../stored-definition.ts'
import { windowProperties, type StoredWindow } from '../../window-property.ts'
import { tableColumns } from '../decode/columns.ts'
import { shapeOf } from './shape.ts'
import { lateColumns, partialColumns, resultColumns } from '../../window/sql.ts'

/** A window table and its companions, without a row. */
export async function createWindowTables(
  storage: Storage,
  window: WindowDefinition,
  source: TableDefinition,
  clock: Clock,
): Promise<LakeTable[]> {
  return Promise.all(windowSpecs(window, source).map((spec) => createTable(storage, spec, clock)))
}

/** What a window table and its companions are made from. Its key names a row where no group is null. */
export function windowSpecs(window: WindowDefinition, source: TableDefinition): readonly TableSpec[] {
  const { name } = window
  const shape = shapeOf(window, source)
  const columns = resultColumns(shape)
  const key = windowKey(window)
  const common = {
    partitionBy: [],
    formatVersion: 3,
    properties: windowProperties(storedWindowOf(window, source)),
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
