import { open, type FileHandle } from 'node:fs/promises'
import path from 'node:path'
import type { Clock } from '../clock.ts'
import { LakeError } from '../error.ts'
import type { StagedKeys, StoredKeys } from './keys.ts'
import type { Staged, StagedTable } from './lane.ts'
import { removeLocal } from './window/partial-files.ts'

// Columns of keys on their way from a lane's process to the one that owns it: through a file of this machine, since
// messages are copied some five times, and each copy is memory that has to be collected. Like partials of windows they
// lie in a folder of the owner, and live until he has read them. A message holds empty columns, and the file's name.

/** Columns of fewer rows go along with the message. */
const ROWS_MIN = 4_096
const NO_WORDS = new Uint32Array(0)
const NO_LONGS = new BigInt64Array(0)

/** Keys of stored files as they are sent. */
export interface SentKeys extends StoredKeys {
  readonly keyFile?: string
}

/** A batch as it is sent. Where there is no room for a file, columns go along with the message. */
export async function sentBatch(staged: Staged, folder: string, clock: Clock): Promise<Staged> {
  const sent = async (table: StagedTable): Promise<StagedTable> => {
    const { keys } = table
    if (keys === undefined || keys.count < ROWS_MIN) return table
    const { offsets, versions, hashes, files, rows } = keys
    const keyFile = await written([offsets, ...(versions ? [versions] : []), hashes, files, rows], folder, clock)
    if (keyFile === undefined) return table
    const none = { offsets: NO_LONGS, versions: versions && NO_LONGS, hashes: NO_WORDS, rows: NO_WORDS }
    return { ...table, keys: { ...keys, ...none, files: new Int32Array(0), keyFile } }
  }
  return { ...staged, tables: await Promise.all(staged.tables.map(sent)) }
}

/** The same of what a lane read of stored files. */
export async function sentKeys(keys: StoredKeys, folder: string, clock: Clock): Promise<SentKeys> {
  const { cells, versions } = keys
  if (cells.length < 4 * ROWS_MIN) return keys
  const keyFile = await written([...(versions ? [versions] : []), cells], folder, clock)
  return keyFile === undefined ? keys : { ...keys, keyFile, cells: NO_WORDS, versions: versions && NO_LONGS }
}

/** Reads what `sentKeys` wrote; the file goes. */
export async function arrivedKeys(sent: SentKeys): Promise<StoredKeys> {
  if (sent.keyFile === undefined) return sent
  const { keyFile, ...keys } = sent
  const count = keys.ends.at(-1) ?? 0
  const columns = new Columns(new ArrayBuffer(count * (keys.versions === undefined ? 16 : 24)))
  const versions = keys.versions && columns.longs(count)
  const cells = columns.words(4 * count)
  await read([keyFile], columns.bytes)
  return { ...keys, cells, versions }
}

/** Batches as they arrive. */
export class ArrivingBatches {
  /** Used again for each batch: what is read from files is collected by nobody. */
  #buffer = new ArrayBuffer(0)

  /** The batch with its keys, which stay as they are until the next one is taken. Throws `lane.failed`. */
  async take(staged: Staged): Promise<Staged> {
    const sent = staged.tables.flatMap(({ keys }) => (keys?.keyFile === undefined ? [] : [keys]))
    if (sent.length === 0) return staged
    const bytes = sent.reduce((sum, keys) => sum + keys.count * bytesOf(keys), 0)
    if (this.#buffer.byteLength < bytes) this.#buffer = new ArrayBuffer(bytes)
    const columns = new Columns(this.#buffer)
    const tables = staged.tables.map((table) => {
      if (table.keys?.keyFile === undefined) return table
      const { keyFile: _, ...keys } = table.keys
      return { ...table, keys: columnsOf(keys, columns) }
    })
    await read(
      sent.map(({ keyFile }) => keyFile!),
      columns.bytes,
    )
    return { ...staged, tables }
  }
}

function bytesOf({ versions }: StagedKeys): number {
  return versions === undefined ? 32 : 40
}

/** In the order in which `sentBatch` writes them. */
function columnsOf(keys: StagedKeys, columns: Columns): StagedKeys {
  const { count } = keys
  const offsets = columns.longs(count)
  const versions = keys.versions && columns.longs(count)
  const hashes = columns.words(4 * count)
  const files = new Int32Array(hashes.buffer, columns.words(count).byteOffset, count)
  return { ...keys, offsets, versions, hashes, files, rows: columns.words(count) }
}

/** Columns of one buffer, one behind the other. */
class Columns {
  readonly #buffer: ArrayBuffer
  #used = 0

  constructor(buffer: ArrayBuffer) {
    this.#buffer = buffer
  }

  get bytes(): Uint8Array {
    return new Uint8Array(this.#buffer, 0, this.#used)
  }

  longs(count: number): BigInt64Array<ArrayBuffer> {
    this.#used += 8 * count
    return new BigInt64Array(this.#buffer, this.#used - 8 * count, count)
  }

  words(count: number): Uint32Array<ArrayBuffer> {
    this.#used += 4 * count
    return new Uint32Array(this.#buffer, this.#used - 4 * count, count)
  }
}

/** Writes columns one behind the other; undefined when that fails. */
async function written(columns: readonly ArrayBufferView[], folder: string, clock: Clock): Promise<string | undefined> {
  const file = path.join(folder, `${clock.uuid()}.keys`)
  try {
    await withFile(file, 'wx', async (handle) => {
      for (const { buffer, byteOffset, byteLength } of columns) {
        const bytes = new Uint8Array(buffer, byteOffset, byteLength)
        for (let at = 0; at < bytes.length;) at += (await handle.write(bytes, at)).bytesWritten
      }
    })
    return file
  } catch {
    await removeLocal(file)
    return undefined
  }
}

/** Fills `bytes` with the files, one behind the other, and removes them. */
async function read(files: readonly string[], bytes: Uint8Array): Promise<void> {
  let at = 0
  try {
    for (const file of files)
      await withFile(file, 'r', async (handle) => {
        for (let more = 1; more > 0 && at < bytes.length; at += more) more = (await handle.read(bytes, at)).bytesRead
      })
  } catch (cause) {
    throw new LakeError('lane.failed', 'the keys of a batch are not where its lane left them', {
      retryable: true,
      cause,
    })
  } finally {
    for (const file of files) await removeLocal(file)
  }
  if (at !== bytes.length)
    throw new LakeError('lane.failed', `${bytes.length} bytes of keys were staged, ${at} are there`, {
      retryable: true,
    })
}

async function withFile(file: string, flags: string, work: (handle: FileHandle) => Promise<void>): Promise<void> {
  const handle = await open(file, flags)
  try {
    await work(handle)
  } finally {
    await handle.close()
  }
}
