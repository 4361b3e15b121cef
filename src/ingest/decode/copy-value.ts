import type { ColumnBuilder } from './column-builder.ts'
import type { Slab, SlabColumn } from './slab.ts'

/** The value of one row again in another row of the same chunk. Texts are shared, elements of lists are not. */
export function repeatValue(builder: ColumnBuilder, from: number, to: number): void {
  if (builder.isNull(from)) return builder.setNull(to)
  const { width, layout } = builder
  builder.u8.copyWithin(to * width, from * width, (from + 1) * width)
  if (layout === 'struct') for (const child of builder.children) repeatValue(child, from, to)
  if (layout === 'list') {
    const elements = builder.children[0]!
    const first = builder.i32[4 * from]!
    const start = elements.size
    for (let k = 0; k < builder.i32[4 * from + 2]!; k++) repeatValue(elements, first + k, elements.add())
    builder.i32[4 * to] = start
  }
  builder.setValid(to)
}

/**
 * The value of a row of a finished slab in a row that is being made. A long text stays where it is in native memory: its
 * address becomes a segment of its own in `bases`.
 */
export function copyValue(
  slab: Slab,
  column: SlabColumn,
  from: number,
  builder: ColumnBuilder,
  to: number,
  bases: number[],
): void {
  if (isNull(slab, column, from)) return builder.setNull(to)
  const { width, layout } = column
  const source = new Uint8Array(slab.buffer, column.dataAt + from * width, width)
  builder.u8.set(source, to * width)
  if (layout === 'struct')
    column.children.forEach((child, k) => copyValue(slab, child, from, builder.children[k]!, to, bases))
  if (layout === 'text' && builder.i32[4 * to]! > 12) {
    const low = builder.i32[4 * to + 2]! >>> 0
    const high = builder.i32[4 * to + 3]! >>> 0
    builder.i32[4 * to + 2] = 0
    builder.i32[4 * to + 3] = bases.push(high * 4294967296 + low) - 1
  }
  if (layout === 'list') copyElements(slab, column, builder, to, bases)
  builder.setValid(to)
}

/** The builder has the entry of the source: where its elements stand there, and how many they are. */
function copyElements(slab: Slab, column: SlabColumn, builder: ColumnBuilder, to: number, bases: number[]): void {
  const first = builder.i32[4 * to]!
  const count = builder.i32[4 * to + 2]!
  const elements = builder.children[0]!
  const start = elements.size
  for (let k = 0; k < count; k++) copyValue(slab, column.children[0]!, first + k, elements, elements.add(), bases)
  builder.i32[4 * to] = start
  builder.i32[4 * to + 1] = 0
  builder.i32[4 * to + 2] = count
  builder.i32[4 * to + 3] = 0
}

function isNull(slab: Slab, column: SlabColumn, row: number): boolean {
  if (column.validAt < 0) return false
  return (new Uint8Array(slab.buffer)[column.validAt + (row >> 3)]! & (1 << (row & 7))) === 0
}
