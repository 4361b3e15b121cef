import type { Archive, ArchiveLog, KeptRange } from '../../src/ingest/archive/archive.ts'
import { ContentSource, MemoryLog } from '../../src/ingest/memory-log.ts'
import type { Clock } from '../../src/clock.ts'
import { parsePartitionId, partitionId, type PartitionId, type RecordBatch } from '../../src/log.ts'

/**
 * What a pipeline would keep of a log in memory: `keep` copies what stands there now, as a pipeline does that reads the
 * log to its end.
 */
export class MemoryArchive {
  readonly #live: MemoryLog
  readonly #clock: Clock
  readonly #batchOffsetsMax: number
  readonly #kept = new MemoryLog()
  readonly #topicIds = new Map<string, string>()

  constructor(live: MemoryLog, clock: Clock, batchOffsetsMax = 5) {
    this.#live = live
    this.#clock = clock
    this.#batchOffsetsMax = batchOffsetsMax
  }

  keep(topic: string, partition: number): void {
    const info = this.#live.topics().find((each) => each.topic === topic)!
    if (!this.#topicIds.has(topic)) {
      this.#topicIds.set(topic, info.topicId)
      this.#kept.createTopic(topic, info.partitions.length)
    }
    this.#kept.addPartitions(topic, info.partitions.length)
    for (let at = this.#kept.end(topic, partition); at < this.#live.end(topic, partition); at++) {
      const record = this.#live.record(topic, partition, at)
      if (record === undefined || at < this.#live.logStart(topic, partition)) this.#kept.appendHidden(topic, partition)
      else this.#kept.append(topic, partition, [record])
    }
  }

  get archives(): readonly Archive[] {
    return this.#kept.topics().map(({ topic, partitions }) => {
      const ranges = new Map<PartitionId, KeptRange>()
      for (const partition of partitions) {
        const until = this.#kept.end(topic, partition)
        if (until > 0n) ranges.set(partitionId(topic, partition), { from: 0n, until })
      }
      return { topic, topicId: this.#topicIds.get(topic)!, metadata: [], ranges }
    })
  }

  get log(): ArchiveLog {
    const [kept, clock] = [this.#kept, this.#clock]
    const source = new ContentSource(kept, clock, { batchOffsetsMax: this.#batchOffsetsMax, pollMs: 0 })
    const topicIds = this.#topicIds
    return {
      async *read(ranges, signal) {
        const ids = new Map(kept.topics().map(({ topic, topicId }) => [topic, topicId]))
        for (const [id, { from, until }] of ranges) {
          const { topic } = parsePartitionId(id)
          const cursor = { offset: from, leaderEpoch: -1, topicId: ids.get(topic)! }
          let at = from
          for await (const batch of source.read(new Map([[id, cursor]]), signal)) {
            const piece = cut(batch, until)
            yield { ...piece, topicId: topicIds.get(topic)!, leaderEpoch: -1, end: until }
            at = piece.nextOffset
            if (at >= until) break
          }
        }
      },
      tailAt: (id, offset) => source.tailAt(id, offset),
      async last(id) {
        const { topic, partition } = parsePartitionId(id)
        for (let at = kept.end(topic, partition) - 1n; at >= 0n; at--) {
          const tail = await source.tailAt(id, at)
          if (tail !== undefined) return { ...tail, leaderEpoch: -1 }
        }
        return undefined
      },
      async firstAt(id, timestampMs, until) {
        const offset = (await source.positionsAt([id], { timestampMs })).get(id)!
        return offset < until ? offset : undefined
      },
      close: () => source.close(),
    }
  }
}

function cut(batch: RecordBatch, until: bigint): RecordBatch {
  if (batch.nextOffset <= until) return batch
  const count = batch.offsets.filter((offset) => offset < until).length
  const slice = <A extends { subarray(from: number, to: number): A }>(array: A, each = 1): A =>
    array.subarray(0, each * count)
  return {
    ...batch,
    nextOffset: until,
    count,
    offsets: slice(batch.offsets),
    timestampsMs: slice(batch.timestampsMs),
    ...(batch.appendTimes === undefined ? {} : { appendTimes: slice(batch.appendTimes) }),
    keyRanges: slice(batch.keyRanges, 2),
    valueRanges: slice(batch.valueRanges, 2),
  }
}
