import type { PipelineDefinition } from '../define.ts'
import type { Clock } from '../clock.ts'
import type { Observer } from '../event.ts'
import type { Chain } from '../lake/chain.ts'
import type { Storage } from '../lake/table.ts'
import type { PartitionId, Source } from '../log.ts'
import type { Hole, Version } from '../version.ts'
import { Committer, type Change, type CommitPolicy } from './committer.ts'
import type { Lanes } from './lanes.ts'
import { PoisonGuard } from './poison.ts'
import { lostRanges, newPartitions, openHead, tablePlans } from './start.ts'

/** Everything that a run needs beside the log and the chain. */
export interface Pipeline {
  readonly definition: PipelineDefinition
  readonly storage: Storage
  readonly clock: Clock
  readonly observer: Observer
  readonly control: Control
  startLanes(source: Source): Promise<Lanes>
}

/** What others ask of a run while it is under way; it looks here between two batches. */
export interface Control {
  pauseReason: string | undefined
  isHurried: boolean
  /** Called with each new head; with the topics that do not exist yet, whenever they were looked for. */
  onHead(head: Version, missingTopics: readonly string[] | undefined): void
}

/** Why a run ended. Everything else that stops it is thrown as a LakeError. */
export type RunResult =
  | { readonly kind: 'drained' | 'stopped' | 'paused' | 'stale' | 'superseded'; readonly head: Version }
  | { readonly kind: 'gap'; readonly partition: PartitionId; readonly from: bigint; readonly until: bigint }

/** New partitions and late topics are looked for this often. */
const TOPICS_EVERY_MS = 10_000
/** Longest wait for a batch before a request of a person is looked at. */
const WAIT_MS_MAX = 100

/**
 * THE path from a log to a chain of versions. Live ingestion runs it on an endless log and the main chain; a replay is
 * the same call with a bounded log and a fork. It owns no truth: whatever is lost here is read again from the head.
 */
export async function run(
  source: Source,
  pipeline: Pipeline,
  chain: Chain,
  policy: CommitPolicy,
  signal: AbortSignal,
): Promise<RunResult> {
  const { definition, storage, clock, observer, control } = pipeline
  const opened = await openHead(source, definition, chain, storage, policy, clock)
  if (opened.kind !== 'head') return opened
  if (opened.head.paused !== undefined) return { kind: 'paused', head: opened.head }

  const committer = await Committer.open({ chain, storage, policy, clock, observer }, opened.head)
  const guard = new PoisonGuard()
  const lanes = await pipeline.startLanes(source)
  const assign = () => lanes.assign({ from: committer.cursors, tables: tablePlans(definition, committer.tables) })
  const skip = (partition: PartitionId, hole: Hole) => {
    if (definition.onDataLoss === 'record-gap') committer.skip(partition, hole)
    return definition.onDataLoss === 'record-gap'
  }
  try {
    for (const [partition, hole] of await lostRanges(source, committer.head))
      if (!skip(partition, hole)) return { kind: 'gap', partition, ...hole }
    assign()

    for (let topicsDueMs = clock.monotonicMs(); !signal.aborted;) {
      if (clock.monotonicMs() >= topicsDueMs) {
        const found = await newPartitions(source, definition, committer.head)
        topicsDueMs = clock.monotonicMs() + TOPICS_EVERY_MS
        if (found.firstPositions.size > 0) {
          const result = await committer.commit(found, signal)
          if (result.kind !== 'committed') return result
          assign()
        }
        control.onHead(committer.head, found.missing)
      }

      const answer = await lanes.next(Math.min(committer.dueInMs(), WAIT_MS_MAX))
      switch (answer.kind) {
        case 'staged':
          guard.check(answer.staged)
          if (committer.fold(answer.staged) === 'gap') assign()
          for (const { partition, until, end } of answer.staged.ranges)
            observer({ kind: 'progress', pipeline: definition.name, partition, position: until, end })
          break
        case 'gap':
          if (!skip(answer.partition, answer)) return answer
          assign()
          break
        case 'ended':
          return await finish(committer, { kind: 'drained' }, {})
        case 'idle':
      }

      if (control.pauseReason !== undefined)
        return await finish(committer, { kind: 'paused' }, { paused: { reason: control.pauseReason } })
      if (control.isHurried) committer.hurry()
      control.isHurried = false
      if (committer.dueInMs() > 0) continue
      const result = await committer.commit({}, signal)
      if (result.kind !== 'committed') return result
      control.onHead(result.version, undefined)
    }
    return await finish(committer, { kind: 'stopped' }, { released: true })
  } finally {
    await lanes.close()
  }
}

/** The last commit of a run: all that was folded, and why it ends. */
async function finish(
  committer: Committer,
  end: { readonly kind: 'drained' | 'stopped' | 'paused' },
  change: Change,
): Promise<RunResult> {
  const result = await committer.commit(change)
  return result.kind === 'committed' ? { kind: end.kind, head: result.version } : result
}
