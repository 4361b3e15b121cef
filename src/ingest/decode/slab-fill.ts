import duckdb from '@duckdb/node-bindings'
import type { NativeText } from './native-text.ts'
import type { Slab, SlabColumn } from './slab.ts'

/**
 * Copies rows [from, from + rows) of a vector of DuckDB's into a column of a slab, from row `to` on. Only of columns
 * without parts that were sealed as null. Long texts get a place in `native`, since those of the vector go with it.
 */
export function fillFrom(
  vector: duckdb.Vector,
  from: number,
  rows: number,
  slab: Slab,
  { dataAt, validAt, width, layout }: SlabColumn,
  to: number,
  native: NativeText,
): void {
  const end = from + rows
  const source = duckdb.vector_get_data(vector, end * width)
  const target = new Uint8Array(slab.buffer, dataAt + to * width, rows * width)
  target.set(source.subarray(from * width))
  const validity = duckdb.vector_get_validity(vector, Math.ceil(end / 64) * 8) as Uint8Array | null
  const valid = new Uint8Array(slab.buffer, validAt)
  for (let k = 0; k < rows; k++) {
    const isValid = validity === null || (validity[(from + k) >> 3]! & (1 << ((from + k) & 7))) !== 0
    if (isValid) valid[(to + k) >> 3]! |= 1 << ((to + k) & 7)
    // What stands under a null is anything.
    else target.fill(0, k * width, (k + 1) * width)
  }
  if (layout === 'text') moveTexts(slab.buffer, dataAt + to * width, rows, native)
}

/** Texts of more than 12 bytes lie behind a pointer: they are copied, and point to the copy. */
function moveTexts(buffer: ArrayBuffer, at: number, rows: number, native: NativeText): void {
  const words = new Int32Array(buffer, at, 4 * rows)
  const texts: Uint8Array[] = []
  for (let row = 0; row < rows; row++)
    if (words[4 * row]! > 12) texts.push(duckdb.get_data_from_pointer(buffer, at + 16 * row + 8, words[4 * row]!))
  if (texts.length === 0) return
  let address = native.put(Buffer.concat(texts))
  for (let row = 0; row < rows; row++) {
    const length = words[4 * row]!
    if (length <= 12) continue
    words[4 * row + 2] = address
    words[4 * row + 3] = address / 4294967296
    address += length
  }
}
