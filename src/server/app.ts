import { Hono, type Context } from 'hono'
import * as z from 'zod'
import { LakeError } from '../error.ts'
import { openAccess, type Access } from './access.ts'
import { configOperations } from './config.ts'
import type { ServerDoor } from './door.ts'
import { diffOperations } from './diff.ts'
import { guardOf, headers } from './guard.ts'
import { deadLetterOperations } from './dlq.ts'
import { healthOperations } from './health.ts'
import { jobOperations } from './jobs.ts'
import { openapi } from './openapi.ts'
import { operation, type Operation } from './operation.ts'
import { pipelineOperations } from './pipelines.ts'
import { problemOf, problemResponse } from './problem.ts'
import { queryOperations } from './query.ts'
import { parse, readJson } from './request.ts'
import { replayOperations } from './replays.ts'
import { restCatalog } from './rest-catalog.ts'
import { rowOperations } from './rows.ts'
import { tableOperations } from './tables.ts'
import { windowOperations } from './windows.ts'

export type { ServerDoor } from './door.ts'

/** The HTTP API of a lake. Every route is an operation of one of the resources, and nothing else is served. */
export function createApp(door: ServerDoor): Hono {
  const { http } = door.settings
  const access = openAccess(http, door.clock)
  const app = new Hono()
  app.use(async (context, next) => {
    await next()
    const { status } = context.res
    if (REFUSED.includes(status)) door.metrics.observe({ kind: 'refused', status })
  })
  app.use(headers)
  app.use(guardOf(http))
  for (const each of operationsOf(door))
    app.on(each.method, each.path.replaceAll(/\{(\w+)\}/g, ':$1'), (context) => answer(each, context, access))
  app.route('/iceberg', restCatalog(door, access))
  app.all('*', (context) => {
    // Who has no key is not told what there is.
    access.admit(context, 'key')
    const problem = problemOf(new LakeError('request.invalid', `nothing is served at ${context.req.path}`, NOT_FOUND))
    return problemResponse({ ...problem, status: 404 })
  })
  app.onError((error, context) => problemResponse(problemOf(error, context.req.path)))
  return app
}

/** All that is served beside the catalog, the description of it included. */
export function operationsOf(door: ServerDoor): readonly Operation[] {
  const operations = [
    ...healthOperations(door),
    ...pipelineOperations(door),
    ...tableOperations(door),
    ...deadLetterOperations(door),
    ...jobOperations(door),
    ...replayOperations(door),
    ...rowOperations(door),
    ...diffOperations(door),
    ...windowOperations(door),
    ...queryOperations(door),
    ...configOperations(door),
  ]
  return [...operations, documentation(operations)]
}

const REFUSED = [401, 403, 429]

const NOT_FOUND = { fix: 'The routes are listed in /openapi.json.' }

async function answer(operation: Operation, context: Context, access: Access): Promise<Response> {
  const { req } = context
  // First of all: who may not ask is not told what is wrong with the question.
  const caller = access.admit(context, operation.access, req.param('table'))
  const result = await operation.handle({
    params: operation.params === undefined ? undefined : parse(operation.params, req.param(), 'the path'),
    query: operation.query === undefined ? noQuery(req.query()) : parse(operation.query, req.query(), 'the query'),
    body:
      operation.body === undefined || operation.ownBody
        ? undefined
        : parse(operation.body, await readJson(req.raw), 'the body'),
    context,
    caller,
  })
  return result instanceof Response ? result : context.json(result as object, operation.status)
}

function noQuery(query: Record<string, string>): undefined {
  parse(z.strictObject({}), query, 'the query')
}

function documentation(operations: readonly Operation[]): Operation {
  const own: Operation = operation({
    method: 'get',
    path: '/openapi.json',
    id: 'openapi',
    summary: 'This description of the API',
    access: 'key',
    answer: z.object({}).loose(),
    handle: () => openapi([...operations, own]),
  })
  return own
}
