import { TIMESTAMP, wrappedScalar, type ProtoField, type ProtoScalar, type ProtoType } from '../../protobuf-schema.ts'
import { CELLS_MAX } from './avro-bytes.ts'
import { MapKeys } from './avro-values.ts'
import type { ColumnBuilder } from './column-builder.ts'
import { MISFIT } from './json-text.ts'
import type { PlanNode } from './plan.ts'
import { WIRE, type ProtobufBytes } from './protobuf-bytes.ts'
import {
  absentSetter,
  keyReader,
  repeated,
  unexpected,
  wireOfType,
  zeroOf,
  zeroSetter,
  type ProtobufContext,
} from './protobuf-context.ts'
import { enumReader, integerOf, scalarReader, wireOf, type ReadValue } from './protobuf-scalar.ts'
import { MICROS_MAX } from './scalar.ts'

/**
 * Reads messages of one type into the columns that its fields are. Made once for each struct of a table; fields may
 * stand in any order, those of a list or map in several places.
 */
export class MessageReader {
  readonly #context: ProtobufContext
  readonly #fields: readonly FieldReader[]
  /** Columns that the message does not have. */
  readonly #absent: readonly ReadValue[]
  readonly #dense: (FieldReader | undefined)[] = []
  readonly #sparse = new Map<number, FieldReader>()
  /** Per oneof, the last object that had one of it. */
  readonly #oneofs: number[] = []
  /** Number of the current object. */
  #object = 0

  constructor(context: ProtobufContext, message: string, nodes: readonly PlanNode[]) {
    this.#context = context
    const oneofs: string[] = []
    this.#fields = (context.schema.messages[message] ?? []).map((field) => {
      if (field.oneof !== undefined && !oneofs.includes(field.oneof)) oneofs.push(field.oneof)
      const node = nodes.find(({ name }) => name === field.name)
      const oneof = field.oneof === undefined ? -1 : oneofs.indexOf(field.oneof)
      const reader = new FieldReader(field, oneof, node === undefined ? undefined : columnOf(context, field, node))
      if (field.number < DENSE_MAX) this.#dense[field.number] = reader
      else this.#sparse.set(field.number, reader)
      return reader
    })
    const names = new Set((context.schema.messages[message] ?? []).map(({ name }) => name))
    this.#absent = nodes.filter(({ name }) => !names.has(name)).map((node) => absentSetter(context, node))
    for (let k = 0; k < this.#dense.length; k++) this.#dense[k] ??= undefined
    for (const _ of oneofs) this.#oneofs.push(0)
  }

  /** Reads what stands from the current place up to `until`. Throws MISFIT. */
  read(until: number, row: number): void {
    const context = this.#context
    const { source } = context
    const { end } = source
    const object = ++this.#object
    source.end = until
    while (source.at < until) {
      source.tag()
      const { field: number } = source
      const field = number < this.#dense.length ? this.#dense[number] : this.#sparse.get(number)
      if (field === undefined) {
        this.#other()
        continue
      }
      const { oneof, column, isOne } = field
      if (isOne && (field.object === object || (oneof >= 0 && this.#oneofs[oneof] === object))) {
        context.isRepeated = true
        throw MISFIT
      }
      if (oneof >= 0) this.#oneofs[oneof] = object
      if (column === undefined) {
        if (isOne) field.object = object
        this.#other()
        continue
      }
      if (!isOne && field.object !== object) column.begin?.()
      field.object = object
      column.read(row)
    }
    source.end = end
    for (const { object: seen, column } of this.#fields) column?.finish(row, seen === object)
    for (const absent of this.#absent) absent(row)
  }

  /** A field that no column has. */
  #other(): void {
    const { source, unknown } = this.#context
    const { at } = source
    if (unknown === 'fail') source.fail('decode.unknown_field', 'a field that no column has', at)
    source.skip()
    this.#context.hasExtra = true
  }
}

const DENSE_MAX = 1_024

class FieldReader {
  readonly isOne: boolean
  /** Number of the field's oneof, −1 when it has none. */
  readonly oneof: number
  readonly column: ColumnReader | undefined
  /** The last object that had it. */
  object = 0

  constructor({ kind }: ProtoField, oneof: number, column: ColumnReader | undefined) {
    this.isOne = kind === 'one'
    this.oneof = oneof
    this.column = column
  }
}

interface ColumnReader {
  /** Before the first of several in one object. */
  begin?(): void
  /** The value of the last tag. */
  read(row: number): void
  /** At the end of the object, whether it had the field or not. */
  finish(row: number, wasThere: boolean): void
}

function columnOf(context: ProtobufContext, field: ProtoField, node: PlanNode): ColumnReader {
  if (field.kind === 'list') return listReader(context, field, node)
  if (field.kind === 'map') return mapReader(context, field, node)
  const read = valueReader(context, field.type, node)
  const absent = field.hasPresence === true ? absentSetter(context, node) : zeroSetter(context, field.type, node)
  return {
    read: expecting(context, field.type, node, read),
    finish: (row, wasThere) => {
      if (!wasThere) absent(row)
    },
  }
}

/** Reads one value, whose tag said nothing else. */
function expecting({ source }: ProtobufContext, type: ProtoType, { path }: PlanNode, read: ReadValue): ReadValue {
  const wire = wireOfType(type)
  return (row) => {
    if (source.wire !== wire) unexpected(source, path)
    read(row)
  }
}

/** The reader of a value from behind its tag. */
function valueReader(context: ProtobufContext, type: ProtoType, node: PlanNode): ReadValue {
  const { source, own, schema } = context
  if (type.kind === 'scalar') return scalarReader(source, node, type.scalar)
  if (type.kind === 'enum') return enumReader(source, own, node, schema.enums[type.name] ?? {})
  const wrapped = wrappedScalar(type.name)
  if (wrapped !== undefined) return wrapperReader(context, wrapped, node)
  if (type.name === TIMESTAMP && node.type.kind !== 'struct') return instantReader(source, node)
  const message = new MessageReader(context, type.name, node.children)
  return (row) => {
    const until = source.length()
    message.read(until, row)
    node.builder.setValid(row)
  }
}

/** A message with a scalar in its field 1, or none: then it is the scalar's zero. */
function wrapperReader(context: ProtobufContext, scalar: ProtoScalar, node: PlanNode): ReadValue {
  const { source } = context
  const read = scalarReader(source, node, scalar)
  const zero = zeroSetter(context, { kind: 'scalar', scalar }, node)
  return (row) => {
    const { end } = source
    const until = source.length()
    source.end = until
    let wasThere = false
    while (source.at < until) {
      source.tag()
      if (source.field !== 1) {
        source.skip()
        continue
      }
      if (source.wire !== wireOf(scalar)) unexpected(source, node.path)
      read(row)
      wasThere = true
    }
    source.end = end
    if (!wasThere) zero(row)
  }
}

/** Seconds since 1970 and nanoseconds, rounded toward −∞ to microseconds. */
function instantReader(source: ProtobufBytes, node: PlanNode): ReadValue {
  const { builder, path } = node
  const [seconds, nanos] = [integerOf(source, path, 'int64'), integerOf(source, path, 'int32')]
  return (row) => {
    const { at, end } = source
    const until = source.length()
    source.end = until
    let [whole, part] = [0n, 0]
    while (source.at < until) {
      source.tag()
      if (source.field > 2) source.skip()
      else if (source.wire !== WIRE.varint) unexpected(source, path)
      else if (source.field === 1) {
        seconds()
        whole = source.long(false)
      } else {
        nanos()
        part = source.low
      }
    }
    source.end = end
    const micros = whole * 1_000_000n + BigInt(Math.floor(part / 1_000))
    if (part < 0 || part > 999_999_999 || micros > MICROS_MAX || micros < -MICROS_MAX)
      source.fail('decode.range', `${path}: does not fit ${node.type.kind}`, at)
    builder.i64[row] = micros
    builder.setValid(row)
  }
}

/** Numbers may stand many in one field, or each in its own. */
function listReader(context: ProtobufContext, { type }: ProtoField, node: PlanNode): ColumnReader {
  const { source } = context
  const element = node.children[0]!
  const { builder } = element
  const read = valueReader(context, type, element)
  const wire = wireOfType(type)
  const countMax = CELLS_MAX / cellsOf(element)
  let first = 0
  const next = (): void => {
    const row = builder.add()
    if (builder.size - first > countMax) source.fail('decode.too_large', `${node.path}: too many items`)
    read(row)
  }
  return {
    begin: () => {
      first = builder.size
    },
    read: () => {
      if (source.wire === wire) return next()
      if (source.wire !== WIRE.bytes) unexpected(source, node.path)
      const { end } = source
      const until = source.length()
      source.end = until
      while (source.at < until) next()
      source.end = end
    },
    finish: (row, wasThere) => setEntries(node.builder, row, wasThere ? first : builder.size, builder.size),
  }
}

function mapReader(context: ProtobufContext, field: ProtoField, node: PlanNode): ColumnReader {
  const { source, own } = context
  const entries = node.builder.children[0]!
  const [keys] = entries.children as [ColumnBuilder]
  const value = node.children[0]!
  const read = expecting(context, field.type, value, valueReader(context, field.type, value))
  const absent =
    field.type.kind === 'message'
      ? emptyReader(context, field.type.name, value)
      : zeroSetter(context, field.type, value)
  const countMax = CELLS_MAX / cellsOf(value)
  const key = keyReader(context, field.key!, node.path)
  const seen = new MapKeys()
  let first = 0
  return {
    begin: () => {
      first = entries.size
      seen.clear()
    },
    read: () => {
      if (source.wire !== WIRE.bytes) unexpected(source, node.path)
      const { end } = source
      const until = source.length()
      source.end = until
      const row = entries.add()
      if (entries.size - first > countMax) source.fail('decode.too_large', `${node.path}: too many entries`)
      entries.setValid(row)
      let [hasKey, hasValue] = [false, false]
      key.clear()
      while (source.at < until) {
        source.tag()
        const isTwice = (source.field === 1 && hasKey) || (source.field === 2 && hasValue)
        if (isTwice) repeated(context)
        if (source.field === 1) {
          key.read()
          hasKey = true
        } else if (source.field === 2) {
          read(row)
          hasValue = true
        } else source.skip()
      }
      source.end = end
      if (!hasValue) absent(row)
      const at = own.append(key.text)
      keys.setText(row, own.bytes, 0, at, own.used)
      keys.setValid(row)
      if (!seen.add(own.bytes, at, own.used)) repeated(context)
    },
    finish: (row, wasThere) => setEntries(node.builder, row, wasThere ? first : entries.size, entries.size),
  }
}

/** What a message is of which nothing is written. */
function emptyReader(context: ProtobufContext, name: string, node: PlanNode): ReadValue {
  const wrapped = wrappedScalar(name)
  if (wrapped !== undefined) return zeroSetter(context, { kind: 'scalar', scalar: wrapped }, node)
  if (node.type.kind !== 'struct') return zeroOf(node)
  const message = new MessageReader(context, name, node.children)
  return (row) => {
    message.read(context.source.at, row)
    node.builder.setValid(row)
  }
}

function setEntries(builder: ColumnBuilder, row: number, first: number, until: number): void {
  builder.i32[row * 4] = first
  builder.i32[row * 4 + 1] = 0
  builder.i32[row * 4 + 2] = until - first
  builder.i32[row * 4 + 3] = 0
  builder.setValid(row)
}

/** Values that one item of a list or map may have. */
function cellsOf({ children }: PlanNode): number {
  return children.reduce((sum, child) => sum + cellsOf(child), 1)
}
