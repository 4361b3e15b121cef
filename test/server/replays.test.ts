import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { LakeError } from '../../src/error.ts'
import { DIFFERENCE, PROGRESS } from '../support/fake-replays.ts'
import { appOver, makeLake, type TestLake } from './support.ts'

let lake: TestLake
let ask: ReturnType<typeof appOver>['ask']

beforeEach(async () => {
  lake = await makeLake({ shop: ['orders'] }, 'memory')
  ;({ ask } = appOver(lake))
})
afterEach(() => lake.close())

const start = async () => (await ask('/v1/replays', { pipeline: 'shop' })).body.id as string

describe('start', () => {
  test('is recorded and told of, with all that was asked for', async () => {
    const asked = await ask(
      '/v1/replays',
      { pipeline: 'shop', tables: ['orders'], from: { timestamp: '2026-11-21T11:00:00+01:00' }, keepOld: '1d' },
      { 'idempotency-key': 'a-key-of-mine' },
    )
    expect(asked.status).toBe(202)
    expect(asked.headers.get('location')).toBe(`/v1/replays/${asked.body.id}`)
    expect(asked.body).toEqual({
      id: asked.body.id,
      pipeline: 'shop',
      state: 'queued',
      options: {
        mode: 'reprocess',
        tables: ['orders'],
        from: { timestamp: '2026-11-21T10:00:00.000Z' },
        to: null,
        rateLimit: null,
        autoCutover: 'never',
        acceptCompacted: false,
        keepOld: '1d',
      },
      created: '2026-11-21T10:00:00.000Z',
      ended: null,
      writer: null,
      version: null,
      rebuilt: ['revenue_1m'],
      shared: ['orders'],
      progress: null,
      difference: null,
      cutover: null,
      error: null,
    })
    expect(lake.replays.started[0]).toMatchObject({ pipeline: 'shop', key: 'a-key-of-mine' })
    expect((await ask(`/v1/replays/${asked.body.id}`)).body).toEqual(asked.body)
    expect((await ask('/v1/replays')).body).toEqual({ items: [asked.body], nextCursor: null })
    expect((await ask('/v1/replays?pipeline=shop')).body.items).toHaveLength(1)
  })

  test('one at a time: the problem names the one that runs', async () => {
    const id = await start()
    expect(await ask('/v1/replays', { pipeline: 'shop' })).toMatchObject({
      status: 409,
      body: { code: 'replay.running', replay: id, fix: 'Wait for it, or cancel it.' },
    })
  })

  test.each<[object, number, string, RegExp]>([
    [{ pipeline: 'nope' }, 404, 'pipeline.unknown', /nope/],
    [{}, 400, 'request.invalid', /pipeline/],
    [{ pipeline: 'shop', mod: 'verify' }, 400, 'request.invalid', /did you mean "mode"/],
    [{ pipeline: 'shop', from: 'latest' }, 400, 'request.invalid', /must be "earliest"/],
    [{ pipeline: 'shop', to: { offsets: {} } }, 400, 'request.invalid', /belongs to a range/],
  ])('%j is refused', async (body, status, code, text) => {
    expect(await ask('/v1/replays', body)).toMatchObject({
      status,
      body: { code, detail: expect.stringMatching(text) },
    })
    expect(lake.replays.started).toEqual([])
  })

  test('a short key is refused before anything is done', async () => {
    const refused = await ask('/v1/replays', { pipeline: 'shop' }, { 'idempotency-key': 'short' })
    expect(refused).toMatchObject({ status: 400, body: { code: 'request.invalid' } })
    expect(lake.replays.started).toEqual([])
  })

  test.each<[ConstructorParameters<typeof LakeError>[0], number]>([
    ['table.unknown', 404],
    ['replay.range_keyed', 422],
    ['replay.nothing_changed', 422],
    ['replay.compacted', 422],
    ['replay.offsets_expired', 410],
    ['idempotency.mismatch', 422],
  ])('%s is %i', async (code, status) => {
    lake.replays.start = async () => {
      throw new LakeError(code, 'no', { context: { first: '12' }, fix: 'do this' })
    }
    expect(await ask('/v1/replays', { pipeline: 'shop' })).toMatchObject({
      status,
      body: { code, status, detail: 'no', first: '12', fix: 'do this' },
    })
  })
})

describe('look', () => {
  test('how it gets on, in numbers that JSON cannot round', async () => {
    const id = await start()
    lake.replays.phase(id, 'rebuilding', { isPaused: true })
    const { isPaused: _, ...progress } = PROGRESS
    expect((await ask(`/v1/replays/${id}`)).body).toMatchObject({
      state: 'running',
      version: '12',
      progress: { ...progress, paused: true },
    })
  })

  test('the difference, once there is one', async () => {
    const id = await start()
    lake.replays.phase(id, 'rebuilding')
    expect(await ask(`/v1/replays/${id}/diff`)).toMatchObject({
      status: 409,
      body: { code: 'replay.state', state: 'running', phase: 'rebuilding' },
    })
    lake.replays.put({ id, difference: { id: 'd1ff0000', isEqual: false } })
    const { isEqual, ...rest } = DIFFERENCE
    expect((await ask(`/v1/replays/${id}/diff`)).body).toEqual({ ...rest, equal: isEqual })
    expect((await ask(`/v1/replays/${id}`)).body.difference).toEqual({ id: 'd1ff0000', equal: false })
  })

  test('forks stand beside the chain, until they are over', async () => {
    const forks = async () => (await ask('/v1/pipelines/shop/versions')).body.forks
    await lake.commit('shop', 0)
    const id = await start()
    expect(await forks()).toEqual([])
    lake.replays.phase(id, 'verifying')
    expect(await forks()).toEqual([{ id, base: '12', state: 'running', phase: 'verifying' }])
    lake.replays.put({ id, state: 'failed' })
    expect(await forks()).toHaveLength(1)
    lake.replays.put({ id, state: 'cancelled' })
    expect(await forks()).toEqual([])
  })

  test.each(['', '/diff', '/events'])('an unknown one is 404 at %j', async (path) => {
    expect(await ask(`/v1/replays/nope${path}`)).toMatchObject({ status: 404, body: { code: 'replay.unknown' } })
  })

  test('of a pipeline that is not ours there is none', async () => {
    const { id } = await lake.replays.start('other', {})
    expect(await ask(`/v1/replays/${id}`)).toMatchObject({ status: 404, body: { code: 'replay.unknown' } })
    expect((await ask('/v1/replays')).body.items).toEqual([])
    expect(await ask(`/v1/replays/${id}/cancel`, {})).toMatchObject({ status: 404 })
    expect(lake.replays.orders).toEqual([])
  })

  test('pages', async () => {
    for (const state of ['done', 'cancelled', 'queued'] as const) lake.replays.put({ id: state, state })
    const first = await ask('/v1/replays?limit=2')
    const second = await ask(`/v1/replays?limit=2&cursor=${first.body.nextCursor}`)
    expect([...first.body.items, ...second.body.items].map(({ id }: { id: string }) => id)).toEqual([
      'queued',
      'cancelled',
      'done',
    ])
    expect(second.body.nextCursor).toBeNull()
  })
})

describe('orders', () => {
  test.each(['pause', 'resume', 'cancel'] as const)('%s is recorded', async (verb) => {
    const id = await start()
    const asked = await ask(`/v1/replays/${id}/${verb}`, {})
    expect([asked.status, asked.body.id]).toEqual([202, id])
    expect(lake.replays.orders).toEqual([{ id, order: { kind: verb } }])
  })

  test.each(['pause', 'resume', 'cancel', 'cutover', 'rollback'])(
    '%s of what is over is 409, with where it stands',
    async (verb) => {
      const id = await start()
      lake.replays.phase(id, 'verifying')
      lake.replays.put({ id, state: 'failed' })
      expect(await ask(`/v1/replays/${id}/${verb}`, {})).toMatchObject({
        status: 409,
        body: { code: 'replay.state', state: 'failed', phase: 'verifying', fix: expect.any(String) },
      })
      expect(await ask(`/v1/replays/nope/${verb}`, {})).toMatchObject({ status: 404 })
      expect(await ask(`/v1/replays/${id}/${verb}`, { now: true })).toMatchObject({ status: 400 })
    },
  )

  test('a cut-over names the difference that it accepts', async () => {
    const id = await start()
    lake.replays.phase(id, 'ready')
    lake.replays.put({ id, difference: { id: 'd1ff0000', isEqual: false } })
    for (const body of [{}, { approve: 'other' }])
      expect(await ask(`/v1/replays/${id}/cutover`, body)).toMatchObject({
        status: 409,
        body: { code: 'replay.diff_unapproved', difference: 'd1ff0000' },
      })
    expect((await ask(`/v1/replays/${id}/cutover`, { approve: 'd1ff0000' })).status).toBe(202)
    expect(lake.replays.orders).toEqual([{ id, order: { kind: 'cutover', approve: 'd1ff0000' } }])
  })

  test('a web page cannot give one', async () => {
    const id = await start()
    const refused = await ask(`/v1/replays/${id}/cancel`, {}, { 'content-type': 'text/plain' })
    expect(refused.status).toBe(400)
    expect(lake.replays.orders).toEqual([])
  })
})

describe('Prefer: wait', () => {
  const wait = { prefer: 'respond-async, wait=5' }

  test('answers when it is done', async () => {
    const id = await start()
    lake.replays.phase(id, 'ready')
    lake.replays.onOrder = () =>
      setImmediate(() => {
        lake.replays.phase(id, 'cutting-over')
        setImmediate(() => lake.replays.phase(id, 'cut-over'))
      })
    const asked = await ask(`/v1/replays/${id}/cutover`, {}, wait)
    expect(asked).toMatchObject({ status: 202, body: { progress: { phase: 'cut-over' } } })
    expect(asked.headers.get('preference-applied')).toBe('wait=5')
    expect(lake.replays.watching).toBe(0)
  })

  test('answers in time, with what is known then', async () => {
    const id = await start()
    const asked = await ask(`/v1/replays/${id}/cancel`, {}, { prefer: 'wait=1' })
    expect(asked).toMatchObject({ status: 202, body: { state: 'queued' } })
    expect(lake.replays.watching).toBe(0)
  })

  test.each(['wait', 'wait=-1', 'await=5', 'wait=x'])('%j is no preference', async (prefer) => {
    const asked = await ask('/v1/replays', { pipeline: 'shop' }, { prefer })
    expect([asked.status, asked.headers.get('preference-applied')]).toEqual([202, null])
  })
})

test('every route is described', async () => {
  const { paths } = (await ask('/openapi.json')).body
  const described = Object.keys(paths).filter((path) => path.startsWith('/v1/replays'))
  expect(described).toEqual([
    '/v1/replays',
    '/v1/replays/{replay}',
    '/v1/replays/{replay}/diff',
    '/v1/replays/{replay}/events',
    ...['pause', 'resume', 'cancel', 'cutover', 'rollback'].map((verb) => `/v1/replays/{replay}/${verb}`),
  ])
  expect(paths['/v1/replays'].post.responses['409'].description).toBe('replay.running')
  expect(paths['/v1/replays'].post.requestBody.content['application/json'].schema.properties.from).toMatchObject({
    anyOf: [{ const: 'earliest' }, { type: 'object' }, { type: 'object' }],
  })
  expect(paths['/v1/replays/{replay}/events'].get.responses['200'].content).toHaveProperty('text/event-stream')
})
