import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { systemClock } from '../../src/clock.ts'
import { openEngine, type Engine } from '../../src/query/engine.ts'
import { CHILD_PATH, makeTables, querySettings, resolverOf, textOf } from './support.ts'

let engine: Engine
let tables: Awaited<ReturnType<typeof makeTables>>

beforeAll(async () => {
  tables = await makeTables()
  engine = await openEngine({
    settings: querySettings(),
    resolve: resolverOf(tables.views),
    clock: systemClock,
    childPath: CHILD_PATH,
  })
}, 30_000)

afterAll(async () => {
  await engine.close()
  await tables.remove()
})

describe('a query', () => {
  test('answers json that names columns, rows and versions', async () => {
    const result = await engine.query({ sql: 'select id, amount from orders where id < 2 order by id', format: 'json' })
    expect(JSON.parse(await textOf(result.body))).toEqual({
      columns: [
        { name: 'id', type: 'BIGINT' },
        { name: 'amount', type: 'DECIMAL(12,2)' },
      ],
      rows: [
        { id: '0', amount: '0.00' },
        { id: '1', amount: '1.50' },
      ],
      stats: { rows: 2, elapsedMs: expect.any(Number) },
      versions: { shop: '7' },
    })
  })
})

describe('tables', () => {
  test('one without files has its columns and no rows', async () => {
    const result = await engine.query({ sql: 'select * from empty', format: 'json' })
    expect(JSON.parse(await textOf(result.body))).toMatchObject({ columns: [{ name: 'id' }, {}, {}, {}], rows: [] })
    expect(await engine.rows({ sql: 'select count(*) n, sum(amount) s from empty' })).toEqual([{ n: 0n, s: null }])
  })

  test('columns are found by field id: added ones are null, renamed ones keep their values', async () => {
    const [orders] = tables.views
    const columns = [
      { fieldId: 2, name: 'state', type: 'VARCHAR' },
      { fieldId: 99, name: 'added', type: 'STRUCT("x y" BIGINT[])' },
      { fieldId: 1, name: 'id', type: 'BIGINT' },
    ]
    const changed = await openEngine({
      settings: querySettings({ children: 1 }),
      resolve: resolverOf([{ ...orders!, columns }]),
      clock: systemClock,
      childPath: CHILD_PATH,
    })
    expect(await changed.rows({ sql: 'select * from orders where id = 9' })).toEqual([
      { state: 'paid', added: null, id: 9n },
    ])
    await changed.close()
  })
})
