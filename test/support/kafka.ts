import { spawn } from 'node:child_process'
import { readdirSync, readFileSync, rmSync, truncateSync } from 'node:fs'
import path from 'node:path'
import { CompressionCodecs, CompressionTypes, Kafka, logLevel, Partitioners, type Admin, type Producer } from 'kafkajs'
import { kafkaLibs, startBroker, type BrokerOptions } from '../../infra/kafka.mjs'
import { systemClock } from '../../src/clock.ts'
import { openKafka } from '../../src/ingest/kafka.ts'
import type { LogRecord } from '../../src/ingest/memory-log.ts'
import { partitionId } from '../../src/log.ts'
import { compress, type Compression } from './record-batch.ts'

export interface ProduceOptions {
  readonly compression?: Compression
  /** One transaction around all records. Default: none. */
  readonly transactional?: 'commit' | 'abort'
}

/** A real Apache Kafka with one broker in a process of its own, on free ports, in a temporary folder. */
export interface TestKafka {
  readonly brokers: readonly string[]
  /** Of the extra listeners, by their names. */
  readonly extraAddresses: Readonly<Record<string, string>>
  readonly pid: number | undefined
  createTopic(topic: string, partitions: number, config?: Readonly<Record<string, string>>): Promise<void>
  /** Adds partitions until there are `count`. */
  createPartitions(topic: string, count: number): Promise<void>
  deleteTopic(topic: string): Promise<void>
  /** Deletes the records before `offset`. */
  deleteRecords(topic: string, partition: number, offset: bigint): Promise<void>
  /** All records in one batch, with acknowledgement. Also again after a restart. */
  produce(topic: string, partition: number, records: readonly LogRecord[], options?: ProduceOptions): Promise<void>
  /** By Java's own producer, from lines of `key<TAB>value`: what most topics are written by. Costs a second. */
  produceByJava(topic: string, lines: readonly string[], compression: Compression): Promise<void>
  /** Crashes the broker, cuts the log before the batch that holds `to`, and starts it again under a new leader epoch. */
  truncate(topic: string, partition: number, to: bigint): Promise<void>
  /** SIGKILL. */
  kill(): Promise<void>
  /** Starts the broker again on its data; ends it first when it still runs. */
  restart(): Promise<void>
  /** Ends the broker and removes its data. */
  stop(): Promise<void>
}

const RETRY = { retries: 30, initialRetryTime: 50, maxRetryTime: 500 }
const CODECS: Readonly<Record<Compression, CompressionTypes>> = {
  none: CompressionTypes.None,
  gzip: CompressionTypes.GZIP,
  snappy: CompressionTypes.Snappy,
  lz4: CompressionTypes.LZ4,
  zstd: CompressionTypes.ZSTD,
}

const codecs: Record<number, unknown> = CompressionCodecs
for (const name of ['snappy', 'lz4', 'zstd'] as const)
  codecs[CODECS[name]] = () => ({
    compress: async ({ buffer }: { buffer: Buffer }) => compress(name, buffer),
    decompress: () => Promise.reject(new Error('only for producing')),
  })

export async function startKafka(options: BrokerOptions = {}): Promise<TestKafka> {
  const broker = await startBroker(options)
  const kafka = new Kafka({ brokers: [broker.address], logLevel: logLevel.NOTHING, retry: RETRY })
  const producers = new Map<string, Promise<Producer>>()
  const producer = (name: string): Promise<Producer> => {
    const opened = producers.get(name) ?? openProducer(kafka, name)
    producers.set(name, opened)
    return opened
  }
  // kafkajs asks for the metadata of every topic that a client has ever used, and fails for ever once one is deleted.
  const forgetProducers = async (): Promise<void> => {
    for (const opened of producers.values()) await (await opened).disconnect()
    producers.clear()
  }
  return {
    brokers: [broker.address],
    extraAddresses: broker.extraAddresses,
    get pid() {
      return broker.pid
    },
    async createTopic(topic, partitions, config = {}) {
      const configEntries = Object.entries(config).map(([name, value]) => ({ name, value }))
      const topics = [{ topic, numPartitions: partitions, configEntries }]
      await withAdmin(kafka, (admin) => admin.createTopics({ topics, waitForLeaders: true }))
    },
    async createPartitions(topic, count) {
      // kafkajs drops what is produced to a partition that it has not heard of yet, and says nothing.
      await forgetProducers()
      await withAdmin(kafka, async (admin) => {
        await admin.createPartitions({ topicPartitions: [{ topic, count }] })
        for (;;) {
          const found = await admin.fetchTopicMetadata({ topics: [topic] })
          if (found.topics[0]!.partitions.filter(({ leader }) => leader >= 0).length === count) return
          await systemClock.sleep(50)
        }
      })
    },
    async deleteTopic(topic) {
      await forgetProducers()
      await withAdmin(kafka, async (admin) => {
        await admin.deleteTopics({ topics: [topic] })
        while ((await admin.listTopics()).includes(topic)) await systemClock.sleep(50)
      })
    },
    async deleteRecords(topic, partition, offset) {
      await withAdmin(kafka, async (admin) => {
        await admin.fetchTopicOffsets(topic) // or kafkajs does not know the leader
        await admin.deleteTopicRecords({ topic, partitions: [{ partition, offset: String(offset) }] })
      })
    },
    async produce(topic, partition, records, { compression = 'none', transactional } = {}) {
      const batch = {
        topic,
        compression: CODECS[compression],
        messages: records.map((record) => ({ ...message(record), partition })),
      }
      if (transactional === undefined) await (await producer('')).send(batch)
      else {
        const transaction = await (await producer('transactional')).transaction()
        await transaction.send(batch)
        await transaction[transactional]()
        await markersWritten(broker.address, topic, partition)
      }
    },
    async produceByJava(topic, lines, compression) {
      const codec = ['--compression-codec', compression, '--topic', topic, '--bootstrap-server', broker.address]
      const keys = ['--reader-property', 'parse.key=true']
      await runJava(['org.apache.kafka.tools.ConsoleProducer', ...codec, ...keys], `${lines.join('\n')}\n`)
    },
    async truncate(topic, partition, to) {
      await broker.kill()
      cutLog(path.join(broker.dir, 'data', `${topic}-${partition}`), to)
      await broker.start()
    },
    kill: () => broker.kill(),
    async restart() {
      await broker.stop()
      await broker.start()
    },
    async stop() {
      await forgetProducers()
      await broker.kill()
      rmSync(broker.dir, { recursive: true, force: true })
    },
  }
}

async function withAdmin<T>(kafka: Kafka, use: (admin: Admin) => Promise<T>): Promise<T> {
  const admin = kafka.admin()
  await admin.connect()
  try {
    return await use(admin)
  } finally {
    await admin.disconnect()
  }
}

/** A transaction ends before its markers are written: until then readers stop in front of it. */
async function markersWritten(address: string, topic: string, partition: number): Promise<void> {
  const source = openKafka({ brokers: [address] }, systemClock)
  const id = partitionId(topic, partition)
  for (;;) {
    const { end, highWatermark } = (await source.bounds([id])).get(id)!
    if (end === highWatermark) return source.close()
    await systemClock.sleep(20)
  }
}

async function openProducer(kafka: Kafka, transactionalId: string): Promise<Producer> {
  const createPartitioner = Partitioners.DefaultPartitioner
  const producer = kafka.producer(
    transactionalId === ''
      ? { createPartitioner }
      : { createPartitioner, transactionalId, idempotent: true, maxInFlightRequests: 1 },
  )
  await producer.connect()
  return producer
}

function message({ key, value, timestampMs, headers = [] }: LogRecord) {
  const names = [...new Set(headers.map(({ key }) => key))]
  const valuesOf = (name: string) => headers.filter(({ key }) => key === name).map(({ value }) => Buffer.from(value!))
  return {
    key: key === undefined ? null : Buffer.from(key),
    value: value === undefined ? null : Buffer.from(value),
    timestamp: String(timestampMs),
    headers: Object.fromEntries(names.map((name) => [name, valuesOf(name)])),
  }
}

/** Cuts the segment of a dead broker before the batch that holds `to`. */
function cutLog(dir: string, to: bigint): void {
  const segment = path.join(dir, '00000000000000000000.log')
  const bytes = readFileSync(segment)
  let at = 0
  for (; at + 61 <= bytes.length; at += 12 + bytes.readInt32BE(at + 8)) {
    if (bytes.readInt32BE(at + 8) <= 0) break
    if (bytes.readBigInt64BE(at) + BigInt(bytes.readInt32BE(at + 23)) >= to) break
  }
  truncateSync(segment, at)
  for (const file of readdirSync(dir)) if (/\.(?:index|timeindex|snapshot)$/.test(file)) rmSync(path.join(dir, file))
}

function runJava(args: readonly string[], input: string): Promise<void> {
  const jvm = ['-XX:TieredStopAtLevel=1', '-cp', `${kafkaLibs()}/*`]
  const child = spawn('java', [...jvm, ...args], { stdio: ['pipe', 'ignore', 'pipe'] })
  const errors: Buffer[] = []
  child.stderr.on('data', (chunk: Buffer) => errors.push(chunk))
  child.stdin.end(input)
  return new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('exit', (code) => (code === 0 ? resolve() : reject(new Error(Buffer.concat(errors).toString()))))
  })
}
