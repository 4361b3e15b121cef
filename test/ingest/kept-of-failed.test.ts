import fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { ParquetReader } from '../support/parquet.ts'
import { changeTable, folded, type Bare } from './decode/debezium-capture.ts'

// An unchanged large value is that of the key's row. A record whose SQL fails makes none, so nobody keeps values of it:
// not in its micro-batch either, or where one ends would decide what a row holds.

let reader: ParquetReader
beforeAll(async () => {
  reader = await ParquetReader.open()
})
afterAll(() => reader.close())

const UNAVAILABLE = '__debezium_unavailable_value'

function change(id: number, n: string, doc: string): Bare {
  return { key: JSON.stringify({ id }), value: JSON.stringify({ op: 'u', after: { id, n, doc }, source: {} }) }
}

const first = [0, 1, 2].map((id) => change(id, '0', `first ${id}`))
const changes = fc.array(
  fc
    .record({
      id: fc.nat(2),
      n: fc.constantFrom('1', '2', 'no number'),
      doc: fc.constantFrom('short', 'a text that does not lie in place', UNAVAILABLE, UNAVAILABLE),
    })
    .map(({ id, n, doc }) => change(id, n, doc)),
  { minLength: 1, maxLength: 20 },
)

test.each(['dead-letter', 'skip'] as const)(
  'rows do not depend on where micro-batches end when records between them fail (onError: %s)',
  async (onError) => {
    const columns = { id: 'int', n: 'string', doc: 'string', number: 'int = CAST(n AS INTEGER)' }
    const definition = { ...changeTable('docs', columns, { key: ['id'] }), onError }
    await fc.assert(
      fc.asyncProperty(changes, fc.integer({ min: 2, max: 20 }), async (list, size) => {
        const log = [...first, ...list]
        const [alone, together] = [
          await folded(definition, log, reader, 1),
          await folded(definition, log, reader, size),
        ]
        expect(together.rows).toEqual(alone.rows)
        expect(together.dead).toEqual(alone.dead)
        expect(alone.dead.length === 0 || onError === 'dead-letter').toBe(true)
      }),
      { numRuns: 4, examples: [[[change(1, 'no number', 'lost'), change(1, '5', UNAVAILABLE)], 20]] },
    )
  },
)
