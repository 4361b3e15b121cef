// Reads a topic through our source and only counts: what no ingestion of it can be faster than. A process of its own.
// Argument: { address, topic, partitions, records }. Prints seconds and CPU seconds from the first batch on.
import { loadSource } from '../support/load.mjs'

const { address, topic, partitions, records } = JSON.parse(process.argv[2])
const { openKafka, systemClock } = await loadSource(
  `export { openKafka } from './src/ingest/kafka.ts'; export { systemClock } from './src/clock.ts'`,
  'drain',
)

const source = openKafka({ brokers: [address] }, systemClock)
const ids = Array.from({ length: partitions }, (_, partition) => `${topic}/${partition}`)
const { topicId } = (await source.topics([topic])).get(topic)
const from = new Map(ids.map((id) => [id, { offset: 0n, leaderEpoch: -1, topicId }]))
let counted = 0
let start
for await (const batch of source.read(from, new AbortController().signal)) {
  start ??= { ms: performance.now(), cpu: process.cpuUsage() }
  counted += batch.count
  if (counted >= records) break
}
const { user, system } = process.cpuUsage(start.cpu)
console.log(JSON.stringify({ seconds: (performance.now() - start.ms) / 1_000, cpuSeconds: (user + system) / 1e6 }))
await source.close()
