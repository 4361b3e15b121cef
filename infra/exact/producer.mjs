// A producer with a ledger: plain, transactional and aborted batches, poison records and null values, at a given pace.
// Started as a process of its own; the ledger is a CSV of `partition,offset,kind,id,n` with kind r(ow), d(ead letter)
// or t(ombstone), written from the broker's own answers.
import { appendFileSync, writeFileSync } from 'node:fs'
import { Kafka, logLevel } from 'kafkajs'
import { randomOf } from './random.mjs'

const { brokers, topic, partitions, records, perSecond, seed, ledger } = JSON.parse(process.argv[2])
const random = randomOf(seed)
const BATCH = Math.max(50, Math.min(2_000, Math.round(perSecond / 20)))
const NOTE = 'the quick brown fox jumps over the lazy dog, naïve café 😀 '.repeat(2)

const kafka = new Kafka({ brokers, logLevel: logLevel.NOTHING, retry: { retries: 20 } })
const plain = kafka.producer({ idempotent: true, maxInFlightRequests: 1 })
const transactional = kafka.producer({ idempotent: true, maxInFlightRequests: 1, transactionalId: `exact-${topic}` })
await Promise.all([plain.connect(), transactional.connect()])
writeFileSync(ledger, '')

/** One record and what must become of it. */
function record(number) {
  const id = `e-${number}`
  const draw = random()
  const amount = (number % 100_000) / 100
  const good = {
    id,
    n: number,
    status: ['created', 'paid', 'shipped'][number % 3],
    amount: amount.toFixed(2),
    note: NOTE,
  }
  if (draw < 0.001) return { id, kind: 'd', value: '{"id":"' }
  if (draw < 0.002) return { id, kind: 'd', value: JSON.stringify({ ...good, n: 'many' }) }
  if (draw < 0.003) return { id, kind: 'd', value: JSON.stringify({ ...good, id: undefined }) }
  if (draw < 0.004) return { id, kind: 't', value: null }
  return { id, kind: 'r', value: JSON.stringify(good) }
}

let [produced, aborted, sent] = [0, 0, 0]
const startedMs = performance.now()
while (produced < records) {
  const partition = Math.floor(random() * partitions)
  const batch = Array.from({ length: Math.min(BATCH, records - produced) }, () => record(sent++))
  const messages = batch.map(({ id, value }) => ({ key: id, value, partition }))
  const draw = random()
  let answer
  if (draw < 0.6) answer = await plain.send({ topic, messages, acks: -1 })
  else {
    const transaction = await transactional.transaction()
    answer = await transaction.send({ topic, messages, acks: -1 })
    if (draw > 0.9) {
      await transaction.abort()
      aborted += batch.length
      continue
    }
    await transaction.commit()
  }
  const first = BigInt(answer[0].baseOffset)
  const number = sent - batch.length
  appendFileSync(
    ledger,
    batch
      .map(({ id, kind }, index) => `${partition},${first + BigInt(index)},${kind},${id},${number + index}\n`)
      .join(''),
  )
  produced += batch.length
  const aheadMs = (produced / perSecond) * 1_000 - (performance.now() - startedMs)
  if (aheadMs > 5) await new Promise((resolve) => setTimeout(resolve, aheadMs))
}
await Promise.all([plain.disconnect(), transactional.disconnect()])
console.log(JSON.stringify({ produced, aborted }))
