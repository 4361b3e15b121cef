import type { DataFile } from './data-file.ts'
import type { ManifestFile } from './manifest.ts'
import { readManifest, readManifestList } from './manifests.ts'
import { keyOf, type Storage } from './storage/storage.ts'
import type { LakeTable } from './table.ts'

/** Manifests never change, so what was read of them stays true; the cache is bounded by the files it knows. */
const CACHED_FILES_MAX = 200_000
const READS_AT_ONCE = 16
const caches = new WeakMap<Storage, Map<string, readonly DataFile[]>>()

/** All data files of a snapshot, the table's current one by default. Throws `snapshot.expired`. */
export async function dataFiles(storage: Storage, table: LakeTable, snapshotId?: bigint): Promise<readonly DataFile[]> {
  const current = snapshotId === undefined || snapshotId === table.snapshot
  const manifests = (current ? table.manifests : undefined) ?? (await readManifestList(storage, table, snapshotId))
  const files: DataFile[] = []
  for (let start = 0; start < manifests.length; start += READS_AT_ONCE) {
    const some = manifests.slice(start, start + READS_AT_ONCE)
    for (const part of await Promise.all(some.map((manifest) => filesOf(storage, table, manifest)))) files.push(...part)
  }
  return files
}

async function filesOf(storage: Storage, table: LakeTable, manifest: ManifestFile): Promise<readonly DataFile[]> {
  const cache = caches.get(storage) ?? new Map<string, readonly DataFile[]>()
  caches.set(storage, cache)
  const known = cache.get(manifest.path)
  if (known !== undefined) return known
  const entries = await readManifest(storage, table, manifest)
  const files = entries.map(({ path, file }): DataFile => ({ key: keyOf(storage, path), ...file }))
  let total = files.length
  for (const list of cache.values()) total += list.length
  if (total > CACHED_FILES_MAX) cache.clear()
  cache.set(manifest.path, files)
  return files
}
