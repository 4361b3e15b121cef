import type { Column } from '../batch.ts'
import type { Clock } from '../clock.ts'
import { declaredColumns, type TableDefinition } from '../define.ts'
import { LakeError } from '../error.ts'
import { evolveColumns, hasColumns, joinColumns, type WantedColumns } from '../evolve-columns.ts'
import {
  changeTable,
  columnType,
  planSchema,
  storedFields,
  withColumns,
  writeEvolved,
  writePlan,
  type IcebergSchema,
  type LakeTable,
  type Stamp,
  type Storage,
  type TableChange,
  type WritePlan,
} from '../lake/table.ts'
import { tableColumns } from './decode/columns.ts'
import type { TablePlan } from './lane.ts'

/**
 * Tables whose columns come from a registry (docs/adr/0015). The columns are state: those of the table in the version,
 * and of what was folded since. Lanes say which columns the records of a batch need; the committer alone gives ids.
 */

/** Columns of a stored table that no definition has. */
export function registryColumns(definition: TableDefinition, { fields }: IcebergSchema): readonly Column[] {
  const own = new Set(tableColumns({ ...definition, columns: declaredColumns(definition) }).map(({ name }) => name))
  const added = fields.filter(({ name }) => !own.has(name) && /^[A-Za-z]/.test(name))
  return added.map(({ name, type }) => ({ name, type: columnType(type), fromRegistry: true }))
}

/** A definition with columns of a registry in place of those that it may have of it. */
export function withRegistryColumns(definition: TableDefinition, columns: readonly Column[]): TableDefinition {
  return { ...definition, columns: [...declaredColumns(definition), ...columns] }
}

/** A definition with the columns that its table has; as it is where all of them are declared. */
export function definitionAt(
  definition: TableDefinition,
  table: Pick<LakeTable, 'schema'> | undefined,
): TableDefinition {
  if (definition.evolve === undefined || table === undefined) return definition
  return withRegistryColumns(definition, registryColumns(definition, table.schema))
}

/** How a lane reads and writes the records of one batch. */
export interface Grown {
  /** With the columns that the batch needs. */
  readonly definition: TableDefinition
  readonly data: WritePlan
  /** All columns that came from the registry so far, in whatever lane: what a schema must agree with. */
  readonly known: readonly Column[]
  /** What the table must have before the batch is part of it; undefined: it has. */
  readonly needed: readonly Column[] | undefined
}

/**
 * What records of some schemas need, in the order in which they came. A function of the plan and the records alone: which
 * columns a version has depends on the records below its positions, and on no batch. Schemas that do not fit are left to
 * the decoder. Throws `schema.evolves` when one asks for columns that have no ids yet.
 */
export function grownFor(
  definition: TableDefinition,
  plan: Pick<TablePlan, 'data' | 'grown'>,
  schemas: readonly WantedColumns[],
): Grown {
  const evolve = definition.evolve!
  const known = registryColumns(definition, (plan.grown ?? plan.data).schema)
  const stored = registryColumns(definition, plan.data.schema)
  const fitting = schemas.filter((wanted) => evolveColumns(known, wanted, evolve).kind === 'fits')
  if (fitting.some(({ columns }) => !hasColumns(known, columns))) throw evolves(definition, fitting)
  const needed = fitting.reduce((columns, wanted) => joinColumns(columns, wanted.columns), stored)
  if (needed === stored) return { definition: at(definition, stored), data: plan.data, known, needed: undefined }
  const wide = at(definition, needed)
  const fields = storedFields(tableColumns(wide), plan.grown!.schema.fields)
  return { definition: wide, data: { ...plan.grown!, schema: { ...plan.grown!.schema, fields } }, known, needed }
}

const at = withRegistryColumns

/** Heard by the run, which asks the committer for ids and has the batch staged again. */
function evolves({ name }: TableDefinition, wanted: readonly WantedColumns[]): LakeError {
  return new LakeError('schema.evolves', `${name}: records are written with schemas that ask for new columns`, {
    retryable: true,
    context: { table: name, wanted },
  })
}

/** New columns come in the version of the first rows that need them: `changeTable` of the table that has them. */
export async function changeGrown(
  storage: Storage,
  table: LakeTable,
  grown: LakeTable,
  change: TableChange,
  stamp: Stamp,
  clock: Clock,
): Promise<LakeTable> {
  const changed = await changeTable(storage, grown, change, stamp, clock)
  return changed === grown && grown !== table ? writeEvolved(storage, grown, stamp.commitId, clock) : changed
}

/** What the committer knows of the columns of growing tables beyond those of its head. */
export class GrowingTables {
  readonly #definitions: ReadonlyMap<string, TableDefinition>
  /** Wider than the table of the head. Ids that were given stay given: files may have them. */
  readonly #wide = new Map<string, LakeTable>()

  constructor(definitions: readonly TableDefinition[]) {
    const growing = definitions.filter(({ evolve }) => evolve !== undefined)
    this.#definitions = new Map(growing.map((definition) => [definition.name, definition]))
  }

  static readonly none = new GrowingTables([])

  /** Gives ids to columns that schemas ask for. One that does not fit those before it is left out. */
  learn(table: LakeTable, schemas: readonly WantedColumns[]): void {
    const definition = this.#definitions.get(table.name)
    if (definition === undefined) throw new LakeError('internal', `${table.name}: its columns are declared`)
    const before = this.#wide.get(table.name) ?? table
    const known = registryColumns(definition, before.schema)
    const columns = schemas.reduce((columns, wanted) => {
      const evolved = evolveColumns(columns, wanted, definition.evolve!)
      return evolved.kind === 'fits' ? evolved.columns : columns
    }, known)
    const lastColumnId = before.raw['last-column-id']
    const change = planSchema({ ...before, lastColumnId }, tableColumns(at(definition, columns)), true)
    this.#wide.set(table.name, withColumns(before, change))
  }

  /** How files with all known columns are written; undefined where the table has them. */
  planOf(table: LakeTable): WritePlan | undefined {
    const wide = this.#wide.get(table.name)
    if (wide === undefined || JSON.stringify(wide.schema.fields) === JSON.stringify(table.schema.fields))
      return undefined
    return { ...writePlan(table), schema: wide.schema }
  }

  /** The table with the columns that folded batches need; not written yet. */
  grow(table: LakeTable, needed: readonly Column[] | undefined): LakeTable {
    if (needed === undefined) return table
    const [definition, wide] = [this.#definitions.get(table.name), this.#wide.get(table.name)]
    if (definition === undefined || wide === undefined)
      throw new LakeError('internal', `${table.name}: a batch has columns that nobody asked for`)
    const columns = joinColumns(registryColumns(definition, table.schema), needed)
    const fields = storedFields(tableColumns(at(definition, columns)), wide.schema.fields)
    return withColumns(table, { fields, lastColumnId: wide.raw['last-column-id'], problems: [] })
  }
}
