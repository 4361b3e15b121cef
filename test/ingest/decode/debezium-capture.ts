import { readFileSync } from 'node:fs'
import { gunzipSync } from 'node:zlib'
import type { DuckDBValue } from '@duckdb/node-api'
import { parseAvro } from '../../../src/avro-schema.ts'
import { systemClock } from '../../../src/clock.ts'
import type { TableDefinition } from '../../../src/define.ts'
import { table, type TableOptions } from '../../../src/define.ts'
import { openEncoder } from '../../../src/ingest/encoder.ts'
import { DELETE, TRUNCATE } from '../../../src/ingest/keys.ts'
import type { StagedTable } from '../../../src/ingest/lane.ts'
import type { SchemaRegistry } from '../../../src/ingest/registry.ts'
import { MemoryStorage } from '../../../src/lake/storage/memory.ts'
import { batchOf, tablePlan } from '../../support/lake-table.ts'
import type { ParquetReader } from '../../support/parquet.ts'
import { plainOf } from './plain.ts'
import type { Plain } from './reference.ts'

/** A record of a captured stream, as the capture's lines have it. */
export interface Captured {
  readonly topic: string
  readonly offset: string
  readonly timestamp: string
  readonly key: string | null
  readonly value: string | null
}

/** What of a record is decoded. */
export interface Bare {
  readonly key: string | Uint8Array | null
  readonly value: string | Uint8Array | null
}

/** The stream in Avro, and the registry that its ids are of. */
export function avroCapture(): {
  readonly records: readonly (Bare & Pick<Captured, 'topic'>)[]
  readonly registry: SchemaRegistry
} {
  const schemas = new Map(
    (lines('postgres/avro-schemas.ndjson.gz') as readonly { id: number; schema: string | object }[]).map(
      ({ id, schema }) => [id, parseAvro(schema)] as const,
    ),
  )
  return {
    records: capture('postgres/avro.ndjson.gz').map(({ topic, key, value }) => ({
      topic,
      key: key && Buffer.from(key, 'base64'),
      value: value && Buffer.from(value, 'base64'),
    })),
    registry: {
      schema: (id) => {
        const schema = schemas.get(id)
        return Promise.resolve(schema === undefined ? { kind: 'unknown' } : { kind: 'schema', schema })
      },
    },
  }
}

const FIXTURES = new URL('../../fixtures/debezium/', import.meta.url)

export function capture(file: string): readonly Captured[] {
  return lines(file) as readonly Captured[]
}

/** Rows of the source's tables afterwards, every value as text. */
export function finalRows(file: string): readonly { table: string; row: Readonly<Record<string, string | null>> }[] {
  return lines(file) as readonly { table: string; row: Readonly<Record<string, string | null>> }[]
}

function lines(file: string): readonly unknown[] {
  const text = gunzipSync(readFileSync(new URL(file, FIXTURES))).toString()
  return text
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as unknown)
}

export function changeTable(
  name: string,
  columns: Readonly<Record<string, string>>,
  keyed: Pick<TableOptions, 'key' | 'version' | 'missing' | 'onTruncate'> = {},
  value: NonNullable<TableOptions['from']['value']> = 'debezium',
): TableDefinition {
  return table(name, { from: { topic: name, value }, columns, ...keyed })
}

export interface DecodedRecords {
  /** Rows by offset, in the comparable form of `plainOf`. */
  readonly rows: ReadonlyMap<string, Readonly<Record<string, Plain>>>
  /** Codes by offset. */
  readonly dead: ReadonlyMap<string, string>
  readonly counts: {
    readonly rows: number
    readonly deadLetters: number
    readonly tombstones: number
    readonly skipped: number
  }
}

/** What the encoder makes of records, read back from its files. */
export async function decoded(
  definition: TableDefinition,
  records: readonly Bare[],
  reader: ParquetReader,
  registry?: SchemaRegistry,
): Promise<DecodedRecords> {
  const storage = new MemoryStorage('changes')
  const encoder = await openEncoder({ tables: [definition], storage, clock: systemClock, registry })
  const bare = records.map(({ key, value }) => ({ key, value }))
  const batch = batchOf(bare, { topic: definition.topic })
  const staged = await encoder.encode(tablePlan(definition), [batch], new Set())
  await encoder.close()
  const rows = new Map<string, Record<string, Plain>>()
  const select = [...definition.columns.map((column) => `"${column.name}"`), '_offset'].join(', ')
  for (const file of staged.files)
    for (const row of await reader.rows(storage, file, select)) {
      const values = definition.columns.map(({ name, type }, k) => [name, plainOf(row[k]!, type)] as const)
      rows.set(String(row.at(-1)), Object.fromEntries(values))
    }
  const dead = new Map<string, string>()
  for (const file of staged.deadLetterFiles)
    for (const [offset, code] of await reader.rows(storage, file, '_offset, code'))
      dead.set(String(offset), String(code as DuckDBValue))
  await storage.close()
  return { rows, dead, counts: staged.counts.get(`${definition.topic}/0`)! }
}

export type Row = Readonly<Record<string, Plain>>

export interface Folded {
  readonly rows: readonly Row[]
  readonly dead: readonly (readonly [offset: string, code: string])[]
  readonly holes: number
  /** Versions of the operations, in the order of the log. */
  readonly versions: readonly bigint[]
  /** Numbers of the operations without a version of their own. */
  readonly bare: readonly number[]
}

/** The rows that the staged operations leave, by key: in micro-batches of so many records. */
export async function folded(
  definition: TableDefinition,
  records: readonly Bare[],
  reader: ParquetReader,
  size = records.length,
  registry?: SchemaRegistry,
): Promise<Folded> {
  const storage = new MemoryStorage('changes')
  const encoder = await openEncoder({ tables: [definition], storage, clock: systemClock, registry })
  const state = new Map<string, Row>()
  const dead: [string, string][] = []
  const versions: bigint[] = []
  const bare: number[] = []
  let holes = 0
  const rowsOf = async ({ files }: StagedTable): Promise<Row[][]> => {
    const select = definition.columns.map((column) => `"${column.name}"`).join(', ')
    const all: Row[][] = []
    for (const file of files) {
      const rows = await reader.rows(storage, file, select)
      all.push(
        rows.map((row) => Object.fromEntries(definition.columns.map((c, k) => [c.name, plainOf(row[k]!, c.type)]))),
      )
    }
    return all
  }
  for (let from = 0; from < records.length; from += size) {
    const part = records.slice(from, from + size).map(({ key, value }) => ({ key, value }))
    const batch = batchOf(part, { topic: definition.topic, first: BigInt(from) })
    const staged = await encoder.encode(tablePlan(definition), [batch], new Set())
    const counts = staged.counts.get(`${definition.topic}/0`)!
    if (counts.rows + counts.deadLetters + counts.tombstones + counts.skipped !== part.length)
      throw new Error(`${part.length} records became ${JSON.stringify(counts)}`)
    for (const file of staged.deadLetterFiles)
      for (const [offset, code] of await reader.rows(storage, file, '_offset, code'))
        dead.push([String(offset), String(code as DuckDBValue)])
    const rows = await rowsOf(staged)
    const keys = staged.keys!
    for (let k = 0; k < keys.count; k++)
      if (((keys.bare?.[k >> 5] ?? 0) & (1 << (k & 31))) !== 0) bare.push(versions.length + k)
    versions.push(...(keys.versions ?? []))
    // What a row keeps is what its key had before the micro-batch.
    const before = new Map(state)
    for (let k = 0; k < keys.count; k++) {
      const key = keys.hashes.subarray(4 * k, 4 * k + 4).join(' ')
      const file = keys.files[k]!
      if (file === TRUNCATE) state.clear()
      else if (file === DELETE) state.delete(key)
      else {
        const hole = keys.holes?.operations.indexOf(k) ?? -1
        const lacking = hole < 0 ? [] : keys.holes!.columns[keys.holes!.lacking[hole]!]!
        holes += lacking.length
        const kept = lacking.map((column) => [column, before.get(key)![column]!] as const)
        state.set(key, { ...rows[file]![keys.rows[k]!]!, ...Object.fromEntries(kept) })
      }
    }
  }
  await encoder.close()
  await storage.close()
  return { rows: [...state.values()], dead, holes, versions, bare }
}
