import type { DuckDBResult, DuckDBValue } from '@duckdb/node-api'
import { LakeError } from '../error.ts'
import { nativeStyle, plainValue } from '../values.ts'
import { ArrowPiece, ParquetPiece } from './binary/pieces.ts'
import { binaryType, type BinaryField } from './binary/types.ts'
import { rowWriter, uniqueNames, type TextFormat } from './formats.ts'
import type { ResultColumn, ResultFormat } from './messages.ts'
import type { Chunk, Piece } from './piece.ts'
import type { Execution } from './sandbox.ts'

const PIECE_BYTES = 256 * 1024
const PIECE_ROWS = 512

export interface ResultLimits {
  readonly rowsMax: number
  readonly bytesMax: number
}

export function columnsOf(result: DuckDBResult): readonly ResultColumn[] {
  const types = result.columnTypes()
  return uniqueNames(result.columnNames()).map((name, index) => ({ name, type: String(types[index]!) }))
}

/**
 * The result as pieces of bounded size, made when they are asked for. What is last, and may make the others look whole,
 * comes when `assertComplete` has found that all rows are there. Throws `result.too_large`.
 */
export async function* pieces(
  { result, assertComplete }: Pick<Execution, 'result' | 'assertComplete'>,
  columns: readonly ResultColumn[],
  format: ResultFormat,
  limits: ResultLimits,
): AsyncGenerator<Chunk> {
  const piece = pieceOf(format, columns, result)
  let [rows, bytes] = [0, 0]
  for (let chunk = await result.fetchChunk(); chunk !== null && chunk.rowCount > 0; chunk = await result.fetchChunk()) {
    const vectors = columns.map((_, index) => chunk!.getColumnVector(index))
    for (let r = 0; r < chunk.rowCount; r++) {
      bytes += piece.add(vectors.map((vector) => vector.getItem(r) as DuckDBValue))
      check(++rows, bytes, limits)
      if (piece.isFull) yield piece.take()
    }
  }
  await assertComplete()
  const last = piece.end()
  if (last !== undefined) yield last
}

function pieceOf(format: ResultFormat, columns: readonly ResultColumn[], result: DuckDBResult): Piece {
  switch (format) {
    case 'values':
      return new ValuePiece()
    case 'arrow':
      return new ArrowPiece(fieldsOf(columns, result))
    case 'parquet':
      return new ParquetPiece(fieldsOf(columns, result))
    default:
      return new TextPiece(format, columns)
  }
}

function fieldsOf(columns: readonly ResultColumn[], result: DuckDBResult): readonly BinaryField[] {
  const types = result.columnTypes()
  return columns.map(({ name }, index) => ({ name, type: binaryType(types[index]!) }))
}

function check(rows: number, bytes: number, { rowsMax, bytesMax }: ResultLimits): void {
  const what = rows > rowsMax ? `${rowsMax} rows` : bytes > bytesMax ? `${bytesMax} bytes` : undefined
  if (what === undefined) return
  throw new LakeError('result.too_large', `the result has more than ${what}`, {
    fix: 'Add a LIMIT or a condition, or ask for ndjson, csv, arrow or parquet, which are streamed.',
    context: { rowsMax, bytesMax },
  })
}

class TextPiece implements Piece {
  readonly #writer: ReturnType<typeof rowWriter>
  #text: string
  #rows = 0
  #isFirst = true

  constructor(format: TextFormat, columns: readonly ResultColumn[]) {
    this.#writer = rowWriter(format, columns)
    this.#text = this.#writer.head
  }

  add(values: readonly DuckDBValue[]): number {
    const before = this.#text.length
    if (!this.#isFirst) this.#text += this.#writer.separator
    this.#text += this.#writer.row(values)
    this.#isFirst = false
    this.#rows++
    return this.#text.length - before
  }

  get isFull(): boolean {
    return this.#text.length >= PIECE_BYTES
  }

  take(): Chunk {
    const [text, rows] = [this.#text, this.#rows]
    this.#text = ''
    this.#rows = 0
    return { kind: 'chunk', rows, data: Buffer.from(text) }
  }

  end(): Chunk | undefined {
    return this.#text === '' ? undefined : this.take()
  }
}

class ValuePiece implements Piece {
  #rows: unknown[][] = []
  #bytes = 0

  add(values: readonly DuckDBValue[]): number {
    const row = values.map((value) => plainValue(value, nativeStyle))
    const bytes = sizeOf(row)
    this.#rows.push(row)
    this.#bytes += bytes
    return bytes
  }

  get isFull(): boolean {
    return this.#rows.length >= PIECE_ROWS || this.#bytes >= PIECE_BYTES
  }

  take(): Chunk {
    const data = this.#rows
    this.#rows = []
    this.#bytes = 0
    return { kind: 'chunk', rows: data.length, data }
  }

  end(): Chunk | undefined {
    return this.#rows.length === 0 ? undefined : this.take()
  }
}

/** Roughly the bytes that a plain value takes: what matters is that nothing large counts as small. */
function sizeOf(value: unknown): number {
  if (typeof value === 'string') return value.length
  if (value instanceof Uint8Array) return value.length
  if (typeof value !== 'object' || value === null) return 8
  let bytes = 8
  for (const [key, item] of Object.entries(value)) bytes += sizeOf(item) + (Array.isArray(value) ? 0 : key.length)
  return bytes
}
