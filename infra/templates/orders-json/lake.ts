import { defineLake, json, t, table, tumbling } from 'kappalake'

/** Each record of the topic is a row. What does not fit is kept in orders__dlq, with its reason. */
export const orders = table('orders', {
  from: { topic: 'shop.orders', value: json(), startAt: 'earliest' },
  columns: {
    orderId: t.string().required(),
    customerId: t.string(),
    status: t.enum('created', 'paid', 'shipped', 'cancelled'),
    amount: t.decimal(12, 2),
    updatedAt: t.timestamptz().required(),
  },
  eventTime: { column: 'updatedAt', outOfOrderness: '5s' },
  partitionBy: ['day(updatedAt)'],
})

/** Orders of each minute by status, in the same commits as the orders themselves. */
export const revenue = tumbling('revenue_1m', orders, {
  size: '1m',
  allowedLateness: '10m',
  groupBy: ['status'],
  select: ({ count, sum }) => ({ n: count(), revenue: sum('amount') }),
})

export default defineLake({ shop: [orders, revenue] })
