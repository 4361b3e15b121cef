import type { Clock } from '../clock.ts'
import { toErrorMessage } from '../error.ts'
import type { Observer } from '../event.ts'
import type { Jobs, ReplayRecord } from '../jobs.ts'
import type { ReplayDifference, ReplayOrder } from '../replay-status.ts'
import type { ReplayJob } from './replays.ts'

const WRITE_EVERY_MS = 1_000
const BEAT_EVERY_MS = 5_000

/** What people asked of a replay so far. Orders are never taken back: all of them together say what is wanted now. */
export interface Wanted {
  readonly isPaused: boolean
  readonly isCancelled: boolean
  /** Whether it is to be cut over once it is ready. */
  readonly isCutover: boolean
}

export function wantedOf(
  orders: readonly ReplayOrder[],
  { options }: ReplayJob['request'],
  difference: ReplayDifference | undefined,
): Wanted {
  const last = orders.findLast(({ kind }) => kind === 'pause' || kind === 'resume')
  const approved = orders.some(
    (order) => order.kind === 'cutover' && (difference?.isEqual === true || order.approve === difference?.id),
  )
  const isAutomatic = options.autoCutover === 'always' || (options.autoCutover === 'ifEqual' && difference?.isEqual)
  return {
    isPaused: last?.kind === 'pause',
    isCancelled: orders.some(({ kind }) => kind === 'cancel'),
    isCutover: options.mode !== 'verify' && difference !== undefined && (approved || isAutomatic === true),
  }
}

/** The job of a replay as the process that does it writes it: when something is new, but not all the time. */
export class JobRecord {
  readonly #jobs: Jobs
  readonly #clock: Clock
  readonly #observer: Observer
  readonly #beatEveryMs: number
  #job: ReplayJob
  #written: string | undefined
  #writtenMs = -Infinity

  constructor(jobs: Jobs, job: ReplayJob, clock: Clock, takeoverAfterMs: number, observer: Observer) {
    this.#jobs = jobs
    this.#job = job
    this.#clock = clock
    this.#observer = observer
    this.#beatEveryMs = Math.min(BEAT_EVERY_MS, takeoverAfterMs / 4)
  }

  get job(): ReplayJob {
    return this.#job
  }

  get replay(): ReplayRecord {
    const nothing = { version: null, rebuilt: [], shared: [], progress: null, difference: null, cutover: null, beat: 0 }
    return this.#job.replay ?? nothing
  }

  /** Takes over what another process may have written. False: the replay is over. */
  async reload(): Promise<boolean> {
    const job = await this.#jobs.get(this.#job.id)
    if (job === undefined || job.endedMs !== null) {
      this.#show(undefined)
      return false
    }
    this.#job = job as ReplayJob
    return true
  }

  /** It is under way, by `writer`; `error` is why it waits. */
  async running(writer: string, change: Partial<ReplayRecord>, error: unknown, isAtOnce = false): Promise<void> {
    const { startedMs } = this.#job
    const job: ReplayJob = {
      ...this.#job,
      state: 'running',
      startedMs: startedMs ?? this.#clock.nowMs(),
      writer,
      error: error === undefined ? null : toErrorMessage(error),
      replay: { ...this.replay, ...change },
    }
    const text = JSON.stringify(job)
    const sinceMs = this.#clock.monotonicMs() - this.#writtenMs
    if (sinceMs < this.#beatEveryMs && (text === this.#written || (sinceMs < WRITE_EVERY_MS && !isAtOnce))) return
    await this.#write(job)
  }

  async over(
    state: 'done' | 'failed' | 'cancelled',
    change: Partial<ReplayRecord> = {},
    error?: unknown,
  ): Promise<void> {
    await this.#write({
      ...this.#job,
      state,
      endedMs: this.#clock.nowMs(),
      error: error === undefined ? null : toErrorMessage(error),
      replay: { ...this.replay, ...change },
    })
  }

  async #write(job: ReplayJob): Promise<void> {
    const replay = { ...job.replay!, beat: job.replay!.beat + 1 }
    const next = { ...job, replay }
    // What could not be written has not come to be: an end that is not known would be the end of a job that goes on.
    await this.#jobs.update(next)
    this.#job = next
    // The beat is no news by itself.
    this.#written = JSON.stringify(this.#job)
    this.#writtenMs = this.#clock.monotonicMs()
    this.#show(this.#job.endedMs === null ? replay.progress : undefined)
  }

  #show(progress: ReplayRecord['progress'] | undefined): void {
    const { id, request } = this.#job
    const ratio = progress === undefined ? undefined : (progress?.percent ?? 0) / 100
    const lag = progress?.lag === undefined || progress.lag === null ? undefined : BigInt(progress.lag)
    this.#observer({ kind: 'replay', pipeline: request.pipeline, id, ratio, lag })
  }
}
