import type { Clock } from './clock.ts'
import { LakeError, type LakeErrorCode } from './error.ts'
import { replayRequestSchema, toReplayOptions, type ReplayWishes } from './replay-request.ts'
import {
  isOver,
  type ReplayDifference,
  type ReplayOptions,
  type ReplayOrder,
  type ReplayPhase,
  type ReplayProgress,
  type Replays,
  type ReplayStatus,
} from './replay-status.ts'

/** Where a replay begins or ends, as a program writes it. */
export type ReplayPlace =
  | { readonly timestamp: Date | string }
  /** By partition: `shop.orders/0`. */
  | { readonly offsets: Readonly<Record<string, bigint | number | string>> }

/** What a replay is asked for with; all of it may be left out. */
export interface ReplayInput {
  /** Default `reprocess`: rebuild tables, to be put in the place of the live ones. */
  readonly mode?: ReplayOptions['mode']
  /** Tables and windows to rebuild, or their names. Default: those whose code changed; with `verify` all. */
  readonly tables?: readonly (string | { readonly name: string })[]
  /** Default: the beginning of the pipeline. */
  readonly from?: 'earliest' | ReplayPlace
  /** Exclusive; of a range. Default: where the live tables stand. */
  readonly to?: ReplayPlace
  /** Records a second. */
  readonly rateLimit?: number
  /** Default `never`: somebody cuts over. */
  readonly autoCutover?: ReplayOptions['autoCutover']
  /** A compacted topic no longer has the history of a table without a key, and that is known. */
  readonly acceptCompacted?: boolean
  /** How long a cut-over can be rolled back. Default `7d`. */
  readonly keepOld?: string
  /** Names the request: asked for twice, it is one replay. */
  readonly idempotencyKey?: string
}

/** One replay: a fork of a pipeline that rebuilds tables, and may take the place of the live ones. */
export interface Replay {
  readonly id: string
  readonly pipeline: string
  status(): Promise<ReplayStatus>
  /**
   * How it gets on, now and whenever that changes; ends when nothing more happens by itself: it waits for a cut-over,
   * or is over. Throws why it failed.
   */
  progress(options?: { readonly signal?: AbortSignal }): AsyncIterable<ReplayProgress>
  /** Waits until it was compared. Throws why it failed. */
  difference(options?: { readonly signal?: AbortSignal }): Promise<ReplayDifference & { readonly isEmpty: boolean }>
  /**
   * Puts the rebuilt tables in the place of the live ones; resolves when the pipeline's version says so. `approve` is the
   * id of the difference, when there is one: throws `replay.diff_unapproved` without it. Waits until it is ready.
   */
  cutOver(options?: { readonly approve?: string; readonly signal?: AbortSignal }): Promise<ReplayStatus>
  /** Goes back to the tables from before the cut-over; resolves when the pipeline's version says so. */
  rollBack(options?: { readonly signal?: AbortSignal }): Promise<ReplayStatus>
  pause(): Promise<void>
  resume(): Promise<void>
  /** Drops the fork; the live tables never knew of it. */
  cancel(): Promise<void>
}

/** Throws `request.invalid` for input that cannot be meant, and what `Replays.start` throws. */
export async function startReplay(
  replays: Replays,
  clock: Clock,
  pipeline: string,
  input: ReplayInput = {},
): Promise<Replay> {
  const { idempotencyKey, ...wishes } = input
  const { id } = await replays.start(pipeline, toReplayOptions(checked(pipeline, wishes)), idempotencyKey)
  return replayOf(replays, clock, id, pipeline)
}

/** One that was started before, here or elsewhere. Throws `replay.unknown`. */
export async function findReplay(replays: Replays, clock: Clock, id: string): Promise<Replay> {
  return replayOf(replays, clock, id, (await replays.get(id)).pipeline)
}

/** A replay that is over is not watched; a roll back of it is looked for this often. */
const LOOK_EVERY_MS = 200

function replayOf(replays: Replays, clock: Clock, id: string, pipeline: string): Replay {
  const order = (given: ReplayOrder) => replays.order(id, given)
  /** The first state that holds. Throws why it cannot come any more. */
  const until = async (holds: (status: ReplayStatus) => boolean, signal?: AbortSignal): Promise<ReplayStatus> => {
    for (;;) {
      for await (const status of replays.watch(id, signal)) {
        if (holds(status)) return status
        failIfOver(status)
      }
      if (signal?.aborted === true) throw signal.reason
      await clock.sleep(LOOK_EVERY_MS, signal)
    }
  }
  const inPhase = (...phases: readonly ReplayPhase[]) => {
    return ({ progress }: ReplayStatus) => progress !== null && phases.includes(progress.phase)
  }
  return {
    id,
    pipeline,
    status: () => replays.get(id),
    async *progress({ signal } = {}) {
      for await (const status of replays.watch(id, signal)) {
        if (status.progress !== null) yield status.progress
        failIfOver(status)
        if (inPhase('ready')(status)) return
      }
    },
    difference: async ({ signal } = {}) => {
      await until(({ difference }) => difference !== null, signal)
      const difference = await replays.difference(id)
      return { ...difference, isEmpty: difference.isEqual }
    },
    cutOver: async ({ approve = null, signal } = {}) => {
      await until(inPhase('ready', 'cutting-over', 'cut-over'), signal)
      await order({ kind: 'cutover', approve })
      return until(inPhase('cut-over'), signal)
    },
    rollBack: async ({ signal } = {}) => {
      await order({ kind: 'rollback' })
      return until(inPhase('rolled-back'), signal)
    },
    pause: async () => void (await order({ kind: 'pause' })),
    resume: async () => void (await order({ kind: 'resume' })),
    cancel: async () => void (await order({ kind: 'cancel' })),
  }
}

/** One that was cut over is done, and has an error only when it could not be rolled back. */
function failIfOver(status: ReplayStatus): void {
  if (status.state === 'cancelled') throw new LakeError('replay.state', `the replay ${status.id} was cancelled`)
  if (isOver(status) && status.error !== null) throw failureOf(status.error)
}

function failureOf({ code, message, fix }: NonNullable<ReplayStatus['error']>): LakeError {
  return new LakeError(code as LakeErrorCode, message, fix === undefined ? {} : { fix })
}

/** Values of a program as the request would say them, checked like any other. */
function checked(pipeline: string, { tables, from, to, ...rest }: Omit<ReplayInput, 'idempotencyKey'>): ReplayWishes {
  const given = {
    ...rest,
    pipeline,
    ...(tables === undefined ? {} : { tables: tables.map((each) => (typeof each === 'string' ? each : each.name)) }),
    ...(from === undefined ? {} : { from: from === 'earliest' ? from : textOf(from) }),
    ...(to === undefined ? {} : { to: textOf(to) }),
  }
  const result = replayRequestSchema.safeParse(given)
  if (result.success) return result.data
  throw new LakeError(
    'request.invalid',
    result.error.issues.map(({ path, message }) => [path.join('.'), message].filter(Boolean).join(': ')).join('; '),
    { fix: 'Correct the options of the replay.' },
  )
}

function textOf(place: ReplayPlace): object {
  if ('timestamp' in place)
    return { timestamp: place.timestamp instanceof Date ? place.timestamp.toISOString() : place.timestamp }
  return { offsets: Object.fromEntries(Object.entries(place.offsets).map(([id, offset]) => [id, String(offset)])) }
}
