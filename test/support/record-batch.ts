import { gzipSync } from 'node:zlib'
import { crc32c } from '@node-rs/crc32'
import lz4 from 'lz4-napi'
import { compressSync } from 'snappy'
import type { LogRecord } from '../../src/ingest/memory-log.ts'

/** Writes record batches of format 2 as a producer and a broker do: the other half of what src/ingest reads. */
export interface BatchOptions {
  readonly compression?: Compression
  readonly baseOffset?: bigint
  /** Offsets of the records relative to the base; default 0, 1, 2, ... Gaps are what compaction leaves. */
  readonly deltas?: readonly number[]
  /** Default: the last delta. Larger when compaction removed the last records. */
  readonly lastOffsetDelta?: number
  readonly leaderEpoch?: number
  readonly producerId?: bigint
  readonly isTransactional?: boolean
  readonly logAppendTimeMs?: number
}

export type Compression = 'none' | 'gzip' | 'snappy' | 'lz4' | 'zstd'

const CODECS: readonly Compression[] = ['none', 'gzip', 'snappy', 'lz4', 'zstd']

export function encodeBatch(records: readonly LogRecord[], options: BatchOptions = {}): Buffer {
  const { compression = 'none', logAppendTimeMs, isTransactional = false } = options
  const deltas = options.deltas ?? records.map((_, i) => i)
  const baseTimestampMs = records[0]?.timestampMs ?? -1
  const body = Buffer.concat(records.map((record, i) => encodeRecord(record, deltas[i]!, baseTimestampMs)))
  const appendTime = logAppendTimeMs === undefined ? 0 : 8
  const attributes = CODECS.indexOf(compression) | appendTime | (isTransactional ? 16 : 0)
  return frame(compress(compression, body), records.length, attributes, {
    ...options,
    lastOffsetDelta: options.lastOffsetDelta ?? deltas.at(-1) ?? 0,
    baseTimestampMs,
    maxTimestampMs: logAppendTimeMs ?? Math.max(-1, ...records.map(({ timestampMs }) => timestampMs)),
  })
}

/** The marker that ends a transaction. Without `type` its record is gone, as after compaction. */
export function encodeMarker(type: 'commit' | 'abort' | undefined, options: BatchOptions = {}): Buffer {
  const key = Buffer.from([0, 0, 0, type === 'abort' ? 0 : 1])
  const records = type === undefined ? [] : [{ timestampMs: 0, key, value: Buffer.alloc(6) }]
  const body = Buffer.concat(records.map((record) => encodeRecord(record, 0, 0)))
  const times = { lastOffsetDelta: 0, baseTimestampMs: 0, maxTimestampMs: 0 }
  return frame(body, records.length, 16 | 32, { ...options, ...times })
}

export function compress(compression: Compression, data: Buffer): Buffer {
  switch (compression) {
    case 'none':
      return data
    case 'gzip':
      return gzipSync(data, { level: 1 })
    case 'snappy':
      return compressSync(data)
    case 'lz4':
      return lz4.compressFrameSync(data)
    case 'zstd':
      return storedZstd(data)
  }
}

/** Snappy in the frames of Java's producer: blocks of 32 KiB behind a header. */
export function compressXerial(data: Buffer): Buffer {
  const parts: Buffer[] = [Buffer.from([0x82, 0x53, 0x4e, 0x41, 0x50, 0x50, 0x59, 0, 0, 0, 0, 1, 0, 0, 0, 1])]
  for (let at = 0; at < data.length; at += 32 << 10) {
    const block = compressSync(data.subarray(at, at + (32 << 10)))
    const length = Buffer.alloc(4)
    length.writeInt32BE(block.length)
    parts.push(length, block)
  }
  return Buffer.concat(parts)
}

/** A Zstandard frame of stored blocks: Node 20 cannot compress, but a frame need not be small to be valid. */
function storedZstd(data: Buffer): Buffer {
  const parts: Buffer[] = [Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x38])] // window of 128 KiB, no sizes, no checksum
  for (let at = 0; ; at += 128 << 10) {
    const block = data.subarray(at, at + (128 << 10))
    const isLast = at + block.length >= data.length
    const head = Buffer.alloc(3)
    head.writeUIntLE((block.length << 3) | (isLast ? 1 : 0), 0, 3)
    parts.push(head, block)
    if (isLast) return Buffer.concat(parts)
  }
}

function frame(
  body: Buffer,
  count: number,
  attributes: number,
  options: BatchOptions & { lastOffsetDelta: number; baseTimestampMs: number; maxTimestampMs: number },
): Buffer {
  const batch = Buffer.concat([Buffer.alloc(61), body])
  batch.writeBigInt64BE(options.baseOffset ?? 0n, 0)
  batch.writeInt32BE(batch.length - 12, 8)
  batch.writeInt32BE(options.leaderEpoch ?? 0, 12)
  batch[16] = 2
  batch.writeInt16BE(attributes, 21)
  batch.writeInt32BE(options.lastOffsetDelta, 23)
  batch.writeBigInt64BE(BigInt(options.baseTimestampMs), 27)
  batch.writeBigInt64BE(BigInt(options.maxTimestampMs), 35)
  batch.writeBigInt64BE(options.producerId ?? -1n, 43)
  batch.writeInt32BE(count, 57)
  return sealBatch(batch)
}

/** Writes the checksum over a batch that was changed. */
export function sealBatch(batch: Buffer): Buffer {
  batch.writeUInt32BE(crc32c(batch.subarray(21)), 17)
  return batch
}

function encodeRecord({ timestampMs, key, value, headers = [] }: LogRecord, delta: number, baseMs: number): Buffer {
  const fields = [
    Buffer.of(0),
    varint(BigInt(timestampMs - baseMs)),
    varint(BigInt(delta)),
    bytes(key),
    bytes(value),
    varint(BigInt(headers.length)),
    ...headers.flatMap((header) => [bytes(Buffer.from(header.key)), bytes(header.value)]),
  ]
  const body = Buffer.concat(fields)
  return Buffer.concat([varint(BigInt(body.length)), body])
}

function bytes(value: Uint8Array | undefined): Buffer {
  return value === undefined ? varint(-1n) : Buffer.concat([varint(BigInt(value.length)), value])
}

function varint(value: bigint): Buffer {
  const out: number[] = []
  let rest = BigInt.asUintN(64, (value << 1n) ^ (value >> 63n))
  for (; rest > 127n; rest >>= 7n) out.push(Number(rest & 127n) | 128)
  return Buffer.from([...out, Number(rest)])
}
