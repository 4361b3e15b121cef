import http from 'node:http'
import net from 'node:net'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { systemClock } from '../../src/clock.ts'
import { createApp } from '../../src/server/app.ts'
import { listen, type Listening } from '../../src/server/listen.ts'
import { makeDoor, makeKey, type FakeDoor } from './fake-door.ts'

// What only a socket can do. The parts behind the server are stand-ins: what is tested is the door.

const { text: key, entry } = makeKey('admin', 'admin')
let door: FakeDoor
let server: Listening
let port: number

beforeAll(async () => {
  door = await makeDoor({ keys: [entry] })
  server = await listen(createApp(door), door.settings.http)
  port = Number(new URL(server.url).port)
})
afterAll(() => server.close())

const isAlive = async (): Promise<boolean> => (await fetch(`${server.url}/healthz`)).ok
const HEAD = `Host: 127.0.0.1\r\nAuthorization: Bearer ${key}\r\n`

interface Conversation {
  readonly text: string
  readonly elapsedMs: number
}

/** Sends bytes as they are, and hears all until the other side hangs up, or the time is over. */
function raw(request: string | Buffer, idleMs = 2_000): Promise<Conversation> {
  const startMs = systemClock.monotonicMs()
  return new Promise((resolve) => {
    const socket = net.connect(port, '127.0.0.1', () => socket.write(request))
    let text = ''
    const end = () => {
      socket.destroy()
      resolve({ text, elapsedMs: systemClock.monotonicMs() - startMs })
    }
    socket.setTimeout(idleMs, end)
    socket.setEncoding('latin1')
    socket.on('data', (part: string) => (text += part))
    socket.on('close', end)
    socket.on('error', end)
  })
}

const RAW: readonly (readonly [name: string, request: string | Buffer, answer: RegExp])[] = [
  ['headers of 17 KiB', `GET /healthz HTTP/1.1\r\n${HEAD}X: ${'x'.repeat(17 * 1024)}\r\n\r\n`, /^HTTP\/1\.1 431/],
  ['an address of 17 KiB', `GET /${'x'.repeat(17 * 1024)} HTTP/1.1\r\n${HEAD}\r\n`, /^HTTP\/1\.1 431/],
  [
    'two lengths',
    `POST /v1/query HTTP/1.1\r\n${HEAD}Content-Length: 1\r\nContent-Length: 2\r\n\r\nx`,
    /^HTTP\/1\.1 400/,
  ],
  [
    'a length and pieces',
    `POST /v1/query HTTP/1.1\r\n${HEAD}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
    /^HTTP\/1\.1 400/,
  ],
  [
    'pieces that are spelt in another way',
    `POST /v1/query HTTP/1.1\r\n${HEAD}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n`,
    /^HTTP\/1\.1 400/,
  ],
  ['a length below zero', `POST /v1/query HTTP/1.1\r\n${HEAD}Content-Length: -1\r\n\r\n`, /^HTTP\/1\.1 400/],
  [
    'a header in two lines',
    `GET /v1/tables HTTP/1.1\r\n${HEAD}X: a\r\n b\r\nConnection: close\r\n\r\n`,
    /^HTTP\/1\.1 (?:400|200)/,
  ],
  ['a line break in a header', `GET /v1/tables HTTP/1.1\r\nHost: x\nX: y\rz: 1\r\n\r\n`, /^HTTP\/1\.1 400/],
  ['a blank before a colon', `GET /v1/tables HTTP/1.1\r\nHost : 127.0.0.1\r\n\r\n`, /^HTTP\/1\.1 400/],
  ['no Host', `GET /v1/tables HTTP/1.1\r\nAuthorization: Bearer ${key}\r\n\r\n`, /^HTTP\/1\.1 400/],
  ['NUL in the address', Buffer.from(`GET /v1/\0tables HTTP/1.1\r\n${HEAD}\r\n`), /^HTTP\/1\.1 400/],
  [
    'an address of somewhere else',
    `GET http://169.254.169.254/ HTTP/1.1\r\n${HEAD}Connection: close\r\n\r\n`,
    /^HTTP\/1\.1 40[04]/,
  ],
  ['a tunnel', `CONNECT 127.0.0.1:22 HTTP/1.1\r\n${HEAD}\r\n`, /^(?:HTTP\/1\.1 4\d\d|$)/],
  ['TRACE', `TRACE / HTTP/1.1\r\n${HEAD}Connection: close\r\n\r\n`, /^HTTP\/1\.1 404/],
  ['another protocol', `GET / HTTP/9.9\r\n${HEAD}\r\n`, /^HTTP\/1\.1 (?:400|505)/],
  ['the beginning of TLS', Buffer.from('16030100d3010000cf0303', 'hex'), /^HTTP\/1\.1 400/],
  ['HTTP/2 without asking', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', /^HTTP\/1\.1 400/],
  [
    'an upgrade',
    `GET /v1/tables HTTP/1.1\r\n${HEAD}Connection: Upgrade, close\r\nUpgrade: websocket\r\n\r\n`,
    /^(?:HTTP\/1\.1 (?:200|400|426)|$)/,
  ],
]

describe('bytes', () => {
  test.each(RAW)('%s', async (_, request, answer) => {
    const { text } = await raw(request)
    expect(text).toMatch(answer)
    expect(text).not.toContain(key)
    expect(text).not.toMatch(/\n\s+at /)
    expect(await isAlive()).toBe(true)
  })

  test('pieces without end', async () => {
    const piece = `10000\r\n${'x'.repeat(0x10000)}\r\n`.repeat(20)
    const { text } = await raw(`POST /v1/query HTTP/1.1\r\n${HEAD}Transfer-Encoding: chunked\r\n\r\n${piece}`)
    expect(text).toMatch(/^HTTP\/1\.1 413/)
    expect(await isAlive()).toBe(true)
  })
})

describe('time', () => {
  test('headers that never end are given up within seconds, a thousand at once, and others are served meanwhile', async () => {
    const slow = Array.from({ length: 1_000 }, () => raw('GET /v1/tables HTTP/1.1\r\nHost: 127', 20_000))
    await systemClock.sleep(200)
    const startMs = systemClock.monotonicMs()
    expect(await isAlive()).toBe(true)
    expect(systemClock.monotonicMs() - startMs).toBeLessThan(2_000)
    const ended = await Promise.all(slow)
    expect(Math.max(...ended.map(({ elapsedMs }) => elapsedMs))).toBeLessThan(19_000)
    expect(ended.every(({ text }) => text === '' || text.startsWith('HTTP/1.1 408'))).toBe(true)
  })

  test('a client that goes away in the middle of its question is forgotten', async () => {
    const sockets = Array.from({ length: 50 }, () => net.connect(port, '127.0.0.1'))
    for (const socket of sockets) {
      socket.on('error', () => undefined)
      socket.write(`POST /v1/query HTTP/1.1\r\n${HEAD}Content-Type: text/plain\r\nContent-Length: 1000\r\n\r\nselect`)
    }
    await systemClock.sleep(100)
    for (const socket of sockets) socket.resetAndDestroy()
    await systemClock.sleep(100)
    expect(await isAlive()).toBe(true)
    expect(door.engine.asked).toEqual([])
  })
})

test('a key is not taken from a request that is not there any more', async () => {
  // Two requests on one connection: the second has no key.
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 })
  const status = (headers: Record<string, string>): Promise<number | undefined> =>
    new Promise((resolve, reject) => {
      http
        .get(`${server.url}/v1/tables`, { agent, headers }, (response) => {
          response.resume()
          response.on('end', () => resolve(response.statusCode))
        })
        .on('error', reject)
    })
  expect(await status({ authorization: `Bearer ${key}` })).toBe(200)
  expect(await status({})).toBe(401)
  agent.destroy()
})
