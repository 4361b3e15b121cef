import duckdb from '@duckdb/node-bindings'

/** Between two texts so little lies that fetching it with them is cheaper, and less than a page: it can be read. */
const GAP_MAX = 256

/** Texts of one vector, copied out of DuckDB's memory behind each other. */
export interface Texts {
  readonly bytes: Uint8Array
  /** Where text i begins; one more tells where the last one ends. A null is empty here. */
  readonly starts: Int32Array
}

/** Rows [from, until) of a vector of strings or binaries: a few calls for all of them, none per row. */
export function textsOf(vector: duckdb.Vector, from: number, until: number): Texts {
  const count = until - from
  const entries = duckdb.vector_get_data(vector, until * 16)
  const words = new Uint32Array(entries.buffer, entries.byteOffset, until * 4)
  const isNull = nullsOf(vector, until)
  // Nothing is promised of what stands where a null is.
  if (isNull !== undefined) for (let row = from; row < until; row++) if (isNull(row)) words[4 * row] = 0
  const starts = new Int32Array(count + 1)
  for (let i = 0; i < count; i++) starts[i + 1] = starts[i]! + words[4 * (from + i)]!
  const bytes = new Uint8Array(starts[count]!)
  for (let i = 0; i < count; i++) {
    const row = from + i
    const length = words[4 * row]!
    if (length > 12) i = copyRun(entries, words, from, i, count, bytes, starts)
    else for (let k = 0; k < length; k++) bytes[starts[i]! + k] = entries[row * 16 + 4 + k]!
  }
  return { bytes, starts }
}

/** Copies long texts from `i` on as far as they lie behind each other; gives the last one. Short ones lie elsewhere. */
function copyRun(
  entries: Uint8Array,
  words: Uint32Array,
  from: number,
  i: number,
  count: number,
  bytes: Uint8Array,
  starts: Int32Array,
): number {
  const start = addressOf(words, from + i)
  let end = start + words[4 * (from + i)]!
  let last = i
  while (last + 1 < count) {
    const [address, length] = [addressOf(words, from + last + 1), words[4 * (from + last + 1)]!]
    if (length <= 12 || address < end || address - end > GAP_MAX) break
    end = address + length
    last++
  }
  const pointer = entries.byteOffset + (from + i) * 16 + 8
  const run = duckdb.get_data_from_pointer(entries.buffer as ArrayBuffer, pointer, end - start)
  for (let k = i; k <= last; k++) {
    const at = addressOf(words, from + k) - start
    bytes.set(run.subarray(at, at + words[4 * (from + k)]!), starts[k])
  }
  return last
}

function addressOf(words: Uint32Array, row: number): number {
  return words[4 * row + 2]! + words[4 * row + 3]! * 4_294_967_296
}

/** Whether a row is null; undefined when none of the vector is. */
export function nullsOf(vector: duckdb.Vector, rows: number): ((row: number) => boolean) | undefined {
  const valid = duckdb.vector_get_validity(vector, Math.ceil(rows / 64) * 8)
  if (valid === null) return undefined
  return (row) => (valid[row >> 3]! & (1 << (row & 7))) === 0
}
