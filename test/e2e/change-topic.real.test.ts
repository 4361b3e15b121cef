import { mkdtempSync, rmSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { systemClock } from '../../src/clock.ts'
import { defineLake, open, t, table, tumbling, type Lake, type LakeEvent } from '../../src/index.ts'
import { openKafka } from '../../src/ingest/kafka.ts'
import { MAINTENANCE, type Settings } from '../../src/settings.ts'
import { startKafka, type TestKafka } from '../support/kafka.ts'
import { record } from '../support/log.ts'
import { until } from '../support/processes.ts'
import { readTopic, type ReadRecord } from '../support/read-topic.ts'
import { boundedShop, shopSettings, trustStore } from '../support/shop-store.ts'

// From a topic to a topic, by processes of their own and a real broker: alerts, and all windows.

let kafka: TestKafka
const folder = mkdtempSync(path.join(os.tmpdir(), 'kappalake-change-topic-'))
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

const processed = table('processed', {
  from: { topic: 'processed-events' },
  columns: { service_name: 'string required', event_type: 'string', at: 'long required' },
  eventTime: { column: 'at', unit: 'ms', outOfOrderness: '5s' },
})
const select = { errors: "count() where event_type = 'error'" }
const alerts = tumbling('alerts', processed, {
  size: '60s',
  groupBy: ['service_name'],
  select,
  to: { topic: 'alerts', where: 'errors > 50' },
})
const counts = tumbling('counts', processed, {
  size: '60s',
  groupBy: ['service_name'],
  select: { ...select, all: 'count()' },
  to: { topic: 'counts' },
})

/** Of a new lake on this disk. */
async function settingsOfLake(name: string): Promise<Settings> {
  const at = mkdtempSync(path.join(folder, `${name}-`))
  const store = { url: `file:${at}/lake` }
  await trustStore(store)
  return {
    ...shopSettings(store, boundedShop(0), at),
    source: { kind: 'kafka', kafka: { brokers: kafka.brokers } },
    takeoverAfterMs: 600_000,
    maintenance: MAINTENANCE,
  }
}

/** What a reader has who drops what is not newer. */
function tableOf(records: readonly ReadRecord[]): unknown[] {
  const rows = new Map<string, { version: bigint; value: string | null }>()
  for (const { key, value, headers } of records) {
    const version = BigInt(headers['kappalake.version']!)
    if (version > (rows.get(key)?.version ?? 0n)) rows.set(key, { version, value })
  }
  return [...rows.values()].flatMap(({ value }) => (value === null ? [] : [JSON.parse(value)])).toSorted(byKey)
}

const byKey = (a: { service_name: string; window_start: string }, b: typeof a): number =>
  `${a.service_name} ${a.window_start}` < `${b.service_name} ${b.window_start}` ? -1 : 1

test('readers of change topics have the rows of the tables, after stops and while a topic is missing', async () => {
  await kafka.createTopic('processed-events', 2)
  await kafka.createTopic('counts', 3)
  const settings = await settingsOfLake('lake')
  const events: LakeEvent[] = []
  const start = async (): Promise<Lake> => {
    const definition = defineLake({ e2e: [processed, alerts, counts] })
    const lake = await open(definition, settings, { observer: (event) => events.push(event) })
    opened.push(lake)
    return lake
  }
  const source = openKafka({ brokers: kafka.brokers }, systemClock)
  const produce = (partition: number, service: string, count: number, second: number) =>
    kafka.produce(
      'processed-events',
      partition,
      Array.from({ length: count }, (_, k) =>
        record(
          JSON.stringify({
            service_name: service,
            event_type: k % 10 === 9 ? 'ok' : 'error',
            at: Date.UTC(2026, 0, 31, 10) + second * 1_000 + k,
          }),
        ),
      ),
    )
  const rowsOf = async (lake: Lake, name: 'counts' | 'alerts'): Promise<unknown[]> => {
    const answer = await lake.http().request(`/v1/query?format=json&q=${encodeURIComponent(`FROM ${name}`)}`)
    const { rows } = (await answer.json()) as { rows: { service_name: string; window_start: string }[] }
    return rows.toSorted(byKey)
  }
  const sent = async (lake: Lake, name: string): Promise<void> => {
    const { number } = await lake.pipelines[0]!.flush()
    const isSent = () =>
      lake.pipelines[0]!.status().publishing?.some(({ table, version }) => table === name && version! >= number)
    await until(`${name} of version ${number}`, () => isSent() === true)
  }

  let lake = await start()
  await produce(0, 'a', 100, 0)
  await produce(1, 'b', 20, 0)
  await sent(lake, 'counts')
  const told = await until('that the topic is missing', () =>
    lake.pipelines[0]!.status().publishing?.find(({ error }) => error?.code === 'kafka.topic_missing'),
  )
  expect(told).toMatchObject({ table: 'alerts', topic: 'alerts', error: { fix: expect.stringContaining('Create') } })
  expect(lake.pipelines[0]!.status().state).toBe('running')
  await kafka.createTopic('alerts', 1)
  await lake.close()

  lake = await start()
  await produce(0, 'a', 60, 70)
  await produce(1, 'b', 60, 20)
  await sent(lake, 'counts')
  await sent(lake, 'alerts')
  const all = await rowsOf(lake, 'counts')
  expect(all).toHaveLength(3)
  expect(tableOf(await readTopic(source, 'counts'))).toEqual(all)
  // Of each window that is over the limit at some version.
  const alerted = await readTopic(source, 'alerts')
  expect(tableOf(alerted)).toEqual(
    await rowsOf(lake, 'alerts').then((rows) => rows.filter((row) => Number((row as { errors: string }).errors) > 50)),
  )
  expect(alerted[0]!.key).toBe('{"service_name":"a","window_start":"2026-01-31T10:00:00.000000Z"}')
  for (const { headers } of alerted) expect(headers).toMatchObject({ 'kappalake.table': 'alerts' })
  const [version] = await lake.sql<{ n: bigint }>`SELECT count(*) AS n FROM alerts`
  expect(version!.n).toBe(3n)
  await lake.close()
  await source.close()
  expect(events.some((event) => event.kind === 'published' && event.isWhole)).toBe(false)
}, 120_000)

// What is kept of raw events, without their addresses, and what stands of each order.
const active = table('active', {
  from: { topic: 'accounts' },
  columns: { id: 'long required', status: 'string', email: 'string', processed_at: 'timestamptz = _timestamp' },
  where: "status <> 'closed'",
  partitionBy: ['bucket(3, id)'],
  to: {
    topic: 'active-accounts',
    where: 'id % 10 <> 9',
    select: { id: 'id', domain: t.string().as("split_part(email, '@', 2)"), at: '_offset' },
  },
})
const orders = table('orders', {
  from: { topic: 'orders' },
  key: ['id'],
  columns: { id: 'string required', amount: 'long' },
  to: { topic: 'changed-orders' },
})

test('topics of source tables have their rows in the order of the source, through stops and a topic that is away', async () => {
  await kafka.createTopic('accounts', 3)
  await kafka.createTopic('orders', 2)
  await kafka.createTopic('changed-orders', 3)
  const settings = await settingsOfLake('rows')
  const source = openKafka({ brokers: kafka.brokers }, systemClock)
  const start = async (): Promise<Lake> => {
    const lake = await open(defineLake({ rows: [active, orders] }), settings)
    opened.push(lake)
    return lake
  }
  const statusOf = (id: number) => (id % 4 === 0 ? 'closed' : 'active')
  const accounts = (partition: number, from: number, count: number) =>
    kafka.produce(
      'accounts',
      partition,
      Array.from({ length: count }, (_, k) =>
        record(JSON.stringify({ id: from + k, status: statusOf(from + k), email: `a@host-${partition}` })),
      ),
    )
  const sent = async (lake: Lake, name: string): Promise<void> => {
    const { number } = await lake.pipelines[0]!.flush()
    const isSent = () =>
      lake.pipelines[0]!.status().publishing?.some(({ table, version }) => table === name && version! >= number)
    await until(`${name} of version ${number}`, () => isSent() === true)
  }

  let lake = await start()
  await accounts(0, 0, 100)
  await accounts(2, 100, 50)
  await kafka.produce('orders', 0, [
    record(JSON.stringify({ id: 'A', amount: 1 })),
    record(JSON.stringify({ id: 'B', amount: 2 })),
  ])
  await sent(lake, 'orders')
  // Its topic is not there yet, and holds nothing up.
  expect(lake.pipelines[0]!.status()).toMatchObject({
    state: 'running',
    publishing: expect.arrayContaining([
      expect.objectContaining({ table: 'active', error: expect.objectContaining({ code: 'kafka.topic_missing' }) }),
    ]),
  })
  await lake.close()
  await kafka.createTopic('active-accounts', 2)
  lake = await start()
  await accounts(0, 150, 40)
  await accounts(1, 190, 30)
  await kafka.produce('orders', 0, [
    record(JSON.stringify({ id: 'A', amount: 3 })),
    { ...record('', 'B'), value: undefined },
    record(JSON.stringify({ id: 'C', amount: 4 })),
  ])
  await sent(lake, 'active')
  await sent(lake, 'orders')
  await lake.close()

  const read = await readTopic(source, 'active-accounts')
  const idsOf = (records: readonly ReadRecord[]) => records.map(({ value }) => Number((JSON.parse(value!) as any).id))
  const isPublished = (id: number) => statusOf(id) !== 'closed' && id % 10 !== 9
  const range = (from: number, count: number) => Array.from({ length: count }, (_, k) => from + k).filter(isPublished)
  const ofSource = [[...range(0, 100), ...range(150, 40)], range(190, 30), range(100, 50)]
  for (const [partition, ids] of ofSource.entries()) {
    const own = read.filter(({ value }) => (JSON.parse(value!) as any).domain === `host-${partition}`)
    // Nobody was killed: what was sent before the stop may be there twice, and nothing else.
    expect(firstTimes(own)).toEqual(ids)
    expect(new Set(own.map((each) => each.partition))).toEqual(new Set([partition % 2]))
  }
  expect(new Set(idsOf(read)).size).toBe(ofSource.flat().length)
  expect(JSON.parse(read[0]!.value!)).toEqual({ id: expect.any(String), domain: 'host-0', at: expect.any(String) })
  expect(read[0]).toMatchObject({ key: '', headers: { 'kappalake.table': 'active' } })

  const changes = await readTopic(source, 'changed-orders')
  const last = new Map(changes.map(({ key, value }) => [key, value]))
  expect([...last].map(([key, value]) => [key, value && (JSON.parse(value) as any).amount]).toSorted()).toEqual([
    ['{"id":"A"}', '3'],
    ['{"id":"B"}', null],
    ['{"id":"C"}', '4'],
  ])
  await source.close()
}, 120_000)

/** Ids in their order without what was there before. */
function firstTimes(records: readonly ReadRecord[]): number[] {
  return [...new Set(records.map(({ value }) => Number((JSON.parse(value!) as { id: string }).id)))]
}
