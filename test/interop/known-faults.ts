import type { Predicate, Reader } from './readers.ts'

/** Predicates that a reader answers wrongly although the table is right. A test notices when one has been mended. */
export interface KnownFault {
  readonly reader: Reader
  readonly why: string
  readonly matches: (table: string, predicate: Predicate) => boolean
}

export const KNOWN_FAULTS: readonly KnownFault[] = [
  {
    reader: 'pyiceberg',
    why: 'takes an infinite float literal for one that no float can equal',
    matches: (_table, { column, value }) => column === 'a_float' && /^0x[7f]f800000$/.test(String(value)),
  },
  {
    reader: 'pyiceberg',
    why: 'leaves the calendar of Python when it prunes by the first day of the year 1',
    matches: (table, { op, value }) =>
      /^(by_(year|month)|encoded_parts|keyed_parts)$/.test(table) &&
      op !== 'eq' &&
      String(value).startsWith('0001-01-01'),
  },
  {
    reader: 'duckdb',
    why: 'hashes a UUID otherwise than the specification when it prunes by bucket',
    matches: (table, { column, op }) => table === 'by_bucket' && column === 'a_uuid' && op === 'eq',
  },
  {
    reader: 'duckdb',
    why: 'truncates decimals otherwise than the specification when it prunes',
    matches: (table, { column }) => /^(by_truncate|encoded_parts)$/.test(table) && column.startsWith('a_decimal'),
  },
  {
    reader: 'duckdb',
    why: 'rounds times before 1970 towards 1970 when it prunes by day or month',
    matches: (table, { column, value }) =>
      /^(by_(day|month)|encoded_parts)$/.test(table) &&
      column.startsWith('a_timestamp') &&
      String(value).startsWith('1969-'),
  },
  {
    reader: 'java',
    why: 'takes the halves of a UUID for signed numbers when it prunes by the statistics in a Parquet file',
    matches: (table, { column, op }) =>
      /^(every_type|encoded|keyed)$/.test(table) && column === 'a_uuid' && op === 'eq',
  },
  {
    reader: 'spark',
    why: 'takes the halves of a UUID for signed numbers when it prunes by the statistics in a Parquet file',
    matches: (table, { column, op }) =>
      /^(every_type|encoded|keyed)$/.test(table) && column === 'a_uuid' && op === 'eq',
  },
]
