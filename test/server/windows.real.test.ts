import type { Hono } from 'hono'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { systemClock } from '../../src/clock.ts'
import type { WindowShape } from '../../src/window/columns.ts'
import { openJobs } from '../../src/lake/job-store.ts'
import type { Engine } from '../../src/query/engine.ts'
import { createApp } from '../../src/server/app.ts'
import { createMetrics } from '../../src/server/metrics.ts'
import type { PartitionStatus, PipelineControl } from '../../src/status.ts'
import { makeWindowLake, TOPIC, windowDefinition, type WindowLake } from '../query/window-lake.ts'
import { FakeReplays } from '../support/fake-replays.ts'
import { definition, settings } from './support.ts'

const load = windowDefinition({
  name: 'load',
  window: { kind: 'tumbling', sizeMs: 60_000, offsetMs: 0 },
  allowedLatenessMs: 2_000,
  groupBy: ['sensor', 'unit'],
})
const shape: WindowShape = {
  groups: [
    { name: 'sensor', type: { kind: 'string' } },
    { name: 'unit', type: { kind: 'string' } },
  ],
  aggregates: load.select.map(({ name }) => ({
    result: { name, type: { kind: 'long' } },
    partials: [],
    detail: undefined,
    finish: '',
  })),
  computed: [],
  hasLastEvent: true,
  isSliced: false,
}

let lake: WindowLake
let engine: Engine
let app: Hono
/** What the process knows of the log beside the version. */
let log: readonly Pick<PartitionStatus, 'partition' | 'end' | 'isIdle'>[] = []

const row = (sensor: string | null, minute: number, n: number, isFinal: boolean, corrections: number, unit = 'C') =>
  `SELECT ${sensor === null ? 'NULL' : `'${sensor}'`}::VARCHAR, '${unit}', make_timestamptz(${minute * 60_000_000}::BIGINT),
    make_timestamptz(${(minute + 1) * 60_000_000}::BIGINT), ${n}::BIGINT, ${n * 10}::BIGINT,
    make_timestamptz(${minute * 60_000_000 + 5}::BIGINT), ${isFinal}, ${corrections}::INTEGER`

beforeAll(async () => {
  lake = await makeWindowLake([{ definition: load, shape }])
  await lake.commit({ rows: {} })
  const rows = [
    row('b', 0, 1, true, 0),
    row('a', 0, 2, true, 3),
    row(null, 0, 3, true, 0),
    row(null, 0, 7, true, 0, 'K'),
    row('a', 1, 4, false, 0),
    row(null, 1, 5, false, 0),
    row('a', 2, 6, false, 0),
  ]
  await lake.commit({
    rows: { load: rows.join(' UNION ALL ') },
    watermarkMs: 62_000,
    clocksMs: { [`${TOPIC}/0`]: 190_000, [`${TOPIC}/2`]: 67_001 },
  })
  engine = await lake.openEngine()
  const status = () => ({
    name: 'lab',
    state: 'running' as const,
    reason: undefined,
    head: undefined,
    lastCommitMs: undefined,
    partitions: log.map((each) => ({ ...each, position: 0n, ratePerSecond: 0, clockMs: undefined })),
    tables: [],
  })
  app = createApp({
    ...lake,
    engine,
    definition,
    settings,
    metrics: createMetrics(),
    clock: systemClock,
    pipelines: [{ name: 'lab', status } as unknown as PipelineControl],
    jobs: openJobs(lake.storage, systemClock),
    replays: new FakeReplays(),
  })
}, 30_000)

afterAll(async () => {
  await engine.close()
  await lake.close()
})

async function get(path: string, headers: Record<string, string> = {}): Promise<{ status: number; body: any }> {
  const response = await app.request(path, { headers: { host: 'localhost', ...headers } })
  return { status: response.status, body: response.status === 304 ? undefined : await response.json() }
}

const brief = ({ group, start, results }: any) => `${start.slice(14, 16)} ${group.sensor} ${results.n}`

describe('the windows of a table', () => {
  test('come newest first, null the last of its groups', async () => {
    const { status, body } = await get('/v1/tables/load/windows')
    expect(status, JSON.stringify(body)).toBe(200)
    expect(body.items.map(brief)).toEqual([
      '02 a 6',
      '01 a 4',
      '01 null 5',
      '00 a 2',
      '00 b 1',
      '00 null 3',
      '00 null 7',
    ])
    expect(body.items[3]).toEqual({
      state: 'final',
      start: '1970-01-01T00:00:00.000000Z',
      end: '1970-01-01T00:01:00.000000Z',
      group: { sensor: 'a', unit: 'C' },
      results: { n: '2', total: '20' },
      lastEvent: '1970-01-01T00:00:00.000005Z',
      corrections: 3,
      // C2: end − 1 + L.
      finalAt: '1970-01-01T00:01:01.999Z',
    })
    expect(body).toMatchObject({
      table: 'load',
      source: 'metrics',
      kind: 'tumbling',
      input: 'events',
      emit: 'update',
      version: '2',
      watermark: '1970-01-01T00:01:02.000Z',
      outOfOrdernessMs: 5_000,
      allowedLatenessMs: 2_000,
      nextCursor: null,
    })
  })

  test.each([
    ['open', ['02 a 6', '01 a 4', '01 null 5']],
    ['final', ['00 a 2', '00 b 1', '00 null 3', '00 null 7']],
    ['corrected', ['00 a 2']],
  ])('that are %s, in pages of any size', async (state, expected) => {
    for (const limit of [1, 2, 7]) {
      const found: string[] = []
      let next = `state=${state}`
      do {
        const { status, body } = await get(`/v1/tables/load/windows?limit=${limit}&${next}`)
        expect(status, JSON.stringify(body)).toBe(200)
        found.push(...body.items.map(brief))
        next = `cursor=${body.nextCursor}`
      } while (next !== 'cursor=null')
      expect(found).toEqual(expected)
    }
  })

  test('and pages go on where a group is null', async () => {
    const { body } = await get('/v1/tables/load/windows?limit=3')
    const next = await get(`/v1/tables/load/windows?limit=2&cursor=${body.nextCursor}`)
    expect(next.body.items.map(brief)).toEqual(['00 a 2', '00 b 1'])
    const rows: string[] = []
    let cursor = ''
    do {
      const page = (await get(`/v1/tables/load/rows?limit=1${cursor}`)).body
      rows.push(...page.items.map(({ sensor, n }: any) => `${sensor} ${n}`))
      cursor = page.nextCursor === null ? '' : `&cursor=${page.nextCursor}`
    } while (cursor !== '')
    expect(rows).toEqual(['a 2', 'b 1', 'null 3', 'null 7', 'a 4', 'null 5', 'a 6'])
  })

  test('changes are told by window and group', async () => {
    const { body } = await get('/v1/tables/load/diff?from=1&to=2')
    expect(body).toMatchObject({
      added: '7',
      removed: '0',
      changed: '0',
      key: ['window_start', 'window_end', 'sensor', 'unit'],
    })
  })

  test.each([
    ['load/windows?state=closed', 400, 'request.invalid'],
    ['load/windows?state=open&cursor=AAAA', 400, 'request.invalid'],
    ['load/windows?cursor=AAAA', 400, 'request.invalid'],
    ['metrics/windows', 409, 'table.not_window'],
    ['load__late/windows', 409, 'table.not_window'],
    ['lood/windows', 404, 'table.unknown'],
  ])('%s is refused', async (path, status, code) => {
    const answer = await get(`/v1/tables/${path}`)
    expect([answer.status, answer.body.code]).toEqual([status, code])
  })
})

describe('what the watermark waits for', () => {
  const partitions = async () =>
    (await get('/v1/tables/load/windows')).body.partitions.map((each: any) => [
      each.partition.slice(TOPIC.length + 1),
      each.idle,
      each.lag,
      each.holding,
    ])

  test('where nobody reads the log, the version tells', async () => {
    log = []
    // Partition 2 stands at the watermark, 10 has no clock.
    expect(await partitions()).toEqual([
      ['0', null, null, false],
      ['2', null, null, true],
      ['10', null, null, true],
    ])
    const { body } = await get('/v1/tables/load/windows')
    expect(body.partitions[1]).toMatchObject({ clock: '1970-01-01T00:01:07.001Z', position: '20', end: null })
  })

  test('idle partitions are not waited for (C6), until all are (C7)', async () => {
    const known = (isIdle: readonly boolean[]) =>
      [0, 2, 10].map((p, index) => ({
        partition: `${TOPIC}/${p}` as const,
        end: [100n, 20n, 7n][index]!,
        isIdle: isIdle[index]!,
      }))
    log = known([false, false, true])
    expect(await partitions()).toEqual([
      ['0', false, '10', false],
      ['2', false, '0', true],
      ['10', true, '0', false],
    ])
    log = known([false, true, true])
    expect((await partitions()).map((each: any) => each[3])).toEqual([false, false, false])
    log = known([true, true, true])
    expect((await partitions()).map((each: any) => each[3])).toEqual([true, false, false])
  })
})

describe('a table with event time', () => {
  test('a window tells its watermark, bound and lateness', async () => {
    for (const name of ['load', 'load__state', 'load__late'])
      expect((await get(`/v1/tables/${name}`)).body).toMatchObject({
        watermark: '1970-01-01T00:01:02.000Z',
        outOfOrdernessMs: 5_000,
        allowedLatenessMs: 2_000,
      })
    expect((await get('/v1/tables/metrics')).body).toMatchObject({ watermark: null, outOfOrdernessMs: null })
  })

  test('the ETag moves with the watermark', async () => {
    const first = await app.request('/v1/tables/load', { headers: { host: 'localhost' } })
    const etag = first.headers.get('etag')!
    expect((await get('/v1/tables/load', { 'if-none-match': etag })).status).toBe(304)
    const { version } = (await get('/v1/tables/load/windows')).body
    await lake.commit({ rows: {}, watermarkMs: 63_000 })
    expect((await get('/v1/tables/load', { 'if-none-match': etag })).status).toBe(200)
    expect((await get('/v1/tables/load/windows')).body).toMatchObject({
      version: String(Number(version) + 1),
      watermark: '1970-01-01T00:01:03.000Z',
    })
  })
})
