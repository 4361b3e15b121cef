import path from 'node:path'
import type { Clock } from '../clock.ts'
import { openChain } from '../lake/chain.ts'
import type { Storage } from '../lake/table.ts'
import type { QueryParams, ResultColumn, TableResolver } from '../query/engine.ts'
import { failureOf } from '../query/failure.ts'
import { columnsOf, pieces } from '../query/pieces.ts'
import { Sandbox } from '../query/sandbox.ts'
import { lakeResolver } from '../query/view.ts'

export type Row = Record<string, unknown>

export interface ReadRequest {
  readonly sql: string
  readonly params?: QueryParams | undefined
  readonly asOf?: string | undefined
  /** What must be one condition by itself, and stands in `sql`. */
  readonly where?: string | undefined
}

export interface Read {
  readonly columns: readonly ResultColumn[]
  readonly rows: readonly Row[]
}

const LIMITS = { rowsMax: 1_000_000, bytesMax: 256 * 1024 * 1024 }
const SETTINGS = { children: 1, queueMax: 1, ...LIMITS, timeoutMs: 60_000, memoryBytesMax: 1024 * 1024 * 1024 }
const PROCESS = { threads: 1, memoryBytesMax: SETTINGS.memoryBytesMax }

/** Queries of a lab: those of production, with its gate and its views, in this process. */
export class Reader {
  readonly #resolver: TableResolver

  constructor(storage: Storage, pipelines: readonly string[], clock: Clock) {
    const chains = new Map(pipelines.map((name) => [name, openChain(storage, name, clock)]))
    const settings = { ...SETTINGS, cacheDir: path.join(storage.scratch, 'read'), cacheBytesMax: 1024 * 1024 * 1024 }
    this.#resolver = lakeResolver({ storage, chains, settings, clock })
  }

  /** Throws `sql.*`, `table.unknown`, `version.unknown`, in the words of production. */
  async read(request: ReadRequest): Promise<Read> {
    try {
      return await this.#read(request)
    } catch (error) {
      throw failureOf(error).error
    }
  }

  async #read({ sql, params = [], asOf, where }: ReadRequest): Promise<Read> {
    const sandbox = await Sandbox.open(PROCESS)
    try {
      const uses = await sandbox.tables(sql, params, where)
      const resolved = await this.#resolver.resolve(uses, asOf, new AbortController().signal)
      try {
        const execution = await sandbox.execute(resolved.views, sql, params)
        const columns = columnsOf(execution.result)
        const rows: Row[] = []
        for await (const { data } of pieces(execution, columns, 'values', LIMITS))
          for (const values of data as readonly (readonly unknown[])[])
            rows.push(Object.fromEntries(columns.map(({ name }, k) => [name, values[k]])))
        return { columns, rows }
      } finally {
        resolved.release()
      }
    } finally {
      sandbox.close()
    }
  }
}
