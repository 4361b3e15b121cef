/** Values are PostgreSQL's own texts; null is null. */
export type SqlRow = Readonly<Record<string, string | null>>

export interface SqlConnection {
  /** Rows of the last statement that has any. Rejects with PostgreSQL's code and message; statements queue. */
  query(text: string): Promise<readonly SqlRow[]>
  end(): void
}

export function connectSql(options: {
  readonly port: number
  readonly user: string
  readonly database: string
}): Promise<SqlConnection>
