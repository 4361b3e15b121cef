import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Column } from '../../src/batch.ts'
import type { AggregateFunction } from '../../src/define-window.ts'
import { aggregateSql, isOverflow } from '../../src/window/aggregates.ts'
import type { WindowShape } from '../../src/window/columns.ts'
import { squareFits } from '../../src/window/exact-sums.ts'
import { mergeSql, partialsSql, resultsSql } from '../../src/window/long-rows.ts'
import { canonical } from '../../src/window/sql-type.ts'
import { Aggregates, define, DOUBLE, type Given, type Input, LONG, relation, shapeOf } from '../support/aggregates.ts'

// The tables of A3 to A6, and what DuckDB must do for them to hold.

let duck: Aggregates

beforeAll(async () => {
  duck = await Aggregates.open()
})

afterAll(() => duck.close())

describe('A3, A4: retractions', () => {
  test('a row moves from window [0,10), amount 7, to [10,20), amount 9', async () => {
    const batches: readonly Given[][] = [
      [['7', 0]],
      [
        ['7', 0, -1],
        ['9', 10],
      ],
    ]
    expect(await duck.of(LONG, 'rows', [define('sum')], batches)).toEqual([
      { __start: '0', __end: '10', __rows: '0', sum: null },
      { __start: '10', __end: '20', __rows: '1', sum: '9' },
    ])
  })

  test('max over {5, 9}: retract 9, then 5', async () => {
    const max = async (back: readonly Given[]): Promise<unknown> =>
      duck.of(LONG, 'rows', [define('max')], [[['5'], ['9']], ...(back.length === 0 ? [] : [back])])
    expect(await max([])).toMatchObject([{ __rows: '2', max: '9' }])
    expect(await max([['9', 0, -1]])).toMatchObject([{ __rows: '1', max: '5' }])
    expect(
      await max([
        ['9', 0, -1],
        ['5', 0, -1],
      ]),
    ).toMatchObject([{ __rows: '0', max: null }])
  })

  test('of equal values one stays', async () => {
    const batches: readonly Given[][] = [
      [['5'], ['5'], ['4'], ['6']],
      [
        ['5', 0, -1],
        ['6', 0, -1],
      ],
    ]
    const definitions = [define('count_distinct'), define('top', { n: 3 }), define('min')]
    expect(await duck.of(LONG, 'rows', definitions, batches)).toMatchObject([
      { count_distinct: '2', top: ['5', '4'], min: '4' },
    ])
  })

  test('a value that is taken back before it came is not there', async () => {
    const batches: readonly Given[][] = [
      [['5'], ['9', 0, -1]],
      [['9'], ['7', 0, -1]],
    ]
    const definitions = [define('max'), define('min'), define('count_distinct'), define('top', { n: 3 })]
    expect(await duck.of(LONG, 'rows', definitions, batches)).toMatchObject([
      { max: '5', min: '5', count_distinct: '1', top: ['5'] },
    ])
  })

  test('a value of weight 0 leaves no row', async () => {
    const shape = shapeOf(LONG, 'rows', [define('max')])
    const both: readonly Given[] = [['5'], ['5', 0, -1]]
    const inOne = await duck.json(partialsSql(shape, 'rows', relation(LONG, 'rows', both)))
    expect(inOne).toEqual([expect.objectContaining({ __part: 0, __rows: '0' })])
    const batches = await duck.files(shape, 'rows', LONG, [[both[0]!], [both[1]!]])
    expect(await duck.json(`FROM ${batches}`)).toHaveLength(4)
    expect(await duck.json(mergeSql(shape, batches))).toEqual([expect.objectContaining({ __part: 0, __rows: '0' })])
  })
})

describe('nothing but nulls', () => {
  const functions = ['count', 'count_distinct', 'sum', 'avg', 'min', 'max', 'first', 'last', 'top'] as const
  const nothing = {
    count: '0',
    count_distinct: '0',
    sum: null,
    avg: null,
    min: null,
    max: null,
    first: null,
    last: null,
    top: null,
  }

  test.each(['events', 'rows'] as const)('%s', async (input) => {
    const definitions = functions.map((fn) => define(fn, { n: 2 }))
    expect(await duck.of(DOUBLE, input, definitions, [[['NULL']], [['NULL']]])).toMatchObject([nothing])
    const exact = [...definitions, define('var')]
    expect(await duck.of(LONG, input, exact, [[['NULL']], [['NULL']]])).toMatchObject([{ ...nothing, var: null }])
    const filtered = exact.map((definition) => ({ ...definition, where: 'x > 100' }))
    expect(await duck.of(LONG, input, filtered, [[['1']], [['NULL']]])).toMatchObject([{ ...nothing, var: null }])
  })

  test('the variance of one value', async () => {
    expect(await duck.of(LONG, 'events', [define('var')], [[['7']]])).toMatchObject([{ var: null }])
    expect(await duck.of(LONG, 'events', [define('var')], [[['7']], [['7']]])).toMatchObject([{ var: 0 }])
  })
})

describe('overflow', () => {
  const decimal: Column = { name: 'x', type: { kind: 'decimal', precision: 38, scale: 2 } }
  const largest = `'${'9'.repeat(36)}.99'`
  const failure = async (column: Column, input: Input, fn: AggregateFunction, batches: readonly Given[][]) =>
    duck.of(column, input, [define(fn)], batches).then(
      () => undefined,
      (error: unknown) => error,
    )

  test.each(['events', 'rows'] as const)('more than 38 digits, %s', async (input) => {
    for (const batches of [
      [[[largest], ["'0.01'"]]],
      [[[largest]], [["'0.01'"]]],
      [[[largest]], [[largest]]],
    ] as Given[][][])
      expect(isOverflow(await failure(decimal, input, 'sum', batches))).toBe(true)
    expect(await failure(decimal, input, 'sum', [[[largest], ["'-0.01'"]]])).toBeUndefined()
    expect(await failure(LONG, input, 'sum', [[['9223372036854775807'], ['9223372036854775807']]])).toBeUndefined()
  })

  test('a square', async () => {
    expect(isOverflow(await failure(decimal, 'events', 'var', [[[largest]]]))).toBe(true)
  })

  test.each([
    [38, 0, ['13043817825332782212', '13043817825332782213']],
    [38, 2, ['130438178253327822.12', '130438178253327822.13']],
    [24, 22, ['0.0013043817825332782212', '0.0013043817825332782213']],
    [20, 19, ['1.3043817825332782212', '1.3043817825332782213']],
    [38, 38, ['0.00000000000000000013043817825332782212', '0.00000000000000000013043817825332782213']],
  ])('the square of one value, decimal(%i, %i), is known to fit', async (precision, scale, values) => {
    const column: Column = { name: 'x', type: { kind: 'decimal', precision, scale } }
    for (const [k, value] of values.flatMap((each) => [each, `-${each}`]).entries()) {
      const given = `CAST('${value}' AS DECIMAL(${precision}, ${scale}))`
      const fits = squareFits(given, column.type)!
      const answer = (
        await duck.connection.runAndReadAll(`SELECT ${fits}, ${squareFits('NULL', column.type)}`)
      ).getRows()
      expect([value, answer]).toEqual([value, [[k < 2, true]]])
      expect([value, isOverflow(await failure(column, 'events', 'var', [[[`'${value}'`]]]))]).toEqual([value, k >= 2])
    }
  })

  test('any square fits of what has fewer digits', () => {
    expect(squareFits('x', { kind: 'decimal', precision: 19, scale: 4 })).toBeUndefined()
    expect(squareFits('x', LONG.type)).toBeUndefined()
  })

  test('other failures are others', async () => {
    const wrong = await duck.connection.run(`SELECT CAST('abc' AS DECIMAL(38, 0))`).catch((error: unknown) => error)
    const small = await duck.connection.run('SELECT 2147483647::INTEGER + 1::INTEGER').catch((error: unknown) => error)
    expect(wrong).toBeInstanceOf(Error)
    expect(small).toBeInstanceOf(Error)
    expect([wrong, small].map(isOverflow)).toEqual([false, false])
  })
})

describe('S2: slices', () => {
  test('cells are kept apart by the least window that they count for, and put together for a window', async () => {
    const shape = shapeOf(DOUBLE, 'events', [define('sum'), define('count')], true)
    const sliced = (value: string, minEnd: number | null) =>
      partialsSql(
        shape,
        'events',
        `(SELECT *, CAST(${minEnd} AS BIGINT) AS __min_end FROM ${relation(DOUBLE, 'events', [[value]])})`,
      )
    const batches = [sliced('0.1', null), sliced('0.2', 15), sliced('0.3', null)]
    await duck.connection.run(
      `CREATE OR REPLACE TEMP TABLE slices AS ${mergeSql(shape, `(${batches.join(' UNION ALL ')})`)}`,
    )
    const cells = await duck.json('SELECT __min_end, __rows FROM slices WHERE __part = 0 ORDER BY ALL')
    expect(cells).toEqual([
      { __min_end: '15', __rows: '1' },
      { __min_end: null, __rows: '2' },
    ])
    const window = mergeSql(shape, '(SELECT * REPLACE (CAST(NULL AS BIGINT) AS __min_end) FROM slices)')
    expect(await duck.json(resultsSql(shape, `(${window})`))).toMatchObject([{ __rows: '3', sum: 0.6, count: '3' }])
  })
})

describe('A6: what DuckDB compares', () => {
  test('strings by their UTF-8 bytes', async () => {
    const column: Column = { name: 'x', type: { kind: 'string' } }
    // By UTF-16 the surrogates of U+1F600 come before U+FF5E.
    const rows: readonly Given[] = [["'～'"], ["'😀'"], ["'Z'"], ["'a'"]]
    for (const input of ['events', 'rows'] as const)
      expect(
        await duck.of(column, input, [define('max'), define('min'), define('top', { n: 2 })], [rows]),
      ).toMatchObject([{ max: '😀', min: 'Z', top: ['😀', '～'] }])
    expect(['～', '😀'].toSorted().at(-1)).toBe('～')
  })

  test('NaN is the greatest and equal to itself, −0 is 0', async () => {
    const rows: readonly Given[] = [["'NaN'"], ["'-NaN'"], ["'Infinity'"], ["'-0'"], ["'0'"]]
    const definitions = [define('max'), define('min'), define('count_distinct'), define('top', { n: 3 })]
    for (const input of ['events', 'rows'] as const)
      expect(await duck.of(DOUBLE, input, definitions, [rows])).toEqual([
        {
          __start: '0',
          __end: '10',
          __rows: '5',
          max: 'NaN',
          min: 0,
          count_distinct: '3',
          top: ['NaN', 'NaN', 'Infinity'],
        },
      ])
  })

  test('a NaN has one form', async () => {
    const bits = (sql: string): string => `CAST(${sql} AS BIT) AS bits`
    const both = "(SELECT unnest([sqrt(1) * x, -x]) AS x FROM (SELECT CAST('NaN' AS DOUBLE) AS x))"
    expect(await duck.json(`SELECT DISTINCT ${bits('x')} FROM ${both}`)).toHaveLength(2)
    expect(await duck.json(`SELECT DISTINCT ${bits(canonical('x', { kind: 'double' }))} FROM ${both}`)).toHaveLength(1)
  })

  test('groups: null is one, NaN is one, 0 and −0 are 0 whichever came first', async () => {
    const groups = `(VALUES (1, NULL), (2, 'NaN'), (3, '-NaN'), (4, '-0'), (5, '0'), (6, NULL)) AS t(k, g)`
    const key = canonical('CAST(g AS DOUBLE)', { kind: 'double' })
    for (const order of ['k', '-k'])
      expect(
        await duck.json(
          `SELECT ${key} AS g, count(*) AS n FROM (FROM ${groups} ORDER BY ${order}) GROUP BY ${key} ORDER BY g`,
        ),
      ).toEqual([
        { g: 0, n: '2' },
        { g: 'NaN', n: '2' },
        { g: null, n: '2' },
      ])
  })
})

test('first and last go by event time, partition and offset', async () => {
  const columns = [LONG]
  const rows = `(SELECT x::BIGINT AS x, 0::BIGINT AS __start, 10::BIGINT AS __end, e::BIGINT AS __event_ms, p::INTEGER AS _kafka_partition,
o::BIGINT AS _offset, 1::BIGINT AS __sign FROM (VALUES (1, 5, 1, 7), (2, 5, 0, 9), (3, 5, 0, 10), (NULL, 1, 0, 0), (4, 8, 1, 1), (5, 8, 0, 99), (NULL, 9, 0, 0)) AS t(x, e, p, o))`
  for (const input of ['events', 'rows'] as const) {
    const aggregates = [define('first'), define('last')].map((definition) => aggregateSql(definition, columns, input))
    const shape: WindowShape = { groups: [], aggregates, computed: [], hasLastEvent: true, isSliced: false }
    const merged = mergeSql(shape, `(${partialsSql(shape, input, rows)})`)
    expect(await duck.json(resultsSql(shape, `(${merged})`))).toMatchObject([
      { first: '2', last: '4', __last_event: '9' },
    ])
  }
})

test('texts of events name no sign', () => {
  const functions = ['count', 'count_distinct', 'sum', 'avg', 'min', 'max', 'first', 'last', 'var', 'top'] as const
  const shape = shapeOf(
    LONG,
    'events',
    functions.map((fn) => define(fn, { n: 1 })),
  )
  expect(partialsSql(shape, 'events', 'source')).not.toContain('__sign')
  expect(partialsSql(shapeOf(DOUBLE, 'events', [define('sum')]), 'events', 'source')).not.toContain('__sign')
})
