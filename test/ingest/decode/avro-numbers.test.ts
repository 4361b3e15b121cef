import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Column } from '../../../src/batch.ts'
import { avscType, type Json } from './avro-arbitrary.ts'
import { decode } from './avro-decode.ts'

// Numbers that take a way without 64-bit arithmetic must come out as those that do not: of each width, and near every
// border between the two ways.

const MIN = -(2n ** 63n)
const MAX = 2n ** 63n - 1n

/** Of each number of bits alike; every second one near a power of two or ten. */
const long = fc
  .tuple(fc.bigInt({ min: MIN, max: MAX }), fc.integer({ min: 0, max: 63 }), fc.boolean())
  .chain(([any, shift, isNear]) =>
    isNear ? fc.oneof(near(2n, shift), near(10n, Math.min(shift, 18))) : fc.constant(any >> BigInt(shift)),
  )

/** A precision near the number of its digits decides whether it fits. */
const longAndPrecision = long.chain((value) => {
  const digits = String(value).replace('-', '').length
  return fc.tuple(
    fc.constant(value),
    fc.oneof(fc.integer({ min: Math.max(digits - 1, 1), max: digits + 1 }), fc.integer({ min: 1, max: 38 })),
  )
})

function near(base: bigint, exponent: number): fc.Arbitrary<bigint> {
  const clamp = (value: bigint) => (value > MAX ? MAX : value < MIN ? MIN : value)
  return fc
    .tuple(fc.bigInt({ min: -2n, max: 2n }), fc.constantFrom(1n, -1n))
    .map(([by, sign]) => clamp(sign * (base ** BigInt(exponent) + by)))
}

function comes(schema: Json, to: Column['type'], value: unknown): unknown {
  const fields = [
    { name: 'a', type: schema },
    { name: 'b', type: 'string' },
  ]
  const whole: Json = { type: 'record', name: 'R', fields }
  const columns: readonly Column[] = [
    { name: 'a', type: to },
    { name: 'b', type: { kind: 'string' } },
  ]
  // What stands behind the number decides how it is read, and shows where it ended.
  return ['', 'of more bytes than any number'].map((b) => {
    const found = decode(whole, columns, [avscType(whole).toBuffer({ a: value, b })]).of.get(0)!
    if (typeof found !== 'string') expect(found[1]).toBe(b)
    return typeof found === 'string' ? found : found[0]
  })
}

const both = (value: bigint | string) => [String(value), String(value)]

describe('without 64-bit arithmetic', () => {
  test('a long is what was written', () => {
    fc.assert(
      fc.property(long, (value) => {
        expect(comes('long', { kind: 'long' }, value)).toEqual(both(value))
      }),
    )
  })

  test('nanoseconds are microseconds, rounded toward −∞', () => {
    fc.assert(
      fc.property(long, (value) => {
        const rest = ((value % 1000n) + 1000n) % 1000n
        const nanos = { type: 'long', logicalType: 'timestamp-nanos' }
        expect(comes(nanos, { kind: 'timestamptz' }, value)).toEqual(both((value - rest) / 1000n))
      }),
    )
  })

  test('an integer in a decimal has its zeros, or does not fit', () => {
    fc.assert(
      fc.property(longAndPrecision, fc.nat({ max: 38 }), ([value, precision], scale) => {
        fc.pre(scale <= precision)
        const unscaled = value * 10n ** BigInt(scale)
        const limit = 10n ** BigInt(precision)
        const fits = unscaled < limit && unscaled > -limit
        const expected = both(fits ? unscaled : 'decode.range')
        expect(comes('long', { kind: 'decimal', precision, scale }, value)).toEqual(expected)
      }),
    )
  })

  test('bytes of a decimal are its digits, with as many bytes as there are', () => {
    fc.assert(
      fc.property(longAndPrecision, fc.nat({ max: 3 }), ([value, precision], more) => {
        const limit = 10n ** BigInt(precision)
        const size = bytesOf(value) + more
        const hex = BigInt.asUintN(8 * size, value).toString(16)
        const bytes = Buffer.from(hex.padStart(2 * size, '0'), 'hex')
        const schema = { type: 'bytes', logicalType: 'decimal', precision, scale: 0 }
        const fits = value < limit && value > -limit
        const expected = both(fits ? value : 'decode.range')
        expect(comes(schema, { kind: 'decimal', precision, scale: 0 }, bytes)).toEqual(expected)
      }),
      {
        examples: [
          [[10n ** 18n, 18], 0],
          [[1n - 10n ** 18n, 18], 0],
          [[-(10n ** 16n), 16], 1],
        ],
      },
    )
  })
})

function bytesOf(value: bigint): number {
  let size = 1
  while (BigInt.asIntN(8 * size, value) !== value) size++
  return size
}
