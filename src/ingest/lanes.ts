import type { Clock } from '../clock.ts'
import { asLakeError, LakeError } from '../error.ts'
import type { WantedColumns } from '../evolve-columns.ts'
import type { Cursor, PartitionId, Positions, Source } from '../log.ts'
import type { Clocks } from '../version.ts'
import type { TableWork } from './keys.ts'
import { stage, type Assignment, type Encoder, type MicroBatchLimits, type Staged, type TablePlan } from './lane.ts'
import type { LetterWork } from './letters/letters.ts'
import { removePartials } from './window/partial-files.ts'

/** What all lanes of a pipeline are told together; each gets its share of the partitions. */
export interface LaneTask {
  readonly from: ReadonlyMap<PartitionId, Cursor>
  readonly tables: readonly TablePlan[]
  /** See `Assignment`. */
  readonly until?: Positions
  /** See `Assignment`. */
  readonly holds?: Positions
  /** See `Assignment`. */
  readonly baseless?: ReadonlySet<string>
  /** See `Assignment`. */
  readonly clocksMs?: Clocks
}

/**
 * The lanes of one pipeline. Batches are pulled: a lane that is not asked stops after a few batches in flight.
 * A lane that dies, hangs or loses its work is replaced behind this interface, from where its last batch ended.
 */
export interface Lanes {
  /** Replaces all work; whatever was staged for an earlier task is dropped. */
  assign(task: LaneTask): void
  /**
   * What the next lane has to say, or `idle` after `timeoutMs`; the keys of a batch stay as they are until the next call.
   * Throws the LakeError that stops a lane.
   */
  next(timeoutMs: number): Promise<LaneAnswer>
  /** Work on the pipeline's data files. What is under way when a lane dies is done again by another. */
  readonly work: TableWork
  /** Work on dead letters; without it none is settled. */
  readonly letters?: LetterWork | undefined
  close(): Promise<void>
}

export type LaneAnswer =
  | { readonly kind: 'staged'; readonly staged: Staged }
  /** The log has lost records that were to be read next. */
  | { readonly kind: 'gap'; readonly partition: PartitionId; readonly from: bigint; readonly until: bigint }
  /** Records of a table need columns that it does not have: the task is to be given anew, with their ids. */
  | { readonly kind: 'evolves'; readonly table: string; readonly wanted: readonly WantedColumns[] }
  /** Nothing can be made of a record: its partition is to wait there. */
  | {
      readonly kind: 'incompatible'
      readonly partition: PartitionId
      readonly offset: bigint
      readonly error: LakeError
    }
  /** A bounded log is drained: every lane has come to its end. */
  | { readonly kind: 'ended' }
  | { readonly kind: 'idle' }

export const IDLE: LaneAnswer = { kind: 'idle' }
export const ENDED: LaneAnswer = { kind: 'ended' }

/** What its pipeline decides what to do about is an answer; every other error of a lane stops the run. */
export function answerOf(error: unknown): LaneAnswer {
  const known = asLakeError(error)
  const { code, context } = known
  if (code === 'schema.incompatible' && typeof context['offset'] === 'string')
    return {
      kind: 'incompatible',
      partition: context['partition'] as PartitionId,
      offset: BigInt(context['offset']),
      error: known,
    }
  if (code === 'schema.evolves') {
    const { table, wanted } = context as { table: string; wanted: readonly WantedColumns[] }
    return { kind: 'evolves', table, wanted }
  }
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
  /** Bounded, when the run's is. */
  readonly source: Source
  readonly encoder: Encoder
  readonly work?: TableWork
  readonly letters?: LetterWork
  readonly lanes: number
  readonly microBatch: MicroBatchLimits
  readonly clock: Clock
}

/** Lanes in this process: for tests, the simulation, and a log that needs no second core. */
export function inlineLanes(options: InlineLanesOptions): Lanes {
  return new InlineLanes(options)
}

type Answer = { readonly lane: number; readonly result: IteratorResult<Staged, void> } | { readonly error: unknown }

class InlineLanes implements Lanes {
  readonly #options: InlineLanesOptions
  #stop = new AbortController()
  #running: AsyncGenerator<Staged, void, undefined>[] = []
  /** Lanes that have something to read and have not come to its end. */
  readonly #open = new Set<number>()
  #hasWork = false
  #answers: Answer[] = []
  #wake: () => void = () => undefined

  constructor(options: InlineLanesOptions) {
    this.#options = { ...options, encoder: oneAtATime(options.encoder) }
  }

  get work(): TableWork {
    const { work } = this.#options
    if (work === undefined) throw new LakeError('internal', 'these lanes were opened for staging alone')
    return work
  }

  get letters(): LetterWork | undefined {
    return this.#options.letters
  }

  assign(task: LaneTask): void {
    const { source, encoder, microBatch, clock } = this.#options
    this.#abandon()
    const signal = this.#stop.signal
    const parts = shares(task, this.#options.lanes)
    this.#running = parts.map((from, lane) => {
      const { from: _, baseless = new Set(), ...rest } = task
      const assignment: Assignment = { ...rest, lane, from, microBatch, fatal: new Set(), baseless }
      return stage(source, assignment, encoder, clock, signal)
    })
    this.#hasWork = task.from.size > 0
    for (const [lane, from] of parts.entries()) if (from.size > 0) this.#ask(lane)
  }

  async next(timeoutMs: number): Promise<LaneAnswer> {
    for (;;) {
      if (this.#answers.length === 0 && !this.#isEnded) await this.#woken(timeoutMs)
      const answer = this.#answers[0]
      if (answer === undefined) return this.#isEnded ? ENDED : IDLE
      // An error stays: nothing comes after it but a new assignment.
      if ('error' in answer) return answerOf(answer.error)
      this.#answers.shift()
      if (answer.result.done === true) this.#open.delete(answer.lane)
      else this.#ask(answer.lane)
      if (answer.result.done !== true) return { kind: 'staged', staged: answer.result.value }
    }
  }

  close(): Promise<void> {
    this.#abandon()
    return Promise.resolve()
  }

  /** Without a partition there is nothing to come to the end of: its topic may be created any time. */
  get #isEnded(): boolean {
    return this.#hasWork && this.#open.size === 0
  }

  #ask(lane: number): void {
    const { signal } = this.#stop
    const heard = (answer: Answer) => {
      if (signal.aborted) return 'result' in answer ? dropped(answer.result) : undefined
      this.#answers.push(answer)
      this.#wake()
    }
    this.#open.add(lane)
    this.#running[lane]!.next().then(
      (result) => heard({ lane, result }),
      (error) => heard({ error }),
    )
  }

  #abandon(): void {
    this.#stop.abort()
    this.#stop = new AbortController()
    this.#open.clear()
    for (const answer of this.#answers) if ('result' in answer) dropped(answer.result)
    this.#answers = []
  }

  async #woken(timeoutMs: number): Promise<void> {
    const timer = new AbortController()
    this.#wake = () => timer.abort()
    await this.#options.clock.sleep(timeoutMs, timer.signal)
  }
}

function dropped({ value }: IteratorResult<Staged, void>): void {
  if (value !== undefined) void removePartials(value)
}

/** Lanes in one process share an encoder, and so does an abandoned lane that is still at its last batch. */
function oneAtATime(encoder: Encoder): Encoder {
  let before: Promise<unknown> = Promise.resolve()
  return {
    encode(...args) {
      const now = before.then(() => encoder.encode(...args))
      before = now.catch(() => undefined)
      return now
    },
    close: () => encoder.close(),
  }
}
