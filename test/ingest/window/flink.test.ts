import { describe, expect, test } from 'vitest'
import type { WindowKind } from '../../../src/define-window.ts'
import { sliceOf, windowsOf } from '../../../src/ingest/window/kinds.ts'

/**
 * Numbers that Apache Flink publishes as facts about its own assigners, in the tests that each table names. Where this
 * house differs (section 20) a test below says in what.
 */
interface Vector {
  readonly kind: WindowKind
  readonly eventMs: number
  /** [start, end) of every window. */
  readonly windows: readonly (readonly [number, number])[]
}

/** `count` windows of one size from `startMs` on, one every `slideMs`. */
const run = (startMs: number, sizeMs: number, slideMs: number, count: number): [number, number][] =>
  Array.from({ length: count }, (_, k) => [startMs + k * slideMs, startMs + k * slideMs + sizeMs])
const tumbling = (eventMs: number, offsetMs: number, startMs: number): Vector => ({
  kind: { kind: 'tumbling', sizeMs: 5000, offsetMs },
  eventMs,
  windows: [[startMs, startMs + 5000]],
})
const sliding = (eventMs: number, offsetMs: number, startMs: number): Vector => ({
  kind: { kind: 'hopping', sizeMs: 5000, slideMs: 1000, offsetMs },
  eventMs,
  windows: run(startMs, 5000, 1000, 5),
})
const cumulative = (eventMs: number, offsetMs: number, startMs: number, ends: readonly number[]): Vector => ({
  kind: { kind: 'cumulate', stepMs: 1000, maxMs: 5000, offsetMs },
  eventMs,
  windows: ends.map((endMs) => [startMs, endMs]),
})
const session = (eventMs: number): Vector => ({
  kind: { kind: 'session', gapMs: 5000 },
  eventMs,
  windows: [[eventMs, eventMs + 5000]],
})

const VECTORS: Record<string, readonly Vector[]> = {
  TumblingEventTimeWindowsTest: [
    tumbling(0, 0, 0),
    tumbling(4999, 0, 0),
    tumbling(5000, 0, 5000),
    tumbling(100, 100, 100),
    tumbling(5099, 100, 100),
    tumbling(5100, 100, 5100),
    tumbling(0, -100, -100),
    tumbling(4899, -100, -100),
    tumbling(4900, -100, 4900),
    tumbling(1000, 1000, 1000),
    tumbling(5999, 1000, 1000),
    tumbling(6000, 1000, 6000),
  ],
  SlidingEventTimeWindowsTest: [
    sliding(0, 0, -4000),
    sliding(4999, 0, 0),
    sliding(5000, 0, 1000),
    sliding(100, 100, -3900),
    sliding(5099, 100, 100),
    sliding(5100, 100, 1100),
    sliding(0, -100, -4100),
    sliding(4899, -100, -100),
    sliding(4900, -100, 900),
    sliding(100, 500, -4500),
    sliding(5499, 500, 500),
    sliding(5100, 500, 500),
  ],
  CumulativeWindowAssignerTest: [
    cumulative(0, 0, 0, [1000, 2000, 3000, 4000, 5000]),
    cumulative(4999, 0, 0, [5000]),
    cumulative(5000, 0, 5000, [6000, 7000, 8000, 9000, 10_000]),
    cumulative(100, 100, 100, [1100, 2100, 3100, 4100, 5100]),
    cumulative(5099, 100, 100, [5100]),
    cumulative(5100, 100, 5100, [6100, 7100, 8100, 9100, 10_100]),
  ],
  EventTimeSessionWindowsTest: [session(0), session(4999), session(5000)],
}

describe.each(Object.entries(VECTORS))('%s', (_, vectors) => {
  test.each(vectors)('$kind of $eventMs', ({ kind, eventMs, windows }) => {
    expect(windowsOf(kind, eventMs).map(({ startMs, endMs }) => [startMs, endMs])).toEqual(windows)
  })
})

test('panes of CumulativeWindowAssignerTest are slices of its steps', () => {
  const kind = { kind: 'hopping', sizeMs: 5000, slideMs: 1000, offsetMs: 0 } as const
  const panes = [0, 4999, 2000, 5000].map((eventMs) => sliceOf(kind, eventMs).startMs)
  expect(panes).toEqual([0, 4000, 2000, 5000])
})

/** On the day on which the clock in Berlin is set back. */
const at = (time: string): number => Date.parse(`2026-10-25T${time}:00Z`)

describe('section 20: where others differ', () => {
  test('negative times: Kafka Streams clamps a start at 0, here windows go on below it', () => {
    const kind: WindowKind = { kind: 'hopping', sizeMs: 10, slideMs: 5, offsetMs: 0 }
    expect(windowsOf(kind, 3)).toEqual([
      { startMs: -5, endMs: 5 },
      { startMs: 0, endMs: 10 },
    ])
  })

  test('a size that is no multiple of the slide: Flink SQL and Arroyo refuse it, here it has two or three windows', () => {
    const kind: WindowKind = { kind: 'hopping', sizeMs: 10, slideMs: 4, offsetMs: 0 }
    expect([8, 9, 10, 11].map((eventMs) => windowsOf(kind, eventMs).length)).toEqual([3, 3, 2, 2])
  })

  test('a repeated local hour: shifted timestamps make two interleaving pieces of a window, here it is one interval', () => {
    const kind: WindowKind = { kind: 'tumbling', sizeMs: 1_800_000, offsetMs: 0, timeZone: 'Europe/Berlin' }
    // 00:10 and 01:10 are both 02:10 on the wall clock. Shifted, they would share the window that begins at 02:00.
    expect(windowsOf(kind, at('00:10'))).toEqual([{ startMs: at('00:00'), endMs: at('00:30') }])
    expect(windowsOf(kind, at('01:10'))).toEqual([{ startMs: at('00:30'), endMs: at('02:00') }])
  })

  test('the end of a session: Kafka Streams and ksqlDB name the last event, inclusive, here it is a gap later, exclusive', () => {
    expect(windowsOf({ kind: 'session', gapMs: 10 }, 7)).toEqual([{ startMs: 7, endMs: 17 }])
  })
})
