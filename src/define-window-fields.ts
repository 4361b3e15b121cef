import * as z from 'zod'
import {
  duration,
  invalidField,
  leaf,
  name,
  parseDuration,
  problem,
  strict,
  whole,
  type FieldPath,
} from './define-fields.ts'
import { resultText } from './define-result.ts'
import { expression } from './define-sql-tokens.ts'
import { topicSchema } from './define-topic.ts'
import type { CalendarUnit, WindowKind } from './define-window.ts'

/** How a window is written: the keys of YAML, which the options of TypeScript become. Reference: docs/windows.md. */

const DAY_MS = 86_400_000
/** Longest size, gap, lateness and retention. */
export const LENGTH_MAX_MS = 36_600 * DAY_MS
/** Windows that may hold one instant. */
const WINDOWS_MAX = 10_000

const length = duration({ minMs: 1, maxMs: LENGTH_MAX_MS })
const shift = leaf('a duration such as 15m or -15m', (text) =>
  text.startsWith('-') ? -parseDuration(text.slice(1)) : parseDuration(text),
).prefault('0s')

const CALENDAR = /^(\d+)\s+(day|week|month|quarter|year)s?$/
const tumblingSize = leaf('a duration such as 1h, or a calendar unit such as 1 day', (text): number | CalendarUnit => {
  const [, count, unit] = CALENDAR.exec(text) ?? []
  if (unit === undefined) {
    const ms = parseDuration(text)
    if (ms >= 1 && ms <= LENGTH_MAX_MS) return ms
    throw problem(`${text} is not from 1 ms to ${LENGTH_MAX_MS / DAY_MS} days`)
  }
  if (count === '1') return unit as CalendarUnit
  throw problem(`calendar windows are of one ${unit}, not of ${count}`, `Write "1 ${unit}", or a duration such as 7d.`)
})

export const windowSchema = strict(
  {
    source: z.string().optional(),
    tumbling: strict({ size: tumblingSize, offset: shift }).optional(),
    hopping: strict({ size: length, slide: length, offset: shift }).optional(),
    cumulate: strict({ step: length, max: length, offset: shift }).optional(),
    session: strict({ gap: length }).optional(),
    sql: z.string().optional(),
    timeZone: z.string().optional(),
    allowedLateness: duration({ maxMs: LENGTH_MAX_MS }).prefault('0s'),
    input: z.enum(['events', 'rows']).optional(),
    groupBy: z.array(z.string()).optional(),
    nullGroup: z.enum(['late', 'keep']).prefault('late'),
    where: expression.optional(),
    select: z.record(z.string(), resultText).optional(),
    emit: z.enum(['update', 'close']).prefault('update'),
    early: duration({ maxMs: LENGTH_MAX_MS }).prefault('0s'),
    openRowsMax: whole(1, 1e12).prefault(10_000_000),
    oldValuesMax: whole(1, 1e12).optional(),
    retain: duration({ minMs: 1, maxMs: LENGTH_MAX_MS }).optional(),
    renamedFrom: name.optional(),
    to: topicSchema.optional(),
  },
  {
    having: 'conditions on groups are',
    join: 'joins inside windows are',
    global: 'windows without an end are',
    idleTimeout: 'closing windows by the wall clock is',
  },
)

export type WindowFields = z.output<typeof windowSchema>

/** Keys of which a window has exactly one. */
export const KIND_KEYS = ['tumbling', 'hopping', 'cumulate', 'session'] as const

/** The kind as it is written, or `sql` gave (then under the key that it would have). */
export type KindFields = Pick<WindowFields, (typeof KIND_KEYS)[number]>

/** Checks what a kind says of itself. Throws `config.invalid`; `at` is the window's path, or that of its SQL. */
export function toKind(fields: KindFields, timeZone: string | undefined, at: FieldPath): WindowKind {
  const { tumbling, hopping, cumulate, session } = fields
  const given = KIND_KEYS.filter((key) => fields[key] !== undefined)
  if (given.length !== 1)
    throw invalidField(
      given.length === 0 ? at : [...at, given[1]!],
      given.length === 0 ? 'a window needs a kind' : `stands beside "${given[0]}": a window has one kind`,
      'Write one of tumbling: {size}, hopping: {size, slide}, cumulate: {step, max}, session: {gap}, or sql.',
    )
  const inKind = [...at, given[0]!]
  if (tumbling !== undefined) return toTumbling(tumbling, timeZone, inKind)
  if (timeZone !== undefined)
    throw invalidField(
      [...at, 'timeZone'],
      `${given[0]} windows are not bound to a clock on a wall`,
      'Remove "timeZone", or take tumbling windows.',
    )
  if (hopping !== undefined) {
    const { size: sizeMs, slide: slideMs, offset: offsetMs } = hopping
    if (slideMs > sizeMs)
      throw invalidField(
        [...inKind, 'slide'],
        'is longer than the size: what lies between two windows would belong nowhere',
        'Take a slide of at most the size.',
      )
    checkOffset(offsetMs, slideMs, 'slide', inKind)
    checkCount(sizeMs / slideMs, [...inKind, 'slide'])
    return { kind: 'hopping', sizeMs, slideMs, offsetMs }
  }
  if (cumulate !== undefined) {
    const { step: stepMs, max: maxMs, offset: offsetMs } = cumulate
    if (maxMs % stepMs !== 0)
      throw invalidField(
        [...inKind, 'max'],
        'is not a multiple of the step: the last window would end between two steps',
        'Take a multiple.',
      )
    checkOffset(offsetMs, maxMs, 'max', inKind)
    checkCount(maxMs / stepMs, [...inKind, 'step'])
    return { kind: 'cumulate', stepMs, maxMs, offsetMs }
  }
  return { kind: 'session', gapMs: session!.gap }
}

function toTumbling(
  { size, offset }: { readonly size: number | CalendarUnit; readonly offset: number },
  timeZone: string | undefined,
  at: FieldPath,
): WindowKind {
  if (timeZone !== undefined) checkTimeZone(timeZone, [...at.slice(0, -1), 'timeZone'])
  if (typeof size === 'string') {
    if (timeZone === undefined)
      throw invalidField(
        [...at, 'size'],
        `whose ${size} it is depends on the time zone`,
        'Add timeZone, such as Europe/Berlin or UTC, or write a duration such as 24h.',
      )
    if (offset !== 0)
      throw invalidField([...at, 'offset'], `a calendar window begins with its ${size}`, 'Remove "offset".')
    return { kind: 'calendar', unit: size, timeZone }
  }
  checkOffset(offset, size, 'size', at)
  return { kind: 'tumbling', sizeMs: size, offsetMs: offset, ...(timeZone === undefined ? {} : { timeZone }) }
}

function checkOffset(offsetMs: number, limitMs: number, of: string, at: FieldPath): void {
  if (Math.abs(offsetMs) >= limitMs)
    throw invalidField([...at, 'offset'], `is not shorter than the ${of}`, `An offset moves windows by less than one.`)
}

function checkCount(windows: number, at: FieldPath): void {
  if (windows > WINDOWS_MAX)
    throw invalidField(at, `each instant would be in more than ${WINDOWS_MAX} windows`, 'Take a longer one.')
}

/** Names of the time zone database alone: what else a runtime takes differs from one to the next. */
function checkTimeZone(timeZone: string, at: FieldPath): void {
  try {
    if (!/^[A-Za-z]/.test(timeZone)) throw new RangeError('not a name')
    Intl.DateTimeFormat('en', { timeZone })
  } catch {
    throw invalidField(at, `"${timeZone}" is not a time zone`, 'Write a name such as Europe/Berlin or UTC.')
  }
}
