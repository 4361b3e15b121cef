import type { ObjectInfo, Storage } from '../../src/lake/storage/storage.ts'
import { EPOCH_MS } from './world.ts'

/** The same objects, dated by a clock that runs `factor` times as fast: what is kept for hours is kept for seconds. */
export function stretched(inner: Storage, factor: number): Storage {
  const dated = (info: ObjectInfo): ObjectInfo => {
    return { ...info, modifiedMs: EPOCH_MS + (info.modifiedMs - EPOCH_MS) * factor }
  }
  return {
    url: inner.url,
    isLocal: inner.isLocal,
    scratch: '',
    get: (key, signal) => inner.get(key, signal),
    head: async (key) => {
      const info = await inner.head(key)
      return info === undefined ? undefined : dated(info)
    },
    put: (key, bytes) => inner.put(key, bytes),
    putFile: (key, path) => inner.putFile(key, path),
    putIfAbsent: (key, bytes) => inner.putIfAbsent(key, bytes),
    async *list(prefix, options) {
      for await (const info of inner.list(prefix, options)) yield dated(info)
    },
    delete: (key) => inner.delete(key),
    close: () => Promise.resolve(),
  }
}
