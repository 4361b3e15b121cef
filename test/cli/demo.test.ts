import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { Hono } from 'hono'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { demoSettings } from '../../src/cli/demo.ts'
import { demoDefinition } from '../../src/cli/demo-lake.ts'
import { keepShop } from '../../src/cli/demo-state.ts'
import { judge } from '../../src/cli/demo-verdict.ts'
import { systemClock, type Clock } from '../../src/clock.ts'
import { LakeError } from '../../src/error.ts'
import type { Lake } from '../../src/index.ts'
import { deadLetterSql, ledgerSql, shopEnds, shopLedger, type TableLedger } from '../../src/ingest/shop-ledger.ts'
import type { Positions } from '../../src/log.ts'
import type { Settings, ShopSettings } from '../../src/settings.ts'
import { run } from './support.ts'

let root: string
let folder: string
let count = 0
beforeAll(() => void (root = mkdtempSync(path.join(os.tmpdir(), 'kappalake-demo-'))))
beforeEach(() => void (folder = path.join(root, String(count++))))
afterAll(() => rmSync(root, { recursive: true, force: true }))

const EPOCH = Date.UTC(2026, 10, 1)
const shop: ShopSettings = { seed: 7, epochMs: EPOCH, recordsPerSecond: 5, recordsAtStart: 90 }

/** A lake that holds exactly what the generator says, or what a change makes of it. */
function lakeOf(
  of: ShopSettings,
  positions: Positions,
  change: (table: string, held: TableLedger) => TableLedger = (_, held) => held,
) {
  const ledger = shopLedger(of, positions)
  const closed: string[] = []
  const sql = async (text: string) => {
    for (const [table, exact] of ledger) {
      const held = change(table, exact)
      if (text === ledgerSql(table)) return [{ n: String(held.rows), digest: String(held.digest) }]
      if (text === deadLetterSql(table)) return [{ n: String(held.deadLetters), digest: String(held.deadLetterDigest) }]
    }
    throw new Error(text)
  }
  const pipelines = [{ flush: async () => ({ number: 9n, positions }) }]
  return {
    closed,
    lake: { pipelines, sql, http: () => new Hono(), close: async () => void closed.push('x') } as unknown as Lake,
  }
}

describe('the folder keeps the shop', () => {
  const clock: Clock = { ...systemClock, nowMs: () => EPOCH }
  test('from the first start on', async () => {
    const first = await keepShop(folder, {}, clock)
    expect(first).toEqual({ seed: 42, epochMs: EPOCH, recordsPerSecond: 50, recordsAtStart: 20_000 })
    const later = { ...clock, nowMs: () => EPOCH + 1e6 }
    expect(await keepShop(folder, {}, later)).toEqual(first)
    expect(await keepShop(folder, { seed: 42, rate: 50 }, later)).toEqual(first)
  })
  test('and refuses to become another', async () => {
    await keepShop(folder, { seed: 1 }, clock)
    const error = await keepShop(folder, { seed: 2 }, clock).catch((error: unknown) => error as LakeError)
    expect(error).toMatchObject({ code: 'config.invalid', message: expect.stringContaining('--seed 1, not 2') })
  })
  test('a file that is none is an error, not a new shop', async () => {
    await keepShop(folder, {}, clock)
    writeFileSync(path.join(folder, 'demo.json'), '{"seed":')
    await expect(keepShop(folder, {}, clock)).rejects.toMatchObject({ code: 'config.invalid' })
  })
})

describe('settings', () => {
  const options = { data: 'd', port: 7780 }
  test('disk and the in-process log by default', () => {
    const settings = demoSettings(options, '/x', shop, {})
    expect(settings.source).toEqual({ kind: 'shop', shop })
    expect(settings.store).toEqual({ url: 'file:///x/lake' })
    expect(settings.commit.minIntervalMs).toBe(500)
  })
  test('a real Kafka and a real S3', () => {
    const env = { AWS_ACCESS_KEY_ID: 'id', AWS_SECRET_ACCESS_KEY: 'key' }
    const given = { ...options, brokers: 'a:1, b:2', s3: 's3://bucket/p/', endpoint: 'http://h:1' }
    const settings = demoSettings(given, '/x', shop, env)
    expect(settings.source).toEqual({ kind: 'kafka', kafka: { brokers: ['a:1', 'b:2'] } })
    expect(settings.store).toEqual({
      url: 's3://bucket/p',
      endpoint: 'http://h:1',
      accessKeyId: 'id',
      secretAccessKey: 'key',
    })
    expect(settings.commit.minIntervalMs).toBe(2_000)
  })
  test('an endpoint without S3 is refused', () => {
    expect(() => demoSettings({ ...options, endpoint: 'http://h:1' }, '/x', shop, {})).toThrow(/without --s3/)
  })
})

describe('the verdict', () => {
  const positions = shopEnds(shop, EPOCH + 4_000)
  const signal = new AbortController().signal
  test('is yes for exactly what the generator made', async () => {
    const verdict = await judge(lakeOf(shop, positions).lake, shop, signal)
    expect(verdict).toMatchObject({ ok: true, seed: 7, version: '9', records: '330' })
    expect(verdict.tables.map(({ table, equal }) => [table, equal])).toEqual([
      ['orders', true],
      ['customers', true],
      ['page_views', true],
    ])
  })
  test.each<[string, (held: TableLedger) => TableLedger]>([
    ['a row too few', (held) => ({ ...held, rows: held.rows - 1n })],
    ['another row', (held) => ({ ...held, digest: held.digest + 1n })],
    ['another dead letter', (held) => ({ ...held, deadLetterDigest: held.deadLetterDigest + 1n })],
    ['a dead letter too many', (held) => ({ ...held, deadLetters: held.deadLetters + 1n })],
  ])('is no for %s', async (_, change) => {
    const { lake } = lakeOf(shop, positions, (table, held) => (table === 'customers' ? change(held) : held))
    expect(await judge(lake, shop, signal)).toMatchObject({
      ok: false,
      tables: [{ equal: true }, { equal: false }, { equal: true }],
    })
  })
  test('is no when the end of production was not reached', async () => {
    const ended = { ...shop, untilMs: EPOCH + 5_000 }
    expect((await judge(lakeOf(ended, positions).lake, ended, signal)).ok).toBe(false)
    expect((await judge(lakeOf(ended, shopEnds(ended, Infinity)).lake, ended, signal)).ok).toBe(true)
  })
  test('is no when a partition is missing', async () => {
    const fewer = new Map([...positions].filter(([id]) => id !== 'shop.orders/2'))
    expect((await judge(lakeOf(shop, fewer).lake, shop, signal)).ok).toBe(false)
  })
})

/** Time passes at once when somebody sleeps. */
function hasty(): Clock {
  let now = EPOCH
  return { ...systemClock, nowMs: () => now, sleep: async (ms) => void (now += ms) }
}

const ci = async (change?: (table: string, held: TableLedger) => TableLedger) => {
  let opened: Settings | undefined
  let closed: string[] = []
  const ran = await run(['demo', '--ci', '--no-tour', '--seed', '3', '--rate', '10', '--port', '0', '--data', folder], {
    clock: hasty(),
    parts: {
      open: async (definition, settings) => {
        opened = settings
        expect(definition).toBe(demoDefinition)
        const { shop } = settings.source as { shop: ShopSettings }
        const held = lakeOf(shop, shopEnds(shop, Infinity), change)
        closed = held.closed
        return held.lake
      },
    },
  })
  return { ...ran, opened, closed }
}

describe('demo --ci', () => {
  test('stops producing after its time, prints a verdict, and exits 0 only if equal', async () => {
    const { code, out, opened, closed } = await ci()
    expect(opened?.source).toMatchObject({ kind: 'shop', shop: { seed: 3, untilMs: EPOCH + 15_000 } })
    expect(JSON.parse(out)).toMatchObject({ ok: true, source: 'shop', records: String(3 * (20_000 + 150)) })
    expect([code, closed]).toEqual([0, ['x']])
    expect(JSON.parse(readFileSync(path.join(folder, 'demo.json'), 'utf8'))).not.toHaveProperty('untilMs')
  })
  test('exits 1 when a table differs', async () => {
    const { code, out, closed } = await ci((table, held) =>
      table === 'orders' ? { ...held, rows: held.rows + 1n } : held,
    )
    expect(JSON.parse(out).ok).toBe(false)
    expect([code, closed]).toEqual([1, ['x']])
  })
  test('a Kafka that is not there is one clear error, and 3', async () => {
    const { code, err } = await run(['demo', '--brokers', '127.0.0.1:1', '--data', folder], {})
    expect(err).toMatch(
      /^✗ kafka\.unavailable: no Kafka answers at 127\.0\.0\.1:1\n {2}cause: .*\n {2}next: Start Kafka there/,
    )
    expect(code).toBe(3)
  })
})
