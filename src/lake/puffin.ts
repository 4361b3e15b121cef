import { LakeError } from '../error.ts'
import type { DeletedRows } from './deleted-rows.ts'
import { decodeDeletionVector, vectorBytes, writeDeletionVector } from './deletion-vector.ts'
import type { Storage } from './storage/storage.ts'
import type { DeletionVectorRef } from './table-change.ts'

// Puffin files: blobs between magic numbers and a footer that describes them. One holds all deletion vectors of a commit.

const MAGIC = Buffer.from('PFA1', 'latin1')
/** The position column of row deletes, in Iceberg's reserved ids. */
const POSITION_FIELD = 2_147_483_645

export interface VectorOf {
  /** Full URI of the data file. */
  readonly dataFile: string
  readonly rows: DeletedRows
}

export interface Puffin {
  readonly bytes: Uint8Array
  /** Of each vector in order: where its blob stands. */
  readonly blobs: readonly { readonly offset: number; readonly length: number }[]
}

export function encodePuffin(vectors: readonly VectorOf[]): Puffin {
  let offset = MAGIC.length
  const blobs = vectors.map(({ rows }) => {
    const blob = { offset, length: vectorBytes(rows) }
    offset += blob.length
    return blob
  })
  const footer = {
    blobs: vectors.map(({ dataFile, rows }, index) => ({
      type: 'deletion-vector-v1',
      fields: [POSITION_FIELD],
      'snapshot-id': -1,
      'sequence-number': -1,
      ...blobs[index]!,
      properties: { 'referenced-data-file': dataFile, cardinality: String(rows.count) },
    })),
    properties: { 'created-by': 'kappalake' },
  }
  const payload = Buffer.from(JSON.stringify(footer), 'utf8')
  const end = Buffer.alloc(8)
  end.writeInt32LE(payload.length, 0)
  // All in one piece: the vectors of a large table are megabytes, with every commit.
  const bytes = Buffer.allocUnsafe(offset + 2 * MAGIC.length + payload.length + end.length)
  MAGIC.copy(bytes)
  for (const [index, { rows }] of vectors.entries()) {
    const blob = blobs[index]!
    writeDeletionVector(rows, bytes.subarray(blob.offset, blob.offset + blob.length))
  }
  for (const part of [MAGIC, payload, end, MAGIC]) offset += part.copy(bytes, offset)
  return { bytes, blobs }
}

/**
 * Reads one vector, of a data file with `rows` rows. Throws `store.corrupt` when it is missing, not whole, or not what
 * the manifest says.
 */
export async function readVector(storage: Storage, ref: DeletionVectorRef, rows: number): Promise<DeletedRows> {
  const { key, offset, length, count } = ref
  const bytes = await puffinsOf(storage).get(key)
  const deleted = decodeDeletionVector(key, bytes.subarray(offset, offset + length), rows)
  if (deleted.count === count) return deleted
  throw new LakeError('store.corrupt', `${key} deletes ${deleted.count} rows where ${count} are named`, {
    context: { key },
  })
}

/** What a process reads when it opens a table is many vectors of few files, each asked for by itself. */
const CACHED_BYTES_MAX = 32 << 20
const caches = new WeakMap<Storage, PuffinCache>()

function puffinsOf(storage: Storage): PuffinCache {
  const cache = caches.get(storage) ?? new PuffinCache(storage)
  caches.set(storage, cache)
  return cache
}

/** Whole Puffin files by key, read once when asked for by many at a time; the ones not asked for longest go first. */
class PuffinCache {
  readonly #storage: Storage
  readonly #files = new Map<string, Promise<Uint8Array>>()
  readonly #sizes = new Map<string, number>()
  #bytes = 0

  constructor(storage: Storage) {
    this.#storage = storage
  }

  async get(key: string): Promise<Uint8Array> {
    const file = this.#files.get(key) ?? this.#read(key)
    this.#files.delete(key)
    this.#files.set(key, file)
    try {
      return await file
    } catch (error) {
      if (this.#files.get(key) === file) this.#drop(key)
      throw error
    }
  }

  async #read(key: string): Promise<Uint8Array> {
    const bytes = await this.#storage.get(key)
    if (bytes === undefined)
      throw new LakeError('store.corrupt', `${key} is missing`, {
        context: { key },
        fix: 'A table refers to it. Restore it from a copy of the store.',
      })
    this.#sizes.set(key, bytes.length)
    this.#bytes += bytes.length
    for (const oldest of this.#files.keys()) {
      if (this.#bytes <= CACHED_BYTES_MAX) break
      if (this.#sizes.has(oldest)) this.#drop(oldest)
    }
    return bytes
  }

  #drop(key: string): void {
    this.#files.delete(key)
    this.#bytes -= this.#sizes.get(key) ?? 0
    this.#sizes.delete(key)
  }
}
