import type { PipelineDefinition } from '../define.ts'
import { publishedTables } from '../define-topic.ts'
import type { Clock } from '../clock.ts'
import type { Observer } from '../event.ts'
import type { Chain } from '../lake/chain.ts'
import type { CompactionPolicy, Storage } from '../lake/table.ts'
import type { Positions, Source } from '../log.ts'
import type { ChangeSink } from './change-sink.ts'
import { namesOf } from './codes.ts'
import { Committer, type CommitPolicy } from './committer.ts'
import type { Subjects } from './first-columns.ts'
import { finish, within } from './finish.ts'
import { GrowingTables } from './growing.ts'
import { hold, Holds, noReplay } from './holds.ts'
import { Housekeeping } from './housekeeping.ts'
import { ENDED, IDLE, type LaneAnswer, type Lanes } from './lanes.ts'
import { Settling } from './letters/settling.ts'
import { loadKeys, openPublisher, openWindows, unwrittenAt, writtenTables } from './load.ts'
import { PoisonGuard } from './poison.ts'
import { lostRanges, newPartitions, openHead, ownPartitions, tablePlans } from './start.ts'
import { Publisher } from './publisher.ts'
import { openTables } from './tables.ts'
import type { WindowFold } from './window/window.ts'
import type { Control, ForkRun, RunResult } from './run-parts.ts'
import { WindowTables } from './windows.ts'

export { archivesOf, type Archive } from './archive/archive.ts'
export { Changes } from './changes.ts'
export { changedTables, tableCodes } from './codes.ts'
export type { CommitPolicy } from './committer.ts'
export { emptyTables, type EmptyTablesOptions } from './create-tables.ts'
export { Holds } from './holds.ts'
export type { ChangedRows, CompareRange, CompareRequest, Comparison, TableWork } from './keys.ts'
export type { Lanes } from './lanes.ts'
export { assertSeedable, partOf, seedingOf, type Part } from './part.ts'
export { NEEDS_A_PERSON } from './reasons.ts'
export type { Control, ForkRun, RunResult } from './run-parts.ts'
export { withoutRange } from './without-range.ts'

/** Everything that a run needs beside the log and the chain. */
export interface Pipeline {
  readonly definition: PipelineDefinition
  readonly storage: Storage
  readonly clock: Clock
  readonly observer: Observer
  readonly control: Control
  /** When files are put together; undefined: never. */
  readonly compaction: CompactionPolicy | undefined
  /** Set for a run on a fork, of which nothing goes out: no version hints, and nothing is published without a sink. */
  readonly fork?: ForkRun
  /** `source` is that of the run; lanes with logs of their own read them up to `until`, of a bounded one. */
  startLanes(source: Source, until?: Positions): Promise<Lanes>
  /** What holds the open windows; needed by pipelines that have some. */
  openFold?(definition: PipelineDefinition): Promise<WindowFold>
  /** Where tables that are new find the columns of their subject's newest schema. */
  readonly registry?: Subjects | undefined
  /** Where changes of tables go; without it nothing is published. */
  openSink?(): ChangeSink
}

/** New partitions and late topics are looked for this often. */
const TOPICS_EVERY_MS = 10_000
const MISSING_EVERY_MS = 2_000
/** A run that was asked to stop no longer waits for a store that does not answer its last commit. */
const LAST_COMMIT_MS_MAX = 15_000

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
  const opened = await openHead(source, pipeline, chain, policy, signal)
  if (opened.kind !== 'head') return opened
  if (opened.head.paused !== undefined) return { kind: 'paused', head: opened.head }

  const lanes = await pipeline.startLanes(source)
  let [windows, publisher] = [WindowTables.none, Publisher.none]
  try {
    const tables = await openTables(storage, opened.head.tables)
    windows = await openWindows(pipeline, source, opened.head, tables)
    const unwritten = unwrittenAt(pipeline, opened.head)
    const keyed = await loadKeys(pipeline, lanes, tables, unwritten)
    publisher = openPublisher(pipeline, lanes, chain, opened.head)
    const published = () => publisher.published
    const isFork = pipeline.fork !== undefined
    const own = new Set(namesOf(definition))
    const growing = new GrowingTables(definition.tables)
    const parts = { chain, storage, policy, clock, observer, keyed, windows, growing, own, published, isFork }
    const committer = await Committer.open(parts, opened.head, tables)
    const guard = new PoisonGuard(policy.deadLetters)
    // A bounded log of no partition has come to its end; of an endless one a topic may be created any time.
    const isBounded = opened.head.fork?.building !== undefined
    const only = isBounded ? writtenTables(definition, unwritten) : undefined
    const files = { pipeline: definition.name, storage, work: () => lanes.work, policy: pipeline.compaction, only }
    const sent = new Set(publishedTables(definition).map(({ name }) => name))
    const housekeeping = new Housekeeping(committer, { ...files, clock, observer }, control.compactions, sent)
    const assign = () =>
      lanes.assign({
        from: holds.readable(ownPartitions(definition, committer.cursors)),
        holds: holds.until,
        tables: tablePlans(definition, committer.tables, unwritten, growing),
        baseless: committer.baseless,
        clocksMs: committer.clocksMs,
      })
    const settling = new Settling({ definition, storage, chain, committer, lanes, asked: control.settling })
    const tell = (missing?: readonly string[]) =>
      control.onHead(committer.head, missing, windows.idle(committer.head.positions))
    const { holds = new Holds() } = control
    holds.clear()
    const isLossAccepted = definition.onDataLoss === 'record-gap'
    for (const [partition, hole] of await lostRanges(source, committer.head, definition)) {
      if (!isLossAccepted) return { kind: 'gap', partition, ...hole }
      committer.skip(partition, hole.until)
    }
    assign()

    for (let topicsDueMs = clock.monotonicMs(); !signal.aborted;) {
      publisher.saw(committer.head)
      if (clock.monotonicMs() >= topicsDueMs) {
        const found = await newPartitions(source, definition, committer.head)
        topicsDueMs = clock.monotonicMs() + (found.missing.length > 0 ? MISSING_EVERY_MS : TOPICS_EVERY_MS)
        if (found.firstPositions.size > 0) {
          const result = await committer.commit(found, signal)
          if (result.kind !== 'committed') return result
          await windows.look(source, result.version.positions)
          assign()
        }
        tell(found.missing)
      }

      const kept = (await housekeeping.step(signal)) ?? (await settling.step(signal))
      if (kept !== undefined && kept.kind !== 'committed') return kept
      if (kept !== undefined) tell()

      const waitMs = Math.min(committer.dueInMs(), housekeeping.waitMsMax)
      // Back-pressure: what is not asked for is not fetched.
      const isBehind = housekeeping.isBehind
      const beganMs = clock.monotonicMs()
      const isEmpty = isBounded && ownPartitions(definition, committer.cursors).size === 0
      const answer = isEmpty ? ENDED : isBehind ? await idle(clock, waitMs, signal) : await lanes.next(waitMs)
      if (isBehind) windows.hold(clock.monotonicMs() - beganMs)
      switch (answer.kind) {
        case 'staged': {
          const verdict = await committer.fold(answer.staged)
          if (verdict === 'gap' || verdict === 'baseless' || holds.haveArrived(committer.cursors)) assign()
          if (verdict === 'folded') guard.check(answer.staged)
          for (const { partition, until, end } of answer.staged.ranges)
            observer({ kind: 'progress', pipeline: definition.name, partition, position: until, end })
          break
        }
        case 'gap': {
          if (isLossAccepted) {
            committer.skip(answer.partition, answer.until)
            assign()
            break
          }
          // What was folded is safe from the log only once it is committed.
          const result = await committer.commit({}, signal)
          if (result.kind !== 'committed') return result
          const { partition, from, until } = answer
          return { kind: 'gap', partition, from: result.version.positions.get(partition) ?? from, until }
        }
        case 'evolves':
          growing.learn(committer.tables.get(answer.table)!, answer.wanted)
          assign()
          break
        case 'incompatible':
          // What is left out of tables while they are built would be missing where they take the place of others.
          if (isBounded) throw await noReplay(pipeline, answer)
          void hold(holds, pipeline, answer)
          assign()
          break
        case 'ended':
          return await finish(committer, publisher, { kind: 'drained' }, { isLast: true }, signal)
        case 'idle':
      }

      if (control.pauseReason !== undefined)
        return await finish(
          committer,
          publisher,
          { kind: 'paused' },
          { paused: { reason: control.pauseReason } },
          signal,
        )
      if (holds.areReleased()) assign()
      if (control.isHurried) committer.hurry()
      control.isHurried = false
      if (committer.dueInMs() > 0) continue
      const result = await committer.commit({}, signal)
      if (result.kind !== 'committed') return result
      tell()
    }
    return await within(LAST_COMMIT_MS_MAX, clock, (limit) =>
      finish(committer, publisher, { kind: 'stopped' }, { released: true }, limit),
    )
  } finally {
    await publisher.close()
    await Promise.all([windows.close(), lanes.close()])
  }
}

async function idle(clock: Clock, ms: number, signal: AbortSignal): Promise<LaneAnswer> {
  await clock.sleep(ms, signal)
  return IDLE
}
