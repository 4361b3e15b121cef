import { afterAll, beforeAll, expect, test } from 'vitest'
import { systemClock } from '../../src/clock.ts'
import { appOver, makeLake, type TestLake } from './support.ts'

let lake: TestLake
let ask: ReturnType<typeof appOver>['ask']

beforeAll(async () => {
  lake = await makeLake({ shop: ['orders'] })
  await lake.commit('shop', 0)
  await lake.commit('shop', 0)
  ;({ ask } = appOver(lake))
})
afterAll(() => lake.close())

test('a job is recorded, and told of', async () => {
  const asked = await ask('/v1/tables/orders/expire', {})
  expect(asked).toMatchObject({
    status: 202,
    location: `/v1/jobs/${asked.body.id}`,
    body: { kind: 'expire', pipeline: 'shop', table: 'orders', to: null, state: 'queued', result: null, error: null },
  })
  const job = (await lake.jobs.get(asked.body.id))!
  expect(await lake.jobs.open('shop')).toEqual([job])
  const result = { versions: 1, files: 2, bytes: 3 }
  await lake.jobs.update({ ...job, state: 'done', startedMs: 1_000, endedMs: systemClock.nowMs(), writer: 'w', result })
  expect((await ask(asked.location!)).body).toMatchObject({
    state: 'done',
    started: '1970-01-01T00:00:01.000Z',
    result,
  })
  expect(await lake.jobs.open('shop')).toEqual([])
  const rollback = await ask('/v1/pipelines/shop/rollback', { to: '1' })
  expect(rollback).toMatchObject({ status: 202, body: { kind: 'rollback', pipeline: 'shop', table: null, to: '1' } })
  const listed = await ask('/v1/jobs')
  expect(listed.body.items.map(({ id }: { id: string }) => id).toSorted()).toEqual(
    [asked.body.id, rollback.body.id].toSorted(),
  )
})

test('one key is one job', async () => {
  const key = { 'idempotency-key': '0198c1de-6a3e-7c11-9a4e-000000000001' }
  const [first, again] = [
    await ask('/v1/tables/orders/compact', {}, key),
    await ask('/v1/tables/orders/compact', {}, key),
  ]
  expect([first.status, again.status, again.body]).toEqual([202, 202, first.body])
  expect(await ask('/v1/tables/orders/expire', {}, key)).toMatchObject({
    status: 422,
    body: { code: 'idempotency.mismatch' },
  })
  const without = [await ask('/v1/tables/orders/compact', {}), await ask('/v1/tables/orders/compact', {})]
  expect(new Set([first, ...without].map(({ body }) => body.id)).size).toBe(3)
})

test.each<[string, unknown, Record<string, string>, number, string]>([
  ['/v1/tables/nope/compact', {}, {}, 404, 'table.unknown'],
  ['/v1/tables/orders/compact', { now: true }, {}, 400, 'request.invalid'],
  ['/v1/pipelines/nope/rollback', { to: '1' }, {}, 404, 'pipeline.unknown'],
  ['/v1/pipelines/shop/rollback', { to: '9' }, {}, 404, 'version.unknown'],
  ['/v1/pipelines/shop/rollback', { to: 1 }, {}, 400, 'request.invalid'],
  ['/v1/pipelines/shop/rollback', { to: '0x1' }, {}, 400, 'request.invalid'],
  ['/v1/pipelines/shop/rollback', {}, {}, 400, 'request.invalid'],
  ['/v1/tables/orders/expire', {}, { 'idempotency-key': 'short' }, 400, 'request.invalid'],
  ['/v1/jobs/a1', undefined, {}, 404, 'job.unknown'],
  ['/v1/jobs/..%2fhead', undefined, {}, 404, 'job.unknown'],
])('%s with %j is refused', async (path, body, headers, status, code) => {
  expect(await ask(path, body, headers)).toMatchObject({ status, body: { code } })
})
