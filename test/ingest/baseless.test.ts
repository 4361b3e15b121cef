import { expect, test } from 'vitest'
import type { Encoder, TablePlan } from '../../src/ingest/lane.ts'
import { LaneWork } from '../../src/ingest/lane-work.ts'
import { inlineLanes } from '../../src/ingest/lanes.ts'
import { ContentSource, MemoryLog } from '../../src/ingest/memory-log.ts'
import { InstantClock } from '../support/instant-clock.ts'

const LIMITS = { bytesMax: 1 << 20, recordsMax: 1_000, ageMsMax: 0 }
const BASELESS = new Set(['orders shop.orders/0@3', 'orders2 shop.orders/0@5'])

test('a record without a base in one table is none in another over its topic', async () => {
  const log = new MemoryLog()
  log.createTopic('shop.orders', 1)
  log.append('shop.orders', 0, [{ timestampMs: 0, key: undefined, value: Buffer.from('{}') }])
  const told = new Map<string, readonly string[]>()
  const encoder: Encoder = {
    encode(plan, batches, _fatal, baseless = new Set()) {
      told.set(plan.table, [...baseless])
      const records = batches.reduce((sum, { count }) => sum + count, 0)
      const counts = { rows: 0, deadLetters: 0, tombstones: 0, skipped: records, clockMs: undefined }
      const staged = { table: plan.table, files: [], deadLetterFiles: [] }
      return Promise.resolve({ ...staged, counts: new Map([['shop.orders/0' as const, counts]]) })
    },
    close: () => Promise.resolve(),
  }
  const clock = new InstantClock()
  const source = new ContentSource(log, clock, { batchOffsetsMax: 10, pollMs: 10 })
  const lanes = inlineLanes({ source, encoder, lanes: 1, microBatch: LIMITS, clock })
  const tables = ['orders', 'orders2', 'all'].map((table) => ({ table, topic: 'shop.orders' }) as TablePlan)
  const { topicId } = (await source.topics(['shop.orders'])).get('shop.orders')!
  lanes.assign({
    from: new Map([['shop.orders/0', { offset: 0n, leaderEpoch: -1, topicId }]]),
    tables,
    baseless: BASELESS,
  })
  while ((await lanes.next(100)).kind !== 'staged');
  await lanes.close()
  expect(Object.fromEntries(told)).toEqual({ orders: ['shop.orders/0@3'], orders2: ['shop.orders/0@5'], all: [] })
})

test('a lane is told of them again with each assignment', () => {
  const from = new Map([['shop.orders/0' as const, { offset: 0n, leaderEpoch: -1, topicId: 't' }]])
  const work = new LaneWork(from, { from, tables: [], baseless: BASELESS }, LIMITS, new InstantClock())
  expect(work.assignment(0).baseless).toEqual(BASELESS)
})
