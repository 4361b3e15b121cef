import type { Column, ColumnType } from '../../src/batch.ts'
import type { Slab, SlabColumn } from '../../src/ingest/decode/slab.ts'
import { valueReader } from '../../src/ingest/decode/slab-value.ts'
import type { Plain } from '../ingest/decode/reference.ts'

/** Rows of slabs in the comparable form of the tests' references. Their texts must still lie in native memory. */
export function slabRows(slabs: readonly Slab[], columns: readonly Column[]): Plain[][] {
  return slabs.flatMap((slab) =>
    Array.from({ length: slab.rows }, (_, row) =>
      columns.map(({ type }, k) => cellOf(slab, slab.columns[k]!, type, row)),
    ),
  )
}

function cellOf(slab: Slab, column: SlabColumn, type: ColumnType, row: number): Plain {
  if (column.validAt >= 0) {
    const valid = new Uint8Array(slab.buffer, column.validAt, Math.ceil(column.rows / 8))
    if ((valid[row >> 3]! & (1 << (row & 7))) === 0) return null
  }
  if (type.kind === 'struct') return type.fields.map((field, k) => cellOf(slab, column.children[k]!, field.type, row))
  if (type.kind === 'list' || type.kind === 'map') {
    const [first, , size] = new Int32Array(slab.buffer, column.dataAt + 16 * row, 4) as unknown as readonly number[]
    const items = column.children[0]!
    return Array.from({ length: size! }, (_, k) => {
      if (type.kind === 'list') return cellOf(slab, items, type.element, first! + k)
      const [key, value] = items.children as [SlabColumn, SlabColumn]
      return [cellOf(slab, key, { kind: 'string' }, first! + k), cellOf(slab, value, type.value, first! + k)]
    })
  }
  const value = valueReader(slab, { ...column, validAt: -1 }, type)(row)
  if (!(value instanceof Uint8Array)) return Object.is(value, -0) ? '-0' : String(value)
  const hex = Buffer.from(value).toString('hex')
  return type.kind === 'uuid' ? hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-') : hex
}
