import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { table, type TableDefinition } from '../../src/define.ts'
import type { StagedRange } from '../../src/ingest/lane.ts'
import { Watermarks, type Standing } from '../../src/ingest/watermark.ts'
import type { PartitionId, Source } from '../../src/log.ts'
import { InstantClock } from '../support/instant-clock.ts'

// Rules C1, C6, C7, C9: what the combined watermark is made of, and when a partition no longer holds it.

const B = 5
const IDLE_MS = 30_000
const definition: TableDefinition = table('t', {
  from: { topic: 'c' },
  columns: { at: 'long' },
  eventTime: { column: 'at', unit: 'ms', outOfOrderness: `${B}ms`, idleAfter: `${IDLE_MS}ms` },
})

class Bench {
  readonly clock = new InstantClock()
  readonly watermarks = new Watermarks([definition], this.clock)
  readonly positions = new Map<PartitionId, bigint>([
    ['c/0', 0n],
    ['c/1', 0n],
    ['other/0', 7n],
  ])
  readonly clocks: Record<PartitionId, number> = {}
  before: number | undefined

  /** The committer folds a batch of one record; the log may hold more behind it. */
  record(partition: number, clockMs: number | undefined, lag = 0n): void {
    const id: PartitionId = `c/${partition}`
    const from = this.positions.get(id)!
    this.positions.set(id, from + 1n)
    if (clockMs !== undefined) this.clocks[id] = Math.max(this.clocks[id] ?? -Infinity, clockMs)
    this.watermarks.saw({ partition: id, from, until: from + 1n, end: from + 1n + lag } as StagedRange)
  }

  look(ends: Readonly<Record<PartitionId, bigint>>): Promise<void> {
    const bounds = (ids: readonly PartitionId[]) => Promise.resolve(new Map(ids.map((id) => [id, { end: ends[id]! }])))
    return this.watermarks.look({ bounds } as unknown as Source, this.positions)
  }

  get standing(): Standing {
    return {
      positions: this.positions,
      clocksMs: { t: this.clocks },
      watermarksMs: this.before === undefined ? {} : { t: this.before },
    }
  }

  /** A commit: C of the version to come. */
  commit(isLast = false): number | undefined {
    return (this.before = this.watermarks.timesOf('t', this.standing, isLast).watermarkMs)
  }

  get clockMsMin(): number | undefined {
    return this.watermarks.timesOf('t', this.standing).clockMsMin
  }
}

describe('C', () => {
  test('is the least clock, less the bound and one; an idle partition does not hold it (the table of section 6)', () => {
    const bench = new Bench()
    bench.record(0, 100)
    bench.record(1, 20)
    expect(bench.commit()).toBe(14)
    bench.clock.advance(IDLE_MS - 1)
    bench.record(0, 100)
    bench.clock.advance(1)
    expect(bench.commit()).toBe(94)
    // It wakes: C stands.
    bench.record(1, 30)
    expect(bench.commit()).toBe(94)
    bench.record(1, 60)
    expect(bench.commit()).toBe(94)
    expect(bench.clockMsMin).toBe(60)
  })

  test('C9: a partition without a clock holds it until it is idle', async () => {
    const bench = new Bench()
    bench.record(0, 100)
    expect(bench.commit()).toBe(undefined)
    bench.clock.advance(10 * IDLE_MS)
    // Nothing is known of the other one, not even where it ends.
    expect(bench.commit()).toBe(undefined)
    await bench.look({ 'c/1': 0n })
    expect(bench.commit()).toBe(undefined)
    bench.clock.advance(IDLE_MS)
    bench.record(0, 110)
    expect(bench.commit()).toBe(104)
    // One that is new holds C where it is, and has no clock to settle by.
    bench.positions.set('c/2', 0n)
    bench.record(0, 120)
    expect(bench.commit()).toBe(104)
    expect(bench.clockMsMin).toBe(undefined)
  })

  test('C6: a partition with lag is never idle, nor one that is not read for reasons of ours', () => {
    const bench = new Bench()
    bench.record(0, 100, 1n)
    bench.record(1, 20, 1n)
    bench.clock.advance(2 * IDLE_MS)
    expect(bench.commit()).toBe(14)
    bench.record(1, 20)
    bench.clock.advance(IDLE_MS - 1)
    bench.clock.advance(5 * IDLE_MS)
    bench.watermarks.hold(5 * IDLE_MS)
    expect(bench.commit()).toBe(14)
    bench.clock.advance(1)
    expect(bench.commit()).toBe(94)
  })

  test('C7: when all are idle it stands', () => {
    const bench = new Bench()
    bench.record(0, 100)
    bench.record(1, 20)
    bench.clock.advance(2 * IDLE_MS)
    expect(bench.commit()).toBe(undefined)
    bench.record(0, 100)
    bench.record(1, 20)
    expect(bench.commit()).toBe(14)
    bench.clock.advance(2 * IDLE_MS)
    expect(bench.commit()).toBe(14)
  })

  test('at the end of a bounded log, partitions without a clock are idle at once', () => {
    const bench = new Bench()
    bench.record(0, 100)
    expect(bench.commit(true)).toBe(94)
    bench.record(1, 20)
    expect(bench.commit(true)).toBe(94)
    expect(bench.clockMsMin).toBe(20)
  })

  test('never goes back; without idle partitions it is the least clock of those that moved on', () => {
    const step = fc.record({
      partition: fc.nat(1),
      clockMs: fc.option(fc.integer({ min: -200, max: 200 }), { nil: undefined }),
      lag: fc.bigInt({ min: 0n, max: 1n }),
      passedMs: fc.constantFrom(0, 1, IDLE_MS / 2, IDLE_MS),
      isCommit: fc.boolean(),
    })
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const bench = new Bench()
        let last: number | undefined
        const quietSince = new Map<number, number>()
        for (const { partition, clockMs, lag, passedMs, isCommit } of steps) {
          bench.record(partition, clockMs, lag)
          quietSince.set(partition, lag > 0n ? Infinity : bench.clock.monotonicMs())
          bench.clock.advance(passedMs)
          if (!isCommit) continue
          const now = bench.commit()
          if (last !== undefined) expect(now).toBeGreaterThanOrEqual(last)
          const busy = [0, 1].filter((p) => bench.clock.monotonicMs() - (quietSince.get(p) ?? Infinity) < IDLE_MS)
          const least = Math.min(...busy.map((p) => bench.clocks[`c/${p}`] ?? -Infinity))
          const free = busy.length === 0 || least === -Infinity ? undefined : least - B - 1
          expect(now).toBe(free === undefined ? last : Math.max(free, last ?? -Infinity))
          last = now
        }
      }),
    )
  })
})
