import { deadLetterTable, deletesTable, definitionText, type TableDefinition } from '../define.ts'
import type { Clock } from '../clock.ts'
import { createTable, type LakeTable, type Storage, type TableSpec } from '../lake/table.ts'
import { definitionProperties } from '../stored-definition.ts'
import { deadLetterColumns, deletesColumns, tableColumns } from './decode/columns.ts'

/** What a source table and its companions are made from. Those that lose rows some day are v3 from the start. */
export function sourceSpecs(table: TableDefinition): readonly TableSpec[] {
  const { name, partitionBy, key } = table
  const columns = tableColumns(table)
  const properties = definitionProperties(definitionText(table))
  const specs: TableSpec[] = [
    { name, columns, partitionBy, formatVersion: key.length > 0 ? 3 : 2, key, properties },
    { name: deadLetterTable(name), columns: deadLetterColumns, partitionBy: [], formatVersion: 3 },
  ]
  if (table.version !== undefined)
    specs.push({ name: deletesTable(name), columns: deletesColumns(table), partitionBy: [], formatVersion: 3 })
  return specs
}

/** A source table and its companions, without a row. */
export function createTables(storage: Storage, table: TableDefinition, clock: Clock): Promise<LakeTable[]> {
  return Promise.all(sourceSpecs(table).map((spec) => createTable(storage, spec, clock)))
}
