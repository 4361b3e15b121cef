import * as z from 'zod'
import { SYSTEM_COLUMNS } from './batch.ts'
import type { TableDefinition } from './define.ts'
import { keptColumns } from './define-computed.ts'
import { invalidField, leaf, name, problem, strict, type FieldPath } from './define-fields.ts'
import { columnsRead, expression } from './define-sql-tokens.ts'

/** What a user writes of a look-up: rows of another table of the lake, as one version of it has them. */
export interface LookupOptions {
  /** Any table of the store, of this pipeline or another. */
  readonly table: string
  /** The version, of the pipeline that the table belongs to, whose rows are looked up. For ever the same. */
  readonly at: number | string
  /** Columns of that table, and what they are equal to: SQL over the columns of the record. */
  readonly on?: Readonly<Record<string, string>>
  /** The row whose range [from, to] has the value; where `to` is null it has no end. */
  readonly between?: { readonly value: string; readonly from: string; readonly to: string }
  /** Its columns that SQL of this table may read, as `name.column`. */
  readonly select: readonly string[]
}

/** A look-up as it runs. */
export interface LookupDefinition {
  readonly name: string
  readonly table: string
  /** In digits, as it stands in the code. */
  readonly version: string
  readonly on: readonly (readonly [column: string, sql: string])[]
  readonly between?: { readonly value: string; readonly from: string; readonly to: string }
  readonly select: readonly string[]
}

const version = leaf('the number of a version', (text) => {
  if (/^[1-9]\d{0,15}$/.test(text)) return text
  throw problem(`"${text}" is not the number of a version`, '"kappalake versions" lists them: at: 42.')
})

export const lookupSchema = z.record(
  name,
  strict({
    table: name,
    at: version,
    on: z.record(z.string().min(1), expression).prefault({}),
    between: strict({ value: expression, from: z.string().min(1), to: z.string().min(1) }).optional(),
    select: z.array(z.string().min(1)).min(1, { error: 'names no column' }),
  }),
)

/** In the order of their names, so that how a definition is written is no part of its code. */
export function toLookups(given: z.output<typeof lookupSchema> | undefined): {
  readonly lookup?: readonly LookupDefinition[]
} {
  const list = Object.entries(given ?? {})
    .toSorted(byName)
    .map(([lookup, { table, at, on, between, select }]): LookupDefinition => ({
      name: lookup,
      table,
      version: at,
      on: Object.entries(on).toSorted(byName),
      ...(between === undefined ? {} : { between }),
      select,
    }))
  return list.length === 0 ? {} : { lookup: list }
}

function byName([a]: readonly [string, unknown], [b]: readonly [string, unknown]): number {
  return a < b ? -1 : 1
}

/** Throws `config.invalid` with the field and a fix. */
export function checkLookups(table: TableDefinition, at: FieldPath): void {
  for (const lookup of table.lookup ?? []) checkLookup(table, lookup, [...at, 'lookup', lookup.name])
}

function checkLookup(table: TableDefinition, lookup: LookupDefinition, at: FieldPath): void {
  const { name, on, between, select } = lookup
  if (on.length === 0 && between === undefined)
    throw invalidField(at, 'does not say which row is looked up', 'Add "on", "between", or both.')
  const twin = select.findIndex((column, i) => select.indexOf(column) !== i)
  if (twin >= 0) throw invalidField([...at, 'select', twin], `"${select[twin]}" stands twice`, 'Remove one.')
  const columns = [...table.columns.map((column) => column.name), ...Object.values<string>(SYSTEM_COLUMNS)]
  if (columns.some((column) => column.toLowerCase() === name))
    throw invalidField(at, `"${name}" is a column of the table too`, 'Give one of them another name.')
  const computed = table.columns.filter(({ as }) => as !== undefined).map((column) => column.name)
  for (const { sql, path } of expressionsOf(lookup, at)) {
    const [read] = columnsRead(sql, [...computed, ...(table.lookup ?? []).map((each) => each.name)])
    if (read !== undefined)
      throw invalidField(path, `reads "${read}", which is computed too`, 'Use columns that come from the value.')
    const [kept] = columnsRead(sql, keptColumns(table))
    if (kept !== undefined)
      throw invalidField(
        path,
        `reads "${kept}", which a record may leave as it is`,
        'Take missing: null, or read columns of the key or the version.',
      )
  }
  const readers = [table.where, ...table.columns.map(({ as }) => as)].filter((sql) => sql !== undefined)
  if (!readers.some((sql) => columnsRead(sql, [name]).length > 0))
    throw invalidField(at, 'is read by no computed column and no filter', `Read it, such as ${name}.${select[0]}.`)
}

/** What a look-up computes from a record. */
export function expressionsOf(
  { on, between }: LookupDefinition,
  at: FieldPath,
): readonly { readonly sql: string; readonly path: FieldPath; readonly column: string }[] {
  return [
    ...on.map(([column, sql]) => ({ sql, path: [...at, 'on', column], column })),
    ...(between === undefined ? [] : [{ sql: between.value, path: [...at, 'between', 'value'], column: between.from }]),
  ]
}
