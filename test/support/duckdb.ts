import { DuckDBInstance, type DuckDBConnection } from '@duckdb/node-api'

/** A DuckDB in memory, with one thread and in UTC, for one test file. */
export class TestDuckDb {
  readonly connection: DuckDBConnection
  readonly #instance: DuckDBInstance

  private constructor(instance: DuckDBInstance, connection: DuckDBConnection) {
    this.#instance = instance
    this.connection = connection
  }

  static async open(): Promise<TestDuckDb> {
    const instance = await DuckDBInstance.create(':memory:', { threads: '1' })
    const connection = await instance.connect()
    await connection.run(`SET TimeZone = 'UTC'`)
    return new TestDuckDb(instance, connection)
  }

  close(): void {
    this.connection.closeSync()
    this.#instance.closeSync()
  }
}
