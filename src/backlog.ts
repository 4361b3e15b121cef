import type { Clock } from './clock.ts'
import type { LakeEvent } from './event.ts'

/** A pipeline that was not at the end of its log for so long reads a backlog. */
const BEHIND_MS = 5_000

interface Reading {
  readonly position: bigint
  readonly seenMs: number
  /** When it last stood at the end of the log, but for what comes in meanwhile. */
  readonly atEndMs: number
}

/** Whether pipelines read what has gathered in their log, or keep up with it; told by what they say of their progress. */
export class Backlog {
  readonly #clock: Clock
  readonly #partitions = new Map<string, Reading>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  observe(event: LakeEvent): void {
    if (event.kind !== 'progress') return
    const { position, end } = event
    const id = `${event.pipeline} ${event.partition}`
    const before = this.#partitions.get(id)
    const seenMs = this.#clock.monotonicMs()
    // What is left is no more than the next two batches take, each as large as this one.
    const isAtEnd = end - position <= 2n * (position - (before?.position ?? position))
    const atEndMs = isAtEnd ? seenMs : (before?.atEndMs ?? seenMs - BEHIND_MS)
    this.#partitions.set(id, { position, seenMs, atEndMs })
  }

  /** True as long as nothing is known; a partition that makes no progress is none. */
  get isBehind(): boolean {
    const nowMs = this.#clock.monotonicMs()
    const partitions = [...this.#partitions.values()]
    const isBehind = ({ seenMs, atEndMs }: Reading) => nowMs - seenMs < BEHIND_MS && seenMs - atEndMs >= BEHIND_MS
    return partitions.length === 0 || partitions.some(isBehind)
  }
}
