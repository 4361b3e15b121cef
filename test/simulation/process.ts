import type { Clock } from '../../src/clock.ts'
import { LakeError } from '../../src/error.ts'
import type { ObjectInfo, PutOutcome, Storage } from '../../src/lake/storage/storage.ts'
import type { Fault, Plan } from './plan.ts'
import type { Random } from './random.ts'
import { EPOCH_MS, type World } from './world.ts'

/**
 * One life of a process. Everything that it waits for comes through here, so that it can be killed (nothing comes any
 * more), stalled (all comes later) and asked to end at any await. What it has sent goes its way without it.
 */
export class SimProcess {
  readonly name: string
  readonly world: World
  readonly plan: Plan
  readonly random: Random
  readonly clock: Clock
  isDead = false
  /** Called at an await, where chance wants the process to end. */
  onSigterm: () => void = () => undefined
  onDeath: () => void = () => undefined
  /** Outcomes of creating version files. */
  readonly outcomes: Map<string, number>
  lastCreate: PutOutcome['kind'] | 'refused' = 'created'
  #stalledUntilMs = 0

  constructor(name: string, world: World, plan: Plan, random: Random, outcomes: Map<string, number>) {
    this.name = name
    this.world = world
    this.plan = plan
    this.random = random
    this.outcomes = outcomes
    const startMs = world.nowMs
    const isSkewed = this.happens('P5')
    const skewMs = isSkewed ? random.between(-600_000, 600_000) : 0
    const pace = isSkewed ? random.between(0.98, 1.02) : 1
    this.clock = {
      nowMs: () => Math.floor(EPOCH_MS + world.nowMs + skewMs + (world.nowMs - startMs) * (pace - 1)),
      monotonicMs: () => (world.nowMs - startMs) * pace,
      // No timer is finer than a tenth of a millisecond; without a floor, rounding could keep time from moving at all.
      sleep: (ms, signal) => this.#sleep(Math.max(0.1, ms / pace), signal),
      random: random.next,
      uuid: () => random.uuid(),
    }
  }

  /** Draws a fault of this kind; it is counted when it happens. */
  happens(kind: Fault, detail = ''): boolean {
    const rate = this.world.isStormy ? this.plan.rates[kind] : 0
    if (rate === 0 || !this.random.chance(rate)) return false
    this.world.fault(kind, `${this.name} ${detail}`)
    return true
  }

  kill(): void {
    if (this.isDead) return
    this.isDead = true
    this.world.say(`${this.name} is dead`)
    this.onDeath()
  }

  stall(ms: number): void {
    this.world.say(`${this.name} stalls for ${ms.toFixed(0)} ms`)
    this.#stalledUntilMs = Math.max(this.#stalledUntilMs, this.world.nowMs + ms)
  }

  /** Does `action` in this process after `ms`, later when it is stalled, never when it is dead. */
  deliver(ms: number, what: string, action: () => void): () => void {
    let cancel = () => undefined as void
    let isCancelled = false
    const arrive = () => {
      if (this.isDead || isCancelled) return
      if (this.#stalledUntilMs > this.world.nowMs)
        cancel = this.world.after(this.#stalledUntilMs - this.world.nowMs, what, arrive)
      else action()
    }
    cancel = this.world.after(ms, what, arrive)
    return () => {
      isCancelled = true
      cancel()
    }
  }

  /** A request to the outside: takes its time there and back; lands even when the sender dies meanwhile. */
  call<T>(what: string, request: () => Promise<T>): Promise<T> {
    if (this.isDead || this.#dies(`before ${what}`)) return new Promise(() => undefined)
    return new Promise((resolve, reject) => {
      this.world.after(this.random.between(0.5, 6), what, () => {
        const back = (answer: () => void) =>
          this.deliver(this.random.between(0.5, 6), what, () => {
            if (!this.#dies(`after ${what}`)) answer()
          })
        request().then(
          (value) => back(() => resolve(value)),
          (error) => back(() => reject(error)),
        )
      })
    })
  }

  storage(inner: Storage): Storage {
    return new ProcessStorage(this, inner)
  }

  #dies(where: string): boolean {
    if (this.happens('P6', where)) this.deliver(0, 'sigterm', this.onSigterm)
    if (this.happens('P1', where)) this.kill()
    return this.isDead
  }

  #sleep(ms: number, signal: AbortSignal | undefined): Promise<void> {
    if (this.isDead) return new Promise(() => undefined)
    if (signal?.aborted === true) return Promise.resolve()
    return new Promise((resolve) => {
      const woken = () => {
        cancel()
        resolve()
      }
      const cancel = this.deliver(ms, `${this.name} wakes`, () => {
        signal?.removeEventListener('abort', woken)
        resolve()
      })
      signal?.addEventListener('abort', woken, { once: true })
    })
  }
}

const VERSION_KEY = /\/v\d{16}\.json$/

class ProcessStorage implements Storage {
  readonly #process: SimProcess
  readonly #inner: Storage

  constructor(process: SimProcess, inner: Storage) {
    this.#process = process
    this.#inner = inner
  }

  get url(): string {
    return this.#inner.url
  }

  get isLocal(): boolean {
    return this.#inner.isLocal
  }

  get scratch(): string {
    return this.#inner.scratch
  }

  get(key: string, signal?: AbortSignal): Promise<Uint8Array | undefined> {
    return this.#process.call(`get ${key}`, () => this.#inner.get(key, signal))
  }

  head(key: string): Promise<ObjectInfo | undefined> {
    return this.#process.call(`head ${key}`, () => this.#inner.head(key))
  }

  put(key: string, bytes: Uint8Array): Promise<void> {
    return this.#process.call(`put ${key}`, () => this.#inner.put(key, bytes))
  }

  putFile(key: string, localPath: string): Promise<void> {
    return this.#process.call(`putFile ${key}`, () => this.#inner.putFile(key, localPath))
  }

  async putIfAbsent(key: string, bytes: Uint8Array): Promise<PutOutcome> {
    const process = this.#process
    const isVersion = VERSION_KEY.test(key)
    const count = (kind: typeof process.lastCreate) => {
      if (!isVersion) return
      process.lastCreate = kind
      process.outcomes.set(kind, (process.outcomes.get(kind) ?? 0) + 1)
    }
    try {
      const outcome = await process.call(`create ${key}`, async (): Promise<PutOutcome> => {
        if (process.happens('S13', key)) throw new LakeError('store.denied', 'ExpiredToken', { retryable: true })
        if (process.happens('S10', key)) throw new LakeError('store.disk_full', 'no space left', { retryable: true })
        const outcome = await this.#inner.putIfAbsent(key, bytes)
        return outcome.kind === 'created' && process.happens('S12', key) ? { kind: 'exists' } : outcome
      })
      count(outcome.kind)
      if (isVersion) process.world.say(`${process.name} create ${key.slice(-9)}: ${outcome.kind}`)
      return outcome
    } catch (error) {
      count('refused')
      throw error
    }
  }

  async *list(prefix: string, options?: { readonly startAfter?: string }): AsyncIterable<ObjectInfo> {
    const found = await this.#process.call(`list ${prefix}`, async () => {
      const all: ObjectInfo[] = []
      for await (const info of this.#inner.list(prefix, options)) all.push(info)
      return all
    })
    yield* found
  }

  delete(key: string): Promise<void> {
    return this.#process.call(`delete ${key}`, () => this.#inner.delete(key))
  }

  close(): Promise<void> {
    return Promise.resolve()
  }
}
