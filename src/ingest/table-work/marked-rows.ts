import type { DuckDBConnection } from '@duckdb/node-api'
import { registerRowFunction } from './row-function.ts'

/** Some rows of files, a bit each. */
export class Marks {
  readonly #rows: readonly number[]
  readonly #words = new Map<number, Uint32Array>()

  /** `rows`: how many each file has. */
  constructor(rows: readonly number[]) {
    this.#rows = rows
  }

  add(file: number, row: number): void {
    let words = this.#words.get(file)
    if (words === undefined) {
      words = new Uint32Array((this.#rows[file]! + 31) >>> 5)
      this.#words.set(file, words)
    }
    words[row >>> 5]! |= 1 << (row & 31)
  }

  /** Undefined: none of the file. */
  of(file: number): Uint32Array | undefined {
    return this.#words.get(file)
  }
}

/**
 * `is_marked(file_index, file_row_number)`: whether a row of the files at hand is one of those that were marked. Unlike
 * `AliveRows` it does not mind which rows it is asked about, and in which order: plans that leave some out may use it.
 */
export class MarkedRows {
  readonly name = 'is_marked'
  #files: readonly Uint32Array[] = []

  constructor(connection: DuckDBConnection) {
    registerRowFunction(connection, this.name, { file: 'ulong', result: 'boolean' }, (files, rows, count) => {
      const isMarked = new Uint8Array(count)
      for (let k = 0; k < count; k++) {
        const row = rows[2 * k]!
        isMarked[k] = (this.#files[files[2 * k]!]![row >>> 5]! >>> (row & 31)) & 1
      }
      return isMarked
    })
  }

  /** The files that the next statement reads, in its order. */
  feed(files: readonly Uint32Array[]): void {
    this.#files = files
  }
}
