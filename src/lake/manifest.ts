import type { ColumnMetrics, DataFile, PartitionValue } from './data-file.ts'
import { decodeContainer, encodeContainer } from './avro.ts'
import {
  avroName,
  avroTupleType,
  avroTupleValue,
  summarise,
  tupleTypes,
  tupleValueOf,
  type PartitionSpec,
} from './partition-spec.ts'
import type { IcebergSchema } from './schema.ts'

/** One line of a manifest list: a manifest and what is in it. */
export interface ManifestFile {
  /** Full URI. */
  readonly path: string
  readonly length: number
  readonly specId: number
  readonly sequenceNumber: bigint
  /** Lowest data sequence number of its live entries. */
  readonly minSequenceNumber: bigint
  readonly addedSnapshotId: bigint
  readonly addedFiles: number
  readonly existingFiles: number
  readonly addedRows: bigint
  readonly existingRows: bigint
  /** Avro form of the partition summaries. */
  readonly partitions: readonly unknown[]
  /** v3: row id of its first row. */
  readonly firstRowId: bigint | undefined
}

/** One live file of a table. */
export interface ManifestEntry {
  readonly snapshotId: bigint
  /** Undefined in a file that the manifest's own commit added: it inherits the manifest's. */
  readonly sequenceNumber: bigint | undefined
  readonly firstRowId: bigint | undefined
  readonly path: string
  readonly file: Omit<DataFile, 'key'>
}

/** What a manifest is written for. */
export interface ManifestShape {
  readonly formatVersion: 2 | 3
  readonly schema: IcebergSchema
  readonly spec: PartitionSpec
}

const optional = (type: unknown) => ['null', type]
const field = (id: number, name: string, type: unknown) =>
  Array.isArray(type) ? { name, type, default: null, 'field-id': id } : { name, type, 'field-id': id }
const intMap = (key: number, value: number, type: string) =>
  optional({
    type: 'array',
    logicalType: 'map',
    items: {
      type: 'record',
      name: `k${key}_v${value}`,
      fields: [field(key, 'key', 'int'), field(value, 'value', type)],
    },
  })

/** Fields that only keys, encryption, sorting and row deletes need. Readers of some engines want them to be there. */
const NOTHING = {
  key_metadata: null,
  split_offsets: null,
  equality_ids: null,
  referenced_data_file: null,
  content_offset: null,
  content_size_in_bytes: null,
}

/** Entries with a sequence number are EXISTING, the others ADDED. Returns the file's bytes. */
export function encodeManifest(shape: ManifestShape, entries: readonly ManifestEntry[]): Uint8Array {
  const types = tupleTypes(shape.spec, shape.schema)
  const metadata = {
    schema: JSON.stringify(shape.schema),
    'schema-id': String(shape.schema['schema-id']),
    'partition-spec': JSON.stringify(shape.spec.fields),
    'partition-spec-id': String(shape.spec['spec-id']),
    'format-version': String(shape.formatVersion),
    content: 'data',
  }
  const records = entries.map(({ snapshotId, sequenceNumber, firstRowId, path, file }) => ({
    status: sequenceNumber === undefined ? 1 : 0,
    snapshot_id: { long: snapshotId },
    sequence_number: long(sequenceNumber),
    file_sequence_number: long(sequenceNumber),
    data_file: {
      content: 0,
      file_path: path,
      file_format: 'PARQUET',
      partition: Object.fromEntries(
        shape.spec.fields.map((part, index) => [
          avroName(part.name),
          avroTupleValue(types[index]!, part['field-id'], file.partition[index]!),
        ]),
      ),
      record_count: BigInt(file.recordCount),
      file_size_in_bytes: BigInt(file.fileSizeBytes),
      ...metricMaps(file.metrics),
      ...NOTHING,
      sort_order_id: { int: 0 },
      ...(shape.formatVersion === 3 ? { first_row_id: long(firstRowId) } : {}),
    },
  }))
  return encodeContainer(entrySchema(shape), metadata, records)
}

export function decodeManifest(shape: ManifestShape, name: string, bytes: Uint8Array): ManifestEntry[] {
  const types = tupleTypes(shape.spec, shape.schema)
  return decodeContainer(name, bytes)
    .records.filter(({ status }) => status !== 2)
    .map((entry) => {
      const data = entry.data_file
      return {
        snapshotId: entry.snapshot_id.long,
        sequenceNumber: entry.sequence_number?.long,
        firstRowId: data.first_row_id?.long,
        path: data.file_path,
        file: {
          recordCount: Number(data.record_count),
          fileSizeBytes: Number(data.file_size_in_bytes),
          partition: shape.spec.fields.map(({ name }, index) =>
            tupleValueOf(types[index]!, data.partition[avroName(name)]),
          ),
          metrics: metricsOf(data),
        },
      }
    })
}

/** Tuples of the entries as a manifest list sums them up. */
export function partitionSummaries(shape: ManifestShape, entries: readonly ManifestEntry[]): readonly unknown[] {
  const tuples: (readonly PartitionValue[])[] = entries.map(({ file }) => file.partition)
  return summarise(tupleTypes(shape.spec, shape.schema), tuples)
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
    content: 0,
    sequence_number: manifest.sequenceNumber,
    min_sequence_number: manifest.minSequenceNumber,
    added_snapshot_id: manifest.addedSnapshotId,
    added_files_count: manifest.addedFiles,
    existing_files_count: manifest.existingFiles,
    deleted_files_count: 0,
    added_rows_count: manifest.addedRows,
    existing_rows_count: manifest.existingRows,
    deleted_rows_count: 0n,
    partitions: { array: manifest.partitions },
    key_metadata: null,
    ...(head.formatVersion === 3 ? { first_row_id: long(manifest.firstRowId) } : {}),
  }))
  return encodeContainer(listSchema(head.formatVersion), metadata, records)
}

export function decodeManifestList(name: string, bytes: Uint8Array): ManifestFile[] {
  return decodeContainer(name, bytes).records.map((record) => ({
    path: record.manifest_path,
    length: Number(record.manifest_length),
    specId: record.partition_spec_id,
    sequenceNumber: record.sequence_number,
    minSequenceNumber: record.min_sequence_number,
    addedSnapshotId: record.added_snapshot_id,
    addedFiles: record.added_files_count,
    existingFiles: record.existing_files_count,
    addedRows: record.added_rows_count,
    existingRows: record.existing_rows_count,
    partitions: record.partitions?.array ?? [],
    firstRowId: record.first_row_id?.long,
  }))
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

function entrySchema({ formatVersion, schema, spec }: ManifestShape): unknown {
  const types = tupleTypes(spec, schema)
  const partition = spec.fields.map((part, index) =>
    field(part['field-id'], avroName(part.name), optional(avroTupleType(types[index]!, part['field-id']))),
  )
  return {
    type: 'record',
    name: 'manifest_entry',
    fields: [
      field(0, 'status', 'int'),
      field(1, 'snapshot_id', optional('long')),
      field(3, 'sequence_number', optional('long')),
      field(4, 'file_sequence_number', optional('long')),
      field(2, 'data_file', {
        type: 'record',
        name: 'r2',
        fields: [
          field(134, 'content', 'int'),
          field(100, 'file_path', 'string'),
          field(101, 'file_format', 'string'),
          field(102, 'partition', { type: 'record', name: 'r102', fields: partition }),
          field(103, 'record_count', 'long'),
          field(104, 'file_size_in_bytes', 'long'),
          field(108, 'column_sizes', intMap(117, 118, 'long')),
          field(109, 'value_counts', intMap(119, 120, 'long')),
          field(110, 'null_value_counts', intMap(121, 122, 'long')),
          field(137, 'nan_value_counts', intMap(138, 139, 'long')),
          field(125, 'lower_bounds', intMap(126, 127, 'bytes')),
          field(128, 'upper_bounds', intMap(129, 130, 'bytes')),
          field(131, 'key_metadata', optional('bytes')),
          field(132, 'split_offsets', optional({ type: 'array', 'element-id': 133, items: 'long' })),
          field(135, 'equality_ids', optional({ type: 'array', 'element-id': 136, items: 'int' })),
          field(140, 'sort_order_id', optional('int')),
          ...(formatVersion === 3 ? [field(142, 'first_row_id', optional('long'))] : []),
          field(143, 'referenced_data_file', optional('string')),
          ...(formatVersion === 3
            ? [field(144, 'content_offset', optional('long')), field(145, 'content_size_in_bytes', optional('long'))]
            : []),
        ],
      }),
    ],
  }
}

function listSchema(formatVersion: 2 | 3): unknown {
  return {
    type: 'record',
    name: 'manifest_file',
    fields: [
      field(500, 'manifest_path', 'string'),
      field(501, 'manifest_length', 'long'),
      field(502, 'partition_spec_id', 'int'),
      field(517, 'content', 'int'),
      field(515, 'sequence_number', 'long'),
      field(516, 'min_sequence_number', 'long'),
      field(503, 'added_snapshot_id', 'long'),
      field(504, 'added_files_count', 'int'),
      field(505, 'existing_files_count', 'int'),
      field(506, 'deleted_files_count', 'int'),
      field(512, 'added_rows_count', 'long'),
      field(513, 'existing_rows_count', 'long'),
      field(514, 'deleted_rows_count', 'long'),
      field(
        507,
        'partitions',
        optional({
          type: 'array',
          'element-id': 508,
          items: {
            type: 'record',
            name: 'r508',
            fields: [
              field(509, 'contains_null', 'boolean'),
              field(518, 'contains_nan', optional('boolean')),
              field(510, 'lower_bound', optional('bytes')),
              field(511, 'upper_bound', optional('bytes')),
            ],
          },
        }),
      ),
      field(519, 'key_metadata', optional('bytes')),
      ...(formatVersion === 3 ? [field(520, 'first_row_id', optional('long'))] : []),
    ],
  }
}

function long(value: bigint | undefined): { readonly long: bigint } | null {
  return value === undefined ? null : { long: value }
}

function bufferOf(value: Uint8Array | undefined): Buffer | undefined {
  return value === undefined ? undefined : Buffer.from(value)
}
