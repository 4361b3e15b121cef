import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { answering, run } from './support.ts'

const QUERY = {
  columns: [
    { name: 'status', type: 'string' },
    { name: 'n', type: 'long' },
  ],
  rows: [
    { status: 'paid', n: '9007199254740993' },
    { status: 'has "quotes", 東京', n: null },
  ],
  stats: {},
  versions: {},
}

describe('usage', () => {
  test.each<[string[], number, RegExp]>([
    [['--help'], 0, /Usage: kappalake/],
    [['--version'], 0, /^1\.2\.3\n$/],
    [['query', '--help'], 0, /--as-of/],
    [[], 2, /Usage: kappalake/],
    [['frobnicate'], 2, /unknown command/],
    [['tabels'], 2, /Did you mean tables/],
    [['query'], 2, /missing required argument 'sql'/],
    [['tables', '-o', 'xml'], 2, /Allowed choices are table, json, ndjson, csv/],
    [['snapshots', 't', '--limit', 'x'], 2, /whole number/],
    [['windows', 'revenue', '--state', 'shut'], 2, /Allowed choices are open, final, corrected/],
    [['tables', '--nope'], 2, /unknown option '--nope'/],
    [['demo', '--rate', '0'], 2, /above 0/],
  ])('%j gives %i', async (args, code, text) => {
    const ran = await run(args)
    expect(ran.out + ran.err).toMatch(text)
    expect(ran.code).toBe(code)
  })
})

describe('query', () => {
  test('prints a table', async () => {
    const { fetch, asked } = answering({ '/v1/query': QUERY })
    const { out, code } = await run(['query', 'select 1', '--as-of', '12', '--param', 'a', 'b'], { fetch })
    expect(out.split('\n')).toEqual([
      `status${' '.repeat(12)}  ${' '.repeat(15)}n`,
      `${'─'.repeat(18)}  ${'─'.repeat(16)}`,
      `paid${' '.repeat(14)}  9007199254740993`,
      'has "quotes", 東京',
      '(2 rows)',
      '',
    ])
    expect(code).toBe(0)
    expect(asked).toEqual([
      {
        url: 'http://127.0.0.1:7780/v1/query',
        body: { sql: 'select 1', format: 'json', params: ['a', 'b'], asOf: '12' },
      },
    ])
  })

  test('prints JSON with every digit', async () => {
    const { fetch } = answering({ '/v1/query': QUERY })
    const { out } = await run(['query', 'select 1', '-o', 'json'], { fetch })
    expect(JSON.parse(out)).toEqual(QUERY.rows)
  })

  test.each(['csv', 'ndjson'] as const)(
    '%s is asked for as it is, and printed as it comes, byte for byte',
    async (format) => {
      await fc.assert(
        fc.asyncProperty(fc.string({ unit: 'binary', maxLength: 60 }), fc.array(fc.nat(80)), async (text, cuts) => {
          const bytes = new TextEncoder().encode(text)
          const { fetch, asked } = answering({ '/v1/query': new Response(piecesOf(bytes, cuts)) })
          const { out, code } = await run(['query', 'q', '-o', format], { fetch })
          expect([code, out]).toEqual([0, new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes)])
          expect(asked[0]!.body).toEqual({ sql: 'q', format })
        }),
      )
    },
  )

  test('a result that breaks off: its rows, then the reason, which is no row', async () => {
    const lines = `{"a":1}\n{"a":2}\n${JSON.stringify({ error: { code: 'sql.failed', detail: 'boom', fix: 'Mend it.' } })}\n`
    const { fetch } = answering({
      '/v1/query': new Response(piecesOf(new TextEncoder().encode(lines), [10], 'broken')),
    })
    const { out, err, code } = await run(['query', 'q', '-o', 'ndjson'], { fetch })
    expect([out, err, code]).toEqual(['{"a":1}\n{"a":2}\n', '✗ sql.failed: boom\n  next: Mend it.\n', 1])
  })

  test('a result that breaks off without a word says that it is not all', async () => {
    const { fetch } = answering({
      '/v1/query': new Response(piecesOf(new TextEncoder().encode('a\r\n1\r\n'), [], 'x')),
    })
    const { err, code } = await run(['query', 'q', '-o', 'csv'], { fetch })
    expect(err).toMatch(/^✗ sql\.failed: the result broke off[^]+-o ndjson/)
    expect(code).toBe(1)
  })

  test('control characters do not reach the terminal', async () => {
    const { fetch } = answering({ '/v1/query': { columns: [{ name: 'a' }], rows: [{ a: 'x\u001B[31m\n' }] } })
    expect((await run(['query', 'q'], { fetch })).out).toContain(String.raw`x\u001b[31m\n`)
  })
})

/** A body in pieces that end anywhere, also within a character. */
function piecesOf(bytes: Uint8Array, cuts: readonly number[], failure?: string): ReadableStream<Uint8Array> {
  const ends = [...cuts.map((cut) => Math.min(cut, bytes.length)), bytes.length].toSorted((a, b) => a - b)
  const pieces = ends.map((end, index) => bytes.subarray(ends[index - 1] ?? 0, end))
  return new ReadableStream(
    {
      pull(controller) {
        const piece = pieces.shift()
        if (piece !== undefined) controller.enqueue(piece)
        else if (failure === undefined) controller.close()
        else controller.error(new Error(failure))
      },
    },
    // What was queued would be lost with the failure, which no server means.
    { highWaterMark: 0 },
  )
}

const page = (from: number) => Array.from({ length: 2 }, (_, i) => ({ number: String(from - i), kind: 'ingest' }))

describe('lists', () => {
  test('follow the cursor up to the limit', async () => {
    const { fetch, asked } = answering({
      '/v1/pipelines/shop/versions?limit=3': { items: page(9), nextCursor: 'c1' },
      '/v1/pipelines/shop/versions?limit=1&cursor=c1': { items: page(7), nextCursor: 'c2' },
    })
    const { out } = await run(['versions', 'shop', '--limit', '3', '-o', 'ndjson'], { fetch })
    expect(
      out
        .trimEnd()
        .split('\n')
        .map((line) => JSON.parse(line).number),
    ).toEqual(['9', '8', '7'])
    expect(asked).toHaveLength(2)
  })

  test('pipelines show lag and reason', async () => {
    const items = [
      {
        name: 'shop',
        state: 'stopped',
        version: '12',
        lag: { records: '7' },
        reason: { code: 'kafka.gap', message: 'lost' },
      },
    ]
    const { fetch } = answering({ '/v1/pipelines': { items, nextCursor: null } })
    const { out } = await run(['pipelines', '-o', 'csv'], { fetch })
    expect(out).toBe('name,state,version,lag,lastCommit,writer,reason\r\nshop,stopped,12,7,,,kafka.gap: lost\r\n')
  })

  test('verbs are posts', async () => {
    const { fetch, asked } = answering({ '/v1/pipelines/shop/pause': { state: 'paused' } })
    const { out, code } = await run(['pause', 'shop', '--url', 'http://h:1/', '-o', 'json'], { fetch })
    expect([code, JSON.parse(out)]).toEqual([0, [{ state: 'paused' }]])
    expect(asked).toEqual([{ url: 'http://h:1/v1/pipelines/shop/pause', body: {} }])
  })
})

describe('answers of verbs', () => {
  const status = {
    name: 'shop',
    state: 'paused',
    reason: { code: 'pipeline.paused', message: 'asked for', retryable: false },
    version: '7',
    lag: { records: '3' },
    partitions: [{ partition: 'a/0' }],
    tables: ['orders'],
  }
  test('are a line of the list of pipelines to a person, and whole to a program', async () => {
    const { fetch } = answering({ '/v1/pipelines/shop/pause': status })
    const { out } = await run(['pause', 'shop'], { fetch })
    expect(out.split('\n')[0]).toBe('name  state   version  lag  lastCommit  writer  reason')
    expect(out.split('\n')[2]).toBe('shop  paused        7    3                      pipeline.paused: asked for')
    const whole = await run(['pause', 'shop', '-o', 'json'], { fetch })
    expect(JSON.parse(whole.out)).toEqual([status])
  })
  test('of flush are a line of the list of versions', async () => {
    const version = { number: '9', kind: 'ingest', tables: { orders: {} }, positions: {} }
    const { fetch } = answering({ '/v1/pipelines/shop/flush': version })
    expect((await run(['flush', 'shop'], { fetch })).out).toMatch(/^number  kind    time  writer  positions\n/)
  })
})

describe('errors print code, cause and next step', () => {
  test('of the server', async () => {
    const problem = { code: 'sql.syntax', title: 'Syntax', detail: 'near "form"', fix: 'Write FROM.' }
    const fetch = async () => Response.json(problem, { status: 422 })
    const { err, code } = await run(['query', 'select * form t'], { fetch })
    expect(err).toBe('✗ sql.syntax: near "form"\n  next: Write FROM.\n')
    expect(code).toBe(1)
  })

  test('nobody there: 3', async () => {
    const refused = Object.assign(new TypeError('fetch failed'), { cause: new Error('connect ECONNREFUSED') })
    const { err, code } = await run(['tables'], {
      fetch: answering({ '/v1/tables': refused, '/v1/tables?limit=1000': refused }).fetch,
    })
    expect(err).toBe(
      '✗ not_ready: nothing answers at http://127.0.0.1:7780\n  cause: connect ECONNREFUSED\n' +
        '  next: Start kappalake there ("kappalake start"), or name another address with --url or KAPPALAKE_URL.\n',
    )
    expect(code).toBe(3)
  })

  test('somebody else there: 3', async () => {
    const { err, code } = await run(['tables'], { fetch: async () => new Response('<html>', { status: 200 }) })
    expect(err).toMatch(/answers 200, and not as kappalake does/)
    expect(code).toBe(3)
  })
})

describe('diff', () => {
  const page = (id: number, nextCursor: string | null) => ({
    from: '3',
    to: '5',
    key: ['id'],
    added: '1',
    removed: '0',
    changed: '2',
    items: [{ change: 'changed', before: { id, n: '1' }, after: { id, n: '2' } }],
    nextCursor,
  })

  test('counts the changes and lists the first ones, page by page', async () => {
    const { fetch } = answering({
      '/v1/tables/orders/diff?limit=2&from=3&to=shop%405': page(7, 'c1'),
      '/v1/tables/orders/diff?limit=1&cursor=c1': page(9, 'c2'),
    })
    const args = ['diff', 'orders', '3', 'shop@5', '--limit', '2', '-o', 'csv']
    const { out, err, code } = await run(args, { fetch })
    expect(err).toBe('3 → 5: 1 added, 0 removed, 2 changed\n')
    expect(out.split('\r\n')).toEqual([
      'change,id,before,after',
      ...[7, 9].map((id) => `changed,${id},"{""id"":${id},""n"":""1""}","{""id"":${id},""n"":""2""}"`),
      '',
    ])
    expect(code).toBe(0)
  })
})

describe('windows', () => {
  const window = (minute: number, n: string) => ({
    state: 'open',
    start: `2026-11-21T10:0${minute}:00.000000Z`,
    end: `2026-11-21T10:0${minute + 1}:00.000000Z`,
    group: { sensor: 'a' },
    results: { n },
    lastEvent: null,
    corrections: 0,
    finalAt: null,
  })
  const answer = (items: readonly unknown[], nextCursor: string | null) => ({
    version: '7',
    watermark: '2026-11-21T10:00:30.000Z',
    outOfOrdernessMs: 5_000,
    allowedLatenessMs: 0,
    partitions: [
      { partition: 'metrics/0', clock: '2026-11-21T10:02:00.000Z', lag: '0', idle: false, holding: false },
      { partition: 'metrics/1', clock: null, lag: '3', idle: null, holding: true },
    ],
    items,
    nextCursor,
  })

  test('are rows of groups, bounds and results, with what holds the watermark', async () => {
    const { fetch, asked } = answering({
      '/v1/tables/load/windows?limit=3&state=open': answer([window(2, '5'), window(1, '6')], 'next'),
      '/v1/tables/load/windows?limit=1&cursor=next': answer([window(0, '7')], 'more'),
    })
    const { out, err, code } = await run(['windows', 'load', '--state', 'open', '--limit', '3', '-o', 'csv'], { fetch })
    expect([code, asked.length]).toEqual([0, 2])
    expect(out.split('\r\n')).toEqual([
      'sensor,window_start,window_end,n,state,corrections',
      'a,2026-11-21T10:02:00.000000Z,2026-11-21T10:03:00.000000Z,5,open,0',
      'a,2026-11-21T10:01:00.000000Z,2026-11-21T10:02:00.000000Z,6,open,0',
      'a,2026-11-21T10:00:00.000000Z,2026-11-21T10:01:00.000000Z,7,open,0',
      '',
    ])
    expect(err).toBe(
      'version 7, watermark 2026-11-21T10:00:30.000Z, bound 5s, allowed lateness 0s\n' +
        'held by metrics/1 at no event time yet, lag 3\n',
    )
  })

  test('there may be none', async () => {
    const { fetch } = answering({ '/v1/tables/load/windows?limit=50': answer([], null) })
    expect((await run(['windows', 'load'], { fetch })).out).toContain('(0 rows)')
  })
})
