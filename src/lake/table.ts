import type { Column } from '../batch.ts'
import type { Clock } from '../clock.ts'
import { LakeError } from '../error.ts'
import type { DataFile } from './data-file.ts'
import { expireSnapshots } from './expire.ts'
import {
  encodeManifest,
  encodeManifestList,
  partitionSummaries,
  type ManifestEntry,
  type ManifestFile,
  type ManifestShape,
} from './manifest.ts'
import { mergeManifests, readManifestList } from './manifests.ts'
import {
  decodeMetadata,
  encodeMetadata,
  newMetadata,
  withSnapshot,
  type Snapshot,
  type TableMetadata,
} from './metadata.ts'
import { partitionSpec, type PartitionSpec } from './partition-spec.ts'
import { schemaOf, type IcebergSchema } from './schema.ts'
import { uriOf, type Storage } from './storage/storage.ts'

// The door of the lake: tables as values. Other folders import this file, chain.ts and scan.ts, nothing else of lake/.

export { claimTable } from './claim.ts'
export type { ColumnMetrics, DataFile, PartitionValue } from './data-file.ts'
export { DeletedRank, DeletedRows } from './deleted-rows.ts'
export type { PartitionField, PartitionSpec } from './partition-spec.ts'
export type { IcebergField, IcebergSchema, IcebergType } from './schema.ts'
export { isKept } from './reachable.ts'
export { compareValues, lowerBound, singleValue, upperBound } from './single-value.ts'
export type { Storage } from './storage/storage.ts'
export type { AddedFile, DeletionVectorRef, FileDeletes, StoredFile, TableChange } from './table-change.ts'
export { applyTransform, resultType } from './transform.ts'

/** What a table is made from. */
export interface TableSpec {
  readonly name: string
  /** Declared and system columns, in order. */
  readonly columns: readonly Column[]
  readonly partitionBy: readonly string[]
  readonly formatVersion: 2 | 3
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
}

/** A table at one metadata file. Immutable: a change gives a new one. */
export interface LakeTable {
  readonly name: string
  /** Key of the metadata file. */
  readonly metadata: string
  /** Current snapshot; undefined while the table is empty. */
  readonly snapshot: bigint | undefined
  readonly uuid: string
  readonly formatVersion: 2 | 3
  readonly schema: IcebergSchema
  readonly spec: PartitionSpec
  readonly properties: Readonly<Record<string, string>>
  readonly totalRecords: bigint
  readonly totalFiles: bigint
  readonly totalBytes: bigint
  readonly snapshots: readonly SnapshotInfo[]
  /** Iceberg's own form of all this. */
  readonly raw: TableMetadata
  /** The manifests of the current snapshot, when this process wrote them. */
  readonly manifests: readonly ManifestFile[] | undefined
}

export interface SnapshotInfo {
  readonly id: bigint
  readonly parentId: bigint | undefined
  readonly sequenceNumber: bigint
  readonly timeMs: number
  readonly operation: string
  readonly summary: Readonly<Record<string, string>>
}

/** What a commit stamps on the snapshots it makes, as copies for strangers. */
export interface Stamp {
  readonly commitId: string
  readonly version: bigint
  /** `topic:p=from-to,…` of the partitions that moved. */
  readonly ranges: string
}

const RANGES_LENGTH_MAX = 2_048

/** Writes the first metadata file (no snapshot) under a name of its own. Nobody refers to it until a version does. */
export async function createTable(storage: Storage, spec: TableSpec, clock: Clock): Promise<LakeTable> {
  const { schema, lastColumnId } = schemaOf(spec.columns)
  const raw = newMetadata({
    uuid: clock.uuid(),
    location: uriOf(storage, `tables/${spec.name}`),
    formatVersion: spec.formatVersion,
    schema,
    lastColumnId,
    spec: partitionSpec(spec.name, spec.partitionBy, schema),
    nowMs: clock.nowMs(),
    properties: { 'write.format.default': 'parquet', 'kappalake.format': '1' },
  })
  return writeMetadata(storage, spec.name, 0, clock.uuid(), raw, [])
}

/** Reads a metadata file. Manifest lists and manifests are read when needed. Throws `store.corrupt` when it is missing. */
export async function openTable(storage: Storage, metadata: string): Promise<LakeTable> {
  const bytes = await storage.get(metadata)
  if (bytes === undefined)
    throw new LakeError('store.corrupt', `${metadata} is missing`, {
      context: { key: metadata },
      fix: 'A version refers to it. Restore it from a copy of the store.',
    })
  const name = metadata.split('/').at(-3)!
  return tableOf(name, metadata, decodeMetadata(metadata, bytes), undefined)
}

export function writePlan(table: LakeTable): WritePlan {
  const { name, uuid, schema, spec } = table
  return { table: name, uuid, schema, spec, dataPrefix: `tables/${name}/data/` }
}

/**
 * Adds files in a new snapshot of a new metadata file. Existing manifests are referred to, never rewritten, except that
 * small ones are merged now and then. Nobody sees any of it until a version names the metadata file. Without files the
 * table comes back as it is.
 */
export async function appendFiles(
  storage: Storage,
  table: LakeTable,
  files: readonly DataFile[],
  stamp: Stamp,
  clock: Clock,
): Promise<LakeTable> {
  if (files.length === 0) return table
  assertFiles(table, files)
  const { raw } = table
  const shape: ManifestShape = table
  const snapshotId = newSnapshotId(clock)
  const sequenceNumber = raw['last-sequence-number'] + 1n
  const before = table.manifests ?? (await readManifestList(storage, table))
  const added = await writeManifest(storage, table, shape, snapshotId, sequenceNumber, files, clock)
  const merged = await mergeManifests(storage, table, shape, before, snapshotId, sequenceNumber, clock)
  const { manifests, nextRowId } = withRowIds([added, ...merged], raw['next-row-id'])

  const listKey = `tables/${table.name}/metadata/snap-${snapshotId}-1-${clock.uuid()}.avro`
  const parentSnapshotId = raw['current-snapshot-id']
  const firstRowId = raw['next-row-id']
  const head = { formatVersion: table.formatVersion, snapshotId, parentSnapshotId, sequenceNumber, firstRowId }
  await storage.put(listKey, encodeManifestList(head, manifests))

  const snapshot: Snapshot = {
    'snapshot-id': snapshotId,
    ...(parentSnapshotId === undefined ? {} : { 'parent-snapshot-id': parentSnapshotId }),
    'sequence-number': sequenceNumber,
    'timestamp-ms': Math.max(raw['last-updated-ms'] + 1, clock.nowMs()),
    'manifest-list': uriOf(storage, listKey),
    summary: summaryOf(table, files, stamp),
    'schema-id': raw['current-schema-id'],
    ...(firstRowId === undefined ? {} : { 'first-row-id': firstRowId, 'added-rows': nextRowId! - firstRowId }),
  }
  const next = expireSnapshots(withSnapshot(raw, snapshot, uriOf(storage, table.metadata)))
  return writeMetadata(storage, table.name, metadataNumber(table.metadata) + 1, stamp.commitId, next, manifests)
}

/** Tells readers by path where the newest metadata is. A courtesy, written last; nobody here ever reads it. */
export async function writeVersionHint(storage: Storage, table: LakeTable): Promise<void> {
  const name = /\/v(\d+-[^/]+)\.metadata\.json$/.exec(table.metadata)![1]!
  await storage.put(`tables/${table.name}/metadata/version-hint.text`, Buffer.from(name, 'latin1'))
}

/** What would lose rows silently in a reader is refused before it is written. */
function assertFiles(table: LakeTable, files: readonly DataFile[]): void {
  const { dataPrefix, spec } = writePlan(table)
  const wrong = files.find(
    ({ key, recordCount, fileSizeBytes, partition }) =>
      !key.startsWith(dataPrefix) || recordCount < 0 || fileSizeBytes < 1 || partition.length !== spec.fields.length,
  )
  const twice = files.length - new Set(files.map(({ key }) => key)).size
  if (wrong !== undefined || twice > 0)
    throw new LakeError(
      'internal',
      `${table.name}: ${wrong?.key ?? 'a file'} ${wrong ? 'is no data file' : 'stands twice'}`,
    )
}

async function writeManifest(
  storage: Storage,
  table: LakeTable,
  shape: ManifestShape,
  snapshotId: bigint,
  sequenceNumber: bigint,
  files: readonly DataFile[],
  clock: Clock,
): Promise<ManifestFile> {
  const entries = files.map(({ key, ...file }): ManifestEntry => ({
    snapshotId,
    sequenceNumber: undefined,
    firstRowId: undefined,
    path: uriOf(storage, key),
    file,
  }))
  const key = `tables/${table.name}/metadata/${clock.uuid()}-m0.avro`
  const bytes = encodeManifest(shape, entries)
  await storage.put(key, bytes)
  return {
    path: uriOf(storage, key),
    length: bytes.length,
    specId: shape.spec['spec-id'],
    sequenceNumber,
    minSequenceNumber: sequenceNumber,
    addedSnapshotId: snapshotId,
    addedFiles: entries.length,
    existingFiles: 0,
    addedRows: files.reduce((rows, file) => rows + BigInt(file.recordCount), 0n),
    existingRows: 0n,
    partitions: partitionSummaries(shape, entries),
    firstRowId: undefined,
  }
}

/** v3: manifests without a first row id get the running one, in the order of the list. */
function withRowIds(
  manifests: readonly ManifestFile[],
  nextRowId: bigint | undefined,
): { readonly manifests: readonly ManifestFile[]; readonly nextRowId: bigint | undefined } {
  if (nextRowId === undefined) return { manifests, nextRowId }
  let running = nextRowId
  const assigned = manifests.map((manifest) => {
    if (manifest.firstRowId !== undefined) return manifest
    const firstRowId = running
    running += manifest.addedRows + manifest.existingRows
    return { ...manifest, firstRowId }
  })
  return { manifests: assigned, nextRowId: running }
}

function summaryOf(table: LakeTable, files: readonly DataFile[], stamp: Stamp): Record<string, string> {
  const records = files.reduce((sum, file) => sum + BigInt(file.recordCount), 0n)
  const bytes = files.reduce((sum, file) => sum + BigInt(file.fileSizeBytes), 0n)
  const tuples = new Set(files.map(({ partition }) => partition.map(String).join('\u0000')))
  return {
    operation: 'append',
    'added-data-files': String(files.length),
    'added-records': String(records),
    'added-files-size': String(bytes),
    'changed-partition-count': String(tuples.size),
    'total-data-files': String(table.totalFiles + BigInt(files.length)),
    'total-records': String(table.totalRecords + records),
    'total-files-size': String(table.totalBytes + bytes),
    'total-delete-files': '0',
    'total-position-deletes': '0',
    'total-equality-deletes': '0',
    'engine-name': 'kappalake',
    'kappalake.commit': stamp.commitId,
    'kappalake.version': String(stamp.version),
    'kappalake.ranges': stamp.ranges.slice(0, RANGES_LENGTH_MAX),
  }
}

async function writeMetadata(
  storage: Storage,
  name: string,
  number: number,
  commitId: string,
  raw: TableMetadata,
  manifests: readonly ManifestFile[],
): Promise<LakeTable> {
  const key = `tables/${name}/metadata/v${number}-${commitId}.metadata.json`
  await storage.put(key, encodeMetadata(raw))
  return tableOf(name, key, raw, manifests)
}

function tableOf(
  name: string,
  metadata: string,
  raw: TableMetadata,
  manifests: readonly ManifestFile[] | undefined,
): LakeTable {
  const current = raw.snapshots.find((snapshot) => snapshot['snapshot-id'] === raw['current-snapshot-id'])
  const total = (what: string) => BigInt(current?.summary[`total-${what}`] ?? 0)
  return {
    name,
    metadata,
    snapshot: raw['current-snapshot-id'],
    uuid: raw['table-uuid'],
    formatVersion: raw['format-version'],
    schema: raw.schemas.find((schema) => schema['schema-id'] === raw['current-schema-id'])!,
    spec: raw['partition-specs'].find((spec) => spec['spec-id'] === raw['default-spec-id'])!,
    properties: raw.properties,
    totalRecords: total('records'),
    totalFiles: total('data-files'),
    totalBytes: total('files-size'),
    snapshots: raw.snapshots.map(infoOf),
    raw,
    manifests,
  }
}

function infoOf(snapshot: Snapshot): SnapshotInfo {
  return {
    id: snapshot['snapshot-id'],
    parentId: snapshot['parent-snapshot-id'],
    sequenceNumber: snapshot['sequence-number'],
    timeMs: snapshot['timestamp-ms'],
    operation: snapshot.summary['operation'] ?? 'append',
    summary: snapshot.summary,
  }
}

function metadataNumber(key: string): number {
  return Number(/\/v(\d+)-[^/]+$/.exec(key)?.[1] ?? keyOfForeign(key))
}

function keyOfForeign(key: string): never {
  throw new LakeError('store.corrupt', `${key} is not the name of a metadata file of ours`, { context: { key } })
}

/** Random, positive, 63 bits. */
function newSnapshotId(clock: Clock): bigint {
  const id = BigInt(`0x${clock.uuid().replaceAll('-', '').slice(16)}`) & 0x7fff_ffff_ffff_ffffn
  return id === 0n ? 1n : id
}
