import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { paint } from '../../src/cli/context.ts'
import { cut, width, wrapped } from '../../src/cli/layout.ts'
import { formatRows } from '../../src/cli/output.ts'
import { changeText, compoundDuration, positionsText } from '../../src/cli/read-texts.ts'
import { run } from './support.ts'

// What is printed fits the terminal, and nothing is cut for anybody else.

const screen = fc.record({ isTty: fc.constant(true), columns: fc.integer({ min: 20, max: 120 }) })
const word = fc.string({ unit: fc.constantFrom(...'abcdé,.…日'), minLength: 1, maxLength: 12 })
const words = fc.array(word, { minLength: 1, maxLength: 40 })

describe('text', () => {
  test('is broken between words: the same words, and no line is wider than the terminal', () => {
    fc.assert(
      fc.property(words, screen, fc.constantFrom(undefined, 0, 5), (list, terminal, hang) => {
        const lines = wrapped(list.join(' '), terminal, hang).split('\n')
        expect(lines.flatMap((line) => line.trim().split(' '))).toEqual(list)
        // A word that is longer than a line is as long as it is.
        for (const line of lines)
          if (line.trim().includes(' ')) expect(width(line)).toBeLessThanOrEqual(terminal.columns)
      }),
    )
  })

  test('goes on under where it began; colours take no place; elsewhere than on a terminal it is as it was', () => {
    const text = `${paint('✗', 'red', true)} one two three four five\n  next: one two three four five`
    expect(wrapped(text, { isTty: true, columns: 20 })).toBe(
      `${paint('✗', 'red', true)} one two three four\n  five\n  next: one two\n    three four five`,
    )
    expect(wrapped(text, { isTty: false, columns: 20 })).toBe(text)
  })

  test('that is cut shows it', () => {
    fc.assert(
      fc.property(word, fc.integer({ min: 1, max: 12 }), (text, most) => {
        const kept = cut(text, most)
        expect(width(kept)).toBeLessThanOrEqual(most)
        expect(kept === text || kept.endsWith('…')).toBe(true)
      }),
    )
  })
})

describe('a table', () => {
  const cell = fc.oneof(fc.string({ maxLength: 60 }), fc.bigInt().map(String), fc.constant(null))
  const table = fc.uniqueArray(word, { minLength: 1, maxLength: 12 }).chain((columns) =>
    fc.record({
      columns: fc.constant(columns),
      rows: fc.array(fc.record(Object.fromEntries(columns.map((name) => [name, cell]))), { maxLength: 4 }),
    }),
  )

  test('is never wider than the terminal, and says how many rows there are', () => {
    fc.assert(
      fc.property(table, screen, ({ columns, rows }, terminal) => {
        const lines = formatRows(columns, rows, 'table', terminal).trimEnd().split('\n')
        expect(Math.max(...lines.map(width))).toBeLessThanOrEqual(terminal.columns)
        expect(lines.at(-1)).toBe(`(${rows.length} ${rows.length === 1 ? 'row' : 'rows'})`)
      }),
    )
  })

  test('cuts the widest column first; with too many columns rows stand one below the other', () => {
    const row = { id: 1, status: 'paid', note: 'a note that is long', place: 'somewhere' }
    const at = (columns: number) => formatRows(Object.keys(row), [row], 'table', { isTty: true, columns })
    expect(at(36)).toBe(
      'id  status  note           place\n──  ──────  ─────────────  ─────────\n 1  paid    a note that …  somewhere\n(1 row)\n',
    )
    expect(at(30)).toBe(
      `─ 1 ${'─'.repeat(26)}\nid      1\nstatus  paid\nnote    a note that is long\nplace   somewhere\n(1 row)\n`,
    )
    expect(formatRows(Object.keys(row), [row], 'table')).toContain('a note that is long')
  })

  test('has its numbers and times whole, or stands upright', () => {
    const number = fc.bigInt({ min: 0n, max: 2n ** 63n }).map(String)
    const time = fc
      .date({ min: new Date(0), max: new Date('9999-01-01'), noInvalidDate: true })
      .map((date) => date.toISOString())
    const row = fc.record({ id: number, time, note: fc.string({ unit: fc.constantFrom(...'abc '), maxLength: 60 }) })
    fc.assert(
      fc.property(fc.array(row, { minLength: 1, maxLength: 4 }), screen, (rows, terminal) => {
        const text = formatRows(['id', 'time', 'note'], rows, 'table', { ...terminal, columns: terminal.columns + 20 })
        for (const { id, time } of rows) {
          expect(text).toContain(id)
          expect(text).toContain(time.replace(/\.000Z$/, 'Z'))
        }
      }),
    )
  })

  test('has no zeros in its times; other forms have every digit', () => {
    const rows = ['10:00:00.000000Z', '10:00:00.590000Z', '10:00:00.000001Z', '10:00:00.500Z', '10:00:00.000Z'].map(
      (time) => ({ time: `2026-03-02T${time}` }),
    )
    expect(formatRows(['time'], rows, 'table').split('\n').slice(2, 7)).toEqual([
      '2026-03-02T10:00:00Z',
      '2026-03-02T10:00:00.590Z',
      '2026-03-02T10:00:00.000001Z',
      '2026-03-02T10:00:00.500Z',
      '2026-03-02T10:00:00Z',
    ])
    expect(formatRows(['time'], rows, 'ndjson')).toContain('10:00:00.000000Z')
  })
})

test('a change, positions and durations in words', () => {
  const before = { id: 'a', status: 'paid', amount: '1.00', note: null }
  expect(changeText({ before, after: { ...before, status: 'shipped', note: 'x' } }, ['id'])).toBe(
    'status: paid → shipped  note: null → x',
  )
  expect(changeText({ before: null, after: before }, ['id'])).toBe('status=paid  amount=1.00')
  expect(changeText({ before, after: null }, ['id'])).toBe('status=paid  amount=1.00')
  expect(positionsText({ 'shop.orders/10': '3', 'shop.orders/2': '7', 'b/0': '1' })).toBe('b 1 · shop.orders 7 3')
  expect([0, 250, 5_000, 600_000, 5_400_000, 90_061_001].map(compoundDuration)).toEqual([
    '0s',
    '250ms',
    '5s',
    '10m',
    '1h30m',
    '1d1h1m1s1ms',
  ])
})

test('--help: every command stands where it belongs', async () => {
  const { out } = await run(['--help'])
  const headings = [...out.matchAll(/^(\S.*):$/gm)].map(([, heading]) => heading)
  expect(headings).toEqual(['Options', 'Begin', 'Run', 'Read', 'Pipelines', 'History', 'Care', 'Commands'])
  expect(out).toMatch(/^ {2}diff <table> <from> \[to\] {2}\S/m)
  const [, others] = out.split(/^Commands:$/m)
  expect([...others!.matchAll(/^ {2}(\w+)/gm)].map(([, name]) => name)).toEqual(['completion', 'help'])
})
