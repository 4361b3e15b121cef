import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { Staged } from '../../src/ingest/lane.ts'
import { LaneWork } from '../../src/ingest/lane-work.ts'
import type { Span } from '../../src/ingest/lane-messages.ts'
import type { PartitionId } from '../../src/log.ts'
import { InstantClock } from '../support/instant-clock.ts'

const IDS: readonly PartitionId[] = ['orders/0', 'orders/1']
const LIMITS = { bytesMax: 1 << 20, recordsMax: 20_000, ageMsMax: 500 }

function workOver(clock = new InstantClock()): LaneWork {
  const cursor = { offset: 0n, leaderEpoch: -1, topicId: 't' }
  const from = new Map(IDS.map((id) => [id, cursor]))
  return new LaneWork(from, { from, tables: [] }, LIMITS, clock)
}

function stagedUpTo(ranges: readonly (readonly [PartitionId, bigint, bigint])[]): Staged {
  return {
    lane: 0,
    ranges: ranges.map(([partition, from, until]) => ({
      partition,
      from,
      until,
      leaderEpoch: 0,
      tail: undefined,
      end: until,
    })),
    tables: [],
    records: 0,
    bytes: 0,
    encodeMs: 0,
  }
}

/**
 * A lane that dies whenever a poisonous record is among those that it encodes, and is started again. Each partition
 * holds `size` records; returns what became dead letters without a look, after how many deaths.
 */
function ingest(work: LaneWork, size: bigint, isPoison: (at: string) => boolean, dies: () => boolean = () => false) {
  let deaths = 0
  let worst = 0
  for (let steps = 0; steps < 10_000; steps++) {
    const { from, microBatch, fatal } = work.assignment(0)
    const spans: Span[] = []
    let left = BigInt(microBatch.recordsMax)
    for (const id of IDS) {
      const first = from.get(id)!.offset
      const records = size - first < left ? size - first : left
      left -= records
      if (records > 0n) spans.push({ partition: id, first, last: first + records - 1n, records: Number(records) })
    }
    if (spans.length === 0) return { fatal, deaths, worst }
    work.encoding(spans)
    const isDeadly = spans.some(({ partition, first, last }) => {
      for (let o = first; o <= last; o++)
        if (isPoison(`${partition}@${o}`) && !fatal.has(`${partition}@${o}`)) return true
      return false
    })
    if (isDeadly || dies()) {
      work.died(true)
      deaths++
      worst = Math.max(worst, work.deaths)
    } else {
      work.encoded()
      work.staged(stagedUpTo(spans.map(({ partition, first, last }) => [partition, first, last + 1n])))
    }
  }
  throw new Error('does not come to an end')
}

describe('LaneWork', () => {
  it('remembers the clocks behind its batches for the lane that comes next', () => {
    const cursor = { offset: 0n, leaderEpoch: -1, topicId: 't' }
    const from = new Map(IDS.map((id) => [id, cursor]))
    const clocksMs = { orders: { 'orders/0': 7, 'orders/1': 9 } } as const
    const work = new LaneWork(from, { from, tables: [], clocksMs }, LIMITS, new InstantClock())
    expect(work.assignment(0).clocksMs).toEqual(clocksMs)
    const count = { rows: 1, deadLetters: 0, tombstones: 0, skipped: 0 }
    const counts = new Map([
      ['orders/0' as const, { ...count, clockMs: 20 }],
      ['orders/1' as const, { ...count, clockMs: 8 }],
    ])
    const tables = [{ table: 'orders', files: [], deadLetterFiles: [], counts }]
    work.staged({ ...stagedUpTo([['orders/0', 0n, 1n]]), tables })
    expect(work.assignment(0).clocksMs).toEqual({ orders: { 'orders/0': 20, 'orders/1': 9 } })
    expect(clocksMs.orders['orders/0']).toBe(7)
    expect(workOver().assignment(0)).not.toHaveProperty('clocksMs')
  })

  it('finds exactly the records that kill, in few deaths, wherever they are', () => {
    const place = fc.tuple(fc.constantFrom(...IDS), fc.integer({ min: 0, max: 2_999 }))
    fc.assert(
      fc.property(fc.uniqueArray(place, { maxLength: 4, selector: ([id, o]) => `${id}@${o}` }), (places) => {
        const poison = new Set(places.map(([id, offset]) => `${id}@${offset}`))
        const { fatal, deaths, worst } = ingest(workOver(), 3_000n, (at) => poison.has(at))
        expect(fatal).toEqual(poison)
        expect(deaths).toBeLessThanOrEqual(7 * poison.size)
        // The pool gives up after sixteen deaths in a row: the search must be shorter.
        expect(worst).toBeLessThanOrEqual(7)
      }),
      { numRuns: 40 },
    )
  })

  it('condemns nobody when the lane is killed from outside now and then', () => {
    let count = 0
    const { fatal } = ingest(
      workOver(),
      3_000n,
      () => false,
      () => ++count % 2 === 0 && count < 40,
    )
    expect([...fatal]).toEqual([])
  })

  it('condemns nobody for a death that may be the fault of another pipeline, and still finds its own fault', () => {
    const work = workOver()
    const [partition] = IDS as [PartitionId]
    const spans = [{ partition, first: 0n, last: 0n, records: 1 }]
    for (let i = 0; i < 8; i++) {
      work.encoding(spans)
      work.died(false)
    }
    expect(work.assignment(0)).toMatchObject({ fatal: new Set(), microBatch: { recordsMax: 1 } })
    for (let i = 0; i < 2; i++) {
      work.encoding(spans)
      work.died(true)
      work.encoding(spans)
      work.died(false)
    }
    expect(work.assignment(0).fatal).toEqual(new Set(['orders/0@0']))
  })

  it('does not blame records for a death between two batches', () => {
    const work = workOver()
    for (let i = 0; i < 5; i++) {
      work.encoding([{ partition: IDS[0]!, first: 0n, last: 9n, records: 10 }])
      work.encoded()
      work.died(true)
    }
    expect(work.assignment(0).microBatch.recordsMax).toBe(LIMITS.recordsMax)
    expect(work.deaths).toBe(5)
  })

  it('takes full batches again once the records that killed are behind', () => {
    const work = workOver()
    const [id] = IDS as [PartitionId]
    for (let i = 0; i < 3; i++) {
      work.encoding([{ partition: id, first: 0n, last: 999n, records: 1_000 }])
      work.died(true)
    }
    expect(work.assignment(0).microBatch.recordsMax).toBe(256)
    expect(work.staged(stagedUpTo([[id, 0n, 256n]]))).toBe(false)
    expect(work.assignment(0).microBatch.recordsMax).toBe(256)
    expect(work.staged(stagedUpTo([[id, 256n, 1_000n]]))).toBe(true)
    expect(work.assignment(0).microBatch.recordsMax).toBe(LIMITS.recordsMax)
    expect(work.assignment(0).from.get(id)).toEqual({ offset: 1_000n, leaderEpoch: 0, topicId: 't' })
  })

  it('knows how long a batch has been in the lane', () => {
    const clock = new InstantClock()
    const work = workOver(clock)
    expect(work.encodingMs).toBe(0)
    work.encoding([{ partition: IDS[0]!, first: 0n, last: 9n, records: 10 }])
    clock.advance(700)
    expect(work.encodingMs).toBe(700)
    work.encoded()
    expect(work.encodingMs).toBe(0)
  })
})
