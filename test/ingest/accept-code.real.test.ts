import path from 'node:path'
import fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { defineLake, table, tumbling, type PipelineDefinition } from '../../src/define.ts'
import { openTable } from '../../src/lake/table.ts'
import type { Version } from '../../src/version.ts'
import { canonical, type Canonical, type Row } from '../interop/value.ts'
import { ReaderProcess, type Job } from '../interop/readers.ts'
import { openLakeEngine, type TestLake } from '../server/support.ts'
import { Lakes, type How, type Lake } from '../support/window-lake.ts'

// Code that is accepted from here on, with real Parquet of several schemas in one table: what a record became by the code
// of its time is what our queries and PyIceberg find, after compactions and restarts, by the columns of the last code.

const LIMIT_MS = 240_000
let lakes: Lakes
let pyiceberg: ReaderProcess
beforeAll(async () => {
  lakes = await Lakes.open()
  pyiceberg = new ReaderProcess('pyiceberg')
})
afterAll(async () => {
  lakes.close()
  await pyiceberg.close()
})

/** One definition of the table. */
interface Code {
  readonly isWide: readonly boolean[]
  readonly hasB: boolean
  readonly times: number
  /** Records of which `q` is a multiple of it are dropped; 0: none. */
  readonly drops: number
  readonly isReversed: boolean
  /** The window counts rows above it. */
  readonly above: number
}

const PLAIN: Code = {
  isWide: [false, false, false, false],
  hasB: true,
  times: 2,
  drops: 0,
  isReversed: false,
  above: 0,
}

function definitionOf(code: Code, isKeyed: boolean): PipelineDefinition {
  const [a, f, p, l] = code.isWide
  const columns = Object.entries({
    id: 'string required',
    at: 'long required',
    q: 'int required',
    g: 'string',
    a: a ? 'long' : 'int',
    f: f ? 'double' : 'float',
    p: p ? 'decimal(14,2)' : 'decimal(9,2)',
    l: l ? 'list<long>' : 'list<int>',
    ...(code.hasB ? { b: 'string' } : {}),
    c: `long = q * ${code.times}`,
  })
  const t = table('t', {
    from: { topic: 'c', key: isKeyed ? 'string' : 'none' },
    columns: Object.fromEntries(code.isReversed ? columns.toReversed() : columns),
    eventTime: { column: 'at', unit: 'ms' },
    unknown: 'ignore',
    ...(code.drops === 0 ? {} : { where: `q % ${code.drops} <> 0` }),
    ...(isKeyed ? { key: ['id'] } : {}),
  } as never)
  const w = tumbling('w', t, {
    size: '1m',
    input: 'events',
    groupBy: ['g'],
    select: { n: 'count()', s: 'sum(q)' },
    where: `q > ${code.above}`,
  } as never)
  const overRows = {
    size: '1m',
    input: 'rows',
    allowedLateness: '1d',
    groupBy: ['g'],
    select: { n: 'count()', s: 'sum(q)' },
  }
  const windows = isKeyed ? [w, tumbling('r', t, overRows as never)] : [w]
  return defineLake({ p: [t, ...windows] as never }).pipelines[0]!
}

/** What plain TypeScript makes of the log. */
class Model {
  readonly rows = new Map<string, Row>()
  readonly windows = new Map<string, { n: bigint; s: bigint }>()
  /** A column that comes again is another one. */
  incarnation = 0

  readonly isKeyed: boolean

  constructor(isKeyed: boolean) {
    this.isKeyed = isKeyed
  }

  accept(before: Code, after: Code): void {
    if (!before.hasB && after.hasB) this.incarnation++
  }

  take(code: Code, n: number): unknown {
    const id = this.isKeyed ? `k${n % 7}` : `k${n}`
    const q = (n * 13) % 29
    const [a, g, b] = [n % 5 === 0 ? null : n * 1_000, `g${n % 3}`, n % 4 === 0 ? null : `b${n}`]
    const value = { id, at: n * 7_000, q, g, a, f: n / 4, p: `${n}.25`, l: [n, n + 1], b }
    if (code.drops > 0 && q % code.drops === 0) return value
    this.rows.set(id, {
      id,
      at: BigInt(value.at),
      q,
      g,
      a,
      f: n / 4,
      p: BigInt(n) * 100n + 25n,
      l: [n, n + 1],
      ...(code.hasB ? { [`b${this.incarnation}`]: b } : {}),
      c: BigInt(q * code.times),
      _kafka_partition: 0,
      _offset: BigInt(n),
      _timestamp: BigInt(n) * 1_000n,
    })
    if (q > code.above) {
      const key = `${g} ${Math.floor(value.at / 60_000)}`
      const { n: count, s } = this.windows.get(key) ?? { n: 0n, s: 0n }
      this.windows.set(key, { n: count + 1n, s: s + BigInt(q) })
    }
    return value
  }

  /** Of a window over the rows that stand. */
  get standing(): ReadonlyMap<string, { n: bigint; s: bigint }> {
    const windows = new Map<string, { n: bigint; s: bigint }>()
    for (const { g, at, q } of this.rows.values()) {
      const key = `${String(g)} ${(Number(at) / 60_000) | 0}`
      const { n, s } = windows.get(key) ?? { n: 0n, s: 0n }
      windows.set(key, { n: n + 1n, s: s + BigInt(q as number) })
    }
    return windows
  }
}

async function check(
  lake: Lake,
  head: Version,
  model: Model,
  names: Readonly<Record<string, string>> = { t: 't', w: 'w', r: 'r' },
): Promise<void> {
  const table = names['t']!
  const { metadata } = head.tables[table]!
  const { schema } = await openTable(lake.storage, metadata)
  const cells = (row: Row): Readonly<Record<string, Canonical>> =>
    Object.fromEntries(
      schema.fields.map(({ name, type }) => {
        const value = row[name === 'b' ? `b${model.incarnation}` : name] ?? null
        const isLong = type === 'long' && typeof value === 'number'
        const longs = typeof type !== 'string' && type.type === 'list' && type.element === 'long'
        return [name, canonical(type, isLong ? BigInt(value) : longs ? (value as number[]).map(BigInt) : value)]
      }),
    )
  const want = byOffset([...model.rows.values()].map(cells))
  const job: Job = {
    table: 't',
    metadata: `${lake.storage.url}/${metadata}`,
    fields: schema.fields,
    key: 'id',
    predicates: [],
    snapshots: [],
    lineage: false,
  }
  const answer = await pyiceberg.ask(job)
  expect(answer.error).toBeUndefined()
  expect(byOffset(answer.rows)).toEqual(want)
  expect(answer.count).toBe(want.length)

  const cacheDir = path.join(lake.storage.scratch, 'cache')
  const engine = await openLakeEngine({
    ...lake,
    storage: lake.storage,
    chains: new Map([['p', lake.chain]]),
    cacheDir,
  } as unknown as TestLake)
  try {
    const sql = `SELECT * REPLACE (epoch_us(_timestamp) AS _timestamp) FROM ${table}`
    const rows = (await engine.rows({ sql })) as Row[]
    const own = ({ _timestamp, p, ...row }: Row) =>
      cells({
        ...row,
        _timestamp: _timestamp!,
        p: BigInt(String(p).replace('.', '')),
        [`b${model.incarnation}`]: row['b'] ?? null,
      })
    expect(byOffset(rows.map(own))).toEqual(want)
    const some = await engine.rows({ sql: `SELECT count(*) AS n FROM ${table} WHERE a > 20000 AND c >= 0 AND f < 40` })
    const isSome = ({ a, f }: Row) => a !== null && Number(a) > 20_000 && Number(f) < 40
    expect(some).toEqual([{ n: BigInt([...model.rows.values()].filter(isSome).length) }])
    for (const [window, results] of [
      [names['w']!, model.windows],
      [names['r']!, model.standing],
    ] as const) {
      if (!Object.hasOwn(head.tables, window)) continue
      const found = await engine.rows({
        sql: `SELECT g, epoch_ms(window_start) // 60000 AS w, n, s::BIGINT AS s FROM ${window}`,
      })
      expect(new Map(found.map(({ g, w, n, s }) => [`${String(g)} ${String(w)}`, { n, s }]))).toEqual(results)
    }
  } finally {
    await engine.close()
  }
}

function byOffset(
  rows: readonly Readonly<Record<string, Canonical>>[],
): readonly Readonly<Record<string, Canonical>>[] {
  return rows.toSorted((a, b) => Number(a['_offset']) - Number(b['_offset']))
}

const change = fc.record({
  widens: fc.array(fc.boolean(), { minLength: 4, maxLength: 4 }),
  hasB: fc.boolean(),
  times: fc.integer({ min: 1, max: 3 }),
  drops: fc.constantFrom(0, 2, 3, 5),
  isReversed: fc.boolean(),
  above: fc.integer({ min: 0, max: 15 }),
})
const how: fc.Arbitrary<How> = fc.record({
  lanes: fc.constantFrom(1, 2),
  recordsMax: fc.constantFrom(1, 3, 100),
  offsetsMax: fc.constantFrom(1, 4, 100),
})
const stretch = fc.record({ records: fc.integer({ min: 0, max: 12 }), how })

test('rows by the code of their time, whatever changes when', { timeout: LIMIT_MS }, async () => {
  const property = fc.asyncProperty(
    fc.boolean(),
    stretch,
    fc.array(fc.tuple(change, stretch), { minLength: 1, maxLength: 4 }),
    async (isKeyed, first, rest) => {
      const model = new Model(isKeyed)
      let code = PLAIN
      const lake = await lakes.create(definitionOf(code, isKeyed), 1)
      let written = 0
      const grow = async ({ records, how }: typeof first): Promise<void> => {
        for (const until = written + records; written < until; written++) {
          const value = model.take(code, written)
          const key = Buffer.from((value as { readonly id: string }).id)
          lake.log.append('c', 0, [{ timestampMs: written, key, value: Buffer.from(JSON.stringify(value)) }])
        }
        await lake.run(how)
      }
      await grow({ ...first, records: first.records + 2 })
      for (const [{ widens, ...after }, more] of rest) {
        const next = { ...after, isWide: code.isWide.map((isWide, k) => isWide || widens[k]!) }
        model.accept(code, next)
        await lake.accept(definitionOf(next, isKeyed))
        code = next
        await grow(more)
      }
      await check(lake, await lake.head(), model)
      await lake.storage.close()
    },
  )
  await fc.assert(property, { numRuns: 5, endOnFailure: true })
})

test('tables and windows by other names: the same rows, by queries and PyIceberg', { timeout: LIMIT_MS }, async () => {
  const model = new Model(true)
  const first = definitionOf(PLAIN, true)
  const lake = await lakes.create(first, 1)
  let written = 0
  const grow = async (records: number): Promise<void> => {
    for (const until = written + records; written < until; written++) {
      const value = model.take(PLAIN, written) as { readonly id: string }
      const bytes = Buffer.from(JSON.stringify(value))
      lake.log.append('c', 0, [{ timestampMs: written, key: Buffer.from(value.id), value: bytes }])
    }
    await lake.run({ lanes: 1, recordsMax: 5, offsetsMax: 5 })
  }
  await grow(20)
  const names: Readonly<Record<string, string>> = { t: 'sales', w: 'per_minute', r: 'standing' }
  const renamed = <T extends { readonly name: string }>(each: T): T => ({
    ...each,
    name: names[each.name]!,
    renamedFrom: each.name,
  })
  lake.definition = {
    ...first,
    tables: first.tables.map(renamed),
    windows: first.windows.map((window) => ({ ...renamed(window), source: 'sales' })),
  }
  await grow(20)
  const head = await lake.head()
  expect(Object.keys(head.tables).filter((name) => !name.includes('__'))).toEqual(['sales', 'per_minute', 'standing'])
  await check(lake, head, model, names)
  await lake.storage.close()
})
