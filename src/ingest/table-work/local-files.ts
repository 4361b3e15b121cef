import { unlink, writeFile } from 'node:fs/promises'
import path from 'node:path'
import type { Clock } from '../../clock.ts'
import { LakeError } from '../../error.ts'
import type { Storage } from '../../lake/table.ts'

/**
 * Runs `work` with the paths of stored objects on this machine: where they lie, or copies that are gone afterwards.
 * Throws `store.corrupt` when one is missing.
 */
export async function withLocalFiles<T>(
  storage: Storage,
  clock: Clock,
  keys: readonly string[],
  work: (paths: readonly string[]) => Promise<T>,
): Promise<T> {
  if (storage.isLocal) {
    const paths = keys.map((key) => `${storage.url.slice('file://'.length)}/${key}`)
    return work(paths).catch(async (error) => {
      // DuckDB's own words for it are no code.
      for (const key of keys) if ((await storage.head(key)) === undefined) throw missing(key, error)
      throw error
    })
  }
  const copies = keys.map(() => path.join(storage.scratch, `${clock.uuid()}.input.parquet`))
  try {
    for (const [k, key] of keys.entries()) {
      const bytes = await storage.get(key)
      if (bytes === undefined) throw missing(key)
      await writeFile(copies[k]!, bytes)
    }
    return await work(copies)
  } finally {
    await Promise.all(copies.map((copy) => unlink(copy).catch(() => undefined)))
  }
}

function missing(key: string, cause?: unknown): LakeError {
  return new LakeError('store.corrupt', `${key} is missing`, { context: { key }, cause })
}
