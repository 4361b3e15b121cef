import { describe, expect, test } from 'vitest'
import type { TableDefinition } from '../../../src/define.ts'
import type { AggregateDefinition, WindowDefinition } from '../../../src/define-window.ts'
import { batchOf, definition, type TestRecord } from '../../support/lake-table.ts'
import { windowDefinition } from './arbitrary.ts'
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

const aggregate = (name: string, fn: AggregateDefinition['fn'], column?: string): AggregateDefinition => ({
  name,
  fn,
  column,
  n: undefined,
  where: undefined,
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
const order = ([order_id, customer_id, amount, time, status]: readonly [string, string, number, string, string]): TestRecord => ({
  key: order_id,
  value: JSON.stringify({ order_id, customer_id, amount, timestamp: at(time), status }),
  timestampMs: at(time),
})
const P1: readonly TestRecord[] = [order(['F', 'c3', 1, '10:15:00', 'created']), { key: 'F', value: null }]

describe('P1-rows', () => {
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
        ...{ order_id: 'E', customer_id: 'c2', amount: 3, timestamp: at('10:59:59'), status: 'created' },
        ...{ _kafka_partition: 0, _offset: 6, _timestamp: at('10:59:59'), _topic: 'shop.orders' },
        ...{ _event_time: at('10:59:59'), _clock: at('11:00:05'), _counted_windows: 0, _weight: 1, _reason: 'late' },
        _late_windows: [{ start: at('10:00:00'), end: at('11:00:00') }],
        _code_hash: expect.any(String),
      },
    ])
    await harness.close()
  })
})
