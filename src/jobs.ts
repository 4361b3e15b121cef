import { createHash } from 'node:crypto'
import type { ErrorMessage } from './error.ts'

/** Work on a pipeline that takes longer than a request: asked for anywhere, done by the process that writes the pipeline. */
export type JobRequest =
  | { readonly kind: 'compact'; readonly pipeline: string; readonly table: string }
  | { readonly kind: 'expire'; readonly pipeline: string; readonly table: string }
  /** `to` is the number of a version, as text. */
  | { readonly kind: 'rollback'; readonly pipeline: string; readonly to: string }

/** Numbers that are counts are plain numbers; what may be larger is text. */
export type JobResult = Readonly<Record<string, string | number | boolean | null>>

/** A job as it stands in the store, `jobs/<id>.json`. Plain JSON. */
export interface Job {
  /** 64 hexadecimal digits. */
  readonly id: string
  readonly request: JobRequest
  readonly state: 'queued' | 'running' | 'done' | 'failed'
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
  /** Written over what is there: only by the process that writes the pipeline. */
  update(job: Job): Promise<void>
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
  const text = (request: JobRequest) => JSON.stringify(Object.entries(request).toSorted(([x], [y]) => (x < y ? -1 : 1)))
  return text(a) === text(b)
}
