import { mkdtempSync, rmSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { systemClock } from '../../src/clock.ts'
import { defineLake, open, t, table, type Lake } from '../../src/index.ts'
import { openKafka } from '../../src/ingest/kafka.ts'
import { startKafka, type TestKafka } from '../support/kafka.ts'
import { record } from '../support/log.ts'
import { until } from '../support/processes.ts'
import { readTopic } from '../support/read-topic.ts'

// A topic that rows are published to goes away and comes again, and so does its broker, while a real pipeline runs.

const LIMIT_MS = 60_000
let kafka: TestKafka
let folder: string
let lake: Lake
/** Records in each of the two partitions. */
let written = 0

beforeAll(async () => {
  folder = mkdtempSync(path.join(os.tmpdir(), 'kappalake-away-'))
  kafka = await startKafka()
  await kafka.createTopic('in', 2)
  await kafka.createTopic('out', 3)
  const rows = table('rows', {
    from: { topic: 'in' },
    columns: { n: t.long() },
    to: { topic: 'out', select: { n: 'n' } },
  })
  lake = await open(defineLake({ shop: [rows] }), {
    kafka: { brokers: kafka.brokers },
    store: `file:${folder}/lake`,
    commit: { minInterval: '100ms', microBatch: { age: '50ms' } },
    lanes: 1,
  })
}, 120_000)
afterAll(async () => {
  await lake?.close()
  await kafka?.stop()
  rmSync(folder, { recursive: true, force: true })
})

async function write(count: number): Promise<void> {
  for (const partition of [0, 1]) {
    const values = Array.from({ length: count }, (_, k) => record(`{"n":${2 * (written + k) + partition}}`))
    await kafka.produce('in', partition, values)
  }
  written += count
}

async function isIn(): Promise<void> {
  for (const partition of [0, 1]) await lake.waitFor('rows', { partition, offset: BigInt(written - 1) })
}

const publishing = () => lake.pipelines[0]!.status().publishing?.[0]

async function sent(): Promise<void> {
  const { number } = await lake.pipelines[0]!.flush()
  await until('sent', () => (publishing()?.version ?? -1n) >= number && publishing()?.error === undefined, LIMIT_MS)
}

/** The numbers in the topic, of one source partition after the other in their order, each once. */
async function numbers(from = 0): Promise<void> {
  const source = openKafka({ brokers: kafka.brokers }, systemClock)
  try {
    const read = await readTopic(source, 'out')
    const all = new Set(read.map(({ value }) => Number((JSON.parse(value!) as { n: string }).n)))
    const expected = Array.from({ length: 2 * (written - from) }, (_, k) => 2 * from + k)
    expect([...all].filter((n) => n >= 2 * from).toSorted((a, b) => a - b)).toEqual(expected)
    for (const partition of [0, 1]) {
      const own = [...all].filter((n) => n % 2 === partition)
      expect(own).toEqual(own.toSorted((a, b) => a - b))
    }
  } finally {
    await source.close()
  }
}

test('a topic that is deleted is told and waited for; ingestion goes on', { timeout: LIMIT_MS }, async () => {
  await write(50)
  await isIn()
  await sent()
  await numbers()
  await kafka.deleteTopic('out')
  const from = written
  await write(50)
  await isIn()
  await until('told', () => publishing()?.error?.code === 'kafka.topic_missing', LIMIT_MS)
  expect(publishing()?.error).toMatchObject({ message: expect.stringContaining('out'), fix: expect.any(String) })
  await write(50)
  await isIn()
  expect(lake.pipelines[0]!.status().state).toBe('running')
  await kafka.createTopic('out', 1)
  await sent()
  await numbers(from)
})

test('one that was made again unnoticed gets what comes from then on', { timeout: LIMIT_MS }, async () => {
  await kafka.deleteTopic('out')
  await kafka.createTopic('out', 2)
  const from = written
  await write(50)
  await sent()
  await numbers(from)
})

test('a broker that is away is waited for', { timeout: LIMIT_MS }, async () => {
  const from = written
  await write(50)
  await kafka.kill()
  await kafka.restart()
  await write(50)
  await isIn()
  await sent()
  await numbers(from)
})
