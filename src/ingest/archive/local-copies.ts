import { stat, unlink, writeFile } from 'node:fs/promises'
import path from 'node:path'
import type { Clock } from '../../clock.ts'
import { LakeError } from '../../error.ts'
import type { Storage } from '../../lake/table.ts'
import { assertSize, named, type LocalFile } from '../table-work/local-files.ts'

/** Copies that are not in use are kept as far as they have so many bytes together. */
const KEPT_BYTES_MAX = 512 * 1024 * 1024

/** Files that stay until they are given back. */
export interface Lease {
  readonly paths: readonly string[]
  /** Throws why reading them failed. */
  explain(error: unknown): Promise<never>
  release(): Promise<void>
}

/** Stored objects as files of this machine: where they lie, or copies that are kept for a while. */
export class LocalCopies {
  readonly #storage: Storage
  readonly #clock: Clock
  readonly #bytesMax: number
  /** The one used last is the last. */
  readonly #copies = new Map<string, { readonly path: string; readonly bytes: number }>()

  readonly #held = new Map<string, number>()

  constructor(storage: Storage, clock: Clock, bytesMax = KEPT_BYTES_MAX) {
    this.#storage = storage
    this.#clock = clock
    this.#bytesMax = bytesMax
  }

  /** Runs `work` with the paths of objects, which stay until it ends. Throws `store.corrupt` when one is missing or of another size. */
  async with<T>(files: readonly LocalFile[], work: (paths: readonly string[]) => Promise<T>): Promise<T> {
    const lease = await this.lease(files)
    try {
      return await work(lease.paths).catch((error) => lease.explain(error))
    } finally {
      await lease.release()
    }
  }

  /** The same for work that is done piece by piece. */
  async lease(files: readonly LocalFile[]): Promise<Lease> {
    const keys = files.map(({ key }) => key)
    const held = files.map((file) => ({ ...file, path: '' }))
    for (const { key } of held) this.#held.set(key, (this.#held.get(key) ?? 0) + 1)
    const release = async (): Promise<void> => {
      for (const { key } of held.splice(0)) {
        const count = this.#held.get(key)! - 1
        if (count === 0) this.#held.delete(key)
        else this.#held.set(key, count)
      }
      await this.#evict()
    }
    try {
      for (const each of held) each.path = await this.#pathOf(each)
    } catch (error) {
      await release()
      throw error
    }
    const paths = held.map((each) => each.path)
    const explain = async (error: unknown): Promise<never> => {
      // DuckDB's own words for a missing file are no code.
      for (const [k, key] of keys.entries()) if (!(await isFile(paths[k]!))) throw missing(key, error)
      throw named(error, keys, paths)
    }
    return { paths, explain, release }
  }

  async close(): Promise<void> {
    const copies = [...this.#copies.values()]
    this.#copies.clear()
    await Promise.all(copies.map(({ path }) => unlink(path).catch(() => undefined)))
  }

  async #pathOf(file: LocalFile): Promise<string> {
    const { key } = file
    const { url, isLocal, scratch } = this.#storage
    if (isLocal) {
      assertSize(file, (await this.#storage.head(key))?.sizeBytes)
      return `${url.slice('file://'.length)}/${key}`
    }
    const there = this.#copies.get(key)
    if (there !== undefined) {
      this.#copies.delete(key)
      this.#copies.set(key, there)
      return there.path
    }
    const bytes = await this.#storage.get(key)
    assertSize(file, bytes?.length)
    const copy = path.join(scratch, `${this.#clock.uuid()}.input.parquet`)
    this.#copies.set(key, { path: copy, bytes: bytes!.length })
    await writeFile(copy, bytes!)
    return copy
  }

  async #evict(): Promise<void> {
    let bytes = [...this.#copies.values()].reduce((sum, copy) => sum + copy.bytes, 0)
    for (const [key, copy] of this.#copies) {
      if (bytes <= this.#bytesMax) return
      if (this.#held.has(key)) continue
      this.#copies.delete(key)
      bytes -= copy.bytes
      await unlink(copy.path).catch(() => undefined)
    }
  }
}

async function isFile(path: string): Promise<boolean> {
  return stat(path).then(
    (found) => found.isFile(),
    () => false,
  )
}

function missing(key: string, cause?: unknown): LakeError {
  return new LakeError('store.corrupt', `${key} is missing`, { context: { key }, cause })
}
