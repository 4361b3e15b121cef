import { describe, expect, it } from 'vitest'
import { inlineLanes, shares, type LaneAnswer, type Lanes } from '../../src/ingest/lanes.ts'
import { ContentSource, MemoryLog } from '../../src/ingest/memory-log.ts'
import { stage, type Encoder, type Staged, type TablePlan } from '../../src/ingest/lane.ts'
import { MemoryStorage } from '../../src/lake/storage/memory.ts'
import type { Cursor, PartitionId } from '../../src/log.ts'
import { Random } from '../simulation/random.ts'
import { World } from '../simulation/world.ts'
import { cursorsAt, records } from '../support/log.ts'
import { rowEncoder } from '../support/rows.ts'

const write = (table: string) => ({
  table,
  schema: { type: 'struct' as const, 'schema-id': 0, fields: [] },
  spec: { 'spec-id': 0, fields: [] },
  uuid: `uuid of ${table}`,
  dataPrefix: `tables/${table}/data/`,
  formatVersion: 2 as const,
})
const LIMITS = { bytesMax: 1 << 20, recordsMax: 2, ageMsMax: 50 }
const TABLES: readonly TablePlan[] = [
  { table: 'orders', topic: 'orders', data: write('orders'), deadLetters: write('orders__dlq') },
]

function bench(
  options: {
    readonly lanes?: number
    readonly partitions?: number
    readonly onEncode?: () => Promise<void> | void
  } = {},
) {
  const { lanes: count = 1, partitions = 1, onEncode } = options
  const world = new World()
  const clock = world.clock(new Random(1))
  const log = new MemoryLog()
  log.createTopic('orders', partitions)
  const source = new ContentSource(log, clock, { batchOffsetsMax: 2, pollMs: 100 })
  const encoder = rowEncoder(new MemoryStorage('lanes'), onEncode)
  const lanes = inlineLanes({ source, encoder, lanes: count, microBatch: LIMITS, clock })
  const next = async (timeoutMs = 1_000): Promise<LaneAnswer> => {
    const answers: LaneAnswer[] = []
    let error: unknown
    lanes.next(timeoutMs).then(
      (value) => answers.push(value),
      (thrown) => (error = thrown),
    )
    await world.run(world.nowMs + 10_000, () => answers.length > 0 || error !== undefined)
    if (error !== undefined) throw error
    return answers[0]!
  }
  return { world, clock, log, source, lanes, next }
}

async function assign(lanes: Lanes, source: ContentSource, offset = 0n): Promise<void> {
  lanes.assign({ from: await cursorsAt(source, 'orders', offset), tables: TABLES })
}

describe('inline lanes', () => {
  it('hand out batches of the log in order', async () => {
    const { log, source, lanes, next } = bench()
    log.append('orders', 0, records('v', 6))
    await assign(lanes, source)
    const answers = [await next(), await next(), await next()]
    expect(answers.map((answer) => answer.kind === 'staged' && answer.staged.ranges[0])).toMatchObject([
      { from: 0n, until: 2n },
      { from: 2n, until: 4n },
      { from: 4n, until: 6n },
    ])
    expect(await next()).toEqual({ kind: 'idle' })
  })

  it('a lane that is not asked stops after one batch ahead', async () => {
    let encodes = 0
    const { world, log, source, lanes, next } = bench({ onEncode: () => void encodes++ })
    log.append('orders', 0, records('v', 100))
    await assign(lanes, source)
    await next()
    await world.run(world.nowMs + 60_000)
    expect(encodes).toBe(2)
  })

  it('a new assignment drops what was staged for the old one', async () => {
    const { world, log, source, lanes, next } = bench()
    log.append('orders', 0, records('v', 10))
    await assign(lanes, source)
    await world.run(world.nowMs + 500)
    await assign(lanes, source, 6n)
    expect(await next()).toMatchObject({ kind: 'staged', staged: { ranges: [{ from: 6n, until: 8n }] } })
  })

  it('a gap is an answer, after what was staged before it', async () => {
    const { world, log, source, lanes, next } = bench()
    log.append('orders', 0, records('v', 8))
    await assign(lanes, source)
    await world.run(world.nowMs + 500)
    log.deleteRecordsBefore('orders', 0, 6n)
    expect(await next()).toMatchObject({ kind: 'staged', staged: { ranges: [{ from: 0n, until: 2n }] } })
    const answers = [await next(), await next()]
    const gap = answers.find(({ kind }) => kind === 'gap')
    expect(gap).toMatchObject({ kind: 'gap', partition: 'orders/0', until: 6n })
    expect(await next()).toEqual(gap)
  })

  it('any other error of a lane is thrown', async () => {
    const { log, source, lanes, next } = bench({
      onEncode: () => {
        throw new Error('no memory')
      },
    })
    log.append('orders', 0, records('v', 2))
    await assign(lanes, source)
    await expect(next()).rejects.toThrow('no memory')
  })

  it('come to an end when the log does, each lane with its last batch', async () => {
    const { log, source, lanes, next } = bench({ lanes: 3, partitions: 2 })
    log.append('orders', 0, records('a', 1))
    log.append('orders', 1, records('b', 1))
    await assign(lanes, source)
    const kinds = [(await next()).kind, (await next()).kind]
    await source.close()
    expect([...kinds, (await next()).kind]).toEqual(['staged', 'staged', 'ended'])
  })

  it('refuse a batch of which a record is neither row nor anything else', async () => {
    const { log, source, clock } = bench()
    log.append('orders', 0, records('v', 2))
    const whole = rowEncoder(new MemoryStorage('lanes'))
    const counts = { rows: 1, deadLetters: 0, tombstones: 0, skipped: 0, clockMs: undefined }
    const encoder: Encoder = {
      encode: async (...args) => ({ ...(await whole.encode(...args)), counts: new Map([['orders/0', counts]]) }),
      close: () => Promise.resolve(),
    }
    const assignment = {
      lane: 0,
      from: await cursorsAt(source, 'orders'),
      tables: TABLES,
      microBatch: LIMITS,
      fatal: new Set<string>(),
    }
    const lane = stage(source, assignment, encoder, clock, new AbortController().signal)
    await expect(lane.next()).rejects.toMatchObject({ code: 'lane.failed', context: { records: 2, counted: 1 } })
  })

  it('carry the clocks of their assignment on, per table and partition (L1)', async () => {
    const { log, source, clock } = bench({ partitions: 2 })
    for (const partition of [0, 1]) log.append('orders', partition, records('v', 3))
    const whole = rowEncoder(new MemoryStorage('lanes'))
    const given: unknown[] = []
    let now = 10
    const encoder: Encoder = {
      async encode(plan, batches, fatal, baseless, clocksMs) {
        given.push({ ...clocksMs })
        const staged = await whole.encode(plan, batches, fatal, baseless)
        now -= 2
        return { ...staged, counts: new Map([...staged.counts].map(([id, count]) => [id, { ...count, clockMs: now }])) }
      },
      close: () => Promise.resolve(),
    }
    const assignment = {
      lane: 0,
      from: await cursorsAt(source, 'orders'),
      tables: TABLES,
      microBatch: { ...LIMITS, recordsMax: 2 },
      fatal: new Set<string>(),
      clocksMs: { orders: { 'orders/0': 5 }, constructor: { 'orders/0': 99 } } as const,
    }
    const staged: Staged[] = []
    const stop = new AbortController()
    for await (const each of stage(source, assignment, encoder, clock, stop.signal)) {
      staged.push(each)
      if (staged.reduce((sum, { records }) => sum + records, 0) === 6) break
    }
    // Clocks never go back, whatever a batch brings.
    let clocks: Record<string, number> = { 'orders/0': 5 }
    for (const [k, { tables }] of staged.entries()) {
      expect(given[k]).toEqual(clocks)
      for (const [id, { clockMs }] of tables[0]!.counts)
        clocks = { ...clocks, [id]: Math.max(clocks[id] ?? -Infinity, clockMs!) }
    }
    expect(clocks['orders/0']).toBe(8)
  })

  it('use their encoder for one batch at a time', async () => {
    let [busy, most] = [0, 0]
    const { world, log, source, lanes, next } = bench({
      lanes: 3,
      partitions: 3,
      onEncode: async () => {
        most = Math.max(most, ++busy)
        await world.sleep(20, 'encoding')
        busy--
      },
    })
    for (const partition of [0, 1, 2]) log.append('orders', partition, records('v', 4))
    await assign(lanes, source)
    await next()
    await assign(lanes, source)
    for (let i = 0; i < 6; i++) await next()
    expect(most).toBe(1)
  })

  it('wait where there is nothing to read yet', async () => {
    const { world, lanes, next } = bench()
    lanes.assign({ from: new Map(), tables: TABLES })
    const beforeMs = world.nowMs
    expect(await next(700)).toEqual({ kind: 'idle' })
    expect(world.nowMs - beforeMs).toBe(700)
  })
})

describe('shares', () => {
  it('give every partition to one lane, evenly', () => {
    const cursor: Cursor = { offset: 0n, leaderEpoch: -1, topicId: 't' }
    const from = new Map(Array.from({ length: 7 }, (_, i): [PartitionId, Cursor] => [`orders/${i}`, cursor]))
    const parts = shares({ from, tables: [] }, 3)
    expect(parts.map(({ size }) => size)).toEqual([3, 2, 2])
    expect(parts.flatMap((part) => [...part.keys()]).toSorted()).toEqual([...from.keys()].toSorted())
  })
})
