import { typeText, type Column, type ColumnType } from './batch.ts'
import { columnsProblem } from './define-type.ts'

/**
 * How the columns of a table follow the schemas of a registry (docs/adr/0015). A schema asks for columns, and a table
 * has the least columns that all schemas of its records ask for: in whatever order they come, where all fit they give
 * the same columns, up to their order.
 */

/** What a schema of a registry asks of a table: columns that no definition declares, all of them optional. */
export interface WantedColumns {
  readonly columns: readonly Column[]
  /**
   * Fields that are no column, as paths: several types, a type that holds itself. They stand in `_extra`, also where
   * other schemas have made a column of the name: what a record becomes depends on its own schema alone.
   */
  readonly others: readonly string[]
}

/** What a schema may do to a table: add columns and widen them, only add, or neither. */
export type Evolve = 'add-widen' | 'add-only' | 'strict'

export const EVOLVE = ['add-widen', 'add-only', 'strict'] as const satisfies readonly Evolve[]

export type Evolved =
  /** `columns` are those that were given where the schema asks for nothing new. */
  | { readonly kind: 'fits'; readonly columns: readonly Column[] }
  /** Why the table cannot have what the schema asks for, a sentence for each column. */
  | { readonly kind: 'incompatible'; readonly problems: readonly string[] }

/** The columns of a table after a schema. Those that are there stay, in their order; new ones come behind them. */
export function evolveColumns(columns: readonly Column[], wanted: WantedColumns, evolve: Evolve): Evolved {
  const problems: string[] = []
  const merged = new Merge(evolve, problems).columns('', columns, wanted.columns)
  const found = merged === columns ? undefined : columnsProblem(merged)
  if (found !== undefined) problems.push(found.problem.message)
  return problems.length === 0 ? { kind: 'fits', columns: merged } : { kind: 'incompatible', problems }
}

/** The least columns that have both, of which each fits the other's table: what two batches of one table need together. */
export function joinColumns(a: readonly Column[], b: readonly Column[]): readonly Column[] {
  const problems: string[] = []
  return new Merge('add-widen', problems).columns('', a, b)
}

/** Whether a table of `columns` has all that `wanted` asks for. */
export function hasColumns(columns: readonly Column[], wanted: readonly Column[]): boolean {
  const evolved = evolveColumns(columns, { columns: wanted, others: [] }, 'strict')
  return evolved.kind === 'fits'
}

class Merge {
  readonly #evolve: Evolve
  readonly #problems: string[]

  constructor(evolve: Evolve, problems: string[]) {
    this.#evolve = evolve
    this.#problems = problems
  }

  /** The very list that was given where nothing changes. */
  columns(path: string, before: readonly Column[], wanted: readonly Column[]): readonly Column[] {
    const next = [...before]
    for (const column of wanted) {
      const at = before.findIndex(({ name }) => name === column.name)
      if (at >= 0) {
        const type = this.type(`${path}${column.name}`, before[at]!.type, column.type)
        if (type !== before[at]!.type) next[at] = { ...before[at]!, type }
        continue
      }
      const twin = next.find(({ name }) => name.toLowerCase() === column.name.toLowerCase())
      if (twin !== undefined) this.#problem(`${path}${column.name}`, `differs from ${twin.name} in its case alone`)
      else if (this.#evolve === 'strict') this.#problem(`${path}${column.name}`, 'is new, and the table is strict')
      else next.push(column)
    }
    return next.length > before.length || next.some((column, k) => column !== before[k]) ? next : before
  }

  /** A type that holds values of both; the very one that was given where it does. */
  type(path: string, before: ColumnType, wanted: ColumnType): ColumnType {
    if (before.kind === 'struct' && wanted.kind === 'struct') {
      const fields = this.columns(`${path}.`, before.fields, wanted.fields)
      return fields === before.fields ? before : { kind: 'struct', fields }
    }
    if (before.kind === 'list' && wanted.kind === 'list') {
      const element = this.type(`${path}.element`, before.element, wanted.element)
      return element === before.element ? before : { kind: 'list', element }
    }
    if (before.kind === 'map' && wanted.kind === 'map') {
      const value = this.type(`${path}.value`, before.value, wanted.value)
      return value === before.value ? before : { kind: 'map', value }
    }
    if (takes(before, wanted)) return before
    const wider = promoted(before, wanted)
    if (wider === undefined || this.#evolve !== 'add-widen')
      this.#problem(
        path,
        `the table has ${typeText(before)}, the schema ${typeText(wanted)}${wider === undefined ? '' : `, and evolve is ${this.#evolve}`}`,
      )
    return wider ?? before
  }

  #problem(path: string, message: string): void {
    this.#problems.push(`${path}: ${message}`)
  }
}

/**
 * Whether a column holds values of a type as they are: it is of the type, or of one that it may become. No more than that,
 * though a double could hold an int: which of them came first would then decide what the column is.
 */
function takes(column: ColumnType, wanted: ColumnType): boolean {
  return isSame(column, wanted) || promoted(wanted, column) !== undefined
}

function isSame(a: ColumnType, b: ColumnType): boolean {
  if (a.kind === 'decimal' && b.kind === 'decimal') return a.precision === b.precision && a.scale === b.scale
  return a.kind === b.kind
}

/** Iceberg's promotions: types that files of the narrower one can be read as. */
function promoted(from: ColumnType, to: ColumnType): ColumnType | undefined {
  if (from.kind === 'int' && to.kind === 'long') return to
  if (from.kind === 'float' && to.kind === 'double') return to
  if (from.kind !== 'decimal' || to.kind !== 'decimal' || from.scale !== to.scale) return undefined
  return to.precision > from.precision ? to : undefined
}

/** Columns without those, and without their parts, that stand under these paths (`WantedColumns.others`). */
export function columnsWithout(columns: readonly Column[], others: readonly string[]): readonly Column[] {
  return others.length === 0 ? columns : without(columns, new Set(others), '')
}

function without(columns: readonly Column[], others: ReadonlySet<string>, path: string): readonly Column[] {
  return columns.flatMap((column) => {
    const own = `${path}${column.name}`
    return others.has(own) ? [] : [{ ...column, type: typeWithout(column.type, others, own) }]
  })
}

function typeWithout(type: ColumnType, others: ReadonlySet<string>, path: string): ColumnType {
  if (type.kind === 'struct') return { kind: 'struct', fields: without(type.fields, others, `${path}.`) }
  if (type.kind === 'list') return { kind: 'list', element: typeWithout(type.element, others, `${path}.element`) }
  return type.kind === 'map' ? { kind: 'map', value: typeWithout(type.value, others, `${path}.value`) } : type
}

/** Columns without what is required, inside them too. */
export function optional(columns: readonly Column[]): readonly Column[] {
  return columns.map(({ name, type }) => ({ name, type: optionalInside(type) }))
}

function optionalInside(type: ColumnType): ColumnType {
  if (type.kind === 'struct') return { kind: 'struct', fields: optional(type.fields) }
  if (type.kind === 'list') return { kind: 'list', element: optionalInside(type.element) }
  return type.kind === 'map' ? { kind: 'map', value: optionalInside(type.value) } : type
}
