import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Aggregates, define, DOUBLE, type Given } from '../../support/aggregates.ts'

// The table of A5, and the functions that round.

let duck: Aggregates

beforeAll(async () => {
  duck = await Aggregates.open()
})

afterAll(() => duck.close())

describe('A5: sums of doubles', () => {
  const sums = async (values: readonly string[]): Promise<{ readonly naive: unknown; readonly exact: unknown }> => {
    const [row] = await duck.json(
      `SELECT sum(x) AS naive FROM (SELECT CAST(unnest([${values.map((v) => `'${v}'`).join(', ')}]) AS DOUBLE) AS x)`,
    )
    const batches = values.map((value): readonly Given[] => [[`'${value}'`]])
    const [exact] = await duck.of(DOUBLE, 'events', [define('sum')], batches)
    return { naive: row!['naive'], exact: exact!['sum'] }
  }

  test('0.1 + 0.2 + 0.3, in both orders', async () => {
    expect(await sums(['0.1', '0.2', '0.3'])).toEqual({ naive: 0.600_000_000_000_000_1, exact: 0.6 })
    expect(await sums(['0.3', '0.2', '0.1'])).toEqual({ naive: 0.6, exact: 0.6 })
  })

  test('1e16 + 1 − 1e16', async () => {
    expect(await sums(['1e16', '1', '-1e16'])).toEqual({ naive: 0, exact: 1 })
    const rows: readonly Given[][] = [[["'1e16'"]], [["'1'"]], [["'1e16'", 0, -1]]]
    expect(await duck.of(DOUBLE, 'rows', [define('sum')], rows)).toMatchObject([{ __rows: '1', sum: 1 }])
  })

  test('beyond the range of doubles and back', async () => {
    expect(await sums(['1.7e308', '1.7e308', '-1.7e308'])).toEqual({ naive: 'Infinity', exact: 1.7e308 })
  })

  test.each([
    [['5e-324', '5e-324'], 1e-323],
    [['1e308', '1e308'], 'Infinity'],
    [['-1e308', '-1e308'], '-Infinity'],
    [['Infinity', '1e308'], 'Infinity'],
    [['Infinity', '-Infinity'], 'NaN'],
    [['NaN', '1'], 'NaN'],
    [['-0', '-0'], 0],
    [['1', '-1'], 0],
  ])('%j', async (values, exact) => {
    expect((await sums(values)).exact).toBe(exact)
  })

  test('what is not finite can be taken back', async () => {
    const rows: readonly Given[] = [["'NaN'"], ["'Infinity'"], ["'-Infinity'"], ["'2'"]]
    const back = rows.slice(0, 3).map(([value]): Given => [value, 0, -1])
    const definitions = [define('sum'), define('avg')]
    expect(await duck.of(DOUBLE, 'rows', definitions, [rows, back])).toMatchObject([{ sum: 2, avg: 2 }])
  })

  test('more groups than a vector has rows', async () => {
    const rows = Array.from({ length: 5_000 }, (_, k): Given[] => [
      [`'0.1'`, k],
      [`'${k}'`, k],
      [`'1e300'`, k],
    ]).flat()
    const back = Array.from({ length: 5_000 }, (_, k): Given => [`'1e300'`, k, -1])
    const results = await duck.of(DOUBLE, 'rows', [define('sum')], [rows, back])
    expect(results.map((row) => row['sum'])).toEqual(Array.from({ length: 5_000 }, (_, k) => 0.1 + k))
  })
})

describe('functions of registerExact', () => {
  const one = `{'bucket': 33, 'weight': CAST(1::HUGEINT << 51 AS DECIMAL(38, 0))}`

  test.each([
    ['constants', `SELECT exact_sum([${one}, ${one}]) AS x`],
    ['constant parts of lists', `SELECT exact_sum([{'bucket': 33, 'weight': w}, ${one}]) AS x FROM values_of`],
    ['rows that a filter left', `SELECT exact_sum(l) AS x FROM lists WHERE k = 1`],
    ['rows of a join', `SELECT exact_sum(l) AS x FROM range(1, 2) AS r(i) JOIN lists ON k = i`],
    ['slices of lists', `SELECT exact_sum(l[1:2]) AS x FROM lists WHERE k = 2`],
    ['a quotient', `SELECT 2 * exact_average(l, 3) AS x FROM lists WHERE k = 2`],
  ])('%s', async (_, sql) => {
    await duck.connection.run(
      `CREATE OR REPLACE TEMP TABLE values_of AS SELECT CAST(1::HUGEINT << 51 AS DECIMAL(38, 0)) AS w`,
    )
    await duck.connection.run(
      `CREATE OR REPLACE TEMP TABLE lists AS SELECT i AS k, list_transform(range(i + 1), lambda j: ${one}) AS l FROM range(3) AS r(i)`,
    )
    expect(await duck.json(sql)).toEqual([{ x: 2 ** (33 * 32 + 52 - 1075) }])
  })

  test('null of null', async () => {
    const list = `CAST([${one}] AS STRUCT(bucket INTEGER, weight DECIMAL(38, 0))[])`
    const calls = [
      'exact_sum(NULL)',
      `exact_average(${list}, NULL)`,
      `exact_average(${list}, 0)`,
      'exact_quotient(NULL, 1, 0)',
      'exact_quotient(1, 0, 0)',
      'exact_variance(NULL, 1, 1, 1, 0)',
      'exact_variance(1, 1, 0, 1, 0)',
    ]
    for (const call of calls)
      expect(await duck.json(`SELECT ${call} AS x FROM range(2)`)).toEqual([{ x: null }, { x: null }])
    const some = 'SELECT exact_quotient(CASE WHEN i % 2 = 0 THEN i END, 2, 1) AS x FROM range(4) AS r(i)'
    expect(await duck.json(some)).toEqual([{ x: 0 }, { x: null }, { x: 0.1 }, { x: null }])
  })
})
