import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Column, ColumnType } from '../../src/batch.ts'
import { buildersOf, OwnText } from '../../src/ingest/decode/column-builder.ts'
import { JsonReader } from '../../src/ingest/decode/json-reader.ts'
import { planOf } from '../../src/ingest/decode/plan.ts'
import { RowKeys } from '../../src/ingest/decode/row-keys.ts'
import { KeyEncoder, KeyHasher, type KeyValue } from '../../src/ingest/key-hash.ts'

const UUID = '0f9d2a4e-7d6b-4f64-9a53-0d2c7f5b1e11'

/** A value of a key column: as it is encoded, and as JSON has it. */
interface Sample {
  readonly type: ColumnType
  readonly value: KeyValue
  readonly json: unknown
}

const decimal = (precision: number): fc.Arbitrary<Sample> =>
  fc.bigInt({ min: -(10n ** BigInt(precision)) + 1n, max: 10n ** BigInt(precision) - 1n }).map((value) => ({
    type: { kind: 'decimal', precision, scale: 0 },
    value,
    json: String(value),
  }))
const long = fc.oneof(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }), fc.bigInt({ min: -9n, max: 9n }))

const kinds: readonly fc.Arbitrary<Sample>[] = [
  fc.string({ unit: 'grapheme', maxLength: 40 }).map((value) => ({ type: { kind: 'string' }, value, json: value })),
  fc.constantFrom('a', 'second symbol').map((value) => ({
    type: { kind: 'enum', symbols: ['a', 'second symbol'] },
    value,
    json: value,
  })),
  fc.uint8Array({ maxLength: 40 }).map((value) => ({
    type: { kind: 'binary' },
    value,
    json: Buffer.from(value).toString('base64'),
  })),
  fc.integer().map((value) => ({ type: { kind: 'int' }, value, json: value })),
  long.map((value) => ({ type: { kind: 'long' }, value, json: value })),
  fc.boolean().map((value) => ({ type: { kind: 'boolean' }, value, json: value })),
  fc.integer({ min: -100_000, max: 100_000 }).map((value) => ({
    type: { kind: 'date' },
    value,
    json: new Date(value * 86_400_000).toISOString().slice(0, 10),
  })),
  long.map((raw) => raw / 2n).map((value) => ({ type: { kind: 'timestamp', unit: 'us' }, value, json: value })),
  fc.uuid().map((text) => ({
    type: { kind: 'uuid' },
    value: new Uint8Array(Buffer.from(text.replaceAll('-', ''), 'hex')),
    json: text,
  })),
  ...[3, 9, 15, 37].map(decimal),
]
const keys = fc.array(fc.oneof(...kinds), { minLength: 1, maxLength: 4 })

/** JSON in which a bigint is a number. */
function text(record: Readonly<Record<string, unknown>>, isEscaped: boolean): string {
  const fields = Object.entries(record).map(([name, value]) => {
    const plain = typeof value === 'bigint' ? String(value) : JSON.stringify(value)
    return `"${name}":${isEscaped ? plain.replace(/[a-z]/, (c) => (typeof value === 'string' ? unicode(c) : c)) : plain}`
  })
  return `{${fields.join(',')}}`
}
const unicode = (c: string): string => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`

function encoded(samples: readonly Sample[], encoder = new KeyEncoder()): Uint8Array {
  encoder.begin()
  for (const { type, value } of samples) encoder.value(type, value)
  return encoder.bytes.slice(0, encoder.end)
}

function hashOf(bytes: Uint8Array, hasher: KeyHasher): string {
  const out = new Uint32Array(5)
  hasher.hash(bytes, 0, bytes.length, out, 1)
  return out.slice(1).join(' ')
}

const columnsOf = (samples: readonly Sample[]): Column[] => samples.map(({ type }, k) => ({ name: `c${k}`, type }))

describe('hashes of keys', () => {
  test('rows in builders and canonical bytes have the same hash', () => {
    fc.assert(
      fc.property(keys, fc.boolean(), fc.nat(20), (samples, isEscaped, row) => {
        const columns = columnsOf(samples)
        const hasher = new KeyHasher(UUID, columns)
        const own = new OwnText()
        const plan = planOf(columns)
        const record = text(Object.fromEntries(samples.map(({ json }, k) => [`c${k}`, json])), isEscaped)
        const bytes = Buffer.concat([Buffer.from([1, 2, 3]), Buffer.from(record)])
        expect(new JsonReader(plan, own, 'ignore').record(bytes, 1, 3, bytes.length, row)).toBeUndefined()
        const rows = new RowKeys(hasher, new KeyEncoder(), plan.builders, own)
        rows.open(bytes)
        const out = new Uint32Array(4)
        rows.hash(row, out, 0)
        expect(out.join(' ')).toBe(hashOf(encoded(samples), hasher))
      }),
      { numRuns: 1_000 },
    )
  })

  test('the canonical bytes of a key', () => {
    const uuid = Buffer.from('00112233445566778899aabbccddeeff', 'hex')
    expect(
      Buffer.from(
        encoded([
          { type: { kind: 'string' }, value: 'é', json: '' },
          { type: { kind: 'int' }, value: -2, json: 0 },
          { type: { kind: 'date' }, value: 3, json: 0 },
          { type: { kind: 'boolean' }, value: true, json: 0 },
          { type: { kind: 'uuid' }, value: uuid, json: 0 },
          { type: { kind: 'decimal', precision: 38, scale: 0 }, value: -1n << 64n, json: 0 },
        ]),
      ).toString('hex'),
    ).toBe(
      ['02000000c3a9', 'feffffffffffffff', '0300000000000000', '01', '00112233445566778899aabbccddeeff']
        .concat(['0000000000000000ffffffffffffffff'])
        .join(''),
    )
  })

  test('a promotion changes no hash', () => {
    const value = 12_345
    const int = encoded([{ type: { kind: 'int' }, value, json: 0 }])
    expect(encoded([{ type: { kind: 'long' }, value: BigInt(value), json: 0 }])).toEqual(int)
  })

  test('every word sees every bit, also of short keys, and the seed', () => {
    for (const length of [1, 4, 5, 8, 12, 16, 17, 40]) {
      const hasher = new KeyHasher(UUID, [{ name: 'a', type: { kind: 'long' } }])
      const flips = new Uint32Array(4)
      const base = new Uint32Array(4)
      const changed = new Uint32Array(4)
      const bytes = Uint8Array.from({ length }, (_, k) => k * 37)
      hasher.hash(bytes, 0, length, base, 0)
      for (let bit = 0; bit < 8 * length; bit++) {
        const other = bytes.slice()
        other[bit >> 3]! ^= 1 << (bit & 7)
        hasher.hash(other, 0, length, changed, 0)
        changed.forEach((word, k) => {
          const difference = (word ^ base[k]!) >>> 0
          expect(difference).not.toBe(0)
          flips[k]! += difference.toString(2).replaceAll('0', '').length
        })
      }
      for (const count of flips) expect(Math.abs(count / (8 * length) / 32 - 0.5)).toBeLessThan(0.12)
    }
    const column = [{ name: 'a', type: { kind: 'long' } }] as const
    const other = hashOf(Buffer.from('x'), new KeyHasher('0f9d2a4e-7d6b-4f64-9a53-0d2c7f5b1e12', column)).split(' ')
    hashOf(Buffer.from('x'), new KeyHasher(UUID, column))
      .split(' ')
      .forEach((word, k) => expect(word).not.toBe(other[k]))
  })

  test('different keys have different hashes, in any 64 bits of them', () => {
    const hasher = new KeyHasher(UUID, [{ name: 'id', type: { kind: 'long' } }])
    const seen = [new Set<bigint>(), new Set<bigint>(), new Set<bigint>()]
    const out = new Uint32Array(4)
    const encoder = new KeyEncoder()
    for (let id = 0; id < 50_000; id++) {
      encoder.begin()
      encoder.words(id % 2 === 0 ? id : -id, id % 3)
      hasher.hash(encoder.bytes, 0, encoder.end, out, 0)
      seen.forEach((set, k) => set.add((BigInt(out[k]!) << 32n) | BigInt(out[k + 1]!)))
    }
    for (const set of seen) expect(set.size).toBe(50_000)
  })

  test('a text of one column and a pair that reads the same are different keys', () => {
    const string = { kind: 'string' } as const
    const one = encoded([
      { type: string, value: 'ab', json: 0 },
      { type: string, value: 'c', json: 0 },
    ])
    const two = encoded([
      { type: string, value: 'a', json: 0 },
      { type: string, value: 'bc', json: 0 },
    ])
    expect(Buffer.from(one).equals(two)).toBe(false)
  })

  test('what is no key is refused', () => {
    expect(() => new KeyEncoder().value({ kind: 'double' }, 1)).toThrow(TypeError)
    expect(() => new KeyHasher('no', [{ name: 'a', type: { kind: 'long' } }])).toThrow(RangeError)
    expect(buildersOf([{ name: 'a', type: { kind: 'long' } }])).toHaveLength(1)
  })
})
