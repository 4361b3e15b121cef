import { createHash } from 'node:crypto'
import type { SettleRequest } from './dead-letters.ts'
import type { ErrorMessage } from './error.ts'
import type { ReplayDifference, ReplayOptions, ReplayOrder, ReplayStatus } from './replay-status.ts'

/** Work on a pipeline that takes longer than a request: asked for anywhere, and done by a process that can do it. */
export type JobRequest = OwnerRequest | ReplayRequest

/** Done by the process that writes the pipeline. */
export type OwnerRequest =
  | { readonly kind: 'compact'; readonly pipeline: string; readonly table: string }
  | { readonly kind: 'expire'; readonly pipeline: string; readonly table: string }
  /** `to` is the number of a version, as text. */
  | { readonly kind: 'rollback'; readonly pipeline: string; readonly to: string }
  | SettleRequest

/** Done by a process whose definition of the pipeline is the one that is meant. */
export interface ReplayRequest {
  readonly kind: 'replay'
  readonly pipeline: string
  readonly options: ReplayOptions
  /** Code of each source table and window of that definition. */
  readonly codes: Readonly<Record<string, string>>
}

/** What is known of a replay beside what every job has: written down by whoever does it, at most once a second. */
export type ReplayRecord = Pick<
  ReplayStatus,
  'version' | 'rebuilt' | 'shared' | 'progress' | 'difference' | 'cutover'
> & {
  /** Grows while somebody is at work, so that others see that he is, also where no version comes. */
  readonly beat: number
}

/** Numbers that are counts are plain numbers; what may be larger is text. */
export type JobResult = Readonly<Record<string, string | number | boolean | null>>

/** A job as it stands in the store, `jobs/<id>.json`. Plain JSON. */
export interface Job {
  /** 64 hexadecimal digits. */
  readonly id: string
  readonly request: JobRequest
  readonly state: 'queued' | 'running' | 'done' | 'failed' | 'cancelled'
  /** Wall clock, milliseconds, of whoever wrote it. */
  readonly createdMs: number
  readonly startedMs: number | null
  readonly endedMs: number | null
  /** Name of the process that runs it, or ran it. */
  readonly writer: string | null
  /** Of a job that is done. */
  readonly result: JobResult | null
  /** Why it failed, or why it was tried in vain and waits to be tried again. */
  readonly error: ErrorMessage | null
  /** Of a replay that somebody has begun. */
  readonly replay?: ReplayRecord
}

/** The jobs of a store. */
export interface Jobs {
  /**
   * Records a job, which may already be there: the same key with the same request gives the same job. Throws
   * `idempotency.mismatch` when the key was used for another request.
   */
  ask(request: JobRequest, idempotencyKey?: string): Promise<Job>
  get(id: string): Promise<Job | undefined>
  /** All that are kept, the newest first. */
  list(): Promise<readonly Job[]>
  /** Those of a pipeline that are not over, the oldest first. */
  open(pipeline: string): Promise<readonly Job[]>
  /** Written over what is there: only by the process that does it. */
  update(job: Job): Promise<void>
  /** Records what a person asks of a replay; it is not known here whether it applies. */
  give(id: string, order: ReplayOrder): Promise<void>
  /** All that was asked of a replay, in order. */
  orders(id: string): Promise<readonly ReplayOrder[]>
  putDifference(id: string, difference: ReplayDifference): Promise<void>
  difference(id: string): Promise<ReplayDifference | undefined>
}

export function jobId(idempotencyKey: string): string {
  return createHash('sha256').update(idempotencyKey).digest('hex')
}

/** The commit that a job makes has an id of the job's own, so that doing a job twice commits once. */
export function commitIdOf({ id }: Job): string {
  return `${id.slice(0, 8)}-${id.slice(8, 12)}-${id.slice(12, 16)}-${id.slice(16, 20)}-${id.slice(20, 32)}`
}

/** Whether two requests ask for the same. */
export function isSameRequest(a: JobRequest, b: JobRequest): boolean {
  return JSON.stringify(a, inOrder) === JSON.stringify(b, inOrder)
}

/** A replacer that writes objects with their keys in order. */
function inOrder(_key: string, value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value
  return Object.fromEntries(Object.entries(value).toSorted(([x], [y]) => (x < y ? -1 : 1)))
}
