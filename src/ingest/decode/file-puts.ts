import { unlink } from 'node:fs/promises'
import type { Storage } from '../../lake/table.ts'
import type { FileStore } from './data-file-writer.ts'

/** Files on their way into the store at a time: on S3 each is held in memory meanwhile. */
const AT_ONCE = 3

/**
 * Puts files into a store while the next ones are made: a put waits for disks and networks, and making a file for the
 * processor. `putFile` resolves when another may begin; nothing is in the store before `done` has resolved.
 */
export class FilePuts implements FileStore {
  readonly scratch: string
  readonly #storage: Storage
  readonly #underWay = new Set<Promise<void>>()
  readonly #failures: unknown[] = []

  constructor(storage: Storage) {
    this.#storage = storage
    this.scratch = storage.scratch
  }

  /** Throws what an earlier one failed of. A file that does not get there is removed. */
  async putFile(key: string, localPath: string): Promise<void> {
    while (this.#underWay.size >= AT_ONCE) await Promise.race(this.#underWay)
    this.#assertWhole()
    const put = this.#put(key, localPath).finally(() => this.#underWay.delete(put))
    this.#underWay.add(put)
  }

  /** Resolves when all files are in the store. Throws what the first failed of, when none is under way any more. */
  async done(): Promise<void> {
    await this.ended()
    this.#assertWhole()
  }

  /** Resolves when none is under way, whatever came of it. */
  async ended(): Promise<void> {
    await Promise.all(this.#underWay)
  }

  async #put(key: string, localPath: string): Promise<void> {
    try {
      await this.#storage.putFile(key, localPath)
    } catch (error) {
      this.#failures.push(error)
      await unlink(localPath).catch(() => undefined)
    }
  }

  #assertWhole(): void {
    if (this.#failures.length > 0) throw this.#failures[0]
  }
}
