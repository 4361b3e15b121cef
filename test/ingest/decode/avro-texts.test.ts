import { isUtf8 } from 'node:buffer'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { parseAvro, avroText } from '../../../src/avro-schema.ts'
import { NativeText } from '../../../src/ingest/decode/native-text.ts'
import { SlabPool } from '../../../src/ingest/decode/slab.ts'
import { textAt } from '../../../src/ingest/decode/slab-value.ts'
import { TableDecoder } from '../../../src/ingest/decode/table-decoder.ts'
import { batchOf, definition } from '../../support/lake-table.ts'

const field = (name: string) => ({ name, type: 'string' })
const schema = parseAvro({ type: 'record', name: 'R', fields: [field('a'), field('b')] })
const columns = ['a', 'b'].map((name) => ({ name, type: { kind: 'string' } }) as const)
const table = definition({ value: 'avro', avro: { schema: avroText(schema), onIncompatible: 'stop' }, columns })

/** Texts around the length that a cell has room for, some of them no text at all. */
const bytes = fc
  .tuple(
    fc.oneof(
      fc.string({ unit: fc.constantFrom('a', 'é', '名', '😀'), maxLength: 20, size: 'max' }),
      fc.string({ unit: fc.constant('a'), maxLength: 20, size: 'max' }),
    ),
    fc.uint8Array({ maxLength: 1 }),
    fc.nat({ max: 1 }),
  )
  .map(([text, other, isOther]) => Buffer.concat([Buffer.from(text), other.subarray(0, isOther)]))

/** As Avro has it: twice the number, seven bits a byte. */
function lengthOf({ length }: Buffer): Buffer {
  return length < 64 ? Buffer.of(2 * length) : Buffer.of(((2 * length) & 127) | 128, length >> 6)
}

test('a row has the bytes of its texts and zeros behind short ones, or is a dead letter', () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(bytes, bytes), { minLength: 1, maxLength: 10 }), (pairs) => {
      const native = new NativeText()
      const values = pairs.map((pair) => Buffer.concat(pair.flatMap((each) => [lengthOf(each), each])))
      const decoder = new TableDecoder(table, native, new SlabPool())
      const { rows, counts } = decoder.decode([batchOf(values.map((value) => ({ value })))], new Set())
      const good = pairs.filter((pair) => pair.every((each) => isUtf8(each)))
      expect(counts.get('shop.orders/0')).toMatchObject({ rows: good.length, deadLetters: pairs.length - good.length })
      const [slab] = rows
      good.forEach((pair, row) =>
        pair.forEach((each, k) => {
          const at = slab!.columns[k]!.dataAt + 16 * row
          expect(Buffer.from(textAt(slab!.buffer, at))).toEqual(each)
          // Texts are compared as whole cells.
          const behind = each.length <= 12 ? new Uint8Array(slab!.buffer, at + 4 + each.length, 12 - each.length) : []
          expect([...behind].every((byte) => byte === 0)).toBe(true)
        }),
      )
      native.clear()
    }),
    { numRuns: 150 },
  )
})
