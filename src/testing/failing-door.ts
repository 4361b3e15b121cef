import { LakeError } from '../error.ts'
import type { Storage } from '../lake/table.ts'

const VERSION_KEY = /\/v(\d{16})\.json$/

/** What becomes of the process that creates a version: it dies before, or after it is there. */
export type Death = 'before' | 'after' | undefined

/**
 * A store as a process sees it that dies at a commit: nothing of what it asks for later happens. The store itself, and
 * what others see of it, goes on.
 */
export function failingDoor(
  inner: Storage,
  deathAt: (version: bigint) => Death,
): Storage & { readonly isDead: boolean } {
  let isDead = false
  const alive = <T>(call: () => Promise<T>): Promise<T> => (isDead ? Promise.reject(died()) : call())
  return {
    get isDead() {
      return isDead
    },
    url: inner.url,
    isLocal: inner.isLocal,
    get scratch() {
      return inner.scratch
    },
    get: (key, signal) => alive(() => inner.get(key, signal)),
    head: (key) => alive(() => inner.head(key)),
    put: (key, bytes) => alive(() => inner.put(key, bytes)),
    putFile: (key, path) => alive(() => inner.putFile(key, path)),
    putIfAbsent: (key, bytes) =>
      alive(async () => {
        const number = VERSION_KEY.exec(key)?.[1]
        const death = number === undefined ? undefined : deathAt(BigInt(number))
        isDead = death !== undefined
        if (death === 'before') throw died()
        const outcome = await inner.putIfAbsent(key, bytes)
        if (isDead) throw died()
        return outcome
      }),
    list: (prefix, options) => inner.list(prefix, options),
    delete: (key) => alive(() => inner.delete(key)),
    close: () => Promise.resolve(),
  }
}

function died(): LakeError {
  return new LakeError('store.unavailable', 'the process died at a commit', { retryable: true })
}
