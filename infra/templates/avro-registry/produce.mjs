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

const kafka = new Kafka({ clientId: 'produce', brokers, logLevel: logLevel.ERROR })
const admin = kafka.admin()
await admin.connect()
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
