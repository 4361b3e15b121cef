import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { ColumnType } from '../../src/batch.ts'
import { EXPRESSIONS, columnsAs, conditionText, valueText, type Condition } from '../../src/define-expression.ts'
import { sqlTokens } from '../../src/define-sql-tokens.ts'
import { asOfText, rowsSql, type RowsOptions } from '../../src/row-filter.ts'

const TYPES: Readonly<Record<string, ColumnType>> = {
  id: { kind: 'string' },
  amount: { kind: 'decimal', precision: 12, scale: 2 },
  at: { kind: 'timestamptz' },
  local: { kind: 'timestamp' },
  n: { kind: 'long' },
}
const typeOf = (name: string) => (Object.hasOwn(TYPES, name) ? TYPES[name] : undefined)
const sqlOf = (options: RowsOptions<any>, key: readonly string[] = ['id']) =>
  rowsSql({ name: 'orders', typeOf, key }, options)
const whereOf = (where: NonNullable<RowsOptions<any>['where']>) =>
  /WHERE \(\n([\s\S]*)\n\)$/.exec(sqlOf({ where, orderBy: {} }))![1]!

describe('what a program asks for', () => {
  test('all, in the order of the key', () => {
    expect(sqlOf({})).toBe('SELECT * FROM "orders" ORDER BY "id" NULLS LAST')
    expect(sqlOf({ orderBy: {} })).toBe('SELECT * FROM "orders"')
    expect(sqlOf({ orderBy: { n: 'desc', id: 'asc', at: undefined }, limit: 3 })).toBe(
      'SELECT * FROM "orders" ORDER BY "n" DESC NULLS LAST, "id" ASC NULLS LAST LIMIT 3',
    )
  })

  test.each<[object, string]>([
    [{ id: 'a' }, `("id" = 'a')`],
    [{ id: ['a', "b'c"] }, `("id" IN ('a', 'b''c'))`],
    [{ id: [] }, '(false)'],
    [{ id: null }, '("id" IS NULL)'],
    [{ amount: { gte: '10.50', lt: '20' } }, '("amount" >= 10.50) AND ("amount" < 20)'],
    [{ n: 2n ** 62n, id: { ne: 'x' } }, `("n" = 4611686018427387904) AND ("id" <> 'x')`],
    [{ n: { in: [1n], isNull: false } }, '("n" IN (1)) AND ("n" IS NOT NULL)'],
    [{ at: -1n }, `("at" = TIMESTAMPTZ '1969-12-31T23:59:59.999999Z')`],
    [{ at: new Date(0) }, `("at" = TIMESTAMPTZ '1970-01-01T00:00:00.000000Z')`],
    [{ local: { gt: 1_500_001n } }, `("local" > TIMESTAMP '1970-01-01 00:00:01.500001')`],
    [{ raw: new Uint8Array([0, 255]) }, `("raw" = '\\x00\\xFF'::BLOB)`],
    [{}, 'true'],
  ])('%o', (where, sql) => expect(whereOf(where)).toBe(sql))

  test('a function of the columns, or SQL as it is', () => {
    const where: Condition<any> = (o, { and, or, gt, not, eq, isNull }) =>
      and(gt(o['n']!, 1n), or(not(eq(o['id']!, 'x')), isNull(o['at']!)))
    expect(whereOf(where)).toBe(`(("n" > 1) AND ((NOT ("id" = 'x')) OR ("at" IS NULL)))`)
    expect(whereOf('n > 1 -- more')).toBe('n > 1 -- more')
  })

  test.each<[RowsOptions<any>, RegExp]>([
    [{ limit: -1 }, /limit/],
    [{ limit: 1.5 }, /limit/],
    [{ where: { amount: '1e3' } }, /not a decimal/],
    [{ where: { amount: '1; DROP' } }, /not a decimal/],
    [{ where: { id: { like: 'x' } as object } }, /there is no "like"/],
    [{ where: { id: undefined } }, /nothing to compare/],
    [{ where: { id: Symbol('x') as never } }, /no value of a column/],
    [{ where: { at: new Date(Number.NaN) } }, /this Date is none/],
    [{ where: { at: 2n ** 62n } }, /years 1 to 9999/],
    [{ where: (() => true) as never }, /gives no condition/],
    [{ orderBy: { id: 'down' as 'asc' } }, /no direction/],
  ])('%o is refused', (options, message) => {
    expect(() => sqlOf(options)).toThrow(
      expect.objectContaining({ code: 'request.invalid', message: expect.stringMatching(message) }),
    )
  })

  test('points in history', () => {
    expect([12, 12n, 'shop@12', new Date(0), undefined].map(asOfText)).toEqual([
      '12',
      '12',
      'shop@12',
      '1970-01-01T00:00:00.000Z',
      undefined,
    ])
  })
})

describe('laws', () => {
  test('a text stays one text, and a name one name, whatever is in them', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), fc.string({ unit: 'binary', minLength: 1 }), (text, name) => {
        const tokens = sqlTokens(rowsSql({ name, typeOf, key: [] }, { where: { [name]: text } }))
        const quoted = tokens.filter(({ kind }) => kind === 'name' || kind === 'text')
        const asDecimal = typeOf(name)?.kind === 'decimal'
        fc.pre(!asDecimal)
        expect(quoted.map(({ kind, value }) => [kind, value])).toEqual([
          ['name', name],
          ['name', name],
          ['text', text],
        ])
      }),
    )
  })

  test('an instant is written to the microsecond', () => {
    const micros = fc.bigInt({ min: -62_135_596_800_000_000n, max: 253_402_300_799_999_999n })
    fc.assert(
      fc.property(micros, fc.constantFrom('timestamp', 'timestamptz'), (us, kind) => {
        const text = valueText(us, { kind })
        const [, day, time, below] = /'(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)\.(\d{6})Z?'$/.exec(text)!
        expect(BigInt(Date.parse(`${day}T${time}Z`)) * 1_000n + BigInt(below!)).toBe(us)
      }),
    )
  })

  test('conditions keep their brackets: each is one expression wherever it stands', () => {
    const { and, or, not, eq, lt, between } = EXPRESSIONS
    const columns = columnsAs<any>(typeOf)
    const leaf = fc.constantFrom(eq(columns['id']!, 'a'), lt(columns['n']!, 3n), between(columns['n']!, 1n, 2n))
    const tree = fc.letrec<{ node: typeof leaf extends fc.Arbitrary<infer E> ? E : never }>((tie) => ({
      node: fc.oneof(
        { maxDepth: 4 },
        leaf,
        fc.tuple(tie('node'), tie('node')).map(([a, b]) => and(a, b)),
        fc.array(tie('node'), { maxLength: 3 }).map((all) => or(...all)),
        tie('node').map((one) => not(one)),
      ),
    })).node
    fc.assert(
      fc.property(tree, (made) => {
        const text = conditionText(() => made, columns)
        let depth = 0
        const depths = [...text].map((letter) => (depth += letter === '(' ? 1 : letter === ')' ? -1 : 0))
        expect(depths.slice(0, -1).every((each) => each > 0)).toBe(true)
        expect(depths.at(-1)).toBe(0)
      }),
    )
  })
})
