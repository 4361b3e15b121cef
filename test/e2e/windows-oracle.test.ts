import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { average, exactSum } from '../../infra/windows/exact.mjs'
import { recompute, type LogRecord } from '../../infra/windows/oracle.mjs'
import { SOURCES, WINDOWS } from '../../infra/windows/pipelines.mjs'
import { closing, records } from '../../infra/windows/stream.mjs'

// The proof itself: that the recomputation which judges a run says what the rules say.

const windowNamed = (name: string) => WINDOWS.find((window) => window.name === name)!
const DAY = Date.UTC(2026, 10, 21)
const at = (clock: string) => DAY + Date.parse(`1970-01-01T${clock}Z`)
const ALL = new Map([
  [0, Infinity],
  [1, Infinity],
])

const order = (order_id: string, customer_id: string, amount: number, clock: string, status: string) => ({
  key: order_id,
  value: JSON.stringify({ order_id, customer_id, amount, timestamp: at(clock), status }),
})

/** P1 on a small log: one day, L = 0. */
const P1 = new Map<number, readonly LogRecord[]>(
  [
    [
      order('A', 'c1', 0.1, '10:00:00', 'created'),
      order('B', 'c2', 5, '10:30:00', 'created'),
      order('A', 'c1', 0.3, '10:59:58', 'paid'),
      order('C', 'c1', 0.4, '11:00:04', 'created'),
      order('D', 'c1', 0.2, '10:59:59', 'cancelled'),
      order('B', 'c2', 6, '11:00:05', 'paid'),
      order('E', 'c2', 3, '10:59:59', 'created'),
      order('B', 'c2', 7, '11:00:06', 'paid'),
    ],
    [order('F', 'c3', 1, '10:15:00', 'created'), { key: 'F', value: null }],
  ].map((list, partition) => [partition, list.map((each, offset) => ({ offset, kts: DAY + 86_400_000, ...each }))]),
)

const brief = (name: string) => {
  const { rows, late } = recompute(windowNamed(name), SOURCES.orders, P1, ALL)
  return {
    rows: [...rows.values()]
      .map(({ group, start, values }) => [new Date(start).getUTCHours(), group, ...Object.values(values)])
      .toSorted((a, b) => (String(a) < String(b) ? -1 : 1)),
    late: late.map(({ partition, offset, windows, weight }) => [partition, offset, windows![0]![0] - DAY, weight]),
  }
}

describe('the recomputation of P1', () => {
  test('events: each record counts, and the sum is exact', () => {
    expect(brief('revenue')).toEqual({
      rows: [
        [10, 'c1', 3n, 0.6],
        [10, 'c2', 1n, 5],
        [10, 'c3', 1n, 1],
        [11, 'c1', 1n, 0.4],
        [11, 'c2', 2n, 13],
      ],
      // L2: 11:00:00 + 5 s ≤ 11:00:05. D, one offset after 11:00:04, is in time.
      late: [[0, 6, 10 * 3_600_000, 1]],
    })
    expect(brief('revenue_sql')).toEqual(brief('revenue'))
  })

  test('rows: what stands; an update and a tombstone take back', () => {
    expect(brief('revenue_rows').rows).toEqual([
      [10, 'c1', 2n, 0.5],
      [11, 'c1', 1n, 0.4],
      [11, 'c2', 1n, 7],
    ])
    expect(brief('revenue_rows').late).toEqual([[0, 6, 10 * 3_600_000, 1]])
  })
})

describe('lateness', () => {
  const load = windowNamed('sensor_load')
  const metric = (offset: number, timestamp: number | null, kts = 1e15): LogRecord => ({
    offset,
    kts,
    key: '',
    value: JSON.stringify({ sensor_id: 's', value: 1, timestamp }),
  })
  const MINUTE = 60_000

  test('a record is late for its oldest windows first (L3)', () => {
    // B is 5 s: at a clock of 12:05 the windows up to [2, 12) are closed.
    const log = new Map([[0, [metric(0, 12 * MINUTE + 5_000), metric(1, 10 * MINUTE)]]])
    const { late, rows } = recompute(load, SOURCES.metrics, log, ALL)
    expect(late[0]).toMatchObject({ counted: 8, reason: 'late' })
    expect(late[0]!.windows!.map(([, end]) => end / MINUTE)).toEqual([11, 12])
    expect([...rows.values()].filter(({ values }) => values['load'] === 2)).toHaveLength(8)
  })

  test('without event time it is listed, and an event of the future moves no clock (T3, C8)', () => {
    const log = new Map([[0, [metric(0, null), metric(1, 86_400_000, 0), metric(2, 10)]]])
    const { late, rows, clocks } = recompute(load, SOURCES.metrics, log, ALL)
    expect(late).toMatchObject([{ offset: 0, reason: 'null_event_time', clockMs: null, windows: null }])
    expect([rows.size, clocks.get(0)]).toEqual([20, 10])
  })

  test('nothing beyond a position counts', () => {
    expect(recompute(load, SOURCES.metrics, new Map([[0, [metric(0, 1)]]]), new Map([[0, 0]])).rows.size).toBe(0)
  })
})

describe('sums of doubles', () => {
  test('do not depend on the order', () => {
    expect([exactSum([0.1, 0.2, 0.3]), exactSum([0.3, 0.2, 0.1])]).toEqual([0.6, 0.6])
    expect(exactSum([1e16, 1, -1e16])).toBe(1)
    const cents = fc.array(fc.integer({ min: -1e7, max: 1e7 }), { minLength: 1, maxLength: 30 })
    fc.assert(
      fc.property(cents, (list) => {
        const values = list.map((each) => each / 100)
        expect(exactSum(values)).toBe(exactSum(values.toReversed()))
        // The mean of one value many times is that value.
        expect(average(Array.from({ length: list.length }, () => values[0]!))).toBe(values[0]! + 0)
      }),
    )
  })
})

describe('the stream', () => {
  test('has everything that the rules speak of, the same for the same seed', () => {
    const options = { partition: 1, seed: 7, records: 4_000, baseMs: DAY }
    for (const source of Object.values(SOURCES)) {
      const list = [...records(source, options)]
      expect([...records(source, options)]).toEqual(list)
      expect(list).toHaveLength(4_000)
      const log = new Map([[1, [...list, closing(source, 1, DAY)].map((each, offset) => ({ offset, ...each }))]])
      for (const window of WINDOWS.filter((each) => SOURCES[each.source as 'orders'] === source)) {
        const { rows, late, clocks } = recompute(window, source, log, ALL)
        expect(clocks.get(1)).toBe(DAY + 50 * 60_000)
        expect(rows.size).toBeGreaterThan(100)
        expect(late.filter(({ reason }) => reason === 'late').length).toBeGreaterThan(5)
        if (window.input === 'rows') expect(late.some(({ weight }) => weight === -1)).toBe(true)
        if (window.isSliced) expect(late.some(({ counted }) => counted > 0)).toBe(true)
      }
    }
  })
})
