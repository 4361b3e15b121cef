import { describe, expect, test } from 'vitest'
import { debezium, defineLake, t, table, tumbling } from '../../src/define.ts'
import { codeHash } from '../../src/define-code.ts'
import { checkTable } from '../../src/define-check.ts'
import { resultType, type AggregateFunction } from '../../src/define-window.ts'
import { parseType } from '../../src/define-type.ts'
import { typeText } from '../../src/batch.ts'
import { LakeError } from '../../src/error.ts'

const from = { topic: 'shop.orders' }
const columns = {
  id: t.string().required(),
  price: t.decimal(12, 2),
  quantity: t.int(),
  at: t.timestamp(),
  total: t.decimal(12, 2).as('price * quantity'),
}
const texts = {
  id: 'string required',
  price: 'decimal(12,2)',
  quantity: 'int',
  at: 'timestamp',
  total: ' decimal( 12,2 )  =  price * quantity ',
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

describe('computed columns, filters, tables that keep no rows', () => {
  test('YAML and TypeScript say the same', () => {
    const given = table('orders', { from, columns, where: "id <> 'test'", store: false })
    const written = checkTable('orders', { from, columns: texts, where: " id <> 'test' ", store: false }, ['orders'])
    expect(written).toEqual(given)
    expect(codeHash(written)).toBe(codeHash(given))
    expect(given.columns.at(-1)).toEqual({
      name: 'total',
      type: { kind: 'decimal', precision: 12, scale: 2 },
      as: 'price * quantity',
    })
    expect(given).toMatchObject({ where: "id <> 'test'", store: false })
  })

  test('each is part of the code hash', () => {
    const { total: _, ...plain } = columns
    const hash = (change: object) => codeHash(table('orders', { from, columns: plain, ...change } as any))
    const hashes = [
      hash({}),
      hash({ columns }),
      hash({ columns: { ...columns, total: t.decimal(12, 2) } }),
      hash({ columns: { ...columns, total: t.decimal(12, 2).as('price') } }),
      hash({ where: 'price > 1' }),
      hash({ where: 'price > 2' }),
      hash({ store: false }),
    ]
    expect(new Set(hashes).size).toBe(hashes.length)
  })

  test('tables without them have the hash that they always had', () => {
    const hashed = { orderId: t.string().required(), amount: t.decimal(12, 2), at: t.timestamp('ms') }
    const append = table('orders', {
      from,
      columns: hashed,
      eventTime: { column: 'at' },
      partitionBy: ['day(at)'],
    })
    const keyed = table('orders', {
      from: { ...from, value: debezium() },
      columns: hashed,
      key: ['orderId'],
      version: 'at',
      missing: 'keep',
    })
    expect(codeHash(append)).toBe('953949332728b710b7859f4b12fc7268')
    expect(codeHash(keyed)).toBe('b6544a17a7f94762840d20f6dcd07d9d')
  })

  const kept = { key: ['id'], version: 'at', missing: 'keep' }
  const plain = { ...texts, total: 'decimal(12,2)' }
  test.each<[string, object, string, RegExp, RegExp?]>([
    ['an empty text', { columns: { ...texts, total: 'int =' } }, 'columns.total', /empty/],
    ['a statement', { columns: { ...texts, total: 'int = 1; drop' } }, 'columns.total', /ends a statement/],
    ['from itself', { columns: { ...texts, total: 'int = total' } }, 'columns.total', /from itself/],
    ['from another', { columns: { ...texts, twice: 'int = "Total" * 2' } }, 'columns.twice', /"total", which is comp/],
    ['required', { columns: { ...texts, total: 'int required = price' } }, 'columns.total', /always optional/],
    ['inside a struct', { columns: { ...texts, s: 'struct<a:int = 1>' } }, 'columns.s', /">" is missing/],
    ['as a key', { key: ['id', 'total'] }, 'key[1]', /as it is/],
    ['as a version', { columns: { ...texts, v: 'long = quantity' }, key: ['id'], version: 'v' }, 'version', /as it is/],
    [
      'as event time',
      { columns: { ...texts, v: 'timestamp = now' }, eventTime: { column: 'v' } },
      'eventTime.column',
      /as it is/,
    ],
    ['from what is kept', kept, 'columns.total', /"price", which a record may leave/, /missing: null/],
    ['a filter on what is kept', { ...kept, columns: plain, where: 'price > 1' }, 'where', /may leave/],
    ['a filter that is none', { where: 'price > (1' }, 'where', /brackets/],
    ['a filter that is no text', { where: true }, 'where', /must be SQL/],
    ['a key that is not kept', { key: ['id'], store: false }, 'store', /keeps its rows/, /Remove/],
  ])('%s', (_, change, field, message, fix) => {
    const error = thrown(() => checkTable('o', { from, columns: texts, ...change }, ['o']))
    expect([error.code, error.context.path]).toEqual(['config.invalid', `o.${field}`])
    expect(error.message).toMatch(message)
    if (fix !== undefined) expect(error.fix).toMatch(fix)
  })

  test('a filter may read what is always there, and computed columns', () => {
    const { total: _, ...plain } = columns
    expect(table('o', { from, columns: plain, key: ['id'], missing: 'keep', where: "id <> 'x'" }).where).toBe(
      "id <> 'x'",
    )
    expect(table('o', { from, columns, where: 'total > 1' }).where).toBe('total > 1')
  })

  test('nothing is computed inside of types', () => {
    expect(thrown(() => t.list(t.int().as('1'))).message).toMatch(/element of a list is computed/)
    expect(thrown(() => t.struct({ a: t.int().as('1') })).message).toMatch(/"a" of a struct is computed/)
  })

  test('a table that keeps no rows feeds a window', () => {
    const lost = table('o', { from, columns, eventTime: { column: 'at' }, store: false })
    expect(thrown(() => defineLake({ shop: [lost] })).context.path).toBe('shop.tables.o.store')
    const w = tumbling('w', lost, { size: '1m', select: { n: 'sum(total)' } })
    expect(defineLake({ shop: [lost, w] }).pipelines[0]!.windows).toEqual([w])
  })
})

describe('types of results', () => {
  test.each<[AggregateFunction, string, string]>([
    ['count', 'list<int>', 'long'],
    ['count_distinct', 'string', 'long'],
    ['sum', 'int', 'decimal(38,0)'],
    ['sum', 'long', 'decimal(38,0)'],
    ['sum', 'decimal(12,2)', 'decimal(38,2)'],
    ['sum', 'float', 'double'],
    ['sum', 'double', 'double'],
    ['avg', 'int', 'double'],
    ['avg', 'decimal(12,2)', 'double'],
    ['avg', 'float', 'double'],
    ['var', 'long', 'double'],
    ['var', 'decimal(12,2)', 'double'],
    ['min', 'enum(a,b)', 'enum(a,b)'],
    ['max', 'timestamp(ms)', 'timestamp(ms)'],
    ['first', 'uuid', 'uuid'],
    ['last', 'boolean', 'boolean'],
    ['top', 'decimal(12,2)', 'list<decimal(12,2)>'],
  ])('%s of %s is %s', (fn, of, result) => {
    const type = resultType({ fn }, parseType(of))
    expect(type instanceof LakeError ? type.message : typeText(type)).toBe(result)
  })

  test.each<[AggregateFunction, string | undefined]>([
    ['sum', 'string'],
    ['sum', undefined],
    ['sum', 'boolean'],
    ['avg', 'date'],
    ['var', 'float'],
    ['var', 'double'],
    ['var', 'timestamp'],
    ['min', 'map<string,int>'],
    ['top', 'list<int>'],
    ['first', 'struct<a:int>'],
    ['count_distinct', 'list<int>'],
  ])('%s of %s is none', (fn, of) => {
    expect(resultType({ fn }, of === undefined ? undefined : parseType(of))).toBeInstanceOf(LakeError)
  })
})
