import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { parseAvro } from '../../../src/avro-schema.ts'
import type { Column } from '../../../src/batch.ts'
import { columnsOfAvro } from '../../../src/define-avro.ts'
import { avscType, schemaArbitrary, valueArbitrary, type Json } from './avro-arbitrary.ts'
import { decode } from './avro-decode.ts'
import { fieldPlain, plainAvro } from './avro-reference.ts'
import type { Plain } from './reference.ts'

const withValues = schemaArbitrary.chain((schema) =>
  fc.tuple(fc.constant(schema), fc.array(valueArbitrary(schema), { minLength: 1, maxLength: 20, size: 'max' })),
)

/** Zero has one sign in our columns. */
const unsigned = (plain: Plain): Plain =>
  plain === null || typeof plain === 'string' ? (plain === '-0' ? '0' : plain) : plain.map(unsigned)

test('what avsc writes is what the columns of the schema hold', () => {
  fc.assert(
    fc.property(withValues, ([schema, values]) => {
      const type = avscType(schema)
      const columns = columnsOfAvro(parseAvro(schema))
      const { of, messages } = decode(
        schema,
        columns,
        values.map((value) => type.toBuffer(value)),
      )
      values.forEach((value, k) => {
        const expected = columns.map((column) => unsigned(fieldPlain(value, schema as any, column)))
        expect(of.get(k), `${JSON.stringify(schema)} ${messages.get(k)}`).toEqual(expected)
      })
    }),
    { numRuns: Number(process.env['RUNS'] ?? 60) },
  )
})

test('any choice and order of the columns reads the same values', () => {
  const cases = withValues.chain(([schema, values]) => {
    const columns = columnsOfAvro(parseAvro(schema))
    return fc.tuple(
      fc.constant(schema),
      fc.constant(values),
      fc.shuffledSubarray([...columns], { minLength: 1 }),
      fc.constantFrom('ignore' as const, 'extra' as const),
    )
  })
  fc.assert(
    fc.property(cases, ([schema, values, columns, unknown]) => {
      const type = avscType(schema)
      const { of, messages } = decode(
        schema,
        columns,
        values.map((value) => type.toBuffer(value)),
        { unknown },
      )
      values.forEach((value, k) => {
        const row = of.get(k)
        expect(row, `${JSON.stringify(schema)} ${messages.get(k)}`).toBeInstanceOf(Array)
        const expected = columns.map((column) => unsigned(fieldPlain(value, schema as any, column)))
        expect(row!.slice(0, columns.length)).toEqual(expected)
        if (unknown === 'ignore') return
        const others = (schema as any).fields
          .map((field: any) => field.name)
          .filter((name: string) => !columns.some((column) => column.name === name))
          .filter((name: string) => (value as any)[name] !== null)
        const extra = row![columns.length] as string | null
        expect(extra === null ? [] : Object.keys(JSON.parse(extra))).toEqual(others)
      })
    }),
    { numRuns: Number(process.env['RUNS'] ?? 40) },
  )
})

test('changed bytes are a dead letter, or what avsc reads of them', () => {
  const change = fc.tuple(fc.nat(10_000), fc.constantFrom('set', 'cut', 'drop', 'add'), fc.nat(255))
  fc.assert(
    fc.property(withValues, fc.array(change, { minLength: 1, maxLength: 3 }), ([schema, values], changes) => {
      const type = avscType(schema)
      const columns = columnsOfAvro(parseAvro(schema))
      const changed = values.map((value) => mutated(type.toBuffer(value), changes))
      const { of } = decode(schema, columns, changed)
      expect(of.size).toBe(values.length)
      changed.forEach((bytes, k) => {
        const verdict = of.get(k)!
        if (typeof verdict === 'string') return expect(verdict).toMatch(/^(decode|key|schema)\./)
        const value = type.fromBuffer(bytes)
        expect(verdict).toEqual(columns.map((column) => unsigned(fieldPlain(value, schema as any, column))))
      })
    }),
    { numRuns: Number(process.env['RUNS'] ?? 60) },
  )
})

function mutated(bytes: Buffer, changes: readonly (readonly [number, string, number])[]): Buffer {
  let result = Buffer.from(bytes)
  for (const [where, what, byte] of changes) {
    const at = where % Math.max(1, result.length)
    if (what === 'set' && result.length > 0) result[at] = byte
    else if (what === 'cut') result = result.subarray(0, at)
    else if (what === 'drop') result = Buffer.concat([result.subarray(0, at), result.subarray(at + 1)])
    else result = Buffer.concat([result.subarray(0, at), Buffer.of(byte), result.subarray(at)])
  }
  return result
}

const record = (...fields: readonly (readonly [string, Json])[]): Json => ({
  type: 'record',
  name: 'R',
  fields: fields.map(([name, type]) => ({ name, type })),
})
const column = (name: string, type: Column['type'], required = false): Column => ({
  name,
  type,
  ...(required ? { required } : {}),
})
const hex = (text: string): Buffer => Buffer.from(text.replaceAll(' ', ''), 'hex')

describe('every end of every block', () => {
  test('a value that is cut anywhere is a dead letter', () => {
    const schema = record(
      ['a', 'string'],
      ['b', { type: 'array', items: ['null', 'long'] }],
      ['c', { type: 'map', values: 'double' }],
      ['d', { type: 'fixed', name: 'F', size: 3 }],
    )
    const type = avscType(schema)
    const whole = type.toBuffer({ a: 'text of some length', b: [{ long: 5n }, null], c: { x: 1 }, d: Buffer.alloc(3) })
    const cut = Array.from({ length: whole.length }, (_, k) => whole.subarray(0, k))
    const { of } = decode(schema, columnsOfAvro(parseAvro(schema)), [...cut, whole, Buffer.concat([whole, hex('00')])])
    expect([...of.values()].filter((verdict) => verdict === 'decode.avro')).toHaveLength(whole.length + 1)
    expect(of.get(whole.length)).toBeInstanceOf(Array)
  })

  test('blocks may say their bytes, and must be right about them', () => {
    const schema = record(['a', { type: 'array', items: 'int' }])
    const { of, messages } = decode(schema, columnsOfAvro(parseAvro(schema)), [
      hex('03 04 02 04 02 06 00'), // −2 items in 2 bytes, then 1 item
      hex('03 06 02 04 02 06 00'), // 3 bytes are said
      hex('00'),
    ])
    expect(of.get(0)).toEqual([['1', '2', '3']])
    expect(of.get(1)).toBe('decode.avro')
    expect(messages.get(1)).toMatch(/another length at byte/)
    expect(of.get(2)).toEqual([[]])
  })
})

describe('hostile values', () => {
  const nulls = record(['a', { type: 'array', items: 'null' }])
  const empties = record(['a', { type: 'array', items: { type: 'record', name: 'E', fields: [] } }])
  const longs = record(['a', { type: 'array', items: 'long' }])
  const texts = record(['a', 'string'])
  const maps = record(['a', { type: 'map', values: 'null' }])
  const list: Column = column('a', { kind: 'list', element: { kind: 'long' } })
  const map: Column = column('a', { kind: 'map', value: { kind: 'long' } })
  const TWO_60 = '808080808080808020'
  test.each<[string, Json, readonly Column[], string]>([
    ['200 million nulls', nulls, [list], '8088debe01 00'],
    ['2^60 nulls', nulls, [list], `${TWO_60} 00`],
    ['2^60 nulls that no column has', nulls, [column('b', { kind: 'int' })], `${TWO_60} 00`],
    ['200 million empty records', empties, [column('b', { kind: 'int' })], '8088debe01 00'],
    ['2^60 longs', longs, [list], `${TWO_60} 00`],
    ['2^60 longs that no column has', longs, [column('b', { kind: 'int' })], `${TWO_60} 00`],
    ['a count of −2^63', longs, [list], 'ffffffffffffffffff01 02 00'],
    ['a negative count without its bytes', longs, [list], '01'],
    ['a block of a negative number of bytes', longs, [list], '01 01 02 00'],
    ['a block of 2^60 bytes', longs, [list], `01 ${TWO_60} 02 00`],
    ['a text of 2^60 bytes', texts, [column('a', { kind: 'string' })], TWO_60],
    ['a text of a negative length', texts, [column('a', { kind: 'string' })], '01'],
    ['a text of 2^31 − 1 bytes', texts, [column('a', { kind: 'string' })], 'feffffff0f'],
    ['a number that never ends', longs, [list], 'ffffffffffffffffffffffff01'],
    ['a number of 65 bits', longs, [list], '02 ffffffffffffffffff02 00'],
    ['2^60 entries', maps, [map], TWO_60],
    ['nothing', longs, [list], ''],
    ['a text that is not UTF-8', texts, [column('a', { kind: 'string' })], '02 ff'],
    ['a map with a key twice', maps, [map], '04 02 78 02 78 00'],
  ])('%s is a dead letter at once', (_, schema, columns, bytes) => {
    const began = performance.now()
    const { of } = decode(schema, columns, [hex(bytes)])
    expect(of.get(0)).toMatch(/^decode\.(avro|utf8|duplicate_key)$/)
    expect(performance.now() - began).toBeLessThan(500)
  })

  test('what holds itself is followed to a depth', () => {
    const schema: Json = {
      type: 'record',
      name: 'L',
      fields: [
        { name: 'v', type: 'int' },
        { name: 'next', type: ['null', 'L'] },
      ],
    }
    const nested = (depth: number) => Buffer.from([...Array.from({ length: depth }, () => [2, 2]).flat(), 2, 0])
    const { of } = decode(schema, [column('v', { kind: 'int' })], [nested(50), nested(100_000)], { unknown: 'extra' })
    expect(of.get(0)![0]).toBe('1')
    expect(of.get(1)).toBe('decode.depth')
  })

  test('a record of more than 16 MiB is not looked into', () => {
    const { of } = decode(texts, [column('a', { kind: 'string' })], [Buffer.alloc(16 * 1024 * 1024 + 1)])
    expect(of.get(0)).toBe('decode.too_large')
  })

  test('arbitrary bytes never end the reader', () => {
    fc.assert(
      fc.property(schemaArbitrary, fc.array(fc.uint8Array({ maxLength: 60 }), { minLength: 1 }), (schema, values) => {
        const columns = columnsOfAvro(parseAvro(schema))
        expect(decode(schema, columns, values).of.size).toBe(values.length)
        expect(decode(schema, columns.slice(0, 1), values, { unknown: 'extra' }).of.size).toBe(values.length)
      }),
      { numRuns: 30 },
    )
  })
})

describe('columns that are not what the schema has', () => {
  const one = (schema: Json, to: Column['type'], value: unknown): readonly Plain[] | string => {
    const whole = record(['a', schema])
    return decode(whole, [column('a', to)], [avscType(whole).toBuffer({ a: value })]).of.get(0)!
  }
  test.each<[Json, Column['type'], unknown, Plain | 'decode.range' | 'decode.type' | 'decode.utf8']>([
    ['int', { kind: 'long' }, -5, '-5'],
    ['int', { kind: 'double' }, 5, '5'],
    ['int', { kind: 'decimal', precision: 5, scale: 2 }, 123, '12300'],
    ['int', { kind: 'decimal', precision: 5, scale: 2 }, 1234, 'decode.range'],
    ['long', { kind: 'int' }, 2n ** 31n - 1n, '2147483647'],
    ['long', { kind: 'int' }, 2n ** 31n, 'decode.range'],
    ['long', { kind: 'double' }, 2n ** 53n, '9007199254740992'],
    ['long', { kind: 'double' }, 2n ** 53n + 1n, 'decode.range'],
    ['long', { kind: 'float' }, 16_777_217n, 'decode.range'],
    ['long', { kind: 'timestamptz', unit: 's' }, 1_760_000_000n, '1760000000000000'],
    ['long', { kind: 'timestamptz', unit: 'ms' }, 8_640_000_000_000_001n, 'decode.range'],
    ['float', { kind: 'double' }, 0.5, '0.5'],
    [{ type: 'int', logicalType: 'date' }, { kind: 'date' }, -100_000_000, '-100000000'],
    [{ type: 'int', logicalType: 'date' }, { kind: 'date' }, -100_000_001, 'decode.range'],
    [{ type: 'int', logicalType: 'date' }, { kind: 'date' }, 100_000_001, 'decode.range'],
    ['string', { kind: 'binary' }, 'é', 'c3a9'],
    ['bytes', { kind: 'string' }, Buffer.from('é'), 'é'],
    ['bytes', { kind: 'string' }, Buffer.of(0xc3), 'decode.utf8'],
    ['string', { kind: 'enum', symbols: ['x', 'y'] }, 'y', 'y'],
    ['string', { kind: 'enum', symbols: ['x', 'y'] }, 'z', 'decode.range'],
    ['string', { kind: 'uuid' }, '00112233-4455-6677-8899-AABBCCDDEEFF', '00112233-4455-6677-8899-aabbccddeeff'],
    ['string', { kind: 'uuid' }, 'no', 'decode.type'],
    ['string', { kind: 'date' }, '1970-01-02', '1'],
    ['string', { kind: 'timestamptz' }, '1970-01-01T00:00:01+01:00', '-3599000000'],
    [
      { type: 'bytes', logicalType: 'decimal', precision: 6, scale: 3 },
      { kind: 'decimal', precision: 4, scale: 2 },
      Buffer.of(10),
      '1',
    ],
    [
      { type: 'bytes', logicalType: 'decimal', precision: 6, scale: 3 },
      { kind: 'decimal', precision: 4, scale: 2 },
      Buffer.of(11),
      'decode.range',
    ],
    [{ type: 'bytes', logicalType: 'decimal', precision: 6, scale: 3 }, { kind: 'string' }, Buffer.of(0xf4), '-0.012'],
    [{ type: 'bytes', logicalType: 'decimal', precision: 6, scale: 0 }, { kind: 'int' }, Buffer.of(0xf4), '-12'],
    [['null', 'int', 'string'], { kind: 'long' }, { int: 3 }, '3'],
    [['null', 'int', 'string'], { kind: 'long' }, { string: '3' }, 'decode.type'],
    [['null', 'int', 'string'], { kind: 'long' }, null, null],
    [{ type: 'enum', name: 'E', symbols: ['A', 'B'], default: 'A' }, { kind: 'enum', symbols: ['A', 'C'] }, 'B', 'A'],
    [{ type: 'enum', name: 'E', symbols: ['A', 'B'] }, { kind: 'enum', symbols: ['A', 'C'] }, 'B', 'decode.range'],
    [['null', 'long'], { kind: 'long' }, { long: -(2n ** 63n) }, '-9223372036854775808'],
  ])('%j into %j: %s', (schema, type, value, expected) => {
    const found = one(schema, type, value)
    expect(typeof found === 'string' ? found : found[0]).toEqual(expected)
  })

  test.each<[Json, Column['type']]>([
    ['string', { kind: 'long' }],
    ['long', { kind: 'string' }],
    ['double', { kind: 'float' }],
    ['boolean', { kind: 'int' }],
    ['long', { kind: 'timestamptz' }],
    ['int', { kind: 'date' }],
    [{ type: 'array', items: 'int' }, { kind: 'int' }],
    ['int', { kind: 'list', element: { kind: 'int' } }],
    [
      { type: 'array', items: 'string' },
      { kind: 'list', element: { kind: 'int' } },
    ],
    [['null', 'string'], { kind: 'long' }],
  ])('%j does not fit %j: the pipeline stops before a record is read', (schema, type) => {
    expect(() => decode(record(['a', schema]), [column('a', type)], [])).toThrow(
      expect.objectContaining({ code: 'schema.incompatible', retryable: false }),
    )
  })

  test('a column that the schema lacks is null; a required one makes it incompatible', () => {
    const schema = record(['a', 'int'])
    const b = (required: boolean) => column('b', { kind: 'string' }, required)
    expect(decode(schema, [column('a', { kind: 'int' }), b(false)], [hex('02')]).of.get(0)).toEqual(['1', null])
    expect(() => decode(schema, [b(true)], [])).toThrow(/b: the schema lacks it/)
  })

  test('a field that was renamed fills the column of its old name', () => {
    const schema: Json = { type: 'record', name: 'R', fields: [{ name: 'new', aliases: ['old'], type: 'int' }] }
    expect(decode(schema, [column('old', { kind: 'int' })], [hex('02')]).of.get(0)).toEqual(['1'])
  })

  test('null in a required column is a dead letter', () => {
    const schema = record(['a', ['null', 'int']])
    const { of } = decode(schema, [column('a', { kind: 'int' }, true)], [hex('00'), hex('02 02')])
    expect([of.get(0), of.get(1)]).toEqual(['decode.required', ['1']])
  })
})

describe('fields that no column has', () => {
  const schema = record(
    ['a', 'int'],
    [
      'address',
      {
        type: 'record',
        name: 'A',
        fields: [
          { name: 'zip', type: 'string' },
          { name: 'planet', type: 'string' },
        ],
      },
    ],
    ['at', { type: 'long', logicalType: 'timestamp-micros' }],
    ['price', { type: 'bytes', logicalType: 'decimal', precision: 6, scale: 2 }],
    ['raw', 'bytes'],
    ['big', 'long'],
    ['gone', ['null', 'int']],
    ['d', 'double'],
    ['many', { type: 'array', items: { type: 'map', values: 'boolean' } }],
    ['day', { type: 'int', logicalType: 'date' }],
  )
  const value = avscType(schema).toBuffer({
    a: 1,
    address: { zip: '1010', planet: 'e"th' },
    at: 1_760_000_000_123_456n,
    price: Buffer.of(0xff, 0x38),
    raw: Buffer.of(1, 2),
    big: 2n ** 63n - 1n,
    gone: null,
    d: Number.NaN,
    many: [{ x: true }, {}],
    day: -1,
  })
  const address = column('address', { kind: 'struct', fields: [column('zip', { kind: 'string' })] })

  test('stand in _extra, in the forms that JSON has for the same types, where they stood', () => {
    const { of } = decode(schema, [column('a', { kind: 'int' }), address], [value], { unknown: 'extra' })
    expect(of.get(0)).toEqual([
      '1',
      ['1010'],
      '{"address":{"planet":"e\\"th"},"at":"2025-10-09T08:53:20.123456Z","price":-2.00,"raw":"AQI=",' +
        '"big":9223372036854775807,"d":"NaN","many":[{"x":true},{}],"day":"1969-12-31"}',
    ])
  })

  test('are passed over, or refused', () => {
    expect(decode(schema, [address], [value], { unknown: 'ignore' }).of.get(0)).toEqual([['1010']])
    expect(decode(schema, [address], [value], { unknown: 'fail' }).of.get(0)).toBe('decode.unknown_field')
  })
})

test('the reference tells wrong values', () => {
  expect(plainAvro(-5n, 'long', { kind: 'long' })).toBe('-5')
  expect(plainAvro({ int: 1 }, ['null', 'int'], { kind: 'int' })).toBe('1')
})
