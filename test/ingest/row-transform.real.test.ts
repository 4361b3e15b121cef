import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { DuckDBValue } from '@duckdb/node-api'
import { systemClock } from '../../src/clock.ts'
import type { TableDefinition } from '../../src/define.ts'
import { openEncoder } from '../../src/ingest/encoder.ts'
import type { StagedTable } from '../../src/ingest/lane.ts'
import { assertCounted } from '../../src/ingest/pending.ts'
import { batchOf, definition, tablePlan, type TestRecord } from '../support/lake-table.ts'
import { openStore } from '../support/parquet.ts'

const { storage, reader } = await openStore('row-transform')

const EVENT_TIME = { column: 'at', unit: 'ms', outOfOrdernessMs: 0, idleAfterMs: 0, maxFutureSkewMs: 1e15 } as const
const BASE = definition({
  columns: [
    { name: 'id', type: { kind: 'string' } },
    { name: 'amount', type: { kind: 'double' } },
    { name: 'at', type: { kind: 'timestamptz', unit: 'ms' } },
  ],
  eventTime: EVENT_TIME,
})

async function encode(
  def: TableDefinition,
  records: readonly TestRecord[],
  partition: readonly (readonly [string, string])[] = [],
): Promise<StagedTable> {
  const encoder = await openEncoder({ tables: [def], storage, clock: systemClock })
  try {
    const staged = await encoder.encode(tablePlan(def, partition), [batchOf(records)], new Set())
    assertCounted(staged)
    return staged
  } finally {
    await encoder.close()
  }
}

async function rowsOf({ files }: StagedTable, select: string): Promise<DuckDBValue[][]> {
  const rows: DuckDBValue[][] = []
  for (const file of files) rows.push(...(await reader.rows(storage, file, select)))
  return rows
}

const value = (id: string, amount: number, at: number): TestRecord => ({ value: JSON.stringify({ id, amount, at }) })
const countsOf = ({ counts }: StagedTable) => counts.get('shop.orders/0')

describe('where', () => {
  test('drops rows, counts them, and they move no clock (T4)', async () => {
    const def = { ...BASE, where: `id <> 'test' -- and that is all` }
    const staged = await encode(def, [value('a', 1, 100), value('test', 2, 900), value('b', 3, 50), { value: null }])
    expect(countsOf(staged)).toEqual({
      rows: 2,
      filtered: 1,
      deadLetters: 0,
      tombstones: 1,
      skipped: 0,
      clockMs: 100,
    })
    expect(await rowsOf(staged, 'id, _offset')).toEqual([
      ['a', 0n],
      ['b', 2n],
    ])
  })

  test('null is not true', async () => {
    const staged = await encode({ ...BASE, where: 'amount > 1' }, [{ value: '{"id":"a"}' }, value('b', 2, 7)])
    expect(countsOf(staged)).toMatchObject({ rows: 1, filtered: 1, clockMs: 7 })
  })

  test('a micro-batch of which nothing stays has no file and no clock', async () => {
    const staged = await encode({ ...BASE, where: 'false' }, [value('a', 1, 100)])
    expect(staged.files).toEqual([])
    expect(countsOf(staged)).toMatchObject({ rows: 0, filtered: 1, clockMs: undefined })
  })

  test('is the same as SQL over all rows, in thousands of rows and over partitions', async () => {
    const records = Array.from({ length: 5_003 }, (_, k) => value(`order ${k} of some length`, (k * 7919) % 1000, k))
    const all = await rowsOf(await encode(BASE, records), '_offset, id, amount')
    const expected = all.filter((row) => Number(row[2]) >= 250)
    const staged = await encode({ ...BASE, where: 'amount >= 250' }, records, [['id', 'bucket[3]']])
    expect(staged.files).toHaveLength(3)
    const rows = (await rowsOf(staged, '_offset, id, amount')).toSorted((a, b) => Number(a[0]) - Number(b[0]))
    expect(rows).toEqual(expected)
    expect(countsOf(staged)).toMatchObject({ rows: expected.length, filtered: all.length - expected.length })
  })

  test('of a keyed table takes the operations of what it drops along', async () => {
    const def: TableDefinition = { ...BASE, key: ['id'], recordKey: 'string', where: 'amount > 0' }
    await fc.assert(
      fc.asyncProperty(
        fc.array(
          fc.record({
            id: fc.constantFrom('a', 'b', 'c'),
            amount: fc.integer({ min: -2, max: 2 }),
            gone: fc.boolean(),
          }),
          {
            minLength: 1,
            maxLength: 40,
          },
        ),
        async (list) => {
          const records = list.map(({ id, amount, gone }): TestRecord => {
            const text = JSON.stringify({ id, amount, at: 1 })
            return gone ? { key: id, value: null } : { key: id, value: text }
          })
          const { keys, files } = await encode(def, records)
          const expected = list.flatMap(({ amount, gone }, k) =>
            gone ? [[BigInt(k), -1]] : amount > 0 ? [[BigInt(k), 0]] : [],
          )
          const { count, offsets, runs, rows } = keys!
          expect(Array.from(offsets, (offset, k) => [offset, keys!.files[k]])).toEqual(expected)
          expect(runs.reduce((sum, run) => sum + run.count, 0)).toBe(count)
          const stored = files.length === 0 ? [] : await reader.rows(storage, files[0]!, '_offset')
          for (let k = 0; k < count; k++) if (keys!.files[k] === 0) expect(stored[rows[k]!]).toEqual([offsets[k]])
        },
      ),
      { numRuns: 20 },
    )
  })
})

describe('computed columns', () => {
  const def = definition({
    columns: [
      { name: 'id', type: { kind: 'string' } },
      { name: 'upper', type: { kind: 'string' }, as: `upper(id) || ' is the name of it'` },
      { name: 'cents', type: { kind: 'decimal', precision: 12, scale: 0 }, as: 'amount * 100' },
      { name: 'amount', type: { kind: 'double' } },
      { name: 'is_large', type: { kind: 'boolean' }, as: 'amount > 10' },
      { name: 'short', type: { kind: 'string' }, as: 'left(id, 1)' },
    ],
    unknown: 'extra',
    where: `is_large OR short = 'b'`,
  })

  test('are stored where they are declared, and a filter may read them', async () => {
    const records = [
      { value: '{"id":"a","amount":12.5}' },
      { value: '{"id":"b"}' },
      { value: '{"id":"c","amount":1}' },
      { value: '{"id":"b2","amount":10,"upper":"what a record says of it is unknown"}' },
    ]
    const staged = await encode(def, records)
    expect(await rowsOf(staged, 'id, upper, cents::varchar, amount, is_large, short, _extra, _offset')).toEqual([
      ['a', 'A is the name of it', '1250', 12.5, true, 'a', null, 0n],
      ['b', 'B is the name of it', null, null, null, 'b', null, 1n],
      ['b2', 'B2 is the name of it', '1000', 10, false, 'b', '{"upper":"what a record says of it is unknown"}', 3n],
    ])
    expect(countsOf(staged)).toMatchObject({ rows: 3, filtered: 1 })
  })

  test('may divide a table, and be its event time', async () => {
    const timed = definition({
      columns: [
        { name: 'text', type: { kind: 'string' } },
        { name: 'at', type: { kind: 'timestamptz' }, as: `CAST(split_part(text, '|', 2) AS TIMESTAMPTZ)` },
      ],
      eventTime: { ...EVENT_TIME, unit: 'us' },
    })
    const staged = await encode(
      timed,
      ['a|1970-01-02 00:00:00.0015', 'b|1970-01-01 10:00:00', 'c|1970-01-01 23:00:00'].map((text) => ({
        value: JSON.stringify({ text }),
      })),
      [['at', 'day']],
    )
    expect(staged.files.map(({ partition, recordCount }) => [partition[0], recordCount])).toEqual([
      [1, 1],
      [0, 2],
    ])
    expect(countsOf(staged)).toMatchObject({ rows: 3, clockMs: 86_400_001 })
  })

  test('that fail make dead letters of their records alone', async () => {
    const failing = definition({
      columns: [
        { name: 'text', type: { kind: 'string' } },
        { name: 'n', type: { kind: 'int' }, as: 'CAST(text AS INTEGER)' },
      ],
      where: '100 // n > 0 AND CAST(text AS TINYINT) > 1',
    })
    const texts = ['7', 'x', '0', '127', null, '12', '99999999999']
    const records = texts.map((text) => ({ value: JSON.stringify({ text }), key: 'k' }))
    const staged = await encode(failing, records)
    expect(await rowsOf(staged, 'n, _offset')).toEqual([
      [7, 0n],
      [12, 5n],
    ])
    const dead = await reader.rows(storage, staged.deadLetterFiles[0]!, '_offset, stage, code, decode(value)')
    const letter = (offset: bigint, text: string) => [offset, 'transform', 'transform.failed', JSON.stringify({ text })]
    expect(dead).toEqual([letter(1n, 'x'), letter(6n, '99999999999')])
    expect(countsOf(staged)).toMatchObject({ rows: 2, deadLetters: 2, filtered: 3 })
    expect(countsOf(await encode({ ...failing, onError: 'skip' }, records))).toMatchObject({
      deadLetters: 0,
      skipped: 2,
    })
    await expect(encode({ ...failing, onError: 'stop' }, records)).rejects.toMatchObject({
      code: 'decode.stopped',
      context: { offset: '1', reason: 'transform.failed' },
    })
  })
})

test('a table that is not stored counts its rows, and no file has them', async () => {
  const staged = await encode({ ...BASE, store: false }, [value('a', 1, 5), { value: 'poison' }])
  expect(staged).toMatchObject({ files: [], isStored: false })
  expect(staged.deadLetterFiles).toHaveLength(1)
  expect(countsOf(staged)).toMatchObject({ rows: 1, deadLetters: 1, clockMs: 5 })
})
