// Decodes record batches of 210-byte JSON records with our decoder, checksum verified, and with kafkajs's own, which
// makes an object per record and verifies nothing. One JSON line: records per second of CPU time, which other processes
// on the machine disturb least, and the ratio to kafkajs.
import { createRequire } from 'node:module'
import { loadSource } from './support/load.mjs'

const TARGET_RATIO = 4
const [RECORDS, PER_BATCH, ROUNDS] = [200_000, 500, 7]
const require = createRequire(import.meta.url)
const KafkaDecoder = require('kafkajs/src/protocol/decoder')
const decodeByKafkaJs = require('kafkajs/src/protocol/recordBatch/v0/decoder')

const { decodeRecordSet, encodeBatch } = await loadSource(
  `export { decodeRecordSet } from './src/ingest/record-set.ts'; export { encodeBatch } from './test/support/record-batch.ts'`,
  'record-batch',
)

const batches = Array.from({ length: RECORDS / PER_BATCH }, (_, b) =>
  encodeBatch(
    Array.from({ length: PER_BATCH }, (_, i) => order(b * PER_BATCH + i)),
    {
      baseOffset: BigInt(b * PER_BATCH),
    },
  ),
)
const set = { topic: 't', partition: 0, topicId: '', position: 0n, leaderEpoch: 0, end: 0n, aborted: [] }
const answer = Buffer.concat(batches)

const ours = () => {
  let count = 0
  for (const batch of decodeRecordSet({ ...set, bytes: answer })) count += batch.count
  return count
}
const theirs = async () => {
  let count = 0
  for (const batch of batches) count += (await decodeByKafkaJs(new KafkaDecoder(batch))).records.length
  return count
}

// Alternating, so that both see the same machine; the median of the rounds behind the first.
const times = { ours: [], theirs: [] }
for (let round = 0; round < ROUNDS; round++) {
  times.ours.push(await seconds(ours))
  times.theirs.push(await seconds(theirs))
}
const [value, peer] = [RECORDS / median(times.ours.slice(1)), RECORDS / median(times.theirs.slice(1))]
const ratio = value / peer
const figure = {
  name: 'record-batch.decode',
  value: Math.round(value),
  unit: 'records/CPU-s',
  target: `${TARGET_RATIO} times kafkajs`,
  ratio: Number(ratio.toFixed(2)),
  peer: { name: 'kafkajs 2.2.4', value: Math.round(peer) },
  pass: ratio >= TARGET_RATIO,
}
console.log(JSON.stringify(figure))
process.exitCode = figure.pass ? 0 : 1

async function seconds(run) {
  const start = process.cpuUsage()
  const count = await run()
  if (count !== RECORDS) throw new Error(`${count} records instead of ${RECORDS}`)
  const { user, system } = process.cpuUsage(start)
  return (user + system) / 1e6
}

function median(values) {
  return [...values].sort((a, b) => a - b)[values.length >> 1]
}

function order(i) {
  const id = `${String(i).padStart(8, '0')}-6f1e-4d2b-9c3a-5b7e8d9f0a1c`
  const json = `{"order_id":"${id}","customer_id":${i % 9973},"amount":"${(i % 100000) / 100}","currency":"EUR","status":"paid","created_at":"2025-10-09T10:00:00.${String(i % 1000).padStart(3, '0')}Z","note":"äöü ${i % 7}"}`
  return { timestampMs: 1_760_000_000_000 + i, key: Buffer.from(id), value: Buffer.from(json) }
}
