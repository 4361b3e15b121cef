import type { Column, ColumnType } from '../../batch.ts'
import { ColumnBuilder, buildersOf } from './column-builder.ts'

/** One column, or a part of one, as a decoder sees it: what may stand in the text, and where it goes. */
export interface PlanNode {
  /** Key in the object around it; empty for elements and map values. */
  readonly name: string
  /** `address.city`, `items[]`, `labels{}`: what messages call it. */
  readonly path: string
  readonly type: ColumnType
  readonly isRequired: boolean
  /** A column of the key: without it the dead letter is `key.null`. */
  readonly isKey: boolean
  /** Whether a record without this column keeps the value that its key's row has. Otherwise it is null. */
  readonly isKept: boolean
  /** Number of the column; −1 of its parts. */
  readonly column: number
  readonly builder: ColumnBuilder
  /** Fields of a struct; the element of a list; the value of a map. */
  readonly children: readonly PlanNode[]
  /** Only of the root and of structs. */
  readonly fields: FieldNames | undefined
  /** Range that event time must keep, in the column's own unit; only of a `long` that is the event time. */
  readonly limit: bigint | undefined
}

/** Which field a key names, and which fields of the current object were there. */
export class FieldNames {
  /** By name, one character per UTF-8 byte. */
  readonly index: ReadonlyMap<string, number>
  readonly names: readonly Uint8Array[]
  /** Per field the number of the last object that had it. */
  readonly seenIn: Float64Array
  /** Number of the current object. */
  object = 0
  /** The fields of the last object in its order: their numbers, and of those that no column has the raw key. */
  readonly order: (number | string)[] = []
  /** Position after the last field found, where the next one is looked for first. */
  next = 0

  constructor(names: readonly string[]) {
    this.names = names.map((name) => new TextEncoder().encode(name))
    this.index = new Map(this.names.map((name, i) => [Buffer.from(name).toString('latin1'), i]))
    this.seenIn = new Float64Array(names.length)
  }

  /** Number of the field, −1 when there is none. `guess` is tried first. */
  find(bytes: Uint8Array, start: number, end: number, guess: number): number {
    const name = this.names[guess]
    if (name !== undefined && name.length === end - start) {
      let k = 0
      while (k < name.length && bytes[start + k] === name[k]) k++
      if (k === name.length) return guess
    }
    return this.index.get(Buffer.from(bytes.buffer, bytes.byteOffset + start, end - start).toString('latin1')) ?? -1
  }
}

/** Columns of a record's value as one struct without a builder of its own. */
export interface Plan {
  readonly root: readonly PlanNode[]
  readonly fields: FieldNames
  readonly builders: readonly ColumnBuilder[]
  /** Columns that the last record does not carry and its row keeps. */
  readonly kept: KeptColumns
  /** Builders that are the element of a list: the ones whose `size` counts. */
  readonly elements: readonly ColumnBuilder[]
}

/** The columns that one record keeps, by number. A reader adds to it, and `TableDecoder` empties it before each record. */
export class KeptColumns {
  readonly columns: number[] = []

  /** The column of this node keeps its value in this row; until that is known it is null, or, required, zero. */
  add(node: PlanNode, row: number): void {
    this.columns.push(node.column)
    const { builder } = node
    if (!node.isRequired) return builder.setNull(row)
    builder.setNull(row)
    builder.u8.fill(0, row * builder.width, (row + 1) * builder.width)
    builder.setValid(row)
  }
}

/** What the columns of a value are to a reader beyond their types. */
export interface PlanOptions {
  readonly limits?: ReadonlyMap<string, bigint>
  /** Columns of the key. */
  readonly key?: readonly string[]
  /** Columns that a record without them keeps. */
  readonly keeps?: readonly string[]
  /** Columns that no record carries: they have builders and no node. */
  readonly computed?: readonly string[]
}

export function planOf(columns: readonly Column[], options: PlanOptions = {}): Plan {
  const { limits, key, keeps, computed } = options
  const builders = buildersOf(columns)
  const root = columns.flatMap((column, i): PlanNode[] => {
    if (computed?.includes(column.name) === true) return []
    const isKey = key?.includes(column.name) === true
    const isKept = keeps?.includes(column.name) === true
    return [{ ...fieldNode(column, '', builders[i]!, limits?.get(column.name)), isKey, isKept, column: i }]
  })
  const fields = new FieldNames(root.map(({ name }) => name))
  return { root, fields, builders, kept: new KeptColumns(), elements: elementsOf(builders) }
}

/**
 * The nodes as a schema sees them whose fields at these paths are none of a column (`WantedColumns.others`): nothing has
 * the names of their nodes.
 */
export function nodesWithout(root: readonly PlanNode[], others: readonly string[]): readonly PlanNode[] {
  if (others.length === 0) return root
  const paths = new Set(others)
  const of = (each: PlanNode, path: string): PlanNode => {
    const inside = (child: PlanNode) => {
      const { kind } = each.type
      return of(child, kind === 'struct' ? `${path}.${child.name}` : `${path}.${kind === 'list' ? 'element' : 'value'}`)
    }
    return { ...each, name: paths.has(path) ? '' : each.name, children: each.children.map(inside) }
  }
  return root.map((each) => of(each, each.name))
}

function fieldNode(column: Column, prefix: string, builder: ColumnBuilder, limit?: bigint): PlanNode {
  return node(column.name, prefix + column.name, column.type, column.required === true, builder, limit)
}

function node(
  name: string,
  path: string,
  type: ColumnType,
  isRequired: boolean,
  builder: ColumnBuilder,
  limit?: bigint,
): PlanNode {
  const children = childNodes(path, type, builder)
  const fields = type.kind === 'struct' ? new FieldNames(type.fields.map((field) => field.name)) : undefined
  return { name, path, type, isRequired, isKey: false, isKept: false, column: -1, builder, children, fields, limit }
}

function childNodes(path: string, type: ColumnType, builder: ColumnBuilder): readonly PlanNode[] {
  switch (type.kind) {
    case 'struct':
      return type.fields.map((field, i) => fieldNode(field, `${path}.`, builder.children[i]!))
    case 'list':
      return [node('', `${path}[]`, type.element, false, builder.children[0]!)]
    case 'map':
      return [node('', `${path}{}`, type.value, false, builder.children[0]!.children[1]!)]
    default:
      return []
  }
}

function elementsOf(builders: readonly ColumnBuilder[]): readonly ColumnBuilder[] {
  return builders.flatMap((b) => [...(b.layout === 'list' ? b.children : []), ...elementsOf(b.children)])
}
