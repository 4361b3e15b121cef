import { expect, test } from 'vitest'
import { Backlog } from '../src/backlog.ts'
import { systemClock } from '../src/clock.ts'

test('a backlog is behind until it was at the end of its log, and again when it is not for some seconds', () => {
  const { backlog, read, wait } = reading()
  expect(backlog.isBehind).toBe(true)
  // What has gathered, in steps of a thousand.
  for (let at = 1_000; at <= 20_000; at += 1_000) {
    read(at, 25_000)
    expect(backlog.isBehind, `at ${at}`).toBe(true)
    wait(100)
  }
  read(24_000, 25_000)
  expect(backlog.isBehind).toBe(false)
  // A burst is no backlog while it is short.
  for (let at = 25_000, waitedMs = 0; waitedMs < 5_000; at += 100, waitedMs += 500) {
    read(at, 99_000)
    expect(backlog.isBehind, `after ${waitedMs} ms`).toBe(false)
    wait(500)
  }
  read(26_000, 99_000)
  expect(backlog.isBehind).toBe(true)
})

test('a partition that comes in as fast as it is read is not behind', () => {
  const { backlog, read, wait } = reading()
  read(0, 400)
  for (let at = 400; at < 40_000; at += 400) {
    wait(300)
    // What came while these were encoded.
    read(at, at + 350)
    expect(backlog.isBehind, `at ${at}`).toBe(false)
  }
})

test('a partition that stands still takes nothing, however much is left of it', () => {
  const { backlog, read, wait } = reading()
  read(1_000, 90_000)
  wait(4_900)
  expect(backlog.isBehind).toBe(true)
  wait(200)
  expect(backlog.isBehind).toBe(false)
})

function reading(): { backlog: Backlog; read(position: number, end: number): void; wait(ms: number): void } {
  let nowMs = 1_000
  const backlog = new Backlog({ ...systemClock, monotonicMs: () => nowMs })
  const read = (position: number, end: number) =>
    backlog.observe({
      kind: 'progress',
      pipeline: 'shop',
      partition: 'orders/0',
      position: BigInt(position),
      end: BigInt(end),
    })
  return { backlog, read, wait: (ms) => (nowMs += ms) }
}
