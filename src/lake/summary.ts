import type { DataFile } from './data-file.ts'
import type { LakeTable } from './lake-table.ts'
import type { DeleteEntry } from './manifest.ts'
import type { TableChange } from './table-change.ts'

/** What a commit stamps on the snapshots it makes, as copies for strangers. */
export interface Stamp {
  readonly commitId: string
  readonly version: bigint
  /** `topic:p=from-to,…` of the partitions that moved. */
  readonly ranges: string
}

/** What a commit came to, as its manifests have it. */
export interface Effect {
  readonly kind: TableChange['kind']
  readonly added: readonly DataFile[]
  readonly removed: readonly DataFile[]
  /** Deletion vectors that came, and those that were replaced or left with their file. */
  readonly vectorsAdded: readonly DeleteEntry[]
  readonly vectorsRemoved: readonly DeleteEntry[]
}

const RANGES_LENGTH_MAX = 2_048

/** The summary of the snapshot after `table`. Totals go on from those of the table; zeros are left out elsewhere. */
export function summaryOf(table: LakeTable, effect: Effect, stamp: Stamp): Record<string, string> {
  const [added, removed] = [sizeOf(effect.added), sizeOf(effect.removed)]
  const [came, went] = [vectorSize(effect.vectorsAdded), vectorSize(effect.vectorsRemoved)]
  return {
    operation: operationOf(effect),
    ...counts({
      'added-data-files': added.files,
      'deleted-data-files': removed.files,
      'added-records': added.rows,
      'deleted-records': removed.rows,
      'added-files-size': added.bytes + came.bytes,
      'removed-files-size': removed.bytes + went.bytes,
      'added-delete-files': came.vectors,
      'added-dvs': came.vectors,
      'removed-delete-files': went.vectors,
      'removed-dvs': went.vectors,
      'added-position-deletes': came.rows,
      'removed-position-deletes': went.rows,
    }),
    'changed-partition-count': String(partitionsOf(effect)),
    'total-data-files': String(table.totalFiles + added.files - removed.files),
    'total-records': String(table.totalRecords + added.rows - removed.rows),
    'total-files-size': String(table.totalBytes + added.bytes - removed.bytes + came.bytes - went.bytes),
    'total-delete-files': String(totalOf(table, 'delete-files') + came.vectors - went.vectors),
    'total-position-deletes': String(table.totalDeletes + came.rows - went.rows),
    'total-equality-deletes': '0',
    'engine-name': 'kappalake',
    'kappalake.commit': stamp.commitId,
    'kappalake.version': String(stamp.version),
    'kappalake.ranges': stamp.ranges.slice(0, RANGES_LENGTH_MAX),
  }
}

/** Iceberg's four words: readers refuse any other. */
function operationOf({ kind, added, removed, vectorsAdded }: Effect): string {
  if (kind === 'replace') return 'replace'
  const takes = removed.length + vectorsAdded.length > 0
  return takes ? (added.length > 0 ? 'overwrite' : 'delete') : 'append'
}

function totalOf(table: LakeTable, what: string): bigint {
  return BigInt(table.snapshots.find(({ id }) => id === table.snapshot)?.summary[`total-${what}`] ?? 0)
}

function counts(values: Readonly<Record<string, bigint>>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(values).flatMap(([key, value]) => (value === 0n ? [] : [[key, String(value)]])),
  )
}

function sizeOf(files: readonly DataFile[]): { readonly files: bigint; readonly rows: bigint; readonly bytes: bigint } {
  let [rows, bytes] = [0n, 0n]
  for (const { recordCount, fileSizeBytes } of files) {
    rows += BigInt(recordCount)
    bytes += BigInt(fileSizeBytes)
  }
  return { files: BigInt(files.length), rows, bytes }
}

/** Of the vectors themselves, not of the Puffin files around them. */
function vectorSize(vectors: readonly DeleteEntry[]): {
  readonly vectors: bigint
  readonly rows: bigint
  readonly bytes: bigint
} {
  let [rows, bytes] = [0n, 0n]
  for (const { count, length } of vectors) {
    rows += BigInt(count)
    bytes += BigInt(length)
  }
  return { vectors: BigInt(vectors.length), rows, bytes }
}

function partitionsOf({ added, removed, vectorsAdded, vectorsRemoved }: Effect): number {
  const changed = [added, removed, vectorsAdded, vectorsRemoved].flat()
  return new Set(changed.map(({ partition }) => partition.map(String).join('\u0000'))).size
}
