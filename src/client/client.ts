import { LakeError } from '../error.ts'
import { rowsOf, type Rows } from '../row-stream.ts'
import { template } from '../sql-template.ts'
import {
  errorOf,
  openCaller,
  type AnswerOf,
  type CallOptions,
  type ClientOptions,
  type InputOf,
  type OperationId,
  type RequestParts,
} from './call.ts'
import type { Operations } from './operations.ts'
import type { ReplayJson, ResultJson } from './shapes.ts'
import { eventsOf, rowsOfLines } from './streams.ts'

export { LakeError, type LakeErrorCode } from '../error.ts'
export type { Rows } from '../row-stream.ts'
export type { AnswerOf, CallOptions, ClientOptions, InputOf, OperationId } from './call.ts'
export type { Operations } from './operations.ts'
export type * from './shapes.ts'

/** A value of a row as the API writes it in JSON: what a JSON number cannot carry exactly is text, instants too. */
type JsonValue<V> = V extends bigint | Date | Uint8Array
  ? string
  : V extends string | number | boolean | null | undefined
    ? V
    : V extends object
      ? { readonly [N in keyof V]: JsonValue<V[N]> }
      : V

/** Rows of a table as they come over HTTP: `lake.rows<JsonRow<typeof orders.$row>>('orders')`. */
export type JsonRow<R> = { readonly [N in keyof R]: JsonValue<R[N]> }

type JsonObject = Readonly<Record<string, unknown>>
type Query<Id extends OperationId> = Operations[Id] extends { readonly query?: infer Q }
  ? Omit<Q & object, 'cursor'>
  : object
type Body<Id extends OperationId> = Operations[Id] extends { readonly body: infer B } ? B : object
type Item<Id extends OperationId> = AnswerOf<Id> extends { readonly items: readonly (infer I)[] } ? I : never

/** Names a request: sent twice, it is one job. */
export interface JobOptions extends CallOptions {
  readonly idempotencyKey?: string
}

export interface ReplayCallOptions extends JobOptions {
  /** Answer when it is done, or after so many seconds, at most 30. */
  readonly waitSeconds?: number
}

export interface SqlOptions extends CallOptions {
  readonly params?: readonly unknown[] | JsonObject
  readonly asOf?: string | number
  readonly maxRows?: number
  readonly timeoutMs?: number
  /** Names the query, so that it can be cancelled. */
  readonly id?: string
}

export type LakeClient = ReturnType<typeof connect>

/**
 * The HTTP API of a lake, for programs elsewhere: any runtime with `fetch`, a browser among them. Nothing is sent before
 * something is asked for. What fails is a LakeError with the server's code.
 */
export function connect(options: ClientOptions) {
  const caller = openCaller(options)
  /** Any operation by its id. Answers that are not JSON are texts. */
  const call = async <Id extends OperationId>(id: Id, input: InputOf<Id> & RequestParts): Promise<AnswerOf<Id>> => {
    const response = await caller.send(id, input)
    const isJson = response.headers.get('content-type')?.startsWith('application/json') === true
    return (isJson ? await response.json() : await response.text()) as AnswerOf<Id>
  }
  const ask = <Id extends OperationId>(id: Id, parts: RequestParts) => call(id, parts as InputOf<Id> & RequestParts)

  /** All pages of a list. `later`: what is said on every page, and not only on the first. */
  const list = <Id extends OperationId, I = Item<Id>>(id: Id, parts: RequestParts, later: readonly string[] = []) => {
    async function* pages(): AsyncGenerator<readonly I[], void, undefined> {
      let { query = {} } = parts
      for (;;) {
        const page = (await ask(id, { ...parts, query })) as { items: readonly I[]; nextCursor?: string | null }
        if (page.items.length > 0) yield page.items
        if (page.nextCursor === undefined || page.nextCursor === null) return
        const kept = Object.entries(parts.query ?? {}).filter(([name]) => later.includes(name))
        query = { ...Object.fromEntries(kept), cursor: page.nextCursor }
      }
    }
    return rowsOf<I>(() => collected(pages()), pages)
  }

  const select = (text: string, { id, signal, params, ...rest }: SqlOptions, format: string): Promise<Response> =>
    caller.send('query', {
      body: { sql: text, format, ...rest, ...(params === undefined ? {} : { params: jsonParams(params) }) },
      headers: id === undefined ? {} : { 'x-query-id': id },
      signal,
    })

  return {
    call,
    /** One SELECT with its columns and the versions that were read; within the limits of the server. */
    query: async (text: string, given: SqlOptions = {}): Promise<ResultJson> =>
      (await (await select(text, given, 'json')).json()) as ResultJson,
    /** Rows of one SELECT: all of them with `await`, or as they come with `for await`. Values of a template are parameters. */
    sql: <Row = JsonObject>(text: string | TemplateStringsArray, ...values: readonly unknown[]): Rows<Row> => {
      const asked = () => (typeof text === 'string' ? { sql: text, params: values } : template(text, values))
      const given = () => (asked().params.length === 0 ? {} : { params: asked().params })
      return rowsOf<Row>(
        async () => (await answerOf(select(asked().sql, given(), 'json'))).rows as readonly Row[],
        async function* () {
          yield* rowsOfLines<Row>(await select(asked().sql, given(), 'ndjson'), undefined)
        },
      )
    },
    /** The bytes of a result in any format: `(await lake.download('select …', 'parquet')).body`. */
    download: (text: string, format: 'json' | 'ndjson' | 'csv' | 'arrow' | 'parquet', given: SqlOptions = {}) =>
      select(text, given, format),
    /** Rows of a table in the order of its key, page by page, all of one version. `where` is SQL. */
    rows: <Row = JsonObject>(table: string, query: Query<'listRows'> & CallOptions = {}): Rows<Row> => {
      const { signal, ...rest } = query
      return list<'listRows', Row>('listRows', { path: { table }, query: rest, signal }, ['limit', 'where'])
    },
    tables: {
      list: (given: CallOptions = {}) => list('listTables', given),
      get: (table: string, given: CallOptions = {}) => ask('getTable', { path: { table }, ...given }),
      snapshots: (table: string, given: CallOptions = {}) => list('listSnapshots', { path: { table }, ...given }),
      /** Windows of a window table, newest first. */
      windows: (table: string, { signal, ...query }: Query<'listWindows'> & CallOptions = {}) =>
        list('listWindows', { path: { table }, query, signal }, ['limit']),
      /** The first page of them, with the watermark and what it waits for. */
      watermark: (table: string, given: CallOptions = {}) =>
        ask('listWindows', { path: { table }, query: { limit: 1 }, ...given }),
      /** Rows that differ between two versions. */
      diff: (table: string, { signal, ...query }: Query<'diffTable'> & CallOptions) =>
        list('diffTable', { path: { table }, query, signal }, ['limit']),
      compact: (table: string, given: JobOptions = {}) => ask('compactTable', { path: { table }, ...jobParts(given) }),
      expire: (table: string, given: JobOptions = {}) => ask('expireTable', { path: { table }, ...jobParts(given) }),
    },
    pipelines: {
      list: (given: CallOptions = {}) => list('listPipelines', given),
      get: (pipeline: string, given: CallOptions = {}) => ask('getPipeline', { path: { pipeline }, ...given }),
      /** Newest first. */
      versions: (pipeline: string, given: CallOptions = {}) => list('listVersions', { path: { pipeline }, ...given }),
      pause: (pipeline: string, reason?: string, given: CallOptions = {}) =>
        ask('pausePipeline', { path: { pipeline }, body: reason === undefined ? {} : { reason }, ...given }),
      resume: (pipeline: string, given: CallOptions = {}) => ask('resumePipeline', { path: { pipeline }, ...given }),
      restart: (pipeline: string, given: CallOptions = {}) => ask('restartPipeline', { path: { pipeline }, ...given }),
      flush: (pipeline: string, given: CallOptions = {}) => ask('flushPipeline', { path: { pipeline }, ...given }),
      rollback: (pipeline: string, to: string | bigint, given: JobOptions = {}) =>
        ask('rollbackPipeline', { path: { pipeline }, body: { to: String(to) }, ...jobParts(given) }),
      acceptCode: (pipeline: string, given: CallOptions = {}) => ask('acceptCode', { path: { pipeline }, ...given }),
    },
    replays: {
      list: ({ signal, ...query }: Query<'listReplays'> & CallOptions = {}) =>
        list('listReplays', { query, signal }, ['limit', 'pipeline']),
      get: (replay: string, given: CallOptions = {}) => ask('getReplay', { path: { replay }, ...given }),
      start: (body: Body<'startReplay'>, given: ReplayCallOptions = {}) =>
        ask('startReplay', { body, ...jobParts(given) }),
      diff: (replay: string, given: CallOptions = {}) => ask('diffReplay', { path: { replay }, ...given }),
      cutover: (replay: string, body: Body<'cutoverReplay'> = {}, given: ReplayCallOptions = {}) =>
        ask('cutoverReplay', { path: { replay }, body, ...jobParts(given) }),
      rollback: (replay: string, given: ReplayCallOptions = {}) =>
        ask('rollbackReplay', { path: { replay }, ...jobParts(given) }),
      pause: (replay: string, given: ReplayCallOptions = {}) =>
        ask('pauseReplay', { path: { replay }, ...jobParts(given) }),
      resume: (replay: string, given: ReplayCallOptions = {}) =>
        ask('resumeReplay', { path: { replay }, ...jobParts(given) }),
      cancel: (replay: string, given: ReplayCallOptions = {}) =>
        ask('cancelReplay', { path: { replay }, ...jobParts(given) }),
      /** The replay now and whenever it changes, until it is over. */
      async *watch(replay: string, { signal }: CallOptions = {}): AsyncGenerator<ReplayJson, void, undefined> {
        let lastEventId: string | undefined
        for (let isNews = true; isNews;) {
          isNews = false
          const headers = lastEventId === undefined ? {} : { 'last-event-id': lastEventId }
          const response = await caller.send('watchReplay', { path: { replay }, headers, signal })
          for await (const { event, id, data } of eventsOf(response, signal)) {
            const said = JSON.parse(data) as ReplayJson
            if (event === 'problem') throw errorOf({ ...said }) ?? new LakeError('internal', data)
            if (event !== 'replay') continue
            ;[isNews, lastEventId] = [true, id]
            yield said
            if (said.state !== 'queued' && said.state !== 'running') return
          }
        }
      },
    },
    deadLetters: {
      list: (pipeline: string, { signal, ...query }: Query<'listDeadLetters'> & CallOptions = {}) =>
        list('listDeadLetters', { path: { pipeline }, query, signal }, [
          'limit',
          'table',
          'code',
          'stage',
          'from',
          'until',
          'partition',
          'status',
          'bytes',
        ]),
      /** Reads their records again. */
      retry: (pipeline: string, body: Body<'retryDeadLetters'> = {}, given: JobOptions = {}) =>
        ask('retryDeadLetters', { path: { pipeline }, body, ...jobParts(given) }),
      discard: (pipeline: string, body: Body<'discardDeadLetters'> = {}, given: JobOptions = {}) =>
        ask('discardDeadLetters', { path: { pipeline }, body, ...jobParts(given) }),
    },
    jobs: {
      list: (given: CallOptions = {}) => list('listJobs', given),
      get: (job: string, given: CallOptions = {}) => ask('getJob', { path: { job }, ...given }),
    },
    queries: {
      list: (given: CallOptions = {}) => list('listQueries', given),
      get: (id: string, given: CallOptions = {}) => ask('getQuery', { path: { id }, ...given }),
      cancel: (id: string, given: CallOptions = {}) => ask('cancelQuery', { path: { id }, ...given }),
    },
    health: (given: CallOptions = {}) => ask('health', given),
    /** Throws `not_ready` with the checks in its context. */
    ready: (given: CallOptions = {}) => ask('ready', given),
    version: (given: CallOptions = {}) => ask('version', given),
    /** For Prometheus. */
    metrics: (given: CallOptions = {}) => ask('metrics', given),
    config: (given: CallOptions = {}) => ask('getConfig', given),
    openapi: (given: CallOptions = {}) => ask('openapi', given),
  }
}

async function answerOf(response: Promise<Response>): Promise<ResultJson> {
  return (await (await response).json()) as ResultJson
}

async function collected<I>(pages: AsyncIterable<readonly I[]>): Promise<readonly I[]> {
  const all: I[] = []
  for await (const page of pages) for (const item of page) all.push(item)
  return all
}

function jobParts({ idempotencyKey, waitSeconds, signal }: ReplayCallOptions): RequestParts {
  return {
    signal,
    headers: {
      ...(idempotencyKey === undefined ? {} : { 'idempotency-key': idempotencyKey }),
      ...(waitSeconds === undefined ? {} : { prefer: `wait=${Math.ceil(waitSeconds)}` }),
    },
  }
}

/** Parameters as JSON can carry them: a bigint that a number cannot be, and an instant, are texts. */
function jsonParams(params: readonly unknown[] | JsonObject): unknown {
  return Array.isArray(params)
    ? params.map(jsonParam)
    : Object.fromEntries(Object.entries(params).map(([name, value]) => [name, jsonParam(value)]))
}

function jsonParam(value: unknown): unknown {
  if (typeof value === 'bigint') return Number.isSafeInteger(Number(value)) ? Number(value) : String(value)
  if (Array.isArray(value)) return value.map(jsonParam)
  if (!(value instanceof Uint8Array)) return value
  throw new LakeError('request.invalid', 'a parameter is bytes, which JSON does not know', {
    fix: 'Send base64 text, and write from_base64($1) in the statement.',
  })
}
