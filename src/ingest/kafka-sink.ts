import { CompressionTypes, Kafka, logLevel, Partitioners, type Producer } from 'kafkajs'
import type { Clock } from '../clock.ts'
import { LakeError } from '../error.ts'
import type { KafkaSettings } from '../settings.ts'
import type { ChangeRecord, ChangeSink } from './change-sink.ts'
import { connectionError } from './kafka-error.ts'
import { kafkaSecurity } from './kafka-security.ts'

const CLIENT_ID = 'kappalake'
const CONNECTION_TIMEOUT_MS = 5_000
const REQUEST_TIMEOUT_MS = 30_000
/** Few: whoever publishes waits and sends again, and says meanwhile what is wrong. */
const RETRIES = 3

/**
 * Topics of a cluster. Records of one key go to the partition that Java's own producer would choose. Each topic has a
 * producer of its own, since one of kafkajs fails for all its topics when one of them is missing. A producer that failed
 * is dropped: what it had under way has no place in the order of the next one.
 */
export class KafkaSink implements ChangeSink {
  readonly #kafka: Kafka
  readonly #broker: string
  readonly #producers = new Map<string, Promise<Producer>>()

  constructor(settings: KafkaSettings, clock: Clock) {
    const { ssl, sasl } = kafkaSecurity(settings, clock)
    const mechanism = sasl()
    this.#broker = settings.brokers.join(', ')
    this.#kafka = new Kafka({
      clientId: settings.clientId ?? CLIENT_ID,
      brokers: [...settings.brokers],
      ...(ssl === undefined ? {} : { ssl }),
      ...(mechanism === undefined ? {} : { sasl: mechanism }),
      connectionTimeout: settings.connectionTimeoutMs ?? CONNECTION_TIMEOUT_MS,
      requestTimeout: settings.requestTimeoutMs ?? REQUEST_TIMEOUT_MS,
      retry: { retries: RETRIES },
      logLevel: logLevel.NOTHING,
      logCreator: () => () => undefined,
    })
  }

  async send(topic: string, records: readonly ChangeRecord[]): Promise<void> {
    const opening = this.#producers.get(topic) ?? this.#open()
    this.#producers.set(topic, opening)
    try {
      const messages = records.map(({ headers, ...record }) => ({ ...record, headers: { ...headers } }))
      await (await opening).send({ topic, messages, acks: -1, compression: CompressionTypes.GZIP })
    } catch (error) {
      if (this.#producers.get(topic) === opening) this.#producers.delete(topic)
      await disconnect(opening)
      throw sendError(error, topic, this.#broker)
    }
  }

  async close(): Promise<void> {
    const open = [...this.#producers.values()]
    this.#producers.clear()
    await Promise.all(open.map(disconnect))
  }

  async #open(): Promise<Producer> {
    const producer = this.#kafka.producer({
      idempotent: true,
      maxInFlightRequests: 1,
      allowAutoTopicCreation: false,
      createPartitioner: partitioner,
    })
    await producer.connect()
    return producer
  }
}

/** By key as Java's own producer; records without one go where the record says. */
function partitioner(): ReturnType<typeof Partitioners.DefaultPartitioner> {
  const byKey = Partitioners.DefaultPartitioner()
  return ({ topic, partitionMetadata, message }) => {
    const { partition, ...rest } = message
    return partition === undefined
      ? byKey({ topic, partitionMetadata, message: rest })
      : partition % partitionMetadata.length
  }
}

/** Waits for nothing that is under way. */
async function disconnect(producer: Promise<Producer>): Promise<void> {
  await producer.then((open) => open.disconnect()).catch(() => undefined)
}

/** What kafkajs said, in our words: what it tried several times has the reason as its cause. */
function sendError(error: unknown, topic: string, broker: string): LakeError {
  let reason = error as { type?: string; cause?: unknown; name?: string }
  const isOurs = () => (reason as unknown) instanceof LakeError
  while (!isOurs() && reason.type === undefined && reason.cause instanceof Error) reason = reason.cause as typeof reason
  const context = { topic }
  switch (reason.type) {
    case 'UNKNOWN_TOPIC_OR_PARTITION':
      return new LakeError('kafka.topic_missing', `${topic} does not exist: nothing is published to it`, {
        retryable: true,
        context,
        fix: 'Create the topic: publishing goes on by itself.',
        cause: error,
      })
    case 'TOPIC_AUTHORIZATION_FAILED':
    case 'CLUSTER_AUTHORIZATION_FAILED':
      return new LakeError('kafka.denied', `the broker does not allow to write ${topic}`, {
        context,
        fix: 'Give this user WRITE and DESCRIBE on the topic, and IDEMPOTENT_WRITE on brokers before 3.0.',
        cause: error,
      })
    case 'MESSAGE_TOO_LARGE':
    case 'RECORD_LIST_TOO_LARGE':
      return new LakeError('publish.too_large', `${topic} does not take records so large`, {
        retryable: true,
        context,
        fix: 'Raise max.message.bytes of the topic.',
        cause: error,
      })
  }
  return connectionError(reason, broker)
}
