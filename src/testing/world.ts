import { LakeError } from '../error.ts'
import { Turns } from './turns.ts'
import { VirtualClock } from './virtual-clock.ts'

/** One tick is made in at most so many steps, each of at least and at most so long. */
const STEPS_MAX = 256
const STEP_MS_MIN = 100
/** A writer commits at least so often, or its head is too old to be written on. */
const STEP_MS_MAX = 6 * 3_600_000
/** Whoever has not got on after being woken so often never will. */
const ROUNDS_MAX = 2_000

/** Time and work of one lab. Nothing in it moves but while one of its methods is awaited. */
export class World {
  readonly clock: VirtualClock
  readonly turns = new Turns()

  constructor(startMs: number, seed: number) {
    this.clock = new VirtualClock(startMs, seed)
  }

  /** Lets happen what can happen now, until `isDone`. No time passes. `progress` is another value when something got on. */
  async until(isDone: () => boolean, progress: () => unknown): Promise<void> {
    let [seen, rounds] = [progress(), 0]
    for (;;) {
      await this.turns.quiet()
      if (isDone()) return
      const now = progress()
      rounds = now === seen ? rounds + 1 : 0
      seen = now
      if (rounds > ROUNDS_MAX) throw new LakeError('internal', 'the pipeline no longer gets on')
      this.clock.wakeAll()
    }
  }

  /** The outcome of work that may wait for the clock. No time passes. */
  async finish<T>(work: Promise<T>): Promise<T> {
    let isOver = false
    const over = (): void => void (isOver = true)
    work.then(over, over)
    while (!isOver) {
      await this.turns.quiet()
      if (!isOver) this.clock.wakeAll()
    }
    return work
  }

  /** Lets time pass, in steps: nobody waits longer for a long time than for a short one. */
  async pass(ms: number): Promise<void> {
    const { clock } = this
    const endMs = clock.nowMs() + ms
    const stepMs = Math.min(STEP_MS_MAX, Math.max(STEP_MS_MIN, Math.ceil(ms / STEPS_MAX)))
    while (clock.nowMs() < endMs) {
      clock.moveTo(Math.min(endMs, clock.nowMs() + stepMs))
      await this.turns.quiet()
    }
    // Who looks every so often may have looked for the last time just before the end.
    for (let round = 0; round < 3; round++) {
      clock.wakeAll()
      await this.turns.quiet()
    }
  }
}
