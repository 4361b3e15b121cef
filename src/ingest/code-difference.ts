import { columnText, typeText, type Column } from '../batch.ts'
import { type PipelineDefinition, type TableDefinition } from '../define.ts'
import { definitionText, windowDefinitionText } from '../define-code.ts'
import type { WindowDefinition } from '../define-window.ts'
import { planSchema, type LakeTable } from '../lake/table.ts'
import { definitionOf, type StoredDefinition } from '../stored-definition.ts'
import { LEFT_BEHIND, type Version } from '../version.ts'
import { storedWindow } from '../window-property.ts'
import { changedTables, sourceOf } from './codes.ts'
import { tableColumns } from './decode/columns.ts'
import { definitionAt } from './growing.ts'
import type { Tables } from './tables.ts'

/** How the definition of a source table or window is another one than that which made it in a version. */
export interface CodeDifference {
  readonly table: string
  readonly isNew: boolean
  /** In words for a person, `where: "a > 1" → "a > 2"`; empty where it is not known. */
  readonly changes: readonly string[]
  /** Why the new code cannot go on with the rows that are there; empty: it can. */
  readonly obstacles: readonly string[]
}

/** Of the tables and windows of a definition those that are not the version's, in the definition's order. */
export function codeDifferences(
  definition: PipelineDefinition,
  head: Pick<Version, 'tables'>,
  tables: Tables,
): readonly CodeDifference[] {
  const changed = new Set(changedTables(definition, head))
  return [
    ...definition.tables.filter(({ name }) => changed.has(name)).map((table) => ofTable(table, head, tables)),
    ...definition.windows
      .filter(({ name }) => changed.has(name))
      .map((window) => ofWindow(window, sourceOf(window, definition), head, tables)),
  ]
}

/** What of a table decides how rows that are there are found, or what they are. */
const FIXED_OF_TABLES: Readonly<Record<string, string>> = {
  topic: 'the positions are those of the other topic',
  value: 'the columns are those of the other format',
  key: 'rows of the other key are there',
  recordKey: 'null values would remove rows of other keys',
  keyFormat: 'null values would remove rows of other keys',
  version: 'rows that are there have no such version',
  eventTime: 'which records were late was judged by the other event time',
  partitionBy: 'files that are there are divided otherwise',
}

function ofTable(table: TableDefinition, head: Pick<Version, 'tables'>, tables: Tables): CodeDifference {
  const stored = storedOf(table, head, tables)
  if (stored.kind !== 'known') return { table: table.name, ...stored.difference }
  const { before, lake } = stored
  const now = JSON.parse(definitionText(table)) as StoredDefinition
  if (before['window'] !== undefined) return kindChanged(table.name, 'a window')
  const fields = fieldsChanged(before, now)
  // What belongs to a key comes and goes with it.
  const told = fields.includes('key') ? fields.filter((field) => !KEY_FIELDS.includes(field)) : fields
  const obstacles = told.filter((field) => FIXED_OF_TABLES[field] !== undefined).map(fixed(FIXED_OF_TABLES))
  if (told.includes('store') && table.key.length > 0)
    obstacles.push('store changed: a key is found by the rows that are there')
  const follows = table.key.length > 0 ? 'key' : table.eventTime === undefined ? undefined : 'event time'
  if (told.includes('map') && follows !== undefined)
    obstacles.push(`map changed: the ${follows} of records that were read may be another one now`)
  obstacles.push(...columnObstacles(table, columnsOf(before), lake))
  return {
    table: table.name,
    isNew: false,
    changes: [...columnChanges(columnsOf(before), columnsOf(now)), ...told.map(worded(before, now))],
    obstacles,
  }
}

const KEY_FIELDS = ['recordKey', 'keyFormat', 'version', 'missing', 'onTruncate']

/** What of a window decides what its partials are, and which of them are held. */
const STATE = 'what is open was aggregated otherwise'
const FIXED_OF_WINDOWS: Readonly<Record<string, string>> = {
  semantics: 'this release aggregates otherwise',
  window: STATE,
  groupBy: STATE,
  select: STATE,
  computed: 'rows that are there have other columns',
  input: STATE,
  nullGroup: 'rows that are there were grouped otherwise',
  allowedLatenessMs: 'what was late before would be in time now',
  emit: 'open rows are there, or are not',
  retainMs: 'rows that are there were kept for another time',
}

function ofWindow(
  window: WindowDefinition,
  source: TableDefinition,
  head: Pick<Version, 'tables'>,
  tables: Tables,
): CodeDifference {
  const { name, input } = window
  const stored = storedOf(window, head, tables)
  if (stored.kind === 'new') {
    const hasRows = tables.get(source.name)?.snapshot !== undefined
    const obstacle = `it is over the rows of ${source.name}, which has some: what they change to would be taken back`
    return { table: name, ...stored.difference, obstacles: input === 'rows' && hasRows ? [obstacle] : [] }
  }
  if (stored.kind !== 'known') return { table: name, ...stored.difference }
  const { before, lake } = stored
  const now = JSON.parse(windowDefinitionText(window, source)) as StoredDefinition
  if (before['window'] === undefined) return kindChanged(name, 'a table')
  const [fields, sources] = [fieldsChanged(before, now), [before, now].map((each) => each['source'] as string[])]
  const isOfOther = sources[0]![0] !== sources[1]![0]
  const obstacles = fields.filter((field) => FIXED_OF_WINDOWS[field] !== undefined).map(fixed(FIXED_OF_WINDOWS))
  if (isOfOther) obstacles.push(`source changed: ${STATE}`)
  if (fields.includes('where') && input === 'rows')
    obstacles.push('where changed: rows that were counted by the other condition could not be taken back')
  for (const column of storedWindow(lake.properties)?.columns ?? []) {
    const after = tableColumns(source).find((each) => each.name === column.name)
    if (after !== undefined && readText(after) !== readText(column))
      obstacles.push(`${source.name}.${column.name} was ${readText(column)} and is ${readText(after)}: ${STATE}`)
  }
  const changes = fields.filter((field) => field !== 'source' && field !== 'select').map(worded(before, now))
  if (fields.includes('select')) changes.push(...resultChanges(before, now))
  if (isOfOther) changes.unshift(`source: ${sources[0]![0]} → ${sources[1]![0]}`)
  else if (fields.includes('source')) changes.unshift(`its source ${source.name} changed`)
  return { table: name, isNew: false, changes, obstacles }
}

type Stored =
  | { readonly kind: 'known'; readonly before: StoredDefinition; readonly lake: LakeTable }
  | { readonly kind: 'new' | 'unknown'; readonly difference: Omit<CodeDifference, 'table'> }

function storedOf(
  { name, renamedFrom = '' }: TableDefinition | WindowDefinition,
  head: Pick<Version, 'tables'>,
  tables: Tables,
): Stored {
  const [lake, version] = [tables.get(name), Object.hasOwn(head.tables, name) ? head.tables[name] : undefined]
  if (version === undefined && Object.hasOwn(head.tables, renamedFrom)) {
    const both = `is ${renamedFrom} by another name, and changed as well: rename it by itself first`
    return { kind: 'unknown', difference: { isNew: false, changes: [both], obstacles: [both] } }
  }
  if (lake === undefined || version === undefined)
    return { kind: 'new', difference: { isNew: true, changes: ['is new'], obstacles: [] } }
  const before = definitionOf(lake.properties, version.code)
  if (before !== undefined) return { kind: 'known', before, lake }
  const isLeft = version.code === LEFT_BEHIND
  const reason = isLeft
    ? 'lacks records that its topic took while it was not in the definition'
    : 'was made by a release that did not keep definitions beside the rows'
  return { kind: 'unknown', difference: { isNew: false, changes: isLeft ? [reason] : [], obstacles: [reason] } }
}

function kindChanged(table: string, what: string): CodeDifference {
  return { table, isNew: false, changes: [`was ${what}`], obstacles: [`was ${what}`] }
}

/** Parts whose values differ; names and columns are told otherwise. */
function fieldsChanged(before: StoredDefinition, now: StoredDefinition): string[] {
  const names = new Set([...Object.keys(before), ...Object.keys(now)])
  return [...names].filter(
    (name) => name !== 'columns' && name !== 'name' && JSON.stringify(before[name]) !== JSON.stringify(now[name]),
  )
}

function worded(before: StoredDefinition, now: StoredDefinition): (field: string) => string {
  const text = (value: unknown): string => (value === undefined ? 'none' : JSON.stringify(value))
  return (field) => `${field}: ${text(before[field])} → ${text(now[field])}`
}

/** Results of a window by name, as somebody would write them: `revenue: sum(amount) → sum(amount) where a > 1`. */
function resultChanges(before: StoredDefinition, now: StoredDefinition): string[] {
  const [old, young] = [before, now].map(({ select }) => new Map((select as readonly StoredResult[]).map(resultText)))
  const changes = [...young!].flatMap(([name, text]) => {
    const was = old!.get(name)
    if (was === text) return []
    return [was === undefined ? `result ${name} (${text}) is new` : `result ${name}: ${was} → ${text}`]
  })
  for (const name of old!.keys()) if (!young!.has(name)) changes.push(`result ${name} is gone`)
  return changes.length === 0 ? ['results are in another order'] : changes
}

type StoredResult = readonly [name: string, fn: string, column: string | null, n: number | null, where: string | null]

function resultText([name, fn, column, n, where]: StoredResult): readonly [string, string] {
  const what = [n, column].filter((part) => part !== null).join(', ')
  return [name, `${fn}(${what})${where === null ? '' : ` where ${where}`}`]
}

function fixed(reasons: Readonly<Record<string, string>>): (field: string) => string {
  return (field) => `${field} changed: ${reasons[field]}`
}

type ColumnTexts = ReadonlyMap<string, string>

/** Columns by name, as `columnText` writes them. */
function columnsOf({ columns }: StoredDefinition): ColumnTexts {
  return new Map(columns as readonly (readonly [string, string])[])
}

function columnChanges(before: ColumnTexts, now: ColumnTexts): string[] {
  const changes = [...now].flatMap(([name, text]) => {
    const old = before.get(name)
    if (old === text) return []
    return [old === undefined ? `column ${name} (${text}) is new` : `column ${name}: ${old} → ${text}`]
  })
  for (const name of before.keys()) if (!now.has(name)) changes.push(`column ${name} is gone`)
  const isMoved = changes.length === 0 && [...before.keys()].join('\n') !== [...now.keys()].join('\n')
  return isMoved ? ['columns are in another order'] : changes
}

/** Columns that say which row a record is, and in which order records count, are to be read as they were. */
function columnObstacles(table: TableDefinition, before: ColumnTexts, lake: LakeTable): string[] {
  const roles = new Map<string, string>([
    ...table.key.map((name) => [name, 'it is part of the key'] as const),
    ...(table.version === undefined ? [] : [[table.version, 'it orders the records of a key'] as const]),
    ...(table.eventTime === undefined ? [] : [[table.eventTime.column, 'it is the event time'] as const]),
  ])
  const obstacles = table.columns.flatMap((column) => {
    const [role, old] = [roles.get(column.name), before.get(column.name)]
    const isOther = role !== undefined && old !== undefined && old !== columnText(column)
    return isOther ? [`column ${column.name} changed: ${role}`] : []
  })
  const { problems } = planSchema(
    { ...lake, lastColumnId: lake.raw['last-column-id'] },
    tableColumns(definitionAt(table, lake)),
  )
  return [...obstacles, ...problems.map(({ column, message }) => `column ${column} ${message}`)]
}

/** What a window depends on of a column that it reads. */
function readText({ type, required }: Column): string {
  return `${typeText(type)}${required === true ? ' required' : ''}`
}
