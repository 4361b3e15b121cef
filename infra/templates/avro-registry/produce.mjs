// Registers order.avsc and sends orders that name it: `npm run produce`, or `npm run produce -- 1000` for so many.
import { readFileSync } from 'node:fs'
import avsc from 'avsc'
import { Kafka, logLevel } from 'kafkajs'

const brokers = (process.env.KAFKA_BROKERS ?? 'localhost:9092').split(',')
const registry = process.env.REGISTRY_URL ?? 'http://localhost:8081/apis/ccompat/v7'
const count = Number(process.argv[2] ?? 20)
const topic = 'shop.orders.avro'
const steps = ['created', 'paid', 'shipped', 'cancelled']

const schema = readFileSync(new URL('order.avsc', import.meta.url), 'utf8')
const response = await fetch(`${registry}/subjects/${topic}-value/versions`, {
  method: 'POST',
  headers: { 'content-type': 'application/vnd.schemaregistry.v1+json' },
  body: JSON.stringify({ schema }),
}).catch(({ cause }) => {
  console.error(`✗ no schema registry answers at ${registry}: ${cause?.message}`)
  console.error(
    '  next: npm run kafka starts one by Docker; with one of your own, export REGISTRY_URL=http://host:port',
  )
  process.exit(1)
})
if (!response.ok) throw new Error(`the registry answers ${response.status}: ${await response.text()}`)
const { id } = await response.json()

const type = avsc.Type.forSchema(JSON.parse(schema))
/** A zero, four bytes that name the schema, then the value: what Confluent's serializers write. */
const encode = (order) => {
  const head = Buffer.alloc(5)
  head.writeInt32BE(id, 1)
  return Buffer.concat([head, type.toBuffer(order)])
}
const cents = (value) => {
  const bytes = Buffer.alloc(4)
  bytes.writeInt32BE(value)
  return bytes
}

const kafka = new Kafka({ clientId: 'produce', brokers, logLevel: logLevel.NOTHING, retry: { retries: 3 } })
const admin = kafka.admin()
await admin.connect().catch(({ message }) => {
  console.error(`✗ no Kafka answers at ${brokers.join(', ')}: ${message}`)
  console.error('  next: npm run kafka starts one by Docker; with one of your own, export KAFKA_BROKERS=host:port')
  process.exit(1)
})
await admin.createTopics({ topics: [{ topic, numPartitions: 3 }], waitForLeaders: true })
await admin.disconnect()

const startedMs = Date.now() - count * 1_000
const messages = Array.from({ length: count }, (_, i) => ({
  key: `o-${i >> 2}`,
  value: encode({
    orderId: `o-${i >> 2}`,
    customerId: i % 5 === 0 ? null : `c-${i % 7}`,
    status: steps[i % 4],
    amount: cents(1_000 + (i % 90) * 25),
    updatedAt: startedMs + i * 1_000,
  }),
}))
const producer = kafka.producer()
await producer.connect()
await producer.send({ topic, messages })
await producer.disconnect()
console.log(`${count} orders sent to ${topic}, written with schema ${id}`)
