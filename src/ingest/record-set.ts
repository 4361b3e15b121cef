import { crc32c } from '@node-rs/crc32'
import { LakeError } from '../error.ts'
import { partitionId, type RecordBatch } from '../log.ts'
import { decompress } from './codecs.ts'
import type { AbortedTransaction } from './kafka-protocol.ts'
import { readHeaders, readRecords, type Columns } from './record-columns.ts'

/**
 * A record set: what a broker answers for one partition, record batches of format 2 end to end.
 *
 *   0 baseOffset i64 | 8 length i32 | 12 leaderEpoch i32 | 16 magic i8 | 17 crc u32 | 21 attributes i16
 *   23 lastOffsetDelta i32 | 27 baseTimestamp i64 | 35 maxTimestamp i64 | 43 producerId i64 | 51 producerEpoch i16
 *   53 baseSequence i32 | 57 count i32 | 61 records, compressed as a whole
 *
 * `length` counts from byte 12; the CRC-32C covers everything from the attributes on.
 */
export interface RecordSet {
  readonly topic: string
  readonly partition: number
  readonly topicId: string
  /** The offset asked for: the first batch may begin below it. */
  readonly position: bigint
  /** Epoch of the last batch consumed before, -1 when unknown. */
  readonly leaderEpoch: number
  readonly end: bigint
  readonly bytes: Buffer
  readonly aborted: readonly AbortedTransaction[]
}

const HEADER_BYTES = 61
const LENGTH_END = 12
const ATTRIBUTES_AT = 21
const MAGIC = 2
const NO_BYTES = Buffer.alloc(0)

/** A batch may unpack to this much. */
const BATCH_BYTES_MAX = 256 << 20
/** Unpacked batches are handed on together until they reach this size. */
const PIECE_BYTES = 2 << 20

/** How far a record set reaches, from the batch headers alone: so that the next request can leave before decoding. */
export function scanRecordSet(
  bytes: Buffer,
  position: bigint,
  leaderEpoch: number,
): { nextOffset: bigint; leaderEpoch: number } {
  let nextOffset = position
  let epoch = leaderEpoch
  let end: number | undefined
  for (let at = 0; (end = batchEnd(bytes, at)) !== undefined; at = end) {
    const next = bytes.readBigInt64BE(at) + BigInt(bytes.readInt32BE(at + 23)) + 1n
    if (next > nextOffset) nextOffset = next
    epoch = bytes.readInt32BE(at + 12)
  }
  return { nextOffset, leaderEpoch: epoch }
}

/**
 * Decodes a record set piece by piece; the last piece ends where `scanRecordSet` says. Control batches and aborted
 * records are left out, and the position moves over them. A batch that `max bytes` cut off at the end is ignored.
 * Throws `kafka.corrupt` at the first batch that is not what its checksum and its lengths promise.
 */
export function* decodeRecordSet(set: RecordSet): Generator<RecordBatch, void, undefined> {
  const piece = new Piece(set)
  for (const batch of visibleBatches(set)) {
    if (piece.mustEndBefore(batch)) yield piece.end()
    piece.add(batch)
  }
  if (piece.hasMoved) yield piece.end()
}

/** What a poll that brought nothing looks like. */
export function emptyRecordSet(set: Omit<RecordSet, 'bytes' | 'aborted'>): RecordBatch {
  return new Piece({ ...set, bytes: NO_BYTES, aborted: [] }).end()
}

interface Batch {
  readonly at: number
  readonly end: number
  readonly baseOffset: bigint
  readonly nextOffset: bigint
  readonly leaderEpoch: number
  readonly codec: number
  readonly isLogAppendTime: boolean
  readonly isTransactional: boolean
  readonly isControl: boolean
  /** No record of it may be seen: control, of an aborted transaction, or all below the position. */
  readonly isHidden: boolean
  readonly producerId: bigint
  readonly count: number
}

function* visibleBatches(set: RecordSet): Generator<Batch, void, undefined> {
  const pending = [...set.aborted].sort((a, b) => (a.firstOffset < b.firstOffset ? -1 : 1))
  const abortedProducers = new Set<bigint>()
  let started = 0
  let reached: bigint | undefined
  let end: number | undefined
  for (let at = 0; (end = batchEnd(set.bytes, at)) !== undefined; at = end) {
    const batch = readBatchHeader(set, at, end)
    if (reached !== undefined && batch.baseOffset < reached) throw corrupt('batches are out of order', batch.baseOffset)
    reached = batch.nextOffset
    for (; started < pending.length && pending[started]!.firstOffset < batch.nextOffset; started++)
      abortedProducers.add(pending[started]!.producerId)
    if (batch.isControl && isAbortMarker(set.bytes, batch)) abortedProducers.delete(batch.producerId)
    const isAborted = batch.isTransactional && abortedProducers.has(batch.producerId)
    yield isAborted || batch.isControl ? { ...batch, isHidden: true } : batch
  }
}

/** Where the batch at `at` ends, undefined when the rest is not a whole batch. */
function batchEnd(bytes: Buffer, at: number): number | undefined {
  if (at + LENGTH_END > bytes.length) return undefined
  const length = bytes.readInt32BE(at + 8)
  const end = at + LENGTH_END + length
  if (at + 16 < bytes.length && bytes[at + 16] !== MAGIC) throw unreadableMagic(bytes, at)
  if (length < HEADER_BYTES - LENGTH_END)
    throw corrupt(`a batch of ${length} bytes is too short`, bytes.readBigInt64BE(at))
  return end > bytes.length ? undefined : end
}

function unreadableMagic(bytes: Buffer, at: number): LakeError {
  const magic = bytes[at + 16]!
  return new LakeError('kafka.corrupt', `record format ${magic} at offset ${bytes.readBigInt64BE(at)} cannot be read`, {
    context: { magic, offset: String(bytes.readBigInt64BE(at)) },
    fix:
      magic < MAGIC
        ? 'The topic holds records in the format of Kafka before 0.11: rewrite it with a current producer.'
        : 'Compare the topic with the broker that wrote it; the log may be damaged.',
  })
}

function readBatchHeader({ bytes, position }: RecordSet, at: number, end: number): Batch {
  const baseOffset = bytes.readBigInt64BE(at)
  if (crc32c(bytes.subarray(at + ATTRIBUTES_AT, end)) !== bytes.readUInt32BE(at + 17))
    throw corrupt('the checksum of a batch does not match', baseOffset)
  const attributes = bytes.readInt16BE(at + ATTRIBUTES_AT)
  const count = bytes.readInt32BE(at + 57)
  if (count < 0) throw corrupt(`a batch cannot hold ${count} records`, baseOffset)
  const nextOffset = baseOffset + BigInt(bytes.readInt32BE(at + 23)) + 1n
  return {
    at,
    end,
    baseOffset,
    nextOffset,
    leaderEpoch: bytes.readInt32BE(at + 12),
    codec: attributes & 7,
    isLogAppendTime: (attributes & 8) !== 0,
    isTransactional: (attributes & 16) !== 0,
    isControl: (attributes & 32) !== 0,
    isHidden: nextOffset <= position,
    producerId: bytes.readBigInt64BE(at + 43),
    count,
  }
}

/** A marker's key is version i16 and type i16, 0 for abort. Compaction may leave a marker batch without its record. */
function isAbortMarker(bytes: Buffer, { at, end, count }: Batch): boolean {
  if (count < 1) return false
  let keyAt = at + HEADER_BYTES
  const skipVarint = (): void => {
    while (bytes[keyAt++]! > 127) continue
  }
  skipVarint() // record length
  keyAt++ // attributes
  for (let field = 0; field < 3; field++) skipVarint() // timestamp delta, offset delta, key length
  return keyAt + 4 <= end && bytes.readInt16BE(keyAt + 2) === 0
}

/** Consecutive batches on their way into one RecordBatch: plain ones as a view of the answer, packed ones unpacked. */
class Piece {
  readonly #set: RecordSet
  #plain: Batch[] = []
  #packed: { readonly batch: Batch; readonly data: Uint8Array }[] = []
  #packedBytes = 0
  #nextOffset: bigint
  #endedAt: bigint
  #leaderEpoch: number

  constructor(set: RecordSet) {
    this.#set = set
    this.#nextOffset = set.position
    this.#endedAt = set.position
    this.#leaderEpoch = set.leaderEpoch
  }

  get hasMoved(): boolean {
    return this.#nextOffset > this.#endedAt
  }

  mustEndBefore({ isHidden, codec }: Batch): boolean {
    if (isHidden) return false
    return codec === 0 ? this.#packed.length > 0 : this.#plain.length > 0 || this.#packedBytes >= PIECE_BYTES
  }

  add(batch: Batch): void {
    if (!batch.isHidden && batch.count > 0) {
      if (batch.codec === 0) this.#plain.push(batch)
      else this.#unpack(batch)
    }
    if (batch.nextOffset > this.#nextOffset) this.#nextOffset = batch.nextOffset
    this.#leaderEpoch = batch.leaderEpoch
  }

  end(): RecordBatch {
    const [buffer, sources] = this.#plain.length > 0 ? this.#plainSources() : this.#packedSources()
    const columns = readAll(buffer, sources, this.#set.position)
    this.#plain = []
    this.#packed = []
    this.#packedBytes = 0
    this.#endedAt = this.#nextOffset
    const { topic, partition, topicId, end } = this.#set
    const { offsets, timestampsMs, appendTimes, keyRanges, valueRanges, headerStarts } = columns
    return {
      topic,
      partition,
      topicId,
      end,
      buffer,
      offsets,
      timestampsMs,
      ...(appendTimes === undefined ? {} : { appendTimes }),
      keyRanges,
      valueRanges,
      count: offsets.length,
      nextOffset: this.#nextOffset,
      leaderEpoch: this.#leaderEpoch,
      headers: (index) => readHeaders(buffer, headerStarts[index]!),
    }
  }

  #unpack(batch: Batch): void {
    const packed = this.#set.bytes.subarray(batch.at + HEADER_BYTES, batch.end)
    try {
      const data = decompress(batch.codec, packed, BATCH_BYTES_MAX)
      this.#packed.push({ batch, data })
      this.#packedBytes += data.length
    } catch (error) {
      throw corrupt(`a batch cannot be unpacked: ${String(error)}`, batch.baseOffset, error)
    }
  }

  #plainSources(): [Uint8Array, Source[]] {
    const origin = this.#plain[0]!.at + HEADER_BYTES
    const buffer = this.#set.bytes.subarray(origin, this.#plain.at(-1)!.end)
    return [
      buffer,
      this.#plain.map((batch) => ({
        ...this.#source(batch),
        start: batch.at + HEADER_BYTES - origin,
        end: batch.end - origin,
      })),
    ]
  }

  #packedSources(): [Uint8Array, Source[]] {
    let end = 0
    const sources = this.#packed.map(({ batch, data }) => ({
      ...this.#source(batch),
      start: end,
      end: (end += data.length),
    }))
    const [first] = this.#packed
    return [
      this.#packed.length === 1
        ? first!.data
        : Buffer.concat(
            this.#packed.map(({ data }) => data),
            end,
          ),
      sources,
    ]
  }

  #source({ at, baseOffset, count, isLogAppendTime }: Batch): Omit<Source, 'start' | 'end'> {
    const { bytes } = this.#set
    return {
      baseOffset,
      count,
      lastOffsetDelta: bytes.readInt32BE(at + 23),
      baseTimestampMs: Number(bytes.readBigInt64BE(at + 27)),
      logAppendTimeMs: isLogAppendTime ? Number(bytes.readBigInt64BE(at + 35)) : undefined,
    }
  }
}

/** The uncompressed records of one batch, [start, end) of a buffer. */
interface Source {
  readonly start: number
  readonly end: number
  readonly baseOffset: bigint
  readonly count: number
  readonly lastOffsetDelta: number
  readonly baseTimestampMs: number
  /** All records of the batch take this time when the broker stamps them. */
  readonly logAppendTimeMs: number | undefined
}

function readAll(buffer: Uint8Array, sources: readonly Source[], position: bigint): Columns {
  let capacity = 0
  for (const { count, start, end, baseOffset } of sources) {
    // The shortest record has seven bytes: a count that cannot fit must not reserve memory.
    if (count * 7 > end - start) throw corrupt(`a batch cannot hold ${count} records`, baseOffset)
    capacity += count
  }
  const columns: Columns = {
    offsets: new BigInt64Array(capacity),
    timestampsMs: new Float64Array(capacity),
    appendTimes: sources.some(isStamped) ? new Uint8Array(capacity) : undefined,
    keyRanges: new Int32Array(2 * capacity),
    valueRanges: new Int32Array(2 * capacity),
    headerStarts: new Int32Array(capacity),
  }
  let count = 0
  for (const source of sources) {
    const written = readRecords(buffer, source, Number(position - source.baseOffset), columns, count)
    if (written < 0) throw corrupt('a record is not as long as it says', source.baseOffset)
    if (isStamped(source)) columns.appendTimes!.fill(1, count, written)
    count = written
  }
  if (count === capacity) return columns
  return {
    offsets: columns.offsets.subarray(0, count),
    timestampsMs: columns.timestampsMs.subarray(0, count),
    appendTimes: columns.appendTimes?.subarray(0, count),
    keyRanges: columns.keyRanges.subarray(0, 2 * count),
    valueRanges: columns.valueRanges.subarray(0, 2 * count),
    headerStarts: columns.headerStarts.subarray(0, count),
  }
}

function isStamped({ logAppendTimeMs }: Source): boolean {
  return logAppendTimeMs !== undefined
}

export function corrupt(what: string, offset: bigint, cause?: unknown): LakeError {
  return new LakeError('kafka.corrupt', `${what}, at offset ${offset}`, {
    context: { offset: String(offset) },
    fix: 'Read the offset with another client: if it fails too, the log is damaged and the range must be skipped.',
    cause,
  })
}

/** As `corrupt`, with the partition in it: for whoever knows which one was read. */
export function inPartition(error: unknown, topic: string, partition: number): unknown {
  if (!(error instanceof LakeError) || error.code !== 'kafka.corrupt') return error
  const id = partitionId(topic, partition)
  return new LakeError(error.code, `${id}: ${error.message}`, {
    context: { partition: id, ...error.context },
    ...(error.fix === undefined ? {} : { fix: error.fix }),
    cause: error.cause,
  })
}
