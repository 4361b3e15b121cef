import { describe, expect, test } from 'vitest'
import { InstantClock } from '../support/instant-clock.ts'
import { answering, run } from './support.ts'

const JOB = {
  id: 'a1',
  kind: 'expire',
  pipeline: 'shop',
  table: 'orders',
  to: null,
  state: 'queued',
  created: '2026-01-01T00:00:00.000Z',
  started: null,
  ended: null,
  writer: null,
  result: null,
  error: null,
}
const clock = new InstantClock()
const DONE = { ...JOB, state: 'done', result: { files: 3 } }

describe('jobs', () => {
  test.each([
    [['expire', 'orders'], '/v1/tables/orders/expire', {}],
    [['compact', 'orders'], '/v1/tables/orders/compact', {}],
    [['rollback', 'shop', '--to', '12', '--yes'], '/v1/pipelines/shop/rollback', { to: '12' }],
  ])('%j asks, and waits until it is done', async (args, path, body) => {
    const { fetch, asked } = answering({ [path]: JOB, '/v1/jobs/a1': DONE })
    const ran = await run([...args, '-o', 'json'], { fetch, clock })
    expect(ran).toMatchObject({ code: 0, err: '' })
    expect(JSON.parse(ran.out)).toEqual([DONE])
    expect(asked.map(({ url, body: sent }) => [new URL(url).pathname, sent])).toEqual([
      [path, body],
      ['/v1/jobs/a1', undefined],
    ])
  })

  test('does not wait when told so', async () => {
    const { fetch, asked } = answering({ '/v1/tables/orders/compact': JOB })
    const ran = await run(['compact', 'orders', '--no-wait', '-o', 'csv'], { fetch })
    expect(ran.out).toContain('a1,expire,shop,orders,,queued,')
    expect(asked).toHaveLength(1)
  })

  test('fails as the job failed', async () => {
    const error = { code: 'rollback.not_kept', message: 'no longer kept', fix: 'Choose a younger one.' }
    const { fetch } = answering({
      '/v1/pipelines/shop/rollback': JOB,
      '/v1/jobs/a1': { ...JOB, state: 'failed', error },
    })
    const ran = await run(['rollback', 'shop', '--to', '1', '--yes'], { fetch, clock })
    expect(ran.code).toBe(1)
    expect(ran.err).toMatch(/rollback\.not_kept: no longer kept\n {2}next: Choose a younger one\./)
  })

  test('nothing is rolled back by mistake', async () => {
    const { fetch, asked } = answering({})
    const ran = await run(['rollback', 'shop', '--to', '1'], { fetch })
    expect(ran.code).toBe(1)
    expect(ran.err).toMatch(/version 1 .* pauses it[\s\S]*--yes/)
    expect(asked).toEqual([])
    expect((await run(['rollback', 'shop', '--yes'], { fetch })).code).toBe(2)
  })

  test('are listed', async () => {
    const failed = { ...JOB, state: 'failed', error: { code: 'internal', message: 'oh' } }
    const { fetch } = answering({ '/v1/jobs': { items: [DONE, failed], nextCursor: null } })
    const ran = await run(['jobs'], { fetch })
    expect(ran.out).toMatch(/done[\s\S]*failed[\s\S]*internal: oh[\s\S]*\(2 rows\)/)
  })
})
