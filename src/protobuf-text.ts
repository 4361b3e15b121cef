import protobuf from 'protobufjs'
import { problem } from './define-fields.ts'
import { LakeError } from './error.ts'
import {
  PROTO_SCALARS,
  type ProtoField,
  type ProtoScalar,
  type ProtoSchema,
  type ProtoType,
} from './protobuf-schema.ts'

/** Characters of all files together, and fields in all. */
const TEXT_MAX = 4 * 1024 * 1024
const FIELDS_MAX = 20_000

/**
 * Reads the text of a `.proto` file. `imports` holds the texts of files that it imports, by the name that it imports
 * them by; Google's own (`google/protobuf/timestamp.proto`) are known. `message` is a full name, or that of a message
 * of the file; without it, the first one. Throws `config.invalid` with what is wrong.
 */
export function readProtobuf(
  text: string,
  message: string | undefined,
  imports: Readonly<Record<string, string>> = {},
): ProtoSchema {
  const size = Object.values(imports).reduce((sum, each) => sum + each.length, text.length)
  if (size > TEXT_MAX) throw problem(`the schema has ${size} characters, the limit is ${TEXT_MAX}`)
  const root = new protobuf.Root()
  let own: readonly protobuf.Type[]
  try {
    own = parse(text, root, imports, new Set())
    root.resolveAll()
  } catch (error) {
    if (error instanceof LakeError) throw error
    throw problem(`the schema is no .proto text: ${error instanceof Error ? error.message : String(error)}`)
  }
  const type = find(root, own, message)
  const messages: Record<string, readonly ProtoField[]> = {}
  const enums: Record<string, Record<string, number>> = {}
  const open = [type]
  let count = 0
  for (const each of open) {
    const fields = each.fieldsArray.map((field) => fieldOf(field, open, enums))
    messages[nameOf(each)] = fields.toSorted((a, b) => a.number - b.number)
    count += fields.length
    if (count > FIELDS_MAX) throw problem(`the messages have more than ${FIELDS_MAX} fields`)
  }
  return { message: nameOf(type), index: indexOf(type, own), messages, enums }
}

/** Parses a file and what it imports; gives the messages of the file in its order. */
function parse(
  text: string,
  root: protobuf.Root,
  imports: Readonly<Record<string, string>>,
  read: Set<string>,
): readonly protobuf.Type[] {
  const file = new protobuf.Root()
  const { package: name, imports: needed = [] } = protobuf.parse(text, file, { keepCase: true })
  // Read alone once more, so that messages of other files of the same package are not counted among its own.
  const own = (name === undefined ? file : file.lookup(name)) as protobuf.NamespaceBase | null
  const names = (own?.nestedArray ?? []).filter((one) => one instanceof protobuf.Type).map((one) => one.fullName)
  protobuf.parse(text, root, { keepCase: true })
  for (const each of needed) {
    if (read.has(each)) continue
    read.add(each)
    const given = Object.hasOwn(imports, each) ? imports[each] : undefined
    const known = protobuf.common.get(each)
    if (given !== undefined) parse(given, root, imports, read)
    else if (known?.nested !== undefined && known.nested !== null) root.addJSON(known.nested)
    else throw problem(`the schema imports "${each}", which is not given`, 'Add its text to "imports".')
  }
  return names.map((each) => root.lookupType(each))
}

function find(root: protobuf.Root, own: readonly protobuf.Type[], message: string | undefined): protobuf.Type {
  const [first] = own
  if (message === undefined) {
    if (first !== undefined) return first
    throw problem('the schema has no message')
  }
  const named = message.replace(/^\./, '')
  const found = own.find(({ fullName, name }) => fullName === `.${named}` || name === named)
  if (found !== undefined) return found
  const inner = [root, ...(own.length === 0 ? [] : [own[0]!.parent!])]
  for (const space of inner) {
    const one = space.lookup(named, [protobuf.Type])
    if (one instanceof protobuf.Type) return one
  }
  throw problem(`the schema has no message "${message}"`, `It has ${own.map(nameOf).join(', ')}.`)
}

/** Empty when the message is one of another file: then no index names it. */
function indexOf(type: protobuf.Type, own: readonly protobuf.Type[]): readonly number[] {
  const { parent } = type
  if (parent instanceof protobuf.Type) {
    const around = indexOf(parent, own)
    const inner = parent.nestedArray.filter((one) => one instanceof protobuf.Type)
    return around.length === 0 ? [] : [...around, inner.indexOf(type)]
  }
  const at = own.indexOf(type)
  return at < 0 ? [] : [at]
}

function fieldOf(
  field: protobuf.Field,
  open: protobuf.Type[],
  enums: Record<string, Record<string, number>>,
): ProtoField {
  if (field.delimited)
    throw problem(`the field ${field.fullName.slice(1)} is a group`, 'Groups are not read: make it a message.')
  const kind = field.map ? 'map' : field.repeated ? 'list' : 'one'
  const type = typeOf(field, open, enums)
  return {
    name: field.name,
    number: field.id,
    type,
    kind,
    ...(kind === 'map' ? { key: (field as unknown as protobuf.MapField).keyType as ProtoScalar } : {}),
    ...(kind === 'one' && (type.kind === 'message' || Boolean(field.hasPresence)) ? { hasPresence: true } : {}),
    ...(field.required ? { isRequired: true } : {}),
    // The oneof around a field that is `optional` in proto3 is one of the compiler's own.
    ...(field.partOf === null || field.partOf.fieldsArray.length === 1 ? {} : { oneof: field.partOf.name }),
  }
}

function typeOf(
  field: protobuf.Field,
  open: protobuf.Type[],
  enums: Record<string, Record<string, number>>,
): ProtoType {
  const { resolvedType } = field
  if (resolvedType instanceof protobuf.Enum) {
    enums[nameOf(resolvedType)] ??= { ...resolvedType.values }
    return { kind: 'enum', name: nameOf(resolvedType) }
  }
  if (resolvedType instanceof protobuf.Type) {
    if (!open.includes(resolvedType)) open.push(resolvedType)
    return { kind: 'message', name: nameOf(resolvedType) }
  }
  const scalar = PROTO_SCALARS.find((one) => one === field.type)
  if (scalar === undefined) throw problem(`the field ${field.fullName.slice(1)} is of the unknown type ${field.type}`)
  return { kind: 'scalar', scalar }
}

function nameOf({ fullName }: { readonly fullName: string }): string {
  return fullName.replace(/^\./, '')
}
