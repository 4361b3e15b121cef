import { anyOf } from '../abort.ts'
import { partitionId, type Positions, type RecordBatch, type Source } from '../log.ts'

/**
 * The same log up to given positions, where it ends: partitions without one are not there. Positions that lie behind
 * offsets without a record (markers, what compaction took) are reached exactly. Ends of partitions stay those of the
 * log: one that was read up to its bound has more to come.
 */
export function bounded(source: Source, until: Positions): Source {
  return {
    topics: async (names) => {
      const found = await source.topics(names)
      return new Map(
        [...found].map(([name, info]) => {
          const partitions = info.partitions.filter((partition) => until.has(partitionId(name, partition)))
          return [name, { ...info, partitions }]
        }),
      )
    },
    positionsAt: (partitions, at) => source.positionsAt(partitions, at),
    bounds: (partitions) => source.bounds(partitions),
    tailAt: (partition, offset) => source.tailAt(partition, offset),
    async *read(from, signal) {
      const left = new Map([...from].filter(([id, { offset }]) => offset < (until.get(id) ?? 0n)))
      while (left.size > 0 && !signal.aborted) {
        // A partition that has come to its end is not asked for again.
        const round = new AbortController()
        for await (const batch of source.read(left, anyOf(signal, round.signal))) {
          const id = partitionId(batch.topic, batch.partition)
          const [cursor, end] = [left.get(id), until.get(id)]
          if (cursor === undefined || end === undefined) continue
          const piece = cut(batch, end)
          if (piece.nextOffset === end) left.delete(id)
          else left.set(id, { ...cursor, offset: piece.nextOffset, leaderEpoch: piece.leaderEpoch })
          yield piece
          if (signal.aborted) return
          if (!left.has(id)) {
            round.abort()
            break
          }
        }
      }
    },
    close: () => source.close(),
  }
}

/** The batch without what stands at `end` and beyond. */
function cut(batch: RecordBatch, end: bigint): RecordBatch {
  if (batch.nextOffset <= end) return batch
  let count = batch.count
  while (count > 0 && batch.offsets[count - 1]! >= end) count--
  return {
    ...batch,
    nextOffset: end,
    count,
    offsets: batch.offsets.subarray(0, count),
    timestampsMs: batch.timestampsMs.subarray(0, count),
    ...(batch.appendTimes === undefined ? {} : { appendTimes: batch.appendTimes.subarray(0, count) }),
    keyRanges: batch.keyRanges.subarray(0, 2 * count),
    valueRanges: batch.valueRanges.subarray(0, 2 * count),
    headers: (index) => batch.headers(index),
  }
}
