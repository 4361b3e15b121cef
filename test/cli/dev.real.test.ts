import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { freePort } from '../../infra/ports.mjs'
import type { OpenLake } from '../../src/cli/serve.ts'
import { loadConfig } from '../../src/config.ts'
import { open, type Lake } from '../../src/index.ts'
import { childrenOf, until } from '../support/processes.ts'
import { boundedShop, shopSettings, trustStore } from '../support/shop-store.ts'
import { run, type Ran } from './support.ts'

// A definition as somebody works on it: saved, broken, mended, while `dev` looks at its files.

const SHOP = boundedShop(600)
const LIMIT_MS = 120_000
const folder = mkdtempSync(path.join(os.tmpdir(), 'kappalake-dev-'))
const store = { url: `file:${folder}/lake` }
const texts = { out: '', err: '' }
let ending = new AbortController()
let running: Promise<Ran> | undefined
let lake: Lake | undefined

afterAll(async () => {
  ending.abort()
  await running
  rmSync(folder, { recursive: true, force: true })
}, LIMIT_MS)

const write = (file: string, text: string) => writeFileSync(path.join(folder, 'src', file), text)
const select = (revenue: string) => `export const select = { n: 'count()', revenue: ${JSON.stringify(revenue)} }\n`

/** The log is the shop's, and short; all else is as the file says. */
const openShop: OpenLake = async (definition, settings, options) => {
  const shop = { ...shopSettings(store, SHOP, folder), lanes: 1, http: settings.http, writer: 'dev' }
  return (lake = await open(definition, shop, options))
}

const told = async (text: string | RegExp) => {
  const isTold = () => (typeof text === 'string' ? texts.out.includes(text) : text.test(texts.out))
  await until(String(text), isTold, 20_000).catch((error: Error) => {
    throw new Error(`${error.message}\n${texts.out}${texts.err}`)
  })
}
async function start(): Promise<void> {
  ending = new AbortController()
  Object.assign(texts, { out: '', err: '' })
  running = run(['dev', '--config', 'src/kappalake.yaml'], {
    folder,
    signal: ending.signal,
    parts: { open: openShop },
    onText: (to, text) => void (texts[to] += text),
  })
  await told('watching the definition')
}

const revenue = async (port: number): Promise<string> => {
  const sql = encodeURIComponent('SELECT count(*) AS n, sum(revenue) AS revenue FROM revenue_1m')
  const response = await fetch(`http://127.0.0.1:${port}/v1/query?q=${sql}`)
  return JSON.stringify(((await response.json()) as { readonly rows: unknown }).rows)
}

test('change, look, break, mend', { timeout: LIMIT_MS }, async () => {
  const port = await freePort()
  mkdirSync(path.join(folder, 'src'))
  await trustStore(store)
  write('select.ts', select('sum(amount)'))
  write(
    'lake.ts',
    `import { defineLake, t, table, tumbling } from 'kappalake'
import { select } from './select.ts'
const orders = table('orders', {
  from: { topic: 'shop.orders' },
  columns: { orderId: t.string().required(), status: t.string(), amount: t.decimal(12, 2), updatedAt: t.timestamptz().required() },
  key: ['orderId'],
  eventTime: { column: 'updatedAt', outOfOrderness: '5s' },
})
const revenue = tumbling('revenue_1m', orders, { size: '1m', allowedLateness: '10m', groupBy: ['status'], select })
export default defineLake({ shop: [orders, revenue] })
`,
  )
  write('kappalake.yaml', `kafka: { brokers: [localhost:9092] }\nhttp: { port: ${port} }\nstore: file:../lake\n`)
  await start()
  await lake!.pipelines[0]!.flush()
  const before = await revenue(port)

  // What does not compile is told with file and line, and nothing stops.
  write('select.ts', 'export const select = {\n')
  await told(/select\.ts:2:\d+[\s\S]*the definition from before goes on/)
  expect(await revenue(port)).toBe(before)

  // Mended, and another aggregate: shown, and in its place.
  write('select.ts', select("sum(amount) where status <> 'cancelled'"))
  await told(/src\/select\.ts: shop\.revenue_1m changed/)
  await told(/replay [0-9a-f]{8} of shop: cut-over/)
  expect(texts.out).toMatch(/≠ revenue_1m +\d+ rows · \d+ changed[\s\S]*revenue: [\d.]+ → null/)
  expect(texts.out).toMatch(/next: kappalake replay rollback [0-9a-f]{8}\n/)
  expect(texts.out).not.toContain('accept:')
  expect(texts.err).toMatch(/^≠ shop: the definition is not the one[^\n]*revenue[^\n]*\n$/)
  await until('a run', () => lake!.pipelines[0]!.status().state === 'running')
  expect(await revenue(port)).not.toBe(before)

  // A comment means nothing; a setting is no code.
  write('select.ts', `// revenue\n${select("sum(amount) where status <> 'cancelled'")}`)
  await told('= src/select.ts: nothing else is meant')
  const first = lake
  write(
    'kappalake.yaml',
    `kafka: { brokers: [localhost:9092] }\nhttp: { port: ${port} }\nstore: file:../lake\nlanes: 3\n`,
  )
  await told('lanes changed, and no table')
  await until('another lake', () => lake !== first)
  await until('a run', () => lake!.pipelines[0]!.status().state === 'running')
  expect(texts.out.match(/replay [0-9a-f]{8} of shop/g)).toHaveLength(1)

  ending.abort()
  expect((await running!).code).toBe(0)
  await until('no process left', () => childrenOf(process.pid).length === 0)
})

test(
  'a replay that is under way goes on, and one of a definition that has changed since is replaced',
  {
    timeout: LIMIT_MS,
  },
  async () => {
    write('select.ts', select('max(amount)'))
    const { definition, settings } = await loadConfig({ folder: path.join(folder, 'src') })
    const before = await openShop(definition, settings)
    await until('other code', () => before.pipelines[0]!.status().state === 'superseded')
    const slow = await before.replay('shop', { autoCutover: 'always', rateLimit: 20 })
    await until('a rebuild', async () => (await slow.status()).progress?.phase === 'rebuilding')
    await before.close()

    await start()
    await told(`the replay ${slow.id.slice(0, 8)} of this definition goes on`)
    write('select.ts', select('min(amount)'))
    await told(/replay [0-9a-f]{8} of shop: cut-over/)
    expect((await lake!.replays.get(slow.id)).state).toBe('cancelled')
    expect((await lake!.replays.list()).filter(({ state }) => state === 'done')).toHaveLength(2)
    expect(texts.out).toContain(`≠ revenue_1m`)

    ending.abort()
    expect((await running!).code).toBe(0)
    await until('no process left', () => childrenOf(process.pid).length === 0)
  },
)
