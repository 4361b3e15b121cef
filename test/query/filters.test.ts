import { DuckDBInstance, type DuckDBConnection } from '@duckdb/node-api'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { tableUses } from '../../src/query/filters.ts'

let instance: DuckDBInstance
let connection: DuckDBConnection

beforeAll(async () => {
  instance = await DuckDBInstance.create(':memory:', { threads: '1' })
  connection = await instance.connect()
})
afterAll(() => {
  connection.closeSync()
  instance.closeSync()
})

async function usesOf(sql: string, tables: readonly string[]) {
  const answer = await connection.runAndReadAll('SELECT json_serialize_sql($1::VARCHAR)', [sql])
  return tableUses(String(answer.getRowsJS()[0]![0]), tables, [])
}

describe('conditions that certainly hold for what a table gives', () => {
  const texts = (filters: readonly { readonly column: string; readonly op: string }[]) =>
    filters.map(({ column, op }) => `${column} ${op}`)

  test.each<[string, string[][]]>([
    ['select * from t where a = 1 and 2 < b and c is null', [['a =', 'b >', 'c null']]],
    ['select * from t where a = 1 or b = 2', [[]]],
    ['select * from t where not a = 1', [[]]],
    ['select * from t where a + 1 = 2 and abs(b) = 1 and a = b', [[]]],
    ['select * from t where a = null and b = 99999999999999999999', [[]]],
    ['select a as b from t where b = 1 and c = 2', [['c =']]],
    ['select * from t as x(k, l) where k = 1', [[]]],
    ['select * from t tablesample 10% where a = 1', [[]]],
    ['select * from t where a = 1 using sample 3', [[]]],
    ['select * from (select * from t) where a = 1', [[]]],
    ['with t as (select 1 a) select * from t where a = 1', [[]]],
    ['with u as (select * from t where a = 1) select * from u', [['a =']]],
    ['select * from t where a = 1 union all select * from t where b = 2', [['a ='], ['b =']]],
    ['select * from t where a = 1 and exists (select 1 from t where b > 1)', [['a ='], ['b >']]],
    ['select * from t where a = (select max(a) from t)', [[], []]],
    ['select * from t join u using (id) where t.a = 1 and a = 2 and u.b = 3 and t.c is null', [['a =']]],
    ['select * from u left join t x using (id) where x.a = 1 and x.c is not null', [['a =', 'c not null']]],
    ['select * from t, t y where t.a = 1 and y.b = 2', [['a ='], ['b =']]],
    ['select * from t asof join u using (id, ts) where t.a = 1', [[]]],
    ['select * from t positional join u where t.a = 1', [[]]],
    ['select * from u where a = 1 and exists (from t where t.b = u.b and u.c = 3)', [[]]],
  ])('%s', async (sql, expected) => {
    const [use] = await usesOf(sql, ['t'])
    expect(use!.scans.map(texts)).toEqual(expected)
  })

  test.each([
    ['select count(*) from t', true],
    ['select COUNT(*) as n from T x', true],
    ['select count(*) from t where a = 1', false],
    ['select count(*), 1 from t', false],
    ['select count(a) from t', false],
    ['select count(*) from t limit 0', false],
    ['select count(*) from t, u', false],
    ['select count(*) from t group by ()', false],
    ['select count(*) filter (where a) from t', false],
    ['select count(*) over () from t', false],
    ['select count(*) from t tablesample 1 rows', false],
    ['with t as (select 1) select count(*) from t', false],
    ['select count(*) from t having count(*) > 1', false],
  ])('%s: a number of rows alone? %s', async (sql, isCount) => {
    const [use] = await usesOf(sql, ['t'])
    expect(use!.isCount).toBe(isCount)
  })
})
