import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { columnText, typeText, type Column, type ColumnType } from '../../src/batch.ts'
import { parseColumn, parseType } from '../../src/define-type.ts'

const symbol = fc.stringMatching(/^[A-Za-z0-9 <>:_äß-]{1,8}$/).filter((s) => s === s.trim() && s !== '')
const fieldName = fc.stringMatching(/^[A-Za-z_$@é][A-Za-z0-9_$@é-]{0,8}$/)
const { type } = fc.letrec<{ type: ColumnType }>((tie) => ({
  type: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    fc
      .constantFrom('boolean', 'int', 'long', 'float', 'double', 'string', 'binary', 'date', 'uuid')
      .map((kind): ColumnType => ({ kind: kind as 'int' })),
    fc
      .tuple(fc.integer({ min: 1, max: 38 }), fc.nat({ max: 38 }))
      .map(([p, s]): ColumnType => ({ kind: 'decimal', precision: p, scale: Math.min(p, s) })),
    fc.uniqueArray(symbol, { minLength: 1, maxLength: 4 }).map((symbols): ColumnType => ({ kind: 'enum', symbols })),
    fc
      .tuple(fc.constantFrom('timestamp', 'timestamptz'), fc.constantFrom(undefined, 's', 'ms', 'us'))
      .map(([kind, unit]) => (unit === undefined ? { kind } : { kind, unit }) as ColumnType),
    tie('type').map((element): ColumnType => ({ kind: 'list', element })),
    tie('type').map((value): ColumnType => ({ kind: 'map', value })),
    fc
      .uniqueArray(fc.tuple(fieldName, tie('type'), fc.boolean()), {
        minLength: 1,
        maxLength: 4,
        selector: ([name]) => name,
      })
      .map((fields): ColumnType => ({
        kind: 'struct',
        fields: fields.map(([name, type, required]): Column => (required ? { name, type, required } : { name, type })),
      })),
  ),
}))

test('parseType reads what typeText writes', () => {
  fc.assert(fc.property(type, (given) => void expect(parseType(typeText(given))).toEqual(given)))
})

test('parseColumn reads what columnText writes', () => {
  fc.assert(
    fc.property(type, fc.boolean(), (given, required) => {
      const column: Column = required ? { name: 'c', type: given, required } : { name: 'c', type: given }
      expect(parseColumn('c', columnText(column))).toEqual(column)
    }),
  )
})

test('blanks between tokens mean nothing', () => {
  expect(parseType(' struct < a : list< decimal( 4 , 1 ) > required , b:map<string , long> > ')).toEqual(
    parseType('struct<a:list<decimal(4,1)> required,b:map<string,long>>'),
  )
})

test('any other text is config.invalid, never a crash', () => {
  fc.assert(
    fc.property(fc.string({ maxLength: 40 }), fc.constantFrom('', 'list<', 'struct<a:', 'decimal('), (text, prefix) => {
      try {
        const parsed = parseType(prefix + text)
        expect(parseType(typeText(parsed))).toEqual(parsed)
      } catch (error) {
        expect(error).toMatchObject({ name: 'LakeError', code: 'config.invalid' })
      }
    }),
  )
})
