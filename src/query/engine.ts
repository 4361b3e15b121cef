import type { Clock } from '../clock.ts'
import { LakeError } from '../error.ts'
import type { Observer } from '../event.ts'
import type { Priority } from '../priority.ts'
import type { QuerySettings } from '../settings.ts'
import type { QueryParams, ResultColumn, ResultFormat, TableUse, View } from './messages.ts'
import { ProcessPool } from './pool.ts'
import { cancelled, Query, type AskedQuery, type Piece } from './query.ts'

export type { QueryParams, ResultColumn, View, ViewColumn } from './messages.ts'
export { SQL_BYTES_MAX } from './gate.ts'
export { duckdbType } from './view-columns.ts'

export type QueryFormat = Exclude<ResultFormat, 'values'>

export interface QueryRequest {
  /** One SELECT over tables of the lake. */
  readonly sql: string
  /** A condition that stands in `sql` between brackets: refused with `sql.*` unless it is one by itself, without parameters. */
  readonly where?: string | undefined
  /** A list for `$1`, `$2`, … or `?`; an object for `$name`. */
  readonly params?: QueryParams | undefined
  /** What to read; see `lakeResolver`. Default: the newest version of each pipeline. */
  readonly asOf?: string | undefined
  /** Instead of the lake's tables: those of `CHANGE_TABLES`. */
  readonly changes?: ChangesRequest | undefined
  readonly format: QueryFormat
  /** Fewer rows than the limit of the settings. */
  readonly maxRows?: number | undefined
  /** Less time than the limit of the settings, waiting included. */
  readonly timeoutMs?: number | undefined
  /** Names the query for `cancel`; must not be that of a running one. Default: a uuid. */
  readonly id?: string | undefined
  /** Whom it belongs to: told with the queries that run. */
  readonly owner?: string | undefined
  /** Throws what keeps the caller from a table that the statement reads; called with its name in lower case. */
  readonly checkTable?: ((table: string) => void) | undefined
}

/** Two points in the history of a table, each as for `asOf`. */
export interface ChangesRequest {
  readonly table: string
  readonly from: string
  readonly to: string | undefined
}

/**
 * The tables of a query over changes: rows of `before` that are not among those of `to`, and rows of `after` that are
 * not among those of `from`, as rows of files; so both may hold the same row, where a file was rewritten.
 */
export const CHANGE_TABLES = ['before', 'after'] as const

export interface QueryResult {
  readonly id: string
  readonly format: QueryFormat
  readonly columns: readonly ResultColumn[]
  /** The version of each pipeline that was read; of a query over changes, that of each of its tables. */
  readonly versions: ReadonlyMap<string, bigint>
  /** Only when the result is complete (`json`); the others are still on their way. */
  readonly stats: QueryStats | undefined
  /**
   * The result as bytes. A `json` body is complete when the query resolves; the others are made while they are read,
   * may throw a LakeError in the middle, and end the query when reading stops early.
   */
  readonly body: AsyncIterable<Uint8Array>
}

export interface QueryStats {
  readonly rows: number
  readonly elapsedMs: number
}

export interface RunningQuery {
  readonly id: string
  readonly state: 'queued' | 'running'
  readonly sql: string
  readonly format: QueryFormat | 'values'
  readonly elapsedMs: number
  readonly owner: string | undefined
}

export interface EngineStats {
  readonly running: number
  readonly queued: number
  readonly restarts: number
  readonly pids: readonly number[]
  /** Bytes of store objects that are kept on this machine. */
  readonly cacheBytes: number
}

/** Runs SQL over pinned versions in child processes. Nothing that a query does can reach this process but its rows. */
export interface Engine {
  /**
   * Resolves when the first rows are there, or all of them for `json`. Throws `sql.*`, `table.unknown`,
   * `version.unknown`, `snapshot.expired`, `result.too_large`, `limit.queries`, `request.*`, `store.*`.
   */
  query(request: QueryRequest, signal?: AbortSignal): Promise<QueryResult>
  /** Rows as objects: int64 and wider are bigint, decimals text, binary Uint8Array, instants bigint microseconds. */
  rows(request: Omit<QueryRequest, 'format'>, signal?: AbortSignal): Promise<readonly Record<string, unknown>[]>
  /** As `rows`, however many they are, some at a time; reading no further ends the query. */
  batches(
    request: Omit<QueryRequest, 'format'>,
    signal?: AbortSignal,
  ): AsyncGenerator<readonly Record<string, unknown>[], void, undefined>
  running(): readonly RunningQuery[]
  /** Whether there was such a query. */
  cancel(id: string): boolean
  stats(): EngineStats
  close(): Promise<void>
}

/** Finds what a query reads: the tables' files at one version of each pipeline, on this machine. */
export interface TableResolver {
  readonly cacheBytes?: number
  resolve(uses: readonly TableUse[], asOf: string | undefined, signal: AbortSignal): Promise<ResolvedTables>
  changes(uses: readonly TableUse[], changes: ChangesRequest, signal: AbortSignal): Promise<ResolvedTables>
}

export interface ResolvedTables {
  readonly views: readonly View[]
  readonly versions: ReadonlyMap<string, bigint>
  /** Lets go of the files. */
  release(): void
}

export interface EngineOptions {
  readonly settings: QuerySettings
  readonly resolve: TableResolver
  readonly clock: Clock
  readonly observer?: Observer
  readonly childPath: string
  /** Of the query processes, asked again and again. Default: that of this process. */
  readonly priority?: () => Priority
}

const THREADS = 2
/** How many queries at their deadline the processor time of one process is enough for. */
const CPU_DEADLINES = 4

/** Resolves when a query process is warm. Throws `internal` when none can be started. */
export async function openEngine(options: EngineOptions): Promise<Engine> {
  const { settings, clock } = options
  const pool = new ProcessPool({
    process: {
      childPath: options.childPath,
      settings: { threads: THREADS, memoryBytesMax: settings.memoryBytesMax },
      cpuSecondsMax: (CPU_DEADLINES * THREADS * settings.timeoutMs) / 1_000 + 10,
    },
    size: settings.children,
    queueMax: settings.queueMax,
    clock,
    priority: options.priority,
  })
  await pool.open().catch(async (error: unknown) => {
    await pool.close()
    throw error
  })
  return new PooledEngine(options, pool)
}

class PooledEngine implements Engine {
  readonly #options: EngineOptions
  readonly #pool: ProcessPool
  readonly #queries = new Map<string, Query>()

  constructor(options: EngineOptions, pool: ProcessPool) {
    this.#options = options
    this.#pool = pool
  }

  async query(request: QueryRequest, signal?: AbortSignal): Promise<QueryResult> {
    const query = this.#start(request, request.format, signal)
    const pieces = query.pieces()
    if (request.format === 'json') {
      const parts: Uint8Array[] = []
      for await (const { data } of pieces) parts.push(data as Uint8Array)
      const stats = { rows: query.rows, elapsedMs: query.elapsedMs }
      return { ...query.answer(), format: 'json', stats, body: envelope(query, parts, stats) }
    }
    const first = await pieces.next()
    return { ...query.answer(), format: request.format, stats: undefined, body: bytesOf(first, pieces, query) }
  }

  async rows(request: Omit<QueryRequest, 'format'>, signal?: AbortSignal): Promise<readonly Record<string, unknown>[]> {
    const query = this.#start(request, 'values', signal)
    const rows: Record<string, unknown>[] = []
    for await (const piece of query.pieces()) for (const row of objectsOf(piece, query)) rows.push(row)
    return rows
  }

  async *batches(
    request: Omit<QueryRequest, 'format'>,
    signal?: AbortSignal,
  ): AsyncGenerator<readonly Record<string, unknown>[], void, undefined> {
    const query = this.#start({ ...request, isStreamed: true }, 'values', signal)
    for await (const piece of query.pieces()) yield objectsOf(piece, query)
    query.throwIfStopped()
  }

  running(): readonly RunningQuery[] {
    return [...this.#queries.values()].map(({ id, state, request, format, elapsedMs }) => ({
      id,
      state,
      sql: request.sql,
      format,
      elapsedMs,
      owner: request.owner,
    }))
  }

  cancel(id: string): boolean {
    const query = this.#queries.get(id)
    query?.stop(cancelled('it was cancelled'))
    return query !== undefined
  }

  stats(): EngineStats {
    const { queued, restarts, pids } = this.#pool
    const cacheBytes = this.#options.resolve.cacheBytes ?? 0
    return { running: this.#queries.size - queued, queued, restarts, pids, cacheBytes }
  }

  async close(): Promise<void> {
    for (const query of this.#queries.values()) query.stop(cancelled('the lake is closing'))
    await this.#pool.close()
  }

  #start(request: AskedQuery, format: ResultFormat, signal: AbortSignal | undefined): Query {
    const id = request.id ?? this.#options.clock.uuid()
    if (this.#queries.has(id)) throw new LakeError('request.invalid', `a query with the id ${id} is running`)
    const query: Query = new Query(id, request, format, {
      ...this.#options,
      pool: this.#pool,
      onEnd: (outcome) => {
        this.#queries.delete(id)
        this.#options.observer?.({ kind: 'query', id, outcome, durationMs: query.elapsedMs, format })
      },
    })
    this.#queries.set(id, query)
    query.follow(signal)
    return query
  }
}

function objectsOf({ data }: Piece, { columns }: Query): readonly Record<string, unknown>[] {
  const names = columns.map(({ name }) => name)
  return (data as readonly (readonly unknown[])[]).map((values) =>
    Object.fromEntries(names.map((name, index) => [name, values[index]])),
  )
}

/** `{"columns": […], "rows": […], "stats": {…}, "versions": {…}}` around rows that are complete. */
async function* envelope(query: Query, rows: readonly Uint8Array[], stats: QueryStats): AsyncGenerator<Uint8Array> {
  const versions = Object.fromEntries([...query.versions].map(([pipeline, version]) => [pipeline, String(version)]))
  yield Buffer.from(`{"columns":${JSON.stringify(query.columns)},"rows":[`)
  yield* rows
  yield Buffer.from(`],"stats":${JSON.stringify(stats)},"versions":${JSON.stringify(versions)}}\n`)
}

async function* bytesOf(
  first: IteratorResult<Piece, void>,
  rest: AsyncGenerator<Piece, void, undefined>,
  query: Query,
): AsyncGenerator<Uint8Array> {
  try {
    if (first.done !== true) yield first.value.data as Uint8Array
    for await (const { data } of rest) yield data as Uint8Array
    query.throwIfStopped()
  } finally {
    await rest.return()
  }
}
