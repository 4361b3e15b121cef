import { DuckDBInstance, type DuckDBConnection, type Json } from '@duckdb/node-api'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Column } from '../../src/batch.ts'
import type { AggregateDefinition, AggregateFunction } from '../../src/define-window.ts'
import { aggregateSql } from '../../src/window/aggregates.ts'
import { partialColumns, type WindowShape } from '../../src/window/columns.ts'
import { registerExact } from '../../src/window/exact-double.ts'
import { mergeSql, partialsSql, resultsSql } from '../../src/window/long-rows.ts'
import { sqlTypeOf } from '../../src/window/sql-type.ts'
import { expected, KINDS, type Kind, type Row } from '../support/aggregate-model.ts'

// A4, A5: partials of random batches, merged in a random order, give what one computation over all rows gives.

let instance: DuckDBInstance
let connection: DuckDBConnection

beforeAll(async () => {
  instance = await DuckDBInstance.create(':memory:', { threads: '1' })
  connection = await instance.connect()
  registerExact(connection)
})

afterAll(() => {
  connection.closeSync()
  instance.closeSync()
})

const ANY: readonly AggregateFunction[] = ['count', 'count_distinct', 'min', 'max', 'first', 'last', 'top']
const EXACT: readonly AggregateFunction[] = ['sum', 'avg', 'var']
const GROUPS: readonly (number | null)[] = [0, -0, 1.5, Number.NaN, null]
const TOP = 3

/** Rows with the batch in which they come, and that in which they are taken back. */
interface Step {
  readonly row: Omit<Row, 'id'>
  readonly inserted: number
  readonly retracted: number | undefined
}

describe.each(['events', 'rows'] as const)('%s', (input) => {
  test.each(KINDS)('$name', { timeout: 120_000 }, async (kind) => {
    const steps = fc.array(
      fc.record({
        row: fc.record({
          group: fc.constantFrom(...GROUPS),
          start: fc.constantFrom(0, 10),
          event: fc.nat(9),
          partition: fc.nat(2),
          isCounted: fc.constantFrom(true, true, false, null),
          value: fc.option(kind.values, { freq: 8 }),
        }),
        inserted: fc.nat(3),
        retracted: input === 'rows' ? fc.option(fc.nat(3), { nil: undefined }) : fc.constant(undefined),
      }),
      { minLength: 1, maxLength: 40 },
    )
    const order = fc.array(fc.nat(), { minLength: 4, maxLength: 4 })
    await fc.assert(
      fc.asyncProperty(steps, order, fc.boolean(), (all, merges, isFiltered) =>
        check(kind, definitionsOf(kind, isFiltered), input, all, merges),
      ),
      { numRuns: 8, interruptAfterTimeLimit: 60_000 },
    )
  })
})

async function check(
  kind: Kind,
  definitions: readonly AggregateDefinition[],
  input: 'events' | 'rows',
  steps: readonly Step[],
  order: readonly number[],
): Promise<void> {
  const columns: readonly Column[] = [
    { name: 'group', type: { kind: 'double' } },
    { name: 'x', type: kind.type },
    { name: 'is counted', type: { kind: 'boolean' } },
  ]
  const shape: WindowShape = {
    groups: [columns[0]!],
    aggregates: definitions.map((definition) => aggregateSql(definition, columns, input)),
    computed: [],
    hasLastEvent: input === 'events',
    isSliced: false,
  }
  const rows = steps.map(({ row }, id): Row => ({ id, ...row }))
  await source(kind, rows)
  const batches: string[] = []
  for (let batch = 0; batch < 4; batch++) {
    const inserted = rows.filter(({ id }) => steps[id]!.inserted === batch)
    const taken = rows.filter(({ id }) => steps[id]!.retracted === batch)
    const signed = [...inserted.map(({ id }) => [id, 1]), ...taken.map(({ id }) => [id, -1])]
    const list = signed.map(([id, sign]) => `(${id}, CAST(${sign} AS BIGINT))`).join(', ')
    if (list === '') continue
    const sign = input === 'rows' ? ', __sign' : ''
    const relation = `(SELECT source.*${sign} FROM source JOIN (VALUES ${list}) AS signs(id, __sign) ON _offset = id)`
    await connection.run(`CREATE OR REPLACE TEMP TABLE batch_${batch} AS ${partialsSql(shape, input, relation)}`)
    await expectColumns(`batch_${batch}`, shape)
    batches.push(`batch_${batch}`)
  }
  const merged = await mergeAll(shape, batches, order)
  await expectColumns(merged, shape)
  const values = await json(`SELECT _offset, x FROM source ORDER BY _offset`)
  const results = await json(`${resultsSql(shape, merged)} ORDER BY ALL`)
  const cells = new Map<string, Row[]>()
  for (const row of rows.filter(({ id }) => steps[id]!.retracted === undefined)) {
    const cell = `${row.group} ${row.start}`
    cells.set(cell, [...(cells.get(cell) ?? []), row])
  }
  const found = results.map((row) => [row['group'] === null ? null : Number(row['group']) + 0, Number(row['__start'])])
  expect(new Set(found.map(String)).size).toBe(found.length)
  for (const [k, row] of results.entries()) {
    const [group, start] = found[k]!
    const cell = cells.get(`${group} ${start}`) ?? []
    cells.delete(`${group} ${start}`)
    expect(row['__rows']).toBe(String(cell.length))
    if (input === 'events') expect(row['__last_event']).toBe(String(Math.max(...cell.map(({ event }) => event))))
    for (const definition of definitions) expectResult(definition, kind, cell, values, row[definition.name]!)
  }
  expect([...cells.keys()]).toEqual([])
}

/** Every function that the kind has; every second one with a filter. */
function definitionsOf({ type }: Kind, isFiltered: boolean): readonly AggregateDefinition[] {
  const isFloating = type.kind === 'float' || type.kind === 'double'
  const isExact = type.kind === 'int' || type.kind === 'long' || type.kind === 'decimal'
  const functions = [...ANY, ...(isExact ? EXACT : []), ...(isFloating ? (['sum', 'avg'] as const) : [])]
  const where = (k: number): string | undefined =>
    (k % 2 === 0) === isFiltered ? '"is counted" -- a comment' : undefined
  return [
    { name: 'all rows', fn: 'count', column: undefined, n: undefined, where: where(1) },
    ...functions.map((fn, k) => ({
      name: `${fn} "x"`,
      fn,
      column: 'x',
      n: fn === 'top' ? TOP : undefined,
      where: where(k),
    })),
  ]
}

function expectResult(
  { name, fn, column, where }: AggregateDefinition,
  kind: Kind,
  cell: readonly Row[],
  values: readonly Record<string, Json>[],
  result: Json,
): void {
  const counted = where === undefined ? cell : cell.filter(({ isCounted }) => isCounted)
  if (column === undefined) return expect(result).toBe(String(counted.length))
  const scale = kind.type.kind === 'decimal' ? kind.type.scale : 0
  const { ids, holds } = expected(fn, counted, scale, TOP)
  const context = `${name} of ${counted.map(({ value }) => value?.sql ?? 'NULL').join(', ')}: ${JSON.stringify(result)}`
  if (holds !== undefined) return expect(holds(result), context).toBe(true)
  if (ids === null) return expect(result, context).toBeNull()
  const list = fn === 'top' ? (result as Json[]) : [result]
  expect(list.length, context).toBe(ids!.length)
  for (const [k, value] of list.entries()) {
    expect(Object.is(value, -0) && fn !== 'first' && fn !== 'last', context).toBe(false)
    expect(
      ids![k]!.map((id) => JSON.stringify(values[id]!['x'])),
      context,
    ).toContain(JSON.stringify(value))
  }
}

async function source(kind: Kind, rows: readonly Row[]): Promise<void> {
  const group = (value: number | null): string =>
    value === null ? 'NULL' : `CAST('${Object.is(value, -0) ? '-0' : value}' AS DOUBLE)`
  const tuples = rows.map(
    (row) =>
      `(${group(row.group)}, ${row.value?.sql ?? 'NULL'}, ${row.isCounted}, ${row.start}, ${row.event}, ${row.partition}, ${row.id})`,
  )
  await connection.run(`CREATE OR REPLACE TEMP TABLE source ("group" DOUBLE, x ${sqlTypeOf(kind.type)}, "is counted" BOOLEAN,
__start BIGINT, __end BIGINT, __event_ms BIGINT, _kafka_partition INTEGER, _offset BIGINT)`)
  await connection.run(
    `INSERT INTO source SELECT g, x, c, s, s + 10, e, p, o FROM (VALUES ${tuples.join(', ')}) AS t(g, x, c, s, e, p, o)`,
  )
}

/** Two at a time, chosen by chance, until one is left. */
async function mergeAll(shape: WindowShape, tables: readonly string[], order: readonly number[]): Promise<string> {
  let left = tables
  for (const [k, chance] of order.entries()) {
    const first = left[chance % left.length]!
    const others = left.filter((table) => table !== first)
    const second = others[0]
    const both = second === undefined ? first : `(FROM ${first} UNION ALL FROM ${second})`
    await connection.run(`CREATE OR REPLACE TEMP TABLE merged_${k} AS ${mergeSql(shape, both)}`)
    left = [...others.slice(1), `merged_${k}`]
  }
  expect(left.length).toBe(1)
  return left[0]!
}

async function expectColumns(table: string, shape: WindowShape): Promise<void> {
  const reader = await connection.runAndReadAll(`FROM ${table} LIMIT 0`)
  expect(reader.columnNames()).toEqual(partialColumns(shape).map(({ name }) => name))
  const types = partialColumns(shape).map(({ type }) => `NULL::${sqlTypeOf(type)}`)
  const wanted = await connection.runAndReadAll(`SELECT ${types.join(', ')}`)
  expect(reader.columnTypes().map(String)).toEqual(wanted.columnTypes().map(String))
}

async function json(sql: string): Promise<Record<string, Json>[]> {
  return (await connection.runAndReadAll(sql)).getRowObjectsJson()
}
