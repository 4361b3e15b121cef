import { anyOf } from '../abort.ts'
import { backoffMs } from '../clock.ts'
import { LakeError } from '../error.ts'
import type { LakeEvent, Observer } from '../event.ts'
import { Holds, type Changes, type Lanes, type RunResult, type TableWork } from '../ingest/pipeline.ts'
import { commitIdOf, type Jobs } from '../jobs.ts'
import { baseTag, dropTag, type Storage } from '../lake/table.ts'
import type { PipelineDefinition } from '../define.ts'
import type { Positions, Source } from '../log.ts'
import type { ReplayDifference, ReplayPhase, ReplayMode } from '../replay-status.ts'
import type { Version } from '../version.ts'
import { assertOnward, cutOver, cutoverOf } from './cutover.ts'
import { baseOf, build, catchUp, forkOf, nextStage, openOrCreate, seed, type Fork, type ForkParts } from './fork.ts'
import { NOTHING_YET, Progress } from './progress.ts'
import { limited } from './rate-limit.ts'
import { Readiness } from './readiness.ts'
import { JobRecord, wantedOf, type Wanted } from './record.ts'
import { forget, type ReplayJob } from './replays.ts'

/** Lanes for replays, beside those of live ingestion: `open` may be called again after `close`. */
export interface ReplayLanes {
  /** `version`: whose archives they read; default: those of the newest. */
  open(definition: PipelineDefinition, source: Source, until?: Positions, version?: bigint): Promise<Lanes>
  close(): Promise<void>
}

export type Verify = (
  base: Version,
  fork: Version,
  definition: PipelineDefinition,
  storage: Storage,
  work: TableWork,
  mode: ReplayMode,
) => Promise<ReplayDifference>

export interface ReplayParts extends Omit<ForkParts, 'startLanes' | 'observer' | 'control'> {
  readonly jobs: Jobs
  readonly takeoverAfterMs: number
  readonly changes: Changes
  /** Is told how replays get on, and nothing else of them. */
  readonly observer: Observer
  readonly lanes: ReplayLanes
  readonly verify: Verify
}

const LOOK_EVERY_MS = 1_000
const ENDS_EVERY_MS = 5_000

/** What comes of one step. `left`: another process does it, or nobody for now. */
export type Step = 'again' | 'left' | 'over'

/**
 * One replay as this process does it, step by step. It owns no truth: the fork's head says what is to be done next, the
 * orders what people want of it. Whatever is lost here is found there again, by this process or another.
 */
export class ReplayRun {
  readonly #parts: ReplayParts
  readonly #fork: Fork
  readonly #forkParts: ForkParts
  readonly #record: JobRecord
  readonly #commitId: string
  readonly #readiness: Readiness
  /** Partitions of the fork that wait at a record, as those of the live pipeline do. */
  readonly #holds = new Holds()
  #progress: Progress | undefined
  #phase: ReplayPhase = 'rebuilding'
  #head: Version | undefined
  #difference: ReplayDifference | undefined
  /** Whether the fork goes on by us: its head is ours, or whoever wrote it is gone. */
  #isOurs = false
  #isReady = false
  #error: unknown
  #failure: unknown
  #endsMs = -Infinity

  constructor(parts: ReplayParts, job: ReplayJob) {
    const { jobs, clock, takeoverAfterMs, observer, lanes } = parts
    const { options } = job.request
    this.#parts = parts
    this.#record = new JobRecord(jobs, job, clock, takeoverAfterMs, observer)
    this.#commitId = commitIdOf(job)
    this.#readiness = new Readiness(clock)
    this.#forkParts = {
      ...parts,
      observer: (event) => this.#observe(event),
      control: {
        pauseReason: undefined,
        isHurried: false,
        compactions: new Map(),
        holds: this.#holds,
        onHead: (head) => this.#stands(head),
      },
      startLanes: async (definition, source, until) =>
        // Up to its base all that the base's archives keep is needed, and they stay as long as the base has its tag.
        limited(await lanes.open(definition, source, until, this.#readsOf(until)), options.rateLimit, clock),
    }
    this.#fork = forkOf(this.#forkParts, job.id, options)
  }

  /** Throws what stops it, for now or for good: the caller knows which. */
  async step(signal: AbortSignal): Promise<Step> {
    const { main, jobs, changes } = this.#parts
    const { id } = this.#record.job
    if (!(await this.#record.reload())) return 'over'
    this.#difference = await jobs.difference(id)
    const done = await cutoverOf(main, await main.at({ kind: 'head' }), this.#commitId)
    if (done !== undefined) return this.#wasCutOver(done)
    const wanted = await this.#wanted()
    if (wanted.isCancelled) return this.#cancelled()
    if (!this.#isOurs && !(await this.#isFree(signal))) return signal.aborted ? 'left' : 'again'
    if (wanted.isPaused) {
      await this.#tell(true)
      await changes.wait(LOOK_EVERY_MS, signal)
      return 'again'
    }
    const head = await openOrCreate(this.#forkParts, this.#fork, signal)
    if (!this.#isOurs && !this.#isBy(head)) return 'again'
    this.#isOurs = true
    this.#begin(head)
    return this.#stage(head, wanted, signal)
  }

  /** Why it waits, for whoever looks. */
  async waits(error: unknown): Promise<void> {
    this.#error = error
    this.#isReady = false
    await this.#tell(false, true)
  }

  /** It cannot go on. The fork stays, for whoever wants to know why; without one nothing does. */
  async fails(error: unknown): Promise<void> {
    const { storage, main } = this.#parts
    if ((await this.#fork.chain.head()) === undefined) await dropTag(storage, main.pipeline, baseTag(this.#fork.id))
    const progress = this.#progress?.at(this.#phase, false) ?? this.#record.replay.progress
    await this.#record.over('failed', { progress }, error)
  }

  async #stage(head: Version, wanted: Wanted, signal: AbortSignal): Promise<Step> {
    const [parts, fork] = [this.#forkParts, this.#fork]
    const { building } = head.fork!
    if (building?.stage === 'seeding') {
      const seeded = await this.#during('seeding', signal, (stop) => seed(parts, fork, head, stop))
      return this.#ran('seeding', head, seeded, signal)
    }
    if (building !== undefined) {
      const isEmpty = building.until.size === 0
      const drained = () => Promise.resolve({ kind: 'drained', head } as const)
      const work = (stop: AbortSignal) => (isEmpty ? drained() : build(parts, fork, head, stop))
      return this.#ran('rebuilding', head, await this.#during('rebuilding', signal, work), signal)
    }
    if (this.#difference === undefined) return this.#verify(head, signal)
    if (this.#record.job.request.options.mode === 'verify') return this.#verified()
    if (this.#isReady && wanted.isCutover && this.#phase === 'ready') return this.#cutOver(signal)
    this.#isReady = false
    const result = await this.#during('catching-up', signal, (stop) => catchUp(parts, fork, stop))
    return this.#ran('catching-up', head, result, signal)
  }

  async #ran(phase: ReplayPhase, head: Version, result: RunResult, signal: AbortSignal): Promise<Step> {
    switch (result.kind) {
      case 'drained': {
        const next = await nextStage(this.#forkParts, this.#fork, result.head, signal)
        this.#isOurs = next !== undefined
        return 'again'
      }
      case 'stopped':
      case 'paused':
        return 'again'
      case 'stale':
        this.#isOurs = false
        return 'again'
      case 'superseded':
        throw new LakeError('code.superseded', 'the fork was made by another definition', {
          context: { version: String(head.number) },
        })
      case 'gap': {
        const { partition, from, until } = result
        const code = phase === 'catching-up' ? 'kafka.gap' : 'replay.offsets_expired'
        throw new LakeError(code, `${partition}: the log has lost [${from}, ${until})`, {
          context: { partition, first: { [partition]: String(until) } },
          fix: 'Replay from what is left of the log, or restore the topic.',
        })
      }
    }
  }

  async #verify(head: Version, signal: AbortSignal): Promise<Step> {
    const { definition, storage, source, main, verify, jobs } = this.#parts
    const { options } = this.#record.job.request
    const base = await baseOf(main, head)
    const lanes = await this.#forkParts.startLanes(definition, source)
    try {
      const found = await this.#during('verifying', signal, async (stop) => {
        const stopped = new Promise<undefined>((resolve) => {
          if (stop.aborted) resolve(undefined)
          stop.addEventListener('abort', () => resolve(undefined), { once: true })
        })
        return Promise.race([verify(base, head, definition, storage, lanes.work, options.mode), stopped])
      })
      if (found !== undefined) await jobs.putDifference(this.#fork.id, found)
    } finally {
      await lanes.close()
    }
    return 'again'
  }

  /** Nothing comes of it but what was found. */
  async #verified(): Promise<Step> {
    const progress = this.#progress!.at('verifying', false)
    await forget(this.#parts.storage, this.#record.job)
    await this.#record.over('done', { progress, difference: this.#found })
    return 'over'
  }

  async #cutOver(signal: AbortSignal): Promise<Step> {
    const { policy } = this.#parts
    const { keepOldMs } = this.#record.job.request.options
    this.#phase = 'cutting-over'
    await this.#tell(false, true)
    const head = (await this.#fork.chain.head())!
    const parts = { ...this.#parts, writer: policy.writer }
    return this.#wasCutOver(await cutOver(parts, head, this.#commitId, keepOldMs, signal))
  }

  async #wasCutOver({ number, fork }: Version): Promise<Step> {
    const { clock, storage } = this.#parts
    const building = { from: new Map(), until: new Map() }
    const before = this.#record.replay.progress
    const now = (this.#progress ?? new Progress(clock, building)).at('cut-over', false)
    const progress = this.#progress === undefined && before !== null ? { ...before, phase: now.phase } : now
    // Main names the tables: only now nothing needs the fork any more.
    if (fork !== undefined) await forget(storage, this.#record.job)
    await this.#record.over('done', {
      progress: { ...progress, isPaused: false },
      difference: this.#found,
      cutover: { version: String(number), before: String(number - 1n) },
    })
    return 'over'
  }

  async #cancelled(): Promise<Step> {
    const { progress } = this.#record.replay
    await forget(this.#parts.storage, this.#record.job)
    await this.#record.over('cancelled', { progress })
    return 'over'
  }

  /** Does a stage while it looks at what people and the main chain do meanwhile, which may end it. */
  async #during<T>(phase: ReplayPhase, signal: AbortSignal, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const [stop, done] = [new AbortController(), new AbortController()]
    this.#phase = phase
    this.#failure = undefined
    const looking = this.#look(stop, done.signal)
    try {
      const result = await work(anyOf(signal, stop.signal))
      if (this.#failure !== undefined) throw this.#failure
      return result
    } finally {
      done.abort()
      await looking
    }
  }

  async #look(stop: AbortController, done: AbortSignal): Promise<void> {
    const { changes } = this.#parts
    while (!done.aborted) {
      try {
        const wanted = await this.#wanted()
        await this.#lookAtMain()
        await this.#tell(wanted.isPaused)
        const isNext = wanted.isCutover && this.#isReady && this.#phase === 'ready'
        if (wanted.isCancelled || wanted.isPaused || isNext) stop.abort()
      } catch (error) {
        // Away for now: what can be done without it goes on.
        if (error instanceof LakeError && error.code === 'replay.base_moved') {
          this.#failure = error
          stop.abort()
        }
      }
      if (stop.signal.aborted) return
      await changes.wait(LOOK_EVERY_MS, done)
    }
  }

  async #lookAtMain(): Promise<void> {
    const { main, source, clock } = this.#parts
    const base = this.#head!.fork!.base.number
    const head = await main.at({ kind: 'head' })
    if (head.commitId !== this.#commitId && this.#record.job.request.options.mode !== 'verify') assertOnward(head, base)
    if (this.#phase !== 'catching-up' && this.#phase !== 'ready') return
    this.#readiness.saw(head.positions)
    this.#isReady = this.#readiness.isReady(this.#head!.positions)
    this.#phase = this.#isReady ? 'ready' : 'catching-up'
    // What main has rows of, the fork may leave out: it must stand where main does nevertheless.
    this.#forkParts.control.isHurried ||= !this.#isReady
    if (clock.monotonicMs() < this.#endsMs + ENDS_EVERY_MS) return
    this.#endsMs = clock.monotonicMs()
    const bounds = await source.bounds([...this.#head!.positions.keys()])
    this.#progress!.ends(new Map([...bounds].map(([id, { end }]) => [id, end])))
  }

  async #wanted(): Promise<Wanted> {
    const { id, request } = this.#record.job
    return wantedOf(await this.#parts.jobs.orders(id), request, this.#difference)
  }

  async #tell(isPaused: boolean, isAtOnce = false): Promise<void> {
    const before = this.#record.replay.progress
    const phase = isPaused && this.#progress === undefined ? (before?.phase ?? 'rebuilding') : this.#phase
    const progress = this.#progress?.at(phase, isPaused) ?? { ...(before ?? NOTHING_YET), isPaused }
    const isNews = before?.phase !== phase || before.isPaused !== isPaused
    const { writer } = this.#parts.policy
    await this.#record.running(
      writer,
      { ...this.#planned, progress, difference: this.#found },
      this.#error ?? this.#holds.reason,
      isAtOnce || isNews,
    )
  }

  get #planned() {
    if (this.#head === undefined) return {}
    const { base, rebuilt } = this.#head.fork!
    const { tables, windows } = this.#parts.definition
    const all = [...tables, ...windows].map(({ name }) => name)
    const made = new Set(rebuilt)
    return {
      version: String(base.number),
      rebuilt: all.filter((name) => made.has(name)),
      shared: all.filter((name) => !made.has(name)),
    }
  }

  get #found() {
    return this.#difference === undefined ? null : { id: this.#difference.id, isEqual: this.#difference.isEqual }
  }

  #readsOf(until: Positions | undefined): bigint | undefined {
    return until === undefined ? undefined : this.#head?.fork?.base.number
  }

  #begin(head: Version): void {
    this.#head = head
    this.#error = undefined
    const { building } = head.fork!
    const { progress } = this.#record.replay
    if (this.#progress === undefined)
      this.#progress = new Progress(this.#parts.clock, building ?? spanOf(progress), progress?.percent)
    this.#progress.stands(head.positions)
  }

  #stands(head: Version): void {
    this.#head = head
    this.#progress!.stands(head.positions)
  }

  #observe(event: LakeEvent): void {
    if (event.kind === 'progress') this.#progress!.saw(event.partition, event.position, event.end)
  }

  #isBy(head: Version | undefined): boolean {
    return head === undefined || head.released || head.writer === this.#parts.policy.writer
  }

  /** Waits until the fork is nobody's: neither its head nor its job has moved for so long, or it was let go. */
  async #isFree(signal: AbortSignal): Promise<boolean> {
    const { clock, changes, takeoverAfterMs, jobs } = this.#parts
    const look = async () => {
      const head = await this.#fork.chain.head()
      return { head, text: JSON.stringify([String(head?.number), await jobs.get(this.#fork.id)]) }
    }
    let { head, text } = await look()
    let sinceMs = clock.monotonicMs()
    while (!this.#isBy(head) && clock.monotonicMs() - sinceMs < takeoverAfterMs) {
      await changes.wait(Math.min(LOOK_EVERY_MS, takeoverAfterMs / 4), signal)
      if (signal.aborted) return false
      const now = await look()
      // Its orders and its end are looked at by whoever asked.
      if (now.text !== text) sinceMs = clock.monotonicMs()
      if (JSON.parse(now.text)[1]?.endedMs !== null) return false
      ;({ head, text } = now)
    }
    if (this.#isBy(head)) return true
    // Several may have waited: the first to commit wins, the others find out.
    await clock.sleep(backoffMs(clock, 0), signal)
    return (this.#isOurs = true)
  }
}

/** What was told of it while it was building. */
function spanOf(progress: ReplayJobProgress): { from: Positions; until: Positions } {
  const partitions = progress?.partitions ?? []
  return {
    from: new Map(partitions.map(({ partition, from }) => [partition, BigInt(from)])),
    until: new Map(partitions.map(({ partition, until }) => [partition, BigInt(until)])),
  }
}

type ReplayJobProgress = NonNullable<ReplayJob['replay']>['progress']
