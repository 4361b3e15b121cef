import { SYSTEM_COLUMNS, type Column } from '../../batch.ts'
import type { TableDefinition } from '../../define.ts'

const HEADERS: Column = {
  name: 'headers',
  type: {
    kind: 'list',
    element: {
      kind: 'struct',
      fields: [
        { name: 'key', type: { kind: 'string' }, required: true },
        { name: 'value', type: { kind: 'binary' } },
      ],
    },
  },
}

/** What a table with `value: raw` holds of a record, before the system columns. */
export const rawColumns: readonly Column[] = [
  { name: 'key', type: { kind: 'binary' } },
  { name: 'value', type: { kind: 'binary' } },
  HEADERS,
]

/** All columns of a source table as it is stored: declared ones first, then those that the system fills. */
export function tableColumns(definition: TableDefinition): readonly Column[] {
  const isRaw = definition.value === 'raw'
  const extra: Column = { name: SYSTEM_COLUMNS.extra, type: { kind: 'string' } }
  return [
    ...(isRaw ? rawColumns : definition.columns),
    ...(!isRaw && definition.unknown === 'extra' ? [extra] : []),
    { name: SYSTEM_COLUMNS.partition, type: { kind: 'int' } },
    { name: SYSTEM_COLUMNS.offset, type: { kind: 'long' } },
    { name: SYSTEM_COLUMNS.timestamp, type: { kind: 'timestamptz' } },
  ]
}

/** Columns of the companion table of dead letters, the same for every table. */
export const deadLetterColumns: readonly Column[] = [
  { name: SYSTEM_COLUMNS.topic, type: { kind: 'string' }, required: true },
  { name: SYSTEM_COLUMNS.partition, type: { kind: 'int' }, required: true },
  { name: SYSTEM_COLUMNS.offset, type: { kind: 'long' }, required: true },
  { name: SYSTEM_COLUMNS.timestamp, type: { kind: 'timestamptz' } },
  ...rawColumns,
  { name: 'stage', type: { kind: 'string' }, required: true },
  { name: 'code', type: { kind: 'string' }, required: true },
  { name: 'message', type: { kind: 'string' }, required: true },
  { name: 'code_hash', type: { kind: 'string' }, required: true },
  { name: 'status', type: { kind: 'string' }, required: true },
  { name: 'attempts', type: { kind: 'int' }, required: true },
]
