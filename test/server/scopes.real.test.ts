import type { Hono } from 'hono'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { systemClock } from '../../src/clock.ts'
import type { Engine } from '../../src/query/engine.ts'
import { createApp } from '../../src/server/app.ts'
import { createMetrics } from '../../src/server/metrics.ts'
import { makeKey } from './fake-door.ts'
import { definition, makeLake, openLakeEngine, settings, type TestLake } from './support.ts'

// A key for one table, against DuckDB's own syntax tree: what a statement reads is what the gate finds in it.

const key = makeKey('app', ['query:orders'])
let lake: TestLake
let engine: Engine
let app: Hono

beforeAll(async () => {
  lake = await makeLake({ shop: ['orders', 'salaries'], web: ['views'] })
  await lake.commit('shop', 3)
  await lake.commit('web', 2)
  engine = await openLakeEngine(lake, { children: 1 })
  app = createApp({
    ...lake,
    engine,
    definition,
    settings: { ...settings, http: { host: '127.0.0.1', port: 0, keys: [key.entry], queriesPerSecond: 10_000 } },
    metrics: createMetrics(),
    clock: systemClock,
    pipelines: [],
  })
}, 30_000)
afterAll(async () => {
  await engine.close()
  await lake.close()
})

const headers = { authorization: `Bearer ${key.text}`, 'content-type': 'application/json' }
const query = (sql: string, more: object = {}) =>
  app.request('/v1/query', { method: 'POST', headers, body: JSON.stringify({ sql, ...more }) })
const codeOf = async (response: Response) => [response.status, ((await response.json()) as { code?: string }).code]

describe('a key for one table reads', () => {
  test.each([
    'select count(*) from orders',
    'from ORDERS',
    'select * from "orders" as salaries',
    'with salaries as (select 1 as id) select * from salaries, orders',
    'select * from range(3)',
    "select 'salaries'",
    'select o.id as salaries from orders o where exists (select 1 from orders i where i.id = o.id)',
  ])('%s', async (sql) => {
    expect((await query(sql)).status).toBe(200)
  })
})

describe('and nothing of another one by', () => {
  test.each([
    'select * from salaries',
    'from salaries',
    'table salaries',
    'SELECT * FROM SaLaRiEs',
    'select * from "salaries"',
    'select * from orders, salaries',
    'select * from orders natural join salaries',
    'select * from orders left join salaries using (id)',
    'select (select max(amount) from salaries) from orders',
    'select * from orders where id in (select id from salaries)',
    'select * from orders where exists (from salaries)',
    'select * from (select * from (from salaries))',
    'with o as (select * from salaries) select * from o',
    'with orders as (select * from salaries) select * from orders',
    'with salaries as (select * from salaries) select * from salaries',
    'with a as (select 1), b as (from salaries) select * from a',
    'select * from orders union all select * from salaries',
    'select * from orders except select * from salaries',
    'select * from orders o, lateral (select * from salaries s where s.id = o.id)',
    'select count(*) from salaries limit 0',
    'select * from orders order by (select count(*) from salaries)',
    'select sum(id) over (order by (select min(id) from salaries)) from orders',
    'select case when true then 1 else (select count(*) from salaries) end',
    'select * from views',
    'select * from salaries/**/',
    'select * from -- orders\n salaries',
    'select * from orders__dlq',
    'select * from nothing_of_this_name',
    'select * from (values (1)) v, salaries',
    'select unnest((select list(amount) from salaries))',
  ])('%s', async (sql) => {
    expect(await codeOf(await query(sql))).toEqual([403, 'auth.forbidden'])
    expect(engine.running()).toEqual([])
  })

  test('a version of another pipeline', async () => {
    const response = await query('select * from views', { asOf: 'web@1' })
    expect(await codeOf(response)).toEqual([403, 'auth.forbidden'])
  })

  test.each(['id in (select id from salaries)', 'exists (from views)', '(select count(*) from salaries) > 0'])(
    'a condition: %s',
    async (where) => {
      const address = `/v1/tables/orders/rows?where=${encodeURIComponent(where)}`
      expect(await codeOf(await app.request(address, { headers }))).toEqual([403, 'auth.forbidden'])
    },
  )

  test('a refused query leaves its process as it was', async () => {
    const [before] = engine.stats().pids
    for (let i = 0; i < 20; i++) await query('from salaries')
    expect(await (await query('select count(*) n from orders')).json()).toMatchObject({ rows: [{ n: '3' }] })
    expect(engine.stats().pids).toEqual([before])
  })
})
