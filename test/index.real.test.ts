import { spawn } from 'node:child_process'
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { LakeDefinition } from '../src/define.ts'
import { defineLake, open, t, table, type Lake, type LakeEvent, type OpenOptions } from '../src/index.ts'
import { shopDefinition, shopLedger } from '../src/ingest/shop-ledger.ts'
import type { Settings } from '../src/settings.ts'
import { childrenOf, until } from './support/processes.ts'
import { boundedShop, shopFaults, shopSettings, trustStore } from './support/shop-store.ts'

const SHOP = boundedShop(200)
const LIMIT_MS = 90_000
const [orders, , pageViews] = shopDefinition.pipelines[0]!.tables
const folder = mkdtempSync(path.join(os.tmpdir(), 'kappalake-index-'))
const opened: Lake[] = []

afterAll(async () => {
  for (const lake of opened) await lake.close()
  rmSync(folder, { recursive: true, force: true })
})

/** Settings of a store of its own. */
async function newStore(more: Partial<Settings> = {}): Promise<Settings> {
  const place = mkdtempSync(path.join(folder, 'lake-'))
  const store = { url: `file:${place}/lake` }
  await trustStore(store)
  return { ...shopSettings(store, SHOP, place), lanes: 1, ...more }
}

async function start(
  settings: Settings,
  options: OpenOptions = {},
  definition: LakeDefinition = shopDefinition,
): Promise<Lake> {
  const lake = await open(definition, settings, options)
  opened.push(lake)
  return lake
}

const stateOf = (lake: Lake) => lake.pipelines[0]!.status().state
const isIn = (lake: Lake, state: string) => until(state, () => stateOf(lake) === state)

describe('one lake', () => {
  let settings: Settings
  let lake: Lake
  beforeAll(async () => {
    settings = await newStore()
    lake = await start(settings)
  }, LIMIT_MS)

  test(
    'flush resolves with a version that holds all, and its tables are the ledger',
    { timeout: LIMIT_MS },
    async () => {
      const version = await lake.pipelines[0]!.flush()
      expect(version.positions.get('shop.customers/0')).toBe(200n)
      expect(await shopFaults(settings.store, SHOP)).toEqual([])
    },
  )

  test('sql: parameters, and tables by reference', { timeout: LIMIT_MS }, async () => {
    const expected = shopLedger(SHOP, (await lake.pipelines[0]!.flush()).positions)
    const [count] = await lake.sql<{ n: bigint }>`SELECT count(*) AS n FROM ${orders}`
    expect(count).toEqual({ n: expected.get('orders')!.rows })
    const hostile = "'; DROP TABLE orders; --"
    expect(await lake.sql`SELECT ${hostile} AS text, ${7} + ${35} AS n`).toEqual([
      { text: hostile, n: expect.anything() },
    ])
    expect(await lake.sql('SELECT count(*) AS n FROM page_views WHERE _offset < $1', 10)).toEqual([
      { n: expect.any(BigInt) },
    ])
    await expect(lake.sql`SELECT * FROM nothing_of_the_kind`).rejects.toMatchObject({
      code: expect.stringMatching(/sql|table/),
    })
  })

  test('waitFor: there already, never there, cancelled, unknown', { timeout: LIMIT_MS }, async () => {
    const version = await lake.waitFor(orders!, { partition: 0, offset: 3n })
    expect(version.positions.get('shop.orders/0')! > 3n).toBe(true)
    expect((await lake.waitFor('page_views__dlq', { partition: 2, offset: 0n })).number).toBeGreaterThan(0n)
    const stop = new AbortController()
    const never = lake.waitFor(pageViews!, { partition: 0, offset: 1_000_000n, signal: stop.signal })
    setTimeout(() => stop.abort(), 200)
    await expect(never).rejects.toMatchObject({ code: 'sql.cancelled' })
    await expect(lake.waitFor('nothing', { partition: 0, offset: 0n })).rejects.toMatchObject({ code: 'table.unknown' })
  })

  test('pause is in the version, resume takes it out, both are idempotent', { timeout: LIMIT_MS }, async () => {
    const [pipeline] = lake.pipelines
    await pipeline!.flush()
    await pipeline!.pause('a test')
    await pipeline!.pause('again')
    expect(pipeline!.status()).toMatchObject({
      state: 'paused',
      reason: { code: 'pipeline.paused', message: 'a test' },
    })
    const never = { partition: 0, offset: 1_000_000n }
    await expect(lake.waitFor('orders', never)).rejects.toMatchObject({ code: 'pipeline.paused' })
    await pipeline!.resume()
    await pipeline!.resume()
    await isIn(lake, 'running')
    await pipeline!.restart()
    expect((await pipeline!.flush()).paused).toBeUndefined()
  })

  test('http answers as a Hono app', { timeout: LIMIT_MS }, async () => {
    const answer = await lake.http().request('http://127.0.0.1/v1/pipelines/shop', { headers: { host: '127.0.0.1' } })
    expect(answer.status).toBe(200)
    expect(await answer.json()).toMatchObject({ name: 'shop', state: 'running', lag: { records: '0' } })
  })

  test('closing twice is closing once; afterwards a wait names the state', { timeout: LIMIT_MS }, async () => {
    await Promise.all([lake.close(), lake.close()])
    expect(stateOf(lake)).toBe('stopped')
    await expect(lake.waitFor('orders', { partition: 0, offset: 1_000_000n })).rejects.toMatchObject({
      code: 'pipeline.stopped',
    })
    await expect(lake.sql`SELECT 1`).rejects.toMatchObject({ code: 'sql.cancelled' })
    expect(childrenOf(process.pid)).toEqual([])
  })

  test('a paused pipeline stays paused over restarts', { timeout: LIMIT_MS }, async () => {
    const one = await start(settings)
    await isIn(one, 'running')
    await one.pipelines[0]!.pause('over night')
    await one.close()
    const two = await start(settings)
    await isIn(two, 'paused')
    expect(two.pipelines[0]!.status().reason).toMatchObject({ message: 'over night' })
    await two.pipelines[0]!.resume()
    await isIn(two, 'running')
    await two.close()
    expect(await shopFaults(settings.store, SHOP)).toEqual([])
  })

  test('an observer that throws stops nothing', { timeout: LIMIT_MS }, async () => {
    const observed = await start(await newStore(), {
      observer: () => {
        throw new Error('an onlooker')
      },
    })
    expect((await observed.pipelines[0]!.flush()).positions.get('shop.customers/0')).toBe(200n)
    await observed.close()
  })

  test('read-only: answers, follows, writes nothing', { timeout: LIMIT_MS }, async () => {
    const reader = await start(settings, { readOnly: true })
    expect(childrenOf(process.pid).filter(({ command }) => command.includes('lane-child'))).toEqual([])
    const [row] = await reader.sql<{ n: bigint }>`SELECT count(*) AS n FROM ${orders}`
    expect(row!.n).toBeGreaterThan(10n)
    expect((await reader.waitFor('orders', { partition: 0, offset: 5n })).number).toBeGreaterThan(1n)
    expect(stateOf(reader)).toBe('standby')
    await expect(reader.pipelines[0]!.pause('no')).rejects.toMatchObject({ code: 'pipeline.not_owner' })
    await reader.close()
  })

  test('a changed definition is superseded, and says which table', { timeout: LIMIT_MS }, async () => {
    const changed = defineLake({
      shop: [
        table('orders', { from: { topic: 'shop.orders' }, columns: { orderId: t.string() } }),
        ...shopDefinition.pipelines[0]!.tables.slice(1),
      ],
    })
    const lake = await start(settings, {}, changed)
    await isIn(lake, 'superseded')
    expect(lake.pipelines[0]!.status().reason).toMatchObject({
      code: 'code.changed',
      context: { tables: ['orders'] },
    })
    await expect(lake.pipelines[0]!.pause('no')).rejects.toMatchObject({ code: 'pipeline.not_owner' })
    await expect(lake.pipelines[0]!.acceptCode()).rejects.toMatchObject({ code: 'code.not_continuable' })
    const [row] = await lake.sql<{ n: bigint }>`SELECT count(*) AS n FROM ${orders}`
    expect(row!.n).toBeGreaterThan(10n)
    await lake.close()
  })

  test('other code goes on from here when it is asked for, and the rows stay', { timeout: LIMIT_MS }, async () => {
    const [shop] = shopDefinition.pipelines
    const tables = shop!.tables.map((each) => {
      if (each.name !== 'page_views') return each
      return { ...each, columns: [...each.columns, { name: 'note', type: { kind: 'string' } as const }] }
    })
    const lake = await start(settings, { acceptCode: true }, { pipelines: [{ ...shop!, tables }] })
    await isIn(lake, 'running')
    const [row] = await lake.sql<{
      n: bigint
      notes: bigint
    }>`SELECT count(*) AS n, count(note) AS notes FROM page_views`
    expect([row!.n > 10n, row!.notes]).toEqual([true, 0n])
    await lake.close()
    const old = await start(settings)
    await isIn(old, 'superseded')
    await old.close()
  })

  test('a table of another pipeline is claimed', { timeout: LIMIT_MS }, async () => {
    const other = defineLake({
      stall: [table('orders', { from: { topic: 'shop.orders' }, columns: { orderId: t.string() } })],
    })
    const lake = await start(settings, {}, other)
    await isIn(lake, 'failed')
    expect(lake.pipelines[0]!.status().reason).toMatchObject({ code: 'table.claimed' })
    await lake.close()
  })
})

describe('two lakes on one store', () => {
  test.each([
    ['of different names', 'two'],
    ['of the same name', 'one'],
  ])('%s: one writes, the other stands by and takes over at once', { timeout: LIMIT_MS }, async (_, writer) => {
    const base = await newStore()
    const shop = { ...SHOP, recordsPerSecond: 100, epochMs: Date.now() }
    const { untilMs: _never, ...growing } = shop
    const settings = { ...base, source: { kind: 'shop' as const, shop: growing }, takeoverAfterMs: 600_000 }
    const lakes = [await start(settings), await start({ ...settings, writer })] as const
    const owner = await until('an owner', async () => {
      const [one, two] = lakes.map(stateOf)
      return one === 'running' && two === 'standby' ? 0 : one === 'standby' && two === 'running' ? 1 : undefined
    })
    const standby = lakes[1 - owner]!
    await lakes[owner]!.pipelines[0]!.flush()
    await expect(standby.pipelines[0]!.pause('no')).rejects.toMatchObject({ code: 'pipeline.not_owner' })
    const seen = await standby.waitFor('orders', { partition: 0, offset: 50n })
    expect(seen.positions.get('shop.orders/0')! > 50n).toBe(true)
    await lakes[owner]!.close()
    const releasedMs = performance.now()
    await isIn(standby, 'running')
    expect(performance.now() - releasedMs).toBeLessThan(30_000)
    await standby.pipelines[0]!.flush()
    await standby.close()
    expect(await shopFaults(base.store, shop)).toEqual([])
  })
})

describe('life and death', () => {
  test('settings as a program writes them; a broker that is away is waited for', { timeout: LIMIT_MS }, async () => {
    const { store, query } = await newStore()
    const events: LakeEvent[] = []
    const lake = await open(
      shopDefinition,
      {
        kafka: { brokers: '127.0.0.1:9' },
        store: store.url,
        lanes: 1,
        query: { children: 1, cacheDir: query.cacheDir },
      },
      { observer: (event) => events.push(event) },
    )
    opened.push(lake)
    expect(stateOf(lake)).toBe('starting')
    const stop = new AbortController()
    const flushed = lake.pipelines[0]!.flush(stop.signal)
    setTimeout(() => stop.abort(), 300)
    await expect(flushed).rejects.toMatchObject({ code: 'sql.cancelled' })
    expect((await lake.http().request('http://127.0.0.1/healthz', { headers: { host: '127.0.0.1' } })).status).toBe(200)
    await lake.close()
    expect(events.filter(({ kind }) => kind === 'state')).toMatchObject([{ state: 'stopped' }])
    expect(childrenOf(process.pid)).toEqual([])
  })

  test('await using and an aborted signal end every process', { timeout: LIMIT_MS }, async () => {
    const settings = await newStore()
    {
      await using lake = await open(shopDefinition, settings)
      await lake.pipelines[0]!.status()
      expect(childrenOf(process.pid).length).toBeGreaterThan(0)
    }
    expect(childrenOf(process.pid)).toEqual([])
    const stop = new AbortController()
    const lake = await start(settings, { signal: stop.signal })
    stop.abort()
    await until('the end of all processes', () => childrenOf(process.pid).length === 0)
    expect(stateOf(lake)).toBe('stopped')
    const stillborn = await start(settings, { signal: stop.signal })
    await until('the end of all processes', () => childrenOf(process.pid).length === 0)
    expect(stateOf(stillborn)).toBe('stopped')
  })

  test('a program that closes its lake ends by itself', { timeout: LIMIT_MS }, async () => {
    const settings = await newStore()
    const program = path.join(folder, 'program.mjs')
    const index = path.resolve(import.meta.dirname, '../dist/index.js')
    writeFileSync(
      program,
      `import { defineLake, open, t, table } from ${JSON.stringify(index)}
const definition = defineLake({ shop: [table('customers', { from: { topic: 'shop.customers' }, columns: { name: t.string() } })] })
const lake = await open(definition, ${JSON.stringify(settings)})
const { number } = await lake.waitFor('customers', { partition: 0, offset: 199n })
const [row] = await lake.sql\`SELECT count(*) AS n FROM customers\`
await lake.close()
console.log(number > 1n && row.n > 100n)
`,
    )
    expect(await ended(program)).toEqual({ code: 0, output: 'true\n' })
  })

  test('what cannot open leaves nothing behind', { timeout: LIMIT_MS }, async () => {
    const settings = await newStore()
    const refused = (given: Settings) => expect(open(shopDefinition, given)).rejects
    await refused({ ...settings, store: { url: 'ftp://nowhere' } }).toMatchObject({ code: 'config.invalid' })
    const file = path.join(folder, 'a-file')
    writeFileSync(file, '')
    await refused({ ...settings, store: { url: `file:${file}` } }).toMatchObject({ code: 'config.invalid' })
    // The store is open by then, query processes and lanes run.
    const before = scratches(settings)
    const definition: LakeDefinition = {
      ...shopDefinition,
      get pipelines() {
        if (childrenOf(process.pid).length >= 2) throw new Error('no more')
        return shopDefinition.pipelines
      },
    }
    await expect(open(definition, settings)).rejects.toThrow('no more')
    // A killed lane cannot tidy up; whoever opens the store next does.
    await (await start(settings, { readOnly: true })).close()
    expect(scratches(settings)).toEqual(before)
    expect(childrenOf(process.pid)).toEqual([])
    await expect(open(shopDefinition, { store: 'file:x' } as never)).rejects.toMatchObject({ code: 'config.invalid' })
  })
})

function scratches({ store }: Settings): string[] {
  return readdirSync(path.join(store.url.slice('file:'.length), '.scratch'))
}

function ended(program: string): Promise<{ code: number | null; output: string }> {
  const child = spawn(process.execPath, [program], { stdio: ['ignore', 'pipe', 'pipe'] })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (bytes: Buffer) => (output += bytes))
  const timer = setTimeout(() => child.kill('SIGKILL'), 60_000)
  return new Promise((resolve) =>
    child.on('exit', (code) => {
      clearTimeout(timer)
      resolve({ code, output })
    }),
  )
}
