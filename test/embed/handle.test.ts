import fc from 'fast-check'
import { describe, expect, test, vi } from 'vitest'
import type { ColumnType } from '../../src/batch.ts'
import { defineLake, session, t, table, tumbling } from '../../src/define.ts'
import { watchedChain } from '../../src/lake/watched-chain.ts'
import { readingOf } from '../../src/lake-handle.ts'
import { Listeners } from '../../src/listeners.ts'
import { rowsOf } from '../../src/row-stream.ts'
import { rowChange } from '../../src/row-values.ts'
import { template } from '../../src/sql-template.ts'
import { columnsOfTable } from '../../src/table-columns.ts'
import type { Chain } from '../../src/lake/chain.ts'
import type { Version } from '../../src/version.ts'

const orders = table('orders', {
  from: { topic: 'shop.orders' },
  columns: {
    id: t.string(),
    at: t.timestamp(),
    seen: t.timestampMs(),
    inner: t.list(t.struct({ seen: t.timestampMs().required(), n: t.long() })),
    amount: t.decimal(9, 2),
  },
  key: ['id'],
  eventTime: { column: 'at' },
})
const last = tumbling('last', orders, { size: '1m', groupBy: ['id'], select: ({ max }) => ({ seen: max('seen') }) })
const visits = session('visits', orders, { gap: '1m', input: 'events', groupBy: ['id'], select: { n: 'count()' } })
const lake = defineLake({ shop: [orders, last, visits] })

describe('references', () => {
  test('are tables in a template, and values are parameters', () => {
    const asked = (texts: TemplateStringsArray, ...values: unknown[]) => template(texts, values)
    expect(
      asked`select * from ${orders} join ${orders.deadLetters} join ${last.late} where id = ${'x'} or n = ${[1, null]}`,
    ).toEqual({
      sql: 'select * from "orders" join "orders__dlq" join "last__late" where id = $1 or n = $2',
      params: ['x', [1, null]],
    })
    for (const wrong of [undefined, () => 1, Symbol('s'), { a: 1 }, [undefined], { kind: 'table' }])
      expect(() => asked`select ${wrong}`).toThrow(expect.objectContaining({ code: 'request.invalid' }))
    expect(asked`select * from ${{ kind: 'table', name: 'a" b' }}`.sql).toBe('select * from "a"" b"')
  })

  test('are no part of the definition: neither copies nor comparisons see them', () => {
    expect(Object.keys(orders)).not.toContain('deadLetters')
    expect(JSON.stringify(last)).not.toContain('"late":')
    expect(structuredClone(orders)).toEqual(orders)
  })
})

describe('what is known of tables', () => {
  test('the key orders them', () => {
    const keys = ['orders', 'orders__dlq', 'last', 'visits', 'last__late', 'last__state', 'nobody'].map(
      (name) => columnsOfTable(lake, name).key,
    )
    expect(keys).toEqual([
      ['id'],
      ['_kafka_partition', '_offset'],
      ['window_start', 'window_end', 'id'],
      ['window_start', 'id'],
      ['_kafka_partition', '_offset', '_weight'],
      [],
      [],
    ])
    expect(columnsOfTable(lake, 'last').typeOf('seen')).toEqual({ kind: 'timestamp', unit: 'ms' })
  })
})

describe('rows', () => {
  const MS: ColumnType = { kind: 'timestamptz', unit: 'ms' }

  test('instants of columns in milliseconds are Dates, all others stay', () => {
    const change = rowChange(orders.columns)!
    const row = { id: 'a', at: 5n, seen: 1_500n, inner: [{ seen: 2_000n, n: 3n }, null], amount: '1.00', _offset: 7n }
    expect(change(row)).toEqual({ ...row, seen: new Date(1), inner: [{ seen: new Date(2), n: 3n }, null] })
    expect(change({ seen: null })).toEqual({ seen: null })
    expect(change({ seen: 'of other code' })).toEqual({ seen: 'of other code' })
    expect(rowChange([{ name: 'at', type: { kind: 'timestamp' } }])).toBeUndefined()
  })

  test('whatever a Date can say comes back as it was', () => {
    fc.assert(
      fc.property(fc.date({ noInvalidDate: true }), fc.integer({ min: 0, max: 999 }), (date, below) => {
        const micros = BigInt(date.getTime()) * 1_000n + BigInt(below)
        expect(rowChange([{ name: 'x', type: MS }])!({ x: micros })['x']).toEqual(date)
      }),
    )
  })

  const engineOf = (batches: readonly (readonly Record<string, unknown>[])[]) => {
    const asked: object[] = []
    return {
      asked,
      rows: async (request: object) => (asked.push(request), batches.flat()),
      async *batches(request: object) {
        asked.push(request)
        yield* batches
      },
    }
  }

  test('run when they are asked for, once', async () => {
    const engine = engineOf([[{ id: 'a', seen: 1_000n }], [{ id: 'b', seen: null }]])
    const reading = readingOf(engine, lake)
    const rows = reading.rows(orders, { where: { id: 'a' }, asOf: 12n, limit: 5 })
    expect(engine.asked).toEqual([])
    expect(await rows).toEqual([
      { id: 'a', seen: new Date(1) },
      { id: 'b', seen: null },
    ])
    await rows
    expect(engine.asked).toEqual([
      {
        sql: `SELECT * FROM "orders" WHERE (\n("id" = 'a')\n) ORDER BY "id" NULLS LAST LIMIT 5`,
        where: undefined,
        asOf: '12',
      },
    ])
    await reading.rows('orders', { where: 'n > 1' })
    expect(engine.asked[1]).toMatchObject({ where: 'n > 1' })
  })

  test('come as they are, and reading less ends the query', async () => {
    const ended = vi.fn()
    async function* some() {
      try {
        yield [{ n: 1 }, { n: 2 }]
        yield [{ n: 3 }]
      } finally {
        ended()
      }
    }
    const rows = rowsOf(() => Promise.reject(new Error('not asked')), some)
    const seen: number[] = []
    for await (const { n } of rows) {
      seen.push(n)
      if (n === 2) break
    }
    expect([seen, ended.mock.calls.length]).toEqual([[1, 2], 1])
    const sizes: number[] = []
    for await (const batch of rows.batches()) sizes.push(batch.length)
    expect(sizes).toEqual([2, 1])
    await expect(rows).rejects.toThrow('not asked')
    expect(await rows.catch(() => 'caught')).toBe('caught')
  })

  test('what cannot be asked is told by the promise', async () => {
    const reading = readingOf(engineOf([]), lake)
    await expect(reading.rows(orders, { limit: -1 })).rejects.toMatchObject({ code: 'request.invalid' })
    await expect(reading.sql`select ${undefined}`).rejects.toMatchObject({ code: 'request.invalid' })
    await expect(reading.sql('select $1', () => 1)).rejects.toMatchObject({ code: 'request.invalid' })
  })
})

describe('listeners', () => {
  test('hear what they asked for until they leave, and stop nothing', async () => {
    const failures: unknown[] = []
    const listeners = new Listeners<{ a: number; b: string }>((error) => failures.push(error))
    const heard: unknown[] = []
    const hear = (event: unknown) => void heard.push(event)
    listeners.on('a', () => {
      throw new Error('thrown')
    })
    const leave = listeners.on('a', hear)
    listeners.on('a', hear)
    listeners.on('b', () => Promise.reject(new Error('later')))
    listeners.tell('a', 1)
    leave()
    leave()
    listeners.tell('a', 2)
    listeners.tell('b', 'x')
    await Promise.resolve()
    expect(heard).toEqual([1, 1, 2])
    expect(failures).toMatchObject([{ message: 'thrown' }])
  })

  test('a listener that leaves while it is told, or brings another', () => {
    const listeners = new Listeners<{ a: number }>(() => undefined)
    const heard: number[] = []
    const leave = listeners.on('a', (n) => {
      heard.push(n)
      leave()
    })
    listeners.tell('a', 1)
    listeners.tell('a', 2)
    expect(heard).toEqual([1])
  })
})

describe('a watched chain', () => {
  const versionOf = (number: bigint) => ({ number }) as Version

  test('tells of each newer head once, in order, whoever saw it', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.constantFrom('head', 'append', 'stale'), fc.bigInt({ min: 1n, max: 9n }))),
        async (steps) => {
          const told: bigint[] = []
          let at = 0n
          const chain = {
            pipeline: 'shop',
            head: async () => (at === 0n ? undefined : versionOf(at)),
            append: async (_: unknown, { build: kind }: { build: unknown }) =>
              kind === 'stale' ? { kind, head: versionOf(at) } : { kind: 'committed', version: versionOf(at) },
          } as unknown as Chain
          const watched = watchedChain(chain, ({ number }) => told.push(number))
          const seen: bigint[] = []
          for (const [what, to] of steps) {
            at = to
            seen.push(at)
            if (what === 'head') await watched.head()
            else await watched.append(undefined, { build: what } as never)
          }
          const rising = seen.filter((number, i) => seen.slice(0, i).every((before) => before < number))
          expect(told).toEqual(rising)
        },
      ),
    )
  })
})
