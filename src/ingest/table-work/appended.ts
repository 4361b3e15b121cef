import type { DuckDBConnection } from '@duckdb/node-api'
import { LakeError } from '../../error.ts'
import type { IcebergField, WritePlan } from '../../lake/table.ts'
import type { ChangesRequest, SourcePlace } from '../keys.ts'
import {
  LENGTH_MAX,
  namedColumns,
  objectPrinter,
  placeColumns,
  printedColumns,
  printedValue,
  rowCount,
  rowsAtOnce,
  sinceSql,
  wantedSql,
  type ChangeLines,
  type PrintLine,
} from './change-lines.ts'
import { filesSql } from './stored-sql.ts'

/** Offsets of one Kafka partition, [from, until). */
interface Slice {
  readonly partition: number
  readonly from: bigint
  readonly until: bigint
}

/**
 * The rows of an append table that came, partition after partition in the order of their offsets, whatever files they
 * stand in: a record is one row, so partition and offset name it. Many rows are sorted slice by slice. Gives where to go
 * on from when there are more than one file of changes should hold.
 */
export async function writeAppended(
  connection: DuckDBConnection,
  lines: ChangeLines,
  plan: WritePlan,
  request: ChangesRequest,
  paths: readonly string[],
): Promise<SourcePlace | undefined> {
  const { before, after, where, select, keyed } = request
  if (after.length === 0) return undefined
  const { fields } = plan.schema
  if ([...before, ...after].some(({ deleted }) => deleted.count > 0))
    throw new LakeError('internal', `${plan.table}: deleted rows in a table that has no keys`)
  const { partition, offset } = placeColumns(fields)
  const keys = keyed?.map((name) => fields.find((field) => field.name === name)!)
  const { value, computed } = printedValue(fields, select)
  const printed = [...(keys === undefined ? [{ label: '', column: partition }] : printedColumns(keys)), ...value]
  const print = printer(keys, objectPrinter(value, printed.length - value.length))
  const [old, now] = [paths.slice(0, before.length), paths.slice(before.length)]
  const isNew = [
    ...sinceSql(request.since, `t.${partition}`, `t.${offset}`),
    ...fromSql(request.from, partition, offset),
  ]
  const whole = filesSql(now, fields)

  const readSlice = (slice: Slice | undefined): Promise<void> => {
    const within = (of: string): string[] =>
      slice === undefined
        ? []
        : [
            `${of}.${partition} = ${slice.partition}`,
            `${of}.${offset} >= ${slice.from}`,
            `${of}.${offset} < ${slice.until}`,
          ]
    const same = [`o.${partition} = t.${partition}`, `o.${offset} = t.${offset}`, ...within('o')]
    const known = old.length === 0 ? [] : [`NOT EXISTS (SELECT 1 FROM ${filesSql(old, fields)} o WHERE ${all(same)})`]
    const rows = `SELECT ${namedColumns(fields, 't.')} FROM ${whole} t WHERE ${all([...within('t'), ...isNew, ...known])}`
    const columns = printed.map(({ column }) => column).join(', ')
    const wanted = wantedSql(fields, computed, where, rows)
    return lines.read(`SELECT ${columns} FROM (${wanted}) WHERE is_wanted ORDER BY ${partition}, ${offset}`, print)
  }

  const files = after.map(({ file }) => file)
  const atOnce = rowsAtOnce(files)
  if (rowCount(files) <= atOnce) {
    await readSlice(undefined)
    return undefined
  }
  const slices = await slicesOf(connection, `${whole} t WHERE ${all(isNew)}`, [partition, offset], atOnce)
  for (const slice of slices) {
    if (lines.length >= LENGTH_MAX) return { partition: slice.partition, offset: slice.from }
    await readSlice(slice)
  }
  return undefined
}

/** Slices of at most `rows` rows each, which together have all of them. */
async function slicesOf(
  connection: DuckDBConnection,
  from: string,
  [partition, offset]: readonly [string, string],
  rows: number,
): Promise<readonly Slice[]> {
  const slot = `${offset} // ${rows}`
  const found = await connection.runAndReadAll(
    `SELECT ${partition}, CAST(${slot} AS BIGINT) AS slot, CAST(count(*) AS INTEGER) FROM ${from} GROUP BY ALL ORDER BY ALL`,
  )
  const slices: { partition: number; from: bigint; until: bigint; rows: number }[] = []
  for (const [at, slot, count] of found.getRows() as unknown as [number, bigint, number][]) {
    const last = slices.at(-1)
    const until = (slot + 1n) * BigInt(rows)
    if (last?.partition === at && last.rows + count <= rows) {
      last.until = until
      last.rows += count
    } else slices.push({ partition: at, from: slot * BigInt(rows), until, rows: count })
  }
  return slices
}

/** From a place on, in the order in which rows are written. */
function fromSql(from: ChangesRequest['from'], partition: string, offset: string): string[] {
  if (from === undefined || typeof from === 'number') return []
  const here = `t.${partition} = ${from.partition} AND t.${offset} >= ${from.offset}`
  return [`(t.${partition} > ${from.partition} OR (${here}))`]
}

function printer(keys: readonly IcebergField[] | undefined, value: PrintLine): PrintLine {
  if (keys === undefined) return (values) => `${JSON.stringify([values[0], value(values)])}\n`
  const key = objectPrinter(printedColumns(keys), 0)
  return (values) => `${JSON.stringify([key(values), value(values)])}\n`
}

function all(conditions: readonly string[]): string {
  return conditions.length === 0 ? 'TRUE' : conditions.join(' AND ')
}
