import { backoffMs, type Clock } from '../clock.ts'
import { asLakeError, LakeError } from '../error.ts'
import { isSameRequest, jobId, type Job, type JobRequest, type Jobs } from '../jobs.ts'
import type { Storage } from './storage/storage.ts'

const PREFIX = 'jobs/'
/** Jobs that are over are kept this long. */
const KEPT_MS = 7 * 24 * 3_600_000
const ATTEMPTS_MAX = 8
const READS_AT_ONCE = 16

/** Jobs as objects of the store, so that they survive processes and can be handed from one to another. */
export function openJobs(storage: Storage, clock: Clock): Jobs {
  return new StoredJobs(storage, clock)
}

class StoredJobs implements Jobs {
  readonly #storage: Storage
  readonly #clock: Clock
  /** Jobs that are over never change: they are read once. */
  readonly #over = new Map<string, Job>()

  constructor(storage: Storage, clock: Clock) {
    this.#storage = storage
    this.#clock = clock
  }

  async ask(request: JobRequest, idempotencyKey = this.#clock.uuid()): Promise<Job> {
    const job: Job = {
      id: jobId(idempotencyKey),
      request,
      state: 'queued',
      createdMs: this.#clock.nowMs(),
      startedMs: null,
      endedMs: null,
      writer: null,
      result: null,
      error: null,
    }
    // Whatever the outcome was, what stands there decides.
    for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
      const there = await this.get(job.id)
      if (there !== undefined && !isSameRequest(there.request, request))
        throw new LakeError('idempotency.mismatch', 'this Idempotency-Key was used for another request', {
          context: { job: job.id },
          fix: 'Take a new key for a new request.',
        })
      if (there !== undefined) return there
      const { kind } = await this.#storage.putIfAbsent(keyOf(job.id), encode(job))
      if (kind === 'created') return job
      if (kind !== 'exists') await this.#clock.sleep(backoffMs(this.#clock, attempt))
    }
    throw new LakeError('store.unavailable', `job ${job.id} could not be recorded`, { retryable: true })
  }

  async get(id: string): Promise<Job | undefined> {
    const known = this.#over.get(id)
    if (known !== undefined) return known
    const bytes = /^[0-9a-f]{64}$/.test(id) ? await this.#storage.get(keyOf(id)) : undefined
    if (bytes === undefined) return undefined
    const job = decode(id, bytes)
    if (job === undefined)
      throw new LakeError('store.corrupt', `${keyOf(id)} is not a job`, { context: { key: keyOf(id) } })
    if (job.endedMs !== null) this.#over.set(id, job)
    return job
  }

  async list(): Promise<readonly Job[]> {
    const ids: string[] = []
    for await (const { key } of this.#storage.list(PREFIX)) {
      const [, id] = /^jobs\/([0-9a-f]{64})\.json$/.exec(key) ?? []
      if (id !== undefined) ids.push(id)
    }
    const jobs: Job[] = []
    for (let start = 0; start < ids.length; start += READS_AT_ONCE)
      for (const job of await Promise.all(ids.slice(start, start + READS_AT_ONCE).map((id) => this.#whole(id))))
        if (job !== undefined) jobs.push(job)
    await this.#forget(jobs)
    return jobs.toSorted((a, b) => b.createdMs - a.createdMs || (a.id < b.id ? -1 : 1))
  }

  /** One that cannot be read must not hide the others. */
  #whole(id: string): Promise<Job | undefined> {
    return this.get(id).catch((error) => {
      if (asLakeError(error).code === 'store.corrupt') return undefined
      throw error
    })
  }

  async open(pipeline: string): Promise<readonly Job[]> {
    const jobs = await this.list()
    return jobs.filter((job) => job.request.pipeline === pipeline && job.endedMs === null).toReversed()
  }

  async update(job: Job): Promise<void> {
    await this.#storage.put(keyOf(job.id), encode(job))
  }

  /** By our own clock: what a wrong one takes too early is an answer that nobody waits for. */
  async #forget(jobs: readonly Job[]): Promise<void> {
    const nowMs = this.#clock.nowMs()
    for (const { id, endedMs } of jobs)
      if (endedMs !== null && nowMs - endedMs > KEPT_MS) {
        await this.#storage.delete(keyOf(id))
        this.#over.delete(id)
      }
  }
}

const keyOf = (id: string): string => `${PREFIX}${id}.json`

function encode(job: Job): Uint8Array {
  return Buffer.from(JSON.stringify(job, undefined, 1), 'utf8')
}

function decode(id: string, bytes: Uint8Array): Job | undefined {
  try {
    const job = JSON.parse(Buffer.from(bytes).toString('utf8')) as Job
    return job.id === id && typeof job.request.pipeline === 'string' ? job : undefined
  } catch {
    return undefined
  }
}
