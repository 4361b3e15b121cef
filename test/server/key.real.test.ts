import { VARCHAR, type DuckDBValue } from '@duckdb/node-api'
import fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { duckdbType } from '../../src/query/engine.ts'
import { isAfter, keyValues, orderOf, quoted, type KeyColumn } from '../../src/server/key.ts'
import { jsonStyle, plainValue } from '../../src/values.ts'
import { TestDuckDb } from '../support/duckdb.ts'

// Pages of rows in the order of their keys: whatever the keys are, and wherever a page ends, each row comes once.

let duck: TestDuckDb
beforeAll(async () => {
  duck = await TestDuckDb.open()
})
afterAll(() => duck.close())

const US_MAX = 8_640_000_000_000_000_000n
const instants = fc.oneof(
  fc.bigInt({ min: -US_MAX, max: US_MAX }),
  // About the years 0, 1, 1970 and 10,000.
  fc
    .tuple(
      fc.constantFrom(-62_167_219_200_000_000n, -62_135_596_800_000_000n, 0n, 253_402_300_800_000_000n),
      fc.integer(),
    )
    .map(([us, more]) => us + BigInt(more)),
)
const texts = fc
  .array(fc.constantFrom('', '\u0000', '\uFEFF', "'", '"', '$1', 'é', '\uFFFF', '\u{10000}', 'a', 'twelve and more'), {
    maxLength: 4,
  })
  .map((parts) => parts.join(''))
const literal = (text: string): string => `'${Buffer.from(text).toString('base64')}'`

/** SQL of values of each type that a key may have. */
const VALUES: Readonly<Record<string, fc.Arbitrary<string>>> = {
  string: texts.map((text) => `decode(from_base64(${literal(text)}))`),
  binary: texts.map((text) => `from_base64(${literal(text)})`),
  boolean: fc.boolean().map(String),
  int: fc.integer().map((value) => `${value}::INTEGER`),
  long: fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }).map((value) => `'${value}'::BIGINT`),
  'decimal(38, 3)': fc.bigInt({ min: -(10n ** 38n) + 1n, max: 10n ** 38n - 1n }).map((value) => {
    const digits = String(value < 0n ? -value : value).padStart(4, '0')
    return `'${value < 0n ? '-' : ''}${digits.slice(0, -3)}.${digits.slice(-3)}'::DECIMAL(38, 3)`
  }),
  date: instants.map((us) => `CAST(make_timestamp(${us}) AS DATE)`),
  timestamp: instants.map((us) => `make_timestamp(${us})`),
  timestamptz: instants.map((us) => `make_timestamptz(${us})`),
  uuid: fc.uuid().map((uuid) => `'${uuid}'::UUID`),
}

async function query(sql: string, params: readonly (string | null)[] = []): Promise<Record<string, unknown>[]> {
  const prepared = await duck.connection.prepare(sql)
  for (const [index, value] of params.entries()) {
    if (value === null) prepared.bindNull(index + 1)
    else prepared.bindValue(index + 1, value, VARCHAR)
  }
  const result = await prepared.runAndReadAll()
  return result
    .getRowObjects()
    .map((row) =>
      Object.fromEntries(Object.entries(row).map(([k, v]) => [k, plainValue(v as DuckDBValue, jsonStyle)] as const)),
    )
}

const tables = fc.uniqueArray(fc.constantFrom(...Object.keys(VALUES)), { minLength: 1, maxLength: 3 }).chain((types) =>
  fc.record({
    types: fc.constant(types),
    rows: fc.array(fc.tuple(...types.map((type) => VALUES[type]!)), { minLength: 1, maxLength: 12 }),
    limit: fc.integer({ min: 1, max: 5 }),
  }),
)

test('pages of a table in the order of its key hold each row once', async () => {
  await fc.assert(
    fc.asyncProperty(tables, async ({ types, rows, limit }) => {
      const key = types.map((type, k): KeyColumn => ({ name: `k"${k}`, type: type as never, required: true }))
      const named = key.map(({ name }) => quoted(name))
      const values = rows.map((row) => `(${row.join(', ')})`)
      await duck.connection.run(
        `CREATE OR REPLACE TABLE t AS SELECT DISTINCT * FROM (VALUES ${values.join(', ')}) v(${named.join(', ')})`,
      )
      for (const { name, type } of key)
        await duck.connection.run(`ALTER TABLE t ALTER ${quoted(name)} TYPE ${duckdbType(type)}`)
      const order = `ORDER BY ${orderOf(key, quoted)}`
      const all = await query(`SELECT * FROM t ${order}`)
      const seen: Record<string, unknown>[] = []
      while (seen.length < all.length) {
        const last = seen.at(-1)
        const after = last === undefined ? [] : keyValues(key, JSON.parse(JSON.stringify(last)))
        const where = last === undefined ? '' : `WHERE ${isAfter(key, quoted)}`
        const page = await query(`SELECT * FROM t ${where} ${order} LIMIT ${limit}`, after)
        expect(page).toEqual(all.slice(seen.length, seen.length + limit))
        seen.push(...page)
      }
    }),
    {
      numRuns: 100,
      examples: [
        [
          {
            types: ['timestamptz'],
            rows: [['make_timestamptz(253402300800000000)'], ['make_timestamptz(253402300800000001)']],
            limit: 1,
          },
        ],
      ],
    },
  )
})
