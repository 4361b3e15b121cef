import type { Archive } from './archive/archive.ts'
import type { TableDefinition } from '../define.ts'
import type { WindowDefinition } from '../define-window.ts'
import { fromErrorMessage, LakeError } from '../error.ts'
import type { Positions } from '../log.ts'
import type { Staged } from './lane.ts'
import { ArrivingBatches } from './key-files.ts'
import { LaneJobs, type PooledWork } from './lane-jobs.ts'
import type { FromLane } from './lane-messages.ts'
import { LaneProcess, type LanePoolOptions, type LaneShare } from './lane-process.ts'
import { LaneWork } from './lane-work.ts'
import type { LetterWork } from './letters/letters.ts'
import { removePartials } from './window/partial-files.ts'
import { answerOf, ENDED, IDLE, shares, type LaneAnswer, type Lanes, type LaneTask } from './lanes.ts'

export type { LanePoolOptions }

/** Batches that a lane may have staged without their being folded. */
const IN_FLIGHT_MAX = 3
/** Deaths of one lane in a row, without a batch in between, that end the run. */
const DEATHS_MAX = 16
const WATCH_EVERY_MS = 1_000
/** The operating system ends a killed process soon; nobody waits for it longer. */
const EXIT_MS_MAX = 2_000

/** How lanes read for one pipeline. */
export interface LaneOptions {
  /** Where the log ends for them. */
  readonly until?: Positions | undefined
  /** What is kept of it, for where it no longer reaches. */
  readonly archives?: readonly Archive[]
}

/** The lane processes of this process, shared by its pipelines. */
export class LanePool {
  readonly #options: LanePoolOptions
  readonly #lanes: LaneProcess[]
  readonly #jobs: LaneJobs
  readonly #pipelines = new Map<string, PooledLanes>()
  readonly #stop = new AbortController()
  #tasks = 0

  constructor(options: LanePoolOptions) {
    this.#options = options
    const { lanes, clock } = options
    const { signal } = this.#stop
    this.#jobs = new LaneJobs({
      lanes,
      clock,
      send: (lane, message) => this.#lanes[lane]!.send(message),
      isEncoding: (lane) => [...this.#pipelines.values()].some((each) => each.isEncoding(lane)),
    })
    this.#lanes = Array.from(
      { length: lanes },
      (_, lane) => new LaneProcess(lane, options, this.#pipelines, this.#jobs, signal),
    )
    void this.#watch()
  }

  /** Lanes of one pipeline; at most one at a time of each name. */
  open(
    pipeline: string,
    tables: readonly TableDefinition[],
    windows: readonly WindowDefinition[] = [],
    { until, archives = [] }: LaneOptions = {},
  ): Lanes {
    const lanes = new PooledLanes(
      pipeline,
      { tables, windows, archives },
      {
        until,
        processes: this.#lanes,
        options: this.#options,
        work: this.#jobs.open(pipeline, tables),
        // Of the pool, not of the run: an answer to the run before must not pass for one to this.
        newTask: () => ++this.#tasks,
        onClose: () => {
          if (this.#pipelines.get(pipeline) === lanes) this.#pipelines.delete(pipeline)
        },
      },
    )
    this.#pipelines.set(pipeline, lanes)
    return lanes
  }

  /** Work for nobody's tables. */
  openWork(): PooledWork {
    return this.#jobs.open('', [])
  }

  /** Process ids of the living lanes, for health pages and for whoever wants to see them die. */
  get pids(): readonly number[] {
    return this.#lanes.flatMap(({ pid }) => (pid === undefined ? [] : [pid]))
  }

  /** Kills all lanes; resolves when they are gone. */
  async close(): Promise<void> {
    this.#stop.abort()
    for (const lanes of this.#pipelines.values()) lanes.work.close()
    const timer = new AbortController()
    const exits = Promise.all(this.#lanes.map((lane) => lane.kill()))
    await Promise.race([exits, this.#options.clock.sleep(EXIT_MS_MAX, timer.signal)])
    timer.abort()
  }

  async #watch(): Promise<void> {
    const { clock } = this.#options
    while (!this.#stop.signal.aborted) {
      await clock.sleep(WATCH_EVERY_MS, this.#stop.signal)
      for (const lane of this.#lanes) lane.killIfHung()
    }
  }
}

/** What the lanes of a pipeline fill, and what they read beside the log. */
interface Definitions {
  readonly tables: readonly TableDefinition[]
  readonly windows: readonly WindowDefinition[]
  readonly archives: readonly Archive[]
}

/** The share of one pipeline in all lane processes. */
class PooledLanes implements Lanes, LaneShare {
  readonly #pipeline: string
  readonly #definitions: Definitions
  readonly #until: Positions | undefined
  readonly #processes: readonly LaneProcess[]
  readonly #options: LanePoolOptions
  readonly #newTask: () => number
  readonly #onClose: () => void
  readonly work: PooledWork
  #work: (LaneWork | undefined)[] = []
  readonly #arriving = new ArrivingBatches()
  #answers: { readonly lane: number; readonly staged: Staged }[] = []
  #error: LakeError | undefined
  #wake: () => void = () => undefined

  constructor(
    pipeline: string,
    definitions: Definitions,
    pool: {
      readonly until: Positions | undefined
      readonly processes: readonly LaneProcess[]
      readonly options: LanePoolOptions
      readonly work: PooledWork
      readonly newTask: () => number
      readonly onClose: () => void
    },
  ) {
    this.#pipeline = pipeline
    this.#definitions = definitions
    this.#until = pool.until
    this.#processes = pool.processes
    this.#options = pool.options
    this.work = pool.work
    this.#newTask = pool.newTask
    this.#onClose = pool.onClose
  }

  assign(task: LaneTask): void {
    const { clock, microBatch, lanes } = this.#options
    this.#dropAnswers()
    this.#error = undefined
    const bounded = this.#until === undefined ? task : { ...task, until: this.#until }
    this.#work = shares(task, lanes).map((from) =>
      from.size === 0 ? undefined : new LaneWork(from, bounded, microBatch, clock),
    )
    for (const { lane } of this.#processes) this.#send(lane)
  }

  async next(timeoutMs: number): Promise<LaneAnswer> {
    if (this.#answers.length === 0 && this.#error === undefined && !this.#isEnded) await this.#woken(timeoutMs)
    const answer = this.#answers.shift()
    if (answer === undefined) {
      if (this.#error !== undefined) return answerOf(this.#error)
      return this.#isEnded ? ENDED : IDLE
    }
    // What was staged before the error is still good, the more so when the log has lost it since; no more is asked for.
    const staged = await this.#arriving.take(answer.staged)
    if (this.#error !== undefined) return { kind: 'staged', staged }
    const task = this.#work[answer.lane]?.task
    if (task === undefined) return { kind: 'staged', staged }
    this.#processes[answer.lane]!.send({ kind: 'credit', pipeline: this.#pipeline, task })
    return { kind: 'staged', staged }
  }

  get letters(): LetterWork {
    return this.work.letters
  }

  close(): Promise<void> {
    this.#work = []
    this.#dropAnswers()
    this.work.close()
    for (const process of this.#processes) process.send({ kind: 'release', pipeline: this.#pipeline })
    this.#onClose()
    return Promise.resolve()
  }

  heard(lane: number, message: Extract<FromLane, { readonly pipeline: string }>): void {
    const work = this.#work[lane]
    if (work === undefined || message.task !== work.task) {
      if (message.kind === 'staged') void removePartials(message.staged)
      return
    }
    switch (message.kind) {
      case 'staged': {
        const isRelieved = work.staged(message.staged)
        this.#answers.push({ lane, staged: message.staged })
        this.#report(lane, message.staged)
        if (isRelieved) this.#send(lane)
        break
      }
      case 'ended':
        work.isEnded = true
        break
      case 'failed':
        this.#error = fromErrorMessage(message.error)
        break
      case 'encoding':
        work.encoding(message.spans)
        return
      case 'encoded':
        work.encoded()
        return
    }
    this.#wake()
  }

  died(lane: number, isSure: boolean): void {
    const work = this.#work[lane]
    if (work === undefined) return
    work.died(isSure)
    if (work.deaths <= DEATHS_MAX) return
    this.#error = new LakeError('lane.failed', `lane ${lane} died ${work.deaths} times without staging a batch`, {
      retryable: true,
      context: { lane, deaths: work.deaths },
      fix: 'Look for the reason in the log of this process: memory, a full disk, a broken installation.',
    })
    this.#wake()
  }

  restarted(lane: number): void {
    this.#send(lane)
  }

  isEncoding(lane: number): boolean {
    return this.#work[lane]?.isEncoding === true
  }

  /** How long the lane has been busy with one batch of this pipeline, in milliseconds. */
  encodingMs(lane: number): number {
    return this.#work[lane]?.encodingMs ?? 0
  }

  get #isEnded(): boolean {
    // Without a partition there is nothing to come to the end of: its topic may be created any time.
    const work = this.#work.filter((work) => work !== undefined)
    return this.#answers.length === 0 && work.length > 0 && work.every(({ isEnded }) => isEnded)
  }

  #send(lane: number): void {
    const work = this.#work[lane]
    const [pipeline, process] = [this.#pipeline, this.#processes[lane]!]
    if (work === undefined) return process.send({ kind: 'release', pipeline })
    if (work.isEnded) return
    const task = (work.task = this.#newTask())
    process.send({ kind: 'assign', pipeline, task, ...this.#definitions, assignment: work.assignment(lane) })
    const waiting = this.#answers.filter((answer) => answer.lane === lane).length
    for (let credit = waiting; credit < IN_FLIGHT_MAX; credit++) process.send({ kind: 'credit', pipeline, task })
  }

  #dropAnswers(): void {
    for (const { staged } of this.#answers) void removePartials(staged)
    this.#answers = []
  }

  #report(lane: number, { records, bytes, encodeMs }: Staged): void {
    this.#options.observer({ kind: 'staged', pipeline: this.#pipeline, lane, records, bytes, encodeMs })
  }

  async #woken(timeoutMs: number): Promise<void> {
    const timer = new AbortController()
    this.#wake = () => timer.abort()
    await this.#options.clock.sleep(timeoutMs, timer.signal)
  }
}
