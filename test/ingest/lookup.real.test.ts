import { mkdtempSync, rmSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import * as fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { systemClock as clock } from '../../src/clock.ts'
import { table, type TableDefinition } from '../../src/define.ts'
import type { LookupOptions } from '../../src/define-lookup.ts'
import { openDuckDb } from '../../src/ingest/decode/open-duckdb.ts'
import { openEncoder } from '../../src/ingest/encoder.ts'
import { loadLookups } from '../../src/ingest/lookup.ts'
import { openStorage } from '../../src/lake/storage/open.ts'
import { readTags, type Storage } from '../../src/lake/table.ts'
import { batchOf, tablePlan } from '../support/lake-table.ts'
import { ParquetReader } from '../support/parquet.ts'
import { ReferenceTable } from '../support/reference-table.ts'

const folder = mkdtempSync(path.join(os.tmpdir(), 'kappalake-lookup-'))
let storage: Storage
let reader: ParquetReader
let version: bigint

beforeAll(async () => {
  storage = await openStorage({ url: `file:${folder}` }, clock)
  reader = await ParquetReader.open()
  const columns = {
    region: 'string',
    first: 'long',
    last: 'long',
    name: 'string',
    price: 'decimal(9,2)',
    since: 'timestamptz(ms)',
    nested: 'list<int>',
  }
  const plans = new ReferenceTable(storage, 'plans', columns)
  version = (
    await plans.add([
      { region: 'eu', first: 0, last: 9, name: 'small', price: 1.5, since: 1_000 },
      { region: 'eu', first: 10, last: 19, name: 'a plan with a long name', price: 2 },
      { region: 'us', first: 5, last: 30, name: 'us' },
      { region: 'us', first: 40, last: null, name: 'rest' },
      { region: null, first: 0, last: 100, name: 'nobody' },
      { region: 'us', first: 32, last: 31, name: 'empty' },
      { region: 'us', first: null, last: 99, name: 'no start' },
    ])
  ).number
})
afterAll(async () => {
  reader.close()
  await storage.close()
  rmSync(folder, { recursive: true, force: true })
})

const BOTH = { on: { region: 'region' }, between: { value: 'n', from: 'first', to: 'last' } }

const visits = (lookup: Partial<LookupOptions>, computed: Readonly<Record<string, string>>): TableDefinition =>
  table('visits', {
    from: { topic: 'shop.orders' },
    columns: { region: 'string', n: 'long', text: 'string', ...computed },
    lookup: { plan: { table: 'plans', at: String(version), select: ['name'], ...BOTH, ...lookup } },
  })

async function found(def: TableDefinition, visited: readonly object[], select: string) {
  const encoder = await openEncoder({ tables: [def], storage, clock })
  try {
    const records = visited.map((visit) => ({ value: JSON.stringify(visit) }))
    const { files, deadLetterFiles } = await encoder.encode(tablePlan(def), [batchOf(records)], new Set())
    const rows = await Promise.all(files.map((file) => reader.rows(storage, file, select)))
    const dead = await Promise.all(deadLetterFiles.map((file) => reader.rows(storage, file, '_offset, code')))
    return { rows: rows.flat(), dead: dead.flat() }
  } finally {
    await encoder.close()
  }
}

test('finds the row of the same keys whose range has the value, ends included', { timeout: 60_000 }, async () => {
  const def = visits({}, { plan_name: 'string = plan.name' })
  const ranges = [
    ['eu', 0, 9, 'small'],
    ['eu', 10, 19, 'a plan with a long name'],
    ['us', 5, 30, 'us'],
    ['us', 40, Infinity, 'rest'],
  ] as const
  const visit = fc.record({
    region: fc.constantFrom('eu', 'us', 'x', null),
    n: fc.option(fc.integer({ min: -2, max: 45 })),
  })
  await fc.assert(
    fc.asyncProperty(fc.array(visit, { minLength: 1, maxLength: 60 }), async (list) => {
      const wanted = list.map(({ region, n }, k) => {
        const range = ranges.find(([of, first, last]) => of === region && n !== null && first <= n && n <= last)
        return [BigInt(k), range?.[3] ?? null]
      })
      expect((await found(def, list, '_offset, plan_name')).rows).toEqual(wanted)
    }),
    { numRuns: 12 },
  )
})

test('by keys alone, by several columns of it, in types of their own', async () => {
  const lookup = { on: { name: 'text' }, between: undefined as never, select: ['price', 'since', 'first'] }
  const computed = {
    price: 'decimal(9,2) = plan.price',
    since: 'timestamptz = plan.since',
    later: 'long = plan.first + n',
    is_known: 'boolean = plan IS NOT NULL',
  }
  const list = [{ text: 'small', n: 1 }, { text: 'nothing' }, {}, { text: 'a plan with a long name', n: 1 }]
  const { rows } = await found(visits(lookup, computed), list, 'price::varchar, epoch_ms(since), later, is_known')
  expect(rows).toEqual([
    ['1.50', 1_000n, 1n, true],
    [null, null, null, false],
    [null, null, null, false],
    ['2.00', null, 11n, true],
  ])
})

test('what is looked up by may fail on a record', async () => {
  const def = visits({ on: { first: `text::bigint` }, between: undefined as never }, { name: 'string = plan.name' })
  const only = {
    ...def,
    lookup: [
      {
        ...def.lookup![0]!,
        on: [
          ['first', 'text::bigint'],
          ['region', `'eu'`],
        ] as const,
      },
    ],
  }
  const { rows, dead } = await found(only, [{ text: '10' }, { text: 'ten' }, { text: '0' }], '_offset, name')
  expect(rows).toEqual([
    [0n, 'a plan with a long name'],
    [2n, 'small'],
  ])
  expect(dead).toEqual([[1n, 'transform.failed']])
})

test('the version that is pinned is kept', async () => {
  await found(visits({}, { name: 'string = plan.name' }), [{ n: 1 }], 'name')
  expect(await readTags(storage, 'of_plans')).toEqual([{ name: `lookup-v${version}`, version, untilMs: undefined }])
})

describe('refused before a record is read', () => {
  const opening = async (lookup: Partial<LookupOptions>, sql = 'string = plan.name'): Promise<void> => {
    const encoder = await openEncoder({ tables: [visits(lookup, { c: sql })], storage, clock })
    await encoder.close()
  }
  test.each<[Partial<LookupOptions>, string, RegExp]>([
    [{ table: 'nothing' }, 'lookup.not_found', /no table nothing/],
    [{ at: 99_999 }, 'lookup.not_found', /of_plans has no version 99999/],
    [{ at: 1, select: ['gone'] }, 'lookup.not_found', /no column "gone"/],
    [{ select: ['nested', 'name'] }, 'lookup.not_found', /nested type/],
    [{ on: { colour: 'text' } }, 'lookup.not_found', /no column "colour"/],
    [{ between: { value: 'n', from: 'first', to: 'name' } }, 'lookup.not_found', /different types/],
    [
      { on: { region: 'text' }, between: undefined as never },
      'lookup.ambiguous',
      /two rows of plans have the region eu/,
    ],
    [{ on: {} }, 'lookup.ambiguous', /ranges of plans overlap: 0 to 9 and one from 0/],
    [{ on: { region: 'random()::varchar' } }, 'transform.not_row_wise', /visits\.lookup\.plan\.on\.region.*replay/],
    [{ on: { region: 'colour' } }, 'transform.not_row_wise', /no column "colour"/],
    [{ between: { value: 'plan', from: 'first', to: 'last' } as never }, 'config.invalid', /computed too/],
  ])('%o', async (lookup, code, message) => {
    const refused = (async () => opening(lookup))()
    await expect(refused).rejects.toThrow(message)
    await expect(refused).rejects.toMatchObject({ code })
  })

  test('SQL that reads what is not selected', async () => {
    await expect(opening({}, 'string = plan.price')).rejects.toMatchObject({ code: 'transform.not_row_wise' })
  })

  test('more rows or bytes than a lane takes', async () => {
    const instance = await openDuckDb({ memoryMaxBytes: 128 * 1024 * 1024 })
    const connection = await instance.connect()
    const tables = [visits({}, { c: 'string = plan.name' })]
    const load = (limits: { rowsMax: number; bytesMax: number }) =>
      loadLookups(tables, { connection, storage, clock, limits })
    try {
      await expect(load({ rowsMax: 6, bytesMax: 1e9 })).rejects.toMatchObject({ code: 'lookup.too_large' })
      await expect(load({ rowsMax: 7, bytesMax: 10 })).rejects.toMatchObject({ code: 'lookup.too_large' })
      expect((await load({ rowsMax: 7, bytesMax: 1e9 })).size).toBe(1)
    } finally {
      connection.closeSync()
      instance.closeSync()
    }
  })
})
