import { afterEach, describe, expect, test } from 'vitest'
import { avro, debezium, defineLake, raw, t, table, tumbling, type LakeDefinition } from '../../src/define.ts'
import { testLake, type Lab, type LabOptions } from '../../src/testing.ts'

const labs: Lab[] = []
afterEach(async () => {
  for (const lab of labs.splice(0)) await lab.close()
})

async function open(lake: LakeDefinition, options: LabOptions = {}): Promise<Lab> {
  const lab = await testLake(lake, options)
  labs.push(lab)
  return lab
}

const orders = table('orders', {
  from: { topic: 'shop.orders' },
  columns: {
    orderId: t.string().required(),
    status: t.enum('created', 'paid', 'cancelled'),
    amount: t.decimal(12, 2),
    updatedAt: t.timestamptz(),
  },
  key: ['orderId'],
  eventTime: { column: 'updatedAt', outOfOrderness: '5s', idleAfter: '30s' },
})
const revenue = tumbling('revenue_1m', orders, {
  size: '1m',
  input: 'rows',
  groupBy: ['status'],
  select: ({ count, sum }) => ({ n: count(), revenue: sum('amount') }),
})
const shop = defineLake({ shop: [orders, revenue] })
const at = (time: string): Date => new Date(`2026-03-02T${time}Z`)

test('a keyed table and a window over it', async () => {
  const lab = await open(shop, { seed: 7 })
  await lab.produce(orders, [
    { orderId: 'a', status: 'created', amount: '10.00', updatedAt: at('10:00:07') },
    { orderId: 'b', status: 'paid', amount: '5.50', updatedAt: at('10:00:20') },
    { orderId: 'a', status: 'paid', amount: '10.00', updatedAt: at('10:00:30') },
  ])
  expect(await lab.rows(orders)).toEqual([
    { orderId: 'a', status: 'paid', amount: '10.00', updatedAt: '2026-03-02T10:00:30.000000Z' },
    { orderId: 'b', status: 'paid', amount: '5.50', updatedAt: '2026-03-02T10:00:20.000000Z' },
  ])
  expect(await lab.rows(revenue)).toEqual([
    {
      status: 'paid',
      window_start: '2026-03-02T10:00:00.000000Z',
      window_end: '2026-03-02T10:01:00.000000Z',
      n: 2n,
      revenue: '15.50',
    },
  ])
  await lab.produce(orders, [null], { key: 'a' })
  expect(await lab.rows(orders, { where: { status: 'paid' } })).toHaveLength(1)
  expect(await lab.rows('orders', { where: "amount > 100" })).toEqual([])
  console.log(await lab.holds())
})
