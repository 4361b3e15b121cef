import type { Clock } from '../../src/clock.ts'

/** A clock that nobody waits for: a sleep moves it on at once. Ids and jitter are the same in every run. */
export class InstantClock implements Clock {
  #nowMs = Date.UTC(2026, 0, 1)
  #startMs = this.#nowMs
  #ids = 0

  nowMs(): number {
    return this.#nowMs
  }

  monotonicMs(): number {
    return this.#nowMs - this.#startMs
  }

  async sleep(ms: number, signal?: AbortSignal): Promise<void> {
    if (signal?.aborted !== true) this.advance(ms)
  }

  random(): number {
    return 0.5
  }

  uuid(): string {
    return `00000000-0000-4000-8000-${String(++this.#ids).padStart(12, '0')}`
  }

  advance(ms: number): void {
    this.#nowMs += ms
  }

  /** As a machine that sleeps: the wall goes on, the monotonic clock stands still. */
  suspend(ms: number): void {
    this.#nowMs += ms
    this.#startMs += ms
  }
}
