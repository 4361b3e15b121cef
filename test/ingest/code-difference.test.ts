import { describe, expect, test } from 'vitest'
import { systemClock } from '../../src/clock.ts'
import { defineLake, json, t, table, tumbling, type PipelineDefinition, type TableOptions } from '../../src/define.ts'
import type { WindowDefinition } from '../../src/define-window.ts'
import { codeDifferences } from '../../src/ingest/code-difference.ts'
import { tableCodes } from '../../src/ingest/codes.ts'
import { emptyTables } from '../../src/ingest/create-tables.ts'
import { appendFiles, openTable, writePlan, type LakeTable } from '../../src/lake/table.ts'
import { MemoryStorage } from '../../src/lake/storage/memory.ts'
import { LEFT_BEHIND, type TableVersion } from '../../src/version.ts'

const storage = new MemoryStorage('codes')

/** A version of a definition, with a row in each source table that is not divided. */
async function versionOf(definition: PipelineDefinition) {
  const all = new Set(tableCodes(definition).keys())
  const versions: Record<string, TableVersion> = { ...(await emptyTables(definition, all, {}, storage, systemClock)) }
  const tables = new Map<string, LakeTable>()
  for (const [name, version] of Object.entries(versions)) {
    const empty = await openTable(storage, version.metadata)
    const isSource = definition.tables.some((each) => each.name === name) && empty.spec.fields.length === 0
    const key = `${writePlan(empty).dataPrefix}a.parquet`
    const file = { key, recordCount: 1, fileSizeBytes: 1, partition: [], metrics: new Map() }
    const stamp = { commitId: 'c', version: 1n, ranges: '' }
    const table = isSource ? await appendFiles(storage, empty, [file], stamp, systemClock) : empty
    tables.set(name, table)
    versions[name] = { ...version, metadata: table.metadata, snapshot: table.snapshot }
  }
  return { head: { tables: versions }, tables }
}

const ORDERS = {
  from: { topic: 'orders', value: json(), key: 'json' },
  columns: {
    id: t.long().required(),
    amount: t.int(),
    price: t.decimal(9, 2),
    status: t.string(),
    at: t.timestamptz(),
    seq: t.long(),
    double: 'long = amount * 2',
  },
  key: ['id'],
  version: 'seq',
  eventTime: { column: 'at' },
  where: 'amount > 0',
} as const

function lakeOf(options: object = {}, window: object = {}, more: object = {}): PipelineDefinition {
  const source = { ...ORDERS, ...options } as unknown as TableOptions
  const orders = table('orders', source)
  const plain = { input: 'events', size: '1m', groupBy: ['status'], select: { n: 'count()', most: 'max(amount)' } }
  const w = tumbling('w', orders, { ...plain, ...window } as any)
  const extra = Object.entries(more).map(([name, given]) => table(name, given as TableOptions))
  return defineLake({ shop: [orders, w, ...extra] as (typeof orders | WindowDefinition)[] }).pipelines[0]!
}

const columns = (changed: object, ...gone: readonly string[]) => ({
  columns: Object.fromEntries(
    Object.entries({ ...ORDERS.columns, ...changed }).filter(([name]) => !gone.includes(name)),
  ),
})

async function differences(before: PipelineDefinition, after: PipelineDefinition) {
  const { head, tables } = await versionOf(before)
  return Object.fromEntries(codeDifferences(after, head, tables).map(({ table, ...rest }) => [table, rest]))
}

describe('what of a definition can change while its rows stay', () => {
  test('nothing changed, nothing to tell; settings are no code', async () => {
    expect(await differences(lakeOf(), lakeOf())).toEqual({})
    expect(await differences(lakeOf(), lakeOf({}, { early: '5s', openRowsMax: 7 }))).toEqual({})
  })

  test.each<[string, object, string]>([
    ['where', { where: 'amount > 1' }, 'where: "amount > 0" → "amount > 1"'],
    ['no where', { where: undefined }, 'where: "amount > 0" → none'],
    ['computed', columns({ double: 'long = amount * 3' }), 'column double: long = amount * 2 → long = amount * 3'],
    ['added', columns({ note: t.string() }), 'column note (string) is new'],
    ['removed', columns({}, 'double'), 'column double is gone'],
    ['widened', columns({ price: t.decimal(12, 2) }), 'column price: decimal(9,2) → decimal(12,2)'],
    ['unknown', { unknown: 'ignore' }, 'unknown: "extra" → "ignore"'],
    ['redact', { redact: { status: 'mask' } }, 'redact: none → [["status","mask"]]'],
    ['onError', { onError: 'skip' }, 'onError: "dead-letter" → "skip"'],
  ])('a table goes on with %s', async (_, change, text) => {
    const rows = { input: 'rows' }
    expect(await differences(lakeOf({}, rows), lakeOf(change, rows))).toEqual({
      orders: { isNew: false, changes: [text], obstacles: [] },
      w: { isNew: false, changes: ['its source orders changed'], obstacles: [] },
    })
  })

  test.each<[string, object, string]>([
    ['topic', { from: { ...ORDERS.from, topic: 'other' } }, 'topic changed'],
    ['value', { from: { ...ORDERS.from, value: 'debezium', key: 'debezium' } }, 'value changed'],
    ['record key', { from: { ...ORDERS.from, key: 'none' } }, 'recordKey changed'],
    ['key', { key: ['id', 'status'], ...columns({ status: t.string().required() }) }, 'key changed'],
    ['no key', { key: undefined, version: undefined, from: { ...ORDERS.from, key: undefined } }, 'key changed'],
    ['version', { version: undefined }, 'version changed'],
    ['event time', { eventTime: { column: 'at', outOfOrderness: '1m' } }, 'eventTime changed'],
    ['partitions', { partitionBy: ['bucket(4, id)'] }, 'partitionBy changed'],
    ['a required column', columns({ note: t.string().required() }), 'column note is new and required'],
    ['a narrower column', columns({ price: t.decimal(8, 2) }), 'column price was decimal(9, 2) and is decimal(8, 2)'],
    ['another type', columns({ status: t.long() }), 'column status was string and is long'],
    ['a key of another type', columns({ id: t.string().required() }), 'column id changed: it is part of the key'],
    ['another version column', columns({ seq: t.int() }), 'column seq changed: it orders the records of a key'],
    ['another instant', columns({ at: t.timestamptz('ms') }), 'column at changed: it is the event time'],
    ['another function', { map: (row: object) => row }, 'map changed'],
    ['no rows', { store: false, key: undefined, version: undefined, from: { topic: 'orders' } }, 'key changed'],
  ])('a table does not go on with %s', async (_, change, text) => {
    const window = 'key' in change && change.key === undefined ? { input: 'events' } : {}
    const { orders } = await differences(lakeOf({}, window), lakeOf(change, window))
    expect(orders!.obstacles.join('; ')).toContain(text)
    expect(orders!.changes.length).toBeGreaterThan(0)
  })

  test('values that a record does not carry can be kept from here on', async () => {
    const plain = { ...columns({}, 'double'), where: undefined }
    const rows = { input: 'rows' }
    const { orders } = await differences(lakeOf(plain, rows), lakeOf({ ...plain, missing: 'keep' }, rows))
    expect(orders).toEqual({ isNew: false, changes: ['missing: "null" → "keep"'], obstacles: [] })
  })

  test.each<[string, object]>([
    ['size', { size: '2m' }],
    ['groupBy', { groupBy: ['status', 'seq'] }],
    ['select', { select: { n: 'count()', most: 'min(amount)' } }],
    ['lateness', { allowedLateness: '1m' }],
    ['nullGroup', { nullGroup: 'keep' }],
    ['emit', { emit: 'close' }],
    ['retain', { retain: '1d' }],
    ['input', { input: 'rows' }],
  ])('a window does not go on with another %s', async (_, change) => {
    const { w, orders } = await differences(lakeOf(), lakeOf({}, change))
    expect(orders).toBeUndefined()
    expect(w!.obstacles).toHaveLength(1)
  })

  test('results of a window are told as somebody would write them', async () => {
    const select = { most: "max(amount) where status <> 'x'", three: 'top(3, amount)' }
    expect((await differences(lakeOf(), lakeOf({}, { select })))['w']!.changes).toEqual([
      "result most: max(amount) → max(amount) where status <> 'x'",
      'result three (top(3, amount)) is new',
      'result n is gone',
    ])
    const turned = { select: { most: 'max(amount)', n: 'count()' } }
    expect((await differences(lakeOf(), lakeOf({}, turned)))['w']!.changes).toEqual(['results are in another order'])
  })

  test('a window over events goes on with another condition, one over rows does not', async () => {
    const where = { where: 'amount > 5' }
    expect((await differences(lakeOf(), lakeOf({}, where)))['w']).toEqual({
      isNew: false,
      changes: ['where: none → "amount > 5"'],
      obstacles: [],
    })
    const rows = { input: 'rows' }
    expect((await differences(lakeOf({}, rows), lakeOf({}, { ...rows, ...where })))['w']!.obstacles).toHaveLength(1)
  })

  test('a window does not go on when a column that it reads is of another type', async () => {
    const { w } = await differences(lakeOf(), lakeOf(columns({ amount: t.long() })))
    expect(w!.obstacles).toEqual(['orders.amount was int and is long: what is open was aggregated otherwise'])
  })

  test('tables and windows that are new begin where the pipeline stands, but not over rows that are there', async () => {
    const before = { ...lakeOf(), windows: [] }
    const clicks = { from: { topic: 'clicks' }, columns: { id: t.long() } }
    const added = { isNew: true, changes: ['is new'] }
    expect(await differences(before, lakeOf({}, {}, { clicks }))).toEqual({
      clicks: { ...added, obstacles: [] },
      w: { ...added, obstacles: [] },
    })
    const { w } = await differences(before, lakeOf({}, { input: 'rows' }))
    expect(w!.obstacles).toHaveLength(1)
  })

  test('what was left behind, or is not known, cannot go on', async () => {
    const { head, tables } = await versionOf(lakeOf())
    const left = { tables: { ...head.tables, orders: { ...head.tables['orders']!, code: LEFT_BEHIND } } }
    expect(codeDifferences(lakeOf(), left, tables)).toMatchObject(
      [{ table: 'orders', obstacles: [/lacks records/] }].map((each) => ({
        ...each,
        obstacles: [expect.stringMatching(/lacks records/)],
      })),
    )
    const old = tables.get('orders')!
    const { 'kappalake.definition': _, ...properties } = old.properties
    const without = new Map([...tables, ['orders', { ...old, properties }]])
    const [unknown] = codeDifferences(lakeOf({ where: undefined }), head, without)
    expect(unknown).toMatchObject({ table: 'orders', changes: [] })
    expect(unknown!.obstacles).toHaveLength(1)
    // A text that is not what the code is the hash of is none.
    const forged = { ...old.properties, 'kappalake.definition': '{"name":"orders"}' }
    const other = new Map([...tables, ['orders', { ...old, properties: forged }]])
    expect(codeDifferences(lakeOf({ where: undefined }), head, other)[0]!.obstacles).toHaveLength(1)
  })
})
