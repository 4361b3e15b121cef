import type { Column, ColumnType } from '../batch.ts'
import { LakeError } from '../error.ts'

/** Iceberg's schema as its JSON has it. `type` is the name of a primitive, or a nested type. */
export interface IcebergField {
  readonly id: number
  readonly name: string
  readonly required: boolean
  readonly type: IcebergType
}

export type IcebergType =
  | string
  | { readonly type: 'struct'; readonly fields: readonly IcebergField[] }
  | {
      readonly type: 'list'
      readonly 'element-id': number
      readonly element: IcebergType
      readonly 'element-required': boolean
    }
  | {
      readonly type: 'map'
      readonly 'key-id': number
      readonly key: IcebergType
      readonly 'value-id': number
      readonly value: IcebergType
      readonly 'value-required': boolean
    }

export interface IcebergSchema {
  readonly type: 'struct'
  readonly 'schema-id': number
  /** Of the columns that name a row. */
  readonly 'identifier-field-ids'?: readonly number[]
  readonly fields: readonly IcebergField[]
}

/** What field ids go on from. */
export interface FieldIds {
  readonly schema: IcebergSchema
  readonly lastColumnId: number
}

/**
 * Field ids from 1: the columns in order first, then what is inside them, level by level of each column. After `before`
 * columns of the same name and type keep their ids, and all others get new ones, since files may hold the old.
 */
export function schemaOf(columns: readonly Column[], key: readonly string[] = [], before?: FieldIds): FieldIds {
  let lastColumnId = before?.lastColumnId ?? 0
  const nextId = () => ++lastColumnId
  const fields = before === undefined ? fieldsOf(columns, nextId) : fieldsAfter(columns, before.schema, nextId)
  const ids = fields.filter(({ name }) => key.includes(name)).map(({ id }) => id)
  const identifier = ids.length === 0 ? {} : { 'identifier-field-ids': ids }
  const id = before === undefined ? 0 : before.schema['schema-id'] + 1
  return { schema: { type: 'struct', 'schema-id': id, ...identifier, fields }, lastColumnId }
}

function fieldsAfter(columns: readonly Column[], { fields }: IcebergSchema, nextId: () => number): IcebergField[] {
  const kept = columns.map(({ name, type }) =>
    fields.find(
      (field) =>
        field.name === name &&
        isSame(
          field.type,
          icebergType(type, () => 0),
        ),
    ),
  )
  const made = fieldsOf(
    columns.filter((_, k) => kept[k] === undefined),
    nextId,
  )
  return columns.map(({ name, required }, k) => {
    const { id, type } = kept[k] ?? made.find((field) => field.name === name)!
    return { id, name, required: required === true, type }
  })
}

/** Whether two types are one but for their ids. */
function isSame(a: IcebergType, b: IcebergType): boolean {
  return JSON.stringify(a, withoutIds) === JSON.stringify(b, withoutIds)
}

function withoutIds(key: string, value: unknown): unknown {
  return ID_KEYS.has(key) ? undefined : value
}

const ID_KEYS: ReadonlySet<string> = new Set(['id', 'element-id', 'key-id', 'value-id'])

function fieldsOf(columns: readonly Column[], nextId: () => number): IcebergField[] {
  const ids = columns.map(nextId)
  return columns.map(({ name, type, required }, index) => ({
    id: ids[index]!,
    name,
    required: required === true,
    type: icebergType(type, nextId),
  }))
}

/** A type with ids for what is inside it. */
export function icebergType(type: ColumnType, nextId: () => number): IcebergType {
  switch (type.kind) {
    case 'decimal':
      return `decimal(${type.precision}, ${type.scale})`
    case 'enum':
      return 'string'
    case 'list': {
      const id = nextId()
      return { type: 'list', 'element-id': id, element: icebergType(type.element, nextId), 'element-required': false }
    }
    case 'map': {
      const [key, value] = [nextId(), nextId()]
      return {
        type: 'map',
        'key-id': key,
        key: 'string',
        'value-id': value,
        value: icebergType(type.value, nextId),
        'value-required': false,
      }
    }
    case 'struct':
      return { type: 'struct', fields: fieldsOf(type.fields, nextId) }
    default:
      return type.kind
  }
}

/** The column type that a stored type is of; what a text stands for only a definition says. */
export function columnType(type: IcebergType): ColumnType {
  if (typeof type !== 'string') {
    if (type.type === 'list') return { kind: 'list', element: columnType(type.element) }
    if (type.type === 'map') return { kind: 'map', value: columnType(type.value) }
    return { kind: 'struct', fields: type.fields.map(({ name, type: inner }) => ({ name, type: columnType(inner) })) }
  }
  const decimal = decimalOf(type)
  if (decimal !== undefined) return { kind: 'decimal', ...decimal }
  if ((SIMPLE as readonly string[]).includes(type)) return { kind: type as (typeof SIMPLE)[number] }
  throw new LakeError('store.corrupt', `a table has a column of the unknown type ${type}`)
}

const SIMPLE = [
  'boolean',
  'int',
  'long',
  'float',
  'double',
  'string',
  'binary',
  'date',
  'uuid',
  'timestamp',
  'timestamptz',
] as const

/** A column's type as a file of it has it, with the ids that the table's type gives its parts. */
export function storedType(type: ColumnType, stored: IcebergType): IcebergType {
  if (typeof stored === 'string') return icebergType(type, () => 0)
  if (type.kind === 'list' && stored.type === 'list')
    return { ...stored, element: storedType(type.element, stored.element) }
  if (type.kind === 'map' && stored.type === 'map') return { ...stored, value: storedType(type.value, stored.value) }
  if (type.kind !== 'struct' || stored.type !== 'struct')
    throw new LakeError('internal', `a file of ${type.kind} for a column of ${stored.type}`)
  return { type: 'struct', fields: storedFields(type.fields, stored.fields) }
}

/** `storedType` of columns, in their order. Throws `internal` for one that the table does not have. */
export function storedFields(columns: readonly Column[], stored: readonly IcebergField[]): readonly IcebergField[] {
  return columns.map(({ name, type }) => {
    const field = stored.find((each) => each.name === name)
    if (field === undefined) throw new LakeError('internal', `a file of column ${name}, which the table does not have`)
    return { ...field, type: storedType(type, field.type) }
  })
}

/** A type as text, without what does not decide its values: ids, what is required, and the order of fields. */
export function typeName(type: IcebergType): string {
  if (typeof type === 'string') return type.replaceAll(' ', '')
  if (type.type === 'list') return `list<${typeName(type.element)}>`
  if (type.type === 'map') return `map<${typeName(type.key)},${typeName(type.value)}>`
  const fields = type.fields.toSorted((a, b) => (a.name < b.name ? -1 : 1))
  return `struct<${fields.map((field) => `${JSON.stringify(field.name)}:${typeName(field.type)}`).join(',')}>`
}

export function decimalOf(type: IcebergType): { readonly precision: number; readonly scale: number } | undefined {
  const match = typeof type === 'string' ? /^decimal\((\d+), ?(\d+)\)$/.exec(type) : null
  return match === null ? undefined : { precision: Number(match[1]), scale: Number(match[2]) }
}

/** Names by field id, for readers that meet a file without ids. */
export function nameMapping(fields: readonly IcebergField[]): unknown[] {
  return fields.map(({ id, name, type }) => {
    const nested = typeof type === 'string' ? [] : nestedMapping(type)
    return { 'field-id': id, names: [name], ...(nested.length === 0 ? {} : { fields: nested }) }
  })
}

function nestedMapping(type: Exclude<IcebergType, string>): unknown[] {
  switch (type.type) {
    case 'struct':
      return nameMapping(type.fields)
    case 'list':
      return nameMapping([{ id: type['element-id'], name: 'element', required: false, type: type.element }])
    case 'map':
      return nameMapping([
        { id: type['key-id'], name: 'key', required: true, type: type.key },
        { id: type['value-id'], name: 'value', required: false, type: type.value },
      ])
  }
}
