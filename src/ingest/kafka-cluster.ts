import { backoffMs, type Clock } from '../clock.ts'
import { asLakeError, LakeError } from '../error.ts'
import { partitionId, type PartitionId } from '../log.ts'
import type { KafkaSettings } from '../settings.ts'
import { KafkaConnection } from './kafka-connection.ts'
import { KAFKA_ERROR, protocolError, unavailable } from './kafka-error.ts'
import {
  findCoordinator,
  listOffsets,
  metadata,
  topicSetting,
  type KafkaRequest,
  type OffsetQuery,
  type PartitionMetadata,
  type TopicMetadata,
} from './kafka-protocol.ts'
import { kafkaSecurity, type KafkaSecurity } from './kafka-security.ts'
import { topicMissing } from './log-errors.ts'

/** How long brokers may be away before a reader of the log gives up. */
export const UNAVAILABLE_MS_MAX = 120_000
/** … and before a single question does: whoever asked can say what is wrong, and asks again. */
const QUESTION_MS_MAX = 10_000

/** Where a partition's leader is, as of the last look. */
export interface Leader {
  readonly topic: string
  readonly partition: number
  readonly topicId: Buffer
  readonly nodeId: number
  readonly leaderEpoch: number
}

/** The brokers: who leads what, and one connection to each for everything but long polls. */
export class KafkaCluster {
  readonly #settings: KafkaSettings
  readonly #security: KafkaSecurity
  readonly #clock: Clock
  readonly #connections = new Map<string, Promise<KafkaConnection>>()
  readonly #closing = new AbortController()
  #addresses = new Map<number, string>()

  constructor(settings: KafkaSettings, clock: Clock) {
    this.#settings = settings
    this.#security = kafkaSecurity(settings, clock)
    this.#clock = clock
  }

  get closing(): AbortSignal {
    return this.#closing.signal
  }

  /** Metadata of the topics from any broker that answers, the known ones first. Topics come with their own errors. */
  async topics(names: readonly string[]): Promise<ReadonlyMap<string, TopicMetadata>> {
    if (names.length === 0) return new Map()
    const answer = await this.#any(metadata(names))
    this.#addresses = new Map(answer.brokers.map(({ nodeId, host, port }) => [nodeId, `${host}:${port}`]))
    return new Map(answer.topics.map((topic) => [topic.topic, topic]))
  }

  /** One setting of each topic; absent where it may not be seen. */
  settingOf(names: readonly string[], key: string): Promise<ReadonlyMap<string, string>> {
    return names.length === 0 ? Promise.resolve(new Map()) : this.#any(topicSetting(names, key))
  }

  /** Asks a broker by its id. */
  async ask<T>(nodeId: number, request: KafkaRequest<T>, waitMs = 0): Promise<T> {
    return (await this.#connect(this.#address(nodeId))).send(request, waitMs)
  }

  /** One offset per partition, asked of its leader. The first partition that has none to give fails the whole. */
  async offsets(leaders: readonly Leader[], query: OffsetQuery): Promise<Map<PartitionId, bigint>> {
    const answers = await Promise.all(
      [...groupByNode(leaders)].map(([nodeId, led]) => this.ask(nodeId, listOffsets(led, query))),
    )
    const offsets = new Map<PartitionId, bigint>()
    for (const { topic, partition, error, offset } of answers.flat()) {
      const id = partitionId(topic, partition)
      if (error !== KAFKA_ERROR.none) throw protocolError(error, id)
      offsets.set(id, offset)
    }
    return offsets
  }

  async askCoordinator<T>(group: string, request: KafkaRequest<T>): Promise<T> {
    const { error, host, port } = await this.#any(findCoordinator(group))
    if (error !== KAFKA_ERROR.none) throw protocolError(error, `group ${group}`)
    return (await this.#connect(`${host}:${port}`)).send(request)
  }

  /** A connection of its own for a reader's long polls. Whoever asks for it closes it. */
  async openReader(nodeId: number): Promise<KafkaConnection> {
    const [host, port] = split(this.#address(nodeId))
    return KafkaConnection.open(host, port, this.#settings, this.#security, this.#clock)
  }

  /** Repeats what fails for a passing reason, until it has failed for too long or the cluster is closed. */
  async retrying<T>(attempt: () => Promise<T>): Promise<T> {
    const startedMs = this.#clock.monotonicMs()
    for (let attempts = 0; ; attempts++) {
      try {
        return await attempt()
      } catch (error) {
        const failure = asLakeError(error)
        const waitedMs = this.#clock.monotonicMs() - startedMs
        if (!failure.retryable || waitedMs > QUESTION_MS_MAX || this.closing.aborted) throw failure
        await this.#clock.sleep(backoffMs(this.#clock, attempts), this.closing)
      }
    }
  }

  async close(): Promise<void> {
    this.#closing.abort()
    for (const connection of this.#connections.values()) (await connection.catch(() => undefined))?.close()
  }

  async #any<T>(request: KafkaRequest<T>): Promise<T> {
    const candidates = new Set([...this.#addresses.values(), ...this.#settings.brokers])
    let failure: LakeError | undefined
    for (const address of candidates) {
      try {
        return await (await this.#connect(address)).send(request)
      } catch (error) {
        failure = asLakeError(error)
        if (!failure.retryable) throw failure
      }
    }
    throw unavailable(`no broker of ${[...candidates].join(', ')} answers: ${failure?.message}`, {}, failure)
  }

  async #connect(address: string): Promise<KafkaConnection> {
    if (this.closing.aborted) throw new LakeError('kafka.unavailable', 'this source was closed')
    const known = this.#connections.get(address)
    if (known !== undefined) {
      const connection = await known
      if (connection.isOpen) return connection
      connection.close()
      if (this.#connections.get(address) === known) this.#connections.delete(address)
      return this.#connect(address)
    }
    const opening = KafkaConnection.open(...split(address), this.#settings, this.#security, this.#clock)
    this.#connections.set(address, opening)
    opening.catch(() => this.#connections.delete(address))
    return opening
  }

  #address(nodeId: number): string {
    const address = this.#addresses.get(nodeId)
    if (address === undefined) throw unavailable(`broker ${nodeId} is not known yet`)
    return address
  }
}

export function groupByNode<T extends { readonly nodeId: number }>(leaders: readonly T[]): Map<number, T[]> {
  const groups = new Map<number, T[]>()
  for (const leader of leaders) {
    const group = groups.get(leader.nodeId)
    if (group === undefined) groups.set(leader.nodeId, [leader])
    else group.push(leader)
  }
  return groups
}

/** The leader of a partition. Throws what keeps it from being read; `kafka.unavailable` when it is being elected. */
export function leaderOf(topics: ReadonlyMap<string, TopicMetadata>, topic: string, partition: number): Leader {
  const found = existing(topics, topic)
  const { leader, leaderEpoch } = partitionOf(found, partition)
  if (leader < 0) throw unavailable(`${topic}/${partition} has no leader at the moment`)
  return { topic, partition, topicId: found.topicId, nodeId: leader, leaderEpoch }
}

/** A topic's metadata. Throws `kafka.topic_missing`, `kafka.denied`, or that it is not available. */
export function existing(topics: ReadonlyMap<string, TopicMetadata>, topic: string): TopicMetadata {
  const found = topics.get(topic)
  if (found === undefined || found.error === KAFKA_ERROR.unknownTopicOrPartition) throw topicMissing(topic)
  if (found.error !== KAFKA_ERROR.none) throw protocolError(found.error, topic)
  return found
}

function partitionOf({ topic, partitions }: TopicMetadata, partition: number): PartitionMetadata {
  const found = partitions.find((candidate) => candidate.partition === partition)
  if (found === undefined) throw topicMissing(topic, `${topic}/${partition}`)
  return found
}

/** IPv6 addresses keep their colons: the port is behind the last one. */
function split(address: string): [string, number] {
  const colon = address.lastIndexOf(':')
  return [address.slice(0, colon), Number(address.slice(colon + 1))]
}

/** Kafka prints topic ids in this form. */
export function topicIdText(topicId: Buffer): string {
  return topicId.toString('base64url')
}

export function topicIdBytes(text: string): Buffer {
  return Buffer.from(text, 'base64url')
}
