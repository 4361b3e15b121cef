import type { Clock } from '../clock.ts'
import type { PipelineDefinition } from '../define.ts'
import { LakeError } from '../error.ts'
import { tableCodes, type Changes } from '../ingest/pipeline.ts'
import { jobId, type Job, type Jobs, type ReplayRequest } from '../jobs.ts'
import type { Chain } from '../lake/chain.ts'
import { baseTag, dropFork, dropTag, type Storage } from '../lake/table.ts'
import {
  REPLAY,
  type ReplayDifference,
  type ReplayOptions,
  type ReplayOrder,
  type Replays,
  type ReplayStatus,
} from '../replay-status.ts'
import { planTables } from './plan.ts'

export interface ReplaysParts {
  readonly pipelines: readonly PipelineDefinition[]
  readonly chains: ReadonlyMap<string, Chain>
  readonly storage: Storage
  readonly jobs: Jobs
  readonly clock: Clock
  /** Told of what was asked for, so that a replay of this process need not wait until it looks. */
  readonly changes: Changes
}

/** A replay is looked at so often by whoever watches it. */
const WATCH_EVERY_MS = 1_000

export type ReplayJob = Job & { readonly request: ReplayRequest }

/** The replays of a store, as anybody may ask for them. What is done of them, run-replays.ts does. */
export function openReplays(parts: ReplaysParts): Replays {
  return new StoredReplays(parts)
}

class StoredReplays implements Replays {
  readonly #parts: ReplaysParts

  constructor(parts: ReplaysParts) {
    this.#parts = parts
  }

  async start(pipeline: string, given: Partial<ReplayOptions>, idempotencyKey?: string): Promise<ReplayStatus> {
    const { pipelines, chains, jobs, clock, changes } = this.#parts
    const definition = pipelines.find(({ name }) => name === pipeline)
    if (definition === undefined)
      throw new LakeError('pipeline.unknown', `there is no pipeline ${pipeline}`, {
        fix: `There are: ${pipelines.map(({ name }) => name).join(', ')}.`,
      })
    const options: ReplayOptions = { ...REPLAY, ...given }
    const key = idempotencyKey ?? clock.uuid()
    const codes = Object.fromEntries(tableCodes(definition))
    // One that was asked for before is the same, whatever has become of it.
    if ((await jobs.get(jobId(key))) === undefined) {
      const head = await chains.get(pipeline)!.head()
      if (head === undefined)
        throw new LakeError('replay.nothing_changed', `${pipeline} has no version yet`, {
          fix: 'Start it: its tables are made from the beginning of the log.',
        })
      planTables(definition, head, options)
      await this.#assertNone(pipeline)
    }
    const job = await jobs.ask({ kind: 'replay', pipeline, options, codes }, key)
    changes.notify()
    return statusOf(job as ReplayJob)
  }

  async list(): Promise<readonly ReplayStatus[]> {
    const jobs = await this.#parts.jobs.list()
    const ours = jobs.filter((job) => isReplay(job) && this.#parts.chains.has(job.request.pipeline))
    return Promise.all(ours.map((job) => this.#status(job as ReplayJob)))
  }

  async get(id: string): Promise<ReplayStatus> {
    return this.#status(await this.#job(id))
  }

  async difference(id: string): Promise<ReplayDifference> {
    const status = statusOf(await this.#job(id))
    const difference = await this.#parts.jobs.difference(id)
    if (difference === undefined) throw notNow('its tables were not compared yet', status)
    return difference
  }

  async order(id: string, order: ReplayOrder): Promise<ReplayStatus> {
    const { jobs, changes } = this.#parts
    const job = await this.#job(id)
    const status = await this.#status(job)
    assertApplies(order, status)
    // One that is under way is the same.
    if (order.kind === 'rollback' && (await this.#isGoingBack(id))) return status
    await jobs.give(id, order)
    if (order.kind === 'rollback') await this.#rollBack(status)
    // Nobody is at work: what is asked is done here, or could wait for ever.
    if (order.kind === 'cancel' && status.state !== 'running') await this.#forget(job)
    if (order.kind === 'resume' && status.state === 'failed') await this.#again(job)
    changes.notify()
    return this.get(id)
  }

  async *watch(id: string, signal?: AbortSignal): AsyncGenerator<ReplayStatus> {
    let before: string | undefined
    while (signal?.aborted !== true) {
      const status = await this.get(id)
      const text = JSON.stringify(status)
      if (text !== before) yield status
      before = text
      if (status.endedMs !== null) return
      await this.#parts.changes.wait(WATCH_EVERY_MS, signal)
    }
  }

  async #job(id: string): Promise<ReplayJob> {
    const job = await this.#parts.jobs.get(id)
    if (job !== undefined && isReplay(job) && this.#parts.chains.has(job.request.pipeline)) return job
    throw new LakeError('replay.unknown', `there is no replay ${JSON.stringify(id)}`)
  }

  async #assertNone(pipeline: string, but?: string): Promise<void> {
    const open = await this.#parts.jobs.open(pipeline)
    const other = open.find((job) => isReplay(job) && job.id !== but)
    if (other === undefined) return
    throw new LakeError('replay.running', `pipeline ${pipeline} has a replay that is not over`, {
      context: { replay: other.id },
      fix: 'Wait for it, cut it over, or cancel it.',
    })
  }

  /** A replay goes back as its pipeline does: by a job of whoever writes it. */
  async #rollBack({ id, pipeline, cutover }: ReplayStatus): Promise<void> {
    await this.#parts.jobs.ask({ kind: 'rollback', pipeline, to: cutover!.before }, await this.#rollbackKey(id))
  }

  async #isGoingBack(id: string): Promise<boolean> {
    const job = await this.#parts.jobs.get(jobId(await this.#rollbackKey(id)))
    return job?.state === 'queued' || job?.state === 'running'
  }

  async #rollbackKey(id: string): Promise<string> {
    const orders = await this.#parts.jobs.orders(id)
    return `rollback ${orders.filter(({ kind }) => kind === 'rollback').length} of ${id}`
  }

  async #forget(job: ReplayJob): Promise<void> {
    const { jobs, storage, clock } = this.#parts
    await forget(storage, job)
    await jobs.update({ ...job, state: 'cancelled', endedMs: clock.nowMs(), error: null })
  }

  async #again(job: ReplayJob): Promise<void> {
    await this.#assertNone(job.request.pipeline, job.id)
    await this.#parts.jobs.update({ ...job, state: 'queued', endedMs: null, error: null })
  }

  async #status(job: ReplayJob): Promise<ReplayStatus> {
    const status = statusOf(job)
    const { progress } = status
    if (progress?.phase !== 'cut-over') return status
    const rollback = await this.#parts.jobs.get(jobId(await this.#rollbackKey(job.id)))
    if (rollback?.state === 'failed') return { ...status, error: rollback.error }
    if (rollback?.state !== 'done') return status
    // Written down: the job of the rollback is forgotten before that of the replay.
    const back = { ...job, replay: { ...job.replay!, progress: { ...progress, phase: 'rolled-back' as const } } }
    await this.#parts.jobs.update(back)
    return statusOf(back)
  }
}

export function isReplay(job: Job): job is ReplayJob {
  return job.request.kind === 'replay'
}

/** Drops the fork of a replay and lets go of the version that it began at. */
export async function forget(storage: Storage, { id, request: { pipeline } }: ReplayJob): Promise<void> {
  await dropFork(storage, pipeline, id)
  await dropTag(storage, pipeline, baseTag(id))
}

function statusOf({ id, request, state, createdMs, endedMs, writer, error, replay }: ReplayJob): ReplayStatus {
  return {
    id,
    pipeline: request.pipeline,
    options: request.options,
    codes: request.codes,
    state,
    createdMs,
    endedMs,
    writer,
    version: replay?.version ?? null,
    rebuilt: replay?.rebuilt ?? [],
    shared: replay?.shared ?? [],
    progress: replay?.progress ?? null,
    difference: replay?.difference ?? null,
    cutover: replay?.cutover ?? null,
    error: error && { code: error.code, message: error.message, fix: error.fix },
  }
}

/** Throws `replay.state`, `replay.diff_unapproved`. */
function assertApplies(order: ReplayOrder, status: ReplayStatus): void {
  const { state, progress, difference, options } = status
  const { phase, isPaused = false } = progress ?? {}
  const isOpen = state === 'queued' || state === 'running'
  switch (order.kind) {
    case 'pause':
      if (!isOpen || isPaused || phase === 'cutting-over') throw notNow('it cannot be paused', status)
      return
    case 'resume':
      if (!(isOpen && isPaused) && state !== 'failed') throw notNow('it is not paused', status)
      return
    case 'cancel':
      if ((!isOpen && state !== 'failed') || phase === 'cutting-over') throw notNow('it cannot be cancelled', status)
      return
    case 'rollback':
      if (state !== 'done' || phase !== 'cut-over') throw notNow('it was not cut over', status)
      return
    case 'cutover': {
      const isNear = phase === 'catching-up' || phase === 'ready'
      if (state !== 'running' || !isNear || isPaused || options.mode === 'verify' || difference === null)
        throw notNow('it is not ready to be cut over', status)
      if (difference.isEqual || order.approve === difference.id) return
      throw new LakeError('replay.diff_unapproved', 'the rebuilt tables differ from the live ones', {
        context: { difference: difference.id },
        fix: 'Look at the difference, then approve it by its id.',
      })
    }
  }
}

function notNow(why: string, { state, progress, id }: ReplayStatus): LakeError {
  const paused = progress?.isPaused === true ? ', paused' : ''
  const phase = progress === null ? '' : ` (${progress.phase}${paused})`
  return new LakeError('replay.state', `${why}: the replay is ${state}${phase}`, {
    context: { replay: id, state, phase: progress?.phase ?? null },
  })
}
