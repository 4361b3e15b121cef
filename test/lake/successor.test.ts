import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Column, ColumnType } from '../../src/batch.ts'
import { metadataNumber } from '../../src/lake/lake-table.ts'
import { MemoryStorage } from '../../src/lake/storage/memory.ts'
import {
  appendFiles,
  createTable,
  moveAhead,
  openTable,
  type IcebergType,
  type LakeTable,
} from '../../src/lake/table.ts'
import { InstantClock } from '../support/instant-clock.ts'

const types: fc.Arbitrary<ColumnType> = fc.constantFrom<ColumnType>(
  { kind: 'string' },
  { kind: 'int' },
  { kind: 'long' },
  { kind: 'decimal', precision: 9, scale: 2 },
  { kind: 'list', element: { kind: 'struct', fields: [{ name: 'a', type: { kind: 'int' } }] } },
  { kind: 'list', element: { kind: 'struct', fields: [{ name: 'a', type: { kind: 'long' } }] } },
  { kind: 'map', value: { kind: 'list', element: { kind: 'string' } } },
)
const columns: fc.Arbitrary<readonly Column[]> = fc.uniqueArray(
  fc.record({ name: fc.constantFrom('a', 'b', 'c', 'd', 'id', 'type'), type: types, required: fc.boolean() }),
  { selector: ({ name }) => name, minLength: 1 },
)
const given = fc.record({
  first: columns,
  second: columns,
  third: columns,
  formats: fc.tuple(...[0, 1, 2].map(() => fc.constantFrom<2 | 3>(2, 3))),
  partitioned: fc.tuple(fc.boolean(), fc.boolean(), fc.boolean()),
  commits: fc.nat(3),
})

const clock = new InstantClock()

function idsOf(type: IcebergType): number[] {
  if (typeof type === 'string') return []
  if (type.type === 'struct') return type.fields.flatMap((field) => [field.id, ...idsOf(field.type)])
  if (type.type === 'list') return [type['element-id'], ...idsOf(type.element)]
  return [type['key-id'], ...idsOf(type.key), type['value-id'], ...idsOf(type.value)]
}

const allIds = ({ schema }: LakeTable): number[] => idsOf({ type: 'struct', fields: schema.fields })
const shapeOf = (type: unknown): string =>
  JSON.stringify(type, (key, value: unknown) => (/^id$|-id$/.test(key) ? undefined : value))

async function made(
  storage: MemoryStorage,
  list: readonly Column[],
  formatVersion: 2 | 3,
  isPartitioned: boolean,
  before?: LakeTable,
): Promise<LakeTable> {
  const of = list.find(({ type }) => ['string', 'int', 'long'].includes(type.kind))
  const partitionBy = isPartitioned && of !== undefined ? [`bucket(4, ${of.name})`] : []
  return createTable(storage, { name: 't', columns: list, partitionBy, formatVersion }, clock, before)
}

async function commit(storage: MemoryStorage, table: LakeTable, times: number): Promise<LakeTable> {
  let now = table
  for (let k = 0; k < times; k++) {
    const partition = now.spec.fields.map(() => 1)
    const key = `tables/t/data/${clock.uuid()}.parquet`
    const file = { key, recordCount: 1, fileSizeBytes: 1, partition, metrics: new Map() }
    now = await appendFiles(storage, now, [file], { commitId: clock.uuid(), version: 1n, ranges: '' }, clock)
  }
  return now
}

describe('a table that succeeds another', () => {
  test('is the same table with other columns, empty, and with numbers that the other never comes to', async () => {
    await fc.assert(
      fc.asyncProperty(given, async ({ first, second, third, formats, partitioned, commits }) => {
        const storage = new MemoryStorage('s')
        const used = new Map<number, string>()
        let before = await commit(storage, await made(storage, first, formats[0]!, partitioned[0]), commits)
        for (const [k, next] of [second, third].entries()) {
          for (const { id, name, type } of before.schema.fields) used.set(id, `${name} ${shapeOf(type)}`)
          const after = await made(storage, next, formats[k + 1]!, partitioned[k + 1]!, before)
          expect(await openTable(storage, after.metadata)).toEqual({ ...after, manifests: undefined })
          expect([after.uuid, after.raw.location]).toEqual([before.uuid, before.raw.location])
          expect([after.snapshot, after.snapshots, after.totalRecords]).toEqual([undefined, [], 0n])
          expect(after.schema.fields.map(({ name, required }) => [name, required])).toEqual(
            next.map(({ name, required }) => [name, required]),
          )
          const ids = allIds(after)
          expect(new Set(ids).size).toBe(ids.length)
          const last = before.raw['last-column-id']
          expect(after.raw['last-column-id']).toBe(Math.max(last, ...ids))
          for (const { id, name, type } of after.schema.fields) {
            const stayed = before.schema.fields.find(
              (field) => field.name === name && shapeOf(field.type) === shapeOf(type),
            )
            if (stayed === undefined) expect(id).toBeGreaterThan(last)
            else expect([id, type]).toEqual([stayed.id, stayed.type])
            // No id is ever given to another column, by any of them.
            expect(used.get(id) ?? `${name} ${shapeOf(type)}`).toBe(`${name} ${shapeOf(type)}`)
          }
          expect(after.schema['schema-id']).toBeGreaterThan(before.schema['schema-id'])
          expect(after.spec['spec-id']).toBeGreaterThan(before.spec['spec-id'])
          expect(after.formatVersion).toBe(Math.max(before.formatVersion, formats[k + 1]!))
          for (const field of after.spec.fields) {
            const source = after.schema.fields.find(({ id }) => id === field['source-id'])
            expect(`bucket ${source!.name}`).toBe(`bucket ${field.name.replace('_bucket', '')}`)
            expect(field['field-id']).toBeLessThanOrEqual(after.raw['last-partition-id'])
            const other = before.spec.fields.find((each) => each['field-id'] === field['field-id'])
            if (other !== undefined) expect(other['source-id']).toBe(field['source-id'])
          }
          assertAhead(before, after)
          // A commit of a million more of the other one does not come near.
          before = await commit(storage, after, 1)
          expect(before.raw['last-sequence-number']).toBe(after.raw['last-sequence-number'] + 1n)
          expect(before.totalRecords).toBe(1n)
        }
      }),
      { numRuns: 100 },
    )
  })

  test('what is moved ahead holds the same rows', async () => {
    const storage = new MemoryStorage('s')
    const before = await commit(storage, await made(storage, [{ name: 'a', type: { kind: 'int' } }], 3, false), 2)
    const after = await moveAhead(storage, before, clock)
    assertAhead(before, after)
    const { snapshots, snapshot, totalRecords, uuid, schema, spec, raw } = after
    expect({ snapshots, snapshot, totalRecords, uuid, schema, spec }).toEqual({
      snapshots: before.snapshots,
      snapshot: before.snapshot,
      totalRecords: 2n,
      uuid: before.uuid,
      schema: before.schema,
      spec: before.spec,
    })
    const next = await commit(storage, after, 1)
    expect(next.totalRecords).toBe(3n)
    expect(next.raw.snapshots.at(-1)!['first-row-id']).toBe(raw['next-row-id'])
  })
})

function assertAhead(before: LakeTable, after: LakeTable): void {
  const million = 1_000_000
  expect(after.raw['last-sequence-number']).toBeGreaterThan(before.raw['last-sequence-number'] + BigInt(million))
  expect(metadataNumber(after.metadata)).toBeGreaterThan(metadataNumber(before.metadata) + million)
  expect(after.raw['last-updated-ms']).toBeGreaterThan(before.raw['last-updated-ms'])
  if (after.formatVersion === 3)
    expect(after.raw['next-row-id']).toBeGreaterThan((before.raw['next-row-id'] ?? 0n) + BigInt(million))
}
