import { beforeEach, describe, expect, test } from 'vitest'
import { systemClock } from '../src/clock.ts'
import { findReplay, startReplay, type Replay, type ReplayInput } from '../src/replay-handle.ts'
import type { ReplayOrder } from '../src/replay-status.ts'
import { FakeReplays } from './support/fake-replays.ts'

let replays: FakeReplays
beforeEach(() => void (replays = new FakeReplays()))

const start = (pipeline: string, input?: ReplayInput) => startReplay(replays, systemClock, pipeline, input)

const EQUAL = { id: 'e', isEqual: true }
const DIFFERENT = { id: 'd1ff0000', isEqual: false }

/** Goes through its phases, one for each turn of the event loop. */
async function live(replay: Replay, difference = EQUAL): Promise<void> {
  const turn = () => new Promise((done) => setImmediate(done))
  for (const phase of ['rebuilding', 'verifying', 'catching-up'] as const) {
    replays.phase(replay.id, phase)
    await turn()
  }
  replays.put({ id: replay.id, difference })
  await turn()
  replays.phase(replay.id, 'ready', { percent: 100 })
  await turn()
}

describe('a life', () => {
  test('from the start to the roll back', async () => {
    replays.onOrder = ({ id }, { kind }) => {
      if (kind === 'cutover') {
        replays.phase(id, 'cut-over')
        replays.put({ id, state: 'done', cutover: { version: '20', before: '19' } })
      }
      // It is over, and nobody is told of it any more.
      if (kind === 'rollback')
        setTimeout(() => {
          replays.phase(id, 'rolled-back')
          replays.put({ id, state: 'done' })
        }, 20)
    }
    const replay = await start('shop', { from: 'earliest' })
    const living = live(replay)
    const seen: string[] = []
    for await (const { phase } of replay.progress()) if (seen.at(-1) !== phase) seen.push(phase)
    expect(seen).toEqual(['rebuilding', 'verifying', 'catching-up', 'ready'])
    await living
    expect(await replay.difference()).toMatchObject({ isEmpty: true, isEqual: true, version: '12' })
    expect((await replay.cutOver()).cutover).toEqual({ version: '20', before: '19' })
    expect((await replay.rollBack()).progress?.phase).toBe('rolled-back')
    expect(replays.orders.map(({ order }) => order.kind)).toEqual(['cutover', 'rollback'])
    expect(replays.watching).toBe(0)
  })

  test('the difference is waited for, and must be approved', async () => {
    const replay = await start('shop')
    const waiting = replay.difference()
    await live(replay, DIFFERENT)
    const { isEmpty, id } = await waiting
    expect([isEmpty, id]).toEqual([false, 'd1ff0000'])
    await expect(replay.cutOver()).rejects.toMatchObject({ code: 'replay.diff_unapproved' })
    await expect(replay.cutOver({ approve: 'other' })).rejects.toMatchObject({ code: 'replay.diff_unapproved' })
    replays.onOrder = ({ id: of }) => void replays.phase(of, 'cut-over')
    expect((await replay.cutOver({ approve: id })).progress?.phase).toBe('cut-over')
  })

  test('one that fails says why, to everybody who waits', async () => {
    const replay = await start('shop')
    const seen = (async () => {
      for await (const _ of replay.progress());
    })()
    const waiting = [seen, replay.difference(), replay.cutOver()]
    replays.phase(replay.id, 'rebuilding')
    replays.put({
      id: replay.id,
      state: 'failed',
      error: { code: 'replay.offsets_expired', message: 'gone', fix: 'later' },
    })
    for (const each of waiting)
      await expect(each).rejects.toMatchObject({ code: 'replay.offsets_expired', message: 'gone', fix: 'later' })
  })

  test('a roll back that fails says why', async () => {
    const replay = await start('shop')
    replays.phase(replay.id, 'cut-over')
    replays.put({ id: replay.id, state: 'done' })
    const error = { code: 'rollback.offsets_expired', message: 'gone' }
    replays.onOrder = () => void replays.put({ id: replay.id, error })
    await expect(replay.rollBack()).rejects.toMatchObject(error)
  })

  test('who stops waiting leaves nothing behind', async () => {
    const replay = await start('shop')
    const stop = new AbortController()
    const waiting = replay.difference({ signal: stop.signal })
    stop.abort(new Error('enough'))
    await expect(waiting).rejects.toThrow('enough')
    expect(replays.watching).toBe(0)
  })

  test('is found again, and told what to do', async () => {
    const { id } = await start('shop')
    const found = await findReplay(replays, systemClock, id)
    for (const verb of ['pause', 'resume', 'cancel'] as const) await found[verb]()
    expect(replays.orders.map(({ order }): ReplayOrder['kind'] => order.kind)).toEqual(['pause', 'resume', 'cancel'])
    await expect(findReplay(replays, systemClock, 'x')).rejects.toMatchObject({ code: 'replay.unknown' })
  })
})

describe('input', () => {
  test('as a program has it', async () => {
    const table = { kind: 'table', name: 'orders' }
    await start('shop', {
      mode: 'range',
      tables: [table, 'customers'],
      from: { offsets: { 'shop.orders/0': 2n ** 62n, 'shop.orders/1': 4 } },
      to: { timestamp: new Date(1_000) },
      keepOld: '1d',
      idempotencyKey: 'key-key-key',
    })
    expect(replays.started).toEqual([
      {
        pipeline: 'shop',
        key: 'key-key-key',
        options: {
          mode: 'range',
          tables: ['orders', 'customers'],
          from: { kind: 'offsets', offsets: { 'shop.orders/0': '4611686018427387904', 'shop.orders/1': '4' } },
          to: { kind: 'timestamp', timestampMs: 1_000 },
          keepOldMs: 86_400_000,
        },
      },
    ])
  })

  test.each([
    [{ from: { offsets: { orders: 1 } } }],
    [{ from: { timestamp: 'yesterday' } }],
    [{ rateLimit: -1 }],
    [{ colour: 'red' } as object],
  ])('%j is refused', async (input) => {
    await expect(start('shop', input)).rejects.toMatchObject({ code: 'request.invalid' })
    expect(replays.started).toEqual([])
  })
})
