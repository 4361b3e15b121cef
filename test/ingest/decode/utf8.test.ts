import { isUtf8 } from 'node:buffer'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { isUtf8At } from '../../../src/ingest/decode/utf8.ts'

/** Bytes near the borders of what is UTF-8, which bytes at random hardly ever come near. */
const BORDERS = Buffer.from('00417f808f909fa0bfc0c1c2dfe0e1ecedeeeff0f1f3f4f5ff', 'hex')
const border = fc.constantFrom(...BORDERS)
const text = fc.string({ unit: 'binary', maxLength: 12 }).map((value) => [...Buffer.from(value)])
const piece = fc.oneof(
  text,
  border.map((byte) => [byte]),
)

test('bytes are UTF-8 where the built-in check says so, wherever they lie', () => {
  fc.assert(
    fc.property(
      fc.array(piece, { maxLength: 12 }),
      fc.array(border, { maxLength: 4 }),
      fc.array(border),
      (pieces, before, behind) => {
        const bytes = pieces.flat()
        const all = Uint8Array.from([...before, ...bytes, ...behind])
        const is = isUtf8At(all, before.length, before.length + bytes.length)
        expect(is).toBe(isUtf8(Uint8Array.from(bytes)))
      },
    ),
    { numRuns: 2_000 },
  )
})

test('all sequences of a first byte and two of the borders', () => {
  const borders = [0x00, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xff]
  for (let first = 0; first < 256; first++)
    for (const second of borders)
      for (const third of borders)
        for (const rest of [[], [0x80]]) {
          const bytes = Uint8Array.from([first, second, third, ...rest])
          if (isUtf8At(bytes, 0, bytes.length) !== isUtf8(bytes)) expect.fail(`${[...bytes]}`)
        }
})
