import { endianness } from 'node:os'
import { LakeError } from '../error.ts'
import type { Header } from '../log.ts'

/**
 * The records of a batch, as typed arrays. One record is, all numbers as zigzag varints but the attributes:
 *
 *   length | attributes i8 | timestampDelta | offsetDelta | keyLength key | valueLength value | headerCount headers
 *   header: keyLength key | valueLength value
 */
export interface Columns {
  readonly offsets: BigInt64Array
  readonly timestampsMs: Float64Array
  /** Where a broker set the timestamp; undefined while it set none. */
  appendTimes: Uint8Array | undefined
  readonly keyRanges: Int32Array
  readonly valueRanges: Int32Array
  /** Where each record's header count stands. */
  readonly headerStarts: Int32Array
}

export interface RecordsOfBatch {
  readonly start: number
  readonly end: number
  readonly baseOffset: bigint
  readonly count: number
  readonly lastOffsetDelta: number
  readonly baseTimestampMs: number
  readonly logAppendTimeMs: number | undefined
}

// Offsets are written as two 32-bit words, because a BigInt per record would be an object per record.
const LOW = endianness() === 'LE' ? 0 : 1
const HIGH = 1 - LOW
const WORD = 2 ** 32

/**
 * Writes the records whose offset delta is at least `deltaMin` to the columns, from `index` on. Answers the index
 * behind the last one, or -1 when the records do not fill [start, end) exactly or their offsets do not ascend.
 */
export function readRecords(
  data: Uint8Array,
  batch: RecordsOfBatch,
  deltaMin: number,
  out: Columns,
  index: number,
): number {
  const { end, count, baseTimestampMs, logAppendTimeMs, lastOffsetDelta } = batch
  const words = new Uint32Array(out.offsets.buffer, out.offsets.byteOffset, 2 * out.offsets.length)
  const baseLow = Number(BigInt.asUintN(32, batch.baseOffset))
  const baseHigh = Number(BigInt.asUintN(32, batch.baseOffset >> 32n))
  let at = batch.start
  let next = index
  let deltaBefore = -1
  for (let i = 0; i < count; i++) {
    const length = readVarint(data, at)
    const recordEnd = valueEnd + length
    if (length < 6 || recordEnd > end) return -1
    const timestampDelta = readVarlong(data, valueEnd + 1)
    const delta = readVarint(data, valueEnd)
    if (delta <= deltaBefore || delta > lastOffsetDelta) return -1
    deltaBefore = delta
    const keyLength = readVarint(data, valueEnd)
    const keyStart = valueEnd
    const keyEnd = keyLength > 0 ? keyStart + keyLength : keyStart
    const valueLength = readVarint(data, keyEnd)
    const start = valueEnd
    const headersAt = valueLength > 0 ? start + valueLength : start
    if (keyLength < -1 || valueLength < -1 || headersAt >= recordEnd) return -1
    const headerCount = readVarint(data, headersAt)
    if (headerCount < 0 || (headerCount === 0 && valueEnd !== recordEnd)) return -1
    at = recordEnd
    if (delta < deltaMin) continue
    const low = baseLow + delta
    words[2 * next + LOW] = low
    words[2 * next + HIGH] = low < WORD ? baseHigh : baseHigh + 1
    out.timestampsMs[next] = logAppendTimeMs ?? baseTimestampMs + timestampDelta
    out.keyRanges[2 * next] = keyLength < 0 ? -1 : keyStart
    out.keyRanges[2 * next + 1] = keyLength < 0 ? -1 : keyEnd
    out.valueRanges[2 * next] = valueLength < 0 ? -1 : start
    out.valueRanges[2 * next + 1] = valueLength < 0 ? -1 : headersAt
    out.headerStarts[next++] = headersAt
  }
  return at === end ? next : -1
}

/** The headers that begin at `start`. Throws `kafka.corrupt` when they do not fit. */
export function readHeaders(data: Uint8Array, start: number): Header[] {
  const headers: Header[] = []
  const bytes = (length: number): Uint8Array => {
    const from = valueEnd
    valueEnd += length
    if (length < 0 || valueEnd > data.length)
      throw new LakeError('kafka.corrupt', 'the headers of a record are cut off')
    return data.subarray(from, valueEnd)
  }
  const count = readVarint(data, start)
  for (let i = 0; i < count; i++) {
    const key = Buffer.from(bytes(readVarint(data, valueEnd))).toString()
    const length = readVarint(data, valueEnd)
    headers.push({ key, value: length < 0 ? undefined : bytes(length) })
  }
  return headers
}

/** Where the number that was read last ends: a second result without an object. */
let valueEnd = 0

/** A zigzag varint of 32 bits. Beyond the end of the data it reads zeros, which never fit the lengths around them. */
function readVarint(data: Uint8Array, at: number): number {
  let byte = data[at]!
  valueEnd = at + 1
  if (byte < 128) return (byte >>> 1) ^ -(byte & 1)
  let value = byte & 127
  for (let shift = 7; shift < 35; shift += 7) {
    byte = data[valueEnd++]!
    value |= (byte & 127) << shift
    if (!(byte > 127)) break
  }
  return (value >>> 1) ^ -(value & 1)
}

/** A zigzag varint of 64 bits as a double: exact up to 2^53, and times end before that. */
function readVarlong(data: Uint8Array, at: number): number {
  const first = data[at]!
  let byte = first
  let magnitude = (first & 127) >>> 1
  let factor = 64
  valueEnd = at + 1
  for (let read = 1; byte > 127 && read < 10; read++) {
    byte = data[valueEnd++]!
    magnitude += (byte & 127) * factor
    factor *= 128
  }
  return first & 1 ? -magnitude - 1 : magnitude
}
