import { afterAll, beforeAll, expect, test } from 'vitest'
import fc from 'fast-check'
import type { Column } from '../../src/batch.ts'
import { systemClock } from '../../src/clock.ts'
import { openEncoder } from '../../src/ingest/encoder.ts'
import type { Encoder } from '../../src/ingest/lane.ts'
import { MemoryStorage } from '../../src/lake/storage/memory.ts'
import { batchOf, definition, tablePlan } from '../support/lake-table.ts'
import { ParquetReader } from '../support/parquet.ts'

// What a file says of its rows is what readers prune by: each of them has just the tuple that its file has.

const string = { kind: 'string' } as const
const COLUMNS: readonly Column[] = [
  { name: 'a', type: string },
  { name: 'b', type: string },
]
const storage = new MemoryStorage('tuples')
const def = definition({ columns: COLUMNS, partitionBy: ['a', 'b'] })
const plan = tablePlan(def, [
  ['a', 'identity'],
  ['b', 'identity'],
])
let reader: ParquetReader
let encoder: Encoder
beforeAll(async () => {
  reader = await ParquetReader.open()
  encoder = await openEncoder({ tables: [def], storage, clock: systemClock })
})
afterAll(async () => {
  reader.close()
  await encoder.close()
  await storage.close()
})

/** Texts that are put together from what could stand between or before others. */
const texts = fc.option(
  fc
    .array(fc.constantFrom('\u0000', 'string', 'null', '"', ',', 'x', '\\'), { maxLength: 4 })
    .map((parts) => parts.join('')),
)

test('rows of two tuples never share a file, whatever their texts hold', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.record({ a: texts, b: texts }), { minLength: 1, maxLength: 12 }), async (rows) => {
      const records = rows.map((row) => ({ value: JSON.stringify(row) }))
      const { files } = await encoder.encode(plan, [batchOf(records)], new Set())
      const tuples = new Set(rows.map(({ a, b }) => JSON.stringify([a, b])))
      expect(new Set(files.map(({ partition }) => JSON.stringify(partition)))).toEqual(tuples)
      for (const file of files)
        for (const row of await reader.rows(storage, file, 'a, b')) expect(row).toEqual(file.partition)
    }),
    {
      numRuns: 10,
      examples: [
        [
          [
            { a: 'x', b: 'x\u0000stringx' },
            { a: 'x\u0000stringx', b: 'x' },
          ],
        ],
      ],
    },
  )
})
