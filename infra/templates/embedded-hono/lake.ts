import { defineLake, json, t, table, tumbling } from 'kappalake'

/** The newest state of each order: a later record of the same order replaces its row. */
export const orders = table('orders', {
  from: { topic: 'shop.orders', value: json(), startAt: 'earliest' },
  key: ['orderId'],
  columns: {
    orderId: t.string(),
    customerId: t.string(),
    status: t.enum('created', 'paid', 'shipped', 'cancelled'),
    amount: t.decimal(12, 2),
    updatedAt: t.timestamptz().required(),
  },
  eventTime: { column: 'updatedAt', outOfOrderness: '5s' },
})

/** Orders of each minute by the status that they have now. */
export const revenue = tumbling('revenue_1m', orders, {
  size: '1m',
  allowedLateness: '10m',
  groupBy: ['status'],
  select: ({ count, sum }) => ({ n: count(), revenue: sum('amount') }),
})

export default defineLake({ shop: [orders, revenue] })
