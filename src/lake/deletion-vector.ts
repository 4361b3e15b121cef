import { crc32 } from '@node-rs/crc32'
import { LakeError } from '../error.ts'
import { CONTAINER_ROWS, DeletedRows } from './deleted-rows.ts'

// Iceberg's deletion vector: the length of what follows (big endian), a magic number, a Roaring bitmap of 64-bit
// positions in the portable format, and the CRC-32 of magic and bitmap (big endian). A data file has less than 2^32
// rows, so there is at most one 32-bit bitmap, of key 0. A container of it covers CONTAINER_ROWS positions.

const MAGIC = 0x6439_d3d1
const COOKIE_PLAIN = 12_346
const COOKIE_RUNS = 12_347
/** With run containers, offsets are only there from so many containers on. */
const OFFSETS_FROM = 4
const CONTAINER_WORDS = 2_048
const CONTAINER_BYTES = 8_192
const ARRAY_MAX = 4_096
/** Length, magic, count of bitmaps. */
const HEAD_BYTES = 16
const CRC_BYTES = 4

/** The blob as it stands in a Puffin file: containers are copied out of the bitmap, arrays where few rows are deleted. */
export function encodeDeletionVector(deleted: DeletedRows): Buffer {
  const blob = Buffer.allocUnsafe(vectorBytes(deleted))
  writeDeletionVector(deleted, blob)
  return blob
}

/** Bytes of its blob. */
export function vectorBytes({ counts }: DeletedRows): number {
  let size = 0
  for (const count of counts) if (count > 0) size += 8 + containerBytes(count)
  return HEAD_BYTES + (size === 0 ? 0 : 4 + 8 + size) + CRC_BYTES
}

/** Writes the blob into `blob`, which is as long as `vectorBytes` says. */
export function writeDeletionVector(deleted: DeletedRows, blob: Buffer): void {
  const containers: Container[] = []
  for (const [key, count] of deleted.counts.entries()) if (count > 0) containers.push({ key, count })
  const end = blob.length - CRC_BYTES
  blob.writeUInt32BE(end - 4, 0)
  blob.writeUInt32LE(MAGIC, 4)
  blob.writeUInt32LE(containers.length > 0 ? 1 : 0, 8)
  blob.writeUInt32LE(0, 12)
  if (containers.length > 0) {
    blob.writeUInt32LE(0, HEAD_BYTES)
    writeBitmap(blob, HEAD_BYTES + 4, deleted.words, containers)
  }
  blob.writeUInt32BE(crc32(blob.subarray(4, end)), end)
}

/** Reads a blob of a file with `rows` rows. Throws `store.corrupt` when it is not whole or deletes what is not there. */
export function decodeDeletionVector(name: string, blob: Uint8Array, rows: number): DeletedRows {
  try {
    return decode(Buffer.from(blob.buffer, blob.byteOffset, blob.byteLength), rows)
  } catch (cause) {
    throw new LakeError('store.corrupt', `${name} has no whole deletion vector where one should be`, {
      cause,
      context: { key: name },
    })
  }
}

interface Container {
  /** Upper 16 bits of its positions. */
  readonly key: number
  readonly count: number
}

function containerBytes(count: number): number {
  return count <= ARRAY_MAX ? 2 * count : CONTAINER_BYTES
}

function writeBitmap(blob: Buffer, start: number, words: Uint32Array, containers: readonly Container[]): void {
  const heads = start + 8
  const offsets = heads + 4 * containers.length
  let at = offsets + 4 * containers.length
  blob.writeUInt32LE(COOKIE_PLAIN, start)
  blob.writeUInt32LE(containers.length, start + 4)
  for (const [index, { key, count }] of containers.entries()) {
    blob.writeUInt16LE(key, heads + 4 * index)
    blob.writeUInt16LE(count - 1, heads + 4 * index + 2)
    blob.writeUInt32LE(at - start, offsets + 4 * index)
    const part = words.subarray(key * CONTAINER_WORDS, (key + 1) * CONTAINER_WORDS)
    if (count <= ARRAY_MAX) writeArray(blob, at, part)
    else {
      blob.set(new Uint8Array(part.buffer, part.byteOffset, part.byteLength), at)
      // The last container ends with its file.
      blob.fill(0, at + part.byteLength, at + CONTAINER_BYTES)
    }
    at += containerBytes(count)
  }
}

/** Values of an array on their way: written where they are aligned, copied to where they may not be. */
const values = new Uint16Array(ARRAY_MAX)
const valueBytes = new Uint8Array(values.buffer)

function writeArray(blob: Buffer, start: number, words: Uint32Array): void {
  let count = 0
  for (let k = 0, base = 31; k < words.length; k++, base += 32)
    for (let rest = words[k]! | 0; rest !== 0;) {
      const bit = rest & -rest
      values[count++] = base - Math.clz32(bit)
      rest ^= bit
    }
  blob.set(valueBytes.subarray(0, 2 * count), start)
}

function decode(blob: Buffer, rows: number): DeletedRows {
  const end = blob.length - CRC_BYTES
  if (blob.readUInt32BE(0) !== end - 4) throw new Error('its length is not its own')
  if (blob.readUInt32LE(4) !== MAGIC) throw new Error('its magic number is wrong')
  if (blob.readUInt32BE(end) !== crc32(blob.subarray(4, end))) throw new Error('its checksum is wrong')
  const bitmaps = blob.readBigUInt64LE(8)
  const vector = blob.subarray(0, end)
  if (bitmaps === 0n) return new DeletedRows(rows)
  if (bitmaps !== 1n || vector.readUInt32LE(HEAD_BYTES) !== 0) throw new Error(`it deletes more than ${rows} rows`)
  return readBitmap(vector, HEAD_BYTES + 4, rows)
}

function readBitmap(vector: Buffer, start: number, rows: number): DeletedRows {
  const cookie = vector.readUInt32LE(start)
  const hasRuns = (cookie & 0xffff) === COOKIE_RUNS
  if (!hasRuns && cookie !== COOKIE_PLAIN) throw new Error(`its bitmap begins with ${cookie}`)
  const length = hasRuns ? (cookie >>> 16) + 1 : vector.readUInt32LE(start + 4)
  const flags = start + 4
  const heads = hasRuns ? flags + ((length + 7) >>> 3) : start + 8
  let at = heads + 4 * length + (!hasRuns || length >= OFFSETS_FROM ? 4 * length : 0)
  // Whole containers, so that one can be copied whatever the last row is.
  const words = new Uint32Array(Math.ceil(rows / CONTAINER_ROWS) * CONTAINER_WORDS)
  let [total, last] = [0, -1]
  for (let index = 0; index < length; index++) {
    const key = vector.readUInt16LE(heads + 4 * index)
    const count = vector.readUInt16LE(heads + 4 * index + 2) + 1
    if (key <= last || key * CONTAINER_ROWS >= rows) throw new Error(`its container ${key} is out of place`)
    const part = words.subarray(key * CONTAINER_WORDS, (key + 1) * CONTAINER_WORDS)
    const isRun = hasRuns && (vector[flags + (index >>> 3)]! & (1 << (index & 7))) !== 0
    at = isRun ? readRuns(vector, at, part) : readContainer(vector, at, part, count)
    ;[total, last] = [total + count, key]
  }
  if (at !== vector.length) throw new Error(`it has ${vector.length - at} bytes too many`)
  return wholeOf(words, rows, total)
}

/** Bits beyond the last row, and values that stand twice, make the counts differ. */
function wholeOf(words: Uint32Array<ArrayBuffer>, rows: number, total: number): DeletedRows {
  const used = Math.ceil(rows / 32)
  if ((rows & 31) !== 0 && words[used - 1]! >>> (rows & 31) !== 0) throw new Error(`it deletes rows after ${rows}`)
  const deleted = new DeletedRows(rows, words.subarray(0, used))
  if (deleted.count !== total) throw new Error(`it deletes ${deleted.count} of its ${total} rows`)
  return deleted
}

function readContainer(vector: Buffer, start: number, part: Uint32Array, count: number): number {
  const end = start + containerBytes(count)
  if (end > vector.length) throw new Error('a container is cut')
  if (count > ARRAY_MAX) new Uint8Array(part.buffer, part.byteOffset, part.byteLength).set(vector.subarray(start, end))
  else for (let at = start; at < end; at += 2) setRange(part, vector.readUInt16LE(at), 0)
  return end
}

function readRuns(vector: Buffer, start: number, part: Uint32Array): number {
  const end = start + 2 + 4 * vector.readUInt16LE(start)
  if (end > vector.length) throw new Error('a container is cut')
  for (let at = start + 2; at < end; at += 4) setRange(part, vector.readUInt16LE(at), vector.readUInt16LE(at + 2))
  return end
}

/** Sets the bit `first` and `more` bits after it. */
function setRange(part: Uint32Array, first: number, more: number): void {
  if (first + more > 0xffff) throw new Error('a run leaves its container')
  for (let value = first; value <= first + more; value++) part[value >>> 5]! |= 1 << (value & 31)
}
