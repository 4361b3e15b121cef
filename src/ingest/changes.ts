import type { Clock } from '../clock.ts'

/** That something happened, for those who wait for it; what it was they look up themselves. */
export class Changes {
  readonly #clock: Clock
  readonly #waiting = new Set<AbortController>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  notify(): void {
    for (const waiting of this.#waiting) waiting.abort()
    this.#waiting.clear()
  }

  /** Resolves when something happens, when `ms` are over, or when `signal` aborts. */
  async wait(ms: number, signal?: AbortSignal): Promise<void> {
    if (signal?.aborted === true) return
    const waiting = new AbortController()
    const stop = () => waiting.abort()
    this.#waiting.add(waiting)
    signal?.addEventListener('abort', stop, { once: true })
    await this.#clock.sleep(ms, waiting.signal)
    signal?.removeEventListener('abort', stop)
    this.#waiting.delete(waiting)
  }
}
