import { wrappedScalar, type ProtoField, type ProtoSchema, type ProtoType } from '../../protobuf-schema.ts'
import { DEPTH_MAX } from './codes.ts'
import type { PlanNode } from './plan.ts'
import { WIRE, type ProtobufBytes } from './protobuf-bytes.ts'
import { wireOfType } from './protobuf-context.ts'
import { integerOf, isUnsigned, symbolsOf } from './protobuf-scalar.ts'

/**
 * The fields of a message that no column has, as JSON text: integers as they are, however long, bytes as base64, enums
 * as their symbols, messages as objects. Those that the schema does not name stand under their number. Where a column
 * is a struct, what it lacks stands in an object under its name; in lists and maps under the item's number and key.
 */
export class ProtobufExtra {
  readonly #source: ProtobufBytes
  readonly #schema: ProtoSchema

  constructor(source: ProtobufBytes, schema: ProtoSchema) {
    this.#source = source
    this.#schema = schema
  }

  /** Of the message that stands from the current place up to `until`; undefined when there are none. Throws MISFIT. */
  text(message: string, nodes: readonly PlanNode[], until: number): string | undefined {
    return this.#object(this.#schema.messages[message] ?? [], nodes, until, 1)
  }

  #object(fields: readonly ProtoField[], nodes: readonly PlanNode[], until: number, depth: number): string | undefined {
    const source = this.#source
    if (depth > DEPTH_MAX) source.fail('decode.depth', `nested deeper than ${DEPTH_MAX}`)
    const { end } = source
    source.end = until
    const found = new Found()
    const counts = new Map<number, number>()
    while (source.at < until) {
      source.tag()
      const { field: number } = source
      const field = fields.find((candidate) => candidate.number === number)
      const node = field && nodes.find(({ name }) => name === field.name)
      if (field === undefined) found.add(String(number), this.#unnamed())
      else if (node === undefined) this.#field(found, field, depth)
      else {
        const item = counts.get(number) ?? 0
        counts.set(number, item + 1)
        this.#inside(found, field, node, item, depth)
      }
    }
    source.end = end
    return found.text()
  }

  /** A field without a column. */
  #field(found: Found, field: ProtoField, depth: number): void {
    const source = this.#source
    const { name, type, kind } = field
    if (kind === 'map') {
      const [key, value] = this.#entry(field, (entryValue) => this.#value(entryValue, depth + 1))
      return found.put(name, key, value ?? this.#zero(type))
    }
    if (kind === 'one') return found.set(name, this.#value(type, depth))
    found.list(name)
    if (source.wire !== WIRE.bytes || wireOfType(type) === WIRE.bytes) return found.add(name, this.#value(type, depth))
    const { end } = source
    const until = source.length()
    source.end = until
    source.wire = wireOfType(type)
    while (source.at < until) found.add(name, this.#value(type, depth))
    source.end = end
  }

  /** What the parts of a column lack. */
  #inside(found: Found, { name, type, kind, ...field }: ProtoField, node: PlanNode, item: number, depth: number): void {
    const source = this.#source
    const part = kind === 'one' ? node : node.children[0]!
    if (type.kind !== 'message' || part.type.kind !== 'struct') return source.skip()
    const inner = (): string | undefined => {
      const until = source.length()
      return this.#object(this.#schema.messages[type.name] ?? [], part.children, until, depth + 1)
    }
    if (kind === 'map') {
      const [key, value] = this.#entry({ name, type, kind, ...field }, inner)
      if (value !== undefined) found.put(name, key, value)
      return
    }
    const text = inner()
    if (text === undefined) return
    if (kind === 'one') found.set(name, text)
    else found.put(name, String(item), text)
  }

  /** Key and value of an entry of a map; undefined when it has no value. */
  #entry<T>({ key, name, type }: ProtoField, value: (type: ProtoType) => T): readonly [string, T | undefined] {
    const source = this.#source
    const { end } = source
    const until = source.length()
    source.end = until
    let [text, found]: [string, T | undefined] = [key === 'string' ? '' : key === 'bool' ? 'false' : '0', undefined]
    while (source.at < until) {
      source.tag()
      if (source.field === 1) text = this.#key(key!, name)
      else if (source.field === 2) found = value(type)
      else source.skip()
    }
    source.end = end
    return [text, found]
  }

  #key(scalar: NonNullable<ProtoField['key']>, name: string): string {
    const text = this.#value({ kind: 'scalar', scalar }, 1, name)
    return scalar === 'string' ? (JSON.parse(text) as string) : text
  }

  #value(type: ProtoType, depth: number, path = ''): string {
    const source = this.#source
    if (source.wire !== wireOfType(type)) source.fail('decode.protobuf', `${path}: written as a value of another type`)
    if (type.kind === 'enum') {
      integerOf(source, path, 'int32')()
      const symbol = symbolsOf(this.#schema.enums[type.name] ?? {}).get(source.low)
      return symbol === undefined ? String(source.low) : JSON.stringify(symbol)
    }
    if (type.kind === 'message') {
      const until = source.length()
      const scalar = wrappedScalar(type.name)
      const fields: readonly ProtoField[] =
        scalar === undefined
          ? (this.#schema.messages[type.name] ?? [])
          : [{ name: 'value', number: 1, type: { kind: 'scalar', scalar }, kind: 'one' }]
      return this.#object(fields, [], until, depth + 1) ?? '{}'
    }
    const { scalar } = type
    switch (scalar) {
      case 'double':
      case 'float': {
        const value = scalar === 'double' ? source.double() : source.float()
        return Number.isFinite(value) ? JSON.stringify(value + 0) : `"${value}"`
      }
      case 'bool':
        source.varint()
        return String((source.low | source.high) !== 0)
      case 'string':
      case 'bytes': {
        const until = source.length()
        const { at, bytes } = source
        if (scalar === 'string') source.utf8(at, until, path)
        const text = scalar === 'string' ? source.text(at, until) : base64(bytes, at, until)
        source.at = until
        return JSON.stringify(text)
      }
      default:
        integerOf(source, path, scalar)()
        return String(source.long(isUnsigned(scalar)))
    }
  }

  /** A field that the schema does not have: numbers without a sign, and bytes. */
  #unnamed(): string {
    const source = this.#source
    if (source.wire === WIRE.varint) source.varint()
    else if (source.wire === WIRE.fixed32) source.fixed32()
    else if (source.wire === WIRE.fixed64) source.fixed64()
    else {
      const until = source.length()
      const text = JSON.stringify(base64(source.bytes, source.at, until))
      source.at = until
      return text
    }
    const bits = source.wire === WIRE.fixed32 ? BigInt(source.low >>> 0) : source.long(true)
    return String(bits)
  }

  #zero(type: ProtoType): string {
    if (type.kind === 'message') return '{}'
    if (type.kind === 'enum') return JSON.stringify(symbolsOf(this.#schema.enums[type.name] ?? {}).get(0) ?? 0)
    return { string: '""', bytes: '""', bool: 'false' }[type.scalar as 'string'] ?? '0'
  }
}

/** Fields by name, in the order in which they came. */
class Found {
  readonly #fields = new Map<string, string | string[] | Map<string, string>>()

  set(name: string, text: string): void {
    this.#fields.set(name, text)
  }

  /** Of this name there is a list, however many items it has. */
  list(name: string): void {
    if (!Array.isArray(this.#fields.get(name))) this.#fields.set(name, [])
  }

  /** One more of a name: several are a list. */
  add(name: string, text: string): void {
    const before = this.#fields.get(name)
    if (Array.isArray(before)) before.push(text)
    else this.#fields.set(name, typeof before === 'string' ? [before, text] : text)
  }

  put(name: string, key: string, text: string): void {
    const before = this.#fields.get(name)
    if (before instanceof Map) before.set(key, text)
    else this.#fields.set(name, new Map([[key, text]]))
  }

  text(): string | undefined {
    if (this.#fields.size === 0) return undefined
    return object(
      [...this.#fields].map(([name, value]) => [
        name,
        typeof value === 'string' ? value : Array.isArray(value) ? `[${value.join(',')}]` : object([...value]),
      ]),
    )
  }
}

function object(entries: readonly (readonly [string, string])[]): string {
  return `{${entries.map(([key, text]) => `${JSON.stringify(key)}:${text}`).join(',')}}`
}

function base64(bytes: Uint8Array, start: number, end: number): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset + start, end - start).toString('base64')
}
