import path from 'node:path'
import { build } from 'esbuild'
import { beforeAll, describe, expect, test } from 'vitest'
import { connect, LakeError, type LakeClient } from '../../src/client/client.ts'
import { ROUTES, type Operations } from '../../src/client/operations.ts'
import { createApp, operationsOf } from '../../src/server/app.ts'
import { makeDoor, makeKey, REPLAY_ID, type FakeDoor } from '../server/fake-door.ts'

const admin = makeKey('admin', 'admin')
const reader = makeKey('reader', 'reader')
let door: FakeDoor
let app: ReturnType<typeof createApp>
/** What was asked for, in order. */
let asked: Request[] = []

beforeAll(async () => {
  door = await makeDoor({ keys: [admin.entry, reader.entry], queriesPerSecond: 10_000 })
  app = createApp(door)
})

const clientOf = (key: string | undefined = admin.text): LakeClient => {
  asked = []
  return connect({
    url: 'http://lake.example/',
    ...(key === undefined ? {} : { key }),
    fetch: async (request) => {
      asked.push(request.clone())
      return app.fetch(request)
    },
  })
}

/** Answers by hand. */
const answering = (...answers: readonly (Response | Error)[]) => {
  const left = [...answers]
  const requests: Request[] = []
  const lake = connect({
    url: 'http://lake.example/below',
    fetch: async (request) => {
      requests.push(request)
      const answer = left.shift()!
      if (answer instanceof Error) throw answer
      return answer
    },
  })
  return { lake, requests }
}

/** The call of each operation. One whose route is asked for in another way is listed with the reason. */
const CALLS: Record<Exclude<keyof Operations, keyof typeof LEFT_OUT>, (lake: LakeClient) => unknown> = {
  acceptCode: (lake) => lake.pipelines.acceptCode('shop'),
  cancelQuery: (lake) => lake.queries.cancel('q'),
  cancelReplay: (lake) => lake.replays.cancel(REPLAY_ID),
  compactTable: (lake) => lake.tables.compact('orders', { idempotencyKey: 'key-key-1' }),
  cutoverReplay: (lake) => lake.replays.cutover(REPLAY_ID, { approve: 'x' }),
  diffReplay: (lake) => lake.replays.diff(REPLAY_ID),
  diffTable: (lake) => lake.tables.diff('orders', { from: '1' }),
  discardDeadLetters: (lake) => lake.deadLetters.discard('shop', { where: { table: 'orders' } }),
  expireTable: (lake) => lake.tables.expire('orders'),
  flushPipeline: (lake) => lake.pipelines.flush('shop'),
  getConfig: (lake) => lake.config(),
  getJob: (lake) => lake.jobs.get('j'),
  getPipeline: (lake) => lake.pipelines.get('shop'),
  getQuery: (lake) => lake.queries.get('q'),
  getReplay: (lake) => lake.replays.get(REPLAY_ID),
  getTable: (lake) => lake.tables.get('orders'),
  health: (lake) => lake.health(),
  listDeadLetters: (lake) => lake.deadLetters.list('shop', { table: 'orders' }),
  listJobs: (lake) => lake.jobs.list(),
  listPipelines: (lake) => lake.pipelines.list(),
  listQueries: (lake) => lake.queries.list(),
  listReplays: (lake) => lake.replays.list({ pipeline: 'shop' }),
  listRows: (lake) => lake.rows('orders', { where: 'id > 1' }),
  listSnapshots: (lake) => lake.tables.snapshots('orders'),
  listTables: (lake) => lake.tables.list(),
  listVersions: (lake) => lake.pipelines.versions('shop'),
  listWindows: (lake) => lake.tables.windows('orders', { state: 'open' }),
  metrics: (lake) => lake.metrics(),
  openapi: (lake) => lake.openapi(),
  pausePipeline: (lake) => lake.pipelines.pause('shop', 'a reason'),
  pauseReplay: (lake) => lake.replays.pause(REPLAY_ID),
  query: (lake) => lake.sql`select ${1}`,
  ready: (lake) => lake.ready(),
  restartPipeline: (lake) => lake.pipelines.restart('shop'),
  resumePipeline: (lake) => lake.pipelines.resume('shop'),
  resumeReplay: (lake) => lake.replays.resume(REPLAY_ID),
  retryDeadLetters: (lake) => lake.deadLetters.retry('shop'),
  rollbackPipeline: (lake) => lake.pipelines.rollback('shop', 1n),
  rollbackReplay: (lake) => lake.replays.rollback(REPLAY_ID),
  startReplay: (lake) => lake.replays.start({ pipeline: 'web' }, { idempotencyKey: 'key-key-2' }),
  version: (lake) => lake.version(),
  watchReplay: (lake) => lake.replays.watch(REPLAY_ID).next(),
}
const LEFT_OUT = { queryByGet: 'the same query, with the statement in the address' } as const

describe('every operation of the server', () => {
  test('has a call', () => {
    const ids = operationsOf(door).map(({ id }) => id)
    expect([...Object.keys(CALLS), ...Object.keys(LEFT_OUT)].toSorted()).toEqual(ids.toSorted())
    expect(Object.keys(ROUTES).toSorted()).toEqual(ids.toSorted())
  })

  test.each(Object.entries(CALLS))('%s is asked for as it is declared', async (id, call) => {
    const operation = operationsOf(door).find((each) => each.id === id)!
    const problem = await Promise.resolve(call(clientOf())).then(
      () => undefined,
      (error: unknown) => error as LakeError,
    )
    const [request] = asked
    const path = operation.path.replaceAll(/\{\w+\}/g, '[^/]+')
    expect(request!.method).toBe(operation.method.toUpperCase())
    expect(new URL(request!.url).pathname).toMatch(new RegExp(`^${path}$`))
    if (problem === undefined) return
    // What the server of this test cannot do is told by a code of the operation, and never by one of a wrong request.
    expect(problem).toBeInstanceOf(LakeError)
    expect([...operation.problems, 'request.invalid']).toContain(problem.code)
    expect(problem.message, id).not.toMatch(/knows no|must be|is not JSON/)
  })
})

describe('lists', () => {
  test('go on over pages, and say again what belongs to each', async () => {
    const { lake, requests } = answering(
      Response.json({ items: [{ id: '1' }], nextCursor: 'c1' }),
      Response.json({ items: [], nextCursor: 'c2' }),
      Response.json({ items: [{ id: '2' }], nextCursor: null }),
    )
    expect(await lake.rows('or/ders', { where: 'a > 1', asOf: '7', limit: 1 })).toEqual([{ id: '1' }, { id: '2' }])
    expect(requests.map(({ url }) => url.slice('http://lake.example/below'.length))).toEqual([
      '/v1/tables/or%2Fders/rows?where=a+%3E+1&asOf=7&limit=1',
      '/v1/tables/or%2Fders/rows?where=a+%3E+1&limit=1&cursor=c1',
      '/v1/tables/or%2Fders/rows?where=a+%3E+1&limit=1&cursor=c2',
    ])
  })

  test('ask for no page that is not read', async () => {
    const { lake, requests } = answering(Response.json({ items: [{ name: 'a' }, { name: 'b' }], nextCursor: 'c' }))
    for await (const { name } of lake.tables.list()) if (name === 'b') break
    expect(requests).toHaveLength(1)
  })
})

const problem = { code: 'sql.failed', title: 'sql failed', detail: 'why', retryable: false, fix: 'do', queryId: 'q' }
const streamOf = (parts: readonly (string | Error)[]): Response => {
  const left = [...parts]
  return new Response(
    new ReadableStream({
      pull(controller) {
        const part = left.shift()
        if (part === undefined) controller.close()
        else if (part instanceof Error) controller.error(part)
        else controller.enqueue(new TextEncoder().encode(part))
      },
    }),
  )
}
const streamed = async (response: Response): Promise<unknown[]> => {
  const rows: unknown[] = []
  try {
    for await (const row of answering(response).lake.sql('select 1')) rows.push(row)
  } catch (error) {
    const { code, message } = error as LakeError
    return [...rows, { code, message }]
  }
  return rows
}

describe('results', () => {
  test('come line by line, wherever their bytes were cut', async () => {
    const text = '{"a":"ä"}\n{"a":"ö"}\n{"a":"€"}\n'
    const bytes = Buffer.from(text)
    for (let at = 0; at <= bytes.length; at++) {
      const parts = [bytes.subarray(0, at), bytes.subarray(at)].filter((part) => part.length > 0)
      const body = new ReadableStream({
        start(controller) {
          for (const part of parts) controller.enqueue(new Uint8Array(part))
          controller.close()
        },
      })
      expect(await streamed(new Response(body))).toEqual([{ a: 'ä' }, { a: 'ö' }, { a: '€' }])
    }
  })

  test('one that fails on its way says why, and a row that looks like it is a row', async () => {
    const line = `${JSON.stringify({ error: problem })}\n`
    expect(await streamed(streamOf(['{"a":1}\n', line, new Error('reset')]))).toEqual([
      { a: 1 },
      { code: 'sql.failed', message: 'why' },
    ])
    expect(await streamed(streamOf(['{"a":1}\n', line]))).toEqual([{ a: 1 }, { error: problem }])
    expect(await streamed(streamOf(['{"a":1}\n{"a":2}\n', new Error('reset')]))).toMatchObject([
      { a: 1 },
      { code: 'not_ready' },
    ])
  })

  test('parameters go as JSON can carry them', async () => {
    const { lake, requests } = answering(Response.json({ rows: [] }))
    await lake.sql`select ${1n} + ${2n ** 60n}, ${new Date(0)}, ${[5n]}, ${null} from ${{ kind: 'table', name: 'orders' }}`
    expect(await requests[0]!.json()).toEqual({
      sql: 'select $1 + $2, $3, $4, $5 from "orders"',
      format: 'json',
      params: [1, String(2n ** 60n), '1970-01-01T00:00:00.000Z', [5], null],
    })
    await expect(lake.sql`select ${new Uint8Array(1)}`).rejects.toMatchObject({ code: 'request.invalid' })
  })
})

describe('events of a replay', () => {
  const event = (id: string, state: string) =>
    `event: replay\nid: ${id}\ndata: ${JSON.stringify({ id: 'r', state })}\n\n`

  test('are asked for again behind the last one, until it is over', async () => {
    const { lake, requests } = answering(
      streamOf(['retry: 2000\n\n', ': still here\n\n', event('1', 'queued'), event('2', 'running')]),
      streamOf([event('3', 'done'), event('4', 'done')]),
    )
    const states: string[] = []
    for await (const { state } of lake.replays.watch('r')) states.push(state)
    expect(states).toEqual(['queued', 'running', 'done'])
    expect(requests.map(({ headers }) => headers.get('last-event-id'))).toEqual([null, '2'])
  })

  test('end when there is no news, and say what is wrong', async () => {
    const ended = answering(streamOf([event('1', 'running')]), new Response(null, { status: 204 }))
    const states: string[] = []
    for await (const { state } of ended.lake.replays.watch('r')) states.push(state)
    expect(states).toEqual(['running'])
    const failed = answering(streamOf([`event: problem\ndata: ${JSON.stringify(problem)}\n\n`]))
    await expect(failed.lake.replays.watch('r').next()).rejects.toMatchObject({ code: 'sql.failed', fix: 'do' })
  })
})

describe('what fails is a LakeError', () => {
  test('with the code, the fix and the facts of the server', async () => {
    await expect(clientOf().tables.get('nobody')).rejects.toMatchObject({
      name: 'LakeError',
      code: 'table.unknown',
      retryable: false,
      context: { status: 404, instance: '/v1/tables/nobody' },
    })
    await expect(clientOf('').tables.list()).rejects.toMatchObject({ code: 'auth.invalid' })
    await expect(clientOf(reader.text).config()).rejects.toMatchObject({ code: 'auth.forbidden' })
  })

  test('and whether it may help to ask again', async () => {
    const body = { ...problem, code: 'limit.rate', retryable: true }
    const limited = answering(Response.json(body, { status: 429 }))
    await expect(limited.lake.version()).rejects.toMatchObject({ code: 'limit.rate', retryable: true, message: 'why' })
  })

  test('whoever does not answer, or not as a lake does', async () => {
    const gone = { code: 'not_ready', retryable: true }
    await expect(answering(new TypeError('refused')).lake.version()).rejects.toMatchObject(gone)
    await expect(answering(new Response('<html>', { status: 502 })).lake.version()).rejects.toMatchObject(gone)
    await expect(answering(Response.redirect('http://other.example', 302)).lake.version()).rejects.toMatchObject(gone)
    const checks = [{ name: 'store', ok: false }]
    const unready = answering(Response.json({ ready: false, checks }, { status: 503 }))
    await expect(unready.lake.ready()).rejects.toMatchObject({ ...gone, context: { checks } })
  })

  test('whoever stops waiting', async () => {
    const stop = new AbortController()
    stop.abort()
    const { lake } = answering(new Error('aborted'))
    await expect(lake.version({ signal: stop.signal })).rejects.toMatchObject({ code: 'sql.cancelled' })
  })
})

test('nothing of it needs Node', async () => {
  const { outputFiles, metafile } = await build({
    entryPoints: [path.resolve(import.meta.dirname, '../../src/client/client.ts')],
    bundle: true,
    write: false,
    minify: true,
    metafile: true,
    platform: 'browser',
    format: 'esm',
  })
  expect(Object.keys(metafile.inputs).filter((file) => !/src\/(client|error|row-stream|sql-te\w+)/.test(file))).toEqual(
    [],
  )
  expect(outputFiles[0]!.text).not.toMatch(/\bprocess\b|\bBuffer\b|node:/)
  expect(outputFiles[0]!.contents.length).toBeLessThan(20_000)
})
