import type { ServerResponse } from 'node:http'
import type { Context } from 'hono'
import * as z from 'zod'
import type { Clock } from '../clock.ts'
import { asLakeError, LakeError, type LakeErrorCode } from '../error.ts'
import type { QueryFormat, QueryResult, RunningQuery } from '../query/engine.ts'
import type { Caller } from './access.ts'
import type { ServerDoor } from './door.ts'
import { operation, type Operation } from './operation.ts'
import { pageOf } from './page.ts'
import { problemOf, problemResponse } from './problem.ts'
import { mediaType, parse, readJson, readText } from './request.ts'
import { runQuery } from './run-query.ts'
import { suggestion } from './suggest.ts'

const MEDIA: Readonly<Record<QueryFormat, string>> = {
  json: 'application/json',
  ndjson: 'application/x-ndjson',
  csv: 'text/csv',
  arrow: 'application/vnd.apache.arrow.stream',
  parquet: 'application/vnd.apache.parquet',
}
/** Media types under which a body is SQL. The second is what curl sends with `-d` when nothing else is said. */
const TEXT_MEDIA = ['text/plain', 'application/x-www-form-urlencoded', 'application/sql', '']

const options = {
  asOf: z
    .union([z.string().max(500), z.int().nonnegative().transform(String)])
    .optional()
    .describe('version (12 or shop@12), snapshot id, RFC 3339 time, or topic/partition@offset'),
  format: z.string().optional().describe('json, ndjson, csv, arrow or parquet; wins over the Accept header'),
}
const sql = z.string().min(1, 'there is no SQL')
const id = z.string().regex(/^[A-Za-z0-9._-]{1,64}$/, 'an id has 1 to 64 letters, digits, dots, dashes or underscores')

const bodySchema = z.strictObject({
  sql,
  params: z.union([z.array(z.unknown()), z.record(z.string(), z.unknown())]).optional(),
  ...options,
  maxRows: z.int().positive().optional(),
  timeoutMs: z.int().positive().optional(),
})
const textQuery = z.strictObject({
  ...options,
  maxRows: z.coerce.number().int().positive().optional(),
  timeoutMs: z.coerce.number().int().positive().optional(),
})
const querySchema = z.strictObject({ q: sql.describe('one SELECT'), ...textQuery.shape })
type Asked = z.output<typeof bodySchema>

const resultSchema = z.object({
  columns: z.array(z.object({ name: z.string(), type: z.string() })),
  rows: z.array(z.record(z.string(), z.unknown())).describe('64-bit integers and decimals are strings'),
  stats: z.object({ rows: z.int(), elapsedMs: z.number() }),
  versions: z.record(z.string(), z.string()).describe('version of each pipeline that was read'),
})
const runningSchema = z.object({
  id: z.string(),
  state: z.enum(['queued', 'running']),
  sql: z.string(),
  format: z.string(),
  elapsedMs: z.number(),
  key: z.string().nullable().describe('id of the key that asked; null where the API asks for none'),
})

const problems: readonly LakeErrorCode[] = [
  'request.too_large',
  'format.unsupported',
  'sql.syntax',
  'sql.denied',
  'sql.multiple_statements',
  'sql.failed',
  'sql.timeout',
  'sql.cancelled',
  'sql.crashed',
  'result.too_large',
  'limit.queries',
  'limit.rate',
  'table.unknown',
  'version.unknown',
  'snapshot.expired',
]

export function queryOperations(door: ServerDoor): readonly Operation[] {
  const shared = { access: ['query'], answer: resultSchema, media: Object.values(MEDIA), problems } as const
  /** Queries of others are for those who may see and end them. */
  const seen = (caller: Caller): readonly RunningQuery[] =>
    door.engine.running().filter(({ owner }) => caller.may('queries') || owner === caller.id)
  return [
    operation({
      method: 'post',
      path: '/v1/query',
      id: 'query',
      summary: 'Run one SELECT. The body is JSON, or the SQL itself as text/plain',
      query: textQuery,
      body: bodySchema,
      ownBody: true,
      ...shared,
      handle: ({ context, caller, query }) => run(door, context, caller, () => askedByPost(context, query)),
    }),
    operation({
      method: 'get',
      path: '/v1/query',
      id: 'queryByGet',
      summary: 'Run one SELECT',
      query: querySchema,
      ...shared,
      handle: ({ context, caller, query: { q, ...rest } }) =>
        run(door, context, caller, () => Promise.resolve({ sql: q, ...rest })),
    }),
    operation({
      method: 'get',
      path: '/v1/queries',
      id: 'listQueries',
      summary: 'Queries that run or wait: those of the caller, or with the scope `queries` all',
      access: ['query'],
      answer: pageOf(runningSchema),
      handle: ({ caller }) => ({ items: seen(caller).map(runningJson), nextCursor: null }),
    }),
    operation({
      method: 'get',
      path: '/v1/queries/{id}',
      id: 'getQuery',
      summary: 'One query that runs or waits',
      access: ['query'],
      params: z.strictObject({ id }),
      answer: runningSchema,
      problems: ['query.unknown'],
      handle: ({ params, caller }) => {
        const found = seen(caller).find((each) => each.id === params.id)
        return found === undefined ? fail(unknown(params.id)) : runningJson(found)
      },
    }),
    operation({
      method: 'delete',
      path: '/v1/queries/{id}',
      id: 'cancelQuery',
      summary: 'End a query now',
      access: ['query'],
      params: z.strictObject({ id }),
      answer: z.object({ id: z.string(), cancelled: z.literal(true) }),
      problems: ['query.unknown'],
      handle: ({ params, caller }) => {
        const isSeen = seen(caller).some((each) => each.id === params.id)
        return isSeen && door.engine.cancel(params.id) ? { id: params.id, cancelled: true } : fail(unknown(params.id))
      },
    }),
  ]
}

/** What the address says wins over what the body says. */
async function askedByPost({ req }: Context, inAddress: z.output<typeof textQuery>): Promise<Asked> {
  if (mediaType(req.raw) === 'application/json')
    return { ...parse(bodySchema, await readJson(req.raw), 'the body'), ...inAddress }
  if (!TEXT_MEDIA.includes(mediaType(req.raw)))
    throw new LakeError('request.invalid', `a body of ${mediaType(req.raw)} is not read`, {
      fix: 'Send JSON as application/json, or SQL as text/plain.',
    })
  return { ...inAddress, sql: parse(sql, (await readText(req.raw)).trim(), 'the body') }
}

/** Answers the result, or the problem with the id of the query, which may be the client's. */
async function run(door: ServerDoor, context: Context, caller: Caller, ask: () => Promise<Asked>): Promise<Response> {
  const queryId = parse(id, context.req.header('x-query-id') ?? door.clock.uuid(), 'the header x-query-id')
  const startMs = door.clock.monotonicMs()
  const timed = () => ({
    'x-query-id': queryId,
    'server-timing': `query;dur=${(door.clock.monotonicMs() - startMs).toFixed(1)}`,
  })
  try {
    if (context.req.raw.method === 'HEAD')
      throw new LakeError('request.invalid', 'a query has a body', { fix: 'Use GET or POST.' })
    const { format, ...asked } = await ask()
    const chosen = formatOf(format, context.req.header('accept'))
    const result = await runQuery(door, caller, { ...asked, format: chosen, id: queryId }, context.req.raw.signal)
    const versions = [...result.versions].map(([pipeline, version]) => `${pipeline}=${version}`).join(', ')
    return new Response(bodyOf(result, context, door.clock), {
      headers: {
        ...timed(),
        'content-type': isText(chosen) ? `${MEDIA[chosen]}; charset=utf-8` : MEDIA[chosen],
        // Said aloud, so that no server reads ahead to find a length, and takes a failure there for the end.
        ...(chosen === 'json' ? {} : { 'transfer-encoding': 'chunked' }),
        ...(versions === '' ? {} : { 'x-kappalake-version': versions }),
      },
    })
  } catch (error) {
    const response = problemResponse(problemOf(error, context.req.path, queryId))
    for (const [name, value] of Object.entries(timed())) response.headers.set(name, value)
    return response
  }
}

function isText(format: QueryFormat): boolean {
  return format !== 'arrow' && format !== 'parquet'
}

function formatOf(named: string | undefined, accept: string | undefined): QueryFormat {
  const formats = Object.keys(MEDIA) as QueryFormat[]
  if (named !== undefined) {
    if ((formats as string[]).includes(named)) return named as QueryFormat
    throw new LakeError(
      'format.unsupported',
      `there is no format ${JSON.stringify(named)}${suggestion(named, formats)}`,
    )
  }
  const wanted = (accept ?? '*/*')
    .split(',')
    .map((each) => each.split(';').map((text) => text.trim().toLowerCase()))
    .map(([type, ...rest]) => ({ type, weight: Number(rest.find((text) => text.startsWith('q='))?.slice(2) ?? 1) }))
    .filter(({ weight }) => weight > 0)
    .toSorted((a, b) => b.weight - a.weight)
  for (const { type } of wanted) {
    if (type === '*/*' || type === 'application/*') return 'json'
    const found = formats.find((format) => MEDIA[format] === type || (type === 'text/*' && format === 'csv'))
    if (found !== undefined) return found
  }
  throw new LakeError('format.unsupported', `none of ${accept} is a format of results`, {
    fix: `Accept ${Object.values(MEDIA).join(', ')}.`,
  })
}

/**
 * A result that fails on its way must not look complete: ndjson ends with a line that says why, then, as in the others,
 * the connection is broken off.
 */
function bodyOf(result: QueryResult, context: Context, clock: Clock): ReadableStream<Uint8Array> {
  const pieces = result.body[Symbol.asyncIterator]()
  let failure: unknown
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        if (failure !== undefined) return breakOff(controller, failure, context, clock)
        try {
          const { done, value } = await pieces.next()
          if (done === true) controller.close()
          else controller.enqueue(value)
        } catch (error) {
          failure = asLakeError(error)
          if (result.format !== 'ndjson') return breakOff(controller, failure, context, clock)
          controller.enqueue(Buffer.from(`${JSON.stringify({ error: problemOf(error, undefined, result.id) })}\n`))
        }
      },
      async cancel() {
        await pieces.return?.()
      },
    },
    { highWaterMark: 0 },
  )
}

const LAST_WORDS_MS_MAX = 10_000

/** Ends the connection, not the response, once what was said has left this process. */
async function breakOff(
  controller: ReadableStreamDefaultController<Uint8Array>,
  failure: unknown,
  context: Context,
  clock: Clock,
): Promise<void> {
  const { outgoing } = (context.env ?? {}) as { readonly outgoing?: ServerResponse }
  if (outgoing === undefined) return controller.error(failure) // whoever runs the app decides how a stream fails
  const startMs = clock.monotonicMs()
  while (!outgoing.destroyed && outgoing.writableLength > 0 && clock.monotonicMs() - startMs < LAST_WORDS_MS_MAX)
    await clock.sleep(5)
  outgoing.destroy()
}

function runningJson({ owner, ...query }: RunningQuery): object {
  return { ...query, key: owner ?? null }
}

function unknown(queryId: string): LakeError {
  return new LakeError('query.unknown', `no query ${queryId} runs`, { fix: 'List /v1/queries.' })
}

function fail(error: LakeError): never {
  throw error
}
