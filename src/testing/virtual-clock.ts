import type { Clock } from '../clock.ts'
import { Random } from './random.ts'

interface Sleeper {
  readonly untilMs: number
  wake(): void
}

/**
 * Time that stands still unless somebody moves it. Whoever sleeps is woken when his time has come, or before, when
 * `wakeAll` is called: every sleep of the pipeline is a pause before it looks again, so that looking early does no harm.
 */
export class VirtualClock implements Clock {
  #nowMs: number
  readonly #startMs: number
  readonly #random: Random
  readonly #sleepers = new Set<Sleeper>()

  constructor(startMs: number, seed: number) {
    this.#nowMs = startMs
    this.#startMs = startMs
    this.#random = new Random(seed, 'clock')
  }

  nowMs(): number {
    return this.#nowMs
  }

  monotonicMs(): number {
    return this.#nowMs - this.#startMs
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    if (signal?.aborted === true) return Promise.resolve()
    return new Promise((resolve) => {
      const wake = (): void => {
        this.#sleepers.delete(sleeper)
        signal?.removeEventListener('abort', wake)
        resolve()
      }
      const sleeper: Sleeper = { untilMs: this.#nowMs + ms, wake }
      this.#sleepers.add(sleeper)
      signal?.addEventListener('abort', wake, { once: true })
    })
  }

  random(): number {
    return this.#random.next()
  }

  uuid(): string {
    return this.#random.uuid()
  }

  /** Moves on to `toMs` and wakes whose time has come; nobody is woken in between. */
  moveTo(toMs: number): void {
    this.#nowMs = Math.max(this.#nowMs, toMs)
    for (const sleeper of this.#sleepers) if (sleeper.untilMs <= this.#nowMs) sleeper.wake()
  }

  wakeAll(): void {
    for (const sleeper of this.#sleepers) sleeper.wake()
  }
}
