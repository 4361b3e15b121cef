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
      throw named(error, keys, paths)
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
  } catch (error) {
    throw named(error, keys, copies)
  } finally {
    await Promise.all(copies.map((copy) => unlink(copy).catch(() => undefined)))
  }
}

/** What DuckDB says of a file that is no whole Parquet file, where it does not say which. */
const PARQUET_FAULT =
  /TProtocolException|[Tt]hrift|[Pp]arquet|magic bytes|Snappy|ZSTD|decompress|page header|dictionary page/

/** The same error, or one that names the object that cannot be read: DuckDB names a path of this machine. */
export function named(error: unknown, keys: readonly string[], paths: readonly string[]): unknown {
  if (error instanceof LakeError || !(error instanceof Error) || error.message.startsWith('Out of Memory')) return error
  const at = paths.findIndex((file) => error.message.includes(file))
  const only = keys.length === 1 && PARQUET_FAULT.test(error.message) ? keys[0] : undefined
  const key = at < 0 ? only : keys[at]
  if (key === undefined) return error
  return new LakeError('store.corrupt', `${key} is no whole Parquet file`, {
    context: { key },
    fix: 'Restore it from a copy of the store, or rebuild the table with a replay.',
    cause: error,
  })
}

function missing(key: string, cause?: unknown): LakeError {
  return new LakeError('store.corrupt', `${key} is missing`, { context: { key }, cause })
}
