import { connect, type JsonRow, type LakeClient } from '../../src/client/client.ts'
import type { Decimal, Lake, LakeErrorCode, LakeEvent, Version } from '../../src/index.ts'
import { orders, revenue, same } from './rows.ts'

// What the compiler knows of a lake, and of one elsewhere. Read by tsc and run by nobody.

type Order = typeof orders.$row

export const asked = async (lake: Lake): Promise<void> => {
  const rows = await lake.rows(orders, {
    where: {
      orderId: 'a',
      status: ['paid', 'created'],
      amount: { gte: '10.00', lt: '20' },
      seenAt: { gt: new Date(0) },
      updatedAt: 5n,
      day: null,
      isGift: true,
    },
    orderBy: { amount: 'desc', orderId: 'asc' },
    limit: 10,
    asOf: new Date(0),
  })
  same<typeof rows, readonly Order[]>()
  const windows = await lake.rows(revenue, { where: (r, { and, gt, eq }) => and(gt(r.n, 3n), eq(r._final, true)) })
  same<(typeof windows)[number]['revenue'], Decimal | null>()
  const letters = await lake.rows(orders.deadLetters)
  same<(typeof letters)[number]['code'], string>()
  const day = new Date(0)
  await lake.rows(revenue, { where: { window_start: { gte: day }, window_end: { lt: 5n } } })
  await lake.rows(revenue, { where: (r, { gte }) => gte(r.window_start, day) })
  await lake.rows(orders, { where: { _timestamp: { gte: day } } })
  const late = await lake.rows(revenue.late, { where: { _reason: 'late' } })
  same<(typeof late)[number]['seenAt'], Date | null>()
  const named = await lake.rows('orders', { where: { anything: 1 } })
  same<(typeof named)[number]['anything'], unknown>()
  for await (const row of lake.rows(orders)) same<typeof row, Order>()
  for await (const { n } of lake.sql<{ n: bigint }>`select ${1} n from ${orders} join ${revenue.late} on true`)
    same<typeof n, bigint>()
  for await (const batch of lake.rows(orders).batches()) same<typeof batch, readonly Order[]>()
  const stop: () => void = lake.on('version', ({ pipeline, version }) => {
    same<typeof pipeline, string>()
    same<typeof version, Version>()
  })
  stop()
  lake.on('event', (event) => same<typeof event, LakeEvent>())
  await lake.waitFor(orders.deadLetters, { partition: 0, offset: 1n })
  const answer: Response = await lake.fetch(new Request('http://127.0.0.1/healthz'))
  void answer
}

export const refused = (lake: Lake) => [
  // @ts-expect-error there is no such column
  lake.rows(orders, { where: { nothing: 1 } }),
  // @ts-expect-error no row has that symbol
  lake.rows(orders, { where: { status: 'payed' } }),
  // @ts-expect-error a decimal is text
  lake.rows(orders, { where: { amount: 10 } }),
  // @ts-expect-error that text is no number
  lake.rows(orders, { where: { amount: 'ten' } }),
  // @ts-expect-error an int64 is bigint
  lake.rows(orders, { where: { serial: { gt: 1 } } }),
  // @ts-expect-error a required column is never null
  lake.rows(orders, { where: { quantity: null } }),
  // @ts-expect-error lists are not compared
  lake.rows(orders, { where: { tags: ['a'] } }),
  // @ts-expect-error there is no such direction
  lake.rows(orders, { orderBy: { amount: 'down' } }),
  // @ts-expect-error there is no such column to order by
  lake.rows(orders, { orderBy: { nothing: 'asc' } }),
  // @ts-expect-error there is no such option
  lake.rows(orders, { top: 3 }),
  // @ts-expect-error there is no such event
  lake.on('commit', () => undefined),
  // @ts-expect-error there is no such comparison
  lake.rows(orders, { where: { amount: { like: '1%' } } }),
]

// @ts-expect-error codes are literals
export const code: LakeErrorCode = 'nothing.such'

export const remote = async (): Promise<void> => {
  const lake: LakeClient = connect({ url: 'http://127.0.0.1', key: 'id.secret' })
  const rows = await lake.rows<JsonRow<Order>>('orders', { where: 'amount > 1', limit: 5 })
  same<(typeof rows)[number]['updatedAt'], string | null>()
  same<(typeof rows)[number]['seenAt'], string | null>()
  same<(typeof rows)[number]['quantity'], number>()
  same<(typeof rows)[number]['status'], 'created' | 'paid' | 'cancelled' | null>()
  for await (const { state, writer } of lake.pipelines.list()) {
    same<
      typeof state,
      'starting' | 'running' | 'paused' | 'standby' | 'waiting' | 'stopped' | 'superseded' | 'failed'
    >()
    same<typeof writer, string | null>()
  }
  const { phase } = (await lake.replays.get('r')).progress!
  const known: 'seeding' | 'ready' | string = phase
  void known
  const job = await lake.call('getJob', { path: { job: 'j' } })
  same<typeof job.state, 'queued' | 'running' | 'done' | 'failed' | 'cancelled'>()
  // @ts-expect-error a job has an id
  await lake.call('getJob', {})
  // @ts-expect-error there is no such operation
  await lake.call('getNothing', {})
  // @ts-expect-error there is no such state
  await lake.tables.windows('w', { state: 'closed' })
  // @ts-expect-error a replay is of a pipeline
  await lake.replays.start({ mode: 'verify' })
}
