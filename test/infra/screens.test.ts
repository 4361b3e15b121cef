import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { shownLines } from '../../infra/screens/terminal.mjs'

// The pictures of the command line are of what a terminal shows.

const texts = (bytes: string, columns = 20) =>
  shownLines(bytes, columns).map((runs) => runs.map(({ text }) => text).join(''))

test('plain text is itself, in lines as wide as the terminal', () => {
  const line = fc.string({ unit: fc.constantFrom(...'abc█…'), minLength: 1, maxLength: 40 })
  fc.assert(
    fc.property(fc.array(line, { minLength: 1 }), (lines) => {
      const wanted = lines.flatMap((text) => text.match(/.{1,20}/gu)!)
      expect(texts(lines.join('\r\n'))).toEqual(wanted)
    }),
  )
})

test('a line that is written again stands once; colours are runs', () => {
  expect(texts('one\r\n40 %\r\u001B[2K100 %\r\n')).toEqual(['one', '100 %'])
  expect(texts('abcdef\rxy\u001B[K')).toEqual(['xy'])
  expect(texts('a\r\nb\u001B[1A\rc')).toEqual(['c', 'b'])
  const plain = { color: undefined, bold: false, dim: false }
  expect(shownLines('\u001B[32m✓\u001B[0m done \u001B[2mnow\u001B[0m', 20)).toEqual([
    [
      { ...plain, text: '✓', color: 2 },
      { ...plain, text: ' done ' },
      { ...plain, text: 'now', dim: true },
    ],
  ])
})
