import type { Clock } from '../clock.ts'
import type { Positions } from '../log.ts'

/** A fork that has passed where the main chain stood so long ago at most is ready to take its place. */
const LAG_MS_MAX = 5_000

/** Whether a fork is close behind the main chain, from what was seen of both. */
export class Readiness {
  readonly #clock: Clock
  #seen: { readonly atMs: number; readonly positions: Positions }[] = []

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Where the main chain stands now. */
  saw(positions: Positions): void {
    const atMs = this.#clock.monotonicMs()
    this.#seen = [...this.#seen.filter((each) => atMs - each.atMs <= LAG_MS_MAX), { atMs, positions }]
  }

  /** Partitions that the fork does not read are none of its business. */
  isReady(fork: Positions): boolean {
    return this.#seen.some(({ positions }) =>
      [...positions].every(([id, position]) => (fork.get(id) ?? position) >= position),
    )
  }
}
