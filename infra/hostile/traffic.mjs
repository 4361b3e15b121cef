// Producers that keep their pace until they are told to stop, and remember every record with its place.
import { CompressionTypes, Kafka, logLevel } from 'kafkajs'
import { sleep } from '../exact/world.mjs'
import { badOrder, order } from './avro-records.mjs'
import { PIPELINES, TOPICS } from './definitions.mjs'
import { account, badAccount, badClick, click, hugeClick } from './json-records.mjs'

const EVERY_MS = 50
const ACCOUNTS = 5_000
const POISON_SHARE = 0.005
/** Of a hundred records. */
const SHARES = { clicks: 60, accounts: 20, orders: 20 }

export class Traffic {
  /** Every record: `{ table, partition, offset, key, value, codes }` of a letter, `row` of a row, `id` of an account. */
  records = []
  /** Ids of the schemas that orders are written by. */
  schemaIds
  #options
  #random
  #producer
  #poison = { clicks: 0, accounts: 0, orders: 0 }
  #produced = { web: 0, shop: 0 }
  #isStopped = false
  #running

  /** @param {{ perSecond: number, random: () => number, schemaIds: number[] }} options */
  constructor(world, options) {
    this.#options = { ...options, partitions: world.partitions }
    this.#random = options.random
    this.schemaIds = options.schemaIds
    const kafka = new Kafka({ brokers: [world.broker.address], logLevel: logLevel.NOTHING, retry: { retries: 20 } })
    this.#producer = kafka.producer({ idempotent: true, maxInFlightRequests: 1 })
  }

  /** Records of a pipeline that are in the log. */
  produced(pipeline) {
    return this.#produced[pipeline]
  }

  async start() {
    await this.#producer.connect()
    this.#running = this.#run()
    this.#running.catch(() => undefined)
  }

  async stop() {
    this.#isStopped = true
    await this.#running
    await this.#producer.disconnect()
  }

  /** One record that is small on its way and larger than any may be. */
  async sendHuge() {
    await this.#send([{ table: 'clicks', partition: 0, key: 'huge', ...hugeClick(-1) }], CompressionTypes.GZIP)
  }

  async #run() {
    const startedMs = performance.now()
    for (let k = 0; !this.#isStopped;) {
      const due = Math.floor(((performance.now() - startedMs) / 1_000) * this.#options.perSecond)
      const batch = []
      while (k < due) batch.push(this.#next(k++))
      if (batch.length > 0) await this.#send(batch)
      await sleep(EVERY_MS)
    }
  }

  #next(k) {
    const random = this.#random
    const turn = random() * 100
    const table = turn < SHARES.clicks ? 'clicks' : turn < SHARES.clicks + SHARES.accounts ? 'accounts' : 'orders'
    const made = random() < POISON_SHARE ? this.#bad(table, k) : this.#good(table, k)
    // A key keeps to its partition.
    const partition = (made.number ?? Math.floor(random() * 1e6)) % this.#options.partitions
    return { key: null, ...made, table, partition }
  }

  #good(table, k) {
    if (table === 'clicks') return click(this.#random, k)
    return table === 'accounts' ? account(this.#random, k, ACCOUNTS) : order(this.#random, k, this.schemaIds)
  }

  #bad(table, k) {
    const turn = this.#poison[table]++
    if (table === 'clicks') return badClick(this.#random, k, turn)
    return table === 'accounts' ? badAccount(this.#random, k, turn) : badOrder(this.#random, k, turn, this.schemaIds)
  }

  async #send(batch, compression = CompressionTypes.None) {
    const tables = Object.keys(TOPICS).filter((table) => batch.some((record) => record.table === table))
    const topicMessages = tables.map((table) => ({
      topic: TOPICS[table],
      messages: batch
        .filter((record) => record.table === table)
        .map(({ key, value, partition }) => ({ key, value, partition })),
    }))
    const answers = await this.#producer.sendBatch({ topicMessages, acks: -1, compression })
    const next = new Map(
      answers.map(({ topicName, partition, baseOffset }) => [`${topicName}/${partition}`, +baseOffset]),
    )
    for (const record of batch) {
      const place = `${TOPICS[record.table]}/${record.partition}`
      const offset = next.get(place)
      next.set(place, offset + 1)
      this.records.push({ ...record, offset })
      this.#produced[PIPELINES[record.table]]++
    }
  }
}
