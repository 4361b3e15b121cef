import { unlink, writeFile } from 'node:fs/promises'
import path from 'node:path'
import type { Clock } from '../../clock.ts'
import { LakeError } from '../../error.ts'
import type { DataFile, Storage } from '../../lake/table.ts'

/** A stored object, with the size that a manifest gives, where it is known. */
export type LocalFile = Pick<DataFile, 'key'> & Partial<Pick<DataFile, 'fileSizeBytes'>>

/**
 * Runs `work` with the paths of stored objects on this machine: where they lie, or copies that are gone afterwards.
 * Throws `store.corrupt` when one is missing, or has another size: a whole Parquet file in the place of another one reads
 * as nulls and as rows that nobody wrote.
 */
export async function withLocalFiles<T>(
  storage: Storage,
  clock: Clock,
  files: readonly LocalFile[],
  work: (paths: readonly string[]) => Promise<T>,
): Promise<T> {
  const keys = files.map(({ key }) => key)
  if (storage.isLocal) {
    await Promise.all(files.map(async (file) => assertSize(file, (await storage.head(file.key))?.sizeBytes)))
    const paths = keys.map((key) => `${storage.url.slice('file://'.length)}/${key}`)
    return work(paths).catch(async (error) => {
      throw named(error, keys, paths)
    })
  }
  const copies = keys.map(() => path.join(storage.scratch, `${clock.uuid()}.input.parquet`))
  try {
    for (const [k, file] of files.entries()) {
      const bytes = await storage.get(file.key)
      assertSize(file, bytes?.length)
      await writeFile(copies[k]!, bytes!)
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

/** Throws `store.corrupt` unless what lies there has the size that the manifest gives. */
export function assertSize({ key, fileSizeBytes }: LocalFile, sizeBytes: number | undefined): void {
  if (sizeBytes === undefined) throw new LakeError('store.corrupt', `${key} is missing`, { context: { key } })
  if (fileSizeBytes === undefined || sizeBytes === fileSizeBytes) return
  throw new LakeError('store.corrupt', `${key} has ${sizeBytes} bytes instead of ${fileSizeBytes}`, {
    context: { key },
    fix: 'Restore it from a copy of the store, or rebuild the table with a replay.',
  })
}
