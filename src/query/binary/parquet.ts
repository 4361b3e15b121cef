import { compressSync } from 'snappy'
import { packBits, type Column } from './columns.ts'
import { leavesOf, levelBytes, type Leaf } from './levels.ts'
import { parquetSchema, physicalType } from './parquet-schema.ts'
import { binary, i32, i64, list, struct, thriftBytes, type ThriftValue } from './thrift.ts'
import type { BinaryField } from './types.ts'

// Parquet (https://github.com/apache/parquet-format): row groups with one data page a leaf, plain values, Snappy; the
// schema and where everything is stand at the end.

export const PARQUET_MAGIC: Uint8Array = Buffer.from('PAR1')
const PLAIN = 0
const RLE = 3
const SNAPPY = 1

/** A Parquet file, part by part. Nothing is kept of a row group but where its columns are. */
export class ParquetWriter {
  readonly #fields: readonly BinaryField[]
  readonly #rowGroups: ThriftValue[] = []
  #rows = 0
  /** Bytes of the file so far. */
  #length = 0

  constructor(fields: readonly BinaryField[]) {
    this.#fields = fields
  }

  /** Columns of one length, which is not 0. The first one has the file's beginning before it. */
  rowGroup(columns: readonly Column[]): Uint8Array {
    const out = this.#begin()
    const chunks: ThriftValue[] = []
    let total = 0
    for (const leaf of columns.flatMap(leavesOf)) {
      const page = pageOf(leaf)
      chunks.push(chunkOf(leaf, page, this.#length))
      out.push(page.header, page.body)
      this.#length += page.header.length + page.body.length
      total += page.header.length + page.plainBytes
    }
    const { length } = columns[0]!
    this.#rowGroups.push(struct({ 1: list(chunks), 2: i64(total), 3: i64(length) }))
    this.#rows += length
    return Buffer.concat(out)
  }

  /** What makes the parts before it a file. */
  end(): Uint8Array {
    const out = this.#begin()
    const footer = thriftBytes(
      struct({
        1: i32(2),
        2: list(parquetSchema(this.#fields)),
        3: i64(this.#rows),
        4: list(this.#rowGroups),
        6: binary('kappalake'),
      }),
    )
    const length = Buffer.alloc(4)
    length.writeUInt32LE(footer.length)
    return Buffer.concat([...out, footer, length, PARQUET_MAGIC])
  }

  #begin(): Uint8Array[] {
    if (this.#length > 0) return []
    this.#length = PARQUET_MAGIC.length
    return [PARQUET_MAGIC]
  }
}

interface Page {
  readonly header: Uint8Array
  readonly body: Uint8Array
  readonly plainBytes: number
}

function pageOf(leaf: Leaf): Page {
  const plain = Buffer.concat([
    levelBytes(leaf.repetitions, leaf.repetitionMax),
    levelBytes(leaf.definitions, leaf.definitionMax),
    plainValues(leaf.column, leaf.present),
  ])
  const body = compressSync(plain)
  const counts = struct({ 1: i32(leaf.definitions.length), 2: i32(PLAIN), 3: i32(RLE), 4: i32(RLE) })
  const header = thriftBytes(struct({ 1: i32(0), 2: i32(plain.length), 3: i32(body.length), 5: counts }))
  return { header, body, plainBytes: plain.length }
}

function chunkOf(leaf: Leaf, { header, body, plainBytes }: Page, at: number): ThriftValue {
  const metadata = struct({
    1: i32(physicalType(leaf.column.type)),
    2: list([i32(PLAIN), i32(RLE)], 5),
    3: list(leaf.path.map(binary), 8),
    4: i32(SNAPPY),
    5: i64(leaf.definitions.length),
    6: i64(header.length + plainBytes),
    7: i64(header.length + body.length),
    9: i64(at),
  })
  return struct({ 2: i64(at), 3: metadata })
}

/** The values that are there, one behind the other. */
function plainValues({ type, data, offsets }: Column, present: Int32Array): Uint8Array {
  switch (type.kind) {
    case 'boolean':
      return packBits(Uint8Array.from(present, (index) => data[index]!))
    case 'integer':
      return type.bits < 32
        ? widened(data, present, type.bits / 8, type.isSigned)
        : picked(data, present, type.bits / 8, type.bits / 8)
    case 'float':
      return picked(data, present, type.bits / 8, type.bits / 8)
    case 'date':
      return picked(data, present, 4, 4)
    case 'decimal':
      if (type.precision <= 9) return picked(data, present, 16, 4)
      return type.precision <= 18 ? picked(data, present, 16, 8) : reversed(picked(data, present, 16, 16))
    case 'text':
    case 'bytes':
      return lengthsAndBytes(data, offsets, present)
    default:
      return picked(data, present, 8, 8)
  }
}

/** Of each value the first `bytes` of `width`. */
function picked(data: Uint8Array, present: Int32Array, width: number, bytes: number): Uint8Array {
  if (width === bytes && present.length * width === data.length) return data
  const out = new Uint8Array(present.length * bytes)
  for (let i = 0; i < present.length; i++) {
    const start = present[i]! * width
    for (let b = 0; b < bytes; b++) out[i * bytes + b] = data[start + b]!
  }
  return out
}

/** Small integers take 32 bits. */
function widened(data: Uint8Array, present: Int32Array, width: number, isSigned: boolean): Uint8Array {
  const values = Buffer.from(data.buffer, data.byteOffset, data.byteLength)
  const out = Buffer.alloc(present.length * 4)
  for (let i = 0; i < present.length; i++) {
    const at = present[i]! * width
    out.writeInt32LE(isSigned ? values.readIntLE(at, width) : values.readUIntLE(at, width), i * 4)
  }
  return out
}

/** Wide decimals are big-endian. */
function reversed(values: Uint8Array): Uint8Array {
  const out = values.slice()
  for (let at = 0; at < out.length; at += 16) out.subarray(at, at + 16).reverse()
  return out
}

function lengthsAndBytes(data: Uint8Array, offsets: Int32Array, present: Int32Array): Uint8Array {
  const out = Buffer.alloc(data.length + present.length * 4)
  let at = 0
  for (const index of present) {
    const value = data.subarray(offsets[index]!, offsets[index + 1]!)
    at = out.writeUInt32LE(value.length, at)
    out.set(value, at)
    at += value.length
  }
  return out.subarray(0, at)
}
