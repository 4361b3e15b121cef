import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Lanes } from '../../src/ingest/pipeline.ts'
import type { PartitionId } from '../../src/log.ts'
import { REPLAY, type ReplayDifference, type ReplayOrder } from '../../src/replay-status.ts'
import { Progress } from '../../src/replay/progress.ts'
import { limited } from '../../src/replay/rate-limit.ts'
import { Readiness } from '../../src/replay/readiness.ts'
import { wantedOf } from '../../src/replay/record.ts'
import { InstantClock } from '../support/instant-clock.ts'

const at = (...offsets: readonly bigint[]) =>
  new Map(offsets.map((offset, partition): [PartitionId, bigint] => [`orders/${partition}`, offset]))

describe('progress', () => {
  test('done reaches total, percent never falls, and is 100 only when all is rebuilt', () => {
    const moves = fc.array(fc.tuple(fc.nat({ max: 1 }), fc.bigInt({ min: 0n, max: 40n })), { maxLength: 20 })
    fc.assert(
      fc.property(moves, (list) => {
        const clock = new InstantClock()
        const [from, until] = [at(5n, 0n), at(20n, 30n)]
        const progress = new Progress(clock, { from, until })
        let percent = 0
        for (const [partition, position] of list) {
          progress.saw(`orders/${partition}`, position, 100n)
          clock.advance(700)
          const now = progress.at('rebuilding', false)
          expect(now.total).toBe('45')
          expect(BigInt(now.done)).toBeLessThanOrEqual(45n)
          expect(now.percent).toBeGreaterThanOrEqual(percent)
          expect(now.percent).toBeLessThan(100)
          percent = now.percent
        }
        progress.stands(until)
        expect(progress.at('rebuilding', false)).toMatchObject({ done: '45', percent: 99.9, lag: null })
        expect(progress.at('verifying', false)).toMatchObject({ percent: 100, etaSeconds: null })
      }),
      { numRuns: 50 },
    )
  })

  test('the rate is that of the last half minute, and says when it will be done', () => {
    const clock = new InstantClock()
    const progress = new Progress(clock, { from: at(0n), until: at(1_000n) })
    expect(progress.at('rebuilding', false)).toMatchObject({ ratePerSecond: null, etaSeconds: null })
    for (let position = 0n; position <= 600n; position += 10n) {
      progress.saw('orders/0', position, 1_200n)
      progress.at('rebuilding', false)
      if (position < 600n) clock.advance(1_000)
    }
    expect(progress.at('rebuilding', false)).toMatchObject({ ratePerSecond: 10, etaSeconds: 40 })
    // A pause is no part of it.
    progress.at('rebuilding', true)
    clock.advance(10_000)
    expect(progress.at('rebuilding', true)).toMatchObject({ isPaused: true, etaSeconds: null })
    progress.stands(at(1_000n))
    expect(progress.at('catching-up', false).lag).toBe('200')
  })

  test('what was told before is not taken back by another process', () => {
    const progress = new Progress(new InstantClock(), { from: at(0n), until: at(100n) }, 70)
    expect(progress.at('rebuilding', false)).toMatchObject({ done: '0', percent: 70 })
  })
})

test('a fork is ready where the main chain stood five seconds ago at most', () => {
  const clock = new InstantClock()
  const readiness = new Readiness(clock)
  expect(readiness.isReady(at(100n))).toBe(false)
  readiness.saw(at(10n, 5n))
  clock.advance(4_000)
  readiness.saw(at(20n, 5n))
  expect(readiness.isReady(at(9n, 5n))).toBe(false)
  expect(readiness.isReady(at(10n, 5n))).toBe(true)
  // A partition that is no business of the fork holds nothing up.
  expect(readiness.isReady(at(10n))).toBe(true)
  clock.advance(2_000)
  readiness.saw(at(30n, 5n))
  expect(readiness.isReady(at(10n, 5n))).toBe(false)
  expect(readiness.isReady(at(20n, 5n))).toBe(true)
})

test('a limit is kept on average, whatever the batches', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.integer({ min: 1, max: 500 }), { minLength: 5, maxLength: 40 }),
      fc.integer({ min: 50, max: 1_000 }),
      async (batches, rate) => {
        const clock = new InstantClock()
        const left = [...batches]
        const next = () => Promise.resolve({ kind: 'staged', staged: { records: left.shift()! } })
        const lanes = limited({ next } as unknown as Lanes, rate, clock)
        let records = 0
        while (left.length > 0) {
          const before = clock.monotonicMs()
          const answer = await lanes.next(100)
          expect(clock.monotonicMs() - before).toBeLessThanOrEqual(101)
          if (answer.kind !== 'staged') continue
          // The first batch comes at once; each after it when those before are paid for.
          expect(records).toBeLessThanOrEqual((clock.monotonicMs() * rate) / 1_000 + 1e-3)
          records += answer.staged.records
        }
      },
    ),
    { numRuns: 30 },
  )
  const lanes = {} as Lanes
  expect(limited(lanes, null, new InstantClock())).toBe(lanes)
})

test('what is wanted follows from all orders together', () => {
  const request = (change: Partial<typeof REPLAY> = {}) =>
    ({ kind: 'replay', pipeline: 'shop', options: { ...REPLAY, ...change }, codes: {} }) as const
  const [equal, different] = [true, false].map((isEqual) => ({ id: 'd', isEqual }) as ReplayDifference)
  const wanted = (orders: readonly ReplayOrder[], difference = different, change: Partial<typeof REPLAY> = {}) =>
    wantedOf(orders, request(change), difference)
  const [pause, resume, cancel] = (['pause', 'resume', 'cancel'] as const).map((kind) => ({ kind }))
  const cutover = (approve: string | null) => ({ kind: 'cutover', approve }) as const
  expect(wanted([])).toEqual({ isPaused: false, isCancelled: false, isCutover: false })
  expect(wanted([pause!, resume!, pause!]).isPaused).toBe(true)
  expect(wanted([pause!, resume!]).isPaused).toBe(false)
  expect(wanted([cancel!, resume!]).isCancelled).toBe(true)
  expect(wanted([cutover(null)]).isCutover).toBe(false)
  expect(wanted([cutover('of another')]).isCutover).toBe(false)
  expect(wanted([cutover('d')]).isCutover).toBe(true)
  expect(wanted([cutover(null)], equal).isCutover).toBe(true)
  expect(wanted([], equal, { autoCutover: 'ifEqual' }).isCutover).toBe(true)
  expect(wanted([], different, { autoCutover: 'ifEqual' }).isCutover).toBe(false)
  expect(wanted([], different, { autoCutover: 'always' }).isCutover).toBe(true)
  expect(wanted([cutover('d')], equal, { mode: 'verify', autoCutover: 'always' }).isCutover).toBe(false)
  expect(wantedOf([cutover(null)], request({ autoCutover: 'always' }), undefined).isCutover).toBe(false)
})
