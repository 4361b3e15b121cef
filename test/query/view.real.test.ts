import { readdir } from 'node:fs/promises'
import { afterEach, describe, expect, test } from 'vitest'
import { duckdbType } from '../../src/query/view-columns.ts'
import { makeLake, openLakeEngine } from '../server/support.ts'

let closing: { close(): Promise<void> }[] = []
afterEach(async () => {
  for (const each of closing) await each.close()
  closing = []
})

async function start(kind: 'local' | 'memory', pipelines: Readonly<Record<string, readonly string[]>>) {
  const lake = await makeLake(pipelines, kind)
  const engine = await openLakeEngine(lake)
  closing.push(engine, lake)
  return { lake, engine }
}

describe.each(['local', 'memory'] as const)('a lake in a %s store', (kind) => {
  test('a version is the same rows for ever, while versions go on', async () => {
    const { lake, engine } = await start(kind, { shop: ['orders'] })
    for (let n = 0; n < 4; n++) await lake.commit('shop', n * 2)
    const sql = 'select count(*) n, sum(hash(id, amount, _offset)) digest from orders'
    const read = (version: number) => engine.rows({ sql, asOf: `shop@${version}` })
    const before = await Promise.all([1, 2, 3, 4].map(read))
    expect(before.map(([row]) => row!['n'])).toEqual([0n, 2n, 6n, 12n])
    await lake.commit('shop', 5)
    expect(await Promise.all([1, 2, 3, 4].map(read))).toEqual(before)
    if (kind === 'memory') expect((await readdir(lake.cacheDir)).length).toBe(3)
  })

  test('all tables of a pipeline are read at one version, while it commits', async () => {
    const { lake, engine } = await start(kind, { shop: ['orders', 'lines'] })
    await lake.commit('shop', 1)
    let isDone = false
    const writing = (async () => {
      for (let n = 0; n < 8; n++) await lake.commit('shop', 3)
      isDone = true
    })()
    let reads = 0
    for (; !isDone; reads++) {
      const sql = 'select (select count(*) from orders) a, (select count(*) from lines) b'
      const [row] = await engine.rows({ sql })
      expect(row!['a']).toBe(row!['b'])
      expect((row!['a'] as bigint) % 3n).toBe(1n)
    }
    expect(reads).toBeGreaterThan(0)
    await writing
    expect(await engine.rows({ sql: 'select count(*) n from lines' })).toEqual([{ n: 25n }])
  })
})

test('a pipeline without a version has no tables yet', async () => {
  const { lake, engine } = await start('local', { shop: ['orders'] })
  await expect(engine.rows({ sql: 'from orders' })).rejects.toMatchObject({
    code: 'table.unknown',
    fix: expect.stringContaining('Ask again'),
  })
  await lake.commit('shop', 2)
  expect((await engine.rows({ sql: 'from orders' })).length).toBe(2)
})

test('Iceberg types as DuckDB names them', () => {
  const nested = {
    type: 'list',
    'element-id': 2,
    'element-required': false,
    element: {
      type: 'struct',
      fields: [
        { id: 3, name: 'a "b"', required: false, type: 'timestamptz' },
        {
          id: 4,
          name: 'm',
          required: false,
          type: {
            type: 'map',
            'key-id': 5,
            key: 'string',
            'value-id': 6,
            value: 'decimal(9, 2)',
            'value-required': false,
          },
        },
      ],
    },
  } as const
  expect(duckdbType(nested)).toBe('STRUCT("a ""b""" TIMESTAMP WITH TIME ZONE, "m" MAP(VARCHAR, DECIMAL(9,2)))[]')
  expect(['fixed[16]', 'uuid', 'long', 'float'].map(duckdbType)).toEqual(['BLOB', 'UUID', 'BIGINT', 'FLOAT'])
  expect(() => duckdbType('geometry')).toThrow('unknown type')
})
