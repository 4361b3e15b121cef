import { SYSTEM_COLUMNS } from '../batch.ts'
import { deadLetterTable, deletesTable, type PipelineDefinition, type TableDefinition } from '../define.ts'
import { isSliced, lateTable, windowKey, type WindowDefinition, type WindowKind } from '../define-window.ts'
import type { CompareRange, CompareRequest } from '../ingest/pipeline.ts'
import { typeName, type LakeTable } from '../lake/table.ts'
import { parsePartitionId, partitionId } from '../log.ts'
import type { TableDifference } from '../replay-status.ts'
import type { Version } from '../version.ts'
import { storedWindow } from '../window-property.ts'

/** What a table of a pipeline is. Of states nothing is said to anybody, so they are not compared. */
export type TableRole =
  | { readonly kind: 'rows' | 'dead-letters' | 'deletes'; readonly source: TableDefinition }
  | { readonly kind: 'window' | 'late'; readonly source: TableDefinition; readonly window: WindowDefinition }

/** Undefined for tables that are not compared. */
export function roleOf({ tables, windows }: PipelineDefinition, name: string): TableRole | undefined {
  for (const source of tables) {
    if (name === source.name) return { kind: 'rows', source }
    if (name === deadLetterTable(source.name)) return { kind: 'dead-letters', source }
    if (name === deletesTable(source.name)) return { kind: 'deletes', source }
  }
  for (const window of windows) {
    const source = tables.find((table) => table.name === window.source)!
    if (name === window.name) return { kind: 'window', source, window }
    if (name === lateTable(window.name)) return { kind: 'late', source, window }
  }
  return undefined
}

/** How two states of a table are compared, and what is said of that. */
export type ComparedTable = Pick<CompareRequest, 'columns' | 'key' | 'group' | 'within' | 'since' | 'except'> & {
  readonly changes: TableDifference['columns']
  /** The replay began later: the rebuilt table has no rows of before, and says nothing of them. */
  readonly isShortened: boolean
  readonly leftOut: readonly string[]
}

/** Columns that are no pure function of the log and the code: they say when and by whom, and not what. */
export const NOT_COMPARED: Readonly<Record<TableRole['kind'], readonly string[]>> = {
  rows: [],
  // A record that was read again moved no clock, and does when the log is read anew.
  'dead-letters': ['code_hash', 'status', 'attempts', '_clock'],
  deletes: [],
  window: ['_final', '_corrections'],
  late: ['_code_hash'],
}

/** The two versions of a pipeline that are compared. */
export interface ComparedVersions {
  readonly base: Version
  readonly fork: Version
}

/** What of a rebuilt table is compared with what it was. Pure. */
export function planComparison(
  role: TableRole,
  before: LakeTable,
  after: LakeTable,
  versions: ComparedVersions,
): ComparedTable {
  const types = new Map(before.schema.fields.map(({ name, type }) => [name, typeName(type)]))
  const now = new Map(after.schema.fields.map(({ name, type }) => [name, typeName(type)]))
  const isCommon = (name: string): boolean => types.has(name) && types.get(name) === now.get(name)
  const common = [...now.keys()].filter(isCommon)
  const ignored = NOT_COMPARED[role.kind].filter(isCommon)
  const hasRetries = role.kind === 'dead-letters' && isCommon('status')
  const named = keyOf(role)
  const isNamed = named.every(isCommon)
  const key = isNamed || role.kind !== 'rows' ? named.filter(isCommon) : POSITION
  const times = role.kind === 'window' ? windowTimes(role, before, after, versions) : []
  const offsets = role.kind === 'window' ? { since: [], leftOut: [] } : replayedOffsets(role, versions)
  const late = role.kind === 'late' ? lateTimes(role, after) : []
  return {
    columns: common.filter((name) => !ignored.includes(name)),
    key,
    group: groupOf(role).filter(isCommon),
    within: [...times, ...late].map(({ range }) => range),
    since: offsets.since,
    // Their records were read by later code, and so they are when the log is read anew.
    ...(hasRetries ? { except: { column: 'status', text: 'resolved' } } : {}),
    changes: {
      added: [...now.keys()].filter((name) => !types.has(name) && !NOT_COMPARED[role.kind].includes(name)),
      removed: [...types.keys()].filter((name) => !now.has(name)),
      retyped: [...now]
        .filter(([name]) => types.has(name) && !isCommon(name))
        .map(([name, type]) => `${name}: ${types.get(name)!} → ${type}`),
    },
    isShortened: offsets.since.length > 0 || (role.kind === 'window' && fromMsOf(after) !== undefined),
    leftOut: [
      ...(ignored.length === 0 ? [] : [`columns that do not follow from the log and the code: ${ignored.join(', ')}`]),
      ...(isNamed ? [] : [`rows are told apart by ${key.join(', ')}: both sides do not have ${named.join(', ')}`]),
      ...[...times, ...late].map(({ leftOut }) => leftOut),
      ...(hasRetries ? ['dead letters that a retry has resolved'] : []),
      ...offsets.leftOut,
    ],
  }
}

const POSITION: readonly string[] = [SYSTEM_COLUMNS.partition, SYSTEM_COLUMNS.offset]

/** Columns that say which row is which. */
export function keyOf(role: TableRole): readonly string[] {
  switch (role.kind) {
    case 'rows':
    case 'deletes':
      return role.source.key.length > 0 ? role.source.key : POSITION
    case 'dead-letters':
      return POSITION
    case 'window':
      return windowKey(role.window)
    case 'late':
      // What an old value was counted for may be late as well as the record that it came from.
      return [...POSITION, '_weight']
  }
}

function groupOf(role: TableRole): readonly string[] {
  if (role.kind !== 'window') return [SYSTEM_COLUMNS.partition]
  const { kind } = role.window.window
  return kind === 'cumulate' || kind === 'session' ? ['window_start', 'window_end'] : ['window_start']
}

/** What is compared alone, and in words what is not for that reason. */
interface Bound {
  readonly range: CompareRange
  readonly leftOut: string
}

function windowTimes(
  { window, source }: Extract<TableRole, { readonly kind: 'window' | 'late' }>,
  before: LakeTable,
  after: LakeTable,
  { base, fork }: ComparedVersions,
): readonly Bound[] {
  const [old, now] = [storedWindow(before.properties), storedWindow(after.properties)]
  const bounds: Bound[] = []
  const fromMs = fromMsOf(after)
  if (fromMs !== undefined)
    bounds.push({
      range: { column: 'window_start', fromUs: usOf(fromMs) },
      leftOut: `windows that begin before ${textOf(fromMs)}: the replay read the log from the middle, and they may lack records`,
    })
  const watermarkMs = base.watermarksMs[source.name]
  const isOld = (hasIt: (window: WindowDefinition) => boolean): boolean =>
    [window, old?.definition, now?.definition].some((each) => each !== undefined && hasIt(each))
  if (isOld(({ emit, earlyMs }) => emit === 'close' || earlyMs > 0) || isSliced(window)) {
    // Which rows that are not final have been written, a clock on a wall may have decided.
    const finalMs = (watermarkMs ?? 0) + (window.window.kind === 'session' ? 0 : 1) - window.allowedLatenessMs
    bounds.push(
      watermarkMs === undefined
        ? {
            range: { column: 'window_end', untilUs: -(2n ** 62n) },
            leftOut: `all windows: none is final at version ${base.number}`,
          }
        : {
            range: { column: 'window_end', untilUs: usOf(finalMs) },
            leftOut: `windows that end after ${textOf(finalMs)}: they are not final at version ${base.number}`,
          },
    )
  }
  const expired = expiredUntil(old?.definition ?? window, window, watermarkMs, fork.watermarksMs[source.name])
  if (expired !== undefined)
    bounds.push({
      range: { column: 'window_end', fromUs: usOf(expired) },
      leftOut: `windows that end before ${textOf(expired)}: they are no longer retained`,
    })
  return bounds
}

/** Rows that a side is about to lose may still be there. */
function expiredUntil(
  before: WindowDefinition,
  after: WindowDefinition,
  beforeMs: number | undefined,
  afterMs: number | undefined,
): number | undefined {
  const ends = [
    [before, beforeMs],
    [after, afterMs ?? beforeMs],
  ] as const
  const known = ends.flatMap(([{ retainMs }, watermarkMs]) =>
    retainMs === undefined || watermarkMs === undefined ? [] : [watermarkMs - retainMs],
  )
  if (known.length < 2) return undefined
  // Of two rules what the stricter one takes away is a difference.
  return before.retainMs === after.retainMs ? Math.max(...known) : Math.min(...known)
}

/** Nothing is late for windows that were left out. */
function lateTimes(
  { window }: Extract<TableRole, { readonly kind: 'window' | 'late' }>,
  after: LakeTable,
): readonly Bound[] {
  const fromMs = fromMsOf(after)
  if (fromMs === undefined) return []
  const wholeMs = fromMs + lengthMs(window.window)
  return [
    {
      range: { column: '_event_time', fromUs: usOf(wholeMs) },
      leftOut: `records with an event time before ${textOf(wholeMs)}: some of their windows may have been left out`,
    },
  ]
}

const DAY_MS = 86_400_000
const CALENDAR_DAYS = { day: 2, week: 8, month: 32, quarter: 93, year: 367 }

/** No window is longer. */
function lengthMs(kind: WindowKind): number {
  switch (kind.kind) {
    case 'tumbling':
    case 'hopping':
      return kind.sizeMs + DAY_MS
    case 'cumulate':
      return kind.maxMs
    case 'calendar':
      return CALENDAR_DAYS[kind.unit] * DAY_MS
    case 'session':
      return 0
  }
}

/** Where a replay began later than the tables that it is compared with. */
function replayedOffsets(
  { source }: TableRole,
  { base, fork }: ComparedVersions,
): { readonly since: NonNullable<CompareRequest['since']>; readonly leftOut: readonly string[] } {
  const later = [...fork.origins].filter(([id, offset]) => offset > (base.origins.get(id) ?? offset))
  const since = later.flatMap(([id, offset]) => {
    const { topic, partition } = parsePartitionId(id)
    return topic === source.topic ? [{ partition, offset }] : []
  })
  if (since.length === 0) return { since, leftOut: [] }
  const first = since.slice(0, 3).map(({ partition, offset }) => `${partitionId(source.topic, partition)}@${offset}`)
  const more = since.length > 3 ? `, … (${since.length} partitions)` : ''
  return { since, leftOut: [`rows of records before ${first.join(', ')}${more}: the replay began there`] }
}

/** The least start of a window of a replay that began in the middle of the log. */
function fromMsOf({ properties }: LakeTable): number | undefined {
  return storedWindow(properties)?.fromMs
}

function usOf(ms: number): bigint {
  return BigInt(ms) * 1_000n
}

function textOf(ms: number): string {
  return Math.abs(ms) <= 8.64e15 ? new Date(ms).toISOString() : `${ms} ms`
}
