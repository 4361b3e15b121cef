import { createHash, timingSafeEqual } from 'node:crypto'
import type { ApiKey } from './settings.ts'

/**
 * A key is `id.secret`: the id says whose it is and may be seen by everybody, the secret is 256 random bits. Settings
 * hold the SHA-256 of the whole, so that whoever reads them cannot use it. A secret of this size needs no slow hash.
 */

export const SECRET_BYTES = 32
const KEY = /^([a-z][a-z0-9_-]{0,62})\.([A-Za-z0-9_-]{43})$/
export const KEY_ID = /^[a-z][a-z0-9_-]{0,62}$/
/** Keys of one id that count at a time: the one in use and the one that takes its place. */
export const LIVE_KEYS_MAX = 2

/** The text of a key that is given out once. `secret` has `SECRET_BYTES` random bytes. */
export function keyText(id: string, secret: Uint8Array): string {
  return `${id}.${Buffer.from(secret).toString('base64url')}`
}

/** What settings hold of a key, 64 hexadecimal digits: `printf %s "$KEY" | sha256sum` gives the same. */
export function hashOfKey(text: string): string {
  return createHash('sha256').update(text).digest('hex')
}

/** The id in a text that has the form of a key. */
export function idOfKey(text: string): string | undefined {
  return KEY.exec(text)?.[1]
}

/**
 * The key that a caller shows, among those that are known; undefined when there is none of them, or its time is over.
 * How long it takes tells an id that exists from one that does not, and nothing of a secret.
 */
export function findKey(keys: readonly ApiKey[], text: string, nowMs: number): ApiKey | undefined {
  const id = idOfKey(text)
  if (id === undefined) return undefined
  const shown = Buffer.from(hashOfKey(text), 'hex')
  return keys.find(
    (key) =>
      key.id === id &&
      timingSafeEqual(shown, Buffer.from(key.sha256, 'hex')) &&
      (key.expiresMs === undefined || nowMs < key.expiresMs),
  )
}
