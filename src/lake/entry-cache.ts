import type { ManifestFile } from './manifest-list.ts'
import type { DeleteEntry, ManifestEntry } from './manifest.ts'
import type { Storage } from './storage/storage.ts'

/** Manifests never change, so what was read of them stays true. Bounded by the column statistics that are held. */
const CACHED_WEIGHT_MAX = 250_000
const caches = new WeakMap<Storage, Caches>()

interface Caches {
  readonly data: EntryCache<ManifestEntry>
  readonly deletes: EntryCache<DeleteEntry>
}

/** What this process knows of the manifests of a store. */
export function cacheOf(storage: Storage): Caches {
  const cache = caches.get(storage) ?? {
    data: new EntryCache<ManifestEntry>(({ file }) => 1 + file.metrics.size),
    deletes: new EntryCache<DeleteEntry>(() => 1),
  }
  caches.set(storage, cache)
  return cache
}

/** Entries of manifests; the ones not asked for longest go first. */
class EntryCache<E> {
  readonly #entries = new Map<string, readonly E[]>()
  readonly #weightOf: (entry: E) => number
  #weight = 0

  constructor(weightOf: (entry: E) => number) {
    this.#weightOf = weightOf
  }

  async get(manifest: ManifestFile, read: () => Promise<readonly E[]>): Promise<readonly E[]> {
    const name = nameOf(manifest)
    const known = this.#entries.get(name)
    if (known === undefined) return this.add(manifest, await read())
    this.#entries.delete(name)
    this.#entries.set(name, known)
    return known
  }

  add(manifest: ManifestFile, entries: readonly E[]): readonly E[] {
    const name = nameOf(manifest)
    const known = this.#entries.get(name)
    if (known !== undefined) return known
    this.#entries.set(name, entries)
    this.#weight += this.#sum(entries)
    for (const [oldest, list] of this.#entries) {
      if (this.#weight <= CACHED_WEIGHT_MAX) break
      this.#entries.delete(oldest)
      this.#weight -= this.#sum(list)
    }
    return entries
  }

  #sum(entries: readonly E[]): number {
    return entries.reduce((sum, entry) => sum + this.#weightOf(entry), 0)
  }
}

/** What its entries inherit is part of what it says. */
function nameOf({ path, firstRowId }: ManifestFile): string {
  return `${path} ${firstRowId ?? ''}`
}
