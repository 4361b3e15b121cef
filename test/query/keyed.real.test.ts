import { readdir } from 'node:fs/promises'
import { afterEach, describe, expect, test } from 'vitest'
import { readDeletedRows, type StoredFile } from '../../src/lake/table.ts'
import type { Engine } from '../../src/query/engine.ts'
import { POSITIONS_MAX } from '../../src/query/table-files.ts'
import { metricsOf } from './metrics.ts'
import { makeKeyedLake, type Change, type KeyedLake, type KeyedRow } from './keyed-lake.ts'

let closing: { close(): Promise<void> }[] = []
afterEach(async () => {
  for (const each of closing.toReversed()) await each.close()
  closing = []
})

async function start(kind: 'local' | 'memory', besideRowsMin?: number): Promise<{ lake: KeyedLake; engine: Engine }> {
  const lake = await makeKeyedLake(kind, besideRowsMin)
  const engine = await lake.openEngine()
  closing.push(lake, engine)
  return { lake, engine }
}

/** Some keys over and over, some deleted, some twice in one commit. */
function changes(round: number): Change[] {
  return Array.from({ length: 40 }, (_, k) => {
    const id = BigInt(round % 2 === 0 ? (k * 7 + round) % 30 : 100 * round + k)
    return { id, amount: (k + round) % 9 === 0 ? undefined : BigInt(k * 100 + round), note: `round ${round}` }
  })
}

const sorted = (rows: ReadonlyMap<bigint, KeyedRow>) => [...rows.values()].toSorted((a, b) => (a.id < b.id ? -1 : 1))

describe.each([
  ['local', undefined],
  ['memory', undefined],
  ['local', 1],
  ['memory', 20],
] as const)('a keyed table in a %s store, with files beside those of %s rows', (kind, besideRowsMin) => {
  test('every version shows the current row of each key, whatever is asked', async () => {
    const { lake, engine } = await start(kind, besideRowsMin)
    for (let round = 0; round < 6; round++) await lake.commit(changes(round))
    for (const [version, state] of lake.states) {
      const asOf = `shop@${version}`
      const rows = sorted(state)
      const all = await engine.rows({ sql: 'SELECT id, _offset AS o FROM orders ORDER BY id', asOf })
      expect(all).toEqual(rows.map(({ id, offset }) => ({ id, o: offset })))
      const top = await engine.rows({ sql: 'SELECT * FROM orders ORDER BY _offset DESC LIMIT 5', asOf })
      expect(top.map((row) => row['id'])).toEqual(
        [...rows]
          .toSorted((a, b) => Number(b.offset - a.offset))
          .slice(0, 5)
          .map(({ id }) => id),
      )
      const ask = async (sql: string) => (await engine.rows({ sql, asOf }))[0]!['n']
      expect(await ask('SELECT count(*) n FROM orders')).toBe(BigInt(rows.length))
      const some = rows.filter(({ id, note }) => id >= 10n && id < 320n && note !== 'round 2')
      expect(await ask(`SELECT count(*) n FROM orders WHERE id >= 10 AND id < 320 AND note <> 'round 2'`)).toBe(
        BigInt(some.length),
      )
      expect(await ask('SELECT sum(amount * 100)::BIGINT n FROM orders o WHERE 12 > o.id')).toBe(
        rows.filter(({ id }) => id < 12n).reduce((sum, { amount }) => sum + amount, 0n),
      )
      expect(await ask('SELECT count(*) n FROM orders a JOIN orders b USING (id) WHERE a.id = 3 AND b.id < 9')).toBe(
        state.has(3n) ? 1n : 0n,
      )
    }
  })
})

describe('rows told apart by what stands beside them', () => {
  test('are the same as by their positions, and the files beside are made once', async () => {
    const { lake, engine } = await start('local', 1_000)
    const all = Array.from({ length: 30_000 }, (_, k): Change => ({ id: BigInt(k), amount: BigInt(k) }))
    await lake.commit(all)
    await lake.commit(all.filter(({ id }) => (id * id) % 7n === 2n || id > 29_900n))
    const scan = 'SELECT count(id) n, sum(id)::BIGINT s, sum(hash(id, _offset)) h FROM orders'
    const [beside] = await engine.rows({ sql: scan })
    expect((await readdir(lake.cacheDir)).length).toBe(1)
    expect(beside).toEqual((await engine.rows({ sql: `${scan} WHERE id >= 0` }))[0])
    expect(beside).toMatchObject({ n: 30_000n, s: (30_000n * 29_999n) / 2n })
    expect((await engine.rows({ sql: scan, asOf: 'shop@1' }))[0]).toMatchObject({ n: 30_000n })
    expect((await readdir(lake.cacheDir)).length).toBe(1)
  })

  test('are found by their positions where there is no room for a file beside', async () => {
    const lake = await makeKeyedLake('local', 1)
    const engine = await lake.openEngine({ cacheBytesMax: 1 })
    closing.push(lake, engine)
    for (let round = 0; round < 3; round++) await lake.commit(changes(round))
    const rows = sorted(lake.states.get(3n)!)
    expect(await engine.rows({ sql: 'SELECT id FROM orders ORDER BY id' })).toEqual(rows.map(({ id }) => ({ id })))
  })

  test('may be more dead ones than a query takes as positions', async () => {
    const { lake, engine } = await start('local', 1)
    await lake.commit(changes(1))
    await lake.commit(changes(1).slice(3))
    const files = await lake.scan.storedFiles(lake.storage, lake.table())
    const { scan } = lake
    const many = files.map((file) =>
      file.deletes === undefined ? file : { ...file, deletes: { ...file.deletes, count: POSITIONS_MAX + 1 } },
    )
    lake.files.set(lake.table().metadata, many)
    scan.readDeletedRows = (storage, file) =>
      readDeletedRows(
        storage,
        files.find(({ key }) => key === file.key)!,
      )
    const rows = sorted(lake.states.get(2n)!).filter(({ id }) => id > 105n)
    const sql = 'SELECT id FROM orders WHERE id > 105 ORDER BY id'
    expect(await engine.rows({ sql })).toEqual(rows.map(({ id }) => ({ id })))
  })
})

describe('only what is needed', () => {
  test('files that the manifests rule out are not downloaded, and none for a count', async () => {
    const { lake, engine } = await start('memory')
    for (let round = 1; round < 12; round += 2) await lake.commit(changes(round))
    const cached = async () => (await readdir(lake.cacheDir).catch(() => [])).length
    const [{ n } = {}] = await engine.rows({ sql: 'select count(*) as n from orders' })
    expect([n, await cached()]).toEqual([BigInt(lake.states.get(6n)!.size), 0])
    const sql = 'select id from orders where id between $1 and $2'
    expect(await engine.rows({ sql, params: ['701', 702] })).toEqual([{ id: 701n }])
    expect(await cached()).toBe(1)
    await engine.rows({ sql: `select id from orders where note in ('round 1', 'round 9')` })
    expect(await cached()).toBe(3)
    await engine.rows({ sql: 'select count(*) from orders where amount is not null' })
    expect(await cached()).toBe(6)
  })

  test('of ten thousand files, those that a condition leaves are opened, and no other needs to be there', async () => {
    const { lake, engine } = await start('local')
    await lake.commit(changes(1))
    const [real] = (await lake.scan.storedFiles(lake.storage, lake.table())) as [StoredFile]
    const many = Array.from({ length: 10_000 }, (_, k): StoredFile => {
      const metrics = new Map([[1, metricsOf('long', [BigInt(k * 1_000 + 5_000)])]])
      return { ...real, key: `tables/orders/data/absent-${k}.parquet`, metrics, deletes: undefined }
    })
    lake.files.set(lake.table().metadata, [...many.slice(0, 5_000), real, ...many.slice(5_000)])
    expect(await engine.rows({ sql: 'select id from orders where id <= 101 order by id' })).toEqual(
      [...lake.states.get(1n)!.keys()].filter((id) => id <= 101n).map((id) => ({ id })),
    )
    await expect(engine.rows({ sql: 'select id from orders where id <= 5000' })).rejects.toMatchObject({
      code: 'store.corrupt',
    })
  })

  test('more deleted rows than a query may take are refused', async () => {
    const { lake, engine } = await start('local')
    await lake.commit(changes(1))
    await lake.commit(changes(1))
    const files = await lake.scan.storedFiles(lake.storage, lake.table())
    lake.files.set(
      lake.table().metadata,
      files.map((file) =>
        file.deletes === undefined ? file : { ...file, deletes: { ...file.deletes, count: POSITIONS_MAX + 1 } },
      ),
    )
    await expect(engine.rows({ sql: 'select id from orders' })).rejects.toMatchObject({
      code: 'sql.failed',
      context: { deletedRowsMax: POSITIONS_MAX },
    })
  })
})
