import { backoffMs, type Clock } from '../clock.ts'
import type { SettledCounts, SettleRequest } from '../dead-letters.ts'
import type { PipelineDefinition } from '../define.ts'
import { asLakeError, LakeError, toErrorMessage, type ErrorMessage } from '../error.ts'
import type { LakeEvent, Observer, PipelineState } from '../event.ts'
import type { Chain } from '../lake/chain.ts'
import { folderOf, type CompactionPolicy, type Storage } from '../lake/table.ts'
import type { PartitionId, Positions, Source } from '../log.ts'
import type { Compacted, Expired, PipelineControl, PipelineStatus, Upkeep } from '../status.ts'
import type { Version } from '../version.ts'
import { finished, type Asked } from './asked.ts'
import { Changes } from './changes.ts'
import { CodeWatch } from './code-watch.ts'
import { tablesAt } from './codes.ts'
import { Committer, type CommitPolicy } from './committer.ts'
import { CompactionRequest } from './compactor.ts'
import { SettleJob } from './letters/settle-job.ts'
import { run, type Control, type Pipeline, type RunResult } from './pipeline.ts'
import { Holds } from './holds.ts'
import { Progress } from './progress.ts'
import { NEEDS_A_PERSON } from './reasons.ts'
import { planRollback, rollBack, rollbackReason } from './rollback.ts'
import { untilOurTurn, untilResumed } from './standby.ts'
import { gapError, ownPartitions } from './start.ts'
import { notHere, notOwnerError, pausedError, waitCancelled } from './supervise-errors.ts'

export interface SupervisorOptions extends Pick<Pipeline, 'startLanes' | 'openFold' | 'openSink' | 'registry'> {
  readonly definition: PipelineDefinition
  readonly source: Source
  readonly storage: Storage
  readonly chain: Chain
  readonly policy: CommitPolicy
  readonly takeoverAfterMs: number
  readonly clock: Clock
  readonly observer: Observer
  /** When files are put together; default: never. */
  readonly compaction?: CompactionPolicy
  readonly upkeep?: Partial<Upkeep>
  /** Other code than the head's is taken over from here on, once, at the start. Default: false. */
  readonly acceptCode?: boolean
}

const RETRY_MS_MAX = 30_000
const LOOK_EVERY_MS = 1_000

/**
 * Keeps one pipeline running: runs it, stands by when another process writes it, waits and tries again when something
 * is away, and stops in a named state when a person must decide. It holds no data.
 */
export class Supervisor implements PipelineControl {
  readonly name: string
  readonly #options: SupervisorOptions
  readonly #progress: Progress
  readonly #stop = new AbortController()
  readonly #control: Control & Required<Pick<Control, 'settling' | 'holds'>>
  #state: PipelineState = 'starting'
  #reason: ErrorMessage | undefined
  #head: Version | undefined
  #lastCommitMs: number | undefined
  #missing: readonly string[] = []
  #idle: ReadonlyMap<PartitionId, boolean> = new Map()
  #attempts = 0
  readonly #changes: Changes
  readonly #codes: CodeWatch
  #isRestartAsked = false
  #isAtWork = false

  constructor(options: SupervisorOptions) {
    this.name = options.definition.name
    this.#options = options
    this.#progress = new Progress(options.clock)
    this.#changes = new Changes(options.clock)
    this.#codes = new CodeWatch({ ...options, writer: options.policy.writer })
    this.#control = {
      pauseReason: undefined,
      isHurried: false,
      compactions: new Map(),
      settling: new Map(),
      holds: new Holds(),
      onHead: (head, missing, idle) => this.#onHead(head, missing, idle),
    }
  }

  /** Runs until `close`. Never throws: what went wrong is the state. */
  async run(): Promise<void> {
    const ids = () => [...this.#ownPositions.keys()]
    void this.#progress.watchEnds(this.#options.source, ids, this.#signal)
    let wasFenced = false
    while (!this.#signal.aborted) {
      try {
        await this.#untilOurCode()
        if (wasFenced || !(await this.#isOurs())) await this.#untilOurTurn()
        if (this.#signal.aborted) break
        if (!this.#codes.isOurs(this.#head)) continue
        wasFenced = false
        // It runs when its head is open and its lanes are at work; until then it keeps the reason why it waits.
        if (this.#state !== 'waiting') this.#enter('starting')
        const { source, chain, policy } = this.#options
        const result = await run(source, this.#pipeline, chain, policy, this.#signal)
        this.#restsFromWork()
        wasFenced = result.kind === 'stale'
        await this.#ended(result)
      } catch (error) {
        this.#restsFromWork()
        await this.#failed(asLakeError(error))
      }
    }
    this.#enter('stopped')
  }

  /** Whether a last commit is to be waited for at the end, also where one of several topics is missing. */
  get isAtWork(): boolean {
    return this.#isAtWork
  }

  /** Looks at what others commit until `close`, and never writes. Never throws. */
  async follow(): Promise<void> {
    this.#enter('standby')
    while (!this.#signal.aborted) {
      this.#head = (await this.#options.chain.head().catch(() => undefined)) ?? this.#head
      await this.#changes.wait(LOOK_EVERY_MS)
    }
    this.#enter('stopped')
  }

  /** Stops fetching and commits what is folded. */
  close(): void {
    this.#stop.abort()
    this.#changes.notify()
  }

  status(): PipelineStatus {
    const head = this.#head
    return {
      name: this.name,
      state: this.#state,
      reason: this.#reason ?? [...this.#control.holds.all.values()][0]?.reason,
      head,
      lastCommitMs: this.#lastCommitMs,
      publishing: this.#progress.publishing,
      partitions: this.#progress.statusOf(head && { ...head, positions: this.#ownPositions }).map((each) => ({
        ...each,
        isIdle: this.#isAtWork ? this.#idle.get(each.partition) : undefined,
        held: this.#isAtWork ? this.#control.holds.all.get(each.partition) : undefined,
      })),
      tables: tablesAt(this.#options.definition, head),
    }
  }

  async pause(reason: string): Promise<void> {
    if (this.#isPaused) return
    this.#assertOwner()
    this.#control.pauseReason = reason
    const isMeant = () => this.#control.pauseReason === reason
    try {
      await this.#until(() => this.#state === 'paused' || this.#state === 'standby' || !isMeant())
    } finally {
      // A pause that was refused must not come later.
      if (isMeant()) this.#control.pauseReason = undefined
    }
    if (this.#state === 'standby') this.#assertOwner()
    if (!this.#isPaused)
      throw new LakeError('pipeline.stopped', `pipeline ${this.name} was resumed or stopped before it had paused`)
  }

  async resume(): Promise<void> {
    const { chain, storage, policy, clock, observer } = this.#options
    const head = await chain.head()
    this.#control.pauseReason = undefined
    this.#control.holds.release()
    if (head?.paused === undefined) return
    const committer = await Committer.open({ chain, storage, policy, clock, observer }, head)
    // Nobody owns a pipeline that stood still: whoever sees this first goes on.
    const result = await committer.commit({ resumed: true, released: true })
    if (result.kind !== 'committed' && result.head.paused !== undefined)
      throw notOwnerError(`another process moved pipeline ${this.name}`)
    this.#isRestartAsked = true
    this.#changes.notify()
    await this.#until(() => this.#state !== 'paused')
  }

  async flush(signal?: AbortSignal): Promise<Version> {
    if (this.#head === undefined) await this.waitUntil(new Map(), signal)
    const bounds = await this.#options.source.bounds([...this.#ownPositions.keys()])
    const until = new Map([...bounds].map(([id, { end }]) => [id, end]))
    return this.waitUntil(until, signal)
  }

  restart(): Promise<void> {
    this.#isRestartAsked = true
    this.#control.holds.release()
    this.#changes.notify()
    return Promise.resolve()
  }

  async compact(table: string): Promise<Compacted> {
    const { compactions } = this.#control
    const { removedFiles, addedFiles, bytes } = await this.#finished(compactions, table, new CompactionRequest())
    return { removedFiles, addedFiles, bytes }
  }

  async settle(job: string, request: SettleRequest): Promise<SettledCounts> {
    return (await this.#finished(this.#control.settling, job, new SettleJob(job, request, this.#head?.number))).counts
  }

  async #finished<R extends Asked>(all: Map<string, R>, key: string, asked: R): Promise<R> {
    if (this.#isPaused) throw pausedError(this.name, 'is paused')
    this.#assertOwner()
    const until = (isOver: () => boolean) => this.#until(() => isOver() || this.#isPaused || this.#state === 'standby')
    const stopped = () => (this.#isPaused ? pausedError(this.name, 'was paused') : notOwnerError(`${this.name} let go`))
    return finished(all, key, asked, until, stopped)
  }

  async expire(table: string): Promise<Expired> {
    if (!this.#isStill) this.#assertOwner()
    const { expire = notHere } = this.#options.upkeep ?? {}
    const metadata = this.#head?.tables[table]?.metadata
    return expire(metadata === undefined ? table : folderOf(metadata), this.#signal)
  }

  async acceptCode(): Promise<Version> {
    const head = await this.#options.chain.at({ kind: 'head' })
    if (this.#codes.isOurs(head)) return head
    if (this.#state !== 'superseded') throw notOwnerError(`pipeline ${this.name} is ${this.#state} here`)
    this.#head = await this.#codes.accept(this.#signal)
    this.#enter('starting')
    this.#changes.notify()
    return this.#head
  }

  async rollback(to: bigint, commitId: string): Promise<Version> {
    const { chain, policy } = this.#options
    if (!this.#isStill && this.#state !== 'superseded') this.#assertOwner()
    const parts = { ...this.#options, writer: policy.writer }
    const plan = await planRollback(parts, to, commitId)
    if (plan.kind === 'done') return plan.version
    if (this.#isAtWork) await this.pause(rollbackReason(plan.target))
    const version = await rollBack(parts, await chain.at({ kind: 'head' }), plan.target, commitId)
    if (version === undefined) throw notOwnerError(`another process moved pipeline ${this.name}`)
    this.#head = version
    if (this.#isPaused && version.paused !== undefined)
      this.#enter('paused', new LakeError('pipeline.paused', version.paused.reason))
    await this.restart()
    return version
  }

  /** Resolves with the first version seen that stands at or beyond all the positions; rejects when it cannot come. */
  async waitUntil(positions: Positions, signal?: AbortSignal): Promise<Version> {
    for (;;) {
      const head = this.#head
      if (head !== undefined && [...positions].every(([id, offset]) => (head.positions.get(id) ?? 0n) >= offset))
        return head
      if (signal?.aborted === true) throw waitCancelled(positions, head)
      this.#assertMoving()
      this.#control.holds.assertReachable(positions)
      this.#control.isHurried = true
      await this.#changes.wait(LOOK_EVERY_MS / 4, signal)
      if (this.#state === 'standby') this.#head = (await this.#options.chain.head()) ?? this.#head
    }
  }

  get #isPaused(): boolean {
    return this.#state === 'paused'
  }

  /** Nothing is written until somebody says so. */
  get #isStill(): boolean {
    return this.#isPaused || this.#state === 'failed'
  }

  get #signal(): AbortSignal {
    return this.#stop.signal
  }

  get #pipeline(): Pipeline {
    return {
      ...this.#options,
      compaction: this.#options.compaction,
      control: this.#control,
      observer: (event: LakeEvent) => this.#observe(event),
    }
  }

  async #ended(result: RunResult): Promise<void> {
    if (result.kind === 'gap') throw gapError(result.partition, result)
    this.#head = result.head
    this.#attempts = 0
    // Why it was superseded, and until when, is found out before the next run.
    if (result.kind === 'paused') await this.#whilePaused(result.head)
  }

  async #failed(error: LakeError): Promise<void> {
    if (this.#signal.aborted) return
    this.#enter(NEEDS_A_PERSON.has(error.code) ? 'failed' : 'waiting', error)
    if (!NEEDS_A_PERSON.has(error.code)) {
      await this.#changes.wait(backoffMs(this.#options.clock, this.#attempts++, 500, RETRY_MS_MAX))
      return
    }
    this.#isRestartAsked = false
    while (!this.#isRestartAsked && !this.#signal.aborted) await this.#changes.wait(LOOK_EVERY_MS)
  }

  /** Where partitions wait only the run knew: whoever reads them next comes to the same records, or to none. */
  #restsFromWork(): void {
    this.#isAtWork = false
    this.#control.holds.clear()
  }

  /** While the head is of other code nothing is ingested; a cut-over or a rollback to ours ends that by itself. */
  #untilOurCode(): Promise<void> {
    const saw = (head: Version) => (this.#head = head)
    return this.#codes.untilOurs(this.#changes, saw, (error) => this.#enter('superseded', error), this.#signal)
  }

  /** A head of our own name is gone on from at once, and so is one that its writer let go. */
  async #isOurs(): Promise<boolean> {
    const head = await this.#options.chain.head()
    this.#head = head ?? this.#head
    return head === undefined || head.writer === this.#options.policy.writer || head.released
  }

  async #untilOurTurn(): Promise<void> {
    this.#enter('standby')
    const onHead = (head: Version): boolean => {
      this.#head = head
      return this.#codes.isOurs(head)
    }
    await untilOurTurn(this.#options, this.#changes, onHead, this.#signal)
  }

  async #whilePaused(paused: Version): Promise<void> {
    this.#control.pauseReason = undefined
    this.#enter('paused', new LakeError('pipeline.paused', paused.paused?.reason ?? 'paused'))
    this.#isRestartAsked = false
    await untilResumed(this.#options.chain, this.#changes, this.#signal)
  }

  #onHead(head: Version, missing: readonly string[] | undefined, idle: ReadonlyMap<PartitionId, boolean>): void {
    // A run that only begins has not shown yet that it gets on.
    if (head.number !== this.#head?.number) this.#attempts = 0
    this.#head = head
    this.#codes.isOurs(head)
    this.#isAtWork = true
    this.#missing = missing ?? this.#missing
    this.#idle = idle
    this.#lastCommitMs = Date.parse(head.time)
    this.#progress.committed(head.positions)
    if (this.#missing.length > 0)
      this.#enter(
        'waiting',
        new LakeError('kafka.topic_missing', `waiting for ${this.#missing.join(', ')} to be created`),
      )
    else this.#enter('running')
    this.#changes.notify()
    this.#progress.advise(this.#options.source, `kappalake-${this.name}`, head.positions)
  }

  #observe(event: LakeEvent): void {
    if (event.kind === 'progress') this.#progress.saw(event.partition, event.end)
    if (event.kind === 'published') this.#progress.published(event)
    this.#options.observer(event)
  }

  /** Of topics that are read here; all of them where other code reads. */
  get #ownPositions(): Positions {
    const positions = this.#head?.positions ?? new Map()
    return this.#state === 'superseded' ? positions : ownPartitions(this.#options.definition, positions)
  }

  #enter(state: PipelineState, error?: LakeError): void {
    const reason = error === undefined ? undefined : toErrorMessage(error)
    const isNews = state !== this.#state || reason?.message !== this.#reason?.message
    this.#state = state
    this.#reason = reason
    if (!isNews) return
    this.#options.observer({ kind: 'state', pipeline: this.name, state, ...(reason === undefined ? {} : { reason }) })
    this.#changes.notify()
  }

  #assertOwner(): void {
    if (['starting', 'running', 'waiting'].includes(this.#state)) return
    throw notOwnerError(`pipeline ${this.name} is ${this.#state} here`)
  }

  /** Throws when no further version will come without a person. */
  #assertMoving(): void {
    if (this.#isPaused) throw pausedError(this.name, 'is paused')
    if (!['failed', 'superseded', 'stopped'].includes(this.#state)) return
    throw new LakeError('pipeline.stopped', `pipeline ${this.name} is ${this.#state}: ${this.#reason?.message ?? ''}`, {
      context: { reason: this.#reason?.code },
    })
  }

  async #until(holds: () => boolean): Promise<void> {
    while (!holds() && !this.#signal.aborted) {
      if (this.#state === 'failed' || this.#state === 'superseded') this.#assertMoving()
      await this.#changes.wait(LOOK_EVERY_MS)
    }
  }
}
