import path from 'node:path'
import type { DuckDBConnection } from '@duckdb/node-api'
import type { Clock } from '../../clock.ts'
import { LakeError } from '../../error.ts'
import type { IcebergField, Storage, WritePlan } from '../../lake/table.ts'
import type { ChangedRows, ChangeFile, ChangesRequest } from '../keys.ts'
import { writeAppended } from './appended.ts'
import {
  ChangeLines,
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
  type Printed,
} from './change-lines.ts'
import type { AliveRows } from './concatenate.ts'
import { filesSql, nameOf } from './stored-sql.ts'

const BEFORE = 'changed_before'
const AFTER = 'changed_after'
/** Shares that one call takes: each of them reads all files. */
const SHARES_MAX = 16

export interface ChangeParts {
  readonly connection: DuckDBConnection
  readonly alive: AliveRows
  readonly storage: Storage
  readonly clock: Clock
  readonly onStep: () => void
}

/** See `TableWork.changes`; `paths` are those of the files before, then of those after. */
export async function writeChanges(
  { connection, alive, storage, clock, onStep }: ChangeParts,
  plan: WritePlan,
  request: ChangesRequest,
  paths: readonly string[],
): Promise<ChangeFile> {
  const file = path.join(storage.scratch, `changes-${clock.uuid()}.ndjson`)
  const lines = new ChangeLines(connection, file, onStep)
  try {
    const next =
      request.key === undefined
        ? await writeAppended(connection, lines, plan, request, paths)
        : await writeKeyed({ connection, alive, lines }, plan, request, request.key, paths)
    const written = await lines.close()
    return next === undefined ? written : { ...written, next }
  } catch (error) {
    await lines.discard()
    throw asFailure(error, plan, request.where)
  }
}

interface Parts extends Pick<ChangeParts, 'connection' | 'alive'> {
  readonly lines: ChangeLines
}

/**
 * A row is known by its key. It has one change at most, so keys may come in any order that follows from the files. Gives
 * the share of them to go on from when there are many.
 */
async function writeKeyed(
  { connection, alive, lines }: Parts,
  plan: WritePlan,
  request: ChangesRequest,
  key: readonly string[],
  paths: readonly string[],
): Promise<number | undefined> {
  const { before, after, where, select, from } = request
  const { fields } = plan.schema
  const keys = key.map((name) => fields.find((field) => field.name === name)!)
  const { value, computed } = printedValue(fields, select)
  const printed = [...printedColumns(keys), ...value]
  const [keyText, valueText] = [objectPrinter(printedColumns(keys), 0), objectPrinter(value, keys.length)]
  const rowsOf = (from: readonly string[]): string => {
    const rows = `SELECT ${namedColumns(fields)} FROM ${filesSql(from, fields)} WHERE ${alive.name}(file_index, file_row_number)`
    return wantedSql(fields, computed, where, rows, ['row_number() OVER () AS place'])
  }
  const thereLine = (values: Parameters<typeof keyText>[0]) =>
    `${JSON.stringify([keyText(values), valueText(values)])}\n`
  const goneLine = (values: Parameters<typeof keyText>[0]) => `${JSON.stringify([keyText(values), null])}\n`
  const keep = async (table: string, rows: readonly ChangedRows[], from: readonly string[], share: string) => {
    alive.feed(rows)
    await connection.run(`CREATE TEMP TABLE ${table} AS SELECT * FROM (${rowsOf(from)}) ${share}`)
    alive.assertDone()
  }
  const drop = async (): Promise<void> => {
    for (const table of [BEFORE, AFTER]) await connection.run(`DROP TABLE IF EXISTS ${table}`)
  }
  const [beforePaths, afterPaths] = [paths.slice(0, before.length), paths.slice(before.length)]
  try {
    if (before.length === 0) {
      // Nothing to compare with: rows pass as they are read, however many there are.
      if (after.length === 0) return undefined
      alive.feed(after)
      const isWanted = ['is_wanted', ...newer(fields, request)].join(' AND ')
      await lines.read(`SELECT ${names(printed).join(', ')} FROM (${rowsOf(afterPaths)}) WHERE ${isWanted}`, thereLine)
      alive.assertDone()
      return undefined
    }
    const files = [...before, ...after].map(({ file }) => file)
    const shares = Math.ceil(rowCount(files) / rowsAtOnce(files))
    const first = typeof from === 'number' ? from : 0
    for (let share = first; share < shares; share++) {
      if (share === first + SHARES_MAX || lines.length >= LENGTH_MAX) return share
      const own = shares === 1 ? '' : `WHERE hash(${keys.map(nameOf).join(', ')}) % ${shares} = ${share}`
      await keep(BEFORE, before, beforePaths, own)
      if (after.length > 0) {
        await keep(AFTER, after, afterPaths, own)
        await lines.read(othersSql(AFTER, BEFORE, printed, fields), thereLine)
        await lines.read(othersSql(BEFORE, AFTER, printedColumns(keys), keys), goneLine)
      } else {
        const gone = names(printedColumns(keys)).join(', ')
        await lines.read(`SELECT ${gone} FROM ${BEFORE} WHERE is_wanted ORDER BY place`, goneLine)
      }
      await drop()
    }
    return undefined
  } finally {
    alive.feed([])
    await drop()
  }
}

/** Rows of one table that the other does not have: null is equal to null. */
function othersSql(table: string, than: string, printed: readonly Printed[], by: readonly IcebergField[]): string {
  const same = by.map((field) => `o.${nameOf(field)} IS NOT DISTINCT FROM t.${nameOf(field)}`)
  return (
    `SELECT ${names(printed, 't.').join(', ')} FROM ${table} t WHERE t.is_wanted ` +
    `AND NOT EXISTS (SELECT 1 FROM ${than} o WHERE ${same.join(' AND ')}) ORDER BY t.place`
  )
}

/** Of rows that came from positions on, where the request names some. */
function newer(fields: readonly IcebergField[], { since }: ChangesRequest): string[] {
  if (since === undefined) return []
  const { partition, offset } = placeColumns(fields)
  return sinceSql(since, partition, offset)
}

function names(printed: readonly Printed[], prefix = ''): string[] {
  return printed.map(({ column }) => prefix + column)
}

/** What a condition can do to a statement is the definition's; a file that is gone, and all else, is not. */
function asFailure(error: unknown, { table }: WritePlan, where: string | undefined): unknown {
  if (error instanceof LakeError || where === undefined) return error
  const message = error instanceof Error ? error.message : String(error)
  if (!/^(Conversion|Out of Range|Invalid Input) Error/.test(message)) return error
  return new LakeError('publish.expression_failed', `${table}.to.where: ${message.split('\n')[0]!}`, {
    context: { table },
    fix: 'Write it so that it holds for every row, with TRY_CAST for instance.',
    cause: error,
  })
}
