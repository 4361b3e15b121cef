import fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { ParquetReader } from '../support/parquet.ts'
import { changeTable, decoded, folded, type Bare } from './decode/debezium-capture.ts'

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

const COLUMNS = { id: 'int', n: 'string', doc: 'string', number: 'int = CAST(n AS INTEGER)' }
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
    const definition = { ...changeTable('docs', COLUMNS, { key: ['id'] }), onError }
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

test('whose SQL fails is a dead letter for that, also where it lacks values of a row that went before it', async () => {
  const gone = { key: '{"id":1}', value: JSON.stringify({ op: 'd', before: { id: 1 }, after: null, source: {} }) }
  const log = [
    change(1, '1', 'first'),
    gone,
    change(1, 'no number', UNAVAILABLE),
    change(1, '2', UNAVAILABLE),
    change(1, 'no number', 'whole'),
    change(1, '3', UNAVAILABLE),
    change(1, '4', 'whole'),
    change(1, '5', UNAVAILABLE),
  ]
  const { rows, dead, counts } = await decoded(changeTable('docs', COLUMNS, { key: ['id'] }), log, reader)
  expect([...dead].toSorted()).toEqual([
    ['2', 'transform.failed'],
    ['3', 'cdc.unavailable_without_base'],
    ['4', 'transform.failed'],
    ['5', 'cdc.unavailable_without_base'],
  ])
  expect([...rows.keys()]).toEqual(['0', '6', '7'])
  expect(rows.get('7')).toMatchObject({ doc: 'whole', n: '5' })
  expect(counts).toMatchObject({ rows: 3, deadLetters: 4, tombstones: 1, skipped: 0 })
})
