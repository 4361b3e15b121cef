import { describe, expectTypeOf, test } from 'vitest'
import {
  cumulate,
  defineLake,
  hopping,
  session,
  t,
  table,
  tumbling,
  windowSql,
  type Aggregates,
  type Decimal,
  type TableDefinition,
  type TableOf,
  type TypeSpec,
  type WindowDefinition,
} from '../../src/index.ts'

// What the compiler says: tsc reads this file with all others. Nothing of it is called, but where it says so.
const written = () =>
  table('orders', {
    from: { topic: 'orders' },
    columns: {
      id: t.string().required(),
      status: t.enum('a', 'b'),
      amount: t.decimal(12, 2),
      weight: t.double().as('amount * 2'),
      tags: t.list(t.string()),
      qty: 'int required',
      price: ' decimal(12,2)',
      twice: 'decimal(12,2) = price * 2',
      items: 'list<struct<sku:string>>',
      at: 'timestamptz(ms)',
    },
    key: ['id'],
    version: 'at',
    eventTime: { column: 'at' },
  })
type Orders = ReturnType<typeof written>
type KindsOf<T> = T extends TableOf<infer K> ? K : never
type Select = Aggregates<KindsOf<Orders>>
type Argument<F extends 'sum' | 'var' | 'min' | 'countDistinct'> = Parameters<Select[F]>[0]
type Anything = string

describe('what the compiler knows of columns', () => {
  test('their names and kinds, from builders and from texts', () => {
    expectTypeOf<KindsOf<Orders>>().toEqualTypeOf<{
      readonly id: 'string'
      readonly status: 'enum'
      readonly amount: 'decimal'
      readonly weight: 'double'
      readonly tags: 'list'
      readonly qty: 'int'
      readonly price: 'decimal'
      readonly twice: 'decimal'
      readonly items: 'list'
      readonly at: 'timestamptz'
    }>()
    expectTypeOf(t.decimal(1, 0).required()).toEqualTypeOf<TypeSpec<'decimal', Decimal, true>>()
  })

  test('a typed table is a table', () => {
    expectTypeOf<Orders>().toExtend<TableDefinition>()
    expectTypeOf<TableDefinition>().toExtend<Parameters<typeof tumbling>[1]>()
    expectTypeOf<Parameters<typeof defineLake>[0]>().toExtend<object>()
  })

  test('which aggregate takes which', () => {
    expectTypeOf<Argument<'sum'>>().toEqualTypeOf<'amount' | 'weight' | 'qty' | 'price' | 'twice'>()
    expectTypeOf<Argument<'var'>>().toEqualTypeOf<'amount' | 'qty' | 'price' | 'twice'>()
    expectTypeOf<Argument<'min'>>().toEqualTypeOf<
      'id' | 'status' | 'amount' | 'weight' | 'qty' | 'price' | 'twice' | 'at'
    >()
    expectTypeOf<Argument<'countDistinct'>>().toEqualTypeOf<Argument<'min'>>()
    expectTypeOf<Parameters<Select['count']>[0]>().toEqualTypeOf<keyof KindsOf<Orders> | undefined>()
  })

  test('mistakes are found before anything runs', () => {
    const orders = written()
    const size = '1m'
    const mistakes = () => [
      // @ts-expect-error a sum of texts
      tumbling('w', orders, { size, select: ({ sum }) => ({ s: sum('status') }) }),
      // @ts-expect-error an unknown column
      tumbling('w', orders, { size, select: ({ sum }) => ({ s: sum('amont') }) }),
      // @ts-expect-error a variance of doubles
      hopping('w', orders, { size, slide: size, select: (a) => ({ v: a.var('weight') }) }),
      // @ts-expect-error an unknown group
      session('w', orders, { gap: size, groupBy: ['state'], select: { n: 'count()' } }),
      // @ts-expect-error a group of lists
      tumbling('w', orders, { size, groupBy: ['tags'], select: { n: 'count()' } }),
      // @ts-expect-error no slide
      hopping('w', orders, { size, select: { n: 'count()' } }),
      // @ts-expect-error no results
      cumulate('w', orders, { step: size, max: size }),
      // @ts-expect-error an unknown key
      tumbling('w', orders, { size, slide: size, select: { n: 'count()' } }),
      // @ts-expect-error no kind of window in SQL's options
      windowSql('w', orders, 'SELECT', { size }),
      // @ts-expect-error a window over a window
      tumbling('v', windowSql('w', orders, 'SELECT'), { size, select: { n: 'count()' } }),
      // @ts-expect-error an unknown column as key
      table('o', { from: { topic: 'o' }, columns: { id: 'string' }, key: ['ID'] }),
    ]
    expectTypeOf(mistakes).toBeFunction()
    const fine = () => [
      tumbling('w', orders, {
        size: '1 month',
        timeZone: 'UTC',
        groupBy: ['status', 'qty'],
        select: ({ count, sum, top }) => ({ n: count().where("status = 'x'"), s: sum('qty'), top: top(3, 'at') }),
      }),
      tumbling('w', orders as TableDefinition, {
        size,
        groupBy: ['any' as Anything],
        select: ({ sum }) => ({ s: sum('any') }),
      }),
    ]
    expectTypeOf(fine).returns.toExtend<WindowDefinition[]>()
  })
})
