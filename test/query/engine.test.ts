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
