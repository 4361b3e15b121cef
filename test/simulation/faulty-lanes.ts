import { LakeError } from '../../src/error.ts'
import type { Staged } from '../../src/ingest/lane.ts'
import type { TableWork } from '../../src/ingest/keys.ts'
import { IDLE, type LaneAnswer, type Lanes, type LaneTask } from '../../src/ingest/lanes.ts'
import type { LetterWork } from '../../src/ingest/letters/letters.ts'
import type { SimProcess } from './process.ts'

/** Lanes that die with what they staged, hang, and answer twice. */
export class FaultyLanes implements Lanes {
  readonly #inner: Lanes
  readonly #process: SimProcess
  #again: Staged | undefined
  #hungUntilMs = 0
  /** When a dead lane is found out, unless a gap shows what it took along: after the last record there is none. */
  #foundDeadMs: number | undefined

  constructor(inner: Lanes, process: SimProcess) {
    this.#inner = inner
    this.#process = process
  }

  get work(): TableWork {
    return this.#inner.work
  }

  get letters(): LetterWork | undefined {
    return this.#inner.letters
  }

  assign(task: LaneTask): void {
    this.#foundDeadMs = undefined
    this.#inner.assign(task)
  }

  async next(timeoutMs: number): Promise<LaneAnswer> {
    const { clock, random } = this.#process
    if (this.#foundDeadMs !== undefined && clock.monotonicMs() >= this.#foundDeadMs) {
      this.#foundDeadMs = undefined
      throw new LakeError('lane.failed', 'a lane is gone', { retryable: true })
    }
    if (clock.monotonicMs() < this.#hungUntilMs) {
      await clock.sleep(timeoutMs)
      return IDLE
    }
    if (this.#again !== undefined && random.chance(0.5)) {
      const staged = this.#again
      this.#again = undefined
      return { kind: 'staged', staged }
    }
    const answer = await this.#inner.next(timeoutMs)
    if (answer.kind !== 'staged') return answer
    if (this.#process.happens('P9a')) {
      if (random.chance(0.2)) throw new LakeError('lane.failed', 'the lane died too often', { retryable: true })
      this.#foundDeadMs ??= clock.monotonicMs() + random.between(1_000, 5_000)
      return IDLE
    }
    if (this.#process.happens('P9b')) this.#hungUntilMs = clock.monotonicMs() + random.between(500, 5_000)
    if (this.#process.happens('P9c')) this.#again = answer.staged
    return answer
  }

  close(): Promise<void> {
    return this.#inner.close()
  }
}
