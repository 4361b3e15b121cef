import * as fc from 'fast-check'
import { parseAvro, type AvroSchema } from '../../src/avro-schema.ts'
import type { Column, ColumnType } from '../../src/batch.ts'
import { wantedColumns } from '../../src/define-avro.ts'
import type { TableDefinition } from '../../src/define.ts'
import { LakeError } from '../../src/error.ts'
import { evolveColumns, type Evolve, type WantedColumns } from '../../src/evolve-columns.ts'
import { schemaIdAt, type SchemaEntry } from '../../src/ingest/decode/avro-schemas.ts'
import { GrowingReader } from '../../src/ingest/growing-reader.ts'
import type { Encoder, StagedCounts } from '../../src/ingest/lane.ts'
import { located } from '../../src/ingest/located.ts'
import type { IcebergField, IcebergType, Storage } from '../../src/lake/table.ts'
import { partitionId, type PartitionId } from '../../src/log.ts'
import { rowTable } from './rows.ts'

export const growingTable = (name: string, topic: string, evolve: Evolve = 'add-widen'): TableDefinition => ({
  ...rowTable(name, topic),
  value: 'avro',
  avro: { schema: undefined, onIncompatible: 'stop' },
  columns: [],
  evolve,
  unknown: 'extra',
})

export const wantedOf = (schema: unknown, table: Pick<TableDefinition, 'columns'> = { columns: [] }): WantedColumns =>
  wantedColumns(parseAvro(schema), table)!

const wantedIn = (entry: SchemaEntry, table: Pick<TableDefinition, 'columns'>): WantedColumns =>
  wantedColumns((entry as { readonly schema: AvroSchema }).schema, table)!

export const entryOf = (schema: unknown): SchemaEntry => ({ kind: 'schema', schema: parseAvro(schema) })

/** Types that fields of one name have in schemas that fit each other. */
const FAMILIES: readonly (readonly unknown[])[] = [
  ['int', 'long'],
  ['float', 'double'],
  ['string', { type: 'enum', name: 'E', symbols: ['a'] }],
  [decimal(5), decimal(9), decimal(20)],
  [
    { type: 'array', items: 'int' },
    { type: 'array', items: ['null', 'long'] },
  ],
]

function decimal(precision: number): unknown {
  return { type: 'bytes', logicalType: 'decimal', precision, scale: 2 }
}

const FIELDS = ['a', 'b', 'c', 'd', 'e'] as const

/** Schemas of one subject in no order. Where `areFriends`, all fit each other; else a field may be of any family. */
export function histories(areFriends: boolean): fc.Arbitrary<readonly unknown[]> {
  const field = (k: number): fc.Arbitrary<unknown> =>
    fc
      .record({
        family: areFriends ? fc.constant(k) : fc.nat(FAMILIES.length - 1),
        at: fc.nat(2),
        isNullable: fc.boolean(),
      })
      .map(({ family, at, isNullable }) => {
        const type = FAMILIES[family]![at % FAMILIES[family]!.length]!
        return isNullable ? ['null', type] : type
      })
  const fields = (depth: number): fc.Arbitrary<readonly { readonly name: string; readonly type: unknown }[]> =>
    fc
      .record({
        flat: fc.tuple(...FIELDS.map((_, k) => fc.option(field(k), { nil: undefined }))),
        inner: depth === 0 ? fc.constant(undefined) : fc.option(fields(depth - 1), { nil: undefined }),
        order: fc.boolean(),
      })
      .map(({ flat, inner, order }) => {
        const all = flat.flatMap((type, k) =>
          type === undefined ? [] : [{ name: FIELDS[k]!, type: renamed(type, depth) }],
        )
        const nested =
          inner === undefined || inner.length === 0
            ? []
            : [{ name: 's', type: { type: 'record', name: `S${depth}`, fields: inner } }]
        return order ? [...all, ...nested] : [...nested, ...all.toReversed()]
      })
  return fc.array(
    fields(2).map((list) => ({ type: 'record', name: 'R', fields: list })),
    { minLength: 1, maxLength: 6 },
  )
}

/** Names of types are given once in a schema. */
let enums = 0
function renamed(type: unknown, depth: number): unknown {
  if (Array.isArray(type)) return type.map((each) => renamed(each, depth))
  const isEnum = typeof type === 'object' && type !== null && 'symbols' in type
  return isEnum ? { ...type, name: `E${depth}_${enums++}` } : type
}

/** Columns without their order, as text. */
export function columnsText(columns: readonly Column[]): string {
  return JSON.stringify(sorted(columns))
}

function sorted(columns: readonly Column[]): unknown {
  return columns.map(({ name, type }) => [name, sortedType(type)] as const).toSorted(([a], [b]) => (a < b ? -1 : 1))
}

function sortedType(type: ColumnType): unknown {
  if (type.kind === 'struct') return sorted(type.fields)
  if (type.kind === 'list') return [sortedType(type.element)]
  return type.kind === 'map' ? [sortedType(type.value), 'map'] : type
}

/** Ids of leaves by their paths. */
export function leavesOf(fields: readonly IcebergField[], path = ''): Map<string, { id: number; type: string }> {
  return new Map(
    fields.flatMap(({ id, name, type }): (readonly [string, { id: number; type: string }])[] => [
      ...leaves(id, `${path}${name}`, type),
    ]),
  )
}

function leaves(id: number, path: string, type: IcebergType): ReadonlyMap<string, { id: number; type: string }> {
  if (typeof type === 'string') return new Map([[path, { id, type }]])
  if (type.type === 'struct') return leavesOf(type.fields, `${path}.`)
  return type.type === 'list'
    ? leaves(type['element-id'], `${path}.element`, type.element)
    : leaves(type['value-id'], `${path}.value`, type.value)
}

function pathsOf(columns: readonly Column[], path = ''): readonly string[] {
  return columns.flatMap(({ name, type }) => paths(`${path}${name}`, type))
}

function paths(path: string, type: ColumnType): readonly string[] {
  if (type.kind === 'struct') return pathsOf(type.fields, `${path}.`)
  if (type.kind === 'list') return paths(`${path}.element`, type.element)
  return type.kind === 'map' ? paths(`${path}.value`, type.value) : [path]
}

/** A row says which leaves its record has, by field id; a file, which types they have in it. */
export interface GrowingFile {
  readonly types: Readonly<Record<string, string>>
  readonly rows: readonly { readonly at: string; readonly schema: number; readonly cells: readonly number[] }[]
}

/** Leaves that records of a schema have. */
export const cellsOf = (entry: SchemaEntry): readonly string[] =>
  pathsOf(wantedIn(entry, { columns: [] }).columns).toSorted()

let files = 0

/** Reads ids alone: the columns are those of the production code, the values only say that they are there. */
export function growingEncoder(
  storage: Storage,
  table: TableDefinition,
  schemas: ReadonlyMap<number, SchemaEntry>,
): Encoder {
  const reader = new GrowingReader(table, schemas)
  return {
    async encode(plan, batches) {
      const records = batches.flatMap((batch) => {
        const view = new DataView(batch.buffer.buffer, batch.buffer.byteOffset, batch.buffer.length)
        return Array.from({ length: batch.count }, (_, i) => ({
          partition: batch.partition,
          offset: batch.offsets[i]!,
          schema: schemaIdAt(view, batch.valueRanges[2 * i]!, batch.valueRanges[2 * i + 1]!)!,
        }))
      })
      const grown = reader.grown(plan, [...new Set(records.map(({ schema }) => schema))])
      const ids = leavesOf(grown.data.schema.fields)
      const counts = new Map<PartitionId, StagedCounts>()
      const rows = located(batches, () =>
        records.map(({ partition, offset, schema }) => {
          const entry = schemas.get(schema)!
          const evolved = evolveColumns(grown.known, wantedIn(entry, table), table.evolve!)
          if (evolved.kind === 'incompatible')
            throw new LakeError('schema.incompatible', evolved.problems.join(), { context: { schemaId: schema } })
          const id = partitionId(plan.topic, partition)
          const before = counts.get(id) ?? { rows: 0, deadLetters: 0, tombstones: 0, skipped: 0, clockMs: undefined }
          counts.set(id, { ...before, rows: before.rows + 1 })
          return { at: `${partition}@${offset}`, schema, cells: cellsOf(entry).map((path) => ids.get(path)!.id) }
        }),
      )
      const types = Object.fromEntries([...ids.values()].map(({ id, type }) => [id, type]))
      const key = `${plan.data.dataPrefix}${files++}.json`
      const bytes = Buffer.from(JSON.stringify({ types, rows } satisfies GrowingFile))
      await storage.put(key, bytes)
      const file = { key, recordCount: rows.length, fileSizeBytes: bytes.length, partition: [], metrics: new Map() }
      return {
        table: plan.table,
        files: [file],
        deadLetterFiles: [],
        counts,
        ...(grown.needed === undefined ? {} : { needed: grown.needed }),
      }
    },
    close: () => Promise.resolve(),
  }
}
