import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { parseAvro } from '../../src/avro-schema.ts'
import { debezium, json, t, table, type TableDefinition } from '../../src/define.ts'
import { avroOf } from '../../src/testing/encode-avro.ts'
import { rfc3339 } from '../../src/testing/encode-json.ts'
import { RecordEncoder, type Produced, type ProducedKey } from '../../src/testing/encode-record.ts'
import { avscType, schemaArbitrary, valueArbitrary, type Json } from '../ingest/decode/avro-arbitrary.ts'

/** What avsc calls `{ long: 1n }` is `1n` for us; decimals and times are what they stand for, or as they lie there. */
function unwrapped(schema: Json, value: unknown): unknown {
  if (Array.isArray(schema)) {
    if (value === null) return null
    const [inner] = Object.values(value as object)
    return unwrapped(
      (schema as readonly Json[]).find((branch) => branch !== 'null')!,
      inner,
    )
  }
  const given = schema as Readonly<Record<string, any>>
  switch (given['type']) {
    case 'record':
      return Object.fromEntries(
        given['fields'].map(({ name, type }: any) => [name, unwrapped(type, (value as any)[name])]),
      )
    case 'array':
      return (value as unknown[]).map((item) => unwrapped(given['items'], item))
    case 'map':
      return Object.fromEntries(Object.entries(value as object).map(([k, v]) => [k, unwrapped(given['values'], v)]))
    case 'bytes':
    case 'fixed':
      return given['logicalType'] === 'decimal' ? decimalText(value as Buffer, given['scale']) : value
    default:
      return value
  }
}

function decimalText(bytes: Buffer, scale: number): string {
  const value = BigInt.asIntN(8 * bytes.length, BigInt(`0x${bytes.toString('hex')}`))
  const digits = String(value < 0n ? -value : value).padStart(scale + 1, '0')
  const text = scale === 0 ? digits : `${digits.slice(0, -scale)}.${digits.slice(-scale)}`
  return value < 0n ? `-${text}` : text
}

test('Avro is what avsc writes', () => {
  fc.assert(
    fc.property(
      schemaArbitrary.chain((schema) => fc.tuple(fc.constant(schema), valueArbitrary(schema))),
      ([schema, value]) => {
        const ours = avroOf(parseAvro(JSON.stringify(schema)), unwrapped(schema, value))
        expect(ours.toString('hex')).toBe(avscType(schema).toBuffer(value).toString('hex'))
      },
    ),
    { numRuns: 60 },
  )
})

test('instants as text', () => {
  expect([0n, -1n, 1_500n, -86_400_000_000n].map(rfc3339)).toEqual([
    '1970-01-01T00:00:00.000Z',
    '1969-12-31T23:59:59.999999Z',
    '1970-01-01T00:00:00.001500Z',
    '1969-12-31T00:00:00.000Z',
  ])
  fc.assert(
    fc.property(fc.bigInt({ min: -(10n ** 15n), max: 10n ** 15n }), (us) => {
      const [, ms, below = ''] = /^(.*\.\d{3})(\d{3})?Z$/.exec(rfc3339(us))!
      expect(BigInt(Date.parse(`${ms}Z`)) * 1_000n + BigInt(below || '0')).toBe(us)
    }),
  )
})

const from = { topic: 'a' }
const columns = { id: t.string(), at: t.timestamptz('ms'), n: t.long(), unix: t.long() }

function encoded(definition: TableDefinition, row: Produced, key?: ProducedKey) {
  const { key: bytes, value, ...rest } = new RecordEncoder(definition).encode(row, key)
  const text = (given: Uint8Array | undefined) => given && Buffer.from(given).toString('utf8')
  return { ...rest, key: text(bytes), value: text(value), routing: text(rest.routing) }
}

describe('records', () => {
  const at = new Date('2026-03-02T10:00:00.123Z')

  test('of JSON: numbers of times in their unit, exact integers, the key as the table reads it', () => {
    const eventTime = { column: 'at' } as const
    const text = table('t', { from: { ...from, key: 'string' }, columns, key: ['id'], eventTime })
    expect(encoded(text, { id: 'a', at, n: 2n ** 62n, more: [at] })).toEqual({
      key: 'a',
      value: `{"id":"a","at":${at.getTime()},"n":4611686018427387904,"more":["2026-03-02T10:00:00.123Z"]}`,
      eventMs: at.getTime(),
      routing: 'a',
    })
    expect(encoded(text, { id: 'a', at: BigInt(at.getTime()) * 1_000n })).toMatchObject({ eventMs: at.getTime() })
    expect(encoded(text, { id: 'a', at: 'no time' })).toMatchObject({ eventMs: undefined })
    expect(encoded(text, null, 'a')).toEqual({ key: 'a', value: undefined, eventMs: undefined, routing: 'a' })
    const nameless = expect.objectContaining({ code: 'request.invalid', fix: expect.stringContaining('produceRaw') })
    expect(() => encoded(text, null)).toThrow(nameless)
    const object = table('t', { from: { ...from, key: 'json' }, columns, key: ['id', 'n'] })
    expect(encoded(object, { id: 'a', n: 1 })).toMatchObject({ key: '{"id":"a","n":1}' })
    const none = table('t', { from, columns, key: ['id'], version: 'n' })
    expect(encoded({ ...none, recordKey: 'none' }, { id: 'a', n: 1 })).toMatchObject({
      key: undefined,
      routing: '{"id":"a"}',
    })
  })

  test('of a number that is the event time: in its unit', () => {
    const seconds = table('t', { from, columns, eventTime: { column: 'unix', unit: 's' } })
    expect(encoded(seconds, { unix: at })).toMatchObject({ value: '{"unix":1772445600}', eventMs: at.getTime() })
    expect(encoded(seconds, { unix: 10n })).toMatchObject({ value: '{"unix":10}', eventMs: 10_000 })
  })

  test('behind the id of a schema', () => {
    const framed = table('t', {
      from: { ...from, key: 'json', value: json({ framing: 'confluent' }) },
      columns,
      key: ['id'],
    })
    const { key, value } = new RecordEncoder(framed).encode({ id: 'a' })
    expect([key, value].map((bytes) => Buffer.from(bytes!).toString('latin1'))).toEqual([
      '\0\0\0\0\x01{"id":"a"}',
      '\0\0\0\0\x01{"id":"a"}',
    ])
  })

  test('of a change stream: what comes later counts more', () => {
    const stream = table('t', { from: { ...from, value: debezium() }, columns, key: ['id'], version: 'source.lsn' })
    const encoder = new RecordEncoder(stream)
    const value = (row: Produced) => Buffer.from(encoder.encode(row).value!).toString()
    expect(value({ id: 'a' })).toBe('{"before":null,"after":{"id":"a"},"op":"c","source":{"lsn":1}}')
    expect(value({ op: 'd', before: { id: 'a', at } })).toBe(
      `{"before":{"id":"a","at":${at.getTime()}},"after":null,"op":"d","source":{"lsn":2}}`,
    )
    expect(Buffer.from(encoder.encode({ op: 'd', before: { id: 'a' } }).key!).toString()).toBe('{"id":"a"}')
  })
})
