import { avro, defineLake, t, table, tumbling } from 'kappalake'

/** Each value names the schema that it was written with; fields that are declared here are read from it. */
export const orders = table('orders', {
  from: { topic: 'shop.orders.avro', value: avro(), startAt: 'earliest' },
  columns: {
    orderId: t.string().required(),
    customerId: t.string(),
    status: t.enum('created', 'paid', 'shipped', 'cancelled'),
    amount: t.decimal(12, 2),
    updatedAt: t.timestamptz().required(),
  },
  eventTime: { column: 'updatedAt', outOfOrderness: '5s' },
})

/** Orders of each minute by status, in the same commits as the orders themselves. */
export const revenue = tumbling('revenue_1m', orders, {
  size: '1m',
  allowedLateness: '10m',
  groupBy: ['status'],
  select: ({ count, sum }) => ({ n: count(), revenue: sum('amount') }),
})

export default defineLake({ shop: [orders, revenue] })
