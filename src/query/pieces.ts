import type { DuckDBResult, DuckDBValue } from '@duckdb/node-api'
import { LakeError } from '../error.ts'
import { rowWriter, uniqueNames } from './formats.ts'
import type { FromProcess, ResultColumn, ResultFormat } from './messages.ts'
import { nativeStyle, plainValue } from '../values.ts'

const PIECE_BYTES = 256 * 1024
const PIECE_ROWS = 512

type Chunk = Extract<FromProcess, { kind: 'chunk' }>

export interface ResultLimits {
  readonly rowsMax: number
  readonly bytesMax: number
}

export function columnsOf(result: DuckDBResult): readonly ResultColumn[] {
  const types = result.columnTypes()
  return uniqueNames(result.columnNames()).map((name, index) => ({ name, type: String(types[index]!) }))
}

/** The result as pieces of bounded size, made when they are asked for. Throws `result.too_large`. */
export async function* pieces(
  result: DuckDBResult,
  columns: readonly ResultColumn[],
  format: ResultFormat,
  limits: ResultLimits,
): AsyncGenerator<Chunk> {
  const piece = format === 'values' ? new ValuePiece() : new TextPiece(format, columns)
  let [rows, bytes] = [0, 0]
  for (let chunk = await result.fetchChunk(); chunk !== null && chunk.rowCount > 0; chunk = await result.fetchChunk()) {
    const vectors = columns.map((_, index) => chunk!.getColumnVector(index))
    for (let r = 0; r < chunk.rowCount; r++) {
      bytes += piece.add(vectors.map((vector) => vector.getItem(r) as DuckDBValue))
      check(++rows, bytes, limits)
      if (piece.isFull) yield piece.take()
    }
  }
  if (!piece.isEmpty) yield piece.take()
}

function check(rows: number, bytes: number, { rowsMax, bytesMax }: ResultLimits): void {
  const what = rows > rowsMax ? `${rowsMax} rows` : bytes > bytesMax ? `${bytesMax} bytes` : undefined
  if (what === undefined) return
  throw new LakeError('result.too_large', `the result has more than ${what}`, {
    fix: 'Add a LIMIT or a condition, or ask for the format ndjson or csv, which are streamed.',
    context: { rowsMax, bytesMax },
  })
}

class TextPiece {
  readonly #writer: ReturnType<typeof rowWriter>
  #text: string
  #rows = 0
  #isFirst = true

  constructor(format: 'json' | 'ndjson' | 'csv', columns: readonly ResultColumn[]) {
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

  get isEmpty(): boolean {
    return this.#text === ''
  }

  take(): Chunk {
    const [text, rows] = [this.#text, this.#rows]
    this.#text = ''
    this.#rows = 0
    return { kind: 'chunk', rows, data: Buffer.from(text) }
  }
}

class ValuePiece {
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

  get isEmpty(): boolean {
    return this.#rows.length === 0
  }

  take(): Chunk {
    const data = this.#rows
    this.#rows = []
    this.#bytes = 0
    return { kind: 'chunk', rows: data.length, data }
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
