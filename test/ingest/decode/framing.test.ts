import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { debezium, json, protobuf, raw, table } from '../../../src/define.ts'
import { operations } from './operations.ts'
import { decoded } from './protobuf-reference.ts'

const from = (value: ReturnType<typeof json>) => ({ topic: 'shop.orders', value })
const columns = { id: 'long', text: 'string' }
const framed = (text: string, id = 7): Buffer => {
  const head = Buffer.alloc(5)
  head.writeUInt32BE(id, 1)
  return Buffer.concat([head, Buffer.from(text)])
}

describe('JSON behind the id of its schema', () => {
  const plain = table('orders', { from: from(json()), columns })
  const behind = table('orders', { from: from(json({ framing: 'confluent' })), columns })

  test('is the same JSON, whatever the id', () => {
    const texts = fc.oneof(
      fc
        .record({ id: fc.integer(), text: fc.string(), more: fc.jsonValue() }, { requiredKeys: [] })
        .map((value) => JSON.stringify(value)),
      fc.string(),
    )
    fc.assert(
      fc.property(fc.array(fc.tuple(texts, fc.nat(0xffff_ffff)), { minLength: 1, maxLength: 60 }), (list) => {
        const seen = decoded(
          behind,
          list.map(([text, id]) => framed(text, id)),
        )
        expect(seen).toEqual(
          decoded(
            plain,
            list.map(([text]) => Buffer.from(text)),
          ),
        )
      }),
      { numRuns: 60 },
    )
  })

  test.each<[string, Buffer]>([
    ['no frame', Buffer.from('{"id":1}')],
    ['another magic byte', Buffer.from('\u0001\u0000\u0000\u0000\u0007{"id":1}')],
    ['nothing', Buffer.alloc(0)],
    ['four bytes', Buffer.alloc(4)],
  ])('%s is a dead letter', (_, value) => {
    expect(decoded(behind, [value])).toEqual(['decode.framing'])
  })

  test('a frame of nothing is no JSON, and the next record is read', () => {
    expect(decoded(behind, [Buffer.alloc(5), framed('{"id":2}')])).toEqual(['decode.json', ['2', null, null]])
  })
})

test('keys that are JSON have a frame too', () => {
  const def = table('orders', {
    from: from(json({ framing: 'confluent' })),
    columns: { id: 'long', text: 'string' },
    key: ['id'],
  })
  const { hashes, deadLetters } = operations(def, [
    { value: framed('{"id":5}'), key: framed('{"id":5}', 8) },
    { value: null, key: framed('{"id":5}', 8) },
    { value: null, key: framed('5', 8) },
    { value: null, key: '{"id":5}' },
  ])
  expect(new Set(hashes).size).toBe(1)
  expect([hashes.length, deadLetters]).toEqual([3, 1])
})

test('change streams may have it', () => {
  const def = table('orders', {
    from: { topic: 'shop.orders', value: debezium({ framing: 'confluent' }) },
    columns: { id: 'long', text: 'string' },
    key: ['id'],
  })
  const { hashes, deadLetters } = operations(def, [
    { value: framed('{"op":"c","after":{"id":5}}'), key: framed('{"id":5}') },
    { value: framed('{"op":"d","before":{"id":5}}'), key: framed('{"id":5}') },
    { value: null, key: framed('{"id":5}') },
    { value: '{"op":"c","after":{"id":5}}' },
  ])
  expect(new Set(hashes).size).toBe(1)
  expect([hashes.length, deadLetters]).toEqual([3, 1])
})

describe('a definition', () => {
  test('with a frame has other code than one without', () => {
    const plain = table('orders', { from: from(json()), columns })
    expect(plain).not.toHaveProperty('framing')
    expect(table('orders', { from: from(json({ framing: 'confluent' })), columns }).framing).toBe('confluent')
  })

  test('raw values have none, nor have other formats a message', () => {
    const wrong = (value: object) => () => table('orders', { from: { topic: 'a', value: value as never }, columns })
    expect(wrong({ format: 'avro', framing: 'confluent' })).toThrow(/framing/)
    expect(() => table('orders', { from: { topic: 'a', value: { format: 'raw', framing: 'confluent' } } })).toThrow(
      /framing/,
    )
    expect(wrong({ format: 'json', message: 'M' })).toThrow(/message/)
    expect(wrong({ format: 'protobuf', imports: {} })).toThrow(/imports/)
    expect(wrong(protobuf({ schema: 'syntax = "proto3"; message M { int32 id = 1; }' }))).toThrow(/text/)
    expect(wrong({ format: 'json', framing: 'other' })).toThrow()
  })
})

test('raw values are kept whatever they are, frames and all', () => {
  const def = table('orders', { from: { topic: 'shop.orders', value: raw() } })
  const bytes = framed('{"id":1}')
  const [row] = decoded(
    {
      ...def,
      columns: [
        { name: 'key', type: { kind: 'binary' } },
        { name: 'value', type: { kind: 'binary' } },
        { name: 'headers', type: { kind: 'list', element: { kind: 'struct', fields: [] } } },
      ],
    },
    [{ value: bytes, key: 'k' }],
  )
  expect(row).toEqual([Buffer.from('k').toString('hex'), bytes.toString('hex'), []])
})
