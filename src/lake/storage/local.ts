import { constants } from 'node:fs'
import { copyFile, lstat, open, readdir, realpath, rename, rm, unlink, type FileHandle } from 'node:fs/promises'
import path from 'node:path'
import { LakeError } from '../../error.ts'
import { absent, codeOf, flush, isAbsence, linkOnce, makeFolder, refusal, writeDurably } from './file.ts'
import { checkKey, checkPrefix, compareKeys, scratchPart } from './key.ts'
import { openScratch, removeScratch } from './scratch.ts'
import type { ObjectInfo, PutOutcome, Storage } from './storage.ts'

/** How many files of a folder a listing looks up at once. */
const statsAtOnce = 64

/**
 * A folder of a local (or network) file system with hard links. A key is a path below the root; no symbolic link is
 * followed below it. Unfinished files live in `<root>/.scratch/<process>/`, so a killed writer leaves nothing under a
 * key, and the next start on this machine removes what it left.
 */
export class LocalStorage implements Storage {
  readonly url: string
  readonly isLocal = true
  readonly scratch: string
  readonly #root: string
  #temporaries = 0

  private constructor(root: string, scratch: string) {
    this.#root = root
    this.url = `file://${root}`
    this.scratch = scratch
  }

  /**
   * Makes the root when it is missing. Throws `config.invalid` when the root's path cannot stand in a URI unescaped
   * (readers of Iceberg disagree about escapes), `store.denied` when it cannot be written.
   */
  static async open(root: string): Promise<LocalStorage> {
    const absolute = path.resolve(root)
    if (/[%?#\p{Cc}]/u.test(absolute)) {
      throw new LakeError(
        'config.invalid',
        `the store's folder ${JSON.stringify(absolute)} has one of % ? # in its path`,
        {
          fix: 'Choose a folder without these characters: other engines read paths that hold them in different ways.',
        },
      )
    }
    try {
      await makeFolder(absolute)
      const real = await realpath(absolute)
      return new LocalStorage(real, await openScratch(path.join(real, scratchPart)))
    } catch (error) {
      if (['ENOTDIR', 'EEXIST', 'ENAMETOOLONG'].includes(codeOf(error) ?? ''))
        throw new LakeError('config.invalid', `the store cannot be at ${absolute}: ${(error as Error).message}`, {
          cause: error,
          fix: 'Choose another folder for store.url: a file stands there, or on the way, or the path is too long.',
        })
      throw refusal(error, absolute)
    }
  }

  async get(key: string, signal?: AbortSignal): Promise<Uint8Array | undefined> {
    try {
      const file = await this.#openObject(key)
      if (file === undefined) return undefined
      try {
        return await file.readFile(signal === undefined ? {} : { signal })
      } finally {
        await file.close()
      }
    } catch (error) {
      if (signal?.aborted === true) {
        throw new LakeError('store.unavailable', `reading ${key} was aborted`, { retryable: true, cause: error })
      }
      throw refusal(error, key)
    }
  }

  async head(key: string): Promise<ObjectInfo | undefined> {
    checkKey(key)
    try {
      return (await this.#isInside(key)) ? await infoOf(key, this.#path(key)) : undefined
    } catch (error) {
      throw refusal(error, key)
    }
  }

  /** The bytes are flushed before they get their name: a hint that is written again is never seen empty. */
  async put(key: string, bytes: Uint8Array): Promise<void> {
    checkKey(key)
    const temporary = this.#temporary()
    try {
      await this.#inFolder(key, writeDurably(temporary, bytes), (target) => rename(temporary, target))
    } catch (error) {
      await rm(temporary, { force: true })
      throw refusal(error, key)
    }
  }

  /**
   * Flushes the file, then names it. The flush is most of the cost (a data file has tens of megabytes); the name costs
   * one more journal commit. Without either, a power cut could take rows whose positions a version has recorded.
   */
  async putFile(key: string, localPath: string): Promise<void> {
    checkKey(key)
    try {
      await this.#inFolder(key, flush(localPath), (target) => rename(localPath, target))
    } catch (error) {
      if (codeOf(error) !== 'EXDEV') throw refusal(error, key)
      await this.#copyFile(key, localPath)
    }
  }

  /**
   * link(2) is the atomic step: it fails when the name stands, and what it names is already whole and flushed. A try
   * that failed before it has left nothing; a flush that failed is not repeated on the same file, whose pages may be
   * gone, but answered as unknown, so that the caller comes back with a new one. After the link no error is definite.
   */
  async putIfAbsent(key: string, bytes: Uint8Array): Promise<PutOutcome> {
    checkKey(key)
    const temporary = this.#temporary()
    let forgotten: Promise<void> | undefined
    // What cannot be removed is swept with the scratch folder.
    const forget = (): Promise<void> => unlink(temporary).catch(() => undefined)
    try {
      return await this.#inFolder(key, writeDurably(temporary, bytes), async (target) => {
        const outcome = await linkOnce(temporary, target)
        forgotten = forget()
        return outcome
      })
    } catch (error) {
      const refused = refusal(error, key)
      if (forgotten !== undefined || refused.code === 'store.unavailable') return { kind: 'unknown', cause: refused }
      throw refused
    } finally {
      await (forgotten ?? forget())
    }
  }

  async *list(prefix: string, options: { readonly startAfter?: string } = {}): AsyncIterable<ObjectInfo> {
    checkPrefix(prefix)
    const folder = prefix.slice(0, prefix.lastIndexOf('/') + 1)
    try {
      if (await this.#isInside(`${folder}x`)) yield* this.#walk(folder, prefix, options.startAfter)
    } catch (error) {
      throw refusal(error, prefix)
    }
  }

  async delete(key: string): Promise<void> {
    checkKey(key)
    try {
      if (await this.#isInside(key)) await unlink(this.#path(key))
    } catch (error) {
      if (!isAbsence(error)) throw refusal(error, key)
    }
  }

  async close(): Promise<void> {
    await removeScratch(this.scratch)
  }

  /** Entries of one folder and those below it. A folder sorts as its name with the slash: `a-b` < `a/b` < `a0`. */
  async *#walk(folder: string, prefix: string, startAfter: string | undefined): AsyncIterable<ObjectInfo> {
    const entries = await readdir(this.#path(folder), { withFileTypes: true }).catch(absent)
    if (entries === undefined) return
    const keys = entries
      .filter((entry) => entry.isFile() || entry.isDirectory())
      .map((entry) => `${folder}${entry.name}${entry.isDirectory() ? '/' : ''}`)
      .filter((key) => key.startsWith(prefix) || mayHold(key, prefix))
      .filter((key) => startAfter === undefined || compareKeys(key, startAfter) > 0 || mayHold(key, startAfter))
      .filter((key) => key !== `${scratchPart}/`)
      .sort(compareKeys)
    for (let i = 0; i < keys.length; i += statsAtOnce) {
      const some = keys.slice(i, i + statsAtOnce)
      const infos = await Promise.all(some.map((key) => (key.endsWith('/') ? undefined : infoOf(key, this.#path(key)))))
      for (const [j, key] of some.entries()) {
        const info = infos[j]
        if (key.endsWith('/')) yield* this.#walk(key, prefix, startAfter)
        else if (info !== undefined) yield info
      }
    }
  }

  async #openObject(key: string): Promise<FileHandle | undefined> {
    checkKey(key)
    if (!(await this.#isInside(key))) return undefined
    const file = await open(this.#path(key), constants.O_RDONLY | constants.O_NOFOLLOW).catch(absent)
    if (file === undefined || (await file.stat()).isFile()) return file
    await file.close()
    return undefined
  }

  /**
   * Whether the key's folder is there. Throws when a symbolic link stands in the way to it, or where it would be made,
   * and when the root is gone: an unmounted disk is not an empty store.
   */
  async #isInside(key: string): Promise<boolean> {
    const folder = path.dirname(this.#path(key))
    let existing = folder
    let real = await realpath(existing).catch(absent)
    while (real === undefined && existing !== this.#root) {
      existing = path.dirname(existing)
      real = await realpath(existing).catch(absent)
    }
    if (real === undefined) await lstat(this.#root)
    if (real === existing) return existing === folder
    throw new LakeError('store.denied', `a symbolic link stands in the path of ${key}`, {
      context: { key },
      fix: 'Replace the symbolic link inside the store by the folder itself.',
    })
  }

  /**
   * Does `place` to the key's path once `written` is done, and flushes the folder. The folder is looked up meanwhile: a
   * commit waits for several of these, one after the other. It may vanish or be missing: it is made, once.
   */
  async #inFolder<T>(key: string, written: Promise<void>, place: (target: string) => Promise<T>): Promise<T> {
    const target = this.#path(key)
    const folder = path.dirname(target)
    const found = this.#isInside(key).then((isThere) => (isThere ? undefined : makeFolder(folder)))
    // Neither may be under way any more when the other has failed.
    await Promise.allSettled([found, written])
    await found
    await written
    const result = await place(target).catch(async (error: unknown) => {
      if (!isAbsence(error) || (await this.#isInside(key))) throw error
      await makeFolder(folder)
      return place(target)
    })
    await flush(folder)
    return result
  }

  /** For a file from another file system, which has to be copied to where it can be renamed. */
  async #copyFile(key: string, localPath: string): Promise<void> {
    const temporary = this.#temporary()
    try {
      await copyFile(localPath, temporary)
      await this.#inFolder(key, flush(temporary), (target) => rename(temporary, target))
      await unlink(localPath)
    } catch (error) {
      await rm(temporary, { force: true })
      throw refusal(error, key)
    }
  }

  #temporary(): string {
    this.#temporaries += 1
    return path.join(this.scratch, `${this.#temporaries}.part`)
  }

  #path(key: string): string {
    return path.join(this.#root, key)
  }
}

/** Whether `key` is a folder on the way to `text`. */
function mayHold(key: string, text: string): boolean {
  return key.endsWith('/') && text.startsWith(key)
}

async function infoOf(key: string, file: string): Promise<ObjectInfo | undefined> {
  const stats = await lstat(file).catch(absent)
  return stats?.isFile() === true ? { key, sizeBytes: stats.size, modifiedMs: stats.mtimeMs } : undefined
}
