import { avroName, avroTupleType, tupleTypes, type PartitionSpec } from './partition-spec.ts'
import type { IcebergSchema } from './schema.ts'

// The Avro schemas of manifests and manifest lists, field ids and all.

/** What a manifest is written for. */
export interface ManifestShape {
  readonly formatVersion: 2 | 3
  readonly schema: IcebergSchema
  readonly spec: PartitionSpec
}

/** Of a manifest's entries. */
export function entrySchema({ formatVersion, schema, spec }: ManifestShape): unknown {
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

/** Of a manifest list. */
export function listSchema(formatVersion: 2 | 3): unknown {
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
