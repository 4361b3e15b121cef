import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { t, table, tumbling, windowSql } from '../../src/define.ts'
import { checkPipelines } from '../../src/define-check.ts'
import { readWindowSql } from '../../src/define-sql.ts'
import { expressionProblem, sqlTokens, textOf, columnsRead } from '../../src/define-sql-tokens.ts'
import type { WindowDefinition } from '../../src/define-window.ts'
import { LakeError } from '../../src/error.ts'

const thrown = (make: () => unknown): LakeError => {
  try {
    make()
  } catch (error) {
    expect(error).toBeInstanceOf(LakeError)
    return error as LakeError
  }
  throw new Error('nothing was thrown')
}

const orders = table('orders', {
  from: { topic: 'orders' },
  columns: {
    order_id: t.string(),
    customer_id: t.string(),
    amount: t.double(),
    timestamp: t.long(),
    status: t.string(),
    qty: t.int(),
  },
  key: ['order_id'],
  eventTime: { column: 'timestamp', unit: 'ms', outOfOrderness: '5s' },
})
const P1_SQL = `SELECT customer_id, TUMBLE_START(event_time, INTERVAL '1' HOUR) AS window_start, COUNT(*) AS order_count, SUM(amount) AS total_amount FROM orders GROUP BY customer_id, TUMBLE(event_time, INTERVAL '1' HOUR)`

describe('hourly revenue (P1)', () => {
  const name = 'revenue_by_customer_hour'
  const plain = tumbling(name, orders, {
    size: '1h',
    input: 'events',
    groupBy: ['customer_id'],
    select: ({ count, sum }) => ({ order_count: count(), total_amount: sum('amount') }),
  })

  test('is the same from SQL', () => {
    expect(windowSql(name, orders, P1_SQL, { input: 'events' })).toStrictEqual(plain)
  })

  test('is the same from SQL in YAML, with and without the source beside it', () => {
    const tables = {
      orders: {
        from: { topic: 'orders' },
        columns: { order_id: 'string', customer_id: 'string', amount: 'double', timestamp: 'long', status: 'string' },
        key: ['order_id'],
        eventTime: { column: 'timestamp', unit: 'ms' },
      },
    }
    for (const source of [{}, { source: 'orders' }]) {
      const windows = { [name]: { ...source, sql: P1_SQL, input: 'events' } }
      expect(checkPipelines({ shop: { tables, windows } }, []).pipelines[0]!.windows).toStrictEqual([plain])
    }
  })

  test.each([
    `SELECT window_start, window_end, customer_id, COUNT(*) AS order_count, SUM(amount) total_amount
     FROM TABLE(TUMBLE(TABLE orders, DESCRIPTOR(event_time), INTERVAL '1' HOUR))
     GROUP BY window_start, window_end, customer_id;`,
    `select o.customer_id, count(1) as order_count, sum(o.amount) as total_amount
     from tumble(data => table orders, timecol => descriptor(\`timestamp\`), \`SIZE\` => interval '60' minutes) as o
     group by customer_id, window_start, window_end, window_time`,
    `SELECT /* who */ "customer_id" AS customer_id, TUMBLE_END(\`timestamp\`, INTERVAL '3600' SECOND), -- when
       COUNT(*) AS "order_count", SUM(orders.amount) AS total_amount
     FROM orders GROUP BY TUMBLE(orders.timestamp, INTERVAL '3600' SECOND), customer_id`,
  ])('is the same in other words %#', (sql) => {
    expect(windowSql(name, orders, sql, { input: 'events' })).toStrictEqual(plain)
  })
})

const GROUPED = (call: string) => `SELECT COUNT(*) AS n FROM orders GROUP BY ${call}`
const TABLED = (call: string) => `SELECT COUNT(*) n FROM TABLE(${call}) GROUP BY window_start, window_end`
const DATA = 'TABLE orders, DESCRIPTOR(event_time)'

const sessions = (keys: string) =>
  `SELECT status, qty, COUNT(*) AS n FROM TABLE(SESSION(TABLE orders PARTITION BY ${keys}, DESCRIPTOR(event_time),
   INTERVAL '5' MINUTES)) GROUP BY status, qty, window_start, window_end`

describe('SQL of windows', () => {
  test.each<[string, WindowDefinition['window']]>([
    [GROUPED("TUMBLE(event_time, INTERVAL '10' SECOND)"), { kind: 'tumbling', sizeMs: 10_000, offsetMs: 0 }],
    [GROUPED("TUMBLE(event_time, INTERVAL '0.5' SECOND)"), { kind: 'tumbling', sizeMs: 500, offsetMs: 0 }],
    [GROUPED("TUMBLE(event_time, INTERVAL '1.001' MINUTE)"), { kind: 'tumbling', sizeMs: 60_060, offsetMs: 0 }],
    [GROUPED("TUMBLE(event_time, INTERVAL '0.003' SECOND)"), { kind: 'tumbling', sizeMs: 3, offsetMs: 0 }],
    [
      GROUPED("HOP(event_time, INTERVAL '1' MINUTE, INTERVAL '10' MINUTE)"),
      { kind: 'hopping', slideMs: 60_000, sizeMs: 600_000, offsetMs: 0 },
    ],
    [GROUPED("SESSION(event_time, INTERVAL '1' DAY)"), { kind: 'session', gapMs: 86_400_000 }],
    [
      TABLED(`TUMBLE(${DATA}, INTERVAL '1' HOUR, INTERVAL '-15' MINUTE)`),
      { kind: 'tumbling', sizeMs: 3_600_000, offsetMs: -900_000 },
    ],
    [
      TABLED(`HOP(${DATA}, INTERVAL '1' HOURS, INTERVAL '1' DAYS)`),
      { kind: 'hopping', slideMs: 3_600_000, sizeMs: 86_400_000, offsetMs: 0 },
    ],
    [
      TABLED(`HOP(${DATA}, SIZE => INTERVAL '2' HOUR, SLIDE => INTERVAL '1' HOUR, "OFFSET" => -INTERVAL '1' MINUTE)`),
      { kind: 'hopping', slideMs: 3_600_000, sizeMs: 7_200_000, offsetMs: -60_000 },
    ],
    [
      TABLED(`CUMULATE(${DATA}, INTERVAL '15' MINUTE, INTERVAL '1' HOUR)`),
      { kind: 'cumulate', stepMs: 900_000, maxMs: 3_600_000, offsetMs: 0 },
    ],
    [TABLED(`SESSION(${DATA}, INTERVAL '30' MINUTE)`), { kind: 'session', gapMs: 1_800_000 }],
  ])('%s', (sql, window) => {
    expect(windowSql('w', orders, sql).window).toStrictEqual(window)
  })

  test('every aggregate, with its condition', () => {
    const { select, where } = windowSql(
      'w',
      orders,
      `SELECT COUNT(*) AS a, COUNT(status) AS b, COUNT(DISTINCT customer_id) AS c, SUM(amount) AS d, AVG(qty) AS e,
        MIN(amount) AS f, MAX(amount) AS g, FIRST_VALUE(status) AS h, LAST_VALUE(status) AS i, VAR_SAMP(qty) AS j,
        COUNT(*) FILTER (WHERE o.status = 'it''s' AND (\`amount\` > 5 /* euro */ OR x.y = 1)) AS k
       FROM orders AS o WHERE o.amount IS NOT NULL -- never
         AND status <> 'x' GROUP BY TUMBLE(event_time, INTERVAL '1' MINUTE)`,
    )
    expect(select.map(({ name, fn, column }) => [name, fn, column])).toEqual([
      ['a', 'count', undefined],
      ['b', 'count', 'status'],
      ['c', 'count_distinct', 'customer_id'],
      ['d', 'sum', 'amount'],
      ['e', 'avg', 'qty'],
      ['f', 'min', 'amount'],
      ['g', 'max', 'amount'],
      ['h', 'first', 'status'],
      ['i', 'last', 'status'],
      ['j', 'var', 'qty'],
      ['k', 'count', undefined],
    ])
    expect(select.map((aggregate) => aggregate.where).filter((one) => one !== undefined)).toEqual([
      `status = 'it''s' AND ("amount" > 5 OR x.y = 1)`,
    ])
    expect(where).toBe(`amount IS NOT NULL AND status <> 'x'`)
  })

  test('what DuckDB and Flink agree on is handed on, names that look otherwise too', () => {
    const condition = `similar = 'a/b' AND dow > 1 AND log IN (1, 2) AND "CAST" LIKE 'x%' AND a.dow * 2 > LN(c) % 3`
    expect(
      windowSql(
        'w',
        orders,
        `SELECT COUNT(*) n FROM orders WHERE ${condition} GROUP BY TUMBLE(event_time, INTERVAL '1' DAY)`,
      ).where,
    ).toBe(condition)
  })

  test('sessions may be partitioned by what they are grouped by', () => {
    expect(windowSql('w', orders, sessions('(qty, status)')).groupBy).toEqual(['status', 'qty'])
    expect(thrown(() => windowSql('w', orders, sessions('status'))).message).toContain('1:80: PARTITION BY')
  })

  test('what is written beside it holds too', () => {
    const given = windowSql('w', orders, GROUPED("TUMBLE(event_time, INTERVAL '1' DAY)"), {
      timeZone: 'Europe/Berlin',
      allowedLateness: '1m',
      retain: '7d',
      emit: 'close',
    })
    expect(given).toMatchObject({
      window: { kind: 'tumbling', sizeMs: 86_400_000, timeZone: 'Europe/Berlin' },
      allowedLatenessMs: 60_000,
      retainMs: 7 * 86_400_000,
      emit: 'close',
      input: 'rows',
    })
    const late = thrown(() =>
      windowSql('w', orders, GROUPED("SESSION(event_time, INTERVAL '1' DAY)"), { timeZone: 'UTC' }),
    )
    expect(late.context.path).toBe('w.timeZone')
  })
})

const HOUR = "TUMBLE(event_time, INTERVAL '1' HOUR)"
const FROM = `FROM orders GROUP BY ${HOUR}`

describe('what is refused, with its place and the reason', () => {
  test.each<[string, RegExp, RegExp?]>([
    [`SELECT COUNT(*) n ${FROM} ^HAVING COUNT(*) > 1`, /HAVING is not/, /queried/],
    [`SELECT COUNT(*) n ${FROM} ^ORDER BY n`, /no order/],
    [`SELECT COUNT(*) n ${FROM} ^LIMIT 3`, /all its groups/],
    [`SELECT COUNT(*) n ${FROM} ^UNION ALL SELECT 1`, /UNION/],
    [`SELECT COUNT(*) n ${FROM} ^EMIT CHANGES`, /EMIT/, /emit and early/],
    [`SELECT COUNT(*) n ${FROM}; ^DROP TABLE x`, /ends with GROUP BY/],
    [`SELECT COUNT(*) n\nFROM orders ^JOIN x ON 1 = 1 GROUP BY ${HOUR}`, /joins/],
    [`SELECT COUNT(*) n FROM orders o ^LEFT JOIN x ON 1 = 1`, /joins/],
    [`SELECT COUNT(*) n FROM orders^, x GROUP BY ${HOUR}`, /joins/],
    [`SELECT COUNT(*) n FROM ^(SELECT 1) GROUP BY ${HOUR}`, /sub-queries/],
    [`SELECT COUNT(*) n FROM orders WHERE qty IN (^SELECT 1) GROUP BY ${HOUR}`, /sub-queries/],
    [`SELECT COUNT(*) n FROM ^db.orders GROUP BY ${HOUR}`, /own pipeline/],
    [`^WITH x AS (SELECT 1) SELECT COUNT(*) n ${FROM}`, /WITH/],
    [`^INSERT INTO x SELECT COUNT(*) n ${FROM}`, /SELECT alone/, /window's name/],
    [`SELECT ^DISTINCT qty ${FROM}`, /distinct as they are/],
    [`SELECT ^* ${FROM}`, /SELECT \*/],
    [`SELECT SUM(amount) ^/ COUNT(*) AS x ${FROM}`, /expressions over results/, /queried/],
    [`SELECT SUM(amount ^* qty) AS x ${FROM}`, /one column/, /computed column/],
    [`SELECT ^CAST(qty AS INT) AS x ${FROM}`, /expressions are not/],
    [`SELECT ^CASE WHEN qty > 1 THEN 1 END AS x ${FROM}`, /expressions are not/],
    [`SELECT ^1 AS x ${FROM}`, /column, an aggregate/],
    [`SELECT ^STDDEV_POP(qty) AS x ${FROM}`, /none of the aggregates/, /VAR_SAMP/],
    [`SELECT SUM(^DISTINCT qty) AS x ${FROM}`, /distinct values/],
    [`SELECT SUM(qty) ^OVER (PARTITION BY x) AS x ${FROM}`, /no event-time windows/],
    [`SELECT ^SUM(qty) ${FROM}`, /no name/, /Add AS/],
    [`SELECT ^status, COUNT(*) n ${FROM}`, /not in GROUP BY/],
    [`SELECT status AS ^s, COUNT(*) n ${FROM}, status`, /keeps its name/],
    [`SELECT ^x.status, COUNT(*) n ${FROM}, status`, /not the table/],
    [`SELECT a.b^.c, COUNT(*) n ${FROM}`, /one qualifier/],
    [TABLED(`TUMBLE(${DATA}, INTERVAL '1' HOUR)`).replace('COUNT', 'window_start AS ^s, COUNT'), /always window_start/],
    [TABLED(`TUMBLE(${DATA}, INTERVAL '1' HOUR)`).replace('COUNT', '^window_time, COUNT'), /last instant/],
    [`SELECT COUNT(*) n FROM orders WHERE qty > 1^`, /needs GROUP BY/],
    [`SELECT COUNT(*) n FROM orders WHERE qty > 1^; SELECT`, /needs GROUP BY/],
    [`SELECT COUNT(*) n FROM orders WHERE SUM(qty) ^OVER () > 1 GROUP BY ${HOUR}`, /of one row/],
    [`SELECT COUNT(*) n FROM orders WHERE ^GROUP BY ${HOUR}`, /condition is missing/],
    [TABLED("TUMBLE(^(SELECT 1), DESCRIPTOR(event_time), INTERVAL '1' HOUR)"), /sub-queries/],
    [`SELECT COUNT(*) n FROM orders^`, /needs GROUP BY/],
    [`SELECT COUNT(*) n FROM orders GROUP BY status^`, /names no window/, /TUMBLE/],
    [`SELECT COUNT(*) n ${FROM}, ^TUMBLE(event_time, INTERVAL '2' HOUR)`, /second window/],
    [`SELECT COUNT(*) n ${FROM}, ^ROLLUP(status)`, /several groupings/],
    [`SELECT COUNT(*) n ${FROM}, ^1`, /number names no group/],
    [`SELECT COUNT(*) n ${FROM}, ^UPPER(status)`, /computes a group/, /computed column/],
    [
      `SELECT TUMBLE_START(event_time, INTERVAL '1' HOUR) AS ^hour, COUNT(*) n ${FROM}`,
      /always window_start/,
      /AS window_start/,
    ],
    [`SELECT ^TUMBLE_END(event_time, INTERVAL '2' HOUR), COUNT(*) n ${FROM}`, /not the window of GROUP BY/],
    [`SELECT ^TUMBLE_ROWTIME(event_time, INTERVAL '1' HOUR), COUNT(*) n ${FROM}`, /last instant/, /window_end/],
    [`SELECT ^TUMBLE_PROCTIME(event_time, INTERVAL '1' HOUR), COUNT(*) n ${FROM}`, /event time alone/],
    [GROUPED("TUMBLE(event_time, INTERVAL '1' ^MONTH)"), /SECOND, MINUTE/, /1 month/],
    [GROUPED("TUMBLE(event_time, INTERVAL ^'1:30' HOUR TO MINUTE)"), /number in quotes/],
    [GROUPED("TUMBLE(event_time, INTERVAL '1' HOUR ^TO MINUTE)"), /one unit/],
    [GROUPED("TUMBLE(event_time, ^INTERVAL '0' HOUR)"), /not from 1 ms/],
    [GROUPED("TUMBLE(event_time, INTERVAL '1' HOUR^, TIME '00:12:00')"), /alignment/],
    [GROUPED('TUMBLE(event_time, ^5)'), /INTERVAL is missing/],
    [TABLED(`^TUMBLE(${DATA})`), /without SIZE/],
    [TABLED(`TUMBLE(${DATA}, INTERVAL '1' HOUR, INTERVAL '1' SECOND, ^INTERVAL '1' SECOND)`), /takes DATA/],
    [
      `SELECT COUNT(*) n FROM TABLE(TUMBLE(${DATA}, INTERVAL '1' HOUR)) GROUP BY window_start^`,
      /window_end/,
      /Name both/,
    ],
    [
      `SELECT COUNT(*) n FROM TABLE(TUMBLE(${DATA}, INTERVAL '1' HOUR)) GROUP BY window_start, window_end, ^${HOUR}`,
      /second window/,
    ],
    [TABLED(`^ASOF(${DATA})`), /no table/, /CUMULATE/],
    [TABLED(`^TUMBLE(TABLE orders PARTITION BY qty, DESCRIPTOR(event_time), INTERVAL '1' HOUR)`), /only sessions/],
    [
      `SELECT COUNT(*) n FROM TABLE(SESSION(${DATA}, INTERVAL '1' HOUR)) GROUP BY window_start, window_end, ^status`,
      /of all rows together/,
      /PARTITION BY \(status\)/,
    ],
    [`SELECT COUNT(*) n FROM orders ^/*+ OPTIONS('a'='b') */ GROUP BY ${HOUR}`, /hints/],
    ...[
      'qty ^/ 2 > 3',
      'qty > 1 ^// twice\n AND qty < 9',
      "^CAST(amount AS INT) = 3 OR status = 'CAST(x AS INT)'",
      'qty > 0 AND (^try_cast(status AS INT) > 3)',
      "^CONCAT(status, 'x') = 'x'",
      '^LOG(amount) > 1',
      '^GREATEST(qty, 3) > 1',
      "status ^SIMILAR TO 'a%'",
      "^REGEXP_REPLACE(status, 'a', 'b') = 'b'",
      'EXTRACT(^DOW FROM at) = 1',
    ].flatMap((condition): [string, RegExp, RegExp?][] => [
      [`SELECT COUNT(*) n FROM orders WHERE ${condition} GROUP BY ${HOUR}`, /here/],
      [`SELECT COUNT(*) FILTER (WHERE ${condition}) n ${FROM}`, /here/],
    ]),
  ])('%s', (marked, message, fix) => {
    const at = marked.indexOf('^')
    const sql = marked.replace('^', '')
    const before = sql.slice(0, at).split('\n')
    const error = thrown(() => windowSql('w', orders, sql))
    expect([error.code, error.context.path]).toEqual(['config.unsupported', 'w.sql'])
    expect(error.message).toMatch(message)
    expect(error.message).toContain(` ${before.length}:${before.at(-1)!.length + 1}: `)
    if (fix !== undefined) expect(error.fix).toMatch(fix)
  })

  test.each<[string, RegExp, RegExp?]>([
    [GROUPED("TUMBLE(order_time, INTERVAL '1' HOUR)"), /1:50: "order_time" is not the event time/, /"timestamp"/],
    [`SELECT SUM(amont) AS x ${FROM}`, /1:12: there is no column "amont"/, /"amount"/],
    [`SELECT COUNT(*) AS n ${FROM}, statis`, /1:82: there is no column "statis"/, /"status"/],
    [`SELECT COUNT(*) n FROM shop GROUP BY ${HOUR}`, /1:24: FROM is not the source "orders"/],
    [`SELECT SUM(status) AS x ${FROM}`, /select\.x: sum of a string/],
    [GROUPED("HOP(event_time, INTERVAL '2' HOUR, INTERVAL '1' HOUR)"), /hopping\.slide: is longer than the size/],
    [`SELECT COUNT(*) AS "a__b" ${FROM}`, /"a__b" holds "__"/],
    [`SELECT COUNT(*) AS n FROM orders WHERE status = 'x GROUP BY`, /1:49: a text does not end/],
    [`SELECT COUNT(*) /* AS n`, /1:17: the comment does not end/],
  ])('%s is invalid', (sql, message, fix) => {
    const error = thrown(() => windowSql('w', orders, sql))
    expect([error.code, error.context.path]).toEqual(['config.invalid', 'w.sql'])
    expect(error.message).toMatch(message)
    if (fix !== undefined) expect(error.fix).toMatch(fix)
  })

  test('another column called event_time is not the event time', () => {
    const other = table('orders', {
      from: { topic: 'o' },
      columns: { event_time: t.timestamp(), at: t.timestamp() },
      eventTime: { column: 'at' },
    })
    expect(thrown(() => windowSql('w', other, GROUPED(HOUR))).message).toContain('"event_time" is not the event time')
  })

  test('any text is a definition or a LakeError with a place', () => {
    const word = fc.constantFrom(
      ...`${P1_SQL} ${TABLED(`HOP(${DATA}, INTERVAL '1' HOUR, INTERVAL '1' DAY)`)}`.split(/\b/),
    )
    const texts = fc.oneof(
      fc.array(word, { maxLength: 40 }).map((words) => words.join('')),
      fc.tuple(fc.nat(P1_SQL.length), word).map(([at, cut]) => P1_SQL.slice(0, at) + cut + P1_SQL.slice(at)),
      fc.tuple(fc.nat(P1_SQL.length), fc.nat(20)).map(([at, n]) => P1_SQL.slice(0, at) + P1_SQL.slice(at + n)),
    )
    fc.assert(
      fc.property(texts, (text) => {
        try {
          readWindowSql(text)
        } catch (error) {
          expect(error).toBeInstanceOf(LakeError)
          expect((error as LakeError).message).toMatch(/^\d+:\d+: ./)
        }
      }),
      { numRuns: 2_000 },
    )
  })
})

test('a definition is the same from YAML and from the SQL that says it', () => {
  const name = fc.constantFrom('status', 'qty', 'customer_id', 'amount')
  const number = fc.constantFrom('qty', 'amount')
  const aggregate = fc.oneof(
    fc.constant(['count()', 'COUNT(*)']),
    name.map((c) => [`count(${c})`, `COUNT("${c}")`]),
    name.map((c) => [`count(distinct ${c})`, `COUNT(DISTINCT \`${c}\`)`]),
    fc.tuple(fc.constantFrom('sum', 'avg'), number).map(([fn, c]) => [`${fn}(${c})`, `${fn.toUpperCase()}(${c})`]),
    name.map((c) => [`first(${c})`, `FIRST_VALUE(orders.${c})`]),
  )
  const condition = fc.option(fc.constantFrom("status = ')'", 'qty > 1 AND (amount < 2 OR qty IS NULL)'), {
    nil: undefined,
  })
  const whole = fc.integer({ min: 1, max: 50 })
  const kind = fc.oneof(
    whole.map((n) => [{ tumbling: { size: `${n}m` } }, `TUMBLE(`, `INTERVAL '${n}' MINUTE`] as const),
    fc
      .tuple(whole, whole)
      .map(
        ([n, more]) =>
          [
            { hopping: { size: `${n + more}s`, slide: `${n}s` } },
            'HOP(',
            `INTERVAL '${n}' SECOND, INTERVAL '${n + more}' SECOND`,
          ] as const,
      ),
    whole.map((n) => [{ session: { gap: `${n}h` } }, 'SESSION(', `INTERVAL '${n}' HOUR`] as const),
  )
  fc.assert(
    fc.property(
      kind,
      fc.uniqueArray(name),
      fc.array(fc.tuple(aggregate, condition), { minLength: 1, maxLength: 5 }),
      condition,
      fc.boolean(),
      ([inYaml, call, lengths], groups, aggregates, where, isTabled) => {
        const select = Object.fromEntries(
          aggregates.map(([[text], filter], i) => [`r${i}`, text + (filter === undefined ? '' : ` where ${filter}`)]),
        )
        const results = aggregates.map(
          ([[, sql], filter], i) => `${sql}${filter === undefined ? '' : ` FILTER (WHERE ${filter})`} AS r${i}`,
        )
        const data =
          call === 'SESSION(' && groups.length > 0 ? DATA.replace(',', ` PARTITION BY (${groups.join(', ')}),`) : DATA
        const source = isTabled ? `TABLE(${call}${data}, ${lengths}))` : 'orders'
        const window = isTabled ? ['window_start', 'window_end'] : [`${call}event_time, ${lengths})`]
        const sql = `SELECT ${[...groups, ...results].join(', ')} FROM ${source}
          ${where === undefined ? '' : `WHERE ${where}`} GROUP BY ${[...window, ...groups].join(', ')}`
        const columns = { status: 'string', qty: 'int', customer_id: 'string', amount: 'double', at: 'timestamp' }
        const tables = { orders: { from: { topic: 'o' }, columns, eventTime: { column: 'at' } } }
        const written = {
          source: 'orders',
          ...inYaml,
          groupBy: groups,
          select,
          ...(where === undefined ? {} : { where }),
        }
        const of = (w: object) => checkPipelines({ shop: { tables, windows: { w } } }, []).pipelines[0]!.windows
        expect(of({ sql })).toStrictEqual(of(written))
      },
    ),
  )
})

const plain = (text: string) => sqlTokens(text).map(({ kind, value }) => [kind, value])

describe('expressions', () => {
  test.each<[string, RegExp]>([
    ['', /empty/],
    ['  ', /empty/],
    ['a = 1; b', /ends a statement/],
    ['a = 1)', /brackets/],
    ['true) OR (true', /brackets/],
    ['(a', /brackets/],
    ["a = 'x", /text does not end/],
    ['a -- b', /comment/],
    ['a /* b */ + 1', /comment/],
    ['a IN (SELECT 1)', /one row alone/],
  ])('%j is none', (text, message) => {
    expect(expressionProblem(text)?.message).toMatch(message)
  })

  test.each(["a = '-- ; ) /* '", "a->>'$.b' = 1", 'x[1:2] || {\'a\': "b c"}.a', "note <> 'select'"])(
    '%j is one',
    (text) => {
      expect(expressionProblem(text)).toBeUndefined()
    },
  )

  test('names are found in any case, not in texts and calls', () => {
    const known = ['amount', 'year', 'My Col', 'x']
    expect(columnsRead(`AMOUNT > year(ts) AND "my col" = 'x'`, known)).toEqual(['amount', 'My Col'])
  })

  test('a doubled quote stands for itself', () => {
    expect(plain(`'it''s' "a""b" \`c\`\`d\``).slice(0, 3)).toEqual([
      ['text', "it's"],
      ['name', 'a"b'],
      ['name', 'c`d'],
    ])
  })

  test('tokens give the same text again, and the same tokens', () => {
    const piece = fc.constantFrom('a', '"b c"', "'it''s'", '1.5e3', '(', ')', '<>', ' ', '\n', '||', '.', 'é', '-- x\n')
    fc.assert(
      fc.property(
        fc.array(piece).map((list) => list.join('')),
        (text) => {
          const once = textOf(sqlTokens(text))
          expect(textOf(sqlTokens(once))).toBe(once)
          expect(plain(once)).toEqual(plain(text))
        },
      ),
    )
  })
})
