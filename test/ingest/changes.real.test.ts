import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Column } from '../../src/batch.ts'
import { systemClock } from '../../src/clock.ts'
import type { ArchiveWork } from '../../src/ingest/archive/archive.ts'
import type { ChangedRows, ChangesRequest, TableWork } from '../../src/ingest/keys.ts'
import { openTableWork } from '../../src/ingest/table-work.ts'
import { perform, remoteWork } from '../../src/ingest/work-messages.ts'
import { LocalStorage } from '../../src/lake/storage/local.ts'
import { DeletedRows, type Storage, type WritePlan } from '../../src/lake/table.ts'
import { writePlan } from '../support/lake-table.ts'
import { PlainWriter, type PlainRow } from '../support/plain-rows.ts'

// Changes of rows, read by DuckDB from the files of two states of a table, and as they are printed.

const folder = mkdtempSync(path.join(os.tmpdir(), 'kappalake-changes-'))
let storage: Storage
let writer: PlainWriter
let work: TableWork & ArchiveWork & { close(): Promise<void> }
let remote: TableWork
beforeAll(async () => {
  storage = await LocalStorage.open(path.join(folder, 'a store'))
  writer = await PlainWriter.open()
  work = await openTableWork({ tables: [], storage, clock: systemClock, memoryMaxBytes: 1 << 28 })
  remote = remoteWork((call) => perform(work, structuredClone(call)))
})
afterAll(async () => {
  await work.close()
  writer.close()
  await storage.close()
  rmSync(folder, { recursive: true, force: true })
})

async function rowsOf(plan: WritePlan, rows: readonly PlainRow[], dead: readonly number[] = []): Promise<ChangedRows> {
  const file = await writer.write(storage, plan, rows)
  const deleted = new DeletedRows(file.recordCount)
  for (const row of dead) deleted.add(row)
  return { file, deleted }
}

async function changes(
  plan: WritePlan,
  before: readonly ChangedRows[],
  after: readonly ChangedRows[],
  more: Partial<ChangesRequest> = {},
): Promise<readonly (readonly [string, string | null])[]> {
  const { path: file, count } = await remote.changes(plan, {
    before,
    after,
    key: ['g', 'window_start'],
    where: undefined,
    ...more,
  })
  const lines = file === undefined ? [] : readFileSync(file, 'utf8').split('\n').slice(0, -1)
  if (file !== undefined) rmSync(file)
  expect(lines).toHaveLength(count)
  expect(readdirSync(storage.scratch).filter((name) => name.endsWith('.ndjson'))).toEqual([])
  return lines.map((line) => JSON.parse(line) as [string, string | null])
}

const COLUMNS: readonly Column[] = [
  { name: 'g', type: { kind: 'string' } },
  { name: 'window_start', type: { kind: 'timestamptz', unit: 'ms' }, required: true },
  { name: 'n', type: { kind: 'long' } },
]
const PLAN = writePlan('w', COLUMNS)
const keyText = (g: string | null) => JSON.stringify({ g, window_start: '1970-01-01T00:00:00.000000Z' })
const rowText = (g: string | null, n: number) =>
  JSON.stringify({ g, window_start: '1970-01-01T00:00:00.000000Z', n: String(n) })

describe('changes', () => {
  test('tell keys and values as they are, also with a U+FEFF at their beginning', async () => {
    const texts = ['\uFEFFa', 'a', '\uFEFF', '\uFEFF a text that does not lie in place']
    const rows = texts.map((text): PlainRow => [text, 0n, 1n])
    const all = await rowsOf(PLAN, rows)
    expect(await changes(PLAN, [], [all])).toEqual(texts.map((text) => [keyText(text), rowText(text, 1)]))
    const one = await rowsOf(PLAN, rows, [0])
    const lost = [keyText('\uFEFFa'), null]
    expect(await changes(PLAN, [all], [one])).toEqual([lost])
  })

  test('are the rows that are new or other ones, in their order, and then the keys that are gone', async () => {
    const before = await rowsOf(
      PLAN,
      [
        ['gone', 0n, 1n],
        ['kept', 0n, 2n],
        ['dead', 0n, 0n],
        ['other', 0n, 3n],
        [null, 0n, 4n],
      ],
      [2],
    )
    const after = [
      await rowsOf(PLAN, [
        [null, 0n, 5n],
        ['kept', 0n, 2n],
      ]),
      await rowsOf(
        PLAN,
        [
          ['superseded', 0n, 1n],
          ['other', 0n, 4n],
          ['new', 0n, 1n],
        ],
        [0],
      ),
    ]
    expect(await changes(PLAN, [before], after)).toEqual([
      [keyText(null), rowText(null, 5)],
      [keyText('other'), rowText('other', 4)],
      [keyText('new'), rowText('new', 1)],
      [keyText('gone'), null],
    ])
  })

  test('a condition chooses rows as they are, and keys by the row that they had; no retraction', async () => {
    const before = await rowsOf(PLAN, [
      ['a', 0n, 60n],
      ['b', 0n, 60n],
      ['c', 0n, 1n],
    ])
    const after = await rowsOf(PLAN, [
      ['a', 0n, 50n],
      ['d', 0n, 51n],
      ['e', 0n, null],
    ])
    expect(await changes(PLAN, [before], [after], { where: 'n > 50 -- errors' })).toEqual([
      [keyText('d'), rowText('d', 51)],
      [keyText('b'), null],
    ])
    expect(await changes(PLAN, [], [before], { where: 'n > 50' })).toHaveLength(2)
    expect(await changes(PLAN, [before], [], { where: 'n > 50' })).toEqual([
      [keyText('a'), null],
      [keyText('b'), null],
    ])
  })

  test('values are printed as the HTTP API prints them', async () => {
    const columns: readonly Column[] = [
      { name: 'window_start', type: { kind: 'timestamptz', unit: 'ms' }, required: true },
      { name: 'total "x"', type: { kind: 'decimal', precision: 38, scale: 2 } },
      { name: 'average', type: { kind: 'double' } },
      { name: 'none', type: { kind: 'double' } },
      { name: 'top', type: { kind: 'list', element: { kind: 'long' } } },
      { name: '_final', type: { kind: 'boolean' }, required: true },
      { name: '_corrections', type: { kind: 'int' }, required: true },
    ]
    const plan = writePlan('w', columns)
    const at = BigInt(Date.UTC(2026, 0, 2)) * 1_000n
    const after = await rowsOf(plan, [[at, 12_345n, Number.NaN, null, [3n, 1n], true, 2]])
    expect(await changes(plan, [], [after], { key: ['window_start'] })).toEqual([
      [
        '{"window_start":"2026-01-02T00:00:00.000000Z"}',
        '{"window_start":"2026-01-02T00:00:00.000000Z","total \\"x\\"":"123.45","average":"NaN","none":null,' +
          '"top":["3","1"],"_final":true,"_corrections":2}',
      ],
    ])
    // Equal to itself, NaN and lists included.
    expect(
      await changes(plan, [after], [await rowsOf(plan, [[at, 12_345n, Number.NaN, null, [3n, 1n], true, 2]])], {
        key: ['window_start'],
      }),
    ).toEqual([])
  })

  test('equal those of plain maps, and files that hold more than what changed give the same', async () => {
    const tables = fc.array(fc.dictionary(fc.constantFrom('a', 'b', 'c', 'd', ''), fc.nat(2)), {
      minLength: 2,
      maxLength: 2,
    })
    await fc.assert(
      fc.asyncProperty(tables, async ([old, now]) => {
        const plainRows = (table: Readonly<Record<string, number>>): PlainRow[] =>
          Object.entries(table).map(([g, n]) => [g === '' ? null : g, 0n, BigInt(n)])
        const sides = await Promise.all([old!, now!].map(async (table) => plainRows(table)))
        const filled: ChangedRows[][] = []
        for (const rows of sides) filled.push(rows.length === 0 ? [] : [await rowsOf(PLAN, rows)])
        const found = await changes(PLAN, filled[0]!, filled[1]!)
        const wanted = [
          ...Object.entries(now!)
            .filter(([g, n]) => old![g] !== n)
            .map(([g, n]) => [keyText(g || null), rowText(g || null, n)]),
          ...Object.keys(old!)
            .filter((g) => !Object.hasOwn(now!, g))
            .map((g) => [keyText(g || null), null]),
        ]
        expect(found).toEqual(wanted)
      }),
      { numRuns: 25 },
    )
  })

  test('thousands of rows keep their order', async () => {
    const rows = Array.from({ length: 5_000 }, (_, k): PlainRow => [`g${(k * 7_919) % 5_000}`, 0n, BigInt(k)])
    const [before, after] = [await rowsOf(PLAN, rows.slice(0, 2_500)), await rowsOf(PLAN, rows)]
    const all = await changes(PLAN, [], [after])
    expect(all.map(([, value]) => Number((JSON.parse(value!) as { n: string }).n))).toEqual(rows.map((_, k) => k))
    expect(await changes(PLAN, [before], [after])).toEqual(all.slice(2_500))
  })

  test('a condition that fails on the values of a row is told', async () => {
    const after = await rowsOf(PLAN, [['x', 0n, 1n]])
    await expect(changes(PLAN, [], [after], { where: 'CAST(g AS INTEGER) > 0' })).rejects.toMatchObject({
      code: 'publish.expression_failed',
      context: { table: 'w' },
    })
    expect(await changes(PLAN, [], [after])).toHaveLength(1)
  })

  test('a file that is gone is told as what it is', async () => {
    const after = await rowsOf(PLAN, [['x', 0n, 1n]])
    await storage.delete(after.file.key)
    await expect(changes(PLAN, [], [after])).rejects.toMatchObject({ code: 'store.corrupt' })
  })
})

describe('what is selected', () => {
  test('is printed instead of the row, computed from it, and null where it fails', async () => {
    const after = await rowsOf(PLAN, [
      ['7', 0n, 60n],
      ['x', 0n, null],
    ])
    const select = [
      { name: 'service', type: undefined, as: 'g' },
      { name: 'message', type: { kind: 'string' }, as: "'High: ' || n || ' in ' || strftime(window_start, '%H')" },
      { name: 'number', type: { kind: 'long' }, as: 'CAST(g AS INTEGER)' },
    ] as const
    expect(await changes(PLAN, [], [after], { select })).toEqual([
      [keyText('7'), '{"service":"7","message":"High: 60 in 00","number":"7"}'],
      [keyText('x'), '{"service":"x","message":null,"number":null}'],
    ])
    // A row counts as it is stored, and a key that is gone has no value.
    expect(
      await changes(PLAN, [after], [await rowsOf(PLAN, [['7', 0n, 61n]])], { select: select.slice(0, 1) }),
    ).toEqual([
      [keyText('7'), '{"service":"7"}'],
      [keyText('x'), null],
    ])
  })
})

const ROWS: readonly Column[] = [
  { name: 'v', type: { kind: 'string' } },
  { name: '_kafka_partition', type: { kind: 'int' } },
  { name: '_offset', type: { kind: 'long' } },
]
const ROW_PLAN = writePlan('rows', ROWS)
const place = (partition: number, offset: number): PlainRow => [`${partition}/${offset}`, partition, BigInt(offset)]

/** All files of changes, one after the other. */
async function appended(
  before: readonly ChangedRows[],
  after: readonly ChangedRows[],
  more: Partial<ChangesRequest> = {},
): Promise<readonly (readonly [string | number, string])[]> {
  const found = await changes(ROW_PLAN, before, after, { key: undefined, ...more })
  return found as unknown as readonly (readonly [string | number, string])[]
}

const valueOf = ([, value]: readonly [string | number, string]) => (JSON.parse(value) as { v: string }).v

describe('rows without a key', () => {
  test('come by partition in the order of their offsets, whatever files they stand in', async () => {
    const files = fc.array(fc.array(fc.tuple(fc.nat(2), fc.nat(30)), { minLength: 1, maxLength: 8 }), {
      minLength: 1,
      maxLength: 4,
    })
    await fc.assert(
      fc.asyncProperty(files, fc.nat(3), fc.array(fc.nat(30), { maxLength: 3 }), async (all, known, since) => {
        const seen = new Set<string>()
        const distinct = all.map((rows) => rows.filter((at) => !seen.has(String(at)) && seen.add(String(at))))
        const filled: ChangedRows[] = []
        for (const rows of distinct)
          if (rows.length > 0)
            filled.push(
              await rowsOf(
                ROW_PLAN,
                rows.map((at) => place(...at)),
              ),
            )
        // Some were there before, in files of their own.
        const old = distinct.slice(0, known).flat()
        const before =
          old.length === 0
            ? []
            : [
                await rowsOf(
                  ROW_PLAN,
                  old.map((at) => place(...at)),
                ),
              ]
        const places = since.map((offset, partition) => ({ partition, offset: BigInt(offset) }))
        const wanted = distinct
          .slice(known)
          .flat()
          .filter(([partition, offset]) => offset >= (since[partition] ?? 0))
          .toSorted(([p, o], [q, r]) => p - q || o - r)
        const found = await appended(before, filled, { since: places })
        expect(found.map(valueOf)).toEqual(wanted.map(([p, o]) => `${p}/${o}`))
        expect(found.map(([at]) => at)).toEqual(wanted.map(([p]) => p))
      }),
      { numRuns: 25 },
    )
  })

  test('many are the same slice by slice, and with columns as their key', async () => {
    const count = 130_000
    // Of two partitions, one of them with holes, the later rows in the first file.
    const rows = Array.from({ length: count }, (_, k) => place(k % 2, k % 2 === 0 ? count - k : 7 * k))
    const after = [await rowsOf(ROW_PLAN, rows.slice(count / 2)), await rowsOf(ROW_PLAN, rows.slice(0, count / 2))]
    const found = await appended([], after)
    expect(found).toHaveLength(count)
    const wanted = rows.toSorted((a, b) => Number(a[1]) - Number(b[1]) || Number((a[2] as bigint) - (b[2] as bigint)))
    // Not as lists: what they have not in common would take minutes to print.
    expect(found.findIndex((line, k) => valueOf(line) !== wanted[k]![0])).toBe(-1)
    const [first] = await appended([], after, { keyed: ['v'], where: "v = '1/7'" })
    expect(first).toEqual(['{"v":"1/7"}', '{"v":"1/7","_kafka_partition":1,"_offset":"7"}'])
    const rest = await appended([], after, { from: { partition: 1, offset: BigInt(7 * (count - 3)) } })
    expect(rest.map(valueOf)).toEqual([`1/${7 * (count - 3)}`, `1/${7 * (count - 1)}`])
  })
})

test('of rows with a key those count that came from positions on, and all of a partition that is new', async () => {
  const plan = writePlan('k', [{ name: 'g', type: { kind: 'string' } }, ...ROWS])
  const rows = [
    ['a', '0/5', 0, 5n],
    ['b', '0/7', 0, 7n],
    ['c', '1/2', 1, 2n],
  ] as const
  const after = await rowsOf(plan, rows as unknown as PlainRow[], [])
  const since = [{ partition: 0, offset: 6n }]
  const found = await changes(plan, [], [after], {
    key: ['g'],
    since,
    select: [{ name: 'v', type: undefined, as: 'v' }],
  })
  expect(found).toEqual([
    ['{"g":"b"}', '{"v":"0/7"}'],
    ['{"g":"c"}', '{"v":"1/2"}'],
  ])
})

test('many changes of keys are compared share by share, each key in one of them', async () => {
  const rows = (from: number, of: number, n: bigint) =>
    Array.from({ length: of }, (_, k): PlainRow => [`g${from + k}`, 0n, n])
  const [before, after] = [await rowsOf(PLAN, rows(0, 70_000, 1n)), await rowsOf(PLAN, rows(10_000, 70_000, 1n))]
  const other = await rowsOf(PLAN, rows(80_000, 500, 2n))
  const found = await changes(PLAN, [before], [after, other])
  const gone = found.filter(([, value]) => value === null).map(([key]) => key)
  expect(new Set(gone)).toEqual(new Set(rows(0, 10_000, 1n).map(([g]) => keyText(g as string))))
  expect(found).toHaveLength(10_000 + 10_000 + 500)
  expect(new Set(found.map(([key]) => key)).size).toBe(found.length)
  // Gone on from the second share on.
  const rest = (await changes(PLAN, [before], [after, other], { from: 1 })).map(([key]) => key)
  expect(rest.length).toBeGreaterThan(0)
  expect(rest.length).toBeLessThan(found.length)
  expect(rest.join('\n')).toBe(
    found
      .slice(-rest.length)
      .map(([key]) => key)
      .join('\n'),
  )
})
