import { mkdtempSync, rmSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { defineLake, open, t, table, type Lake } from '../../src/index.ts'
import type { LogRecord } from '../../src/ingest/memory-log.ts'
import type { ReplayOptions, ReplayStatus } from '../../src/replay-status.ts'
import { MAINTENANCE, type Settings } from '../../src/settings.ts'
import { startKafka, type TestKafka } from '../support/kafka.ts'
import { record } from '../support/log.ts'
import { until } from '../support/processes.ts'
import { boundedShop, shopSettings, trustStore } from '../support/shop-store.ts'

// A replay of records that Kafka has deleted, from the first command to the cut-over, in real processes.

let kafka: TestKafka
const folder = mkdtempSync(path.join(os.tmpdir(), 'kappalake-archive-e2e-'))
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

/** Of the first code and of the second, which has a column more and keeps other records. */
const FIRST = { id: t.string().required() }
const SECOND = { id: t.string().required(), n: t.long() }

async function place(topic: string, archive?: string) {
  const at = mkdtempSync(path.join(folder, 'lake-'))
  const store = { url: `file:${at}/lake` }
  await trustStore(store)
  const settings: Settings = {
    ...shopSettings(store, boundedShop(0), at),
    source: { kind: 'kafka', kafka: { brokers: kafka.brokers } },
    takeoverAfterMs: 600_000,
    lanes: 2,
    maintenance: MAINTENANCE,
  }
  const start = async (columns: typeof FIRST | typeof SECOND): Promise<Lake> => {
    const events = table('events', { from: { topic }, columns })
    const definition = defineLake({ e2e: { tables: [events], ...(archive === undefined ? {} : { archive }) } })
    const lake = await open(definition, settings)
    opened.push(lake)
    return lake
  }
  const stop = async (lake: Lake): Promise<void> => {
    opened.splice(opened.indexOf(lake), 1)
    await lake.close()
  }
  return { start, stop }
}

function events(prefix: string, count: number): LogRecord[] {
  return Array.from({ length: count }, (_, i) => {
    const value = i % 10 === 9 ? 'no json' : JSON.stringify({ id: `${prefix}${i}`, n: i })
    return { ...record(value, `key${i}`, 1_700_000_000_000 + i), headers: [{ key: 'h', value: Buffer.from(`${i}`) }] }
  })
}

async function replayed(lake: Lake, options: Partial<ReplayOptions>): Promise<ReplayStatus> {
  const { id } = await lake.replays.start('e2e', options)
  let last: ReplayStatus | undefined
  for await (const status of lake.replays.watch(id, AbortSignal.timeout(120_000))) last = status
  expect(last).toBeDefined()
  return last!
}

const ORDER = 'ORDER BY _kafka_partition, _offset'

test('records that Kafka has deleted are replayed from the archive', async () => {
  await kafka.createTopic('archived', 2)
  const { start, stop } = await place('archived', 'kept')
  const old = await start(FIRST)
  for (const p of [0, 1]) {
    await kafka.produce('archived', p, events(`p${p}-`, 40))
    await kafka.produce('archived', p, events('gone', 5), { transactional: 'abort' })
    await kafka.produce('archived', p, events(`q${p}-`, 20), { compression: 'lz4' })
  }
  await old.pipelines[0]!.flush()
  const before = await old.sql`SELECT _kafka_partition, _offset, id FROM events ORDER BY _kafka_partition, _offset`
  expect(before.length).toBe(2 * 54)
  await stop(old)
  await kafka.deleteRecords('archived', 0, 30n)
  await kafka.deleteRecords('archived', 1, 55n)
  for (const p of [0, 1]) await kafka.produce('archived', p, events(`r${p}-`, 10))

  const lake = await start(SECOND)
  const done = await replayed(lake, { autoCutover: 'always' })
  expect(done).toMatchObject({ state: 'done', error: null, rebuilt: ['events'], shared: ['kept'] })
  await until('it runs', () => lake.pipelines[0]!.status().state === 'running', 60_000)
  await lake.pipelines[0]!.flush()
  const after = await lake.sql<{ id: string; n: bigint; _offset: bigint }>(
    `SELECT _kafka_partition, _offset, id, n FROM events ${ORDER}`,
  )
  expect(after.length).toBe(2 * 63)
  const ofBefore = after.filter(({ id }) => !id.startsWith('r'))
  expect(ofBefore.map((row) => ({ ...row, n: undefined }))).toEqual(before)
  for (const { id, n } of after) expect(String(n)).toBe(/\d+$/.exec(id)![0])
  const [dead] = await lake.sql<{ n: bigint }>`SELECT count(*) AS n FROM events__dlq WHERE len(headers) = 1`
  expect(dead!.n).toBe(14n)
  const kept = await lake.sql<{ n: bigint }>`SELECT count(DISTINCT (_kafka_partition, _offset)) AS n FROM kept`
  const [rows] = await lake.sql<{ n: bigint }>`SELECT count(*) AS n FROM kept`
  expect([kept[0]!.n, rows!.n]).toEqual([140n, 140n])
}, 240_000)

test('a replay may begin at a time that only the archive knows, or verify without a difference', async () => {
  await kafka.createTopic('timed', 1)
  const { start } = await place('timed', 'kept')
  const lake = await start(FIRST)
  await kafka.produce('timed', 0, events('a', 50))
  await lake.pipelines[0]!.flush()
  await kafka.deleteRecords('timed', 0, 45n)
  const verified = await replayed(lake, { mode: 'verify' })
  expect(verified).toMatchObject({ state: 'done', error: null, rebuilt: ['events'], difference: { isEqual: true } })
  const from = { kind: 'timestamp', timestampMs: 1_700_000_000_000 + 17 } as const
  const late = await replayed(lake, { tables: ['events'], from, autoCutover: 'always' })
  expect(late).toMatchObject({ state: 'done', error: null })
  await until('it runs', () => lake.pipelines[0]!.status().state === 'running', 60_000)
  const [least] = await lake.sql<{ least: bigint }>`SELECT min(_offset) AS least FROM events`
  expect(least!.least).toBe(17n)
}, 240_000)

test('times that the broker set are kept as such, and prove the log as all others do', async () => {
  await kafka.createTopic('stamped', 1, { 'message.timestamp.type': 'LogAppendTime' })
  const { start } = await place('stamped', 'kept')
  const lake = await start(FIRST)
  await kafka.produce('stamped', 0, events('a', 10))
  await kafka.produce('stamped', 0, events('b', 10))
  const { positions } = await lake.pipelines[0]!.flush()
  const types = await lake.sql`SELECT timestamp_type, count(*) AS n FROM kept GROUP BY ALL`
  expect(types).toEqual([{ timestamp_type: 'append', n: 20n }])
  await kafka.deleteRecords('stamped', 0, 12n)
  expect(positions.get('stamped/0')).toBe(20n)
  const verified = await replayed(lake, { mode: 'verify' })
  expect(verified).toMatchObject({ state: 'done', error: null, difference: { isEqual: true } })
}, 240_000)

test('without an archive the replay names the first offset that is left', async () => {
  await kafka.createTopic('unkept', 1)
  const { start } = await place('unkept')
  const lake = await start(FIRST)
  await kafka.produce('unkept', 0, events('a', 20))
  await lake.pipelines[0]!.flush()
  await kafka.deleteRecords('unkept', 0, 5n)
  const failed = await replayed(lake, { mode: 'verify' })
  expect(failed).toMatchObject({ state: 'failed', error: { code: 'replay.offsets_expired' } })
}, 240_000)
