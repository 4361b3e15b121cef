import type { Column } from '../batch.ts'
import type { Clock } from '../clock.ts'
import { LakeError } from '../error.ts'
import { folderOf, metadataNumber, writeMetadata, type LakeTable } from './lake-table.ts'
import { aheadOf, newMetadata, successorMetadata } from './metadata.ts'
import { partitionSpec, type PartitionSpec } from './partition-spec.ts'
import { schemaOf, type IcebergSchema } from './schema.ts'
import { uriOf, type Storage } from './storage/storage.ts'

// The door of the lake: tables as values. Other folders import this file, chain.ts and scan.ts, nothing else of lake/.

export { appendFiles, changeTable } from './change-table.ts'
export { claimTable, ownerOf } from './claim.ts'
export { holdFor } from './expire-versions.ts'
export { dropFork } from './forks.ts'
export type { ColumnMetrics, DataFile, PartitionValue } from './data-file.ts'
export {
  COMPACTION,
  compactionState,
  planCompaction,
  type CompactionCandidate,
  type CompactionPlan,
  type CompactionPolicy,
} from './compact.ts'
export { compareFiles, type Side } from './compare-files.ts'
export { DeletedRank, DeletedRows } from './deleted-rows.ts'
export { folderOf, openTable } from './lake-table.ts'
export { encodeMetadata } from './metadata.ts'
export type { LakeTable, SnapshotInfo } from './lake-table.ts'
export { partitionSpec, type PartitionField, type PartitionSpec } from './partition-spec.ts'
export { evolveTable, planSchema, withColumns, writeEvolved, type SchemaChange, type SchemaProblem } from './evolve.ts'
export { changedFiles, readDeletedRows, storedFiles } from './scan.ts'
export { columnType, schemaOf, storedFields, typeName } from './schema.ts'
export type { IcebergField, IcebergSchema, IcebergType } from './schema.ts'
export { isKept } from './reachable.ts'
export { compareValues, lowerBound, singleValue, upperBound } from './single-value.ts'
export { uriOf, type Storage } from './storage/storage.ts'
export type { AddedFile, DeletionVectorRef, FileDeletes, StoredFile, TableChange } from './table-change.ts'
export { baseTag, beforeTag, dropTag, putTag, readTags } from './tags.ts'
export { applyTransform, resultType } from './transform.ts'
export type { Stamp } from './summary.ts'

/** What a table is made from. */
export interface TableSpec {
  readonly name: string
  /** Declared and system columns, in order. */
  readonly columns: readonly Column[]
  readonly partitionBy: readonly string[]
  readonly formatVersion: 2 | 3
  /** Columns that name a row: required, and neither float nor nested. */
  readonly key?: readonly string[]
  /** Beside those that every table has. */
  readonly properties?: Readonly<Record<string, string>>
}

/** All that a lane must know to write data files of a table: plain values, sent to child processes. */
export interface WritePlan {
  readonly table: string
  /** Names the table for ever, whatever it is called; seeds the hashes of its keys. */
  readonly uuid: string
  readonly schema: IcebergSchema
  readonly spec: PartitionSpec
  /** Key prefix for new data files, with a trailing slash. */
  readonly dataPrefix: string
  /** Of Iceberg: says what readers of the table can be taken to know. */
  readonly formatVersion: 2 | 3
}

/** Metadata files of a successor are numbered so far above those of the table before it, which goes on meanwhile. */
const NUMBERS_AHEAD = 2 ** 24

/**
 * Writes the first metadata file (no snapshot) under a name of its own. Nobody refers to it until a version does. The
 * successor of `before` is the same table to whoever knew that: its uuid, folder and field ids, and numbers above its own.
 */
export async function createTable(
  storage: Storage,
  spec: TableSpec,
  clock: Clock,
  before?: LakeTable,
): Promise<LakeTable> {
  const { name, formatVersion } = spec
  const ids = before && { schema: lastSchema(before), lastColumnId: before.raw['last-column-id'] }
  const { schema, lastColumnId } = schemaOf(spec.columns, keyOfSpec(spec), ids)
  const specs = before && { specs: before.raw['partition-specs'], lastFieldId: before.raw['last-partition-id'] }
  const made = {
    formatVersion,
    schema,
    lastColumnId,
    spec: partitionSpec(name, spec.partitionBy, schema, specs),
    nowMs: clock.nowMs(),
    properties: { 'write.format.default': 'parquet', 'kappalake.format': '1', ...spec.properties },
  }
  if (before !== undefined) {
    const number = metadataNumber(before.metadata) + NUMBERS_AHEAD
    const { folder } = before
    return writeMetadata(storage, { name, folder }, number, clock.uuid(), successorMetadata(before.raw, made), [])
  }
  const raw = newMetadata({ ...made, uuid: clock.uuid(), location: uriOf(storage, `tables/${name}`) })
  return writeMetadata(storage, { name, folder: name }, 0, clock.uuid(), raw, [])
}

/**
 * The same rows under numbers far above: what is changed from there on never meets what is changed from here on.
 * `properties` take the place of those of their names.
 */
export function moveAhead(
  storage: Storage,
  table: LakeTable,
  clock: Clock,
  properties: TableSpec['properties'] = {},
): Promise<LakeTable> {
  const number = metadataNumber(table.metadata) + NUMBERS_AHEAD
  const ahead = aheadOf(table.raw, clock.nowMs())
  const raw = { ...ahead, properties: { ...ahead.properties, ...properties } }
  return writeMetadata(storage, table, number, clock.uuid(), raw, table.manifests)
}

/** The current schema, with the greatest id that the table has given to one. */
function lastSchema({ schema, raw }: LakeTable): IcebergSchema {
  return { ...schema, 'schema-id': Math.max(...raw.schemas.map((each) => each['schema-id'])) }
}

export function writePlan(table: LakeTable): WritePlan {
  const { name, folder, uuid, schema, spec, formatVersion } = table
  return { table: name, uuid, schema, spec, dataPrefix: `tables/${folder}/data/`, formatVersion }
}

/**
 * Tells readers by path where the newest metadata of tables is; `metadata` are the keys of those files. A courtesy,
 * written last: nothing of ours depends on it, so nothing fails when it cannot be written.
 */
export async function writeVersionHints(
  storage: Storage,
  tables: readonly { readonly metadata: string }[],
): Promise<void> {
  const hint = async ({ metadata }: { readonly metadata: string }): Promise<void> => {
    const name = /\/v(\d+-[^/]+)\.metadata\.json$/.exec(metadata)![1]!
    await storage.put(`tables/${folderOf(metadata)}/metadata/version-hint.text`, Buffer.from(name, 'latin1'))
  }
  await Promise.allSettled(tables.map(hint))
}

/** Whether columns can be identifier fields: required, and neither float nor nested. */
export function mayName(columns: readonly Column[], key: readonly string[]): boolean {
  return key.every((column) => {
    const found = columns.find((candidate) => candidate.name === column)
    return found?.required === true && !UNNAMING.has(found.type.kind)
  })
}

/** The key's columns. Throws `config.invalid` when one cannot name a row. */
function keyOfSpec({ name, columns, key = [] }: TableSpec): readonly string[] {
  for (const column of key) {
    if (mayName(columns, [column])) continue
    throw new LakeError('config.invalid', `tables.${name}.key: "${column}" cannot be part of a key`, {
      context: { table: name, column },
      fix: 'Name columns of the table that are required, and neither float nor nested.',
    })
  }
  return key
}

const UNNAMING: ReadonlySet<string> = new Set(['float', 'double', 'list', 'map', 'struct'])
