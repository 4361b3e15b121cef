import type { DuckDBValue } from '@duckdb/node-api'
import type { Column } from '../../../src/batch.ts'
import { systemClock } from '../../../src/clock.ts'
import type { TableDefinition } from '../../../src/define.ts'
import { openEncoder } from '../../../src/ingest/encoder.ts'
import { MemoryStorage } from '../../../src/lake/storage/memory.ts'
import type { DataFile } from '../../../src/lake/table.ts'
import { batchOf, definition, tablePlan, type TestRecord } from '../../support/lake-table.ts'
import { ParquetReader } from '../../support/parquet.ts'
import { plainOf } from './plain.ts'
import type { Verdict } from './reference.ts'

/** Encodes records as a lane does, and reads back what became of each. */
export class Outcomes {
  readonly #storage = new MemoryStorage('outcomes')
  readonly #reader: ParquetReader

  private constructor(reader: ParquetReader) {
    this.#reader = reader
  }

  static async open(): Promise<Outcomes> {
    return new Outcomes(await ParquetReader.open())
  }

  /** Row or dead letter, one for each record, in their order; throws when a record is neither, or both. */
  async of(given: Partial<TableDefinition>, records: readonly TestRecord[]): Promise<readonly Verdict[]> {
    const def = definition(given)
    const { rows, dead } = await this.read(def, records)
    const { columns } = def
    const verdicts = new Map<bigint, Verdict>()
    const put = (offset: DuckDBValue, verdict: Verdict): void => {
      if (verdicts.has(offset as bigint)) throw new Error(`the record ${String(offset)} is there twice`)
      verdicts.set(offset as bigint, verdict)
    }
    for (const row of rows) {
      const values = columns.map(({ type }, k) => plainOf(row[k]!, type))
      const extra = def.unknown === 'extra' ? row[columns.length]! : null
      put(row.at(-2)!, { kind: 'row', values, extra: extra === null ? null : String(extra) })
    }
    for (const [offset, code] of dead) put(offset!, { kind: 'dead', code: String(code) })
    return records.map(({ offset }, k) => {
      const verdict = verdicts.get(offset ?? BigInt(k))
      if (verdict === undefined) throw new Error(`the record ${k} is neither a row nor a dead letter`)
      return verdict
    })
  }

  /** The rows of the table, and of its dead letters `_offset, code, message`, as DuckDB reads them. */
  async read(
    def: TableDefinition,
    records: readonly TestRecord[],
    select = '*',
  ): Promise<{ readonly rows: DuckDBValue[][]; readonly dead: DuckDBValue[][] }> {
    const encoder = await openEncoder({ tables: [def], storage: this.#storage, clock: systemClock })
    try {
      const staged = await encoder.encode(tablePlan(def), [batchOf(records)], new Set())
      return {
        rows: await this.#all(staged.files, select),
        dead: await this.#all(staged.deadLetterFiles, '_offset, code, message'),
      }
    } finally {
      await encoder.close()
    }
  }

  /** What the records of a keyed table name, one text for each, equal when they name one row. */
  async keys(def: TableDefinition, records: readonly TestRecord[]): Promise<readonly string[]> {
    const encoder = await openEncoder({ tables: [def], storage: this.#storage, clock: systemClock })
    try {
      const { keys } = await encoder.encode(tablePlan(def), [batchOf(records)], new Set())
      return records.map((_, k) => keys!.hashes.slice(4 * k, 4 * k + 4).join(' '))
    } finally {
      await encoder.close()
    }
  }

  async close(): Promise<void> {
    this.#reader.close()
    await this.#storage.close()
  }

  async #all(files: readonly DataFile[], select: string): Promise<DuckDBValue[][]> {
    const rows: DuckDBValue[][] = []
    for (const file of files) rows.push(...(await this.#reader.rows(this.#storage, file, select)))
    return rows
  }
}

/** One column, a list of values of this type. */
export function listOf(name: string, type: Column['type']): readonly Column[] {
  return [{ name, type: { kind: 'list', element: type } }]
}
