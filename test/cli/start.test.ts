import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import net from 'node:net'
import os from 'node:os'
import path from 'node:path'
import { Hono } from 'hono'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { freePort } from '../../infra/ports.mjs'
import { httpCheck } from '../../src/cli/doctor-http.ts'
import { nodeCheck, report, runCheck } from '../../src/cli/doctor.ts'
import { showStatus, statusLine } from '../../src/cli/serve.ts'
import { LakeError, type LakeErrorCode } from '../../src/error.ts'
import { MemoryStorage } from '../../src/lake/storage/memory.ts'
import { systemClock } from '../../src/clock.ts'
import type { PipelineStatus } from '../../src/status.ts'
import type { Source } from '../../src/log.ts'
import { noParts, run } from './support.ts'

let folder: string
beforeAll(() => {
  folder = mkdtempSync(path.join(os.tmpdir(), 'kappalake-cli-'))
  writeFileSync(
    path.join(folder, 'kappalake.yaml'),
    `kafka: { brokers: [localhost:9092], sasl: { mechanism: plain, username: u, password: "\${PASSWORD}" } }
http: { port: 7790 }
store: file:./lake
query: { cacheDir: ${folder}/cache }
pipelines: { shop: { tables: { orders: { from: { topic: shop.orders }, columns: { id: string } } } } }
`,
  )
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))
const env = { PASSWORD: 'hush-hush' }

describe('config print', () => {
  test('names each source and masks secrets', async () => {
    const { out, code } = await run(['config', 'print', '--resolved', '--port', '7791', '-o', 'csv'], { folder, env })
    const rows = out.split('\r\n')
    expect(code).toBe(0)
    expect(out).not.toContain('hush-hush')
    expect(rows).toContain('http.port,7791,--port')
    expect(rows.find((row) => row.startsWith('kafka.sasl.password'))).toMatch(
      /^kafka\.sasl\.password,••••••,.*kappalake\.yaml:1$/,
    )
    expect(rows).toContain('commit.microBatch.bytes,32MiB,default')
    expect(rows).toContain('http.host,127.0.0.1,default')
  })

  test('a wrong file is one clear error', async () => {
    const { err, code } = await run(['config', 'print', '--lanes', 'none'], { folder, env })
    expect(err).toBe(
      '✗ config.invalid: --lanes lanes: "none" is not a number of lanes\n  next: Write auto or a number from 1 to 256.\n',
    )
    expect(code).toBe(1)
  })
})

describe('start', () => {
  test('opens, serves, and closes on the signal', async () => {
    const closed: string[] = []
    const port = await freePort()
    const ending = new AbortController()
    const running = run(['start', '--port', String(port)], {
      folder,
      env,
      signal: ending.signal,
      parts: { open: async () => lake(closed) as never },
    })
    await expect
      .poll(() =>
        fetch(`http://127.0.0.1:${port}/healthz`).then(
          (r) => r.text(),
          () => '',
        ),
      )
      .toBe('ok')
    ending.abort()
    const { code, out } = await running
    expect(out).toMatch(/from Kafka at localhost:9092 to file:.*\/lake\n {2}shop: orders ← shop\.orders\n→ API http:/)
    expect([code, closed]).toEqual([0, ['closed']])
    await expect(fetch(`http://127.0.0.1:${port}/healthz`)).rejects.toThrow()
  })

  test('a port in use opens no lake, which would take pipelines over, and says so', async () => {
    const server = net.createServer().listen(0, '127.0.0.1')
    await new Promise((done) => server.once('listening', done))
    const { port } = server.address() as net.AddressInfo
    const { code, err } = await run(['start', '--port', String(port)], { folder, env })
    server.close()
    expect([code, err]).toEqual([1, expect.stringMatching(/is in use\n {2}next: Choose another port/)])
  })

  test('a port that is taken meanwhile closes the lake and says so', async () => {
    const closed: string[] = []
    const port = await freePort()
    const server = net.createServer()
    const open = async () => {
      await new Promise<void>((done) => server.listen(port, '127.0.0.1', done))
      return lake(closed) as never
    }
    const { code, err } = await run(['start', '--port', String(port)], { folder, env, parts: { open } })
    server.close()
    expect(err).toMatch(/is in use\n {2}next: Choose another port/)
    expect([code, closed]).toEqual([1, ['closed']])
  })

  test('--accept-code is told to the lake, and is off without a word', async () => {
    const asked: unknown[] = []
    const open = async (_: unknown, __: unknown, options: { readonly acceptCode?: boolean }): Promise<never> => {
      asked.push(options.acceptCode)
      throw new LakeError('code.not_continuable', 'no')
    }
    await run(['start', '--accept-code'], { folder, env, parts: { open: open as never } })
    await run(['start'], { folder, env, parts: { open: open as never } })
    expect(asked).toEqual([true, false])
  })

  test('a Kafka that cannot be reached is one line, and 3', async () => {
    const { err, code } = await run(['start'], { folder, env, parts: { open: unreachable } })
    expect(err).toBe(
      '✗ kafka.unavailable: no broker answers at localhost:9092\n  cause: ECONNREFUSED\n  next: Start Kafka, or correct kafka.brokers.\n',
    )
    expect(code).toBe(3)
  })
})

describe('status line', () => {
  const status: PipelineStatus = {
    name: 'shop',
    state: 'running',
    reason: undefined,
    head: { number: 14n } as PipelineStatus['head'],
    lastCommitMs: 8_900,
    partitions: [
      { partition: 'a/0', position: 40_000n, end: 40_002n, ratePerSecond: 40.2, clockMs: undefined },
      { partition: 'a/1', position: 812n, end: 813n, ratePerSecond: 8, clockMs: undefined },
    ],
    tables: [],
  }
  test('says what matters', () => {
    expect(statusLine(status, 10_000)).toBe(
      'shop running · version 14 · 40,812 records · lag 3 · fresh 1.1s · 48 rec/s',
    )
  })
  test('where nothing is left to read, an old version is no old table', () => {
    const partitions = [{ ...status.partitions[0]!, end: 40_000n }]
    expect(statusLine({ ...status, partitions }, 99_000)).toBe(
      'shop running · version 14 · 40,000 records · lag 0 · 40 rec/s',
    )
  })
  test('before Kafka has answered, no lag is known', () => {
    expect(statusLine({ ...status, partitions: [] }, 10_000)).toContain('lag ?')
  })
  test('into a file goes what has changed; a terminal shows it again and again', async () => {
    const show = async (isTty: boolean): Promise<string> => {
      let text = ''
      let looks = 0
      const ending = new AbortController()
      const out = { write: (more: string) => void (text += more), isTty, columns: 80, hasColor: false }
      const sleep = async () => void (++looks > 4 && ending.abort())
      const clock = { ...systemClock, sleep, nowMs: () => 10_000 }
      const records = () => (looks < 3 ? 40_000n : 40_001n)
      const partitions = () => [{ ...status.partitions[0]!, position: records(), end: records() }]
      const pipelines = [{ status: () => ({ ...status, partitions: partitions() }) }]
      await showStatus({ out, clock } as never, { pipelines } as never, ending.signal)
      return text
    }
    expect((await show(false)).match(/records/g)).toHaveLength(2)
    expect((await show(true)).match(/records/g)).toHaveLength(4)
  })
  test('says why it does not run', () => {
    const reason = { code: 'kafka.gap', message: 'lost', fix: 'Look.', retryable: false, context: {} } as const
    expect(statusLine({ ...status, state: 'stopped', reason }, 0)).toMatch(
      /^shop stopped · kafka\.gap: lost → Look\. · /,
    )
  })
})

describe('doctor', () => {
  test('all well', async () => {
    const { code, out } = await run(['doctor'], { folder, env, parts: { doctor: doctor(['shop.orders']) } })
    expect(out.split('\n').map((line) => line.slice(0, 7).trim())).toEqual([
      '✓ node',
      '✓ confi',
      '✓ defin',
      '✓ store',
      '✓ log',
      '✓ disk',
      '✓ http',
      '✓ query',
      '',
      'nothing',
      '',
    ])
    expect(out).toContain('shop.orders (id id1, 2 partitions, 6 offsets)')
    expect(code).toBe(0)
  })

  test('a partition that does not fit its column is found before a start', async () => {
    const file = path.join(folder, 'partitions.yaml')
    const tables = '{ orders: { from: { topic: shop.orders }, columns: { id: string }, partitionBy: [day(id)] } }'
    writeFileSync(
      file,
      `kafka: { brokers: [localhost:9092] }\nstore: file:./lake\npipelines: { shop: { tables: ${tables} } }\n`,
    )
    const parts = { doctor: doctor(['shop.orders']) }
    const { code, out } = await run(['doctor', '-c', file, '--port', '0', '-o', 'json'], { folder, env, parts })
    expect(code).toBe(3)
    expect(JSON.parse(out).filter(({ ok }: { ok: boolean }) => !ok)).toEqual([
      {
        check: 'definition',
        ok: false,
        detail: expect.stringContaining('"day(id)" is not a partition field'),
        fix: 'In orders.partitionBy, day cannot be applied to a column of type string: take a date or a timestamp.',
      },
    ])
  })

  test('a missing topic and a lying store: ✗ with a fix, and 3', async () => {
    const parts = { doctor: { ...doctor([]), assertConditionalWrites: lying } }
    const { code, out } = await run(['doctor', '-o', 'json'], { folder, env, parts })
    expect(code).toBe(3)
    expect(JSON.parse(out).filter((result: any) => !result.ok)).toEqual([
      { check: 'store', ok: false, detail: 'store.no_conditional_write: two winners', fix: 'Use another store.' },
      {
        check: 'log',
        ok: false,
        detail: 'kafka.topic_missing: no topic shop.orders',
        fix: 'Create it, or correct from.topic; a start would wait for it.',
      },
    ])
  })

  test('an address that is taken: by kappalake itself is well, by another is not', async () => {
    const taken = net.createServer((socket) => socket.resume().end('HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi'))
    await new Promise<void>((done) => taken.listen(0, '127.0.0.1', done))
    const { port } = taken.address() as net.AddressInfo
    const http = { host: '127.0.0.1', port }
    expect(await runCheck(httpCheck(http, fetch))).toMatchObject({
      ok: false,
      detail: `config.invalid: another program listens at http://127.0.0.1:${port}`,
      fix: 'End it, or choose another port with --port or http.port.',
    })
    const own = async () => Response.json({ status: 'ok' })
    expect(await runCheck(httpCheck(http, own))).toMatchObject({ ok: true, detail: expect.stringContaining('answers') })
    await new Promise((done) => taken.close(done))
    expect(await runCheck(httpCheck(http, fetch))).toMatchObject({ ok: true, detail: expect.stringContaining('free') })
  })

  test('whatever fails, there is a fix', async () => {
    const codes = readFileSync(new URL('../../src/error.ts', import.meta.url), 'utf8').matchAll(
      /^ {2}\| '([a-z_.]+)'/gm,
    )
    for (const [, code] of codes) {
      const run = () => Promise.reject(new LakeError(code as LakeErrorCode, 'no'))
      const { fix } = await runCheck({ name: 'x', run })
      expect(fix).toMatch(/^[A-Z].*\.$/)
      expect(fix).not.toContain('kappalake doctor')
    }
    expect((await runCheck({ name: 'x', run: () => Promise.reject(new Error('no')) })).fix).toContain('report')
  })

  test('an old Node, a wrong file', async () => {
    expect(await runCheck(nodeCheck('18.20.0'))).toMatchObject({ ok: false, fix: 'Install Node.js 20.12 or newer.' })
    expect(await runCheck(nodeCheck('20.12.0'))).toMatchObject({ ok: true })
    const { code, out } = await run(['doctor', '--lanes', '0'], { folder, env })
    expect(out).toMatch(/✗ configuration config\.invalid: --lanes/)
    expect(code).toBe(3)
    const looks = { isTty: true, columns: 40, hasColor: false }
    const detail = 'a long line that says what was found'
    expect(report([{ check: 'a', ok: false, detail, fix: 'f' }], 'table', looks)).toBe(
      '✗ a             a long line that says\n' +
        '                what was found\n' +
        '                fix: f\n\n1 of 1 checks failed\n',
    )
  })
})

const lake = (closed: string[]) => ({
  pipelines: [],
  http: () => new Hono().get('/healthz', (c) => c.text('ok')),
  close: async () => void closed.push('closed'),
})

const source = (topics: readonly string[]): Source =>
  ({
    topics: async () => new Map(topics.map((topic) => [topic, { topic, topicId: 'id1', partitions: [0, 1] }])),
    bounds: async (ids: readonly string[]) =>
      new Map(ids.map((id) => [id, { logStart: 1n, end: 4n, highWatermark: 4n }])),
    close: async () => undefined,
  }) as unknown as Source

const doctor = (topics: readonly string[]) => ({
  ...noParts.doctor,
  openStorage: async () => new MemoryStorage('doctor', systemClock),
  assertConditionalWrites: async () => undefined,
  openSource: () => source(topics),
})

const unreachable = async () => {
  throw new LakeError('kafka.unavailable', 'no broker answers at localhost:9092', {
    cause: new Error('ECONNREFUSED'),
  })
}

const lying = async () => {
  throw new LakeError('store.no_conditional_write', 'two winners', { fix: 'Use another store.' })
}
