import type { Column, ColumnType } from './batch.ts'
import { APPEND, type AvroFormat, type RecordKey, type TableDefinition, type ValueFormat } from './define.ts'
import { didYouMean, invalidField, type FieldPath } from './define-fields.ts'

/** What is written of a table's key, as the schema read it. */
export interface KeyFields {
  readonly key?: readonly string[] | undefined
  readonly version?: string | undefined
  readonly missing?: 'null' | 'keep' | null | undefined
  readonly onTruncate?: 'stop' | 'apply' | undefined
  readonly from: {
    readonly value: ValueFormat
    readonly avro?: AvroFormat | undefined
    readonly key?: RecordKey | undefined
  }
}

type Keyed = Pick<TableDefinition, 'columns' | keyof typeof APPEND>

/**
 * The part of a definition that makes a table keyed, with its defaults, and the columns, of which those of the key
 * become required: a row without its key could not be found again. Throws `config.invalid` with the field and a fix.
 */
export function toKeyed(fields: KeyFields, columns: readonly Column[], at: FieldPath): Keyed {
  const { key, version, missing, onTruncate } = fields
  const { value } = fields.from
  if (onTruncate !== undefined && value !== 'debezium')
    throw invalidField(
      [...at, 'onTruncate'],
      `values in ${value} have no truncate events`,
      'Remove "onTruncate", or take the change stream with value: debezium.',
    )
  if (key === undefined) {
    refuseWithoutKey(fields, at)
    return { columns, ...APPEND }
  }
  if (value === 'raw')
    throw invalidField([...at, 'key'], 'a raw table keeps every record', 'Remove "key", or declare columns.')
  if (version !== undefined && onTruncate === 'apply')
    throw invalidField(
      [...at, 'onTruncate'],
      'a truncate event has no version',
      'Remove "version", or take onTruncate: stop.',
    )
  const types = key.map((column, i) => keyType(column, key.indexOf(column) < i, columns, [...at, 'key', i]))
  if (types.length === 0) throw invalidField([...at, 'key'], 'a key needs a column', 'Name one, such as [id].')
  return {
    columns: columns.map((column) => (key.includes(column.name) ? { ...column, required: true } : column)),
    key,
    recordKey: readRecordKey(fields.from, types, [...at, 'from', 'key']),
    version: version === undefined ? undefined : readVersion(version, key, value, columns, [...at, 'version']),
    missing: missing ?? 'null',
    onTruncate: onTruncate ?? 'stop',
  }
}

/**
 * Of the tables over one topic at most one kind of key can be that of the records; by any other a key comes from
 * several partitions, whose order only a version tells.
 */
export function checkKeys(tables: readonly TableDefinition[], at: FieldPath): void {
  const first = new Map<string, TableDefinition>()
  for (const table of tables) {
    if (table.key.length === 0 || table.version !== undefined) continue
    const other = first.get(table.topic) ?? table
    first.set(table.topic, other)
    if (other.key.toSorted().join(',') !== table.key.toSorted().join(','))
      throw invalidField(
        [...at, table.name, 'version'],
        `is missing: the table's key differs from that of table "${other.name}" over the same topic "${table.topic}"`,
        'Only the key of the records stays in one partition: name a version column in the table that has another key.',
      )
  }
}

/** A kept value is known too late to say which partition its row is written to. */
export function checkKept(
  table: Pick<TableDefinition, 'key' | 'version' | 'missing' | 'columns' | 'partitionBy'>,
  at: FieldPath,
): void {
  if (table.missing === 'null') return
  for (const [i, text] of table.partitionBy.entries()) {
    const column = /([^\s(),]+)\)?$/.exec(text)?.[1]
    if (column === table.version || !table.columns.some(({ name }) => name === column) || table.key.includes(column!))
      continue
    throw invalidField(
      [...at, 'partitionBy', i],
      `"${column}" may be kept from an earlier row, which is in a partition already`,
      'Partition by columns of the key or the version, or take missing: null.',
    )
  }
}

function refuseWithoutKey({ version, missing, from, onTruncate }: KeyFields, at: FieldPath): void {
  const fix = 'Add key, such as key: [id], or remove this.'
  if (version !== undefined) throw invalidField([...at, 'version'], 'orders the records of a key', fix)
  if (missing === 'keep') throw invalidField([...at, 'missing'], 'keeps the values that the row of a key has', fix)
  if (onTruncate === 'apply') throw invalidField([...at, 'onTruncate'], 'removes the rows of keys', fix)
  if (from.key !== undefined && from.key !== 'none')
    throw invalidField([...at, 'from', 'key'], 'names the row that a null value removes', fix)
}

function keyType(name: string, isTwin: boolean, columns: readonly Column[], at: FieldPath): ColumnType {
  const type = columns.find((column) => column.name === name)?.type
  if (type === undefined) throw invalidField(at, `there is no column "${name}"`, fixFor(name, columns))
  if (isTwin) throw invalidField(at, `"${name}" stands twice`, 'Remove one.')
  if (['float', 'double', 'list', 'map', 'struct'].includes(type.kind))
    throw invalidField(
      at,
      `"${name}" is of type ${type.kind}, which is no key`,
      'Take columns of string, enum, uuid, int, long, decimal, boolean, date, timestamp, timestamptz or binary.',
    )
  return type
}

function readRecordKey(
  { key: given, value, avro }: KeyFields['from'],
  types: readonly ColumnType[],
  at: FieldPath,
): RecordKey {
  const isText = types.length === 1 && ['string', 'enum', 'uuid'].includes(types[0]!.kind)
  if (given === 'string' && !isText)
    throw invalidField(
      at,
      'a record key of plain text is that of one column of string, enum or uuid',
      'Write json, or none when null values mean nothing.',
    )
  // Whoever writes values with schemas of a registry writes keys so too, but for plain texts.
  const hasRegistry = avro !== undefined && avro.schema === undefined
  if (value === 'debezium') return given ?? (avro === undefined ? 'debezium' : hasRegistry ? 'avro' : 'json')
  return given ?? (isText ? 'string' : hasRegistry ? 'avro' : 'json')
}

const VERSION_KINDS = ['int', 'long', 'date', 'timestamp', 'timestamptz']

function readVersion(
  version: string,
  key: readonly string[],
  value: ValueFormat,
  columns: readonly Column[],
  at: FieldPath,
): string {
  if (/^source\.[A-Za-z_][A-Za-z0-9_]{0,62}$/.test(version)) {
    if (value === 'debezium') return version
    throw invalidField(at, `values in ${value} have no source`, 'Name a column, or take value: debezium.')
  }
  const type = columns.find((column) => column.name === version)?.type
  if (type === undefined) throw invalidField(at, `there is no column "${version}"`, fixFor(version, columns))
  if (key.includes(version))
    throw invalidField(at, `"${version}" is part of the key`, 'Name the column that grows with each change of a row.')
  if (!VERSION_KINDS.includes(type.kind))
    throw invalidField(
      at,
      `"${version}" is of type ${type.kind}, which is no version`,
      'Take a column of int, long, date, timestamp or timestamptz.',
    )
  return version
}

function fixFor(word: string, columns: readonly Column[]): string {
  const known = columns.map((column) => column.name)
  const meant = didYouMean(word, known)
  return meant === undefined ? `Columns: ${known.slice(0, 20).join(', ')}.` : `Did you mean "${meant}"?`
}
