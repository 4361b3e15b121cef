/**
 * The log: partitions of records with offsets. Everything here is half-open: a position names the next offset to
 * read, `nextOffset` is the position after a batch, gaps and control records included.
 */

/** `topic/partition`, for example `shop.orders/0`. A topic name cannot contain a slash. */
export type PartitionId = `${string}/${number}`

/** The next offset to read, per partition. */
export type Positions = ReadonlyMap<PartitionId, bigint>

export function partitionId(topic: string, partition: number): PartitionId {
  return `${topic}/${partition}`
}

export function parsePartitionId(id: PartitionId): { topic: string; partition: number } {
  const slash = id.lastIndexOf('/')
  return { topic: id.slice(0, slash), partition: Number(id.slice(slash + 1)) }
}

export interface Header {
  readonly key: string
  readonly value: Uint8Array | undefined
}

/**
 * The records of one partition in one answer of the log, as one buffer and typed arrays: no object per record.
 * Aborted and control records are gone, but `nextOffset` counts them. An empty poll is a batch with `count` 0.
 */
export interface RecordBatch {
  readonly topic: string
  readonly partition: number
  readonly topicId: string
  /** Position after this batch. May grow although `count` is 0 (control records, aborted records, compaction). */
  readonly nextOffset: bigint
  readonly count: number
  /** All keys and values of the batch lie in here, decompressed. May be a view into a larger buffer. */
  readonly buffer: Uint8Array
  /** Length `count`, strictly increasing, not necessarily dense. */
  readonly offsets: BigInt64Array
  /** Length `count`, milliseconds since 1970; -1 when the producer gave none. */
  readonly timestampsMs: Float64Array
  /** Length `count`: 1 where the broker set the timestamp when it appended the record. Absent: producers set them all. */
  readonly appendTimes?: Uint8Array
  /** Length 2 * count: [start, end) in `buffer`; start is -1 for a null key. */
  readonly keyRanges: Int32Array
  /** Length 2 * count: [start, end) in `buffer`; start is -1 for a null value. */
  readonly valueRanges: Int32Array
  /** Decoded on demand: only dead letters and `raw()` tables read headers. */
  headers(index: number): readonly Header[]
  /** Leader epoch of the last record batch seen below `nextOffset`; -1 when unknown. */
  readonly leaderEpoch: number
  /** End of the partition for a read_committed reader (last stable offset) when this batch was answered. */
  readonly end: bigint
}

/** Where a reader stands in one partition, with what proves that the log is still the same log. */
export interface Cursor {
  readonly offset: bigint
  /** Epoch of the last batch consumed below `offset`; -1 when none was. A broker then reports a lost tail. */
  readonly leaderEpoch: number
  /** The topic's id; another id means that the topic was deleted and made again. */
  readonly topicId: string
}

export type StartAt = 'earliest' | 'latest' | { readonly timestampMs: number }

export interface TopicInfo {
  readonly topic: string
  readonly topicId: string
  /** Partition numbers, ascending. */
  readonly partitions: readonly number[]
}

export interface PartitionBounds {
  readonly logStart: bigint
  /** Last stable offset: where a read_committed reader has nothing left to read. */
  readonly end: bigint
  readonly highWatermark: bigint
}

/** The last data record below a position: proof that the log was not truncated and rewritten. */
export interface Tail {
  readonly offset: bigint
  /** Of the record; in a version, of the last batch below the position, which may be one of markers. */
  readonly leaderEpoch: number
  /** 16 hexadecimal digits over timestamp, key and value (`recordHash`). */
  readonly hash: string
}

/**
 * A log that can be read from any position. One instance belongs to one reader (a lane, or the owner of a pipeline).
 * Positions are the caller's: a source stores none and resets none.
 *
 * `read` yields batches of the given partitions for ever, in offset order per partition, and an empty batch when a
 * poll brings nothing. It throws LakeError `kafka.gap` {partition, from, until} when the position is outside the log,
 * `kafka.topic_replaced`, `kafka.log_truncated` {partition, at}, `kafka.denied`, `kafka.corrupt`; it reconnects by
 * itself while a broker is away (`kafka.unavailable` only after its retry budget). It ends when `signal` aborts.
 */
export interface Source {
  /** Topics that do not exist are absent from the answer. */
  topics(names: readonly string[]): Promise<ReadonlyMap<string, TopicInfo>>
  /** Resolves a start to offsets, one look-up per partition. A timestamp after the last record gives the end. */
  positionsAt(partitions: readonly PartitionId[], at: StartAt): Promise<Positions>
  bounds(partitions: readonly PartitionId[]): Promise<ReadonlyMap<PartitionId, PartitionBounds>>
  /** The data record that stands at exactly this offset, or undefined when there is none (compaction, markers, gone). */
  tailAt(partition: PartitionId, offset: bigint): Promise<Tail | undefined>
  read(from: ReadonlyMap<PartitionId, Cursor>, signal: AbortSignal): AsyncIterable<RecordBatch>
  /** Those of the topics that are compacted: their logs do not hold all records. Absent: none ever is. */
  compacted?(topics: readonly string[]): Promise<ReadonlySet<string>>
  /** Tells lag tools where we stand; advice, never read back. */
  advise?(group: string, positions: Positions): Promise<void>
  close(): Promise<void>
}
