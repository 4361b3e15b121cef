import { mkdtemp, rm } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { DuckDBInstance } from '@duckdb/node-api'
import { LakeError } from '../../src/error.ts'
import type { TableResolver, View } from '../../src/query/engine.ts'
import type { QuerySettings } from '../../src/settings.ts'

export const CHILD_PATH = path.resolve(import.meta.dirname, '../../dist/query-child.js')

export function querySettings(given: Partial<QuerySettings> = {}): QuerySettings {
  return {
    children: 2,
    queueMax: 4,
    rowsMax: 1_000,
    bytesMax: 1024 * 1024,
    timeoutMs: 15_000,
    memoryBytesMax: 800 * 1024 * 1024,
    cacheDir: path.join(os.tmpdir(), 'kappalake-never-used'),
    cacheBytesMax: 64 * 1024 * 1024,
    ...given,
  }
}

export async function textOf(body: AsyncIterable<Uint8Array>): Promise<string> {
  const parts: Uint8Array[] = []
  for await (const part of body) parts.push(part)
  return Buffer.concat(parts).toString('utf8')
}

export interface ParquetColumn {
  readonly fieldId: number
  readonly name: string
  readonly type: string
}

export const ORDERS: readonly ParquetColumn[] = [
  { fieldId: 1, name: 'id', type: 'BIGINT' },
  { fieldId: 2, name: 'status', type: 'VARCHAR' },
  { fieldId: 3, name: 'amount', type: 'DECIMAL(12,2)' },
  { fieldId: 4, name: 'at', type: 'TIMESTAMP WITH TIME ZONE' },
]

/** Writes the rows of a SELECT as Parquet with Iceberg's field ids. */
export async function writeParquet(file: string, columns: readonly ParquetColumn[], sql: string): Promise<void> {
  const instance = await DuckDBInstance.create(':memory:')
  const connection = await instance.connect()
  const ids = columns.map(({ name, fieldId }) => `"${name}": ${fieldId}`).join(', ')
  await connection.run(`COPY (${sql}) TO '${file}' (FORMAT parquet, FIELD_IDS {${ids}})`)
  connection.closeSync()
  instance.closeSync()
}

export function orderRows(from: number, until: number): string {
  return `SELECT range::BIGINT AS id, 'paid' AS status, (range * 1.5)::DECIMAL(12,2) AS amount,
    TIMESTAMPTZ '2026-11-21 10:00:00.123456+00' + INTERVAL 1 SECOND * range AS at FROM range(${from}, ${until})`
}

/** Two tables of real Parquet files: `orders` with ten rows, and `empty` without a file. */
export async function makeTables(): Promise<{ views: readonly View[]; folder: string; remove(): Promise<void> }> {
  const folder = await mkdtemp(path.join(os.tmpdir(), 'kappalake-query-'))
  const files = [path.join(folder, 'a.parquet'), path.join(folder, 'b.parquet')]
  await writeParquet(files[0]!, ORDERS, orderRows(0, 5))
  await writeParquet(files[1]!, ORDERS, orderRows(5, 10))
  return {
    views: [
      { name: 'orders', columns: ORDERS, files },
      { name: 'empty', columns: ORDERS, files: [] },
    ],
    folder,
    remove: () => rm(folder, { recursive: true }),
  }
}

export function resolverOf(views: readonly View[]): TableResolver {
  return {
    async resolve(uses) {
      const names = uses.map(({ name }) => name)
      const found = names.map((name) => views.find((view) => view.name === name))
      if (found.includes(undefined)) throw new LakeError('table.unknown', `there is no table among ${names.join(', ')}`)
      return { views: found as View[], versions: new Map([['shop', 7n]]), release: () => undefined }
    },
    changes: () => Promise.reject(new LakeError('table.unknown', 'there is nothing to compare')),
  }
}
