import { connect } from 'node:net'
import fc from 'fast-check'
import { Hono } from 'hono'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { systemClock, type Clock } from '../../src/clock.ts'
import { createApp } from '../../src/server/app.ts'
import { listen } from '../../src/server/listen.ts'
import { createMetrics } from '../../src/server/metrics.ts'
import { eventIdOf, replayEvents } from '../../src/server/replays-events.ts'
import { replayJson } from '../../src/server/replays-json.ts'
import type { ReplayPhase, ReplayStatus } from '../../src/replay-status.ts'
import { FakeReplays } from '../support/fake-replays.ts'
import { definition, makeLake, settings, type TestLake } from './support.ts'

const ID = 'a'.repeat(64)
let replays: FakeReplays
beforeEach(() => {
  replays = new FakeReplays()
  replays.put({ id: ID })
})

/** Sleeps end when a test says so. */
function quietClock() {
  const sleeping = new Set<() => void>()
  const clock: Clock = {
    ...systemClock,
    sleep: (_, signal) =>
      new Promise((resolve) => {
        const wake = () => {
          sleeping.delete(wake)
          resolve()
        }
        sleeping.add(wake)
        signal?.addEventListener('abort', wake, { once: true })
      }),
  }
  return { clock, sleeping }
}

function streamOf(given: { clock?: Clock; lastEventId?: string; onEnd?: () => void } = {}) {
  const gone = new AbortController()
  const { clock = quietClock().clock, lastEventId, onEnd } = given
  const stream = replayEvents((signal) => replays.watch(ID, signal), {
    clock,
    lastEventId,
    ending: gone.signal,
    ...(onEnd === undefined ? {} : { onEnd }),
  })
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader()
  return { gone, reader, next: async () => (await reader.read()).value }
}

interface Event {
  readonly event?: string
  readonly id?: string
  readonly data?: any
}

function parse(text: string): Event[] {
  return text
    .split('\n\n')
    .filter((block) => block.startsWith('event:'))
    .map((block) => {
      const fields = Object.fromEntries(block.split('\n').map((line) => line.split(/: (.*)/s).slice(0, 2)))
      return { ...fields, data: JSON.parse(fields.data) }
    })
}

const turn = () => new Promise((done) => setImmediate(done))

describe('events', () => {
  test('each state once, in order, whatever was waited for; the stream ends with the replay', async () => {
    const phases = fc.array(fc.constantFrom<ReplayPhase>('rebuilding', 'verifying', 'catching-up', 'ready'), {
      maxLength: 12,
    })
    await fc.assert(
      fc.asyncProperty(phases, fc.array(fc.boolean(), { minLength: 12, maxLength: 12 }), async (given, isWaiting) => {
        replays.put({ id: ID, state: 'queued', progress: null })
        const { reader } = streamOf()
        let text = ''
        const reading = (async () => {
          for (let part = await reader.read(); !part.done; part = await reader.read()) text += part.value
        })()
        const states: ReplayStatus[] = [await replays.get(ID)]
        for (const [i, phase] of given.entries()) {
          states.push(replays.phase(ID, phase, { done: String(i) }))
          if (isWaiting[i]) await turn()
        }
        states.push(replays.put({ id: ID, state: 'done' }))
        await reading
        const events = parse(text)
        const told = events.map(({ id }) => id)
        // A client that is slower than the replay misses states, never their order nor the last one.
        const all = states.map(eventIdOf)
        let at = -1
        for (const id of told) expect((at = all.indexOf(id!, at + 1))).toBeGreaterThan(-1)
        expect(told.at(-1)).toBe(all.at(-1))
        expect(events.every(({ event }) => event === 'replay')).toBe(true)
        expect(events.at(-1)!.data).toEqual(replayJson(states.at(-1)!))
        expect(replays.watching).toBe(0)
      }),
      { numRuns: 50 },
    )
  })

  test('begin at once, and say how soon to come back', async () => {
    const { next } = streamOf()
    expect(await next()).toBe('retry: 2000\n\n')
    expect(parse((await next())!)).toMatchObject([{ event: 'replay', data: { id: ID, state: 'queued' } }])
  })

  test('a client that has the state is not told it again', async () => {
    const lastEventId = eventIdOf(await replays.get(ID))
    const { next } = streamOf({ lastEventId })
    await next()
    const waiting = next()
    await turn()
    replays.phase(ID, 'rebuilding')
    expect(parse((await waiting)!)).toMatchObject([{ data: { progress: { phase: 'rebuilding' } } }])
  })

  test('a heartbeat when nothing happens, and the next change is not lost by it', async () => {
    const { clock, sleeping } = quietClock()
    const { next } = streamOf({ clock })
    await next()
    await next()
    for (let i = 0; i < 3; i++) {
      const waiting = next()
      await turn()
      expect(sleeping.size).toBe(1)
      for (const wake of sleeping) wake()
      expect(await waiting).toMatch(/^:/)
    }
    replays.phase(ID, 'rebuilding')
    expect(await next()).toMatch(/rebuilding/)
  })

  test('a slow client holds one state, the newest when it comes', async () => {
    const { next } = streamOf()
    await next()
    for (let i = 0; i < 1_000; i++) replays.phase(ID, 'rebuilding', { done: String(i) })
    await turn()
    const told: string[] = []
    while (told.at(-1) !== '999') told.push(parse((await next())!)[0]!.data.progress?.done)
    expect(told.length).toBeLessThanOrEqual(2)
  })

  test('a watch that fails ends with the problem', async () => {
    const { next, reader } = streamOf()
    await next()
    await next()
    const waiting = next()
    await turn()
    replays.get = async () => {
      throw new Error('secret path')
    }
    replays.phase(ID, 'rebuilding')
    const text = (await waiting)!
    expect(parse(text)).toMatchObject([{ event: 'problem', data: { code: 'internal', status: 500 } }])
    expect(text).not.toMatch(/secret/)
    expect((await reader.read()).done).toBe(true)
  })

  test.each(['cancel', 'abort'] as const)('a client that goes (%s) leaves nothing behind', async (how) => {
    const { clock, sleeping } = quietClock()
    let ended = 0
    const { next, reader, gone } = streamOf({ clock, onEnd: () => void ended++ })
    await next()
    await next()
    const waiting = next()
    await turn()
    expect([replays.watching, ended]).toEqual([1, 0])
    if (how === 'cancel') await reader.cancel()
    else gone.abort()
    await waiting
    await turn()
    expect([replays.watching, sleeping.size, ended]).toEqual([0, 0, 1])
    replays.phase(ID, 'rebuilding')
  })

  test('one that was gone before it began', async () => {
    const gone = AbortSignal.abort()
    const clock = quietClock().clock
    const stream = replayEvents((signal) => replays.watch(ID, signal), { clock, lastEventId: undefined, ending: gone })
    expect(await new Response(stream).text()).not.toMatch(/event/)
    expect(replays.watching).toBe(0)
  })
})

describe('over HTTP', () => {
  let lake: TestLake
  let app: Hono
  beforeEach(async () => {
    lake = await makeLake({ shop: ['orders'] }, 'memory')
    replays = lake.replays
    replays.put({ id: ID })
    const engine = undefined as never
    app = createApp({
      ...lake,
      engine,
      definition,
      settings,
      metrics: createMetrics(),
      clock: systemClock,
      pipelines: [],
    })
  })
  afterEach(() => lake.close())

  const open = (headers: Record<string, string> = {}) =>
    app.request(`/v1/replays/${ID}/events`, { headers: { host: 'localhost', ...headers } })

  test('the headers of a stream; 204 when nothing will come any more', async () => {
    const response = await open()
    expect(response.headers.get('content-type')).toBe('text/event-stream')
    expect(response.headers.get('cache-control')).toBe('no-store')
    replays.put({ id: ID, state: 'cancelled' })
    const [event] = parse(await response.text()).slice(-1)
    expect(event?.data.state).toBe('cancelled')
    expect((await open({ 'last-event-id': event!.id! })).status).toBe(204)
    expect(parse(await (await open({ 'last-event-id': 'of yesterday' })).text())).toHaveLength(1)
  })

  test('so many at once and no more; those that ended count no longer', async () => {
    const responses = await Promise.all(Array.from({ length: 64 }, () => open()))
    const refused = await open()
    expect([refused.status, refused.headers.get('retry-after')]).toEqual([429, '1'])
    await responses[0]!.body!.cancel()
    const again = await open()
    expect(again.status).toBe(200)
    for (const { body } of [...responses.slice(1), again]) await body!.cancel()
    expect(replays.watching).toBe(0)
  })

  test('a connection that breaks lets go of the replay', async () => {
    const server = await listen(app, { host: '127.0.0.1', port: 0 })
    try {
      const { port } = new URL(server.url)
      const socket = connect(Number(port), '127.0.0.1')
      let text = ''
      socket.on('data', (part) => void (text += String(part)))
      socket.on('error', () => undefined)
      socket.write(`GET /v1/replays/${ID}/events HTTP/1.1\r\nHost: localhost\r\n\r\n`)
      while (!text.includes('event: replay')) await systemClock.sleep(2)
      replays.phase(ID, 'rebuilding')
      while (!text.includes('"rebuilding"')) await systemClock.sleep(2)
      expect(replays.watching).toBe(1)
      socket.destroy()
      while (replays.watching > 0) await systemClock.sleep(2)
    } finally {
      await server.close()
    }
  })
})
