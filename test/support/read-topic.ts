import { keyOf, valueOf } from '../../src/ingest/record-batch.ts'
import { partitionId, type Source } from '../../src/log.ts'

export interface ReadRecord {
  readonly offset: bigint
  readonly partition: number
  /** Empty: it has none. */
  readonly key: string
  readonly value: string | null
  readonly headers: Readonly<Record<string, string>>
}

/** All records that a topic has now; those of a partition in their order. */
export async function readTopic(source: Source, topic: string): Promise<ReadRecord[]> {
  const { topicId, partitions } = (await source.topics([topic])).get(topic)!
  const ids = partitions.map((partition) => partitionId(topic, partition))
  const ends = new Map([...(await source.bounds(ids))].map(([id, { end }]) => [id, end]))
  const left = new Set(ids.filter((id) => ends.get(id)! > 0n))
  const from = new Map([...left].map((id) => [id, { offset: 0n, leaderEpoch: -1, topicId }]))
  const stop = new AbortController()
  const read: ReadRecord[] = []
  if (left.size === 0) return read
  for await (const batch of source.read(from, stop.signal)) {
    for (let i = 0; i < batch.count; i++) {
      const value = valueOf(batch, i)
      read.push({
        partition: batch.partition,
        offset: batch.offsets[i]!,
        key: Buffer.from(keyOf(batch, i) ?? []).toString(),
        value: value === undefined ? null : Buffer.from(value).toString(),
        headers: Object.fromEntries(
          batch.headers(i).map(({ key, value: text }) => [String(key), Buffer.from(text ?? []).toString()]),
        ),
      })
    }
    const id = partitionId(topic, batch.partition)
    if (batch.count > 0 && batch.offsets[batch.count - 1]! + 1n >= ends.get(id)!) left.delete(id)
    if (left.size === 0) break
  }
  stop.abort()
  return read
}
