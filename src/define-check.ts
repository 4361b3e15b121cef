import * as z from 'zod'
import { columnText, SYSTEM_COLUMNS, type Column } from './batch.ts'
import type { EventTime, LakeDefinition, PipelineDefinition, TableDefinition } from './define.ts'
import { columnsProblem, readColumn } from './define-type.ts'
import {
  didYouMean,
  duration,
  invalidField,
  leaf,
  name,
  nameProblem,
  parseFields,
  parseInstant,
  problem,
  strict,
  type FieldPath,
} from './define-fields.ts'
import { checkKept, checkKeys, toKeyed } from './define-key.ts'
import { checkComputed } from './define-computed.ts'
import { checkLookups, lookupSchema, toLookups } from './define-lookup.ts'
import { checkMap, mapSchema, toMap } from './define-map.ts'
import { checkRedact, redactSchema, toRedactions } from './define-redact.ts'
import { expression } from './define-sql-tokens.ts'
import { checkTableTopic, topicSchema, toTopic } from './define-topic.ts'
import { checkOverSource, sourcesOf, toWindow, withoutTable } from './define-window-check.ts'
import { windowSchema } from './define-window-fields.ts'
import type { WindowDefinition } from './define-window.ts'
import { archiveSchema, archiveTables } from './define-archive.ts'
import { namesSchemas, toFormat, writtenFormat, type Format } from './define-avro.ts'
import { EVOLVE, type Evolve } from './evolve-columns.ts'
import { checkProtobuf } from './define-protobuf.ts'
import { checkKeyFormat, toKeyFormat, writtenKey } from './define-record-key.ts'
import { RAW_COLUMNS } from './define-raw.ts'
import { LakeError } from './error.ts'
import type { StartAt } from './log.ts'

/** A definition as it is written, in YAML or in TypeScript, and as it runs: with every default filled in, and checked. */
export function checkTable(tableName: string, input: unknown, at: FieldPath): TableDefinition {
  const wrongName = nameProblem(tableName)
  if (wrongName !== undefined) throw invalidField(at, wrongName.message, wrongName.fix)
  return toTable(tableName, parseFields(tableSchema, input, at), at)
}

/** Checks what tables and windows must agree on. Tables are checked by themselves before. */
export function checkLake(pipelines: readonly PipelineDefinition[], at: FieldPath): LakeDefinition {
  const owners = new Map<string, string>()
  for (const { name: pipeline, tables, windows } of pipelines) {
    const wrongName = nameProblem(pipeline)
    if (wrongName !== undefined) throw invalidField([...at, pipeline], wrongName.message, wrongName.fix)
    if (tables.length === 0) throw withoutTable([...at, pipeline, 'tables'], windows[0])
    for (const table of tables)
      claimTableName(owners, table, pipeline, [
        ...at,
        pipeline,
        ...(table.isArchive === true ? ['archive'] : ['tables', table.name]),
      ])
    for (const window of windows) claimTableName(owners, window, pipeline, [...at, pipeline, 'windows', window.name])
    checkStarts(tables, [...at, pipeline, 'tables'])
    checkKeys(tables, [...at, pipeline, 'tables'])
    const names = windows.map((window) => window.name)
    for (const window of windows) {
      const path = [...at, pipeline, 'windows', window.name]
      checkOverSource(window, sourcesOf(tables, names)(window.source, [...path, 'source']), path)
    }
    const idle = tables.find((table) => !table.store && !windows.some(({ source }) => source === table.name))
    if (idle !== undefined)
      throw invalidField(
        [...at, pipeline, 'tables', idle.name, 'store'],
        'the table keeps no rows and feeds no window',
        'Remove "store", or define a window over the table.',
      )
  }
  for (const { name: pipeline, tables, windows } of pipelines)
    for (const { name, kind, renamedFrom } of [...tables, ...windows])
      if (renamedFrom !== undefined && owners.has(renamedFrom))
        throw invalidField(
          [...at, pipeline, `${kind}s`, name, 'renamedFrom'],
          `"${renamedFrom}" is the name of a table`,
          'Remove "renamedFrom", or the table of the old name.',
        )
  return { pipelines }
}

/** Tables and windows share one space of names, across pipelines. */
function claimTableName(
  owners: Map<string, string>,
  { name, kind }: TableDefinition | WindowDefinition,
  pipeline: string,
  at: FieldPath,
): void {
  const owner = owners.get(name)
  if (owner !== undefined)
    throw invalidField(
      at,
      `the ${kind} name "${name}" is taken by ${owner}`,
      `A table belongs to one pipeline, and a window is a table: rename one of them.`,
    )
  owners.set(name, `pipeline "${pipeline}"`)
}

const startAt = leaf('earliest, latest or an RFC 3339 time', (text): StartAt => {
  if (text === 'earliest' || text === 'latest') return text
  if (!/^\d{4}-/.test(text)) {
    const meant = didYouMean(text, ['earliest', 'latest'])
    throw problem(
      `"${text}" is not a start`,
      meant === undefined ? 'Write earliest, latest or an RFC 3339 time.' : `Did you mean "${meant}"?`,
    )
  }
  return { timestampMs: parseInstant(text) }
})
const instant = leaf('an RFC 3339 time', (text) => ({ timestampMs: parseInstant(text) }))

const topic = z.string().regex(/^(?!\.{1,2}$)[A-Za-z0-9._-]{1,249}$/, {
  error: 'is not a topic name (1 to 249 letters, digits, dots, underscores or dashes)',
})

/** One of some words; `later` are those of formats to come. */
function word<W extends string>(words: readonly W[], later: readonly string[], what: string) {
  return z.string().transform((text, context): W => {
    const known = words.find((candidate) => candidate === text)
    if (known !== undefined) return known
    const meant = didYouMean(text, words)
    const list = `${words.slice(0, -1).join(', ')} or ${words.at(-1)}`
    const fix = meant === undefined ? `Write ${list}.` : `Did you mean "${meant}"?`
    const isLater = later.includes(text)
    const message = isLater
      ? `${what} in ${text} are not in this release`
      : `must be ${list}, not ${JSON.stringify(text)}`
    context.addIssue({ code: 'custom', message, params: { fix, code: isLater ? 'config.unsupported' : undefined } })
    return z.NEVER
  })
}

const valueWord = word(['json', 'raw', 'debezium', 'avro', 'protobuf'], ['csv', 'text'], 'values')
const value = z.union([valueWord, writtenFormat], { error: 'must be a format, or an object with one' })
const keyWord = word(['string', 'json', 'avro', 'protobuf', 'debezium', 'none'], [], 'keys')
const recordKey = z.union([keyWord, writtenKey], { error: 'must be a word, or an object with a format' })

const eventTimeSchema = strict({
  column: z.string(),
  unit: z.enum(['s', 'ms', 'us']).optional(),
  outOfOrderness: duration({ maxMs: 365 * 86_400_000 }).prefault('5s'),
  idleAfter: duration({ minMs: 1 }).prefault('30s'),
  maxFutureSkew: duration().prefault('5m'),
})

export const tableSchema = strict(
  {
    from: strict(
      {
        topic,
        value: value.prefault('json'),
        key: recordKey.optional(),
        startAt: z.union([startAt, strict({ timestamp: instant })]).prefault('earliest'),
      },
      { topics: 'several topics for one table are' },
    ),
    columns: z.record(z.string(), z.string()).optional(),
    evolve: z.enum(EVOLVE).optional(),
    key: z.array(z.string()).optional(),
    version: z.string().optional(),
    missing: z.enum(['null', 'keep']).nullish(),
    onTruncate: z.enum(['stop', 'apply']).optional(),
    eventTime: eventTimeSchema.optional(),
    partitionBy: z.array(z.string()).prefault([]),
    onError: z.enum(['dead-letter', 'stop', 'skip']).prefault('dead-letter'),
    unknown: z.enum(['extra', 'ignore', 'fail']).optional(),
    where: expression.optional(),
    store: z.boolean().prefault(true),
    map: mapSchema.optional(),
    lookup: lookupSchema.optional(),
    redact: redactSchema.optional(),
    to: topicSchema.optional(),
    renamedFrom: name.optional(),
  },
  {
    select: 'projections are',
    transform: 'transforms are',
    dedup: 'deduplication is',
    retain: 'retention is',
    maxDeadLetterRatio: 'a limit for dead letters is',
  },
)

/** The `pipelines` part of a file. */
export const pipelinesSchema = z.record(
  name,
  strict(
    {
      onDataLoss: z.enum(['stop', 'record-gap']).prefault('stop'),
      archive: archiveSchema.optional(),
      tables: z.record(name, tableSchema),
      windows: z.record(name, windowSchema).prefault({}),
    },
    { joins: 'joins are', patterns: 'patterns are', references: 'reference tables are' },
  ),
)

export function checkPipelines(input: unknown, at: FieldPath): LakeDefinition {
  const pipelines = Object.entries(parseFields(pipelinesSchema, input, at)).map(([pipeline, parsed]) => {
    const tables = Object.entries(parsed.tables).map(([table, fields]) =>
      toTable(table, fields, [...at, pipeline, 'tables', table]),
    )
    const find = sourcesOf(tables, Object.keys(parsed.windows))
    const windows = Object.entries(parsed.windows).map(([window, fields]) =>
      toWindow(window, fields, find, [...at, pipeline, 'windows', window]),
    )
    const archives = archiveTables(parsed.archive, tables, [...at, pipeline, 'archive'])
    return { name: pipeline, onDataLoss: parsed.onDataLoss, tables: [...tables, ...archives], windows }
  })
  if (pipelines.length === 0) throw invalidField(at, 'no pipeline is defined', 'Define one with at least one table.')
  return checkLake(pipelines, at)
}

function toTable(tableName: string, fields: z.output<typeof tableSchema>, at: FieldPath): TableDefinition {
  const { from, onError } = fields
  const format = toFormat(from.value, [...at, 'from', 'value'])
  const isRaw = format.value === 'raw'
  if (isRaw && fields.columns !== undefined)
    throw invalidField([...at, 'columns'], 'a raw table has the columns key, value and headers', 'Remove "columns".')
  if (isRaw && fields.unknown !== undefined)
    throw invalidField([...at, 'unknown'], 'a raw table has no unknown fields', 'Remove "unknown".')
  const evolve = toEvolve(fields, format, at)
  const declared = isRaw
    ? RAW_COLUMNS
    : readColumns(fields.columns, [...at, 'columns'], format.columns, evolve !== undefined)
  const { word: key, keyFormat } = toKeyFormat(from.key, [...at, 'from', 'key'])
  const { columns, ...keyed } = toKeyed({ ...fields, from: { ...from, ...format, key } }, declared, at)
  const partitionBy = readPartitionBy(fields.partitionBy, columns, [...at, 'partitionBy'])
  checkKept({ columns, partitionBy, ...keyed }, at)
  const table: TableDefinition = {
    kind: 'table',
    name: tableName,
    topic: from.topic,
    value: format.value,
    ...(format.avro === undefined ? {} : { avro: format.avro }),
    ...(format.protobuf === undefined ? {} : { protobuf: format.protobuf }),
    ...(format.framing === undefined ? {} : { framing: format.framing }),
    startAt: typeof from.startAt === 'object' ? startOf(from.startAt) : from.startAt,
    columns,
    ...(evolve === undefined ? {} : { evolve }),
    eventTime:
      fields.eventTime === undefined ? undefined : toEventTime(fields.eventTime, columns, [...at, 'eventTime']),
    partitionBy,
    onError,
    unknown: isRaw ? 'ignore' : (fields.unknown ?? 'extra'),
    ...keyed,
    ...(keyFormat === undefined ? {} : { keyFormat }),
    where: fields.where,
    store: fields.store,
    ...toMap(fields.map, at),
    ...toLookups(fields.lookup),
    ...toRedactions(fields.redact),
    ...(fields.to === undefined ? {} : { to: toTopic(fields.to) }),
    ...(fields.renamedFrom === undefined ? {} : { renamedFrom: fields.renamedFrom }),
  }
  checkComputed(table, at)
  checkProtobuf(table, at)
  checkKeyFormat(table, at)
  checkMap(table, at)
  checkLookups(table, at)
  checkRedact(table, at)
  checkTableTopic(table, at)
  return table
}

/** How columns come from a registry; undefined: they do not. */
function toEvolve(
  { evolve, columns, missing }: z.output<typeof tableSchema>,
  format: Format,
  at: FieldPath,
): Evolve | undefined {
  const isOfRegistry = format.value !== 'debezium' && namesSchemas(format)
  if (evolve !== undefined && !isOfRegistry)
    throw invalidField(
      [...at, 'evolve'],
      'columns evolve where values name schemas of a registry',
      'Remove "evolve", or write value: avro, or protobuf without a schema.',
    )
  const isDeclared = columns !== undefined && Object.keys(columns).length > 0
  const found = evolve ?? (isOfRegistry && !isDeclared ? 'add-widen' : undefined)
  if (found !== undefined && missing === 'keep')
    throw invalidField(
      [...at, 'missing'],
      'keep needs all columns to be declared',
      'Remove "missing", or declare the columns and remove "evolve".',
    )
  return found
}

/** `known`: what the columns are when none is declared. `mayLack`: others come from a registry. */
function readColumns(
  declared: Readonly<Record<string, string>> | undefined,
  at: FieldPath,
  known: readonly Column[] = [],
  mayLack = false,
): readonly Column[] {
  const isDeclared = declared !== undefined && Object.keys(declared).length > 0
  if (!isDeclared && known.length === 0 && mayLack) return []
  if (!isDeclared && known.length === 0)
    throw invalidField(
      at,
      'a table needs a column',
      'Add one, such as "id: string required", or take the records as they are with value: raw.',
    )
  const written = isDeclared ? declared : Object.fromEntries(known.map((column) => [column.name, columnText(column)]))
  const columns = Object.entries(written).map(([column, text]) => {
    try {
      return readColumn(column, text)
    } catch (error) {
      if (error instanceof LakeError) throw invalidField([...at, column], error.message, error.fix)
      throw error
    }
  })
  const found = columnsProblem(columns)
  if (found !== undefined) throw invalidField([...at, ...found.path], found.problem.message, found.problem.fix)
  return columns
}

function toEventTime(given: z.output<typeof eventTimeSchema>, columns: readonly Column[], at: FieldPath): EventTime {
  const type =
    given.column === SYSTEM_COLUMNS.timestamp
      ? ({ kind: 'timestamptz' } as const)
      : columns.find((column) => column.name === given.column)?.type
  if (type === undefined) {
    const known = [...columns.map((column) => column.name), SYSTEM_COLUMNS.timestamp]
    throw invalidField([...at, 'column'], `there is no column "${given.column}"`, fixFor(given.column, known))
  }
  if (type.kind !== 'timestamp' && type.kind !== 'timestamptz' && type.kind !== 'long')
    throw invalidField(
      [...at, 'column'],
      `"${given.column}" is of type ${type.kind}, which is no event time`,
      'Take a column of type timestamp, timestamptz or long, or _timestamp, the time of the record itself.',
    )
  if (type.kind === 'long' && given.unit === undefined)
    throw invalidField([...at, 'unit'], 'is missing', `"${given.column}" is a long: add unit: s, ms or us.`)
  if (type.kind !== 'long' && given.unit !== undefined)
    throw invalidField([...at, 'unit'], `"${given.column}" is a ${type.kind}, which carries its unit`, 'Remove "unit".')
  return {
    column: given.column,
    unit: given.unit ?? 'us',
    outOfOrdernessMs: given.outOfOrderness,
    idleAfterMs: given.idleAfter,
    maxFutureSkewMs: given.maxFutureSkew,
  }
}

const PARTITION_EXAMPLES =
  'Write status, day(updatedAt), hour(t), month(t), year(t), bucket(16, id) or truncate(4, zip).'

/** Each text in its canonical form, `bucket(16, orderId)`. Whether a transform fits the column's type is the lake's to say. */
function readPartitionBy(texts: readonly string[], columns: readonly Column[], at: FieldPath): string[] {
  const system = [SYSTEM_COLUMNS.partition, SYSTEM_COLUMNS.offset, SYSTEM_COLUMNS.timestamp]
  const known = [...columns.map((column) => column.name), ...system]
  const canonical = texts.map((text, i) => {
    const parts = /^\s*(?:([a-z]+)\s*\(\s*(?:(\d{1,9})\s*,\s*)?([^\s(),]+)\s*\)|([^\s(),]+))\s*$/.exec(text)
    if (parts === null) throw invalidField([...at, i], `"${text}" is not a partition transform`, PARTITION_EXAMPLES)
    const [, transform, width, argument, plain] = parts
    const column = (argument ?? plain)!
    if (!known.includes(column)) throw invalidField([...at, i], `there is no column "${column}"`, fixFor(column, known))
    if (transform === undefined || transform === 'identity') return column
    const needsWidth = transform === 'bucket' || transform === 'truncate'
    if (!needsWidth && !['year', 'month', 'day', 'hour'].includes(transform))
      throw invalidField([...at, i], `there is no transform "${transform}"`, PARTITION_EXAMPLES)
    if (
      needsWidth !== (width !== undefined) ||
      (width !== undefined && (Number(width) < 1 || Number(width) > 2 ** 31 - 1))
    )
      throw invalidField([...at, i], `"${text}" needs ${needsWidth ? 'a width' : 'no width'}`, PARTITION_EXAMPLES)
    return needsWidth ? `${transform}(${Number(width)}, ${column})` : `${transform}(${column})`
  })
  const twin = canonical.findIndex((text, i) => canonical.indexOf(text) !== i)
  if (twin >= 0) throw invalidField([...at, twin], `"${canonical[twin]}" stands twice`, 'Remove one.')
  return canonical
}

/** `startAt` belongs to the topic: a pipeline reads a topic once. */
function checkStarts(tables: readonly TableDefinition[], at: FieldPath): void {
  const first = new Map<string, TableDefinition>()
  for (const table of tables) {
    const other = first.get(table.topic) ?? table
    first.set(table.topic, other)
    if (JSON.stringify(other.startAt) !== JSON.stringify(table.startAt))
      throw invalidField(
        [...at, table.name, 'from', 'startAt'],
        `differs from that of table "${other.name}", which reads the same topic "${table.topic}"`,
        'A pipeline reads a topic once: give both tables the same startAt, or put them into two pipelines.',
      )
  }
}

function startOf(given: StartAt | { readonly timestamp: { readonly timestampMs: number } }): StartAt {
  return typeof given === 'object' && 'timestamp' in given ? given.timestamp : given
}

function fixFor(word: string, known: readonly string[]): string {
  const meant = didYouMean(word, known)
  return meant === undefined ? `Columns: ${known.slice(0, 20).join(', ')}.` : `Did you mean "${meant}"?`
}
