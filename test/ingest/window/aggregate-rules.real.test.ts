import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { DuckDBInstance, type DuckDBConnection, type Json } from '@duckdb/node-api'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Column } from '../../../src/batch.ts'
import type { AggregateDefinition, AggregateFunction } from '../../../src/define-window.ts'
import { aggregateSql, isOverflow } from '../../../src/ingest/window/aggregates.ts'
import type { WindowShape } from '../../../src/ingest/window/columns.ts'
import { registerExact } from '../../../src/ingest/window/exact-double.ts'
import { mergeSql, partialsSql, resultsSql } from '../../../src/ingest/window/long-rows.ts'
import { canonical, sqlTypeOf } from '../../../src/ingest/window/sql-type.ts'

// The tables of A1 to A6, and what DuckDB must do for them to hold.

let folder: string
let instance: DuckDBInstance
let connection: DuckDBConnection

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'aggregates-'))
  instance = await DuckDBInstance.create(':memory:', { threads: '1' })
  connection = await instance.connect()
  registerExact(connection)
})

afterAll(async () => {
  connection.closeSync()
  instance.closeSync()
  await rm(folder, { recursive: true })
})

type Input = 'events' | 'rows'
const DOUBLE: Column = { name: 'x', type: { kind: 'double' } }
const LONG: Column = { name: 'x', type: { kind: 'long' } }

function define(fn: AggregateFunction, extra: Partial<AggregateDefinition> = {}): AggregateDefinition {
  return { name: fn, fn, column: 'x', n: undefined, where: undefined, ...extra }
}

function shapeOf(
  column: Column,
  input: Input,
  definitions: readonly AggregateDefinition[],
  isSliced = false,
): WindowShape {
  const aggregates = definitions.map((definition) => aggregateSql(definition, [column], input))
  return { groups: [], aggregates, hasLastEvent: false, isSliced }
}

/** Rows as [value, window's start, sign]; the position is the place in the list. */
type Given = readonly [value: string, start?: number, sign?: 1 | -1]

function relation({ type }: Column, input: Input, rows: readonly Given[]): string {
  const tuples = rows.map(([value, start = 0, sign = 1], k) => `(${value}, ${start}, ${k}, ${sign})`)
  const sign = input === 'rows' ? ', CAST(s AS BIGINT) AS __sign' : ''
  return `(SELECT CAST(v AS ${sqlTypeOf(type)}) AS x, CAST(w AS BIGINT) AS __start, CAST(w + 10 AS BIGINT) AS __end,
CAST(o AS BIGINT) AS __event_ms, CAST(0 AS INTEGER) AS _kafka_partition, CAST(o AS BIGINT) AS _offset${sign}
FROM (VALUES ${tuples.join(', ')}) AS t(v, w, o, s))`
}

/** Each batch becomes a Parquet file, as a lane writes it. */
async function files(
  shape: WindowShape,
  input: Input,
  column: Column,
  batches: readonly (readonly Given[])[],
): Promise<string> {
  const paths: string[] = []
  for (const [k, rows] of batches.entries()) {
    const file = path.join(folder, `${k}.parquet`)
    await connection.run(
      `COPY (${partialsSql(shape, input, relation(column, input, rows))}) TO '${file}' (FORMAT parquet)`,
    )
    paths.push(`'${file}'`)
  }
  return `read_parquet([${paths.join(', ')}])`
}

async function aggregate(
  column: Column,
  input: Input,
  definitions: readonly AggregateDefinition[],
  batches: readonly (readonly Given[])[],
): Promise<Record<string, Json>[]> {
  const shape = shapeOf(column, input, definitions)
  const merged = mergeSql(shape, await files(shape, input, column, batches))
  return json(`${resultsSql(shape, `(${merged})`)} ORDER BY __start`)
}

async function json(sql: string): Promise<Record<string, Json>[]> {
  return (await connection.runAndReadAll(sql)).getRowObjectsJson()
}

describe('A5: sums of doubles', () => {
  const sums = async (values: readonly string[]): Promise<{ readonly naive: unknown; readonly exact: unknown }> => {
    const [row] = await json(
      `SELECT sum(x) AS naive FROM (SELECT CAST(unnest([${values.map((v) => `'${v}'`).join(', ')}]) AS DOUBLE) AS x)`,
    )
    const batches = values.map((value): readonly Given[] => [[`'${value}'`]])
    const [exact] = await aggregate(DOUBLE, 'events', [define('sum')], batches)
    return { naive: row!['naive'], exact: exact!['sum'] }
  }

  test('0.1 + 0.2 + 0.3, in both orders', async () => {
    expect(await sums(['0.1', '0.2', '0.3'])).toEqual({ naive: 0.600_000_000_000_000_1, exact: 0.6 })
    expect(await sums(['0.3', '0.2', '0.1'])).toEqual({ naive: 0.6, exact: 0.6 })
  })

  test('1e16 + 1 − 1e16', async () => {
    expect(await sums(['1e16', '1', '-1e16'])).toEqual({ naive: 0, exact: 1 })
    const rows: readonly Given[][] = [[["'1e16'"]], [["'1'"]], [["'1e16'", 0, -1]]]
    expect(await aggregate(DOUBLE, 'rows', [define('sum')], rows)).toMatchObject([{ __rows: '1', sum: 1 }])
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
    expect(await aggregate(DOUBLE, 'rows', definitions, [rows, back])).toMatchObject([{ sum: 2, avg: 2 }])
  })

  test('more groups than a vector has rows', async () => {
    const rows = Array.from({ length: 5_000 }, (_, k): Given[] => [
      [`'0.1'`, k],
      [`'${k}'`, k],
      [`'1e300'`, k],
    ]).flat()
    const back = Array.from({ length: 5_000 }, (_, k): Given => [`'1e300'`, k, -1])
    const results = await aggregate(DOUBLE, 'rows', [define('sum')], [rows, back])
    expect(results.map((row) => row['sum'])).toEqual(Array.from({ length: 5_000 }, (_, k) => 0.1 + k))
  })
})

describe('A3, A4: retractions', () => {
  test('a row moves from window [0,10), amount 7, to [10,20), amount 9', async () => {
    const batches: readonly Given[][] = [
      [['7', 0]],
      [
        ['7', 0, -1],
        ['9', 10],
      ],
    ]
    expect(await aggregate(LONG, 'rows', [define('sum')], batches)).toEqual([
      { __start: '0', __end: '10', __rows: '0', sum: null },
      { __start: '10', __end: '20', __rows: '1', sum: '9' },
    ])
  })

  test('max over {5, 9}: retract 9, then 5', async () => {
    const max = async (back: readonly Given[]): Promise<unknown> =>
      aggregate(LONG, 'rows', [define('max')], [[['5'], ['9']], ...(back.length === 0 ? [] : [back])])
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
    expect(await aggregate(LONG, 'rows', definitions, batches)).toMatchObject([
      { count_distinct: '2', top: ['5', '4'], min: '4' },
    ])
  })

  test('a value of weight 0 leaves no row', async () => {
    const shape = shapeOf(LONG, 'rows', [define('max')])
    const both: readonly Given[] = [['5'], ['5', 0, -1]]
    const inOne = await json(partialsSql(shape, 'rows', relation(LONG, 'rows', both)))
    expect(inOne).toEqual([expect.objectContaining({ __part: 0, __rows: '0' })])
    const batches = await files(shape, 'rows', LONG, [[both[0]!], [both[1]!]])
    expect(await json(`FROM ${batches}`)).toHaveLength(4)
    expect(await json(mergeSql(shape, batches))).toEqual([expect.objectContaining({ __part: 0, __rows: '0' })])
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
    expect(await aggregate(DOUBLE, input, definitions, [[['NULL']], [['NULL']]])).toMatchObject([nothing])
    const exact = [...definitions, define('var')]
    expect(await aggregate(LONG, input, exact, [[['NULL']], [['NULL']]])).toMatchObject([{ ...nothing, var: null }])
    const filtered = exact.map((definition) => ({ ...definition, where: 'x > 100' }))
    expect(await aggregate(LONG, input, filtered, [[['1']], [['NULL']]])).toMatchObject([{ ...nothing, var: null }])
  })

  test('the variance of one value', async () => {
    expect(await aggregate(LONG, 'events', [define('var')], [[['7']]])).toMatchObject([{ var: null }])
    expect(await aggregate(LONG, 'events', [define('var')], [[['7']], [['7']]])).toMatchObject([{ var: 0 }])
  })
})

describe('overflow', () => {
  const decimal: Column = { name: 'x', type: { kind: 'decimal', precision: 38, scale: 2 } }
  const largest = `'${'9'.repeat(36)}.99'`
  const failure = async (column: Column, input: Input, fn: AggregateFunction, batches: readonly Given[][]) =>
    aggregate(column, input, [define(fn)], batches).then(
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

  test('other failures are others', async () => {
    const wrong = await connection.run(`SELECT CAST('abc' AS DECIMAL(38, 0))`).catch((error: unknown) => error)
    const small = await connection.run('SELECT 2147483647::INTEGER + 1::INTEGER').catch((error: unknown) => error)
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
    await connection.run(
      `CREATE OR REPLACE TEMP TABLE slices AS ${mergeSql(shape, `(${batches.join(' UNION ALL ')})`)}`,
    )
    const cells = await json('SELECT __min_end, __rows FROM slices WHERE __part = 0 ORDER BY ALL')
    expect(cells).toEqual([
      { __min_end: '15', __rows: '1' },
      { __min_end: null, __rows: '2' },
    ])
    const window = mergeSql(shape, '(SELECT * REPLACE (CAST(NULL AS BIGINT) AS __min_end) FROM slices)')
    expect(await json(resultsSql(shape, `(${window})`))).toMatchObject([{ __rows: '3', sum: 0.6, count: '3' }])
  })
})

describe('A6: what DuckDB compares', () => {
  test('strings by their UTF-8 bytes', async () => {
    const column: Column = { name: 'x', type: { kind: 'string' } }
    // By UTF-16 the surrogates of U+1F600 come before U+FF5E.
    const rows: readonly Given[] = [["'～'"], ["'😀'"], ["'Z'"], ["'a'"]]
    for (const input of ['events', 'rows'] as const)
      expect(
        await aggregate(column, input, [define('max'), define('min'), define('top', { n: 2 })], [rows]),
      ).toMatchObject([{ max: '😀', min: 'Z', top: ['😀', '～'] }])
    expect(['～', '😀'].toSorted().at(-1)).toBe('～')
  })

  test('NaN is the greatest and equal to itself, −0 is 0', async () => {
    const rows: readonly Given[] = [["'NaN'"], ["'-NaN'"], ["'Infinity'"], ["'-0'"], ["'0'"]]
    const definitions = [define('max'), define('min'), define('count_distinct'), define('top', { n: 3 })]
    for (const input of ['events', 'rows'] as const)
      expect(await aggregate(DOUBLE, input, definitions, [rows])).toEqual([
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

  test('groups: null is one, NaN is one, 0 and −0 are 0 whichever came first', async () => {
    const groups = `(VALUES (1, NULL), (2, 'NaN'), (3, '-NaN'), (4, '-0'), (5, '0'), (6, NULL)) AS t(k, g)`
    const key = canonical('CAST(g AS DOUBLE)', { kind: 'double' })
    for (const order of ['k', '-k'])
      expect(
        await json(
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
    const shape: WindowShape = { groups: [], aggregates, hasLastEvent: true, isSliced: false }
    const merged = mergeSql(shape, `(${partialsSql(shape, input, rows)})`)
    expect(await json(resultsSql(shape, `(${merged})`))).toMatchObject([{ first: '2', last: '4', __last_event: '9' }])
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
