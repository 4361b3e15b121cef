import { SYSTEM_COLUMNS } from '../batch.ts'
import { deadLetterTable, type LakeDefinition } from '../define.ts'
import { didYouMean } from '../define-fields.ts'
import type { RowIn, TableLike } from '../define-reference.ts'
import { lateTable } from '../define-window.ts'
import { LakeError } from '../error.ts'
import { roleOf, type TableRole } from '../replay/compared.ts'
import type { Row } from './reader.ts'
import { shownTables } from './tables.ts'

/** Columns that say where a row comes from and how final it is, and not what the definition asked for. */
const SYSTEM = [
  SYSTEM_COLUMNS.extra,
  SYSTEM_COLUMNS.version,
  SYSTEM_COLUMNS.partition,
  SYSTEM_COLUMNS.offset,
  SYSTEM_COLUMNS.timestamp,
  '_final',
  '_corrections',
] as const

/** A row without the columns of the system. */
export type PlainRow<T> = Omit<RowIn<T>, (typeof SYSTEM)[number]>

export function nameOf(table: TableLike): string {
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
  if (findRole(definition, name).kind === 'window') return lateTable(name)
  throw new LakeError('table.not_window', `${name} is no window: nothing is late for it`, {
    fix: 'Ask for the late records of a window over it.',
  })
}

/** The companion with the dead letters of a table, or of the table that a window is over. */
export function deadLettersOf(definition: LakeDefinition, name: string): string {
  return deadLetterTable(findRole(definition, name).source.name)
}

/** Rows of a source table or a window without the columns of the system; of companions they are what one asks for. */
export function plainRows(role: TableRole, rows: readonly Row[]): readonly Row[] {
  if (role.kind !== 'rows' && role.kind !== 'window') return rows
  const isSystem = new Set<string>(SYSTEM)
  return rows.map((row) => Object.fromEntries(Object.entries(row).filter(([name]) => !isSystem.has(name))))
}
