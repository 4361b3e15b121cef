import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { cumulate, defineLake, hopping, session, t, table, tableNames, tumbling, windowSql } from '../../src/define.ts'
import { codeHash, windowCodeHash } from '../../src/define-code.ts'
import { checkPipelines } from '../../src/define-check.ts'
import type { WindowDefinition } from '../../src/define-window.ts'
import { LakeError } from '../../src/error.ts'
import { parse } from 'yaml'

const columns = {
  orderId: t.string().required(),
  status: t.enum('created', 'paid', 'cancelled'),
  amount: t.decimal(12, 2),
  weight: t.double(),
  tags: t.list(t.string()),
  at: t.timestamp('ms'),
}
const from = { topic: 'shop.orders' }
const eventTime = { column: 'at' } as const
const orders = table('orders', { from, columns, eventTime, key: ['orderId'] })
const clicks = table('clicks', { from: { topic: 'clicks' }, columns, eventTime })

const texts = {
  orderId: 'string required',
  status: 'enum(created,paid,cancelled)',
  amount: 'decimal(12,2)',
  weight: 'double',
  tags: 'list<string>',
  at: 'timestamp(ms)',
}
const yaml = (windows: object, tables: object = {}) =>
  checkPipelines(
    { shop: { tables: { orders: { from, columns: texts, eventTime, key: ['orderId'] }, ...tables }, windows } },
    ['pipelines'],
  ).pipelines[0]!
const thrown = (make: () => unknown): LakeError => {
  try {
    make()
  } catch (error) {
    expect(error).toBeInstanceOf(LakeError)
    return error as LakeError
  }
  throw new Error('nothing was thrown')
}

const DEFAULTS = {
  kind: 'window',
  source: 'orders',
  allowedLatenessMs: 0,
  input: 'rows',
  groupBy: [],
  nullGroup: 'late',
  where: undefined,
  emit: 'update',
  earlyMs: 0,
  openRowsMax: 10_000_000,
  oldValuesMax: 10_000_000,
  computed: [],
  retainMs: undefined,
  to: undefined,
} as const
const N = { name: 'n', fn: 'count', column: undefined, n: undefined, where: undefined } as const

describe('a window', () => {
  test('fills in every default', () => {
    expect(tumbling('w', orders, { size: '1m', select: ({ count }) => ({ n: count() }) })).toStrictEqual({
      ...DEFAULTS,
      name: 'w',
      window: { kind: 'tumbling', sizeMs: 60_000, offsetMs: 0 },
      select: [N],
    })
  })

  test('A1: every record counts over append tables, and what stands over keyed ones', () => {
    const select = { n: 'count()' }
    expect(tumbling('w', clicks, { size: '1m', select }).input).toBe('events')
    expect(tumbling('w', orders, { size: '1m', select }).input).toBe('rows')
    expect(tumbling('w', orders, { size: '1m', select, input: 'events' }).input).toBe('events')
  })

  test.each<[string, (n: object) => WindowDefinition, object, WindowDefinition['window']]>([
    [
      'tumbling',
      (n) => tumbling('w', orders, { size: '1h', offset: '-15m', ...n } as any),
      { tumbling: { size: '1h', offset: '-15m' } },
      { kind: 'tumbling', sizeMs: 3_600_000, offsetMs: -900_000 },
    ],
    [
      'tumbling in a zone',
      (n) => tumbling('w', orders, { size: '30m', timeZone: 'Europe/Berlin', ...n } as any),
      { tumbling: { size: '30m' }, timeZone: 'Europe/Berlin' },
      { kind: 'tumbling', sizeMs: 1_800_000, offsetMs: 0, timeZone: 'Europe/Berlin' },
    ],
    [
      'calendar',
      (n) => tumbling('w', orders, { size: '1 week', timeZone: 'UTC', ...n } as any),
      { tumbling: { size: '1 week' }, timeZone: 'UTC' },
      { kind: 'calendar', unit: 'week', timeZone: 'UTC' },
    ],
    [
      'hopping, of which the size is no multiple of the slide (W2)',
      (n) => hopping('w', orders, { size: '10m', slide: '4m', offset: '3m', ...n } as any),
      { hopping: { size: '10m', slide: '4m', offset: '3m' } },
      { kind: 'hopping', sizeMs: 600_000, slideMs: 240_000, offsetMs: 180_000 },
    ],
    [
      'cumulate',
      (n) => cumulate('w', orders, { step: '15m', max: '1h', ...n } as any),
      { cumulate: { step: '15m', max: '1h' } },
      { kind: 'cumulate', stepMs: 900_000, maxMs: 3_600_000, offsetMs: 0 },
    ],
    [
      'session',
      (n) => session('w', orders, { gap: '30m', ...n } as any),
      { session: { gap: '30m' } },
      { kind: 'session', gapMs: 1_800_000 },
    ],
  ])('%s is the same in TypeScript and YAML', (_, inTypeScript, inYaml, window) => {
    const common = {
      allowedLateness: '10m',
      input: 'events',
      groupBy: ['status'],
      nullGroup: 'keep',
      where: "status <> 'x'",
      emit: 'update',
      early: '1s',
      openRowsMax: 1000,
      retain: '90d',
      to: { topic: 'alerts', where: 'n > 50' },
    }
    const given = inTypeScript({
      ...common,
      select: (a: any) => ({
        n: a.count(),
        paid: a.count().where("status = 'paid'"),
        distinct: a.countDistinct('orderId'),
        best: a.top(3, 'amount').where('amount > 5'),
      }),
    })
    const written = {
      source: 'orders',
      ...inYaml,
      ...common,
      select: {
        n: 'count(*)',
        paid: "COUNT() WHERE status = 'paid'",
        distinct: 'count(distinct orderId)',
        best: ' top( 3 , amount ) where amount > 5',
      },
    }
    const { windows } = yaml({ w: written })
    expect(windows).toStrictEqual([given])
    expect(given).toStrictEqual({
      ...DEFAULTS,
      name: 'w',
      window,
      allowedLatenessMs: 600_000,
      input: 'events',
      groupBy: ['status'],
      nullGroup: 'keep',
      where: "status <> 'x'",
      earlyMs: 1_000,
      openRowsMax: 1000,
      retainMs: 90 * 86_400_000,
      to: { topic: 'alerts', where: 'n > 50' },
      select: [
        N,
        { ...N, name: 'paid', where: "status = 'paid'" },
        { ...N, name: 'distinct', fn: 'count_distinct', column: 'orderId' },
        { ...N, name: 'best', fn: 'top', column: 'amount', n: 3, where: 'amount > 5' },
      ],
    })
  })

  test('computed results stand in select, and are the same in TypeScript and YAML', () => {
    const SENTENCE = "'High error rate: ' || n || ' errors in 60s'"
    const given = tumbling('w', orders, {
      size: '1m',
      select: ({ count, sum }) => ({
        message: t.string().as(SENTENCE),
        n: count().where("status = 'paid'"),
        mean: t.decimal(12, 2).as('total / n'),
        total: sum('amount'),
      }),
    })
    const select = {
      message: `string = ${SENTENCE}`,
      n: "count() where status = 'paid'",
      mean: 'decimal(12,2)=total / n',
      total: 'sum(amount)',
    }
    const { windows } = yaml({ w: { source: 'orders', tumbling: { size: '1m' }, select } })
    expect(windows).toStrictEqual([given])
    expect(given.select.map(({ name }) => name)).toEqual(['n', 'total'])
    expect(given.computed).toStrictEqual([
      { name: 'message', type: { kind: 'string' }, as: SENTENCE },
      { name: 'mean', type: { kind: 'decimal', precision: 12, scale: 2 }, as: 'total / n' },
    ])
    expect(tumbling('w', orders, { size: '1m', select })).toStrictEqual(given)
  })

  test.each([
    [{ message: "string = 'x'" }, /a window needs a result/],
    [{ n: 'count()', a: 'string required = n' }, /always optional/],
    [{ n: 'count()', a: 'long = n + 1', b: 'long = a + 1' }, /reads "a", which is computed too/],
    [{ n: 'count()', a: 'long = a + 1' }, /computed from itself/],
    [{ n: 'count()', N: 'long = 1' }, /another column has that name/],
    [{ n: 'count()', window_end: 'long = 1' }, /every window table has that column/],
    [{ n: 'count()', _a: 'long = 1' }, /cannot be a column name/],
    [{ n: 'count()', a: 'texts = 1' }, /texts/],
    [{ n: 'count()', a: 'string =' }, /empty/],
  ])('%o is refused', (select, message) => {
    expect(() => tumbling('w', orders, { size: '1m', select })).toThrow(message)
  })

  test('oldValuesMax belongs to windows over rows', () => {
    const select = { n: 'count()' }
    expect(tumbling('w', orders, { size: '1m', input: 'rows', oldValuesMax: 5, select }).oldValuesMax).toBe(5)
    expect(() => tumbling('w', orders, { size: '1m', input: 'events', oldValuesMax: 5, select })).toThrow(/old values/)
    expect(() => tumbling('w', orders, { size: '1m', input: 'rows', oldValuesMax: 0, select })).toThrow(/oldValuesMax/)
  })

  test('every aggregate is the same from a builder and from its text', () => {
    const given = tumbling('w', orders, {
      size: '1m',
      select: (a) => ({
        count: a.count('tags'),
        sum: a.sum('amount'),
        avg: a.avg('weight'),
        min: a.min('status'),
        max: a.max('at'),
        first: a.first('orderId'),
        last: a.last('orderId'),
        var: a.var('amount'),
      }),
    })
    const select = {
      count: 'count(tags)',
      sum: 'sum(amount)',
      avg: 'avg(weight)',
      min: 'min(status)',
      max: 'max(at)',
      first: 'first(orderId)',
      last: 'last(orderId)',
      var: 'var(amount)',
    }
    expect(tumbling('w', orders, { size: '1m', select })).toStrictEqual(given)
    expect(given.select.map(({ name, fn }) => [name, fn])).toEqual(Object.keys(select).map((fn) => [fn, fn]))
  })

  test('tables and windows stand side by side', () => {
    const w = tumbling('w', orders, { size: '1m', select: { n: 'count()' } })
    const lake = defineLake({ shop: [orders, w], web: { tables: [clicks], onDataLoss: 'record-gap' } })
    expect(lake.pipelines).toEqual([
      { name: 'shop', tables: [orders], windows: [w], onDataLoss: 'stop' },
      { name: 'web', tables: [clicks], windows: [], onDataLoss: 'record-gap' },
    ])
    expect(defineLake({ shop: { tables: [orders], windows: [w] } }).pipelines).toEqual([lake.pipelines[0]])
    expect(tableNames(w)).toEqual(['w', 'w__state', 'w__late'])
  })
})

const COUNT = { source: 'orders', tumbling: { size: '1m' }, select: { n: 'count()' } }
const at = (field: string) => `pipelines.shop.windows.w${field === '' ? '' : `.${field}`}`

function kind(change: object): object {
  return { tumbling: undefined, ...change }
}
function hop(size: string, slide: string, offset = '0s'): object {
  return kind({ hopping: { size, slide, offset } })
}

describe('errors name the field and the fix', () => {
  const append = { from: { topic: 'c' }, columns: texts, eventTime }
  test.each<[string, object, string, string, RegExp, RegExp?]>([
    ['no source', { source: undefined }, 'config.invalid', 'source', /is missing/],
    ['an unknown source', { source: 'order' }, 'config.invalid', 'source', /no table "order"/, /"orders"/],
    [
      'a window as source',
      { source: 'other' },
      'config.unsupported',
      'source',
      /until they are final/,
      /second window/,
    ],
    ['a source without event time', { source: 'quiet' }, 'config.invalid', 'source', /no event time/, /eventTime/],
    ['no kind', { tumbling: undefined }, 'config.invalid', '', /needs a kind/, /hopping/],
    ['two kinds', { session: { gap: '1m' } }, 'config.invalid', 'session', /beside "tumbling"/],
    ['size 0', { tumbling: { size: '0s' } }, 'config.invalid', 'tumbling.size', /not from 1 ms/],
    ['two weeks', { tumbling: { size: '2 weeks' } }, 'config.invalid', 'tumbling.size', /one week/, /"1 week"/],
    ['a day of nowhere', { tumbling: { size: '1 day' } }, 'config.invalid', 'tumbling.size', /time zone/, /24h/],
    [
      'an offset of days',
      { tumbling: { size: '1 day', offset: '1h' }, timeZone: 'UTC' },
      'config.invalid',
      'tumbling.offset',
      /begins with its day/,
    ],
    ['a long offset', { tumbling: { size: '1m', offset: '-1m' } }, 'config.invalid', 'tumbling.offset', /shorter/],
    ['no zone', { timeZone: 'Europe/Berlinn' }, 'config.invalid', 'timeZone', /not a time zone/, /Berlin/],
    ['an offset as zone', { timeZone: '+02:00' }, 'config.invalid', 'timeZone', /not a time zone/],
    ['sessions in a zone', kind({ session: { gap: '1m' }, timeZone: 'UTC' }), 'config.invalid', 'timeZone', /session/],
    ['slide > size', hop('1m', '2m'), 'config.invalid', 'hopping.slide', /longer than the size/],
    ['a slide of nothing', hop('1m', '0s'), 'config.invalid', 'hopping.slide', /shorter than 1 ms/],
    ['an offset as long as the slide', hop('1m', '5s', '5s'), 'config.invalid', 'hopping.offset', /than the slide/],
    ['very many windows', hop('7d', '1s'), 'config.invalid', 'hopping.slide', /10000 windows/],
    [
      'a crooked max',
      kind({ cumulate: { step: '7m', max: '1h' } }),
      'config.invalid',
      'cumulate.max',
      /multiple of the step/,
    ],
    ['an unknown group', { groupBy: ['statis'] }, 'config.invalid', 'groupBy[0]', /no column "statis"/, /"status"/],
    ['a group of lists', { groupBy: ['tags'] }, 'config.invalid', 'groupBy[0]', /is a list/],
    ['a group twice', { groupBy: ['status', 'status'] }, 'config.invalid', 'groupBy[1]', /taken/],
    ['no result', { select: undefined }, 'config.invalid', 'select', /needs a result/, /count\(\)/],
    ['no aggregate', { select: { n: 'amount' } }, 'config.invalid', 'select.n', /not an aggregate/, /sum/],
    ['an unknown aggregate', { select: { n: 'summ(amount)' } }, 'config.invalid', 'select.n', /"summ"/, /"sum"/],
    ['an expression', { select: { n: 'sum(amount * 2)' } }, 'config.invalid', 'select.n', /one column/, /price \*/],
    ['an unknown column', { select: { n: 'sum(amont)' } }, 'config.invalid', 'select.n', /no column/, /"amount"/],
    ['a sum of texts', { select: { n: 'sum(status)' } }, 'config.invalid', 'select.n', /no number/, /decimal/],
    ['a var of doubles', { select: { n: 'var(weight)' } }, 'config.invalid', 'select.n', /depend on the order/],
    ['a maximum of lists', { select: { n: 'max(tags)' } }, 'config.invalid', 'select.n', /no order/],
    [
      'a top of no number',
      { select: { n: 'top(amount)' } },
      'config.invalid',
      'select.n',
      /not an aggregate/,
      /top\(3/,
    ],
    ['a top of nothing', { select: { n: 'top(0, amount)' } }, 'config.invalid', 'select.n', /from 1 to 1000/],
    ['a condition that is none', { select: { n: 'count() where (a' } }, 'config.invalid', 'select.n', /brackets/],
    ['a result of ours', { select: { Window_End: 'count()' } }, 'config.invalid', 'select.Window_End', /taken/],
    [
      'a result like a group',
      { groupBy: ['status'], select: { status: 'count()' } },
      'config.invalid',
      'select.status',
      /taken/,
    ],
    ['a result with __', { select: { a__b: 'count()' } }, 'config.invalid', 'select.a__b', /"__"/],
    ['a result with _', { select: { _n: 'count()' } }, 'config.invalid', 'select._n', /column name/],
    ['a group with __', { source: 'clicks', groupBy: ['x__y'] }, 'config.invalid', 'groupBy[0]', /"__"/],
    [
      'a column with __',
      { source: 'clicks', select: { n: 'sum(x__y)' } },
      'config.invalid',
      'select.n',
      /"__"/,
      /Rename the column/,
    ],
    ['rows of an append table', { source: 'clicks', input: 'rows' }, 'config.invalid', 'input', /no key/, /events/],
    ['rows that are not kept', { source: 'lost', input: 'rows' }, 'config.invalid', 'input', /keeps no rows/],
    ['close and early', { emit: 'close', early: '1s' }, 'config.invalid', 'early', /final rows alone/],
    ['a short retention', { allowedLateness: '2h', retain: '1h' }, 'config.invalid', 'retain', /shorter than allowed/],
    ['its own topic', { to: { topic: 'shop.orders' } }, 'config.invalid', 'to.topic', /"orders" reads/],
    [
      'a kept group',
      { source: 'part', input: 'events', groupBy: ['status'] },
      'config.invalid',
      'groupBy[0]',
      /missing: keep/,
      /null/,
    ],
    [
      'a kept value',
      { source: 'part', input: 'events', select: { n: 'sum(amount)' } },
      'config.invalid',
      'select.n',
      /missing: keep/,
    ],
    [
      'a kept condition',
      { source: 'part', input: 'events', where: 'AMOUNT > 1' },
      'config.invalid',
      'where',
      /"amount"/,
    ],
    [
      'a kept condition of a result',
      { source: 'part', input: 'events', select: { n: 'count() where "amount" > 1' } },
      'config.invalid',
      'select.n',
      /"amount"/,
    ],
    ['a kept event time', { source: 'lazy', input: 'events' }, 'config.invalid', 'source', /"at"/],
    ['SQL and select', { tumbling: undefined, sql: 'SELECT' }, 'config.invalid', 'select', /beside "sql"/],
    ['SQL and a kind', { select: undefined, sql: 'SELECT' }, 'config.invalid', 'tumbling', /beside "sql"/],
    ['an unknown key', { alowedLateness: '1m' }, 'config.unknown_key', 'alowedLateness', /"allowedLateness"/],
    ['a feature to come', { having: 'n > 1' }, 'config.unsupported', 'having', /not in this release/],
    ['a comment', { where: 'amount > 1 -- or so' }, 'config.invalid', 'where', /comment/],
  ])('%s', (_, change, code, field, message, fix) => {
    const other = { ...append, columns: { ...texts, x__y: 'long' } }
    const error = thrown(() =>
      yaml(
        { other: COUNT, w: { ...COUNT, ...change } },
        {
          quiet: { from: { topic: 'q' }, columns: texts },
          clicks: other,
          lost: { ...append, from: { topic: 'l' }, store: false },
          part: { ...append, from: { topic: 'p' }, key: ['orderId'], version: 'at', missing: 'keep' },
          lazy: { ...append, from: { topic: 'z' }, key: ['orderId'], missing: 'keep' },
        },
      ),
    )
    expect([error.code, error.context.path]).toEqual([code, at(field)])
    expect(error.message).toMatch(message)
    if (fix !== undefined) expect(error.fix).toMatch(fix)
  })

  test('what a record always carries may be read of a table that keeps the rest', () => {
    const part = { from, columns: texts, eventTime, key: ['orderId'], version: 'at', missing: 'keep' }
    const w = { ...COUNT, groupBy: ['orderId'], where: "orderId <> 'amount'", select: { last: 'max(at)' } }
    expect(yaml({ w }, { orders: part }).windows).toHaveLength(1)
  })

  test('YAML and TypeScript name the same field', () => {
    const error = thrown(() => hopping('w', orders, { size: '1m', slide: '2m', select: { n: 'count()' } }))
    expect(error.context.path).toBe('w.hopping.slide')
    expect(thrown(() => tumbling('w', orders, { size: '1m' } as any)).context.path).toBe('w.select')
    expect(thrown(() => tumbling('w', orders, { sise: '1m', select: {} } as any)).context.path).toBe('w.sise')
    expect(thrown(() => tumbling('w__x', orders, { size: '1m', select: {} })).message).toContain('"__"')
    const w = tumbling('w', orders, { size: '1m', select: { n: 'count()' } })
    expect(thrown(() => tumbling('v', w as any, { size: '1m', select: {} })).code).toBe('config.unsupported')
    expect(thrown(() => windowSql('v', 'orders' as any, 'SELECT')).message).toContain('must be a table')
  })

  test('tables and windows share one space of names', () => {
    const w = tumbling('w', orders, { size: '1m', select: { n: 'count()' } })
    const twin = table('w', { from: { topic: 'x' }, columns })
    expect(thrown(() => defineLake({ a: [orders, w, w] })).message).toMatch(/window name "w" is taken by pipeline "a"/)
    expect(thrown(() => defineLake({ a: [orders, twin, w] })).context.path).toBe('a.windows.w')
    expect(thrown(() => defineLake({ a: [twin], b: [orders, w] })).context.path).toBe('b.windows.w')
  })

  test('the source is a table of the same pipeline, as it is there', () => {
    const w = tumbling('w', orders, { size: '1m', groupBy: ['status'], select: { n: 'count()' } })
    expect(thrown(() => defineLake({ a: [clicks, w], b: [orders] })).context.path).toBe('a.windows.w.source')
    const { status: _, ...others } = columns
    const changed = table('orders', { from, columns: others, eventTime, key: ['orderId'] })
    expect(thrown(() => defineLake({ a: [changed, w] })).context.path).toBe('a.windows.w.groupBy[0]')
  })
})

const hash = (change: object, source = orders) =>
  windowCodeHash(
    tumbling('w', source, { size: '1m', input: 'events', select: { n: 'count()' }, ...change } as any),
    source,
  )

describe('windowCodeHash', () => {
  const plain = hash({})

  test('covers what decides rows, and the source (R5)', () => {
    const changes: object[] = [
      { size: '2m' },
      { offset: '1s' },
      { timeZone: 'UTC' },
      { allowedLateness: '1s' },
      { input: 'rows' },
      { groupBy: ['status'] },
      { nullGroup: 'keep' },
      { where: 'amount > 1' },
      { select: { m: 'count()' } },
      { select: { n: 'count(amount)' } },
      { select: { n: 'count() where amount > 1' } },
      { select: { n: 'count()', m: 'long = n + 1' } },
      { select: { n: 'count()', m: 'long = n + 2' } },
      { select: { n: 'count()', m: 'int = n + 2' } },
      { emit: 'close' },
      { retain: '1d' },
    ]
    const sources = [
      table('orders', { from, columns: { ...columns, more: t.int() }, eventTime, key: ['orderId'] }),
      table('orders', { from, columns, eventTime, key: ['orderId'], where: "status <> 'x'" }),
    ]
    const hashes = [plain, ...changes.map((change) => hash(change)), ...sources.map((source) => hash({}, source))]
    expect(new Set(hashes).size).toBe(hashes.length)
    expect(plain).toMatch(/^[0-9a-f]{32}$/)
    expect(plain).not.toBe(codeHash(orders))
  })

  test('does not cover how often rows are written, how many may be open, and where changes go', () => {
    for (const change of [{ early: '1s' }, { openRowsMax: 7 }, { to: { topic: 'x' } }, { offset: '0ms' }])
      expect(hash(change)).toBe(plain)
    expect(hash({ input: 'rows', oldValuesMax: 7 })).toBe(hash({ input: 'rows' }))
  })
})

describe('docs/windows.md', () => {
  const blocks = [...readFileSync('docs/windows.md', 'utf8').matchAll(/```yaml\n([\s\S]*?)```/g)].map(
    ([, text]) => text!,
  )

  test('its first example is the same in YAML and in TypeScript', () => {
    const lines = {
      orderId: t.string(),
      status: t.enum('created', 'paid', 'cancelled'),
      amount: t.decimal(12, 2),
      updatedAt: t.timestamptz('ms'),
    }
    const source = table('orders', {
      from: { topic: 'shop.orders' },
      columns: lines,
      key: ['orderId'],
      eventTime: { column: 'updatedAt', outOfOrderness: '5s' },
    })
    const revenue = tumbling('revenue_1m', source, {
      size: '1m',
      allowedLateness: '10m',
      groupBy: ['status'],
      select: ({ count, sum }) => ({ n: count(), revenue: sum('amount') }),
    })
    expect(checkPipelines(parse(blocks[0]!).pipelines, [])).toEqual(defineLake({ shop: [source, revenue] }))
  })

  test('its computed result is the sentence that it promises', () => {
    const { windows } = parse(blocks[1]!)
    const columns = { service_name: 'string', event_type: 'string', at: 'timestamp' }
    const tables = { processed_events: { from: { topic: 'p' }, columns, eventTime: { column: 'at' } } }
    const [alerts] = checkPipelines({ shop: { tables, windows } }, []).pipelines[0]!.windows
    expect(alerts!.computed).toMatchObject([{ name: 'message', type: { kind: 'string' } }])
    expect(alerts!.computed[0]!.as).toContain("'High error rate: ' || errors || ' errors in 60s'")
  })

  test('its SQL is a definition', () => {
    const { windows } = parse(blocks[2]!)
    const fields = { customer_id: 'string', amount: 'double', at: 'timestamp' }
    const tables = { orders: { from: { topic: 'o' }, columns: fields, eventTime: { column: 'at' } } }
    expect(checkPipelines({ shop: { tables, windows } }, []).pipelines[0]!.windows).toMatchObject([
      { name: 'revenue_by_customer_hour', groupBy: ['customer_id'], select: [{ fn: 'count' }, { fn: 'sum' }] },
    ])
  })
})

describe('a name that DuckDB has for rows', () => {
  const rows = table('rows', { from, columns: { ...columns, RowId: t.long() }, eventTime, key: ['orderId'] })
  const select = { n: 'count()' }
  test.each<[string, object]>([
    ['groupBy[0]', { groupBy: ['RowId'], select }],
    ['where', { where: 'rowid > 1', select }],
    ['select.n', { select: { n: 'sum(RowId)' } }],
    ['select.n', { select: { n: 'count() where RowId > 1' } }],
    ['select.rowid', { select: { rowid: 'count()' } }],
    ['select.ROWID', { select: { ...select, ROWID: 'long = n + 1' } }],
  ])('is none that a window has or reads: %s', (path, options) => {
    const make = () => defineLake({ p: [rows, tumbling('w', rows, { size: '1m', ...options } as never)] })
    expect(thrown(make).message).toContain(`${path}: "rowid" is a name`)
  })

  test('may be that of a column that it does not read', () => {
    expect(() => defineLake({ p: [rows, tumbling('w', rows, { size: '1m', select })] })).not.toThrow()
  })
})
