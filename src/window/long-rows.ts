import type { Column } from '../batch.ts'
import { quoted } from '../sql-text.ts'
import { type AggregateSql, type DetailSql, PART_COLUMN } from './aggregate.ts'
import { partialColumns, type WindowShape } from './columns.ts'
import { checkedDigits, type WindowInput, SIGN } from './operand.ts'
import { canonical, sqlTypeOf } from './sql-type.ts'
import { CELL_COLUMNS } from './cells.ts'

const [START, END] = [CELL_COLUMNS.start, CELL_COLUMNS.end].map(quoted)
const [ROWS, LAST_EVENT, PART] = [CELL_COLUMNS.rows, CELL_COLUMNS.lastEvent, PART_COLUMN].map(quoted)

const BOUNDS = ['window_start', 'window_end']

/** More of them could make many rows of a cell. */
const GROUPED_DETAILS_MAX = 2

/**
 * The query that aggregates counted rows to partials, columns as in `partialColumns`. `relation` is what stands after
 * FROM; it has the columns of the source, `__start`, `__end`, of sliced windows `__min_end`, `__event_ms`,
 * `_kafka_partition`, `_offset`, and of `rows` input `__sign`. It is scanned `scansOf(shape)` times: what gives its rows
 * only once, such as a table function that is fed, must otherwise be put into a table before.
 */
export function partialsSql(shape: WindowShape, input: WindowInput, relation: string): string {
  const groups = shape.groups.map((column) => [canonical(quoted(column.name), column.type), column.name] as const)
  const { sizeMs } = shape
  const own = cellColumns(shape).filter((name) => sizeMs === undefined || name !== CELL_COLUMNS.end)
  const cell = [...groups, ...own.map((name) => [quoted(name), name] as const)]
  const ends = sizeMs === undefined ? [] : [[CELL_COLUMNS.end, `${START} + ${sizeMs}`] as const]
  const rows = input === 'events' ? 'count(*)' : `CAST(sum(${SIGN}) AS BIGINT)`
  const grouped = groupedDetails(shape)
  const cells: Expressions = new Map([
    ...cell.map(([sql, name]) => [name, sql] as const),
    ...ends,
    [PART_COLUMN, '0'],
    [CELL_COLUMNS.rows, rows],
    [CELL_COLUMNS.lastEvent, 'max("__event_ms")'],
    ...shape.aggregates.flatMap(({ partials, detail }) => {
      const isGrouped = grouped.some(({ sql }) => sql === detail)
      return partials.map(({ column, ofRows, ofGroup }) => [column.name, (isGrouped && ofGroup) || ofRows] as const)
    }),
    ...grouped.flatMap(({ sql: { value, weight, ofRows } }) => {
      const isThere = `(${ofRows.key}) >= 0`
      return [
        [value.name, `CASE WHEN ${isThere} THEN ${ofRows.key} END`] as const,
        [weight.name, `CASE WHEN ${isThere} THEN ${ofRows.weight} END`] as const,
      ]
    }),
  ])
  const keys = [...cell.map(([sql]) => sql), ...new Set(grouped.map(({ sql }) => sql.ofRows.key))]
  const detail = ({ value, weight, ofRows }: DetailSql, part: number): string => {
    const expressions: Expressions = new Map([
      ...cell.map(([sql, name]) => [name, sql] as const),
      ...ends,
      [PART_COLUMN, String(part)],
      [value.name, ofRows.value],
      [weight.name, ofRows.weight],
    ])
    return `SELECT ${list(shape, expressions)}
FROM ${relation} WHERE ${ofRows.isThere} GROUP BY ${[...cell.map(([sql]) => sql), ofRows.value].join(', ')} HAVING ${ofRows.weight} <> 0`
  }
  return union([
    `SELECT ${list(shape, cells)}\nFROM ${relation} GROUP BY ${keys.join(', ')}`,
    ...details(shape).flatMap(({ sql, part }) =>
      grouped.some((each) => each.part === part) ? [] : [detail(sql, part)],
    ),
  ])
}

/** How often `partialsSql` reads its relation. */
export function scansOf(shape: WindowShape): number {
  return 1 + details(shape).length - groupedDetails(shape).length
}

/**
 * The query that makes one row per (cell, part, value) of rows of many files, columns as in `partialColumns`. Values whose weights add up to 0 are gone; cells stay, whatever their row count. `relation` is scanned once per part.
 */
export function mergeSql(shape: WindowShape, relation: string): string {
  const keys = [...shape.groups.map(({ name }) => name), ...cellColumns(shape)]
  const cell = keys.map((name) => [name, quoted(name)] as const)
  const cells: Expressions = new Map([...cell, [PART_COLUMN, '0'], ...ofPartials(shape)])
  const by = keys.map(quoted).join(', ')
  const detail = ({ value, weight }: DetailSql, part: number): string => {
    const sum = `sum(${quoted(weight.name)})`
    const expressions: Expressions = new Map([
      ...cell,
      [PART_COLUMN, String(part)],
      [value.name, quoted(value.name)],
      [weight.name, weightSum(sum, weight)],
    ])
    return `SELECT ${list(shape, expressions)}
FROM ${relation} WHERE ${quoted(value.name)} IS NOT NULL GROUP BY ${by}, ${quoted(value.name)} HAVING ${sum} <> 0`
  }
  return union([
    `SELECT ${list(shape, cells)}\nFROM ${relation} WHERE ${PART} = 0 GROUP BY ${by}`,
    ...details(shape).map(({ sql, part }) => detail(sql, part)),
  ])
}

/**
 * The query that makes result rows of merged long rows: group columns, `__start`, `__end`, `__rows`, `__last_event` if
 * there is one, then the results by name, computed ones last. To put slices together into windows, write the windows' `__start` and `__end`
 * over those of their slices, null over `__min_end`, and merge. Needs the functions of `registerExact`. Texts are those
 * of `AggregateSql`: no partial stands in rows of a detail and no weight in others, so each ignores what is not its own.
 * `isMerged`: there is one row of each cell, and of each value of its details.
 */
export function resultsSql(shape: WindowShape, relation: string, isMerged = false): string {
  const keys = [...shape.groups.map(({ name }) => quoted(name)), START, END]
  const reduced = details(shape).map(({ sql }) => `${sql.reduce} AS ${quoted(sql.reduced)}`)
  const merged = ofPartials(shape).map(([name, sql]) => `${sql} AS ${quoted(name)}`)
  const head = [...keys, ROWS, ...(shape.hasLastEvent ? [LAST_EVENT] : [])]
  const results = shape.aggregates.map(
    ({ finish, result }) => `CAST(${finish} AS ${sqlTypeOf(result.type)}) AS ${quoted(result.name)}`,
  )
  const isOne = isMerged && reduced.length === 0
  const from = isOne
    ? relation
    : `(SELECT ${[...keys, ...merged, ...reduced].join(', ')} FROM ${relation} GROUP BY ${keys.join(', ')})`
  return computedSql(shape, `SELECT ${[...head, ...results].join(', ')}\nFROM ${from}`)
}

/** Adds what is computed from results. No record is to blame where that fails: the value is null, and the stream goes on. */
function computedSql({ computed }: WindowShape, results: string): string {
  if (computed.length === 0) return results
  const bounds = [START, END].map((bound, k) => `make_timestamptz(${bound} * 1000) AS ${BOUNDS[k]!}`)
  const values = computed.map(({ name, type, as }) => `TRY(CAST((${as}\n) AS ${sqlTypeOf(type)})) AS ${quoted(name)}`)
  return `SELECT * EXCLUDE (${BOUNDS.join(', ')}), ${values.join(', ')} FROM (SELECT *, ${bounds.join(', ')} FROM (${results}))`
}

/** By name of the column that it gives. */
type Expressions = ReadonlyMap<string, string>

/** All columns in their order and with their types; null where there is no expression. */
function list(shape: WindowShape, expressions: Expressions): string {
  return partialColumns(shape)
    .map(({ name, type }) => `CAST(${expressions.get(name) ?? 'NULL'} AS ${sqlTypeOf(type)}) AS ${quoted(name)}`)
    .join(', ')
}

function cellColumns({ isSliced }: WindowShape): string[] {
  return [CELL_COLUMNS.start, CELL_COLUMNS.end, ...(isSliced ? [CELL_COLUMNS.minEnd] : [])]
}

function ofPartials({ aggregates, hasLastEvent }: WindowShape): (readonly [name: string, sql: string])[] {
  return [
    [CELL_COLUMNS.rows, `CAST(sum(${ROWS}) AS BIGINT)`],
    ...(hasLastEvent ? [[CELL_COLUMNS.lastEvent, `max(${LAST_EVENT})`] as const] : []),
    ...aggregates.flatMap(({ partials }) =>
      partials.map((partial) => [partial.column.name, partial.ofPartials] as const),
    ),
  ]
}

/** Details with the part that their rows have. */
function details({ aggregates }: WindowShape): { readonly sql: DetailSql; readonly part: number }[] {
  return aggregates.flatMap(({ detail }: AggregateSql, k) =>
    detail === undefined ? [] : [{ sql: detail, part: k + 1 }],
  )
}

/** Details whose values are grouped with their cell: equal ones, as of a sum and an average, are one key. */
function groupedDetails(shape: WindowShape): ReturnType<typeof details> {
  const few = details(shape).filter(({ sql }) => sql.isFew)
  const keys = [...new Set(few.map(({ sql }) => sql.ofRows.key))].slice(0, GROUPED_DETAILS_MAX)
  return few.filter(({ sql }) => keys.includes(sql.ofRows.key))
}

/** A sum of decimals is not looked at: more than 38 digits would go on unseen. */
function weightSum(sum: string, { type }: Column): string {
  return type.kind === 'decimal' ? checkedDigits(sum, type.scale) : `CAST(${sum} AS ${sqlTypeOf(type)})`
}

function union(queries: readonly string[]): string {
  return queries.join('\nUNION ALL\n')
}
