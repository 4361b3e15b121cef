import type { Clock } from '../clock.ts'
import type { Observer } from '../event.ts'
import type { Chain, CommitResult, VersionContent } from '../lake/chain.ts'
import {
  changeTable,
  writeVersionHints,
  type LakeTable,
  type Stamp,
  type Storage,
  type TableChange,
} from '../lake/table.ts'
import { parsePartitionId, type Cursor, type PartitionId } from '../log.ts'
import type { Clocks, Version } from '../version.ts'
import type { LiveTable, Replacement } from './compactor.ts'
import type { CommitPolicy, CommitterParts, FoldVerdict } from './committer-parts.ts'
import { changeGrown, GrowingTables } from './growing.ts'
import { compactedElsewhere, KeyedTables } from './keyed-tables.ts'
import type { Staged } from './lane.ts'
import { stagedAlone, type Reread, type SettleResult } from './letters/reread.ts'
import { nextVersion, type Change, type Settled } from './next-version.ts'
import { changeEach, openTables, type Tables } from './tables.ts'
import { assertCounted, Pending } from './pending.ts'
import { WindowTables } from './windows.ts'

export type { CommitPolicy, CommitterParts, FoldVerdict } from './committer-parts.ts'

/**
 * The one writer of a pipeline. Takes staged batches strictly in the order of the log and turns all that it took into
 * one version. Crash-only: after anything but `committed` it is dropped and a new one is opened from the head.
 */
export class Committer {
  #head: Version
  #tables: Tables
  readonly #chain: Chain
  readonly #storage: Storage
  readonly #policy: CommitPolicy
  readonly #clock: Clock
  readonly #observer: Observer
  readonly #keyed: KeyedTables
  readonly #windows: WindowTables
  readonly growing: GrowingTables
  readonly #live: ReadonlyMap<string, LiveTable>
  readonly #own: ReadonlySet<string> | undefined
  readonly #published: () => Version['published']
  readonly #isFork: boolean
  readonly #baseless = new Map<string, { readonly partition: PartitionId; readonly offset: bigint }>()
  /** Sequence numbers of the snapshots in which rows of dead letters last died, by their table. */
  readonly #diedAt = new Map<string, bigint>()
  #pending: Pending
  #lastCommitMs: number
  #isHurried = false

  private constructor(parts: CommitterParts, head: Version, tables: Tables, lastCommitMs: number) {
    this.#chain = parts.chain
    this.#storage = parts.storage
    this.#policy = parts.policy
    this.#clock = parts.clock
    this.#observer = parts.observer
    this.#keyed = parts.keyed ?? KeyedTables.none
    this.#windows = parts.windows ?? WindowTables.none
    this.growing = parts.growing ?? GrowingTables.none
    this.#live = new Map([...this.#keyed.all, ...this.#windows.all].map((table) => [table.name, table]))
    this.#own = parts.own
    this.#published = () => parts.published?.() ?? {}
    this.#isFork = parts.isFork ?? false
    this.#head = head
    this.#tables = tables
    this.#pending = new Pending(head)
    this.#lastCommitMs = lastCommitMs
  }

  static async open(parts: CommitterParts, head: Version, opened?: Tables): Promise<Committer> {
    const tables = opened ?? (await openTables(parts.storage, head.tables))
    return new Committer(parts, head, tables, parts.clock.monotonicMs())
  }

  get head(): Version {
    return this.#head
  }

  /** Tables at the head, companions included. */
  get tables(): Tables {
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

  /** The clocks at `cursors`. */
  get clocksMs(): Clocks {
    return this.#pending.clocksMs
  }

  get keyed(): KeyedTables {
    return this.#keyed
  }

  /** Tables whose rows die one by one, by name. */
  get live(): ReadonlyMap<string, LiveTable> {
    return this.#live
  }

  /** Records that are dead letters because nothing has the values that they lack: of those that are to be read again. */
  get baseless(): ReadonlySet<string> {
    return new Set(this.#baseless.keys())
  }

  /** Whether there is anything that a version of its own must not hold. */
  get hasPending(): boolean {
    return this.#pending.hasMoved || this.#keyed.haveChanged
  }

  async fold(staged: Staged): Promise<FoldVerdict> {
    const { positions } = this.#pending
    if (staged.ranges.every(({ partition, until }) => until <= (positions.get(partition) ?? -1n)))
      return this.#refuse(staged, 'repeated')
    if (staged.ranges.some(({ partition, from }) => from !== positions.get(partition)))
      return this.#refuse(staged, 'gap')
    const prepared = await this.#keyed.prepare(staged)
    if (prepared.kind === 'baseless') {
      for (const { text, ...record } of prepared.records) this.#baseless.set(text, record)
      return this.#refuse(staged, 'baseless')
    }
    for (const table of prepared.staged.tables) assertCounted(table)
    for (const table of prepared.staged.tables) await this.#keyed.fold(table, this.#clock)
    this.#windows.add(staged.ranges, prepared.staged.tables)
    this.#pending.add(prepared.staged)
    return 'folded'
  }

  async #refuse(staged: Staged, verdict: FoldVerdict): Promise<FoldVerdict> {
    await this.#windows.discard(staged.tables)
    return verdict
  }

  /**
   * Passes over what the log has lost below `until`; the next version names the hole. It begins where the folded
   * batches end, which may be below where a lane met it: what a lane had read and not yet handed over is lost with it.
   */
  skip(partition: PartitionId, until: bigint): void {
    const from = this.#pending.positions.get(partition)
    if (from !== undefined && from < until) this.#pending.skip(partition, { from, until })
  }

  /**
   * Dead letters are settled in a version of its own, and rows that their records became are folded where the log had
   * them. Nothing may be pending. `stale`: operations that lost against later records. `baseless`: nothing was done.
   */
  async settle(settled: Settled, given: Reread | undefined, signal?: AbortSignal): Promise<SettleResult> {
    if (given !== undefined) {
      const prepared = await this.#keyed.prepare(stagedAlone(given))
      if (prepared.kind === 'baseless') return prepared
      const table = prepared.staged.tables[0]!
      await this.#keyed.fold(table, this.#clock, given.stale)
      this.#windows.add([], [table])
      this.#pending.addReread(table)
    }
    const result = await this.commit({ settled }, signal)
    for (const name of settled.letters.keys())
      if (result.kind === 'committed') this.#diedAt.set(name, this.#tables.get(name)!.raw['last-sequence-number'])
    return result
  }

  /** Whether rows of a table without an index died since a snapshot: what was made of its files has them still. */
  hasDied(table: string, sequenceNumber: bigint): boolean {
    return sequenceNumber < (this.#diedAt.get(table) ?? 0n)
  }

  /** The next commit need not wait for rows. */
  hurry(): void {
    this.#isHurried = true
  }

  /** Milliseconds until `commit` should be called; 0 when it is due. */
  dueInMs(): number {
    const pending = this.#pending
    const hasNews = pending.hasFiles || this.#keyed.haveChanged || (this.#isHurried && pending.hasMoved)
    const intervalMs =
      hasNews || this.#windows.isWaiting(pending) ? this.#policy.minIntervalMs : this.#policy.heartbeatMs
    return Math.max(0, this.#lastCommitMs + intervalMs - this.#clock.monotonicMs())
  }

  async commit(change: Change = {}, signal?: AbortSignal): Promise<CommitResult> {
    const filled = await this.#keyed.finish()
    const [pending, before] = [this.#pending, this.#tables]
    const standing = pending.standing(change.firstPositions)
    pending.watermarks =
      (await this.#windows.fold(standing, this.#tables, change.isLast === true)) ?? pending.watermarks
    return this.#append(pending, change, signal, (tables, stamp) =>
      changeEach(tables, (name, table) => {
        const ranges = pending.rangesText(name, this.#head.positions)
        const letters = change.settled?.letters.get(name)
        if (letters !== undefined && table.metadata !== before.get(name)?.metadata) throw compactedElsewhere(name)
        const of =
          letters ?? this.#windows.changeOf(name) ?? this.#keyed.changeOf(name, pending.files.get(name) ?? [], filled)
        const grown = this.growing.grow(table, pending.needed.get(name))
        return changeGrown(this.#storage, table, grown, of, { ...stamp, ranges }, this.#clock)
      }),
    )
  }

  /** Swaps files of a table for the one that holds their rows, as a version of its own. Nothing may be pending. */
  async replace({ table: name, inputs, output }: Replacement, signal?: AbortSignal): Promise<CommitResult> {
    const dead = this.#live.get(name)?.replace(inputs, output)
    const change: TableChange = {
      kind: 'replace',
      added: output === undefined ? [] : [output],
      deletes: output === undefined || dead === undefined || dead.count === 0 ? [] : [{ file: output, rows: dead }],
      removed: inputs.map(({ file }) => file.key),
    }
    const before = this.#tables.get(name)
    const result = await this.#append(
      new Pending(this.#head),
      { isMaintenance: true },
      signal,
      async (tables, stamp) => {
        if (tables.get(name)?.metadata !== before?.metadata) throw compactedElsewhere(name)
        const replaced = await changeTable(
          this.#storage,
          tables.get(name)!,
          change,
          { ...stamp, ranges: '' },
          this.#clock,
        )
        return new Map([...tables, [name, replaced]])
      },
    )
    if (result.kind === 'committed') await this.#windows.moved(name, inputs, output)
    return result
  }

  async #append(
    pending: Pending,
    change: Change,
    signal: AbortSignal | undefined,
    write: (tables: Tables, stamp: Omit<Stamp, 'ranges'>) => Promise<Tables>,
  ): Promise<CommitResult> {
    const startMs = this.#clock.monotonicMs()
    const [base, before, commitId] = [this.#head, this.#tables, this.#clock.uuid()]
    let tables = before
    const build = async (head: Version | undefined, number: bigint): Promise<VersionContent> => {
      const current = head === base ? before : await openTables(this.#storage, head!.tables)
      this.#keyed.assertCurrent(before, current)
      this.#windows.assertCurrent(before, current)
      tables = await write(current, { commitId, version: number })
      return nextVersion(head!, pending, tables, change, this.#published(), this.#policy.writer, this.#own)
    }
    const hint = async (): Promise<void> => {
      // What a fork holds nobody is to find.
      const isTouched = (table: LakeTable): boolean => before.get(table.name)?.metadata !== table.metadata
      const touched = this.#isFork ? [] : [...tables.values()].filter(isTouched)
      await writeVersionHints(this.#storage, touched)
    }
    const result = await this.#chain.append(base, { commitId, build, hint }, signal).catch((error) => {
      this.#report('failed', undefined, startMs, pending)
      throw error
    })
    const outcome = result.kind === 'committed' ? 'ok' : result.kind
    this.#report(outcome, result.kind === 'committed' ? result.version.number : undefined, startMs, pending)
    if (result.kind === 'committed') {
      this.#head = result.version
      this.#tables = tables
      this.#keyed.report(this.#chain.pipeline, this.#observer)
      this.#keyed.committed()
      this.#windows.committed(this.#chain.pipeline, this.#observer)
      this.#pending = new Pending(result.version)
      for (const [text, { partition, offset }] of this.#baseless)
        if (offset < (result.version.positions.get(partition) ?? 0n)) this.#baseless.delete(text)
      this.#isHurried = false
    }
    // Of its beginning: records need not wait for as long again as it took.
    this.#lastCommitMs = startMs
    return result
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
