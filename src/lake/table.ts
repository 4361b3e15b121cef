import type { Column } from '../batch.ts'
import type { Clock } from '../clock.ts'
import type { DataFile } from './data-file.ts'
import type { Storage } from './storage/storage.ts'
export type { Storage } from './storage/storage.ts'
export type { DataFile } from './data-file.ts'

// SKETCH: signatures only; the lake room writes the bodies.

/** What a table is made from. */
export interface TableSpec {
  readonly name: string
  /** Declared and system columns, in order. */
  readonly columns: readonly Column[]
  readonly partitionBy: readonly string[]
  readonly formatVersion: 2 | 3
}

/** Iceberg's schema JSON with field ids; `type` is Iceberg's own form. */
export interface IcebergField {
  readonly id: number
  readonly name: string
  readonly required: boolean
  readonly type: IcebergType
  readonly doc?: string
}
export type IcebergType =
  | string
  | { readonly type: 'struct'; readonly fields: readonly IcebergField[] }
  | {
      readonly type: 'list'
      readonly 'element-id': number
      readonly element: IcebergType
      readonly 'element-required': boolean
    }
  | {
      readonly type: 'map'
      readonly 'key-id': number
      readonly key: IcebergType
      readonly 'value-id': number
      readonly value: IcebergType
      readonly 'value-required': boolean
    }
export interface IcebergSchema {
  readonly type: 'struct'
  readonly 'schema-id': number
  readonly fields: readonly IcebergField[]
}
export interface PartitionField {
  readonly 'source-id': number
  readonly 'field-id': number
  readonly name: string
  readonly transform: string
}
export interface PartitionSpec {
  readonly 'spec-id': number
  readonly fields: readonly PartitionField[]
}

/** All that a lane must know to write data files of a table: plain values, sent to child processes. */
export interface WritePlan {
  readonly table: string
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
}

export interface SnapshotInfo {
  readonly id: bigint
  readonly parentId: bigint | undefined
  readonly sequenceNumber: bigint
  readonly timeMs: number
  readonly operation: string
  readonly summary: Readonly<Record<string, string>>
}

/** What a commit stamps on the snapshots it makes. */
export interface Stamp {
  readonly commitId: string
  readonly version: bigint
  /** `topic:p=from-to,…` of the touched partitions. */
  readonly ranges: string
}

/** Writes the first metadata file (no snapshot) under a name of its own. Nobody refers to it until a version does. */
export declare function createTable(storage: Storage, spec: TableSpec, clock: Clock): Promise<LakeTable>
/** Reads a metadata file. Manifest lists and manifests are read when needed. Throws `store.corrupt` when it is missing. */
export declare function openTable(storage: Storage, metadata: string): Promise<LakeTable>
export declare function writePlan(table: LakeTable): WritePlan
/** Adds files in a new snapshot of a new metadata file. Costs O(files added) plus the manifest list. */
export declare function appendFiles(
  storage: Storage,
  table: LakeTable,
  files: readonly DataFile[],
  stamp: Stamp,
  clock: Clock,
): Promise<LakeTable>
