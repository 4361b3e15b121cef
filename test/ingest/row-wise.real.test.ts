import { DuckDBInstance, type DuckDBConnection } from '@duckdb/node-api'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Column, ColumnType } from '../../src/batch.ts'
import { systemClock } from '../../src/clock.ts'
import type { TableDefinition } from '../../src/define.ts'
import type { WindowDefinition } from '../../src/define-window.ts'
import { openEncoder } from '../../src/ingest/encoder.ts'
import { checkRowWise } from '../../src/ingest/row-wise.ts'
import { NOT_REPEATABLE, ROW_WISE, TAKES_LAMBDA } from '../../src/ingest/row-wise-functions.ts'
import { MemoryStorage } from '../../src/lake/storage/memory.ts'
import { definition } from '../support/lake-table.ts'

let connection: DuckDBConnection
beforeAll(async () => {
  connection = await (await DuckDBInstance.create(':memory:', { threads: '1' })).connect()
})
afterAll(() => connection.closeSync())

const COLUMNS: readonly Column[] = [
  { name: 'id', type: { kind: 'string' } },
  { name: 'amount', type: { kind: 'double' } },
  { name: 'n', type: { kind: 'int' } },
  { name: 'ts', type: { kind: 'timestamptz' } },
  { name: 'day', type: { kind: 'date' } },
  { name: 'flag', type: { kind: 'boolean' } },
  { name: 'body', type: { kind: 'string' } },
  { name: 'tags', type: { kind: 'list', element: { kind: 'string' } } },
  { name: 'place', type: { kind: 'struct', fields: [{ name: 'city', type: { kind: 'string' } }] } },
  { name: 'Mixed Case', type: { kind: 'int' } },
]
const BASE = definition({ columns: COLUMNS })

const where = (text: string): TableDefinition => ({ ...BASE, where: text })
const computed = (text: string, type: Column['type']): TableDefinition => ({
  ...BASE,
  columns: [...COLUMNS, { name: 'c', type, as: text }],
})
const check = (table: TableDefinition, windows: readonly WindowDefinition[] = []): Promise<void> =>
  checkRowWise([table], windows, connection)

describe('good texts', () => {
  test.each([
    'flag',
    'amount > 10.5 AND NOT flag',
    `place.city IS NULL`,
    `id <> 'test' -- that is all`,
    `"Mixed Case" BETWEEN 1 AND 3 OR n IN (1, 2)`,
    `ID LIKE 'a%' AND body ILIKE '%x%' AND regexp_matches(id, '^[a-z]+$')`,
    `CASE WHEN flag THEN n ELSE 0 END = 1`,
    `coalesce(amount, 0) + ifnull(n, 1) > nullif(n, 2)`,
    `body ->> '$.a.b' = 'x' AND json_extract_string(body, '$.c') IS NOT NULL AND (body -> 'a') IS NOT NULL`,
    `CAST(body AS INTEGER) > 1 AND TRY_CAST(id AS DATE) IS DISTINCT FROM day AND body::JSON IS NOT NULL`,
    `date_trunc('day', ts) = TIMESTAMPTZ '2026-01-01 00:00:00+00' AND extract(year FROM day) = 2026`,
    `ts + INTERVAL 1 DAY > _timestamp AND _kafka_partition = 0 AND _offset > 5`,
    `tags[1] = 'a' AND len(tags[1:2]) = 1 AND list_contains(tags, 'x') AND place['city'] = 'Ulm'`,
    `len(list_filter(tags, lambda x: x <> id)) > 0`,
    `len(list_transform(tags, x -> x || id)) > 0 AND len([upper(x) FOR x IN tags IF x <> '']) > 0`,
    `list_reduce([1, 2], (x, y) -> x + y) = n`,
    `(ts AT TIME ZONE 'Europe/Berlin')::DATE = day AND TRY(sqrt(amount)) > 1`,
  ])('%s', async (text) => {
    await expect(check(where(text))).resolves.toBeUndefined()
  })

  test.each([
    ['upper(id)', { kind: 'string' }],
    ['n * 2', { kind: 'double' }],
    ['amount', { kind: 'decimal', precision: 10, scale: 2 }],
    ['body', { kind: 'uuid' }],
    ['_timestamp', { kind: 'timestamptz' }],
    ['to_json(place)', { kind: 'string' }],
    ['place', { kind: 'string' }],
    ['flag', { kind: 'int' }],
    ['day', { kind: 'timestamp' }],
  ] as const)('%s as %o', async (text, type) => {
    await expect(check(computed(text, type))).resolves.toBeUndefined()
  })

  test('a filter may read a computed column', async () => {
    await expect(check({ ...computed('n + 1', { kind: 'int' }), where: 'c > 1' })).resolves.toBeUndefined()
  })
})

describe('T5: bad texts', () => {
  test.each([
    ['random() > 0.5', /random gives another value/, 0],
    [`id = 'äö' AND now() > ts`, /now gives another value/, 14],
    ['current_date = day', /current_date gives another value/, 0],
    ['current_timestamp > ts', /another value/, 0],
    ['uuid()::VARCHAR = id', /another value/, undefined],
    [`nextval('s') > 1`, /another value/, 0],
    ['age(ts) > INTERVAL 1 DAY', /age gives another value/, 0],
    ['list_transform(tags, x -> x || random())[1] IS NULL', /random/, undefined],
    ['sum(amount) > 1', /the function sum is not one/, 0],
    ['count(*) > 1', /the function count_star is not one/, 0],
    ['amount > avg(amount) FILTER (WHERE flag)', /avg/, undefined],
    ['row_number() OVER () = 1', /a window function/, undefined],
    ['(SELECT true)', /a query of its own/, undefined],
    ['EXISTS (SELECT 1)', /a query of its own/, undefined],
    ['n IN (SELECT 1)', /a query of its own/, undefined],
    ['n = ANY([1])', /a query of its own/, undefined],
    ['missing = 1', /there is no column "missing"/, 0],
    ['len(list_filter(tags, x -> y <> 1)) > 0', /there is no column "y"/, undefined],
    [`len(read_text('/etc/passwd')) > 0`, /the function read_text is not one/, undefined],
    [`getenv('HOME') = 'x'`, /getenv gives another value/, undefined],
    [`current_setting('memory_limit') = 'x'`, /another value/, undefined],
    ['unnest(tags) = id', /unnest/, undefined],
    ['main.upper(id) = id AND other.f(id)', /the function f is not one/, undefined],
    ['hash(id) > 1', /the function hash is not one/, undefined],
    ['*', /./, undefined],
    ['COLUMNS(*) > 1', /a star/, undefined],
    ['$1 > 1', /parameters/, undefined],
    ['#1 > 1', /by its name/, undefined],
    ['id COLLATE nocase = id', /a collation/, undefined],
    ['true) FROM orders WHERE (true', /is not one expression/, undefined],
    ['true), (true', /is not one expression/, undefined],
    ['true); SELECT (true', /is not one expression/, undefined],
    ['true) UNION ALL SELECT (true', /is not one expression/, undefined],
    ['true) ORDER BY (1', /is not one expression/, undefined],
    ['at > 1', /syntax error/, 3],
    [`id = 'äö' AND at > 1`, /syntax error/, 17],
    ['flag AND', /syntax error/, undefined],
    ['', /syntax error|is not one expression/, undefined],
    ['n', /is INTEGER, where a BOOLEAN is due/, undefined],
    ['NULL', /BOOLEAN is due/, undefined],
    ['upper(DISTINCT id) = id', /upper is no aggregate/, 0],
    ['tags > 1', /./, undefined],
    ['substr(id) = id', /./, undefined],
  ] as const)('%s', async (text, message, position) => {
    const error = await check(where(text)).then(
      () => undefined,
      (reason: unknown) => reason,
    )
    expect(error).toMatchObject({ code: 'transform.not_row_wise', context: { field: 'orders.where' } })
    expect((error as Error).message).toMatch(message)
    expect((error as { fix?: string }).fix).toBeTruthy()
    if (position !== undefined) expect(error).toMatchObject({ context: { position } })
  })

  test.each([
    ['place', { kind: 'int' }, /cannot be cast to INTEGER/],
    ['flag', { kind: 'date' }, /is BOOLEAN, which cannot be cast to DATE/],
    ['tags', { kind: 'list', element: { kind: 'string' } }, /gives a VARCHAR\[\]/],
    ['c', { kind: 'int' }, /there is no column "c"/],
  ] as const)('%s as %o', async (text, type, message) => {
    await expect(check(computed(text, type))).rejects.toThrow(message)
  })
})

const WINDOW: WindowDefinition = {
  kind: 'window',
  name: 'w',
  source: 'orders',
  window: { kind: 'tumbling', sizeMs: 10, offsetMs: 0 },
  allowedLatenessMs: 0,
  input: 'events',
  groupBy: [],
  nullGroup: 'late',
  where: undefined,
  select: [{ name: 'large', fn: 'count', column: undefined, n: undefined, where: 'amount > 9' }],
  emit: 'update',
  earlyMs: 0,
  openRowsMax: 10,
  oldValuesMax: 10,
  computed: [],
  retainMs: undefined,
  to: undefined,
}

test('fields of windows are checked too, and named', async () => {
  await expect(check(BASE, [WINDOW])).resolves.toBeUndefined()
  await expect(check(BASE, [{ ...WINDOW, where: 'now() > ts' }])).rejects.toMatchObject({
    context: { field: 'w.where' },
  })
  const select = [{ ...WINDOW.select[0]!, where: 'amount' }]
  await expect(check(BASE, [{ ...WINDOW, select }])).rejects.toMatchObject({
    context: { field: 'w.select.large.where' },
  })
})

test('computed results see groups, bounds and aggregates, row by row', async () => {
  const computed = (as: string, type: ColumnType = { kind: 'string' }) => [
    { ...WINDOW, groupBy: ['id'], computed: [{ name: 'c', type, as }] },
  ]
  for (const text of ["id || ': ' || large || ' errors in 60s'", "strftime(window_start, '%H:%M')", 'window_end'])
    await expect(check(BASE, computed(text))).resolves.toBeUndefined()
  await expect(check(BASE, computed('large / 2', { kind: 'double' }))).resolves.toBeUndefined()
  for (const text of ['amount', 'random()', 'sum(large)', '_final', 'c', '(SELECT 1)', 'last_event_time'])
    await expect(check(BASE, computed(text))).rejects.toMatchObject({
      code: 'transform.not_row_wise',
      context: { field: 'w.select.c' },
    })
  await expect(check(BASE, computed('true', { kind: 'date' }))).rejects.toThrow(/cannot be cast/)
})

test('the condition of a change topic sees the columns of the window table', async () => {
  const to = (text: string) => [{ ...WINDOW, to: { topic: 'x', where: text } }]
  await expect(check(BASE, to('large > 50 AND _final AND window_end > window_start'))).resolves.toBeUndefined()
  for (const text of ['amount > 9', 'large', 'random() > large'])
    await expect(check(BASE, to(text))).rejects.toMatchObject({
      code: 'transform.not_row_wise',
      context: { field: 'w.to.where' },
    })
})

test('what a topic selects is computed from one row, of a window or of a table as it is stored', async () => {
  const select = (as: string, type: ColumnType | undefined = { kind: 'string' }) => ({
    to: { topic: 'x', where: undefined, select: [{ name: 's', type, as }] },
  })
  const ofWindow = (as: string) => check(BASE, [{ ...WINDOW, ...select(as) }])
  const ofTable = (as: string, type?: ColumnType) => check({ ...BASE, ...select(as, type) }, [])
  await expect(ofWindow("'High: ' || large || ' until ' || window_end")).resolves.toBeUndefined()
  await expect(ofTable("upper(id) || _offset || '/' || _kafka_partition")).resolves.toBeUndefined()
  await expect(ofTable('large', { kind: 'double' })).rejects.toMatchObject({ context: { field: 'orders.to.select.s' } })
  for (const text of ['random()', 'count(*)', 'nowhere', '(SELECT 1)', 'now()'])
    for (const [checked, name] of [
      [ofWindow, 'w'],
      [ofTable, 'orders'],
    ] as const)
      await expect(checked(text)).rejects.toMatchObject({
        code: 'transform.not_row_wise',
        context: { field: `${name}.to.select.s` },
      })
  await expect(check({ ...BASE, to: { topic: 'x', where: 'amount' } }, [])).rejects.toMatchObject({
    context: { field: 'orders.to.where' },
  })
})

test('an encoder is not opened over what is not row-wise', async () => {
  const storage = new MemoryStorage('row-wise')
  const opened = openEncoder({ tables: [where('random() > 0')], storage, clock: systemClock })
  await expect(opened).rejects.toMatchObject({ code: 'transform.not_row_wise' })
  await storage.close()
})

describe('the list', () => {
  test('names scalar functions of this DuckDB, consistent ones alone', async () => {
    const answer = await connection.runAndReadAll(
      'SELECT function_name, function_type, stability FROM duckdb_functions()',
    )
    const known = answer.getRows() as [string, string, string | null][]
    const names = new Set(known.map(([name]) => name))
    // Written by the parser itself, or an operator without a name in the catalog.
    const parsed = new Set(['nullif', 'position'])
    expect([...ROW_WISE].filter((name) => !names.has(name) && !parsed.has(name))).toEqual([])
    const wrong = known.filter(
      ([name, type, stability]) =>
        ROW_WISE.has(name) && (!['scalar', 'macro'].includes(type) || !['CONSISTENT', null].includes(stability)),
    )
    expect(wrong).toEqual([])
    expect([...NOT_REPEATABLE].filter((name) => ROW_WISE.has(name))).toEqual([])
    expect([...TAKES_LAMBDA].filter((name) => !ROW_WISE.has(name))).toEqual([])
  })
})
