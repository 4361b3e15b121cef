import { mkdtemp, rm } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { DuckDBInstance } from '@duckdb/node-api'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { QueryParams, View } from '../../src/query/messages.ts'
import { Sandbox } from '../../src/query/sandbox.ts'
import { topRowsOf } from '../../src/query/top-rows.ts'
import { viewSql } from '../../src/query/view-sql.ts'
import { writeParquet } from './support.ts'

const COLUMNS = [
  { fieldId: 1, name: 'id', type: 'BIGINT' },
  { fieldId: 2, name: 'amount', type: 'DECIMAL(12,2)' },
  { fieldId: 3, name: 'city', type: 'VARCHAR' },
  { fieldId: 4, name: 'note', type: 'VARCHAR' },
  { fieldId: 5, name: 'address', type: 'STRUCT(city VARCHAR)' },
]
const ROWS = 20_000
const SETTINGS = { threads: 2, memoryBytesMax: 512 * 1024 * 1024 }
let folder: string
let view: View

/** Four files; the rows with the greatest amounts are deleted, and two files have no deleted rows. */
beforeAll(async () => {
  folder = await mkdtemp(path.join(os.tmpdir(), 'kappalake-top-'))
  const files = Array.from({ length: 4 }, (_, k) => path.join(folder, `${k}.parquet`))
  for (const [k, file] of files.entries())
    await writeParquet(
      file,
      COLUMNS,
      `SELECT range AS id, CASE WHEN range % 50 = 7 THEN NULL WHEN range % 10 = 0 THEN 9000 ELSE hash(range) % 500 END::DECIMAL(12,2) AS amount,
       'city ' || (hash(range + 1) % 9) AS city, md5(range::VARCHAR) AS note, {'city': 'a ' || (range % 7)} AS address
       FROM range(${k * ROWS}, ${(k + 1) * ROWS})`,
    )
  const positions = Uint32Array.from({ length: ROWS / 10 }, (_, k) => k * 10)
  view = {
    name: 'orders',
    columns: COLUMNS,
    files: files.slice(0, 2),
    fileRows: 2 * ROWS,
    partial: [
      {
        kind: 'without',
        files: files.slice(2),
        fileRows: 2 * ROWS,
        ends: Uint32Array.of(positions.length, 2 * positions.length),
        positions: Uint32Array.of(...positions, ...positions),
      },
    ],
  }
}, 30_000)
afterAll(() => rm(folder, { recursive: true }))

async function ask(sql: string, params: QueryParams | undefined, isJudged: boolean) {
  const sandbox = await Sandbox.open(SETTINGS)
  try {
    if (isJudged) await sandbox.tables(sql, params, undefined)
    const { result, isNarrowed, assertComplete } = await sandbox.execute([view], sql, params)
    const rows = (await result.getRowsJson()) as unknown[][]
    await assertComplete()
    return { isNarrowed, names: result.columnNames(), rows }
  } finally {
    sandbox.close()
  }
}

/** What the statement gives in one step is what it gives in two. */
async function compare(sql: string, params?: QueryParams): Promise<unknown[][]> {
  const [plain, judged] = await Promise.all([ask(sql, params, false), ask(sql, params, true)])
  expect(plain.isNarrowed).toBe(false)
  expect(judged.isNarrowed).toBe(true)
  expect({ names: judged.names, rows: judged.rows }).toEqual({ names: plain.names, rows: plain.rows })
  return judged.rows
}

describe('rows in an order without ties', () => {
  test.each([
    ['SELECT * FROM orders ORDER BY amount DESC, id LIMIT 10'],
    ['SELECT * FROM orders ORDER BY amount DESC NULLS LAST, id DESC LIMIT 10 OFFSET 5'],
    ['SELECT note, id AS n, o.city FROM orders o ORDER BY o.amount ASC NULLS FIRST, id LIMIT 7'],
    ['SELECT * FROM orders ORDER BY amount NULLS LAST, abs(id - 41000), id LIMIT 300'],
    [`SELECT id, note FROM orders WHERE city = 'city 3' AND id BETWEEN 30000 AND 70000 ORDER BY lower(note) LIMIT 9`],
    [
      'SELECT note FROM orders WHERE amount < 3.5 AND id < 9007199254740993 ORDER BY id * 1.0000000000001e0 DESC LIMIT 4',
    ],
    ['SELECT * FROM orders WHERE id < 0 ORDER BY id LIMIT 4'],
    ['SELECT * FROM orders ORDER BY id LIMIT 0'],
    ['SELECT * FROM orders ORDER BY id DESC LIMIT 3 OFFSET 1990'],
    [`SELECT address, * EXCLUDE (address) FROM orders ORDER BY address.city DESC, id LIMIT 5`],
  ])('%s', async (sql) => {
    await compare(sql)
  })

  test('with parameters', async () => {
    const sql = 'SELECT * FROM orders WHERE id >= $1 AND city <> $2 ORDER BY amount, id LIMIT 6'
    expect((await compare(sql, [30_000, 'city 1'])).length).toBe(6)
    await compare('SELECT * FROM orders WHERE id >= $from ORDER BY amount + $more, id LIMIT 6', { from: 1, more: 2 })
  })

  test('in the order of nulls that stands for nothing else', async () => {
    expect((await compare('SELECT amount FROM orders ORDER BY amount, id LIMIT 1'))[0]).not.toEqual([null])
    expect((await compare('SELECT amount FROM orders ORDER BY amount NULLS FIRST, id LIMIT 1'))[0]).toEqual([null])
  })
})

test('of rows that tie, any that are there may come, each once', async () => {
  const sql = 'SELECT id, amount, note FROM orders ORDER BY amount DESC NULLS LAST LIMIT 1000 OFFSET 900'
  const { rows, isNarrowed } = await ask(sql, undefined, true)
  const plain = await ask(sql, undefined, false)
  expect(isNarrowed).toBe(true)
  expect(rows.map(([, amount]) => amount)).toEqual(plain.rows.map(([, amount]) => amount))
  expect(new Set(rows.map(([id]) => id)).size).toBe(1_000)
  const of = rows.map(([id, , note]) => `(${String(id)}, '${String(note)}')`).join(', ')
  const there = await ask(`SELECT count(*) FROM orders WHERE (id, note) IN (VALUES ${of})`, undefined, false)
  expect(there.rows).toEqual([['1000']])
})

test('what may change between two steps is asked in one', async () => {
  const sql = `SELECT * FROM orders WHERE current_date > '2020-01-01' ORDER BY id LIMIT 2`
  expect(await ask(sql, undefined, true)).toMatchObject({
    isNarrowed: false,
    rows: [['0'], ['1']].map((row) => expect.arrayContaining(row)),
  })
})

test('a wrong statement fails as it does in one step', async () => {
  for (const sql of [
    'SELECT nothing FROM orders ORDER BY id LIMIT 1',
    'SELECT * FROM orders ORDER BY nothing LIMIT 1',
    'SELECT * FROM orders WHERE "kappalake row" = 3 ORDER BY id LIMIT 1',
    `SELECT * FROM orders ORDER BY city::INTEGER LIMIT 1`,
  ]) {
    // Which of several wrong values is met first is up to DuckDB's threads.
    const messageOf = (isNarrowed: boolean) =>
      ask(sql, undefined, isNarrowed).catch((error: Error) => error.message.replace(/'[^']*'/g, 'a value'))
    const plain = await messageOf(false)
    expect(plain).toMatch(/Error/)
    expect(await messageOf(true)).toBe(plain)
  }
})

test('the planner knows how many rows there are', async () => {
  const instance = await DuckDBInstance.create(':memory:')
  const connection = await instance.connect()
  await connection.run(viewSql({ ...view, partial: [] }))
  const plan = await connection.runAndReadAll('EXPLAIN SELECT id FROM orders')
  expect(String(plan.getRowsJS()[0]![1])).toContain('~40,000 rows')
  connection.closeSync()
  instance.closeSync()
})

describe('which statements', () => {
  const judge = async (sql: string) => {
    const instance = await DuckDBInstance.create(':memory:')
    const connection = await instance.connect()
    const answer = await connection.runAndReadAll('SELECT json_serialize_sql($1::VARCHAR)', [sql])
    connection.closeSync()
    instance.closeSync()
    return topRowsOf(String(answer.getRowsJS()[0]![0]))
  }

  test('as many rows as LIMIT and OFFSET ask for', async () => {
    expect(await judge('FROM t ORDER BY a LIMIT 3 OFFSET 4')).toEqual({ rows: 7, columns: ['a'] })
    expect(await judge('SELECT t.a x, b FROM t WHERE C > t.d.e ORDER BY -a LIMIT 3')).toEqual({
      rows: 3,
      columns: ['a', 'c', 'd'],
    })
  })

  test.each([
    'SELECT * FROM t',
    'SELECT * FROM t LIMIT 3',
    'SELECT * FROM t ORDER BY a',
    'SELECT * FROM t ORDER BY a LIMIT 5000',
    'SELECT * FROM t ORDER BY a LIMIT 3 OFFSET 5000',
    'SELECT * FROM t ORDER BY a LIMIT 10%',
    'SELECT * FROM t ORDER BY a LIMIT $1',
    'SELECT * FROM t ORDER BY a LIMIT (SELECT 3)',
    'SELECT DISTINCT a FROM t ORDER BY a LIMIT 3',
    'SELECT * FROM t ORDER BY ALL LIMIT 3',
    'SELECT * FROM t ORDER BY 2 LIMIT 3',
    'SELECT * FROM t ORDER BY $1 LIMIT 3',
    'SELECT -a AS b, * FROM t ORDER BY b LIMIT 3',
    'SELECT a AS b FROM t ORDER BY b LIMIT 3',
    'SELECT a AS b FROM t WHERE b > 2 ORDER BY a LIMIT 3',
    'SELECT x.y.z FROM t ORDER BY z LIMIT 3',
    'SELECT x.z FROM t ORDER BY z LIMIT 3',
    'SELECT max(a) FROM t ORDER BY b LIMIT 3',
    'SELECT max(a) AS m, b FROM t GROUP BY b ORDER BY b LIMIT 3',
    'SELECT a, row_number() OVER () FROM t ORDER BY a LIMIT 3',
    'SELECT a FROM t QUALIFY row_number() OVER () < 3 ORDER BY a LIMIT 3',
    'SELECT unnest(a) FROM t ORDER BY b LIMIT 3',
    'SELECT * REPLACE (max(a) AS a) FROM t ORDER BY b LIMIT 3',
    `SELECT COLUMNS('a.*') FROM t ORDER BY b LIMIT 3`,
    'SELECT * FROM t WHERE a > now() ORDER BY a LIMIT 3',
    'SELECT * FROM t WHERE a IN (SELECT a FROM t) ORDER BY a LIMIT 3',
    'SELECT * FROM t ORDER BY t LIMIT 3',
    'SELECT T FROM t ORDER BY a LIMIT 3',
    'SELECT * FROM t TABLESAMPLE 10% ORDER BY a LIMIT 3',
    'SELECT * FROM t, u ORDER BY a LIMIT 3',
    'SELECT * FROM t x(a, b) ORDER BY a LIMIT 3',
    'WITH t AS (SELECT 1 AS a) SELECT * FROM t ORDER BY a LIMIT 3',
    '(SELECT * FROM t ORDER BY a LIMIT 3) UNION ALL (SELECT 1)',
  ])('not %s', async (sql) => {
    expect(await judge(sql)).toBeUndefined()
  })
})
