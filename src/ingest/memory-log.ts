import { anyOf } from '../abort.ts'
import type { Clock } from '../clock.ts'
import { LakeError } from '../error.ts'
import {
  parsePartitionId,
  partitionId,
  type Cursor,
  type Header,
  type PartitionBounds,
  type PartitionId,
  type Positions,
  type RecordBatch,
  type Source,
  type StartAt,
  type Tail,
  type TopicInfo,
} from '../log.ts'
import { checkEpoch, checkInsideLog, checkTopicId, topicMissing, type EpochStart } from './log-errors.ts'
import { recordHash } from './record-batch.ts'

export interface LogRecord {
  readonly timestampMs: number
  readonly key: Uint8Array | undefined
  readonly value: Uint8Array | undefined
  readonly headers?: readonly Header[]
  /** Whether the log set the timestamp itself. */
  readonly isAppendTime?: boolean
}

/** What stands in a log, without a broker: a generator, or records in memory. Synchronous and free of side effects. */
export interface LogContent {
  topics(): readonly TopicInfo[]
  /** First offset that still exists. */
  logStart(topic: string, partition: number): bigint
  /** The next offset to be written. */
  end(topic: string, partition: number): bigint
  /** Undefined where no data record stands: a marker, an aborted record, or one that compaction removed. */
  record(topic: string, partition: number, offset: bigint): LogRecord | undefined
  /** Leader epochs, ascending. Absent: all was written in epoch 0. */
  epochs?(topic: string, partition: number): readonly EpochStart[]
}

export interface ContentSourceOptions {
  /** Offsets looked at per batch, so that a batch is bounded also where nothing stands. */
  readonly batchOffsetsMax?: number
  /** Bytes of keys and values after which a batch ends; one record always fits. */
  readonly batchBytesMax?: number
  /** Pause after a poll that brought nothing. */
  readonly pollMs?: number
}

const EPOCH_ZERO: readonly EpochStart[] = [{ epoch: 0, start: 0n }]

/** A source over any log content. It takes its pauses from the clock, so that a simulation owns its time. */
export class ContentSource implements Source {
  readonly #content: LogContent
  readonly #clock: Clock
  readonly #batchOffsetsMax: bigint
  readonly #batchBytesMax: number
  readonly #pollMs: number
  readonly #closing = new AbortController()

  constructor(content: LogContent, clock: Clock, options: ContentSourceOptions = {}) {
    this.#content = content
    this.#clock = clock
    this.#batchOffsetsMax = BigInt(options.batchOffsetsMax ?? 1_000)
    this.#batchBytesMax = options.batchBytesMax ?? 1 << 20
    this.#pollMs = options.pollMs ?? 100
  }

  async topics(names: readonly string[]): Promise<ReadonlyMap<string, TopicInfo>> {
    const wanted = new Set(names)
    return new Map(
      this.#content
        .topics()
        .filter(({ topic }) => wanted.has(topic))
        .map((info) => [info.topic, info]),
    )
  }

  async positionsAt(partitions: readonly PartitionId[], at: StartAt): Promise<Positions> {
    return new Map(partitions.map((id) => [id, this.#positionAt(id, at)]))
  }

  async bounds(partitions: readonly PartitionId[]): Promise<ReadonlyMap<PartitionId, PartitionBounds>> {
    return new Map(
      partitions.map((id) => {
        const { topic, partition } = this.#locate(id)
        const end = this.#content.end(topic, partition)
        return [id, { logStart: this.#content.logStart(topic, partition), end, highWatermark: end }]
      }),
    )
  }

  async tailAt(id: PartitionId, offset: bigint): Promise<Tail | undefined> {
    const { topic, partition } = this.#locate(id)
    if (offset < this.#content.logStart(topic, partition) || offset >= this.#content.end(topic, partition))
      return undefined
    const record = this.#content.record(topic, partition, offset)
    if (record === undefined) return undefined
    const hash = recordHash(record.timestampMs, record.key, record.value)
    return { offset, leaderEpoch: epochOf(this.#epochs(topic, partition), offset), hash }
  }

  async *read(from: ReadonlyMap<PartitionId, Cursor>, signal: AbortSignal): AsyncGenerator<RecordBatch> {
    const ended = anyOf(signal, this.#closing.signal)
    const cursors = new Map(from)
    while (!ended.aborted) {
      let hasMoved = false
      for (const [id, cursor] of cursors) {
        const batch = this.#batchAt(id, cursor)
        if (batch.nextOffset === cursor.offset) continue
        hasMoved = true
        cursors.set(id, { ...cursor, offset: batch.nextOffset, leaderEpoch: batch.leaderEpoch })
        yield batch
        if (ended.aborted) return
      }
      if (hasMoved) continue
      for (const [id, cursor] of cursors) {
        yield this.#emptyBatch(id, cursor)
        if (ended.aborted) return
      }
      await this.#clock.sleep(this.#pollMs, ended)
    }
  }

  async close(): Promise<void> {
    this.#closing.abort()
  }

  #positionAt(id: PartitionId, at: StartAt): bigint {
    const { topic, partition } = this.#locate(id)
    const [start, end] = [this.#content.logStart(topic, partition), this.#content.end(topic, partition)]
    if (at === 'earliest') return start
    if (at === 'latest') return end
    for (let offset = start; offset < end; offset++) {
      const record = this.#content.record(topic, partition, offset)
      if (record !== undefined && record.timestampMs >= at.timestampMs) return offset
    }
    return end
  }

  #batchAt(id: PartitionId, cursor: Cursor): RecordBatch {
    const { topic, partition, topicId } = this.#locate(id)
    checkTopicId(topic, cursor, topicId)
    const end = this.#content.end(topic, partition)
    checkInsideLog(id, cursor.offset, this.#content.logStart(topic, partition), end)
    checkEpoch(topic, partition, cursor, this.#epochs(topic, partition))
    const records: { readonly offset: bigint; readonly record: LogRecord }[] = []
    let nextOffset = cursor.offset
    let bytes = 0
    while (nextOffset < end && nextOffset - cursor.offset < this.#batchOffsetsMax && bytes < this.#batchBytesMax) {
      const record = this.#content.record(topic, partition, nextOffset)
      if (record !== undefined) {
        records.push({ offset: nextOffset, record })
        bytes += (record.key?.length ?? 0) + (record.value?.length ?? 0)
      }
      nextOffset++
    }
    const leaderEpoch =
      nextOffset === cursor.offset ? cursor.leaderEpoch : epochOf(this.#epochs(topic, partition), nextOffset - 1n)
    return { ...layOut(records), topic, partition, topicId, nextOffset, leaderEpoch, end }
  }

  #emptyBatch(id: PartitionId, cursor: Cursor): RecordBatch {
    const { topic, partition, topicId } = this.#locate(id)
    const { offset: nextOffset, leaderEpoch } = cursor
    return {
      ...layOut([]),
      topic,
      partition,
      topicId,
      nextOffset,
      leaderEpoch,
      end: this.#content.end(topic, partition),
    }
  }

  #locate(id: PartitionId): { topic: string; partition: number; topicId: string } {
    const { topic, partition } = parsePartitionId(id)
    const info = this.#content.topics().find((info) => info.topic === topic)
    if (info === undefined || !info.partitions.includes(partition)) throw topicMissing(topic, id)
    return { topic, partition, topicId: info.topicId }
  }

  #epochs(topic: string, partition: number): readonly EpochStart[] {
    return this.#content.epochs?.(topic, partition) ?? EPOCH_ZERO
  }
}

/** Records in memory, and everything that may happen to a log: for tests and simulations. Changes show at once. */
export class MemoryLog implements LogContent {
  readonly #topics = new Map<string, MemoryTopic>()
  #created = 0

  createTopic(topic: string, partitions: number): void {
    if (this.#topics.has(topic)) throw new LakeError('internal', `${topic} exists already`)
    const topicId = `memory-${++this.#created}`
    this.#topics.set(topic, { topicId, partitions: Array.from({ length: partitions }, emptyPartition) })
  }

  deleteTopic(topic: string): void {
    this.#topics.delete(topic)
  }

  /** Deletes the topic and makes it again under the same name: same partitions, no records, another id. */
  recreate(topic: string): void {
    const partitions = this.#topics.get(topic)?.partitions.length ?? 1
    this.deleteTopic(topic)
    this.createTopic(topic, partitions)
  }

  addPartitions(topic: string, partitions: number): void {
    const list = this.#topic(topic).partitions
    while (list.length < partitions) list.push(emptyPartition())
  }

  /** Returns the offset of the first record written. */
  append(topic: string, partition: number, records: readonly LogRecord[]): bigint {
    const { slots } = this.#partition(topic, partition)
    const first = BigInt(slots.length)
    for (const record of records) slots.push(record)
    return first
  }

  /** Writes `count` offsets without a data record: transaction markers, or records of an aborted transaction. */
  appendHidden(topic: string, partition: number, count = 1): void {
    const { slots } = this.#partition(topic, partition)
    for (let i = 0; i < count; i++) slots.push(undefined)
  }

  /** Removes the data records that `keep` refuses, as compaction does; their offsets stay holes. */
  compact(topic: string, partition: number, keep: (record: LogRecord, offset: bigint) => boolean): void {
    const { slots } = this.#partition(topic, partition)
    slots.forEach((record, index) => {
      if (record !== undefined && !keep(record, BigInt(index))) slots[index] = undefined
    })
  }

  deleteRecordsBefore(topic: string, partition: number, offset: bigint): void {
    this.#partition(topic, partition).logStart = offset
  }

  /** Cuts the log so that `to` is written next, under a new leader epoch, as an unclean election does. */
  truncate(topic: string, partition: number, to: bigint): void {
    const found = this.#partition(topic, partition)
    found.slots.length = Number(to)
    this.changeLeader(topic, partition)
  }

  changeLeader(topic: string, partition: number): void {
    const found = this.#partition(topic, partition)
    const start = BigInt(found.slots.length)
    const epoch = found.epochs.at(-1)!.epoch + 1
    found.epochs = [...found.epochs.filter((known) => known.start < start), { epoch, start }]
  }

  topics(): readonly TopicInfo[] {
    return [...this.#topics].map(([topic, { topicId, partitions }]) => ({
      topic,
      topicId,
      partitions: [...partitions.keys()],
    }))
  }

  logStart(topic: string, partition: number): bigint {
    return this.#partition(topic, partition).logStart
  }

  end(topic: string, partition: number): bigint {
    return BigInt(this.#partition(topic, partition).slots.length)
  }

  record(topic: string, partition: number, offset: bigint): LogRecord | undefined {
    return this.#partition(topic, partition).slots[Number(offset)]
  }

  epochs(topic: string, partition: number): readonly EpochStart[] {
    return this.#partition(topic, partition).epochs
  }

  #topic(topic: string): MemoryTopic {
    const found = this.#topics.get(topic)
    if (found === undefined) throw topicMissing(topic)
    return found
  }

  #partition(topic: string, partition: number): MemoryPartition {
    const found = this.#topic(topic).partitions[partition]
    if (found === undefined) throw topicMissing(topic, partitionId(topic, partition))
    return found
  }
}

interface MemoryTopic {
  readonly topicId: string
  readonly partitions: MemoryPartition[]
}

interface MemoryPartition {
  logStart: bigint
  /** Index is offset. Deleted records stay in here below `logStart`. */
  readonly slots: (LogRecord | undefined)[]
  epochs: readonly EpochStart[]
}

function emptyPartition(): MemoryPartition {
  return { logStart: 0n, slots: [], epochs: EPOCH_ZERO }
}

function epochOf(epochs: readonly EpochStart[], offset: bigint): number {
  return epochs.findLast(({ start }) => start <= offset)?.epoch ?? -1
}

type Layout = Omit<RecordBatch, 'topic' | 'partition' | 'topicId' | 'nextOffset' | 'leaderEpoch' | 'end'>

function layOut(records: readonly { readonly offset: bigint; readonly record: LogRecord }[]): Layout {
  const count = records.length
  const bytes = records.reduce((sum, { record }) => sum + (record.key?.length ?? 0) + (record.value?.length ?? 0), 0)
  const buffer = new Uint8Array(bytes)
  const offsets = new BigInt64Array(count)
  const timestampsMs = new Float64Array(count)
  const hasAppendTimes = records.some(({ record }) => record.isAppendTime === true)
  const keyRanges = new Int32Array(2 * count)
  const valueRanges = new Int32Array(2 * count)
  let end = 0
  const put = (bytes: Uint8Array | undefined, ranges: Int32Array, index: number): void => {
    ranges[2 * index] = bytes === undefined ? -1 : end
    if (bytes !== undefined) buffer.set(bytes, end)
    end += bytes?.length ?? 0
    ranges[2 * index + 1] = bytes === undefined ? -1 : end
  }
  records.forEach(({ offset, record }, index) => {
    offsets[index] = offset
    timestampsMs[index] = record.timestampMs
    put(record.key, keyRanges, index)
    put(record.value, valueRanges, index)
  })
  return {
    count,
    buffer,
    offsets,
    timestampsMs,
    ...(hasAppendTimes
      ? { appendTimes: Uint8Array.from(records, ({ record }) => (record.isAppendTime === true ? 1 : 0)) }
      : {}),
    keyRanges,
    valueRanges,
    headers: (i) => records[i]?.record.headers ?? [],
  }
}
