import { mkdtempSync, rmSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { defineLake, open, table, tumbling, type Lake } from '../../src/index.ts'
import type { ReplayStatus } from '../../src/replay-status.ts'
import { childrenOf, until } from '../support/processes.ts'
import { boundedShop, shopSettings, trustStore } from '../support/shop-store.ts'

// Whole lives of replays over open(), with lanes, folds and verification in processes of their own.

const LIMIT_MS = 240_000
const folder = mkdtempSync(path.join(os.tmpdir(), 'kappalake-replays-'))
const opened: Lake[] = []

afterAll(async () => {
  for (const lake of opened) await lake.close()
  rmSync(folder, { recursive: true, force: true })
})

const views = table('views', {
  from: { topic: 'shop.page_views' },
  columns: { viewId: 'string required', customerId: 'string', bytes: 'long', at: 'long required' },
  eventTime: { column: 'at', unit: 'ms', outOfOrderness: '5s' },
})
const orders = table('orders', {
  from: { topic: 'shop.orders' },
  columns: { orderId: 'string required', status: 'string', amount: 'decimal(12,2)' },
  key: ['orderId'],
})
const byCustomer = (total: string) =>
  tumbling('by_customer', views, {
    size: '1m',
    groupBy: ['customerId'],
    nullGroup: 'keep',
    select: { n: 'count()', total },
  })
const OLD = defineLake({ shop: [views, orders, byCustomer('sum(bytes)')] })
const NEW = defineLake({ shop: [views, orders, byCustomer('max(bytes)')] })

const reached = (lake: Lake, id: string, isThere: (status: ReplayStatus) => boolean) =>
  until(
    'a replay that gets on',
    async () => {
      const status = await lake.replays.get(id)
      if (isThere(status)) return status
      if (status.state === 'failed' || status.state === 'cancelled') throw new Error(JSON.stringify(status))
      return false
    },
    LIMIT_MS,
  )

test(
  'a window is made anew beside the live one, compared, cut over and rolled back',
  { timeout: LIMIT_MS },
  async () => {
    const place = mkdtempSync(path.join(folder, 'lake-'))
    const store = { url: `file:${place}/lake` }
    await trustStore(store)
    const settings = { ...shopSettings(store, boundedShop(1_500), place), lanes: 1 }
    const old = await open(OLD, settings)
    opened.push(old)
    await old.pipelines[0]!.flush()
    const totals = (lake: Lake) => lake.sql`SELECT customerId, window_start, total FROM by_customer ORDER BY ALL`
    const before = await totals(old)

    const same = await old.replays.start('shop', { mode: 'verify' })
    const verified = await reached(old, same.id, ({ state }) => state === 'done')
    const { tables } = await old.replays.difference(same.id)
    expect(tables.map(({ table, kind, rowsBefore, rowsAfter }) => [table, kind, rowsBefore === rowsAfter])).toEqual(
      tables.map(({ table }) => [table, 'equal', true]),
    )
    expect(verified).toMatchObject({ difference: { isEqual: true }, progress: { percent: 100 } })

    const young = await open(NEW, { ...settings, writer: 'two' })
    opened.push(young)
    const { id } = await young.replays.start('shop', {})
    const ready = await reached(young, id, ({ progress }) => progress?.phase === 'ready')
    expect(ready).toMatchObject({
      rebuilt: ['by_customer'],
      shared: ['views', 'orders'],
      difference: { isEqual: false },
    })
    const difference = await young.replays.difference(id)
    expect(difference.tables.find(({ table }) => table === 'by_customer')).toMatchObject({ kind: 'different' })
    expect(await totals(young)).toEqual(before)
    await young.replays.order(id, { kind: 'cutover', approve: difference.id })
    const over = await reached(young, id, ({ state }) => state === 'done')
    const after = await totals(young)
    expect(after).not.toEqual(before)
    expect(after).toEqual(
      await young.sql`SELECT customerId, to_timestamp("at" // 60000 * 60)::TIMESTAMP AT TIME ZONE 'UTC' AS window_start, max(bytes) AS total
      FROM views WHERE (_kafka_partition, _offset) NOT IN (SELECT (_kafka_partition, _offset) FROM by_customer__late) GROUP BY ALL ORDER BY ALL`.catch(
        (error) => error,
      ),
    )
    await until('the new owner', () => young.pipelines[0]!.status().state === 'running')
    await until('the old code', () => old.pipelines[0]!.status().state === 'superseded')

    await young.replays.order(id, { kind: 'rollback' })
    await reached(young, id, ({ progress }) => progress?.phase === 'rolled-back')
    expect(await totals(old)).toEqual(before)
    await until('the old owner', () => old.pipelines[0]!.status().state === 'running')
    expect(over.cutover!.before).toBe(String(BigInt(over.cutover!.version) - 1n))
    // The processes of the replay are gone with it.
    await until(
      'no more children',
      () => childrenOf(process.pid).filter(({ command }) => command.includes('lane-child')).length === 2,
    )
  },
)

test('a range, and a window from the middle of the log', { timeout: LIMIT_MS }, async () => {
  const place = mkdtempSync(path.join(folder, 'lake-'))
  const store = { url: `file:${place}/lake` }
  await trustStore(store)
  const settings = { ...shopSettings(store, boundedShop(900), place), lanes: 1 }
  const kept = (where?: string) =>
    table('kept', {
      from: { topic: 'shop.page_views' },
      columns: { viewId: 'string required', bytes: 'long' },
      ...(where === undefined ? {} : { where }),
    })
  const old = await open(defineLake({ shop: [views, kept(), byCustomer('sum(bytes)')] }), settings)
  opened.push(old)
  await old.pipelines[0]!.flush()
  await old.close()

  const young = await open(defineLake({ shop: [views, kept('bytes % 2 = 0'), byCustomer('sum(bytes)')] }), settings)
  opened.push(young)
  const offsets = (offset: string) => ({ kind: 'offsets', offsets: { 'shop.page_views/0': offset } }) as const
  const [from, to] = [offsets('100'), offsets('200')]
  const elsewhere = { 'shop.page_views/1': '0', 'shop.page_views/2': '0' }
  const range = await young.replays.start('shop', {
    mode: 'range',
    from,
    to: { ...to, offsets: { ...to.offsets, ...elsewhere } },
    autoCutover: 'always',
  })
  const done = await reached(young, range.id, ({ state }) => state === 'done')
  expect(done).toMatchObject({ rebuilt: ['kept'], progress: { phase: 'cut-over', total: '100' } })
  const odd =
    await young.sql`SELECT _kafka_partition AS p, count(*) FILTER (_offset >= 100 AND _offset < 200) AS inside,
    count(*) FILTER (_offset < 100 OR _offset >= 200) > 0 AS outside FROM kept WHERE bytes % 2 = 1 GROUP BY p ORDER BY p`
  expect(odd.map((row) => ({ ...(row as object) }))).toEqual([
    { p: 0, inside: 0n, outside: true },
    { p: 1, inside: expect.toSatisfy((count: bigint) => count > 0n), outside: true },
    { p: 2, inside: expect.toSatisfy((count: bigint) => count > 0n), outside: true },
  ])

  const windows = () =>
    young.sql<{ window_start: unknown }>`SELECT customerId, window_start, n, total FROM by_customer ORDER BY ALL`
  const before = await windows()
  const middle = { kind: 'offsets', offsets: { 'shop.page_views/0': '150', ...elsewhere } } as const
  const partial = await young.replays.start('shop', { tables: ['by_customer'], from: middle, autoCutover: 'always' })
  await reached(young, partial.id, ({ state }) => state === 'done')
  const after = await windows()
  expect(after.length).toBeGreaterThan(0)
  expect(after.length).toBeLessThan(before.length)
  // What is left out is left out whole: a window that is there counts what it counted.
  expect(before).toEqual(expect.arrayContaining([...after]))
})
