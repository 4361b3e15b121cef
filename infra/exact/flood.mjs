// A producer of updates and deletes of few keys, as fast as it is told to be, or as fast as it can.
import { Kafka, logLevel } from 'kafkajs'

const { brokers, topic, partitions, perSecond, seconds } = JSON.parse(process.argv[2])
const KEYS = 50_000
const NOTE = 'the quick brown fox jumps over the lazy dog '.repeat(3)
const producer = new Kafka({ brokers, logLevel: logLevel.NOTHING }).producer()
await producer.connect()
const startedMs = performance.now()
let produced = 0
while (performance.now() - startedMs < seconds * 1_000) {
  const size = Math.max(50, Math.min(2_000, Math.round(perSecond / 20)))
  const messages = Array.from({ length: size }, (_, k) => {
    const n = produced + k
    const key = (n * 7_919) % KEYS
    const row = { id: `e-${key}`, n, status: 'paid', amount: (n % 1_000).toFixed(2), note: NOTE }
    // A key keeps to its partition.
    return { key: row.id, value: n % 50 === 0 ? null : JSON.stringify(row), partition: key % partitions }
  })
  await producer.send({ topic, messages, acks: 1 })
  produced += size
  const aheadMs = (produced / perSecond) * 1_000 - (performance.now() - startedMs)
  if (aheadMs > 5) await new Promise((resolve) => setTimeout(resolve, aheadMs))
}
await producer.disconnect()
console.log(JSON.stringify({ produced, perSecond: Math.round((produced * 1_000) / (performance.now() - startedMs)) }))
