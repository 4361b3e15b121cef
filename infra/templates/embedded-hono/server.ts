import { serve } from '@hono/node-server'
import { Hono } from 'hono'
import { open } from 'kappalake'
import definition, { orders, revenue } from './lake.ts'

// One process: it reads Kafka, writes the tables and answers. The lake's heavy work is in child processes of its own.
const ending = new AbortController()
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => ending.abort())

await using lake = await open(
  definition,
  {
    kafka: { brokers: (process.env.KAFKA_BROKERS ?? 'localhost:9092').split(',') },
    store: process.env.STORE_URL ?? 'file:./lake',
  },
  { signal: ending.signal },
)

const app = new Hono()
app.get('/orders/:id', async (context) => {
  // Values of a template are parameters, and tables stand for their names: nothing is put together from text.
  const [order] =
    await lake.sql`select orderId, status, amount from ${orders} where orderId = ${context.req.param('id')}`
  return order === undefined ? context.json({ error: 'no such order' }, 404) : context.json(order)
})
app.get('/revenue', async (context) => {
  const rows = await lake.sql<{ status: string; n: bigint; revenue: string }>`
    select status, sum(n)::bigint n, sum(revenue) revenue from ${revenue} group by status order by status`
  return context.json(rows.map((row) => ({ ...row, n: Number(row.n) })))
})
// The whole API of kappalake, as `kappalake query --url http://127.0.0.1:3000/lake` uses it.
app.route('/lake', lake.http())

const port = Number(process.env.PORT ?? 3000)
const server = serve({ fetch: app.fetch, port, hostname: '127.0.0.1' })
console.log(`http://127.0.0.1:${port}/revenue`)
await new Promise<void>((resolve) => ending.signal.addEventListener('abort', () => resolve(), { once: true }))
server.close()
