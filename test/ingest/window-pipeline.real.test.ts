import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { systemClock as clock } from '../../src/clock.ts'
import { table, type PipelineDefinition } from '../../src/define.ts'
import { lateTable, type WindowDefinition } from '../../src/define-window.ts'
import { cases, checkCase, source, windowOf } from '../support/window-cases.ts'
import { Lakes, type How, type Lake } from '../support/window-lake.ts'

// The whole path of windows, lanes, fold and committer, with real Parquet: what every version holds must be what plain
// TypeScript makes of the log below its positions, whatever the batches, lanes, restarts and compactions.

const COUNT = { fn: 'count', column: undefined, n: undefined, where: undefined } as const

let lakes: Lakes
beforeAll(async () => {
  lakes = await Lakes.open()
})
afterAll(() => lakes.close())

describe('P1, hourly revenue, on the small log of the semantics', () => {
  const orders = table('orders', {
    from: { topic: 'c' },
    columns: {
      order_id: 'string required',
      customer_id: 'string',
      amount: 'double',
      timestamp: 'long',
      status: 'string',
    },
    key: ['order_id'],
    eventTime: { column: 'timestamp', unit: 'ms', outOfOrderness: '5s' },
  })
  const at = (time: string): number => Date.parse(`2026-03-02T${time}Z`)
  const LOG: readonly (readonly [string, string, number, string, string] | string)[][] = [
    [
      ['A', 'c1', 0.1, '10:00:00', 'created'],
      ['B', 'c2', 5, '10:30:00', 'created'],
      ['A', 'c1', 0.3, '10:59:58', 'paid'],
      ['C', 'c1', 0.4, '11:00:04', 'created'],
      ['D', 'c1', 0.2, '10:59:59', 'cancelled'],
      ['B', 'c2', 6, '11:00:05', 'paid'],
      ['E', 'c2', 3, '10:59:59', 'created'],
      ['B', 'c2', 7, '11:00:06', 'paid'],
    ],
    [['F', 'c3', 1, '10:15:00', 'created'], 'F'],
  ]
  const revenue: WindowDefinition = {
    ...windowOf({ kind: 'tumbling', sizeMs: 3_600_000, offsetMs: 0 }, 'orders'),
    name: 'revenue_by_customer_hour',
    groupBy: ['customer_id'],
    select: [
      { name: 'order_count', fn: 'count', column: undefined, n: undefined, where: undefined },
      { name: 'total_amount', fn: 'sum', column: 'amount', n: undefined, where: undefined },
    ],
  }

  const standing: WindowDefinition = { ...revenue, name: 'revenue_by_customer_hour_rows', input: 'rows' }

  test.each([
    { lanes: 1, recordsMax: 1_000, offsetsMax: 100, restartAt: 0 },
    { lanes: 3, recordsMax: 1, offsetsMax: 1, restartAt: 4 },
    { lanes: 2, recordsMax: 3, offsetsMax: 2, restartAt: 7 },
  ])('$lanes lanes, $recordsMax records, restart at $restartAt', { timeout: 60_000 }, async ({ restartAt, ...how }) => {
    const definition: PipelineDefinition = {
      name: 'p1',
      tables: [orders],
      windows: [revenue, standing],
      onDataLoss: 'stop',
    }
    const lake = await lakes.create(definition, 2)
    const append = (from: number, until: number) => {
      for (const [partition, records] of LOG.entries())
        for (const each of records.slice(from, until)) {
          const [id, customer, amount, time, status] = typeof each === 'string' ? [each] : each
          const value = { order_id: id, customer_id: customer, amount, timestamp: time && at(time), status }
          const bytes = typeof each === 'string' ? undefined : Buffer.from(JSON.stringify(value))
          const timestampMs = time === undefined ? at('11:00:00') : at(time)
          lake.log.append('c', partition, [{ timestampMs, key: Buffer.from(id!), value: bytes }])
        }
    }
    append(0, restartAt)
    if (restartAt > 0) await lake.run(how)
    append(restartAt, 8)
    await lake.run(how)
    const head = await lake.head()
    const stands = await lake.rows(head, 'orders', 'order_id, amount, status')
    expect(stands.toSorted()).toEqual([
      ['A', 0.3, 'paid'],
      ['B', 7, 'paid'],
      ['C', 0.4, 'created'],
      ['D', 0.2, 'cancelled'],
      ['E', 3, 'created'],
    ])
    const columns = `customer_id, strftime(window_start, '%H:%M'), order_count, total_amount`
    expect((await lake.rows(head, revenue.name, columns)).toSorted()).toEqual([
      ['c1', '10:00', 3n, 0.6],
      ['c1', '11:00', 1n, 0.4],
      ['c2', '10:00', 1n, 5],
      ['c2', '11:00', 2n, 13],
      ['c3', '10:00', 1n, 1],
    ])
    expect((await lake.rows(head, standing.name, columns)).toSorted()).toEqual([
      ['c1', '10:00', 2n, 0.5],
      ['c1', '11:00', 1n, 0.4],
      ['c2', '11:00', 1n, 7],
    ])
    for (const { name } of [revenue, standing]) {
      const late = await lake.rows(head, lateTable(name), '_kafka_partition, _offset, order_id, _reason, _weight')
      expect(late).toEqual([[0, 6n, 'E', 'late', 1]])
    }
  })
})

describe('windows over a log of three partitions', () => {
  test('at every version are what plain TypeScript makes of the log', { timeout: 180_000 }, async () => {
    let versions = 0
    const counted = async (each: Parameters<typeof checkCase>[1]) => void (versions += await checkCase(lakes, each))
    await fc.assert(fc.asyncProperty(cases, counted), { numRuns: 10 })
    expect(versions).toBeGreaterThan(20)
  })
})

describe('limits and paces', () => {
  const how: How = { lanes: 1, recordsMax: 1_000, offsetsMax: 100 }
  const open = async (more: Partial<WindowDefinition>, idleAfter = '1h', partitions = 1) => {
    const window = { ...windowOf({ kind: 'tumbling', sizeMs: 10, offsetMs: 0 }), ...more }
    return lakes.create({ name: 'p', tables: [source(idleAfter)], windows: [window], onDataLoss: 'stop' }, partitions)
  }
  const append = (lake: Lake, at: number, g: string, partition = 0) =>
    lake.log.append('c', partition, [{ timestampMs: 0, key: undefined, value: Buffer.from(JSON.stringify({ at, g })) }])

  test(
    'E3: what `early` keeps back is written when it is due, without another record',
    { timeout: 30_000 },
    async () => {
      const lake = await open({ earlyMs: 1_000 })
      append(lake, 1, 'a')
      // The first is in a version before the second is there.
      lake.onHead = ({ positions }) =>
        positions.get('c/0') === 1n && lake.log.end('c', 0) === 1n && append(lake, 2, 'a')
      await lake.run(how, 1, 3_000)
      const seen: string[] = []
      for (const version of (await lake.chain.versions(100)).toReversed()) {
        const [row] = await lake.rows(version, 'w', 'n')
        const stored = await lake.rows(version, 't', '_offset')
        seen.push(`${stored.length} ${String(row ?? 0)}`)
      }
      expect(new Set(seen)).toEqual(new Set(['0 0', '1 1', '2 1', '2 2']))
    },
  )

  test(
    'C5: a row that an idle partition let become final is corrected when that wakes',
    { timeout: 60_000 },
    async () => {
      const lake = await open({}, '600ms', 2)
      const rows = async () => {
        const head = await lake.head()
        return { c: head.watermarksMs, rows: (await lake.rows(head, 'w', 'g, n, _final, _corrections')).toSorted() }
      }
      append(lake, 100, 'a')
      append(lake, 20, 'b', 1)
      await lake.run(how)
      // The other has been at its end for long enough by then.
      void clock.sleep(1_000).then(() => append(lake, 101, 'a'))
      await lake.run(how, 1, 2_000)
      const a = ['a', 2n, false, 0]
      expect(await rows()).toEqual({ c: { t: 95 }, rows: [a, ['b', 1n, true, 0]] })
      append(lake, 24, 'b', 1)
      await lake.run(how)
      expect(await rows()).toEqual({ c: { t: 95 }, rows: [a, ['b', 2n, true, 1]] })
    },
  )

  const kinds: readonly (readonly [string, WindowDefinition['window'], readonly unknown[][]])[] = [
    [
      'tumbling',
      { kind: 'tumbling', sizeMs: 10, offsetMs: 0 },
      [
        [0, 10, 3n, 1],
        [10, 20, 1n, 0],
      ],
    ],
    [
      'sliced',
      { kind: 'hopping', sizeMs: 20, slideMs: 5, offsetMs: 0 },
      [
        [-15, 5, 3n, 1],
        [-10, 10, 3n, 1],
        [-5, 15, 4n, 1],
        [0, 20, 4n, 1],
        [5, 25, 1n, 0],
        [10, 30, 1n, 0],
      ],
    ],
    ['session', { kind: 'session', gapMs: 10 }, [[1, 24, 4n, 1]]],
  ]
  test.each(kinds.flatMap((kind) => (['events', 'rows'] as const).map((input) => [...kind, input] as const)))(
    'C4: what was settled is made again when a partition that came later meets it: %s windows',
    { timeout: 60_000 },
    async (_, window, wanted, input) => {
      const definition = { ...windowOf(window), input, select: [{ ...COUNT, name: 'n' }] }
      const tables = [source('1h', input === 'rows')]
      const lake = await lakes.create({ name: 'p', tables, windows: [definition], onDataLoss: 'stop' }, 1)
      let key = 0
      const add = (at: number, partition: number, id = `k${key++}`) => {
        const value = Buffer.from(JSON.stringify({ at, g: 'a', id }))
        lake.log.append('c', partition, [{ timestampMs: 0, key: Buffer.from(id), value }])
      }
      for (const at of [1, 4, 14]) add(at, 0)
      await lake.run(how)
      // All of it is settled, and so late that it is listed is one more.
      add(200, 0)
      await lake.run(how)
      add(2, 0)
      await lake.run(how)
      const state = async () =>
        (await lake.rows(await lake.head(), 'w__state', 'epoch_ms(make_timestamptz(__start * 1000))')).length
      const open = await state()
      lake.log.addPartitions('c', 2)
      add(3, 1)
      await lake.run(how, 2)
      const head = await lake.head()
      const rows = await lake.rows(head, 'w', 'epoch_ms(window_start), epoch_ms(window_end), n, _corrections')
      const before = rows
        .map(([start, end, ...rest]) => [Number(start), Number(end), ...rest])
        .filter(([start]) => (start as number) < 100)
      expect(before.toSorted((a, b) => (a[0] as number) - (b[0] as number))).toEqual(wanted)
      expect(await lake.rows(head, 'w__late', '_offset, _reason')).toEqual([[4n, 'late']])
      expect(await state()).toBeGreaterThan(open)
    },
  )

  test(
    'W5, E6: days of a wall clock, the oldest of which are deleted, across restarts and compactions',
    { timeout: 60_000 },
    async () => {
      const day: WindowDefinition['window'] = { kind: 'calendar', unit: 'day', timeZone: 'Europe/Berlin' }
      const lake = await open({ window: day, retainMs: 3 * 86_400_000, select: [{ ...COUNT, name: 'n' }] })
      const seen: string[][] = []
      // The clock is set back in the night to the 25th: that day has 25 hours.
      for (const time of ['23T10', '24T21', '24T22', '25T22', '25T23', '26T12', '27T12', '29T12']) {
        const at = Date.parse(`2026-10-${time}:30Z`)
        const value = Buffer.from(JSON.stringify({ at, g: 'a' }))
        lake.log.append('c', 0, [{ timestampMs: at, key: undefined, value }])
        await lake.run(how)
        const columns = `strftime(window_start, '%d %H') || '-' || strftime(window_end, '%d %H') || ' ' || n || CASE WHEN _final THEN '' ELSE ' open' END`
        seen.push((await lake.rows(await lake.head(), 'w', columns)).map(String).toSorted())
      }
      const [fri, sat, sun] = ['22 22-23 22 1', '23 22-24 22 1', '24 22-25 23 2']
      const [mon, tue] = ['25 23-26 23 2', '26 23-27 23 1']
      expect(seen.at(2)).toEqual([fri, sat, '24 22-25 23 1 open'])
      expect(seen.at(4)).toEqual([fri, sat, sun, '25 23-26 23 1 open'])
      // C is 3 days behind the end of the 23rd from the 26th at 22 o'clock on, and of the 25th on the 29th.
      expect(seen.at(5)).toEqual([fri, sat, sun, '25 23-26 23 2 open'])
      expect(seen.at(6)).toEqual([sat, sun, mon, '26 23-27 23 1 open'])
      expect(seen.at(7)).toEqual([mon, tue, '28 23-29 23 1 open'])
      const states = await lake.rows(await lake.head(), 'w__state', '__rows')
      expect(states).toEqual([[1n]])
    },
  )

  test('C5, E6: what `retain` has deleted is not made again, but listed', { timeout: 60_000 }, async () => {
    const lake = await open({ retainMs: 20 })
    for (const at of [1, 4, 60, 200]) {
      append(lake, at, 'a')
      await lake.run(how)
    }
    lake.log.addPartitions('c', 2)
    append(lake, 3, 'a', 1)
    await lake.run(how, 2)
    const head = await lake.head()
    expect(await lake.rows(head, 'w', 'epoch_ms(window_start), n')).toEqual([[200n, 1n]])
    expect(await lake.rows(head, 'w__late', '_reason, _weight')).toEqual([['row_expired', 1]])
  })

  test.each([
    ['tumbling', 'events', { kind: 'tumbling', sizeMs: 10, offsetMs: 0 }, [[0, 10, 3n, 1]]],
    ['sliced', 'rows', { kind: 'hopping', sizeMs: 20, slideMs: 5, offsetMs: 0 }, [[0, 20, 3n, 1]]],
    ['session', 'events', { kind: 'session', gapMs: 5 }, [[1, 9, 3n, 1]]],
  ] as const)(
    'C4: a partition that never has a record stops nothing, and what was let go is made again when it has: %s, %s',
    { timeout: 60_000 },
    async (_, input, window, wanted) => {
      const definition = { ...windowOf(window), input, select: [{ ...COUNT, name: 'n' }], openRowsMax: 12 }
      const tables = [source('1ms', input === 'rows')]
      const lake = await lakes.create({ name: 'p', tables, windows: [definition], onDataLoss: 'stop' }, 2)
      let key = 0
      const add = (at: number, partition = 0) => {
        const id = `k${partition}-${key++}`
        const value = Buffer.from(JSON.stringify({ at, g: 'a', id }))
        lake.log.append('c', partition, [{ timestampMs: 0, key: Buffer.from(id), value }])
      }
      add(1)
      for (let at = 3; at < 503; at += 20) {
        add(at)
        if (at % 100 === 83) await lake.run(how, 2)
      }
      expect((await lake.rows(await lake.head(), 'w__state', '1')).length).toBeLessThanOrEqual(12)
      add(4, 1)
      await lake.run(how, 2)
      const rows = await lake.rows(
        await lake.head(),
        'w',
        'epoch_ms(window_start), epoch_ms(window_end), n, _corrections',
      )
      const first = rows.map(([start, end, ...rest]) => [Number(start), Number(end), ...rest])
      expect(first.filter(([start]) => start === wanted[0]![0])).toEqual(wanted)
      expect(await lake.rows(await lake.head(), 'w__late', '_offset')).toEqual([])
    },
  )

  test(
    'C3: more open rows than the limit stop the pipeline; raising it is no new code',
    { timeout: 30_000 },
    async () => {
      const lake = await open({ openRowsMax: 2 })
      for (const g of ['a', 'b', 'c']) append(lake, 1, g)
      await expect(lake.run(how)).rejects.toMatchObject({ code: 'window.open_rows_max', retryable: false })
      Object.assign(lake.definition.windows[0]!, { openRowsMax: 3 })
      await lake.run(how)
      expect(await lake.rows(await lake.head(), 'w', 'g, n')).toHaveLength(3)
    },
  )
})
