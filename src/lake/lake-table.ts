import { LakeError } from '../error.ts'
import type { ManifestFile } from './manifest-list.ts'
import { decodeMetadata, encodeMetadata, type Snapshot, type TableMetadata } from './metadata.ts'
import type { PartitionSpec } from './partition-spec.ts'
import type { IcebergSchema } from './schema.ts'
import type { Storage } from './storage/storage.ts'

/** A table at one metadata file. Immutable: a change gives a new one. */
export interface LakeTable {
  readonly name: string
  /** The name that it was made by: that of its folder, for ever. */
  readonly folder: string
  /** Key of the metadata file. */
  readonly metadata: string
  /** Current snapshot; undefined while the table is empty. */
  readonly snapshot: bigint | undefined
  readonly uuid: string
  readonly formatVersion: 2 | 3
  readonly schema: IcebergSchema
  readonly spec: PartitionSpec
  readonly properties: Readonly<Record<string, string>>
  /** Rows in data files, deleted ones included. */
  readonly totalRecords: bigint
  /** Rows that are deleted in data files which still hold them. */
  readonly totalDeletes: bigint
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

/**
 * Reads a metadata file. Manifest lists and manifests are read when needed. `name` is what the table is called now.
 * Throws `store.corrupt` when it is missing.
 */
export async function openTable(
  storage: Storage,
  metadata: string,
  name: string = folderOf(metadata),
): Promise<LakeTable> {
  const bytes = await storage.get(metadata)
  if (bytes === undefined)
    throw new LakeError('store.corrupt', `${metadata} is missing`, {
      context: { key: metadata },
      fix: 'A version refers to it. Restore it from a copy of the store.',
    })
  const raw = decodeMetadata(metadata, bytes)
  try {
    return tableOf({ name, folder: folderOf(metadata) }, metadata, raw, undefined)
  } catch (cause) {
    throw new LakeError('store.corrupt', `${metadata} has a snapshot whose summary cannot be read`, {
      cause,
      context: { key: metadata },
    })
  }
}

/** The folder of a table, of the key of its metadata file. */
export function folderOf(metadata: string): string {
  return metadata.split('/').at(-3)!
}

/** Writes the metadata file of number `number`, and gives the table as it is there. */
export async function writeMetadata(
  storage: Storage,
  table: Pick<LakeTable, 'name' | 'folder'>,
  number: number,
  commitId: string,
  raw: TableMetadata,
  manifests: readonly ManifestFile[] | undefined,
): Promise<LakeTable> {
  const key = `tables/${table.folder}/metadata/v${number}-${commitId}.metadata.json`
  await storage.put(key, encodeMetadata(raw))
  return tableOf(table, key, raw, manifests)
}

/** The number of a metadata file. Throws `store.corrupt`. */
export function metadataNumber(key: string): number {
  const number = /\/v(\d+)-[^/]+$/.exec(key)?.[1]
  if (number !== undefined) return Number(number)
  throw new LakeError('store.corrupt', `${key} is not the name of a metadata file of ours`, { context: { key } })
}

function tableOf(
  { name, folder }: Pick<LakeTable, 'name' | 'folder'>,
  metadata: string,
  raw: TableMetadata,
  manifests: readonly ManifestFile[] | undefined,
): LakeTable {
  const current = raw.snapshots.find((snapshot) => snapshot['snapshot-id'] === raw['current-snapshot-id'])
  const total = (what: string) => BigInt(current?.summary[`total-${what}`] ?? 0)
  return {
    name,
    folder,
    metadata,
    snapshot: raw['current-snapshot-id'],
    uuid: raw['table-uuid'],
    formatVersion: raw['format-version'],
    schema: raw.schemas.find((schema) => schema['schema-id'] === raw['current-schema-id'])!,
    spec: raw['partition-specs'].find((spec) => spec['spec-id'] === raw['default-spec-id'])!,
    properties: raw.properties,
    totalRecords: total('records'),
    totalDeletes: total('position-deletes'),
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
