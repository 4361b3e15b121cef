import { describe, expect, test } from 'vitest'
import { checkPipelines } from '../../src/define-check.ts'
import { publishedTables } from '../../src/define-topic.ts'
import { avro, defineLake, t, table, tumbling } from '../../src/define.ts'
import { codeHash } from '../../src/define-code.ts'

// `to`: where a table is published, and what of it.

const from = { topic: 'raw' }
const columns = { id: t.string(), n: t.long(), tags: t.list(t.string()) }
const texts = { id: 'string', n: 'long', tags: 'list<string>' }
const TO = {
  topic: 'clean',
  where: 'n > 1',
  key: ['id'],
  select: { id: 'id', tags: 'tags', at: '_offset', text: t.string().as("id || ':' || n") },
}

describe('to', () => {
  test('is the same in TypeScript and in YAML, and no code', () => {
    const given = table('clean', { from, columns, to: TO })
    const { pipelines } = checkPipelines(
      {
        p: {
          tables: {
            clean: {
              from,
              columns: texts,
              to: { ...TO, select: { ...TO.select, text: "string = id || ':' || n" } },
            },
          },
        },
      },
      [],
    )
    expect(pipelines[0]!.tables[0]).toEqual(given)
    expect(given.to).toEqual({
      topic: 'clean',
      where: 'n > 1',
      key: ['id'],
      select: [
        { name: 'id', type: undefined, as: 'id' },
        { name: 'tags', type: undefined, as: 'tags' },
        { name: 'at', type: undefined, as: '_offset' },
        { name: 'text', type: { kind: 'string' }, as: "id || ':' || n" },
      ],
    })
    expect(codeHash(given)).toBe(codeHash(table('clean', { from, columns })))
  })

  test('of a window takes what a table takes, but for a key', () => {
    const events = table('events', { from, columns, eventTime: { column: '_timestamp' } })
    const options = { size: '1m', groupBy: ['id'], select: { n: 'count()' } } as const
    const select = { id: 'id', end: 'window_end', text: t.string().as("'n: ' || n") }
    const { to } = tumbling('w', events, { ...options, to: { topic: 'x', select } })
    expect(to!.select!.map(({ name, as }) => [name, as])).toEqual([
      ['id', 'id'],
      ['end', 'window_end'],
      ['text', "'n: ' || n"],
    ])
    for (const [wrong, path] of [
      [{ topic: 'x', key: ['id'] }, 'w.to.key'],
      [{ topic: 'x', select: { tags: 'tags' } }, 'w.to.select.tags'],
      [{ topic: 'raw' }, 'w.to.topic'],
    ] as const)
      expect(() => tumbling('w', events, { ...options, to: wrong })).toThrow(
        expect.objectContaining({ code: 'config.invalid', context: expect.objectContaining({ path }) }),
      )
  })

  test.each<[string, object, string, RegExp]>([
    ['what it reads', { to: { topic: 'raw' } }, 'to.topic', /is what "clean" reads/],
    ['no name of a topic', { to: { topic: 'a b' } }, 'to.topic', /not a topic name/],
    ['a key of a keyed table', { key: ['id'], to: { topic: 'x', key: ['n'] } }, 'to.key', /by the key of "clean"/],
    ['no key', { to: { topic: 'x', key: [] } }, 'to.key', /names no column/],
    ['a key twice', { to: { topic: 'x', key: ['id', 'id'] } }, 'to.key', /twice/],
    ['an unknown key', { to: { topic: 'x', key: ['i'] } }, 'to.key[0]', /no column "i"/],
    ['nothing selected', { to: { topic: 'x', select: {} } }, 'to.select', /nothing/],
    ['an unknown column', { to: { topic: 'x', select: { a: 'ids' } } }, 'to.select.a', /no column "ids"/],
    ['SQL without a type', { to: { topic: 'x', select: { a: 'n + 1' } } }, 'to.select.a', /no column "n \+ 1"/],
    ['a comment', { to: { topic: 'x', select: { a: 'long = n -- 1' } } }, 'to.select.a', /comment/],
    ['what is required', { to: { topic: 'x', select: { a: 'long required = n' } } }, 'to.select.a', /optional/],
    ['rows that are not kept', { store: false, to: { topic: 'x' } }, 'to', /keeps no rows/],
  ])('refuses %s', (_, change, path, message) => {
    let thrown: unknown
    try {
      table('clean', { from, columns, ...change })
    } catch (error) {
      thrown = error
    }
    expect(thrown).toMatchObject({ code: 'config.invalid', context: { path: `clean.${path}` } })
    expect((thrown as Error).message).toMatch(message)
  })

  test('says which tables of a pipeline are published, and by what they are named', () => {
    const rows = table('rows', { from, columns, to: { topic: 'a' } })
    const keyed = table('keyed', { from, columns, key: ['id'], renamedFrom: 'old', to: { topic: 'b' } })
    const events = table('events', { from, columns, eventTime: { column: '_timestamp' } })
    const window = tumbling('w', events, { size: '1m', groupBy: ['id'], select: { n: 'count()' }, to: { topic: 'c' } })
    const [pipeline] = defineLake({ p: [rows, keyed, events, window] }).pipelines
    expect(
      publishedTables(pipeline!).map(({ name, key, topic, renamedFrom }) => [name, key, topic, renamedFrom]),
    ).toEqual([
      ['rows', undefined, 'raw', undefined],
      ['keyed', ['id'], 'raw', 'old'],
      ['w', ['id', 'window_start'], undefined, undefined],
    ])
  })

  test.each([
    ['key', { key: ['note'] }, /^Declare it, if it is one of the registry\. Columns: id, /],
    ['select', { select: { a: 'note' } }, /^Write a column, or a type and SQL, .* Declare it, if it is one of the reg/],
  ])('a column of a registry that %s names has to be declared', (_, to, fix) => {
    const value = avro()
    const given = { from: { topic: 'raw', value }, columns: { id: t.string() }, evolve: 'add-widen' } as const
    expect(() => defineLake({ p: [table('clean', { ...given, to: { topic: 'clean', ...to } })] })).toThrowError(
      expect.objectContaining({ code: 'config.invalid', fix: expect.stringMatching(fix) }),
    )
  })
})
