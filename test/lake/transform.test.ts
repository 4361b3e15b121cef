import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { applyTransform, bucketHash, isApplicable } from '../../src/lake/transform.ts'

describe('bucket hashes of the specification, appendix B', () => {
  test.each([
    ['int', 34, 2017239379],
    ['long', 34n, 2017239379],
    ['decimal(9, 2)', 1420n, -500754589],
    ['date', 17486, -653330422],
    ['timestamp', 1510871468000000n, -2047944441],
    ['string', 'iceberg', 1210000089],
    ['uuid', Buffer.from('f79c3e09677c4bbda479 3f349cb785e7'.replace(' ', ''), 'hex'), 1488055340],
    ['binary', Uint8Array.of(0, 1, 2, 3), -188683207],
  ] as const)('%s', (type, value, hash) => {
    expect(bucketHash(type, value)).toBe(hash)
    expect(applyTransform('bucket[16]', type, value)).toBe((hash & 0x7fffffff) % 16)
  })
})

describe('time and truncation', () => {
  test.each([
    ['day', 'timestamptz', -1n, -1],
    ['hour', 'timestamptz', -1n, -1],
    ['month', 'timestamptz', -1n, -1],
    ['year', 'timestamptz', -1n, -1],
    ['day', 'timestamp', 1510871468000000n, 17486],
    ['hour', 'timestamp', 1510871468000000n, 419686],
    ['month', 'date', 17486, 574],
    ['year', 'date', 17486, 47],
    ['truncate[10]', 'int', -1, -10],
    ['truncate[10]', 'int', -2147483648, 2147483646],
    ['truncate[10]', 'long', 19n, 10n],
    ['truncate[50]', 'decimal(9, 2)', 1065n, 1050n],
    ['truncate[3]', 'string', '😀é~x', '😀é~'],
    ['truncate[2]', 'binary', Uint8Array.of(1, 2, 3), Uint8Array.of(1, 2)],
    ['identity', 'string', 'x', 'x'],
  ] as const)('%s of a %s', (transform, type, value, expected) => {
    expect(applyTransform(transform, type, value)).toEqual(expected)
  })

  test('a null stays null', () => {
    for (const transform of ['identity', 'bucket[4]', 'truncate[2]', 'day'])
      expect(applyTransform(transform, 'timestamp', null)).toBe(null)
  })

  test('days follow the calendar on both sides of 1970', () => {
    fc.assert(
      fc.property(
        fc.date({ min: new Date('0002-01-01'), max: new Date('9998-12-31'), noInvalidDate: true }),
        (date) => {
          const us = BigInt(date.getTime()) * 1000n
          const day = applyTransform('day', 'timestamptz', us) as number
          expect(new Date(day * 86_400_000).toISOString().slice(0, 10)).toBe(date.toISOString().slice(0, 10))
          expect(applyTransform('month', 'timestamptz', us)).toBe(
            (date.getUTCFullYear() - 1970) * 12 + date.getUTCMonth(),
          )
        },
      ),
    )
  })

  test('what Iceberg does not allow is not allowed', () => {
    expect(isApplicable('day', 'long')).toBe(false)
    expect(isApplicable('hour', 'date')).toBe(false)
    expect(isApplicable('bucket[4]', 'double')).toBe(false)
    expect(isApplicable('truncate[4]', 'uuid')).toBe(false)
    expect(isApplicable('identity', { type: 'struct', fields: [] })).toBe(false)
  })
})
