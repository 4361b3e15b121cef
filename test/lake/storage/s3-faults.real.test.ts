import { writeFile } from 'node:fs/promises'
import http from 'node:http'
import type { AddressInfo } from 'node:net'
import { once } from 'node:events'
import path from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { systemClock, type Clock } from '../../../src/clock.ts'
import { openStorage } from '../../../src/lake/storage/open.ts'
import type { StoreSettings } from '../../../src/lake/storage/storage.ts'
import { startS3Proxy, type ProxyFault } from '../../support/s3-proxy.ts'
import { startS3, storeOn } from '../../support/s3-server.ts'

const server = await startS3()
const proxy = await startS3Proxy(server.endpoint)
const settings: StoreSettings = { ...storeOn(server, 'faults'), endpoint: proxy.endpoint }

/** Waits a hundredth of what it is asked to, and its time runs as if it had waited. */
let skippedMs = 0
const clock: Clock = {
  ...systemClock,
  monotonicMs: () => systemClock.monotonicMs() + skippedMs,
  sleep: async (ms, signal) => {
    skippedMs += ms
    await systemClock.sleep(ms / 100, signal)
  },
}
const storage = await openStorage(settings, clock)
const direct = await openStorage(storeOn(server, 'faults'), clock)
afterAll(async () => {
  await Promise.all([storage.close(), direct.close()])
  await proxy.stop()
  await server.stop()
})

const mine = new TextEncoder().encode('mine')
const text = (bytes: Uint8Array | undefined) => (bytes === undefined ? undefined : Buffer.from(bytes).toString())
const status = (code: number, name: string): ProxyFault => ({ kind: 'status', status: code, code: name })
const times = (n: number, fault: ProxyFault): ProxyFault[] => Array.from({ length: n }, () => fault)
let keys = 0
const newKey = () => `k/${String(keys++).padStart(4, '0')}`

describe('a create on S3', () => {
  it.each<[string, ProxyFault[], string, string | undefined, number]>([
    ['200', [], 'created', 'mine', 1],
    ['409', [status(409, 'ConditionalRequestConflict')], 'conflict', undefined, 1],
    ['409 of another kind', [status(409, 'OperationAborted')], 'conflict', undefined, 1],
    ['412', [status(412, 'PreconditionFailed')], 'exists', undefined, 1],
    ['429', [status(429, 'TooManyRequests')], 'unknown', undefined, 1],
    ['500', [status(500, 'InternalError')], 'unknown', undefined, 1],
    ['502', [status(502, 'BadGateway')], 'unknown', undefined, 1],
    ['503', [status(503, 'SlowDown')], 'unknown', undefined, 1],
    ['400 RequestTimeout', [status(400, 'RequestTimeout')], 'unknown', undefined, 1],
    ['a reset before it was applied', [{ kind: 'resetBefore' }], 'unknown', undefined, 1],
    ['a reset after it was applied', [{ kind: 'resetAfter' }], 'unknown', 'mine', 1],
    ['ExpiredToken once', [status(400, 'ExpiredToken')], 'created', 'mine', 2],
    ['RequestTimeTooSkewed once', [status(403, 'RequestTimeTooSkewed')], 'created', 'mine', 2],
    ['ExpiredToken, then a reset', [status(400, 'ExpiredToken'), { kind: 'resetAfter' }], 'unknown', 'mine', 2],
  ])('answered by %s', async (_, faults, kind, stands, requests) => {
    const key = newKey()
    proxy.script(faults)
    expect(await storage.putIfAbsent(key, mine)).toMatchObject({ kind })
    expect(proxy.seen).toHaveLength(requests)
    expect(proxy.seen.every(({ headers }) => headers['if-none-match'] === '*' && !headers.expect)).toBe(true)
    expect(text(await direct.get(key))).toBe(stands)
    if (stands !== undefined) expect(await storage.putIfAbsent(key, mine)).toEqual({ kind: 'exists' })
  })

  it.each<[string, ProxyFault[], string, boolean]>([
    ['403', [status(403, 'AccessDenied')], 'store.denied', false],
    ['a wrong signature', [status(403, 'SignatureDoesNotMatch')], 'store.denied', false],
    ['ExpiredToken again', times(2, status(400, 'ExpiredToken')), 'store.denied', true],
    ['RequestTimeTooSkewed again', times(2, status(403, 'RequestTimeTooSkewed')), 'store.denied', true],
    ['501', [status(501, 'NotImplemented')], 'store.no_conditional_write', false],
    ['no such bucket', [status(404, 'NoSuchBucket')], 'config.invalid', false],
    ['another region', [status(400, 'AuthorizationHeaderMalformed')], 'config.invalid', false],
    ['a full disk', [status(507, 'StorageFull')], 'store.disk_full', true],
  ])('refused by %s', async (_, faults, code, retryable) => {
    const key = newKey()
    proxy.script(faults)
    await expect(storage.putIfAbsent(key, mine)).rejects.toMatchObject({ code, retryable, fix: expect.any(String) })
    expect(proxy.seen).toHaveLength(faults.length)
    expect(await direct.get(key)).toBeUndefined()
  })

  it('is unknown when nobody listens', async () => {
    const nobody = await openStorage({ ...settings, endpoint: 'http://127.0.0.1:9' }, clock)
    expect(await nobody.putIfAbsent('a', mine)).toMatchObject({ kind: 'unknown' })
    await nobody.close()
  })

  it('is unknown when no answer comes in time; and a silent read is asked again', async () => {
    const [key, other] = [newKey(), newKey()]
    await direct.put(other, new Uint8Array(100_000).fill(5))
    proxy.script([{ kind: 'hang' }], (method) => method === 'PUT')
    const startedMs = performance.now()
    const create = storage.putIfAbsent(key, mine)
    await expect.poll(() => proxy.seen.length).toBe(1)
    proxy.script([{ kind: 'cut', afterBytes: 10_000, how: 'stall' }], (method) => method === 'GET')
    const read = storage.get(other)
    expect(await create).toMatchObject({ kind: 'unknown' })
    expect(performance.now() - startedMs).toBeGreaterThan(14_000)
    expect(text(await direct.get(key))).toBe('mine')
    expect(Buffer.compare((await read)!, Buffer.alloc(100_000, 5))).toBe(0)
    expect(performance.now() - startedMs).toBeLessThan(40_000)
  }, 60_000)
})

describe('reading from S3', () => {
  const body = Buffer.from(Array.from({ length: 300_000 }, (_, i) => i % 251))

  it('goes on where a body was cut off', async () => {
    const key = newKey()
    await direct.put(key, body)
    proxy.script([
      { kind: 'cut', afterBytes: 100_000, how: 'reset' },
      { kind: 'cut', afterBytes: 50_000, how: 'reset' },
      { kind: 'resetBefore' },
    ])
    expect(Buffer.compare((await storage.get(key))!, body)).toBe(0)
    const ranges = proxy.seen.map(({ headers }) => headers.range)
    expect(ranges[0]).toBeUndefined()
    expect(ranges[1]).toMatch(/^bytes=\d+-$/)
    expect(Number(ranges[2]?.slice(6, -1))).toBeGreaterThan(Number(ranges[1]?.slice(6, -1)))
    expect(proxy.seen.slice(1).every(({ headers }) => headers['if-match'] !== undefined)).toBe(true)
  })

  it('begins again when the object was replaced meanwhile', async () => {
    const key = newKey()
    const other = Buffer.alloc(200_000, 9)
    await direct.put(key, body)
    const replacing: Clock = { ...clock, sleep: () => direct.put(key, other) } // between the cut and the next request
    const reader = await openStorage(settings, replacing)
    proxy.script([{ kind: 'cut', afterBytes: 100_000, how: 'reset' }])
    expect(Buffer.compare((await reader.get(key))!, other)).toBe(0)
    expect(proxy.seen.map(({ headers }) => headers.range !== undefined)).toEqual([false, true, false])
    await reader.close()
  })

  it('waits out a burst of 503, and other answers that say nothing', async () => {
    const key = newKey()
    await direct.put(key, mine)
    for (const fault of [status(503, 'SlowDown'), status(500, 'InternalError'), { kind: 'resetBefore' } as const]) {
      proxy.script(times(5, fault))
      expect(text(await storage.get(key))).toBe('mine')
      proxy.script(times(5, fault))
      expect(await storage.head(key)).toMatchObject({ sizeBytes: 4 })
      proxy.script(times(5, fault))
      const listed = []
      for await (const info of storage.list(key)) listed.push(info.key)
      expect(listed).toEqual([key])
    }
  }, 60_000)

  it('gives up in time, saying that it may pass', async () => {
    proxy.script(times(1_000, status(503, 'SlowDown')))
    await expect(storage.get(newKey())).rejects.toMatchObject({ code: 'store.unavailable', retryable: true })
    proxy.script([])
  }, 60_000)

  it('tells absent from denied and from a missing bucket', async () => {
    expect(await storage.get(newKey())).toBeUndefined()
    proxy.script([status(404, 'NoSuchBucket')])
    await expect(storage.get(newKey())).rejects.toMatchObject({ code: 'config.invalid' })
    proxy.script([status(403, 'AccessDenied')])
    await expect(storage.get(newKey())).rejects.toMatchObject({ code: 'store.denied', retryable: false })
    proxy.script([status(403, 'AccessDenied')])
    await expect(storage.head(newKey())).rejects.toMatchObject({ code: 'store.denied' })
    proxy.script([status(400, 'ExpiredToken')])
    expect(await storage.get(newKey())).toBeUndefined()
  })

  it('stops when asked to', async () => {
    const key = newKey()
    await direct.put(key, body)
    const stop = new AbortController()
    proxy.script([{ kind: 'cut', afterBytes: 1_000, how: 'stall' }])
    const read = storage.get(key, stop.signal)
    await expect.poll(() => proxy.seen.length).toBe(1)
    setTimeout(() => stop.abort(), 50)
    const startedMs = performance.now()
    await expect(read).rejects.toMatchObject({ code: 'store.unavailable' })
    expect(performance.now() - startedMs).toBeLessThan(2_000)
  })
})

describe('writing to S3', () => {
  it('repeats an unconditional write until it is known to stand', async () => {
    const key = newKey()
    proxy.script([{ kind: 'resetBefore' }, { kind: 'resetAfter' }, ...times(4, status(503, 'SlowDown'))])
    await storage.put(key, mine)
    expect(text(await direct.get(key))).toBe('mine')
    proxy.script([status(503, 'SlowDown'), { kind: 'resetAfter' }])
    await storage.delete(key)
    expect(await direct.get(key)).toBeUndefined()
  })

  it('does not believe in a file whose size is wrong', async () => {
    const file = path.join(storage.scratch, 'short.parquet')
    await writeFile(file, mine)
    proxy.script([{ kind: 'wrongLength' }], (method) => method === 'HEAD')
    await expect(storage.putFile(newKey(), file)).rejects.toMatchObject({ code: 'store.corrupt' })
    await storage.putFile(newKey(), file) // it is still there
  })

  it('aborts an upload in parts that is refused, and settles one whose last answer was lost', async () => {
    const file = path.join(storage.scratch, 'large.parquet')
    await writeFile(file, Buffer.alloc(65 * 1024 * 1024, 3))
    const key = newKey()
    proxy.script([{ kind: 'pass' }, status(403, 'AccessDenied')], (_, url) => url.includes('partNumber='))
    await expect(storage.putFile(key, file)).rejects.toMatchObject({ code: 'store.denied' })
    expect(proxy.seen.at(-1)).toMatchObject({ method: 'DELETE', url: expect.stringContaining('uploadId=') })
    expect(await direct.head(key)).toBeUndefined()

    proxy.script([{ kind: 'resetAfter' }], (method, url) => method === 'POST' && url.includes('uploadId='))
    await storage.putFile(key, file)
    expect(await direct.head(key)).toMatchObject({ sizeBytes: 65 * 1024 * 1024 })
  }, 60_000)

  it('asks its provider for new credentials when the old ones have ended', async () => {
    let given = 0
    const provider = http.createServer((_, response) => {
      given += 1
      const Expiration = new Date(Date.now() + 3_600_000).toISOString()
      response.setHeader('content-type', 'application/json')
      response.end(JSON.stringify({ AccessKeyId: `key${given}`, SecretAccessKey: 's', Token: 't', Expiration }))
    })
    provider.listen(0, '127.0.0.1')
    await once(provider, 'listening')
    const variable = 'AWS_CONTAINER_CREDENTIALS_FULL_URI'
    process.env[variable] = `http://127.0.0.1:${(provider.address() as AddressInfo).port}/`
    try {
      const { accessKeyId: _, secretAccessKey: __, ...anonymous } = settings
      const renewing = await openStorage(anonymous, clock)
      proxy.script([status(400, 'ExpiredToken')])
      expect(await renewing.putIfAbsent(newKey(), mine)).toEqual({ kind: 'created' })
      const signers = proxy.seen.map(({ headers }) => /Credential=(\w+)\//.exec(headers.authorization ?? '')?.[1])
      expect(signers).toHaveLength(2)
      expect(signers[0]).toMatch(/^key/)
      expect(signers[1]).toMatch(/^key/)
      expect(signers[1]).not.toBe(signers[0])
      await renewing.close()
    } finally {
      delete process.env[variable]
      provider.closeAllConnections()
      provider.close()
    }
  })

  it('holds few connections and leaves none', async () => {
    const leaky = await openStorage(settings, clock)
    const before = await proxy.connections()
    proxy.script([{ kind: 'resetAfter' }, status(503, 'SlowDown'), { kind: 'cut', afterBytes: 1, how: 'reset' }])
    for (let round = 0; round < 10; round++) {
      await Promise.all(Array.from({ length: 30 }, () => leaky.putIfAbsent(newKey(), mine)))
      await Promise.all(Array.from({ length: 30 }, (_, i) => leaky.get(`k/${String(i).padStart(4, '0')}`)))
      expect((await proxy.connections()) - before).toBeLessThanOrEqual(64)
    }
    await leaky.close()
    await expect.poll(() => proxy.connections(), { timeout: 5_000 }).toBeLessThanOrEqual(before)
  })
})
