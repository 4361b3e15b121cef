import type { Clock } from '../../clock.ts'
import { LakeError } from '../../error.ts'
import { LocalStorage } from './local.ts'
import { MemoryStorage } from './memory.ts'
import type { Storage, StoreSettings } from './storage.ts'

/** A name means the same bytes for as long as the process lives, so that a lake can be closed and opened again. */
const memories = new Map<string, MemoryStorage>()

/**
 * Opens the store that `settings.url` names: `file:./folder`, `file:///folder`, a plain path, `s3://bucket/prefix` or
 * `memory://name`. Makes a missing folder; sends no request to S3, so a wrong bucket shows at the first use.
 * Throws `config.invalid` for any other URL.
 */
export async function openStorage(settings: StoreSettings, clock: Clock): Promise<Storage> {
  const { url } = settings
  const scheme = /^([a-z][a-z0-9+.-]*):/i.exec(url)?.[1]?.toLowerCase()
  switch (scheme) {
    case undefined:
      return LocalStorage.open(required(url, url))
    case 'file':
      return LocalStorage.open(required(url, folderOf(url)))
    case 'memory':
      return memory(required(url, /^memory:\/\/([^/?#]+)$/i.exec(url)?.[1]), clock)
    case 's3': {
      const { S3Storage } = await import('./s3.ts')
      return S3Storage.open(settings, clock)
    }
    default:
      throw badUrl(url)
  }
}

/** `file:./a`, `file:a`, `file:/a` and `file:///a`; nothing is unescaped, because nothing is ever escaped. */
function folderOf(url: string): string | undefined {
  const rest = url.slice('file:'.length)
  if (!rest.startsWith('//')) return rest
  return rest.startsWith('///') ? rest.slice(2) : undefined
}

function memory(name: string, clock: Clock): MemoryStorage {
  const store = memories.get(name) ?? new MemoryStorage(name, clock)
  memories.set(name, store)
  return store
}

function required(url: string, part: string | undefined): string {
  if (part === undefined || part.trim() === '') throw badUrl(url)
  return part
}

function badUrl(url: string): LakeError {
  return new LakeError('config.invalid', `store.url: ${JSON.stringify(url)} names no store`, {
    fix: 'Use file:./folder, file:///folder, a path, s3://bucket/prefix or memory://name.',
  })
}
