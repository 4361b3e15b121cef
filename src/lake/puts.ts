import type { Storage } from './storage/storage.ts'

/**
 * Objects of one commit on their way into the store, beside each other: none is found by anybody before the version that
 * names their table, so it is that one alone which has to wait for all of them.
 */
export class Puts {
  readonly #storage: Storage
  #open: Promise<void>[] = []

  constructor(storage: Storage) {
    this.#storage = storage
  }

  add(key: string, bytes: Uint8Array): void {
    const put = this.#storage.put(key, bytes)
    // Whoever asks whether all are there learns of it; what comes before may have failed already.
    put.catch(() => undefined)
    this.#open.push(put)
  }

  /** Resolves when all are in the store; rejects with what the first one failed with. */
  async done(): Promise<void> {
    const open = this.#open
    this.#open = []
    await Promise.all(open)
  }
}
