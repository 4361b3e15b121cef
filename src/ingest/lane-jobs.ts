import type { Clock } from '../clock.ts'
import type { TableDefinition } from '../define.ts'
import { fromErrorMessage, LakeError } from '../error.ts'
import type { SentKeys } from './key-files.ts'
import type { ChangeFile, TableWork } from './keys.ts'
import type { FromLane, ToLane } from './lane-messages.ts'
import type { ArchiveWork } from './archive/archive.ts'
import { remoteLetters } from './letters/letter-messages.ts'
import type { LetterWork } from './letters/letters.ts'
import { removeLocal } from './window/partial-files.ts'
import { remoteWork, type WorkCall } from './work-messages.ts'

export interface LaneJobsOptions {
  readonly lanes: number
  readonly clock: Clock
  readonly send: (lane: number, message: ToLane) => void
  /** Whether a lane is in the middle of records: others are asked first. */
  readonly isEncoding: (lane: number) => boolean
}

/** Lanes that may die over one job before it is given up. */
const DEATHS_MAX = 3

interface Job {
  readonly id: number
  readonly run: Run
  readonly call: WorkCall
  readonly resolve: (result: unknown) => void
  readonly reject: (error: LakeError) => void
  deaths: number
}

interface Run {
  readonly id: number
  readonly pipeline: string
  readonly tables: readonly TableDefinition[]
  readonly jobs: Set<Job>
  isClosed: boolean
}

interface Slot {
  isUp: boolean
  job: Job | undefined
  sinceMs: number
}

/** Work on files for a pipeline, until it is closed. */
export interface PooledWork extends TableWork, ArchiveWork {
  readonly letters: LetterWork
  /** Rejects what is open. A lane that is at it comes to its end, and nobody asks what it gave. */
  close(): void
}

/**
 * Work on files of all pipelines, given to the lane processes in the order in which it came: each does one job at a
 * time, beside its staging. Kept here, where no lane can take it along when it dies.
 */
export class LaneJobs {
  readonly #options: LaneJobsOptions
  readonly #slots: readonly Slot[]
  #waiting: Job[] = []
  #ids = 0

  constructor(options: LaneJobsOptions) {
    this.#options = options
    this.#slots = Array.from({ length: options.lanes }, () => ({ isUp: false, job: undefined, sinceMs: 0 }))
  }

  open(pipeline: string, tables: readonly TableDefinition[]): PooledWork {
    const run: Run = { id: ++this.#ids, pipeline, tables, jobs: new Set(), isClosed: false }
    const letters = remoteLetters((plan, call) => this.#add(run, { method: 'letters', plan, call }))
    return { ...remoteWork((call) => this.#add(run, call)), letters, close: () => this.#close(run) }
  }

  heard(lane: number, message: Extract<FromLane, { kind: 'working' | 'worked' | 'work-failed' }>): void {
    const slot = this.#slots[lane]!
    const { job } = slot
    const isAsked = job?.id === message.job && !job.run.isClosed
    if (message.kind === 'worked' && !isAsked) void removeLocal(fileOf(message.result))
    if (job === undefined || job.id !== message.job) return
    if (message.kind === 'working') {
      slot.sinceMs = this.#options.clock.monotonicMs()
      return
    }
    slot.job = undefined
    job.run.jobs.delete(job)
    if (message.kind === 'worked') job.resolve(message.result)
    else job.reject(fromErrorMessage(message.error))
    this.#dispatch()
  }

  died(lane: number): void {
    const slot = this.#slots[lane]!
    const { job } = slot
    slot.isUp = false
    slot.job = undefined
    if (job === undefined || job.run.isClosed) return
    if (++job.deaths < DEATHS_MAX) this.#waiting.unshift(job)
    else this.#giveUp(job)
    this.#dispatch()
  }

  restarted(lane: number): void {
    this.#slots[lane]!.isUp = true
    this.#dispatch()
  }

  isWorking(lane: number): boolean {
    return this.#slots[lane]?.job !== undefined
  }

  /** How long the lane has been at its job, or at the step of it that it spoke of last, in milliseconds. */
  workingMs(lane: number): number {
    const slot = this.#slots[lane]
    return slot?.job === undefined ? 0 : this.#options.clock.monotonicMs() - slot.sinceMs
  }

  #add(run: Run, call: WorkCall): Promise<unknown> {
    return new Promise((resolve, reject) => {
      if (run.isClosed) return reject(closed(run))
      const job: Job = { id: ++this.#ids, run, call, resolve, reject, deaths: 0 }
      run.jobs.add(job)
      this.#waiting.push(job)
      this.#dispatch()
    })
  }

  #dispatch(): void {
    const { clock, send, isEncoding } = this.#options
    while (this.#waiting.length > 0) {
      const free = this.#slots.flatMap((slot, lane) => (slot.isUp && slot.job === undefined ? [lane] : []))
      const lane = free.find((each) => !isEncoding(each)) ?? free[0]
      if (lane === undefined) return
      const job = this.#waiting.shift()!
      const slot = this.#slots[lane]!
      slot.job = job
      slot.sinceMs = clock.monotonicMs()
      const { id: run, tables } = job.run
      send(lane, { kind: 'work', job: job.id, run, tables, call: job.call })
    }
  }

  #giveUp(job: Job): void {
    job.run.jobs.delete(job)
    const { call, deaths } = job
    const of = 'plan' in call ? { table: call.plan.table } : { topics: call.archives.map(({ topic }) => topic) }
    job.reject(
      new LakeError('lane.failed', `${of.table ?? of.topics}: ${deaths} lanes died while they were at ${call.method}`, {
        retryable: true,
        context: { ...of, work: call.method, deaths },
        fix: 'Look for the reason in the log of this process: memory, a full disk, a broken installation.',
      }),
    )
  }

  #close(run: Run): void {
    run.isClosed = true
    this.#waiting = this.#waiting.filter((job) => job.run !== run)
    for (const job of run.jobs) job.reject(closed(run))
    run.jobs.clear()
  }
}

/** The file of this machine that an answer is in, which nobody takes: keys, or changes. */
function fileOf(result: unknown): string | undefined {
  const { keyFile, path } = (result ?? {}) as Partial<SentKeys & ChangeFile>
  return keyFile ?? path
}

function closed({ pipeline }: Run): LakeError {
  return new LakeError('lane.failed', `the lanes of ${pipeline} were closed`, { retryable: true })
}
