import duckdb from '@duckdb/node-bindings'
import { BIGINT, BOOLEAN, DuckDBScalarFunction, UBIGINT, type DuckDBConnection } from '@duckdb/node-api'

const RESULTS = { boolean: BOOLEAN, long: BIGINT } as const
const FILES = { long: BIGINT, ulong: UBIGINT } as const

/**
 * The files and rows of one chunk, as DuckDB's words of 32 bits: number `2 * k` is that of row `k`, the one behind it is
 * 0, since neither files nor rows of one statement come to 2^32.
 */
export type RowFunction = (files: Uint32Array, rows: Uint32Array, count: number) => Uint8Array | BigInt64Array

/**
 * Registers `name(file, row)`, which answers for a whole chunk in one call: a byte a row for `boolean`, 8 for `long`.
 * `file` is `ulong` where it is DuckDB's own `file_index`. It may answer otherwise for the same arguments: nothing folds
 * or repeats a call.
 */
export function registerRowFunction(
  connection: DuckDBConnection,
  name: string,
  types: { readonly file: keyof typeof FILES; readonly result: keyof typeof RESULTS },
  answer: RowFunction,
): void {
  const made = new DuckDBScalarFunction()
  made.setName(name)
  made.addParameter(FILES[types.file])
  made.addParameter(BIGINT)
  made.setReturnType(RESULTS[types.result])
  made.setVolatile()
  duckdb.scalar_function_set_function(made.scalar_function, (_info, input, output) => {
    const count = duckdb.data_chunk_get_size(input)
    const words = (column: number): Uint32Array => {
      const bytes = duckdb.vector_get_data(duckdb.data_chunk_get_vector(input, column), count * 8)
      return new Uint32Array(bytes.buffer, bytes.byteOffset, 2 * count)
    }
    const result = answer(words(0), words(1), count)
    duckdb.copy_data_to_vector(output, 0, result.buffer as ArrayBuffer, 0, result.byteLength)
  })
  connection.registerScalarFunction(made)
}
