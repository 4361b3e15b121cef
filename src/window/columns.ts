import type { Column } from '../batch.ts'
import type { AggregateSql } from './aggregate.ts'
import { PART_COLUMN } from './aggregate.ts'
import { CELL_COLUMNS } from './cells.ts'

/** What the columns of a window's tables are made of. */
export interface WindowShape {
  /** Group columns as the source has them, optional where null is a group. */
  readonly groups: readonly Column[]
  readonly aggregates: readonly AggregateSql[]
  /** Results that are computed from the others: their SQL is `as`. */
  readonly computed: readonly Column[]
  /** Of `events` input and sessions. */
  readonly hasLastEvent: boolean
  readonly isSliced: boolean
  /** Of cells that all are as long: rows are then grouped by their start alone. */
  readonly sizeMs?: number | undefined
}

const LONG = { kind: 'long' } as const
const INSTANT = { kind: 'timestamptz' } as const

/** Columns of `<w>`: results only, plain for every engine. */
export function resultColumns({ groups, aggregates, computed, hasLastEvent }: WindowShape): readonly Column[] {
  return [
    ...groups,
    { name: 'window_start', type: INSTANT, required: true },
    { name: 'window_end', type: INSTANT, required: true },
    ...aggregates.map(({ result }) => result),
    ...computed.map(optional),
    ...(hasLastEvent ? [{ name: 'last_event_time', type: INSTANT } as const] : []),
    { name: '_final', type: { kind: 'boolean' }, required: true },
    { name: '_corrections', type: { kind: 'int' }, required: true },
  ]
}

/** Columns of partial files and of `<w>__state`, one shape for both: milliseconds, a row as `PART_COLUMN` says. */
export function partialColumns({ groups, aggregates, hasLastEvent, isSliced }: WindowShape): readonly Column[] {
  return [
    ...groups,
    { name: CELL_COLUMNS.start, type: LONG, required: true },
    { name: CELL_COLUMNS.end, type: LONG, required: true },
    ...(isSliced ? [{ name: CELL_COLUMNS.minEnd, type: LONG }] : []),
    { name: PART_COLUMN, type: { kind: 'int' }, required: true },
    { name: CELL_COLUMNS.rows, type: LONG },
    ...(hasLastEvent ? [{ name: CELL_COLUMNS.lastEvent, type: LONG }] : []),
    ...aggregates.flatMap(({ partials, detail }) => [
      ...partials.map(({ column }) => column),
      ...(detail === undefined ? [] : [detail.value, detail.weight]),
    ]),
  ]
}

/** Columns of `<w>__late`: the source's, then where, when, why, and which code said so. */
export function lateColumns(source: readonly Column[]): readonly Column[] {
  const window: readonly Column[] = [
    { name: 'start', type: INSTANT, required: true },
    { name: 'end', type: INSTANT, required: true },
  ]
  return [
    ...source.map(optional),
    { name: '_topic', type: { kind: 'string' }, required: true },
    { name: '_event_time', type: INSTANT },
    { name: '_clock', type: INSTANT },
    { name: '_late_windows', type: { kind: 'list', element: { kind: 'struct', fields: window } } },
    { name: '_counted_windows', type: { kind: 'int' }, required: true },
    { name: '_weight', type: { kind: 'int' }, required: true },
    { name: '_reason', type: { kind: 'string' }, required: true },
    { name: '_code_hash', type: { kind: 'string' }, required: true },
  ]
}

/** What computed results may read: all of one row but other computed ones, and what its place in time says. */
export function computedFrom({ groups, aggregates }: WindowShape): readonly Column[] {
  return [
    ...groups,
    { name: 'window_start', type: INSTANT },
    { name: 'window_end', type: INSTANT },
    ...aggregates.map(({ result }) => result),
  ]
}

/** A column as it is, whatever made its values: null where there is none. */
function optional(column: Column): Column {
  const { required: _, as: _sql, ...plain } = column
  return plain
}
