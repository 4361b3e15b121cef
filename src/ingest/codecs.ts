import { Decompress } from 'fzstd'
import lz4 from 'lz4-napi'
import * as zlib from 'node:zlib'
import { uncompressSync } from 'snappy'

/** Codec numbers of a record batch's attributes, bits 0 to 2. */
export const CODEC = { none: 0, gzip: 1, snappy: 2, lz4: 3, zstd: 4 } as const

/**
 * The decompressed records of one batch. Throws a plain Error when the bytes are not what the codec says, or when they
 * would unpack to more than `bytesMax`: a small batch must not be able to fill the memory.
 */
export function decompress(codec: number, data: Uint8Array, bytesMax: number): Uint8Array {
  switch (codec) {
    case CODEC.none:
      return data
    case CODEC.gzip:
      return zlib.gunzipSync(data, { maxOutputLength: bytesMax })
    case CODEC.snappy:
      return unsnappy(data, bytesMax)
    case CODEC.lz4:
      return unlz4(data, bytesMax)
    case CODEC.zstd:
      return unzstd(data, bytesMax)
    default:
      throw new Error(`there is no codec ${codec}`)
  }
}

/** `82 S N A P P Y 0`, version, compatible version, then blocks of length and raw Snappy: what Java's producer writes. */
const XERIAL_MAGIC = Buffer.from([0x82, 0x53, 0x4e, 0x41, 0x50, 0x50, 0x59, 0x00])
const XERIAL_HEADER_BYTES = 16

function unsnappy(data: Uint8Array, bytesMax: number): Uint8Array {
  if (Buffer.compare(data.subarray(0, XERIAL_MAGIC.length), XERIAL_MAGIC) !== 0) return unsnappyBlock(data, bytesMax)
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength)
  const blocks: Uint8Array[] = []
  let total = 0
  for (let at = XERIAL_HEADER_BYTES; at < data.length;) {
    const length = view.getInt32(at)
    if (length < 0 || at + 4 + length > data.length) throw new Error('a Snappy block is cut off')
    const block = unsnappyBlock(data.subarray(at + 4, at + 4 + length), bytesMax - total)
    blocks.push(block)
    total += block.length
    at += 4 + length
  }
  return blocks.length === 1 ? blocks[0]! : Buffer.concat(blocks, total)
}

/** The densest that Snappy packs: three bytes that say "64 bytes from there". */
const SNAPPY_RATIO_MAX = 64 / 3

/** A raw block begins with its unpacked size, a varint; the library reserves that much before it reads on. */
function unsnappyBlock(data: Uint8Array, bytesMax: number): Uint8Array {
  let bytes = 0
  for (let at = 0, scale = 1, byte = 128; byte > 127; at++, scale *= 128) {
    if (at >= data.length) throw new Error('a Snappy block is cut off')
    byte = data[at]!
    bytes += (byte & 127) * scale
  }
  if (bytes > bytesMax) throw new Error(`it unpacks to more than ${bytesMax} bytes`)
  if (bytes > data.length * SNAPPY_RATIO_MAX) throw new Error('a Snappy block promises more than it can hold')
  return uncompressSync(data) as Buffer
}

const LZ4_FRAME_MAGIC = 0x184d2204
const LZ4_BLOCK_CHECKSUM = 0x10
const LZ4_CONTENT_SIZE = 0x08
const LZ4_DICTIONARY_ID = 0x01

function unlz4(data: Uint8Array, bytesMax: number): Uint8Array {
  const bytes = lz4SizeBelow(data)
  if (bytes > bytesMax) throw new Error(`it unpacks to more than ${bytesMax} bytes`)
  return lz4.decompressFrameSync(Buffer.from(data.buffer, data.byteOffset, data.byteLength))
}

/** A lower bound of the unpacked size, from the frame's block headers: every compressed block but the last is full. */
function lz4SizeBelow(data: Uint8Array): number {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength)
  if (view.getUint32(0, true) !== LZ4_FRAME_MAGIC) throw new Error('it is not an LZ4 frame')
  const flags = view.getUint8(4)
  const blockBytesMax = 1 << (8 + 2 * ((view.getUint8(5) >> 4) & 7))
  let at = 7 + (flags & LZ4_CONTENT_SIZE ? 8 : 0) + (flags & LZ4_DICTIONARY_ID ? 4 : 0)
  let total = 0
  let last = 0
  for (;;) {
    const size = view.getUint32(at, true)
    if (size === 0) return total
    total += last
    last = size >>> 31 === 1 ? 0 : blockBytesMax
    if (size >>> 31 === 1) total += size & 0x7fffffff
    at += 4 + (size & 0x7fffffff) + (flags & LZ4_BLOCK_CHECKSUM ? 4 : 0)
  }
}

/** Node has Zstandard of its own from 22.15 on; fzstd is the portable way, and slow. */
const nativeZstd = (zlib as { zstdDecompressSync?: typeof zlib.gunzipSync }).zstdDecompressSync

function unzstd(data: Uint8Array, bytesMax: number): Uint8Array {
  if (nativeZstd !== undefined) return nativeZstd(data, { maxOutputLength: bytesMax })
  const chunks: Uint8Array[] = []
  let total = 0
  let isWhole = false
  const stream = new Decompress((chunk, final) => {
    total += chunk.length
    if (total > bytesMax) throw new Error(`it unpacks to more than ${bytesMax} bytes`)
    chunks.push(chunk)
    isWhole = final === true
  })
  stream.push(withSmallWindow(data, bytesMax), true)
  if (!isWhole) throw new Error('a Zstandard frame is cut off')
  return chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks, total)
}

const ZSTD_BLOCK_BYTES_MAX = 128 << 10
const ZSTD_COMPRESSED_BLOCK = 2

/**
 * fzstd reserves the window that a frame declares, up to 2 GiB, and moves all of it for each block. No frame needs one
 * larger than its content, whose size the block headers bound: so a smaller window is declared in a copy.
 */
function withSmallWindow(data: Uint8Array, bytesMax: number): Uint8Array {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength)
  const flags = view.getUint8(4)
  const isSingleSegment = (flags & 0x20) !== 0
  const contentSizeBytes = flags >> 6 === 0 ? (isSingleSegment ? 1 : 0) : 1 << (flags >> 6)
  const contentSizeAt = (isSingleSegment ? 5 : 6) + [0, 1, 2, 4][flags & 3]!
  if (isSingleSegment) {
    // The window is the content: refuse what is too large before anything is reserved for it.
    const [low, high] = [contentSizeBytes < 4 ? 0 : view.getUint32(contentSizeAt, true), contentSizeBytes === 8]
    if (low > bytesMax || (high && view.getUint32(contentSizeAt + 4, true) > 0))
      throw new Error(`it unpacks to more than ${bytesMax} bytes`)
    return data
  }
  let contentBytesMax = ZSTD_BLOCK_BYTES_MAX
  for (let at = contentSizeAt + contentSizeBytes, isLast = false; !isLast;) {
    const header = view.getUint16(at, true) | (view.getUint8(at + 2) << 16)
    const kind = (header >> 1) & 3
    isLast = (header & 1) === 1
    contentBytesMax += kind === ZSTD_COMPRESSED_BLOCK ? ZSTD_BLOCK_BYTES_MAX : header >> 3
    at += 3 + (kind === 1 ? 1 : header >> 3)
  }
  const exponent = Math.ceil(Math.log2(Math.min(contentBytesMax, bytesMax))) - 10
  if (exponent >= view.getUint8(5) >> 3) return data
  const copy = Uint8Array.from(data)
  copy[5] = exponent << 3
  return copy
}
