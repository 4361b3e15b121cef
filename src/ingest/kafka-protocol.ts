import { WireReader, WireWriter } from './kafka-wire.ts'

/**
 * The requests that are ours, because kafkajs does not know topic ids, leader epochs or the last stable offset, and
 * makes an object of every record. Layouts: kafka.apache.org/protocol. All but ApiVersions are flexible versions, whose
 * request header ends with an empty section of tagged fields: the connection writes it, bodies begin behind it.
 */
export interface KafkaRequest<T> {
  readonly name: string
  readonly apiKey: number
  readonly apiVersion: number
  readonly isFlexible: boolean
  readonly body: Buffer
  /** `response` is the body behind the response header. */
  decode(response: WireReader): T
}

/** Every version that we speak: Kafka 3.1 is the first release with all of them. */
export const API_VERSIONS: ReadonlyMap<number, number> = new Map([
  [1, 13], // Fetch, by topic id
  [2, 7], // ListOffsets
  [3, 12], // Metadata, with topic ids and leader epochs
  [8, 8], // OffsetCommit
  [10, 3], // FindCoordinator
  [23, 4], // OffsetForLeaderEpoch
  [32, 4], // DescribeConfigs
])

const NO_TOPIC_ID = Buffer.alloc(16)
const READ_UNCOMMITTED = 0
const READ_COMMITTED = 1
const CONSUMER = -1
const TOPIC = 2

export interface ApiVersionRange {
  readonly minVersion: number
  readonly maxVersion: number
}

export function apiVersions(): KafkaRequest<ReadonlyMap<number, ApiVersionRange>> {
  return {
    name: 'ApiVersions',
    apiKey: 18,
    apiVersion: 2,
    isFlexible: false,
    body: Buffer.alloc(0),
    decode: (r) => {
      if (r.int16() !== 0) throw new RangeError('the broker refused ApiVersions')
      const versions = new Map<number, ApiVersionRange>()
      for (let count = r.int32(); count > 0; count--)
        versions.set(r.int16(), { minVersion: r.int16(), maxVersion: r.int16() })
      return versions
    },
  }
}

export interface MetadataAnswer {
  readonly brokers: readonly { readonly nodeId: number; readonly host: string; readonly port: number }[]
  readonly topics: readonly TopicMetadata[]
}

export interface TopicMetadata {
  readonly error: number
  readonly topic: string
  readonly topicId: Buffer
  readonly partitions: readonly PartitionMetadata[]
}

export interface PartitionMetadata {
  readonly error: number
  readonly partition: number
  /** -1 while there is none. */
  readonly leader: number
  readonly leaderEpoch: number
}

export function metadata(topics: readonly string[]): KafkaRequest<MetadataAnswer> {
  const w = new WireWriter()
  w.array(topics, (topic) => w.bytes(NO_TOPIC_ID).string(topic))
  w.int8(0).int8(0).noTags() // no automatic creation, no authorized operations
  return flexible('Metadata', 3, w, (r) => {
    r.int32()
    const brokers = r.array(() => {
      const broker = { nodeId: r.int32(), host: r.string() ?? '', port: r.int32() }
      r.string()
      return broker
    })
    r.string()
    r.int32()
    return { brokers, topics: r.array(() => topicMetadata(r)) }
  })
}

function topicMetadata(r: WireReader): TopicMetadata {
  const head = { error: r.int16(), topic: r.string() ?? '', topicId: r.bytes(16) }
  r.int8()
  const partitions = r.array(() => {
    const found = { error: r.int16(), partition: r.int32(), leader: r.int32(), leaderEpoch: r.int32() }
    for (let replicas = 0; replicas < 3; replicas++) for (let n = r.unsignedVarint() - 1; n > 0; n--) r.int32()
    return found
  })
  r.int32()
  return { ...head, partitions }
}

/** `end` of a read_committed reader is the last stable offset, of an uncommitted one the high watermark. */
export type OffsetQuery = 'logStart' | 'end' | 'highWatermark' | { readonly timestampMs: number }

export interface PartitionOffset {
  readonly topic: string
  readonly partition: number
  readonly error: number
  /** -1 when no record has the timestamp or a later one. */
  readonly offset: bigint
}

export function listOffsets(
  partitions: readonly { readonly topic: string; readonly partition: number; readonly leaderEpoch: number }[],
  query: OffsetQuery,
): KafkaRequest<PartitionOffset[]> {
  const timestamp = typeof query === 'object' ? BigInt(query.timestampMs) : query === 'logStart' ? -2n : -1n
  const w = new WireWriter()
  w.int32(CONSUMER).int8(query === 'highWatermark' ? READ_UNCOMMITTED : READ_COMMITTED)
  w.array(byTopic(partitions), ([topic, list]) =>
    w.string(topic).array(list, ({ partition, leaderEpoch }) => w.int32(partition).int32(leaderEpoch).int64(timestamp)),
  ).noTags()
  return flexible('ListOffsets', 2, w, (r) => {
    r.int32()
    return perPartition(r, () => {
      const [partition, error] = [r.int32(), r.int16()]
      r.int64()
      const offset = r.int64()
      r.int32()
      return { partition, error, offset }
    })
  })
}

export interface EpochEnd {
  readonly topic: string
  readonly partition: number
  readonly error: number
  /** The largest epoch up to the one asked for that the leader knows, -1 when it knows none. */
  readonly leaderEpoch: number
  readonly endOffset: bigint
}

export function offsetForLeaderEpoch(
  partitions: readonly {
    readonly topic: string
    readonly partition: number
    readonly leaderEpoch: number
    readonly epoch: number
  }[],
): KafkaRequest<EpochEnd[]> {
  const w = new WireWriter()
  w.int32(CONSUMER)
  w.array(byTopic(partitions), ([topic, list]) =>
    w
      .string(topic)
      .array(list, ({ partition, leaderEpoch, epoch }) => w.int32(partition).int32(leaderEpoch).int32(epoch)),
  ).noTags()
  return flexible('OffsetForLeaderEpoch', 23, w, (r) => {
    r.int32()
    return perPartition(r, () => {
      const [error, partition] = [r.int16(), r.int32()]
      return { partition, error, leaderEpoch: r.int32(), endOffset: r.int64() }
    })
  })
}

export interface FetchPartition {
  readonly topicId: Buffer
  readonly partition: number
  readonly offset: bigint
  /** Epoch of the leader that we believe in: a stale one is refused, so a former leader cannot answer. */
  readonly leaderEpoch: number
  /** Epoch of the last batch below `offset`, -1 when unknown: a lost tail is then reported as `diverging`. */
  readonly lastFetchedEpoch: number
}

export interface FetchLimits {
  readonly maxBytes: number
  readonly partitionMaxBytes: number
  readonly maxWaitMs: number
}

export interface AbortedTransaction {
  readonly producerId: bigint
  readonly firstOffset: bigint
}

export interface FetchedPartition {
  readonly topicId: Buffer
  readonly partition: number
  readonly error: number
  readonly highWatermark: bigint
  readonly lastStableOffset: bigint
  readonly logStart: bigint
  readonly aborted: readonly AbortedTransaction[]
  /** A view into the response. */
  readonly records: Buffer
  /** End of the last epoch that our log and the leader's have in common. */
  readonly diverging: { readonly epoch: number; readonly endOffset: bigint } | undefined
}

export interface FetchAnswer {
  readonly error: number
  readonly partitions: readonly FetchedPartition[]
}

/** Partitions are served in the given order until `maxBytes` are full; the first batch of all comes whole in any case. */
export function fetchRecords(partitions: readonly FetchPartition[], limits: FetchLimits): KafkaRequest<FetchAnswer> {
  const w = new WireWriter(64 + 64 * partitions.length)
  w.int32(CONSUMER).int32(limits.maxWaitMs).int32(1).int32(limits.maxBytes).int8(READ_COMMITTED)
  w.int32(0).int32(-1) // no fetch session
  w.array(runsOfOneTopic(partitions), (run) =>
    w
      .bytes(run[0]!.topicId)
      .array(run, (p) =>
        w
          .int32(p.partition)
          .int32(p.leaderEpoch)
          .int64(p.offset)
          .int32(p.lastFetchedEpoch)
          .int64(-1n)
          .int32(limits.partitionMaxBytes),
      ),
  )
  w.unsignedVarint(1).string('').noTags() // nothing to forget; no rack, so that the leader itself answers
  return flexible('Fetch', 1, w, (r) => {
    r.int32()
    const error = r.int16()
    r.int32()
    const topics = r.array(() => {
      const topicId = r.bytes(16)
      return readArrayWithTags(r, () => fetchedPartition(r, topicId))
    })
    return { error, partitions: topics.flat() }
  })
}

function fetchedPartition(r: WireReader, topicId: Buffer): FetchedPartition {
  const head = { topicId, partition: r.int32(), error: r.int16() }
  const offsets = { highWatermark: r.int64(), lastStableOffset: r.int64(), logStart: r.int64() }
  const aborted = r.array(() => ({ producerId: r.int64(), firstOffset: r.int64() }))
  r.int32()
  const records = r.bytes(Math.max(0, r.unsignedVarint() - 1))
  let diverging: FetchedPartition['diverging']
  r.tags((tag) => {
    if (tag === 0) diverging = { epoch: r.int32(), endOffset: r.int64() }
  })
  return { ...head, ...offsets, aborted, records, diverging }
}

export interface Coordinator {
  readonly error: number
  readonly host: string
  readonly port: number
}

export function findCoordinator(group: string): KafkaRequest<Coordinator> {
  return flexible('FindCoordinator', 10, new WireWriter().string(group).int8(0).noTags(), (r) => {
    r.int32()
    const error = r.int16()
    r.string()
    r.int32()
    return { error, host: r.string() ?? '', port: r.int32() }
  })
}

/** A commit from outside the group, as lag tools read it. Answers the first error, 0 when there is none. */
export function offsetCommit(
  group: string,
  positions: readonly { readonly topic: string; readonly partition: number; readonly offset: bigint }[],
): KafkaRequest<number> {
  const w = new WireWriter().string(group).int32(-1).string('').string(undefined)
  w.array(byTopic(positions), ([topic, list]) =>
    w
      .string(topic)
      .array(list, ({ partition, offset }) => w.int32(partition).int64(offset).int32(-1).string(undefined)),
  ).noTags()
  return flexible('OffsetCommit', 8, w, (r) => {
    r.int32()
    return (
      perPartition(r, () => ({ partition: r.int32(), error: r.int16() })).find(({ error }) => error !== 0)?.error ?? 0
    )
  })
}

/** One setting of each topic, where the broker lets us see it. */
export function topicSetting(topics: readonly string[], key: string): KafkaRequest<ReadonlyMap<string, string>> {
  const w = new WireWriter()
  w.array(topics, (topic) => w.int8(TOPIC).string(topic).unsignedVarint(2).string(key))
  return flexible('DescribeConfigs', 32, w.int8(0).int8(0).noTags(), (r) => {
    r.int32()
    const values = new Map<string, string>()
    r.array(() => {
      r.int16()
      r.string()
      r.int8()
      const topic = r.string() ?? ''
      r.array(() => {
        const [name, value] = [r.string(), r.string()]
        if (name === key && value !== undefined) values.set(topic, value)
        for (let flags = 3; flags > 0; flags--) r.int8()
        r.array(() => [r.string(), r.string(), r.int8()])
        return [r.int8(), r.string()]
      })
    })
    return values
  })
}

function flexible<T>(name: string, apiKey: number, body: WireWriter, decode: (r: WireReader) => T): KafkaRequest<T> {
  return { name, apiKey, apiVersion: API_VERSIONS.get(apiKey)!, isFlexible: true, body: body.finish(), decode }
}

function byTopic<T extends { readonly topic: string }>(items: readonly T[]): [string, T[]][] {
  const topics = new Map<string, T[]>()
  for (const item of items) {
    const list = topics.get(item.topic)
    if (list === undefined) topics.set(item.topic, [item])
    else list.push(item)
  }
  return [...topics]
}

function perPartition<T>(r: WireReader, read: () => T): (T & { readonly topic: string })[] {
  return r
    .array(() => {
      const topic = r.string() ?? ''
      return r.array(() => ({ ...read(), topic }))
    })
    .flat()
}

/** The order of partitions is the order of service: only neighbours may share their topic's entry. */
function runsOfOneTopic(partitions: readonly FetchPartition[]): FetchPartition[][] {
  const runs: FetchPartition[][] = []
  for (const partition of partitions) {
    const run = runs.at(-1)
    if (run !== undefined && run[0]!.topicId.equals(partition.topicId)) run.push(partition)
    else runs.push([partition])
  }
  return runs
}

/** An array whose items read their own tagged fields. */
function readArrayWithTags<T>(r: WireReader, read: () => T): T[] {
  const items: T[] = []
  for (let n = r.unsignedVarint() - 1; n > 0; n--) items.push(read())
  return items
}
