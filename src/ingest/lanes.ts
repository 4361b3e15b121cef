import type { Clock } from '../clock.ts'
import { asLakeError } from '../error.ts'
import type { Cursor, PartitionId, Source } from '../log.ts'
import { stage, type Assignment, type Encoder, type MicroBatchLimits, type Staged, type TablePlan } from './lane.ts'

/** What all lanes of a pipeline are told together; each gets its share of the partitions. */
export interface LaneTask {
  readonly from: ReadonlyMap<PartitionId, Cursor>
  readonly tables: readonly TablePlan[]
}

/**
 * The lanes of one pipeline. Batches are pulled: a lane that is not asked stops after a few batches in flight.
 * A lane that dies, hangs or loses its work is replaced behind this interface, from where its last batch ended.
 */
export interface Lanes {
  /** Replaces all work; whatever was staged for an earlier task is dropped. */
  assign(task: LaneTask): void
  /** What the next lane has to say, or `idle` after `timeoutMs`. Throws the LakeError that stops a lane. */
  next(timeoutMs: number): Promise<LaneAnswer>
  close(): Promise<void>
}

export type LaneAnswer =
  | { readonly kind: 'staged'; readonly staged: Staged }
  /** The log has lost records that were to be read next. */
  | { readonly kind: 'gap'; readonly partition: PartitionId; readonly from: bigint; readonly until: bigint }
  /** A bounded log is drained: every lane has come to its end. */
  | { readonly kind: 'ended' }
  | { readonly kind: 'idle' }

export const IDLE: LaneAnswer = { kind: 'idle' }
export const ENDED: LaneAnswer = { kind: 'ended' }

/** A gap is an answer, since its pipeline decides what to do about it; every other error of a lane stops the run. */
export function answerOf(error: unknown): LaneAnswer {
  const { code, context } = asLakeError(error)
  if (code !== 'kafka.gap') throw error
  const { partition, from, until } = context as { partition: PartitionId; from: string; until: string }
  return { kind: 'gap', partition, from: BigInt(from), until: BigInt(until) }
}

/** Partition i of the sorted list goes to lane i mod n. Which lane reads a partition decides nothing but speed. */
export function shares(task: LaneTask, lanes: number): ReadonlyMap<PartitionId, Cursor>[] {
  const all: Map<PartitionId, Cursor>[] = Array.from({ length: lanes }, () => new Map())
  const sorted = [...task.from].toSorted(([a], [b]) => (a < b ? -1 : 1))
  for (const [index, [id, cursor]] of sorted.entries()) all[index % lanes]!.set(id, cursor)
  return all
}

export interface InlineLanesOptions {
  readonly source: Source
  readonly encoder: Encoder
  readonly lanes: number
  readonly microBatch: MicroBatchLimits
  readonly clock: Clock
}

/** Lanes in this process: for tests, the simulation, and a log that needs no second core. */
export function inlineLanes(options: InlineLanesOptions): Lanes {
  return new InlineLanes(options)
}

type Answer = { readonly lane: number; readonly result: IteratorResult<Staged, void> }

class InlineLanes implements Lanes {
  readonly #options: InlineLanesOptions
  #stop = new AbortController()
  #running: AsyncGenerator<Staged, void, undefined>[] = []
  readonly #asked = new Map<number, Promise<Answer>>()

  constructor(options: InlineLanesOptions) {
    this.#options = options
  }

  assign(task: LaneTask): void {
    const { source, encoder, microBatch, clock } = this.#options
    this.#abandon()
    this.#running = shares(task, this.#options.lanes).map((from, lane) => {
      const assignment: Assignment = { lane, from, tables: task.tables, microBatch, fatal: new Set() }
      return stage(source, assignment, encoder, clock, this.#stop.signal)
    })
    for (const [lane, share] of shares(task, this.#options.lanes).entries()) if (share.size > 0) this.#ask(lane)
  }

  async next(timeoutMs: number): Promise<LaneAnswer> {
    const timer = new AbortController()
    const timeout = this.#options.clock.sleep(timeoutMs, timer.signal).then(() => undefined)
    try {
      while (this.#asked.size > 0) {
        const answer = await Promise.race([...this.#asked.values(), timeout])
        if (answer === undefined) return IDLE
        this.#asked.delete(answer.lane)
        if (answer.result.done === true) continue
        this.#ask(answer.lane)
        return { kind: 'staged', staged: answer.result.value }
      }
      return ENDED
    } catch (error) {
      return answerOf(error)
    } finally {
      timer.abort()
    }
  }

  close(): Promise<void> {
    this.#abandon()
    return Promise.resolve()
  }

  #ask(lane: number): void {
    const answer = this.#running[lane]!.next().then((result) => ({ lane, result }))
    answer.catch(() => undefined)
    this.#asked.set(lane, answer)
  }

  #abandon(): void {
    this.#stop.abort()
    this.#stop = new AbortController()
    this.#asked.clear()
  }
}
