import { mkdtempSync, rmSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { defineLake, open, t, table, type Lake, type PipelineDefinition } from '../../src/index.ts'
import type { LogRecord } from '../../src/ingest/memory-log.ts'
import { MAINTENANCE, type Settings } from '../../src/settings.ts'
import { startKafka, type TestKafka } from '../support/kafka.ts'
import { record } from '../support/log.ts'
import { until } from '../support/processes.ts'
import { boundedShop, shopSettings, trustStore } from '../support/shop-store.ts'

// What a broker can do to a pipeline, seen from its end: rows, versions and named states.

let kafka: TestKafka
const folder = mkdtempSync(path.join(os.tmpdir(), 'kappalake-broker-'))
const opened: Lake[] = []
beforeAll(async () => {
  kafka = await startKafka()
})
afterEach(async () => {
  for (const lake of opened.splice(0)) await lake.close()
})
afterAll(async () => {
  await kafka?.stop()
  rmSync(folder, { recursive: true, force: true })
})

/** A store of its own, and how to open a lake of one table `events` over a topic in it. */
async function place(topic: string) {
  const at = mkdtempSync(path.join(folder, 'lake-'))
  const store = { url: `file:${at}/lake` }
  await trustStore(store)
  const settings: Settings = {
    ...shopSettings(store, boundedShop(0), at),
    source: { kind: 'kafka', kafka: { brokers: kafka.brokers } },
    takeoverAfterMs: 600_000,
    maintenance: MAINTENANCE,
  }
  const start = async (
    onDataLoss: PipelineDefinition['onDataLoss'] = 'stop',
    more: Partial<Settings> = {},
  ): Promise<Lake> => {
    const events = table('events', { from: { topic }, columns: { id: t.string().required() } })
    const lake = await open(defineLake({ e2e: { tables: [events], onDataLoss } }), { ...settings, ...more })
    opened.push(lake)
    return lake
  }
  return { start }
}

/** `prefix0`, `prefix1`, and so on. */
function events(prefix: string, count: number): LogRecord[] {
  return Array.from({ length: count }, (_, i) => record(JSON.stringify({ id: `${prefix}${i}` }), `key${i}`))
}

const ids = (prefix: string, count: number): string[] => Array.from({ length: count }, (_, i) => `${prefix}${i}`)

async function rows(lake: Lake): Promise<string[]> {
  const found = await lake.sql<{ id: string }>`SELECT id FROM events ORDER BY _kafka_partition, _offset`
  return found.map(({ id }) => id)
}

const pipelineOf = (lake: Lake) => lake.pipelines[0]!
const stateOf = (lake: Lake) => pipelineOf(lake).status().state
const isIn = (lake: Lake, state: string) =>
  until(`${state} instead of ${stateOf(lake)}`, () => stateOf(lake) === state, 90_000)

test('a topic that does not exist yet is waited for, from its first record', async () => {
  const { start } = await place('late')
  const lake = await start()
  await isIn(lake, 'waiting')
  expect(pipelineOf(lake).status().reason).toMatchObject({ code: 'kafka.topic_missing' })
  await kafka.createTopic('late', 1)
  await kafka.produce('late', 0, events('a', 5))
  await isIn(lake, 'running')
  await lake.waitFor('events', { partition: 0, offset: 4n })
  expect(await rows(lake)).toEqual(ids('a', 5))

  await kafka.createPartitions('late', 3)
  await kafka.produce('late', 2, events('b', 3))
  await lake.waitFor('events', { partition: 2, offset: 2n })
  expect(await rows(lake)).toEqual([...ids('a', 5), ...ids('b', 3)])
})

test('retention that overtakes a reader stops it, and a restart that accepts the loss names the hole', async () => {
  await kafka.createTopic('gap', 1)
  await kafka.produce('gap', 0, events('a', 4))
  const { start } = await place('gap')
  const before = await start()
  await pipelineOf(before).flush()
  await before.close()
  await kafka.produce('gap', 0, events('b', 4))
  await kafka.produce('gap', 0, events('c', 4))
  await kafka.deleteRecords('gap', 0, 7n)

  const stopped = await start()
  await isIn(stopped, 'failed')
  expect(pipelineOf(stopped).status().reason).toMatchObject({
    code: 'kafka.gap',
    context: { partition: 'gap/0', from: '4', until: '7' },
  })
  await expect(pipelineOf(stopped).flush()).rejects.toMatchObject({ code: 'pipeline.stopped' })
  expect(await rows(stopped)).toEqual(ids('a', 4))
  await stopped.close()

  const accepting = await start('record-gap')
  const { holes } = await pipelineOf(accepting).flush()
  expect(holes).toEqual(new Map([['gap/0', [{ from: 4n, until: 7n }]]]))
  expect(await rows(accepting)).toEqual([...ids('a', 4), 'b3', ...ids('c', 4)])
})

test('a topic that was deleted and made again is another topic', async () => {
  await kafka.createTopic('again', 1)
  await kafka.produce('again', 0, events('a', 3))
  const { start } = await place('again')
  const lake = await start()
  await pipelineOf(lake).flush()
  await kafka.deleteTopic('again')
  await kafka.createTopic('again', 1)
  await kafka.produce('again', 0, events('b', 6))
  await until('the state', () => pipelineOf(lake).status().reason?.code === 'kafka.topic_replaced', 120_000)
  expect(stateOf(lake)).toBe('failed')
  expect(await rows(lake)).toEqual(ids('a', 3))
  await lake.close()
  const restarted = await start('record-gap')
  await isIn(restarted, 'failed')
  expect(pipelineOf(restarted).status().reason).toMatchObject({ code: 'kafka.topic_replaced' })
})

test('an aborted transaction at the tail is no lag, and no row', async () => {
  await kafka.createTopic('aborted', 1)
  await kafka.produce('aborted', 0, events('a', 3), { transactional: 'commit' })
  await kafka.produce('aborted', 0, events('x', 5), { transactional: 'abort' })
  const { start } = await place('aborted')
  const lake = await start()
  const { positions } = await pipelineOf(lake).flush()
  // Three rows, a marker, five records that never were, a marker.
  expect(positions.get('aborted/0')).toBe(10n)
  await until('the end', () => pipelineOf(lake).status().partitions[0]?.end === 10n)
  expect(await rows(lake)).toEqual(ids('a', 3))
  await kafka.produce('aborted', 0, events('b', 1))
  await lake.waitFor('events', { partition: 0, offset: 10n })
  expect(await rows(lake)).toEqual([...ids('a', 3), 'b0'])
})

test('a compacted topic leaves holes in the offsets and none in the positions', async () => {
  await kafka.createTopic('compacted', 1, {
    'cleanup.policy': 'compact',
    'segment.ms': '100',
    'min.cleanable.dirty.ratio': '0.01',
    'max.compaction.lag.ms': '200',
  })
  const once = events('a', 5)
  await kafka.produce('compacted', 0, once)
  await new Promise((done) => setTimeout(done, 300))
  await kafka.produce('compacted', 0, events('b', 5))
  await new Promise((done) => setTimeout(done, 300))
  await kafka.produce('compacted', 0, events('c', 1))
  const { start } = await place('compacted')
  const lake = await start()
  const { positions, holes } = await pipelineOf(lake).flush()
  expect(positions.get('compacted/0')).toBe(11n)
  expect(holes.size).toBe(0)
  const found = await rows(lake)
  // Whatever the cleaner has taken by now was the older value of a key.
  expect(found.filter((id) => !id.startsWith('a')).slice(-5)).toEqual([...ids('b', 5).slice(1), 'c0'])
  expect(new Set(found).size).toBe(found.length)
})

test('a log that lost its tail is not gone on with', async () => {
  await kafka.createTopic('cut', 1)
  await kafka.produce('cut', 0, events('a', 3))
  await kafka.produce('cut', 0, events('b', 3))
  const { start } = await place('cut')
  const lake = await start()
  await pipelineOf(lake).flush()
  await kafka.truncate('cut', 0, 3n)
  await kafka.produce('cut', 0, events('z', 6))
  await until('the state', () => pipelineOf(lake).status().reason?.code === 'kafka.log_truncated', 120_000)
  expect(stateOf(lake)).toBe('failed')
  expect(await rows(lake)).toEqual([...ids('a', 3), ...ids('b', 3)])
})

test('a broker that is away and comes back is caught up with', async () => {
  await kafka.createTopic('away', 2)
  await kafka.produce('away', 0, events('a', 3))
  const { start } = await place('away')
  const lake = await start()
  await pipelineOf(lake).flush()
  await kafka.kill()
  await new Promise((done) => setTimeout(done, 2_000))
  await kafka.restart()
  await kafka.produce('away', 0, events('b', 3))
  await lake.waitFor('events', { partition: 0, offset: 5n })
  expect(await rows(lake)).toEqual([...ids('a', 3), ...ids('b', 3)])
})
