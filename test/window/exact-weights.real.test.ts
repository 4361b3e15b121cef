import { DuckDBInstance, type DuckDBConnection } from '@duckdb/node-api'
import fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { quotient, registerExact } from '../../src/window/exact-double.ts'
import { EXACT } from '../../src/window/exact-names.ts'

let connection: DuckDBConnection

beforeAll(async () => {
  connection = await (await DuckDBInstance.create(':memory:', { threads: '1' })).connect()
  registerExact(connection)
})

afterAll(() => connection.closeSync())

/** Few bits and many, at the borders of 53, 96 and 97, on both sides of 0. */
const weight = fc
  .tuple(
    fc.constantFrom(1n, -1n),
    fc.constantFrom(4n, 52n, 53n, 54n, 64n, 85n, 95n, 96n, 97n, 120n),
    fc.bigInt({ min: -3n, max: 3n }),
    fc.nat(1 << 20),
  )
  .map(([sign, bits, more, low]) => sign * ((1n << bits) + (more << (bits / 2n)) + BigInt(low)))

const row = fc
  .tuple(fc.nat(63), fc.array(fc.tuple(fc.boolean(), weight), { minLength: 1, maxLength: 20 }), fc.boolean())
  .map(([bucket, weights, isOne]) =>
    weights.map(([isNext, weight]) => ({ bucket: isNext && !isOne ? Math.min(bucket + 1, 63) : bucket, weight })),
  )

test('the sum of weights of any number, size and bucket is rounded once', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(row, { minLength: 1, maxLength: 40 }), async (rows) => {
      const lists = rows.map(
        (row) =>
          `[${row.map(({ bucket, weight }) => `{'bucket': ${bucket}::INTEGER, 'weight': ${weight}::DECIMAL(38, 0)}`).join(', ')}]`,
      )
      const answer = await connection.runAndReadAll(
        `SELECT ${EXACT.sum}(w) FROM (VALUES ${lists.map((l) => `(${l})`).join(', ')}) t(w)`,
      )
      const expected = rows.map((row) => {
        const digits = row.reduce((sum, { bucket, weight }) => sum + (weight << BigInt(32 * bucket)), 0n)
        return quotient(digits, 1n << 1_075n)
      })
      expect(answer.getRows().map(([value]) => value)).toEqual(expected)
    }),
    { numRuns: 60 },
  )
})
