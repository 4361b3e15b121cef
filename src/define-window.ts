import { typeText, type ColumnType } from './batch.ts'
import { problem } from './define-fields.ts'
import type { ChangeTopic } from './define-topic.ts'
import type { LakeError } from './error.ts'

/**
 * What a window table is: a table of aggregates over a source table of the same pipeline, in event time. Everything
 * here is as it runs: every default filled in. How it is written: `define.ts`, `config.ts`, docs/windows.md.
 */

/** Calendar units whose windows follow the wall clock of a time zone. Weeks are those of ISO 8601: they begin on Monday. */
export type CalendarUnit = 'day' | 'week' | 'month' | 'quarter' | 'year'

/** Which windows an instant belongs to. Milliseconds since 1970; windows are half-open, [start, end). */
export type WindowKind =
  | { readonly kind: 'tumbling'; readonly sizeMs: number; readonly offsetMs: number; readonly timeZone?: string }
  | { readonly kind: 'calendar'; readonly unit: CalendarUnit; readonly timeZone: string }
  /** One window every `slideMs`; `slideMs` <= `sizeMs`, of which it need not be a divisor. */
  | { readonly kind: 'hopping'; readonly sizeMs: number; readonly slideMs: number; readonly offsetMs: number }
  /** Windows of one start that end every `stepMs`, up to `maxMs`, a multiple of it. */
  | { readonly kind: 'cumulate'; readonly stepMs: number; readonly maxMs: number; readonly offsetMs: number }
  /** What is not further apart than `gapMs`, that distance included. */
  | { readonly kind: 'session'; readonly gapMs: number }

export type AggregateFunction =
  | 'count' // of rows, or of the values of a column that are not null
  | 'count_distinct'
  | 'sum'
  | 'avg'
  | 'min'
  | 'max'
  | 'first' // by (event time, partition, offset)
  | 'last'
  | 'var' // of a sample, of exact numbers
  | 'top' // the `n` greatest values, as a list, the greatest first

/** One column of results. */
export interface AggregateDefinition {
  readonly name: string
  readonly fn: AggregateFunction
  /** Of the source table; undefined for `count` of rows. */
  readonly column: string | undefined
  /** Of `top`. */
  readonly n: number | undefined
  /** SQL, row-wise over the source's columns: only rows for which it is true are aggregated. */
  readonly where: string | undefined
}

/** A column of results that is computed from the others, one row at a time; null where it fails on their values. */
export interface ComputedResult {
  readonly name: string
  readonly type: ColumnType
  /** SQL, row-wise over the group columns, `window_start`, `window_end` and the aggregates of `select`. */
  readonly as: string
}

export interface WindowDefinition {
  readonly kind: 'window'
  readonly name: string
  /** What it was called before; no part of its code. */
  readonly renamedFrom?: string | undefined
  /** Name of the table that it aggregates. */
  readonly source: string
  readonly window: WindowKind
  readonly allowedLatenessMs: number
  /** `events`: each record counts once. `rows`: what stands in a keyed table; updates and deletes retract. */
  readonly input: 'events' | 'rows'
  /** Columns of the source, of primitive types. May be empty: one row per window. */
  readonly groupBy: readonly string[]
  /** What becomes of a row of which a group column is null: the late table lists it, or null is a group. */
  readonly nullGroup: 'late' | 'keep'
  /** SQL, row-wise over the source's columns: other rows do not count. */
  readonly where: string | undefined
  readonly select: readonly AggregateDefinition[]
  readonly computed: readonly ComputedResult[]
  /** `update`: rows can be seen from their first record on. `close`: only final ones are written. */
  readonly emit: 'update' | 'close'
  /** Of `update`: open rows are written at most so often; 0: with each commit. */
  readonly earlyMs: number
  /** Cells in memory and spilled at most; above it the pipeline stops with `window.open_rows_max`. */
  readonly openRowsMax: number
  /** With `input: rows`: keys whose old values may be held; above it the pipeline stops with `window.old_values_max`. */
  readonly oldValuesMax: number
  /** Rows whose window ended so long before the watermark are deleted; undefined: never. */
  readonly retainMs: number | undefined
  /** Changes that are committed are published here, those for which `where` is true. */
  readonly to: ChangeTopic | undefined
}

/** Hopping windows of at least so many slides share their work: their cells are slices (rule S1). */
export const SLICED_FROM = 4

export function isSliced({ window }: Pick<WindowDefinition, 'window'>): boolean {
  return window.kind === 'hopping' && window.sizeMs / window.slideMs >= SLICED_FROM
}

/** Columns that name a row of a window table. Cumulate windows have one start and many ends. */
export function windowKey({ groupBy, window }: Pick<WindowDefinition, 'groupBy' | 'window'>): readonly string[] {
  return [...groupBy, 'window_start', ...(window.kind === 'cumulate' ? ['window_end'] : [])]
}

/** Name of the companion with the partials of what is not settled. */
export function stateTable(window: string): string {
  return `${window}__state`
}

/** Name of the companion with the records that came too late, or could not be assigned. */
export function lateTable(window: string): string {
  return `${window}__late`
}

/** A window table and its companions. */
export function windowTableNames({ name }: Pick<WindowDefinition, 'name'>): readonly string[] {
  return [name, stateTable(name), lateTable(name)]
}

/**
 * Type of an aggregate's result, or why it cannot be of such a column (undefined: of rows). Counts are always there,
 * every other result is null where no value was.
 */
export function resultType(
  { fn }: Pick<AggregateDefinition, 'fn'>,
  column: ColumnType | undefined,
): ColumnType | LakeError {
  if (fn === 'count') return LONG
  if (column === undefined) return problem(`${fn} needs a column`, `Write ${fn}(column).`)
  if (!isPrimitive(column))
    return problem(`${fn} of a ${typeText(column)}: lists, maps and structs have no order`, 'Take a plain column.')
  if (fn === 'count_distinct') return LONG
  if (fn === 'top') return { kind: 'list', element: column }
  if (fn === 'min' || fn === 'max' || fn === 'first' || fn === 'last') return column
  const isExact = column.kind === 'int' || column.kind === 'long' || column.kind === 'decimal'
  const isFloating = column.kind === 'float' || column.kind === 'double'
  if (fn === 'var' && isFloating)
    return problem(`var of a ${column.kind} would depend on the order of the rows`, 'Take an int, long or decimal.')
  if (!isExact && !isFloating)
    return problem(`${fn} of a ${typeText(column)}, which is no number`, 'Take an int, long, float, double or decimal.')
  if (fn === 'avg' || fn === 'var' || isFloating) return DOUBLE
  return { kind: 'decimal', precision: 38, scale: column.kind === 'decimal' ? column.scale : 0 }
}

/** Whether values of a type are single ones, with an order. */
export function isPrimitive({ kind }: ColumnType): boolean {
  return kind !== 'list' && kind !== 'map' && kind !== 'struct'
}

const LONG: ColumnType = { kind: 'long' }
const DOUBLE: ColumnType = { kind: 'double' }
