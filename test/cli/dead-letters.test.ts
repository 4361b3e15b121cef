import { describe, expect, test } from 'vitest'
import { InstantClock } from '../support/instant-clock.ts'
import { answering, run } from './support.ts'

const LETTER = {
  table: 'orders',
  topic: 'shop.orders',
  partition: 0,
  offset: '41',
  timestamp: '2026-01-01T00:00:00.000000Z',
  clock: null,
  key: Buffer.from('k1').toString('base64'),
  value: Buffer.from('{"amount": "much"}').toString('base64'),
  headers: [{ key: 'trace', value: Buffer.from([0, 255]).toString('base64') }],
  stage: 'decode',
  code: 'decode.type',
  message: 'amount at 11: text',
  codeHash: 'abc',
  status: 'pending',
  attempts: 2,
}
const PAGE = { items: [LETTER], nextCursor: null }
const JOB = {
  id: 'a1',
  kind: 'retry',
  pipeline: 'shop',
  table: null,
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

describe('dlq', () => {
  test('lists what is pending, without the bytes', async () => {
    const { fetch, asked } = answering({ '/v1/dlq/shop': PAGE })
    const ran = await run(['dlq', 'list', 'shop', '--code', 'decode.type', '--partition', '0'], { fetch })
    expect(ran).toMatchObject({ code: 0, err: '' })
    expect(ran.out).toMatch(/orders +shop\.orders\/0@41 +pending +2 +decode\.type +amount at 11: text[\s\S]*\(1 row\)/)
    const { searchParams } = new URL(asked[0]!.url)
    expect(Object.fromEntries(searchParams)).toEqual({
      code: 'decode.type',
      partition: '0',
      status: 'pending',
      bytes: 'none',
      limit: '100',
    })
  })

  test('lists all of them for programs, with the bytes', async () => {
    const { fetch, asked } = answering({ '/v1/dlq/shop': PAGE })
    const ran = await run(['dlq', 'list', 'shop', '--status', 'all', '-o', 'ndjson'], { fetch })
    expect(JSON.parse(ran.out)).toMatchObject(LETTER)
    expect(Object.fromEntries(new URL(asked[0]!.url).searchParams)).toEqual({ limit: '100' })
  })

  test('shows one, text as text', async () => {
    const { fetch, asked } = answering({ '/v1/dlq/shop': PAGE })
    const ran = await run(['dlq', 'show', 'shop', 'shop.orders/0@41'], { fetch })
    expect(ran.out).toContain('value      {"amount": "much"}')
    expect(ran.out).toContain('header     trace: base64 AP8=')
    expect(Object.fromEntries(new URL(asked[0]!.url).searchParams)).toMatchObject({ from: '41', until: '42' })
    const none = await run(['dlq', 'show', 'shop', 'other/0@41'], { fetch })
    expect([none.code, none.err]).toEqual([1, expect.stringContaining('no dead letter')])
    expect((await run(['dlq', 'show', 'shop', '41'], { fetch })).err).toContain('topic/partition@offset')
  })

  test.each([
    [['retry', 'shop'], { where: {} }],
    [
      ['retry', 'shop', '--table', 'orders', '--from', '1', '--until', '9', '--limit', '5', '--dry-run'],
      { where: { table: 'orders', from: '1', until: '9' }, limit: 5, dryRun: true },
    ],
    [['discard', 'shop', '--stage', 'transform', '--partition', '3'], { where: { stage: 'transform', partition: 3 } }],
  ])('%j asks for a job, and waits', async (args, body) => {
    const kind = args[0]!
    const result = { resolved: 3, stale: 1, failed: 2, undecided: 1, discarded: 7, dryRun: args.includes('--dry-run') }
    const done = { ...JOB, kind, state: 'done', result }
    const { fetch, asked } = answering({ [`/v1/dlq/shop/${kind}`]: { ...JOB, kind }, '/v1/jobs/a1': done })
    const ran = await run(['dlq', ...args], { fetch, clock })
    expect(ran).toMatchObject({ code: 0, err: '' })
    expect(asked[0]!.body).toEqual(body)
    expect(ran.out).toContain(kind === 'retry' ? '3 resolved (1 stale), 2 failed again, 1 undecided' : 'discarded 7')
    expect(ran.out.includes('would be: ')).toBe(result.dryRun)
  })
})
