import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Column } from '../../src/batch.ts'
import { systemClock } from '../../src/clock.ts'
import type { TableDefinition } from '../../src/define.ts'
import { openEncoder } from '../../src/ingest/encoder.ts'
import { DELETE } from '../../src/ingest/keys.ts'
import type { Encoder, StagedTable } from '../../src/ingest/lane.ts'
import type { RecordBatch } from '../../src/log.ts'
import { batchOf, definition, tablePlan, type TestRecord } from '../support/lake-table.ts'
import { openStore } from '../support/parquet.ts'

const { storage, reader } = await openStore('keyed')

const string = { kind: 'string' } as const
const COLUMNS: readonly Column[] = [
  { name: 'id', type: string, required: true },
  { name: 'line', type: { kind: 'int' }, required: true },
  { name: 'text', type: string },
  { name: 'n', type: { kind: 'int' }, required: true },
  { name: 'list', type: { kind: 'list', element: string } },
  { name: 'inner', type: { kind: 'struct', fields: [{ name: 'x', type: string }] } },
]
const KEPT = ['text', 'n', 'list', 'inner'] as const
const COMPOSITE = { key: ['id', 'line'], recordKey: 'json' } as const

interface Log {
  readonly records: readonly TestRecord[]
  /** Last offsets of batches, and whether a micro-batch ends there too. */
  readonly cuts: ReadonlyMap<number, boolean>
}

const long = fc.constantFrom(
  'short',
  'a text that does not lie in place',
  'and another such text, even longer',
  'é☀ "\\',
)
const ids = fc.constantFrom('a', 'b', 'a key of over 12 bytes')
const values = {
  text: fc.option(long),
  n: fc.integer(),
  list: fc.option(fc.array(fc.option(long), { maxLength: 3 })),
  inner: fc.option(fc.record({ x: fc.option(long) })),
}
const recordOf = (idOf: fc.Arbitrary<string>): fc.Arbitrary<TestRecord> =>
  fc
    .tuple(
      fc.record({ id: idOf, line: fc.integer({ min: 0, max: 1 }) }),
      fc.record(values),
      fc.subarray([...KEPT]),
      fc.oneof({ weight: 9, arbitrary: fc.constant('row') }, fc.constantFrom('delete', 'bad', 'no key', 'bad key')),
    )
    .map(([named, all, absent, kind]) => {
      const row = Object.fromEntries(
        Object.entries({ ...named, ...all }).filter(([name]) => !absent.includes(name as never)),
      )
      if (kind === 'delete') return { key: JSON.stringify(named), value: null }
      if (kind === 'no key')
        return absent.length > 1 ? { key: null, value: null } : { value: JSON.stringify({ ...row, id: null }) }
      if (kind === 'bad key') return { key: '{"id":1}', value: null }
      return { key: '', value: kind === 'bad' ? '{"id":' : JSON.stringify(row) }
    })
const logs: fc.Arbitrary<Log> = fc
  .tuple(
    fc.array(recordOf(ids), { minLength: 1, maxLength: 60, size: 'max' }),
    fc.array(fc.tuple(fc.nat(59), fc.boolean())),
  )
  .map(([records, cuts]) => ({ records, cuts: new Map(cuts) }))

/** The log in micro-batches of batches. */
function micros({ records, cuts }: Log): RecordBatch[][] {
  const list: RecordBatch[][] = [[]]
  let from = 0
  records.forEach((_, k) => {
    const isEnd = k === records.length - 1
    if (!isEnd && !cuts.has(k)) return
    list.at(-1)!.push(batchOf(records.slice(from, k + 1), { first: BigInt(from) }))
    if (cuts.get(k) === true && !isEnd) list.push([])
    from = k + 1
  })
  return list
}

type Row = readonly unknown[]

/** What a committer makes of staged tables: rows by hash, holes filled from the rows before, baseless records staged again. */
async function folded(def: TableDefinition, log: Log, partition: readonly (readonly [string, string])[]) {
  const encoder = await openEncoder({ tables: [def], storage, clock: systemClock })
  const plan = tablePlan(def, partition)
  const state = new Map<string, Row>()
  const dead: [number, string][] = []
  for (const batches of micros(log)) {
    const staged = await withBases(encoder, plan, batches, state)
    await apply(staged, state)
    for (const file of staged.deadLetterFiles)
      for (const [offset, code] of await reader.rows(storage, file, '_offset, code'))
        dead.push([Number(offset), code as string])
  }
  await encoder.close()
  return { rows: [...state.values()].map((row) => row.slice(1)).sort(byText), dead }
}

async function withBases(
  encoder: Encoder,
  plan: ReturnType<typeof tablePlan>,
  batches: readonly RecordBatch[],
  state: ReadonlyMap<string, Row>,
): Promise<StagedTable> {
  const baseless = new Set<string>()
  for (;;) {
    const staged = await encoder.encode(plan, batches, new Set(), baseless)
    const { keys } = staged
    const { size } = baseless
    for (const operation of keys?.holes?.operations ?? [])
      if (!state.has(hashAt(keys!.hashes, operation))) baseless.add(`shop.orders/0@${keys!.offsets[operation]}`)
    if (baseless.size === size) return staged
  }
}

async function apply({ files, keys, counts }: StagedTable, state: Map<string, Row>): Promise<void> {
  const rows: Row[][] = []
  for (const file of files)
    rows.push(
      await reader.rows(storage, file, '_offset, columns(* exclude (_kafka_partition, _offset, _timestamp))::varchar'),
    )
  expect(keys!.runs.reduce((sum, { count }) => sum + count, 0)).toBe(keys!.count)
  expect([...keys!.files].filter((file) => file >= 0)).toHaveLength(rows.flat().length)
  expect(rows.flat()).toHaveLength(counts.get('shop.orders/0')!.rows)
  const before = new Map(state)
  for (let k = 0; k < keys!.count; k++) {
    const hash = hashAt(keys!.hashes, k)
    const file = keys!.files[k]!
    if (file === DELETE) {
      state.delete(hash)
      continue
    }
    const row = [...rows[file]![keys!.rows[k]!]!]
    expect(row[0]).toBe(keys!.offsets[k])
    const hole = keys!.holes?.operations.indexOf(k) ?? -1
    for (const name of hole < 0 ? [] : keys!.holes!.columns[keys!.holes!.lacking[hole]!]!) {
      const column = 1 + COLUMNS.findIndex((c) => c.name === name)
      row[column] = before.get(hash)![column]
    }
    state.set(hash, row)
  }
}

function hashAt(hashes: Uint32Array, k: number): string {
  return hashes.subarray(4 * k, 4 * k + 4).join(' ')
}

const byText = (a: unknown, b: unknown): number => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1)

const json = (text: unknown): any => JSON.parse(text as string)

/** The plain fold of the log: the values of each key, and the dead letters. */
function fold(log: Log, missing: 'null' | 'keep') {
  const state = new Map<string, Record<string, unknown>>()
  const dead: [number, string][] = []
  log.records.forEach(({ key: named, value }, offset) => {
    if (value === null) {
      const id = named === null ? undefined : json(named)
      if (id === undefined) dead.push([offset, 'key.null'])
      else if (typeof id.id !== 'string') dead.push([offset, 'key.unmappable'])
      else state.delete(`${id.id} ${id.line}`)
      return
    }
    if (value === '{"id":') return dead.push([offset, 'decode.json'])
    const row = json(value)
    if (row.id === null) return dead.push([offset, 'key.null'])
    const before = state.get(`${row.id} ${row.line}`)
    const isPartial = KEPT.some((name) => !(name in row))
    if (missing === 'null' && !('n' in row)) return dead.push([offset, 'decode.required'])
    if (missing === 'keep' && isPartial && before === undefined)
      return dead.push([offset, 'cdc.unavailable_without_base'])
    const kept = missing === 'keep' ? before : {}
    state.set(`${row.id} ${row.line}`, { text: null, list: null, inner: null, ...kept, ...row })
  })
  return { state, dead }
}

/** The rows of a fold, written by the encoder of an append table: as they look in a file. */
async function written(state: ReadonlyMap<string, unknown>): Promise<Row[]> {
  if (state.size === 0) return []
  const def = definition({ columns: COLUMNS })
  const encoder = await openEncoder({ tables: [def], storage, clock: systemClock })
  const records = [...state.values()].map((row) => ({ value: JSON.stringify(row) }))
  const { files } = await encoder.encode(tablePlan(def), [batchOf(records)], new Set())
  await encoder.close()
  const rows = await reader.rows(
    storage,
    files[0]!,
    'columns(* exclude (_kafka_partition, _offset, _timestamp))::varchar',
  )
  return rows.sort(byText)
}

describe('keyed rows', () => {
  test.each([
    ['null', []],
    ['keep', []],
    ['keep', [['line', 'identity']]],
    ['null', [['n', 'bucket[3]']]],
  ] as const)(
    'operations applied are the plain fold of the log (missing: %s, partitioned by %j)',
    async (missing, partition) => {
      const partitionBy = partition.map(([name]) => name)
      const def = definition({ columns: COLUMNS, ...COMPOSITE, missing, partitionBy })
      await fc.assert(
        fc.asyncProperty(logs, async (log) => {
          const { state, dead } = fold(log, missing)
          const found = await folded(def, log, partition)
          expect(found.dead.toSorted(byText)).toEqual(dead.toSorted(byText))
          expect(found.rows).toEqual(await written(state))
        }),
        { numRuns: 12 },
      )
    },
  )

  test('rows of several chunks keep values of each other, and go to their files', async () => {
    const records = fc.sample(recordOf(fc.integer({ min: 0, max: 900 }).map((n) => `a key of some length, ${n}`)), {
      numRuns: 7_000,
      seed: 11,
    })
    const log: Log = {
      records,
      cuts: new Map([
        [2_500, false],
        [6_000, true],
      ]),
    }
    for (const partition of [[], [['line', 'identity']]] as const) {
      const def = definition({
        columns: COLUMNS,
        ...COMPOSITE,
        missing: 'keep',
        partitionBy: partition.map(([name]) => name),
      })
      const { state, dead } = fold(log, 'keep')
      expect(state.size).toBeGreaterThan(500)
      const found = await folded(def, log, partition)
      expect(found.dead.toSorted(byText)).toEqual(dead.toSorted(byText))
      expect(found.rows).toEqual(await written(state))
    }
  })
})
