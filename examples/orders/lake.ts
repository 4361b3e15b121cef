import { defineLake, json, t, table } from 'kappalake'

/** The table of kappalake.yaml, in TypeScript: the same rows, the same code hash. */
export const orders = table('orders', {
  from: { topic: 'shop.orders', value: json(), startAt: 'earliest' },
  columns: {
    orderId: t.string().required(),
    customerId: t.string(),
    status: t.enum('created', 'paid', 'shipped', 'cancelled'),
    amount: t.decimal(12, 2),
    items: t.list(t.struct({ sku: t.string().required(), quantity: t.int() })),
    updatedAt: t.timestamptz().required(),
  },
  eventTime: { column: 'updatedAt', outOfOrderness: '5s' },
  partitionBy: ['day(updatedAt)'],
})

export default defineLake({ shop: [orders] })
