import type { PipelineDefinition } from '../define.ts'
import { tableNames } from '../define.ts'
import { keyOf, NOT_COMPARED, roleOf, type TableRole } from '../replay/compared.ts'
import { quoted } from '../sql-text.ts'
import { rfc3339 } from './encode-json.ts'
import type { Reader, Row } from './reader.ts'

/** All rows of a table, as far as they follow from the log and the code, by what names a row. */
export interface TableRows {
  readonly table: string
  readonly key: readonly string[]
  readonly rows: readonly Row[]
}

/** Tables that a pipeline shows to others: no states, and no markers, which go when nobody needs them any more. */
export function shownTables(
  pipeline: PipelineDefinition,
): readonly { readonly name: string; readonly role: TableRole }[] {
  return [...pipeline.tables, ...pipeline.windows].flatMap(tableNames).flatMap((name) => {
    const role = roleOf(pipeline, name)
    return role === undefined || role.kind === 'deletes' ? [] : [{ name, role }]
  })
}

/**
 * Runs of a lab end at one end of the log, which no clock on a wall has a say in: a partition is never idle there, and a
 * watermark is made of event times alone. So they agree on what is final, and on what is still open.
 */
const DECIDED = ['_final']

export async function readTables(pipeline: PipelineDefinition, reader: Reader): Promise<readonly TableRows[]> {
  const tables: TableRows[] = []
  for (const { name, role } of shownTables(pipeline)) {
    const { columns, rows } = await reader.read({ sql: `SELECT * FROM ${quoted(name)}` })
    const compared = columns
      .filter(({ name }) => DECIDED.includes(name) || !NOT_COMPARED[role.kind].includes(name))
      .map((column) => ({ name: column.name, isInstant: column.type.startsWith('TIMESTAMP') }))
    tables.push({
      table: name,
      key: keyOf(role),
      rows: rows.map((row) =>
        Object.fromEntries(compared.map((column) => [column.name, told(row[column.name], column.isInstant)])),
      ),
    })
  }
  return tables
}

/** What a Date can hold. */
const MICROS_MAX = 8_640_000_000_000_000_000n

/** As people read it. */
function told(value: unknown, isInstant: boolean): unknown {
  return isInstant && typeof value === 'bigint' && value > -MICROS_MAX && value < MICROS_MAX ? rfc3339(value) : value
}

/** What two runs do not have in common. */
export interface Unlike {
  readonly table: string
  /** Columns that name the row, as text. */
  readonly key: string
  readonly before: Row | undefined
  readonly after: Row | undefined
  /** Columns whose values differ, of a row that both have. */
  readonly columns: readonly string[]
}

/** In the order of tables and of their keys. Rows of one key are compared in the order of their values. */
export function unlikeRows(before: readonly TableRows[], after: readonly TableRows[]): readonly Unlike[] {
  return before.flatMap(({ table, key, rows }, k) => {
    const [old, now] = [byKey(key, rows), byKey(key, after[k]!.rows)]
    const keys = [...new Set([...old.keys(), ...now.keys()])].toSorted()
    return keys.flatMap((text) => {
      const [left, right] = without(old.get(text) ?? [], now.get(text) ?? [])
      return Array.from({ length: Math.max(left.length, right.length) }, (_, index): Unlike => {
        const [was, is] = [left[index], right[index]]
        const columns =
          was === undefined || is === undefined
            ? []
            : Object.keys({ ...was, ...is }).filter((name) => valueText(was[name]) !== valueText(is[name]))
        return { table, key: text, before: was, after: is, columns }
      })
    })
  })
}

function byKey(key: readonly string[], rows: readonly Row[]): ReadonlyMap<string, readonly Row[]> {
  const groups = new Map<string, Row[]>()
  for (const row of rows) {
    const text = rowText(Object.fromEntries(key.map((name) => [name, row[name]])))
    const group = groups.get(text)
    if (group === undefined) groups.set(text, [row])
    else group.push(row)
  }
  return groups
}

/** Both without the rows that the other one has too. */
function without(left: readonly Row[], right: readonly Row[]): readonly [readonly Row[], readonly Row[]] {
  const texts = new Map<string, number>()
  for (const row of right) texts.set(rowText(row), (texts.get(rowText(row)) ?? 0) + 1)
  const more = left.filter((row) => !taken(texts, rowText(row)))
  return [more, right.filter((row) => taken(texts, rowText(row))).toSorted(byText)]
}

function taken(texts: Map<string, number>, text: string): boolean {
  const count = texts.get(text) ?? 0
  if (count > 0) texts.set(text, count - 1)
  return count > 0
}

const byText = (a: Row, b: Row): number => (rowText(a) < rowText(b) ? -1 : 1)

/** A row for people, and for telling two apart. */
export function rowText(row: Row): string {
  return `{${Object.entries(row)
    .map(([name, value]) => `${name}: ${valueText(value)}`)
    .join(', ')}}`
}

export function valueText(value: unknown): string {
  if (value === undefined) return 'nothing'
  if (typeof value === 'bigint') return String(value)
  if (value instanceof Date) return rfc3339(BigInt(value.getTime()) * 1_000n)
  if (value instanceof Uint8Array) return bytesText(value)
  if (Array.isArray(value)) return `[${value.map(valueText).join(', ')}]`
  if (typeof value === 'object' && value !== null) return rowText(value as Row)
  if (typeof value === 'number') return Object.is(value, -0) ? '-0' : String(value)
  return JSON.stringify(value)
}

/** Text where it is text. */
function bytesText(bytes: Uint8Array): string {
  const text = Buffer.from(bytes).toString('utf8')
  return /^[\x20-\x7e]*$/.test(text) ? JSON.stringify(text) : `0x${Buffer.from(bytes).toString('hex')}`
}
