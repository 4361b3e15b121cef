import duckdb from '@duckdb/node-bindings'
import { BLOB, DuckDBDataChunk } from '@duckdb/node-api'
import { LakeError } from '../../error.ts'

const ROWS = 64

/**
 * Native memory that DuckDB's `string_t` entries may point into: one copy per buffer instead of one call per text. It
 * relies on the layout of `string_t` in memory (length, 4 bytes of prefix, 8 bytes of pointer), which `probe` checks.
 * What was put stays valid until `clear`.
 */
export class NativeText {
  readonly #holders: DuckDBDataChunk[] = []
  #used = 0

  /** Copies the bytes and gives their address. Addresses have 48 bits, so a double holds them exactly. */
  put(bytes: Uint8Array): number {
    const holder = Math.floor(this.#used / ROWS)
    const row = this.#used++ % ROWS
    if (holder === this.#holders.length) this.#holders.push(DuckDBDataChunk.create([BLOB], ROWS))
    const vector = duckdb.data_chunk_get_vector(this.#holders[holder]!.chunk, 0)
    // Up to 12 bytes would be kept in the entry itself, which has no address.
    const long = bytes.length > 12 ? bytes : Buffer.concat([bytes, new Uint8Array(16)])
    duckdb.vector_assign_string_element_len(vector, row, long)
    const entries = duckdb.vector_get_data(vector, (row + 1) * 16)
    const view = new DataView(entries.buffer, entries.byteOffset + row * 16)
    if (view.getUint32(0, true) !== long.length || view.getUint8(4) !== long[0] || view.getUint32(12, true) > 0xffff)
      throw new LakeError('internal', 'strings of this DuckDB do not lie in memory as expected')
    return view.getUint32(8, true) + view.getUint32(12, true) * 4294967296
  }

  /** Frees the memory. Nothing that points into it may be read any more. */
  clear(): void {
    for (const holder of this.#holders) {
      holder.reset()
      holder.rowCount = ROWS
    }
    this.#used = 0
  }
}
