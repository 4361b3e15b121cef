import { createHash } from 'node:crypto'
import { deflateRawSync, inflateRawSync } from 'node:zlib'
import avsc from 'avsc'
import { LakeError } from '../error.ts'
import { skipOf, type Skip } from './avro-bounds.ts'

// Avro object container files whose header keeps our schema text: Iceberg's readers need `field-id`, `element-id` and
// `logicalType` there, and avsc drops attributes that it does not know. avsc encodes the records.

const MAGIC = Buffer.from('Obj\x01', 'latin1')
const RECORDS_PER_BLOCK = 1_000
/** Of deflate: paths that begin alike are most of a manifest, and the quickest level finds that. */
const LEVEL = 1
/** A block unpacked; ours have a thousand records. */
const BLOCK_BYTES_MAX = 256 * 1024 * 1024

const eightBytes = Buffer.alloc(8)

/** 64-bit integers are bigint on both sides. */
const longType = avsc.types.LongType.__with({
  fromBuffer: (bytes: Buffer) => bytes.readBigInt64LE(),
  // avsc has read it when it asks for the next.
  toBuffer: (value: bigint) => {
    eightBytes.writeBigInt64LE(value)
    return eightBytes
  },
  fromJSON: BigInt,
  toJSON: String,
  isValid: (value: unknown) => typeof value === 'bigint',
  compare: (a: bigint, b: bigint) => (a < b ? -1 : a > b ? 1 : 0),
})

const headerType = avsc.Type.forSchema({
  type: 'record',
  name: 'Header',
  fields: [
    { name: 'magic', type: { type: 'fixed', name: 'Magic', size: 4 } },
    { name: 'meta', type: { type: 'map', values: 'bytes' } },
    { name: 'sync', type: { type: 'fixed', name: 'Sync', size: 16 } },
  ],
})
const plainLong = avsc.Type.forSchema('long')
const types = new Map<string, { readonly type: avsc.Type; readonly skip: Skip }>()

/** Records in avsc's form with wrapped unions: `null` or `{ branch: value }`. The bytes are a function of the input. */
export function encodeContainer(
  schema: unknown,
  metadata: Readonly<Record<string, string>>,
  records: readonly unknown[],
): Uint8Array {
  const text = JSON.stringify(schema)
  const { type } = typeOf(text)
  const meta: Record<string, Buffer> = { 'avro.schema': Buffer.from(text), 'avro.codec': Buffer.from('deflate') }
  for (const [key, value] of Object.entries(metadata)) meta[key] = Buffer.from(value)
  const blocks: { readonly count: number; readonly data: Buffer }[] = []
  for (let start = 0; start < records.length; start += RECORDS_PER_BLOCK) {
    const part = records.slice(start, start + RECORDS_PER_BLOCK)
    blocks.push({
      count: part.length,
      data: deflateRawSync(Buffer.concat(part.map((record) => type.toBuffer(record))), { level: LEVEL }),
    })
  }
  const sync = syncOf(blocks.map(({ data }) => data))
  const parts = [headerType.toBuffer({ magic: MAGIC, meta, sync })]
  for (const { count, data } of blocks)
    parts.push(plainLong.toBuffer(count), plainLong.toBuffer(data.length), data, sync)
  return Buffer.concat(parts)
}

export interface Container {
  readonly metadata: Readonly<Record<string, string>>
  readonly records: readonly any[]
}

/** Throws `store.corrupt` when the bytes are not a whole container file. */
export function decodeContainer(name: string, bytes: Uint8Array): Container {
  try {
    return decode(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength))
  } catch (cause) {
    throw new LakeError('store.corrupt', `${name} is not a whole Avro file`, { cause, context: { key: name } })
  }
}

function decode(bytes: Buffer): Container {
  const header = headerType.decode(bytes.subarray(0, skipHeader(bytes, 0)), 0)
  if (header.offset < 0 || !MAGIC.equals(header.value.magic)) throw new Error('no Avro header')
  const metadata = Object.fromEntries(
    Object.entries<Buffer>(header.value.meta).map(([key, value]) => [key, value.toString('utf8')]),
  )
  const { type, skip } = typeOf(metadata['avro.schema']!)
  const isDeflated = metadata['avro.codec'] === 'deflate'
  const records: unknown[] = []
  for (let offset = header.offset; offset < bytes.length;) {
    const count = lengthAt(bytes, offset)
    const length = lengthAt(bytes, count.offset)
    const end = length.offset + length.value
    if (!bytes.subarray(end, end + 16).equals(header.value.sync)) throw new Error('a block is cut')
    const packed = bytes.subarray(length.offset, end)
    const data = isDeflated ? inflateRawSync(packed, { maxOutputLength: BLOCK_BYTES_MAX }) : packed
    let at = 0
    for (let index = 0; index < count.value; index++) {
      const until = skip(data, at)
      if (until === at) throw new Error('records that take no bytes')
      records.push(type.decode(data, at).value)
      at = until
    }
    if (at !== data.length) throw new Error('a block has more than its records')
    offset = end + 16
  }
  return { metadata, records }
}

const skipHeader = skipOf(headerType.schema())

/** Count or length of a block. */
function lengthAt(bytes: Buffer, at: number): { readonly value: number; readonly offset: number } {
  const { value, offset } = plainLong.decode(bytes, at)
  if (offset < 0 || !(value >= 0)) throw new Error('a block has no length')
  return { value, offset }
}

function typeOf(schema: string): { readonly type: avsc.Type; readonly skip: Skip } {
  const known = types.get(schema)
  if (known !== undefined) return known
  const bared: unknown = JSON.parse(schema, bare)
  const type = avsc.Type.forSchema(bared as avsc.Schema, {
    registry: { long: longType },
    wrapUnions: true,
    logicalTypes: {},
  })
  const made = { type, skip: skipOf(bared) }
  if (types.size > 1_000) types.clear()
  types.set(schema, made)
  return made
}

/** `{ type: 'long', logicalType: … }` as `long`: avsc would make a type of its own for it, without bigint. */
function bare(_key: string, value: any): unknown {
  return value?.type === 'long' && value.name === undefined ? 'long' : value
}

function syncOf(blocks: readonly Buffer[]): Buffer {
  const hash = createHash('md5')
  for (const block of blocks) hash.update(block)
  return hash.digest()
}
