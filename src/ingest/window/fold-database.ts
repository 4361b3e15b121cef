import { rm } from 'node:fs/promises'
import path from 'node:path'
import type { DuckDBConnection, DuckDBInstance, DuckDBValue } from '@duckdb/node-api'
import type { Clock } from '../../clock.ts'
import { LakeError } from '../../error.ts'
import type { Storage } from '../../lake/table.ts'
import { openDuckDb } from '../decode/open-duckdb.ts'
import { AliveRows } from '../table-work/concatenate.ts'
import { registerExact } from '../../window/exact-double.ts'
import { MovedRows } from './moved-rows.ts'

const MEMORY_BYTES = 512 * 1024 * 1024
/** Of the memory: so much may be written before DuckDB takes away deleted rows of itself, which takes a while. */
const CHECKPOINT_SHARE = 8
/** Every scan passes deleted rows: fewer are not worth the while. */
const DEAD_ROWS_MIN = 100_000

/** Of the memory, for a row of results and what it is made of while they are made: lists of values cannot be spilled. */
const RESULT_ROW_BYTES = 2_048

/** A DuckDB with one thread that writes to a folder of its own what does not fit into memory. */
export class FoldDatabase {
  readonly connection: DuckDBConnection
  readonly alive: AliveRows
  readonly moved: MovedRows
  readonly memoryMaxBytes: number
  /** Rows that may be aggregated at once: what does not fit is done in parts. */
  readonly rowsMax: number
  readonly #instance: DuckDBInstance
  readonly #folder: string
  /** Relations of the last fold, which nobody needs after it. */
  readonly #temporary = new Set<string>()
  #deadRows = 0

  private constructor(
    instance: DuckDBInstance,
    connection: DuckDBConnection,
    folder: string,
    memoryMaxBytes: number,
    rowsMax = Math.ceil(memoryMaxBytes / RESULT_ROW_BYTES),
  ) {
    this.#instance = instance
    this.#folder = folder
    this.memoryMaxBytes = memoryMaxBytes
    this.rowsMax = rowsMax
    this.connection = connection
    this.alive = new AliveRows(connection)
    this.moved = new MovedRows(connection)
    registerExact(connection)
  }

  /** Nothing is read back from the folder: it is there while the database is open, for what is spilled. */
  static async open(
    storage: Storage,
    clock: Clock,
    memoryMaxBytes = MEMORY_BYTES,
    rowsMax?: number,
  ): Promise<FoldDatabase> {
    const folder = path.join(storage.scratch, `fold-${clock.uuid()}`)
    const instance = await openDuckDb({ memoryMaxBytes, folder, checkpointBytes: memoryMaxBytes / CHECKPOINT_SHARE })
    const connection = await instance.connect()
    // Texts that expressions make of times, and times of texts, are the same on every machine.
    await connection.run(`SET TimeZone = 'UTC'`)
    return new FoldDatabase(instance, connection, folder, memoryMaxBytes, rowsMax)
  }

  async run(sql: string): Promise<void> {
    await this.connection.run(sql)
  }

  async rows(sql: string): Promise<DuckDBValue[][]> {
    return (await this.connection.runAndReadAll(sql)).getRows()
  }

  /** The numbers of a single row. */
  async numbers(sql: string): Promise<number[]> {
    const [row] = await this.rows(sql)
    return row!.map(Number)
  }

  /** Pieces of so many columns of type INTEGER, none of them null, in their order. */
  async *integers(sql: string, columns: number): AsyncGenerator<readonly Int32Array[]> {
    const result = await this.connection.stream(sql)
    for (;;) {
      const chunk = await result.fetchChunk()
      if (chunk === null || chunk.rowCount === 0) return
      yield Array.from({ length: columns }, (_, k) => {
        const { items } = chunk.getColumnVector(k) as unknown as { readonly items: unknown }
        if (!(items instanceof Int32Array)) throw new LakeError('internal', 'a column of integers is none')
        return items.subarray(0, chunk.rowCount)
      })
    }
  }

  /** The same relation anew, of what a query gives, in its order: its row ids count from 0. */
  async temporary(name: string, query: string): Promise<void> {
    await this.run(`CREATE OR REPLACE TEMP TABLE ${name} AS ${query}`)
    this.#temporary.add(name)
  }

  /** The rows of a relation that `temporary` made in another order. */
  async sort(name: string, columns: readonly string[]): Promise<void> {
    await this.temporary(`${name}_sorted`, `SELECT * FROM ${name} ORDER BY ${columns.join(', ')}`)
    await this.run(`DROP TABLE ${name}`)
    await this.run(`ALTER TABLE ${name}_sorted RENAME TO ${name}`)
  }

  /** `dead` rows more were deleted; when they are half as many as those that live, they are taken away. */
  async retire(dead: number, live: number): Promise<void> {
    this.#deadRows += dead
    if (this.#deadRows < Math.max(DEAD_ROWS_MIN, live / 2)) return
    await this.run('CHECKPOINT')
    this.#deadRows = 0
  }

  /** In memory and spilled, after a fold. Where that is much, what the fold leaves behind is given back first. */
  async bytes(): Promise<number> {
    const sql = 'SELECT sum(memory_usage_bytes + temporary_storage_bytes) FROM duckdb_memory()'
    const [bytes] = await this.numbers(sql)
    if (bytes! <= this.memoryMaxBytes / CHECKPOINT_SHARE) return bytes!
    for (const name of this.#temporary) await this.run(`DROP TABLE IF EXISTS ${name}`)
    this.#temporary.clear()
    const [left] = await this.numbers(sql)
    return left!
  }

  async close(): Promise<void> {
    this.connection.closeSync()
    this.#instance.closeSync()
    await rm(this.#folder, { recursive: true, force: true })
  }
}
