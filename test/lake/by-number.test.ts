import fc from 'fast-check'
import { expect, test } from 'vitest'
import { ByNumber } from '../../src/lake/by-number.ts'

// Far apart, beside each other, and with the same last bits.
const numbers = [0, 1, 2, 4_096, 4_097, 8_192, 12_288, 1_000_000_000, 4_294_967_294]

test('is a map, whatever is put and removed', () => {
  const step = fc.record({ number: fc.constantFrom(...numbers), value: fc.option(fc.nat(9), { nil: undefined }) })
  fc.assert(
    fc.property(fc.array(step, { size: 'max', maxLength: 200 }), (steps) => {
      const [found, model] = [new ByNumber<number>(), new Map<number, number>()]
      for (const { number, value } of steps) {
        if (value === undefined) found.delete(number)
        else found.set(number, value)
        if (value === undefined) model.delete(number)
        else model.set(number, value)
        expect(numbers.map((each) => found.get(each))).toEqual(numbers.map((each) => model.get(each)))
      }
    }),
  )
})
