/**
 * A data file as a lane stages it and a manifest entry describes it. Plain values: it crosses process boundaries by
 * structured clone.
 */

/** A partition tuple's value in its Iceberg result type: int and date as number, long and times as bigint, decimal as its unscaled bigint. */
export type PartitionValue = null | boolean | number | bigint | string | Uint8Array

export interface ColumnMetrics {
  readonly sizeBytes: number
  /** Nulls included. */
  readonly valueCount: number
  readonly nullCount: number
  /** Only float and double; absent when NaN values exist but are not counted. */
  readonly nanCount?: number
  /** Iceberg single-value bytes (spec appendix D), already truncated and rounded; absent when nothing is known. */
  readonly lower?: Uint8Array
  readonly upper?: Uint8Array
}

export interface DataFile {
  /** Key in the store. */
  readonly key: string
  readonly recordCount: number
  readonly fileSizeBytes: number
  /** One value per field of the partition spec, in its order. */
  readonly partition: readonly PartitionValue[]
  /** By Iceberg field id, leaf columns only. */
  readonly metrics: ReadonlyMap<number, ColumnMetrics>
}
