import * as fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { applyTransform, type DataFile, type LakeTable, type PartitionValue } from '../../src/lake/table.ts'
import { tableUses } from '../../src/query/filters.ts'
import { survivors } from '../../src/query/prune.ts'
import { metricsOf } from './metrics.ts'
import { TestDuckDb } from '../support/duckdb.ts'

let duck: TestDuckDb
beforeAll(async () => {
  duck = await TestDuckDb.open()
})
afterAll(() => duck.close())

type Value = Exclude<PartitionValue, null>
type Table = Pick<LakeTable, 'schema' | 'spec' | 'raw'>

/** A kind of column: its values, how SQL writes them, and what a caller might compare it with. */
interface Kind {
  readonly type: string
  readonly values: fc.Arbitrary<Value>
  readonly sql: (value: any) => string
  readonly constants: readonly string[]
  readonly transforms: readonly string[]
}

const text = fc.string({ unit: fc.constantFrom('a', 'b', 'B', 'é', '\u{10ffff}', '\ud7ff', '😀'), maxLength: 20 })
const instants = fc
  .integer({ min: -3, max: 60 })
  .map((hours) => BigInt(hours) * 3_600_000_000n + 20_000n * 86_400_000_000n)
const numbers = [
  '0',
  '-1',
  '3',
  '3.0',
  '2.5',
  '-2.505',
  '7',
  '1e0',
  '25e-1',
  `'3'`,
  `'-1'`,
  `'2.50'`,
  `'2.505'`,
  'null',
  '9007199254740993',
  '99999999999999999999',
  '0.1',
]
const dates = [
  `'2024-10-04'`,
  `DATE '2024-10-05'`,
  `TIMESTAMP '2024-10-05 01:00:00'`,
  `TIMESTAMPTZ '2024-10-05 02:00:00+01:00'`,
  `'2024-10-04 23:00:00'`,
  `'2024-10-05T01:00:00Z'`,
  `TIMESTAMP '2024-10-05 01:00:00.5'`,
  `'2024-10-05T01:00:00+02:00'`,
]

const KINDS: readonly Kind[] = [
  {
    type: 'int',
    values: fc.integer({ min: -5, max: 9 }),
    sql: (v) => `${v}::INTEGER`,
    constants: numbers,
    transforms: ['identity', 'bucket[3]', 'truncate[4]'],
  },
  {
    type: 'long',
    values: fc.oneof(fc.bigInt({ min: -5n, max: 9n }), fc.constantFrom(2n ** 53n + 1n, -(2n ** 63n), 2n ** 63n - 1n)),
    sql: (v) => `'${v}'::BIGINT`,
    constants: numbers,
    transforms: ['identity', 'bucket[3]', 'truncate[4]'],
  },
  {
    type: 'decimal(12, 2)',
    values: fc.bigInt({ min: -300n, max: 310n }),
    sql: (v) => `(${v} / 100)::DECIMAL(12,2)`,
    constants: numbers,
    transforms: ['identity', 'bucket[3]', 'truncate[50]'],
  },
  {
    type: 'double',
    values: fc.constantFrom(-1, -0, 0, 0.1, 2.5, 3, 7, 1e300, Infinity, -Infinity, Number.NaN),
    sql: (v) => `'${Object.is(v, -0) ? '-0.0' : v}'::DOUBLE`,
    constants: numbers,
    transforms: [],
  },
  {
    type: 'float',
    values: fc.constantFrom(-1, -0, 0, Math.fround(0.1), 2.5, 3, Infinity, Number.NaN),
    sql: (v) => `'${Object.is(v, -0) ? '-0.0' : v}'::FLOAT`,
    constants: numbers,
    transforms: [],
  },
  {
    type: 'string',
    values: text,
    sql: (v) => `'${v}'`,
    constants: [`''`, `'a'`, `'b'`, `'aaaaaaaaaaaaaaaaa'`, `'é'`, `'\u{10ffff}'`, '3', `'3'`],
    transforms: ['identity', 'bucket[3]', 'truncate[2]'],
  },
  {
    type: 'date',
    values: fc.integer({ min: 19_995, max: 20_005 }),
    sql: (v) => `(DATE '1970-01-01' + ${v})`,
    constants: dates,
    transforms: ['identity', 'month', 'year', 'bucket[3]'],
  },
  {
    type: 'timestamp',
    values: instants,
    sql: (v) => `make_timestamp(${v})`,
    constants: dates,
    transforms: ['day', 'hour', 'month', 'bucket[3]'],
  },
  {
    type: 'timestamptz',
    values: instants,
    sql: (v) => `make_timestamp(${v})::TIMESTAMPTZ`,
    constants: dates,
    transforms: ['day', 'hour', 'identity'],
  },
  {
    type: 'boolean',
    values: fc.boolean(),
    sql: (v) => String(v),
    constants: ['true', 'false', '1'],
    transforms: ['identity'],
  },
]

const column = fc.constantFrom(...KINDS)
const rowsOf = ({ values }: Kind) =>
  fc.array(fc.option(values, { freq: 6, nil: null }), { minLength: 1, maxLength: 12 })
const subject = column.chain((kind) =>
  fc.record({
    kind: fc.constant(kind),
    files: fc.array(rowsOf(kind), { minLength: 1, maxLength: 5 }),
    transform: fc.option(fc.constantFrom(...(kind.transforms.length === 0 ? [''] : kind.transforms)), { nil: '' }),
    predicates: fc.array(predicate(kind), { minLength: 12, maxLength: 12 }),
  }),
)

function predicate(kind: Kind): fc.Arbitrary<string> {
  const c = fc.constantFrom(...kind.constants)
  const op = fc.constantFrom('=', '<', '<=', '>', '>=', '!=')
  return fc.oneof(
    { weight: 6, arbitrary: fc.tuple(op, c).map(([o, v]) => `x ${o} ${v}`) },
    { weight: 2, arbitrary: fc.tuple(op, c).map(([o, v]) => `${v} ${o} T.X`) },
    { weight: 2, arbitrary: fc.tuple(c, c).map(([a, b]) => `x between ${a} and ${b}`) },
    { weight: 2, arbitrary: fc.tuple(c, c).map(([a, b]) => `x in (${a}, ${b})`) },
    fc.constantFrom('x is null', 'x is not null', 'not (x is null)'),
    fc.tuple(c, c, op).map(([a, b, o]) => `(x ${o} ${a} and x > ${b})`),
    fc.tuple(c, c, op).map(([a, b, o]) => `(x ${o} ${a} or x = ${b})`),
    fc.tuple(c, op).map(([a, o]) => `not (x ${o} ${a})`),
  )
}

/** Files of one column, divided by a transform, as the lake would describe them. */
function build(kind: Kind, lists: readonly (readonly PartitionValue[])[], transform: string) {
  const groups = lists.flatMap((rows, list) => {
    const byTuple = new Map<string, PartitionValue[]>()
    for (const value of rows) {
      const key = transform === '' ? '' : String(applyTransform(transform, kind.type, value))
      byTuple.set(key, [...(byTuple.get(key) ?? []), value])
    }
    return [...byTuple.values()].map((values) => ({ list, values }))
  })
  const files = groups.map(({ values }, index): DataFile => ({
    key: String(index),
    recordCount: values.length,
    fileSizeBytes: 1,
    partition: transform === '' ? [] : [applyTransform(transform, kind.type, values[0]!)],
    metrics: new Map([[1, metricsOf(kind.type, values)]]),
  }))
  const fields = transform === '' ? [] : [{ 'source-id': 1, 'field-id': 1000, name: 'p', transform }]
  const spec = { 'spec-id': 0, fields }
  const table = {
    schema: { type: 'struct', 'schema-id': 0, fields: [{ id: 1, name: 'x', required: false, type: kind.type }] },
    spec,
    raw: { 'partition-specs': [spec] },
  } as unknown as Table
  const rows = groups.flatMap(({ values }, file) =>
    values.map((value) => `(${file}, ${value === null ? 'NULL' : kind.sql(value)})`),
  )
  return { files, table, rows: rows.join(', ') }
}

async function usesOf(sql: string, tables: readonly string[], params: readonly unknown[] = []) {
  const answer = await duck.connection.runAndReadAll('SELECT json_serialize_sql($1::VARCHAR)', [sql])
  return tableUses(String(answer.getRowsJS()[0]![0]), tables, params)
}

async function rowIds(sql: string): Promise<string | undefined> {
  try {
    return JSON.stringify((await duck.connection.runAndReadAll(sql)).getRowsJson())
  } catch {
    return undefined // no comparison of these types, or a value that cannot be cast
  }
}

describe('pruning', () => {
  test('a result is the same without the files that are left out', async () => {
    const seen = { compared: 0, dropped: 0 }
    await fc.assert(
      fc.asyncProperty(subject, async ({ kind, files: lists, transform, predicates }) => {
        const { files, table, rows } = build(kind, lists, transform)
        await duck.connection.run(`CREATE OR REPLACE TEMP TABLE t AS SELECT * FROM (VALUES ${rows}) v(f, x)`)
        for (const where of predicates) {
          const [use] = await usesOf(`SELECT 1 FROM t WHERE ${where}`, ['t'])
          const kept = survivors(table, files, use!)
          if (kept.length === files.length) continue
          const all = await rowIds(`SELECT rowid FROM t WHERE ${where} ORDER BY 1`)
          if (all === undefined) continue
          seen.compared++
          seen.dropped += files.length - kept.length
          const keys = kept.map(({ key }) => key).join(', ') || '-1'
          expect(await rowIds(`SELECT rowid FROM t WHERE f IN (${keys}) AND (${where}) ORDER BY 1`), where).toBe(all)
        }
      }),
      { numRuns: 150 },
    )
    expect(seen.compared).toBeGreaterThan(100)
    expect(seen.dropped).toBeGreaterThan(100)
  })
})
