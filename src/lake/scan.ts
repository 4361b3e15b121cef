import type { DataFile } from './data-file.ts'
import type { ManifestFile } from './manifest.ts'
import { readManifest, readManifestList } from './manifests.ts'
import { keyOf, type Storage } from './storage/storage.ts'
import type { LakeTable } from './table.ts'

/** Manifests never change, so what was read of them stays true. Bounded by the column statistics that are held. */
const CACHED_METRICS_MAX = 250_000
const READS_AT_ONCE = 16
const caches = new WeakMap<Storage, ManifestCache>()

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
  const cache = caches.get(storage) ?? new ManifestCache()
  caches.set(storage, cache)
  const known = cache.get(manifest.path)
  if (known !== undefined) return known
  const spec = table.raw['partition-specs'].find((candidate) => candidate['spec-id'] === manifest.specId) ?? table.spec
  const entries = await readManifest(storage, { ...table, spec }, manifest)
  const files = entries.map(({ path, file }): DataFile => ({ key: keyOf(storage, path), ...file }))
  cache.add(manifest.path, files)
  return files
}

/** Files of manifests by path; the ones not asked for longest go first. */
class ManifestCache {
  readonly #files = new Map<string, readonly DataFile[]>()
  #weight = 0

  get(path: string): readonly DataFile[] | undefined {
    const files = this.#files.get(path)
    if (files === undefined) return undefined
    this.#files.delete(path)
    this.#files.set(path, files)
    return files
  }

  add(path: string, files: readonly DataFile[]): void {
    if (this.#files.has(path)) return
    this.#files.set(path, files)
    this.#weight += weightOf(files)
    for (const [oldest, list] of this.#files) {
      if (this.#weight <= CACHED_METRICS_MAX) return
      this.#files.delete(oldest)
      this.#weight -= weightOf(list)
    }
  }
}

function weightOf(files: readonly DataFile[]): number {
  return files.reduce((sum, { metrics }) => sum + 1 + metrics.size, 0)
}
