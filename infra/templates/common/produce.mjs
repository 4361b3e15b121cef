// Sends orders to Kafka: `npm run produce`, or `npm run produce -- 1000` for so many. One in twenty does not fit the
// table: its status is unknown.
import { Kafka, logLevel } from 'kafkajs'

const brokers = (process.env.KAFKA_BROKERS ?? 'localhost:9092').split(',')
const count = Number(process.argv[2] ?? 20)
const topic = 'shop.orders'
const steps = ['created', 'paid', 'shipped', 'cancelled']

const kafka = new Kafka({ clientId: 'produce', brokers, logLevel: logLevel.NOTHING, retry: { retries: 3 } })
const admin = kafka.admin()
await admin.connect().catch(({ message }) => {
  console.error(`✗ no Kafka answers at ${brokers.join(', ')}: ${message}`)
  console.error('  next: npm run kafka starts one by Docker; with one of your own, export KAFKA_BROKERS=host:port')
  process.exit(1)
})
const isNew = await admin.createTopics({ topics: [{ topic, numPartitions: 3 }], waitForLeaders: true })
await admin.disconnect()

const producer = kafka.producer()
await producer.connect()
const startedMs = Date.now() - count * 1_000
const messages = Array.from({ length: count }, (_, i) => ({
  key: `o-${i >> 2}`,
  value: JSON.stringify({
    orderId: `o-${i >> 2}`,
    customerId: `c-${i % 7}`,
    status: i % 20 === 19 ? 'lost' : steps[i % 4],
    amount: (10 + (i % 90) / 4).toFixed(2),
    updatedAt: new Date(startedMs + i * 1_000).toISOString(),
  }),
}))
await producer.send({ topic, messages })
await producer.disconnect()
console.log(`${count} orders sent to ${topic}${isNew ? ', a new topic' : ''}`)
