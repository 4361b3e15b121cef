import { keyOf, valueOf } from '../../src/ingest/record-batch.ts'
import type { LogRecord } from '../../src/ingest/memory-log.ts'
import {
  partitionId,
  type Cursor,
  type PartitionId,
  type Positions,
  type RecordBatch,
  type Source,
} from '../../src/log.ts'

/** One record as tests compare it. */
export interface Seen {
  readonly offset: bigint
  readonly timestampMs: number
  readonly key: string | undefined
  readonly value: string | undefined
  readonly headers: readonly (readonly [string, string | undefined])[]
}

export function text(value: string): Uint8Array {
  return new TextEncoder().encode(value)
}

export function record(value: string, key?: string, timestampMs = 1_700_000_000_000): LogRecord {
  return { timestampMs, key: key === undefined ? undefined : text(key), value: text(value) }
}

/** `prefix0`, `prefix1`, and so on. */
export function records(prefix: string, count: number): LogRecord[] {
  return Array.from({ length: count }, (_, i) => record(`${prefix}${i}`, `key${i}`, 1_700_000_000_000 + i))
}

export function asText(bytes: Uint8Array | undefined): string | undefined {
  return bytes === undefined ? undefined : Buffer.from(bytes).toString()
}

export function recordsOf(batch: RecordBatch): Seen[] {
  return Array.from({ length: batch.count }, (_, i) => ({
    offset: batch.offsets[i]!,
    timestampMs: batch.timestampsMs[i]!,
    key: asText(keyOf(batch, i)),
    value: asText(valueOf(batch, i)),
    headers: batch.headers(i).map(({ key, value }) => [key, asText(value)]),
  }))
}

export interface Drained {
  readonly records: ReadonlyMap<PartitionId, readonly Seen[]>
  readonly cursors: ReadonlyMap<PartitionId, Cursor>
  readonly batches: readonly RecordBatch[]
  values(partition: PartitionId): (string | undefined)[]
}

/** Cursors at the given offset in every partition of a topic, without a known epoch. */
export async function cursorsAt(source: Source, topic: string, offset = 0n): Promise<Map<PartitionId, Cursor>> {
  const info = (await source.topics([topic])).get(topic)
  if (info === undefined) throw new Error(`${topic} is missing`)
  return new Map(
    info.partitions.map((p) => [partitionId(topic, p), { offset, leaderEpoch: -1, topicId: info.topicId }]),
  )
}

/**
 * Reads until every partition stands at `until`, or at its end. Checks on the way what every reader relies on:
 * offsets ascend, lie in [position, nextOffset), and positions never go back.
 */
export async function drain(
  source: Source,
  from: ReadonlyMap<PartitionId, Cursor>,
  until?: Positions,
  onBatch?: (batch: RecordBatch) => unknown,
): Promise<Drained> {
  const stop = new AbortController()
  const cursors = new Map(from)
  const seen = new Map<PartitionId, Seen[]>([...from.keys()].map((id) => [id, []]))
  const batches: RecordBatch[] = []
  const goals = until ?? new Map([...(await source.bounds([...from.keys()]))].map(([id, { end }]) => [id, end]))
  const isDone = (): boolean => [...cursors].every(([id, { offset }]) => offset >= goals.get(id)!)
  if (!isDone())
    for await (const batch of source.read(from, stop.signal)) {
      const id = partitionId(batch.topic, batch.partition)
      check(batch, cursors.get(id)!)
      batches.push(batch)
      seen.get(id)!.push(...recordsOf(batch))
      cursors.set(id, { offset: batch.nextOffset, leaderEpoch: batch.leaderEpoch, topicId: batch.topicId })
      await onBatch?.(batch)
      if (isDone()) stop.abort()
    }
  return {
    records: seen,
    cursors,
    batches,
    values: (id) => seen.get(id)!.map(({ value }) => value),
  }
}

function check(batch: RecordBatch, cursor: Cursor): void {
  let before = cursor.offset - 1n
  for (const offset of batch.offsets) {
    if (offset <= before) throw new Error(`offset ${offset} after ${before}`)
    before = offset
  }
  if (before >= batch.nextOffset || batch.nextOffset < cursor.offset)
    throw new Error(`nextOffset ${batch.nextOffset} after ${before}, position ${cursor.offset}`)
  if (batch.topicId !== cursor.topicId) throw new Error(`topic id ${batch.topicId}, expected ${cursor.topicId}`)
  if (batch.offsets.length !== batch.count || batch.valueRanges.length !== 2 * batch.count)
    throw new Error(`arrays do not have the length of the batch, ${batch.count}`)
}
