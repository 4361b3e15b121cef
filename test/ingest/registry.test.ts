import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { systemClock } from '../../src/clock.ts'
import { openRegistry, type SchemaRegistry } from '../../src/ingest/registry.ts'
import { SchemaBook } from '../../src/ingest/schema-book.ts'
import type { RegistrySettings } from '../../src/settings.ts'
import { batchOf, definition } from '../support/lake-table.ts'
import { framed, RegistryServer, type Mood } from '../support/registry-server.ts'

let server: RegistryServer
let cacheDir: string
beforeEach(async () => {
  server = await RegistryServer.start()
  cacheDir = mkdtempSync(path.join(os.tmpdir(), 'kappalake-registry-'))
})
afterEach(async () => {
  await server.close()
  rmSync(cacheDir, { recursive: true, force: true })
})

const registryOf = (settings: Partial<RegistrySettings> = {}): SchemaRegistry =>
  openRegistry({ url: server.url, cacheDir, timeoutMs: 300, ...settings }, systemClock)
const ORDER = { type: 'record', name: 'Order', namespace: 'shop', fields: [{ name: 'id', type: 'long' }] }

describe('a schema', () => {
  test('is asked for once, and kept on disk', async () => {
    const id = server.add('orders-value', ORDER)
    expect(await registryOf().schema(id)).toMatchObject({ kind: 'schema', schema: { name: 'shop.Order' } })
    server.mood = 'away'
    expect(await registryOf().schema(id)).toMatchObject({ kind: 'schema', schema: { name: 'shop.Order' } })
    expect(server.asked).toEqual([`/api/schemas/ids/${id}`])
  })

  test('on disk that cannot be read is asked for again', async () => {
    const id = server.add('orders-value', ORDER)
    await registryOf().schema(id)
    const [folder] = readdirSync(cacheDir)
    for (const broken of ['', '{"type":"AVRO"}', '{"type":"AVRO","texts":[7]}']) {
      writeFileSync(path.join(cacheDir, folder!, `${id}.json`), broken)
      expect(await registryOf().schema(id)).toMatchObject({ kind: 'schema' })
    }
    expect(server.asked).toHaveLength(4)
  })

  test('brings those that it refers to, each once, through others too', async () => {
    server.add('shop/money', { type: 'fixed', name: 'Money', namespace: 'shop', size: 8 })
    const money = { name: 'shop.Money', subject: 'shop/money', version: 1 }
    server.add(
      'item',
      { type: 'record', name: 'shop.Item', fields: [{ name: 'price', type: 'Money' }] },
      { references: [money] },
    )
    const id = server.add(
      'basket',
      {
        type: 'record',
        name: 'shop.Basket',
        fields: [
          { name: 'items', type: { type: 'array', items: 'Item' } },
          { name: 'sum', type: 'Money' },
        ],
      },
      { references: [{ name: 'shop.Item', subject: 'item', version: 1 }, money] },
    )
    const entry = await registryOf().schema(id)
    expect(entry).toMatchObject({
      kind: 'schema',
      schema: { fields: [{ type: { items: { fields: [{ type: { size: 8 } }] } } }, { type: { size: 8 } }] },
    })
    expect(server.asked).toContain('/api/subjects/shop%2Fmoney/versions/1')
    expect(server.asked).toHaveLength(3)
  })

  test('of another type, or that is none, is there and cannot be read', async () => {
    const json = server.add('x', '{"type":"object"}', { type: 'JSON' })
    const broken = server.add('y', '{"type":"rec')
    expect(await registryOf().schema(json)).toMatchObject({
      kind: 'unreadable',
      message: 'it is a schema of type JSON',
    })
    expect(await registryOf().schema(broken)).toMatchObject({ kind: 'unreadable' })
  })

  test('that is not there is unknown, and not remembered', async () => {
    const id = server.add('orders-value', ORDER)
    server.hide(id, 1)
    const registry = registryOf()
    expect(await registry.schema(id)).toEqual({ kind: 'unknown' })
    expect(await registry.schema(id)).toMatchObject({ kind: 'schema' })
    expect(await registry.schema(-5)).toEqual({ kind: 'unknown' })
  })
})

describe('what is no answer of a registry', () => {
  test.each<[Mood, string, RegExp]>([
    ['away', 'registry.unavailable', /ECONNRESET|hang up/],
    ['slow', 'registry.unavailable', /did not answer within 300 ms/],
    ['error', 'registry.unavailable', /500/],
    ['redirect', 'registry.unavailable', /redirects \(302\), which is not followed/],
    ['web-page', 'registry.unavailable', /404/],
    ['endless', 'registry.unavailable', /more than \d+ bytes/],
    ['cut', 'registry.unavailable', /ended early|aborted/],
  ])('%s: %s', async (mood, code, message) => {
    const id = server.add('orders-value', ORDER)
    server.mood = mood
    const asking = registryOf().schema(id)
    await expect(asking).rejects.toMatchObject({ code, retryable: true, message: expect.stringMatching(message) })
    expect(server.asked.filter((asked) => asked.endsWith('elsewhere'))).toEqual([])
  })

  test('a redirect to itself is not followed even where that would help', async () => {
    server.mood = 'redirect'
    await expect(registryOf().schema(1)).rejects.toMatchObject({ code: 'registry.unavailable' })
    expect(server.asked).toHaveLength(1)
  })

  test.each([
    'http://169.254.169.254/',
    'http://[fe80::1]/',
    'http://[fd00:ec2::254]/',
    'http://[::ffff:169.254.169.254]/',
  ])('%s is not asked', async (url) => {
    await expect(registryOf({ url }).schema(1)).rejects.toMatchObject({ code: 'registry.denied' })
  })
})

describe('credentials', () => {
  test.each([
    [{ username: 'lake', password: 'secret' }, `Basic ${Buffer.from('lake:secret').toString('base64')}`],
    [{ token: 'abc' }, 'Bearer abc'],
  ])('%o', async (settings, header) => {
    const id = server.add('orders-value', ORDER)
    server.authorization = header
    expect(await registryOf(settings).schema(id)).toMatchObject({ kind: 'schema' })
    await expect(registryOf({ token: 'wrong', cacheDir: `${cacheDir}/other` }).schema(id)).rejects.toMatchObject({
      code: 'registry.denied',
      message: expect.not.stringContaining('wrong'),
    })
  })
})

describe('what a lane learns before it decodes', () => {
  const table = definition({ value: 'avro', avro: { schema: undefined, onIncompatible: 'stop' } })
  const clock = { ...systemClock, sleep: () => Promise.resolve() }
  const records = (...ids: readonly number[]) =>
    batchOf([...ids.map((id) => ({ value: framed(id, Buffer.of(2)) })), { value: null }, { value: 'no frame' }])

  test('is each id once', async () => {
    const [a, b] = [server.add('a', ORDER), server.add('b', ORDER)]
    const book = new SchemaBook(registryOf(), clock)
    await book.learn(table, [records(a, b, a), records(b)])
    await book.learn(table, [records(b, a)])
    // Both are asked for at once, and either may answer first.
    expect(new Set(book.schemas.keys())).toEqual(new Set([a, b]))
    expect(server.asked).toHaveLength(2)
  })

  test('is asked for again when it is missing, and then left alone for a while', async () => {
    let nowMs = 0
    const book = new SchemaBook(registryOf({ timeoutMs: 5_000 }), {
      ...systemClock,
      sleep: clock.sleep,
      monotonicMs: () => nowMs,
    })
    const [late, never] = [server.add('a', ORDER), 7]
    server.hide(late, 2)
    await book.learn(table, [records(late, never)])
    expect(book.schemas.get(late)).toMatchObject({ kind: 'schema' })
    expect(book.schemas.get(never)).toEqual({ kind: 'unknown' })
    const { length } = server.asked
    await book.learn(table, [records(never)])
    expect(server.asked).toHaveLength(length)
    nowMs = 20_000
    await book.learn(table, [records(never)])
    expect(server.asked).toHaveLength(length + 3)
  })

  test('is nothing while the registry is away, and nothing is said about a record', async () => {
    server.mood = 'error'
    const book = new SchemaBook(registryOf(), clock)
    await expect(book.learn(table, [records(5)])).rejects.toMatchObject({ code: 'registry.unavailable' })
    expect(book.schemas.size).toBe(0)
  })

  test('is bounded when records name any ids', async () => {
    const book = new SchemaBook({ schema: () => Promise.resolve({ kind: 'unknown' }) }, clock)
    await book.learn(table, [records(...Array.from({ length: 5_000 }, (_, k) => k))])
    expect([...book.schemas.values()].every(({ kind }) => kind === 'unknown')).toBe(true)
    expect(book.schemas.size).toBe(5_000)
  })
})
