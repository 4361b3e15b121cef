import { afterAll, beforeAll, expect, test } from 'vitest'
import { defineLake, table } from '../../src/define.ts'
import { appOver, makeLake, type TestLake } from './support.ts'

let lake: TestLake
let ask: ReturnType<typeof appOver>['ask']
const definition = defineLake({
  shop: [table('orders', { from: { topic: 'shop.orders' }, columns: { id: 'long' } })],
})

beforeAll(async () => {
  lake = await makeLake({ shop: ['orders'] })
  await lake.commit('shop', 0)
  ;({ ask } = appOver(lake, definition))
})
afterAll(() => lake.close())

test('what is asked is recorded as it was meant', async () => {
  const where = { table: 'orders', code: 'decode.type', partition: 0, from: '1', until: '9' }
  const asked = await ask('/v1/dlq/shop/retry', { where, limit: 5, dryRun: true })
  expect(asked).toMatchObject({
    status: 202,
    location: `/v1/jobs/${asked.body.id}`,
    body: { kind: 'retry', pipeline: 'shop', table: 'orders', state: 'queued' },
  })
  const job = (await lake.jobs.get(asked.body.id))!
  expect(job.request).toEqual({ kind: 'retry', pipeline: 'shop', where, limit: 5, dryRun: true })
  const discard = await ask('/v1/dlq/shop/discard', {})
  expect((await lake.jobs.get(discard.body.id))!.request).toEqual({ kind: 'discard', pipeline: 'shop', where: {} })
})

test('one key is one job', async () => {
  const key = { 'idempotency-key': '0198c1de-6a3e-7c11-9a4e-000000000009' }
  const [first, again] = [await ask('/v1/dlq/shop/retry', {}, key), await ask('/v1/dlq/shop/retry', {}, key)]
  expect([first.status, again.body.id]).toEqual([202, first.body.id])
  expect(await ask('/v1/dlq/shop/retry', { limit: 1 }, key)).toMatchObject({ body: { code: 'idempotency.mismatch' } })
})

test('a table without dead letters has an empty list', async () => {
  const { headers: _, ...answer } = await ask('/v1/dlq/shop')
  expect(answer).toEqual({ status: 200, body: { items: [], nextCursor: null }, location: null })
})

test.each<[string, unknown, number, string]>([
  ['/v1/dlq/nope/retry', {}, 404, 'pipeline.unknown'],
  ['/v1/dlq/nope', undefined, 404, 'pipeline.unknown'],
  ['/v1/dlq/shop?table=order', undefined, 404, 'table.unknown'],
  ['/v1/dlq/shop/retry', { where: { table: 'order' } }, 404, 'table.unknown'],
  ['/v1/dlq/shop/retry', { where: { offset: '1' } }, 400, 'request.invalid'],
  ['/v1/dlq/shop/retry', { where: { from: '-1' } }, 400, 'request.invalid'],
  ['/v1/dlq/shop/discard', { limit: 0 }, 400, 'request.invalid'],
  ['/v1/dlq/shop?status=gone', undefined, 400, 'request.invalid'],
])('%s with %j is refused', async (path, body, status, code) => {
  expect(await ask(path, body)).toMatchObject({ status, body: { code } })
})

test('while a replay is open nothing is settled', async () => {
  const options = { mode: 'reprocess' } as never
  const replay = await lake.jobs.ask({ kind: 'replay', pipeline: 'shop', options, codes: {} })
  expect(await ask('/v1/dlq/shop/retry', {})).toMatchObject({ status: 409, body: { code: 'replay.running' } })
  await lake.jobs.update({ ...replay, state: 'cancelled', endedMs: 1 })
  expect(await ask('/v1/dlq/shop/retry', {})).toMatchObject({ status: 202 })
})
