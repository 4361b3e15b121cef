// Produces the change streams to a real broker at a given pace, in a process of its own. The offsets are those of the
// generator, or it fails: a record lost or repeated on the way would make every later comparison worthless.
import { existsSync } from 'node:fs'
import { Kafka, logLevel } from 'kafkajs'
import { randomOf } from '../exact/random.mjs'
import { ChangeStream } from './stream.mjs'
import { TABLES } from './tables.mjs'

const { brokers, partitions, records, perSecond, stopFile, ...options } = JSON.parse(process.argv[2])
const random = randomOf(options.seed)
const batchMax = Math.max(20, Math.min(1_000, Math.round(perSecond / 20)))

const TRICKLE = 10
const TRICKLE_MS = 100

const kafka = new Kafka({ brokers, logLevel: logLevel.NOTHING, retry: { retries: 20 } })
const producer = kafka.producer({ idempotent: true, maxInFlightRequests: 1 })
await producer.connect()
const streams = TABLES.flatMap((table) =>
  Array.from({ length: partitions }, (_, partition) => ({
    topic: table.topic,
    partition,
    stream: new ChangeStream(table, partition, options),
  })),
)
const startedMs = performance.now()
let produced = 0
// Then a trickle, until whoever watches has seen enough versions.
while (produced < records || (stopFile !== undefined && !existsSync(stopFile))) {
  const isTrickle = produced >= records
  if (isTrickle) await new Promise((resolve) => setTimeout(resolve, TRICKLE_MS))
  // Batches of any size, so that a record and the one that refers to it may be in one commit, or in two.
  const { topic, partition, stream } = streams[Math.floor(random() * streams.length)]
  const count = Math.min(1 + Math.floor(random() * 2 * batchMax), isTrickle ? TRICKLE : records - produced)
  const first = stream.offset
  const messages = Array.from({ length: count }, () => ({ ...stream.next(), partition }))
  const [answer] = await producer.send({ topic, messages, acks: -1 })
  if (Number(answer.baseOffset) !== first)
    throw new Error(`${topic}/${partition}: record ${first} is at offset ${answer.baseOffset}`)
  produced += count
  if (isTrickle) continue
  const aheadMs = (produced / perSecond) * 1_000 - (performance.now() - startedMs)
  if (aheadMs > 5) await new Promise((resolve) => setTimeout(resolve, aheadMs))
}
await producer.disconnect()
const positions = streams.map(({ topic, partition, stream }) => [`${topic}/${partition}`, String(stream.offset)])
console.log(JSON.stringify({ produced, seconds: (performance.now() - startedMs) / 1_000, positions }))
