import { readdir, readFile, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Engine } from '../../src/query/engine.ts'
import { Random } from '../simulation/random.ts'
import { makeLake, openLakeEngine, type TestLake } from '../server/support.ts'

// A data file that is broken fails the queries that read it, by its name, and no others.

describe.each(['local', 'memory'] as const)('a lake in a %s store', (kind) => {
  let lake: TestLake
  let engine: Engine
  let key: string
  let whole: Uint8Array
  let foreign: Uint8Array

  beforeAll(async () => {
    lake = await makeLake({ shop: ['orders'], web: ['views'] }, kind)
    await lake.commit('shop', 500)
    await lake.commit('web', 3)
    for await (const each of lake.storage.list('tables/orders/data/')) key = each.key
    whole = (await lake.storage.get(key))!
    for await (const each of lake.storage.list('tables/views/data/')) foreign = (await lake.storage.get(each.key))!
    engine = await openLakeEngine(lake, { children: 1 })
  }, 60_000)
  afterAll(async () => {
    await engine.close()
    await lake.close()
  })

  /** Breaks the file where queries read it: in the store, or in the copy of it on this machine. */
  async function put(bytes: Uint8Array): Promise<void> {
    await lake.storage.put(key, bytes)
    if (kind === 'local') return
    for (const name of await readdir(lake.cacheDir).catch(() => []))
      if (name.includes(path.basename(key, '.parquet')))
        await writeFile(path.join(lake.cacheDir, name), bytes, { mode: 0o644 })
  }

  const sums =
    'select count(*) n, sum(amount) s, sum(id) i, max(_offset) o, count(distinct hash(id, amount)) h from orders'

  test.each<[string, (bytes: Buffer) => Uint8Array]>([
    ['no end', (bytes) => bytes.fill(0, bytes.length - 8)],
    ['a footer beyond its beginning', (bytes) => (bytes.writeUInt32LE(0x7fff_ffff, bytes.length - 8), bytes)],
    ['a footer of zeros', (bytes) => bytes.fill(0, bytes.length - 200, bytes.length - 8)],
    ['zeros in the place of its pages', (bytes) => bytes.fill(0, 4, Math.floor(bytes.length / 2))],
    ['nothing but zeros', (bytes) => bytes.fill(0)],
    ['a whole file of another table', () => foreign],
  ])('%s', { timeout: 60_000 }, async (_, broken) => {
    await put(broken(Buffer.from(whole)))
    const failed = engine.rows({ sql: sums })
    await expect(failed).rejects.toMatchObject({ code: 'store.corrupt' })
    await expect(failed).rejects.toThrow(path.basename(key, '.parquet'))
    expect(await engine.rows({ sql: 'select count(*) n from views' })).toEqual([{ n: 3n }])
    await put(whole)
    expect(await engine.rows({ sql: 'select count(*) n, max(id) m from orders' })).toEqual([{ n: 500n, m: 499n }])
  })
})

test(
  'whatever is changed in a file, an answer or a code comes back, and other queries are answered',
  { timeout: 60_000 },
  async () => {
    const lake = await makeLake({ shop: ['orders'], web: ['views'] })
    await lake.commit('shop', 200)
    await lake.commit('web', 3)
    const engine = await openLakeEngine(lake, { children: 1 })
    const random = new Random(1, 'parquet')
    let key = ''
    for await (const each of lake.storage.list('tables/orders/data/')) key = each.key
    const whole = await readFile(path.join(lake.folder, 'store', key))
    const codes = new Map<string, number>()
    try {
      for (let run = 0; run < 16; run++) {
        const bytes = Buffer.from(whole)
        for (let k = 1 + random.int(4); k > 0; k--) bytes[random.int(bytes.length)] = random.int(256)
        await lake.storage.put(key, bytes)
        const code = await engine.rows({ sql: 'select sum(id) i, sum(amount) a, min(_offset) o from orders' }).then(
          () => 'rows',
          (error: { readonly code?: string }) => String(error.code),
        )
        codes.set(code, (codes.get(code) ?? 0) + 1)
      }
      expect(
        [...codes.keys()].filter((code) => !['rows', 'store.corrupt', 'sql.failed', 'sql.crashed'].includes(code)),
      ).toEqual([])
      expect(codes.get('store.corrupt')).toBeGreaterThan(1)
      expect(await engine.rows({ sql: 'select count(*) n from views' })).toEqual([{ n: 3n }])
    } finally {
      await engine.close()
      await lake.close()
    }
  },
)
