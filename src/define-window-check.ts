import type { Column } from './batch.ts'
import { keptColumns } from './define-computed.ts'
import type { TableDefinition } from './define.ts'
import {
  didYouMean,
  fieldError,
  invalidField,
  nameProblem,
  parseFields,
  pathText,
  type FieldPath,
} from './define-fields.ts'
import { splitResults } from './define-result.ts'
import { readWindowSql, type SqlWindow } from './define-sql.ts'
import { columnsRead, placeOf } from './define-sql-tokens.ts'
import { checkWindowTopic, toTopic } from './define-topic.ts'
import { KIND_KEYS, toKind, windowSchema, type WindowFields } from './define-window-fields.ts'
import { isPrimitive, resultType, type WindowDefinition } from './define-window.ts'
import { LakeError } from './error.ts'

/** Finds the source of a window, or throws why there is none. */
export type FindSource = (name: string, at: FieldPath) => TableDefinition

/** A window as it is written, in YAML or in TypeScript, as it runs: with every default filled in, and checked. */
export function checkWindow(name: string, input: unknown, find: FindSource, at: FieldPath): WindowDefinition {
  const wrongName = nameProblem(name)
  if (wrongName !== undefined) throw invalidField(at, wrongName.message, wrongName.fix)
  return toWindow(name, parseFields(windowSchema, input, at), find, at)
}

export function toWindow(name: string, fields: WindowFields, find: FindSource, at: FieldPath): WindowDefinition {
  const written = fields.sql === undefined ? fromFields(fields, find, at) : fromSql(fields, fields.sql, find, at)
  const { source, ...parts } = written
  const window: WindowDefinition = {
    kind: 'window',
    name,
    ...(fields.renamedFrom === undefined ? {} : { renamedFrom: fields.renamedFrom }),
    source: source.name,
    ...parts,
    allowedLatenessMs: fields.allowedLateness,
    input: fields.input ?? (source.key.length === 0 ? 'events' : 'rows'),
    nullGroup: fields.nullGroup,
    emit: fields.emit,
    earlyMs: fields.early,
    openRowsMax: fields.openRowsMax,
    oldValuesMax: fields.oldValuesMax ?? OLD_VALUES_MAX,
    retainMs: fields.retain,
    to: fields.to === undefined ? undefined : toTopic(fields.to),
  }
  if (window.input === 'events' && fields.oldValuesMax !== undefined)
    throw invalidField([...at, 'oldValuesMax'], 'a window over events holds no old values', 'Take input: rows.')
  if (fields.sql === undefined) checkOverSource(window, source, at)
  else blameSql([...at, 'sql'], at, () => checkOverSource(window, source, at))
  return window
}

/**
 * What a window must agree on with the table that it aggregates; `at` is the path of the window. Throws
 * `config.invalid`.
 */
export function checkOverSource(window: WindowDefinition, source: TableDefinition, at: FieldPath): void {
  if (source.eventTime === undefined)
    throw invalidField(
      [...at, 'source'],
      `table "${source.name}" has no event time, and windows are of event time`,
      `Add eventTime to "${source.name}", such as eventTime: {column: _timestamp}.`,
    )
  checkInput(window, source, at)
  const names = new Map(RESULT_COLUMNS.map((name) => [name, 'every window table has that column']))
  for (const [i, group] of window.groupBy.entries()) {
    const path = [...at, 'groupBy', i]
    const { type } = columnOf(source, group, path)
    if (!isPrimitive(type))
      throw invalidField(path, `"${group}" is a ${type.kind}, which is no group`, 'Take plain columns.')
    claimName(names, group, 'a group column has that name', path)
  }
  if (window.select.length === 0)
    throw invalidField([...at, 'select'], 'a window needs a result', 'Add one, such as n: count().')
  for (const aggregate of window.select) {
    const path = [...at, 'select', aggregate.name]
    claimResult(names, aggregate.name, path)
    const type = resultType(
      aggregate,
      aggregate.column === undefined ? undefined : columnOf(source, aggregate.column, path).type,
    )
    if (type instanceof LakeError) throw invalidField(path, type.message, type.fix)
  }
  checkComputed(window, names, at)
  refuseRowid(window, source, at)
  if (window.input === 'events') refuseKept(window, source, at)
  if (window.emit === 'close' && window.earlyMs > 0)
    throw invalidField([...at, 'early'], 'emit: close writes final rows alone', 'Remove "early", or take emit: update.')
  if (window.retainMs !== undefined && window.retainMs < window.allowedLatenessMs)
    throw invalidField(
      [...at, 'retain'],
      'is shorter than allowedLateness: rows would be deleted before they are final',
      'Take a longer one.',
    )
  checkWindowTopic(window, source, at)
}

/** Finds the sources of a pipeline's windows among its tables. */
export function sourcesOf(tables: readonly TableDefinition[], windows: readonly string[]): FindSource {
  return (name, at) => {
    const table = tables.find((candidate) => candidate.name === name)
    if (table !== undefined) return table
    if (windows.includes(name)) throw windowOverWindow(at)
    const known = tables.map((candidate) => candidate.name)
    const meant = didYouMean(name, known)
    throw invalidField(
      at,
      `the pipeline has no table "${name}"`,
      meant === undefined ? `Tables: ${known.slice(0, 20).join(', ')}.` : `Did you mean "${meant}"?`,
    )
  }
}

/** Why a window cannot aggregate another one. */
export function windowOverWindow(at: FieldPath) {
  return fieldError([
    {
      code: 'config.unsupported',
      path: at,
      message:
        'windows over windows are not in this release: the rows of a window change until they are final, and have no event time of their own',
      fix: 'Aggregate the source table in a second window, or query the first one with SQL.',
    },
  ])
}

type Written = Pick<WindowDefinition, 'window' | 'groupBy' | 'where' | 'select' | 'computed'> & {
  readonly source: TableDefinition
}

function fromFields(fields: WindowFields, find: FindSource, at: FieldPath): Written {
  if (fields.source === undefined) throw invalidField([...at, 'source'], 'is missing', 'Name the table to aggregate.')
  return {
    source: find(fields.source, [...at, 'source']),
    window: toKind(fields, fields.timeZone, at),
    groupBy: fields.groupBy ?? [],
    where: fields.where,
    ...splitResults(fields.select ?? {}),
  }
}

/** Keys that the SQL speaks for. */
const IN_SQL = [...KIND_KEYS, 'groupBy', 'where', 'select'] as const

function fromSql(fields: WindowFields, sql: string, find: FindSource, at: FieldPath): Written {
  const twice = IN_SQL.find((key) => fields[key] !== undefined)
  if (twice !== undefined)
    throw invalidField([...at, twice], 'stands beside "sql", which says it already', `Remove "${twice}" or "sql".`)
  const inSql = [...at, 'sql']
  return blameSql(inSql, at, () => {
    const read = readWindowSql(sql)
    const known = fields.source ?? read.from.name
    if (read.from.name !== known)
      throw new LakeError('config.invalid', `${placeOf(sql, read.from.at)}: FROM is not the source "${known}"`, {
        fix: `Write FROM ${known}.`,
      })
    const source = find(known, fields.source === undefined ? inSql : [...at, 'source'])
    checkNames(sql, read, source)
    return {
      source,
      window: toKind(read.kind, fields.timeZone, at),
      groupBy: read.groupBy.map(({ name }) => name),
      where: read.where,
      select: read.select.map(({ name, fn, column, n, where }) => ({ name, fn, column, n, where })),
      computed: [],
    }
  })
}

/** Columns of the SQL, with their places, while these are known. `event_time` stands for the source's event time. */
function checkNames(sql: string, { time, groupBy, select }: SqlWindow, source: TableDefinition): void {
  const known = source.columns.map(({ name }) => name)
  const event = source.eventTime?.column
  if (event !== undefined && time.name !== event && (time.name !== EVENT_TIME || known.includes(EVENT_TIME)))
    throw new LakeError('config.invalid', `${placeOf(sql, time.at)}: "${time.name}" is not the event time`, {
      fix: `The event time of "${source.name}" is "${event}": write that, or ${EVENT_TIME}.`,
    })
  const columns = [
    ...groupBy,
    ...select.flatMap(({ column, at }) => (column === undefined ? [] : [{ name: column, at }])),
  ]
  for (const { name, at } of columns)
    if (!known.includes(name))
      throw new LakeError('config.invalid', `${placeOf(sql, at)}: there is no column "${name}"`, {
        fix: fixFor(name, known),
      })
}

/** What the source's event time is called in SQL, whatever its column. */
const EVENT_TIME = 'event_time'

/** Puts the path of the SQL in front of what is wrong with it. */
function blameSql<T>(inSql: FieldPath, at: FieldPath, work: () => T): T {
  try {
    return work()
  } catch (error) {
    if (!(error instanceof LakeError) || !error.code.startsWith('config.')) throw error
    const fields = error.context.fields as FieldPath | undefined
    const key = fields?.[at.length]
    if (key !== undefined && !(IN_SQL as readonly unknown[]).includes(key)) throw error
    const where = fields === undefined || key === undefined ? '' : `${pathText(fields.slice(at.length))}: `
    const message = `${where}${(error.context.problem as string | undefined) ?? error.message}`
    throw fieldError([{ code: error.code, path: inSql, message, fix: error.fix }])
  }
}

function checkInput({ input }: WindowDefinition, source: TableDefinition, at: FieldPath): void {
  if (input === 'events' || source.key.length > 0) return
  throw invalidField(
    [...at, 'input'],
    source.store
      ? `table "${source.name}" has no key: its rows are never updated`
      : `table "${source.name}" keeps no rows (store: false)`,
    'Take input: events, or give the table a key.',
  )
}

/** Windows tell their rows by DuckDB's `rowid`, which a column of that name would hide. */
function refuseRowid(window: WindowDefinition, { columns }: TableDefinition, at: FieldPath): void {
  const isHiding = (name: string): boolean => name.toLowerCase() === 'rowid'
  const declared = columns.map(({ name }) => name).filter(isHiding)
  const refuse = (path: FieldPath, names: readonly string[]): void => {
    if (names.some(isHiding))
      throw invalidField(
        path,
        '"rowid" is a name that windows cannot have or read',
        'Take another name; of a column, one that is computed from it, such as row_id: string = rowid.',
      )
  }
  for (const [i, group] of window.groupBy.entries()) refuse([...at, 'groupBy', i], [group])
  if (window.where !== undefined) refuse([...at, 'where'], columnsRead(window.where, declared))
  for (const { name, column, where } of window.select)
    refuse([...at, 'select', name], [name, column ?? '', ...(where === undefined ? [] : columnsRead(where, declared))])
  for (const { name } of window.computed) refuse([...at, 'select', name], [name])
}

/** What a record leaves as it is (`missing: keep`) is known only when its row is found, long after the window has read it. */
function refuseKept(window: WindowDefinition, source: TableDefinition, at: FieldPath): void {
  const kept = keptColumns(source)
  const refuse = (path: FieldPath, columns: readonly string[]): void => {
    const column = columns.find((name) => kept.includes(name))
    if (column !== undefined)
      throw invalidField(
        path,
        `a record may leave "${column}" as it is (missing: keep), and windows read records as they come`,
        `Take missing: null for "${source.name}", or columns of its key or version.`,
      )
  }
  refuse([...at, 'source'], [source.eventTime!.column])
  for (const [i, group] of window.groupBy.entries()) refuse([...at, 'groupBy', i], [group])
  if (window.where !== undefined) refuse([...at, 'where'], columnsRead(window.where, kept))
  for (const { name, column, where } of window.select) {
    if (column !== undefined) refuse([...at, 'select', name], [column])
    if (where !== undefined) refuse([...at, 'select', name], columnsRead(where, kept))
  }
}

/** What is computed from results reads no other of its kind, so that there is no order among them. */
function checkComputed({ computed }: WindowDefinition, names: Map<string, string>, at: FieldPath): void {
  const own = computed.map(({ name }) => name)
  for (const { name, as } of computed) {
    const path = [...at, 'select', name]
    claimResult(names, name, path)
    const [inner] = columnsRead(as, own)
    if (inner !== undefined)
      throw invalidField(
        path,
        inner === name ? `"${name}" is computed from itself` : `reads "${inner}", which is computed too`,
        'Compute it from group columns, window_start, window_end and aggregates.',
      )
  }
}

function claimResult(names: Map<string, string>, name: string, path: FieldPath): void {
  if (!/^[\p{L}\p{N}$@][\p{L}\p{N}\p{M}_$@-]{0,254}$/u.test(name))
    throw invalidField(
      path,
      `"${name}" cannot be a column name`,
      'Letters, digits and _ $ @ - are allowed, and no "_" in front.',
    )
  claimName(names, name, 'another column has that name', path)
}

/** Keys whose old values a window over rows holds, unless it says otherwise. */
const OLD_VALUES_MAX = 10_000_000

const RESULT_COLUMNS = ['window_start', 'window_end', 'last_event_time', '_final', '_corrections']

function claimName(names: Map<string, string>, name: string, owner: string, at: FieldPath): void {
  if (name.includes('__'))
    throw invalidField(at, `"${name}" holds "__", which is kept for partial results`, 'Use single underscores.')
  const taken = names.get(name.toLowerCase())
  if (taken !== undefined)
    throw invalidField(at, `"${name}" is taken: ${taken}`, 'Rename it, in any other way than case.')
  names.set(name.toLowerCase(), owner)
}

function columnOf(source: TableDefinition, name: string, at: FieldPath): Column {
  const column = source.columns.find((candidate) => candidate.name === name)
  const known = source.columns.map((candidate) => candidate.name)
  if (column === undefined)
    throw invalidField(at, `table "${source.name}" has no column "${name}"`, fixFor(name, known))
  if (name.includes('__'))
    throw invalidField(at, `"${name}" holds "__", which is kept for partial results`, 'Rename the column.')
  return column
}

function fixFor(word: string, known: readonly string[]): string {
  const meant = didYouMean(word, known)
  return meant === undefined ? `Columns: ${known.slice(0, 20).join(', ')}.` : `Did you mean "${meant}"?`
}

/** Of a pipeline without tables: most often the source of its window was left out. */
export function withoutTable(at: FieldPath, window: WindowDefinition | undefined): LakeError {
  const fix = window === undefined ? 'Define one.' : `Put "${window.source}" into it, which "${window.name}" reads.`
  return invalidField(at, 'a pipeline needs a table', fix)
}
