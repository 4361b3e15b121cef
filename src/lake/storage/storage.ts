import { LakeError } from '../../error.ts'
import { checkKey } from './key.ts'

/**
 * The only door to bytes. Keys are relative to the store's root, `/`-separated, never empty, without `.` or `..` parts.
 * Implementations: local.ts, s3.ts, memory.ts; all pass test/conformance/storage.ts.
 */

export interface ObjectInfo {
  readonly key: string
  readonly sizeBytes: number
  readonly modifiedMs: number
}

/**
 * What a create-if-absent came to. The caller must treat each:
 * created: our bytes stand there. exists: bytes stand there, perhaps ours (an earlier try of this call).
 * conflict: nothing is known (S3's 409), send the same bytes again. unknown: no answer, or one that says nothing;
 * they may have landed, or may land later: read the key, then send the same bytes again.
 */
export type PutOutcome =
  | { readonly kind: 'created' }
  | { readonly kind: 'exists' }
  | { readonly kind: 'conflict' }
  | { readonly kind: 'unknown'; readonly cause: unknown }

export interface Storage {
  /** Root as a URI without a trailing slash: `file:///data/lake`, `s3://bucket/prefix`, `memory://name`. */
  readonly url: string
  /** Whether data files can be opened by path without a download. Then the path is the URI's. */
  readonly isLocal: boolean
  /** The whole object, or undefined when it is absent. Retries reads by itself; throws `store.unavailable`. */
  get(key: string, signal?: AbortSignal): Promise<Uint8Array | undefined>
  head(key: string): Promise<ObjectInfo | undefined>
  /** Unconditional write under a name that nobody else uses. Durable when it resolves. */
  put(key: string, bytes: Uint8Array): Promise<void>
  /** Moves a finished local file into the store under a name of its own; the local file is gone afterwards. */
  putFile(key: string, localPath: string): Promise<void>
  /** The commit primitive: atomic, durable, one attempt, never torn. Definite refusals throw `store.denied` or `store.disk_full`. */
  putIfAbsent(key: string, bytes: Uint8Array): Promise<PutOutcome>
  /** Keys with the prefix (a plain string prefix) in byte order, after `startAfter` when given. */
  list(prefix: string, options?: { readonly startAfter?: string }): AsyncIterable<ObjectInfo>
  /** Idempotent. */
  delete(key: string): Promise<void>
  /** A folder on this machine for files that will be given to `putFile`; on the same file system when local. */
  readonly scratch: string
  close(): Promise<void>
}

/** The full URI under which Iceberg metadata names an object. Byte-identical wherever the object is named. */
export function uriOf(storage: Storage, key: string): string {
  return `${storage.url}/${key}`
}

/** Throws `store.corrupt`: what a table is made of stands in its store, and no file of it names anything above. */
export function keyOf(storage: Storage, uri: string): string {
  const outside = (cause?: unknown): LakeError =>
    new LakeError('store.corrupt', `${uri} is not in the store ${storage.url}`, {
      cause,
      context: { uri },
      fix: 'A store that was moved keeps its URL: open it where it was written.',
    })
  if (!uri.startsWith(`${storage.url}/`)) throw outside()
  const key = uri.slice(storage.url.length + 1)
  try {
    checkKey(key)
  } catch (cause) {
    throw outside(cause)
  }
  return key
}

export type { StoreSettings } from '../../settings.ts'
