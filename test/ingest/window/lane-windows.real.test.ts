import { existsSync, readdirSync } from 'node:fs'
import { DuckDBInstance, type DuckDBConnection, type DuckDBValue } from '@duckdb/node-api'
import * as fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Column } from '../../../src/batch.ts'
import { systemClock } from '../../../src/clock.ts'
import type { TableDefinition } from '../../../src/define.ts'
import { isSliced, type WindowDefinition } from '../../../src/define-window.ts'
import { advancedBy } from '../../../src/ingest/clocks.ts'
import { deadLetterColumns, tableColumns } from '../../../src/ingest/decode/columns.ts'
import { openEncoder } from '../../../src/ingest/encoder.ts'
import type { StagedTable, TablePlan } from '../../../src/ingest/lane.ts'
import { aggregateSql } from '../../../src/window/aggregates.ts'
import { lateColumns, partialColumns, type WindowShape } from '../../../src/window/columns.ts'
import { registerExact } from '../../../src/window/exact-double.ts'
import { mergeSql, resultsSql } from '../../../src/window/long-rows.ts'
import { MemoryStorage } from '../../../src/lake/storage/memory.ts'
import type { RecordBatch } from '../../../src/log.ts'
import type { Clocks } from '../../../src/version.ts'
import { batchOf, definition, tablePlan, writePlan, type TestRecord } from '../../support/lake-table.ts'
import { ParquetReader } from '../../support/parquet.ts'

const storage = new MemoryStorage('lane-windows')
let reader: ParquetReader
let connection: DuckDBConnection
beforeAll(async () => {
  reader = await ParquetReader.open()
  connection = await (await DuckDBInstance.create(':memory:', { threads: '1' })).connect()
  await connection.run(`SET TimeZone = 'UTC'`)
  registerExact(connection)
})
afterAll(async () => {
  reader.close()
  connection.closeSync()
  await storage.close()
})

const HOUR = 3_600_000
const ORDERS: TableDefinition = definition({
  columns: [
    { name: 'order_id', type: { kind: 'string' }, required: true },
    { name: 'customer_id', type: { kind: 'string' } },
    { name: 'amount', type: { kind: 'double' } },
    { name: 'timestamp', type: { kind: 'long' } },
    { name: 'status', type: { kind: 'string' } },
  ],
  eventTime: { column: 'timestamp', unit: 'ms', outOfOrdernessMs: 5_000, idleAfterMs: 0, maxFutureSkewMs: HOUR },
  key: ['order_id'],
  recordKey: 'string',
})
const REVENUE: WindowDefinition = {
  kind: 'window',
  name: 'revenue',
  source: 'orders',
  window: { kind: 'tumbling', sizeMs: HOUR, offsetMs: 0 },
  allowedLatenessMs: 0,
  input: 'events',
  groupBy: ['customer_id'],
  nullGroup: 'late',
  where: undefined,
  select: [
    { name: 'order_count', fn: 'count', column: undefined, n: undefined, where: undefined },
    { name: 'total_amount', fn: 'sum', column: 'amount', n: undefined, where: undefined },
  ],
  emit: 'update',
  earlyMs: 0,
  openRowsMax: 1_000,
  oldValuesMax: 1_000,
  computed: [],
  retainMs: undefined,
  to: undefined,
}

function planOf(source: TableDefinition, windows: readonly WindowDefinition[]): TablePlan {
  const late = lateColumns(tableColumns(source))
  return {
    ...tablePlan(source),
    deadLetters: writePlan(`${source.name}__dlq`, deadLetterColumns),
    windows: windows.map(({ name }) => ({ window: name, late: writePlan(`${name}__late`, late) })),
  }
}

/** Encodes micro-batches one after the other with the clocks that the ones before left behind, as a lane does. */
async function stage(
  source: TableDefinition,
  windows: readonly WindowDefinition[],
  micro: readonly (readonly RecordBatch[])[],
): Promise<StagedTable[]> {
  const encoder = await openEncoder({ tables: [source], windows, storage, clock: systemClock })
  let clocksMs: Clocks = {}
  const staged: StagedTable[] = []
  for (const batches of micro) {
    const plan = planOf(source, windows)
    const table = await encoder.encode(plan, batches, new Set(), new Set(), clocksMs[source.name] ?? {})
    clocksMs = advancedBy({ tables: [table] }, clocksMs)
    staged.push(table)
  }
  await encoder.close()
  return staged
}

function shapeOf(source: TableDefinition, window: WindowDefinition): WindowShape {
  const columns = tableColumns(source)
  return {
    groups: window.groupBy.map((name) => columns.find((column) => column.name === name)!),
    aggregates: window.select.map((each) => aggregateSql(each, columns, 'events')),
    computed: [],
    hasLastEvent: true,
    isSliced: isSliced(window),
  }
}

/** Results of the partials of all micro-batches: groups, hour of the start, then the aggregates. */
async function results(
  source: TableDefinition,
  window: WindowDefinition,
  staged: readonly StagedTable[],
  select = 'columns(* EXCLUDE (__end, __rows, __last_event))',
): Promise<DuckDBValue[][]> {
  const shape = shapeOf(source, window)
  const files = staged.flatMap(({ windows }) => windows!.filter((each) => each.window === window.name))
  const partials = files.flatMap(({ partials }) => (partials === undefined ? [] : [`'${partials}'`]))
  if (partials.length === 0) return []
  const described = await connection.runAndReadAll(`DESCRIBE FROM read_parquet([${partials.join(',')}])`)
  expect(described.getRows().map(([name]) => name)).toEqual(partialColumns(shape).map(({ name }) => name))
  const merged = mergeSql(shape, `read_parquet([${partials.join(',')}])`)
  const answer = await connection.runAndReadAll(
    `SELECT ${select} FROM (${resultsSql(shape, `(${merged})`)}) ORDER BY ALL`,
  )
  return answer.getRows()
}

async function lateRows(window: string, staged: readonly StagedTable[], select: string): Promise<DuckDBValue[][]> {
  const files = staged.flatMap(({ windows }) => windows!.find((each) => each.window === window)!.lateFiles)
  const rows: DuckDBValue[][] = []
  for (const file of files) rows.push(...(await reader.rows(storage, file, select)))
  return rows
}

const at = (text: string): number => Date.parse(`2026-01-01T${text}Z`)

/** P1 of the acceptance pipelines, in the order of its two partitions. */
const P0: readonly (readonly [string, string, number, string, string])[] = [
  ['A', 'c1', 0.1, '10:00:00', 'created'],
  ['B', 'c2', 5, '10:30:00', 'created'],
  ['A', 'c1', 0.3, '10:59:58', 'paid'],
  ['C', 'c1', 0.4, '11:00:04', 'created'],
  ['D', 'c1', 0.2, '10:59:59', 'cancelled'],
  ['B', 'c2', 6, '11:00:05', 'paid'],
  ['E', 'c2', 3, '10:59:59', 'created'],
  ['B', 'c2', 7, '11:00:06', 'paid'],
]
const order = ([order_id, customer_id, amount, time, status]: (typeof P0)[number]): TestRecord => ({
  key: order_id,
  value: JSON.stringify({ order_id, customer_id, amount, timestamp: at(time), status }),
  timestampMs: at(time),
})
const P1: readonly TestRecord[] = [order(['F', 'c3', 1, '10:15:00', 'created']), { key: 'F', value: null }]

/** Both partitions cut into micro-batches of so many records each. */
function p1Cut(records: number): RecordBatch[][] {
  const micro: RecordBatch[][] = []
  for (let from = 0; from < 8; from += records) {
    const cut = [P0.map(order), P1].flatMap((list, partition) => {
      const part = list.slice(from, from + records)
      return part.length === 0 ? [] : [batchOf(part, { partition, first: BigInt(from) })]
    })
    micro.push(cut)
  }
  return micro
}

describe('columns of any name', () => {
  const NAMES = [
    'w',
    'b',
    'r',
    'k',
    'late',
    'source',
    'start',
    'end',
    'select',
    'größe',
    '@a-b',
    'value',
    'late_windows',
  ]
  const SOURCE: TableDefinition = {
    ...ORDERS,
    columns: [
      { name: 'timestamp', type: { kind: 'long' } },
      ...NAMES.map((name): Column => ({
        name,
        type: { kind: 'struct', fields: [{ name: 'start', type: { kind: 'int' } }] },
      })),
      { name: 'g', type: { kind: 'string' } },
    ],
    key: [],
  }
  const kinds: readonly WindowDefinition['window'][] = [
    { kind: 'tumbling', sizeMs: HOUR, offsetMs: 0 },
    { kind: 'calendar', unit: 'day', timeZone: 'Europe/Berlin' },
    { kind: 'hopping', sizeMs: HOUR, slideMs: HOUR / 2, offsetMs: 0 },
    { kind: 'hopping', sizeMs: HOUR, slideMs: HOUR / 4, offsetMs: 0 },
    { kind: 'cumulate', stepMs: HOUR / 2, maxMs: HOUR, offsetMs: 0 },
    { kind: 'session', gapMs: HOUR },
  ]
  test.each(kinds)('late rows are listed: $kind', async (window) => {
    const value = (timestamp: number): TestRecord => ({
      value: JSON.stringify({ timestamp, g: 'g', ...Object.fromEntries(NAMES.map((name) => [name, { start: 1 }])) }),
      timestampMs: 1e12,
    })
    const definition = { ...REVENUE, window, groupBy: ['g'], select: [REVENUE.select[0]!] }
    const staged = await stage(SOURCE, [definition], [[batchOf([value(1e12), value(0)])]])
    expect(
      (await lateRows('revenue', staged, 'len(_late_windows) > 0, g, "w".start')).map((row) => row.slice(0, 3)),
    ).toEqual([[true, 'g', 1]])
  })
})

describe('P1', () => {
  test.each([1, 2, 3, 8])('on the small log, in micro-batches of %i records a partition', async (records) => {
    const staged = await stage(ORDERS, [REVENUE], p1Cut(records))
    const ten = BigInt(at('10:00:00'))
    const eleven = BigInt(at('11:00:00'))
    expect(await results(ORDERS, REVENUE, staged)).toEqual([
      ['c1', ten, 3n, 0.6],
      ['c1', eleven, 1n, 0.4],
      ['c2', ten, 1n, 5],
      ['c2', eleven, 2n, 13],
      ['c3', ten, 1n, 1],
    ])
    const columns = `order_id, amount, _kafka_partition, _offset, _topic, _event_time, _clock, _counted_windows, _weight, _reason,
      list_transform(_late_windows, lambda w: epoch_ms(w.start)), list_transform(_late_windows, lambda w: epoch_ms(w."end"))`
    const [late, ...others] = await lateRows('revenue', staged, columns)
    expect(others).toEqual([])
    expect(late!.map((value) => (typeof value === 'object' ? JSON.parse(JSON.stringify(value, big)) : value))).toEqual([
      'E',
      3,
      0,
      6n,
      'shop.orders',
      { micros: `${at('10:59:59')}000` },
      { micros: `${at('11:00:05')}000` },
      0,
      1,
      'late',
      { items: [String(ten)] },
      { items: [String(eleven)] },
    ])
    const windows = staged.flatMap(({ windows }) => windows!)
    expect(windows.reduce((sum, { late }) => sum + late, 0)).toBe(1)
    expect(windows.reduce((sum, { lateAssignments }) => sum + lateAssignments, 0)).toBe(1)
  })

  test('of what was not cancelled', async () => {
    const window = { ...REVENUE, where: `status <> 'cancelled'` }
    const staged = await stage(ORDERS, [window], p1Cut(8))
    expect((await results(ORDERS, window, staged))[0]).toEqual(['c1', BigInt(at('10:00:00')), 2n, 0.4])
  })

  test.each([1, 3, 8])(
    'X1: what an expression fails on is listed and counts in nothing, %i records at once',
    async (cut) => {
      const counted = REVENUE.select[0]!
      const fragile = `CAST(CASE WHEN order_id IN ('B', 'E') THEN 'bad' ELSE '1' END AS INTEGER) = 1`
      for (const parts of [
        { where: `${fragile} AND status <> 'cancelled'` },
        { select: [{ ...counted, where: fragile }, REVENUE.select[1]!], where: `status <> 'cancelled'` },
        { select: [{ ...REVENUE.select[1]!, where: fragile }, REVENUE.select[0]!], where: `status <> 'cancelled'` },
      ]) {
        const window = { ...REVENUE, ...parts }
        const staged = await stage(ORDERS, [window], p1Cut(cut))
        const rows = await results(ORDERS, window, staged, 'customer_id, __start, __rows')
        expect(rows).toEqual([
          ['c1', BigInt(at('10:00:00')), 2n],
          ['c1', BigInt(at('11:00:00')), 1n],
          ['c3', BigInt(at('10:15:00') - 900_000), 1n],
        ])
        const late = await lateRows('revenue', staged, '_offset, amount, _reason, _counted_windows, len(_late_windows)')
        // E is late too; that its expression fails is said before.
        expect(late.toSorted((a, b) => Number(a[0]) - Number(b[0]))).toEqual(
          [
            [1n, 5],
            [5n, 6],
            [6n, 3],
            [7n, 7],
          ].map((row) => [...row, 'expression_failed', 0, 0n]),
        )
        const counts = staged.flatMap(({ windows }) => windows!)
        expect(counts.reduce((sum, { failed }) => sum + failed, 0)).toBe(4)
        expect(counts.reduce((sum, { late }) => sum + late, 0)).toBe(0)
      }
    },
  )

  test('X1: so is a value of which the square is too large, where it would count', async () => {
    const source = definition({
      columns: [
        { name: 'g', type: { kind: 'string' } },
        { name: 'amount', type: { kind: 'decimal', precision: 38, scale: 2 } },
        { name: 'at', type: { kind: 'long' } },
      ],
      eventTime: { column: 'at', unit: 'ms', outOfOrdernessMs: 0, idleAfterMs: 0, maxFutureSkewMs: 1e12 },
    })
    const spread = { name: 'spread', fn: 'var', column: 'amount', n: undefined, where: "g <> 'c'" } as const
    const window = { ...REVENUE, groupBy: ['g'], select: [spread] }
    const rows = [
      ['a', '1'],
      ['a', '9'.repeat(30)],
      ['a', '3'],
      ['c', '8'.repeat(30)],
      ['a', null],
    ]
    const values = rows.map(([g, amount]) => ({ value: JSON.stringify({ g, amount, at: 5 }) }))
    const staged = await stage(source, [window], [[batchOf(values)]])
    expect(await results(source, window, staged, 'g, __rows, spread')).toEqual([
      ['a', 3n, 2],
      ['c', 1n, null],
    ])
    expect(await lateRows('revenue', staged, '_offset, g, _reason')).toEqual([[1n, 'a', 'expression_failed']])
  })

  test('late files are files of the late table, with its field ids and metrics', async () => {
    const [staged] = await stage(ORDERS, [REVENUE], p1Cut(8))
    const [file] = staged!.windows![0]!.lateFiles
    expect(file!.key).toMatch(/^tables\/revenue__late\/data\//)
    const [ids] = await reader.query(
      storage,
      file!,
      `SELECT list(field_id ORDER BY field_id) FROM parquet_schema(file) WHERE name IN ('order_id', '_code_hash')`,
    )
    const plan = planOf(ORDERS, [REVENUE]).windows![0]!.late
    const id = (name: string): number => plan.schema.fields.find((field) => field.name === name)!.id
    expect(JSON.parse(JSON.stringify(ids![0], big))).toEqual({
      items: [String(id('order_id')), String(id('_code_hash'))],
    })
    expect(file!.metrics.get(id('order_id'))).toMatchObject({ valueCount: 1, nullCount: 0 })
  })
})

function big(_: string, value: unknown): unknown {
  return typeof value === 'bigint' ? String(value) : value
}

const EVENTS: TableDefinition = definition({
  columns: [
    { name: 'g', type: { kind: 'string' } },
    { name: 'v', type: { kind: 'int' } },
    { name: 'at', type: { kind: 'long' } },
  ],
  eventTime: { column: 'at', unit: 'ms', outOfOrdernessMs: 3, idleAfterMs: 0, maxFutureSkewMs: 1e12 },
})
const record: fc.Arbitrary<Record> = fc.record({
  partition: fc.nat(1),
  g: fc.constantFrom('a', 'b', null),
  v: fc.oneof(fc.constant(null), fc.integer({ min: -9, max: 9 })),
  at: fc.oneof({ weight: 9, arbitrary: fc.integer({ min: -40, max: 60 }) }, fc.constant(null)),
})
/** The same, of which some rows are dropped before they move a clock, and the group is computed. */
const FILTERED: TableDefinition = {
  ...EVENTS,
  columns: [
    ...EVENTS.columns.map((column) => (column.name === 'g' ? { ...column, name: 'raw_g' } : column)),
    { name: 'g', type: { kind: 'string' }, as: `nullif(lower(raw_g), '')` },
  ],
  where: `v < 5 AND coalesce(g, 'a') <> 'z'`,
}
interface Record {
  readonly partition: number
  readonly g: string | null
  readonly v: number | null
  readonly at: number | null
}

/** The unscaled value of a decimal. */
function decimal(value: unknown): unknown {
  return (value as { value?: bigint } | null)?.value ?? value
}

function microOf(list: readonly Record[], cut: number): RecordBatch[][] {
  const micro: RecordBatch[][] = []
  const next = [0n, 0n]
  for (let from = 0; from < list.length; from += cut) {
    const batches = [0, 1].map((partition) => {
      const part = list.slice(from, from + cut).filter((each) => each.partition === partition)
      const records = part.map(({ g, v, at }) => ({
        value: JSON.stringify({ g, raw_g: g?.toUpperCase() ?? null, v, at }),
        timestampMs: 0,
      }))
      const batch = batchOf(records, { partition, first: next[partition]! })
      next[partition]! += BigInt(part.length)
      return batch
    })
    micro.push(batches)
  }
  return micro
}

/** Rules L2 and T4 in plain words, for windows [start, start + 10): by group and window the rows and values that count. */
function reference(
  list: readonly Record[],
  slideMs: number,
  where: (v: number | null) => boolean,
  isThere: (v: number | null) => boolean,
) {
  const clocks = [-Infinity, -Infinity]
  const cells = new Map<string, [n: bigint, sum: bigint | null, max: number | null]>()
  let [late, lateAssignments, unassigned] = [0, 0, 0]
  for (const { partition, g, v, at } of list) {
    if (!isThere(v)) continue
    const clock = clocks[partition]!
    if (at !== null) clocks[partition] = Math.max(clock, at)
    if (!where(v)) continue
    if (at === null || g === null) {
      unassigned++
      continue
    }
    let [counted, missed] = [0, 0]
    for (let start = Math.floor(at / slideMs) * slideMs; start > at - 10; start -= slideMs) {
      if (start + 10 + 3 <= clock) {
        missed++
        continue
      }
      counted++
      const key = `${g} ${start} ${start + 10}`
      const [n, sum, max] = cells.get(key) ?? [0n, null, null]
      cells.set(key, [
        n + 1n,
        v === null ? sum : (sum ?? 0n) + BigInt(v),
        v === null ? max : Math.max(v, max ?? -Infinity),
      ])
    }
    lateAssignments += missed
    if (counted === 0) late++
  }
  return { cells, late, lateAssignments, unassigned }
}

describe('any log', () => {
  const select = [
    { name: 'n', fn: 'count', column: undefined, n: undefined, where: undefined },
    { name: 'total', fn: 'sum', column: 'v', n: undefined, where: undefined },
    { name: 'most', fn: 'max', column: 'v', n: undefined, where: undefined },
    { name: 'kinds', fn: 'count_distinct', column: 'v', n: undefined, where: undefined },
  ] as const
  const kinds = [
    ['tumbling', { kind: 'tumbling', sizeMs: 10, offsetMs: 0 }, 10, EVENTS],
    ['hopping', { kind: 'hopping', sizeMs: 10, slideMs: 4, offsetMs: 0 }, 4, EVENTS],
    ['tumbling, of filtered and computed rows,', { kind: 'tumbling', sizeMs: 10, offsetMs: 0 }, 10, FILTERED],
  ] as const
  test.each(kinds)(
    '%s windows count what is in time and list what is late, in any cut (L2, L3, T3, T4)',
    async (_, window, slideMs, source) => {
      const given: WindowDefinition = {
        ...REVENUE,
        name: 'w',
        source: 'orders',
        window,
        groupBy: ['g'],
        select,
        where: 'v <> 3',
      }
      await fc.assert(
        fc.asyncProperty(
          fc.array(record, { minLength: 1, maxLength: 40 }),
          fc.integer({ min: 1, max: 40 }),
          async (list, cut) => {
            const micro = microOf(list, cut)
            // Within a micro-batch the records of a partition stand together; no clock of another moves.
            const staged = await stage(source, [given], micro)
            const expected = reference(
              list,
              slideMs,
              (v) => v !== null && v !== 3,
              (v) => source === EVENTS || (v !== null && v < 5),
            )
            const rows = await results(source, given, staged, 'g, __start, __end, n, total, most')
            const found = new Map(
              rows.map(([g, start, end, ...values]) => [`${String(g)} ${String(start)} ${String(end)}`, values]),
            )
            expect(new Map([...found].map(([key, [n, total, most]]) => [key, [n, decimal(total), most]]))).toEqual(
              expected.cells,
            )
            const windows = staged.flatMap(({ windows }) => windows!)
            expect(windows.reduce((sum, { late }) => sum + late, 0)).toBe(expected.late)
            expect(windows.reduce((sum, { lateAssignments }) => sum + lateAssignments, 0)).toBe(
              expected.lateAssignments,
            )
            const reasons = await lateRows('w', staged, '_reason')
            expect(reasons.filter(([reason]) => reason !== 'late')).toHaveLength(expected.unassigned)
          },
        ),
        { numRuns: 15 },
      )
    },
  )

  test('sessions of a micro-batch that touch are one cell (N1)', async () => {
    const window: WindowDefinition = {
      ...REVENUE,
      name: 's',
      window: { kind: 'session', gapMs: 10 },
      groupBy: ['g'],
      select: select.slice(0, 2),
    }
    const list = [0, 8, 18, 29].map((at) => ({ partition: 0, g: 'a', v: 1, at }))
    const [staged] = await stage(EVENTS, [window], microOf(list, 4))
    const file = staged!.windows![0]!.partials!
    const cells = await connection.runAndReadAll(
      `SELECT __start, __end, __rows, __last_event FROM '${file}' ORDER BY ALL`,
    )
    expect(cells.getRows()).toEqual([
      [0n, 28n, 3n, 18n],
      [29n, 39n, 1n, 29n],
    ])
  })

  test.each<WindowDefinition['window']>([
    { kind: 'calendar', unit: 'day', timeZone: 'Europe/Berlin' },
    { kind: 'tumbling', sizeMs: 24 * HOUR, offsetMs: 0, timeZone: 'Europe/Berlin' },
  ])('W5: a day of a time zone may have 25 hours: $kind', async (kind) => {
    const window: WindowDefinition = {
      ...REVENUE,
      name: 'd',
      window: kind,
      groupBy: [],
      select: select.slice(0, 1),
    }
    const list = ['2026-10-24T21:59:59Z', '2026-10-25T00:30:00Z', '2026-10-25T22:59:59Z'].map((text) => ({
      partition: 0,
      g: null,
      v: 1,
      at: Date.parse(text),
    }))
    const [staged] = await stage(EVENTS, [window], microOf(list, 3))
    const cells = await connection.runAndReadAll(
      `SELECT __start, __end - __start, __rows FROM '${staged!.windows![0]!.partials!}' ORDER BY ALL`,
    )
    expect(cells.getRows()).toEqual([
      [BigInt(Date.parse('2026-10-23T22:00:00Z')), 86_400_000n, 1n],
      [BigInt(Date.parse('2026-10-24T22:00:00Z')), 90_000_000n, 2n],
    ])
  })
})

test('what a change does not carry is null to windows, whether or not its row is in the same micro-batch', async () => {
  const changes: TableDefinition = {
    ...EVENTS,
    value: 'debezium',
    columns: [{ name: 'id', type: { kind: 'int' } }, ...EVENTS.columns, { name: 'note', type: { kind: 'string' } }],
    key: ['id'],
    recordKey: 'debezium',
  }
  const window: WindowDefinition = {
    ...REVENUE,
    name: 'c',
    source: 'orders',
    window: { kind: 'tumbling', sizeMs: 10, offsetMs: 0 },
    groupBy: ['g'],
    nullGroup: 'keep',
    select: [{ name: 'n', fn: 'count', column: undefined, n: undefined, where: undefined }],
  }
  const U = '__debezium_unavailable_value'
  const records = [
    { id: 1, g: 'x', v: 1, at: 5, note: 'long' },
    { id: 1, g: U, v: 2, at: 6, note: U },
    { id: 1, g: 'y', v: 3, at: 50, note: U },
    { id: 1, g: U, v: 4, at: 7, note: U },
  ].map((after) => ({
    key: JSON.stringify({ id: after.id }),
    value: JSON.stringify({ before: null, after, source: {}, op: 'u' }),
  }))
  for (const cut of [1, 4]) {
    const micro: RecordBatch[][] = []
    for (let from = 0; from < 4; from += cut)
      micro.push([batchOf(records.slice(from, from + cut), { first: BigInt(from) })])
    const staged = await stage(changes, [window], micro)
    expect(await results(changes, window, staged)).toEqual([
      ['x', 0n, 1n],
      ['y', 50n, 1n],
      [null, 0n, 1n],
    ])
    expect(await lateRows('c', staged, 'id, g, v, note, _offset')).toEqual([[1, null, 4, null, 3n]])
  }
})

describe('files', () => {
  test('of a micro-batch of which nothing counts there are none', async () => {
    const [staged] = await stage(ORDERS, [{ ...REVENUE, where: 'false' }], [[batchOf(P1)]])
    expect(staged!.windows).toEqual([
      { window: 'revenue', partials: undefined, lateFiles: [], late: 0, lateAssignments: 0, failed: 0 },
    ])
  })

  test('none is left behind when a window fails', async () => {
    const before = readdirSync(storage.scratch)
    const type = { kind: 'decimal', precision: 38, scale: 0 } as const
    const columns = ORDERS.columns.map((column) => (column.name === 'amount' ? { ...column, type } : column))
    const large = order(['A', 'c1', 0, '10:00:00', 'created'])
    const records = [large, large].map(({ value, ...rest }) => ({
      ...rest,
      value: String(value).replace('"amount":0', `"amount":"${'9'.repeat(38)}"`),
    }))
    const counting = { ...REVENUE, name: 'counting', select: [REVENUE.select[0]!] }
    await expect(stage({ ...ORDERS, columns }, [counting, REVENUE], [[batchOf(records)]])).rejects.toMatchObject({
      code: 'aggregate.overflow',
    })
    expect(readdirSync(storage.scratch)).toEqual(before)
  })

  test('a source that is not stored feeds its windows', async () => {
    const [staged] = await stage({ ...ORDERS, key: [], recordKey: 'none', store: false }, [REVENUE], p1Cut(8))
    expect(staged).toMatchObject({ files: [], isStored: false })
    expect(existsSync(staged!.windows![0]!.partials!)).toBe(true)
    expect(staged!.windows![0]!.lateFiles).toHaveLength(1)
  })
})
