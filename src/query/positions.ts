import { DuckDBDataChunk, UINTEGER, type DuckDBConnection } from '@duckdb/node-api'
import { LakeError } from '../error.ts'
import type { PartialFiles, View } from './messages.ts'
import { positionsTable } from './view-sql.ts'

const ROWS_AT_ONCE = 2_048

/** Makes the tables of (file, position) that a view's partial files are joined with. */
export async function makePositions(connection: DuckDBConnection, view: View): Promise<void> {
  for (const [index, partial] of (view.partial ?? []).entries()) {
    if (partial.alive !== undefined) continue
    const { schema, table, sql } = positionsTable(view, index)
    await connection.run(sql)
    const appender = await connection.createAppender(table, schema)
    for (const chunk of chunks(partial)) appender.appendDataChunk(chunk)
    appender.closeSync()
  }
}

function* chunks({ ends, positions }: PartialFiles): Generator<DuckDBDataChunk> {
  let [start, file] = [0, 0]
  while (start < positions.length) {
    const end = Math.min(start + ROWS_AT_ONCE, positions.length)
    const chunk = DuckDBDataChunk.create([UINTEGER, UINTEGER], end - start)
    const [files, rows] = [itemsOf(chunk, 0), itemsOf(chunk, 1)]
    rows.set(positions.subarray(start, end))
    for (let from = start; from < end; from = Math.min(ends[file]!, end)) {
      while (ends[file]! <= from) file++
      files.fill(file, from - start, ends[file]! - start)
    }
    chunk.getColumnVector(0).flush()
    chunk.getColumnVector(1).flush()
    yield chunk
    start = end
  }
}

/** The memory behind a column: the binding offers no other way that costs nothing for each value. */
function itemsOf(chunk: DuckDBDataChunk, column: number): Uint32Array {
  const { items } = chunk.getColumnVector(column) as unknown as { readonly items: unknown }
  if (items instanceof Uint32Array) return items
  throw new LakeError('internal', 'the DuckDB binding keeps its integers in another way')
}
