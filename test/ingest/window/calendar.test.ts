import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { CalendarUnit } from '../../../src/define-window.ts'
import {
  boundariesBetween,
  calendarWindowOf,
  calendarWindowsBetween,
  type CalendarKind,
} from '../../../src/ingest/window/calendar.ts'
import { windowsOf } from '../../../src/ingest/window/kinds.ts'

const MINUTE = 60_000
const HOUR = 60 * MINUTE
const DAY = 24 * HOUR
const ZONES = [
  'Europe/Berlin',
  'America/Sao_Paulo',
  'Asia/Kathmandu',
  'Pacific/Apia',
  'Australia/Lord_Howe',
  'Africa/Casablanca',
  'UTC',
]

const unit = (unit: CalendarUnit, timeZone: string): CalendarKind => ({ kind: 'calendar', unit, timeZone })
const size = (sizeMs: number, timeZone: string, offsetMs = 0): CalendarKind => ({
  kind: 'tumbling',
  sizeMs,
  offsetMs,
  timeZone,
})
const at = (text: string): number => Date.parse(text)

/** The window of an instant, in ISO 8601. */
function shown(kind: CalendarKind, instant: string): string[] {
  const { startMs, endMs } = calendarWindowOf(kind, at(instant))
  return [startMs, endMs].map((ms) => new Date(ms).toISOString().replace(/:00\.000Z$/, 'Z'))
}

describe('W5: boundaries are local times turned into instants', () => {
  test.each([
    [
      'the clock is set back: 25 hours',
      'day',
      'Europe/Berlin',
      '2026-10-25T12:00Z',
      '2026-10-24T22:00Z',
      '2026-10-25T23:00Z',
    ],
    [
      'the clock is set forward: 23 hours',
      'day',
      'Europe/Berlin',
      '2026-03-29T12:00Z',
      '2026-03-28T23:00Z',
      '2026-03-29T22:00Z',
    ],
    [
      'midnight does not exist',
      'day',
      'America/Sao_Paulo',
      '2018-11-04T12:00Z',
      '2018-11-04T03:00Z',
      '2018-11-05T02:00Z',
    ],
    [
      'the hour before midnight occurs twice',
      'day',
      'America/Sao_Paulo',
      '2018-02-18T02:30Z',
      '2018-02-17T02:00Z',
      '2018-02-18T03:00Z',
    ],
    ['midnight occurs twice', 'day', 'America/Havana', '2026-11-01T05:00Z', '2026-11-01T04:00Z', '2026-11-02T05:00Z'],
    ['a day that does not exist', 'day', 'Pacific/Apia', '2011-12-30T10:00Z', '2011-12-30T10:00Z', '2011-12-31T10:00Z'],
    ['the day before it', 'day', 'Pacific/Apia', '2011-12-30T09:59Z', '2011-12-29T10:00Z', '2011-12-30T10:00Z'],
    ['half an hour', 'day', 'Australia/Lord_Howe', '2026-04-05T00:00Z', '2026-04-04T13:00Z', '2026-04-05T13:30Z'],
    ['a week of ISO 8601', 'week', 'Europe/Berlin', '2027-01-01T00:00Z', '2026-12-27T23:00Z', '2027-01-03T23:00Z'],
    ['Sunday is its last day', 'week', 'Asia/Kathmandu', '2026-11-22T18:14Z', '2026-11-15T18:15Z', '2026-11-22T18:15Z'],
    ['a month', 'month', 'Europe/Berlin', '2024-02-29T22:59Z', '2024-01-31T23:00Z', '2024-02-29T23:00Z'],
    ['a quarter', 'quarter', 'Europe/Berlin', '2026-05-15T00:00Z', '2026-03-31T22:00Z', '2026-06-30T22:00Z'],
    ['a year', 'year', 'Europe/Berlin', '1969-12-31T23:30Z', '1969-12-31T23:00Z', '1970-12-31T23:00Z'],
    ['a year before 1970', 'year', 'UTC', '1969-12-31T23:30Z', '1969-01-01T00:00Z', '1970-01-01T00:00Z'],
    [
      'February of a century without leap day',
      'month',
      'UTC',
      '1900-02-28T23:30Z',
      '1900-02-01T00:00Z',
      '1900-03-01T00:00Z',
    ],
  ] as const)('%s', (_, name, zone, instant, start, end) => {
    expect(shown(unit(name, zone), instant)).toEqual([start, end])
  })

  test.each([
    ['30 min, second local 02:10', 30, '2026-10-25T01:10Z', '2026-10-25T00:30Z', '2026-10-25T02:00Z'],
    ['30 min, first local 02:10', 30, '2026-10-25T00:10Z', '2026-10-25T00:00Z', '2026-10-25T00:30Z'],
    ['1 h, the hour that is repeated', 60, '2026-10-25T01:10Z', '2026-10-25T00:00Z', '2026-10-25T02:00Z'],
    ['1 h before the hour that is skipped', 60, '2026-03-29T00:59Z', '2026-03-29T00:00Z', '2026-03-29T01:00Z'],
    ['1 h after it', 60, '2026-03-29T01:00Z', '2026-03-29T01:00Z', '2026-03-29T02:00Z'],
    ['4 h, of which one is skipped', 240, '2026-03-29T00:00Z', '2026-03-28T23:00Z', '2026-03-29T02:00Z'],
  ])('a size in Berlin: %s', (_, minutes, instant, start, end) => {
    expect(shown(size(minutes * MINUTE, 'Europe/Berlin'), instant)).toEqual([start, end])
  })

  test('an offset moves boundaries on the wall clock: days that begin at six', () => {
    const days = size(DAY, 'Europe/Berlin', 6 * HOUR)
    expect(shown(days, '2026-10-25T04:59Z')).toEqual(['2026-10-24T04:00Z', '2026-10-25T05:00Z'])
  })

  test('days of a year in Berlin: 365, two of which are not of 24 hours', () => {
    const days = calendarWindowsBetween(unit('day', 'Europe/Berlin'), at('2025-12-31T23:00Z'), at('2026-12-31T23:00Z'))
    const hours = days.map(({ startMs, endMs }) => (endMs - startMs) / HOUR)
    expect([days.length, hours.filter((each) => each !== 24)]).toEqual([365, [23, 25]])
  })

  test('the hour that is skipped collapses: no window is empty', () => {
    const hours = boundariesBetween(size(HOUR, 'Europe/Berlin'), at('2026-03-28T23:00Z'), at('2026-03-29T22:00Z'))
    expect(hours).toEqual(Array.from({ length: 23 }, (_, k) => at('2026-03-28T23:00Z') + k * HOUR))
  })

  test('a day that does not exist collapses at once, whatever number of windows it had', () => {
    const milliseconds = size(1, 'Pacific/Apia')
    const jump = at('2011-12-30T10:00Z')
    expect(boundariesBetween(milliseconds, jump - 2, jump + 2)).toEqual([jump - 2, jump - 1, jump, jump + 1])
  })

  test('at both ends of time', () => {
    const first = calendarWindowOf(unit('year', 'Europe/Berlin'), -8.64e15)
    const last = calendarWindowOf(unit('year', 'Europe/Berlin'), 8.64e15)
    expect([first.startMs <= -8.64e15, first.endMs > -8.64e15]).toEqual([true, true])
    expect([last.startMs <= 8.64e15, last.endMs > 8.64e15]).toEqual([true, true])
    expect(last.endMs - last.startMs).toBe(366 * DAY)
  })
})

const zones = fc.constantFrom(...ZONES)
const kinds = zones.chain((zone) =>
  fc.oneof(
    fc.constantFrom('day', 'week', 'month', 'quarter', 'year').map((name) => unit(name as CalendarUnit, zone)),
    fc
      .tuple(fc.constantFrom(15, 30, 45, 60, 90, 240, 720, 1440, 10_080), fc.double({ min: -1, max: 1, noNaN: true }))
      .map(([minutes, share]) => size(minutes * MINUTE, zone, Math.trunc(share * minutes) * MINUTE)),
  ),
)
const instants = fc.oneof(
  fc.integer({ min: at('1900-01-01'), max: at('2100-01-01') }),
  fc.integer({ min: -8.64e15, max: 8.64e15 }),
  // Around jumps.
  fc
    .tuple(
      fc.constantFrom(
        '2011-12-30T10:00Z',
        '2026-10-25T01:00Z',
        '2018-02-18T02:00Z',
        '1986-01-01T00:00Z',
        '2026-02-15T02:00Z',
        '2026-04-04T15:00Z',
      ),
      fc.integer({ min: -3 * DAY, max: 3 * DAY }),
    )
    .map(([jump, ms]) => at(jump) + ms),
)

describe('properties of W5', () => {
  test('an instant lies in its window, whose neighbours touch it', () => {
    fc.assert(
      fc.property(kinds, instants, (kind, ms) => {
        const window = calendarWindowOf(kind, ms)
        expect(window.startMs <= ms && ms < window.endMs).toBe(true)
        expect(calendarWindowOf(kind, window.startMs)).toEqual(window)
        expect(calendarWindowOf(kind, window.endMs - 1)).toEqual(window)
        expect(calendarWindowOf(kind, window.endMs).startMs).toBe(window.endMs)
        expect(calendarWindowOf(kind, window.startMs - 1).endMs).toBe(window.startMs)
        expect(windowsOf(kind, ms)).toEqual([window])
      }),
      { numRuns: 3000 },
    )
  })

  test('boundaries between two instants are those of the windows, without overlap or hole', () => {
    fc.assert(
      fc.property(kinds, instants, fc.integer({ min: 1, max: 400 * DAY }), (kind, fromMs, lengthMs) => {
        const untilMs = fromMs + (kind.kind === 'tumbling' ? Math.min(lengthMs, 200 * kind.sizeMs) : lengthMs)
        const expected: number[] = []
        let boundary = calendarWindowOf(kind, fromMs - 1).endMs
        for (; boundary < untilMs; boundary = calendarWindowOf(kind, boundary).endMs) expected.push(boundary)
        expect(boundariesBetween(kind, fromMs, untilMs)).toEqual(expected)
        const windows = calendarWindowsBetween(kind, fromMs, untilMs)
        expect(windows.map(({ startMs }) => startMs)).toEqual([
          ...(expected[0] === fromMs ? [] : [calendarWindowOf(kind, fromMs).startMs]),
          ...expected,
        ])
      }),
      { numRuns: 300 },
    )
  })

  // The runtime's own calendar, walked in steps of a quarter of an hour: since 1972 no clock jumps at another instant.
  test.each(ZONES)('a day begins when a date is shown for the first time: %s', (zone) => {
    const format = new Intl.DateTimeFormat('en-CA', {
      timeZone: zone,
      year: 'numeric',
      month: '2-digit',
      day: '2-digit',
    })
    fc.assert(
      fc.property(
        fc.oneof(
          instants.filter((ms) => ms > at('1987-01-01') && ms < at('2100-01-01')),
          fc.constantFrom(at('2011-12-28')),
        ),
        (ms) => {
          const fromMs = Math.floor(ms / (15 * MINUTE)) * 15 * MINUTE
          const untilMs = fromMs + 4 * DAY
          const expected: number[] = []
          let latest = format.format(fromMs - 1)
          for (let t = fromMs - 2 * DAY; t < untilMs; t += 15 * MINUTE) {
            const date = format.format(t)
            if (date <= latest) continue
            if (t >= fromMs) expected.push(t)
            latest = date
          }
          expect(boundariesBetween(unit('day', zone), fromMs, untilMs)).toEqual(expected)
        },
      ),
      { numRuns: 40 },
    )
  })

  test('a clock that was set forward for one week only', () => {
    const days = boundariesBetween(unit('day', 'America/Recife'), at('2000-10-07T00:00Z'), at('2000-10-17T00:00Z'))
    const hours = days.slice(1).map((boundary, k) => (boundary - days[k]!) / HOUR)
    expect(hours).toEqual([24, 23, 24, 24, 24, 24, 24, 25, 24])
  })

  test('rules of far years are those of the cycle: what the runtime says', () => {
    const format = new Intl.DateTimeFormat('en-US', { timeZone: 'Europe/Berlin', hour: 'numeric', hourCycle: 'h23' })
    fc.assert(
      fc.property(fc.integer({ min: at('2100-01-01'), max: 8.64e15 - DAY }), (ms) => {
        const { startMs } = calendarWindowOf(unit('day', 'Europe/Berlin'), ms)
        expect(format.format(startMs)).toBe('00')
      }),
      // The rules of today begin in 1996: what takes those of earlier years for a cycle is wrong in few of its years.
      { numRuns: 1000 },
    )
  })

  test('every hour of ten years', () => {
    // In ten of 87,672 hours the wall clock shows once more what it showed in the hour before.
    const hours = boundariesBetween(size(HOUR, 'Europe/Berlin'), at('2020-01-01'), at('2030-01-01'))
    expect(hours.length).toBe(87_672 - 10)
  })
})
