import duckdb from '@duckdb/node-bindings'
import type { TableDefinition } from '../../define.ts'
import type { Salts } from '../../define-redact.ts'
import type { NativeText } from './native-text.ts'
import { textRule, type TextRule } from './redact-text.ts'
import type { Slab, SlabColumn } from './slab.ts'

/** What becomes of columns, by number; undefined: null. */
type Rules = readonly (readonly [column: number, rule: TextRule | undefined])[]

/**
 * The declared columns of a table that are redacted, in slabs, where they stand: after computed columns and the filter
 * have seen what the record says, and before anything is made of the rows that is stored.
 */
export class RedactRows {
  readonly #rules: Rules
  readonly #native: NativeText

  /** Undefined when there are none. Throws `config.invalid` when a salt is not known. */
  static of(definition: TableDefinition, salts: Salts, native: NativeText): RedactRows | undefined {
    const rules = (definition.redact ?? []).flatMap(([field, how]) => {
      const column = definition.columns.findIndex(({ name }) => name === field)
      return column < 0 ? [] : [[column, textRule(how, salts)] as const]
    })
    return rules.length === 0 ? undefined : new RedactRows(rules, native)
  }

  private constructor(rules: Rules, native: NativeText) {
    this.#rules = rules
    this.#native = native
  }

  apply(slabs: readonly Slab[]): void {
    for (const slab of slabs)
      for (const [column, rule] of this.#rules)
        if (rule === undefined) drop(slab.buffer, slab.columns[column]!)
        else this.#replace(slab.buffer, slab.columns[column]!, rule)
  }

  /** Texts of up to 12 bytes lie in the column itself, longer ones get a place in native memory. */
  #replace(buffer: ArrayBuffer, { dataAt, validAt, rows }: SlabColumn, rule: TextRule): void {
    const [words, bytes] = [new Int32Array(buffer, dataAt, 4 * rows), new Uint8Array(buffer, dataAt, 16 * rows)]
    const valid = validAt < 0 ? undefined : new Uint8Array(buffer, validAt)
    const long: Uint8Array[] = []
    const longRows: number[] = []
    for (let row = 0; row < rows; row++) {
      if (valid !== undefined && (valid[row >> 3]! & (1 << (row & 7))) === 0) continue
      const [length, at] = [words[4 * row]!, 16 * row]
      const isShort = length <= SHORT
      const text = isShort
        ? bytes.subarray(at + 4, at + 4 + length)
        : duckdb.get_data_from_pointer(buffer, dataAt + at + 8, length)
      const instead = rule(text)
      bytes.fill(0, at, at + 16)
      words[4 * row] = instead.length
      bytes.set(instead.subarray(0, instead.length <= SHORT ? SHORT : 4), at + 4)
      if (instead.length <= SHORT) continue
      long.push(Uint8Array.from(instead))
      longRows.push(row)
    }
    if (long.length === 0) return
    let address = this.#native.put(Buffer.concat(long))
    for (const [k, row] of longRows.entries()) {
      words[4 * row + 2] = address
      words[4 * row + 3] = address / 4294967296
      address += long[k]!.length
    }
  }
}

const SHORT = 12

/** All null. Nothing of the values stays in the buffer, and nothing dangles; elements of lists belong to nobody. */
function drop(buffer: ArrayBuffer, { layout, dataAt, validAt, width, rows, children }: SlabColumn): void {
  new Uint8Array(buffer, dataAt, rows * width).fill(0)
  if (validAt >= 0) new Uint8Array(buffer, validAt, Math.ceil(rows / 64) * 8).fill(0)
  if (layout === 'struct') for (const child of children) drop(buffer, child)
}
