import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { systemClock } from '../../../src/clock.ts'
import { openEncoder } from '../../../src/ingest/encoder.ts'
import { batchOf, definition, tablePlan } from '../../support/lake-table.ts'
import { openStore } from '../../support/parquet.ts'
import { columnsArbitrary, mutated, objectArbitrary } from './arbitrary.ts'
import { plainOf } from './plain.ts'
import { judge } from './reference.ts'

const { storage, reader } = await openStore('reader')

const unknowns = fc.constantFrom('extra' as const, 'ignore' as const, 'fail' as const)

test('every record has the verdict and the values that the plain rules give it', { timeout: 120_000 }, async () => {
  const cases = fc
    .tuple(columnsArbitrary(), unknowns)
    .chain(([columns, unknown]) =>
      fc.tuple(
        fc.constant(columns),
        fc.constant(unknown),
        fc.array(mutated(objectArbitrary(columns)), { minLength: 1, maxLength: 60, size: 'max' }),
      ),
    )
  await fc.assert(
    fc.asyncProperty(cases, async ([columns, unknown, values]) => {
      const def = definition({ columns, unknown })
      const encoder = await openEncoder({ tables: [def], storage, clock: systemClock })
      const staged = await encoder.encode(tablePlan(def), [batchOf(values.map((value) => ({ value })))], new Set())
      await encoder.close()
      const expected = values.map((value) => judge(value, columns, unknown))
      const rows = staged.files.length === 0 ? [] : await reader.rows(storage, staged.files[0]!)
      const seen = new Map<string, unknown>()
      const extraAt = unknown === 'extra' ? columns.length : -1
      const offsetAt = columns.length + (unknown === 'extra' ? 2 : 1)
      for (const row of rows)
        seen.set(String(row[offsetAt]), {
          kind: 'row',
          values: columns.map(({ type }, k) => plainOf(row[k]!, type)),
          extra: extraAt < 0 ? null : row[extraAt],
        })
      const dead =
        staged.deadLetterFiles.length === 0
          ? []
          : await reader.rows(storage, staged.deadLetterFiles[0]!, '_offset, code, value')
      for (const [offset, code, value] of dead) {
        seen.set(String(offset), { kind: 'dead', code })
        expect(plainOf(value!, { kind: 'binary' })).toBe(Buffer.from(values[Number(offset)]!).toString('hex'))
      }
      values.forEach((value, k) => {
        const verdict = expected[k]!
        const where = `${JSON.stringify(columns)} ${unknown} ${Buffer.from(value).toString()}`
        expect(seen.get(String(k)), where).toEqual(verdict)
      })
      const count = staged.counts.get('shop.orders/0')!
      expect(count.rows).toBe(rows.length)
      expect(count.rows + count.deadLetters).toBe(values.length)
    }),
    { numRuns: Number(process.env['RUNS'] ?? 40) },
  )
})
