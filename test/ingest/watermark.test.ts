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

describe('C1: the combined watermark', () => {
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

describe('C of a fork that is built', () => {
  const UNTIL = new Map<PartitionId, bigint>([
    ['c/0', 3n],
    ['c/1', 1n],
  ])
  const at = (
    watermarks: Watermarks,
    p0: bigint,
    p1: bigint,
    clocks: readonly (number | undefined)[],
    before?: number,
  ) => {
    const known = clocks.flatMap((ms, p) => (ms === undefined ? [] : [[`c/${p}`, ms] as const]))
    const standing: Standing = {
      positions: new Map<PartitionId, bigint>([
        ['c/0', p0],
        ['c/1', p1],
        ['other/0', 7n],
      ]),
      clocksMs: { t: Object.fromEntries(known) },
      watermarksMs: before === undefined ? {} : { t: before },
    }
    // That the log is drained closes nothing: it goes on.
    expect(watermarks.timesOf('t', standing, true)).toEqual(watermarks.timesOf('t', standing))
    return watermarks.timesOf('t', standing).watermarkMs
  }

  const saw = (watermarks: Watermarks, partition: PartitionId, end: bigint): void =>
    watermarks.saw({ partition, from: 0n, until: end, leaderEpoch: 0, tail: undefined, end })

  test('where C of its base is known, it is that at the end, and never more before', () => {
    const watermarks = new Watermarks([definition], new InstantClock(), { until: UNTIL, watermarksMs: { t: 60 } })
    expect(at(watermarks, 1n, 0n, [10, undefined])).toBeUndefined()
    // The other partition has come to its end, and holds nothing.
    expect(at(watermarks, 1n, 1n, [10, undefined])).toBe(4)
    expect(at(watermarks, 2n, 1n, [100, 20], 4)).toBe(60)
    expect(at(watermarks, 3n, 1n, [100, 20], 4)).toBe(60)
    expect(at(watermarks, 3n, 1n, [undefined, undefined])).toBe(60)
    expect(at(watermarks, 3n, 1n, [100, 20], 80)).toBe(80)
  })

  test('where its base had none, it has none', () => {
    const watermarks = new Watermarks([definition], new InstantClock(), {
      until: UNTIL,
      watermarksMs: { t: undefined },
    })
    expect(at(watermarks, 1n, 1n, [10, undefined])).toBeUndefined()
    expect(at(watermarks, 3n, 1n, [10, undefined])).toBeUndefined()
  })

  test('where it is not, the end of the log is what the clocks say of it', () => {
    const watermarks = new Watermarks([definition], new InstantClock(), { until: UNTIL, watermarksMs: { other: 60 } })
    expect(at(watermarks, 2n, 1n, [50, 20])).toBe(44)
    expect(at(watermarks, 3n, 1n, [50, 20])).toBe(14)
    expect(at(watermarks, 3n, 1n, [50, undefined])).toBe(44)
  })

  test('no clock on a wall makes a partition idle', () => {
    const clock = new InstantClock()
    const watermarks = new Watermarks([definition], clock, { until: UNTIL, watermarksMs: { t: 90 } })
    saw(watermarks, 'c/0', 1n)
    saw(watermarks, 'c/1', 0n)
    clock.advance(10 * IDLE_MS)
    expect(at(watermarks, 1n, 0n, [100, 20])).toBe(14)
  })

  test('once it has reached its base, partitions are idle as on the main chain, and a drained log closes nothing', () => {
    const clock = new InstantClock()
    const watermarks = new Watermarks([definition], clock, { until: undefined, watermarksMs: { t: 60 } })
    expect(at(watermarks, 3n, 1n, [100, 20], 14)).toBe(14)
    expect(at(watermarks, 3n, 1n, [100, undefined], 14)).toBe(14)
    saw(watermarks, 'c/1', 1n)
    clock.advance(IDLE_MS)
    expect(at(watermarks, 3n, 1n, [100, 20], 14)).toBe(94)
  })
})
