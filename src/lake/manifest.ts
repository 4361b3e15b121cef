import { LakeError } from '../error.ts'
import { decodeContainer, encodeContainer } from './avro.ts'
import type { ColumnMetrics, DataFile, PartitionValue } from './data-file.ts'
import { entrySchema, type ManifestShape } from './manifest-schema.ts'
import { avroName, avroTupleValue, summarise, tupleTypes, tupleValueOf } from './partition-spec.ts'

/** A data file, or a deletion vector, as one manifest tells of it. */
interface EntryState {
  /** deleted: no longer part of the table, told as information by the snapshot that did it. */
  readonly status: 'added' | 'existing' | 'deleted'
  /** The snapshot that added it; of a deleted one, the snapshot that deleted it. */
  readonly snapshotId: bigint
  /** Undefined where the manifest's own commit added it: it inherits the manifest's. */
  readonly sequenceNumber: bigint | undefined
  /** That of the commit which added it, whatever the age of its rows. */
  readonly fileSequenceNumber: bigint | undefined
}

export interface ManifestEntry extends EntryState {
  /** Full URI of the data file. */
  readonly path: string
  readonly firstRowId: bigint | undefined
  readonly file: DataFile
}

/** A deletion vector. */
export interface DeleteEntry extends EntryState {
  /** Full URI of the Puffin file that it stands in. */
  readonly path: string
  readonly fileSizeBytes: number
  /** Full URI of the data file that it deletes rows of, and that file's partition tuple. */
  readonly dataFile: string
  readonly partition: readonly PartitionValue[]
  readonly offset: number
  readonly length: number
  /** Rows that it deletes. */
  readonly count: number
}

/** Fields that only keys, encryption, sorting and row deletes need. Readers of some engines want them to be there. */
const NOTHING = {
  key_metadata: null,
  split_offsets: null,
  equality_ids: null,
  referenced_data_file: null,
  content_offset: null,
  content_size_in_bytes: null,
}
const NO_METRICS = {
  column_sizes: null,
  value_counts: null,
  null_value_counts: null,
  nan_value_counts: null,
  lower_bounds: null,
  upper_bounds: null,
}
const STATUS = ['existing', 'added', 'deleted'] as const

/** Returns the bytes of a manifest of data files. */
export function encodeManifest(shape: ManifestShape, entries: readonly ManifestEntry[]): Uint8Array {
  const tuple = tuplesOf(shape)
  const records = entries.map((entry) => ({
    ...stateOf(entry),
    data_file: {
      content: 0,
      file_path: entry.path,
      file_format: 'PARQUET',
      partition: tuple(entry.file.partition),
      record_count: BigInt(entry.file.recordCount),
      file_size_in_bytes: BigInt(entry.file.fileSizeBytes),
      ...metricMaps(entry.file.metrics),
      ...NOTHING,
      sort_order_id: { int: 0 },
      ...(shape.formatVersion === 3 ? { first_row_id: long(entry.firstRowId) } : {}),
    },
  }))
  return encodeContainer(entrySchema(shape), headerOf(shape, 'data'), records)
}

/** Returns the bytes of a manifest of deletion vectors. */
export function encodeDeleteManifest(shape: ManifestShape, entries: readonly DeleteEntry[]): Uint8Array {
  const tuple = tuplesOf(shape)
  const records = entries.map((entry) => ({
    ...stateOf(entry),
    data_file: {
      content: 1,
      file_path: entry.path,
      file_format: 'PUFFIN',
      // Readers look for the deletes of a file under its own tuple.
      partition: tuple(entry.partition),
      record_count: BigInt(entry.count),
      file_size_in_bytes: BigInt(entry.fileSizeBytes),
      ...NO_METRICS,
      ...NOTHING,
      sort_order_id: null,
      first_row_id: null,
      referenced_data_file: { string: entry.dataFile },
      content_offset: long(BigInt(entry.offset)),
      content_size_in_bytes: long(BigInt(entry.length)),
    },
  }))
  return encodeContainer(entrySchema(shape), headerOf(shape, 'deletes'), records)
}

/** The live entries. `keyOf` gives the key of a data file's URI. */
export function decodeManifest(
  shape: ManifestShape,
  name: string,
  bytes: Uint8Array,
  keyOf: (uri: string) => string,
): ManifestEntry[] {
  const types = tupleTypes(shape.spec, shape.schema)
  return liveEntries(name, bytes, (entry) => {
    const data = entry.data_file
    return {
      ...decodedState(entry),
      path: data.file_path,
      firstRowId: data.first_row_id?.long,
      file: {
        key: keyOf(data.file_path),
        recordCount: count(data.record_count),
        fileSizeBytes: count(data.file_size_in_bytes),
        partition: shape.spec.fields.map(({ name }, index) =>
          tupleValueOf(types[index]!, data.partition[avroName(name)]),
        ),
        metrics: metricsOf(data),
      },
    }
  })
}

/** The live entries. Throws when one is no deletion vector: we write no other deletes, and cannot apply them. */
export function decodeDeleteManifest(shape: ManifestShape, name: string, bytes: Uint8Array): DeleteEntry[] {
  const types = tupleTypes(shape.spec, shape.schema)
  return liveEntries(name, bytes, (entry) => {
    const data = entry.data_file
    if (data.content !== 1 || data.file_format !== 'PUFFIN')
      throw new LakeError('store.corrupt', `${name} lists deletes that are no deletion vectors`, {
        context: { key: name, file: data.file_path },
      })
    return {
      ...decodedState(entry),
      path: data.file_path,
      fileSizeBytes: count(data.file_size_in_bytes),
      dataFile: data.referenced_data_file.string,
      partition: shape.spec.fields.map(({ name: part }, index) =>
        tupleValueOf(types[index]!, data.partition[avroName(part)]),
      ),
      offset: count(data.content_offset.long),
      length: count(data.content_size_in_bytes.long),
      count: count(data.record_count),
    }
  })
}

/** Tuples as a manifest list sums them up. */
export function partitionSummaries(
  shape: ManifestShape,
  tuples: readonly (readonly PartitionValue[])[],
): readonly unknown[] {
  return summarise(tupleTypes(shape.spec, shape.schema), tuples)
}

function headerOf({ formatVersion, schema, spec }: ManifestShape, content: string): Readonly<Record<string, string>> {
  return {
    schema: JSON.stringify(schema),
    'schema-id': String(schema['schema-id']),
    'partition-spec': JSON.stringify(spec.fields),
    'partition-spec-id': String(spec['spec-id']),
    'format-version': String(formatVersion),
    content,
  }
}

function stateOf({ status, snapshotId, sequenceNumber, fileSequenceNumber }: EntryState) {
  return {
    status: STATUS.indexOf(status),
    snapshot_id: { long: snapshotId },
    sequence_number: long(sequenceNumber),
    file_sequence_number: long(fileSequenceNumber),
  }
}

function decodedState(entry: any): EntryState {
  return {
    status: statusOf(entry),
    snapshotId: entry.snapshot_id.long,
    sequenceNumber: entry.sequence_number?.long,
    fileSequenceNumber: entry.file_sequence_number?.long,
  }
}

/** An Avro file may be whole, and have other records than a manifest has. */
function liveEntries<E>(name: string, bytes: Uint8Array, read: (entry: any) => E): E[] {
  const { records } = decodeContainer(name, bytes)
  try {
    return records.filter((entry) => statusOf(entry) !== 'deleted').map(read)
  } catch (cause) {
    if (cause instanceof LakeError) throw cause
    throw new LakeError('store.corrupt', `${name} is no manifest of its table`, { cause, context: { key: name } })
  }
}

function statusOf(entry: any): (typeof STATUS)[number] {
  const status = STATUS[entry.status as number]
  if (status === undefined) throw new Error(`an entry has the status ${entry.status}`)
  return status
}

/** A number of rows or bytes. */
function count(value: unknown): number {
  if (typeof value !== 'bigint' || value < 0n || value > Number.MAX_SAFE_INTEGER)
    throw new Error(`${String(value)} is no count`)
  return Number(value)
}

/** Partition tuples in Avro's form. */
function tuplesOf({
  spec,
  schema,
}: ManifestShape): (tuple: readonly PartitionValue[]) => Readonly<Record<string, unknown>> {
  const types = tupleTypes(spec, schema)
  return (tuple) =>
    Object.fromEntries(
      spec.fields.map((part, index) => [
        avroName(part.name),
        avroTupleValue(types[index]!, part['field-id'], tuple[index]!),
      ]),
    )
}

function metricMaps(metrics: ReadonlyMap<number, ColumnMetrics>) {
  const all = [...metrics].toSorted(([a], [b]) => a - b)
  const map = (value: (metrics: ColumnMetrics) => bigint | Buffer | undefined) => ({
    array: all.flatMap(([key, column]) => {
      const found = value(column)
      return found === undefined ? [] : [{ key, value: found }]
    }),
  })
  return {
    column_sizes: map(({ sizeBytes }) => BigInt(sizeBytes)),
    value_counts: map(({ valueCount }) => BigInt(valueCount)),
    null_value_counts: map(({ nullCount }) => BigInt(nullCount)),
    nan_value_counts: map(({ nanCount }) => (nanCount === undefined ? undefined : BigInt(nanCount))),
    lower_bounds: map(({ lower }) => bufferOf(lower)),
    upper_bounds: map(({ upper }) => bufferOf(upper)),
  }
}

function metricsOf(data: any): ReadonlyMap<number, ColumnMetrics> {
  const map = (name: string): ReadonlyMap<number, any> =>
    new Map((data[name]?.array ?? []).map(({ key, value }: any) => [key, value]))
  const [sizes, values, nulls, nans] = ['column_sizes', 'value_counts', 'null_value_counts', 'nan_value_counts'].map(
    map,
  )
  const [lower, upper] = [map('lower_bounds'), map('upper_bounds')]
  return new Map(
    [...values!.keys()].map((id) => [
      id,
      {
        sizeBytes: Number(sizes!.get(id) ?? 0n),
        valueCount: Number(values!.get(id)),
        nullCount: Number(nulls!.get(id) ?? 0n),
        ...(nans!.has(id) ? { nanCount: Number(nans!.get(id)) } : {}),
        ...(lower.has(id) ? { lower: lower.get(id) } : {}),
        ...(upper.has(id) ? { upper: upper.get(id) } : {}),
      },
    ]),
  )
}

function long(value: bigint | undefined): { readonly long: bigint } | null {
  return value === undefined ? null : { long: value }
}

function bufferOf(value: Uint8Array | undefined): Buffer | undefined {
  return value === undefined ? undefined : Buffer.from(value)
}
