import type { Column } from './batch.ts'
import type { TableDefinition } from './define.ts'
import { invalidField, type FieldPath } from './define-fields.ts'
import { LakeError } from './error.ts'
import { columnsOfMessage, fieldsProblem, type ProtoSchema } from './protobuf-schema.ts'
import { readProtobuf } from './protobuf-text.ts'

/** What is written of values in Protocol Buffers. */
export interface ProtobufOptions {
  /** Text of the `.proto` file. YAML takes `"${file:order.proto}"`. */
  readonly schema: string
  /** The message that values are, `shop.Order`; the first of the file by default. */
  readonly message?: string
  /** Texts of the files that it imports, by the names that it imports them by; Google's own are known. */
  readonly imports?: Readonly<Record<string, string>>
  /** `confluent`: a zero, the id of a schema and the number of the message stand before each value. */
  readonly framing?: 'confluent'
}

/** Of values in Protocol Buffers. */
export interface ProtobufFormat {
  readonly schema: ProtoSchema
}

/** A format as it runs, and the columns that its message has. Throws `config.invalid`. */
export function toProtobuf(
  { schema, message, imports, framing }: { readonly [K in keyof ProtobufOptions]: ProtobufOptions[K] | undefined },
  at: FieldPath,
): { readonly protobuf: ProtobufFormat; readonly columns: readonly Column[] } {
  if (schema === undefined)
    throw invalidField([...at, 'schema'], 'is missing', 'Give the text of the .proto file, or "${file:order.proto}".')
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
  if (protobuf === undefined) return
  const found = fieldsProblem(protobuf.schema, protobuf.schema.message, columns)
  if (found !== undefined) throw invalidField([...at, 'columns'], found, 'Give the columns the types of their fields.')
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
