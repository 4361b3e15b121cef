import fc from 'fast-check'
import type { Hono } from 'hono'
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest'
import { createApp, operationsOf } from '../../src/server/app.ts'
import { masked, redacted } from '../../src/redact.ts'
import { makeDoor, makeKey, REPLAY_ID, type FakeDoor } from './fake-door.ts'

// What nobody in good faith sends. Whatever it is, the answer is a problem with a code, it tells nothing of the inside,
// nothing is done, and no secret that was sent comes back or is printed.

const admin = makeKey('admin', 'admin')
const reader = makeKey('reader', 'reader')
const SECRETS = [
  admin.text,
  reader.text,
  admin.text.split('.')[1]!,
  'hunter2-password',
  'eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZG1pbiJ9.c2lnbmF0dXJl',
]
let door: FakeDoor
let app: Hono
const printed: string[] = []

beforeAll(async () => {
  door = await makeDoor({
    host: '0.0.0.0',
    keys: [admin.entry, reader.entry],
    queriesPerSecond: 100_000,
  })
  app = createApp(door)
  for (const stream of [process.stdout, process.stderr])
    vi.spyOn(stream, 'write').mockImplementation((text) => printed.push(String(text)) > 0)
  for (const method of ['log', 'info', 'warn', 'error', 'debug'] as const)
    vi.spyOn(console, method).mockImplementation((...given) => void printed.push(given.join(' ')))
})
afterAll(() => void vi.restoreAllMocks())
beforeEach(() => void door.calls.splice(0))

const key = { authorization: `Bearer ${admin.text}` }
const JSON_TYPE = { 'content-type': 'application/json' }
const post = (body: string | Uint8Array, headers: Record<string, string> = {}): RequestInit => ({
  method: 'POST',
  body: body as string,
  headers: { ...JSON_TYPE, ...key, ...headers },
})
const get = (headers: Record<string, string> = {}): RequestInit => ({ headers: { ...key, ...headers } })

/** No stack, no path of this machine, no key. */
async function expectRefusal(response: Response, statuses: readonly number[]): Promise<void> {
  const text = await response.text()
  expect(statuses, text).toContain(response.status)
  expect(text).not.toMatch(/\n\s+at |node_modules|\.ts:\d/)
  expect(text).not.toContain(process.cwd())
  for (const secret of SECRETS) expect(text).not.toContain(secret)
  expect(response.headers.get('x-content-type-options')).toBe('nosniff')
  expect(response.headers.get('content-security-policy')).toContain("frame-ancestors 'none'")
  expect(
    [...response.headers.keys()].filter((name) => name.startsWith('access-control') || name === 'set-cookie'),
  ).toEqual([])
  if (response.headers.get('content-type')?.includes('problem') === true) {
    const body = JSON.parse(text) as { code?: unknown }
    expect(body.code).toMatch(/^[a-z_]+(\.[a-z_]+)?$/)
    expect(body.code).not.toBe('internal')
  }
}

type Case = readonly [name: string, path: string, init: RequestInit, ...statuses: number[]]

const deep = (depth: number) => '['.repeat(depth) + ']'.repeat(depth)
const bearer = (text: string): RequestInit => ({ headers: { authorization: `Bearer ${text}` } })
const SELECT = '/v1/query?q=select+1'

const CREDENTIALS: readonly Case[] = [
  ['no key', SELECT, {}, 401],
  ['a blank key', SELECT, { headers: { authorization: 'Bearer  ' } }, 401],
  ['an id alone', SELECT, bearer('admin'), 401],
  ['a hash in the place of the key', SELECT, bearer(`admin.${admin.entry.sha256.slice(0, 43)}`), 401],
  ['the secret of another id', SELECT, bearer(`reader.${admin.text.split('.')[1]}`), 401],
  ['two keys in one header', SELECT, bearer(`${reader.text},${admin.text}`), 401],
  ['a key in the address', `${SELECT}&token=${admin.text}`, {}, 401],
  ['a key in a cookie', SELECT, { headers: { cookie: `token=${admin.text}` } }, 401],
  ['a key in another header', SELECT, { headers: { 'x-api-key': admin.text } }, 401],
  ['a password', SELECT, { headers: { authorization: `Basic ${btoa('admin:hunter2-password')}` } }, 401],
  ['a token signed by nobody', SELECT, bearer(SECRETS[4]!), 401],
  ['a token of 8 kB', SELECT, bearer(`admin.${'A'.repeat(8_192)}`), 401],
  ['an id that every object has', SELECT, bearer(`constructor.${'A'.repeat(43)}`), 401],
  ['__proto__ as an id', SELECT, bearer(`__proto__.${'A'.repeat(43)}`), 401],
  ['a key with the padding of base64', SELECT, bearer(`${admin.text}=`), 401],
  [
    'a reader who rolls back',
    '/v1/pipelines/shop/rollback',
    { ...post('{"to":"1"}'), headers: { ...JSON_TYPE, authorization: `Bearer ${reader.text}` } },
    403,
  ],
  [
    'a reader who cuts over',
    `/v1/replays/${REPLAY_ID}/cutover`,
    { ...post('{}'), headers: { ...JSON_TYPE, authorization: `Bearer ${reader.text}` } },
    403,
  ],
]

const BODIES: readonly Case[] = [
  ['an empty body', '/v1/query', post(''), 400],
  ['blanks', '/v1/query', post('   \n'), 400],
  ['one byte too many', '/v1/query', post('x'.repeat(1024 * 1024 + 1)), 413],
  ['a length that is a lie', '/v1/query', post('{}', { 'content-length': '99999999999' }), 400, 413],
  ['no JSON', '/v1/query', post('{"sql":'), 400],
  ['a number', '/v1/query', post('1'), 400],
  ['null', '/v1/query', post('null'), 400],
  ['a list', '/v1/query', post('["select 1"]'), 400],
  ['__proto__', '/v1/query', post('{"sql":"select 1","__proto__":{"maxRows":1}}'), 400],
  ['constructor', '/v1/query', post('{"sql":"select 1","constructor":{"prototype":{}}}'), 400],
  ['a field that nobody knows', '/v1/query', post('{"sql":"select 1","password":"hunter2-password"}'), 400],
  ['brackets without end', '/v1/query', post(`{"sql":"select 1","params":${deep(100_000)}}`), 400],
  ['bytes that are no UTF-8', '/v1/query', post(new Uint8Array([0x7b, 0xff, 0xfe, 0x7d])), 400],
  ['a lone surrogate', '/v1/query', post('{"sql":"\\ud800","format":"\\udfff"}'), 400, 406],
  ['gzip', '/v1/query', post(new Uint8Array([0x1f, 0x8b, 8, 0]), { 'content-encoding': 'gzip' }), 400],
  ['another type', '/v1/query', post('<sql/>', { 'content-type': 'application/xml' }), 400],
  [
    'a form',
    '/v1/pipelines/shop/pause',
    post('reason=x', { 'content-type': 'application/x-www-form-urlencoded' }),
    400,
  ],
  ['text where JSON must be', '/v1/pipelines/shop/pause', post('{}', { 'content-type': 'text/plain' }), 400],
  ['many parts', '/v1/query', post('--x', { 'content-type': 'multipart/form-data; boundary=x' }), 400],
  ['a number as SQL', '/v1/query', post('{"sql":1}'), 400],
  ['an object as SQL', '/v1/query', post('{"sql":{"$gt":""}}'), 400],
  ['rows below zero', '/v1/query', post('{"sql":"select 1","maxRows":-1}'), 400],
  ['more time than there is', '/v1/query', post('{"sql":"select 1","timeoutMs":1e400}'), 400],
  ['a roll back to nowhere', '/v1/pipelines/shop/rollback', post('{"to":"-1"}'), 400],
  ['a roll back that does not say where', '/v1/pipelines/shop/rollback', post('{}'), 400],
  [
    'a version with more digits than there are',
    '/v1/pipelines/shop/rollback',
    post(`{"to":"${'9'.repeat(400)}"}`),
    400,
  ],
  [
    'a replay that names an address',
    '/v1/replays',
    post('{"pipeline":"shop","source":"http://169.254.169.254/"}'),
    400,
  ],
  ['a reason of a megabyte', '/v1/pipelines/shop/pause', post(JSON.stringify({ reason: 'x'.repeat(900_000) })), 400],
]

const NAMES = [
  '..',
  '%2e%2e',
  '..%2f..%2fetc%2fpasswd',
  '%252e%252e%252f',
  'a%2fb',
  '%00',
  'orders%00',
  'x'.repeat(300),
  'CON',
  'orders;drop table orders',
  '%E2%80%AEsredro',
  '%F0%9F%98%80',
  '%ff',
  '%',
  '__proto__',
  'constructor',
  'toString',
  "' or '1'='1",
  '"orders"',
  '${jndi:ldap:%2f%2fx}',
  '<script>alert(1)<%2fscript>',
  'orders\\',
  'ORDERS',
  'orders%20',
  '*',
  '%0d%0aset-cookie:x=1',
  'file:%2f%2f%2fetc%2fpasswd',
]
const PLACES = [
  (name: string) => `/v1/tables/${name}`,
  (name: string) => `/v1/tables/${name}/rows`,
  (name: string) => `/v1/tables/${name}/windows`,
  (name: string) => `/v1/pipelines/${name}`,
  (name: string) => `/v1/pipelines/${name}/versions`,
  (name: string) => `/v1/replays/${name}`,
  (name: string) => `/v1/jobs/${name}`,
  (name: string) => `/v1/queries/${name}`,
  (name: string) => `/iceberg/v1/namespaces/${name}`,
  (name: string) => `/iceberg/v1/namespaces/shop/tables/${name}`,
]

const REQUESTS: readonly Case[] = [
  ['a name that resolves here, without a key', '/v1/tables', { headers: { host: 'rebound.example' } }, 401],
  ['a page of another host', SELECT, get({ origin: 'https://evil.example' }), 403],
  ['a page of a file', SELECT, get({ origin: 'null' }), 403],
  ['an image in a page of another host', SELECT, get({ 'sec-fetch-site': 'cross-site' }), 403],
  ['a preflight', '/v1/query', { method: 'OPTIONS', headers: { origin: 'https://evil.example' } }, 403],
  ['a preflight without an origin', '/v1/query', { method: 'OPTIONS' }, 401],
  ['a method in a header', '/v1/queries/x', get({ 'x-http-method-override': 'DELETE' }), 404],
  ['a method in the address', '/v1/queries/x?_method=DELETE', get(), 400],
  ['PUT', '/v1/tables/orders', { method: 'PUT', headers: key }, 404],
  ['PATCH', '/v1/pipelines/shop', { method: 'PATCH', headers: key }, 404],
  ['a method that nobody knows', '/v1/tables', { method: 'PROPFIND', headers: key }, 404],
  ['an id of a query with a line break', SELECT, get({ 'x-query-id': 'a b' }), 400],
  ['an id of a query without end', SELECT, get({ 'x-query-id': 'x'.repeat(65) }), 400],
  ['a key for once that is none', '/v1/tables/orders/compact', post('{}', { 'idempotency-key': ' ' }), 400],
  ['a cursor of another list', '/v1/tables?cursor=e30', get(), 400],
  ['a cursor that is none', '/v1/tables/orders/rows?cursor=%00%00', get(), 400],
  ['a cursor with a prototype', `/v1/tables?cursor=${btoa('{"__proto__":{"after":"x"}}')}`, get(), 400],
  ['a cursor without end', `/v1/tables?cursor=${'A'.repeat(3_000)}`, get(), 400],
  ['the same parameter with another meaning', '/v1/tables?limit=1&limt=2', get(), 400],
  ['a limit that is none', '/v1/tables?limit=0x10000', get(), 400],
  ['a page without end', '/v1/tables?limit=1e9', get(), 400],
  ['a time that is none', '/v1/tables/orders/diff?from=%27', get(), 200, 400, 404],
  ['a condition without end', `/v1/tables/orders/rows?where=${'x'.repeat(9_000)}`, get(), 400],
  ['a format that is a file', `${SELECT}&format=../../etc/passwd`, get(), 406],
  ['a type that nobody accepts', SELECT, get({ accept: 'text/html;q=0' }), 406],
  ['a namespace of two levels', '/iceberg/v1/namespaces/shop%1Fweb', get(), 404],
  ['who writes into the catalog', '/iceberg/v1/namespaces/shop/tables', post('{"name":"x"}'), 405],
  [
    'who drops a table of the catalog',
    '/iceberg/v1/namespaces/shop/tables/orders',
    { method: 'DELETE', headers: key },
    405,
  ],
  [
    'who asks the catalog for a token',
    '/iceberg/v1/oauth/tokens',
    post('grant_type=client_credentials&client_secret=hunter2-password', {
      'content-type': 'application/x-www-form-urlencoded',
    }),
    405,
  ],
]

test('the list is long enough', () => {
  expect(CREDENTIALS.length + BODIES.length + REQUESTS.length).toBeGreaterThan(60)
})

describe.each([
  ['credentials', CREDENTIALS],
  ['bodies', BODIES],
  ['requests', REQUESTS],
])('%s', (_, cases) => {
  const named = cases.map(([name, path, init, ...statuses]) => ({ name, path, init, statuses }))
  test.each(named)('$name', async ({ path, init, statuses }) => {
    await expectRefusal(await app.request(path, init), statuses)
    expect(door.calls).toEqual([])
  })
})

describe('names', () => {
  test.each(NAMES)('%s', async (name) => {
    for (const place of PLACES) await expectRefusal(await app.request(place(name), get()), [301, 400, 404, 410])
  })
})

test('whatever stands in a header, a name or a body, the answer is no defect of ours', async () => {
  const operations = operationsOf(door)
  const anything = fc.oneof(fc.string(), fc.json(), fc.string({ unit: 'binary' }))
  await fc.assert(
    fc.asyncProperty(fc.constantFrom(...operations), anything, anything, async (operation, name, body) => {
      const path = operation.path.replaceAll(/\{\w+\}/g, () => encodeURIComponent(Buffer.from(name).toString()) || 'x')
      const init = operation.method === 'post' ? post(body) : { method: operation.method.toUpperCase(), headers: key }
      const response = await app.request(path, init)
      await response.body?.cancel()
      expect(response.status, path).toBeLessThan(500)
    }),
    { numRuns: 200 },
  )
})

test('the settings that are shown hold no hash of a key', async () => {
  const text = await (await app.request('/v1/config', get())).text()
  expect(text).toContain('"admin"')
  expect(text).not.toContain(admin.entry.sha256)
})

test('no secret that was sent is printed', () => {
  for (const secret of SECRETS) expect(printed.join('\n')).not.toContain(secret)
})

describe('what is shown or logged', () => {
  const secret = fc.stringMatching(/^[A-Za-z0-9_-]{43}$/)
  const prose = fc.stringMatching(/^[ a-z:,()]{0,30}$/)

  test('a key of the API is never in a text', () => {
    fc.assert(
      fc.property(prose, secret, prose, (before, hidden, after) => {
        expect(redacted(`${before} k1.${hidden} ${after}`)).not.toContain(hidden)
        expect(redacted(`${before} Authorization: Bearer ${hidden} ${after}`)).not.toContain(hidden)
        expect(redacted(`${before} http://me:${hidden}@host/ ${after}`)).not.toContain(hidden)
        expect(redacted(`${before} password=${hidden} ${after}`)).not.toContain(hidden)
        expect(redacted(`${before} {"clientSecret":"${hidden}"} ${after}`)).not.toContain(hidden)
        expect(redacted(`-----BEGIN RSA PRIVATE KEY-----\n${hidden}\n-----END RSA PRIVATE KEY-----`)).not.toContain(
          hidden,
        )
      }),
    )
  })

  test('a text without a secret stays as it is', () => {
    for (const text of [
      'the topic shop.orders/0 stands at 12, fresh 1.1s',
      'kafka.denied: localhost:9092 refuses the credentials: Authentication failed: Invalid username or password',
      's3://bucket/prefix/tables/orders/metadata/00012-0f5c8b0e-aaaa-bbbb-cccc-000000000000.metadata.json',
      'Check kafka.sasl.clientId, clientSecret, scope and audience.',
    ])
      expect(redacted(text)).toBe(text)
  })

  test('a field of a secret is masked, at any depth, and the key of a table is not', () => {
    const fields = fc.constantFrom(
      'password',
      'clientSecret',
      'passphrase',
      'secretAccessKey',
      'sessionToken',
      'sha256',
    )
    fc.assert(
      fc.property(fields, secret, fc.nat(4), (field, hidden, depth) => {
        let value: unknown = { [field]: hidden }
        for (let i = 0; i < depth; i++) value = i % 2 === 0 ? { inner: value } : [value]
        expect(JSON.stringify(masked(value))).not.toContain(hidden)
      }),
    )
    expect(masked({ key: ['orderId'], ssl: { key: 'PEM' } })).toEqual({ key: ['orderId'], ssl: { key: '••••••' } })
  })
})
