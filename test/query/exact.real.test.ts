import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import * as fc from 'fast-check'
import { systemClock } from '../../src/clock.ts'
import { openEngine, type Engine, type QueryFormat } from '../../src/query/engine.ts'
import { uniqueNames } from '../../src/query/formats.ts'
import { CHILD_PATH, querySettings, resolverOf, textOf } from './support.ts'

let engine: Engine

beforeAll(async () => {
  engine = await openEngine({
    settings: querySettings({ children: 1 }),
    resolve: resolverOf([]),
    clock: systemClock,
    childPath: CHILD_PATH,
  })
}, 30_000)
afterAll(() => engine.close())

const text = async (sql: string, format: QueryFormat = 'ndjson') => textOf((await engine.query({ sql, format })).body)

/** The JSON text of one value, as a client receives it. */
async function json(expression: string): Promise<string> {
  const line = await text(`select ${expression} as v`)
  return line.slice('{"v":'.length, -'}\n'.length)
}

describe('values as JSON', () => {
  test.each([
    ['1::tinyint', '1'],
    ['(-2147483648)::integer', '-2147483648'],
    ['9007199254740993::bigint', '"9007199254740993"'],
    ['(-9223372036854775808)::bigint', '"-9223372036854775808"'],
    ['18446744073709551615::ubigint', '"18446744073709551615"'],
    ['170141183460469231731687303715884105727::hugeint', '"170141183460469231731687303715884105727"'],
    ['0.10::decimal(12,2)', '"0.10"'],
    ['-12345678901234567890123456789012345.678::decimal(38,3)', '"-12345678901234567890123456789012345.678"'],
    ['0.1::double', '0.1'],
    ['1e300::double', '1e+300'],
    [`'nan'::double`, '"NaN"'],
    [`'inf'::double`, '"Infinity"'],
    [`'-inf'::float`, '"-Infinity"'],
    ['true', 'true'],
    ['null', 'null'],
    [`''`, '""'],
    [`'a"b\\c😀'`, '"a\\"b\\\\c😀"'],
    [`chr(65279) || 'a'`, '"\uFEFFa"'],
    [`'\\xDE\\xAD'::blob`, '"3q0="'],
    [`timestamptz '2026-11-21 10:00:00.123456+02'`, '"2026-11-21T08:00:00.123456Z"'],
    [`timestamp '1969-12-31 23:59:59.999999'`, '"1969-12-31T23:59:59.999999Z"'],
    [`timestamp '0001-01-01 00:00:00'`, '"0001-01-01T00:00:00.000000Z"'],
    [`timestamp '12026-01-01 00:00:00'`, '"+012026-01-01T00:00:00.000000Z"'],
    [`timestamp 'infinity'`, '"infinity"'],
    [`timestamp_ns '2026-01-01 00:00:00.123456789'`, '"2026-01-01T00:00:00.123456789Z"'],
    [`date '2024-02-29'`, '"2024-02-29"'],
    [`time '23:59:59.5'`, '"23:59:59.500000"'],
    [`'0b8c2a52-9d0e-4d0e-8b43-6f6a4a0e2a11'::uuid`, '"0b8c2a52-9d0e-4d0e-8b43-6f6a4a0e2a11"'],
    ['[1, null, 3]', '[1,null,3]'],
    ['[9007199254740993::bigint]', '["9007199254740993"]'],
    [`{'a': 1, 'b': [{'c': 0.5::decimal(3,1)}]}`, '{"a":1,"b":[{"c":"0.5"}]}'],
    [`map {'k': 1::bigint}`, '{"k":"1"}'],
    ['map {1: true}', '[{"key":1,"value":true}]'],
    ['map {}::map(varchar, int)', '{}'],
    [`union_value(n := 3::bigint)`, '"3"'],
    [`'b'::enum('a', 'b')`, '"b"'],
  ])('%s', async (expression, expected) => {
    expect(await json(expression)).toBe(expected)
  })

  test('every 64-bit integer and every decimal comes back as it was', async () => {
    const long = fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n })
    await fc.assert(
      fc.asyncProperty(fc.array(fc.tuple(long, long), { minLength: 1, maxLength: 50 }), async (pairs) => {
        const values = pairs.map(([a, b]) => `('${a}'::bigint, '${b}.25'::decimal(38,2))`).join(', ')
        const lines = (await text(`select * from (values ${values}) t(a, b)`)).trim().split('\n')
        expect(lines.map((line) => JSON.parse(line))).toEqual(pairs.map(([a, b]) => ({ a: `${a}`, b: `${b}.25` })))
      }),
      { numRuns: 30 },
    )
  })

  test('every text comes back as it was, in all formats', async () => {
    const word = fc.string({ unit: 'binary', maxLength: 20 }).filter((each) => !each.includes('\0'))
    await fc.assert(
      fc.asyncProperty(fc.array(word, { minLength: 1, maxLength: 8 }), async (words) => {
        const sql = `select unnest(${params(words)}) as v`
        const asked = { sql, params: words }
        const lines = await textOf((await engine.query({ ...asked, format: 'ndjson' })).body)
        expect(
          lines
            .split('\n')
            .slice(0, -1)
            .map((line) => JSON.parse(line).v),
        ).toEqual(words)
        const csv = await textOf((await engine.query({ ...asked, format: 'csv' })).body)
        expect(
          readCsv(csv)
            .slice(1)
            .map(([field]) => field),
        ).toEqual(words)
        expect((await engine.rows(asked)).map((row) => row['v'])).toEqual(words)
      }),
      { numRuns: 30 },
    )
  })
})

const params = (words: readonly string[]) => `[${words.map((_, index) => `$${index + 1}::varchar`).join(', ')}]`

/** RFC 4180, written once more and plainly. */
function readCsv(text: string): string[][] {
  const rows: string[][] = [[]]
  for (let at = 0; at < text.length;) {
    let field = ''
    if (text[at] === '"') {
      for (at++; text[at] !== '"' || text[at + 1] === '"'; at++) {
        if (text[at] === '"') at++
        field += text[at]
      }
      at++
    } else for (; at < text.length && text[at] !== ',' && !text.startsWith('\r\n', at); at++) field += text[at]
    rows.at(-1)!.push(field)
    if (text[at] === ',') at++
    else {
      at += 2
      if (at < text.length) rows.push([])
    }
  }
  return rows
}

describe('shapes', () => {
  test('csv tells null from empty, and quotes what needs it', async () => {
    const sql = `select * from (values (1, null, ''), (2, 'a"b', e'x\\r\\ny'), (3, 'c,d', ' e')) t(n, "a,b", c)`
    expect(await text(sql, 'csv')).toBe('n,"a,b",c\r\n1,,""\r\n2,"a""b","x\r\ny"\r\n3,"c,d"," e"\r\n')
  })

  test('a result without rows', async () => {
    expect(await text('select 1 a where false', 'csv')).toBe('a\r\n')
    expect(await text('select 1 a where false')).toBe('')
    expect(JSON.parse(await text('select 1 a where false', 'json'))).toMatchObject({
      columns: [{ name: 'a' }],
      rows: [],
    })
  })

  test('columns of one name are told apart', async () => {
    expect(await text('select 1 a, 2 a, 3 a_2, 4 "__proto__"')).toBe('{"a":1,"a_3":2,"a_2":3,"__proto__":4}\n')
    const [row] = await engine.rows({ sql: 'select 1 a, 2 a, 4 "__proto__"' })
    expect(Object.entries(row!)).toEqual([
      ['a', 1],
      ['a_2', 2],
      ['__proto__', 4],
    ])
  })

  test('unique names are unique, and keep what was unique', () => {
    fc.assert(
      fc.property(fc.array(fc.constantFrom('a', 'a_2', 'a_3', 'b', 'a_2_2')), (names) => {
        const unique = uniqueNames(names)
        expect(new Set(unique).size).toBe(names.length)
        for (const name of new Set(names)) expect(unique[names.indexOf(name)]).toBe(name)
      }),
    )
  })

  test('rows for callers in this process', async () => {
    const sql = `select 9007199254740993::bigint n, 1::int i, 0.10::decimal(5,2) d, '\\x00\\xFF'::blob b, 'nan'::double x,
      timestamptz '2026-01-01 00:00:00+00' t, [1::bigint] l, null z`
    expect(await engine.rows({ sql })).toEqual([
      {
        n: 9007199254740993n,
        i: 1,
        d: '0.10',
        b: new Uint8Array([0, 255]),
        x: Number.NaN,
        t: BigInt(Date.UTC(2026, 0)) * 1_000n,
        l: [1n],
        z: null,
      },
    ])
  })

  test('a large result in many pieces', async () => {
    const lines = (await text(`select range n, 'x' || range s from range(200000) order by n`)).split('\n')
    expect(lines.length).toBe(200_001)
    for (const n of [0, 1, 2047, 2048, 99_999, 199_999]) expect(lines[n]).toBe(`{"n":"${n}","s":"x${n}"}`)
  })
})
