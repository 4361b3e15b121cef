import type { DuckDBValue } from '@duckdb/node-api'
import type { Chunk, Piece } from '../piece.ts'
import { arrowBatch, arrowEnd, arrowSchema } from './arrow.ts'
import { ColumnBuilder, type Column } from './columns.ts'
import { ParquetWriter } from './parquet.ts'
import type { BinaryField } from './types.ts'

const BATCH_BYTES = 256 * 1024
const BATCH_ROWS = 65_536
/** A row group is written whole, and costs a reader its overhead. */
const ROW_GROUP_BYTES = 8 * 1024 * 1024

/** Rows collected by column. */
class Batch {
  readonly #builders: readonly ColumnBuilder[]
  rows = 0
  bytes = 0

  constructor(fields: readonly BinaryField[]) {
    this.#builders = fields.map((field) => new ColumnBuilder(field))
  }

  add(values: readonly DuckDBValue[]): number {
    let bytes = 0
    for (let i = 0; i < values.length; i++) bytes += this.#builders[i]!.append(values[i])
    this.rows++
    this.bytes += bytes
    return bytes
  }

  take(): { readonly rows: number; readonly columns: readonly Column[] } {
    const { rows } = this
    this.rows = 0
    this.bytes = 0
    return { rows, columns: this.#builders.map((builder) => builder.take()) }
  }
}

/** An Arrow stream: the schema goes with the first batch. */
export class ArrowPiece implements Piece {
  readonly #batch: Batch
  #head: Uint8Array

  constructor(fields: readonly BinaryField[]) {
    this.#batch = new Batch(fields)
    this.#head = arrowSchema(fields)
  }

  add(values: readonly DuckDBValue[]): number {
    return this.#batch.add(values)
  }

  get isFull(): boolean {
    return this.#batch.bytes >= BATCH_BYTES || this.#batch.rows >= BATCH_ROWS
  }

  take(): Chunk {
    const { rows, columns } = this.#batch.take()
    const data = Buffer.concat([this.#head, arrowBatch(columns)])
    this.#head = new Uint8Array(0)
    return { kind: 'chunk', rows, data }
  }

  end(): Chunk {
    const rest = this.#batch.rows === 0 ? { rows: 0, data: this.#head } : this.take()
    return { kind: 'chunk', rows: rest.rows, data: Buffer.concat([rest.data as Uint8Array, arrowEnd()]) }
  }
}

/** A Parquet file, a row group at a time. */
export class ParquetPiece implements Piece {
  readonly #batch: Batch
  readonly #file: ParquetWriter

  constructor(fields: readonly BinaryField[]) {
    this.#batch = new Batch(fields)
    this.#file = new ParquetWriter(fields)
  }

  add(values: readonly DuckDBValue[]): number {
    return this.#batch.add(values)
  }

  get isFull(): boolean {
    return this.#batch.bytes >= ROW_GROUP_BYTES || this.#batch.rows >= BATCH_ROWS
  }

  take(): Chunk {
    const { rows, columns } = this.#batch.take()
    return { kind: 'chunk', rows, data: this.#file.rowGroup(columns) }
  }

  end(): Chunk {
    if (this.#batch.rows === 0) return { kind: 'chunk', rows: 0, data: this.#file.end() }
    const { rows, data } = this.take()
    return { kind: 'chunk', rows, data: Buffer.concat([data as Uint8Array, this.#file.end()]) }
  }
}
