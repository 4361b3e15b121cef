import * as z from 'zod'
import type { Column } from './batch.ts'
import type { RecordKey, TableDefinition } from './define.ts'
import { invalidField, strict, type FieldPath } from './define-fields.ts'
import { toProtobuf, type ProtobufFormat, type ProtobufOptions } from './define-protobuf.ts'
import { fieldsProblem } from './protobuf-schema.ts'

/** What is written of record keys in Protocol Buffers: `protobuf({ schema, message: 'shop.OrderKey' })`. */
export interface WrittenKey extends Omit<ProtobufOptions, 'onIncompatible'> {
  readonly format: 'protobuf'
}

/** Of record keys in Protocol Buffers. */
export interface KeyFormat extends Omit<ProtobufFormat, 'onIncompatible'> {
  /** A zero, the id of a schema and the number of the message stand before each key; those of a registry always have it. */
  readonly framing?: 'confluent'
}

/** The object form of `from.key`. */
export const writtenKey = strict({
  format: z.enum(['protobuf'], { error: 'must be protobuf: other keys are a word' }),
  schema: z.string().optional(),
  message: z.string().optional(),
  imports: z.record(z.string(), z.string()).optional(),
  framing: z.enum(['confluent']).optional(),
})

/** How record keys are read as it runs. Throws `config.invalid`. */
export function toKeyFormat(
  given: RecordKey | z.output<typeof writtenKey> | undefined,
  at: FieldPath,
): { readonly word: RecordKey | undefined; readonly keyFormat: KeyFormat | undefined } {
  const written = given === 'protobuf' ? { format: given } : given
  if (typeof written !== 'object') return { word: written, keyFormat: undefined }
  const { schema, message, imports, framing } = written as z.output<typeof writtenKey>
  const { protobuf } = toProtobuf({ schema, message, imports, framing, onIncompatible: undefined }, at)
  const { onIncompatible: _, ...format } = protobuf
  return {
    word: 'protobuf',
    keyFormat: { ...format, ...(schema === undefined || framing === undefined ? {} : { framing }) },
  }
}

/** Throws `config.invalid` when a key column cannot be read from the field that its name names. */
export function checkKeyFormat(table: TableDefinition, at: FieldPath): void {
  const { schema } = table.keyFormat ?? {}
  const found = schema && fieldsProblem(schema, schema.message, keyColumns(table))
  if (found !== undefined)
    throw invalidField([...at, 'from', 'key'], found, 'Its message has a field of the name of each key column.')
}

/** The columns of a table's key, in the order of the key. */
export function keyColumns({ key, columns }: Pick<TableDefinition, 'key' | 'columns'>): readonly Column[] {
  return key.map((name) => columns.find((column) => column.name === name)!)
}

/** Whether each record key of a table names its schema. */
export function keyNamesSchema({ recordKey, keyFormat }: Pick<TableDefinition, 'recordKey' | 'keyFormat'>): boolean {
  return recordKey === 'avro' || (keyFormat !== undefined && keyFormat.schema === undefined)
}
