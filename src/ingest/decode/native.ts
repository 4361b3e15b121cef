import duckdb from '@duckdb/node-bindings'
import { BLOB, DuckDBDataChunk, VARCHAR } from '@duckdb/node-api'

/** Bytes in DuckDB's own memory, at an address that strings of a chunk may point to until the next `put` or `free`. */
export class NativeBytes {
  /** The two halves of the address. */
  low = 0
  high = 0
  readonly #chunk = DuckDBDataChunk.create([BLOB], 1)

  /** Copies `bytes`. What an earlier call copied is gone. */
  put(bytes: Uint8Array): void {
    this.free()
    // Up to 12 bytes would lie inside the vector itself, without a pointer.
    const long = bytes.length > 12 ? bytes : padded(bytes)
    duckdb.data_chunk_set_size(this.#chunk.chunk, 1)
    const vector = duckdb.data_chunk_get_vector(this.#chunk.chunk, 0)
    duckdb.vector_assign_string_element_len(vector, 0, long)
    const entry = duckdb.vector_get_data(vector, 16)
    const words = new Uint32Array(entry.buffer, entry.byteOffset, 4)
    this.low = words[2]!
    this.high = words[3]!
  }

  free(): void {
    duckdb.data_chunk_reset(this.#chunk.chunk)
  }
}

function padded(bytes: Uint8Array): Uint8Array {
  const long = new Uint8Array(16)
  long.set(bytes)
  return long
}

/** Writes the pointer half of a 16-byte string entry: word 2 and 3 of entry `index`. */
export function point(words: Int32Array, index: number, low: number, high: number, offset: number): void {
  const address = low + offset
  words[4 * index + 2] = address
  words[4 * index + 3] = address > 0xffff_ffff ? high + 1 : high
}

/**
 * Strings are handed over as DuckDB keeps them in memory: length, four bytes of prefix, then 8 more bytes or an
 * address. No interface promises that, so it is tried once per process before the first file is written. Throws when
 * this build of DuckDB does it differently: files would be wrong.
 */
export function checkStringLayout(): void {
  if (isChecked) return
  const text = 'short|a string that is longer than twelve bytes'
  const bytes = Buffer.from(text)
  const native = new NativeBytes()
  native.put(bytes)
  const words = new Int32Array(8)
  words[0] = 5
  new Uint8Array(words.buffer).set(bytes.subarray(0, 5), 4)
  words[4] = bytes.length - 6
  words[5] = bytes.readInt32LE(6)
  point(words, 1, native.low, native.high, 6)
  const chunk = DuckDBDataChunk.create([VARCHAR], 2)
  duckdb.copy_data_to_vector(duckdb.data_chunk_get_vector(chunk.chunk, 0), 0, words.buffer, 0, 32)
  const [short, long] = chunk.getColumnValues(0)
  if (short !== 'short' || long !== text.slice(6))
    throw new Error('this build of DuckDB keeps strings in another form than kappalake writes')
  isChecked = true
}

let isChecked = false
