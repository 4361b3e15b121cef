import { backoffMs, type Clock } from '../clock.ts'
import { LakeError } from '../error.ts'
import type { Priority } from '../priority.ts'
import { QueryProcess, type QueryProcessOptions } from './query-process.ts'

export interface PoolOptions {
  readonly process: QueryProcessOptions
  readonly size: number
  readonly queueMax: number
  readonly clock: Clock
  /**
   * Of the processes, now. One that was started with another serves a query more, and is replaced; but not one that would
   * have to wait for others.
   */
  readonly priority?: (() => Priority) | undefined
}

/** A process is replaced after so many queries, whatever their outcome. */
const QUERIES_MAX = 500
/** Starts in a row that may fail before opening the pool fails. */
const OPEN_ATTEMPTS = 3

interface Waiter {
  resolve(process: QueryProcess): void
  reject(error: LakeError): void
}

/** Query processes, at least one of them warm. Each serves one query at a time; one that dies is replaced at once. */
export class ProcessPool {
  readonly #options: PoolOptions
  readonly #stop = new AbortController()
  readonly #all = new Set<QueryProcess>()
  readonly #idle: QueryProcess[] = []
  readonly #queue: Waiter[] = []
  /** Places that are kept filled. */
  #places = 0
  #restarts = 0

  constructor(options: PoolOptions) {
    this.#options = options
  }

  /** Resolves when one process is ready; more are started when it gets work. Throws `internal` when none can be. */
  async open(): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.#places++
      void this.#keepOne(resolve, reject)
    })
  }

  get restarts(): number {
    return this.#restarts
  }

  get queued(): number {
    return this.#queue.length
  }

  get pids(): readonly number[] {
    return [...this.#all].flatMap(({ pid }) => (pid === undefined ? [] : [pid]))
  }

  /** An idle process, in the order of asking. Throws `limit.queries` when too many wait already. */
  async acquire(signal: AbortSignal): Promise<QueryProcess> {
    signal.throwIfAborted()
    this.#stop.signal.throwIfAborted()
    let process = this.#idle.shift()
    for (; process !== undefined && !this.#isFit(process); process = this.#idle.shift())
      process.kill(new LakeError('sql.cancelled', 'the process is replaced'))
    this.#keepSpare()
    if (process !== undefined) return process
    if (this.#queue.length >= this.#options.queueMax)
      throw new LakeError('limit.queries', `${this.#queue.length} queries wait already`, {
        retryable: true,
        fix: 'Try again in a moment.',
      })
    return new Promise((resolve, reject) => {
      const leave = () => {
        this.#queue.splice(this.#queue.indexOf(waiter), 1)
        reject(signal.reason)
      }
      const waiter: Waiter = {
        resolve: (process) => {
          signal.removeEventListener('abort', leave)
          resolve(process)
        },
        reject,
      }
      this.#queue.push(waiter)
      signal.addEventListener('abort', leave, { once: true })
    })
  }

  /** Gives a process back. One that is not idle, or has done enough, is ended and replaced. */
  release(process: QueryProcess): void {
    const isWorn = process.queries >= QUERIES_MAX || process.cpuMs > (this.#options.process.cpuSecondsMax * 1_000) / 2
    const isOfBefore = process.priority !== this.#options.priority?.()
    if (!process.isIdle || isWorn || isOfBefore || process.isGone)
      process.kill(new LakeError('sql.cancelled', 'the process is replaced'))
    else this.#offer(process)
  }

  async close(): Promise<void> {
    const reason = new LakeError('sql.cancelled', 'the lake is closing', { retryable: true })
    this.#stop.abort(reason)
    for (const waiter of this.#queue.splice(0)) waiter.reject(reason)
    const all = [...this.#all]
    for (const process of all) process.kill(reason)
    await Promise.all(all.map((process) => process.exited))
  }

  #isFit({ isGone, priority }: QueryProcess): boolean {
    return !isGone && (priority !== 'idle' || this.#options.priority?.() === 'idle')
  }

  #offer(process: QueryProcess): void {
    const waiter = this.#queue.shift()
    if (waiter === undefined) this.#idle.push(process)
    else waiter.resolve(process)
  }

  /** One process more is warm than there is work for, up to the size of the pool: a start costs about 0.25 s of CPU time. */
  #keepSpare(): void {
    if (this.#idle.length > 0 || this.#places >= this.#options.size) return
    this.#places++
    // Whoever waits is served by the others when this one cannot be started; it is tried again.
    void this.#keepOne(
      () => undefined,
      () => undefined,
    )
  }

  /** Keeps one place of the pool filled until the pool is closed. */
  async #keepOne(onReady: () => void, onFailure: (error: LakeError) => void): Promise<void> {
    const { clock } = this.#options
    for (let failures = 0; !this.#stop.signal.aborted;) {
      const process = new QueryProcess({ ...this.#options.process, priority: this.#options.priority?.() })
      this.#all.add(process)
      const ready = await process.receive().catch((error: LakeError) => error)
      if (ready instanceof LakeError) {
        failures++
        if (failures >= OPEN_ATTEMPTS) onFailure(cannotStart(ready))
      } else {
        failures = 0
        onReady()
        this.#offer(process)
      }
      await process.exited
      this.#all.delete(process)
      const index = this.#idle.indexOf(process)
      if (index >= 0) this.#idle.splice(index, 1)
      if (this.#stop.signal.aborted) return
      this.#restarts++
      if (failures > 0) await clock.sleep(backoffMs(clock, failures), this.#stop.signal)
    }
  }
}

function cannotStart(cause: LakeError): LakeError {
  const said = cause.cause instanceof Error ? `: ${cause.cause.message.trim().split('\n').at(-1)}` : ''
  return new LakeError('internal', `a query process cannot be started${said}`, {
    cause,
    fix: 'Check the installation (@duckdb/node-api) and query.memory.',
  })
}
