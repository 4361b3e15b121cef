import { packBits, type Column } from './columns.ts'
import { flag, flatBuffer, int16, int32, int64, int8, pairs, table, tables, text, type Part } from './flatbuffer.ts'
import type { BinaryField, BinaryType } from './types.ts'

// Arrow's IPC stream (https://arrow.apache.org/docs/format/Columnar.html#ipc-streaming-format): a schema, batches of rows,
// an end. A message is
//
//   ff ff ff ff | length of the metadata, 32 bits | metadata, a FlatBuffer, padded to 8 | body, padded to 8

const CONTINUATION = 0xffffffff
/** Metadata version 5, and the kinds of header. */
const VERSION = int16(4)
const SCHEMA = 1
const RECORD_BATCH = 3

/** What stands before the first batch. */
export function arrowSchema(fields: readonly BinaryField[]): Uint8Array {
  const schema = table(int16(0), tables(fields.map((field) => fieldPart(field, true)))) // 0: little-endian
  return message(table(VERSION, int8(SCHEMA), schema, int64(0)), [])
}

/** Columns of one length. */
export function arrowBatch(columns: readonly Column[]): Uint8Array {
  const nodes: [length: number, nulls: number][] = []
  const buffers: Uint8Array[] = []
  for (const column of columns) collect(column, nodes, buffers)
  let end = 0
  const places = buffers.map(({ length }): [number, number] => {
    const start = end
    end += length + padding(length)
    return [start, length]
  })
  const header = table(int64(columns[0]!.length), pairs(nodes), pairs(places))
  return message(table(VERSION, int8(RECORD_BATCH), header, int64(end)), buffers)
}

export function arrowEnd(): Uint8Array {
  return Buffer.from([0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0])
}

function message(metadata: Part, body: readonly Uint8Array[]): Uint8Array {
  const head = flatBuffer(metadata)
  const prefix = Buffer.alloc(8)
  prefix.writeUInt32LE(CONTINUATION)
  prefix.writeInt32LE(head.length + padding(head.length), 4)
  return Buffer.concat([
    prefix,
    ...[head, ...body].flatMap((bytes) => [bytes, ZEROS.subarray(0, padding(bytes.length))]),
  ])
}

const ZEROS = new Uint8Array(8)

function padding(length: number): number {
  return -length & 7
}

/** Nodes and buffers of a column in the order of the schema, parents first. */
function collect(column: Column, nodes: [number, number][], buffers: Uint8Array[]): void {
  const { type, length, nulls, valid, data, offsets, children } = column
  nodes.push([length, nulls])
  buffers.push(nulls === 0 ? ZEROS.subarray(0, 0) : packBits(valid))
  switch (type.kind) {
    case 'struct':
      break
    case 'map': // entries of keys and values stand between
      buffers.push(bytesOf(offsets))
      nodes.push([children[0]!.length, 0])
      buffers.push(ZEROS.subarray(0, 0))
      break
    case 'list':
      buffers.push(bytesOf(offsets))
      break
    case 'text':
    case 'bytes':
      buffers.push(bytesOf(offsets), data)
      break
    case 'boolean':
      buffers.push(packBits(data))
      break
    default:
      buffers.push(data)
  }
  for (const child of children) collect(child, nodes, buffers)
}

function bytesOf(offsets: Int32Array): Uint8Array {
  return new Uint8Array(offsets.buffer, offsets.byteOffset, offsets.byteLength)
}

function fieldPart({ name, type }: BinaryField, isNullable: boolean): Part {
  const [kind, detail] = typePart(type)
  return table(text(name), flag(isNullable), int8(kind), detail, undefined, tables(childParts(type)))
}

function childParts(type: BinaryType): readonly Part[] {
  switch (type.kind) {
    case 'list':
      return [fieldPart({ name: 'item', type: type.item }, true)]
    case 'struct':
      return type.fields.map((field) => fieldPart(field, true))
    case 'map': {
      const entry = [
        fieldPart({ name: 'key', type: type.key }, false),
        fieldPart({ name: 'value', type: type.value }, true),
      ]
      return [table(text('entries'), flag(false), int8(STRUCT), table(), undefined, tables(entry))]
    }
    default:
      return []
  }
}

const STRUCT = 13
const TIME_UNITS = { ms: 1, us: 2, ns: 3 } as const

/** Number of the type in the schema's union, and the table that says more of it. */
function typePart(type: BinaryType): readonly [kind: number, detail: Part] {
  switch (type.kind) {
    case 'integer':
      return [2, table(int32(type.bits), flag(type.isSigned))]
    case 'float':
      return [3, table(int16(type.bits === 64 ? 2 : 1))]
    case 'bytes':
      return [4, table()]
    case 'text':
      return [5, table()]
    case 'boolean':
      return [6, table()]
    case 'decimal':
      return [7, table(int32(type.precision), int32(type.scale), int32(128))]
    case 'date':
      return [8, table(int16(0))] // days
    case 'time':
      return [9, table(int16(TIME_UNITS.us), int32(64))]
    case 'timestamp':
      return [10, table(int16(TIME_UNITS[type.unit]), type.isUtc ? text('UTC') : undefined)]
    case 'list':
      return [12, table()]
    case 'struct':
      return [STRUCT, table()]
    case 'map':
      return [17, table(flag(false))]
  }
}
