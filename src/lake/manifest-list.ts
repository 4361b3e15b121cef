import { LakeError } from '../error.ts'
import { decodeContainer, encodeContainer } from './avro.ts'
import { listSchema } from './manifest-schema.ts'

/** One line of a manifest list: a manifest and what is in it. */
export interface ManifestFile {
  /** Full URI. */
  readonly path: string
  readonly length: number
  /** Whether it lists data files or deletion vectors. */
  readonly content: 'data' | 'deletes'
  readonly specId: number
  readonly sequenceNumber: bigint
  /** Lowest data sequence number of its live entries. */
  readonly minSequenceNumber: bigint
  readonly addedSnapshotId: bigint
  readonly addedFiles: number
  readonly existingFiles: number
  readonly deletedFiles: number
  readonly addedRows: bigint
  readonly existingRows: bigint
  readonly deletedRows: bigint
  /** Avro form of the partition summaries. */
  readonly partitions: readonly unknown[]
  /** v3: row id of its first row. */
  readonly firstRowId: bigint | undefined
}

export interface ManifestListHead {
  readonly formatVersion: 2 | 3
  readonly snapshotId: bigint
  readonly parentSnapshotId: bigint | undefined
  readonly sequenceNumber: bigint
  /** v3: the snapshot's first row id. */
  readonly firstRowId: bigint | undefined
}

export function encodeManifestList(head: ManifestListHead, manifests: readonly ManifestFile[]): Uint8Array {
  const metadata = {
    'format-version': String(head.formatVersion),
    'snapshot-id': String(head.snapshotId),
    'parent-snapshot-id': String(head.parentSnapshotId ?? 'null'),
    'sequence-number': String(head.sequenceNumber),
    ...(head.firstRowId === undefined ? {} : { 'first-row-id': String(head.firstRowId) }),
  }
  const records = manifests.map((manifest) => ({
    manifest_path: manifest.path,
    manifest_length: BigInt(manifest.length),
    partition_spec_id: manifest.specId,
    content: manifest.content === 'deletes' ? 1 : 0,
    sequence_number: manifest.sequenceNumber,
    min_sequence_number: manifest.minSequenceNumber,
    added_snapshot_id: manifest.addedSnapshotId,
    added_files_count: manifest.addedFiles,
    existing_files_count: manifest.existingFiles,
    deleted_files_count: manifest.deletedFiles,
    added_rows_count: manifest.addedRows,
    existing_rows_count: manifest.existingRows,
    deleted_rows_count: manifest.deletedRows,
    partitions: { array: manifest.partitions },
    key_metadata: null,
    ...(head.formatVersion === 3
      ? { first_row_id: manifest.firstRowId === undefined ? null : { long: manifest.firstRowId } }
      : {}),
  }))
  return encodeContainer(listSchema(head.formatVersion), metadata, records)
}

/** Throws `store.corrupt` when the bytes are no manifest list. */
export function decodeManifestList(name: string, bytes: Uint8Array): ManifestFile[] {
  return decodeContainer(name, bytes).records.map((record) => {
    if (typeof record?.manifest_path !== 'string' || typeof record.sequence_number !== 'bigint')
      throw new LakeError('store.corrupt', `${name} is no list of manifests`, { context: { key: name } })
    return {
      path: record.manifest_path,
      length: Number(record.manifest_length),
      content: record.content === 1 ? 'deletes' : 'data',
      specId: record.partition_spec_id,
      sequenceNumber: record.sequence_number,
      minSequenceNumber: record.min_sequence_number,
      addedSnapshotId: record.added_snapshot_id,
      addedFiles: record.added_files_count,
      existingFiles: record.existing_files_count,
      deletedFiles: record.deleted_files_count,
      addedRows: record.added_rows_count,
      existingRows: record.existing_rows_count,
      deletedRows: record.deleted_rows_count,
      partitions: record.partitions?.array ?? [],
      firstRowId: record.first_row_id?.long,
    }
  })
}
