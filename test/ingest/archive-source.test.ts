import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { systemClock } from '../../src/clock.ts'
import { askIndex, remoteIndex, type ArchiveQuestion } from '../../src/ingest/archive/archive.ts'
import { joined, withArchives } from '../../src/ingest/archive-source.ts'
import { stage, type Encoder } from '../../src/ingest/lane.ts'
import { ContentSource, MemoryLog, type LogRecord } from '../../src/ingest/memory-log.ts'
import { recordHash } from '../../src/ingest/record-batch.ts'
import { partitionId, type PartitionId, type Source } from '../../src/log.ts'
import { bounded } from '../../src/replay/bounded.ts'
import { sourceConformance } from '../conformance/source.ts'
import { definition, tablePlan } from '../support/lake-table.ts'
import { asText, cursorsAt, drain, record, records, recordsOf, text, type Seen } from '../support/log.ts'
import { MemoryArchive } from '../support/memory-archive.ts'

/** A log of which all that is written is archived at once. */
sourceConformance(
  'log with its archive',
  async () => {
    const log = new MemoryLog()
    const archive = new MemoryArchive(log, systemClock)
    let topics = 0
    return {
      open: async () => {
        const live = new ContentSource(log, systemClock, { pollMs: 1, batchOffsetsMax: 7 })
        // Topics come after the source here: each call sees what is archived by then.
        const now = (): Source => joined(archive.archives, archive.log, live)
        return {
          topics: (names) => now().topics(names),
          positionsAt: (ids, at) => now().positionsAt(ids, at),
          bounds: (ids) => now().bounds(ids),
          tailAt: (id, offset) => now().tailAt(id, offset),
          read: (from, signal) => now().read(from, signal),
          close: () => live.close(),
        }
      },
      createTopic: async (partitions) => {
        const topic = `t${topics++}`
        log.createTopic(topic, partitions)
        return topic
      },
      append: async (topic, partition, records) => {
        log.append(topic, partition, records)
        archive.keep(topic, partition)
      },
      appendAborted: async (topic, partition, records) => {
        log.appendHidden(topic, partition, records.length + 1)
        archive.keep(topic, partition)
      },
      deleteRecordsBefore: async (topic, partition, offset) => log.deleteRecordsBefore(topic, partition, offset),
      deleteTopic: async (topic) => log.deleteTopic(topic),
      recreate: async (topic) => log.recreate(topic),
      truncate: async (topic, partition, to) => log.truncate(topic, partition, to),
      close: async () => undefined,
    }
  },
  // It has what the log lost: what it answers there is tested below.
  new Set([
    'resolves earliest, latest and a timestamp; one after the last record is the end',
    'tailAt finds exactly the record at an offset',
    'a position below the log start is a gap',
  ]),
)

type Step =
  | { readonly kind: 'append'; readonly records: readonly LogRecord[] }
  | { readonly kind: 'hidden'; readonly count: number }
  | { readonly kind: 'compact'; readonly every: number }
  | { readonly kind: 'leader' | 'keep' }
  | { readonly kind: 'retain'; readonly share: number }

const bytes = fc.option(fc.string({ maxLength: 6 }).map(text), { nil: undefined })
const logRecord: fc.Arbitrary<LogRecord> = fc.record({
  timestampMs: fc.oneof(fc.integer({ min: 0, max: 50 }), fc.constantFrom(-1, -2, 9e15, 1_700_000_000_000)),
  key: bytes,
  value: bytes,
  headers: fc.array(fc.record({ key: fc.string({ maxLength: 3 }), value: bytes }), { maxLength: 2 }),
  isAppendTime: fc.boolean(),
})
const step = (mayCompact: boolean): fc.Arbitrary<Step> =>
  fc.oneof(
    {
      weight: 4,
      arbitrary: fc.record({ kind: fc.constant('append'), records: fc.array(logRecord, { maxLength: 9 }) }),
    },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant('hidden'), count: fc.integer({ min: 1, max: 4 }) }) },
    { weight: 3, arbitrary: fc.constant({ kind: 'keep' as const }) },
    {
      weight: 2,
      arbitrary: fc.record({ kind: fc.constant('retain'), share: fc.double({ min: 0, max: 1, noNaN: true }) }),
    },
    { weight: 1, arbitrary: fc.constant({ kind: 'leader' as const }) },
    ...(mayCompact
      ? [{ weight: 2, arbitrary: fc.record({ kind: fc.constant('compact'), every: fc.integer({ min: 2, max: 3 }) }) }]
      : []),
  ) as fc.Arbitrary<Step>

/** With who set its timestamp. */
type Whole = Seen & { readonly isAppendTime: boolean }

function seen(offset: bigint, { timestampMs, key, value, headers = [], isAppendTime = false }: LogRecord): Whole {
  const pairs = headers.map((header) => [header.key, asText(header.value)] as const)
  return { offset, timestampMs, key: asText(key), value: asText(value), headers: pairs, isAppendTime }
}

/** A log with its archive after some steps, and what a reader of both must find: each record as it was first read. */
function play(steps: readonly (readonly [number, Step])[]) {
  const log = new MemoryLog()
  log.createTopic('t', 2)
  const archive = new MemoryArchive(log, systemClock)
  const original = [new Map<bigint, Whole>(), new Map<bigint, Whole>()]
  const kept = [0n, 0n]
  let isCompacted = false
  for (const [p, each] of steps) {
    const first = log.end('t', p)
    switch (each.kind) {
      case 'append':
        log.append('t', p, each.records)
        each.records.forEach((one, i) => original[p]!.set(first + BigInt(i), seen(first + BigInt(i), one)))
        break
      case 'hidden':
        log.appendHidden('t', p, each.count)
        break
      case 'leader':
        log.changeLeader('t', p)
        break
      case 'keep':
        archive.keep('t', p)
        kept[p] = log.end('t', p)
        break
      case 'compact':
        isCompacted = true
        log.compact('t', p, (_, offset) => offset % BigInt(each.every) === 0n)
        // What nobody had read by then is gone for all.
        for (const offset of original[p]!.keys())
          if (offset >= kept[p]! && offset % BigInt(each.every) !== 0n) original[p]!.delete(offset)
        break
      case 'retain': {
        const to = BigInt(Math.floor(Number(kept[p]) * each.share))
        if (to > log.logStart('t', p)) log.deleteRecordsBefore('t', p, to)
      }
    }
  }
  const live = new ContentSource(log, systemClock, { batchOffsetsMax: 4, pollMs: 0 })
  const compacted = async (topics: readonly string[]) => new Set(isCompacted ? topics : [])
  const source = joined(archive.archives, archive.log, Object.assign(live, { compacted }))
  return { log, archive, source, original }
}

async function readAll(source: Source, from = 0n, onBatch?: () => void): Promise<Map<PartitionId, Whole[]>> {
  const found = new Map<PartitionId, Whole[]>([
    ['t/0', []],
    ['t/1', []],
  ])
  await drain(source, await cursorsAt(source, 't', from), undefined, (batch) => {
    const types = batch.appendTimes
    const whole = recordsOf(batch).map((one, i) => ({ ...one, isAppendTime: types?.[i] === 1 }))
    found.get(partitionId(batch.topic, batch.partition))!.push(...whole)
    onBatch?.()
  })
  return found
}

const steps = (mayCompact: boolean) => fc.array(fc.tuple(fc.nat({ max: 1 }), step(mayCompact)), { maxLength: 25 })

describe('archive and topic are one log', () => {
  test('each record is there once, as it was, wherever retention and compaction have come', async () => {
    await fc.assert(
      fc.asyncProperty(steps(true), async (all) => {
        const { source, original } = play(all)
        const found = await readAll(source)
        for (const p of [0, 1]) expect(found.get(partitionId('t', p))).toEqual([...original[p]!.values()])
        const bounds = await source.bounds(['t/0', 't/1'])
        for (const [id, { logStart }] of bounds) {
          expect(logStart).toBe(0n)
          expect((await source.positionsAt([id], 'earliest')).get(id)).toBe(0n)
        }
      }),
      { numRuns: 150 },
    )
  })

  test('retention that goes on while the log is read takes nothing away', async () => {
    await fc.assert(
      fc.asyncProperty(steps(false), fc.integer({ min: 1, max: 5 }), async (all, pace) => {
        const { log, archive, source, original } = play([...all, [0, { kind: 'keep' }], [1, { kind: 'keep' }]])
        expect(archive.archives.length).toBe(1)
        const found = await readAll(source, 0n, () => {
          for (const p of [0, 1]) {
            const to = log.logStart('t', p) + BigInt(pace)
            if (to <= log.end('t', p)) log.deleteRecordsBefore('t', p, to)
          }
        })
        for (const p of [0, 1]) expect(found.get(partitionId('t', p))).toEqual([...original[p]!.values()])
      }),
      { numRuns: 50 },
    )
  })

  test('what a lane stages of it is what it stages of the log as it was, also up to a bound', async () => {
    await fc.assert(
      fc.asyncProperty(steps(false), fc.integer({ min: 1, max: 9 }), async (all, recordsMax) => {
        const { log, source } = play(all)
        const whole = new MemoryLog()
        whole.createTopic('t', 2)
        for (const p of [0, 1])
          for (let at = 0n; at < log.end('t', p); at++) {
            const one = log.record('t', p, at)
            if (one === undefined) whole.appendHidden('t', p)
            else whole.append('t', p, [one])
          }
        const plain = new ContentSource(whole, systemClock, { pollMs: 0 })
        const until = new Map([0, 1].map((p) => [partitionId('t', p), log.end('t', p) / 2n + 1n] as const))
        for (const [id, end] of until) if (end > log.end('t', Number(id.at(-1)))) until.delete(id)
        const [ours, theirs] = [await staged(source, until, recordsMax), await staged(plain, until, recordsMax)]
        expect(ours).toEqual(theirs)
      }),
      { numRuns: 100 },
    )
  })

  test('a position behind records of the archive has no epoch: an older one would say that the log was cut', async () => {
    const log = new MemoryLog()
    log.createTopic('t', 1)
    log.append('t', 0, records('a', 4))
    log.changeLeader('t', 0)
    log.append('t', 0, records('b', 4))
    const archive = new MemoryArchive(log, systemClock)
    archive.keep('t', 0)
    log.append('t', 0, records('c', 4))
    log.deleteRecordsBefore('t', 0, 8n)
    const source = joined(archive.archives, archive.log, new ContentSource(log, systemClock, { pollMs: 0 }))
    const topicId = (await source.topics(['t'])).get('t')!.topicId
    const from = new Map([['t/0' as const, { offset: 3n, leaderEpoch: 0, topicId }]])
    const until = new Map([['t/0' as const, 8n]])
    const microBatch = { bytesMax: 1 << 20, recordsMax: 100, ageMsMax: 1_000_000 }
    const assignment = { lane: 0, from, tables: [], microBatch, fatal: new Set<string>() }
    const encoder = { encode: () => Promise.reject(new Error('no table')), close: async () => undefined }
    const signal = AbortSignal.timeout(5_000)
    for await (const { ranges } of stage(bounded(source, until), assignment, encoder, systemClock, signal))
      expect(ranges).toMatchObject([{ until: 8n, leaderEpoch: -1 }])
    const drained = await drain(source, from)
    expect(drained.values('t/0')).toEqual(['a3', 'b0', 'b1', 'b2', 'b3', 'c0', 'c1', 'c2', 'c3'])
  })

  test('a timestamp is looked for in both', async () => {
    const { source, log, archive } = play([])
    log.append('t', 0, [record('a', 'k', 1000), record('b', 'k', 2000)])
    archive.keep('t', 0)
    log.append('t', 0, [record('c', 'k', 3000)])
    log.deleteRecordsBefore('t', 0, 2n)
    await source.close()
    const both = joined(archive.archives, archive.log, new ContentSource(log, systemClock))
    const at = async (timestampMs: number) => (await both.positionsAt(['t/0'], { timestampMs })).get('t/0')
    expect([await at(0), await at(1001), await at(2001), await at(3001)]).toEqual([0n, 1n, 2n, 3n])
    expect((await both.positionsAt(['t/0'], 'latest')).get('t/0')).toBe(3n)
    expect(await both.tailAt('t/0', 0n)).toEqual({
      offset: 0n,
      leaderEpoch: 0,
      hash: recordHash(1000, text('k'), text('a')),
    })
  })
})

test('a topic counts as compacted unless its archive has all that it had', async () => {
  const log = new MemoryLog()
  log.createTopic('t', 1)
  log.createTopic('bare', 1)
  log.append('t', 0, records('a', 10))
  const archive = new MemoryArchive(log, systemClock)
  archive.keep('t', 0)
  const compacted = async (topics: readonly string[]) => new Set(topics)
  const live = Object.assign(new ContentSource(log, systemClock), { compacted })
  const of = async (from: bigint) => {
    const archives = archive.archives.map((one) => ({
      ...one,
      ranges: new Map([['t/0' as const, { from, until: 10n }]]),
    }))
    return [...(await joined(archives, archive.log, live).compacted!(['t', 'bare']))]
  }
  expect(await of(0n)).toEqual(['bare'])
  expect(await of(4n)).toEqual(['t', 'bare'])
  log.deleteRecordsBefore('t', 0, 4n)
  expect(await of(4n)).toEqual(['bare'])
})

test('a process that reads no archives asks others what stands in them, as they are at the time', async () => {
  const log = new MemoryLog()
  log.createTopic('t', 2)
  const archive = new MemoryArchive(log, systemClock)
  const live = new ContentSource(log, systemClock, { pollMs: 1 })
  const asked: ArchiveQuestion[] = []
  const source = withArchives(
    live,
    () => Promise.resolve(archive.archives),
    (archives) => {
      expect(archives).toEqual(archive.archives)
      return remoteIndex((question) => {
        asked.push(question)
        return askIndex(archive.log, structuredClone(question))
      })
    },
  )
  expect((await source.bounds(['t/0'])).get('t/0')!.logStart).toBe(0n)
  log.append('t', 0, [record('a', 'k', 1000), record('b', 'k', 2000), record('c', 'k', 3000)])
  log.append('t', 1, [record('d', 'k', 1500)])
  for (const p of [0, 1]) archive.keep('t', p)
  log.deleteRecordsBefore('t', 0, 2n)
  const bounds = await source.bounds(['t/0', 't/1'])
  expect([...bounds.values()].map(({ logStart }) => logStart)).toEqual([0n, 0n])
  expect(asked).toEqual([])
  expect(await source.positionsAt(['t/0', 't/1'], { timestampMs: 1200 })).toEqual(
    new Map([
      ['t/0', 1n],
      ['t/1', 0n],
    ]),
  )
  expect(await source.tailAt('t/0', 1n)).toMatchObject({ hash: recordHash(2000, text('k'), text('b')) })
  expect(asked).toEqual([
    { kind: 'firstAt', partition: 't/0', timestampMs: 1200, until: 2n },
    { kind: 'tailAt', partition: 't/0', offset: 1n },
  ])
  await source.close()
  expect((await live.bounds(['t/0'])).get('t/0')!.end).toBe(3n)
})

describe('what is no log any more', () => {
  async function failure(source: Source, offset: bigint): Promise<unknown> {
    const cursor = { offset, leaderEpoch: -1, topicId: 'memory-1' }
    for await (const _ of source.read(new Map([['t/0', cursor]]), AbortSignal.timeout(5_000))) continue
    return 'ended'
  }

  function archivedAndLost(): { log: MemoryLog; archive: MemoryArchive; source: () => Source } {
    const log = new MemoryLog()
    log.createTopic('t', 1)
    log.append('t', 0, records('a', 10))
    const archive = new MemoryArchive(log, systemClock)
    archive.keep('t', 0)
    return {
      log,
      archive,
      source: () => joined(archive.archives, archive.log, new ContentSource(log, systemClock, { pollMs: 1 })),
    }
  }

  test('records between the end of the archive and the beginning of the log are a gap', async () => {
    const { log, source } = archivedAndLost()
    log.append('t', 0, records('b', 10))
    log.deleteRecordsBefore('t', 0, 15n)
    expect((await source().bounds(['t/0'])).get('t/0')!.logStart).toBe(15n)
    await expect(failure(source(), 0n)).rejects.toMatchObject({
      code: 'kafka.gap',
      context: { partition: 't/0', from: '10', until: '15' },
    })
  })

  test('what is below the archive is a gap up to it', async () => {
    const { log, archive } = archivedAndLost()
    log.deleteRecordsBefore('t', 0, 8n)
    const late = archive.archives.map((one) => ({
      ...one,
      ranges: new Map([['t/0' as const, { from: 4n, until: 10n }]]),
    }))
    const source = joined(late, archive.log, new ContentSource(log, systemClock, { pollMs: 1 }))
    await expect(failure(source, 2n)).rejects.toMatchObject({
      code: 'kafka.gap',
      context: { partition: 't/0', from: '2', until: '4' },
    })
  })

  test('another record where both have one is another log', async () => {
    const { log, source } = archivedAndLost()
    log.truncate('t', 0, 8n)
    log.append('t', 0, records('other', 5))
    log.deleteRecordsBefore('t', 0, 5n)
    await expect(failure(source(), 0n)).rejects.toMatchObject({
      code: 'kafka.log_truncated',
      context: { partition: 't/0', at: '9' },
    })
  })

  test('a log that ends below its archive was cut', async () => {
    const { log, source } = archivedAndLost()
    log.deleteRecordsBefore('t', 0, 5n)
    log.truncate('t', 0, 8n)
    await expect(failure(source(), 0n)).rejects.toMatchObject({
      code: 'kafka.log_truncated',
      context: { partition: 't/0', at: '8' },
    })
  })

  test('a topic that was made again is not the one of the archive', async () => {
    const { log, source } = archivedAndLost()
    log.recreate('t')
    log.append('t', 0, records('other', 20))
    await expect(failure(source(), 0n)).rejects.toMatchObject({ code: 'kafka.topic_replaced' })
    await expect(source().bounds(['t/0'])).rejects.toMatchObject({ code: 'kafka.topic_replaced' })
  })

  test('without a reader of archives bounds can be asked, records cannot', async () => {
    const { log, archive } = archivedAndLost()
    log.deleteRecordsBefore('t', 0, 5n)
    const source = joined(archive.archives, undefined, new ContentSource(log, systemClock))
    expect((await source.bounds(['t/0'])).get('t/0')!.logStart).toBe(0n)
    expect(await source.tailAt('t/0', 2n)).toBeUndefined()
    await expect(failure(source, 0n)).rejects.toMatchObject({ code: 'internal' })
    expect(await source.positionsAt(['t/0'], 'earliest')).toEqual(new Map([['t/0', 0n]]))
  })
})

/** What a lane makes of the log: ranges, tails and records, of all its batches together. */
async function staged(source: Source, until: ReadonlyMap<PartitionId, bigint>, recordsMax: number) {
  const found: string[] = []
  const encoder: Encoder = {
    async encode(plan, batches) {
      const counts = new Map<
        PartitionId,
        { rows: number; deadLetters: 0; tombstones: 0; skipped: 0; clockMs: undefined }
      >()
      for (const batch of batches) {
        const id = partitionId(batch.topic, batch.partition)
        const rows = (counts.get(id)?.rows ?? 0) + batch.count
        counts.set(id, { rows, deadLetters: 0, tombstones: 0, skipped: 0, clockMs: undefined })
        recordsOf(batch).forEach((one, i) =>
          found.push(JSON.stringify([id, String(one.offset), { ...one, offset: 0 }, batch.appendTimes?.[i] === 1])),
        )
      }
      return { table: plan.table, files: [], deadLetterFiles: [], counts }
    },
    close: async () => undefined,
  }
  const plan = tablePlan(definition({ name: 'copy', topic: 't', value: 'raw' }))
  const topicId = (await source.topics(['t'])).get('t')!.topicId
  const from = new Map([...until.keys()].map((id) => [id, { offset: 0n, leaderEpoch: -1, topicId }]))
  const microBatch = { bytesMax: 1 << 20, recordsMax, ageMsMax: 1_000_000 }
  const assignment = { lane: 0, from, tables: [plan], microBatch, fatal: new Set<string>() }
  const positions = new Map<PartitionId, bigint>()
  const tails = new Map<PartitionId, unknown>()
  const log = bounded(source, until)
  for await (const one of stage(log, assignment, encoder, systemClock, AbortSignal.timeout(10_000)))
    for (const { partition, until, tail } of one.ranges) {
      positions.set(partition, until)
      if (tail !== undefined) tails.set(partition, [tail.offset, tail.hash])
    }
  return { positions, tails, records: found.toSorted() }
}
