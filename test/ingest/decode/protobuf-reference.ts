import protobuf from 'protobufjs'
import type { Column, ColumnType } from '../../../src/batch.ts'
import type { TableDefinition } from '../../../src/define.ts'
import { NativeText } from '../../../src/ingest/decode/native-text.ts'
import { SlabPool } from '../../../src/ingest/decode/slab.ts'
import { TableDecoder } from '../../../src/ingest/decode/table-decoder.ts'
import {
  TIMESTAMP,
  wrappedScalar,
  type ProtoField,
  type ProtoSchema,
  type ProtoType,
} from '../../../src/protobuf-schema.ts'
import { batchOf, type TestRecord } from '../../support/lake-table.ts'
import { slabRows } from '../../support/slab-rows.ts'
import type { Plain } from './reference.ts'

/** What records come to: rows by their columns, bytes as hex, maps in the order of their keys; or the code of a dead letter. */
export function decoded(
  def: TableDefinition,
  records: readonly (TestRecord | Uint8Array)[],
): readonly (readonly Plain[] | string)[] {
  const native = new NativeText()
  const decoder = new TableDecoder(def, native, new SlabPool())
  const batch = batchOf(records.map((record) => (record instanceof Uint8Array ? { value: record } : record)))
  try {
    const { rows, deadLetters } = decoder.decode([batch], new Set())
    const extra: Column[] = def.unknown === 'extra' ? [{ name: '_extra', type: { kind: 'string' } }] : []
    const columns = [...def.columns, ...extra]
    const places: Column[] = [
      { name: '_kafka_partition', type: { kind: 'int' } },
      { name: '_offset', type: { kind: 'long' } },
    ]
    const seen: (readonly Plain[] | string)[] = []
    for (const row of slabRows(rows, [...columns, ...places]))
      seen[Number(row.at(-1))] = row.slice(0, columns.length).map((value, k) => sorted(value, columns[k]!.type))
    const letters: Column[] = [
      { name: '_topic', type: { kind: 'string' } },
      ...places,
      { name: '_timestamp', type: { kind: 'timestamptz' } },
      { name: 'key', type: { kind: 'binary' } },
      { name: 'value', type: { kind: 'binary' } },
      { name: 'headers', type: { kind: 'list', element: { kind: 'struct', fields: [] } } },
      { name: 'stage', type: { kind: 'string' } },
      { name: 'code', type: { kind: 'string' } },
    ]
    for (const letter of slabRows(deadLetters, letters)) seen[Number(letter[2])] = String(letter[8])
    return seen
  } finally {
    native.clear()
  }
}

/** A message as protobufjs reads it, in the same form. */
export function reference(
  schema: ProtoSchema,
  columns: readonly Column[],
  type: protobuf.Type,
  bytes: Uint8Array,
): readonly Plain[] {
  return structOf(schema, schema.message, columns, type.decode(bytes) as unknown as Message)
}

interface Message {
  readonly [name: string]: unknown
}

function structOf(schema: ProtoSchema, message: string, columns: readonly Column[], value: Message): Plain[] {
  return columns.map(({ name, type }) => {
    const field = schema.messages[message]!.find((candidate) => candidate.name === name)!
    return fieldOf(schema, field, type, Object.hasOwn(value, name) ? value[name] : undefined)
  })
}

function fieldOf(schema: ProtoSchema, field: ProtoField, column: ColumnType, value: unknown): Plain {
  if (field.kind === 'list' && column.kind === 'list')
    return ((value ?? []) as unknown[]).map((item) => valueOf(schema, field.type, column.element, item))
  if (field.kind === 'map' && column.kind === 'map')
    return sorted(
      Object.entries((value ?? {}) as object).map(([key, item]) => [
        field.key === 'string' || field.key === 'bool' ? key : keyText(key),
        valueOf(schema, field.type, column.value, item),
      ]),
      column,
    )
  if (value === undefined || value === null) return field.hasPresence === true ? null : zeroOf(schema, field.type)
  return valueOf(schema, field.type, column, value)
}

/** Keys of 64 bits are eight characters in protobufjs. */
function keyText(key: string): string {
  return key.length === 8 && !/^-?\d+$/.test(key) ? protobuf.util.longFromHash(key).toString() : key
}

function valueOf(schema: ProtoSchema, type: ProtoType, column: ColumnType, value: unknown): Plain {
  if (type.kind === 'enum') {
    const symbol = Object.entries(schema.enums[type.name]!).find(([, number]) => number === value)?.[0]
    return symbol ?? String(value)
  }
  if (type.kind === 'message') {
    const message = value as Message
    const wrapped = wrappedScalar(type.name)
    if (wrapped !== undefined)
      return Object.hasOwn(message, 'value')
        ? scalarOf(message['value'])
        : zeroOf(schema, { kind: 'scalar', scalar: wrapped })
    if (type.name === TIMESTAMP) {
      const [seconds, nanos] = [message['seconds'], message['nanos']].map((part) => BigInt(String(part ?? 0)))
      return String(seconds! * 1_000_000n + nanos! / 1_000n)
    }
    return column.kind === 'struct' ? structOf(schema, type.name, column.fields, message) : null
  }
  return scalarOf(value)
}

function scalarOf(value: unknown): Plain {
  if (typeof value === 'string') return value
  if (value instanceof Uint8Array) return Buffer.from(value).toString('hex')
  return typeof value === 'number' ? String(value + 0) : String(value)
}

function zeroOf(schema: ProtoSchema, type: ProtoType): Plain {
  if (type.kind === 'enum') return valueOf(schema, type, { kind: 'string' }, 0)
  if (type.kind === 'message') return null
  return { string: '', bytes: '', bool: 'false' }[type.scalar as 'string'] ?? '0'
}

/** Maps by their keys. */
function sorted(value: Plain, type: ColumnType): Plain {
  if (value === null || typeof value === 'string') return value
  if (type.kind === 'list') return value.map((item) => sorted(item, type.element))
  if (type.kind === 'struct') return value.map((item, k) => sorted(item, type.fields[k]!.type))
  if (type.kind !== 'map') return value
  const entries = (value as readonly (readonly [string, Plain])[]).map(
    ([key, item]) => [key, sorted(item, type.value)] as const,
  )
  return entries.toSorted(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))
}
