import { anyOf } from '../abort.ts'
import type { Clock } from '../clock.ts'
import {
  parsePartitionId,
  type Cursor,
  type PartitionBounds,
  type PartitionId,
  type Positions,
  type RecordBatch,
  type Source,
  type StartAt,
  type Tail,
  type TopicInfo,
} from '../log.ts'
import type { KafkaSettings } from '../settings.ts'
import { existing, KafkaCluster, leaderOf, topicIdText, type Leader } from './kafka-cluster.ts'
import { KAFKA_ERROR, protocolError } from './kafka-error.ts'
import { fetchRecords, offsetCommit, type FetchLimits, type OffsetQuery } from './kafka-protocol.ts'
import { KafkaReader } from './kafka-reader.ts'
import { tailOf } from './record-batch.ts'
import { decodeRecordSet } from './record-set.ts'

/** 512 KiB to 4 MiB a partition is the good range: larger costs memory and is not faster. */
const PARTITION_BYTES_MAX = 4 << 20
const FETCH_BYTES_MAX = 16 << 20
const FETCH_WAIT_MS = 250
/** To look at one record: a batch always comes whole, whatever the limit. */
const ONE_BATCH: FetchLimits = { maxBytes: 1, partitionMaxBytes: 1, maxWaitMs: 0 }

/** A cluster as a log. Nothing is sent before the first call; brokers may be away then. */
export function openKafka(settings: KafkaSettings, clock: Clock): Source {
  return new KafkaSource(settings, clock)
}

export class KafkaSource implements Source {
  readonly #cluster: KafkaCluster
  readonly #clock: Clock
  readonly #limits: FetchLimits

  constructor(settings: KafkaSettings, clock: Clock) {
    this.#cluster = new KafkaCluster(settings, clock)
    this.#clock = clock
    this.#limits = {
      maxBytes: settings.fetchBytesMax ?? FETCH_BYTES_MAX,
      partitionMaxBytes: settings.fetchPartitionBytesMax ?? PARTITION_BYTES_MAX,
      maxWaitMs: settings.fetchWaitMs ?? FETCH_WAIT_MS,
    }
  }

  async topics(names: readonly string[]): Promise<ReadonlyMap<string, TopicInfo>> {
    return this.#cluster.retrying(async () => {
      const topics = await this.#cluster.topics(names)
      const found = [...topics.values()].filter(({ error }) => error !== KAFKA_ERROR.unknownTopicOrPartition)
      return new Map(
        found.map(({ topic }) => {
          const { topicId, partitions } = existing(topics, topic)
          const numbers = partitions.map(({ partition }) => partition).sort((a, b) => a - b)
          return [topic, { topic, topicId: topicIdText(topicId), partitions: numbers }]
        }),
      )
    })
  }

  async compacted(topics: readonly string[]): Promise<ReadonlySet<string>> {
    const policies = await this.#cluster.retrying(() => this.#cluster.settingOf(topics, 'cleanup.policy'))
    return new Set([...policies].filter(([, policy]) => policy.split(',').includes('compact')).map(([topic]) => topic))
  }

  async positionsAt(partitions: readonly PartitionId[], at: StartAt): Promise<Positions> {
    if (at === 'earliest') return this.#offsets(partitions, 'logStart')
    const end = await this.#offsets(partitions, 'end')
    if (at === 'latest') return end
    const found = await this.#offsets(partitions, at)
    return new Map(partitions.map((id) => [id, found.get(id)! < 0n ? end.get(id)! : found.get(id)!]))
  }

  async bounds(partitions: readonly PartitionId[]): Promise<ReadonlyMap<PartitionId, PartitionBounds>> {
    const [logStart, end, highWatermark] = await Promise.all([
      this.#offsets(partitions, 'logStart'),
      this.#offsets(partitions, 'end'),
      this.#offsets(partitions, 'highWatermark'),
    ])
    return new Map(
      partitions.map((id) => [
        id,
        { logStart: logStart.get(id)!, end: end.get(id)!, highWatermark: highWatermark.get(id)! },
      ]),
    )
  }

  async tailAt(id: PartitionId, offset: bigint): Promise<Tail | undefined> {
    return this.#cluster.retrying(async () => {
      const [leader] = await this.#leaders([id])
      const { topic, partition, topicId, leaderEpoch } = leader!
      const request = fetchRecords([{ topicId, partition, offset, leaderEpoch, lastFetchedEpoch: -1 }], ONE_BATCH)
      const answer = await this.#cluster.ask(leader!.nodeId, request)
      const fetched = answer.partitions[0]
      const error = answer.error || (fetched?.error ?? KAFKA_ERROR.none)
      if (error === KAFKA_ERROR.offsetOutOfRange || fetched === undefined) return undefined
      if (error !== KAFKA_ERROR.none) throw protocolError(error, id)
      const position = { topic, partition, topicId: topicIdText(topicId), position: offset, leaderEpoch: -1 }
      const set = { ...position, end: fetched.lastStableOffset, bytes: fetched.records, aborted: fetched.aborted }
      for (const batch of decodeRecordSet(set)) if (batch.count > 0) return tailWhere(batch, offset)
      return undefined
    })
  }

  read(from: ReadonlyMap<PartitionId, Cursor>, signal: AbortSignal): AsyncIterable<RecordBatch> {
    const ended = anyOf(signal, this.#cluster.closing)
    return new KafkaReader(this.#cluster, this.#clock, this.#limits, from).read(ended)
  }

  /** Throws when the group cannot be written to; the caller may drop that, since nothing of ours depends on it. */
  async advise(group: string, positions: Positions): Promise<void> {
    const offsets = [...positions].map(([id, offset]) => ({ ...parsePartitionId(id), offset }))
    await this.#cluster.retrying(async () => {
      const error = await this.#cluster.askCoordinator(group, offsetCommit(group, offsets))
      if (error !== KAFKA_ERROR.none) throw protocolError(error, `group ${group}`)
    })
  }

  async close(): Promise<void> {
    await this.#cluster.close()
  }

  async #offsets(partitions: readonly PartitionId[], query: OffsetQuery): Promise<Map<PartitionId, bigint>> {
    return this.#cluster.retrying(async () => {
      const leaders = await this.#leaders(partitions)
      return this.#cluster.offsets(leaders, query)
    })
  }

  async #leaders(partitions: readonly PartitionId[]): Promise<Leader[]> {
    const wanted = partitions.map(parsePartitionId)
    const topics = await this.#cluster.topics([...new Set(wanted.map(({ topic }) => topic))])
    return wanted.map(({ topic, partition }) => leaderOf(topics, topic, partition))
  }
}

function tailWhere(batch: RecordBatch, offset: bigint): Tail | undefined {
  const index = batch.offsets.indexOf(offset)
  if (index < 0) return undefined
  return tailOf({ ...batch, count: index + 1 })
}
