import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { quotient } from '../../src/window/exact-double.ts'
import { integerOf, isNearest } from '../support/exact.ts'

// A5: what is added up exactly is rounded once, half to even.

const double = fc.double({ noNaN: true, noDefaultInfinity: true }).map((value) => value + 0)
const denominator = fc.oneof(
  fc.bigInt({ min: 1n, max: 1n << 70n }),
  fc.nat(2_200).map((bits) => 1n << BigInt(bits)),
)
const numerator = fc.oneof(
  fc.bigInt({ min: -(1n << 130n), max: 1n << 130n }),
  fc
    .tuple(fc.bigInt({ min: -(1n << 60n), max: 1n << 60n }), fc.nat(2_200))
    .map(([digits, bits]) => digits << BigInt(bits)),
)

describe('quotient', () => {
  test('is the nearest double', () => {
    fc.assert(
      fc.property(numerator, denominator, (above, below) => {
        expect(isNearest(quotient(above, below), above, below)).toBe(true)
      }),
      { numRuns: 2_000 },
    )
  })

  test('a double is itself, and halfway to the next one the even of both', () => {
    fc.assert(
      fc.property(double, (value) => {
        const here = integerOf(value)
        expect(quotient(here, 1n << 1_074n)).toBe(value)
        const step = integerOf(2 ** Math.max(-1_074, Math.floor(Math.log2(Math.abs(value) || 1)) - 53))
        for (const near of [here + step, here - step, 2n * here + 1n, 2n * here - 1n])
          expect(isNearest(quotient(near, 1n << 1_074n), near, 1n << 1_074n)).toBe(true)
      }),
    )
  })

  test.each([
    ['a half of the least subnormal is 0', 1n, 1n << 1_075n, 0],
    ['below zero too, and not −0', -1n, 1n << 1_075n, 0],
    ['a little more is the least subnormal', (1n << 100n) + 1n, 1n << 1_175n, 5e-324],
    ['three halves of it are two of it', 3n, 1n << 1_075n, 1e-323],
    [
      'what is just below halfway to 2^1024 is the largest double',
      (1n << 1_024n) - (1n << 970n) - 1n,
      1n,
      Number.MAX_VALUE,
    ],
    ['from there on it is infinite', (1n << 1_024n) - (1n << 970n), 1n, Infinity],
    ['far above it too', -(1n << 9_000n), 1n, -Infinity],
    ['far below the least it is 0', 1n, 1n << 9_000n, 0],
    ['a carry into the next exponent', (1n << 54n) - 1n, 1n << 54n, 1],
    ['a third', 1n, 3n, 1 / 3],
  ])('%s', (_, above, below, expected) => {
    expect(quotient(above, below)).toBe(expected)
  })
})
