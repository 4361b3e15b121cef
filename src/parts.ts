import type { Clock } from './clock.ts'

/** What was started, to be ended in the opposite order, whatever one of them answers. */
export class Parts {
  readonly #parts: { close(): Promise<void> }[] = []

  add<T extends { close(): Promise<void> }>(part: T): T {
    this.#parts.push(part)
    return part
  }

  /** Throws the first failure after all have been tried. */
  async close(): Promise<void> {
    const failures: unknown[] = []
    for (const part of this.#parts.splice(0).toReversed()) await part.close().catch((error) => failures.push(error))
    if (failures.length > 0) throw failures[0]
  }
}

/** Work that goes on until it is closed, and is waited for then, but not for ever. */
export function until(
  clock: Clock,
  closeMsMax: number,
  begin: (ending: AbortSignal) => readonly Promise<void>[],
): { close(): Promise<void> } {
  const stop = new AbortController()
  const work = begin(stop.signal)
  return {
    close: async () => {
      stop.abort()
      const timer = new AbortController()
      await Promise.race([Promise.all(work), clock.sleep(closeMsMax, timer.signal)])
      timer.abort()
    },
  }
}
