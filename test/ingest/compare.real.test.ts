import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Column, ColumnType } from '../../src/batch.ts'
import { systemClock } from '../../src/clock.ts'
import type { ArchiveWork } from '../../src/ingest/archive/archive.ts'
import type { ChangedRows, CompareRequest, Comparison, TableWork } from '../../src/ingest/keys.ts'
import { COMPARE_LIMITS } from '../../src/ingest/table-work/compare.ts'
import { openTableWork } from '../../src/ingest/table-work.ts'
import { perform, remoteWork } from '../../src/ingest/work-messages.ts'
import { LocalStorage } from '../../src/lake/storage/local.ts'
import { MemoryStorage } from '../../src/lake/storage/memory.ts'
import { DeletedRows, type Storage, type WritePlan } from '../../src/lake/table.ts'
import { writePlan } from '../support/lake-table.ts'
import { plainCompare, type PlainRequest } from '../support/plain-compare.ts'
import { PlainWriter, type PlainRow } from '../support/plain-rows.ts'

// States of a table as files that DuckDB reads, compared as plain rows are.

const folder = mkdtempSync(path.join(os.tmpdir(), 'kappalake-compare-'))
let storage: Storage
let writer: PlainWriter
/** With room for everything, and for hardly anything. */
let works: readonly (TableWork & ArchiveWork & { close(): Promise<void> })[]
let steps = 0
beforeAll(async () => {
  storage = await LocalStorage.open(path.join(folder, 'a store'))
  writer = await PlainWriter.open()
  const options = { tables: [], storage, clock: systemClock, memoryMaxBytes: 1 << 28, onStep: () => void steps++ }
  works = [
    await openTableWork(options),
    await openTableWork({ ...options, compareLimits: { groupsMax: 2, rowsMax: 4 } }),
  ]
})
afterAll(async () => {
  for (const work of works) await work.close()
  writer.close()
  await storage.close()
  rmSync(folder, { recursive: true, force: true })
})

interface Layout {
  /** Where files end. */
  readonly cuts: readonly number[]
  /** Rows that were deleted, by where they come to stand. */
  readonly dead: readonly { readonly at: number; readonly row: PlainRow }[]
}

/** The rows as files: cut, and with dead rows among them. */
async function stored(plan: WritePlan, rows: readonly PlainRow[], layout?: Layout): Promise<ChangedRows[]> {
  const { cuts = [], dead = [] } = layout ?? {}
  const all = rows.map((row) => ({ row, isDead: false }))
  for (const { at, row } of dead) all.splice(at % (all.length + 1), 0, { row, isDead: true })
  const ends = [...new Set([...cuts.map((cut) => cut % (all.length + 1)), all.length])].toSorted((a, b) => a - b)
  const files: ChangedRows[] = []
  for (const [k, end] of ends.entries()) {
    const part = all.slice(ends[k - 1] ?? 0, end)
    if (part.length === 0) continue
    const file = await writer.write(
      storage,
      plan,
      part.map(({ row }) => row),
    )
    const deleted = new DeletedRows(file.recordCount)
    part.forEach(({ isDead }, row) => isDead && deleted.add(row))
    files.push({ file, deleted })
  }
  return files
}

/** By both works, through what a lane is sent: they must find the same. */
async function compare(request: CompareRequest): Promise<Comparison> {
  const found = await Promise.all(
    works.map((work) =>
      remoteWork(async (call) => structuredClone(await perform(work, structuredClone(call)))).compare(request),
    ),
  )
  expect(found[1]).toEqual(found[0])
  expect(readdirSync(storage.scratch).filter((name) => name.endsWith('.rows'))).toEqual([])
  return found[0]!
}

async function compareRows(
  request: PlainRequest,
  plans: readonly [WritePlan, WritePlan],
  [before, after]: readonly [readonly PlainRow[], readonly PlainRow[]],
  layouts: readonly (Layout | undefined)[] = [],
): Promise<Comparison> {
  const found = await compare({
    ...request,
    before: { plan: plans[0], rows: await stored(plans[0], before, layouts[0]) },
    after: { plan: plans[1], rows: await stored(plans[1], after, layouts[1]) },
  })
  const [old, now] = [
    { fields: plans[0].schema.fields, rows: before },
    { fields: plans[1].schema.fields, rows: after },
  ]
  expect(found).toEqual(plainCompare(request, old, now))
  return found
}

const bytes = (max: number) => fc.uint8Array({ maxLength: max })
const micros = fc.bigInt({ min: -(10n ** 15n), max: 4n * 10n ** 15n })
const unscaled = (precision: number) =>
  fc.bigInt({ min: -(10n ** BigInt(precision)) + 1n, max: 10n ** BigInt(precision) - 1n })
const floats = (float: fc.Arbitrary<number>) => fc.oneof(float, fc.constantFrom(Number.NaN, 0, -0, Infinity, -Infinity))

/** Values of every type of the lake, as `PlainWriter` takes them. */
const TYPES: readonly (readonly [ColumnType, fc.Arbitrary<unknown>])[] = [
  [{ kind: 'boolean' }, fc.boolean()],
  [{ kind: 'int' }, fc.integer()],
  [{ kind: 'long' }, fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n })],
  [{ kind: 'float' }, floats(fc.float())],
  [{ kind: 'double' }, floats(fc.double())],
  [
    { kind: 'string' },
    fc.oneof(fc.string({ unit: 'grapheme' }), fc.constantFrom('', 'exactly 12 b', 'a text of over twelve bytes')),
  ],
  [{ kind: 'binary' }, bytes(40)],
  [{ kind: 'date' }, fc.integer({ min: -100_000, max: 100_000 })],
  [{ kind: 'uuid' }, fc.uint8Array({ minLength: 16, maxLength: 16 })],
  [{ kind: 'timestamp', unit: 'us' }, micros],
  [{ kind: 'timestamptz', unit: 'us' }, micros],
  [{ kind: 'enum', symbols: ['A', 'B'] }, fc.constantFrom('A', 'B')],
  ...[3, 9, 18, 38].map(
    (precision) =>
      [{ kind: 'decimal', precision, scale: 2 }, unscaled(precision)] as [ColumnType, fc.Arbitrary<bigint>],
  ),
]
const NESTED: readonly (readonly [ColumnType, fc.Arbitrary<unknown>])[] = [
  ...TYPES.map(([element, value]): [ColumnType, fc.Arbitrary<unknown>] => [
    { kind: 'list', element },
    fc.array(fc.option(value), { maxLength: 4 }),
  ]),
  [
    { kind: 'map', value: { kind: 'string' } },
    fc
      .dictionary(fc.string({ minLength: 1, maxLength: 3 }), fc.option(fc.string()))
      .map((o) => new Map(Object.entries(o))),
  ],
  [
    {
      kind: 'struct',
      fields: [
        { name: 'z', type: { kind: 'string' } },
        { name: 'a', type: { kind: 'long' } },
        {
          name: 'l',
          type: { kind: 'list', element: { kind: 'struct', fields: [{ name: 's', type: { kind: 'string' } }] } },
        },
        {
          name: 'm',
          type: { kind: 'map', value: { kind: 'struct', fields: [{ name: 'd', type: { kind: 'double' } }] } },
        },
      ],
    },
    fc.record({
      z: fc.option(fc.string({ maxLength: 20 })),
      a: fc.option(fc.bigInt({ min: -5n, max: 5n })),
      l: fc.option(fc.array(fc.option(fc.record({ s: fc.option(fc.string({ maxLength: 20 })) })), { maxLength: 3 })),
      m: fc.option(
        fc
          .dictionary(fc.constantFrom('x', 'y', 'z'), fc.option(fc.record({ d: fc.option(floats(fc.double())) })))
          .map((o) => new Map(Object.entries(o))),
      ),
    }),
  ],
]
const ALL = [...TYPES, ...NESTED]

const PLACE: readonly Column[] = [
  { name: '_kafka_partition', type: { kind: 'int' } },
  { name: '_offset', type: { kind: 'long' } },
]
const COLUMNS: readonly Column[] = [...ALL.map(([type], k) => ({ name: `c${k}`, type })), ...PLACE]
const PLAN = writePlan('t', COLUMNS)
/** The same columns the other way round, with other ids, and one more. */
const TURNED = writePlan('t', [{ name: 'new', type: { kind: 'string' } }, ...COLUMNS.toReversed()])
const NAMES = COLUMNS.map(({ name }) => name)
const POSITIONS = ['_kafka_partition', '_offset']

const values = fc.tuple(...ALL.map(([, value]) => fc.option(value)))
const layouts = fc.record({
  cuts: fc.array(fc.nat(), { maxLength: 3 }),
  dead: fc.array(fc.record({ at: fc.nat(), row: values.map((row): PlainRow => [...row, 0, 0n]) }), { maxLength: 3 }),
})
const BY_POSITION = { key: POSITIONS, group: ['_kafka_partition'], samplesMax: 5, groupsMax: 2 }

/** Rows of three partitions at offsets of their own. */
const tables = fc
  .array(values, { maxLength: 12 })
  .map((rows) => rows.map((row, k): PlainRow => [...row, k % 3, BigInt(k)]))

function turned(row: PlainRow): PlainRow {
  return ['any', ...row.toReversed()]
}

describe('every type', () => {
  test('is hashed as the plain words say, null and all', async () => {
    await fc.assert(
      fc.asyncProperty(tables, layouts, async (rows, layout) => {
        const request = { ...BY_POSITION, columns: NAMES }
        const files = await stored(PLAN, rows, layout)
        const found = await compare({
          ...request,
          before: { plan: PLAN, rows: [] },
          after: { plan: PLAN, rows: files },
        })
        const { fields } = PLAN.schema
        const wanted = plainCompare(request, { fields, rows: [] }, { fields, rows })
        // The sign of a zero is lost in a dictionary of values, and in JSON.
        const { samples, ...numbers } = found
        expect(numbers).toEqual(Object.fromEntries(Object.entries(wanted).filter(([name]) => name !== 'samples')))
        expect(JSON.parse(JSON.stringify(samples))).toEqual(JSON.parse(JSON.stringify(wanted.samples)))
      }),
      { numRuns: 10 },
    )
  })

  test('takes no notice of the order of rows and columns, of files, dead rows and columns that do not count', async () => {
    const shuffled = tables.chain((rows) =>
      fc.tuple(fc.constant(rows), fc.shuffledSubarray(rows, { minLength: rows.length }), layouts, layouts),
    )
    await fc.assert(
      fc.asyncProperty(shuffled, async ([rows, others, before, after]) => {
        const dead = after.dead.map(({ at, row }) => ({ at, row: turned(row) }))
        const found = await compare({
          ...BY_POSITION,
          columns: NAMES,
          before: { plan: PLAN, rows: await stored(PLAN, rows, before) },
          after: { plan: TURNED, rows: await stored(TURNED, others.map(turned), { ...after, dead }) },
        })
        expect(found).toMatchObject({ digestAfter: found.digestBefore, groupsDifferent: 0, changed: 0n, samples: [] })
        expect(found.rowsBefore).toBe(BigInt(rows.length))
      }),
      { numRuns: 8 },
    )
  })

  test('shows every single value that is another one', async () => {
    const row = ALL.map(([, value], k) => fc.sample(value, { numRuns: 1, seed: k })[0])
    const whole: PlainRow = [...row, 1, 1n]
    const files = await stored(PLAN, [whole])
    for (const [k, [type, value]] of ALL.entries()) {
      const same = (a: unknown, b: unknown): boolean =>
        Object.is(a, b) || JSON.stringify(plain(a)) === JSON.stringify(plain(b))
      const other = fc.sample(fc.option(value), { numRuns: 100, seed: 7 }).find((each) => !same(each, row[k]))
      const changed = await stored(PLAN, [whole.with(k, other)])
      const request = { ...BY_POSITION, before: { plan: PLAN, rows: files }, after: { plan: PLAN, rows: changed } }
      const found = await works[0]!.compare({ ...request, columns: NAMES })
      expect(found, JSON.stringify(type)).toMatchObject({ groupsDifferent: 1, added: 0n, removed: 0n, changed: 1n })
      expect(found.digestAfter).not.toBe(found.digestBefore)
      const rest = NAMES.filter((name) => name !== `c${k}`)
      const without = await works[0]!.compare({ ...request, columns: rest })
      expect(without.digestAfter).toBe(without.digestBefore)
    }
  })
})

/** For a look whether values are the same ones. */
function plain(value: unknown): unknown {
  if (typeof value === 'bigint') return String(value)
  if (value instanceof Uint8Array) return [...value]
  if (value instanceof Map) return [...value].map(plain)
  if (Array.isArray(value)) return value.map(plain)
  if (typeof value === 'object' && value !== null) return Object.entries(value).map(plain)
  return Object.is(value, -0) ? 0 : value
}

describe('two states', () => {
  const SMALL = writePlan('t', [
    { name: 'k', type: { kind: 'string' } },
    { name: 'v', type: { kind: 'long' } },
    { name: 'note', type: { kind: 'string' } },
    { name: 'at', type: { kind: 'timestamptz', unit: 'us' } },
    ...PLACE,
  ])
  const row = fc
    .tuple(
      fc.option(fc.constantFrom('a', 'b', 'ü', 'B', '')),
      fc.bigInt({ min: 0n, max: 2n }),
      fc.constantFrom('x', 'y'),
      fc.bigInt({ min: 0n, max: 5n }),
      fc.option(fc.nat(2)),
      fc.bigInt({ min: 0n, max: 3n }),
    )
    .map((row): PlainRow => row)
  const rows = fc.array(row, { maxLength: 20 })
  const small = fc.record({
    cuts: fc.array(fc.nat(), { maxLength: 3 }),
    dead: fc.array(fc.record({ at: fc.nat(), row }), { maxLength: 3 }),
  })
  // Samples have all columns, so of rows of one key that differ beyond the key it is open which is paired with which.
  const requests = fc.record<PlainRequest>({
    columns: fc.constantFrom(['k', 'v', 'note', 'at', ...POSITIONS]),
    key: fc.constantFrom(['k', 'v', 'note', 'at', ...POSITIONS], []),
    group: fc.constantFrom([], ['_kafka_partition'], ['k', 'at'], ['v', 'k']),
    within: fc.constantFrom(
      undefined,
      [{ column: 'at', fromUs: 2n }],
      [{ column: 'at', fromUs: 1n, untilUs: 4n }],
      [
        { column: 'at', untilUs: 3n },
        { column: 'at', fromUs: 1n },
      ],
    ) as fc.Arbitrary<never>,
    since: fc.constantFrom(undefined, [
      { partition: 0, offset: 2n },
      { partition: 1, offset: 1n },
    ]) as fc.Arbitrary<never>,
    samplesMax: fc.constantFrom(0, 1, 3, 100),
    groupsMax: fc.constantFrom(0, 1, 2, 100),
  })

  test('differ as plain rows do, duplicates and all', async () => {
    await fc.assert(
      fc.asyncProperty(requests, rows, rows, small, small, async (request, before, after, one, other) => {
        const wanted = Object.fromEntries(Object.entries(request).filter(([, value]) => value !== undefined))
        await compareRows(wanted as unknown as PlainRequest, [SMALL, SMALL], [before, after], [one, other])
      }),
      { numRuns: 40 },
    )
  })

  test('are told apart by key, with counts and whole rows', async () => {
    const at = (k: string, v: bigint, offset: bigint): PlainRow => [k, v, 'n', 0n, 0, offset]
    const before = [at('same', 1n, 0n), at('gone', 1n, 1n), at('other', 1n, 2n)]
    const after = [at('new', 1n, 3n), at('other', 2n, 2n), at('same', 1n, 0n)]
    const request = { columns: ['k', 'v'], key: ['k'], group: ['_kafka_partition'], samplesMax: 9, groupsMax: 9 }
    const found = await compareRows(request, [SMALL, SMALL], [before, after])
    const sample = (k: string, v: string, _offset: string) => ({
      k,
      v,
      note: 'n',
      at: '1970-01-01T00:00:00.000000Z',
      _kafka_partition: 0,
      _offset,
    })
    expect(found).toMatchObject({ added: 1n, removed: 1n, changed: 1n, groupsCompared: 1, groupsDifferent: 1 })
    expect(found.groups).toEqual([{ values: [0], rowsBefore: 3n, rowsAfter: 3n }])
    expect(found.samples).toEqual([
      { before: sample('gone', '1', '1'), after: undefined },
      { before: undefined, after: sample('new', '1', '3') },
      { before: sample('other', '1', '2'), after: sample('other', '2', '2') },
    ])
  })

  test('a row that is there twice is one that was added', async () => {
    const one: PlainRow = ['a', 1n, 'n', 0n, 0, 0n]
    const request = { columns: ['k', 'v'], key: ['k'], group: [], samplesMax: 9, groupsMax: 9 }
    const found = await compareRows(request, [SMALL, SMALL], [[one], [one, one]])
    expect(found).toMatchObject({ added: 1n, removed: 0n, changed: 0n, rowsBefore: 1n, rowsAfter: 2n })
  })

  test('that have a column of two types are refused', async () => {
    const other = writePlan('t', [{ name: 'k', type: { kind: 'binary' } }])
    const request = { columns: ['k'], key: ['k'], group: [], samplesMax: 1, groupsMax: 1 }
    const sides = { before: { plan: SMALL, rows: [] }, after: { plan: other, rows: [] } }
    await expect(works[0]!.compare({ ...request, ...sides })).rejects.toMatchObject({ code: 'internal' })
  })

  test('of which a file is gone, or has lost rows, are no states', async () => {
    const [first, second] = await stored(SMALL, [['a', 1n, 'n', 0n, 0, 0n] as PlainRow, ['b', 1n, 'n', 0n, 0, 1n]], {
      cuts: [1],
      dead: [],
    })
    const request = {
      columns: ['k'],
      key: ['k'],
      group: [],
      samplesMax: 1,
      groupsMax: 1,
      before: { plan: SMALL, rows: [] },
    }
    const short = { ...second!, file: { ...second!.file, recordCount: 2 } }
    await expect(works[0]!.compare({ ...request, after: { plan: SMALL, rows: [short] } })).rejects.toMatchObject({
      code: 'store.corrupt',
    })
    await storage.delete(first!.file.key)
    await expect(works[0]!.compare({ ...request, after: { plan: SMALL, rows: [first!] } })).rejects.toMatchObject({
      code: 'store.corrupt',
    })
  })
})

test('many rows in many chunks, long texts among them, from a store elsewhere', async () => {
  const plan = writePlan('t', [
    { name: 'id', type: { kind: 'long' }, required: true },
    { name: 'status', type: { kind: 'string' } },
    { name: 'tags', type: { kind: 'list', element: { kind: 'string' } } },
    { name: 'note', type: { kind: 'string' } },
  ])
  const rows = Array.from({ length: 9_000 }, (_, k): PlainRow => [
    BigInt(k),
    k % 5 === 0 ? null : `a status that is repeated often ${k % 4}`,
    [`a tag that is long enough ${k % 3}`, null, 'short'],
    `${k}`.repeat(k % 9),
  ])
  const others = rows.filter((_, k) => k !== 4_321).map((row, k) => (k % 2_000 === 77 ? row.with(1, 'x') : row))
  const request = {
    columns: ['id', 'status', 'tags', 'note'],
    key: ['id'],
    group: ['status'],
    samplesMax: 3,
    groupsMax: 9,
  }
  const elsewhere = new MemoryStorage(path.join(folder, 'elsewhere'))
  const work = await openTableWork({ tables: [], storage: elsewhere, clock: systemClock, memoryMaxBytes: 1 << 28 })
  const put = async (rows: readonly PlainRow[], cuts: readonly number[]): Promise<ChangedRows[]> => {
    const files = await stored(plan, rows, { cuts, dead: [] })
    for (const { file } of files) await elsewhere.put(file.key, (await storage.get(file.key))!)
    return files
  }
  const [before, after] = [await put(rows, [3_000, 7_001]), await put(others.toReversed(), [5])]
  const sides = { before: { plan, rows: before }, after: { plan, rows: after } }
  const { fields } = plan.schema
  steps = 0
  const found = await works[0]!.compare({ ...request, ...sides })
  expect(steps).toBeGreaterThan(3)
  expect(found).toMatchObject({ added: 0n, removed: 1n, changed: 5n, rowsBefore: 9_000n, rowsAfter: 8_999n })
  const sums = plainCompare({ ...request, key: [] }, { fields, rows }, { fields, rows: others })
  for (const name of ['digestBefore', 'digestAfter', 'groupsCompared', 'groupsDifferent'] as const)
    expect(found[name]).toBe(sums[name])
  expect(found.samples.map(({ before, after }) => [before?.['id'], before?.['status'], after?.['status']])).toEqual([
    ['77', 'a status that is repeated often 1', 'x'],
    ['2077', 'a status that is repeated often 1', 'x'],
    ['4077', 'a status that is repeated often 1', 'x'],
  ])
  expect(await work.compare({ ...request, ...sides })).toEqual(found)
  expect(readdirSync(elsewhere.scratch)).toEqual([])
  await work.close()
})

test('limits are such that memory stays within a few hundred megabytes', () => {
  expect(COMPARE_LIMITS.groupsMax * 72 + COMPARE_LIMITS.rowsMax * 76).toBeLessThan(256 * 1024 * 1024)
})
