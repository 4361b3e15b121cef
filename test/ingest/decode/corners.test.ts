import { describe, expect, test } from 'vitest'
import type { Column, ColumnType } from '../../../src/batch.ts'
import { systemClock } from '../../../src/clock.ts'
import type { TableDefinition } from '../../../src/define.ts'
import { openEncoder } from '../../../src/ingest/encoder.ts'
import type { StagedTable } from '../../../src/ingest/lane.ts'
import type { RecordBatch } from '../../../src/log.ts'
import { batchOf, definition, tablePlan } from '../../support/lake-table.ts'
import { openStore } from '../../support/parquet.ts'

const { storage, reader } = await openStore('corners')

async function encode(
  def: TableDefinition,
  batches: readonly RecordBatch[],
  fatal: ReadonlySet<string> = new Set(),
): Promise<StagedTable> {
  const encoder = await openEncoder({ tables: [def], storage, clock: systemClock })
  try {
    return await encoder.encode(tablePlan(def), batches, fatal)
  } finally {
    await encoder.close()
  }
}

const column = (type: ColumnType, required = false): Column => ({ name: 'a', type, required })

/** What a value of column `a` reads as, or the code and message of the dead letter. */
async function outcome(type: ColumnType, value: string | Uint8Array, whole = false): Promise<unknown> {
  const json = whole ? value : `{"a":${value as string}}`
  const staged = await encode(definition({ columns: [column(type)] }), [batchOf([{ value: json }])])
  const [file] = staged.files
  if (file !== undefined) return (await reader.rows(storage, file, 'a::varchar'))[0]![0]
  return (await reader.rows(storage, staged.deadLetterFiles[0]!, 'code, message'))[0]!.join(': ')
}

const STRING = { kind: 'string' } as const
const LONG = { kind: 'long' } as const
const DOUBLE = { kind: 'double' } as const

function nested(n: number): string {
  return `{"x":${'['.repeat(n)}${']'.repeat(n)}}`
}

function at(seconds: number, timestampMs: number): { value: string; timestampMs: number } {
  return { value: `{"a":${seconds}}`, timestampMs }
}

describe('texts that are no JSON, or more than it', () => {
  test.each<[string, string | Uint8Array, string | null]>([
    ['empty', '', 'decode.json: expected an object, found the end at byte 0'],
    ['white space around', ' \t\r\n{ "a" : "b" } \n', 'b'],
    ['byte order mark', '\uFEFF{}', 'decode.json: a byte order mark at byte 0'],
    ['bytes behind', '{"a":"b"}x', 'decode.json: expected the end of the value at byte 9'],
    ['two records', '{"a":"b"}{"a":"c"}', 'decode.json: expected the end of the value at byte 9'],
    ['trailing comma', '{"a":"b",}', 'decode.json: expected a key at byte 9'],
    ['cut', '{"a":"b"', 'decode.json: expected a comma or }, found the end at byte 8'],
    ['single quotes', "{'a':1}", 'decode.json: expected a key at byte 1'],
    ['form feed as space', '{\f"a":"b"}', 'decode.json: expected a key at byte 1'],
    ['an array', '[1]', 'decode.type: expected an object, found an array at byte 0'],
    ['null', 'null', 'decode.type: expected an object, found null at byte 0'],
    ['a key that stands twice', '{"a":"b","\\u0061":"c"}', 'decode.duplicate_key: a: stands twice at byte 9'],
    ['an unknown one', '{"x":1,"x":1}', 'decode.duplicate_key: a key that stands twice at byte 7'],
    ['deep inside', '{"x":[{"y":1,"y":2}]}', 'decode.duplicate_key: a key that stands twice at byte 13'],
    ['99 levels more', nested(99), null],
    ['100 levels more', nested(100), 'decode.depth: nested deeper than 100 at byte 104'],
    ['no UTF-8', Buffer.from([123, 34, 97, 34, 58, 34, 0xc3, 34, 125]), 'decode.utf8: the value is not UTF-8'],
    ['a surrogate in UTF-8', Buffer.from('{"a":"\xed\xa0\x80"}', 'latin1'), 'decode.utf8: the value is not UTF-8'],
    ['half a pair', '{"a":"\\ud83d"}', 'decode.utf8: half of a surrogate pair at byte 6'],
    ['a pair the wrong way', '{"a":"\\ude00\\ud83d"}', 'decode.utf8: half of a surrogate pair at byte 6'],
    ['half a pair, unknown', '{"x":"\\ud83d\\n"}', 'decode.utf8: half of a surrogate pair at byte 6'],
    ['a wrong type before a fault', '{"a":1,"b":}', 'decode.json: expected a value at byte 11'],
  ])('%s', async (_, value, expected) => {
    expect(await outcome(STRING, value, true)).toBe(expected)
  })
})

describe('values', () => {
  test.each<[ColumnType, string, string | null]>([
    [STRING, '"\\u00e9\\ud83d\\ude00\\/\\b\\f"', 'é😀/\b\f'],
    [STRING, '"a\tb"', 'decode.json: a control character in a string at byte 7'],
    [STRING, '"\\x41"', 'decode.json: expected an escape at byte 7'],
    [STRING, '1', 'decode.type: a: expected string, found a number at byte 5'],
    [LONG, '9223372036854775807', '9223372036854775807'],
    [LONG, '9223372036854775808', 'decode.range: a: does not fit long at byte 5'],
    [LONG, '9007199254740993', '9007199254740993'],
    [LONG, '1e3', '1000'],
    [LONG, '1.50e1', '15'],
    [LONG, '1.5', 'decode.type: a: expected long, found a fraction at byte 5'],
    [LONG, '1e999999999', 'decode.range: a: does not fit long at byte 5'],
    [LONG, '-0', '0'],
    [LONG, '01', 'decode.json: expected a comma or } at byte 6'],
    [LONG, '"1"', 'decode.type: a: expected long, found text at byte 5'],
    [LONG, 'true', 'decode.type: a: expected long, found a boolean at byte 5'],
    [LONG, 'NaN', 'decode.json: expected a value at byte 5'],
    [{ kind: 'int' }, '-2147483648', '-2147483648'],
    [{ kind: 'int' }, '2147483648', 'decode.range: a: does not fit int at byte 5'],
    [DOUBLE, '-0.0', '0.0'],
    [DOUBLE, '-0', '0.0'],
    [DOUBLE, '0.1', '0.1'],
    [DOUBLE, '123456789012345.678901', '123456789012345.67'],
    [DOUBLE, '1e400', 'decode.range: a: does not fit double at byte 5'],
    [DOUBLE, '1e-400', '0.0'],
    [DOUBLE, '"NaN"', 'decode.type: a: expected double, found text at byte 5'],
    [{ kind: 'float' }, '3.5e38', 'decode.range: a: does not fit float at byte 5'],
    [{ kind: 'decimal', precision: 4, scale: 2 }, '99.990', '99.99'],
    [{ kind: 'decimal', precision: 4, scale: 2 }, '1.005', 'decode.range: a: does not fit decimal at byte 5'],
    [{ kind: 'decimal', precision: 4, scale: 2 }, '100', 'decode.range: a: does not fit decimal at byte 5'],
    [{ kind: 'decimal', precision: 38, scale: 0 }, `"-${'9'.repeat(38)}"`, `-${'9'.repeat(38)}`],
    [{ kind: 'decimal', precision: 20, scale: 1 }, '-0.5', '-0.5'],
    [{ kind: 'boolean' }, '1', 'decode.type: a: expected boolean, found a number at byte 5'],
    [{ kind: 'enum', symbols: ['new'] }, '"New"', 'decode.range: a: none of the symbols at byte 5'],
    [{ kind: 'binary' }, '"AAE="', '\\x00\\x01'],
    [{ kind: 'binary' }, '"AAE"', 'decode.type: a: expected base64 at byte 5'],
    [{ kind: 'date' }, '"2024-02-29"', '2024-02-29'],
    [{ kind: 'date' }, '"2023-02-29"', 'decode.type: a: expected a date, YYYY-MM-DD at byte 5'],
    [{ kind: 'timestamp' }, '"1969-12-31T23:59:59.9999999"', '1969-12-31 23:59:59.999999'],
    [{ kind: 'timestamp' }, '"2026-01-01 00:30:00+02:00"', '2025-12-31 22:30:00'],
    [{ kind: 'timestamp' }, '5', 'decode.type: a: expected timestamp, found a number at byte 5'],
    [{ kind: 'timestamptz' }, '"2026-01-01T00:00:00"', 'decode.type: a: expected an RFC 3339 timestamptz at byte 5'],
    [{ kind: 'timestamptz', unit: 'ms' }, '-1.5', '1969-12-31 23:59:59.9985+00'],
    [{ kind: 'timestamp', unit: 'us' }, '-0.1', '1969-12-31 23:59:59.999999'],
    [{ kind: 'timestamp', unit: 's' }, '8640000000000', '275760-09-13 00:00:00'],
    [{ kind: 'timestamp', unit: 's' }, '8640000000001', 'decode.range: a: does not fit timestamp at byte 5'],
    [{ kind: 'uuid' }, '"F79C3E09-677C-4BBD-A479-3F349CB785E7"', 'f79c3e09-677c-4bbd-a479-3f349cb785e7'],
    [{ kind: 'uuid' }, '"f79c3e09677c4bbda4793f349cb785e7"', 'decode.type: a: expected a UUID at byte 5'],
    [{ kind: 'list', element: LONG }, '[1,null,3]', '[1, NULL, 3]'],
    [{ kind: 'list', element: LONG }, '[1,"2"]', 'decode.type: a[]: expected long, found text at byte 8'],
    [{ kind: 'map', value: LONG }, '{"x":1,"y":null}', '{x=1, y=NULL}'],
    [{ kind: 'map', value: LONG }, '{"x":1,"x":2}', 'decode.duplicate_key: a: a key that stands twice at byte 12'],
    [
      { kind: 'struct', fields: [column(LONG, true)] },
      '{}',
      'decode.required: a.a: absent, a required column at byte 6',
    ],
  ])('%j from %s', async (type, value, expected) => {
    expect(await outcome(type, value)).toBe(expected)
  })
})

describe('records', () => {
  test('one that is too large is kept by its coordinates', async () => {
    const value = `{"a":"${'x'.repeat(16 * 1024 * 1024)}"}`
    const staged = await encode(definition({ columns: [column(STRING)] }), [batchOf([{ value, key: 'k' }])])
    const rows = await reader.rows(storage, staged.deadLetterFiles[0]!, 'code, decode(key), value')
    expect(rows).toEqual([['decode.too_large', 'k', null]])
  })

  test('one that ended two lanes is not looked into, whatever onError says', async () => {
    const def = definition({ columns: [column(LONG)], onError: 'stop' })
    const staged = await encode(
      def,
      [batchOf([{ value: '{"a":1}' }, { value: '{"a":2}' }])],
      new Set(['shop.orders/0@1']),
    )
    expect(staged.counts.get('shop.orders/0')).toMatchObject({ rows: 1, deadLetters: 1 })
    expect(await reader.rows(storage, staged.deadLetterFiles[0]!, '_offset, code')).toEqual([[1n, 'decode.fatal']])
  })

  test('onError: stop names the coordinates, never the value', async () => {
    const def = definition({ columns: [column(LONG)], onError: 'stop' })
    const stopped = encode(def, [batchOf([{ value: '{"a":"secret"}' }], { first: 41n })])
    await expect(stopped).rejects.toMatchObject({
      code: 'decode.stopped',
      context: { topic: 'shop.orders', partition: 0, offset: '41', reason: 'decode.type' },
    })
    await expect(stopped).rejects.not.toThrow(/secret/)
  })

  test('raw tables keep key, value and headers as they are; a null value is a row', async () => {
    const staged = await encode(definition({ value: 'raw' }), [
      batchOf([
        { value: Uint8Array.of(0, 255), key: null, headers: [{ key: 'h', value: undefined }] },
        { value: null, key: 'a key of more than twelve bytes' },
        { value: '' },
      ]),
    ])
    expect(staged.counts.get('shop.orders/0')).toMatchObject({ rows: 3, tombstones: 0, deadLetters: 0 })
    expect(await reader.rows(storage, staged.files[0]!, 'decode(key), hex(value), headers::varchar, _offset')).toEqual([
      [null, '00FF', "[{'key': h, 'value': NULL}]", 0n],
      ['a key of more than twelve bytes', null, '[]', 1n],
      [null, '', '[]', 2n],
    ])
  })

  test('the clock is the largest guarded event time, of each partition alone', async () => {
    const eventTime = { column: 'a', unit: 's', outOfOrdernessMs: 0, idleAfterMs: 0, maxFutureSkewMs: 1_000 } as const
    const def = definition({ columns: [column(LONG)], eventTime })
    const staged = await encode(def, [
      batchOf([at(5, 5_000), at(7, 6_000), at(9, 7_999), at(3, 9_000)]),
      batchOf([at(1_000_000, -1), at(8_640_000_000_001, -1), { value: '{}' }], { partition: 1 }),
      batchOf([{ value: '{}' }], { partition: 2 }),
    ])
    expect([...staged.counts.values()].map(({ clockMs }) => clockMs)).toEqual([7_000, 1_000_000_000, undefined])
    expect(staged.counts.get('shop.orders/1')).toMatchObject({ deadLetters: 1 })
  })

  test('T2: an event time beyond the range of instants is a dead letter, one before 1970 or after 9999 is none', async () => {
    const eventTime = { column: 'a', unit: 'ms', outOfOrdernessMs: 0, idleAfterMs: 0, maxFutureSkewMs: 1_000 } as const
    const def = definition({ columns: [column(LONG)], eventTime })
    const values = [8.64e15, -8.64e15, 8.64e15 + 1, -8.64e15 - 1, 0, -1].map((a) => ({ value: `{"a":${a}}` }))
    const staged = await encode(def, [batchOf(values)])
    expect(await reader.rows(storage, staged.files[0]!, 'a')).toEqual(
      [8.64e15, -8.64e15, 0, -1].map((a) => [BigInt(a)]),
    )
    const dead = await reader.rows(storage, staged.deadLetterFiles[0]!, '_offset, code')
    expect(dead).toEqual([
      [2n, 'decode.range'],
      [3n, 'decode.range'],
    ])
  })

  test('long lists with nulls, over many chunks', async () => {
    const lists = Array.from({ length: 5_000 }, (_, k) =>
      k % 1000 === 7
        ? Array.from({ length: 5_000 }, (_, i) => (i % 3 === 0 ? null : `${i} ${'x'.repeat(i % 20)}`))
        : [k, null].map(String),
    )
    const def = definition({ columns: [column({ kind: 'list', element: STRING })] })
    const staged = await encode(def, [batchOf(lists.map((a) => ({ value: JSON.stringify({ a }) })))])
    const rows = await reader.rows(storage, staged.files[0]!, 'to_json(a)::varchar')
    expect(rows.map(([text]) => text)).toEqual(lists.map((a) => JSON.stringify(a)))
  })

  test('a shape that is learnt changes nothing: blanks, another order, fields that no column has', async () => {
    const columns: Column[] = ['a', 'b', 'c'].map((name) => ({ name, type: LONG, required: name === 'a' }))
    const texts = Array.from({ length: 600 }, (_, k) =>
      k % 50 === 49
        ? `{"b":${k},"x":{"y": "é"},"a":1,"a":2}`
        : `{"x": {"y": "é${k}"}, "c": ${k}, "b": null, "a": 1, "z": []}`,
    )
    for (const unknown of ['extra', 'ignore', 'fail'] as const) {
      const staged = await encode(definition({ columns, unknown }), [batchOf(texts.map((value) => ({ value })))])
      if (unknown === 'fail') {
        expect(staged.files).toEqual([])
        continue
      }
      const rows = await reader.rows(storage, staged.files[0]!)
      expect(rows.length).toBe(588)
      const extra = unknown === 'extra' ? [[`{"x":{"y": "é500"},"z":[]}`]] : [[]]
      expect(rows[490]).toEqual([1n, null, 500n, ...extra[0]!, 0, 500n, expect.anything()])
    }
  })

  test('unknown fields of a struct stand under its name, also when every record has them', async () => {
    const columns: Column[] = [{ name: 's', type: { kind: 'struct', fields: [column(LONG)] } }]
    const texts = Array.from({ length: 300 }, (_, k) => ({ value: `{"s":{"b":${k},"a":1},"c":2}` }))
    const staged = await encode(definition({ columns, unknown: 'extra' }), [batchOf(texts)])
    const rows = await reader.rows(storage, staged.files[0]!, 's.a, _extra')
    expect(rows).toEqual(texts.map((_, k) => [1n, `{"s":{"b":${k}},"c":2}`]))
  })

  test('those of elements and map values stand under their number and key', async () => {
    const element: ColumnType = { kind: 'struct', fields: [column(LONG)] }
    const columns: Column[] = [
      { name: 'list', type: { kind: 'list', element } },
      { name: 'map', type: { kind: 'map', value: element } },
    ]
    const staged = await encode(definition({ columns, unknown: 'extra' }), [
      batchOf([{ value: '{"list":[{"a":1},{"a":2,"z":3}]}' }, { value: '{"list":[],"map":{"k":{"y":[4]}},"w":5}' }]),
    ])
    const rows = await reader.rows(storage, staged.files[0]!, '_extra')
    expect(rows).toEqual([['{"list":{"1":{"z":3}}}'], ['{"map":{"k":{"y":[4]}},"w":5}']])
  })
})
