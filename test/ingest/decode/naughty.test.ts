import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Column } from '../../../src/batch.ts'
import { t, table } from '../../../src/define.ts'
import { LakeError } from '../../../src/error.ts'
import { definition } from '../../support/lake-table.ts'
import { naughtyStrings } from './corpora.ts'
import { Outcomes } from './outcomes.ts'
import { judge } from './reference.ts'

// Strings that break programs, wherever a text may stand: values, keys, headers, fields, symbols, names.

/** With texts that are one after normalisation, and must stay two. */
const STRINGS = [...naughtyStrings(), 'é', 'e\u0301', 'ﬁ', 'fi', 'Å', 'Å', '\u1100\u1161', '가']
const TEXT: Column = { name: 'text', type: { kind: 'string' } }
const hex = (text: string): string => Buffer.from(text).toString('hex').toUpperCase()

let outcomes: Outcomes
beforeAll(async () => {
  outcomes = await Outcomes.open()
})
afterAll(() => outcomes.close())

describe('as what records say', () => {
  test('values are kept byte by byte', async () => {
    expect(naughtyStrings().length).toBe(515)
    const records = STRINGS.map((text) => ({ value: JSON.stringify({ text }) }))
    const { rows, dead } = await outcomes.read(definition({ columns: [TEXT] }), records, 'hex(encode(text))')
    expect(dead).toEqual([])
    expect(rows.map(([value]) => value)).toEqual(STRINGS.map(hex))
  })

  test('raw keys, values and headers are', async () => {
    const records = STRINGS.map((text) => ({
      key: text,
      value: text,
      headers: [{ key: text, value: Buffer.from(text) }],
    }))
    const select = 'hex(key), hex(value), hex(encode(headers[1].key)), hex(headers[1].value)'
    const { rows } = await outcomes.read(definition({ value: 'raw' }), records, select)
    expect(rows).toEqual(STRINGS.map((text) => Array.from({ length: 4 }, () => hex(text))))
  })

  test('fields that no column has, map keys, and enum symbols', async () => {
    const columns: Column[] = [
      { name: 'map', type: { kind: 'map', value: { kind: 'string' } } },
      { name: 'symbol', type: { kind: 'enum', symbols: ['😍', 'null', 'True'] } },
    ]
    const records = STRINGS.map((text, k) => {
      const [key, value] = [JSON.stringify(text), JSON.stringify(STRINGS[k - 1] ?? null)]
      return Buffer.from(`{"map":{${key}:${value}},${key}:${value}${text === 'True' ? ',"symbol":"True"' : ''}}`)
    })
    const seen = await outcomes.of(
      { columns, unknown: 'extra' },
      records.map((value) => ({ value })),
    )
    records.forEach((value, k) => {
      const expected = judge(value, columns, 'extra')
      expect(seen[k], STRINGS[k]).toEqual(expected)
      expect(expected.kind, STRINGS[k]).toBe('row')
    })
    const symbols = STRINGS.map((text) => ({ value: JSON.stringify({ symbol: text }) }))
    const verdicts = await outcomes.of({ columns }, symbols)
    expect(STRINGS.filter((_, k) => verdicts[k]!.kind === 'row')).toEqual(
      STRINGS.filter((text) => ['😍', 'null', 'True'].includes(text)),
    )
  })

  test('keys of a table name the same rows as values and as keys of records, and no two are one', async () => {
    const distinct = [...new Set(STRINGS)]
    const def = definition({ columns: [{ ...TEXT, required: true }], key: ['text'], recordKey: 'string' })
    const keys = await outcomes.keys(def, [
      ...distinct.map((text) => ({ key: text, value: JSON.stringify({ text }) })),
      ...distinct.map((key) => ({ key, value: null })),
    ])
    expect(keys.slice(distinct.length)).toEqual(keys.slice(0, distinct.length))
    expect(new Set(keys).size).toBe(distinct.length)
  })
})

describe('as what a definition says', () => {
  /** What the definition of a table throws; undefined when it is taken. */
  const refusal = (define: () => unknown): unknown => {
    try {
      define()
      return undefined
    } catch (error) {
      return error instanceof LakeError ? error.code : error
    }
  }
  const CODES = [undefined, 'config.invalid', 'config.unsupported', 'config.unknown_key']
  const from = { topic: 'a' }

  test.each<[string, (text: string) => unknown]>([
    ['name of a table', (text) => table(text, { from, columns: { id: 'string' } })],
    ['name of a column', (text) => table('a', { from, columns: { [text]: 'string' } })],
    ['type of a column', (text) => table('a', { from, columns: { id: text } })],
    ['symbol', (text) => table('a', { from, columns: { id: t.enum(text) } })],
    ['field of a struct', (text) => table('a', { from, columns: { id: t.struct({ [text]: t.int() }) } })],
    ['topic', (text) => table('a', { from: { topic: text }, columns: { id: 'string' } })],
    ['start', (text) => table('a', { from: { topic: 'a', startAt: text }, columns: { id: 'string' } })],
    ['key', (text) => table('a', { from, columns: { id: 'string required' }, key: [text as 'id'] })],
    ['partition', (text) => table('a', { from, columns: { id: 'string' }, partitionBy: [text as 'id'] })],
    ['filter', (text) => table('a', { from, columns: { id: 'string' }, where: text })],
    ['computed column', (text) => table('a', { from, columns: { id: 'string', x: t.string().as(text) } })],
    [
      'duration',
      (text) => table('a', { from, columns: { id: 'timestamp' }, eventTime: { column: 'id', outOfOrderness: text } }),
    ],
  ])('%s: taken, or refused with a code', (_, define) => {
    for (const text of STRINGS) expect(CODES, text).toContain(refusal(() => define(text)))
  })

  test('what is taken as the name of a table or topic is a plain word', () => {
    const tables = STRINGS.filter(
      (text) => refusal(() => table(text, { from, columns: { id: 'string' } })) === undefined,
    )
    expect(tables).toEqual(STRINGS.filter((text) => /^[a-z][a-z0-9_]{0,62}$/.test(text) && !text.includes('__')))
    expect(tables.length).toBeGreaterThan(5)
    const topics = STRINGS.filter(
      (text) => refusal(() => table('a', { from: { topic: text }, columns: { id: 'string' } })) === undefined,
    )
    expect(topics.filter((text) => !/^[A-Za-z0-9._-]+$/.test(text) || /^\.{1,2}$/.test(text))).toEqual([])
  })

  test('columns whose names are taken read their fields', async () => {
    const names = new Map<string, string>()
    for (const text of STRINGS)
      if (refusal(() => table('a', { from, columns: { [text]: 'string' } })) === undefined)
        names.set(text.toLowerCase(), names.get(text.toLowerCase()) ?? text)
    expect(names.size).toBeGreaterThan(50)
    const { columns } = table('a', {
      from,
      columns: Object.fromEntries([...names.values()].map((name) => [name, 'string'])),
    })
    const record = Object.fromEntries(columns.map(({ name }) => [name, `value of ${name}`]))
    const seen = await outcomes.of({ columns }, [{ value: JSON.stringify(record) }, { value: '{}' }])
    expect(seen).toEqual([
      { kind: 'row', values: columns.map(({ name }) => `value of ${name}`), extra: null },
      { kind: 'row', values: columns.map(() => null), extra: null },
    ])
  })
})
