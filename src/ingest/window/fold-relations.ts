import type { Column } from '../../batch.ts'
import type { WindowDefinition } from '../../define-window.ts'
import type { TableDefinition } from '../../define.ts'
import { quoted } from '../decode/data-file-writer.ts'
import { shapeOf } from './shape.ts'
import { slicesOf, type Slices } from './slices.ts'
import { CELL_COLUMNS, PART_COLUMN, partialColumns, sqlTypeOf, type WindowShape } from '../../window/sql.ts'

export const [START, END, MIN_END, ROWS, LAST_EVENT, PART] = [
  CELL_COLUMNS.start,
  CELL_COLUMNS.end,
  CELL_COLUMNS.minEnd,
  CELL_COLUMNS.rows,
  CELL_COLUMNS.lastEvent,
  PART_COLUMN,
].map(quoted) as [string, string, string, string, string, string]

/** Decimals of so many digits have 64 bits. */
const LONG_DIGITS = 18

/**
 * What the fold holds of one window table, as relations of its DuckDB. `cells`: the living rows of `<w>__state`, long
 * as there, with `__fold` (in which they came or changed last) and `__file` and `__row`, where they stand. `outputs`:
 * the rows of `<w>` of windows that are not settled, with the same.
 */
export interface Relations {
  readonly definition: WindowDefinition
  readonly source: TableDefinition
  readonly shape: WindowShape
  readonly cells: string
  readonly outputs: string
  /** Column names below are quoted. */
  readonly groups: readonly string[]
  /** Of a cell: the start alone is that of a session, whose end moves. */
  readonly key: readonly string[]
  /** Of a result row. */
  readonly identity: readonly string[]
  /** Of values of details. */
  readonly values: readonly string[]
  readonly results: readonly string[]
  /** All of `partialColumns`. */
  readonly columns: readonly string[]
  /** Of hopping windows whose cells are slices. */
  readonly slices: Slices | undefined
  /**
   * Of sessions over rows: a cell is an event time of a group, and a session what touches of them, so that it can shrink
   * and split (rule N4). Elsewhere sessions are cells themselves.
   */
  readonly hasIslands: boolean
  /** End of the last window that a cell counts for, as SQL: until then it is needed. */
  readonly cellEnd: string
}

export function relationsOf(definition: WindowDefinition, source: TableDefinition, number: number): Relations {
  const shape = shapeOf(definition, source)
  const groups = shape.groups.map(({ name }) => quoted(name))
  const slices = slicesOf(definition)
  const isSession = definition.window.kind === 'session'
  const identity = isSession ? [...groups, START] : [...groups, START, END]
  return {
    definition,
    source,
    shape,
    cells: `cells_${number}`,
    outputs: `outputs_${number}`,
    groups,
    key: isSession ? identity : [...groups, START, shape.isSliced ? MIN_END : END],
    identity,
    values: shape.aggregates.flatMap(({ detail }) => (detail === undefined ? [] : [quoted(detail.value.name)])),
    results: [...shape.aggregates.map(({ result }) => result), ...shape.computed].map(({ name }) => quoted(name)),
    columns: partialColumns(shape).map(({ name }) => quoted(name)),
    slices,
    hasIslands: isSession && definition.input === 'rows',
    cellEnd: slices === undefined ? END : slices.lastEnd(START),
  }
}

/** Both relations, empty. */
export function createSql(relations: Relations): readonly string[] {
  const { shape, cells, outputs } = relations
  const place = '__file INTEGER, __row BIGINT'
  const typed = [
    ...shape.groups.map(held),
    `${START} BIGINT`,
    `${END} BIGINT`,
    ...[...shape.aggregates.map(({ result }) => result), ...shape.computed].map(held),
    ...(shape.hasLastEvent ? [`${LAST_EVENT} BIGINT`] : []),
  ]
  return [
    `CREATE TABLE ${cells} (${partialColumns(shape).map(held).join(', ')}, __fold BIGINT, ${place})`,
    `CREATE TABLE ${outputs} (${typed.join(', ')}, _final BOOLEAN, _corrections INTEGER, ${place})`,
  ]
}

/** DuckDB packs what it takes deleted rows from, and takes longer to unpack numbers of 128 bits than to do all the rest. */
function held({ name, type }: Column): string {
  const isWide = type.kind === 'decimal' && type.precision > LONG_DIGITS
  return `${quoted(name)} ${sqlTypeOf(type)}${isWide ? ' USING COMPRESSION uncompressed' : ''}`
}

export function partialsDdl(shape: WindowShape): string {
  return partialColumns(shape)
    .map(({ name, type }) => `${quoted(name)} ${sqlTypeOf(type)}`)
    .join(', ')
}

/** Whether two relations have the same values in columns, null being one; bounds are never null. */
export function same(a: string, b: string, columns: readonly string[]): string {
  if (columns.length === 0) return 'true'
  return columns
    .map((name) => `${a}.${name} ${name === START || name === END ? '=' : 'IS NOT DISTINCT FROM'} ${b}.${name}`)
    .join(' AND ')
}

/** Columns of one relation, with commas between them and before other columns. */
export function list(columns: readonly string[], of?: string): string {
  return columns.map((name) => (of === undefined ? name : `${of}.${name}`)).join(', ')
}

/** In how many parts `partOf` makes few enough rows of them, as far as they differ in these columns. */
export function partsOf(columns: readonly string[], rows: number, rowsMax: number): number {
  return columns.length === 0 ? 1 : Math.max(1, Math.ceil(rows / rowsMax))
}

/** SQL: whether a row is of the k-th of so many parts, of rows that are equal in these columns. */
export function partOf(columns: readonly string[], k: number, parts: number): string {
  return parts === 1 ? 'true' : `hash(${list(columns)}) % ${parts} = ${k}`
}

/** `column <= bound`; false without a bound. */
export function upTo(column: string, bound: number | undefined): string {
  return bound === undefined ? 'false' : `${column} <= ${bound}`
}

/** What ends between the bounds of the fold before and of this one. */
export function becameFinal(end: string, until: number | undefined, before: number | undefined): string {
  return before === undefined ? upTo(end, until) : `(${end} > ${before} AND ${upTo(end, until)})`
}
