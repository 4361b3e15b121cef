import assert from 'node:assert/strict'
import { systemClock as clock } from '../../src/clock.ts'
import type { PipelineDefinition } from '../../src/define.ts'
import { openEncoder } from '../../src/ingest/encoder.ts'
import type { Encoder } from '../../src/ingest/lane.ts'
import { inlineLanes } from '../../src/ingest/lanes.ts'
import { letterWork } from '../../src/ingest/letters/letter-work.ts'
import type { SettleJob } from '../../src/ingest/letters/settle-job.ts'
import { ContentSource, type LogContent } from '../../src/ingest/memory-log.ts'
import { run, type Control, type ForkRun } from '../../src/ingest/pipeline.ts'
import { openTableWork } from '../../src/ingest/table-work.ts'
import { openWindowFold } from '../../src/ingest/window/fold.ts'
import type { Chain } from '../../src/lake/chain.ts'
import { COMPACTION, type Storage } from '../../src/lake/table.ts'
import { partitionId, type Positions } from '../../src/log.ts'
import { bounded } from '../../src/replay/bounded.ts'
import type { Version } from '../../src/version.ts'

const EAGER = { ...COMPACTION, smallBytes: 1 << 30, fanIn: 2, deadShare: 0.05, restAfter: 0 }

export interface RunParts {
  readonly storage: Storage
  readonly log: LogContent
  readonly chain: Chain
  readonly definition: PipelineDefinition
  readonly lanes: number
  readonly recordsMax: number
  readonly offsetsMax: number
  readonly fork?: ForkRun
  /** The log ends there; default: the run is stopped when all that it holds is committed. */
  readonly until?: Positions
  /** Records that are taken for ones that killed their lanes. */
  readonly fatal?: ReadonlySet<string>
  /** Versions after which it is stopped. */
  readonly versionsMax?: number
  /** Jobs on dead letters: without a bound the run goes on until they are done. */
  readonly settling?: Map<string, SettleJob>
}

/** One run of the path as it is, over a log in memory, with real Parquet; main chain or fork, endless log or bounded. */
export async function runOnce(parts: RunParts): Promise<Version> {
  const { storage, log, chain, definition, lanes, recordsMax, offsetsMax, fork, until, versionsMax = Infinity } = parts
  const { tables, windows } = definition
  const { fatal: deadly, settling = new Map<string, SettleJob>() } = parts
  const stop = new AbortController()
  let versions = 0
  let seen: bigint | undefined
  const control: Control = {
    pauseReason: undefined,
    isHurried: true,
    compactions: new Map(),
    settling,
    onHead: (head) => {
      if (head.number !== seen) versions++
      seen = head.number
      if (versions >= versionsMax) stop.abort()
      if (until === undefined && isAtEnd(head, log)) void clock.sleep(30).then(ended)
    },
  }
  const ended = async (): Promise<void> => {
    while ([...settling.values()].some(({ isOpen }) => isOpen) && !stop.signal.aborted) await clock.sleep(5)
    stop.abort()
  }
  const content = new ContentSource(log, clock, { batchOffsetsMax: offsetsMax, pollMs: 5 })
  const source = until === undefined ? content : bounded(content, until)
  const opened = await openEncoder({ tables, windows, storage, clock })
  const encoder: Encoder = {
    encode: (plan, batches, fatal, ...rest) => opened.encode(plan, batches, deadly ?? fatal, ...rest),
    close: () => opened.close(),
  }
  const work = await openTableWork({ tables, storage, clock })
  const openLog = (_: unknown, to: Positions) => bounded(new ContentSource(log, clock, { pollMs: 5 }), to)
  const letters = letterWork({ storage, clock, openLog })
  const microBatch = { recordsMax, bytesMax: 1 << 20, ageMsMax: 2 }
  const pipeline = {
    definition,
    storage,
    clock,
    observer: () => undefined,
    control,
    compaction: EAGER,
    ...(fork === undefined ? {} : { fork }),
    startLanes: () => Promise.resolve(inlineLanes({ source, encoder, work, letters, lanes, microBatch, clock })),
    openFold: () => openWindowFold({ windows, tables, storage, clock }),
  }
  const policy = { writer: 'w', minIntervalMs: 5, heartbeatMs: 1_000 }
  try {
    const result = await run(source, pipeline, chain, policy, stop.signal)
    if (versionsMax === Infinity) assert.equal(result.kind, until === undefined ? 'stopped' : 'drained')
    assert.ok('head' in result)
    return result.head
  } finally {
    stop.abort()
    await encoder.close()
    await work.close()
  }
}

function isAtEnd({ positions }: Version, log: LogContent): boolean {
  return log
    .topics()
    .every(({ topic, partitions }) =>
      partitions.every((p) => (positions.get(partitionId(topic, p)) ?? -1n) >= log.end(topic, p)),
    )
}
