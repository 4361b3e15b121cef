import type { Column } from './batch.ts'

/** What a table with `value: raw` holds of a record: nothing is looked into, a null value is a row too. */
export const RAW_COLUMNS: readonly Column[] = [
  { name: 'key', type: { kind: 'binary' } },
  { name: 'value', type: { kind: 'binary' } },
  {
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
  },
]

/** Columns that an archive has beside them: with those of the system they are all that a record is. */
export const ARCHIVE_COLUMN_NAMES = { timestampType: 'timestamp_type', timestampMs: 'timestamp_ms' } as const

/**
 * What an archive holds of a record. `timestamp_type` is `create` (its producer set the timestamp) or `append` (the
 * broker did); `timestamp_ms` is the timestamp where `_timestamp` cannot say it, since no calendar reaches it.
 */
export const ARCHIVE_COLUMNS: readonly Column[] = [
  ...RAW_COLUMNS,
  { name: ARCHIVE_COLUMN_NAMES.timestampType, type: { kind: 'string' } },
  { name: ARCHIVE_COLUMN_NAMES.timestampMs, type: { kind: 'long' } },
]
