import { Kafka, logLevel, type Admin, type Message, type Producer } from 'kafkajs'
import type { Clock } from '../clock.ts'
import { LakeError } from '../error.ts'
import { SHOP_TOPICS, shopEnd, shopLogRecord, shopTimestampMs } from '../ingest/shop-log.ts'
import type { ShopTopic } from '../ingest/shop-record.ts'
import type { KafkaSettings, ShopSettings } from '../settings.ts'

const BATCH_MAX = 1_000
const PAUSE_MS = 200
const SETTLE_MS = 500
const TOPICS = Object.keys(SHOP_TOPICS) as ShopTopic[]

/**
 * Writes the shop's events to a real Kafka so that record n of a partition stands at offset n: what the ledger knows of
 * the demo's own log then holds for the topic. It goes on from each topic's end, so a killed producer leaves no hole
 * and no repeat; the idempotent producer sees to retries.
 */
export class ShopProducer {
  readonly #producer: Producer
  readonly #admin: Admin
  readonly #shop: ShopSettings
  readonly #clock: Clock

  private constructor(kafka: Kafka, shop: ShopSettings, clock: Clock) {
    this.#producer = kafka.producer({
      idempotent: true,
      maxInFlightRequests: 1,
      allowAutoTopicCreation: false,
      retry: { retries: 10 },
    })
    this.#admin = kafka.admin()
    this.#shop = shop
    this.#clock = clock
  }

  /** Connects and makes the topics. Throws `kafka.unavailable`; `config.invalid` when they hold another shop's events. */
  static async open(settings: KafkaSettings, shop: ShopSettings, clock: Clock): Promise<ShopProducer> {
    const { brokers } = settings
    const kafka = new Kafka({
      clientId: 'kappalake-demo',
      brokers: [...brokers],
      logLevel: logLevel.NOTHING,
      retry: { retries: 3 },
    })
    const producer = new ShopProducer(kafka, shop, clock)
    try {
      await producer.#admin.connect()
      await producer.#createTopics()
      await producer.#checkTopics()
      await producer.#producer.connect()
      return producer
    } catch (cause) {
      await producer.close()
      if (cause instanceof LakeError) throw cause
      throw new LakeError('kafka.unavailable', `no Kafka answers at ${brokers.join(', ')}`, {
        cause,
        fix: 'Start Kafka there, or leave --brokers away for the in-process log.',
      })
    }
  }

  /** Writes what the shop has by now, again and again, until the signal; then what it has at that moment. */
  async run(signal: AbortSignal): Promise<void> {
    try {
      await this.#run(signal)
    } catch (cause) {
      if (cause instanceof LakeError) throw cause
      throw new LakeError('kafka.unavailable', 'the events cannot be written to Kafka', {
        cause,
        fix: 'Look after the brokers, then start the demo again: it goes on where it stood.',
      })
    }
  }

  async #run(signal: AbortSignal): Promise<void> {
    const next = await this.#settledEnds()
    for (let isLast = false; !isLast;) {
      isLast = signal.aborted
      for (const topic of TOPICS)
        for (let partition = 0; partition < SHOP_TOPICS[topic].partitions; partition++)
          await this.#catchUp(topic, partition, next, isLast ? new AbortController().signal : signal)
      if (!isLast) await this.#clock.sleep(PAUSE_MS, signal)
    }
  }

  async close(): Promise<void> {
    await Promise.allSettled([this.#producer.disconnect(), this.#admin.disconnect()])
  }

  async #catchUp(topic: ShopTopic, partition: number, next: Map<string, number>, signal: AbortSignal): Promise<void> {
    const id = `${topic}/${partition}`
    const end = Number(shopEnd(this.#shop, topic, partition, this.#clock.nowMs()))
    for (let from = next.get(id)!; from < end && !signal.aborted; from = next.get(id)!) {
      const messages = Array.from({ length: Math.min(BATCH_MAX, end - from) }, (_, i) =>
        messageOf(this.#shop, topic, partition, from + i),
      )
      const answer = await this.#producer.send({ topic, messages, acks: -1 })
      const written = Number(answer[0]?.baseOffset ?? from)
      if (written !== from)
        throw new LakeError('config.invalid', `${id}: record ${from} of the shop was written at offset ${written}`, {
          fix: 'Somebody else writes to the topics shop.*: stop that, delete them, and start the demo anew.',
        })
      next.set(id, from + messages.length)
    }
  }

  async #createTopics(): Promise<void> {
    const present = new Set(await this.#admin.listTopics())
    const topics = TOPICS.filter((topic) => !present.has(topic)).map((topic) => ({
      topic,
      numPartitions: SHOP_TOPICS[topic].partitions,
    }))
    if (topics.length > 0) await this.#admin.createTopics({ topics, waitForLeaders: true })
  }

  /** The first record of a topic that is not empty must be ours: its timestamp is the shop's own. */
  async #checkTopics(): Promise<void> {
    for (const topic of TOPICS) {
      const ends = await this.#ends(topic)
      const isOurs = ends.size === SHOP_TOPICS[topic].partitions && (await this.#startsAsShop(topic, ends))
      if (!isOurs)
        throw new LakeError('config.invalid', `the topic ${topic} holds other records than this demo's`, {
          fix: 'Keep the --data folder that it was made with, or delete the topics shop.* and the folder.',
        })
    }
  }

  async #startsAsShop(topic: ShopTopic, ends: ReadonlyMap<string, number>): Promise<boolean> {
    for (const [id, end] of ends) {
      if (end === 0) continue
      const partition = Number(id.slice(id.lastIndexOf('/') + 1))
      const firstMs = shopTimestampMs(this.#shop, topic, partition, 0)
      const [at, after] = await Promise.all([
        this.#admin.fetchTopicOffsetsByTimestamp(topic, firstMs),
        this.#admin.fetchTopicOffsetsByTimestamp(topic, firstMs + 1),
      ])
      const offset = (list: typeof at) => Number(list.find((entry) => entry.partition === partition)?.offset)
      if (offset(at) !== 0 || offset(after) === 0) return false
    }
    return true
  }

  /** What a killed producer sent may still be on its way into the log: ends count when they have stood still. */
  async #settledEnds(): Promise<Map<string, number>> {
    const all = async () =>
      new Map((await Promise.all(TOPICS.map((topic) => this.#ends(topic)))).flatMap((ends) => [...ends]))
    for (let before = await all(); ;) {
      await this.#clock.sleep(SETTLE_MS)
      const now = await all()
      if ([...now].every(([id, end]) => before.get(id) === end)) return now
      before = now
    }
  }

  async #ends(topic: string): Promise<Map<string, number>> {
    const offsets = await this.#admin.fetchTopicOffsets(topic)
    return new Map(offsets.map(({ partition, high }) => [`${topic}/${partition}`, Number(high)]))
  }
}

function messageOf(shop: ShopSettings, topic: ShopTopic, partition: number, offset: number): Message {
  const { timestampMs, key, value } = shopLogRecord(shop, topic, partition, offset)
  return {
    partition,
    timestamp: String(timestampMs),
    key: key === undefined ? null : Buffer.from(key),
    value: value === undefined ? null : Buffer.from(value),
  }
}
