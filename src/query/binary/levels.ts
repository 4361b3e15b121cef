import type { Column } from './columns.ts'
import { writeVarint } from './thrift.ts'

// Parquet stores a nested column as its leaves. Each place of a leaf has two levels (Dremel): how much of its path is
// there (definition), and at which list it goes on (repetition).

/** One leaf column: its values are those of `column` at `present`, in this order. */
export interface Leaf {
  readonly column: Column
  readonly path: readonly string[]
  readonly definitionMax: number
  readonly repetitionMax: number
  readonly definitions: Uint8Array
  readonly repetitions: Uint8Array
  readonly present: Int32Array
}

/** Places of a column: its two levels so far, and which value is there; -1 where the path has ended. */
interface Places {
  readonly definitions: Uint8Array
  readonly repetitions: Uint8Array
  readonly values: Int32Array
}

/** The leaves of a column in the order of the schema. */
export function leavesOf(column: Column): readonly Leaf[] {
  const leaves: Leaf[] = []
  const places = {
    definitions: new Uint8Array(column.length),
    repetitions: new Uint8Array(column.length),
    values: Int32Array.from({ length: column.length }, (_, index) => index),
  }
  descend(column, places, { path: [column.name], definitionMax: 0, repetitionMax: 0 }, true, leaves)
  return leaves
}

type Depth = Pick<Leaf, 'path' | 'definitionMax' | 'repetitionMax'>

function descend(column: Column, outer: Places, depth: Depth, isOptional: boolean, leaves: Leaf[]): void {
  const places = isOptional ? withNulls(column, outer) : outer
  const { path, repetitionMax } = depth
  const definitionMax = depth.definitionMax + (isOptional ? 1 : 0)
  const [first, second] = column.children
  const inner = { definitionMax: definitionMax + 1, repetitionMax: repetitionMax + 1 }
  switch (column.type.kind) {
    case 'struct':
      for (const child of column.children)
        descend(child, places, { path: [...path, child.name], definitionMax, repetitionMax }, true, leaves)
      return
    case 'list': {
      const items = withItems(column, places, inner.repetitionMax)
      return descend(first!, items, { ...inner, path: [...path, 'list', 'element'] }, true, leaves)
    }
    case 'map': {
      const entries = withItems(column, places, inner.repetitionMax)
      descend(first!, entries, { ...inner, path: [...path, 'key_value', 'key'] }, false, leaves)
      return descend(second!, entries, { ...inner, path: [...path, 'key_value', 'value'] }, true, leaves)
    }
    default: {
      const { definitions, repetitions, values } = places
      const present = values.filter((value) => value >= 0)
      leaves.push({ column, path, definitionMax, repetitionMax, definitions, repetitions, present })
    }
  }
}

function withNulls({ valid }: Column, { definitions, repetitions, values }: Places): Places {
  const deeper = { definitions: definitions.slice(), repetitions, values: values.slice() }
  for (let i = 0; i < values.length; i++) {
    const value = values[i]!
    if (value < 0) continue
    if (valid[value] === 1) deeper.definitions[i]!++
    else deeper.values[i] = -1
  }
  return deeper
}

/** One place for each item; an empty list keeps the one that it has. */
function withItems({ offsets }: Column, { definitions, repetitions, values }: Places, repetition: number): Places {
  let length = 0
  for (const value of values) length += value < 0 ? 1 : Math.max(1, offsets[value + 1]! - offsets[value]!)
  const items = {
    definitions: new Uint8Array(length),
    repetitions: new Uint8Array(length),
    values: new Int32Array(length),
  }
  let at = 0
  for (let i = 0; i < values.length; i++) {
    const value = values[i]!
    const [start, end] = value < 0 ? [0, 0] : [offsets[value]!, offsets[value + 1]!]
    items.repetitions[at] = repetitions[i]!
    items.definitions[at] = definitions[i]!
    if (start === end) items.values[at++] = -1
    for (let item = start; item < end; item++) {
      if (item > start) items.repetitions[at] = repetition
      items.definitions[at] = definitions[i]! + 1
      items.values[at++] = item
    }
  }
  return items
}

/** Levels as runs of equal ones, or packed into bits where runs are short; with their length in front. */
export function levelBytes(levels: Uint8Array, max: number): Uint8Array {
  if (max === 0) return new Uint8Array(0)
  const width = 32 - Math.clz32(max)
  let runs = 0
  for (let i = 0; i < levels.length; i++) if (levels[i] !== levels[i - 1]) runs++
  const bytes = runs * 3 < levels.length * (width / 8) ? runBytes(levels) : packedBytes(levels, width)
  const length = Buffer.alloc(4)
  length.writeUInt32LE(bytes.length)
  return Buffer.concat([length, bytes])
}

function runBytes(levels: Uint8Array): Uint8Array {
  const out: number[] = []
  for (let start = 0; start < levels.length;) {
    let end = start + 1
    while (end < levels.length && levels[end] === levels[start]) end++
    writeVarint(out, (end - start) * 2)
    out.push(levels[start]!) // a level fits a byte
    start = end
  }
  return Uint8Array.from(out)
}

/** Groups of eight levels, the lowest bits first. */
function packedBytes(levels: Uint8Array, width: number): Uint8Array {
  const groups = (levels.length + 7) >> 3
  const head: number[] = []
  writeVarint(head, groups * 2 + 1)
  const bits = Buffer.alloc(head.length + groups * width)
  bits.set(head)
  let at = head.length * 8
  for (const level of levels)
    for (let bit = 0; bit < width; bit++, at++) bits[at >> 3]! |= ((level >> bit) & 1) << (at & 7)
  return bits
}
