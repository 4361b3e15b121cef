import type { Postgres } from './postgres.d.mts'

export interface Connect {
  readonly url: string
  readonly port: number
  readonly pid: number | undefined
  /** Resolves when all tasks of the connector run; rejects with the trace of one that failed. */
  create(name: string, config: Readonly<Record<string, string>>): Promise<void>
  remove(name: string): Promise<void>
  /** Ends the worker at once and removes its files; what it committed to Kafka stays. */
  stop(): Promise<void>
}

/** Starts one Kafka Connect worker with Debezium's PostgreSQL connector, on a free port of the loopback. */
export function startConnect(options: { readonly brokers: readonly string[] }): Promise<Connect>

/** Configuration of a connector that streams `tables` (a regular expression over `schema.table`), snapshot first. */
export function debeziumConfig(
  postgres: Pick<Postgres, 'port' | 'user' | 'database'>,
  options: {
    readonly prefix: string
    readonly tables: string
    /** Every record carries its schema. Default: no. */
    readonly withSchemas?: boolean
    readonly more?: Readonly<Record<string, string>>
  },
): Readonly<Record<string, string>>
