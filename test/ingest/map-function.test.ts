import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { MapRunner } from '../../src/ingest/map/map-function.ts'
import { table, type TableDefinition } from '../../src/define.ts'
import type { MapFunction } from '../../src/define-map.ts'

function runnerOf(map: MapFunction | string): MapRunner {
  const text = typeof map === 'string' ? map : `(${map.toString()})`
  return new MapRunner('orders.map', text)
}
const mapped = (map: MapFunction | string, text: string): unknown => runnerOf(map).map(text)

describe('a function', () => {
  test('gives what it would give in place, for any JSON', () => {
    const runner = runnerOf((row) => row)
    fc.assert(
      fc.property(fc.dictionary(fc.string({ unit: 'binary' }), fc.jsonValue()), (row) => {
        const text = JSON.stringify(row)
        expect(JSON.parse((runner.map(text) as { text: string }).text)).toEqual(JSON.parse(text))
      }),
    )
  })

  test('keeps whole numbers that a double cannot hold, wherever they stand', () => {
    const runner = runnerOf((row) => row)
    fc.assert(
      fc.property(
        fc.array(fc.bigInt({ min: -(2n ** 70n), max: 2n ** 70n })),
        fc.string({ unit: 'binary' }),
        (list, key) => {
          const text = `{"12345678901234567890":[${list.join(',')}],"t":${JSON.stringify(`\u0000n${key} 9999999999999999`)}}`
          expect(runner.map(text)).toEqual({ text })
        },
      ),
    )
    expect(mapped((row) => ({ n: row['n'] + 1n }), '{"n":9007199254740993}')).toEqual({
      text: '{"n":9007199254740994}',
    })
    expect(mapped((row) => ({ n: row['n'] + 1 }), '{"n":7}')).toEqual({ text: '{"n":8}' })
  })

  test('gives null for no row; a field that is undefined is absent', () => {
    expect(mapped((row) => (row['a'] > 1 ? row : null), '{"a":1}')).toEqual({ text: undefined })
    expect(mapped((row) => ({ ...row, b: undefined }), '{"a":1,"b":2}')).toEqual({ text: '{"a":1}' })
    expect(mapped((row) => ({ at: new Date(row['ms']) }), '{"ms":0}')).toEqual({
      text: '{"at":"1970-01-01T00:00:00.000Z"}',
    })
  })

  test.each([
    ['(row) => { throw new RangeError("no " + row.a) }', 'RangeError: no 1'],
    ['(row) => row.b.c', /^TypeError: Cannot read/],
    ['(row) => undefined', 'TypeError: gives undefined, and neither a row nor null'],
    ['(row) => [row]', 'TypeError: gives a list, and neither a row nor null'],
    ['(row) => 7', 'TypeError: gives number, and neither a row nor null'],
    ['(row) => Promise.resolve(row)', 'TypeError: gives a promise, and neither a row nor null'],
    ['(row) => ({ a: 0 / 0 })', 'TypeError: gives the number NaN'],
    ['(row) => ({ a: () => 1 })', 'TypeError: gives a function'],
    ['(row) => { row.me = row; return row }', 'TypeError: gives a value that is nested deeper than 100'],
    ['(row) => { throw "text" }', 'Error: threw what is no error'],
  ])('%s fails on the record', (map, failure) => {
    expect(mapped(map, '{"a":1}')).toEqual({
      failure: typeof failure === 'string' ? failure : expect.stringMatching(failure),
    })
  })

  test.each([
    ['(row) => ({ at: Date.now() })', /Date\.now gives another value in a replay/],
    ['(row) => ({ at: new Date() })', /the time of now/],
    ['(row) => ({ at: Date() })', /the time of now/],
    ['(row) => ({ n: Math.random() })', /Math\.random/],
    ['(row) => ({ n: (1234.5).toLocaleString() })', /Number\.toLocaleString/],
    ['(row) => ({ n: new Intl.NumberFormat().format(1) })', /Intl/],
    ['(row) => ({ n: new WeakRef(row) })', /WeakRef gives/],
    ['(row) => ({ n: console.log(row) })', /console gives/],
    ['(row) => ({ n: process.pid })', /process is not defined/],
    ['(row) => ({ n: helper(row) })', /helper is not defined/],
    ['(row) => ({ n: require("fs") })', /require is not defined/],
    ['(row) => ({ n: fetch("x") })', /fetch is not defined/],
    ['(row) => ({ n: setTimeout(() => 1) })', /setTimeout is not defined/],
    ['(row) => ({ n: eval("1") })', /Code generation from strings/],
    ['(row) => ({ n: row.constructor.constructor("return process")() })', /Code generation from strings/],
  ])('%s is refused', (map, message) => {
    const runner = runnerOf(map)
    expect(() => runner.map('{"a":1}')).toThrow(message)
    expect(() => runner.map('{"a":1}')).toThrow(expect.objectContaining({ code: 'transform.map_refused' }))
  })

  test('dates are dates', () => {
    const map =
      '(row) => ({ y: new Date(Date.UTC(2026, 0, 2)).getUTCFullYear(), is: new Date(0) instanceof Date, p: Date.parse("1970-01-01T00:00:01Z") })'
    expect(mapped(map, '{}')).toEqual({ text: '{"y":2026,"is":true,"p":1000}' })
  })

  test('what gives none is refused before a record is read', () => {
    expect(() => runnerOf('7')).toThrow(/is number, and no function/)
    expect(() => runnerOf('(() => { throw new Error("at start") })()')).toThrow(/at start/)
  })
})

describe('a definition', () => {
  const of = (map: unknown, value: 'json' | 'raw' | 'debezium' = 'json'): TableDefinition =>
    table('orders', {
      from: { topic: 'o', value },
      ...(value === 'raw' ? {} : { columns: { id: 'int' } }),
      map: map as MapFunction,
    })

  test('takes functions as they are written, and files', () => {
    const methods = {
      named(row: object) {
        return row
      },
    }
    const texts = [
      (row: object) => row,
      function named(row: object) {
        return row
      },
      methods.named,
    ].map((map) => of(map).map)
    for (const map of texts) {
      expect(map).toMatchObject({ kind: 'text' })
      expect(mapped((map as { text: string }).text, '{"a":1}')).toEqual({ text: '{"a":1}' })
    }
    expect(of('./clean.ts').map).toEqual({ kind: 'file', file: './clean.ts' })
  })

  test.each([
    [async (row: object) => row, /asynchronous/],
    [
      function* rows(row: object) {
        yield row
      },
      /generator/,
    ],
    [((row: object) => row).bind(undefined), /not the text of a function/],
    ['clean', /no file of a function/],
  ])('%s is refused', (map, message) => {
    expect(() => of(map)).toThrow(message)
  })

  test('is for JSON', () => {
    expect(() => of((row: object) => row, 'raw')).toThrow(/not in raw/)
    expect(() => of((row: object) => row, 'debezium')).toThrow(/not in debezium/)
  })
})
