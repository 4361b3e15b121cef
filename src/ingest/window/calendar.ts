import type { CalendarUnit, WindowKind } from '../../define-window.ts'
import { wallClock } from './time-zone.ts'

/** Windows between boundaries of a wall clock (rule W5): of calendar units, and of a size in a time zone. */
export type CalendarKind = Extract<WindowKind, { kind: 'calendar' }> | (Tumbling & { readonly timeZone: string })
type Tumbling = Extract<WindowKind, { kind: 'tumbling' }>

/** Half-open, milliseconds since 1970. */
export interface Window {
  readonly startMs: number
  readonly endMs: number
}

const DAY_MS = 86_400_000
/** 1970 began on a Thursday; weeks begin on Monday. */
const FIRST_MONDAY_MS = -3 * DAY_MS
const MONTHS: Record<'month' | 'quarter' | 'year', number> = { month: 1, quarter: 3, year: 12 }
const SHORTEST_DAYS: Record<CalendarUnit, number> = { day: 1, week: 7, month: 28, quarter: 90, year: 365 }

/**
 * What follows a wall clock, as far as that is not UTC, whose days and weeks are of one size; undefined of everything
 * else, which is arithmetic.
 */
export function calendarOf(kind: WindowKind): CalendarKind | undefined {
  if (kind.kind === 'calendar') return uniformOf(kind) === undefined ? kind : undefined
  if (kind.kind !== 'tumbling' || kind.timeZone === undefined || kind.timeZone === 'UTC') return undefined
  return { ...kind, timeZone: kind.timeZone }
}

/** Days and weeks of UTC as windows of a size. */
export function uniformOf({ unit, timeZone }: Extract<WindowKind, { kind: 'calendar' }>): Tumbling | undefined {
  if (timeZone !== 'UTC') return undefined
  if (unit === 'day') return { kind: 'tumbling', sizeMs: DAY_MS, offsetMs: 0 }
  if (unit === 'week') return { kind: 'tumbling', sizeMs: 7 * DAY_MS, offsetMs: FIRST_MONDAY_MS }
  return undefined
}

/** The window that an instant lies in: there is exactly one. */
export function calendarWindowOf(kind: CalendarKind, ms: number): Window {
  const clock = wallClock(kind.timeZone)
  const number = numberOf(kind, clock.latestBy(ms))
  return { startMs: clock.firstAt(localStart(kind, number)), endMs: clock.firstAt(localStart(kind, number + 1)) }
}

/** All boundaries in [fromMs, untilMs), ascending, each once. */
export function boundariesBetween(kind: CalendarKind, fromMs: number, untilMs: number): number[] {
  const clock = wallClock(kind.timeZone)
  const boundaries: number[] = []
  // Numbers whose windows collapse are passed over at once: a day that does not exist has many of a small size.
  const boundaryAfter = (ms: number): number => clock.firstAt(localStart(kind, numberOf(kind, clock.latestBy(ms)) + 1))
  for (let boundary = boundaryAfter(fromMs - 1); boundary < untilMs; boundary = boundaryAfter(boundary))
    boundaries.push(boundary)
  return boundaries
}

/** All windows that overlap [fromMs, untilMs), ascending. */
export function calendarWindowsBetween(kind: CalendarKind, fromMs: number, untilMs: number): Window[] {
  const first = calendarWindowOf(kind, fromMs)
  const last = calendarWindowOf(kind, untilMs - 1)
  const boundaries = [...boundariesBetween(kind, first.startMs, last.endMs), last.endMs]
  return boundaries.slice(1).map((endMs, k) => ({ startMs: boundaries[k]!, endMs }))
}

/** About the size of a window, never above it but where a clock is set forward. */
export function nominalMs(kind: CalendarKind): number {
  return kind.kind === 'tumbling' ? kind.sizeMs : SHORTEST_DAYS[kind.unit] * DAY_MS
}

/** Number of the window that a wall clock which never jumps would be in; ascending with time. */
function numberOf(kind: CalendarKind, localMs: number): number {
  if (kind.kind === 'tumbling') return Math.floor((localMs - kind.offsetMs) / kind.sizeMs)
  const day = Math.floor(localMs / DAY_MS)
  if (kind.unit === 'day') return day
  if (kind.unit === 'week') return Math.floor((localMs - FIRST_MONDAY_MS) / (7 * DAY_MS))
  return Math.floor(monthOfDay(day) / MONTHS[kind.unit])
}

/** Where the wall clock stands when the window of that number begins. */
function localStart(kind: CalendarKind, number: number): number {
  if (kind.kind === 'tumbling') return number * kind.sizeMs + kind.offsetMs
  if (kind.unit === 'day') return number * DAY_MS
  if (kind.unit === 'week') return number * 7 * DAY_MS + FIRST_MONDAY_MS
  return firstDayOfMonth(number * MONTHS[kind.unit]) * DAY_MS
}

/**
 * Days since 1970 of the first of a month, counted from January 1970. `Date` would do, were there not the windows that
 * reach beyond the last instant that it knows. Years begin in March here, so that the leap day is their last.
 */
function firstDayOfMonth(month: number): number {
  const fromMarch = month + 1970 * 12 - 2
  const year = Math.floor(fromMarch / 12)
  const leapDays = Math.floor(year / 4) - Math.floor(year / 100) + Math.floor(year / 400)
  return 365 * year + leapDays + Math.floor((153 * (fromMarch - 12 * year) + 2) / 5) - 719_468
}

/** The month of a day, both counted from 1970. */
function monthOfDay(day: number): number {
  // A guess that is off by one at most: months are of nearly one size.
  let month = Math.floor(day / 30.436875)
  while (firstDayOfMonth(month) > day) month--
  while (firstDayOfMonth(month + 1) <= day) month++
  return month
}
