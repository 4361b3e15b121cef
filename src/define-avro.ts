import * as z from 'zod'
import { avroText, parseAvro, type AvroField, type AvroRecord, type AvroSchema } from './avro-schema.ts'
import type { Column, ColumnType } from './batch.ts'
import type { AvroFormat, LakeDefinition, TableDefinition, ValueFormat } from './define.ts'
import { invalidField, strict, type FieldPath } from './define-fields.ts'
import { toProtobuf, type ProtobufFormat, type ProtobufOptions } from './define-protobuf.ts'
import { keyNamesSchema } from './define-record-key.ts'
import { LakeError } from './error.ts'
import { optional, type WantedColumns } from './evolve-columns.ts'
import type { Settings } from './settings.ts'

/** What is written of values in Avro. */
export interface AvroOptions {
  /**
   * The schema that all values are written with, as text or as JSON. Without it each value names its schema: a zero, four
   * bytes of an id of a Confluent-compatible registry (setting `registry.url`), then the value.
   */
  readonly schema?: string | object
  /** What a schema of the registry does that does not fit the columns: `stop` of the pipeline (default), or `dead-letter`. */
  readonly onIncompatible?: 'stop' | 'dead-letter'
}

/** A format with its options. YAML takes the same: `value: { format: avro, schema: "${file:order.avsc}" }`. */
export interface WrittenFormat extends AvroOptions, Pick<Partial<ProtobufOptions>, 'message' | 'imports'> {
  readonly format: ValueFormat
  /** Of JSON and Protocol Buffers: what stands before each value. */
  readonly framing?: 'confluent'
  /** Of change envelopes: in JSON (default) or in Avro. */
  readonly encoding?: 'json' | 'avro'
}

/** The object form of `from.value`. */
export const writtenFormat = strict({
  format: z.enum(['json', 'raw', 'debezium', 'avro', 'protobuf']),
  framing: z.enum(['confluent']).optional(),
  message: z.string().optional(),
  imports: z.record(z.string(), z.string()).optional(),
  encoding: z.enum(['json', 'avro']).optional(),
  schema: z.union([z.string(), z.record(z.string(), z.unknown()), z.array(z.unknown())]).optional(),
  onIncompatible: z.enum(['stop', 'dead-letter']).optional(),
})

/** How values are read, and the columns that a schema in the definition has. */
export interface Format {
  readonly value: ValueFormat
  readonly avro: AvroFormat | undefined
  readonly protobuf?: ProtobufFormat
  readonly framing?: 'confluent'
  /** Undefined where the definition has no schema. */
  readonly columns: readonly Column[] | undefined
}

/** A format as it runs. Throws `config.invalid`. */
export function toFormat(given: ValueFormat | z.output<typeof writtenFormat>, at: FieldPath): Format {
  const written = typeof given === 'string' ? { format: given } : given
  const {
    format: value,
    encoding,
    schema,
    onIncompatible,
    framing,
    message,
    imports,
  } = written as z.output<typeof writtenFormat>
  if (encoding !== undefined && value !== 'debezium')
    throw invalidField([...at, 'encoding'], `is of change envelopes, not of ${value}`, 'Remove "encoding".')
  const isAvro = value === 'avro' || encoding === 'avro'
  const framed = framing === undefined ? {} : { framing }
  if (framing !== undefined && (isAvro || value === 'raw'))
    throw invalidField([...at, 'framing'], 'is of JSON and Protocol Buffers', 'Remove "framing".')
  if (value === 'protobuf') {
    if (schema !== undefined && typeof schema !== 'string')
      throw invalidField(at, 'of Protocol Buffers has a text as its schema', 'Correct it.')
    // A value that names its schema is framed in any case.
    const own = schema === undefined ? {} : framed
    const given = { schema, message, imports, framing, onIncompatible }
    return { value, avro: undefined, ...own, ...toProtobuf(given, at) }
  }
  if (message !== undefined || imports !== undefined)
    throw invalidField(
      [...at, message === undefined ? 'imports' : 'message'],
      `is of Protocol Buffers, not of ${value}`,
      'Remove it, or write format: protobuf.',
    )
  if (!isAvro && (schema !== undefined || onIncompatible !== undefined))
    throw invalidField(
      [...at, schema === undefined ? 'onIncompatible' : 'schema'],
      `is of values in Avro, not of ${value}`,
      'Remove it, or write format: avro.',
    )
  if (!isAvro) return { value, avro: undefined, ...framed, columns: undefined }
  const parsed = schema === undefined ? undefined : parsedAt(schema, [...at, 'schema'])
  return {
    value,
    avro: {
      schema: parsed === undefined ? undefined : avroText(parsed),
      onIncompatible: onIncompatible ?? 'stop',
    },
    columns: parsed === undefined || value === 'debezium' ? undefined : columnsOfAvro(parsed),
  }
}

/** Whether schemas of a registry are needed to read a table. */
export function needsRegistry(table: Pick<TableDefinition, 'avro' | 'protobuf' | 'recordKey' | 'keyFormat'>): boolean {
  return keyNamesSchema(table) || namesSchemas(table)
}

/** Whether each value of a table names its schema. */
export function namesSchemas({
  avro,
  protobuf,
}: {
  readonly avro?: AvroFormat | undefined
  readonly protobuf?: ProtobufFormat | undefined
}): boolean {
  const format = avro ?? protobuf
  return format !== undefined && format.schema === undefined
}

/** Throws `config.invalid` when a table is read with schemas of a registry, and none is set. */
export function checkRegistry({ pipelines }: LakeDefinition, { registry }: Pick<Settings, 'registry'>): void {
  const table = pipelines.flatMap(({ tables }) => tables).find(needsRegistry)
  if (registry !== undefined || table === undefined) return
  throw invalidField(
    ['registry', 'url'],
    `is missing: the records of "${table.name}" name schemas of a registry`,
    'Set registry.url, or give the table its schema: value: { format: avro, schema: … }, of a key in Protocol Buffers key: { format: protobuf, schema: … }.',
  )
}

/**
 * The columns of a schema: what its fields are, in its order. A field that is no column by name or type (a union of
 * several types, a type that holds itself) is left to `_extra`. Enums are texts, so that a new symbol changes no column.
 */
export function columnsOfAvro(schema: AvroSchema): readonly Column[] {
  return schema.kind === 'record' ? columnsOf(schema, [], isColumnName) : []
}

/**
 * What a schema of a registry asks of a table that takes its columns from there: all of its fields that no declared column
 * reads and that are not redacted, optional. Undefined: its values are no records.
 */
export function wantedColumns(
  schema: AvroSchema,
  { columns, redact = [] }: Pick<TableDefinition, 'columns' | 'redact'>,
): WantedColumns | undefined {
  if (schema.kind !== 'record') return undefined
  const declared = columns.filter(({ fromRegistry }) => fromRegistry !== true).map(({ name }) => name)
  const taken = new Set([...declared, ...redact.map(([field]) => field)].map((name) => name.toLowerCase()))
  const read = new Set(declared.map((name) => fieldOf(name, schema)))
  const fields = schema.fields.filter((field) => !taken.has(field.name.toLowerCase()) && !read.has(field))
  const wanted = optional(columnsOf({ ...schema, fields }, [schema], isColumnName))
  const others: string[] = []
  othersOf(fields, wanted, '', others)
  return { columns: wanted.map((column) => ({ ...column, fromRegistry: true })), others }
}

/** The field of a column's name, or the one that was called so before. */
export function fieldOf(
  name: string,
  { fields }: Pick<AvroRecord, 'fields'>,
  hasAliases = true,
): AvroField | undefined {
  const named = fields.find((field) => field.name === name)
  if (named !== undefined || !hasAliases) return named
  const renamed = fields.filter(({ aliases }) => aliases.includes(name))
  return renamed.length === 1 ? renamed[0] : undefined
}

const isColumnName = (name: string): boolean => /^[A-Za-z]/.test(name)

/** Fields without a column, but for those that are always null. */
function othersOf(fields: readonly AvroField[], columns: readonly Column[], path: string, others: string[]): void {
  for (const { name, type } of fields) {
    const [inner] = withoutNull(type)
    const column = columns.find((each) => each.name === name)
    if (column !== undefined) othersIn(inner!, column.type, `${path}${name}`, others)
    else if (inner?.kind !== 'null' && !isOnlyNull(type)) others.push(`${path}${name}`)
  }
}

function othersIn(schema: AvroSchema, type: ColumnType, path: string, others: string[]): void {
  if (schema.kind === 'record' && type.kind === 'struct') othersOf(schema.fields, type.fields, `${path}.`, others)
  if (schema.kind === 'array' && type.kind === 'list')
    othersIn(withoutNull(schema.items)[0]!, type.element, `${path}.element`, others)
  if (schema.kind === 'map' && type.kind === 'map')
    othersIn(withoutNull(schema.values)[0]!, type.value, `${path}.value`, others)
}

function isOnlyNull(schema: AvroSchema): boolean {
  return schema.kind === 'union' ? schema.branches.every(isOnlyNull) : schema.kind === 'null'
}

/** Nesting of types that is looked into. */
const DEPTH_MAX = 30

function columnsOf(
  record: AvroRecord,
  around: readonly AvroSchema[],
  isName: (name: string) => boolean = () => true,
): readonly Column[] {
  const columns: Column[] = []
  for (const { name, type } of record.fields) {
    const isTwin = columns.some((column) => column.name.toLowerCase() === name.toLowerCase())
    if (isTwin || !isName(name) || !/^[A-Za-z_][A-Za-z0-9_]{0,254}$/.test(name)) continue
    const [inner, isNullable] = withoutNull(type)
    const columnType = inner && columnTypeOf(inner, [...around, record])
    if (columnType !== undefined) columns.push({ name, type: columnType, ...(isNullable ? {} : { required: true }) })
  }
  return columns
}

/** What a type is beside null; undefined: several types, or none. */
function withoutNull(schema: AvroSchema): readonly [AvroSchema | undefined, boolean] {
  if (schema.kind !== 'union') return [schema, false]
  const others = schema.branches.filter(({ kind }) => kind !== 'null')
  return [others.length === 1 ? others[0] : undefined, others.length < schema.branches.length]
}

function columnTypeOf(schema: AvroSchema, around: readonly AvroSchema[]): ColumnType | undefined {
  if (around.includes(schema) || around.length > DEPTH_MAX) return undefined
  switch (schema.kind) {
    case 'null':
    case 'union':
      return undefined
    case 'boolean':
    case 'float':
    case 'double':
      return { kind: schema.kind }
    case 'int':
    case 'long':
      if (schema.logical === undefined) return { kind: schema.kind }
      if (schema.logical.kind === 'date') return { kind: 'date' }
      return { kind: schema.logical.kind === 'local' ? 'timestamp' : 'timestamptz' }
    case 'enum':
      return { kind: 'string' }
    case 'string':
    case 'bytes':
    case 'fixed': {
      const { logical } = schema
      if (logical?.kind === 'uuid') return { kind: 'uuid' }
      if (logical?.kind === 'decimal' && logical.precision <= 38)
        return { kind: 'decimal', precision: logical.precision, scale: logical.scale }
      return { kind: schema.kind === 'string' ? 'string' : 'binary' }
    }
    case 'array':
    case 'map': {
      const [inner] = withoutNull(schema.kind === 'array' ? schema.items : schema.values)
      const type = inner && columnTypeOf(inner, [...around, schema])
      if (type === undefined) return undefined
      return schema.kind === 'array' ? { kind: 'list', element: type } : { kind: 'map', value: type }
    }
    case 'record': {
      const fields = columnsOf(schema, around)
      return fields.length === 0 ? undefined : { kind: 'struct', fields }
    }
  }
}

function parsedAt(schema: string | object, at: FieldPath): AvroSchema {
  try {
    const parsed = parseAvro(schema)
    if (parsed.kind === 'record') return parsed
    throw new LakeError('config.invalid', `the Avro schema is of type ${parsed.kind}, and a row is a record`)
  } catch (error) {
    if (error instanceof LakeError) throw invalidField(at, error.message, error.fix)
    throw error
  }
}
