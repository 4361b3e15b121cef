import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'

/**
 * Time, chance and ids. They are parameters everywhere, so that a simulation can own them; only this file and the
 * composition roots touch the real ones (test/tidy.test.ts).
 */
export interface Clock {
  /** Wall clock, milliseconds since 1970. Never orders anything that matters. */
  nowMs(): number
  /** Milliseconds that only grow; for ages and deadlines. */
  monotonicMs(): number
  /** Resolves after `ms`, or at once when `signal` aborts (it never rejects). */
  sleep(ms: number, signal?: AbortSignal): Promise<void>
  /** Uniform in [0, 1). For jitter only. */
  random(): number
  uuid(): string
}

export const systemClock: Clock = {
  nowMs: () => Date.now(),
  monotonicMs: () => performance.now(),
  sleep: async (ms, signal) => {
    await sleep(ms, undefined, signal === undefined ? {} : { signal }).catch(() => undefined)
  },
  random: () => Math.random(),
  uuid: () => randomUUID(),
}

/** Full-jitter exponential back-off in milliseconds: attempt 0 is at most `baseMs`. */
export function backoffMs(clock: Clock, attempt: number, baseMs = 100, capMs = 5_000): number {
  return clock.random() * Math.min(capMs, baseMs * 2 ** attempt)
}
