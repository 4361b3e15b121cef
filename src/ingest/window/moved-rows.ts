import type { DuckDBConnection } from '@duckdb/node-api'
import { LakeError } from '../../error.ts'
import { DeletedRank, type DeletedRows } from '../../lake/table.ts'
import type { ConcatenateInput } from '../keys.ts'
import { registerRowFunction } from '../table-work/row-function.ts'

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
    registerRowFunction(connection, this.name, { file: 'long', result: 'long' }, (files, rows, count) => {
      const places = new BigInt64Array(count)
      for (let k = 0; k < count; k++) places[k] = BigInt(this.#place(files[2 * k]!, rows[2 * k]!))
      return places
    })
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
