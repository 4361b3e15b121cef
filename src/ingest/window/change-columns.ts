import { SYSTEM_COLUMNS, type Column, type ColumnType } from '../../batch.ts'
import { columnsRead } from '../../define-sql-tokens.ts'
import { declaredColumns, type TableDefinition } from '../../define.ts'
import type { WindowDefinition } from '../../define-window.ts'
import { tableColumns } from '../decode/columns.ts'
import { LANE_COLUMNS } from './window.ts'

/** What a change file holds beside partition, offset, `LANE_COLUMNS` and the columns that the window reads. */
export const CHANGE_COLUMNS = {
  /** int: number of the operation in its micro-batch; within a key they ascend as the committer folds them. */
  order: '__order',
  /** uuid: the 128 bits of the key's hash, as `StagedKeys` has them. Not a UUID, but nothing else of 16 bytes is as quick. */
  key: '__key',
  /** int: one of `CHANGE`. */
  kind: '__kind',
  /** long: of tables with a version column; null of tombstones. */
  version: '__version',
  /** struct: the other columns of a row that may be late, for the late table; null elsewhere. */
  rest: '__rest',
} as const

/** What an operation does to the row of its key. A tombstone is a delete that has no version, of a table with versions. */
export const CHANGE = { upsert: 0, delete: 1, tombstone: 2, truncate: 3 } as const

/** How a window over the rows of a table sees them. */
export interface RowShape {
  /** What it reads, but for partition and offset, which every row has with it. */
  readonly read: readonly Column[]
  /** What it does not read. */
  readonly rest: readonly Column[]
  /** Those of `read` that a record may leave as they are; in change files they are lists, null: as it was. */
  readonly holes: ReadonlySet<string>
  /** The same of the event time. */
  readonly hasEventHoles: boolean
  /** Whether it matters which record a row came from, when nothing else changes. */
  readonly readsPosition: boolean
  readonly isVersioned: boolean
}

export function rowShapeOf(definition: WindowDefinition, source: TableDefinition): RowShape {
  const { partition, offset } = SYSTEM_COLUMNS
  const position: readonly string[] = [partition, offset]
  const all = tableColumns({ ...source, columns: declaredColumns(source) })
  const columns = all.filter(({ name }) => !position.includes(name))
  const texts = [definition.where, ...definition.select.map(({ where }) => where)].filter((text) => text !== undefined)
  const named = new Set([
    ...definition.groupBy,
    ...definition.select.flatMap(({ column }) => column ?? []),
    ...texts.flatMap((text) => columnsRead(text, [...columns.map(({ name }) => name), ...position])),
  ])
  const read = columns.filter(({ name }) => named.has(name))
  const mayLack = source.missing === 'keep' || source.value === 'debezium'
  const lacked = mayLack
    ? source.columns.filter(({ name, as }) => as === undefined && name !== source.version && !source.key.includes(name))
    : []
  const isLacked = (name: string | undefined): boolean => lacked.some((column) => column.name === name)
  return {
    read,
    rest: columns.filter(({ name }) => !named.has(name)),
    holes: new Set(read.filter(({ name }) => isLacked(name)).map(({ name }) => name)),
    hasEventHoles: isLacked(source.eventTime?.column),
    readsPosition:
      position.some((name) => named.has(name)) || definition.select.some(({ fn }) => fn === 'first' || fn === 'last'),
    isVersioned: source.version !== undefined,
  }
}

/** Columns of the local file that a lane stages for a window over rows: one row per operation on a key. */
export function changeColumns({ read, rest, holes, hasEventHoles, isVersioned }: RowShape): readonly Column[] {
  const listed = (type: ColumnType, isListed: boolean): ColumnType =>
    isListed ? { kind: 'list', element: type } : type
  const fields = rest.map(({ name, type }) => ({ name, type }))
  return [
    { name: CHANGE_COLUMNS.order, type: { kind: 'int' } },
    { name: CHANGE_COLUMNS.key, type: { kind: 'uuid' } },
    { name: SYSTEM_COLUMNS.partition, type: { kind: 'int' } },
    { name: SYSTEM_COLUMNS.offset, type: LONG },
    { name: CHANGE_COLUMNS.kind, type: { kind: 'int' } },
    ...(isVersioned ? [{ name: CHANGE_COLUMNS.version, type: LONG }] : []),
    { name: LANE_COLUMNS.event, type: listed(LONG, hasEventHoles) },
    { name: LANE_COLUMNS.clock, type: LONG },
    ...read.map(({ name, type }) => ({ name, type: listed(type, holes.has(name)) })),
    ...(fields.length === 0 ? [] : [{ name: CHANGE_COLUMNS.rest, type: { kind: 'struct', fields } } as const]),
  ]
}

const LONG: ColumnType = { kind: 'long' }
