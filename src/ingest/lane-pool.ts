import { fork, type ChildProcess } from 'node:child_process'
import { backoffMs, type Clock } from '../clock.ts'
import type { TableDefinition } from '../define.ts'
import type { WindowDefinition } from '../define-window.ts'
import { fromErrorMessage, LakeError } from '../error.ts'
import type { Observer } from '../event.ts'
import type { MicroBatchLimits, Staged } from './lane.ts'
import { LaneJobs, type PooledWork } from './lane-jobs.ts'
import type { FromLane, LaneSettings, ToLane } from './lane-messages.ts'
import { LaneWork } from './lane-work.ts'
import { removePartials } from './window/partial-files.ts'
import { answerOf, ENDED, IDLE, shares, type LaneAnswer, type Lanes, type LaneTask } from './lanes.ts'

export interface LanePoolOptions {
  readonly lanes: number
  /** The bundled lane process. */
  readonly childPath: string
  readonly settings: LaneSettings
  readonly microBatch: MicroBatchLimits
  readonly clock: Clock
  readonly observer: Observer
  /** A lane that says nothing for so long is killed and replaced. Default: 30 seconds. */
  readonly silentMsMax?: number
  /** Receives what a lane prints, which is never data. */
  readonly onOutput?: (lane: number, text: string) => void
}

/** Batches that a lane may have staged without their being folded. */
const IN_FLIGHT_MAX = 3
const SILENT_MS_MAX = 30_000
/** The same for a lane that touches one batch for so long. */
const ENCODE_MS_MAX = 120_000
/** And for work on files, which may be large. */
const WORK_MS_MAX = 600_000
/** Deaths of one lane in a row, without a batch in between, that end the run. */
const DEATHS_MAX = 16
const WATCH_EVERY_MS = 1_000
/** A lane that lived longer is started again at once; those that die young are not forked as fast as they die. */
const YOUNG_MS = 5_000
/** The operating system ends a killed process soon; nobody waits for it longer. */
const EXIT_MS_MAX = 2_000

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
  open(pipeline: string, tables: readonly TableDefinition[], windows: readonly WindowDefinition[] = []): Lanes {
    const lanes = new PooledLanes(
      pipeline,
      { tables, windows },
      {
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

/** One child process and its successors. */
class LaneProcess {
  readonly lane: number
  readonly #options: LanePoolOptions
  readonly #pipelines: ReadonlyMap<string, PooledLanes>
  readonly #jobs: LaneJobs
  readonly #signal: AbortSignal
  #child: ChildProcess | undefined
  #heardMs = 0
  #startedMs = 0
  /** Deaths in a row of lanes that died young. */
  #youngDeaths = 0
  #exit: Promise<void> = Promise.resolve()

  constructor(
    lane: number,
    options: LanePoolOptions,
    pipelines: ReadonlyMap<string, PooledLanes>,
    jobs: LaneJobs,
    signal: AbortSignal,
  ) {
    this.lane = lane
    this.#options = options
    this.#pipelines = pipelines
    this.#jobs = jobs
    this.#signal = signal
    this.#start('started')
  }

  get pid(): number | undefined {
    return this.#child?.pid
  }

  send(message: ToLane): void {
    // A child that is gone is replaced by its exit handler, which assigns the work anew.
    if (this.#child?.connected === true) this.#child.send(message, () => undefined)
  }

  /** Resolves when the process is gone. */
  kill(): Promise<void> {
    this.#child?.kill('SIGKILL')
    return this.#exit
  }

  killIfHung(): void {
    const { clock, silentMsMax = SILENT_MS_MAX } = this.#options
    const isSilent = clock.monotonicMs() - this.#heardMs > silentMsMax
    const isStuck =
      [...this.#pipelines.values()].some((lanes) => lanes.encodingMs(this.lane) > ENCODE_MS_MAX) ||
      this.#jobs.workingMs(this.lane) > WORK_MS_MAX
    if (this.#child === undefined || (!isSilent && !isStuck)) return
    this.#tell('hung')
    this.#child.kill('SIGKILL')
  }

  #start(what: 'started' | 'restarted'): void {
    const { childPath, settings, clock, onOutput } = this.#options
    const child = fork(childPath, [], {
      serialization: 'advanced',
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
      execArgv: ['--enable-source-maps'],
      env: { ...process.env, KAPPALAKE_LANE: JSON.stringify(settings) },
    })
    this.#child = child
    this.#heardMs = this.#startedMs = clock.monotonicMs()
    for (const stream of [child.stdout, child.stderr])
      stream?.on('data', (bytes: Buffer) => onOutput?.(this.lane, bytes.toString('utf8')))
    child.on('message', (message: FromLane) => {
      this.#heardMs = clock.monotonicMs()
      if (message.kind === 'worked' || message.kind === 'work-failed') this.#jobs.heard(this.lane, message)
      else if (message.kind !== 'alive') {
        const lanes = this.#pipelines.get(message.pipeline)
        if (lanes !== undefined) lanes.heard(this.lane, message)
        else if (message.kind === 'staged') void removePartials(message.staged)
      }
    })
    this.#exit = new Promise((resolve) => {
      const gone = () => {
        resolve()
        this.#exited(child)
      }
      child.on('exit', gone)
      // A child that could not be started does not exit; one that could not be spoken to does, or the watch kills it.
      child.on('error', () => (child.pid === undefined ? gone() : undefined))
    })
    this.#tell(what)
    for (const lanes of this.#pipelines.values()) lanes.restarted(this.lane)
    this.#jobs.restarted(this.lane)
  }

  #exited(child: ChildProcess): void {
    if (this.#child !== child || this.#signal.aborted) return
    this.#child = undefined
    this.#tell('died')
    const pipelines = [...this.#pipelines.values()]
    const encoding = pipelines.filter((lanes) => lanes.isEncoding(this.lane))
    const wasWorking = this.#jobs.isWorking(this.lane)
    const isSure = encoding.length === 1 && !wasWorking
    // Between two batches it died of its work on files, which keeps its own count.
    for (const lanes of wasWorking ? encoding : pipelines) lanes.died(this.lane, isSure)
    this.#jobs.died(this.lane)
    void this.#restart()
  }

  async #restart(): Promise<void> {
    const { clock } = this.#options
    const isYoung = clock.monotonicMs() - this.#startedMs < YOUNG_MS
    this.#youngDeaths = isYoung ? this.#youngDeaths + 1 : 0
    // A record that kills costs seven deaths to find: the first few lose no time.
    if (this.#youngDeaths > 8) await clock.sleep(backoffMs(clock, this.#youngDeaths - 8, 100, 2_000), this.#signal)
    if (!this.#signal.aborted) this.#start('restarted')
  }

  #tell(what: 'started' | 'died' | 'hung' | 'restarted'): void {
    this.#options.observer({ kind: 'lane', lane: this.lane, what })
  }
}

/** What the lanes of a pipeline fill. */
interface Definitions {
  readonly tables: readonly TableDefinition[]
  readonly windows: readonly WindowDefinition[]
}

/** The share of one pipeline in all lane processes. */
class PooledLanes implements Lanes {
  readonly #pipeline: string
  readonly #definitions: Definitions
  readonly #processes: readonly LaneProcess[]
  readonly #options: LanePoolOptions
  readonly #newTask: () => number
  readonly #onClose: () => void
  readonly work: PooledWork
  #work: (LaneWork | undefined)[] = []
  #answers: { readonly lane: number; readonly staged: Staged }[] = []
  #error: LakeError | undefined
  #wake: () => void = () => undefined

  constructor(
    pipeline: string,
    definitions: Definitions,
    pool: {
      readonly processes: readonly LaneProcess[]
      readonly options: LanePoolOptions
      readonly work: PooledWork
      readonly newTask: () => number
      readonly onClose: () => void
    },
  ) {
    this.#pipeline = pipeline
    this.#definitions = definitions
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
    this.#work = shares(task, lanes).map((from) =>
      from.size === 0 ? undefined : new LaneWork(from, task, microBatch, clock),
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
    if (this.#error !== undefined) return { kind: 'staged', staged: answer.staged }
    const task = this.#work[answer.lane]!.task
    this.#processes[answer.lane]!.send({ kind: 'credit', pipeline: this.#pipeline, task })
    return { kind: 'staged', staged: answer.staged }
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
