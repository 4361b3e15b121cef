import { LakeError } from '../../src/error.ts'
import type { Storage } from '../../src/lake/storage/storage.ts'
import type { DataFile, WritePlan } from '../../src/lake/table.ts'
import type { SimProcess } from './process.ts'
import type { SimRow } from './row-encoder.ts'

// What stands in for DuckDB over stored files: rows in JSON, and lanes that fail, are slow, and die.

export async function writeRows(
  process: SimProcess,
  storage: Storage,
  plan: WritePlan,
  rows: readonly SimRow[],
): Promise<DataFile> {
  const key = `${plan.dataPrefix}${process.clock.uuid()}.parquet`
  const bytes = Buffer.from(JSON.stringify(rows))
  await storage.put(key, bytes)
  return { key, recordCount: rows.length, fileSizeBytes: bytes.length, partition: [], metrics: new Map() }
}

export async function storedRows<R = SimRow>(storage: Storage, key: string): Promise<readonly R[]> {
  const bytes = await storage.get(key)
  if (bytes === undefined) throw new LakeError('store.corrupt', `${key} is missing`)
  return JSON.parse(Buffer.from(bytes).toString()) as R[]
}

/** Work of a lane on stored files. */
export async function workOnFiles<T>(process: SimProcess, what: string, work: () => Promise<T>): Promise<T> {
  const { clock, random } = process
  if (process.happens('W1', what))
    throw new LakeError('lane.failed', `${what}: the lane died too often`, { retryable: true })
  if (process.happens('W2', what)) await clock.sleep(random.between(100, 20_000))
  // Whoever did it first is dead; what it wrote lies about.
  if (process.happens('W3', what)) await work()
  return work()
}
