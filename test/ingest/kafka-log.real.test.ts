import { afterAll, beforeAll, expect, test } from 'vitest'
import { Kafka, logLevel } from 'kafkajs'
import { systemClock } from '../../src/clock.ts'
import { openKafka } from '../../src/ingest/kafka.ts'
import type { LogRecord } from '../../src/ingest/memory-log.ts'
import { partitionId, type PartitionId, type Source } from '../../src/log.ts'
import { startKafka, type TestKafka } from '../support/kafka.ts'
import { cursorsAt, drain, record, records, text } from '../support/log.ts'
import type { Compression } from '../support/record-batch.ts'

// What only a real broker does: every codec, compaction, crashes, large batches, fair shares.

let kafka: TestKafka
let source: Source
beforeAll(async () => {
  kafka = await startKafka()
  source = openKafka({ brokers: kafka.brokers }, systemClock)
})
afterAll(async () => {
  await source?.close()
  await kafka?.stop()
})

const CODECS: readonly Compression[] = ['none', 'gzip', 'snappy', 'lz4', 'zstd']

test('every codec, as kafkajs and as Java write it, in one log', async () => {
  await kafka.createTopic('codecs', 1)
  const lines = Array.from(
    { length: 2_000 },
    (_, i) => `key${i}\t{"id":${i},"text":"${'ü😀 and more '.repeat(i % 20)}"}`,
  )
  for (const compression of CODECS) {
    await kafka.produce('codecs', 0, records(`${compression}-`, 500), { compression })
    await kafka.produceByJava('codecs', lines, compression)
  }
  const drained = await drain(source, await cursorsAt(source, 'codecs'))
  const values = lines.map((line) => line.split('\t')[1])
  expect(drained.values('codecs/0')).toEqual(
    CODECS.flatMap((compression) => [...Array.from({ length: 500 }, (_, i) => `${compression}-${i}`), ...values]),
  )
})

test('an open transaction holds readers back, plain records behind it too', async () => {
  await kafka.createTopic('open', 1)
  const client = new Kafka({ brokers: [...kafka.brokers], logLevel: logLevel.NOTHING })
  const producer = client.producer({ transactionalId: 'open', idempotent: true, maxInFlightRequests: 1 })
  await producer.connect()
  await kafka.produce('open', 0, records('a', 2))
  const transaction = await producer.transaction()
  await transaction.send({ topic: 'open', messages: [{ value: 'b0' }] })
  await kafka.produce('open', 0, records('c', 2))
  expect((await source.bounds(['open/0'])).get('open/0')).toEqual({ logStart: 0n, end: 2n, highWatermark: 5n })
  const before = await drain(source, await cursorsAt(source, 'open'))
  expect(before.values('open/0')).toEqual(['a0', 'a1'])
  expect(await source.tailAt('open/0', 3n)).toBeUndefined()
  await transaction.abort()
  await producer.disconnect()
  const after = await drain(source, before.cursors, new Map([['open/0', 6n]]))
  expect(after.values('open/0')).toEqual(['c0', 'c1'])
})

test('a compacted topic keeps its offsets, and the position passes every hole', async () => {
  const config = {
    'cleanup.policy': 'compact',
    'segment.ms': '200',
    'min.cleanable.dirty.ratio': '0.01',
    'max.compaction.lag.ms': '300',
  }
  await kafka.createTopic('compacted', 1, config)
  const latest = new Map<string, string>()
  const id: PartitionId = 'compacted/0'
  for (let round = 0; round < 4; round++) {
    const written = Array.from({ length: 60 }, (_, i) => record(`r${round}v${i}`, `k${i % 7}`))
    written.forEach((_, i) => latest.set(`k${i % 7}`, `r${round}v${i}`))
    await kafka.produce('compacted', 0, written)
    await kafka.produce('compacted', 0, records('gone', 3), { transactional: 'abort' })
    await systemClock.sleep(300)
  }
  const isCompacted = async (): Promise<boolean> => {
    await kafka.produce('compacted', 0, [record('tick', 'tick')]) // the active segment is never cleaned
    latest.set('tick', 'tick')
    await systemClock.sleep(500)
    return (await drain(source, await cursorsAt(source, 'compacted'))).records.get(id)!.length < 60
  }
  for (let i = 0; i < 40 && !(await isCompacted()); i++) continue
  const drained = await drain(source, await cursorsAt(source, 'compacted'))
  const seen = drained.records.get(id)!
  expect(seen.length).toBeLessThan(60)
  expect(new Map(seen.map(({ key, value }) => [key, value]))).toEqual(latest)
  expect(drained.cursors.get(id)!.offset).toBe((await source.bounds([id])).get(id)!.highWatermark)
  for (let offset = 0n; offset < 250n; offset += 17n) {
    const later = await drain(source, await cursorsAt(source, 'compacted', offset))
    expect(later.records.get(id)).toEqual(seen.filter((record) => record.offset >= offset))
  }
})

test('which topics are compacted, by their own setting and by the default of the cluster', async () => {
  await kafka.createTopic('policy.both', 1, { 'cleanup.policy': 'compact,delete' })
  await kafka.createTopic('policy.compact', 1, { 'cleanup.policy': 'compact' })
  await kafka.createTopic('policy.none', 1)
  const topics = ['policy.both', 'policy.compact', 'policy.none', 'policy.missing']
  expect(await source.compacted!(topics)).toEqual(new Set(['policy.both', 'policy.compact']))
  expect(await source.compacted!([])).toEqual(new Set())
})

test('a broker that is killed and comes back while it is read: nothing is lost, nothing comes twice', async () => {
  const [topic, partitions, perRound] = ['killed', 3, 300]
  await kafka.createTopic(topic, partitions)
  let written = 0
  const write = async (): Promise<void> => {
    for (let p = 0; p < partitions; p++) await kafka.produce(topic, p, numbered(written, perRound))
    written += perRound
  }
  await write()
  const restarts = (async () => {
    for (let i = 0; i < 2; i++) {
      await systemClock.sleep(500)
      await kafka.kill()
      await systemClock.sleep(300)
      await kafka.restart()
      await write()
    }
  })()
  const total = 3 * perRound
  const ids = Array.from({ length: partitions }, (_, p) => partitionId(topic, p))
  const slow = openKafka({ brokers: kafka.brokers, fetchPartitionBytesMax: 1_000 }, systemClock)
  const from = await cursorsAt(slow, topic)
  const drained = await drain(slow, from, new Map(ids.map((id) => [id, BigInt(total)])), () => systemClock.sleep(1))
  await restarts
  await slow.close()
  for (const id of ids)
    expect(drained.values(id)).toEqual(numbered(0, total).map(({ value }) => `${Buffer.from(value!)}`))
})

test('batches larger than the fetch size come whole, and keep no other partition waiting', async () => {
  await kafka.createTopic('large', 3)
  const big = 'x'.repeat(600_000)
  for (let p = 0; p < 3; p++) for (let i = 0; i < 4; i++) await kafka.produce('large', p, [record(`${p}-${i}-${big}`)])
  const small = openKafka({ brokers: kafka.brokers, fetchBytesMax: 10_000, fetchPartitionBytesMax: 1_000 }, systemClock)
  const drained = await drain(small, await cursorsAt(small, 'large'))
  await small.close()
  for (let p = 0; p < 3; p++)
    expect(drained.values(partitionId('large', p))).toEqual([0, 1, 2, 3].map((i) => `${p}-${i}-${big}`))
  const order = drained.batches.filter(({ count }) => count > 0).map(({ partition }) => partition)
  expect(new Set(order.slice(0, 3)).size).toBe(3)
})

test('sixteen partitions are read in turn', async () => {
  await kafka.createTopic('wide', 16)
  const value = text('y'.repeat(1_000))
  const batch: LogRecord[] = Array.from({ length: 100 }, () => ({ timestampMs: 1, key: undefined, value }))
  await Promise.all(
    Array.from({ length: 16 }, async (_, p) => {
      for (let i = 0; i < 10; i++) await kafka.produce('wide', p, batch)
    }),
  )
  const narrow = openKafka(
    { brokers: kafka.brokers, fetchBytesMax: 500_000, fetchPartitionBytesMax: 200_000 },
    systemClock,
  )
  const spread: number[] = []
  const read = Array.from({ length: 16 }, () => 0)
  await drain(narrow, await cursorsAt(narrow, 'wide'), undefined, ({ partition, count }) => {
    read[partition]! += count
    spread.push(Math.max(...read) - Math.min(...read))
  })
  await narrow.close()
  expect(read).toEqual(Array.from({ length: 16 }, () => 1_000))
  expect(Math.max(...spread)).toBeLessThanOrEqual(400)
})

test('retention passes the position', async () => {
  await kafka.createTopic('retained', 2)
  for (let p = 0; p < 2; p++) await kafka.produce('retained', p, records('a', 100))
  await kafka.deleteRecords('retained', 1, 40n)
  const from = await cursorsAt(source, 'retained', 20n)
  await expect(drain(source, from)).rejects.toMatchObject({
    code: 'kafka.gap',
    context: { partition: 'retained/1', from: '20', until: '40' },
  })
})

test('tells lag tools where a pipeline stands', async () => {
  await kafka.createTopic('advised', 1)
  await kafka.produce('advised', 0, records('a', 10))
  await source.advise!('kappalake-shop', new Map([['advised/0', 7n]]))
  const admin = new Kafka({ brokers: [...kafka.brokers], logLevel: logLevel.NOTHING }).admin()
  await admin.connect()
  const offsets = await admin.fetchOffsets({ groupId: 'kappalake-shop', topics: ['advised'] })
  await admin.disconnect()
  expect(offsets[0]!.partitions[0]).toMatchObject({ partition: 0, offset: '7' })
})

test('a cluster that stays away is given up on, and may be there later', async () => {
  let nowMs = 0
  const hasty = { ...systemClock, monotonicMs: () => (nowMs += 5_000), sleep: async () => undefined }
  const nowhere = openKafka({ brokers: ['127.0.0.1:1'] }, hasty)
  const gone = { code: 'kafka.unavailable', retryable: true }
  await expect(nowhere.topics(['t'])).rejects.toMatchObject(gone)
  const from = new Map([['t/0' as const, { offset: 0n, leaderEpoch: -1, topicId: 'x' }]])
  await expect(drain(nowhere, from, new Map([['t/0', 1n]]))).rejects.toMatchObject(gone)
  await nowhere.close()
})

function numbered(first: number, count: number): LogRecord[] {
  return Array.from({ length: count }, (_, i) => record(`v${first + i}`))
}
