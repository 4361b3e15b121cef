import type { Column, ColumnType } from '../../src/batch.ts'
import { APPEND, STORED, type TableDefinition } from '../../src/define.ts'
import { deadLetterColumns, tableColumns } from '../../src/ingest/decode/columns.ts'
import type { TablePlan } from '../../src/ingest/lane.ts'
import type { IcebergField, IcebergSchema, IcebergType, PartitionSpec, WritePlan } from '../../src/lake/table.ts'
import type { Header, RecordBatch } from '../../src/log.ts'

/** A complete definition, of which a test says what it is about. */
export function definition(parts: Partial<TableDefinition>): TableDefinition {
  return {
    kind: 'table',
    name: 'orders',
    topic: 'shop.orders',
    value: 'json',
    startAt: 'earliest',
    columns: [],
    eventTime: undefined,
    partitionBy: [],
    onError: 'dead-letter',
    unknown: 'ignore',
    ...APPEND,
    ...STORED,
    ...parts,
  }
}

const UUID = '0f9d2a4e-7d6b-4f64-9a53-0d2c7f5b1e11'

/** A write plan as the lake makes it: field ids top-down, then inside. */
export function writePlan(
  table: string,
  columns: readonly Column[],
  partition: PartitionSpec['fields'] = [],
): WritePlan {
  let next = 1
  const fields = (list: readonly Column[]): IcebergField[] => {
    const ids = list.map(() => next++)
    return list.map(({ name, type, required }, k) => ({
      id: ids[k]!,
      name,
      required: required === true,
      type: icebergType(type),
    }))
  }
  const icebergType = (type: ColumnType): IcebergType => {
    switch (type.kind) {
      case 'decimal':
        return `decimal(${type.precision}, ${type.scale})`
      case 'enum':
        return 'string'
      case 'list': {
        const id = next++
        return { type: 'list', 'element-id': id, element: icebergType(type.element), 'element-required': false }
      }
      case 'map': {
        const [key, value] = [next++, next++]
        return {
          type: 'map',
          'key-id': key,
          key: 'string',
          'value-id': value,
          value: icebergType(type.value),
          'value-required': false,
        }
      }
      case 'struct':
        return { type: 'struct', fields: fields(type.fields) }
      default:
        return type.kind
    }
  }
  const schema: IcebergSchema = { type: 'struct', 'schema-id': 0, fields: fields(columns) }
  const spec = { 'spec-id': 0, fields: partition }
  return { table, uuid: UUID, schema, spec, dataPrefix: `tables/${table}/data/`, formatVersion: 2 }
}

/** A lane's plan of a definition. `partition` names columns and Iceberg transforms, for example `['at', 'day']`. */
export function tablePlan(def: TableDefinition, partition: readonly (readonly [string, string])[] = []): TablePlan {
  const columns = tableColumns(def)
  const fields = partition.map(([name, transform], k) => ({
    'source-id': columns.findIndex((column) => column.name === name) + 1,
    'field-id': 1000 + k,
    name: `${name}_${k}`,
    transform,
  }))
  return {
    table: def.name,
    topic: def.topic,
    data: writePlan(def.name, columns, fields),
    deadLetters: writePlan(`${def.name}__dlq`, deadLetterColumns),
  }
}

export interface TestRecord {
  readonly value: Uint8Array | string | null
  readonly key?: Uint8Array | string | null
  readonly timestampMs?: number
  readonly headers?: readonly Header[]
  readonly offset?: bigint
}

/** Records as one batch, keys and values side by side with bytes between them that are no JSON. */
export function batchOf(
  records: readonly TestRecord[],
  { topic = 'shop.orders', partition = 0, first = 0n }: { topic?: string; partition?: number; first?: bigint } = {},
): RecordBatch {
  const count = records.length
  const parts: Uint8Array[] = []
  let at = 0
  const put = (bytes: Uint8Array): void => {
    parts.push(bytes)
    at += bytes.length
  }
  const ranges = (list: readonly (Uint8Array | string | null | undefined)[], to: Int32Array, k: number): void => {
    const item = list[0]
    if (item === null || item === undefined) to.set([-1, -1], 2 * k)
    else {
      const start = at
      put(Buffer.from(item as string))
      to.set([start, at], 2 * k)
      put(Uint8Array.of(0xa4, 0x33))
    }
  }
  const keyRanges = new Int32Array(2 * count)
  const valueRanges = new Int32Array(2 * count)
  const offsets = BigInt64Array.from(records.map((record, k) => record.offset ?? first + BigInt(k)))
  put(Uint8Array.of(0xff))
  records.forEach((record, k) => {
    ranges([record.key], keyRanges, k)
    ranges([record.value], valueRanges, k)
  })
  const nextOffset = count === 0 ? first : offsets[count - 1]! + 1n
  return {
    topic,
    partition,
    topicId: 'topic-id',
    nextOffset,
    count,
    buffer: Buffer.concat(parts),
    offsets,
    timestampsMs: Float64Array.from(records.map((record) => record.timestampMs ?? 1_700_000_000_000)),
    keyRanges,
    valueRanges,
    headers: (index) => records[index]!.headers ?? [],
    leaderEpoch: 0,
    end: nextOffset,
  }
}
