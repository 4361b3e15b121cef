export const TRINO_JAVA: number

export interface TrinoServer {
  readonly url: string
  readonly pid: number
  /** Rows in the forms of Trino's JSON, integers beyond 2^53 as text. Throws Trino's own message when it fails. */
  query(sql: string): Promise<{ readonly columns: readonly string[]; readonly rows: readonly (readonly unknown[])[] }>
  /** SIGKILL, and removes what it wrote. */
  stop(): Promise<void>
}

export function startTrino(options: {
  /** Properties by name of catalog. */
  readonly catalogs: Readonly<Record<string, Readonly<Record<string, string>>>>
}): Promise<TrinoServer>
