import { createHash } from 'node:crypto'
import { mkdir, open, readdir, rename, rm, stat } from 'node:fs/promises'
import path from 'node:path'
import type { Clock } from '../clock.ts'
import { LakeError } from '../error.ts'
import type { DataFile, Storage } from '../lake/table.ts'

/** Files on this machine, kept until they are released. */
export interface Leased {
  readonly paths: readonly string[]
  release(): void
}

/** What is kept: an object of the store, or what `make` gives in place of one. */
export interface Kept extends Pick<DataFile, 'key' | 'fileSizeBytes'> {
  /** Gives always the same for a key. */
  readonly make?: () => Promise<Uint8Array>
}

export interface FileCacheOptions {
  readonly storage: Storage
  readonly folder: string
  readonly bytesMax: number
  readonly clock: Clock
}

const DOWNLOADS_AT_ONCE = 8
const SUFFIX = '.parquet'

interface Entry {
  readonly file: string
  readonly sizeBytes: number
  leases: number
}

/**
 * Immutable objects of a store as read-only files. An object is downloaded once however many ask for it, checked
 * against the size that the manifest gives, and dropped when it has not been used for longest and no query reads it.
 * Processes may share the folder: a name says store and key, and a file is complete when it has its name.
 */
export class FileCache {
  readonly #options: FileCacheOptions
  /** In the order of use, oldest first. */
  readonly #entries = new Map<string, Entry>()
  readonly #downloads = new Map<string, Promise<Entry>>()
  #bytes = 0
  #opened: Promise<void> | undefined

  constructor(options: FileCacheOptions) {
    this.#options = options
  }

  get bytes(): number {
    return this.#bytes
  }

  /**
   * Throws `snapshot.expired` when an object is gone, `store.corrupt` when it has another size, `store.disk_full` when
   * the files of the running queries are more than the cache may hold.
   */
  async lease(files: readonly Kept[], signal: AbortSignal): Promise<Leased> {
    await (this.#opened ??= this.#open())
    const leased: Entry[] = []
    const release = () => {
      for (const entry of leased.splice(0)) entry.leases--
    }
    const queue = files.entries()
    const paths: string[] = []
    const work = async (): Promise<void> => {
      for (const [index, file] of queue) {
        signal.throwIfAborted()
        const entry = await this.#leasedEntry(file)
        leased.push(entry)
        paths[index] = entry.file
      }
    }
    const results = await Promise.allSettled(Array.from({ length: DOWNLOADS_AT_ONCE }, work))
    const failed = results.find((result) => result.status === 'rejected')
    if (failed === undefined) return { paths, release }
    release()
    throw failed.reason
  }

  async #leasedEntry(file: Kept): Promise<Entry> {
    const hash = createHash('sha256').update(`${this.#options.storage.url}/${file.key}`).digest('hex')
    // What the file is called in the store stands behind it, so that an error can name it.
    const [, own = ''] = /\/([\w-]{1,150})\.parquet$/.exec(file.key) ?? []
    const name = `${hash}${own === '' ? '' : `-${own}`}${SUFFIX}`
    for (;;) {
      const entry = await this.#entry(name, file)
      if (this.#entries.get(name) !== entry) continue // made room for another one meanwhile
      this.#entries.delete(name)
      this.#entries.set(name, entry)
      entry.leases++
      return entry
    }
  }

  async #entry(name: string, file: Kept): Promise<Entry> {
    const entry = this.#entries.get(name)
    if (entry !== undefined) {
      const info = await stat(entry.file).catch(() => undefined)
      if (info?.size === file.fileSizeBytes) return entry
      // Another process made room in the folder, or what lies there is not what the manifest names.
      if (this.#entries.get(name) === entry) this.#remove(name, entry)
    }
    const running = this.#downloads.get(name)
    if (running !== undefined) return running
    const download = this.#download(name, file).finally(() => this.#downloads.delete(name))
    this.#downloads.set(name, download)
    return download
  }

  async #download(name: string, file: Kept): Promise<Entry> {
    await this.#makeRoom(file.fileSizeBytes)
    const entry = { file: path.join(this.#options.folder, name), sizeBytes: file.fileSizeBytes, leases: 0 }
    try {
      await this.#write(entry.file, await this.#read(file))
    } catch (error) {
      this.#bytes -= entry.sizeBytes
      throw error
    }
    this.#entries.set(name, entry)
    return entry
  }

  async #read({ key, fileSizeBytes, make }: Kept): Promise<Uint8Array> {
    const bytes = make === undefined ? await this.#options.storage.get(key) : await make()
    if (bytes === undefined)
      throw new LakeError('snapshot.expired', 'a file of the version is no longer in the store', {
        context: { key },
        fix: 'Read a newer version.',
      })
    if (bytes.length !== fileSizeBytes)
      throw new LakeError('store.corrupt', `${key} has ${bytes.length} bytes instead of ${fileSizeBytes}`, {
        context: { key },
      })
    return bytes
  }

  async #write(file: string, bytes: Uint8Array): Promise<void> {
    const temporary = `${file}.${this.#options.clock.uuid()}`
    try {
      const handle = await open(temporary, 'wx', 0o444)
      try {
        await handle.writeFile(bytes)
      } finally {
        await handle.close()
      }
      await rename(temporary, file)
    } catch (error) {
      // On a full disk what is half written must not stay there uncounted.
      await rm(temporary, { force: true }).catch(() => undefined)
      throw error
    }
  }

  /** Counts the bytes as used from now on, when others can go for them. */
  async #makeRoom(sizeBytes: number): Promise<void> {
    const { bytesMax } = this.#options
    const gone: string[] = []
    for (const [name, entry] of this.#entries) {
      if (this.#bytes + sizeBytes <= bytesMax) break
      if (entry.leases > 0) continue
      this.#remove(name, entry)
      gone.push(entry.file)
    }
    const isRoom = this.#bytes + sizeBytes <= bytesMax
    if (isRoom) this.#bytes += sizeBytes
    await Promise.all(gone.map((file) => rm(file, { force: true })))
    if (!isRoom)
      throw new LakeError('store.disk_full', `the queries that run need more than the ${bytesMax} bytes of the cache`, {
        fix: 'Raise query.cacheBytes, or read less at once.',
      })
  }

  /** Takes over what an earlier process left, and clears away what it did not finish. */
  async #open(): Promise<void> {
    const { folder } = this.#options
    await mkdir(folder, { recursive: true, mode: 0o700 })
    const found: { name: string; entry: Entry; usedMs: number }[] = []
    for (const name of await readdir(folder)) {
      const file = path.join(folder, name)
      const info = await stat(file).catch(() => undefined)
      if (info === undefined || !info.isFile()) continue
      if (name.endsWith(SUFFIX))
        found.push({ name, entry: { file, sizeBytes: info.size, leases: 0 }, usedMs: info.atimeMs })
      else if (name.includes(`${SUFFIX}.`) && this.#options.clock.nowMs() - info.mtimeMs > UNFINISHED_MS_MAX)
        await rm(file, { force: true })
    }
    for (const { name, entry } of found.toSorted((a, b) => a.usedMs - b.usedMs)) {
      this.#entries.set(name, entry)
      this.#bytes += entry.sizeBytes
    }
  }

  #remove(name: string, entry: Entry): void {
    this.#entries.delete(name)
    this.#bytes -= entry.sizeBytes
  }
}

/** A temporary file of this age belongs to a process that is gone. */
const UNFINISHED_MS_MAX = 3_600_000
