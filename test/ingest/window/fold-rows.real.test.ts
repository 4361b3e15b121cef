import { describe, expect, test } from 'vitest'
import type { TableDefinition } from '../../../src/define.ts'
import type { WindowDefinition } from '../../../src/define-window.ts'
import { batchOf, definition, type TestRecord } from '../../support/lake-table.ts'
import { aggregate, windowDefinition } from './arbitrary.ts'
import { RowsHarness } from './rows-harness.ts'

const HOUR = 3_600_000
const ORDERS: TableDefinition = definition({
  columns: [
    { name: 'order_id', type: { kind: 'string' }, required: true },
    { name: 'customer_id', type: { kind: 'string' } },
    { name: 'amount', type: { kind: 'double' } },
    { name: 'timestamp', type: { kind: 'long' } },
    { name: 'status', type: { kind: 'string' } },
  ],
  eventTime: { column: 'timestamp', unit: 'ms', outOfOrdernessMs: 5_000, idleAfterMs: 0, maxFutureSkewMs: HOUR },
  key: ['order_id'],
  recordKey: 'string',
})

const REVENUE: WindowDefinition = windowDefinition(
  { kind: 'tumbling', sizeMs: HOUR, offsetMs: 0 },
  {
    source: 'orders',
    input: 'rows',
    groupBy: ['customer_id'],
    select: [aggregate('order_count', 'count'), aggregate('total_amount', 'sum', 'amount')],
  },
)

const at = (text: string): number => Date.parse(`2026-01-01T${text}Z`)

/** P1 of the acceptance pipelines. */
const P0 = [
  ['A', 'c1', 0.1, '10:00:00', 'created'],
  ['B', 'c2', 5, '10:30:00', 'created'],
  ['A', 'c1', 0.3, '10:59:58', 'paid'],
  ['C', 'c1', 0.4, '11:00:04', 'created'],
  ['D', 'c1', 0.2, '10:59:59', 'cancelled'],
  ['B', 'c2', 6, '11:00:05', 'paid'],
  ['E', 'c2', 3, '10:59:59', 'created'],
  ['B', 'c2', 7, '11:00:06', 'paid'],
] as const
const order = ([order_id, customer_id, amount, time, status]: readonly [
  string,
  string,
  number,
  string,
  string,
]): TestRecord => ({
  key: order_id,
  value: JSON.stringify({ order_id, customer_id, amount, timestamp: at(time), status }),
  timestampMs: at(time),
})
const P1: readonly TestRecord[] = [order(['F', 'c3', 1, '10:15:00', 'created']), { key: 'F', value: null }]

describe('A1: P1-rows, an update takes the old row back', () => {
  test.each([
    [1, false],
    [3, true],
    [8, false],
  ])('on the small log, %i records a partition and commit, restarted: %s', async (records, isRestarted) => {
    const harness = await RowsHarness.open(ORDERS, REVENUE)
    for (let from = 0; from < 8; from += records) {
      const batches = [P0.map(order), P1].flatMap((list, partition) => {
        const part = list.slice(from, from + records)
        return part.length === 0 ? [] : [batchOf(part, { partition, first: BigInt(from) })]
      })
      await harness.commit([batches])
      if (isRestarted) await harness.restart()
    }
    const results = harness.results.map((row) => [row.customer_id, row.window_start, row.order_count, row.total_amount])
    expect(results.toSorted()).toEqual([
      ['c1', at('10:00:00'), 2, 0.5],
      ['c1', at('11:00:00'), 1, 0.4],
      ['c2', at('11:00:00'), 1, 7],
    ])
    expect(harness.late).toEqual([
      {
        order_id: 'E',
        customer_id: 'c2',
        amount: 3,
        timestamp: at('10:59:59'),
        status: 'created',
        _kafka_partition: 0,
        _offset: 6,
        _timestamp: at('10:59:59'),
        _topic: 'shop.orders',
        _event_time: at('10:59:59'),
        _clock: at('11:00:05'),
        _counted_windows: 0,
        _weight: 1,
        _reason: 'late',
        _late_windows: [{ start: at('10:00:00'), end: at('11:00:00') }],
        _code_hash: expect.any(String),
      },
    ])
    await harness.close()
  })
})

const ITEMS: TableDefinition = definition({
  name: 'items',
  columns: [
    { name: 'id', type: { kind: 'string' }, required: true },
    { name: 'g', type: { kind: 'string' } },
    { name: 'v', type: { kind: 'long' } },
    { name: 'at', type: { kind: 'long' } },
    { name: 'note', type: { kind: 'string' } },
  ],
  eventTime: { column: 'at', unit: 'ms', outOfOrdernessMs: 0, idleAfterMs: 0, maxFutureSkewMs: HOUR },
  key: ['id'],
  recordKey: 'string',
})

/** Windows of 10 ms, without grouping unless a test says otherwise. */
const itemsWindow = (parts: Partial<WindowDefinition>): WindowDefinition =>
  windowDefinition({ kind: 'tumbling', sizeMs: 10, offsetMs: 0 }, { source: 'items', input: 'rows', ...parts })

const item = (id: string, ts: number | null, v: number | null, more: Record<string, unknown> = {}): TestRecord => ({
  key: id,
  value: JSON.stringify({ id, v, at: ts, ...more }),
})
const gone = (id: string): TestRecord => ({ key: id, value: null })

/** Commits of one micro-batch of partition 0 each; the results after each of them, by window. */
async function resultsOf(
  window: WindowDefinition,
  commits: readonly (readonly TestRecord[])[],
  inspect?: (harness: RowsHarness) => void,
): Promise<unknown[]> {
  const harness = await RowsHarness.open(ITEMS, window)
  const after: unknown[] = []
  let first = 0n
  for (const records of commits) {
    await harness.commit([[batchOf(records, { first })]])
    first += BigInt(records.length)
    const names = [...window.groupBy, 'window_start', ...window.select.map(({ name }) => name)]
    after.push(harness.results.map((row) => names.map((name) => row[name])).toSorted())
  }
  inspect?.(harness)
  await harness.close()
  return after
}

describe('section 9', () => {
  const sum = [aggregate('sum', 'sum', 'v')]

  test('A row moves from one window to another', async () => {
    const after = await resultsOf(itemsWindow({ select: sum, allowedLatenessMs: 100 }), [
      [item('a', 5, 7)],
      [item('a', 15, 9)],
    ])
    expect(after).toEqual([[[0, 7]], [[10, 9]]])
  })

  const columns = ITEMS.columns.map((column) =>
    column.name === 'v' ? { ...column, type: { kind: 'double' } as const } : column,
  )

  test('1e16 and 1, without 1e16, is 1', async () => {
    const harness = await RowsHarness.open({ ...ITEMS, columns }, itemsWindow({ select: sum }))
    await harness.commit([[batchOf([item('a', 5, 1e16), item('b', 5, 1)])]])
    await harness.commit([[batchOf([gone('a')], { first: 2n })]])
    expect(harness.results.map((row) => row.sum)).toEqual([1])
    await harness.close()
  })

  test('C5: what came for a window that is gone is what is left of it, however far apart its values are', async () => {
    const harness = await RowsHarness.open({ ...ITEMS, columns }, itemsWindow({ select: sum }))
    await harness.commit([[batchOf([item('a', 5, 1)])]])
    await harness.commit([], 60, 60)
    const added = batchOf([item('a', 5, 1e16), item('b', 6, 1e16)], { first: 1n })
    const { late, lateAssignments } = await harness.commit([[added]], 60, 60)
    expect([late, lateAssignments]).toEqual([1, 1])
    expect(harness.late).toMatchObject([{ _weight: 1, _reason: 'row_expired', _late_windows: [{ start: 0, end: 10 }] }])
    await harness.close()
  })

  test('the greatest gives way to the next one, and a group without rows is gone', async () => {
    const after = await resultsOf(itemsWindow({ select: [aggregate('max', 'max', 'v')] }), [
      [item('a', 5, 5), item('b', 6, 9)],
      [gone('b')],
      [gone('a')],
    ])
    expect(after).toEqual([[[0, 9]], [[0, 5]], []])
  })

  test('a final row is corrected, and goes with its last row', async () => {
    const harness = await RowsHarness.open(ITEMS, itemsWindow({ select: sum }))
    const seen = (): unknown[] => harness.results.map((row) => [row.sum, row._final, row._corrections])
    await harness.commit([[batchOf([item('a', 5, 5), item('b', 6, 9)])]], 9)
    await harness.commit([[batchOf([gone('b')], { first: 2n })]], 9)
    expect(seen()).toEqual([[5, true, 1]])
    await harness.commit([[batchOf([gone('a')], { first: 3n })]], 9)
    expect([seen(), harness.state]).toEqual([[], []])
    await harness.close()
  })

  test('A3: a delete of a key that was never seen changes nothing', async () => {
    const after = await resultsOf(
      itemsWindow({ select: sum }),
      [[gone('x'), item('a', 5, 5)], [gone('x')]],
      (harness) => {
        expect(harness.late).toEqual([])
        expect(harness.retractOfUnknown).toBe(0)
      },
    )
    expect(after).toEqual([[[0, 5]], [[0, 5]]])
  })

  test('A3: less than none is an error, and what no group knows is counted', async () => {
    const harness = await RowsHarness.open(ITEMS, itemsWindow({ select: sum }))
    const before = harness.stored
    await harness.commit([[batchOf([item('a', 5, 5)])]])
    const after = harness.stored
    await harness.commit([[batchOf([item('b', 5, 5)], { first: 1n })]])
    // A window that saw nothing of what stands.
    await harness.restart(before)
    await harness.commit([[batchOf([gone('a'), item('c', 6, 1)], { first: 2n })]])
    expect([harness.retractOfUnknown, harness.results.at(-1)!.sum]).toEqual([1, 1])
    // One that saw less than that.
    await harness.restart(after)
    const taken = harness.commit([[batchOf([gone('b'), gone('c')], { first: 4n })]])
    await expect(taken).rejects.toMatchObject({ code: 'aggregate.negative_count' })
    await harness.close()
  })

  test('a row on which an expression fails counts in nothing, is listed whole, and is taken back when it changes', async () => {
    const harness = await RowsHarness.open(ITEMS, itemsWindow({ select: sum, where: 'CAST(g AS INTEGER) > 0' }))
    const sums = () => harness.results.map((row) => row.sum)
    const listed = () => harness.late.map((row) => [row.id, row._weight, row._reason, row._late_windows])
    const first = [item('a', 5, 5, { g: 'x', note: 'seen' }), item('b', 6, 1, { g: '1' })]
    const { failed } = await harness.commit([[batchOf(first)]])
    expect([failed, sums(), listed()]).toEqual([1, [1], [['a', 1, 'expression_failed', []]]])
    expect(harness.late[0]!.note).toBe('seen')
    await harness.restart()
    await harness.commit([[batchOf([item('a', 5, 7, { g: '2' })], { first: 2n })]])
    expect([sums(), listed().map((row) => row[1])]).toEqual([[8], [1, -1]])
    await harness.close()
  })

  test('nor does one whose value alone is too much for an aggregate', async () => {
    const amounts = [...ITEMS.columns, { name: 'x', type: { kind: 'decimal', precision: 38, scale: 0 } } as const]
    const window = itemsWindow({ select: [aggregate('spread', 'var', 'x')] })
    const harness = await RowsHarness.open({ ...ITEMS, columns: amounts }, window)
    const [most, listed] = ['9'.repeat(38), () => harness.late.map((row) => [row.id, row._weight, row._reason])]
    const rows = [item('a', 5, 1, { x: '1' }), item('b', 5, 1, { x: most }), item('c', 5, 1, { x: '3' })]
    await harness.commit([[batchOf(rows)]])
    expect(harness.results.map((row) => row.spread)).toEqual([2])
    expect(listed()).toEqual([['b', 1, 'expression_failed']])
    await harness.restart()
    await harness.commit([[batchOf([item('b', 5, 1, { x: '5' })], { first: 3n })]])
    expect(harness.results.map((row) => row.spread)).toEqual([4])
    expect(listed()).toEqual([
      ['b', 1, 'expression_failed'],
      [null, -1, 'expression_failed'],
    ])
    await harness.close()
  })

  test('an update that the window does not see writes nothing', async () => {
    const harness = await RowsHarness.open(ITEMS, itemsWindow({ select: sum }))
    await harness.commit([[batchOf([item('a', 5, 5, { note: 'x' })])]])
    const folded = await harness.commit([[batchOf([item('a', 5, 5, { note: 'y' })], { first: 1n })]])
    expect([folded.results, folded.state]).toEqual([
      { files: [], superseded: [] },
      { files: [], superseded: [] },
    ])
    await harness.close()
  })

  test('A2, E5: a late retraction leaves the window as it closed, and is listed with what the window reads', async () => {
    const after = await resultsOf(
      itemsWindow({ select: sum, groupBy: ['g'] }),
      [
        [item('a', 5, 7, { g: 'x', note: 'n' }), item('b', 25, 1, { g: 'x' })],
        [item('a', 22, 8, { g: 'x', note: 'm' })],
        [item('c', 7, 3, { g: 'y', note: 'c' }), gone('c')],
      ],
      (harness) => {
        const seen = harness.late.map(
          ({ id, g, v, note, _offset, _clock, _weight, _reason, _timestamp, _late_windows }) => [
            id,
            g,
            v,
            note,
            _offset,
            _clock,
            _weight,
            _reason,
            _timestamp === null,
            (_late_windows as { start: number }[]).map(({ start }) => start),
          ],
        )
        expect(seen).toEqual([
          [null, 'x', 7, null, 0, 25, -1, 'late', true, [0]],
          [null, 'y', 3, null, 3, 25, -1, 'late', true, [0]],
          ['c', 'y', 3, 'c', 3, 25, 1, 'late', false, [0]],
        ])
      },
    )
    const last = [
      ['x', 0, 7],
      ['x', 20, 9],
    ]
    expect(after).toEqual([
      [
        ['x', 0, 7],
        ['x', 20, 1],
      ],
      last,
      last,
    ])
  })

  test('a row without an event time is listed when it comes and when it goes', async () => {
    const after = await resultsOf(
      itemsWindow({ select: sum }),
      [[item('a', null, 7)], [item('a', 5, 7)]],
      ({ late }) => {
        expect(late.map(({ _reason, _weight, v, id }) => [_reason, _weight, v, id])).toEqual([
          ['null_event_time', 1, 7, 'a'],
          ['null_event_time', -1, 7, null],
        ])
      },
    )
    expect(after).toEqual([[], [[0, 7]]])
  })
})

describe('change streams', () => {
  const CHANGES: TableDefinition = { ...ITEMS, value: 'debezium', recordKey: 'debezium', onTruncate: 'apply' }
  const counted = itemsWindow({ groupBy: ['g'], select: [aggregate('n', 'count'), aggregate('sum', 'sum', 'v')] })
  const change = (op: string, id: string | null, after: object | null): TestRecord => ({
    ...(id === null ? {} : { key: JSON.stringify({ id }) }),
    value: JSON.stringify({ op, before: null, after, source: {}, ts_ms: 0 }),
  })
  const put = (id: string, g: string, v: number, at = 5): TestRecord => change('u', id, { id, g, v, at, note: null })
  const seen = (harness: RowsHarness): unknown[] => harness.results.map(({ g, n, sum }) => [g, n, sum]).toSorted()

  test.each([false, true])(
    'a truncation takes back all that stood, then rows count again; restarted: %s',
    async (isRestarted) => {
      const harness = await RowsHarness.open(CHANGES, counted)
      await harness.commit([[batchOf([put('a', 'x', 1), put('b', 'y', 2)])]])
      if (isRestarted) await harness.restart()
      const records = [put('c', 'x', 4), change('t', null, null), put('b', 'x', 8), change('d', 'a', null)]
      await harness.commit([[batchOf(records, { first: 2n })]])
      expect(seen(harness)).toEqual([['x', 1, 8]])
      await harness.commit([[batchOf([change('d', 'b', null)], { first: 6n })]])
      expect([seen(harness), harness.late]).toEqual([[], []])
      await harness.close()
    },
  )

  test('a large value that an update left as it was is what the row had', async () => {
    const harness = await RowsHarness.open(CHANGES, counted)
    await harness.commit([[batchOf([put('a', 'a large text', 1)])]])
    await harness.commit([[batchOf([put('a', '__debezium_unavailable_value', 3)], { first: 1n })]])
    expect(seen(harness)).toEqual([['a large text', 1, 3]])
    await harness.close()
  })
})

describe('N4: sessions', () => {
  const minutes = (text: string): number => at(`${text}:00`)
  const session = windowDefinition(
    { kind: 'session', gapMs: 600_000 },
    { source: 'items', input: 'rows', allowedLatenessMs: HOUR, select: [aggregate('n', 'count')] },
  )
  const rows = (harness: RowsHarness): unknown[] =>
    harness.results
      .map((row) => [row.window_start, row.window_end, row.last_event_time, row.n, row._final, row._corrections])
      .toSorted()

  test.each([false, true])('a row that goes splits its session; restarted: %s', async (isRestarted) => {
    const harness = await RowsHarness.open(ITEMS, session)
    const times = ['10:00', '10:05', '10:12', '10:20'].map(minutes)
    await harness.commit([[batchOf(times.map((time, k) => item(String(k), time, 1)))]], minutes('10:01'))
    expect(rows(harness)).toEqual([[minutes('10:00'), minutes('10:30'), minutes('10:20'), 4, false, 0]])
    if (isRestarted) await harness.restart()
    await harness.commit([[batchOf([gone('2')], { first: 4n })]], minutes('10:01'))
    expect(rows(harness)).toEqual([
      [minutes('10:00'), minutes('10:15'), minutes('10:05'), 2, false, 0],
      [minutes('10:20'), minutes('10:30'), minutes('10:20'), 1, false, 0],
    ])
    if (isRestarted) await harness.restart()
    // The first of them shrinks at its start, and what was final is corrected.
    await harness.commit([], minutes('11:15'))
    expect(rows(harness).map((row) => (row as unknown[]).slice(3))).toEqual([
      [2, true, 0],
      [1, false, 0],
    ])
    if (isRestarted) await harness.restart()
    await harness.commit([[batchOf([gone('0')], { first: 5n })]], minutes('11:15'))
    expect(rows(harness)).toEqual([
      [minutes('10:05'), minutes('10:15'), minutes('10:05'), 1, true, 1],
      [minutes('10:20'), minutes('10:30'), minutes('10:20'), 1, false, 0],
    ])
    await harness.commit([[batchOf([gone('1'), gone('3')], { first: 6n })]], minutes('11:15'))
    expect([harness.results, harness.state]).toEqual([[], []])
    await harness.close()
  })

  test('early: a session that shrank is written when it is time', async () => {
    const harness = await RowsHarness.open(ITEMS, { ...session, earlyMs: 1_000 })
    const times = ['10:00', '10:05', '10:12'].map(minutes)
    await harness.commit([[batchOf(times.map((time, k) => item(String(k), time, 1)))]])
    harness.nowMs = 1
    await harness.commit([[batchOf([gone('2')], { first: 3n })]])
    expect(rows(harness)).toEqual([[minutes('10:00'), minutes('10:22'), minutes('10:12'), 3, false, 0]])
    harness.nowMs = 1_000
    await harness.commit([])
    expect(rows(harness)).toEqual([[minutes('10:00'), minutes('10:15'), minutes('10:05'), 2, false, 0]])
    await harness.close()
  })

  test('sessions that are settled leave the state, and are not written again', async () => {
    const harness = await RowsHarness.open(ITEMS, { ...session, allowedLatenessMs: 0 })
    const times = ['10:00', '10:05', '12:00'].map(minutes)
    const records = times.map((time, k) => item(String(k), time, 1))
    await harness.commit([[batchOf(records)]], minutes('12:00'), minutes('12:00'))
    expect(harness.state.length).toBe(3)
    await harness.commit(
      [[batchOf([item('3', minutes('12:05'), 1)], { first: 3n })]],
      minutes('12:01'),
      minutes('12:01'),
    )
    expect(harness.state.length).toBe(2)
    await harness.restart()
    await harness.commit(
      [[batchOf([item('4', minutes('12:14'), 1)], { first: 4n })]],
      minutes('12:10'),
      minutes('12:10'),
    )
    expect(rows(harness)).toEqual([
      [minutes('10:00'), minutes('10:15'), minutes('10:05'), 2, true, 0],
      [minutes('12:00'), minutes('12:24'), minutes('12:14'), 3, false, 0],
    ])
    expect(harness.state.length).toBe(3)
    await harness.close()
  })
})

describe('versions', () => {
  const VERSIONED: TableDefinition = {
    ...ITEMS,
    columns: [...ITEMS.columns, { name: 'rev', type: { kind: 'long' } }],
    version: 'rev',
  }
  const sum = itemsWindow({ select: [aggregate('sum', 'sum', 'v')] })

  test.each([false, true])(
    'U2, U5: the later version counts, and a deleted key remembers its own; restarted: %s',
    async (isRestarted) => {
      const harness = await RowsHarness.open(VERSIONED, sum)
      const steps: readonly (readonly [TestRecord, readonly unknown[]])[] = [
        [item('a', 5, 5, { rev: 5 }), [5]],
        [item('a', 5, 4, { rev: 4 }), [5]],
        [item('a', 5, 6, { rev: 5 }), [6]],
        [gone('a'), []],
        [item('a', 5, 7, { rev: 4 }), []],
        [item('a', 5, 8, { rev: 6 }), [8]],
      ]
      for (const [offset, [record, expected]] of steps.entries()) {
        await harness.commit([[batchOf([record], { first: BigInt(offset) })]])
        expect(harness.results.map((row) => row.sum)).toEqual(expected)
        if (isRestarted) await harness.restart()
      }
      await harness.close()
    },
  )

  test('versions that are dates and instants are read back too', async () => {
    for (const [type, versions] of [
      [{ kind: 'date' }, ['2026-01-02', '2026-01-01']],
      [{ kind: 'timestamptz' }, ['2026-01-01T00:00:00.000002Z', '2026-01-01T00:00:00.000001Z']],
    ] as const) {
      const columns = [...ITEMS.columns, { name: 'rev', type }]
      const harness = await RowsHarness.open({ ...VERSIONED, columns }, sum)
      for (const [offset, record] of [
        item('a', 5, 5, { rev: versions[0] }),
        item('a', 5, 6, { rev: versions[1] }),
        item('b', 5, 1, { rev: versions[0] }),
        gone('b'),
        item('b', 5, 2, { rev: versions[1] }),
      ].entries()) {
        await harness.commit([[batchOf([record], { first: BigInt(offset) })]])
        await harness.restart()
      }
      expect(harness.results.map((row) => row.sum)).toEqual([5])
      await harness.close()
    }
  })

  test('A2: a key of two partitions stops the pipeline, whichever came first and although it was deleted', async () => {
    for (const order of [
      [0, 1],
      [1, 0],
    ]) {
      const harness = await RowsHarness.open(VERSIONED, sum)
      const parts = [
        batchOf([item('a', 5, 5, { rev: 1 }), gone('a')], { partition: 0 }),
        batchOf([item('a', 6, 6, { rev: 2 })], { partition: 1 }),
      ]
      await harness.commit([[parts[order[0]!]!]])
      await harness.restart()
      await expect(harness.commit([[parts[order[1]!]!]])).rejects.toMatchObject({
        code: 'upsert.key_in_two_partitions',
      })
      await harness.close()
    }
  })
})

test('A7: more old values than the limit stop the pipeline', async () => {
  const harness = await RowsHarness.open(ITEMS, itemsWindow({ select: [aggregate('n', 'count')], oldValuesMax: 2 }))
  await harness.commit([[batchOf([item('a', 5, 1), item('b', 5, 1), gone('b'), item('c', 5, 1)])]])
  await expect(harness.commit([[batchOf([item('d', 5, 1)], { first: 4n })]])).rejects.toMatchObject({
    code: 'window.old_values_max',
  })
  await harness.close()
})
