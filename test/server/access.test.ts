import fc from 'fast-check'
import type { Hono } from 'hono'
import { beforeAll, describe, expect, test } from 'vitest'
import { findKey, hashOfKey, keyText } from '../../src/api-key.ts'
import { allows, isScope, ROLE_NAMES, ROLES, SCOPE_NAMES, type Role, type Scope } from '../../src/scopes.ts'
import { createApp, operationsOf } from '../../src/server/app.ts'
import type { Operation } from '../../src/server/operation.ts'
import { makeDoor, makeKey, REPLAY_ID, type FakeDoor, type TestKey } from './fake-door.ts'

const keys: Record<Role | 'orders' | 'metrics' | 'expired' | 'old' | 'new', TestKey> = {
  reader: makeKey('reader', 'reader'),
  operator: makeKey('operator', 'operator'),
  admin: makeKey('admin', 'admin'),
  orders: makeKey('orders', ['query:orders']),
  metrics: makeKey('metrics', ['metrics']),
  expired: makeKey('expired', 'admin', Date.UTC(2025, 0, 1)),
  old: makeKey('turning', 'admin'),
  new: makeKey('turning', 'admin'),
}
let door: FakeDoor
let app: Hono
let operations: readonly Operation[]

beforeAll(async () => {
  door = await makeDoor({ keys: Object.values(keys).map(({ entry }) => entry), queriesPerSecond: 100_000 })
  app = createApp(door)
  operations = operationsOf(door)
})

const bearer = (text: string) => ({ authorization: `Bearer ${text}` })
const ask = (path: string, key: TestKey | undefined, init: RequestInit = {}): Promise<Response> =>
  Promise.resolve(
    app.request(path, {
      ...init,
      headers: { ...(key === undefined ? {} : bearer(key.text)), ...(init.headers as Record<string, string>) },
    }),
  )
const json = async (response: Response): Promise<any> => response.json()
const post = (body: unknown): RequestInit => ({
  method: 'POST',
  body: JSON.stringify(body),
  headers: { 'content-type': 'application/json' },
})

const NAMES: Readonly<Record<string, string>> = {
  pipeline: 'shop',
  table: 'orders',
  replay: REPLAY_ID,
  id: 'nobody',
  job: 'nothing',
}

function requestOf({ method, path }: Operation): [string, RequestInit] {
  const at = path.replaceAll(/\{(\w+)\}/g, (_, name: string) => NAMES[name] ?? 'x')
  return [at, method === 'post' ? post({}) : { method: method.toUpperCase() }]
}

/** Written down by hand, so that an operation that changes its scope, or comes without one, is seen here. */
const RIGHTS: Record<'public' | 'key' | Role, readonly string[]> = {
  public: words('health ready'),
  key: words('version openapi'),
  reader: words(`metrics listPipelines getPipeline listVersions
    listTables getTable listSnapshots listRows diffTable listWindows
    query queryByGet listQueries getQuery cancelQuery
    listJobs getJob listReplays getReplay diffReplay watchReplay`),
  operator: words(`pausePipeline resumePipeline restartPipeline flushPipeline compactTable
    startReplay pauseReplay resumeReplay cancelReplay`),
  admin: words('acceptCode expireTable rollbackPipeline cutoverReplay rollbackReplay getConfig'),
}

function words(text: string): readonly string[] {
  return text.split(/\s+/)
}

const may = (role: Role): Set<string> => {
  const roles = ROLE_NAMES.slice(0, ROLE_NAMES.indexOf(role) + 1)
  return new Set([...RIGHTS.public, ...RIGHTS.key, ...roles.flatMap((each) => RIGHTS[each])])
}

describe('every operation', () => {
  test('is in the table of rights', () => {
    expect(operations.map(({ id }) => id).toSorted()).toEqual(Object.values(RIGHTS).flat().toSorted())
  })

  test('is served as it is declared, and nothing else is', () => {
    const routes = app.routes
      .filter(({ method, path }) => method !== 'ALL' && !path.startsWith('/iceberg/'))
      .map(({ method, path }) => `${method} ${path.replaceAll(/:(\w+)/g, '{$1}')}`)
    const declared = operations.map(({ method, path }) => `${method.toUpperCase()} ${path}`)
    expect(routes.toSorted()).toEqual(declared.toSorted())
  })

  test('refuses who has no key, or none that counts', async () => {
    const [wrongSecret] = [keyText('admin', Buffer.alloc(32, 99))]
    const refused: readonly (readonly [Record<string, string>, string])[] = [
      [{}, 'auth.missing'],
      [{ authorization: '' }, 'auth.invalid'],
      [{ authorization: 'Bearer' }, 'auth.invalid'],
      [{ authorization: `Basic ${Buffer.from(keys.admin.text).toString('base64')}` }, 'auth.invalid'],
      [{ authorization: keys.admin.text }, 'auth.invalid'],
      [{ authorization: `Bearer ${keys.admin.text} x` }, 'auth.invalid'],
      [bearer(keys.expired.text), 'auth.invalid'],
      [bearer(wrongSecret), 'auth.invalid'],
      [bearer(keys.reader.text.replace('reader', 'admin')), 'auth.invalid'],
      [bearer(keys.admin.entry.sha256), 'auth.invalid'],
      [bearer(`admin.${keys.admin.entry.sha256}`), 'auth.invalid'],
      [bearer('admin.'), 'auth.invalid'],
      [bearer('eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZG1pbiJ9.'), 'auth.invalid'],
    ]
    for (const each of operations)
      for (const [headers, code] of refused) {
        const [path, init] = requestOf(each)
        const response = await app.request(path, { ...init, headers: { ...(init.headers as object), ...headers } })
        const isOpen = each.access === 'public' && code === 'auth.missing'
        if (isOpen) {
          expect([200, 503], each.id).toContain(response.status)
          continue
        }
        expect([each.id, response.status, (await json(response)).code]).toEqual([each.id, 401, code])
        expect(response.headers.get('www-authenticate')).toMatch(/^Bearer /)
      }
    expect(door.calls).toEqual([])
    expect(door.engine.asked).toEqual([])
  })

  test.each(ROLE_NAMES)('lets a key of the role %s do what the role may, and no more', async (role) => {
    const before = door.calls.length
    for (const each of operations) {
      const [path, init] = requestOf(each)
      const response = await ask(path, keys[role], init)
      const body = each.media[0] === 'application/json' ? await json(response) : await response.body?.cancel()
      if (may(role).has(each.id))
        expect([401, 403], `${each.id} ${JSON.stringify(body)}`).not.toContain(response.status)
      else expect([each.id, response.status, body.code]).toEqual([each.id, 403, 'auth.forbidden'])
    }
    expect(door.calls.length > before).toBe(role !== 'reader')
    expect(door.calls.some((call) => call.startsWith('accept-code'))).toBe(role === 'admin')
  })

  test('HEAD needs what GET needs', async () => {
    expect((await ask('/v1/config', keys.reader, { method: 'HEAD' })).status).toBe(403)
    expect((await ask('/v1/config', undefined, { method: 'HEAD' })).status).toBe(401)
  })

  test('what is not served needs a key as well', async () => {
    expect((await ask('/v1/nothing', undefined)).status).toBe(401)
    expect((await ask('/v1/nothing', keys.metrics)).status).toBe(404)
    expect((await ask('/v1/query', keys.admin, { method: 'PUT', body: '' })).status).toBe(404)
  })

  test('the description names the scopes', async () => {
    const { paths, components } = await json(await ask('/openapi.json', keys.metrics))
    expect(components.securitySchemes.key).toMatchObject({ type: 'http', scheme: 'bearer' })
    for (const { path, method, access } of operations)
      expect(paths[path][method].security).toEqual(
        access === 'public' ? [] : [{ key: access === 'key' ? [] : [...access] }],
      )
    expect(Object.keys(paths['/v1/query'].post.responses)).toEqual(expect.arrayContaining(['401', '403', '429']))
  })

  test('health without a key says nothing but whether', async () => {
    expect(await json(await ask('/readyz', undefined))).toEqual({ ready: true, checks: [] })
    expect((await json(await ask('/readyz', keys.reader))).checks.length).toBeGreaterThan(2)
  })
})

describe('both keys of a rotation count', () => {
  test.each(['old', 'new'] as const)('the %s one', async (which) => {
    expect((await ask('/v1/config', keys[which])).status).toBe(200)
  })
})

describe('a key for one table', () => {
  const sql = (text: string) => ask('/v1/query', keys.orders, post({ sql: text }))

  test('reads it', async () => {
    expect((await sql('select * from orders')).status).toBe(200)
    for (const path of ['/v1/tables/orders', '/v1/tables/orders/rows', '/v1/tables/orders/snapshots'])
      expect((await ask(path, keys.orders)).status, path).toBe(200)
  })

  test.each([
    'select * from secrets',
    'select * from SECRETS',
    'select * from orders join views on true',
    'select (select max(id) from secrets) from orders',
    'select * from orders__dlq',
    'select * from no_such_table',
  ])('not another one: %s', async (text) => {
    const response = await sql(text)
    expect([response.status, (await json(response)).code]).toEqual([403, 'auth.forbidden'])
  })

  test('not another one by a condition', async () => {
    const where = encodeURIComponent('id in (select id from secrets)')
    expect((await ask(`/v1/tables/orders/rows?where=${where}`, keys.orders)).status).toBe(403)
    expect((await ask(`/v1/tables/orders/rows?where=${where}`, keys.reader)).status).toBe(200)
  })

  test('is told of no other one, neither by lists nor by errors', async () => {
    expect((await json(await ask('/v1/tables', keys.orders))).items.map(({ name }: any) => name)).toEqual(['orders'])
    const [known, unknown] = await Promise.all(
      ['secrets', 'zecrets'].map(async (name) => {
        const body = await (await ask(`/v1/tables/${name}`, keys.orders)).text()
        return body.replaceAll(name, '*')
      }),
    )
    expect(known).toBe(unknown)
    for (const path of ['rows', 'diff?from=1', 'windows', 'snapshots'])
      expect((await ask(`/v1/tables/secrets/${path}`, keys.orders)).status, path).toBe(403)
  })

  test('sees nothing of how pipelines get on', async () => {
    for (const path of ['/v1/pipelines', '/v1/jobs', '/v1/replays', '/metrics', '/v1/config'])
      expect((await ask(path, keys.orders)).status, path).toBe(403)
  })
})

describe('the catalog', () => {
  const catalog = (path: string, key: TestKey | undefined, init?: RequestInit) => ask(`/iceberg${path}`, key, init)
  const PATHS = [
    '/v1/config',
    '/v1/namespaces',
    '/v1/namespaces/shop',
    '/v1/namespaces/shop/tables',
    '/v1/namespaces/shop/tables/orders',
    '/v1/namespaces/shop/views',
    '/v1/nothing',
  ]

  test.each(PATHS)('%s needs a key, and says so as Iceberg does', async (path) => {
    const none = await catalog(path, undefined)
    expect([none.status, (await json(none)).error.type]).toEqual([401, 'NotAuthorizedException'])
    expect(none.headers.get('www-authenticate')).toMatch(/^Bearer /)
    const expired = await catalog(path, keys.expired)
    expect([expired.status, (await json(expired)).error.type]).toEqual([401, 'NotAuthorizedException'])
    const other = await catalog(path, keys.metrics)
    expect([other.status, (await json(other)).error.type]).toEqual([403, 'ForbiddenException'])
    expect([401, 403]).not.toContain((await catalog(path, keys.reader)).status)
  })

  test('shows a key the tables that it may read', async () => {
    const { identifiers } = await json(await catalog('/v1/namespaces/shop/tables', keys.orders))
    expect(identifiers).toEqual([{ namespace: ['shop'], name: 'orders' }])
    expect((await catalog('/v1/namespaces/shop/tables/orders', keys.orders)).status).toBe(200)
    expect((await catalog('/v1/namespaces/shop/tables/secrets', keys.orders)).status).toBe(403)
    expect((await catalog('/v1/namespaces/shop/tables/secrets', keys.orders, { method: 'HEAD' })).status).toBe(403)
    expect((await catalog('/v1/namespaces/shop/tables/nope', keys.orders)).status).toBe(403)
    expect((await catalog('/v1/namespaces/shop/tables/secrets/metrics', keys.orders, post({}))).status).toBe(403)
  })
})

describe('queries of others', () => {
  test('are neither seen nor ended, but by who may', async () => {
    const running = ask('/v1/query', keys.reader, {
      ...post({ sql: 'sleep' }),
      headers: { 'content-type': 'application/json', 'x-query-id': 'mine' },
    })
    await expect.poll(() => door.engine.running().length).toBe(1)
    const ids = async (key: TestKey) => (await json(await ask('/v1/queries', key))).items.map(({ id }: any) => id)
    expect([await ids(keys.reader), await ids(keys.operator), await ids(keys.admin)]).toEqual([['mine'], [], ['mine']])
    expect((await ask('/v1/queries/mine', keys.operator)).status).toBe(404)
    expect((await ask('/v1/queries/mine', keys.operator, { method: 'DELETE' })).status).toBe(404)
    expect(door.engine.running()).toHaveLength(1)
    expect(await json(await ask('/v1/queries/mine', keys.reader))).toMatchObject({ key: 'reader' })
    expect((await ask('/v1/queries/mine', keys.admin, { method: 'DELETE' })).status).toBe(200)
    expect((await running).status).toBe(503)
  })
})

describe('a replay that cuts over by itself', () => {
  test.each(['ifEqual', 'always'])('%s is a cut-over', async (autoCutover) => {
    const start = post({ pipeline: 'web', autoCutover })
    expect((await ask('/v1/replays', keys.operator, start)).status).toBe(403)
  })
})

describe('limits of a key', () => {
  const limited = async () => {
    const given = await makeDoor({ keys: Object.values(keys).map(({ entry }) => entry) })
    const served = createApp(given)
    const query = (key: TestKey, sql = 'select 1') =>
      Promise.resolve(
        served.request('/v1/query', {
          ...post({ sql }),
          headers: { 'content-type': 'application/json', ...bearer(key.text) },
        }),
      )
    return { given, served, query }
  }

  test('20 queries a second, each key by itself', async () => {
    const { given, query } = await limited()
    for (let i = 0; i < 20; i++) expect((await query(keys.reader)).status).toBe(200)
    const refused = await query(keys.reader)
    expect([refused.status, refused.headers.get('retry-after'), (await json(refused)).code]).toEqual([
      429,
      '1',
      'limit.rate',
    ])
    expect((await query(keys.admin)).status).toBe(200)
    given.clock.advance(50)
    expect((await query(keys.reader)).status).toBe(200)
    expect((await query(keys.reader)).status).toBe(429)
    given.clock.advance(3_600_000)
    const answers = await Promise.all(Array.from({ length: 30 }, () => query(keys.reader)))
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(20)
  })

  test('both keys of a rotation share them', async () => {
    const { query } = await limited()
    for (let i = 0; i < 20; i++) await query(i % 2 === 0 ? keys.old : keys.new)
    expect((await query(keys.new)).status).toBe(429)
  })

  test('4 at once, rows and differences among them', async () => {
    const { given, served, query } = await limited()
    const running = Array.from({ length: 4 }, () => query(keys.reader, 'sleep'))
    await expect.poll(() => given.engine.running().length).toBe(4)
    const refused = await query(keys.reader)
    expect([refused.status, (await json(refused)).code]).toEqual([429, 'limit.queries'])
    const rows = await served.request('/v1/tables/orders/rows', { headers: bearer(keys.reader.text) })
    expect(rows.status).toBe(429)
    expect((await served.request('/v1/tables', { headers: bearer(keys.reader.text) })).status).toBe(200)
    expect((await query(keys.operator)).status).toBe(200)
    given.engine.cancel(given.engine.running()[0]!.id)
    await Promise.race(running)
    expect((await query(keys.reader)).status).toBe(200)
    for (const { id } of given.engine.running()) given.engine.cancel(id)
    await Promise.all(running)
  })
})

test('who was refused is counted', async () => {
  const given = await makeDoor({ keys: [keys.reader.entry] })
  const served = createApp(given)
  await served.request('/v1/tables')
  await served.request('/iceberg/v1/config')
  await served.request('/v1/config', { headers: bearer(keys.reader.text) })
  const text = await (await served.request('/metrics', { headers: bearer(keys.reader.text) })).text()
  expect(text).toContain('kappalake_http_refused_total{status="401"} 2')
  expect(text).toContain('kappalake_http_refused_total{status="403"} 1')
})

describe('without keys', () => {
  test('this machine may do everything', async () => {
    const open = createApp(await makeDoor())
    expect((await open.request('/v1/config')).status).toBe(200)
    expect((await open.request('/v1/config', { headers: { host: 'lake.example' } })).status).toBe(403)
  })

  test('and everybody, where that was said', async () => {
    const open = createApp(await makeDoor({ host: '0.0.0.0', insecure: true }))
    expect((await open.request('/v1/config', { headers: { host: 'lake.example' } })).status).toBe(200)
  })
})

describe('laws', () => {
  const bytes = fc.uint8Array({ minLength: 32, maxLength: 32 })
  const id = fc.stringMatching(/^[a-z][a-z0-9_-]{0,20}$/)

  test('a key is found by its whole text and by nothing else', () => {
    fc.assert(
      fc.property(id, bytes, fc.nat(), fc.string({ minLength: 1, maxLength: 1 }), (name, secret, at, letter) => {
        const text = keyText(name, secret)
        const known = [{ id: name, sha256: hashOfKey(text), scopes: ROLES.admin, expiresMs: 1_000 }]
        expect(findKey(known, text, 999)).toBe(known[0])
        expect(findKey(known, text, 1_000)).toBeUndefined()
        const place = at % text.length
        const changed = text.slice(0, place) + letter + text.slice(place + 1)
        if (changed !== text) expect(findKey(known, changed, 0)).toBeUndefined()
        expect(findKey(known, text.slice(0, place), 0)).toBeUndefined()
        expect(findKey(known, `${text}${letter}`, 0)).toBeUndefined()
      }),
    )
  })

  const scope = fc.constantFrom<Scope>('status', 'metrics', 'code', 'query:*', 'query:a', 'query:b', 'query')
  test('more scopes never allow less, and none allow nothing', () => {
    fc.assert(
      fc.property(fc.array(scope), fc.array(scope), scope, (few, more, asked) => {
        if (allows(new Set(few), asked)) expect(allows(new Set([...few, ...more]), asked)).toBe(true)
        expect(allows(new Set(), asked)).toBe(false)
      }),
    )
  })

  test('each role holds the one before it, and every scope is one of a role', () => {
    for (const [index, name] of ROLE_NAMES.entries())
      if (index > 0) expect(ROLES[name]).toEqual(expect.arrayContaining([...ROLES[ROLE_NAMES[index - 1]!]]))
    for (const each of SCOPE_NAMES.filter((name) => !name.startsWith('query:'))) expect(ROLES.admin).toContain(each)
    expect(ROLES.admin.every(isScope)).toBe(true)
    expect(['query', 'query:', 'query:A', 'query:a.b', 'query:../x', '*', ''].filter(isScope)).toEqual([])
  })
})
