import type { ProtoScalar, ProtoSchema, ProtoType } from '../../protobuf-schema.ts'
import type { OwnText } from './column-builder.ts'
import { MISFIT } from './json-text.ts'
import type { KeptColumns, PlanNode } from './plan.ts'
import { WIRE, type ProtobufBytes } from './protobuf-bytes.ts'
import { integerOf, isUnsigned, symbolsOf, wireOf, type ReadValue } from './protobuf-scalar.ts'
import { setOwnText } from './raw.ts'

/** What all readers of one table share. */
export interface ProtobufContext {
  readonly source: ProtobufBytes
  readonly own: OwnText
  readonly schema: ProtoSchema
  readonly kept: KeptColumns
  readonly unknown: 'extra' | 'ignore' | 'fail'
  /** The record has a field that no column has. */
  hasExtra: boolean
  /** The record says something twice of which only the last counts: it is to be merged first. */
  isRepeated: boolean
}

/** How values of a type are written. */
export function wireOfType(type: ProtoType): number {
  return type.kind === 'scalar' ? wireOf(type.scalar) : type.kind === 'enum' ? WIRE.varint : WIRE.bytes
}

/** A value whose tag says that it is written as another type. Throws MISFIT. */
export function unexpected(source: ProtobufBytes, path: string): never {
  return source.fail('decode.protobuf', `${path}: written as a value of another type`)
}

/** The record must be merged first. Throws MISFIT. */
export function repeated(context: ProtobufContext): never {
  context.isRepeated = true
  throw MISFIT
}

/** A field that says that it is not there. */
export function absentSetter({ source, kept }: ProtobufContext, node: PlanNode): ReadValue {
  return (row) => {
    if (node.isKept) kept.add(node, row)
    else if (node.isRequired)
      source.fail(node.isKey ? 'key.null' : 'decode.required', `${node.path}: absent, a required column`)
    else node.builder.setNull(row)
  }
}

/** A field that is not written where it is zero. What has no zero in the column, such as a date of no text, is null. */
export function zeroSetter(context: ProtobufContext, type: ProtoType, node: PlanNode): ReadValue {
  const { kind } = node.type
  if (type.kind === 'enum' && kind !== 'int' && kind !== 'long') {
    const symbol = symbolsOf(context.schema.enums[type.name] ?? {}).get(0) ?? '0'
    if (node.type.kind === 'enum' && !node.type.symbols.includes(symbol)) return absentSetter(context, node)
    const text = Buffer.from(symbol)
    return (row) => setOwnText(node.builder, row, text, context.own)
  }
  const isText = type.kind === 'scalar' && (type.scalar === 'string' || type.scalar === 'bytes')
  return isText && kind !== 'string' && kind !== 'binary' ? absentSetter(context, node) : zeroOf(node)
}

export function zeroOf({ builder }: PlanNode): ReadValue {
  return (row) => {
    builder.u8.fill(0, row * builder.width, (row + 1) * builder.width)
    builder.setValid(row)
  }
}

/** Reads the key of a map's entry as text: numbers as digits. */
export function keyReader(
  context: ProtobufContext,
  scalar: ProtoScalar,
  path: string,
): { text: Uint8Array; clear(): void; read(): void } {
  const { source } = context
  const integer = integerOf(source, path, scalar)
  const zero = Buffer.from(scalar === 'string' ? '' : scalar === 'bool' ? 'false' : '0')
  const key = {
    text: zero as Uint8Array,
    clear: () => {
      key.text = zero
    },
    read: () => {
      if (source.wire !== wireOf(scalar)) unexpected(source, path)
      if (scalar === 'string') {
        const until = source.length()
        source.utf8(source.at, until, path)
        key.text = source.bytes.subarray(source.at, until)
        source.at = until
      } else {
        integer()
        const isTrue = (source.low | source.high) !== 0
        key.text = Buffer.from(scalar === 'bool' ? String(isTrue) : String(source.long(isUnsigned(scalar))))
      }
    },
  }
  return key
}
