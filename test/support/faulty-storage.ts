import { readFile, rm } from 'node:fs/promises'
import type { Clock } from '../../src/clock.ts'
import { LakeError } from '../../src/error.ts'
import { checkKey } from '../../src/lake/storage/key.ts'
import type { ObjectInfo, PutOutcome, Storage } from '../../src/lake/storage/storage.ts'

/**
 * What can be wrong between a process and its store.
 * failBeforeApply: a write is lost, and so is its answer. loseAnswer: a write lands, its answer is lost. applyLate: as
 * loseAnswer, but it lands 0 to 120 s later, if nothing stands there by then. conflict: a create is answered 409.
 * burst: every request is answered 503 for 1 to 30 s. slow: a request waits 1 to 10 s before it does anything.
 * staleList: a listing does not show what is younger than 0 to 5 s. failedRead: a get, head or list is cut off.
 */
export const faultKinds = [
  'failBeforeApply',
  'loseAnswer',
  'applyLate',
  'conflict',
  'burst',
  'slow',
  'staleList',
  'failedRead',
] as const
export type FaultKind = (typeof faultKinds)[number]

/** Chance of each kind per request, 0 to 1; absent is 0. */
export type FaultRates = Readonly<Partial<Record<FaultKind, number>>>

/**
 * Draws rates so that runs differ in what goes wrong, not only in when: about half of the kinds each time; one run in
 * twenty has none and one has all. Lost answers are what a commit protocol is about, so whenever there is any fault,
 * one of the three kinds of them has at least 5 %.
 */
export function drawFaultRates(random: () => number): FaultRates {
  const luck = random()
  const rates: Partial<Record<FaultKind, number>> = {}
  if (luck < 0.05) return rates
  for (const kind of faultKinds) {
    const rate = random() * (kind === 'burst' || kind === 'slow' ? 0.02 : 0.15)
    if (luck > 0.95 || random() < 0.5) rates[kind] = rate
  }
  const unknown = (['failBeforeApply', 'loseAnswer', 'applyLate'] as const)[Math.floor(random() * 3)]!
  rates[unknown] = Math.max(rates[unknown] ?? 0, 0.05)
  return rates
}

/**
 * A store seen through a bad network. All chance comes from `random` and all time from `clock`, so a seed gives the
 * same faults in the same places. To plug it into a simulation:
 *
 *   const world = new MemoryStorage('sim', worldClock)                     // one store, dated by the world's clock
 *   const storage = new FaultyStorage(world, worldClock, random, rates)    // one for each simulated process
 *
 * `clock` must be the world's, not the process's own: what was sent lands even if its sender was killed, and listings
 * compare its time with the dates that the inner store gave. A simulation that has to come to rest calls `heal()`.
 * A write that fails throws `store.unavailable`, as the real stores do when their patience has ended; a create answers
 * `unknown`. Files given to `putFile` are still there when it throws.
 */
export class FaultyStorage implements Storage {
  readonly url: string
  readonly isLocal: boolean
  /** How often each kind has happened. A burst counts once, whatever it refused. */
  readonly counts: Record<FaultKind, number> = {
    failBeforeApply: 0,
    loseAnswer: 0,
    applyLate: 0,
    conflict: 0,
    burst: 0,
    slow: 0,
    staleList: 0,
    failedRead: 0,
  }
  readonly #inner: Storage
  readonly #clock: Clock
  readonly #random: () => number
  #rates: FaultRates
  #burstUntilMs = Number.NEGATIVE_INFINITY
  #late = 0

  constructor(inner: Storage, clock: Clock, random: () => number, rates: FaultRates) {
    this.#inner = inner
    this.#clock = clock
    this.#random = random
    this.#rates = rates
    this.url = inner.url
    this.isLocal = inner.isLocal
  }

  get scratch(): string {
    return this.#inner.scratch
  }

  /** Writes that have been sent and have not landed yet. */
  get lateWrites(): number {
    return this.#late
  }

  /** No new faults, and the end of a burst; what is on its way still lands. */
  heal(): void {
    this.#rates = {}
    this.#burstUntilMs = Number.NEGATIVE_INFINITY
  }

  async get(key: string, signal?: AbortSignal): Promise<Uint8Array | undefined> {
    await this.#read(`reading ${key}`)
    return this.#inner.get(key, signal)
  }

  async head(key: string): Promise<ObjectInfo | undefined> {
    await this.#read(`looking up ${key}`)
    return this.#inner.head(key)
  }

  async *list(prefix: string, options?: { readonly startAfter?: string }): AsyncIterable<ObjectInfo> {
    await this.#read(`listing ${prefix}`)
    const isStale = this.#happens('staleList')
    const shownUntilMs = isStale ? this.#clock.nowMs() - this.#random() * 5_000 : Number.POSITIVE_INFINITY
    for await (const info of this.#inner.list(prefix, options)) if (info.modifiedMs <= shownUntilMs) yield info
  }

  async put(key: string, bytes: Uint8Array): Promise<void> {
    const copy = bytes.slice()
    await this.#write(key, `writing ${key}`, () => this.#inner.put(key, copy))
  }

  async putFile(key: string, localPath: string): Promise<void> {
    const bytes = await readFile(localPath)
    await this.#write(key, `writing ${key}`, () => this.#inner.put(key, bytes))
    await rm(localPath)
  }

  async putIfAbsent(key: string, bytes: Uint8Array): Promise<PutOutcome> {
    if (this.#happens('conflict')) return { kind: 'conflict' }
    const copy = bytes.slice()
    let outcome: PutOutcome | undefined
    try {
      await this.#write(key, `creating ${key}`, async () => {
        outcome = await this.#inner.putIfAbsent(key, copy)
      })
    } catch (error) {
      if (error instanceof LakeError && error.code === 'store.unavailable') return { kind: 'unknown', cause: error }
      throw error
    }
    return outcome ?? { kind: 'unknown', cause: undefined }
  }

  async delete(key: string): Promise<void> {
    await this.#delay(`deleting ${key}`)
    if (this.#happens('failBeforeApply')) throw lost(`deleting ${key}`)
    await this.#inner.delete(key)
    if (this.#happens('loseAnswer')) throw lost(`deleting ${key}`)
  }

  close(): Promise<void> {
    return this.#inner.close()
  }

  async #read(what: string): Promise<void> {
    await this.#delay(what)
    if (this.#happens('failedRead')) throw lost(what)
  }

  /** One write, of which one of three things may get lost. */
  async #write(key: string, what: string, apply: () => Promise<void>): Promise<void> {
    checkKey(key) // now: a mistake must not surface a simulated minute later
    await this.#delay(what)
    if (this.#happens('failBeforeApply')) throw lost(what)
    if (this.#happens('applyLate')) {
      this.#later(apply)
      throw lost(what)
    }
    await apply()
    if (this.#happens('loseAnswer')) throw lost(what)
  }

  /** The weather that every request goes through. */
  async #delay(what: string): Promise<void> {
    if (this.#happens('burst')) this.#burstUntilMs = this.#clock.monotonicMs() + 1_000 + this.#random() * 29_000
    if (this.#clock.monotonicMs() < this.#burstUntilMs) {
      throw new LakeError('store.unavailable', `${what}: SlowDown (503)`, { retryable: true })
    }
    if (this.#happens('slow')) await this.#clock.sleep(1_000 + this.#random() * 9_000)
  }

  /** Lands when its time comes, whoever is still there to hear of it. */
  #later(apply: () => Promise<unknown>): void {
    this.#late += 1
    void this.#clock
      .sleep(this.#random() * 120_000)
      .then(apply)
      .finally(() => (this.#late -= 1))
  }

  /** Draws only for kinds that are on: a rate of 0 does not shift the draws of the others. */
  #happens(kind: FaultKind): boolean {
    const rate = this.#rates[kind] ?? 0
    if (rate === 0 || this.#random() >= rate) return false
    this.counts[kind] += 1
    return true
  }
}

function lost(what: string): LakeError {
  return new LakeError('store.unavailable', `${what}: no answer`, { retryable: true })
}
