import type { ColumnBuilder, Layout } from './column-builder.ts'

/** Up to 2,048 finished rows in one buffer, laid out as DuckDB's vectors are, with texts resolved to native memory. */
export interface Slab {
  readonly rows: number
  readonly buffer: ArrayBuffer
  readonly columns: readonly SlabColumn[]
}

export interface SlabColumn {
  readonly layout: Layout
  readonly width: number
  /** Rows of this column: those of the slab, or of all lists around it. */
  readonly rows: number
  /** Byte offset of the values. */
  readonly dataAt: number
  /** Byte offset of the validity bits, −1 when nothing is null. */
  readonly validAt: number
  readonly children: readonly SlabColumn[]
}

/** Buffers of slabs that are done with. */
export class SlabPool {
  readonly #free: ArrayBuffer[] = []
  static readonly #KEPT = 256

  take(bytes: number): ArrayBuffer {
    const last = this.#free.pop()
    return last !== undefined && last.byteLength >= bytes ? last : new ArrayBuffer(Math.ceil(bytes / 65_536) * 65_536)
  }

  give(slab: Slab): void {
    if (this.#free.length < SlabPool.#KEPT && slab.buffer.byteLength <= 1 << 20) this.#free.push(slab.buffer)
  }
}

/** Copies what the builders hold. `bases` gives the native address of each segment of text. */
export function seal(builders: readonly ColumnBuilder[], rows: number, bases: readonly number[], pool: SlabPool): Slab {
  const bytes = builders.reduce((sum, builder) => sum + bytesOf(builder, rows), 0)
  const writer = new SlabWriter(pool.take(bytes))
  for (const builder of builders) resolve(builder, rows, bases)
  return { rows, buffer: writer.buffer, columns: builders.map((builder) => writer.column(builder, rows)) }
}

/** The given rows of a slab, in the given order, as a slab of their own. Elements of lists are copied whole. */
export function gather(slab: Slab, picked: Int32Array, pool: SlabPool): Slab {
  const writer = new SlabWriter(pool.take(slab.columns.reduce((sum, c) => sum + columnBytes(c), 0)))
  const columns = slab.columns.map((column) => writer.gathered(slab.buffer, column, picked))
  return { rows: picked.length, buffer: writer.buffer, columns }
}

class SlabWriter {
  readonly buffer: ArrayBuffer
  readonly #bytes: Uint8Array
  #at = 0

  constructor(buffer: ArrayBuffer) {
    this.buffer = buffer
    this.#bytes = new Uint8Array(buffer)
  }

  column(builder: ColumnBuilder, rows: number): SlabColumn {
    const { layout, width } = builder
    const dataAt = this.#put(builder.u8, 0, rows * width)
    const validAt =
      builder.isNulledLater || hasNull(builder.valid, rows)
        ? this.#put(new Uint8Array(builder.valid.buffer), 0, validBytes(rows))
        : -1
    const childRows = layout === 'list' ? builder.children[0]!.size : rows
    return { layout, width, rows, dataAt, validAt, children: builder.children.map((c) => this.column(c, childRows)) }
  }

  /** A column as it is, from another slab. */
  copy(buffer: ArrayBuffer, column: SlabColumn): SlabColumn {
    const bytes = new Uint8Array(buffer)
    const dataAt = this.#put(bytes, column.dataAt, column.rows * column.width)
    const validAt = column.validAt < 0 ? -1 : this.#put(bytes, column.validAt, validBytes(column.rows))
    return { ...column, dataAt, validAt, children: column.children.map((child) => this.copy(buffer, child)) }
  }

  gathered(buffer: ArrayBuffer, column: SlabColumn, picked: Int32Array): SlabColumn {
    const { width, layout } = column
    const rows = picked.length
    const dataAt = this.#reserve(rows * width)
    const lane = width >= 4 ? Int32Array : width === 2 ? Int16Array : Uint8Array
    const lanes = width / lane.BYTES_PER_ELEMENT
    pick(new lane(buffer, column.dataAt), new lane(this.buffer, dataAt), lanes, picked)
    const validAt = column.validAt < 0 ? -1 : this.#gatherValid(buffer, column.validAt, picked)
    const children = column.children.map((child) =>
      layout === 'list' ? this.copy(buffer, child) : this.gathered(buffer, child, picked),
    )
    return { layout, width, rows, dataAt, validAt, children }
  }

  #gatherValid(buffer: ArrayBuffer, validAt: number, picked: Int32Array): number {
    const from = new Uint8Array(buffer, validAt)
    const at = this.#reserve(validBytes(picked.length))
    this.#bytes.fill(0, at, at + validBytes(picked.length))
    for (let k = 0; k < picked.length; k++) {
      const row = picked[k]!
      if ((from[row >> 3]! & (1 << (row & 7))) !== 0) this.#bytes[at + (k >> 3)]! |= 1 << (k & 7)
    }
    return at
  }

  #put(source: Uint8Array, from: number, length: number): number {
    const at = this.#reserve(length)
    this.#bytes.set(source.subarray(from, from + length), at)
    return at
  }

  #reserve(length: number): number {
    const at = this.#at
    this.#at += align(length)
    return at
  }
}

function pick(
  from: Int32Array | Int16Array | Uint8Array,
  to: Int32Array | Int16Array | Uint8Array,
  lanes: number,
  picked: Int32Array,
): void {
  for (let k = 0; k < picked.length; k++)
    for (let lane = 0; lane < lanes; lane++) to[k * lanes + lane] = from[picked[k]! * lanes + lane]!
}

/** Turns (offset, segment) of long texts into pointers. */
function resolve(builder: ColumnBuilder, rows: number, bases: readonly number[]): void {
  if (builder.layout === 'text') {
    const { i32 } = builder
    for (let k = 0, at = 0; k < rows; k++, at += 4) {
      if (i32[at]! <= 12) continue
      const address = bases[i32[at + 3]!]! + i32[at + 2]!
      i32[at + 2] = address
      i32[at + 3] = address / 4294967296
    }
  }
  const childRows = builder.layout === 'list' ? builder.children[0]!.size : rows
  for (const child of builder.children) resolve(child, childRows, bases)
}

function bytesOf(builder: ColumnBuilder, rows: number): number {
  const childRows = builder.layout === 'list' ? builder.children[0]!.size : rows
  const own = align(rows * builder.width) + align(validBytes(rows))
  return builder.children.reduce((sum, child) => sum + bytesOf(child, childRows), own)
}

function columnBytes(column: SlabColumn): number {
  const own = align(column.rows * column.width) + align(validBytes(column.rows))
  return column.children.reduce((sum, child) => sum + columnBytes(child), own)
}

function hasNull(valid: Int32Array, rows: number): boolean {
  const words = rows >> 5
  for (let k = 0; k < words; k++) if (valid[k] !== -1) return true
  const rest = rows & 31
  return rest !== 0 && (valid[words]! | (-1 << rest)) !== -1
}

/** Whole 64-bit words, as DuckDB keeps them. */
function validBytes(rows: number): number {
  return Math.ceil(rows / 64) * 8
}

function align(bytes: number): number {
  return Math.ceil(bytes / 8) * 8
}
