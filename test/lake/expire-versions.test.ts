import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  expireVersions,
  planVersionExpiry,
  readableVersions,
  versionFiles,
  type VersionFile,
} from '../../src/lake/expire-versions.ts'
import { MemoryStorage } from '../../src/lake/storage/memory.ts'
import { InstantClock } from '../support/instant-clock.ts'

const MINUTE_MS = 60_000
const HOUR_MS = 60 * MINUTE_MS
const DAY_MS = 24 * HOUR_MS
const START_MS = Date.UTC(2026, 0, 1)

function chainOf(timesMs: readonly number[], chain = 'pipelines/shop/'): VersionFile[] {
  return timesMs.map((modifiedMs, index) => {
    const number = BigInt(index + 1)
    return { key: `${chain}v${String(number).padStart(16, '0')}.json`, chain, number, modifiedMs }
  })
}

const every = (stepMs: number, untilMs: number): number[] =>
  Array.from({ length: Math.floor(untilMs / stepMs) }, (_, index) => START_MS + index * stepMs)

const chains = fc
  .array(fc.integer({ min: 1, max: 3 * HOUR_MS }), { minLength: 1, maxLength: 300 })
  .map((steps) => chainOf(steps.map((_, index) => START_MS + steps.slice(0, index + 1).reduce((a, b) => a + b))))

describe('planVersionExpiry', () => {
  test('keeps a day, then the last of each hour for a month', () => {
    const files = chainOf(every(10 * MINUTE_MS, 40 * DAY_MS))
    const nowMs = START_MS + 40 * DAY_MS
    const expired = new Set(planVersionExpiry(files, nowMs))
    const kept = files.filter((file) => !expired.has(file))
    expect(kept.filter(({ modifiedMs }) => nowMs - modifiedMs < DAY_MS)).toHaveLength(24 * 6 - 1)
    const hourly = kept.filter(({ modifiedMs }) => nowMs - modifiedMs >= DAY_MS)
    expect(hourly.length).toBe(29 * 24)
    expect(hourly.every(({ modifiedMs }) => modifiedMs % HOUR_MS === 50 * MINUTE_MS)).toBe(true)
  })

  test('of each chain the newest two stay, however old, and everything younger than a day', () => {
    fc.assert(
      fc.property(chains, fc.integer({ min: 0, max: 60 * DAY_MS }), (files, laterMs) => {
        const fork = chainOf([START_MS, START_MS + 1, START_MS + 2], 'pipelines/shop/forks/a/')
        const nowMs = files.at(-1)!.modifiedMs + laterMs
        const expired = planVersionExpiry([...fork, ...files], nowMs)
        for (const file of [...files.slice(-2), ...fork.slice(-2)]) expect(expired).not.toContain(file)
        for (const { modifiedMs } of expired) expect(nowMs - modifiedMs).toBeGreaterThanOrEqual(DAY_MS)
        // Thinning what was thinned out takes no more than time does.
        const rest = files.filter((file) => !expired.includes(file))
        expect(planVersionExpiry(rest, nowMs)).toEqual([])
      }),
      { numRuns: 50 },
    )
  })
})

test('what a tag holds is kept and readable, however old, until the tag is over', () => {
  fc.assert(
    fc.property(
      chains,
      fc.nat(),
      fc.integer({ min: 0, max: 60 * DAY_MS }),
      fc.boolean(),
      (files, at, laterMs, isHeld) => {
        const nowMs = files.at(-1)!.modifiedMs + laterMs
        const index = at % files.length
        const held = { ...files[index]!, heldUntilMs: isHeld ? nowMs + 1 : nowMs }
        const all = files.with(index, held)
        expect(planVersionExpiry(all, nowMs).includes(held)).toBe(
          !isHeld && planVersionExpiry(files, nowMs).includes(files[index]!),
        )
        expect(readableVersions(all, nowMs).includes(held)).toBe(
          isHeld || readableVersions(files, nowMs).includes(files[index]!),
        )
      },
    ),
    { numRuns: 50 },
  )
})

describe('readableVersions', () => {
  test('all of an hour, one a minute of a day, never less than two', () => {
    const files = chainOf(every(10_000, 2 * DAY_MS))
    const nowMs = START_MS + 2 * DAY_MS
    const readable = readableVersions(files, nowMs)
    expect(readable.filter(({ modifiedMs }) => nowMs - modifiedMs < HOUR_MS)).toHaveLength(359)
    expect(readable.filter(({ modifiedMs }) => nowMs - modifiedMs >= HOUR_MS)).toHaveLength(23 * 60)
    expect(readableVersions(files, nowMs + 9 * DAY_MS)).toEqual(files.slice(-2))
  })

  test('what is no longer readable never is again, and what is readable is kept', () => {
    const step = fc.tuple(fc.integer({ min: 0, max: 3 * HOUR_MS }), fc.integer({ min: 0, max: 5 }))
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        let [nowMs, times] = [START_MS, [START_MS]]
        const gone = new Set<string>()
        for (const [waitMs, commits] of steps) {
          nowMs += waitMs
          times = [...times, ...Array.from({ length: commits }, () => (nowMs += 7_000))]
          const files = chainOf(times)
          const readable = readableVersions(files, nowMs)
          const expired = new Set(planVersionExpiry(files, nowMs).map(({ key }) => key))
          for (const { key } of readable) {
            expect(gone.has(key)).toBe(false)
            expect(expired.has(key)).toBe(false)
          }
          const names = new Set(readable.map(({ key }) => key))
          for (const { key } of files) if (!names.has(key)) gone.add(key)
        }
      }),
      { numRuns: 100 },
    )
  })
})

test('expireVersions goes by the clock of the store, and takes no more than it may', async () => {
  const storeClock = new InstantClock()
  const storage = new MemoryStorage('expire', storeClock)
  for (let number = 1; number <= 50; number++) {
    await storage.put(`pipelines/shop/v${String(number).padStart(16, '0')}.json`, Buffer.from('{}'))
    storeClock.advance(MINUTE_MS)
  }
  await storage.put('pipelines/shop/head', Buffer.from('50'))
  await storage.put('pipelines/other/v0000000000000001.json', Buffer.from('{}'))
  const ours = new InstantClock()
  ours.advance(90 * DAY_MS)
  expect(await expireVersions(storage, 'shop', ours, 100)).toBe(0)
  storeClock.advance(2 * DAY_MS)
  expect(await expireVersions(storage, 'shop', ours, 40)).toBe(40)
  expect(await expireVersions(storage, 'shop', ours, 40)).toBe(8)
  expect((await versionFiles(storage, 'shop')).map(({ number }) => number)).toEqual([49n, 50n])
  expect(await storage.head('pipelines/shop/head')).toBeDefined()
  expect(await storage.head('pipelines/other/v0000000000000001.json')).toBeDefined()
})
