import { mkdtempSync, rmSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { Hono } from 'hono'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { connect } from '../../src/client/client.ts'
import { defineLake, open, t, table, tumbling, type Lake } from '../../src/index.ts'
import type { Settings } from '../../src/settings.ts'
import { boundedShop, shopSettings, trustStore } from '../support/shop-store.ts'

// What an embedding program sees of its rows, against what SQL says of them, with real processes.

const RECORDS = 300
const orders = table('orders', {
  from: { topic: 'shop.orders' },
  columns: {
    orderId: t.string(),
    customerId: t.string(),
    status: t.enum('created', 'paid', 'shipped', 'cancelled'),
    amount: t.decimal(12, 2),
    quantity: t.int(),
    isGift: t.boolean(),
    updatedAt: t.timestamptz().required(),
  },
  computed: (o, { mul, gt, and, isNotNull }) => ({
    twice: t.decimal(14, 2).as(mul(o.amount, 2)),
    isLarge: t.boolean().as(and(isNotNull(o.amount), gt(o.amount, '500.00'))),
  }),
  where: (o, { ne, or, isNull }) => or(ne(o.status, 'test'), isNull(o.status)),
  key: ['orderId'],
  eventTime: { column: 'updatedAt' },
})
const customers = table('customers', {
  from: { topic: 'shop.customers' },
  columns: { customerId: t.string().required(), score: t.double(), birthday: t.date(), createdAt: t.timestamptzMs() },
  where: (c, { gte }) => gte(c.createdAt, new Date(0)),
})
const views = table('views', {
  from: { topic: 'shop.page_views' },
  columns: { viewId: t.uuid().required(), customerId: t.string(), bytes: t.long(), at: t.long().required() },
  eventTime: { column: 'at', unit: 'ms' },
})
const byCustomer = tumbling('by_customer', views, {
  size: '1m',
  groupBy: ['customerId'],
  where: (v, { gte }) => gte(v.bytes, 0n),
  select: ({ count, sum, max }) => ({
    n: count(),
    large: count().where((v, { gt }) => gt(v.bytes, 1_000n)),
    bytes: sum('bytes'),
    most: max('bytes'),
  }),
})
const definition = defineLake({ shop: [orders, customers, views, byCustomer] })

const folder = mkdtempSync(path.join(os.tmpdir(), 'kappalake-embed-'))
let lake: Lake
const versions: bigint[] = []

beforeAll(async () => {
  const store = { url: `file:${folder}/lake` }
  await trustStore(store)
  const settings: Settings = { ...shopSettings(store, boundedShop(RECORDS), folder), lanes: 1 }
  const options = { query: { ...settings.query, rowsMax: 100 } }
  lake = await open(definition, { ...settings, ...options })
  lake.on('version', () => {
    throw new Error('a listener')
  })
  lake.on('version', ({ version }) => versions.push(version.number))
  await lake.pipelines[0]!.flush()
}, 120_000)

afterAll(async () => {
  await lake?.close()
  rmSync(folder, { recursive: true, force: true })
})

describe('rows', () => {
  test('are what the definition says', async () => {
    const rows = await lake.rows(orders, { limit: 50 })
    expect(rows.length).toBe(50)
    expect(rows.map(({ orderId }) => orderId)).toEqual(rows.map(({ orderId }) => orderId).toSorted())
    for (const row of rows) {
      expect(typeof row.updatedAt).toBe('bigint')
      expect(typeof row._offset).toBe('bigint')
      expect(typeof row._kafka_partition).toBe('number')
      if (row.amount === null) continue
      expect(row.amount).toMatch(/^-?\d+\.\d\d$/)
      expect(row.twice).toBe((Number(row.amount) * 2).toFixed(2))
      expect(row.isLarge).toBe(Number(row.amount) > 500)
    }
    const [customer] = await lake.rows(customers, { where: { createdAt: { gte: new Date(0) } }, limit: 1 })
    expect(customer!.createdAt).toBeInstanceOf(Date)
    expect(customer!.birthday ?? '2000-01-01').toMatch(/^\d{4}-\d\d-\d\d$/)
  })

  test('conditions find what the same SQL finds', async () => {
    const [sample] = await lake.rows(orders, { where: (o, { isNotNull }) => isNotNull(o.amount), limit: 1 })
    const { amount, updatedAt, orderId } = sample!
    const count = async (where: string) =>
      Number((await lake.sql<{ n: bigint }>(`SELECT count(*) AS n FROM orders WHERE ${where}`))[0]!.n)
    const cases = [
      [await lake.rows(orders, { where: { orderId } }), `orderId = '${orderId}'`],
      [await lake.rows(orders, { where: { amount } }), `amount = ${amount}`],
      [await lake.rows(orders, { where: { updatedAt } }), `epoch_us(updatedAt) = ${updatedAt}`],
      [
        await lake.rows(orders, { where: { status: ['paid', 'shipped'], amount: { gt: '900' } } }),
        `status IN ('paid', 'shipped') AND amount > 900`,
      ],
      [await lake.rows(orders, { where: { status: null } }), 'status IS NULL'],
      [await lake.rows(orders, { where: { isGift: true, amount: { gte: '800' } } }), 'isGift AND amount >= 800'],
      [await lake.rows(orders, { where: "status = 'paid' AND amount > 900" }), "status = 'paid' AND amount > 900"],
      [
        await lake.rows(orders, {
          where: (o, { and, eq, between }) => and(eq(o.isLarge, true), between(o.quantity, 1, 2)),
          orderBy: {},
          limit: 100,
        }),
        'isLarge AND quantity BETWEEN 1 AND 2',
      ],
    ] as const
    for (const [rows, where] of cases) expect([where, rows.length]).toEqual([where, Math.min(100, await count(where))])
    expect(cases[0][0]).toHaveLength(1)
    expect(cases[2][0].length).toBeGreaterThan(0)
    await expect(lake.rows(orders, { where: 'true) OR (true' })).rejects.toMatchObject({
      code: expect.stringMatching(/^sql/),
    })
  })

  test('of windows and companions', async () => {
    const rows = await lake.rows(byCustomer, { orderBy: { n: 'desc' }, limit: 20 })
    expect(rows.length).toBeGreaterThan(0)
    for (const { n, large, bytes, most, window_start, window_end, customerId } of rows) {
      expect(large).toBeLessThanOrEqual(n)
      expect(window_end - window_start).toBe(60_000_000n)
      expect(BigInt(bytes!)).toBeGreaterThanOrEqual(most!)
      expect(typeof customerId).toBe('string')
    }
    const letters = await lake.rows(orders.deadLetters, { limit: 5 })
    const [counted] = await lake.sql<{ n: bigint }>`SELECT count(*) AS n FROM ${orders.deadLetters}`
    expect(counted!.n > 0n).toBe(letters.length > 0)
    for (const { code, value } of letters) expect([typeof code, value instanceof Uint8Array]).toEqual(['string', true])
    expect(await lake.rows(byCustomer.late, { limit: 1 })).toBeInstanceOf(Array)
  })

  test('as of a version', async () => {
    const first = await lake.rows(orders, { asOf: 'shop@1' })
    expect(first).toEqual([])
    const { head } = lake.pipelines[0]!.status()
    expect((await lake.rows(orders, { asOf: head!.number, limit: 3 })).length).toBe(3)
    await expect(lake.rows(orders, { asOf: new Date(0) })).rejects.toMatchObject({ code: 'version.unknown' })
  })
})

describe('results', () => {
  test('within the limits as a whole, and of any size as they come', async () => {
    const many = lake.sql<{
      n: bigint
      at: bigint
    }>`SELECT range AS n, TIMESTAMPTZ '2026-01-01 00:00:00Z' AS at FROM range(${20_000})`
    await expect(many).rejects.toMatchObject({ code: 'result.too_large' })
    let sum = 0n
    for await (const { n, at } of many) {
      sum += n
      expect(at).toBe(1_767_225_600_000_000n)
    }
    expect(sum).toBe((20_000n * 19_999n) / 2n)
    for await (const { n } of many) if (n === 5n) break
    expect(await lake.sql`SELECT 1 AS a`).toEqual([{ a: 1 }])
    expect(
      (await lake.sql<{ n: bigint }>('SELECT count(*) AS n FROM views WHERE _offset < $1', 10))[0]!.n,
    ).toBeGreaterThan(0n)
  })
})

test('versions are told of in order, and a listener that throws stops nothing', () => {
  expect(versions.length).toBeGreaterThan(1)
  expect(versions).toEqual([...new Set(versions)].toSorted((a, b) => Number(a - b)))
  expect(versions.at(-1)).toBe(lake.pipelines[0]!.status().head!.number)
})

describe('the API of the lake', () => {
  const clientOf = (fetch: (request: Request) => Promise<Response>, url = 'http://127.0.0.1') => connect({ url, fetch })

  test('by fetch, and mounted in an app, as the client uses it', async () => {
    const app = new Hono().route('/lake', lake.http())
    const clients = [clientOf(lake.fetch), clientOf(async (request) => app.fetch(request), 'http://127.0.0.1/lake')]
    for (const client of clients) {
      expect((await client.tables.list()).map(({ name }) => name)).toEqual(
        expect.arrayContaining(['orders', 'by_customer']),
      )
      const rows = await client.rows('orders', { limit: 70 })
      const inside: string[] = []
      for await (const { orderId } of lake.rows(orders)) inside.push(orderId)
      expect(rows.map(({ orderId }) => orderId)).toEqual(inside)
      expect(await client.sql`SELECT count(*) AS n FROM ${orders}`).toEqual([{ n: String(inside.length) }])
      const streamed: unknown[] = []
      for await (const row of client.sql('SELECT range AS n FROM range(500)')) streamed.push(row)
      expect(streamed).toEqual(Array.from({ length: 500 }, (_, n) => ({ n: String(n) })))
      const failing = client.sql(
        "SELECT CASE WHEN range = 90000 THEN error('at the end') ELSE range END AS n FROM range(100000)",
      )
      const failed = (async () => {
        for await (const _ of failing);
      })()
      await expect(failed).rejects.toMatchObject({ code: 'sql.failed', message: 'at the end' })
      expect((await client.tables.windows('by_customer', { limit: 3 })).length).toBeGreaterThan(3)
      await expect(client.rows('nothing')).rejects.toMatchObject({ code: 'table.unknown' })
    }
  })
})
