import type { TableDefinition } from '../../define.ts'
import { tableColumns } from '../decode/columns.ts'
import { unitOf } from '../decode/event-clock.ts'

/** The event time of a stored row as whole milliseconds, as SQL: `value` is the column of its source's event time. */
export function storedEventMs(source: TableDefinition, value: string): string {
  const column = tableColumns(source).find(({ name }) => name === source.eventTime!.column)
  const isInstant = column!.type.kind !== 'long'
  return eventMsSql(isInstant ? `epoch_us(${value})` : value, isInstant ? 'us' : unitOf(source, column))
}

/** Whole milliseconds, rounded toward −∞ (rule T1); null beyond the range of instants (rule T2). */
function eventMsSql(value: string, unit: 's' | 'ms' | 'us'): string {
  const millis =
    unit === 's' ? `${value} * 1000` : unit === 'ms' ? value : `(${value} - ((${value} % 1000) + 1000) % 1000) // 1000`
  return `TRY(CASE WHEN ${millis} BETWEEN -8640000000000000 AND 8640000000000000 THEN ${millis} END)`
}
