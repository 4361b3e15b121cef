import duckdb from '@duckdb/node-bindings'
import { BIGINT, DuckDBScalarFunction, type DuckDBConnection } from '@duckdb/node-api'
import { LakeError } from '../../error.ts'
import { DeletedRank, type DeletedRows } from '../../lake/table.ts'
import type { ConcatenateInput } from '../keys.ts'

interface Moved {
  /** Where the first row of the input stands in the output. */
  readonly base: number
  readonly deleted: DeletedRows
  readonly rank: DeletedRank
}

/**
 * `moved_row(file, row)`: where a row of one of the files at hand stands in the file that was made of them: base of the
 * input + row − dead rows below it. One call per chunk.
 */
export class MovedRows {
  readonly name = 'moved_row'
  #inputs: ReadonlyMap<number, Moved> = new Map()
  #lost: number | undefined

  constructor(connection: DuckDBConnection) {
    const moved = new DuckDBScalarFunction()
    moved.setName(this.name)
    moved.addParameter(BIGINT)
    moved.addParameter(BIGINT)
    moved.setReturnType(BIGINT)
    moved.setVolatile()
    duckdb.scalar_function_set_function(moved.scalar_function, (_info, input, output) => {
      const count = duckdb.data_chunk_get_size(input)
      const longs = (column: number): BigInt64Array => {
        const bytes = duckdb.vector_get_data(duckdb.data_chunk_get_vector(input, column), count * 8)
        return new BigInt64Array(bytes.buffer, bytes.byteOffset, count)
      }
      const [files, rows] = [longs(0), longs(1)]
      const result = new BigInt64Array(count)
      for (let k = 0; k < count; k++) result[k] = BigInt(this.#place(Number(files[k]), Number(rows[k])))
      duckdb.copy_data_to_vector(output, 0, result.buffer, 0, result.byteLength)
    })
    connection.registerScalarFunction(moved)
  }

  /** The inputs of one output; `numbers` are what the next statement calls their files, undefined: it has no row of it. */
  feed(inputs: readonly ConcatenateInput[], numbers: readonly (number | undefined)[]): void {
    let base = 0
    const moved = new Map<number, Moved>()
    inputs.forEach(({ deleted }, k) => {
      const number = numbers[k]
      if (number !== undefined) moved.set(number, { base, deleted, rank: new DeletedRank(deleted) })
      base += deleted.rows - deleted.count
    })
    this.#inputs = moved
    this.#lost = undefined
  }

  /** Throws when a row that was held is not in the output. */
  assertDone(): void {
    if (this.#lost === undefined) return
    throw new LakeError('internal', 'a row of an open window was lost on the way into another file', {
      context: { row: this.#lost },
    })
  }

  #place(file: number, row: number): number {
    const input = this.#inputs.get(file)
    if (input === undefined || row >= input.deleted.rows || input.deleted.has(row)) {
      this.#lost = row
      return -1
    }
    return input.base + row - input.rank.rank(row)
  }
}
