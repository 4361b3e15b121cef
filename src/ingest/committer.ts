import type { Clock } from '../clock.ts'
import type { Observer } from '../event.ts'
import type { Chain, CommitResult, VersionContent } from '../lake/chain.ts'
import { appendFiles, openTable, writeVersionHint, type LakeTable, type Storage } from '../lake/table.ts'
import { parsePartitionId, type Cursor, type PartitionId, type Positions } from '../log.ts'
import type { TableVersion, Version } from '../version.ts'
import type { Staged } from './lane.ts'
import { assertCounted, Pending } from './pending.ts'

export interface CommitPolicy {
  readonly writer: string
  /** Shortest time from the end of a commit to the start of the next. */
  readonly minIntervalMs: number
  /** A version without rows is written at most this often, and this often when nothing happens at all. */
  readonly heartbeatMs: number
}

/** What a commit may say beside the rows that were folded. */
export interface Change {
  /** First positions of partitions that are new to the pipeline. */
  readonly firstPositions?: Positions
  readonly topicIds?: Readonly<Record<string, string>>
  readonly paused?: Version['paused']
  readonly resumed?: boolean
  readonly released?: boolean
}

/**
 * folded: the batch goes into the next commit. repeated: all of it was folded before. gap: it does not begin where
 * the last one ended, so whoever staged it must start again from `cursors`.
 */
export type FoldVerdict = 'folded' | 'repeated' | 'gap'

/**
 * The one writer of a pipeline. Takes staged batches strictly in the order of the log and turns all that it took into
 * one version. Crash-only: after anything but `committed` it is dropped and a new one is opened from the head.
 */
export class Committer {
  #head: Version
  #tables: ReadonlyMap<string, LakeTable>
  readonly #chain: Chain
  readonly #storage: Storage
  readonly #policy: CommitPolicy
  readonly #clock: Clock
  readonly #observer: Observer
  #pending: Pending
  #lastCommitMs: number
  #isHurried = false

  private constructor(
    parts: CommitterParts,
    head: Version,
    tables: ReadonlyMap<string, LakeTable>,
    lastCommitMs: number,
  ) {
    this.#chain = parts.chain
    this.#storage = parts.storage
    this.#policy = parts.policy
    this.#clock = parts.clock
    this.#observer = parts.observer
    this.#head = head
    this.#tables = tables
    this.#pending = new Pending(head)
    this.#lastCommitMs = lastCommitMs
  }

  static async open(parts: CommitterParts, head: Version): Promise<Committer> {
    return new Committer(parts, head, await tablesOf(parts.storage, head.tables), parts.clock.monotonicMs())
  }

  get head(): Version {
    return this.#head
  }

  /** Tables at the head, companions included. */
  get tables(): ReadonlyMap<string, LakeTable> {
    return this.#tables
  }

  /** Where the next staged batch of each partition must begin. */
  get cursors(): ReadonlyMap<PartitionId, Cursor> {
    const cursors = new Map<PartitionId, Cursor>()
    for (const [id, offset] of this.#pending.positions) {
      const topicId = this.#head.topicIds[parsePartitionId(id).topic] ?? ''
      cursors.set(id, { offset, leaderEpoch: this.#pending.tails.get(id)?.leaderEpoch ?? -1, topicId })
    }
    return cursors
  }

  fold(staged: Staged): FoldVerdict {
    const { positions } = this.#pending
    if (staged.ranges.every(({ partition, until }) => until <= (positions.get(partition) ?? -1n))) return 'repeated'
    if (staged.ranges.some(({ partition, from }) => from !== positions.get(partition))) return 'gap'
    for (const table of staged.tables) assertCounted(table)
    this.#pending.add(staged)
    return 'folded'
  }

  /**
   * Passes over what the log has lost below `until`; the next version names the hole. It begins where the folded
   * batches end, which may be below where a lane met it: what a lane had read and not yet handed over is lost with it.
   */
  skip(partition: PartitionId, until: bigint): void {
    const from = this.#pending.positions.get(partition)
    if (from !== undefined && from < until) this.#pending.skip(partition, { from, until })
  }

  /** The next commit need not wait for rows. */
  hurry(): void {
    this.#isHurried = true
  }

  /** Milliseconds until `commit` should be called; 0 when it is due. */
  dueInMs(): number {
    const waits = this.#pending.hasFiles || (this.#isHurried && this.#pending.hasMoved)
    const intervalMs = waits ? this.#policy.minIntervalMs : this.#policy.heartbeatMs
    return Math.max(0, this.#lastCommitMs + intervalMs - this.#clock.monotonicMs())
  }

  async commit(change: Change = {}, signal?: AbortSignal): Promise<CommitResult> {
    const startMs = this.#clock.monotonicMs()
    const [base, pending, commitId] = [this.#head, this.#pending, this.#clock.uuid()]
    let tables = this.#tables
    const build = async (head: Version | undefined, number: bigint): Promise<VersionContent> => {
      if (head !== base) tables = await tablesOf(this.#storage, head!.tables)
      tables = await this.#append(tables, pending, { commitId, version: number })
      return this.#content(head!, pending, tables, change)
    }
    const result = await this.#chain.append(base, { commitId, build }, signal).catch((error) => {
      this.#report('failed', undefined, startMs, pending)
      throw error
    })
    const outcome = result.kind === 'committed' ? 'ok' : result.kind
    this.#report(outcome, result.kind === 'committed' ? result.version.number : undefined, startMs, pending)
    if (result.kind === 'committed') {
      // For readers by path; nothing of ours depends on it.
      const touched = [...tables.values()].filter((table) => pending.files.has(table.name))
      await Promise.allSettled(touched.map((table) => writeVersionHint(this.#storage, table)))
      this.#head = result.version
      this.#tables = tables
      this.#pending = new Pending(result.version)
      this.#isHurried = false
    }
    this.#lastCommitMs = this.#clock.monotonicMs()
    return result
  }

  async #append(
    tables: ReadonlyMap<string, LakeTable>,
    pending: Pending,
    commit: { readonly commitId: string; readonly version: bigint },
  ): Promise<ReadonlyMap<string, LakeTable>> {
    const entries = [...tables].map(async ([name, table]): Promise<[string, LakeTable]> => {
      const files = pending.files.get(name)
      if (files === undefined) return [name, table]
      const stamp = { ...commit, ranges: pending.rangesText(name, this.#head.positions) }
      return [name, await appendFiles(this.#storage, table, files, stamp, this.#clock)]
    })
    return new Map(await Promise.all(entries))
  }

  #content(head: Version, pending: Pending, tables: ReadonlyMap<string, LakeTable>, change: Change): VersionContent {
    return {
      kind: 'ingest',
      writer: this.#policy.writer,
      tables: Object.fromEntries(
        Object.entries(head.tables).map(([name, table]) => {
          const { metadata, snapshot } = tables.get(name) ?? table
          return [name, { metadata, snapshot, code: table.code }]
        }),
      ),
      positions: new Map([...pending.positions, ...(change.firstPositions ?? [])]),
      clocksMs: pending.clocksMs,
      watermarkMs: undefined,
      topicIds: { ...head.topicIds, ...change.topicIds },
      tails: pending.tails,
      holes: pending.holes,
      paused: change.resumed === true ? undefined : (change.paused ?? head.paused),
      released: change.released ?? false,
    }
  }

  #report(
    outcome: 'ok' | 'stale' | 'superseded' | 'failed',
    version: bigint | undefined,
    startMs: number,
    pending: Pending,
  ): void {
    const durationMs = this.#clock.monotonicMs() - startMs
    const tables = Object.fromEntries(pending.counts)
    this.#observer({ kind: 'commit', pipeline: this.#chain.pipeline, outcome, version, durationMs, tables })
  }
}

export interface CommitterParts {
  readonly chain: Chain
  readonly storage: Storage
  readonly policy: CommitPolicy
  readonly clock: Clock
  readonly observer: Observer
}

async function tablesOf(
  storage: Storage,
  versions: Readonly<Record<string, TableVersion>>,
): Promise<ReadonlyMap<string, LakeTable>> {
  const names = Object.entries(versions)
  return new Map(
    await Promise.all(
      names.map(async ([name, { metadata }]): Promise<[string, LakeTable]> => [
        name,
        await openTable(storage, metadata),
      ]),
    ),
  )
}
