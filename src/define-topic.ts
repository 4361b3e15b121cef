import * as z from 'zod'
import { SYSTEM_COLUMNS, type ColumnType } from './batch.ts'
import { didYouMean, invalidField, leaf, problem, strict, type FieldPath } from './define-fields.ts'
import { expression } from './define-sql-tokens.ts'
import { parseColumn, specText, type TypeSpec } from './define-type.ts'
import type { PipelineDefinition, TableDefinition } from './define.ts'
import { windowKey, type WindowDefinition } from './define-window.ts'

/** `to`: the topic that a table's committed changes are published to. Reference: docs/topics.md. */

/** What a user writes. YAML takes the same keys and texts. */
export interface TopicOptions {
  readonly topic: string
  /** SQL, row-wise over the columns of the table: other rows are not published. */
  readonly where?: string
  /** Of append tables: the columns whose values are the key of the record. Default: none, and its source's partition. */
  readonly key?: readonly string[]
  /** What the value holds instead of the whole row: columns by their names, and `t.string().as(sql)` or `string = sql`. */
  readonly select?: Readonly<Record<string, string | TypeSpec>>
}

export interface ChangeTopic {
  readonly topic: string
  readonly where: string | undefined
  readonly key?: readonly string[] | undefined
  readonly select?: readonly PublishedField[] | undefined
}

/** One field of a published value. */
export interface PublishedField {
  readonly name: string
  /** Of what is computed, which is null where it fails on the values of a row; undefined: `as` is the name of a column. */
  readonly type: ColumnType | undefined
  /** SQL, row-wise over the columns of the table. */
  readonly as: string
}

/** A table with a topic. */
export interface PublishedTable {
  readonly name: string
  readonly renamedFrom: string | undefined
  readonly to: ChangeTopic
  /** Columns that name a row; undefined: rows are only ever added. */
  readonly key: readonly string[] | undefined
  /** That the rows come from, of a source table. */
  readonly topic: string | undefined
}

/** Tables of a pipeline that have a topic, windows among them. */
export function publishedTables({
  tables,
  windows,
}: Pick<PipelineDefinition, 'tables' | 'windows'>): readonly PublishedTable[] {
  const published = ({ name, renamedFrom, to }: TableDefinition | WindowDefinition) =>
    to === undefined ? [] : [{ name, renamedFrom, to }]
  return [
    ...tables.flatMap((table) =>
      published(table).map((each) => ({
        ...each,
        key: table.key.length === 0 ? undefined : table.key,
        topic: table.topic,
      })),
    ),
    ...windows.flatMap((window) =>
      published(window).map((each) => ({ ...each, key: windowKey(window), topic: undefined })),
    ),
  ]
}

const fieldText = leaf('the name of a column, or what is computed, such as string = upper(name)', readField)

export const topicSchema = strict(
  {
    topic: z.string().regex(/^(?!\.{1,2}$)[A-Za-z0-9._-]{1,249}$/, { error: 'is not a topic name' }),
    where: expression.optional(),
    key: z.array(z.string()).min(1, { error: 'names no column' }).optional(),
    select: z.record(z.string().min(1).max(255), fieldText).optional(),
  },
  { format: 'values in Avro and other formats are', partitions: 'the partitions of change topics are' },
)

/** The written form of what a program gives. */
export function writtenTopic(to: unknown): unknown {
  const select: unknown = (to as TopicOptions | undefined)?.select
  if (typeof select !== 'object' || select === null) return to
  const texts = Object.entries<string | TypeSpec>(select as Record<string, string | TypeSpec>).map(
    ([field, given]) => [field, typeof given === 'object' && given !== null ? specText(given) : given] as const,
  )
  return { ...(to as TopicOptions), select: Object.fromEntries(texts) }
}

export function toTopic(given: z.output<typeof topicSchema>): ChangeTopic {
  const { topic, where, key, select } = given
  return {
    topic,
    where,
    ...(key === undefined ? {} : { key }),
    ...(select === undefined ? {} : { select: Object.entries(select).map(([name, field]) => ({ name, ...field })) }),
  }
}

/** Of a source table. Throws `config.invalid`. */
export function checkTableTopic(table: TableDefinition, at: FieldPath): void {
  const { to, key, topic, name, store } = table
  if (to === undefined) return
  if (!store)
    throw invalidField(
      [...at, 'to'],
      'the table keeps no rows (store: false), and rows are published once they are stored',
      'Remove "store", or remove "to".',
    )
  if (key.length > 0 && to.key !== undefined)
    throw invalidField([...at, 'to', 'key'], `the records are keyed by the key of "${name}"`, 'Remove it.')
  checkTopic(to, [topic, name], storedColumns(table), at, table.evolve !== undefined)
}

/** Of a window; `from` is its source. Throws `config.invalid`. */
export function checkWindowTopic(window: WindowDefinition, from: TableDefinition, at: FieldPath): void {
  const { to } = window
  if (to === undefined) return
  if (to.key !== undefined)
    throw invalidField([...at, 'to', 'key'], 'the records are keyed by groups and window_start', 'Remove it.')
  checkTopic(to, [from.topic, from.name], windowColumns(window), at)
}

function checkTopic(
  { topic, key = [], select }: ChangeTopic,
  [read, reader]: readonly [string, string],
  columns: readonly string[],
  at: FieldPath,
  isGrowing = false,
): void {
  const inTo = [...at, 'to']
  if (topic === read)
    throw invalidField([...inTo, 'topic'], `"${read}" is what "${reader}" reads`, 'Take another topic.')
  const listed = `Columns: ${columns.slice(0, 20).join(', ')}.`
  const more = isGrowing ? `Declare it, if it is one of the registry. ${listed}` : listed
  for (const [i, name] of key.entries()) checkColumn(name, columns, [...inTo, 'key', i], more)
  if (new Set(key).size < key.length) throw invalidField([...inTo, 'key'], 'names a column twice', 'Remove one.')
  if (select?.length === 0) throw invalidField([...inTo, 'select'], 'publishes nothing of a row', 'Add a field.')
  for (const { name, type, as } of select ?? [])
    if (type === undefined)
      checkColumn(
        as,
        columns,
        [...inTo, 'select', name],
        `Write a column, or a type and SQL, such as string = upper(name). ${more}`,
      )
}

function checkColumn(name: string, columns: readonly string[], at: FieldPath, otherwise: string): void {
  if (columns.includes(name)) return
  const meant = didYouMean(name, columns)
  throw invalidField(at, `there is no column "${name}"`, meant === undefined ? otherwise : `Did you mean "${meant}"?`)
}

function storedColumns(table: TableDefinition): readonly string[] {
  const { extra, version, partition, offset, timestamp } = SYSTEM_COLUMNS
  return [
    ...table.columns.map(({ name }) => name),
    ...(table.value !== 'raw' && table.unknown === 'extra' ? [extra] : []),
    ...(table.version?.startsWith('source.') === true ? [version] : []),
    partition,
    offset,
    timestamp,
  ]
}

function windowColumns({ groupBy, select, computed, input, window }: WindowDefinition): readonly string[] {
  return [
    ...groupBy,
    'window_start',
    'window_end',
    ...select.map(({ name }) => name),
    ...computed.map(({ name }) => name),
    ...(input === 'events' || window.kind === 'session' ? ['last_event_time'] : []),
    '_final',
    '_corrections',
  ]
}

/** A type, perhaps with arguments, and `=`: all else is the name of a column. */
const COMPUTED = /^[A-Za-z_]\w*\s*(\([^()]*\)|<[^=]*>)?\s*(required\s*)?=/

function readField(text: string): Omit<PublishedField, 'name'> {
  if (!COMPUTED.test(text)) return { type: undefined, as: text }
  const { type, as, required } = parseColumn('', text)
  if (required === true) throw problem('what is computed is always optional', 'Remove "required".')
  return { type, as: as! }
}
