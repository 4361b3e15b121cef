import { expect, test } from 'vitest'
import { defineLake, raw, table, type PipelineOptions } from '../../src/define.ts'
import { codeHash } from '../../src/define-code.ts'
import { checkPipelines } from '../../src/define-check.ts'

const over = (name: string, topic: string, startAt = 'earliest') =>
  table(name, { from: { topic, startAt }, columns: { id: 'string' } })

function tablesOf(options: Omit<PipelineOptions, 'tables'>, topics: readonly string[]) {
  const tables = topics.map((topic, k) => over(`t${k}`, topic))
  return defineLake({ p: { tables, ...options } }).pipelines[0]!.tables
}

const archived = (archive: PipelineOptions['archive'], topics: readonly string[]) =>
  tablesOf({ archive: archive! }, topics)
    .filter(({ isArchive }) => isArchive === true)
    .map(({ name, topic }) => [topic, name])

test('one topic is kept in a table of the name, several in one each that is called after it too', () => {
  expect(archived('kept', ['shop.orders'])).toEqual([['shop.orders', 'kept']])
  expect(archived('kept', ['shop.orders', 'A-b__C.', 'x'])).toEqual([
    ['shop.orders', 'kept_shop_orders'],
    ['A-b__C.', 'kept_a_b_c'],
    ['x', 'kept_x'],
  ])
  expect(archived('kept', ['same', 'same'])).toEqual([['same', 'kept']])
})

test('topics may have tables of their own names; others are not kept', () => {
  expect(archived({ b: 'raw_b' }, ['a', 'b'])).toEqual([['b', 'raw_b']])
})

test('an archive is a table of raw records, with who set their timestamps', () => {
  const tables = tablesOf({ archive: 'kept' }, ['a'])
  const archive = tables.at(-1)!
  expect(archive).toMatchObject({ name: 'kept', topic: 'a', value: 'raw', key: [], partitionBy: [], store: true })
  const names = archive.columns.map(({ name }) => name)
  expect(names).toEqual(['key', 'value', 'headers', 'timestamp_type', 'timestamp_ms'])
  expect(codeHash(archive)).not.toBe(codeHash(table('kept', { from: { topic: 'a', value: raw() } })))
})

test('it begins where the other tables of the topic do', () => {
  const [pipeline] = defineLake({ p: { tables: [over('t', 'a', 'latest')], archive: 'kept' } }).pipelines
  expect(pipeline!.tables.at(-1)!.startAt).toBe('latest')
})

test('YAML says the same', () => {
  const tables = {
    one: { from: { topic: 'a' }, columns: { id: 'string' } },
    two: { from: { topic: 'b.c' }, columns: { id: 'string' } },
  }
  const written = (archive: unknown) => checkPipelines({ p: { tables, archive } }, ['pipelines']).pipelines[0]!.tables
  expect(written('kept').map(({ name }) => name)).toEqual(['one', 'two', 'kept_a', 'kept_b_c'])
  expect(written({ 'b.c': 'raw_b' }).map(({ name }) => name)).toEqual(['one', 'two', 'raw_b'])
  expect(written('kept')[2]).toEqual(archivedInTypeScript())
  function archivedInTypeScript() {
    return tablesOf({ archive: 'kept' }, ['a', 'b.c']).find(({ name }) => name === 'kept_a')
  }
})

test.each<[string, PipelineOptions['archive'], readonly string[], RegExp, RegExp]>([
  [
    'two topics of one name',
    'kept',
    ['a.b', 'a_b'],
    /"a\.b" and "a_b" would both be kept in "kept_a_b"/,
    /archive: \{/,
  ],
  ['too long a name', 'kept', ['x'.repeat(80), 'y'], /too long a name/, /archive: \{/],
  ['a topic that nobody reads', { other: 'kept' }, ['a'], /no table of the pipeline reads "other"/, /a/],
  ['no name', 'Kept', ['a'], /is not a name/, /lower-case/],
  ['a name of companions', 'kept__dlq', ['a'], /companion/, /single underscores/],
  ['the name of a table', 't0', ['a'], /the table name "t0" is taken/, /rename/],
  ['two topics in one table', { a: 'kept', b: 'kept' }, ['a', 'b'], /"kept" is taken/, /rename/],
])('refused: %s', (_, archive, topics, message, fix) => {
  expect(() => archived(archive, topics)).toThrow(
    expect.objectContaining({
      code: 'config.invalid',
      message: expect.stringMatching(message),
      fix: expect.stringMatching(fix),
      context: expect.objectContaining({ path: expect.stringMatching(/^p\.archive/) }),
    }),
  )
})
