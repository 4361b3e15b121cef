import { mkdtempSync, rmSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { defineLake, open, table, tumbling, type Lake, type LakeEvent } from '../src/index.ts'
import { childrenOf, until } from './support/processes.ts'
import { boundedShop, shopSettings, trustStore } from './support/shop-store.ts'

// A lake with windows, in its own processes: one holds what is open, and may die at any moment.

const LIMIT_MS = 90_000
const folder = mkdtempSync(path.join(os.tmpdir(), 'kappalake-index-windows-'))
const opened: Lake[] = []

afterAll(async () => {
  for (const lake of opened) await lake.close()
  rmSync(folder, { recursive: true, force: true })
})

const views = table('views', {
  from: { topic: 'shop.page_views' },
  columns: { viewId: 'string required', customerId: 'string', bytes: 'long', at: 'long required' },
  eventTime: { column: 'at', unit: 'ms', outOfOrderness: '5s' },
})
const byCustomer = tumbling('views_by_customer', views, {
  size: '1m',
  groupBy: ['customerId'],
  nullGroup: 'keep',
  select: { n: 'count()', total: 'sum(bytes)' },
})

const foldOf = () => childrenOf(process.pid).filter(({ command }) => command.includes('fold-child'))

/** Groups of the window table that are not what SQL makes of its source, less the late rows. */
const FAULTS = `
  WITH source AS (SELECT * EXCLUDE (_late), to_timestamp("at" // 60000 * 60) AS start FROM (
         SELECT customerId, bytes, "at", (_kafka_partition, _offset) IN (SELECT (_kafka_partition, _offset) FROM views_by_customer__late) AS _late
         FROM views) WHERE NOT _late),
       wanted AS (SELECT customerId, start, count(*) AS n, sum(bytes) AS total FROM source GROUP BY ALL),
       found AS (SELECT customerId, window_start AS start, n, total FROM views_by_customer)
  SELECT count(*) AS n FROM ((FROM wanted EXCEPT FROM found) UNION ALL (FROM found EXCEPT FROM wanted))`

test(
  'windows equal their source, also after the process that holds them was killed',
  { timeout: LIMIT_MS },
  async () => {
    const place = mkdtempSync(path.join(folder, 'lake-'))
    const store = { url: `file:${place}/lake` }
    await trustStore(store)
    const settings = { ...shopSettings(store, boundedShop(1_500), place), lanes: 2 }
    const events: LakeEvent[] = []
    const definition = defineLake({ shop: [views, byCustomer] })
    const lake = await open(definition, settings, { observer: (event) => events.push(event) })
    opened.push(lake)
    const [killed] = await until('a fold', () => foldOf().length > 0 && foldOf())
    await until('a commit', () => events.some((event) => event.kind === 'windows' && event.openRows > 0))
    process.kill(killed!.pid, 'SIGKILL')
    const version = await lake.pipelines[0]!.flush()
    expect(version.positions.get('shop.page_views/0')).toBeGreaterThan(0n)
    const [count] = await lake.sql<{ n: bigint }>`SELECT sum(n) AS n FROM ${byCustomer}`
    expect(Number(count!.n)).toBeGreaterThan(300)
    expect(await lake.sql(FAULTS)).toEqual([{ n: 0n }])
    expect(version.watermarksMs.views).toBe(version.watermarkMs)
    const [first] = foldOf()
    await lake.waitFor(byCustomer, { partition: 0, offset: 3n })
    if (first !== undefined) expect(first.pid).not.toBe(killed!.pid)
    await lake.close()
    expect(foldOf()).toEqual([])
  },
)
