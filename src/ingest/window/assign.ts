import { isSliced, type WindowDefinition, type WindowKind } from '../../define-window.ts'
import { quoted } from '../decode/data-file-writer.ts'
import { calendarOf, nominalMs, type CalendarKind } from './calendar.ts'
import { plainOf, sliceMs, type HoppingKind } from './kinds.ts'
import { verdictSql, type JudgedSource } from './verdict.ts'
import { LANE_COLUMNS } from './window.ts'
import { CELL_COLUMNS } from '../../window/sql.ts'

export interface AssignedSql {
  /**
   * All columns of the input, `__start` and `__end`: a row per record and window that it counts for. Of sliced windows
   * a row per record: its slice, and `__min_end`, the smallest end of a window that it counts for, null: of them all.
   */
  readonly counted: string
  /** All columns of the input, and `LATE_COLUMNS`: a row per record that a window did not take, or none could. */
  readonly late: string
}

/** Columns that `late` adds to those of its input. */
export const LATE_COLUMNS = {
  /** LIST(STRUCT(start BIGINT, "end" BIGINT)), the oldest first; empty when the record cannot be assigned. */
  lateWindows: '__late_windows',
  /** INTEGER: windows that the record counts for nevertheless. */
  countedWindows: '__counted_windows',
  /** `expression_failed`, `null_event_time`, `null_group_key` or `late`: the first that is true. */
  reason: '__reason',
} as const

/** Key of boundary relations, beside `__start` and `__end`; see `createBoundaries`. */
export const BUCKET_COLUMN = '__bucket'

/** No event time is as far from 1970 (rule T2). */
const EVENT_MS_MAX = 8_640_000_000_000_001n

const { event: EVENT, clock: CLOCK } = LANE_COLUMNS
const { start: START, end: END, minEnd: MIN_END } = CELL_COLUMNS
const { lateWindows: LATE, countedWindows: COUNTED, reason: REASON } = LATE_COLUMNS

/**
 * Which windows the rows of `input` count for, and which they are too late for by the clock of their own partition
 * (rule L2) and the bound of the source. `input` is a query, or what may follow FROM; its rows carry `LANE_COLUMNS`, both BIGINT. `boundaries` is a
 * relation that `createBoundaries` made for this very input, where `needsBoundaries` says so. Windows that start before
 * `fromMs` are not there: nothing counts for them, and nothing is late for them (rule R2).
 */
export function assignedSql(
  definition: WindowDefinition,
  source: JudgedSource,
  input: string,
  boundaries?: string,
  fromMs?: number,
): AssignedSql {
  const { window } = definition
  const slackMs = slackOf(definition, source)
  const { passes, fails } = verdictSql(definition, source) ?? { passes: 'true', fails: 'false' }
  const from = fromText(input)
  const assignable = [EVENT, ...strictGroups(definition)].map((name) => `${name} IS NOT NULL`).join(' AND ')
  const counted = `SELECT * FROM ${from} WHERE ${passes} AND ${assignable}`
  const late = `SELECT * FROM (SELECT *, ${fails} AS __failed FROM ${from}) WHERE __failed OR (${passes} AND ${isBehind(definition, slackMs)})`
  return {
    counted: countedSql(window, slackMs, oldestSql(window, counted, boundaries), fromMs),
    late: lateSql(definition, slackMs, oldestSql(window, late, boundaries), fromMs),
  }
}

/**
 * A scalar over rows of the input, never null and quickly answered: false where `late` certainly has no row.
 */
export function mayBeLate(definition: WindowDefinition, source: JudgedSource): string {
  const behind = isBehind(definition, slackOf(definition, source))
  const verdict = verdictSql(definition, source)
  return verdict === undefined ? behind : `(${behind} OR ${verdict.fails})`
}

/** B + L. */
function slackOf({ allowedLatenessMs }: WindowDefinition, { eventTime }: JudgedSource): number {
  return allowedLatenessMs + (eventTime?.outOfOrdernessMs ?? 0)
}

/** A window ends after its events: one that its clock is not ahead of by more than B + L is never late (rule L5). */
function isBehind(definition: WindowDefinition, slackMs: number): string {
  const unassignable = [EVENT, ...strictGroups(definition)].map((name) => `${name} IS NULL`)
  return `(${[...unassignable, `(${EVENT} + ${slackMs} < ${CLOCK}) IS TRUE`].join(' OR ')})`
}

/** Whether windows follow a wall clock, of which SQL knows nothing. */
export function needsBoundaries(kind: WindowKind): boolean {
  return calendarOf(kind) !== undefined
}

/** A scalar: the start of the bucket of an event, of about the size of a window. */
export function bucketSql(kind: CalendarKind): string {
  return floorSql(nominalMs(kind), 0)
}

/**
 * Adds the oldest window of each record as `__start` and `__end`, and as `__windows` how many it has. The others follow
 * at the paces of `pacesOf`.
 */
function oldestSql(kind: WindowKind, records: string, boundaries: string | undefined): string {
  const calendar = calendarOf(kind)
  if (calendar !== undefined) return calendarSql(calendar, records, boundaries!)
  const plain = plainOf(kind)
  switch (plain.kind) {
    case 'tumbling':
      return `SELECT *, ${floorSql(plain.sizeMs, plain.offsetMs)} AS ${START}, ${START} + ${plain.sizeMs} AS ${END}, 1 AS __windows
FROM (${records})`
    case 'hopping': {
      const { sizeMs, slideMs, offsetMs } = plain
      // The newest window begins at or before the event, the oldest one ends after it.
      const windows = `(${sizeMs + slideMs - 1} - (${EVENT} - __newest)) // ${slideMs}`
      return `SELECT * EXCLUDE (__newest), __newest - (__windows - 1) * ${slideMs} AS ${START}, ${START} + ${sizeMs} AS ${END}
FROM (SELECT *, ${floorSql(slideMs, offsetMs)} AS __newest, ${windows} AS __windows FROM (${records}))`
    }
    case 'cumulate': {
      const { stepMs, maxMs, offsetMs } = plain
      const passed = `(${EVENT} - ${START}) // ${stepMs}`
      return `SELECT *, ${floorSql(maxMs, offsetMs)} AS ${START}, ${START} + (${passed} + 1) * ${stepMs} AS ${END}, ${maxMs / stepMs} - ${passed} AS __windows
FROM (${records})`
    }
    case 'session':
      return `SELECT *, ${EVENT} AS ${START}, ${EVENT} + ${plain.gapMs} AS ${END}, 1 AS __windows FROM (${records})`
  }
}

/**
 * One of the few windows that overlap the record's bucket, by a hash join, in a fifth of the time that an ASOF join sorts
 * for. An event without a window would vanish: that is an error.
 */
function calendarSql(kind: CalendarKind, records: string, boundaries: string): string {
  const known = `CASE WHEN ${EVENT} IS NOT NULL AND b.${START} IS NULL THEN error('an event lies outside the boundaries that were made') ELSE b.${START} END`
  return `SELECT r.*, ${known} AS ${START}, b.${END}, 1 AS __windows
FROM (${records}) r LEFT JOIN ${boundaries} b ON b.${BUCKET_COLUMN} = ${bucketSql(kind)} AND b.${START} <= ${EVENT} AND ${EVENT} < b.${END}`
}

function countedSql(kind: WindowKind, slackMs: number, oldest: string, fromMs: number | undefined): string {
  if (kind.kind === 'hopping' && isSliced({ window: kind })) return slicedSql(kind, slackMs, oldest, fromMs)
  const isThere = fromMs === undefined ? '' : ` AND ${START} >= ${fromMs}`
  const inTime = `(${END} + ${slackMs} <= ${CLOCK}) IS NOT TRUE${isThere}`
  const windows = windowsMax(kind)
  if (windows === 1) return `SELECT * EXCLUDE (__windows) FROM (${oldest}) WHERE ${inTime}`
  // A cross product with a constant takes less time than UNION ALL or unnesting, as long as it stays one: a condition
  // that compares a column of either side, or one behind which no projection stands, would make it a slower join.
  const pace = pacesOf(kind)
  const start = pace.startMs === 0 ? START : `${START} + __k * ${pace.startMs}`
  return `SELECT * FROM (SELECT * EXCLUDE (__windows, __k) REPLACE (${start} AS ${START}, ${END} + __k * ${pace.endMs} AS ${END})
FROM (${oldest}) CROSS JOIN (SELECT range AS __k FROM range(${windows})) WHERE __windows - __k > 0) WHERE ${inTime}`
}

/** Without `__min_end` a record would leak into windows that it is late for (rule S2), or that are not there. */
function slicedSql(kind: HoppingKind, slackMs: number, oldest: string, fromMs: number | undefined): string {
  const size = sliceMs(kind)
  const slice = floorSql(size, kind.offsetMs)
  const passed = `greatest(${lateCount(kind, slackMs)}, ${leftCount(kind, fromMs)})`
  return `SELECT * EXCLUDE (__windows, __late, __first_end), CASE WHEN __late > 0 THEN __first_end + __late * ${kind.slideMs} END AS ${MIN_END}
FROM (SELECT * REPLACE (${slice} AS ${START}, ${slice} + ${size} AS ${END}), ${END} AS __first_end, ${passed} AS __late FROM (${oldest}))
WHERE __late < __windows`
}

function lateSql(definition: WindowDefinition, slackMs: number, oldest: string, fromMs: number | undefined): string {
  const { window } = definition
  const groups = strictGroups(definition).map((name) => `${name} IS NULL`)
  const nullGroup = groups.length === 0 ? '' : `WHEN ${groups.join(' OR ')} THEN 'null_group_key'`
  const reason = `CASE WHEN __failed THEN 'expression_failed' WHEN ${EVENT} IS NULL THEN 'null_event_time' ${nullGroup} WHEN least(__late, __windows) > __left THEN 'late' END`
  const pace = pacesOf(window)
  // What cannot be assigned is late for no window.
  const late = `CASE WHEN ${REASON} = 'late' THEN least(__late, __windows) ELSE 0 END`
  const lateWindow = `{'start': ${START} + __k * ${pace.startMs}, 'end': ${END} + __k * ${pace.endMs}}`
  const lates = `range(CASE WHEN ${REASON} = 'late' THEN __left ELSE 0 END, ${late})`
  return `SELECT * EXCLUDE (${START}, ${END}, __windows, __late, __left, __failed, ${REASON}), [${lateWindow} FOR __k IN ${lates}] AS ${LATE}, (CASE WHEN ${REASON} = 'late' THEN __windows - ${late} ELSE 0 END)::INTEGER AS ${COUNTED}, ${REASON}
FROM (SELECT *, ${reason} AS ${REASON} FROM (SELECT *, ${lateCount(window, slackMs)} AS __late, ${leftCount(window, fromMs)} AS __left FROM (${oldest})))
WHERE ${REASON} IS NOT NULL`
}

/** How many windows from the oldest on have ended B + L before the clock: more than there are, perhaps. */
function lateCount(kind: WindowKind, slackMs: number): string {
  return `CASE WHEN ${END} + ${slackMs} <= ${CLOCK} THEN (${CLOCK} - ${slackMs} - ${END}) // ${pacesOf(kind).endMs} + 1 ELSE 0 END`
}

/** How many of them start before `fromMs`: all or none where they have one start. */
function leftCount(kind: WindowKind, fromMs: number | undefined): string {
  if (fromMs === undefined) return '0'
  const { startMs: pace } = pacesOf(kind)
  const left = pace === 0 ? '__windows' : `least(__windows, (${fromMs - 1} - ${START}) // ${pace} + 1)`
  return `CASE WHEN ${START} < ${fromMs} THEN ${left} ELSE 0 END`
}

/** How far a record's windows are apart, from one to the next. */
function pacesOf(kind: WindowKind): { readonly startMs: number; readonly endMs: number } {
  if (kind.kind === 'hopping') return { startMs: kind.slideMs, endMs: kind.slideMs }
  if (kind.kind === 'cumulate') return { startMs: 0, endMs: kind.stepMs }
  // There is no next one.
  return { startMs: 1, endMs: 1 }
}

/** How many windows a record may have. */
function windowsMax(kind: WindowKind): number {
  if (kind.kind === 'hopping') return Math.ceil(kind.sizeMs / kind.slideMs)
  return kind.kind === 'cumulate' ? kind.maxMs / kind.stepMs : 1
}

/** The event time floored to a multiple of `n` and an offset; `%` rounds toward 0 and would be wrong of negative times. */
function floorSql(n: number, offsetMs: number): string {
  const period = BigInt(n)
  const aboveAll = (EVENT_MS_MAX / period + 2n) * period
  return `(${EVENT} - (${EVENT} + ${aboveAll - (BigInt(offsetMs) % period)}) % ${period})`
}

/** Group columns that must not be null, quoted. */
function strictGroups({ groupBy, nullGroup }: WindowDefinition): readonly string[] {
  return nullGroup === 'keep' ? [] : groupBy.map(quoted)
}

/** A query, or what may follow FROM, as what may follow FROM. */
export function fromText(input: string): string {
  return /^\s*(select|from|with|values)\b/i.test(input) ? `(${input})` : input
}
