import { describe, expect, test } from 'vitest'
import type { PipelineDefinition } from '../../src/define.ts'
import { inlineLanes } from '../../src/ingest/lanes.ts'
import { ContentSource, MemoryLog } from '../../src/ingest/memory-log.ts'
import { run, type Control } from '../../src/ingest/pipeline.ts'
import { openChain } from '../../src/lake/chain.ts'
import { MemoryStorage } from '../../src/lake/storage/memory.ts'
import type { PartitionId } from '../../src/log.ts'
import type { Version } from '../../src/version.ts'
import { InstantClock } from '../support/instant-clock.ts'
import { records } from '../support/log.ts'
import { rowEncoder, rowTable } from '../support/rows.ts'

// Where the history of a pipeline begins: the first position of each partition, whatever comes later.

type StartAt = 'earliest' | 'latest'

const pipelineOf = (startAt: StartAt, ...topics: readonly string[]): PipelineDefinition => ({
  name: 'shop',
  onDataLoss: 'stop',
  windows: [],
  tables: topics.map((topic) => ({ ...rowTable(topic, topic), startAt })),
})

class Bench {
  readonly clock = new InstantClock()
  readonly storage = new MemoryStorage('origins')
  readonly log = new MemoryLog()
  readonly chain = openChain(this.storage, 'shop', this.clock)

  constructor(...topics: readonly string[]) {
    for (const topic of topics) this.grow(topic)
  }

  grow(topic: string): void {
    this.log.createTopic(topic, 1)
    this.log.append(topic, 0, records('v', 4))
  }

  /** Until the partitions that are asked for have been read to their ends. */
  async run(definition: PipelineDefinition, ...until: readonly PartitionId[]): Promise<Version> {
    const { clock, storage, log } = this
    const stop = new AbortController()
    const control: Control = {
      pauseReason: undefined,
      isHurried: true,
      compactions: new Map(),
      onHead: ({ positions }) => {
        const isAtEnd = (id: PartitionId): boolean => positions.get(id) === log.end(id.slice(0, -2), Number(id.at(-1)))
        if (until.every(isAtEnd)) stop.abort()
      },
    }
    const source = new ContentSource(log, clock)
    const microBatch = { recordsMax: 3, bytesMax: 1 << 20, ageMsMax: 1 }
    const lanes = { source, encoder: rowEncoder(storage), lanes: 1, microBatch, clock }
    const startLanes = () => Promise.resolve(inlineLanes(lanes))
    const parts = { definition, storage, clock, observer: () => undefined, control, compaction: undefined, startLanes }
    const policy = { writer: 'w', minIntervalMs: 1, heartbeatMs: 1_000 }
    const result = await run(source, parts, this.chain, policy, stop.signal)
    expect(result.kind).toBe('stopped')
    return (await this.chain.head())!
  }
}

const of = (map: ReadonlyMap<PartitionId, bigint>): Record<string, bigint> => Object.fromEntries(map)

describe('origins', () => {
  test.each([
    ['earliest', 0n],
    ['latest', 4n],
  ] as const)('of a start at %s stay when more is read, and when a run begins again', async (startAt, first) => {
    const bench = new Bench('a')
    const definition = pipelineOf(startAt, 'a')
    for (let round = 0; round < 3; round++) {
      const head = await bench.run(definition, 'a/0')
      expect(of(head.origins)).toEqual({ 'a/0': first })
      bench.log.append('a', 0, records('more', 3))
    }
    for (const { origins } of await bench.chain.versions(100)) expect(of(origins)).toEqual({ 'a/0': first })
  })

  test('retention takes the beginning of the log, and not that of the history', async () => {
    const bench = new Bench('a')
    const definition = pipelineOf('earliest', 'a')
    await bench.run(definition, 'a/0')
    bench.log.append('a', 0, records('more', 2))
    bench.log.deleteRecordsBefore('a', 0, 4n)
    expect(of((await bench.run(definition, 'a/0')).origins)).toEqual({ 'a/0': 0n })
  })

  test('of a partition that came later are its beginning, whatever the start was (rule P7)', async () => {
    const bench = new Bench('a')
    const definition = pipelineOf('latest', 'a')
    await bench.run(definition, 'a/0')
    bench.log.addPartitions('a', 2)
    bench.log.append('a', 1, records('new', 3))
    bench.log.deleteRecordsBefore('a', 1, 1n)
    expect(of((await bench.run(definition, 'a/0', 'a/1')).origins)).toEqual({ 'a/0': 4n, 'a/1': 1n })
  })

  test('of a topic that was waited for are its beginning', async () => {
    const bench = new Bench('a')
    const definition = pipelineOf('latest', 'a', 'b')
    await bench.run(definition, 'a/0')
    bench.grow('b')
    expect(of((await bench.run(definition, 'a/0', 'b/0')).origins)).toEqual({ 'a/0': 4n, 'b/0': 0n })
  })

  test('of a head of which nothing was read are its own, also when other code begins anew', async () => {
    const bench = new Bench('a')
    await bench.run(pipelineOf('latest', 'a'), 'a/0')
    bench.log.append('a', 0, records('more', 2))
    bench.grow('b')
    const other = pipelineOf('latest', 'a', 'b')
    const changed = { ...other, tables: other.tables.map((table) => ({ ...table, unknown: 'extra' as const })) }
    const head = await bench.run(changed, 'a/0', 'b/0')
    expect(of(head.origins)).toEqual({ 'a/0': 4n, 'b/0': 4n })
    expect(of(head.positions)).toEqual({ 'a/0': 6n, 'b/0': 4n })
  })
})
