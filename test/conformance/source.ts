import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { LogRecord } from '../../src/ingest/memory-log.ts'
import { recordHash } from '../../src/ingest/record-batch.ts'
import { partitionId, type Cursor, type PartitionId, type RecordBatch, type Source } from '../../src/log.ts'
import { asText, cursorsAt, drain, record, records, text } from '../support/log.ts'

/** A log that the suite may write to and mistreat. Each `append` must end up in a batch, or batches, of its own. */
export interface LogUnderTest {
  open(): Promise<Source>
  /** Makes a topic with a name of its own. */
  createTopic(partitions: number): Promise<string>
  append(topic: string, partition: number, records: readonly LogRecord[]): Promise<void>
  /** Writes records that no reader may see; `append` goes on behind them. */
  appendAborted(topic: string, partition: number, records: readonly LogRecord[]): Promise<void>
  deleteRecordsBefore(topic: string, partition: number, offset: bigint): Promise<void>
  deleteTopic(topic: string): Promise<void>
  /** Same name, same number of partitions, another topic. */
  recreate(topic: string): Promise<void>
  /** Loses the records from `to` on, as after an unclean election. `to` is the start of an `append`. */
  truncate(topic: string, partition: number, to: bigint): Promise<void>
  close(): Promise<void>
}

/**
 * What every source promises, whatever its log is. `exceptions`: what this one promises otherwise, which tests of its
 * own say.
 */
export function sourceConformance(
  name: string,
  start: () => Promise<LogUnderTest>,
  exceptions: ReadonlySet<string> = new Set(),
): void {
  const promise = (what: string, check: () => Promise<void>): void => {
    if (!exceptions.has(what)) test(what, check)
  }
  describe(`source: ${name}`, () => {
    let log: LogUnderTest
    let source: Source
    beforeAll(async () => {
      log = await start()
      source = await log.open()
    })
    afterAll(async () => {
      await source?.close()
      await log?.close()
    })

    const topicWith = async (...appends: LogRecord[][]): Promise<{ topic: string; id: PartitionId }> => {
      const topic = await log.createTopic(1)
      for (const append of appends) await log.append(topic, 0, append)
      return { topic, id: partitionId(topic, 0) }
    }
    /** A cursor behind everything that is in the topic, with the epoch that a reader had seen. */
    const readAll = async (topic: string): Promise<ReadonlyMap<PartitionId, Cursor>> =>
      (await drain(source, await cursorsAt(source, topic))).cursors
    const failure = async (from: ReadonlyMap<PartitionId, Cursor>): Promise<unknown> => {
      for await (const _ of source.read(from, AbortSignal.timeout(20_000))) continue
      return 'ended'
    }

    promise('knows topics, their ids and partitions; one that does not exist is absent', async () => {
      const topic = await log.createTopic(3)
      const topics = await source.topics([topic, 'no.such.topic'])
      expect([...topics.keys()]).toEqual([topic])
      expect(topics.get(topic)).toMatchObject({ topic, partitions: [0, 1, 2] })
      expect(topics.get(topic)!.topicId).not.toBe('')
      expect(await source.topics([])).toEqual(new Map())
    })

    promise('delivers keys, values, nulls, empties, timestamps and headers as written', async () => {
      const header = { key: 'h', value: text('x') }
      const written: LogRecord[] = [
        { timestampMs: 1_700_000_000_123, key: text('k'), value: text('v'), headers: [header, header] },
        { timestampMs: 1_700_000_000_122, key: undefined, value: text('no key') },
        { timestampMs: 1_700_000_000_124, key: text('tombstone'), value: undefined },
        { timestampMs: 0, key: text(''), value: text('') },
        { timestampMs: 1_700_000_000_125, key: text('ü😀'), value: text('x'.repeat(20_000)) },
      ]
      const { topic, id } = await topicWith(written)
      const { records } = await drain(source, await cursorsAt(source, topic))
      expect(records.get(id)).toEqual(
        written.map(({ timestampMs, key, value, headers = [] }, i) => ({
          offset: BigInt(i),
          timestampMs,
          key: asText(key),
          value: asText(value),
          headers: headers.map(({ key, value }) => [key, asText(value)]),
        })),
      )
    })

    promise('reads from any position on, also from the middle of an append', async () => {
      const { topic, id } = await topicWith(records('a', 50), records('b', 50))
      for (const offset of [0n, 1n, 49n, 50n, 73n, 99n]) {
        const { records } = await drain(source, await cursorsAt(source, topic, offset))
        expect(records.get(id)!.map((r) => r.offset)).toEqual(
          Array.from({ length: 100 - Number(offset) }, (_, i) => offset + BigInt(i)),
        )
      }
    })

    promise('reads all partitions, each in its order', async () => {
      const topic = await log.createTopic(4)
      for (let p = 0; p < 4; p++) await log.append(topic, p, records(`p${p}-`, 10 * (p + 1)))
      const drained = await drain(source, await cursorsAt(source, topic))
      for (let p = 0; p < 4; p++)
        expect(drained.values(partitionId(topic, p))).toEqual(
          Array.from({ length: 10 * (p + 1) }, (_, i) => `p${p}-${i}`),
        )
    })

    promise('an idle poll yields empty batches with the end of the log, and later records follow', async () => {
      const { topic, id } = await topicWith(records('a', 3))
      const from = await readAll(topic)
      const stop = new AbortController()
      const idle: RecordBatch[] = []
      const after: (RecordBatch | undefined)[] = []
      for await (const batch of source.read(from, stop.signal)) {
        if (batch.count === 0) {
          idle.push(batch)
          if (idle.length === 1) await log.append(topic, 0, records('b', 2))
        } else {
          after.push(batch)
          stop.abort()
        }
      }
      expect(idle[0]).toMatchObject({ topic, partition: 0, nextOffset: 3n, end: 3n, count: 0 })
      expect(after[0]).toMatchObject({ nextOffset: 5n, end: 5n, count: 2 })
      expect(id).toBe(partitionId(topic, 0))
    })

    promise('hides aborted records, and the position moves over them, also at the very end', async () => {
      const { topic, id } = await topicWith(records('a', 3))
      await log.appendAborted(topic, 0, records('gone', 5))
      await log.append(topic, 0, records('b', 3))
      await log.appendAborted(topic, 0, records('gone', 5))
      const drained = await drain(source, await cursorsAt(source, topic))
      const { end, highWatermark } = (await source.bounds([id])).get(id)!
      expect(drained.values(id)).toEqual(['a0', 'a1', 'a2', 'b0', 'b1', 'b2'])
      expect(drained.cursors.get(id)!.offset).toBe(end)
      expect(end).toBe(highWatermark)
      expect(end).toBeGreaterThanOrEqual(16n)
    })

    promise('a topic that holds nothing but aborted records is read to its end', async () => {
      const topic = await log.createTopic(1)
      await log.appendAborted(topic, 0, records('gone', 5))
      const drained = await drain(source, await cursorsAt(source, topic))
      expect(drained.values(partitionId(topic, 0))).toEqual([])
      expect(drained.cursors.get(partitionId(topic, 0))!.offset).toBeGreaterThanOrEqual(5n)
    })

    promise('resolves earliest, latest and a timestamp; one after the last record is the end', async () => {
      const { topic, id } = await topicWith([record('a', 'k', 1000), record('b', 'k', 2000), record('c', 'k', 3000)])
      await log.deleteRecordsBefore(topic, 0, 1n)
      const at = async (start: Parameters<Source['positionsAt']>[1]) => (await source.positionsAt([id], start)).get(id)
      expect(await at('earliest')).toBe(1n)
      expect(await at('latest')).toBe(3n)
      expect(await at({ timestampMs: 2000 })).toBe(1n)
      expect(await at({ timestampMs: 2001 })).toBe(2n)
      expect(await at({ timestampMs: 3001 })).toBe(3n)
      expect(await at({ timestampMs: 9_000_000_000_000 })).toBe(3n)
    })

    promise('tailAt finds exactly the record at an offset', async () => {
      const { topic, id } = await topicWith(records('a', 10))
      await log.appendAborted(topic, 0, records('gone', 2))
      const [, , third] = records('a', 10)
      const tail = await source.tailAt(id, 2n)
      expect(tail).toMatchObject({ offset: 2n, hash: recordHash(third!.timestampMs, third!.key, third!.value) })
      expect(tail!.leaderEpoch).toBeGreaterThanOrEqual(0)
      expect(await source.tailAt(id, 10n)).toBeUndefined()
      expect(await source.tailAt(id, 1000n)).toBeUndefined()
      await log.deleteRecordsBefore(topic, 0, 5n)
      expect(await source.tailAt(id, 2n)).toBeUndefined()
    })

    promise('a position below the log start is a gap', async () => {
      const { topic, id } = await topicWith(records('a', 10))
      await log.deleteRecordsBefore(topic, 0, 5n)
      const from = await cursorsAt(source, topic, 2n)
      await expect(failure(from)).rejects.toMatchObject({
        code: 'kafka.gap',
        context: { partition: id, from: '2', until: '5' },
      })
    })

    promise('records deleted under a reader are a gap', async () => {
      const { topic, id } = await topicWith(records('a', 10))
      const from = await readAll(topic)
      const reading = (async () => {
        let polls = 0
        for await (const _ of source.read(from, AbortSignal.timeout(20_000))) {
          if (++polls > 1) continue
          await log.append(topic, 0, records('b', 10)) // a source may have asked for these already
          await log.append(topic, 0, records('c', 10))
          await log.deleteRecordsBefore(topic, 0, 30n)
        }
      })()
      await expect(reading).rejects.toMatchObject({ code: 'kafka.gap', context: { partition: id, until: '30' } })
    })

    promise('a position beyond the end is a truncated log', async () => {
      const { topic, id } = await topicWith(records('a', 10))
      const from = await cursorsAt(source, topic, 11n)
      await expect(failure(from)).rejects.toMatchObject({
        code: 'kafka.log_truncated',
        context: { partition: id, at: '10' },
      })
    })

    promise('a topic made again under the same name is another log', async () => {
      const { topic } = await topicWith(records('a', 10))
      const from = await readAll(topic)
      await log.recreate(topic)
      await log.append(topic, 0, records('other', 20))
      await expect(failure(from)).rejects.toMatchObject({ code: 'kafka.topic_replaced', context: { topic } })
    })

    promise('a deleted topic is missing', async () => {
      const { topic } = await topicWith(records('a', 10))
      const from = await readAll(topic)
      await log.deleteTopic(topic)
      await expect(failure(from)).rejects.toMatchObject({ code: 'kafka.topic_missing', context: { topic } })
    })

    promise('a lost tail that others wrote over is a truncated log', async () => {
      const { topic, id } = await topicWith(records('a', 10), records('lost', 10))
      const from = await readAll(topic)
      await log.truncate(topic, 0, 10n)
      await log.append(topic, 0, records('other', 30))
      await expect(failure(from)).rejects.toMatchObject({
        code: 'kafka.log_truncated',
        context: { partition: id, at: '10' },
      })
      const below = new Map([[id, { ...from.get(id)!, offset: 10n }]])
      const drained = await drain(source, below)
      expect(drained.values(id)[0]).toBe('other0')
    })

    promise('ends when the signal aborts, before and during a poll', async () => {
      const { topic } = await topicWith(records('a', 1))
      const from = await readAll(topic)
      for await (const _ of source.read(from, AbortSignal.abort())) expect.unreachable()
      for await (const batch of source.read(from, AbortSignal.timeout(50))) expect(batch.count).toBe(0)
    })

    promise('a closed source ends its reads', async () => {
      const { topic } = await topicWith(records('a', 1))
      const other = await log.open()
      const from = await readAll(topic)
      for await (const _ of other.read(from, new AbortController().signal)) await other.close()
    })
  })
}
