import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { compareValues, lowerBound, singleValue, unscaledBytes, upperBound } from '../../src/lake/single-value.ts'

const utf8 = fc.string({ unit: 'binary', maxLength: 40 })

describe('bounds', () => {
  test('a cut bound still bounds, in UTF-8 order', () => {
    fc.assert(
      fc.property(utf8, (text) => {
        const bytes = Buffer.from(text, 'utf8')
        expect(Buffer.compare(lowerBound('string', bytes), bytes)).toBeLessThanOrEqual(0)
        const upper = upperBound('string', bytes)
        if (upper !== undefined) expect(Buffer.compare(upper, bytes)).toBeGreaterThanOrEqual(0)
        for (const bound of [lowerBound('string', bytes), upper ?? Buffer.alloc(0)]) {
          expect(Array.from(Buffer.from(bound).toString('utf8')).length).toBeLessThanOrEqual(16)
          expect(() => new TextDecoder('utf-8', { fatal: true }).decode(bound)).not.toThrow()
        }
      }),
      { numRuns: 2_000 },
    )
  })

  test('the same of binaries', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => {
        expect(Buffer.compare(lowerBound('binary', bytes), bytes)).toBeLessThanOrEqual(0)
        const upper = upperBound('binary', bytes)
        if (upper !== undefined) expect(Buffer.compare(upper, bytes)).toBeGreaterThanOrEqual(0)
      }),
    )
  })

  test.each([
    ['a'.repeat(17), `${'a'.repeat(15)}b`],
    ['\ud7ff'.repeat(17), `${'\ud7ff'.repeat(15)}\ue000`],
    [`a${'\u{10ffff}'.repeat(20)}`, 'b'],
  ])('the upper bound of a long text is raised', (text, expected) => {
    expect(Buffer.from(upperBound('string', Buffer.from(text))!).toString()).toBe(expected)
  })

  test('no upper bound when nothing can be raised', () => {
    expect(upperBound('string', Buffer.from('\u{10ffff}'.repeat(17)))).toBe(undefined)
    expect(upperBound('binary', new Uint8Array(17).fill(255))).toBe(undefined)
  })

  test('texts are ordered by bytes, not by UTF-16', () => {
    expect(['～', '😀'].toSorted()).toEqual(['😀', '～'])
    expect(compareValues('😀', '～')).toBeGreaterThan(0)
  })
})

describe('bounds of floating-point numbers', () => {
  test.each(['float', 'double'])('a zero %s takes in both zeros, and NaN is no bound', (type) => {
    for (const zero of [0, -0]) {
      expect(Buffer.from(lowerBound(type, bytes(type, zero)))).toEqual(bytes(type, -0))
      expect(Buffer.from(upperBound(type, bytes(type, zero))!)).toEqual(bytes(type, 0))
    }
    expect(Buffer.from(lowerBound(type, bytes(type, Number.NaN)))).toEqual(bytes(type, -Infinity))
    expect(upperBound(type, bytes(type, Number.NaN))).toBe(undefined)
    expect(Buffer.from(upperBound(type, bytes(type, 1.5))!)).toEqual(bytes(type, 1.5))
  })
})

describe('single values', () => {
  test.each([
    ['boolean', true, '01'],
    ['int', -2, 'feffffff'],
    ['date', 1, '01000000'],
    ['long', -2n, 'feffffffffffffff'],
    ['timestamptz', 1n, '0100000000000000'],
    ['double', 1, '000000000000f03f'],
    ['string', 'é', 'c3a9'],
    ['decimal(9, 2)', 1420n, '058c'],
    ['decimal(9, 2)', -1n, 'ff'],
    ['decimal(38, 0)', 128n, '0080'],
  ] as const)('%s', (type, value, hex) => {
    expect(Buffer.from(singleValue(type, value)).toString('hex')).toBe(hex)
  })

  test('decimals take the fewest bytes that keep the sign', () => {
    fc.assert(
      fc.property(fc.bigInt({ min: -(10n ** 38n), max: 10n ** 38n }), (value) => {
        const bytes = unscaledBytes(value)
        expect(BigInt.asIntN(8 * bytes.length, BigInt(`0x${Buffer.from(bytes).toString('hex')}`))).toBe(value)
        if (bytes.length > 1) expect(BigInt.asIntN(8 * (bytes.length - 1), value)).not.toBe(value)
      }),
    )
  })
})

function bytes(type: string, value: number): Buffer {
  return Buffer.from(singleValue(type, value))
}
