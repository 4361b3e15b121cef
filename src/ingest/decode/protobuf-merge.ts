import { wrappedScalar, type ProtoField, type ProtoSchema } from '../../protobuf-schema.ts'
import { DEPTH_MAX } from './codes.ts'
import { WIRE, type ProtobufBytes } from './protobuf-bytes.ts'
import { integerOf, isUnsigned } from './protobuf-scalar.ts'

interface Part {
  /** Tag and value as they stand. */
  readonly raw: Uint8Array
  /** Of a message: what is inside, perhaps of several that are to be one. */
  inside: readonly Uint8Array[] | undefined
  readonly field: ProtoField | undefined
}

/**
 * The same message, in which nothing stands twice of which only the last counts: scalars, members of one oneof, keys of
 * one map. Messages under one field become one, as the encoding has it. Producers write such bytes only when they put
 * messages together without reading them.
 */
export function mergedMessage(
  source: ProtobufBytes,
  schema: ProtoSchema,
  fields: readonly ProtoField[],
  bytes: Uint8Array,
  depth = 1,
): Buffer {
  if (depth > DEPTH_MAX) source.fail('decode.depth', `nested deeper than ${DEPTH_MAX}`)
  const parts: (Part | undefined)[] = []
  const places = new Map<number, number>()
  const oneofs = new Map<string, number>()
  const drop = (number: number): void => {
    const place = places.get(number)
    if (place !== undefined) parts[place] = undefined
    places.delete(number)
  }
  source.open(bytes, 0, 0, bytes.length)
  while (source.at < bytes.length) {
    const begin = source.at
    source.tag()
    const { field: number, wire } = source
    const valueAt = source.at
    source.skip()
    const raw = bytes.subarray(begin, source.at)
    const field = fields.find((candidate) => candidate.number === number)
    const isMessage =
      field !== undefined && wire === WIRE.bytes && (field.kind === 'map' || field.type.kind === 'message')
    const inside = isMessage ? [payload(source, bytes, valueAt, source.at)] : undefined
    if (field?.oneof !== undefined) {
      const other = oneofs.get(field.oneof)
      if (other !== undefined && other !== number) drop(other)
      oneofs.set(field.oneof, number)
    }
    const before = field?.kind === 'one' ? places.get(number) : undefined
    if (before !== undefined && inside !== undefined) {
      const part = parts[before]!
      part.inside = [...(part.inside ?? []), ...inside]
      continue
    }
    if (field?.kind === 'one') {
      drop(number)
      places.set(number, parts.length)
    }
    parts.push({ raw, inside, field })
  }
  return Buffer.concat(withoutTwins(parts.map((part) => part && written(source, schema, part, depth))))
}

interface Written {
  readonly bytes: Uint8Array
  /** Of an entry of a map: the field and the key. */
  readonly key: string | undefined
}

function written(source: ProtobufBytes, schema: ProtoSchema, { raw, inside, field }: Part, depth: number): Written {
  if (inside === undefined || field === undefined) return { bytes: raw, key: undefined }
  const fields = field.kind === 'map' ? entryFields(field) : messageFields(schema, field)
  const inner = mergedMessage(source, schema, fields, Buffer.concat(inside), depth + 1)
  const bytes = Buffer.concat([varint(((field.number << 3) >>> 0) | WIRE.bytes), varint(inner.length), inner])
  return { bytes, key: field.kind === 'map' ? `${field.number} ${keyOf(source, field, inner)}` : undefined }
}

/** Of entries with one key, the last. */
function withoutTwins(parts: readonly (Written | undefined)[]): Uint8Array[] {
  const last = new Map<string, number>()
  parts.forEach((part, k) => part?.key !== undefined && last.set(part.key, k))
  return parts.flatMap((part, k) =>
    part === undefined || (part.key !== undefined && last.get(part.key) !== k) ? [] : [part.bytes],
  )
}

/** An entry of a map is a message of key and value. */
function entryFields({ key, type }: ProtoField): readonly ProtoField[] {
  return [
    { name: 'key', number: 1, type: { kind: 'scalar', scalar: key! }, kind: 'one' },
    { name: 'value', number: 2, type, kind: 'one' },
  ]
}

function messageFields(schema: ProtoSchema, { type }: ProtoField): readonly ProtoField[] {
  if (type.kind !== 'message') return []
  const scalar = wrappedScalar(type.name)
  if (scalar !== undefined) return [{ name: 'value', number: 1, type: { kind: 'scalar', scalar }, kind: 'one' }]
  return schema.messages[type.name] ?? []
}

function keyOf(source: ProtobufBytes, { key, name }: ProtoField, entry: Uint8Array): string {
  source.open(entry, 0, 0, entry.length)
  const integer = integerOf(source, name, key!)
  while (source.at < entry.length) {
    source.tag()
    if (source.field !== 1) source.skip()
    else if (key === 'string') {
      const until = source.length()
      return source.text(source.at, until)
    } else {
      integer()
      return key === 'bool' ? String((source.low | source.high) !== 0) : String(source.long(isUnsigned(key!)))
    }
  }
  return key === 'string' ? '' : key === 'bool' ? 'false' : '0'
}

/** What stands behind the length of a field. */
function payload(source: ProtobufBytes, bytes: Uint8Array, valueAt: number, end: number): Uint8Array {
  const { at } = source
  source.at = valueAt
  source.varint()
  const inside = bytes.subarray(source.at, end)
  source.at = at
  return inside
}

function varint(value: number): Buffer {
  const out: number[] = []
  let rest = value
  for (; rest > 127; rest = Math.floor(rest / 128)) out.push((rest % 128) | 128)
  return Buffer.from([...out, rest])
}
