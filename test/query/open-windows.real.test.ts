import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { recompute, type LogRecord } from '../../infra/windows/oracle.mjs'
import type { Column } from '../../src/batch.ts'
import type { WindowDefinition } from '../../src/define-window.ts'
import { aggregateSql } from '../../src/window/aggregates.ts'
import type { WindowShape } from '../../src/window/columns.ts'
import { partialsSql } from '../../src/window/long-rows.ts'
import { storedFiles } from '../../src/lake/scan.ts'
import { openTable } from '../../src/lake/table.ts'
import type { Engine } from '../../src/query/engine.ts'
import { randomOf } from '../../infra/exact/random.mjs'
import { OUT_OF_ORDERNESS_MS, makeWindowLake, windowDefinition, type WindowLake } from './window-lake.ts'

// Rules S1 to S3, E1: what a query sees of sliced windows is what counting window by window gives.

const COLUMNS: readonly Column[] = [
  { name: 'sensor', type: { kind: 'string' } },
  { name: 'value', type: { kind: 'double' } },
]
const SELECT = [
  ['n', 'count', undefined],
  ['total', 'sum', 'value'],
  ['mean', 'avg', 'value'],
  ['different', 'count_distinct', 'value'],
  ['least', 'min', 'value'],
] as const
const select = SELECT.map(([name, fn, column]) => ({ name, fn, column, n: undefined, where: undefined }))
// The size is no multiple of the slide, and slices are shorter than both.
const KINDS = {
  load: { kind: 'hopping', sizeMs: 10_000, slideMs: 2_000, offsetMs: 0 },
  odd: { kind: 'hopping', sizeMs: 9_000, slideMs: 2_000, offsetMs: -500 },
  closing: { kind: 'hopping', sizeMs: 10_000, slideMs: 2_000, offsetMs: 0 },
} as const
const LATENESS_MS = 3_000
const windows = Object.entries(KINDS).map(([name, window]) => {
  const definition: WindowDefinition = windowDefinition({
    name,
    window,
    allowedLatenessMs: LATENESS_MS,
    select,
    emit: name === 'closing' ? 'close' : 'update',
  })
  const shape: WindowShape = {
    groups: [COLUMNS[0]!],
    aggregates: select.map((each) => aggregateSql(each, COLUMNS, 'events')),
    computed: [],
    hasLastEvent: true,
    isSliced: true,
  }
  return { definition, shape }
})

const values = (rows: readonly any[]) => rows.map(({ value }) => value).filter((value) => value !== null)
const exact = (list: readonly number[]) => list.reduce((sum, value) => sum + value, 0)
/** Halves and quarters, so that plain sums are exact. */
const results: Readonly<Record<string, (rows: readonly any[]) => unknown>> = {
  n: (rows) => BigInt(rows.length),
  total: (rows) => (values(rows).length === 0 ? null : exact(values(rows))),
  mean: (rows) => (values(rows).length === 0 ? null : exact(values(rows)) / values(rows).length),
  different: (rows) => BigInt(new Set(values(rows)).size),
  least: (rows) => (values(rows).length === 0 ? null : Math.min(...values(rows))),
}

/** Two partitions whose clocks differ, with records that are late for some of their windows. */
function logOf(seed: number): ReadonlyMap<number, readonly LogRecord[]> {
  const random = randomOf(seed)
  const partition = (beginMs: number) =>
    Array.from({ length: 150 }, (_, offset): LogRecord => {
      const timestamp = beginMs + offset * 200 - Math.floor(random() * (random() < 0.3 ? 25_000 : 5_000))
      const value = random() < 0.05 ? null : Math.floor(random() * 40) / 4
      return {
        offset,
        kts: 1e12,
        key: '',
        value: JSON.stringify({ sensor: random() < 0.1 ? 'b' : 'a', value, timestamp }),
      }
    })
  return new Map([
    [0, partition(-10_000)],
    [1, partition(4_000)],
  ])
}

const ALL = new Map([
  [0, Infinity],
  [1, Infinity],
])

/** Windows of an instant by rule W2, one after the other. */
function windowsOf({ sizeMs, slideMs, offsetMs }: (typeof KINDS)['load' | 'odd'], ms: number) {
  const found: [number, number][] = []
  for (let start = Math.floor((ms - offsetMs) / slideMs) * slideMs + offsetMs; start > ms - sizeMs; start -= slideMs)
    found.push([start, start + sizeMs])
  return found
}

function oracle(name: keyof typeof KINDS, log: ReturnType<typeof logOf>) {
  const window = {
    name,
    source: 'metrics',
    input: 'events' as const,
    groupBy: 'sensor',
    windowsOf: (ms: number) => windowsOf(KINDS[name] as (typeof KINDS)['load'], ms),
    where: () => true,
    select: Object.fromEntries(Object.entries(results).map(([column, of]) => [column, { type: '', of }])),
    config: {},
  }
  const config = { columns: { sensor: 'string', value: 'double', timestamp: 'long' } }
  const source = { topic: 't', outOfOrdernessMs: OUT_OF_ORDERNESS_MS, spanMs: 0, latestMs: 0, config }
  return recompute(window, source, log, ALL, LATENESS_MS)
}

/** The rows of `__state`: what counts, in its slice, tagged where it is late for some of its windows (rule S2). */
function stateSql(name: keyof typeof KINDS, log: ReturnType<typeof logOf>): string {
  const { sizeMs, slideMs, offsetMs } = KINDS[name]
  const slice = sizeMs % slideMs === 0 ? slideMs : 1_000
  const counted: string[] = []
  for (const records of log.values()) {
    let clock = -Infinity
    for (const { value } of records) {
      const { sensor, value: amount, timestamp } = JSON.parse(value!)
      const ends = windowsOf(KINDS[name] as (typeof KINDS)['load'], timestamp).map(([, end]) => end)
      const open = ends.filter((end) => end + LATENESS_MS + OUT_OF_ORDERNESS_MS > clock)
      clock = Math.max(clock, timestamp)
      if (open.length === 0) continue
      const start = Math.floor((timestamp - offsetMs) / slice) * slice + offsetMs
      const minEnd = open.length === ends.length ? 'NULL' : Math.min(...open)
      counted.push(
        `('${sensor}', ${amount ?? 'NULL'}::DOUBLE, ${start}::BIGINT, ${start + slice}::BIGINT, ${minEnd}::BIGINT, ${timestamp}::BIGINT)`,
      )
    }
  }
  const relation = `(VALUES ${counted.join(', ')}) AS r(sensor, value, "__start", "__end", "__min_end", "__event_ms")`
  return partialsSql(windows[0]!.shape, 'events', relation)
}

/** The rows of the table: what is final at the watermark (rule C2). */
function finalSql(expected: ReturnType<typeof oracle>, watermarkMs: number): string {
  const rows = [...expected.rows.values()].filter(({ end }) => end - 1 + LATENESS_MS <= watermarkMs)
  const at = (ms: number) => `make_timestamptz(${ms * 1_000}::BIGINT)`
  return rows
    .map(
      ({ group, start, end, values: v, lastMs }) =>
        `SELECT '${group}', ${at(start)}, ${at(end)}, ${v['n']}::BIGINT, ${v['total']}::DOUBLE, ${v['mean']}::DOUBLE,
        ${v['different']}::BIGINT, ${v['least']}::DOUBLE, ${at(lastMs)}, true, 2::INTEGER`,
    )
    .join(' UNION ALL ')
}

let lake: WindowLake
let engine: Engine
/** Windows that end at 6,000 wait for 8,999. */
const WATERMARK_MS = 8_998
const log = logOf(3)
const names = ['load', 'odd', 'closing'] as const

beforeAll(async () => {
  lake = await makeWindowLake(windows, COLUMNS)
  const state = Object.fromEntries(names.map((name) => [`${name}__state`, stateSql(name, log)]))
  const final = (name: (typeof names)[number]) => finalSql(oracle(name, log), WATERMARK_MS)
  await lake.commit({ rows: state })
  await lake.commit({ rows: Object.fromEntries(names.map((name) => [name, final(name)])), watermarkMs: WATERMARK_MS })
  engine = await lake.openEngine()
}, 30_000)

afterAll(async () => {
  await engine.close()
  await lake.close()
})

const rowsOf = (sql: string, asOf?: string) => engine.rows({ sql, asOf, maxRows: 1_000 })

function lines(expected: ReturnType<typeof oracle>, isFinal: (end: number) => boolean) {
  return [...expected.rows.values()].map(({ group, start, end, values: v, lastMs }) => ({
    sensor: group,
    s: BigInt(start),
    e: BigInt(end),
    ...v,
    last: BigInt(lastMs),
    _final: isFinal(end),
    _corrections: isFinal(end) ? 2 : 0,
  }))
}

const ALL_COLUMNS = `sensor, epoch_ms(window_start) s, epoch_ms(window_end) e, n, total, mean, different, "least",
  epoch_ms(last_event_time) "last", _final, _corrections`
const sorted = (rows: readonly any[]) =>
  rows.toSorted((a, b) => Number(a.s - b.s) || (a.sensor < b.sensor ? -1 : 1)).map((row) => ({ ...row }))

describe('sliced windows', () => {
  test('the log has records that are late for some of their windows, not for all', () => {
    const { late } = oracle('load', log)
    expect(late.filter(({ counted }) => counted > 0).length).toBeGreaterThan(3)
    expect(late.filter(({ counted }) => counted === 0).length).toBeGreaterThan(3)
  })

  test.each(['load', 'odd'] as const)('%s: final rows are stored, open ones put together', async (name) => {
    const expected = lines(oracle(name, log), (end) => end - 1 + LATENESS_MS <= WATERMARK_MS)
    expect(new Set(expected.map((row) => row._final))).toEqual(new Set([true, false]))
    expect(sorted(await rowsOf(`SELECT ${ALL_COLUMNS} FROM ${name}`))).toEqual(sorted(expected))
  })

  test.each(['load', 'odd'] as const)('%s: without a watermark all are open', async (name) => {
    const expected = lines(oracle(name, log), () => false)
    expect(sorted(await rowsOf(`SELECT ${ALL_COLUMNS} FROM ${name}`, 'lab@1'))).toEqual(sorted(expected))
  })

  test('can be counted, filtered, ordered and joined like any table', async () => {
    const all = sorted(lines(oracle('load', log), () => false))
    expect(await rowsOf('SELECT count(*) c FROM load')).toEqual([{ c: BigInt(all.length) }])
    const [top] = await rowsOf('SELECT epoch_ms(window_start) s FROM load ORDER BY window_start DESC LIMIT 1')
    expect(top).toEqual({ s: all.at(-1).s })
    const ofB = all.filter(({ sensor }) => sensor === 'b').length
    expect(await rowsOf(`SELECT count(*) c FROM load WHERE sensor = 'b'`)).toEqual([{ c: BigInt(ofB) }])
    const twice = `SELECT count(*) c FROM load a JOIN odd b USING (sensor, window_start) JOIN load__state s USING (sensor)`
    expect((await rowsOf(twice))[0]!['c']).toBe(0n)
  })

  test('with `emit: close` only final rows are there', async () => {
    const expected = lines(oracle('closing', log), () => true).filter(
      ({ e }) => Number(e) - 1 + LATENESS_MS <= WATERMARK_MS,
    )
    expect(sorted(await rowsOf(`SELECT ${ALL_COLUMNS} FROM closing`))).toEqual(sorted(expected))
  })

  test('foreign engines see the final rows', async () => {
    const head = (await lake.chains.get('lab')!.head())!
    const table = await openTable(lake.storage, head.tables['load']!.metadata)
    expect(await storedFiles(lake.storage, table)).toHaveLength(1)
    expect(table.properties['kappalake.window']).toContain('"hopping"')
  })

  test('callers cannot name the slices behind a table, nor the functions that add them up', async () => {
    await expect(rowsOf('SELECT * FROM kappalake."load state"')).rejects.toMatchObject({ code: 'sql.denied' })
    await expect(rowsOf('SELECT exact_sum([]) FROM load')).rejects.toMatchObject({ code: 'sql.denied' })
  })
})
