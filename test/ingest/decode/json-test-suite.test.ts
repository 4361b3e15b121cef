import { DuckDBInstance } from '@duckdb/node-api'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { ColumnType } from '../../../src/batch.ts'
import { jsonTestSuite, type SuiteCase } from './corpora.ts'
import { listOf, Outcomes } from './outcomes.ts'
import { judge, type Verdict } from './reference.ts'

// Every text of JSONTestSuite, as a record, as a field that no column has, and as what columns of each type read.

const CASES = jsonTestSuite()
const TWICE = new Set(['y_object_duplicated_key', 'y_object_duplicated_key_and_value'])
/** Faults of a text, whatever columns there are. */
const TEXT_FAULTS = new Set(['decode.json', 'decode.utf8', 'decode.depth'])

/** What parsers may take either way: what is done here, for the reasons that docs/bad-input.md gives. */
const EITHER: Readonly<Record<string, 'row' | 'decode.utf8' | 'decode.json' | 'decode.depth'>> = {
  i_number_double_huge_neg_exp: 'row',
  i_number_huge_exp: 'row',
  i_number_neg_int_huge_exp: 'row',
  i_number_pos_double_huge_exp: 'row',
  i_number_real_neg_overflow: 'row',
  i_number_real_pos_overflow: 'row',
  i_number_real_underflow: 'row',
  i_number_too_big_neg_int: 'row',
  i_number_too_big_pos_int: 'row',
  i_number_very_big_negative_int: 'row',
  i_object_key_lone_2nd_surrogate: 'decode.utf8',
  i_string_1st_surrogate_but_2nd_missing: 'decode.utf8',
  i_string_1st_valid_surrogate_2nd_invalid: 'decode.utf8',
  'i_string_UTF-16LE_with_BOM': 'decode.utf8',
  'i_string_UTF-8_invalid_sequence': 'decode.utf8',
  'i_string_UTF8_surrogate_U+D800': 'decode.utf8',
  i_string_incomplete_surrogate_and_escape_valid: 'decode.utf8',
  i_string_incomplete_surrogate_pair: 'decode.utf8',
  i_string_incomplete_surrogates_escape_valid: 'decode.utf8',
  i_string_invalid_lonely_surrogate: 'decode.utf8',
  i_string_invalid_surrogate: 'decode.utf8',
  'i_string_invalid_utf-8': 'decode.utf8',
  'i_string_inverted_surrogates_U+1D11E': 'decode.utf8',
  i_string_iso_latin_1: 'decode.utf8',
  i_string_lone_second_surrogate: 'decode.utf8',
  i_string_lone_utf8_continuation_byte: 'decode.utf8',
  i_string_not_in_unicode_range: 'decode.utf8',
  i_string_overlong_sequence_2_bytes: 'decode.utf8',
  i_string_overlong_sequence_6_bytes: 'decode.utf8',
  i_string_overlong_sequence_6_bytes_null: 'decode.utf8',
  'i_string_truncated-utf-8': 'decode.utf8',
  i_string_utf16BE_no_BOM: 'decode.utf8',
  i_string_utf16LE_no_BOM: 'decode.utf8',
  i_structure_500_nested_arrays: 'decode.depth',
  'i_structure_UTF-8_BOM_empty_object': 'decode.json',
}

let outcomes: Outcomes
beforeAll(async () => {
  outcomes = await Outcomes.open()
})
afterAll(() => outcomes.close())

function within(before: string, { bytes }: SuiteCase, after: string): Buffer {
  return Buffer.concat([Buffer.from(before), bytes, Buffer.from(after)])
}

test('the suite is whole', () => {
  const counts = ['y_', 'n_', 'i_'].map((start) => CASES.filter(({ name }) => name.startsWith(start)).length)
  expect([...counts, CASES.length]).toEqual([95, 188, 35, 340])
  expect(Object.keys(EITHER).sort()).toEqual(
    CASES.map(({ name }) => name)
      .filter((name) => name.startsWith('i_'))
      .sort(),
  )
})

test('as a record: an object is a row, another text is none, and what is no JSON is said to be none', async () => {
  const records = CASES.map(({ bytes }) => bytes)
  const seen = await outcomes.of({ columns: listOf('unused', { kind: 'int' }), unknown: 'extra' }, records.map(asValue))
  CASES.forEach(({ name, bytes }, k) => {
    const verdict = seen[k]!
    expect(verdict, name).toEqual(judge(bytes, listOf('unused', { kind: 'int' }), 'extra'))
    if (name.startsWith('n_')) expect(TEXT_FAULTS, name).toContain(verdict.kind === 'dead' ? verdict.code : 'row')
  })
})

test('as a field that no column has: kept to the letter, or a dead letter', async () => {
  const records = CASES.map((one) => within('{"x":', one, '}'))
  const seen = await outcomes.of({ columns: listOf('unused', { kind: 'int' }), unknown: 'extra' }, records.map(asValue))
  CASES.forEach(({ name, bytes }, k) => {
    const verdict = seen[k]!
    const kept = {
      kind: 'row',
      values: [null],
      extra: `{"x":${bytes.toString().replace(/^[ \t\r\n]+|[ \t\r\n]+$/g, '')}}`,
    }
    if (TWICE.has(name)) expect(verdict, name).toEqual({ kind: 'dead', code: 'decode.duplicate_key' })
    else if (name.startsWith('y_') || EITHER[name] === 'row') expect(verdict, name).toEqual(kept)
    else if (name.startsWith('i_')) expect(verdict, name).toEqual({ kind: 'dead', code: EITHER[name] })
    else if (name.startsWith('n_')) expect(TEXT_FAULTS, name).toContain(verdict.kind === 'dead' ? verdict.code : 'row')
    else expect(verdict, name).toEqual(judge(records[k]!, listOf('unused', { kind: 'int' }), 'extra'))
  })
})

test.each<ColumnType>([
  { kind: 'int' },
  { kind: 'long' },
  { kind: 'float' },
  { kind: 'double' },
  { kind: 'decimal', precision: 38, scale: 0 },
  { kind: 'decimal', precision: 18, scale: 9 },
  { kind: 'string' },
  { kind: 'boolean' },
  { kind: 'timestamptz', unit: 'ms' },
])('as a list of $kind: what the plain rules say, exactly', async (type) => {
  const columns = listOf('x', type)
  const records = CASES.map((one) => within('{"x":', one, '}'))
  const seen = await outcomes.of({ columns }, records.map(asValue))
  CASES.forEach(({ name }, k) => expect(seen[k], name).toEqual(judge(records[k]!, columns, 'ignore')))
})

describe('numbers that a double would round', () => {
  test.each<[string, ColumnType, Verdict]>([
    ['number_10000000000000000999', { kind: 'long' }, { kind: 'dead', code: 'decode.range' }],
    ['number_9223372036854775807', { kind: 'long' }, { kind: 'row', values: [['9223372036854775807']], extra: null }],
    ['number_1.000000000000000005', { kind: 'long' }, { kind: 'dead', code: 'decode.type' }],
    [
      'i_number_too_big_pos_int',
      { kind: 'decimal', precision: 38, scale: 0 },
      { kind: 'row', values: [['100000000000000000000']], extra: null },
    ],
    [
      'i_number_very_big_negative_int',
      { kind: 'decimal', precision: 38, scale: 0 },
      { kind: 'dead', code: 'decode.range' },
    ],
    ['i_number_pos_double_huge_exp', { kind: 'double' }, { kind: 'dead', code: 'decode.range' }],
  ])('%s as %j', async (name, type, expected) => {
    const one = CASES.find((candidate) => candidate.name === name)!
    const [seen] = await outcomes.of({ columns: listOf('x', type) }, [asValue(within('{"x":', one, '}'))])
    expect(seen).toEqual(expected)
  })
})

test('DuckDB accepts what must be accepted, and refuses nothing that is accepted here', async () => {
  const instance = await DuckDBInstance.create(':memory:', { threads: '1' })
  const connection = await instance.connect()
  const statement = await connection.prepare('SELECT json_valid($1::VARCHAR)')
  for (const { name, bytes } of CASES) {
    if (!name.startsWith('y_') && EITHER[name] !== 'row') continue
    statement.bindVarchar(1, bytes.toString())
    const isJson = (await statement.runAndReadAll()).getRows()[0]![0]
    // It takes some that are none, such as those with a comma behind the last value.
    expect(isJson, name).toBe(true)
  }
  connection.closeSync()
  instance.closeSync()
})

function asValue(value: Uint8Array): { readonly value: Uint8Array } {
  return { value }
}
