import duckdb from '@duckdb/node-bindings'
import type { DuckDBDataChunk } from '@duckdb/node-api'
import { textAt } from './slab-value.ts'

/** What COPY says of the file it wrote. Texts are bytes: reading them as strings would drop a leading U+FEFF. */
export interface CopyStatistics {
  readonly rows: number
  readonly fileSizeBytes: number
  /** By quoted path, `"address"."city"`, then by name: `column_size_bytes min max null_count num_values has_nan`. */
  readonly columns: ReadonlyMap<string, ReadonlyMap<string, Uint8Array>>
}

/** Reads the one row that `COPY … (RETURN_STATS)` answers with. */
export function readStatistics(chunk: DuckDBDataChunk): CopyStatistics {
  const columns = new Map<string, ReadonlyMap<string, Uint8Array>>()
  const outer = mapEntries(duckdb.data_chunk_get_vector(chunk.chunk, 4), chunk.rowCount)
  const paths = texts(outer.keys, outer.count)
  const inner = mapEntries(outer.values, outer.count)
  const names = texts(inner.keys, inner.count)
  const values = texts(inner.values, inner.count)
  paths.forEach((path, k) => {
    const { first, length } = inner.entries[k]!
    const statistics = new Map<string, Uint8Array>()
    for (let i = first; i < first + length; i++) statistics.set(Buffer.from(names[i]!).toString('utf8'), values[i]!)
    columns.set(Buffer.from(path).toString('utf8'), statistics)
  })
  return { rows: Number(chunk.getColumnValues(1)[0]), fileSizeBytes: Number(chunk.getColumnValues(2)[0]), columns }
}

interface MapEntries {
  readonly keys: duckdb.Vector
  readonly values: duckdb.Vector
  readonly count: number
  readonly entries: readonly { readonly first: number; readonly length: number }[]
}

/** A map is a list of structs of key and value. */
function mapEntries(vector: duckdb.Vector, rows: number): MapEntries {
  const data = duckdb.vector_get_data(vector, rows * 16)
  const view = new DataView(data.buffer, data.byteOffset)
  const entries = Array.from({ length: rows }, (_, k) => ({
    first: Number(view.getBigUint64(k * 16, true)),
    length: Number(view.getBigUint64(k * 16 + 8, true)),
  }))
  const pairs = duckdb.list_vector_get_child(vector)
  return {
    keys: duckdb.struct_vector_get_child(pairs, 0),
    values: duckdb.struct_vector_get_child(pairs, 1),
    count: duckdb.list_vector_get_size(vector),
    entries,
  }
}

function texts(vector: duckdb.Vector, count: number): Uint8Array[] {
  if (count === 0) return []
  const data = duckdb.vector_get_data(vector, count * 16)
  return Array.from({ length: count }, (_, k) => textAt(data.buffer as ArrayBuffer, data.byteOffset + k * 16).slice())
}
