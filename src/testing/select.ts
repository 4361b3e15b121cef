import { SYSTEM_COLUMNS } from '../batch.ts'
import { deadLetterTable, type LakeDefinition } from '../define.ts'
import { lateTable } from '../define-window.ts'
import { didYouMean } from '../define-fields.ts'
import { LakeError } from '../error.ts'
import { roleOf, type TableRole } from '../replay/compared.ts'
import { quoted } from '../sql-text.ts'
import type { Row } from './reader.ts'
import { shownTables } from './tables.ts'

/** A table or window of the definition, or the name of a table. */
export type TableRef = string | { readonly name: string }

export interface RowsOptions {
  /** A condition in SQL; or values of columns, as rows have them. */
  readonly where?: string | Readonly<Record<string, unknown>>
  /** A version, a time, or `topic/partition@offset`: as in queries of a lake. Default: what was produced so far. */
  readonly asOf?: string | number | bigint | Date
  /** With the columns that say where a row comes from, and how final it is. Default: without. */
  readonly system?: boolean
}

export function nameOf(table: TableRef): string {
  return typeof table === 'string' ? table : table.name
}

/** What a name of a lab's definition is. Throws `table.unknown`. */
export function findRole({ pipelines }: LakeDefinition, name: string): TableRole {
  for (const pipeline of pipelines) {
    const role = roleOf(pipeline, name)
    if (role !== undefined) return role
  }
  const known = pipelines.flatMap((pipeline) => shownTables(pipeline).map((table) => table.name))
  const meant = didYouMean(name, known)
  throw new LakeError('table.unknown', `the definition has no table ${name}`, {
    fix: meant === undefined ? `There are: ${known.join(', ')}.` : `Did you mean ${meant}?`,
  })
}

/** The companion that lists the late records of a window. Throws `table.not_window`. */
export function lateOf(definition: LakeDefinition, name: string): string {
  const role = findRole(definition, name)
  if (role.kind === 'window') return lateTable(name)
  throw new LakeError('table.not_window', `${name} is no window: nothing is late for it`, {
    fix: 'Ask for the late records of a window over it.',
  })
}

export function deadLettersOf(definition: LakeDefinition, name: string): string {
  const role = findRole(definition, name)
  return deadLetterTable(role.source.name)
}

/** All rows of a table in an order that follows from their values. */
export function selectSql(role: TableRole, name: string, where: RowsOptions['where']): string {
  const filter = typeof where === 'string' ? ` WHERE (\n${where}\n)` : ''
  return `SELECT * FROM ${quoted(name)}${filter} ORDER BY ${orderOf(role).map(quoted).join(', ')}`
}

function orderOf(role: TableRole): readonly string[] {
  const { partition, offset } = SYSTEM_COLUMNS
  if (role.kind === 'window') return ['window_start', 'window_end', ...role.window.groupBy]
  if (role.kind === 'rows' && role.source.key.length > 0) return role.source.key
  return [partition, offset]
}

/** Of a source table or a window. What a definition does not name is not part of what a test says. */
const SYSTEM: ReadonlySet<string> = new Set([
  SYSTEM_COLUMNS.extra,
  SYSTEM_COLUMNS.version,
  SYSTEM_COLUMNS.partition,
  SYSTEM_COLUMNS.offset,
  SYSTEM_COLUMNS.timestamp,
  SYSTEM_COLUMNS.topic,
  '_final',
  '_corrections',
])

/** The rows that were asked for, without what was not. */
export function chosen(role: TableRole, rows: readonly Row[], { where, system = false }: RowsOptions): readonly Row[] {
  const wanted = typeof where === 'object' ? Object.entries(where) : []
  const isPlain = !system && (role.kind === 'rows' || role.kind === 'window')
  return rows
    .filter((row) => wanted.every(([name, value]) => isSame(row[name], value, name, row)))
    .map((row) => (isPlain ? Object.fromEntries(Object.entries(row).filter(([name]) => !SYSTEM.has(name))) : row))
}

function isSame(value: unknown, wanted: unknown, name: string, row: Row): boolean {
  if (!Object.hasOwn(row, name))
    throw new LakeError('request.invalid', `there is no column ${name}`, {
      fix: `Columns: ${Object.keys(row).join(', ')}.`,
    })
  if (wanted instanceof Date) return typeof value === 'string' && Date.parse(value) === wanted.getTime()
  if (typeof wanted === 'number' && typeof value === 'bigint') return value === BigInt(wanted)
  return value === wanted
}

export function asOfText(asOf: RowsOptions['asOf']): string | undefined {
  if (asOf === undefined) return undefined
  return asOf instanceof Date ? asOf.toISOString() : String(asOf)
}
