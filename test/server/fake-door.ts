import { hashOfKey, keyText } from '../../src/api-key.ts'
import { LakeError } from '../../src/error.ts'
import type { Engine, QueryRequest, RunningQuery } from '../../src/query/engine.ts'
import { ROLES, type Role, type Scope } from '../../src/scopes.ts'
import { createMetrics } from '../../src/server/metrics.ts'
import type { ServerDoor } from '../../src/server/door.ts'
import type { ApiKey, HttpSettings } from '../../src/settings.ts'
import type { PipelineControl } from '../../src/status.ts'
import { InstantClock } from '../support/instant-clock.ts'
import { definition, makeLake, settings } from './support.ts'

const VERSIONS: ReadonlyMap<string, bigint> = new Map(['shop', 'before', 'after'].map((name) => [name, 1n]))

/** Answers at once with no rows, but for `sleep`: such a query runs until it is cancelled. It knows tables by `from`. */
export class FakeEngine implements Engine {
  readonly asked: QueryRequest[] = []
  readonly #running = new Map<string, RunningQuery & { end(error: LakeError): void }>()

  async query(request: QueryRequest): ReturnType<Engine['query']> {
    this.asked.push(request)
    const tables = [...request.sql.matchAll(/\b(?:from|join)\s+"?(\w+)"?/gi)].map((match) => match[1]!.toLowerCase())
    for (const table of new Set(tables)) request.checkTable?.(table)
    const id = request.id ?? `q${this.asked.length}`
    if (request.sql.includes('sleep')) await this.#sleep(id, request)
    const rows = request.sql.includes('AS added') ? [{ added: '0', removed: '0', changed: '0' }] : []
    const text = JSON.stringify({ columns: [], rows, stats: { rows: 0, elapsedMs: 0 }, versions: {} })
    const body = (async function* () {
      yield Buffer.from(text)
    })()
    const stats = { rows: 0, elapsedMs: 0 }
    return { id, format: request.format, columns: [], versions: VERSIONS, stats, body }
  }

  #sleep(id: string, { sql, format, owner }: QueryRequest): Promise<never> {
    return new Promise((_, reject) => {
      this.#running.set(id, {
        id,
        sql,
        format,
        owner,
        state: 'running',
        elapsedMs: 1,
        end: (error) => {
          this.#running.delete(id)
          reject(error)
        },
      })
    })
  }

  running(): readonly RunningQuery[] {
    return [...this.#running.values()]
  }

  cancel(id: string): boolean {
    const query = this.#running.get(id)
    query?.end(new LakeError('sql.cancelled', 'it was cancelled'))
    return query !== undefined
  }

  rows = () => Promise.resolve([])
  async *batches(): ReturnType<Engine['batches']> {}
  stats = () => ({ running: 0, queued: 0, restarts: 0, pids: [1], cacheBytes: 0 })
  close = () => Promise.resolve()
}

/** Stands still but for `advance`; who sleeps is woken by its signal. */
export class HandClock extends InstantClock {
  override sleep(_ms: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      if (signal?.aborted === true) resolve()
      else signal?.addEventListener('abort', () => resolve(), { once: true })
    })
  }
}

/** A key of a test, and what the settings hold of it. */
export interface TestKey {
  readonly text: string
  readonly entry: ApiKey
}

let made = 0

export function makeKey(id: string, rights: Role | readonly Scope[], expiresMs?: number): TestKey {
  const text = keyText(id, Buffer.alloc(32, ++made))
  const scopes = typeof rights === 'string' ? ROLES[rights] : rights
  return { text, entry: { id, sha256: hashOfKey(text), scopes, ...(expiresMs === undefined ? {} : { expiresMs }) } }
}

export interface FakeDoor extends ServerDoor {
  readonly engine: FakeEngine
  readonly clock: HandClock
  readonly calls: string[]
}

/** All of a server but DuckDB and Kafka: two pipelines with empty tables, and a replay that waits for its cut-over. */
export async function makeDoor(http: Partial<HttpSettings> = {}): Promise<FakeDoor> {
  const lake = await makeLake({ shop: ['orders', 'secrets'], web: ['views'] }, 'memory')
  await lake.commit('shop', 0)
  await lake.commit('web', 0)
  lake.replays.put({ id: REPLAY_ID, pipeline: 'shop' })
  lake.replays.phase(REPLAY_ID, 'ready')
  const calls: string[] = []
  const pipelines = await Promise.all(
    [...lake.chains].map(async ([name, chain]) => control(name, (await chain.head())!, calls)),
  )
  return {
    ...lake,
    engine: new FakeEngine(),
    clock: new HandClock(),
    calls,
    definition,
    settings: { ...settings, http: { host: '127.0.0.1', port: 0, ...http } },
    metrics: createMetrics(),
    pipelines,
  }
}

export const REPLAY_ID = 'a'.repeat(64)

type Head = Awaited<ReturnType<PipelineControl['flush']>>

function control(name: string, head: Head, calls: string[]): PipelineControl {
  const called = (what: string) => async (): Promise<Head> => {
    calls.push(`${what} ${name}`)
    return head
  }
  return {
    name,
    status: () => ({
      name,
      state: 'running',
      reason: undefined,
      head,
      lastCommitMs: 0,
      partitions: [],
      tables: Object.keys(head.tables),
      publishing: [],
    }),
    pause: async () => void (await called('pause')()),
    resume: async () => void (await called('resume')()),
    restart: async () => void (await called('restart')()),
    flush: called('flush'),
    compact: async () => ({ removedFiles: 0, addedFiles: 0, bytes: 0 }),
    expire: async () => ({ versions: 0, files: 0, bytes: 0 }),
    settle: async () => ({ resolved: 0, stale: 0, failed: 0, undecided: 0, discarded: 0 }),
    rollback: called('rollback'),
    acceptCode: called('accept-code'),
  }
}
