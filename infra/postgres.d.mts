import type { SqlConnection } from './postgres-client.d.mts'

export interface Postgres {
  readonly port: number
  readonly database: string
  readonly user: string
  readonly pid: number | undefined
  connect(database?: string): Promise<SqlConnection>
  /** Ends the server at once and removes its data. */
  stop(): Promise<void>
}

/** Starts one PostgreSQL with logical replication, on a free port of the loopback, without passwords. */
export function startPostgres(): Promise<Postgres>
