import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Hono } from 'hono'
import { systemClock } from '../../src/clock.ts'
import { NOTHING_SETTLED } from '../../src/dead-letters.ts'
import { LakeError } from '../../src/error.ts'
import type { Engine } from '../../src/query/engine.ts'
import { createApp } from '../../src/server/app.ts'
import { createMetrics } from '../../src/server/metrics.ts'
import type { PipelineControl, PipelineStatus } from '../../src/status.ts'
import { definition, makeLake, openLakeEngine, settings, type TestLake } from './support.ts'

let lake: TestLake
let engine: Engine
let app: Hono
const calls: string[] = []
const metrics = createMetrics()

beforeAll(async () => {
  lake = await makeLake({ shop: ['orders', 'orders__dlq'], web: ['views'] })
  await lake.commit('shop', 0)
  await lake.commit('web', 4)
  for (const rows of [3, 2, 5]) await lake.commit('shop', rows)
  engine = await openLakeEngine(lake)
  app = createApp({
    ...lake,
    engine,
    definition,
    settings,
    metrics,
    clock: systemClock,
    pipelines: [await control('shop'), await control('web')],
  })
}, 30_000)

afterAll(async () => {
  await engine.close()
  await lake.close()
})

async function control(name: string): Promise<PipelineControl> {
  const chain = lake.chains.get(name)!
  const head = (await chain.head())!
  const status: PipelineStatus = {
    name,
    state: name === 'shop' ? 'running' : 'waiting',
    reason:
      name === 'shop'
        ? undefined
        : { code: 'kafka.unavailable', message: 'no broker', retryable: true, context: {}, fix: 'start one' },
    head,
    lastCommitMs: Date.UTC(2026, 10, 21, 10),
    partitions: [
      {
        partition: `${name}.topic/0`,
        position: 10n,
        end: 9_007_199_254_740_993n,
        ratePerSecond: 2.5,
        clockMs: undefined,
      },
    ],
    tables: Object.keys(head.tables),
    publishing: [
      {
        table: 'w',
        topic: 'alerts',
        version: 3n,
        lagVersions: 1,
        error: { code: 'kafka.topic_missing', message: 'no topic', retryable: true, context: {}, fix: 'create it' },
      },
    ],
  }
  return {
    name,
    status: () => status,
    pause: async (reason) => void calls.push(`pause ${name} ${reason}`),
    resume: async () => void calls.push(`resume ${name}`),
    restart: async () => {
      throw new LakeError('pipeline.not_owner', 'another process writes it')
    },
    flush: async () => head,
    compact: async () => ({ removedFiles: 0, addedFiles: 0, bytes: 0 }),
    settle: async () => NOTHING_SETTLED,
    expire: async () => ({ versions: 0, files: 0, bytes: 0 }),
    rollback: async () => head,
    acceptCode: async () => {
      calls.push(`accept-code ${name}`)
      return head
    },
  }
}

async function json(path: string, init?: RequestInit): Promise<{ status: number; body: any; headers: Headers }> {
  const response = await app.request(path, init)
  return { status: response.status, body: await response.json(), headers: response.headers }
}

const post = (body: unknown, headers: Record<string, string> = {}): RequestInit => ({
  method: 'POST',
  headers: { 'content-type': 'application/json', ...headers },
  body: typeof body === 'string' ? body : JSON.stringify(body),
})

describe('health', () => {
  test('alive', async () => {
    expect((await json('/healthz')).body).toEqual({ status: 'ok' })
  })

  test('not ready while a pipeline waits for its log, and says why', async () => {
    const { status, body } = await json('/readyz')
    expect(status).toBe(503)
    expect(body).toEqual({
      ready: false,
      checks: [
        { name: 'store', ok: true },
        { name: 'query', ok: true },
        { name: 'pipeline/shop', ok: true },
        { name: 'pipeline/web', ok: false, code: 'kafka.unavailable', detail: 'no broker', fix: 'start one' },
      ],
    })
  })

  test('what runs', async () => {
    expect((await json('/version')).body).toEqual({ name: 'kappalake', version: '0.1.0', node: process.version })
  })
})

describe('pipelines', () => {
  test('64-bit numbers are text', async () => {
    const { body } = await json('/v1/pipelines')
    expect(body.nextCursor).toBeNull()
    expect(body.items[0]).toEqual({
      name: 'shop',
      state: 'running',
      reason: null,
      version: '4',
      writer: 'test',
      lastCommit: '2026-11-21T10:00:00.000Z',
      lag: { records: '9007199254740983' },
      partitions: [
        {
          partition: 'shop.topic/0',
          position: '10',
          end: '9007199254740993',
          lag: '9007199254740983',
          ratePerSecond: 2.5,
          clock: null,
          held: null,
        },
      ],
      tables: ['orders', 'orders__dlq'],
      publishing: [
        {
          table: 'w',
          topic: 'alerts',
          version: '3',
          lagVersions: 1,
          reason: { code: 'kafka.topic_missing', message: 'no topic', retryable: true, fix: 'create it' },
        },
      ],
    })
  })

  test('versions, newest first, page by page', async () => {
    const first = await json('/v1/pipelines/shop/versions?limit=3')
    expect(first.body.items.map((each: any) => each.number)).toEqual(['4', '3', '2'])
    expect(first.body.items[0].positions).toEqual({ 'shop.topic/0': '10' })
    expect(first.body.items[0].tables.orders).toEqual({ snapshot: expect.stringMatching(/^\d{10,19}$/), code: 'c0de' })
    const rest = await json(`/v1/pipelines/shop/versions?limit=3&cursor=${first.body.nextCursor}`)
    expect(rest.body.items.map((each: any) => each.number)).toEqual(['1'])
    expect(rest.body.items[0].tables.orders.snapshot).toBeNull()
    expect(rest.body.nextCursor).toBeNull()
  })

  test('verbs', async () => {
    expect((await json('/v1/pipelines/shop/pause', post({ reason: 'backup' }))).body.name).toBe('shop')
    expect((await json('/v1/pipelines/shop/resume', post({}))).status).toBe(200)
    expect((await json('/v1/pipelines/shop/accept-code', post({}))).body.name).toBe('shop')
    expect(calls).toEqual(['pause shop backup', 'resume shop', 'accept-code shop'])
    expect((await json('/v1/pipelines/shop/flush', post(''))).body.number).toBe('4')
    const refused = await json('/v1/pipelines/shop/restart', post({}))
    expect([refused.status, refused.body.code]).toEqual([409, 'pipeline.not_owner'])
  })
})

describe('tables', () => {
  test('as they stand', async () => {
    const { body } = await json('/v1/tables')
    expect(body.items.map((each: any) => each.name)).toEqual(['orders', 'orders__dlq', 'views'])
    expect(body.items[0]).toEqual({
      name: 'orders',
      pipeline: 'shop',
      columns: [
        { name: 'id', type: 'long', required: true },
        { name: 'amount', type: 'decimal(12, 2)', required: false },
        { name: '_kafka_partition', type: 'int', required: true },
        { name: '_offset', type: 'long', required: true },
      ],
      partitionBy: [],
      rows: '10',
      files: '3',
      bytes: expect.stringMatching(/^\d+$/),
      snapshot: expect.stringMatching(/^\d{10,19}$/),
      version: '4',
      time: expect.stringMatching(/Z$/),
      watermark: null,
      outOfOrdernessMs: null,
      allowedLatenessMs: null,
    })
  })

  test('an unchanged table is not sent again', async () => {
    const { headers } = await json('/v1/tables/orders')
    const etag = headers.get('etag')!
    expect(etag).toMatch(/^"\d{10,19}"$/)
    expect((await app.request('/v1/tables/orders', { headers: { 'if-none-match': etag } })).status).toBe(304)
    expect((await app.request('/v1/tables/orders', { headers: { 'if-none-match': '"1"' } })).status).toBe(200)
  })

  test('snapshots', async () => {
    const { body } = await json('/v1/tables/orders/snapshots?limit=1')
    expect(body.items).toEqual([
      {
        id: expect.stringMatching(/^\d{10,19}$/),
        time: expect.any(String),
        operation: 'append',
        addedRecords: '5',
        totalRecords: '10',
        version: '4',
        ranges: 'shop.topic:0=5-10',
      },
    ])
    const next = await json(`/v1/tables/orders/snapshots?limit=5&cursor=${body.nextCursor}`)
    expect(next.body.items.map((each: any) => each.version)).toEqual(['3', '2'])
  })

  test('rows are paged in the version of the first page, while versions go on', async () => {
    const own = await makeLake({ log: ['lines'] })
    const ownEngine = await openLakeEngine(own, { children: 1 })
    await own.commit('log', 5)
    const door = { ...own, engine: ownEngine, definition, settings, metrics, clock: systemClock, pipelines: [] }
    const served = createApp(door)
    const seen: string[] = []
    let cursor: string | null = ''
    while (cursor !== null) {
      const response: Response = await served.request(`/v1/tables/lines/rows?limit=2${cursor && `&cursor=${cursor}`}`)
      const page: any = await response.json()
      expect(response.headers.get('x-kappalake-version')).toBe('log=1')
      seen.push(...page.items.map((row: any) => row._offset))
      cursor = page.nextCursor
      await own.commit('log', 3)
    }
    expect(seen).toEqual(['0', '1', '2', '3', '4'])
    await ownEngine.close()
    await own.close()
  })
})

describe('query', () => {
  const sql = 'select count(*) n, sum(amount) s from orders'

  test('by JSON, by text and in the address', async () => {
    const rows = [{ n: '10', s: '67.50' }]
    expect((await json('/v1/query', post({ sql }))).body.rows).toEqual(rows)
    expect((await json(`/v1/query?q=${encodeURIComponent(sql)}`)).body.rows).toEqual(rows)
    for (const type of ['text/plain', 'application/x-www-form-urlencoded'])
      expect((await json('/v1/query', post(sql, { 'content-type': type }))).body.rows).toEqual(rows)
  })

  test('parameters', async () => {
    const count = (sql: string, params: unknown) => json('/v1/query', post({ sql, params }))
    expect((await count('select count(*) n from orders where amount > $1', ['9.00'])).body.rows[0].n).toBe('3')
    expect((await count('select count(*) n from orders where id = $id', { id: '7' })).body.rows[0].n).toBe('1')
    expect((await count('select count(*) n from orders where id < ?', [4])).body.rows[0].n).toBe('4')
    expect((await count('select $1::varchar a', ["' or 1=1 --"])).body.rows[0].a).toBe("' or 1=1 --")
    expect((await count('select $1 a', [])).body.code).toBe('request.invalid')
    expect((await count('select 1 a', [1])).body.code).toBe('request.invalid')
  })

  test.each([
    ['3', '5'],
    ['shop@2', '3'],
    ['shop@1', '0'],
    [new Date(systemClock.nowMs() + 60_000).toISOString(), '10'],
    ['shop.topic/0@4', '5'],
    ['shop.topic/0@5', '10'],
  ])('as of %s', async (asOf, n) => {
    expect((await json('/v1/query', post({ sql, asOf }))).body).toMatchObject({ rows: [{ n }] })
  })

  test('as of a snapshot', async () => {
    const { body } = await json('/v1/tables/orders/snapshots')
    const counts = body.items.map(
      async ({ id }: any) => (await json('/v1/query', post({ sql, asOf: id }))).body.rows[0].n,
    )
    expect(await Promise.all(counts)).toEqual(['10', '5', '3'])
  })

  test.each([
    ['4 with two pipelines', 'select 1 from orders, views', '4', 'request.invalid', 400],
    ['a version that is not there', sql, 'shop@99', 'version.unknown', 404],
    ['a snapshot that is not there', sql, '8999999999999999999', 'snapshot.expired', 410],
    ['an offset that is not there yet', sql, 'shop.topic/0@99', 'version.unknown', 404],
    ['a partition of another pipeline', sql, 'web.topic/0@1', 'request.invalid', 400],
    ['a time before the first version', sql, '2020-01-01T00:00:00Z', 'version.unknown', 404],
    ['nonsense', sql, 'yesterday', 'request.invalid', 400],
  ])('as of %s', async (_, text, asOf, code, status) => {
    const answer = await json('/v1/query', post({ sql: text, asOf }))
    expect([answer.body.code, answer.status]).toEqual([code, status])
  })

  test('several pipelines are pinned by name', async () => {
    const text = 'select (select count(*) from orders) o, (select count(*) from views) v'
    const { body, headers } = await json('/v1/query', post({ sql: text, asOf: 'shop@3,web@1' }))
    expect(body.rows).toEqual([{ o: '5', v: '4' }])
    expect(body.versions).toEqual({ shop: '3', web: '1' })
    expect(headers.get('x-kappalake-version')).toBe('shop=3, web=1')
  })

  test('the client may name its query', async () => {
    const { headers } = await json('/v1/query', post({ sql }, { 'x-query-id': 'mine-1' }))
    expect(headers.get('x-query-id')).toBe('mine-1')
    expect(headers.get('server-timing')).toMatch(/^query;dur=\d/)
    expect((await json('/v1/query', post({ sql }, { 'x-query-id': 'a b' }))).status).toBe(400)
  })

  test('formats by name and by Accept', async () => {
    const two = 'select id, amount from orders order by id limit 2'
    const get = (query: string, accept?: string) =>
      app.request(`/v1/query?q=${encodeURIComponent(two)}${query}`, accept ? { headers: { accept } } : {})
    const csv = await get('&format=csv')
    expect(csv.headers.get('content-type')).toBe('text/csv; charset=utf-8')
    expect(await csv.text()).toBe('id,amount\r\n0,0.00\r\n1,1.50\r\n')
    const ndjson = await get('', 'text/html;q=0.5, application/x-ndjson')
    expect(await ndjson.text()).toBe('{"id":"0","amount":"0.00"}\n{"id":"1","amount":"1.50"}\n')
    const arrow = await get('', 'application/vnd.apache.arrow.stream')
    expect(arrow.headers.get('content-type')).toBe('application/vnd.apache.arrow.stream')
    expect([...new Uint8Array(await arrow.arrayBuffer()).subarray(0, 4)]).toEqual([255, 255, 255, 255])
    const parquet = await get('&format=parquet', 'text/csv')
    expect(parquet.headers.get('content-type')).toBe('application/vnd.apache.parquet')
    expect(
      Buffer.from(await parquet.arrayBuffer())
        .subarray(-4)
        .toString(),
    ).toBe('PAR1')
    expect((await get('', 'application/pdf')).status).toBe(406)
    const misspelt = await get('&format=ndjsn')
    expect(await misspelt.json()).toMatchObject({
      code: 'format.unsupported',
      detail: expect.stringContaining('"ndjson"'),
    })
  })

  test('running queries are listed and cancelled', async () => {
    const slow = app.request(
      '/v1/query',
      post({ sql: 'select count(*) from range(10000000000) a, range(100) b' }, { 'x-query-id': 'slow' }),
    )
    for (;;) {
      const { body } = await json('/v1/queries')
      if (body.items[0]?.state === 'running') break
    }
    expect((await json('/v1/queries/slow')).body).toMatchObject({ id: 'slow', state: 'running', format: 'json' })
    expect((await json('/v1/queries/slow', { method: 'DELETE' })).body).toEqual({ id: 'slow', cancelled: true })
    const ended = await (await slow).json()
    expect(ended).toMatchObject({ code: 'sql.cancelled', status: 503, queryId: 'slow' })
    expect((await json('/v1/queries/slow', { method: 'DELETE' })).body.code).toBe('query.unknown')
  })
})

describe('what goes wrong', () => {
  test.each<[string, string, RequestInit | undefined, number, string]>([
    ['no such route', '/v1/nothing', undefined, 404, 'request.invalid'],
    ['no such pipeline', '/v1/pipelines/shpo', undefined, 404, 'pipeline.unknown'],
    ['no versions of it', '/v1/pipelines/nope/versions', undefined, 404, 'pipeline.unknown'],
    ['no verb on it', '/v1/pipelines/nope/pause', post({}), 404, 'pipeline.unknown'],
    ['no such table', '/v1/tables/order', undefined, 404, 'table.unknown'],
    ['no rows of it', '/v1/tables/nope/rows', undefined, 404, 'table.unknown'],
    ['no snapshots of it', '/v1/tables/nope/snapshots', undefined, 404, 'table.unknown'],
    ['no such query', '/v1/queries/nope', undefined, 404, 'query.unknown'],
    ['limit too large', '/v1/tables?limit=1001', undefined, 400, 'request.invalid'],
    ['limit not a number', '/v1/tables?limit=many', undefined, 400, 'request.invalid'],
    ['unknown parameter', '/v1/tables?limt=3', undefined, 400, 'request.invalid'],
    ['parameter where none is', '/v1/pipelines/shop?x=1', undefined, 400, 'request.invalid'],
    ['foreign cursor', '/v1/tables/orders/rows?cursor=AAAA', undefined, 400, 'request.invalid'],
    ['unknown field', '/v1/query', post({ sql: 'select 1', maxrows: 3 }), 400, 'request.invalid'],
    ['no SQL', '/v1/query', post({}), 400, 'request.invalid'],
    ['not JSON', '/v1/query', post('{'), 400, 'request.invalid'],
    ['JSON that is no object', '/v1/query', post('[]'), 400, 'request.invalid'],
    ['prototype', '/v1/query', post('{"sql":"select 1","__proto__":{"a":1}}'), 400, 'request.invalid'],
    ['another content type', '/v1/query', post('<q/>', { 'content-type': 'text/xml' }), 400, 'request.invalid'],
    [
      'a text where JSON must be',
      '/v1/pipelines/shop/pause',
      post('{}', { 'content-type': 'text/plain' }),
      400,
      'request.invalid',
    ],
    ['no content type', '/v1/pipelines/shop/pause', { method: 'POST' }, 400, 'request.invalid'],
    ['compressed', '/v1/query', post('x', { 'content-encoding': 'gzip' }), 400, 'request.invalid'],
    ['too much', '/v1/query', post(`"${'x'.repeat(1024 * 1024)}"`), 413, 'request.too_large'],
    ['SQL too long', '/v1/query', post({ sql: `select '${'x'.repeat(70_000)}'` }), 413, 'request.too_large'],
    ['syntax', '/v1/query', post({ sql: 'selec 1' }), 400, 'sql.syntax'],
    ['two statements', '/v1/query', post({ sql: 'select 1; select 2' }), 400, 'sql.multiple_statements'],
    ['not a SELECT', '/v1/query', post({ sql: 'drop table orders' }), 400, 'sql.denied'],
    ['a file', '/v1/query', post({ sql: `from '/etc/passwd'` }), 400, 'sql.denied'],
    ['unknown table in SQL', '/v1/query', post({ sql: 'from nope' }), 404, 'table.unknown'],
    ['unknown column', '/v1/query', post({ sql: 'select nope from orders' }), 422, 'sql.failed'],
    ['division of text', '/v1/query', post({ sql: `select 'a'::int` }), 422, 'sql.failed'],
    ['too many rows', '/v1/query', post({ sql: 'select * from range(5000)' }), 413, 'result.too_large'],
    [
      'too slow',
      '/v1/query',
      post({ sql: 'select count(*) from range(10000000000) a, range(9) b', timeoutMs: 300 }),
      504,
      'sql.timeout',
    ],
  ])('%s', async (_, path, init, status, code) => {
    const response = await app.request(path, init)
    expect(response.headers.get('content-type')).toBe('application/problem+json')
    const body: any = await response.json()
    expect([response.status, body.status, body.code]).toEqual([status, status, code])
    expect(body).toMatchObject({ type: expect.any(String), title: expect.any(String), detail: expect.any(String) })
    expect(typeof body.retryable).toBe('boolean')
    expect(JSON.stringify(body)).not.toContain(lake.folder)
    expect(response.headers.get('x-content-type-options')).toBe('nosniff')
  })

  test('did you mean', async () => {
    expect((await json('/v1/tables?limt=3')).body.detail).toBe('the query knows no "limt", did you mean "limit"?')
    expect((await json('/v1/query', post({ sql: 'select 1', maxrows: 3 }))).body.detail).toContain('"maxRows"')
    expect((await json('/v1/tables/order')).body.detail).toContain('did you mean "orders"?')
  })

  test('where the syntax breaks', async () => {
    expect((await json('/v1/query', post({ sql: 'select 1 frm x y' }))).body).toMatchObject({ position: 13 })
  })
})

describe('who may ask', () => {
  const ask = async (headers: Record<string, string>, init: RequestInit = {}) =>
    (await app.request('/v1/query?q=select+1', { ...init, headers: { ...headers, ...(init.headers as object) } }))
      .status

  test.each(['localhost', 'localhost:7780', '127.0.0.1:1', '[::1]:7780', 'LOCALHOST'])('host %s', async (host) => {
    expect(await ask({ host })).toBe(200)
  })

  test.each([
    'evil.example',
    'localhost.evil.example',
    'evil.example:7780',
    '127.0.0.1.nip.io',
    '127.0.0.2',
    '0.0.0.0:7780',
    '192.168.1.4',
    'localhost:7780@evil.example',
    '[::ffff:127.0.0.1]',
    'localhost.',
  ])('not host %s', async (host) => {
    expect(await ask({ host })).toBe(403)
  })

  test.each(['http://localhost:3000', 'http://127.0.0.1:7780', 'https://[::1]'])('origin %s', async (origin) => {
    expect(await ask({ origin })).toBe(200)
  })

  test.each(['null', 'https://evil.example', 'http://localhost.evil.example', 'file://', 'http://localhost:1/x', ''])(
    'not origin "%s"',
    async (origin) => {
      expect(await ask({ origin })).toBe(403)
      expect(
        await ask({ origin }, { method: 'POST', body: 'select 1', headers: { 'content-type': 'text/plain' } }),
      ).toBe(403)
    },
  )

  test('no image and no link of another site', async () => {
    expect(await ask({ 'sec-fetch-site': 'cross-site' })).toBe(403)
    expect(await ask({ 'sec-fetch-site': 'same-origin' })).toBe(200)
  })

  test('a preflight is not answered', async () => {
    const response = await app.request('/v1/query', { method: 'OPTIONS', headers: { origin: 'https://evil.example' } })
    expect(response.status).toBe(403)
    expect([...response.headers.keys()].filter((name) => name.startsWith('access-control'))).toEqual([])
  })
})

describe('descriptions', () => {
  test('every route is described, with its problems', async () => {
    const { body } = await json('/openapi.json')
    expect(body.openapi).toBe('3.1.0')
    // The catalog is described by Iceberg's own specification.
    const routes = app.routes.filter(
      ({ method, path }) => method !== 'ALL' && path !== '/*' && !path.startsWith('/iceberg/'),
    )
    expect(routes.length).toBeGreaterThan(20)
    for (const { method, path } of routes) {
      const described = body.paths[path.replaceAll(/:(\w+)/g, '{$1}')]?.[method.toLowerCase()]
      expect(described, `${method} ${path}`).toBeDefined()
      expect(described.responses['400'].content['application/problem+json'].schema.$ref).toBe(
        '#/components/schemas/Problem',
      )
      const named = [...path.matchAll(/:(\w+)/g)].map((match) => match[1])
      expect(described.parameters.filter((each: any) => each.in === 'path').map((each: any) => each.name)).toEqual(
        named,
      )
    }
    const ids = Object.values(body.paths).flatMap((path: any) =>
      Object.values(path).map((each: any) => each.operationId),
    )
    expect(new Set(ids).size).toBe(ids.length)
    expect(body.components.schemas.Problem.required).toContain('code')
    expect(body.paths['/v1/query'].post.requestBody.content['application/json'].schema.additionalProperties).toBe(false)
  })

  test('settings show no secret', async () => {
    const text = await (await app.request('/v1/config')).text()
    expect(text).toContain('localhost:9092')
    expect(text).toContain('"salts":["people"]')
    expect(text).not.toContain('hidden')
  })

  test('metrics', async () => {
    metrics.observe({
      kind: 'commit',
      pipeline: 'shop',
      outcome: 'ok',
      version: 5n,
      durationMs: 30,
      tables: { orders: { rows: 7, deadLetters: 1, tombstones: 2, skipped: 0, files: 1, bytes: 100, futureEvents: 4 } },
    })
    for (const late of [2, 3])
      metrics.observe({
        kind: 'windows',
        pipeline: 'shop',
        table: 'revenue',
        watermarkMs: 1_500,
        openRows: 7,
        stateBytes: 4_096,
        late,
        lateAssignments: 2 * late,
        failed: 1,
        corrected: 1,
        retractOfUnknown: 0,
      })
    metrics.observe({ kind: 'query', id: 'x', outcome: 'ok', durationMs: 12, format: 'json' })
    const sent = { kind: 'published', pipeline: 'shop', table: 'w', topic: 'alerts', isWhole: false } as const
    metrics.observe({ ...sent, version: 5n, records: 3, lagVersions: 1 })
    const error = { code: 'kafka.topic_missing', message: '', retryable: true, context: {}, fix: undefined } as const
    metrics.observe({ ...sent, version: 5n, records: 0, lagVersions: 2, error })
    const replay = { kind: 'replay', pipeline: 'shop', id: 'r1' } as const
    metrics.observe({ ...replay, ratio: 0.25, lag: undefined })
    metrics.observe({ ...replay, ratio: 1, lag: 12n })
    metrics.observe({ ...replay, id: 'r0', ratio: 1, lag: 3n })
    metrics.observe({ ...replay, id: 'r0', ratio: undefined, lag: undefined })
    const response = await app.request('/metrics')
    expect(response.headers.get('content-type')).toContain('text/plain')
    const lines = (await response.text()).split('\n')
    expect(lines).toEqual(
      expect.arrayContaining([
        'kappalake_records_total{pipeline="shop",table="orders",result="ok"} 7',
        'kappalake_records_total{pipeline="shop",table="orders",result="dlq"} 1',
        'kappalake_commits_total{pipeline="shop",outcome="ok"} 1',
        'kappalake_published_total{pipeline="shop",table="w"} 3',
        'kappalake_publish_lag_versions{pipeline="shop",table="w"} 2',
        'kappalake_publish_failures_total{pipeline="shop",table="w",code="kafka.topic_missing"} 1',
        'kafka_consumergroup_lag{consumergroup="kappalake-shop",topic="shop.topic",partition="0"} 9007199254740983',
        'kappalake_build_info{version="0.1.0"} 1',
        'kappalake_replay_progress_ratio{pipeline="shop",replay="r1"} 1',
        'kappalake_replay_lag_records{pipeline="shop",replay="r1"} 12',
        'kappalake_pipeline_state{pipeline="web",state="waiting"} 1',
        'kappalake_future_events_total{pipeline="shop",table="orders"} 4',
        'kappalake_watermark_timestamp_seconds{pipeline="shop",table="revenue"} 1.5',
        'kappalake_open_rows{pipeline="shop",table="revenue"} 7',
        'kappalake_window_state_bytes{pipeline="shop",table="revenue"} 4096',
        'kappalake_late_records_total{pipeline="shop",table="revenue"} 5',
        'kappalake_late_assignments_total{pipeline="shop",table="revenue"} 10',
        'kappalake_corrected_rows_total{pipeline="shop",table="revenue"} 2',
        'kappalake_retract_of_unknown_total{pipeline="shop",table="revenue"} 0',
      ]),
    )
    expect(lines.filter((line) => line.includes('replay="r0"'))).toEqual([])
    for (const line of lines.filter((each) => each !== '' && !each.startsWith('#')))
      expect(line).toMatch(/^[a-z_]+(\{[a-z]+="[^"]*"(,[a-z]+="[^"]*")*\})? -?[\d.e+-]+$/)
  })
})
