import { readFileSync } from 'node:fs'
import { gunzipSync } from 'node:zlib'
import type { DuckDBValue } from '@duckdb/node-api'
import { systemClock } from '../../../src/clock.ts'
import type { TableDefinition } from '../../../src/define.ts'
import { table } from '../../../src/define.ts'
import { openEncoder } from '../../../src/ingest/encoder.ts'
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

export function changeTable(name: string, columns: Readonly<Record<string, string>>): TableDefinition {
  return table(name, { from: { topic: name, value: 'debezium' }, columns })
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
  records: readonly Pick<Captured, 'key' | 'value'>[],
  reader: ParquetReader,
): Promise<DecodedRecords> {
  const storage = new MemoryStorage('changes')
  const encoder = await openEncoder({ tables: [definition], storage, clock: systemClock })
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
