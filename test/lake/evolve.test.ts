import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Column, ColumnType } from '../../src/batch.ts'
import { systemClock } from '../../src/clock.ts'
import { dataFiles } from '../../src/lake/scan.ts'
import { MemoryStorage } from '../../src/lake/storage/memory.ts'
import {
  appendFiles,
  createTable,
  evolveTable,
  openTable,
  planSchema,
  writePlan,
  type IcebergField,
  type LakeTable,
} from '../../src/lake/table.ts'

const long = { kind: 'long' } as const
const int = { kind: 'int' } as const
const decimal = (precision: number, scale = 2): ColumnType => ({ kind: 'decimal', precision, scale })
const stamp = (index: number) => ({ commitId: `c${index}`, version: BigInt(index), ranges: '' })

async function made(columns: readonly Column[], partitionBy: readonly string[] = [], key: readonly string[] = []) {
  const storage = new MemoryStorage('evolve')
  const spec = { name: 't', columns, partitionBy, formatVersion: 2, key } as const
  return { storage, table: await createTable(storage, spec, systemClock) }
}

function problemsOf(table: LakeTable, columns: readonly Column[]): string[] {
  const { problems } = planSchema({ ...table, lastColumnId: table.raw['last-column-id'] }, columns)
  return problems.map(({ column, message }) => `${column} ${message}`)
}

/** All ids of columns and of what is inside them. */
function idsOf(fields: readonly IcebergField[]): number[] {
  return [...JSON.stringify(fields).matchAll(/"(?:id|element-id|key-id|value-id)":(\d+)/g)].map(([, id]) => Number(id))
}

describe('the columns of a table evolve', () => {
  test('whatever comes and goes: ids are those of the names, and none is ever used again', async () => {
    const types: readonly ColumnType[] = [int, long, { kind: 'list', element: int }, { kind: 'string' }]
    const column = fc.record({ name: fc.constantFrom('a', 'b', 'c', 'd', 'e'), type: fc.constantFrom(...types) })
    const columns = fc.uniqueArray(column, { minLength: 1, maxLength: 5, selector: ({ name }) => name })
    await fc.assert(
      fc.asyncProperty(columns, fc.array(columns, { maxLength: 6 }), async (first, steps) => {
        const { storage, table: empty } = await made(first)
        let table = empty
        const owners = new Map(idsOf(table.schema.fields).map((id) => [id, 0]))
        for (const [at, step] of steps.entries()) {
          // A column that cannot become another goes before it comes again.
          const before = new Map(table.schema.fields.map((field) => [field.name, field]))
          const bad = new Set(problemsOf(table, step).map((text) => text.split(' ')[0]))
          const next = step.filter(({ name }) => !bad.has(name))
          if (next.length === 0) continue
          table = await evolveTable(storage, table, next, {}, `e${at}`, systemClock)
          expect(table.schema.fields.map(({ name }) => name)).toEqual(next.map(({ name }) => name))
          const ids = idsOf(table.schema.fields)
          expect(new Set(ids).size).toBe(ids.length)
          for (const field of table.schema.fields) {
            const old = before.get(field.name)
            if (old !== undefined) expect(field.id).toBe(old.id)
            else for (const id of idsOf([field])) expect(owners.has(id)).toBe(false)
          }
          for (const id of ids) owners.set(id, at)
          expect(table.raw['last-column-id']).toBeGreaterThanOrEqual(Math.max(...owners.keys()))
          const read = await openTable(storage, table.metadata)
          expect(read.raw).toEqual(table.raw)
        }
      }),
      { numRuns: 100 },
    )
  })

  test('added, removed, widened, made optional and moved; the rows that are there stay', async () => {
    const { storage, table } = await made([
      { name: 'id', type: long, required: true },
      { name: 'n', type: int, required: true },
      { name: 'price', type: decimal(9) },
      { name: 'gone', type: long },
      { name: 'f', type: { kind: 'float' } },
      { name: 'list', type: { kind: 'list', element: int } },
    ])
    const file = { key: `${writePlan(table).dataPrefix}a.parquet`, recordCount: 1, fileSizeBytes: 1, partition: [] }
    const filled = await appendFiles(storage, table, [{ ...file, metrics: new Map() }], stamp(1), systemClock)
    const evolved = await evolveTable(
      storage,
      filled,
      [
        { name: 'f', type: { kind: 'double' } },
        { name: 'id', type: long, required: true },
        { name: 'note', type: { kind: 'string' } },
        { name: 'n', type: long },
        { name: 'price', type: decimal(12) },
        { name: 'list', type: { kind: 'list', element: long } },
      ],
      { 'kappalake.definition': 'x' },
      'e',
      systemClock,
    )
    expect(evolved.schema.fields.map(({ id, name, type, required }) => [id, name, type, required])).toEqual([
      [5, 'f', 'double', false],
      [1, 'id', 'long', true],
      [8, 'note', 'string', false],
      [2, 'n', 'long', false],
      [3, 'price', 'decimal(12, 2)', false],
      [6, 'list', { type: 'list', 'element-id': 7, element: 'long', 'element-required': false }, false],
    ])
    const { raw } = evolved
    expect([raw['current-schema-id'], raw.schemas.length, raw.snapshots.at(-1)!['schema-id']]).toEqual([1, 2, 0])
    expect([evolved.snapshot, evolved.uuid]).toEqual([filled.snapshot, filled.uuid])
    expect(evolved.metadata).toContain('/v2-e.metadata.json')
    expect(raw['metadata-log'].at(-1)!['metadata-file']).toContain(filled.metadata)
    expect(evolved.properties).toMatchObject({ 'kappalake.definition': 'x', 'write.format.default': 'parquet' })
    expect(JSON.parse(evolved.properties['schema.name-mapping.default']!)[2]).toEqual({
      'field-id': 8,
      names: ['note'],
    })
    const more = { ...file, key: `${writePlan(table).dataPrefix}b.parquet`, metrics: new Map() }
    const after = await appendFiles(storage, evolved, [more], stamp(2), systemClock)
    expect(after.raw.snapshots.map((snapshot) => snapshot['schema-id'])).toEqual([0, 1])
    expect(await dataFiles(storage, await openTable(storage, after.metadata))).toHaveLength(2)
  })

  test('what changes nothing writes nothing', async () => {
    const columns = [{ name: 'id', type: long }] as const
    const { storage, table } = await made(columns)
    expect(await evolveTable(storage, table, columns, {}, 'e', systemClock)).toBe(table)
    const named = await evolveTable(storage, table, columns, { a: 'b' }, 'e', systemClock)
    expect([named.raw.schemas.length, named.properties['a']]).toEqual([1, 'b'])
  })

  test('a column that comes again is another one', async () => {
    const { storage, table } = await made([
      { name: 'id', type: long },
      { name: 'a', type: long },
    ])
    const without = await evolveTable(storage, table, [{ name: 'id', type: long }], {}, 'e', systemClock)
    const again = await evolveTable(
      storage,
      without,
      [
        { name: 'id', type: long },
        { name: 'a', type: { kind: 'string' } },
      ],
      {},
      'f',
      systemClock,
    )
    expect(again.schema.fields.map(({ id }) => id)).toEqual([1, 3])
    expect(again.raw.schemas.map((schema) => schema['schema-id'])).toEqual([0, 1, 2])
  })

  test('the key of a table stays its key', async () => {
    const { storage, table } = await made([{ name: 'id', type: long, required: true }], [], ['id'])
    const columns: Column[] = [
      { name: 'note', type: { kind: 'string' } },
      { name: 'id', type: long, required: true },
    ]
    const evolved = await evolveTable(storage, table, columns, {}, 'e', systemClock)
    expect(evolved.schema['identifier-field-ids']).toEqual([1])
  })

  test('what Iceberg has no way to say is told by column', async () => {
    const struct = (...names: readonly string[]): ColumnType => ({
      kind: 'struct',
      fields: names.map((name) => ({ name, type: int })),
    })
    const { table } = await made(
      [
        { name: 'id', type: long },
        { name: 'day', type: { kind: 'date' } },
        { name: 'code', type: int },
        { name: 'price', type: decimal(9) },
        { name: 's', type: struct('a', 'b') },
      ],
      ['code'],
    )
    const changed = (name: string, type: ColumnType, required = false): Column[] => [
      { name, type, required },
      ...(name === 'code' ? [] : [{ name: 'code', type: int }]),
    ]
    expect(problemsOf(table, [{ name: 'id', type: long }])).toEqual(['code is gone, and rows are divided by it'])
    expect(problemsOf(table, changed('id', int))).toEqual(['id was long and is int'])
    expect(problemsOf(table, changed('id', { kind: 'string' }))).toEqual(['id was long and is string'])
    expect(problemsOf(table, changed('id', long, true))).toEqual([
      'id was optional and is required: rows that are there may have no value',
    ])
    expect(problemsOf(table, changed('new', long, true))).toEqual([
      'new is new and required: rows that are there have no value of it',
    ])
    expect(problemsOf(table, changed('price', decimal(12, 3)))).toEqual([
      'price was decimal(9, 2) and is decimal(12, 3)',
    ])
    expect(problemsOf(table, changed('price', decimal(8)))).toHaveLength(1)
    expect(problemsOf(table, changed('code', long))).toEqual(['code was int and is long, and rows are divided by it'])
    for (const other of [struct('a'), struct('b', 'a'), struct('a', 'b', 'c')])
      expect(problemsOf(table, changed('s', other))).toHaveLength(1)
    expect(problemsOf(table, changed('s', struct('a', 'b')))).toEqual([])
  })
})
