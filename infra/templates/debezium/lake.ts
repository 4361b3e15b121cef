import { debezium, defineLake, t, table } from 'kappalake'

/** The rows of public.customers as they stand in the database: changes replace them, deletes remove them. */
export const customers = table('customers', {
  from: { topic: 'shop.public.customers', value: debezium(), startAt: 'earliest' },
  key: ['id'],
  columns: {
    id: t.int(),
    email: t.string(),
    balance: t.decimal(12, 2),
    updated_at: t.timestamptz('us'),
  },
})

export default defineLake({ shop: [customers] })
