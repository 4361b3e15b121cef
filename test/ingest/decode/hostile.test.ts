import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Column } from '../../../src/batch.ts'
import { NativeText } from '../../../src/ingest/decode/native-text.ts'
import { SlabPool } from '../../../src/ingest/decode/slab.ts'
import { TableDecoder, type Decoded } from '../../../src/ingest/decode/table-decoder.ts'
import { batchOf, definition } from '../../support/lake-table.ts'

const COLUMNS: readonly Column[] = [
  { name: 'l', type: { kind: 'long' } },
  { name: 'd', type: { kind: 'double' } },
  { name: 'm', type: { kind: 'decimal', precision: 38, scale: 3 } },
  { name: 's', type: { kind: 'string' } },
  { name: 'b', type: { kind: 'binary' } },
  { name: 't', type: { kind: 'timestamptz', unit: 'us' } },
  { name: 'map', type: { kind: 'map', value: { kind: 'long' } } },
  {
    name: 'list',
    type: { kind: 'list', element: { kind: 'struct', fields: [{ name: 's', type: { kind: 'string' } }] } },
  },
]

function decode(values: readonly (string | Uint8Array)[]): Decoded {
  const native = new NativeText()
  const decoder = new TableDecoder(definition({ columns: COLUMNS, unknown: 'extra' }), native, new SlabPool())
  try {
    return decoder.decode([batchOf(values.map((value) => ({ value })))], new Set())
  } finally {
    native.clear()
  }
}

describe('hostile bytes', () => {
  const many = 2_000_000
  test.each<[string, () => string, 'rows' | 'deadLetters']>([
    ['a long of millions of digits', () => `{"l":${'9'.repeat(many)}}`, 'deadLetters'],
    ['a long of millions of zeros behind the point', () => `{"l":1.${'0'.repeat(many)}}`, 'rows'],
    ['a double of millions of digits', () => `{"d":0.${'3'.repeat(many)}}`, 'rows'],
    ['a decimal of millions of digits as text', () => `{"m":"${'7'.repeat(many)}"}`, 'deadLetters'],
    ['an exponent of millions of digits', () => `{"m":1e-${'7'.repeat(many)}}`, 'deadLetters'],
    ['an instant with millions of digits', () => `{"t":"2026-01-01T00:00:00.${'1'.repeat(many)}Z"}`, 'rows'],
    ['millions of brackets', () => `{"x":${'['.repeat(many)}`, 'deadLetters'],
    ['millions of braces', () => '{"x":'.repeat(many), 'deadLetters'],
    ['a text of escapes', () => `{"s":"${'\\u0041'.repeat(many)}"}`, 'rows'],
    ['a text of quotes', () => '"'.repeat(many), 'deadLetters'],
    ['base64 of millions of bytes', () => `{"b":"${'AAAA'.repeat(many)}"}`, 'rows'],
    [
      'hundreds of thousands of keys',
      () => `{${Array.from({ length: 300_000 }, (_, k) => `"k${k}":1`).join()}}`,
      'rows',
    ],
    ['a map of them', () => `{"map":{${Array.from({ length: 300_000 }, (_, k) => `"k${k}":1`).join()}}}`, 'rows'],
    [
      'a list of a million empty structs',
      () => `{"list":[${Array.from({ length: 1_000_000 }, () => '{}').join()}]}`,
      'rows',
    ],
    [
      'unknown fields in many elements',
      () => `{"list":[${Array.from({ length: 100_000 }, () => '{"z":0}').join()}]}`,
      'rows',
    ],
  ])('%s', (_, text, kind) => {
    const value = text()
    const began = performance.now()
    const counts = decode([value, '{"l":1}']).counts.get('shop.orders/0')!
    expect(counts).toMatchObject({ rows: kind === 'rows' ? 2 : 1, deadLetters: kind === 'rows' ? 0 : 1 })
    // Far above what it takes, far below what anything but linear work would.
    expect(performance.now() - began).toBeLessThan(10_000)
  })

  test('arbitrary bytes never end the reader', () => {
    const marks = fc.constantFrom(
      ...'{}[]":,\\0123456789eE+-.tfnu \n',
      'null',
      'true',
      '"l":',
      '"s":"',
      '"list":[{',
      '\\u12',
    )
    const soup = fc.oneof(
      fc.uint8Array({ maxLength: 60 }),
      fc.array(marks, { maxLength: 30 }).map((parts) => Buffer.from(`{"${parts.join('')}`)),
      fc.array(marks, { maxLength: 30 }).map((parts) => Buffer.from(parts.join(''))),
    )
    fc.assert(
      fc.property(fc.array(soup, { minLength: 1, maxLength: 50, size: 'max' }), (values) => {
        const { rows, deadLetters } = decode(values).counts.get('shop.orders/0')!
        expect(rows + deadLetters).toBe(values.length)
      }),
      { numRuns: 150 },
    )
  })
})
