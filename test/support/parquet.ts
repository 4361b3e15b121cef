import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { DuckDBInstance, type DuckDBConnection, type DuckDBValue } from '@duckdb/node-api'
import { afterAll } from 'vitest'
import { MemoryStorage } from '../../src/lake/storage/memory.ts'
import type { DataFile, Storage } from '../../src/lake/table.ts'
// The client reads texts as they are where this has been loaded.
import '../../src/values.ts'

/** A DuckDB that reads back what the encoder wrote into a store. */
export class ParquetReader {
  readonly #connection: DuckDBConnection
  readonly #folder = mkdtempSync(path.join(os.tmpdir(), 'kappalake-parquet-'))

  private constructor(connection: DuckDBConnection) {
    this.#connection = connection
  }

  static async open(): Promise<ParquetReader> {
    const instance = await DuckDBInstance.create(':memory:', { threads: '1' })
    return new ParquetReader(await instance.connect())
  }

  /** Rows of `SELECT select FROM` the file, in the file's order. */
  async rows(storage: Storage, file: DataFile, select = '*'): Promise<DuckDBValue[][]> {
    return this.query(storage, file, `SELECT ${select} FROM file`)
  }

  async query(storage: Storage, file: DataFile, sql: string): Promise<DuckDBValue[][]> {
    const local = path.join(this.#folder, path.basename(file.key))
    writeFileSync(local, (await storage.get(file.key))!)
    const result = await this.#connection.runAndReadAll(sql.replaceAll(/\bfile\b/g, `'${local}'`))
    return result.getRows()
  }

  close(): void {
    this.#connection.closeSync()
    rmSync(this.#folder, { recursive: true, force: true })
  }
}

/** A store in memory and what reads files back from it, for the tests of one file: closed behind them. */
export async function openStore(name: string): Promise<{ storage: MemoryStorage; reader: ParquetReader }> {
  const [storage, reader] = [new MemoryStorage(name), await ParquetReader.open()]
  afterAll(async () => {
    reader.close()
    await storage.close()
  })
  return { storage, reader }
}
