import type { Clock } from '../clock.ts'
import { asLakeError, LakeError } from '../error.ts'
import type { QuerySettings } from '../settings.ts'
import type { QueryRequest, ResolvedTables, RunningQuery, TableResolver } from './engine.ts'
import type { FromProcess, ResultColumn, ResultFormat, TableUse, ToProcess } from './messages.ts'
import type { ProcessPool } from './pool.ts'
import type { QueryProcess } from './query-process.ts'

export type Piece = Extract<FromProcess, { kind: 'chunk' }>
export type Outcome = 'ok' | 'error' | 'timeout' | 'cancelled' | 'crashed'

export interface AskedQuery extends Omit<QueryRequest, 'format'> {
  /** Rows are taken as they come, so that there is no limit to them: so with all formats but `json` and `values`. */
  readonly isStreamed?: boolean
}

export interface QueryContext {
  readonly pool: ProcessPool
  readonly resolve: TableResolver
  readonly settings: QuerySettings
  readonly clock: Clock
  onEnd(outcome: Outcome): void
}

/** One query from admission to its last piece. Whatever stops it ends its process. */
export class Query {
  readonly id: string
  readonly request: AskedQuery
  readonly format: ResultFormat
  state: RunningQuery['state'] = 'queued'
  columns: readonly ResultColumn[] = []
  versions: ReadonlyMap<string, bigint> = new Map()
  rows = 0
  readonly #context: QueryContext
  readonly #startedMs: number
  readonly #stop = new AbortController()
  readonly #timer = new AbortController()

  constructor(id: string, request: AskedQuery, format: ResultFormat, context: QueryContext) {
    this.id = id
    this.request = request
    this.format = format
    this.#context = context
    this.#startedMs = context.clock.monotonicMs()
  }

  get elapsedMs(): number {
    return Math.round(this.#context.clock.monotonicMs() - this.#startedMs)
  }

  stop(reason: LakeError): void {
    this.#stop.abort(reason)
  }

  throwIfStopped(): void {
    this.#stop.signal.throwIfAborted()
  }

  /** Ends the query when its caller is gone or its time is over. */
  follow(signal: AbortSignal | undefined): void {
    const { clock, settings } = this.#context
    const leave = () => this.stop(cancelled('its caller went away'))
    if (signal?.aborted === true) leave()
    signal?.addEventListener('abort', leave, { once: true, signal: this.#timer.signal })
    const timeoutMs = Math.min(this.request.timeoutMs ?? Infinity, settings.timeoutMs)
    void clock.sleep(timeoutMs, this.#timer.signal).then(() => {
      if (!this.#timer.signal.aborted) this.stop(timedOut(timeoutMs))
    })
  }

  answer(): Pick<Query, 'id' | 'columns' | 'versions'> {
    return { id: this.id, columns: this.columns, versions: this.versions }
  }

  /** The result, piece by piece. `columns` and `versions` are known with the first piece. */
  pieces(): AsyncGenerator<Piece, void, undefined> {
    const pieces = this.#pieces()
    // A reader that never comes back must not keep a stopped query in the books.
    this.#stop.signal.addEventListener('abort', () => void pieces.return().catch(() => undefined), { once: true })
    return pieces
  }

  async *#pieces(): AsyncGenerator<Piece, void, undefined> {
    let outcome: Outcome = 'cancelled' // when reading stops early
    try {
      yield* this.#conduct()
      outcome = 'ok'
    } catch (error) {
      outcome = outcomeOf(error)
      throw error
    } finally {
      this.#timer.abort()
      this.#context.onEnd(this.#stop.signal.aborted ? outcomeOf(this.#stop.signal.reason) : outcome)
    }
  }

  async *#conduct(): AsyncGenerator<Piece, void, undefined> {
    const { signal } = this.#stop
    const process = await this.#context.pool.acquire(signal)
    const kill = () => process.kill(signal.reason as LakeError)
    signal.addEventListener('abort', kill)
    let resolved: ResolvedTables | undefined
    try {
      signal.throwIfAborted()
      this.state = 'running'
      process.send(this.#run())
      const { uses } = await expect(process, 'tables')
      resolved = await this.#resolve(uses).catch((error: unknown) => {
        process.send({ kind: 'drop' })
        throw error
      })
      process.send({ kind: 'views', views: resolved.views })
      this.versions = resolved.versions
      this.columns = (await expect(process, 'columns')).columns
      yield* this.#chunks(process)
    } finally {
      signal.removeEventListener('abort', kill)
      this.#context.pool.release(process)
      resolved?.release()
    }
  }

  async *#chunks(process: QueryProcess): AsyncGenerator<Piece, void, undefined> {
    for (;;) {
      const message = await process.receive()
      if (message.kind === 'done') return
      if (message.kind !== 'chunk') throw outOfTurn(message.kind)
      this.rows += message.rows
      yield message
      process.send({ kind: 'more' })
    }
  }

  #run(): ToProcess {
    const { sql, where, params, maxRows = Infinity } = this.request
    const isStreamed = this.request.isStreamed ?? (this.format !== 'json' && this.format !== 'values')
    const { rowsMax, bytesMax } = this.#context.settings
    return {
      kind: 'run',
      sql,
      where,
      params,
      format: this.format,
      rowsMax: Math.min(maxRows, isStreamed ? Infinity : rowsMax),
      bytesMax: isStreamed ? Infinity : bytesMax,
    }
  }

  /** Waits for the tables no longer than the query may live; files that come too late are let go of. */
  async #resolve(uses: readonly TableUse[]): Promise<ResolvedTables> {
    const { signal } = this.#stop
    const { asOf, changes, checkTable } = this.request
    const { resolve } = this.#context
    // Before anybody looks for them: a refusal says nothing of what there is.
    if (checkTable !== undefined) for (const { name } of uses) checkTable(name)
    const resolving =
      changes === undefined ? resolve.resolve(uses, asOf, signal) : resolve.changes(uses, changes, signal)
    const over = new AbortController()
    const stopped = new Promise<never>((_, reject) => {
      signal.addEventListener('abort', () => reject(signal.reason), { once: true, signal: over.signal })
    })
    try {
      return await Promise.race([resolving, stopped])
    } catch (error) {
      void resolving.then(
        (late) => late.release(),
        () => undefined,
      )
      throw error
    } finally {
      over.abort()
    }
  }
}

export function cancelled(why: string): LakeError {
  return new LakeError('sql.cancelled', `the query was ended: ${why}`)
}

async function expect<Kind extends FromProcess['kind']>(
  process: QueryProcess,
  kind: Kind,
): Promise<Extract<FromProcess, { kind: Kind }>> {
  const message = await process.receive()
  if (message.kind !== kind) throw outOfTurn(message.kind)
  return message as Extract<FromProcess, { kind: Kind }>
}

function outOfTurn(kind: string): LakeError {
  return new LakeError('sql.crashed', `the query process said ${kind} out of turn`)
}

function timedOut(timeoutMs: number): LakeError {
  return new LakeError('sql.timeout', `the query did not end within ${timeoutMs} ms`, {
    fix: 'Ask for less, or raise query.timeout.',
  })
}

function outcomeOf(error: unknown): Outcome {
  switch (asLakeError(error).code) {
    case 'sql.timeout':
      return 'timeout'
    case 'sql.cancelled':
      return 'cancelled'
    case 'sql.crashed':
      return 'crashed'
    default:
      return 'error'
  }
}
