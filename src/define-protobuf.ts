import type { Column, ColumnType } from './batch.ts'
import type { TableDefinition } from './define.ts'
import { invalidField, type FieldPath } from './define-fields.ts'
import { LakeError } from './error.ts'
import { optional, type WantedColumns } from './evolve-columns.ts'
import { columnsOfMessage, fieldsProblem, type ProtoSchema } from './protobuf-schema.ts'
import { readProtobuf } from './protobuf-text.ts'

/** What is written of values in Protocol Buffers. */
export interface ProtobufOptions {
  /** Text of the `.proto` file. YAML takes `"${file:order.proto}"`. Without it each value names its schema in a registry. */
  readonly schema?: string
  /** The message that values are, `shop.Order`; the first of the file by default. */
  readonly message?: string
  /** Texts of the files that it imports, by the names that it imports them by; Google's own are known. */
  readonly imports?: Readonly<Record<string, string>>
  /** `confluent`: a zero, the id of a schema and the number of the message stand before each value. */
  readonly framing?: 'confluent'
  /** As of Avro, of schemas of a registry. */
  readonly onIncompatible?: 'stop' | 'dead-letter'
}

/** Of values in Protocol Buffers. */
export interface ProtobufFormat {
  /** Undefined: each value names one of a registry. */
  readonly schema?: ProtoSchema
  /** Of a registry's schemas: the message that values are; undefined: the first of each. */
  readonly message?: string
  readonly onIncompatible?: 'stop' | 'dead-letter'
}

/** A format as it runs, and the columns that its message has; undefined where a registry has it. Throws `config.invalid`. */
export function toProtobuf(
  {
    schema,
    message,
    imports,
    framing,
    onIncompatible,
  }: { readonly [K in keyof ProtobufOptions]: ProtobufOptions[K] | undefined },
  at: FieldPath,
): { readonly protobuf: ProtobufFormat; readonly columns: readonly Column[] | undefined } {
  if (schema === undefined) {
    if (imports !== undefined)
      throw invalidField([...at, 'imports'], 'are of a schema in the definition', 'Remove "imports", or give a schema.')
    const named = message === undefined ? {} : { message }
    return { protobuf: { ...named, onIncompatible: onIncompatible ?? 'stop' }, columns: undefined }
  }
  if (onIncompatible !== undefined)
    throw invalidField([...at, 'onIncompatible'], 'is of the schemas of a registry', 'Remove it, or the schema.')
  const read = readAt(schema, message, imports, [...at, 'schema'])
  if (framing !== undefined && read.index.length === 0)
    throw invalidField(
      [...at, 'message'],
      `"${read.message}" is a message of another file, and values name a message of the schema's own`,
      'Give the file of the message as the schema.',
    )
  return { protobuf: { schema: read }, columns: columnsOfMessage(read, read.message) }
}

/** Throws `config.invalid` when a column cannot be read from the field that its name names. */
export function checkProtobuf({ protobuf, columns }: TableDefinition, at: FieldPath): void {
  if (protobuf?.schema === undefined) return
  const found = fieldsProblem(protobuf.schema, protobuf.schema.message, columns)
  if (found !== undefined) throw invalidField([...at, 'columns'], found, 'Give the columns the types of their fields.')
}

/**
 * What a schema of a registry asks of a table that takes its columns from there: as `wantedColumns` of Avro. Throws
 * `config.invalid`.
 */
export function wantedOfMessage(
  schema: ProtoSchema,
  { columns, redact = [] }: Pick<TableDefinition, 'columns' | 'redact'>,
): WantedColumns {
  const declared = columns.filter(({ fromRegistry }) => fromRegistry !== true).map(({ name }) => name)
  const taken = new Set([...declared, ...redact.map(([field]) => field)].map((name) => name.toLowerCase()))
  const own = columnsOfMessage(schema, schema.message).filter(({ name }) => /^[A-Za-z]/.test(name))
  const wanted = optional(own.filter(({ name }) => !taken.has(name.toLowerCase())))
  const others: string[] = []
  othersOf(schema, schema.message, wanted, '', others)
  return {
    columns: wanted.map((column) => ({ ...column, fromRegistry: true })),
    others: others.filter((path) => !taken.has(path.toLowerCase())),
  }
}

/** Fields that are no column, since their messages hold themselves or nest too deep. */
function othersOf(
  schema: ProtoSchema,
  message: string,
  columns: readonly Column[],
  path: string,
  others: string[],
): void {
  for (const { name, type } of schema.messages[message] ?? []) {
    const column = columns.find((each) => each.name === name)
    if (column === undefined) others.push(`${path}${name}`)
    else if (type.kind === 'message') othersIn(schema, type.name, column.type, `${path}${name}`, others)
  }
}

function othersIn(schema: ProtoSchema, message: string, type: ColumnType, path: string, others: string[]): void {
  if (type.kind === 'struct') othersOf(schema, message, type.fields, `${path}.`, others)
  if (type.kind === 'list') othersIn(schema, message, type.element, `${path}.element`, others)
  if (type.kind === 'map') othersIn(schema, message, type.value, `${path}.value`, others)
}

function readAt(
  schema: string,
  message: string | undefined,
  imports: Readonly<Record<string, string>> | undefined,
  at: FieldPath,
): ProtoSchema {
  try {
    return readProtobuf(schema, message, imports)
  } catch (error) {
    if (error instanceof LakeError) throw invalidField(at, error.message, error.fix)
    throw error
  }
}
