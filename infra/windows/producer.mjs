// Produces the records of all topics to a real broker at a given pace, in a process of its own, and keeps the log: one
// JSON line a record, with the offset that the broker gave it.
import { appendFileSync, writeFileSync } from 'node:fs'
import avsc from 'avsc'
import { Kafka, logLevel } from 'kafkajs'
import { randomOf } from '../exact/random.mjs'
import { AVRO, SOURCES } from './pipelines.mjs'
import { closing, records } from './stream.mjs'

const { brokers, partitions, records: total, perSecond, seed, baseMs, log, format } = JSON.parse(process.argv[2])
const avro = format === 'avro' ? avsc.Type.forSchema(AVRO) : undefined
const random = randomOf(seed)
const batchMax = Math.max(20, Math.min(1_000, Math.round(perSecond / 20)))
const each = Math.ceil(total / Object.keys(SOURCES).length / partitions)

const kafka = new Kafka({ brokers, logLevel: logLevel.NOTHING, retry: { retries: 20 } })
const producer = kafka.producer({ idempotent: true, maxInFlightRequests: 1 })
await producer.connect()
writeFileSync(log, '')
const streams = Object.values(SOURCES).flatMap((source) =>
  Array.from({ length: partitions }, (_, partition) => ({
    source,
    partition,
    next: records(source, { partition, seed, records: each, baseMs }),
  })),
)

/** As the topic has it: the log keeps JSON. Poison stays what it is. */
function written({ key }, value) {
  if (avro === undefined || key === undefined || value === null) return value
  try {
    return avro.toBuffer(JSON.parse(value))
  } catch {
    return value
  }
}

async function send({ source, partition }, batch) {
  const { topic } = source
  const messages = batch.map(({ key, kts, value }) => ({
    key,
    value: written(source, value),
    partition,
    timestamp: String(kts),
  }))
  const [{ baseOffset }] = await producer.send({ topic, messages, acks: -1 })
  const first = Number(baseOffset)
  const lines = batch.map((record, index) => JSON.stringify({ topic, partition, offset: first + index, ...record }))
  appendFileSync(log, `${lines.join('\n')}\n`)
}

const startedMs = performance.now()
const open = [...streams]
let produced = 0
while (open.length > 0) {
  const at = Math.floor(random() * open.length)
  const stream = open[at]
  const batch = []
  const size = 1 + Math.floor(random() * 2 * batchMax)
  while (batch.length < size) {
    const { value, done } = stream.next.next()
    if (done) {
      open.splice(at, 1)
      break
    }
    batch.push(value)
  }
  if (batch.length > 0) await send(stream, batch)
  produced += batch.length
  const aheadMs = (produced / perSecond) * 1_000 - (performance.now() - startedMs)
  if (aheadMs > 5) await new Promise((resolve) => setTimeout(resolve, aheadMs))
}
for (const stream of streams) await send(stream, [closing(stream.source, stream.partition, baseMs)])
await producer.disconnect()
console.log(JSON.stringify({ produced: produced + streams.length, seconds: (performance.now() - startedMs) / 1_000 }))
