import { mkdtempSync } from 'node:fs'
import { readFile, rm } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import type { Clock } from '../../clock.ts'
import { LakeError } from '../../error.ts'
import { checkKey, checkPrefix, compareKeys } from './key.ts'
import { removeScratch } from './scratch.ts'
import type { ObjectInfo, PutOutcome, Storage } from './storage.ts'

interface StoredObject {
  readonly bytes: Uint8Array
  readonly modifiedMs: number
}

/**
 * Objects in this process's memory: for tests and for the simulation, which needs every answer to come in the same
 * order in every run. So there is no timer, no chance and no I/O but in `putFile`; each call resolves in a microtask
 * after it took effect.
 */
export class MemoryStorage implements Storage {
  readonly url: string
  readonly isLocal = false
  readonly #objects = new Map<string, StoredObject>()
  readonly #clock: Pick<Clock, 'nowMs'>
  #scratch: string | undefined

  /** `clock` dates the objects; without one every object is dated 0. */
  constructor(name: string, clock: Pick<Clock, 'nowMs'> = { nowMs: () => 0 }) {
    this.url = `memory://${name}`
    this.#clock = clock
  }

  /** Made when first asked for, so that a simulation without files touches no disk. */
  get scratch(): string {
    this.#scratch ??= mkdtempSync(path.join(os.tmpdir(), 'kappalake-memory-'))
    return this.#scratch
  }

  async get(key: string, signal?: AbortSignal): Promise<Uint8Array | undefined> {
    checkKey(key)
    if (signal?.aborted === true) {
      throw new LakeError('store.unavailable', `reading ${key} was aborted`, { retryable: true, cause: signal.reason })
    }
    return this.#objects.get(key)?.bytes.slice()
  }

  async head(key: string): Promise<ObjectInfo | undefined> {
    checkKey(key)
    const object = this.#objects.get(key)
    return object === undefined ? undefined : infoOf(key, object)
  }

  async put(key: string, bytes: Uint8Array): Promise<void> {
    checkKey(key)
    this.#store(key, bytes)
  }

  async putFile(key: string, localPath: string): Promise<void> {
    checkKey(key)
    this.#store(key, await readFile(localPath))
    await rm(localPath)
  }

  async putIfAbsent(key: string, bytes: Uint8Array): Promise<PutOutcome> {
    checkKey(key)
    if (this.#objects.has(key)) return { kind: 'exists' }
    this.#store(key, bytes)
    return { kind: 'created' }
  }

  async *list(prefix: string, options: { readonly startAfter?: string } = {}): AsyncIterable<ObjectInfo> {
    checkPrefix(prefix)
    const { startAfter } = options
    const keys = [...this.#objects.keys()]
      .filter((key) => key.startsWith(prefix) && (startAfter === undefined || compareKeys(key, startAfter) > 0))
      .sort(compareKeys)
    for (const key of keys) {
      const object = this.#objects.get(key)
      if (object !== undefined) yield infoOf(key, object)
    }
  }

  async delete(key: string): Promise<void> {
    checkKey(key)
    this.#objects.delete(key)
  }

  /** Ends only the use of the scratch folder; the objects live as long as this object. */
  async close(): Promise<void> {
    if (this.#scratch === undefined) return
    await removeScratch(this.#scratch)
    this.#scratch = undefined
  }

  /** A copy: the caller may go on using its buffer. */
  #store(key: string, bytes: Uint8Array): void {
    this.#objects.set(key, { bytes: Uint8Array.from(bytes), modifiedMs: this.#clock.nowMs() })
  }
}

function infoOf(key: string, object: StoredObject): ObjectInfo {
  return { key, sizeBytes: object.bytes.byteLength, modifiedMs: object.modifiedMs }
}
