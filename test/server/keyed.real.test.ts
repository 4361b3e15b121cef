import type { Hono } from 'hono'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { systemClock } from '../../src/clock.ts'
import type { Engine } from '../../src/query/engine.ts'
import { openJobs } from '../../src/lake/job-store.ts'
import { createApp } from '../../src/server/app.ts'
import { createMetrics } from '../../src/server/metrics.ts'
import { makeKeyedLake, type KeyedLake, type KeyedRow } from '../query/keyed-lake.ts'
import { FakeReplays } from '../support/fake-replays.ts'
import { definition, settings } from './support.ts'

let lake: KeyedLake
let engine: Engine
let app: Hono

beforeAll(async () => {
  lake = await makeKeyedLake()
  const row = (id: bigint, amount: bigint | undefined, note = 'n') => ({ id, amount, note })
  await lake.commit(Array.from({ length: 50 }, (_, k) => row(BigInt(k * 3), BigInt(k * 100))))
  await lake.commit([row(3n, 999n), row(6n, undefined), row(1000n, 5n), row(9n, 300n)])
  await lake.commit([row(3n, 100n), row(12n, 1n), row(12n, undefined), row(1001n, 5n), row(1001n, 6n)])
  await lake.commit([row(1002n, undefined)])
  engine = await lake.openEngine()
  app = createApp({
    ...lake,
    engine,
    definition,
    settings,
    metrics: createMetrics(),
    clock: systemClock,
    pipelines: [],
    jobs: openJobs(lake.storage, systemClock),
    replays: new FakeReplays(),
  })
}, 30_000)

afterAll(async () => {
  await engine.close()
  await lake.close()
})

async function get(path: string): Promise<{ status: number; body: any }> {
  const response = await app.request(path, { headers: { host: 'localhost' } })
  return { status: response.status, body: await response.json() }
}

/** All items of a list, page by page. */
async function pages(path: string, limit: number): Promise<{ items: any[]; first: any }> {
  const items: any[] = []
  let first: any
  for (let cursor = ''; ;) {
    const base = cursor === '' ? path : path.replace(/(from|to|asOf)=[^&]*&?/g, '')
    const { status, body } = await get(`${base}${base.includes('?') ? '&' : '?'}limit=${limit}${cursor}`)
    expect(status, JSON.stringify(body)).toBe(200)
    first ??= body
    expect(body.items.length).toBeLessThanOrEqual(limit)
    items.push(...body.items)
    if (body.nextCursor === null) return { items, first }
    cursor = `&cursor=${body.nextCursor}`
  }
}

const stateAt = (version: bigint) => [...lake.states.get(version)!.values()].toSorted((a, b) => (a.id < b.id ? -1 : 1))
const shown = ({ id, amount, note, offset }: KeyedRow) => ({
  id: String(id),
  amount: (Number(amount) / 100).toFixed(2),
  note,
  _kafka_partition: 0,
  _offset: String(offset),
})

describe('rows of a keyed table', () => {
  test('come in the order of the key, page by page', async () => {
    expect((await pages('/v1/tables/orders/rows', 7)).items).toEqual(stateAt(4n).map(shown))
    expect((await pages('/v1/tables/orders/rows?asOf=2&', 20)).items).toEqual(stateAt(2n).map(shown))
  })

  test('may be chosen by a condition', async () => {
    const where = encodeURIComponent('amount > 20 and (id % 2 = 0 or id = 3) -- of note')
    const { items } = await pages(`/v1/tables/orders/rows?where=${where}`, 3)
    const expected = stateAt(4n).filter(({ id, amount }) => amount > 2_000n && (id % 2n === 0n || id === 3n))
    expect(expected.length).toBeGreaterThan(5)
    expect(items).toEqual(expected.map(shown))
  })

  test.each([
    ['1=1) or (1=1', 'sql.syntax'],
    ['true limit 1', 'sql.denied'],
    ['true order by 1', 'sql.denied'],
    ['true union select 1', 'sql.denied'],
    ['true group by 1', 'sql.denied'],
    ['true; select 2', 'sql.multiple_statements'],
    ['id = $1', 'sql.denied'],
    ["exists (from read_csv('/etc/passwd'))", 'sql.denied'],
    ["id = getenv('HOME')::bigint", 'sql.denied'],
    ['nothing = 3', 'sql.failed'],
    ['true /*', 'sql.syntax'],
  ])('%s is no condition', async (where, code) => {
    const { status, body } = await get(`/v1/tables/orders/rows?where=${encodeURIComponent(where)}`)
    expect([status >= 400 && status < 500, body.code]).toEqual([true, code])
  })
})

describe('what changed between two versions', () => {
  test('rows by key, with their values before and after', async () => {
    const { body } = await get('/v1/tables/orders/diff?from=1&to=2')
    expect(body).toMatchObject({ from: '1', to: '2', key: ['id'], added: '1', removed: '1', changed: '1' })
    // The record of 9 brought the values that were there.
    expect(body.items).toEqual([
      { change: 'changed', before: shown(at(1n, 3n)), after: shown(at(2n, 3n)) },
      { change: 'removed', before: shown(at(1n, 6n)), after: null },
      { change: 'added', before: null, after: shown(at(2n, 1000n)) },
    ])
  })

  test.each([
    [1n, 4n],
    [4n, 1n],
    [2n, 3n],
    [3n, 4n],
    [2n, 2n],
  ])('from %s to %s it is the difference of the states', async (from, to) => {
    const [before, after] = [lake.states.get(from)!, lake.states.get(to)!]
    const ids = [...new Set([...before.keys(), ...after.keys()])].toSorted((a, b) => (a < b ? -1 : 1))
    const expected = ids.flatMap((id) => {
      const [b, a] = [before.get(id), after.get(id)]
      if (b !== undefined && a !== undefined && b.amount === a.amount && b.note === a.note) return []
      const change = b === undefined ? 'added' : a === undefined ? 'removed' : 'changed'
      return [{ change, before: b === undefined ? null : shown(b), after: a === undefined ? null : shown(a) }]
    })
    const { items, first } = await pages(`/v1/tables/orders/diff?from=shop@${from}&to=${to}`, 2)
    expect(items).toEqual(expected)
    for (const change of ['added', 'removed', 'changed'])
      expect(first[change]).toBe(String(expected.filter((each) => each.change === change).length))
  })

  test.each([
    ['from=77', 410, 'snapshot.expired'],
    ['from=shop@77', 404, 'version.unknown'],
    ['from=0', 404, 'version.unknown'],
    ['to=1', 400, 'request.invalid'],
    ['from=1&cursor=AAAA', 400, 'request.invalid'],
    ['cursor=AAAA', 400, 'request.invalid'],
  ])('%s is refused', async (query, status, code) => {
    const answer = await get(`/v1/tables/orders/diff?${query}`)
    expect([answer.status, answer.body.code]).toEqual([status, code])
  })

  test('a version that is no longer kept is gone', async () => {
    for await (const { key } of lake.storage.list('pipelines/shop/'))
      if (/v0*1\.json/.test(key)) await lake.storage.delete(key)
    for (const path of ['diff?from=1', 'diff?from=2&to=shop@1', 'rows?asOf=1', 'rows?asOf=shop@1']) {
      const { status, body } = await get(`/v1/tables/orders/${path}`)
      expect([path, status, body.code]).toEqual([path, 410, 'snapshot.expired'])
    }
  })
})

function at(version: bigint, id: bigint): KeyedRow {
  return lake.states.get(version)!.get(id)!
}
