import http from 'node:http'
import { connect } from 'node:net'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { systemClock } from '../../src/clock.ts'
import type { Engine } from '../../src/query/engine.ts'
import { createApp } from '../../src/server/app.ts'
import { listen, type Listening } from '../../src/server/listen.ts'
import { createMetrics } from '../../src/server/metrics.ts'
import { makeKey } from './fake-door.ts'
import { definition, makeLake, openLakeEngine, settings, type TestLake } from './support.ts'

const QUEUE_MAX = 3

let lake: TestLake
let engine: Engine
let server: Listening

beforeAll(async () => {
  lake = await makeLake({ shop: ['orders'] })
  await lake.commit('shop', 5)
  engine = await openLakeEngine(lake, { children: 1, queueMax: QUEUE_MAX })
  const app = createApp({
    ...lake,
    engine,
    definition,
    settings,
    metrics: createMetrics(),
    clock: systemClock,
    pipelines: [],
  })
  server = await listen(app, { host: '127.0.0.1', port: 0 })
}, 30_000)

afterAll(async () => {
  await server.close()
  await engine.close()
  await lake.close()
})

const query = (sql: string, format = 'json') => `${server.url}/v1/query?format=${format}&q=${encodeURIComponent(sql)}`

async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await systemClock.sleep(5)
}

/** The body as far as it came, and whether it came to its end. */
function read(url: string): Promise<{ text: string; isComplete: boolean; status: number | undefined }> {
  return new Promise((resolve, reject) => {
    http
      .get(url, (response) => {
        let text = ''
        response.setEncoding('utf8')
        response.on('data', (part: string) => (text += part))
        response.on('close', () => resolve({ text, isComplete: response.complete, status: response.statusCode }))
        response.on('error', () => undefined)
      })
      .on('error', reject)
  })
}

/** Bytes as they are, for what no client library sends. */
function raw(request: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(Number(new URL(server.url).port), '127.0.0.1', () => socket.write(request))
    let text = ''
    socket.setEncoding('utf8')
    socket.on('data', (part: string) => (text += part))
    socket.on('close', () => resolve(text))
    socket.on('error', reject)
  })
}

describe('over a socket', () => {
  test('an answer', async () => {
    const response = await fetch(query('select count(*) n from orders'))
    expect(await response.json()).toMatchObject({ rows: [{ n: '5' }], versions: { shop: '1' } })
    expect(response.headers.get('x-kappalake-version')).toBe('shop=1')
  })

  test('a client that goes away ends its query', async () => {
    const client = new AbortController()
    const gone = expect(
      fetch(query('select count(*) from range(10000000000) a, range(1000) b'), { signal: client.signal }),
    ).rejects.toThrow()
    await until(() => engine.running()[0]?.state === 'running')
    const [pid] = engine.stats().pids
    const startMs = systemClock.monotonicMs()
    client.abort()
    await gone
    await until(() => engine.running().length === 0 && !engine.stats().pids.includes(pid!))
    expect(systemClock.monotonicMs() - startMs).toBeLessThan(1_000)
  })

  test('a client that goes away in the middle of a stream ends its query', async () => {
    const client = new AbortController()
    const response = await fetch(query('select range n from range(1000000000)', 'ndjson'), { signal: client.signal })
    const reader = response.body!.getReader()
    expect((await reader.read()).value!.length).toBeGreaterThan(0)
    client.abort()
    await until(() => engine.running().length === 0)
  })

  test('more queries than may wait are told when to come again', async () => {
    const client = new AbortController()
    const endless = query('select count(*) from range(10000000000) a, range(1000) b')
    const ask = () => expect(fetch(endless, { signal: client.signal })).rejects.toThrow()
    const asked = [ask()]
    await until(() => engine.running()[0]?.state === 'running')
    while (asked.length <= QUEUE_MAX) asked.push(ask())
    await until(() => engine.stats().queued === QUEUE_MAX)
    const states = (await (await fetch(`${server.url}/v1/queries`)).json()) as { items: { state: string }[] }
    expect(states.items.map(({ state }) => state)).toEqual(['running', 'queued', 'queued', 'queued'])
    const refused = await fetch(query('select 1'))
    expect([refused.status, refused.headers.get('retry-after')]).toEqual([429, '1'])
    expect(await refused.json()).toMatchObject({ code: 'limit.queries', retryable: true })
    client.abort()
    await Promise.all(asked)
    await until(() => engine.running().length === 0)
  })

  test('a failure in the middle of a stream never looks like an end', async () => {
    const sql = `select case when range = 900000 then error('at 900000') else range end n from range(1000000)`
    const ndjson = await read(query(sql, 'ndjson'))
    expect(ndjson.isComplete).toBe(false)
    const lines = ndjson.text.trimEnd().split('\n')
    expect(lines.length).toBeGreaterThan(1_000)
    expect(JSON.parse(lines.at(-1)!)).toMatchObject({ error: { code: 'sql.failed', detail: 'at 900000' } })
    expect((await read(query(sql, 'csv'))).isComplete).toBe(false)
    expect((await fetch(query(sql))).status).toBe(413)
  })

  test('nor does one among the first rows: it breaks off, or comes with a status of its own', async () => {
    const sql = `select case when range = 149999 then error('late') else range end n from range(150000)`
    for (const format of ['ndjson', 'csv', 'arrow', 'parquet']) {
      const { text, isComplete, status } = await read(query(sql, format))
      expect([status, isComplete]).toEqual(status === 200 ? [200, false] : [422, true])
      if (format === 'ndjson' || status === 422)
        expect(text.trimEnd().split('\n').at(-1)).toMatch(/"code":"sql.failed"/)
    }
    expect((await read(query('select 1', 'csv'))).isComplete).toBe(true)
  })

  test('nor one in a binary format', async () => {
    const sql = `select case when range = 900000 then error('late') else range end n from range(1000000)`
    for (const format of ['arrow', 'parquet']) {
      expect((await read(query(sql, format))).isComplete).toBe(false)
      expect((await read(query('select 1', format))).isComplete).toBe(true)
    }
  })

  test('large headers, and two lengths', async () => {
    expect(await raw(`GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: ${'x'.repeat(17_000)}\r\n\r\n`)).toMatch(
      /^HTTP\/1.1 431/,
    )
    const lengths = 'Content-Length: 1\r\nContent-Length: 2\r\n'
    expect(await raw(`POST /v1/query HTTP/1.1\r\nHost: localhost\r\n${lengths}\r\nx`)).toMatch(/^HTTP\/1.1 400/)
    const both = 'Content-Length: 1\r\nTransfer-Encoding: chunked\r\n'
    expect(await raw(`POST /v1/query HTTP/1.1\r\nHost: localhost\r\n${both}\r\n0\r\n\r\n`)).toMatch(/^HTTP\/1.1 400/)
  })

  test('a name that resolves here', async () => {
    const request = 'GET /v1/tables HTTP/1.1\r\nHost: rebound.example\r\nConnection: close\r\n\r\n'
    const answer = await raw(request)
    expect(answer).toMatch(/^HTTP\/1.1 403/)
    expect(answer).toContain('request.forbidden')
  })

  test('a body without end', async () => {
    const chunk = `10000\r\n${'x'.repeat(0x10000)}\r\n`.repeat(17)
    const head =
      'POST /v1/query HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n'
    const socket = connect(Number(new URL(server.url).port), '127.0.0.1')
    socket.write(`${head}\r\n${chunk}`)
    const answer = await new Promise<string>((resolve) => socket.once('data', (part) => resolve(String(part))))
    expect(answer).toMatch(/^HTTP\/1.1 413/)
    socket.destroy()
  })
})

describe('where to listen', () => {
  const app = createApp({ settings, pipelines: [] } as never)

  test.each(['0.0.0.0', '::', '192.168.0.1', 'example.com'])('not on %s without keys', async (host) => {
    await expect(listen(app, { host, port: 0 })).rejects.toMatchObject({ code: 'config.invalid' })
    await expect(listen(app, { host, port: 0, keys: [] })).rejects.toMatchObject({ code: 'config.invalid' })
  })

  test('on every address with keys, or where it was said that everybody may come', async () => {
    const { entry } = makeKey('k', 'reader')
    for (const http of [{ keys: [entry] }, { insecure: true }]) {
      const open = await listen(app, { host: '0.0.0.0', port: 0, ...http })
      await open.close()
    }
  })

  test('not on a port that is taken', async () => {
    const port = Number(new URL(server.url).port)
    await expect(listen(app, { host: '127.0.0.1', port })).rejects.toMatchObject({
      code: 'config.invalid',
      message: expect.stringContaining('in use'),
    })
  })
})
