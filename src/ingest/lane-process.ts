import { fork, type ChildProcess } from 'node:child_process'
import { backoffMs, type Clock } from '../clock.ts'
import type { Observer } from '../event.ts'
import type { LaneJobs } from './lane-jobs.ts'
import type { FromLane, LaneSettings, ToLane } from './lane-messages.ts'
import type { MicroBatchLimits } from './lane.ts'
import { lower } from '../priority.ts'
import { removePartials } from './window/partial-files.ts'

export interface LanePoolOptions {
  readonly lanes: number
  /** The bundled lane process. */
  readonly childPath: string
  readonly settings: LaneSettings
  readonly microBatch: MicroBatchLimits
  readonly clock: Clock
  readonly observer: Observer
  /** Niceness of the lane processes, as the operating system has it: 10 lets others go first. Default: that of this process. */
  readonly priority?: number
  /** A lane that says nothing for so long is killed and replaced. Default: 30 seconds. */
  readonly silentMsMax?: number
  /** Receives what a lane prints, which is never data. */
  readonly onOutput?: (lane: number, text: string) => void
}

const SILENT_MS_MAX = 30_000
/** The same for a lane that touches one batch for so long. */
const ENCODE_MS_MAX = 120_000
/** And for work on files, which may be large. */
const WORK_MS_MAX = 600_000
/** A lane that lived longer is started again at once; those that die young are not forked as fast as they die. */
const YOUNG_MS = 5_000
/**
 * Buffers of megabytes come and go with each answer of a broker, and those of DuckDB with each file: allocators would give
 * them back to the system, which has to clear every page before it gives it out again. glibc's has few arenas, since each
 * keeps what it does not give back; DuckDB's (jemalloc) gives back what nobody wanted for some seconds.
 */
const KEEP_PAGES = {
  MALLOC_ARENA_MAX: '2',
  MALLOC_MMAP_THRESHOLD_: String(32 << 20),
  MALLOC_TRIM_THRESHOLD_: String(512 << 20),
  DUCKDB_JE_MALLOC_CONF: 'dirty_decay_ms:5000,muzzy_decay_ms:0',
}
/**
 * How much V8 puts together into one piece of machine code, in bytes of its own code. With its defaults of 460 and 920
 * readers of records and hashes of keys call their smallest steps one by one.
 */
const INLINING = ['--max-inlined-bytecode-size=1000', '--max-inlined-bytecode-size-cumulative=3000']

/** What a lane process knows of the lanes of one pipeline. */
export interface LaneShare {
  heard(lane: number, message: Extract<FromLane, { readonly pipeline: string }>): void
  /** `isSure`: the lane was at no other pipeline's records. */
  died(lane: number, isSure: boolean): void
  restarted(lane: number): void
  isEncoding(lane: number): boolean
  encodingMs(lane: number): number
}

/** One child process and its successors. */
export class LaneProcess {
  readonly lane: number
  readonly #options: LanePoolOptions
  readonly #pipelines: ReadonlyMap<string, LaneShare>
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
    pipelines: ReadonlyMap<string, LaneShare>,
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
    const { childPath, settings, clock, onOutput, priority } = this.#options
    const child = fork(childPath, [], {
      serialization: 'advanced',
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
      execArgv: ['--enable-source-maps', ...INLINING],
      // What a function makes of a time must not depend on where the lane runs.
      env: { ...KEEP_PAGES, ...process.env, TZ: 'UTC', KAPPALAKE_LANE: JSON.stringify(settings) },
    })
    this.#child = child
    lower(child, priority)
    this.#heardMs = this.#startedMs = clock.monotonicMs()
    for (const stream of [child.stdout, child.stderr])
      stream?.on('data', (bytes: Buffer) => onOutput?.(this.lane, bytes.toString('utf8')))
    child.on('message', (message: FromLane) => {
      this.#heardMs = clock.monotonicMs()
      if ('job' in message) this.#jobs.heard(this.lane, message)
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
