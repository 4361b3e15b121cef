import type { Column } from '../../batch.ts'
import type { TableDefinition } from '../../define.ts'
import { isSliced, type WindowDefinition } from '../../define-window.ts'
import { LakeError } from '../../error.ts'
import { tableColumns } from '../decode/columns.ts'
import { aggregateSql, type WindowShape } from '../../window/sql.ts'

/**
 * What the columns of a window's tables are made of. Where null is no group, group columns are never null. `columns`:
 * those that aggregates may read.
 */
export function shapeOf(
  window: WindowDefinition,
  source: TableDefinition,
  columns: readonly Column[] = tableColumns(source),
): WindowShape {
  const { computed, groupBy, nullGroup, select, input } = window
  const groups = groupBy.map((name): Column => {
    const column = columns.find((candidate) => candidate.name === name)
    if (column === undefined) throw new LakeError('internal', `${window.name}: ${name} is no column of ${source.name}`)
    return { name, type: column.type, required: column.required === true || nullGroup === 'late' }
  })
  return {
    groups,
    aggregates: select.map((each) => aggregateSql(each, columns, input)),
    computed,
    hasLastEvent: input === 'events' || window.window.kind === 'session',
    isSliced: isSliced(window),
  }
}
