import { ContentSource, MemoryLog, type LogRecord } from '../ingest/memory-log.ts'
import {
  partitionId,
  type Cursor,
  type PartitionBounds,
  type PartitionId,
  type Positions,
  type RecordBatch,
  type Source,
} from '../log.ts'
import type { Random } from './random.ts'
import type { VirtualClock } from './virtual-clock.ts'

/** What was produced, and in which order over all partitions. */
export class LabLog {
  readonly memory = new MemoryLog()
  /** The partition of each record, in the order of production. */
  readonly order: PartitionId[] = []

  append(topic: string, partition: number, record: LogRecord): bigint {
    this.order.push(partitionId(topic, partition))
    return this.memory.append(topic, partition, [record])
  }

  /** Where the log of a topic ends: all of its partitions. */
  ends(topics: ReadonlySet<string>): Positions {
    const infos = this.memory.topics().filter(({ topic }) => topics.has(topic))
    return new Map(
      infos.flatMap(({ topic, partitions }) =>
        partitions.map((partition) => [partitionId(topic, partition), this.memory.end(topic, partition)] as const),
      ),
    )
  }
}

/** How a bounded log is read. */
export interface ReadingOrder {
  /** `as produced`: over all partitions. `shuffled`: a partition keeps its order, and they take turns by chance. */
  readonly order: 'as produced' | 'shuffled'
  /** Offsets of one batch. */
  readonly offsetsMax: number
  readonly random: Random
}

/**
 * What was produced, up to its end. Its partitions seem to have more to come: none of them is ever idle, so that what is
 * final follows from the records alone.
 */
export class RecordedSource implements Source {
  readonly #log: LabLog
  readonly #clock: VirtualClock
  readonly #how: ReadingOrder

  constructor(log: LabLog, clock: VirtualClock, how: ReadingOrder) {
    this.#log = log
    this.#clock = clock
    this.#how = how
  }

  topics(names: readonly string[]) {
    return this.#content(1).topics(names)
  }

  /** Whatever a definition says: when the lab was opened, the log was empty. */
  positionsAt(partitions: readonly PartitionId[]): Promise<Positions> {
    return Promise.resolve(new Map(partitions.map((id) => [id, 0n])))
  }

  async bounds(partitions: readonly PartitionId[]): Promise<ReadonlyMap<PartitionId, PartitionBounds>> {
    const bounds = await this.#content(1).bounds(partitions)
    return new Map([...bounds].map(([id, bound]) => [id, { ...bound, end: bound.end + 1n }]))
  }

  tailAt(partition: PartitionId, offset: bigint) {
    return this.#content(1).tailAt(partition, offset)
  }

  async *read(from: ReadonlyMap<PartitionId, Cursor>, signal: AbortSignal): AsyncGenerator<RecordBatch> {
    const cursors = new Map(from)
    for (const [id, count] of this.#schedule(from)) {
      const cursor = cursors.get(id)!
      for await (const batch of this.#content(count).read(new Map([[id, cursor]]), signal)) {
        if (batch.nextOffset === cursor.offset) break
        cursors.set(id, { ...cursor, offset: batch.nextOffset, leaderEpoch: batch.leaderEpoch })
        yield { ...batch, end: batch.end + 1n }
        break
      }
      if (signal.aborted) return
    }
  }

  close(): Promise<void> {
    return Promise.resolve()
  }

  #content(offsetsMax: number): ContentSource {
    return new ContentSource(this.#log.memory, this.#clock, { batchOffsetsMax: offsetsMax, batchBytesMax: Infinity })
  }

  /** Partitions and numbers of records, until all that is behind `from` is read. */
  *#schedule(from: ReadonlyMap<PartitionId, Cursor>): Generator<readonly [PartitionId, number]> {
    const { order, offsetsMax, random } = this.#how
    const left = this.#left(from)
    if (order === 'shuffled') {
      const counts = new Map<PartitionId, number>()
      for (const id of left) counts.set(id, (counts.get(id) ?? 0) + 1)
      while (counts.size > 0) {
        const [id, count] = random.pick([...counts])
        const taken = Math.min(count, 1 + random.int(offsetsMax))
        if (taken === count) counts.delete(id)
        else counts.set(id, count - taken)
        yield [id, taken]
      }
      return
    }
    for (let at = 0; at < left.length;) {
      let count = 1
      while (count < offsetsMax && left[at + count] === left[at]) count++
      yield [left[at]!, count]
      at += count
    }
  }

  #left(from: ReadonlyMap<PartitionId, Cursor>): PartitionId[] {
    const offsets = new Map<PartitionId, bigint>()
    return this.#log.order.filter((id) => {
      const offset = offsets.get(id) ?? 0n
      offsets.set(id, offset + 1n)
      const cursor = from.get(id)
      return cursor !== undefined && offset >= cursor.offset
    })
  }
}
