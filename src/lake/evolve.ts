import type { Column, ColumnType } from '../batch.ts'
import type { Clock } from '../clock.ts'
import { LakeError } from '../error.ts'
import { metadataNumber, writeMetadata, type LakeTable } from './lake-table.ts'
import { withEntry } from './metadata.ts'
import type { PartitionSpec } from './partition-spec.ts'
import {
  decimalOf,
  icebergType,
  nameMapping,
  type IcebergField,
  type IcebergSchema,
  type IcebergType,
} from './schema.ts'
import { uriOf, type Storage } from './storage/storage.ts'

/** Columns of a table as they shall be from here on. Files that are there already stay as they are. */
export interface SchemaChange {
  readonly fields: readonly IcebergField[]
  readonly lastColumnId: number
  /** What Iceberg has no way to say, by column: rows that are there could not be read so. */
  readonly problems: readonly SchemaProblem[]
}

export interface SchemaProblem {
  readonly column: string
  readonly message: string
}

/**
 * Iceberg's schema evolution: columns may be added (null in rows that are there), removed, made optional, put into
 * another order and widened. A column that keeps its name keeps its id; one that is new gets an id that none ever had.
 * `grows`: nothing is ever removed from the table, so structs may get fields too, behind those that they have.
 */
export function planSchema(
  { schema, spec, lastColumnId }: { schema: IcebergSchema; spec: PartitionSpec; lastColumnId: number },
  columns: readonly Column[],
  grows = false,
): SchemaChange {
  const ids = { last: lastColumnId }
  const nextId = () => ++ids.last
  const problems: SchemaProblem[] = []
  // New columns in order first, then what is inside them, as a new table has them.
  const kept = columns.map(({ name }) => schema.fields.find((field) => field.name === name))
  const own = kept.map((before) => before?.id ?? nextId())
  const fields = columns.map(({ name, type, required = false }, k): IcebergField => {
    const problem = (message: string) => problems.push({ column: name, message })
    const before = kept[k]
    if (before === undefined) {
      if (required) problem('is new and required: rows that are there have no value of it')
      return { id: own[k]!, name, required, type: icebergType(type, nextId) }
    }
    if (required && !before.required) problem('was optional and is required: rows that are there may have no value')
    const after = icebergType(type, () => 0)
    const merged = mergeTypes(before.type, type, after, grows ? nextId : undefined)
    const isPartition = spec.fields.some((field) => field['source-id'] === before.id)
    if (merged === undefined || (isPartition && !isSame(before.type, after)))
      problem(
        `was ${typeText(before.type)} and is ${typeText(after)}${isPartition ? ', and rows are divided by it' : ''}`,
      )
    return { id: before.id, name, required, type: merged ?? before.type }
  })
  for (const { 'source-id': source } of spec.fields)
    if (!fields.some(({ id }) => id === source)) {
      const column = schema.fields.find(({ id }) => id === source)?.name ?? String(source)
      problems.push({ column, message: 'is gone, and rows are divided by it' })
    }
  return { fields, lastColumnId: ids.last, problems }
}

/**
 * The table with other columns and properties, and the same rows: a new metadata file, which nobody refers to yet.
 * Properties that are not given stay. What changes nothing gives the table back as it is. Throws `internal` where `planSchema` tells of problems.
 */
export function evolveTable(
  storage: Storage,
  table: LakeTable,
  columns: readonly Column[],
  properties: Readonly<Record<string, string>>,
  commitId: string,
  clock: Clock,
): Promise<LakeTable> {
  const change = planSchema({ ...table, lastColumnId: table.raw['last-column-id'] }, columns)
  const evolved = withColumns(table, change, properties)
  return evolved === table ? Promise.resolve(table) : writeEvolved(storage, evolved, commitId, clock)
}

/**
 * The table with other columns, not written yet: as `changeTable` takes it, or `writeEvolved` where no row comes with
 * them. What changes nothing gives the table back as it is.
 */
export function withColumns(
  table: LakeTable,
  { fields, lastColumnId, problems }: SchemaChange,
  properties: Readonly<Record<string, string>> = {},
): LakeTable {
  const { raw, schema } = table
  if (problems.length > 0)
    throw new LakeError('internal', `${table.name}.${problems[0]!.column} ${problems[0]!.message}`)
  const isNew = JSON.stringify(fields) !== JSON.stringify(schema.fields)
  const isOther = Object.entries(properties).some(([name, value]) => table.properties[name] !== value)
  if (!isNew && !isOther) return table
  const id = isNew ? Math.max(...raw.schemas.map((each) => each['schema-id'])) + 1 : schema['schema-id']
  const next = isNew ? { ...schema, 'schema-id': id, fields } : schema
  const all = { ...raw.properties, ...properties, 'schema.name-mapping.default': JSON.stringify(nameMapping(fields)) }
  return {
    ...table,
    schema: next,
    properties: all,
    raw: {
      ...raw,
      'last-column-id': Math.max(lastColumnId, raw['last-column-id']),
      schemas: isNew ? [...raw.schemas, next] : raw.schemas,
      'current-schema-id': id,
      properties: all,
    },
  }
}

/** Writes what `withColumns` gave: a new metadata file, which nobody refers to yet. */
export function writeEvolved(storage: Storage, table: LakeTable, commitId: string, clock: Clock): Promise<LakeTable> {
  const { raw, metadata, manifests } = table
  const next = withEntry(raw, Math.max(raw['last-updated-ms'] + 1, clock.nowMs()), uriOf(storage, metadata))
  return writeMetadata(storage, table, metadataNumber(metadata) + 1, commitId, next, manifests)
}

/**
 * A type that files of both can be read as, with the ids of what was there; undefined when there is none. What is inside
 * is found by name in many readers, so that of a struct nothing may come, go or move; but for `nextId`, of a table that
 * only grows: there a name has one meaning for ever.
 */
function mergeTypes(
  before: IcebergType,
  type: ColumnType,
  after: IcebergType,
  nextId: (() => number) | undefined,
): IcebergType | undefined {
  if (typeof before === 'string' || typeof after === 'string')
    return before === after || isWidening(before, after) ? after : undefined
  if (before.type === 'list' && after.type === 'list' && type.kind === 'list') {
    const element = mergeTypes(before.element, type.element, after.element, nextId)
    return element && { ...before, element }
  }
  if (before.type === 'map' && after.type === 'map' && type.kind === 'map') {
    const value = mergeTypes(before.value, type.value, after.value, nextId)
    return value && { ...before, value }
  }
  if (before.type !== 'struct' || after.type !== 'struct' || type.kind !== 'struct') return undefined
  const added = after.fields.length - before.fields.length
  if (added < 0 || (added > 0 && nextId === undefined)) return undefined
  const fields = after.fields.map((field, k): IcebergField | undefined => {
    const [old, inner] = [before.fields[k], type.fields[k]!.type]
    if (old === undefined)
      return field.required ? undefined : { ...field, id: nextId!(), type: icebergType(inner, nextId!) }
    const merged = mergeTypes(old.type, inner, field.type, nextId)
    if (merged === undefined || field.name !== old.name || (field.required && !old.required)) return undefined
    return { ...old, required: field.required, type: merged }
  })
  return fields.every((field) => field !== undefined) ? { type: 'struct', fields } : undefined
}

/** Iceberg's promotions of version 2. */
function isWidening(before: IcebergType, after: IcebergType): boolean {
  if ((before === 'int' && after === 'long') || (before === 'float' && after === 'double')) return true
  const [from, to] = [decimalOf(before), decimalOf(after)]
  return from !== undefined && to !== undefined && from.scale === to.scale && to.precision > from.precision
}

function isSame(before: IcebergType, after: IcebergType): boolean {
  return typeText(before) === typeText(after)
}

/** A type as one line, without ids. */
function typeText(type: IcebergType): string {
  if (typeof type === 'string') return type
  switch (type.type) {
    case 'list':
      return `list<${typeText(type.element)}>`
    case 'map':
      return `map<${typeText(type.key)}, ${typeText(type.value)}>`
    case 'struct':
      return `struct<${type.fields.map(({ name, required, type }) => `${name}: ${typeText(type)}${required ? ' required' : ''}`).join(', ')}>`
  }
}
