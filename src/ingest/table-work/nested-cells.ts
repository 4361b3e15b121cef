import duckdb from '@duckdb/node-bindings'
import type { IcebergField, IcebergType } from '../../lake/table.ts'
import { nullsOf, type Cells, type IsNull } from './cells.ts'
import { byName, CanonicalBytes, mixBlock, mixBytes, NULL_LENGTH } from './row-hash.ts'

/** Values that have others within, which are written one after the other and then hashed as they stand. */
abstract class NestedCells implements Cells {
  readonly #bytes = new CanonicalBytes()
  protected isNull: IsNull | undefined

  abstract load(vector: duckdb.Vector, rows: number, isAbsent?: IsNull): void
  /** Writes what is within a value that is not null. */
  protected abstract putParts(row: number, to: CanonicalBytes): void

  mix(rows: number, states: Int32Array): void {
    const bytes = this.#bytes
    for (let row = 0, at = 0; row < rows; row++, at += 4) {
      if (this.isNull?.(row) === true) {
        mixBlock(states, at, NULL_LENGTH, 0, 0, 0)
        continue
      }
      bytes.reset()
      this.putParts(row, bytes)
      mixBytes(states, at, bytes.view, 0, bytes.end)
    }
  }

  put(row: number, to: CanonicalBytes): void {
    if (this.isNull?.(row) === true) return to.null()
    const opened = to.open()
    this.putParts(row, to)
    to.close(opened)
  }
}

export class StructCells extends NestedCells {
  readonly #parts: readonly { readonly at: number; readonly cells: Cells }[]

  constructor(fields: readonly IcebergField[], cellsOf: (type: IcebergType) => Cells) {
    super()
    this.#parts = byName(fields.map(({ name, type }, at) => ({ name, at, cells: cellsOf(type) })))
  }

  load(vector: duckdb.Vector, rows: number, isAbsent?: IsNull): void {
    this.isNull = nullsOf(vector, rows, isAbsent)
    for (const { at, cells } of this.#parts) cells.load(duckdb.struct_vector_get_child(vector, at), rows, this.isNull)
  }

  protected putParts(row: number, to: CanonicalBytes): void {
    for (const { cells } of this.#parts) cells.put(row, to)
  }
}

/** DuckDB keeps the elements of all rows in one vector, and of each row where they begin and how many they are. */
abstract class RepeatedCells extends NestedCells {
  #places: Uint32Array = new Uint32Array(0)

  load(vector: duckdb.Vector, rows: number, isAbsent?: IsNull): void {
    this.isNull = nullsOf(vector, rows, isAbsent)
    const bytes = duckdb.vector_get_data(vector, rows * 16)
    this.#places = new Uint32Array(bytes.buffer, bytes.byteOffset, 4 * rows)
    const elements = duckdb.list_vector_get_size(vector)
    if (elements > 0) this.loadElements(duckdb.list_vector_get_child(vector), elements)
  }

  protected abstract loadElements(vector: duckdb.Vector, elements: number): void

  protected first(row: number): number {
    return this.#places[4 * row]!
  }

  protected count(row: number): number {
    return this.#places[4 * row + 2]!
  }
}

export class ListCells extends RepeatedCells {
  readonly #element: Cells

  constructor(element: Cells) {
    super()
    this.#element = element
  }

  protected loadElements(vector: duckdb.Vector, elements: number): void {
    this.#element.load(vector, elements)
  }

  protected putParts(row: number, to: CanonicalBytes): void {
    const first = this.first(row)
    for (let k = 0; k < this.count(row); k++) this.#element.put(first + k, to)
  }
}

/** A map is a list of structs of a key and a value. Its entries have no order of their own. */
export class MapCells extends RepeatedCells {
  readonly #key: Cells
  readonly #value: Cells
  readonly #entry = new CanonicalBytes()

  constructor(key: Cells, value: Cells) {
    super()
    this.#key = key
    this.#value = value
  }

  protected loadElements(vector: duckdb.Vector, elements: number): void {
    this.#key.load(duckdb.struct_vector_get_child(vector, 0), elements)
    this.#value.load(duckdb.struct_vector_get_child(vector, 1), elements)
  }

  protected putParts(row: number, to: CanonicalBytes): void {
    const [first, count, entry] = [this.first(row), this.count(row), this.#entry]
    const entries: Uint8Array[] = []
    for (let k = 0; k < count; k++) {
      entry.reset()
      this.#key.put(first + k, entry)
      this.#value.put(first + k, entry)
      entries.push(entry.bytes.slice(0, entry.end))
    }
    // Keys are not repeated, so that nothing after them decides.
    for (const bytes of entries.toSorted(Buffer.compare)) to.copy(bytes, 0, bytes.length)
  }
}
