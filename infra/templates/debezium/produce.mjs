// Sends what Debezium sends for six changes of a table, so that the lake can be tried without a database: three inserts,
// an update, a delete, and the null value behind it.
import { Kafka, logLevel } from 'kafkajs'

const brokers = (process.env.KAFKA_BROKERS ?? 'localhost:9092').split(',')
const topic = 'shop.public.customers'

const kafka = new Kafka({ clientId: 'produce', brokers, logLevel: logLevel.NOTHING, retry: { retries: 3 } })
const admin = kafka.admin()
await admin.connect().catch(({ message }) => {
  console.error(`✗ no Kafka answers at ${brokers.join(', ')}: ${message}`)
  console.error('  next: npm run kafka starts one by Docker; with one of your own, export KAFKA_BROKERS=host:port')
  process.exit(1)
})
await admin.createTopics({ topics: [{ topic, numPartitions: 3 }], waitForLeaders: true })
await admin.disconnect()

const row = (id, email, balance) => ({ id, email, balance, updated_at: '2026-01-31T10:00:00.000000Z' })
const changes = [
  { op: 'c', before: null, after: row(1, 'ada@example.com', '10.00') },
  { op: 'c', before: null, after: row(2, 'bob@example.com', '20.00') },
  { op: 'c', before: null, after: row(3, 'eve@example.com', '30.00') },
  { op: 'u', before: null, after: row(2, 'bob@example.com', '25.50') },
  { op: 'd', before: { id: 3, email: null, balance: null, updated_at: null }, after: null },
  null,
]
const messages = changes.map((change, i) => ({
  key: JSON.stringify({ id: (change?.after ?? change?.before ?? { id: 3 }).id }),
  value:
    change &&
    JSON.stringify({
      ...change,
      source: { connector: 'postgresql', db: 'shop', schema: 'public', table: 'customers', lsn: 1_000 + i },
      ts_ms: Date.now(),
    }),
}))
const producer = kafka.producer()
await producer.connect()
await producer.send({ topic, messages })
await producer.disconnect()
console.log(`${messages.length} changes sent to ${topic}`)
