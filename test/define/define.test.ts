import { describe, expect, test } from 'vitest'
import { APPEND, STORED, defineLake, json, raw, t, table, type TableOptions } from '../../src/define.ts'
import { codeHash } from '../../src/define-code.ts'
import { LakeError } from '../../src/error.ts'

const orders: TableOptions<'orderId' | 'amount' | 'at' | 'ms'> = {
  from: { topic: 'shop.orders', value: json() },
  columns: { orderId: t.string().required(), amount: t.decimal(12, 2), at: t.timestamp(), ms: t.long() },
}
const thrown = (make: () => unknown): LakeError => {
  try {
    make()
  } catch (error) {
    expect(error).toBeInstanceOf(LakeError)
    return error as LakeError
  }
  throw new Error('nothing was thrown')
}
const failing = (change: Record<string, unknown>, name = 'orders') =>
  thrown(() => table(name, { ...orders, ...change } as TableOptions))

const startAt = (text: any) => table('o', { ...orders, from: { topic: 'o', startAt: text } }).startAt

describe('table', () => {
  test('fills in every default', () => {
    expect(table('orders', { ...orders, eventTime: { column: 'at' } })).toEqual({
      kind: 'table',
      name: 'orders',
      topic: 'shop.orders',
      value: 'json',
      startAt: 'earliest',
      columns: [
        { name: 'orderId', type: { kind: 'string' }, required: true },
        { name: 'amount', type: { kind: 'decimal', precision: 12, scale: 2 } },
        { name: 'at', type: { kind: 'timestamp' } },
        { name: 'ms', type: { kind: 'long' } },
      ],
      eventTime: { column: 'at', unit: 'us', outOfOrdernessMs: 5_000, idleAfterMs: 30_000, maxFutureSkewMs: 300_000 },
      partitionBy: [],
      onError: 'dead-letter',
      unknown: 'extra',
      ...APPEND,
      ...STORED,
    })
  })

  test('texts and builders give the same table', () => {
    const columns = { orderId: 'string required', amount: ' decimal( 12 , 2 )', at: 'timestamp', ms: 'long' }
    expect(table('orders', { ...orders, columns })).toEqual(table('orders', orders))
  })

  test('a raw table has key, value and headers', () => {
    const given = table('events', { from: { topic: 'e', value: raw() }, partitionBy: ['day(_timestamp)'] })
    expect(given.columns.map((column) => column.name)).toEqual(['key', 'value', 'headers'])
    expect(given.unknown).toBe('ignore')
  })

  test('startAt is a word or an instant', () => {
    expect(startAt('latest')).toBe('latest')
    expect(startAt('2026-01-31T00:00:00+01:00')).toEqual({ timestampMs: Date.UTC(2026, 0, 30, 23) })
    expect(startAt({ timestamp: '2026-01-31T00:00:00Z' })).toEqual({ timestampMs: Date.UTC(2026, 0, 31) })
  })

  test('partition transforms are kept in one form', () => {
    const partitionBy = ['ms', 'bucket(016,orderId)', 'day( at )', 'hour(_timestamp)'] as string[] as ['ms']
    const given = table('o', { ...orders, partitionBy })
    expect(given.partitionBy).toEqual(['ms', 'bucket(16, orderId)', 'day(at)', 'hour(_timestamp)'])
  })

  test('a long as event time says its unit', () => {
    expect(table('o', { ...orders, eventTime: { column: 'ms', unit: 's' } }).eventTime?.unit).toBe('s')
    expect(table('o', { ...orders, eventTime: { column: '_timestamp' } }).eventTime?.unit).toBe('us')
  })
})

const deep = (n: number) => 'list<'.repeat(n) + 'int' + '>'.repeat(n)
const wide = (n: number) => Object.fromEntries(Array.from({ length: n }, (_, i) => [`c${i}`, 'int']))

describe('errors name the field and the fix', () => {
  const from = { topic: 'shop.orders' }
  test.each<[Record<string, unknown>, string, string, RegExp, RegExp?]>([
    [{ from: {} }, 'config.invalid', 'orders.from.topic', /is missing/],
    [{ from: undefined }, 'config.invalid', 'orders.from', /is missing/],
    [{ from: { topic: 'a/b' } }, 'config.invalid', 'orders.from.topic', /topic name/],
    [{ from: { topic: '..' } }, 'config.invalid', 'orders.from.topic', /topic name/],
    [{ from: { ...from, startAt: 'earlist' } }, 'config.invalid', 'orders.from.startAt', /earlist/, /"earliest"/],
    [{ from: { ...from, startAt: '2026-01-31' } }, 'config.invalid', 'orders.from.startAt', /instant/, /RFC 3339/],
    [{ from: { ...from, startAt: '2026-02-30T00:00:00Z' } }, 'config.invalid', 'orders.from.startAt', /instant/],
    [{ from: { ...from, value: 'csv' } }, 'config.unsupported', 'orders.from.value', /csv are not in this release/],
    [
      { from: { ...from, value: 'jsn' } },
      'config.invalid',
      'orders.from.value',
      /json, raw, debezium, avro or protobuf/,
      /"json"/,
    ],
    [{ from: { ...from, topik: 'x' } }, 'config.unknown_key', 'orders.from.topik', /did you mean "topic"/],
    [{ colums: {} }, 'config.unknown_key', 'orders.colums', /did you mean "columns"/],
    [{ dedup: {} }, 'config.unsupported', 'orders.dedup', /deduplication is not in this release/],
    [{ key: ['orderID'] }, 'config.invalid', 'orders.key[0]', /no column "orderID"/, /"orderId"/],
    [{ key: [] }, 'config.invalid', 'orders.key', /needs a column/],
    [{ key: ['orderId', 'orderId'] }, 'config.invalid', 'orders.key[1]', /twice/],
    [{ key: ['d'], columns: { d: 'double' } }, 'config.invalid', 'orders.key[0]', /of type double/, /string/],
    [{ key: ['d'], columns: { d: 'list<int>' } }, 'config.invalid', 'orders.key[0]', /of type list/],
    [{ version: 'at' }, 'config.invalid', 'orders.version', /records of a key/, /Add key/],
    [{ missing: 'keep' }, 'config.invalid', 'orders.missing', /row of a key/, /Add key/],
    [{ onTruncate: 'apply' }, 'config.invalid', 'orders.onTruncate', /no truncate/, /debezium/],
    [{ from: { ...from, key: 'json' } }, 'config.invalid', 'orders.from.key', /null value/, /Add key/],
    [
      { key: ['orderId', 'ms'], from: { ...from, key: 'string' } },
      'config.invalid',
      'orders.from.key',
      /one column/,
      /json/,
    ],
    [{ key: ['ms'], from: { ...from, key: 'string' } }, 'config.invalid', 'orders.from.key', /one column/, /json/],
    [{ key: ['orderId'], version: 'att' }, 'config.invalid', 'orders.version', /no column "att"/, /"at"/],
    [{ key: ['orderId'], version: 'orderId' }, 'config.invalid', 'orders.version', /part of the key/],
    [{ key: ['orderId'], version: 'amount' }, 'config.invalid', 'orders.version', /no version/, /timestamp/],
    [{ key: ['orderId'], version: 'source.lsn' }, 'config.invalid', 'orders.version', /no source/, /debezium/],
    [{ key: ['orderId'], missing: 'kep' }, 'config.invalid', 'orders.missing', /null or keep/, /"keep"/],
    [
      { from: { ...from, value: 'raw' }, columns: undefined, key: ['key'] },
      'config.invalid',
      'orders.key',
      /raw table/,
      /Remove/,
    ],
    [{ map: 'x' }, 'config.invalid', 'orders.map', /./],
    [{ columns: undefined }, 'config.invalid', 'orders.columns', /needs a column/, /raw/],
    [{ columns: {} }, 'config.invalid', 'orders.columns', /needs a column/],
    [{ columns: { _id: 'int' } }, 'config.invalid', 'orders.columns._id', /system columns/, /Rename/],
    [{ columns: { 'a b': 'int' } }, 'config.invalid', 'orders.columns.a b', /cannot be a column name/, /_extra/],
    [{ columns: { id: 'int', ID: 'int' } }, 'config.invalid', 'orders.columns.ID', /only in case/],
    [{ columns: { a: 'struct<b:int,B:int>' } }, 'config.invalid', 'orders.columns.a.B', /only in case/],
    [{ columns: { a: 'varchar' } }, 'config.invalid', 'orders.columns.a', /"varchar", did you mean "string"/],
    [{ columns: { a: 'strnig' } }, 'config.invalid', 'orders.columns.a', /did you mean "string"/],
    [{ columns: { a: 'decimal' } }, 'config.invalid', 'orders.columns.a', /decimal needs/, /decimal\(12,2\)/],
    [{ columns: { a: 'decimal(39,2)' } }, 'config.invalid', 'orders.columns.a', /precision/],
    [{ columns: { a: 'decimal(5,6)' } }, 'config.invalid', 'orders.columns.a', /scale/],
    [{ columns: { a: 'timestamp(ns)' } }, 'config.invalid', 'orders.columns.a', /"ns"/, /timestamp\(ms\)/],
    [{ columns: { a: 'map<int,int>' } }, 'config.invalid', 'orders.columns.a', /keys of a map are strings/],
    [{ columns: { a: 'list<int required>' } }, 'config.invalid', 'orders.columns.a', /always optional/],
    [{ columns: { a: 'enum(a,a)' } }, 'config.invalid', 'orders.columns.a', /twice/],
    [{ columns: { a: 'enum(a,)' } }, 'config.invalid', 'orders.columns.a', /empty symbol/],
    [{ columns: { a: 'struct<a:int,a:int>' } }, 'config.invalid', 'orders.columns.a', /twice/],
    [{ columns: { a: 'int not null' } }, 'config.invalid', 'orders.columns.a', /unexpected "not null"/],
    [{ columns: { a: deep(32) } }, 'config.invalid', 'orders.columns.a', /deeper than 32/],
    [{ columns: wide(2001) }, 'config.invalid', 'orders.columns', /more than 2000/],
    [{ eventTime: { column: 'att' } }, 'config.invalid', 'orders.eventTime.column', /no column "att"/, /"at"/],
    [{ eventTime: { column: 'amount' } }, 'config.invalid', 'orders.eventTime.column', /decimal/],
    [{ eventTime: { column: 'ms' } }, 'config.invalid', 'orders.eventTime.unit', /is missing/, /unit: s, ms or us/],
    [{ eventTime: { column: 'at', unit: 'ms' } }, 'config.invalid', 'orders.eventTime.unit', /carries its unit/],
    [{ eventTime: { column: 'at', idleAfter: '5 sec' } }, 'config.invalid', 'orders.eventTime.idleAfter', /duration/],
    [{ partitionBy: ['bucket(orderId,16)'] }, 'config.invalid', 'orders.partitionBy[0]', /transform/, /bucket\(16/],
    [{ partitionBy: ['bucket(orderId)'] }, 'config.invalid', 'orders.partitionBy[0]', /needs a width/],
    [{ partitionBy: ['day(att)'] }, 'config.invalid', 'orders.partitionBy[0]', /"att"/, /"at"/],
    [{ partitionBy: ['week(at)'] }, 'config.invalid', 'orders.partitionBy[0]', /no transform "week"/],
    [{ partitionBy: ['day(at)', 'day( at )'] }, 'config.invalid', 'orders.partitionBy[1]', /twice/],
    [{ onError: 'dead_letter' }, 'config.invalid', 'orders.onError', /dead-letter or stop or skip/, /"dead-letter"/],
    [{ unknown: 'keep' }, 'config.invalid', 'orders.unknown', /extra or ignore or fail/],
    [{ from: { ...from, value: 'raw' } }, 'config.invalid', 'orders.columns', /raw table/, /Remove/],
  ])('%j', (change, code, path, message, fix) => {
    const error = failing(change)
    expect(error.code).toBe(code)
    expect(error.context.path).toBe(path)
    expect(error.message).toMatch(message)
    if (fix !== undefined) expect(error.fix).toMatch(fix)
  })

  test.each(['Orders', '1a', 'a-b', 'a__dlq', '', `a${'b'.repeat(63)}`])('the name "%s" is refused', (name) => {
    expect(failing({}, name).code).toBe('config.invalid')
  })

  test('31 nested lists and 2000 columns are fine', () => {
    table('o', { from, columns: { a: deep(31) } })
    expect(table('o', { from, columns: wide(2000) }).columns).toHaveLength(2000)
  })

  test('a feature to come is told before a typo', () => {
    const error = failing({ dedup: {}, colums: 1 })
    expect(error.code).toBe('config.unsupported')
    expect(error.context.issues).toHaveLength(2)
  })
})

const at = (name: string, topic: string, startAt: string) => table(name, { ...orders, from: { topic, startAt } })

describe('defineLake', () => {
  test('takes lists and objects', () => {
    const lake = defineLake({
      a: [at('x', 't', 'latest')],
      b: { tables: [at('y', 't', 'earliest')], onDataLoss: 'record-gap' },
    })
    expect(lake.pipelines.map(({ name, onDataLoss, tables }) => [name, onDataLoss, tables[0]?.name])).toEqual([
      ['a', 'stop', 'x'],
      ['b', 'record-gap', 'y'],
    ])
  })

  test.each<[string, () => unknown, RegExp]>([
    [
      'two starts over one topic',
      () => defineLake({ a: [at('x', 't', 'latest'), at('y', 't', 'earliest')] }),
      /same topic "t"/,
    ],
    [
      'one name in two pipelines',
      () => defineLake({ a: [at('x', 't', 'latest')], b: [at('x', 't', 'latest')] }),
      /taken/,
    ],
    ['no table', () => defineLake({ a: [] }), /needs a table/],
    ['a bad name', () => defineLake({ 'A-b': [at('x', 't', 'latest')] }), /is not a name/],
    ['an unknown key', () => defineLake({ a: { tables: [], joins: [] } as any }), /no key "joins"/],
  ])('refuses %s', (_, make, message) => {
    expect(thrown(make).message).toMatch(message)
  })
})

const hash = (change: object) => codeHash(table('orders', { ...orders, ...change } as TableOptions))

describe('codeHash', () => {
  test('ignores where the log begins', () => {
    expect(hash({ from: { topic: 'shop.orders', startAt: 'latest' } })).toBe(hash({}))
  })
  test.each([
    { unknown: 'ignore' },
    { onError: 'stop' },
    { from: { topic: 'other' } },
    { partitionBy: ['orderId'] },
    { eventTime: { column: 'at' } },
    { columns: { orderId: 'string' } },
  ])('changes with %j', (change) => {
    expect(hash(change)).not.toBe(hash({}))
  })
})
