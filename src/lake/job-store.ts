import { backoffMs, type Clock } from '../clock.ts'
import { asLakeError, LakeError } from '../error.ts'
import { isSameRequest, jobId, type Job, type JobRequest, type Jobs } from '../jobs.ts'
import type { ReplayDifference, ReplayOrder } from '../replay-status.ts'
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
  /** Orders never change, and their numbers have no gaps. */
  readonly #orders = new Map<string, readonly ReplayOrder[]>()

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
    if (!/^[0-9a-f]{64}$/.test(id)) return undefined
    const job = await this.#standing(id)
    if (job === undefined) return undefined
    // One that was cut over can be rolled back, and one that failed be cancelled.
    if (job.endedMs !== null && job.request.kind !== 'replay') this.#over.set(id, job)
    return job
  }

  /** Its end, whatever came late. Of a replay more may be told after it, but for that it goes on. */
  async #standing(id: string): Promise<Job | undefined> {
    const end = await this.#read(id, endOf(id))
    if (end !== undefined && end.request.kind !== 'replay') return end
    const job = await this.#read(id, keyOf(id))
    return end !== undefined && (job === undefined || !isOver(job)) ? end : job
  }

  async #read(id: string, key: string): Promise<Job | undefined> {
    const bytes = await this.#storage.get(key)
    if (bytes === undefined) return undefined
    const job = decode(id, bytes)
    if (job === undefined) throw new LakeError('store.corrupt', `${key} is not a job`, { context: { key } })
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

  /**
   * How a job ended is created once and never changed: what a process writes that was at it before, or a write that lands
   * late, does not open it again. A replay that failed may go on, and of one that is over it is noted that it was rolled
   * back.
   */
  async update(job: Job): Promise<void> {
    if (isOver(job)) await this.#end(job)
    if (!isOver(job) || job.request.kind === 'replay') await this.#storage.put(keyOf(job.id), encode(job))
  }

  async #end(job: Job): Promise<void> {
    for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
      const { kind } = await this.#storage.putIfAbsent(endOf(job.id), encode(job))
      if (kind === 'created' || kind === 'exists') return
      await this.#clock.sleep(backoffMs(this.#clock, attempt))
    }
    throw new LakeError('store.unavailable', `the end of job ${job.id} could not be recorded`, { retryable: true })
  }

  async give(id: string, order: ReplayOrder): Promise<void> {
    for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
      const number = String((await this.#orderKeys(id)).length + 1).padStart(6, '0')
      // Chance tells ours from another one that says the same.
      const bytes = Buffer.from(JSON.stringify({ ...order, given: this.#clock.uuid() }), 'utf8')
      const key = `${folderOf(id)}orders/${number}.json`
      const { kind } = await this.#storage.putIfAbsent(key, bytes)
      if (kind === 'created') return
      const there = kind === 'unknown' ? await this.#storage.get(key) : undefined
      if (there !== undefined && bytes.equals(there)) return
      if (kind !== 'exists') await this.#clock.sleep(backoffMs(this.#clock, attempt))
    }
    throw new LakeError('store.unavailable', `an order to job ${id} could not be recorded`, { retryable: true })
  }

  async orders(id: string): Promise<readonly ReplayOrder[]> {
    const keys = await this.#orderKeys(id)
    const known = this.#orders.get(id) ?? []
    const added = await Promise.all(keys.slice(known.length).map((key) => this.#json<ReplayOrder>(key)))
    const all = [...known, ...added.filter((order) => order !== undefined)]
    this.#orders.set(id, all)
    return all
  }

  async putDifference(id: string, difference: ReplayDifference): Promise<void> {
    await this.#storage.put(`${folderOf(id)}difference.json`, Buffer.from(JSON.stringify(difference), 'utf8'))
  }

  difference(id: string): Promise<ReplayDifference | undefined> {
    return this.#json(`${folderOf(id)}difference.json`)
  }

  async #orderKeys(id: string): Promise<readonly string[]> {
    const keys: string[] = []
    for await (const { key } of this.#storage.list(`${folderOf(id)}orders/`)) keys.push(key)
    return keys
  }

  async #json<T>(key: string): Promise<T | undefined> {
    const bytes = await this.#storage.get(key)
    if (bytes === undefined) return undefined
    try {
      return JSON.parse(Buffer.from(bytes).toString('utf8')) as T
    } catch (cause) {
      throw new LakeError('store.corrupt', `${key} is no JSON`, { cause, context: { key } })
    }
  }

  /** By our own clock: what a wrong one takes too early is an answer that nobody waits for. */
  async #forget(jobs: readonly Job[]): Promise<void> {
    const nowMs = this.#clock.nowMs()
    for (const { id, request, endedMs } of jobs) {
      const keptMs = request.kind === 'replay' ? Math.max(KEPT_MS, request.options.keepOldMs) : KEPT_MS
      if (endedMs === null || nowMs - endedMs <= keptMs) continue
      await this.#storage.delete(keyOf(id))
      // Behind it: without its end a job would be open again.
      await this.#storage.delete(endOf(id))
      if (request.kind === 'replay')
        for await (const { key } of this.#storage.list(folderOf(id))) await this.#storage.delete(key)
      this.#over.delete(id)
      this.#orders.delete(id)
    }
  }
}

const keyOf = (id: string): string => `${PREFIX}${id}.json`

/** What belongs to a job beside itself. */
const folderOf = (id: string): string => `${PREFIX}${id}/`
const endOf = (id: string): string => `${folderOf(id)}end.json`

/** For good: a replay that failed is tried again when somebody says so. */
function isOver({ endedMs, state, request }: Job): boolean {
  return endedMs !== null && (request.kind !== 'replay' || state !== 'failed')
}

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
