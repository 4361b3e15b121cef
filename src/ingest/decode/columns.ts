import { SYSTEM_COLUMNS, type Column } from '../../batch.ts'
import { expressionsOf } from '../../define-lookup.ts'
import { isSourceVersion, type TableDefinition } from '../../define.ts'
import { ARCHIVE_COLUMNS, RAW_COLUMNS } from '../../define-raw.ts'
import { LANE_COLUMNS } from '../window/window.ts'

/** The columns whose values come out of the record's value (or, raw, are the record), in order. */
export function valueColumns(definition: TableDefinition): readonly Column[] {
  if (definition.value !== 'raw') return definition.columns
  return definition.isArchive === true ? ARCHIVE_COLUMNS : RAW_COLUMNS
}

/** The columns whose values DuckDB computes. */
export function computedColumns({ columns }: TableDefinition): readonly (Column & { readonly as: string })[] {
  return columns.flatMap((column) => (column.as === undefined ? [] : [{ ...column, as: column.as }]))
}

/** All SQL of a table: its computed columns, its filter, and what it looks up by. */
export function sqlOf(definition: TableDefinition): string {
  const { where = '', lookup = [] } = definition
  const looked = lookup.flatMap((each) => expressionsOf(each, []).map(({ sql }) => sql))
  return [where, ...computedColumns(definition).map(({ as }) => as), ...looked].join('\n')
}

/** Whether a text of SQL may read a column: it has its name somewhere. */
export function mayRead(text: string, { name }: Pick<Column, 'name'>): boolean {
  return name.includes('"') || text.toLowerCase().includes(name.toLowerCase())
}

/** What the lane knows of each row that feeds windows, behind the columns of its table. */
export const laneColumns: readonly Column[] = [
  { name: LANE_COLUMNS.event, type: { kind: 'long' } },
  { name: LANE_COLUMNS.clock, type: { kind: 'long' } },
]

export function hasExtra(definition: TableDefinition): boolean {
  return definition.value !== 'raw' && definition.unknown === 'extra'
}

/** All columns of a source table, in the order in which they are stored: declared, then those of the system. */
export function tableColumns(definition: TableDefinition): readonly Column[] {
  return [
    ...valueColumns(definition),
    ...(hasExtra(definition) ? [{ name: SYSTEM_COLUMNS.extra, type: { kind: 'string' } } as const] : []),
    ...(isSourceVersion(definition) ? [{ name: SYSTEM_COLUMNS.version, type: { kind: 'long' } } as const] : []),
    { name: SYSTEM_COLUMNS.partition, type: { kind: 'int' } },
    { name: SYSTEM_COLUMNS.offset, type: { kind: 'long' } },
    { name: SYSTEM_COLUMNS.timestamp, type: { kind: 'timestamptz' } },
  ]
}

/** M_p of the record of a dead letter, where windows are fed; tables that were made before there was such a column lack it. */
export const LETTER_CLOCK = '_clock'

/** Columns of `<table>__dlq`: the record as it came, where it came from, and why it is no row. */
export const deadLetterColumns: readonly Column[] = [
  { name: SYSTEM_COLUMNS.topic, type: { kind: 'string' }, required: true },
  { name: SYSTEM_COLUMNS.partition, type: { kind: 'int' }, required: true },
  { name: SYSTEM_COLUMNS.offset, type: { kind: 'long' }, required: true },
  { name: SYSTEM_COLUMNS.timestamp, type: { kind: 'timestamptz' } },
  ...RAW_COLUMNS,
  { name: 'stage', type: { kind: 'string' }, required: true },
  { name: 'code', type: { kind: 'string' }, required: true },
  { name: 'message', type: { kind: 'string' }, required: true },
  { name: 'code_hash', type: { kind: 'string' }, required: true },
  { name: 'status', type: { kind: 'string' }, required: true },
  { name: 'attempts', type: { kind: 'int' }, required: true },
  { name: LETTER_CLOCK, type: { kind: 'timestamptz' } },
]

/** The stored column that orders the records of a key; undefined when their offsets do. */
export function versionColumn(definition: TableDefinition): string | undefined {
  return isSourceVersion(definition) ? SYSTEM_COLUMNS.version : definition.version
}

/** Columns of `<table>__deletes`: which key was deleted, at which version, by which record. */
export function deletesColumns(definition: TableDefinition): readonly Column[] {
  const version = versionColumn(definition)
  const columns = tableColumns(definition)
  const { partition, offset, timestamp } = SYSTEM_COLUMNS
  const names = [...definition.key, version, partition, offset, timestamp]
  return names.map((name) => {
    const { required: _, ...column } = columns.find((candidate) => candidate.name === name)!
    // The version of a bare tombstone is filled in by the commit that finds the row.
    return definition.key.includes(column.name) ? { ...column, required: true } : column
  })
}
