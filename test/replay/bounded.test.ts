import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { ContentSource, MemoryLog } from '../../src/ingest/memory-log.ts'
import { partitionId, type Cursor, type PartitionId, type Positions, type RecordBatch } from '../../src/log.ts'
import { bounded } from '../../src/replay/bounded.ts'
import { InstantClock } from '../support/instant-clock.ts'
import { record, recordsOf, type Seen } from '../support/log.ts'

const PARTITIONS = 3

interface Given {
  /** Of each partition: a record, or so many offsets without one. */
  readonly slots: readonly (readonly number[])[]
  /** Where each ends, as a share of its log; undefined: it has no bound. */
  readonly until: readonly (number | undefined)[]
  readonly from: readonly number[]
  readonly batchOffsetsMax: number
}

/** Doubles are drawn by their bits, and are next to nothing for the most part. */
const share = fc.nat(20).map((part) => part / 20)

const given: fc.Arbitrary<Given> = fc.record({
  slots: fc.array(fc.array(fc.nat(3), { maxLength: 12 }), { minLength: PARTITIONS, maxLength: PARTITIONS }),
  until: fc.array(fc.option(share, { nil: undefined }), {
    minLength: PARTITIONS,
    maxLength: PARTITIONS,
  }),
  from: fc.array(share, { minLength: PARTITIONS, maxLength: PARTITIONS }),
  batchOffsetsMax: fc.integer({ min: 1, max: 9 }),
})

function logOf({ slots }: Given): MemoryLog {
  const log = new MemoryLog()
  log.createTopic('a', PARTITIONS)
  for (const [p, list] of slots.entries())
    for (const [k, holes] of list.entries())
      if (holes > 0) log.appendHidden('a', p, holes)
      else
        log.append('a', p, [
          { ...record(`${p}-${k}`, `key${k}`, k), headers: [{ key: 'h', value: Buffer.from(String(k)) }] },
        ])
  return log
}

function positionsOf(log: MemoryLog, shares: readonly (number | undefined)[]): Positions {
  return new Map(
    shares.flatMap((share, p) =>
      share === undefined ? [] : [[partitionId('a', p), BigInt(Math.round(share * Number(log.end('a', p))))] as const],
    ),
  )
}

function cursorsAt(log: MemoryLog, positions: Positions): Map<PartitionId, Cursor> {
  const { topicId } = log.topics()[0]!
  return new Map([...positions].map(([id, offset]) => [id, { offset, leaderEpoch: -1, topicId }]))
}

/** Reads until the source ends by itself. */
async function readAll(
  log: MemoryLog,
  from: ReadonlyMap<PartitionId, Cursor>,
  until: Positions,
  batchOffsetsMax: number,
): Promise<RecordBatch[]> {
  const source = bounded(new ContentSource(log, new InstantClock(), { batchOffsetsMax }), until)
  const batches: RecordBatch[] = []
  for await (const batch of source.read(from, new AbortController().signal)) batches.push(batch)
  return batches
}

function recordsBetween(log: MemoryLog, p: number, from: bigint, until: bigint): [bigint, string][] {
  const found: [bigint, string][] = []
  for (let offset = from; offset < until; offset++) {
    const value = log.record('a', p, offset)?.value
    if (value !== undefined) found.push([offset, Buffer.from(value).toString()])
  }
  return found
}

describe('a bounded log', () => {
  test('has the records below its bounds, reaches them exactly, and ends', async () => {
    await fc.assert(
      fc.asyncProperty(given, async (each) => {
        const log = logOf(each)
        const [from, until] = [positionsOf(log, each.from), positionsOf(log, each.until)]
        const batches = await readAll(log, cursorsAt(log, from), until, each.batchOffsetsMax)
        const reached = new Map(from)
        const seen = new Map<PartitionId, Seen[]>()
        for (const batch of batches) {
          const id = partitionId('a', batch.partition)
          expect(batch.nextOffset).toBeGreaterThanOrEqual(reached.get(id)!)
          expect([batch.offsets.length, batch.timestampsMs.length]).toEqual([batch.count, batch.count])
          expect([batch.keyRanges.length, batch.valueRanges.length]).toEqual([2 * batch.count, 2 * batch.count])
          // More may come: a partition at its bound has not come to the end of the log.
          expect(batch.end).toBe(log.end('a', batch.partition))
          reached.set(id, batch.nextOffset)
          seen.set(id, [...(seen.get(id) ?? []), ...recordsOf(batch)])
        }
        for (let p = 0; p < PARTITIONS; p++) {
          const id = partitionId('a', p)
          const [first, end] = [from.get(id)!, until.get(id) ?? 0n]
          expect(reached.get(id)).toBe(end > first ? end : first)
          const found = (seen.get(id) ?? []).map(({ offset, value, headers, timestampMs }) => {
            expect(headers).toEqual([['h', String(timestampMs)]])
            return [offset, value]
          })
          expect(found).toEqual(recordsBetween(log, p, first, end))
        }
      }),
      { numRuns: 100 },
    )
  })

  test('goes on from any of its positions as if it had not been left', async () => {
    await fc.assert(
      fc.asyncProperty(given, fc.nat(20), async (each, cut) => {
        const log = logOf(each)
        const [from, until] = [positionsOf(log, each.from), positionsOf(log, each.until)]
        const cursors = cursorsAt(log, from)
        const whole = await readAll(log, cursors, until, each.batchOffsetsMax)
        for (const { partition, nextOffset } of whole.slice(0, cut)) {
          const id = partitionId('a', partition)
          cursors.set(id, { ...cursors.get(id)!, offset: nextOffset })
        }
        const rest = await readAll(log, cursors, until, each.batchOffsetsMax)
        const values = (batches: readonly RecordBatch[]): string[] =>
          batches.flatMap((batch) => recordsOf(batch).map(({ value }) => value!)).toSorted()
        expect(values(rest)).toEqual(values(whole.slice(cut)))
      }),
      { numRuns: 100 },
    )
  })

  test('knows the partitions that have a bound, and no others', async () => {
    const log = logOf({ slots: [[0], [0], [0]], until: [], from: [], batchOffsetsMax: 1 })
    const until = new Map([[partitionId('a', 1), 1n]])
    const source = bounded(new ContentSource(log, new InstantClock()), until)
    expect((await source.topics(['a'])).get('a')!.partitions).toEqual([1])
    const all = [0, 1, 2].map((p) => partitionId('a', p))
    expect(await source.positionsAt(all, 'earliest')).toEqual(new Map(all.map((id) => [id, 0n])))
    const batches = await readAll(log, cursorsAt(log, new Map(all.map((id) => [id, 0n]))), until, 10)
    expect(batches.map(({ partition, count }) => [partition, count])).toEqual([[1, 1]])
  })

  test('ends when it is told to, wherever it stands', async () => {
    const log = logOf({ slots: [[0, 0, 0], [], []], until: [], from: [], batchOffsetsMax: 1 })
    const stop = new AbortController()
    const source = bounded(new ContentSource(log, new InstantClock(), { batchOffsetsMax: 1 }), new Map([['a/0', 3n]]))
    let batches = 0
    for await (const _ of source.read(cursorsAt(log, new Map([['a/0', 0n]])), stop.signal)) {
      batches++
      stop.abort()
    }
    expect(batches).toBe(1)
  })
})
