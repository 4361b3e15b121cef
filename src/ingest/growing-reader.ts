import { wantedColumns } from '../define-avro.ts'
import type { TableDefinition } from '../define.ts'
import type { WantedColumns } from '../evolve-columns.ts'
import type { SchemaEntry, Schemas } from './decode/avro-schemas.ts'
import { grownFor, type Grown } from './growing.ts'
import type { TablePlan } from './lane.ts'

/** What a lane makes of the schemas of a growing table: asked for every batch, and told anew only when they are others. */
export class GrowingReader {
  readonly #definition: TableDefinition
  readonly #schemas: Schemas
  readonly #wanted = new WeakMap<SchemaEntry, WantedColumns>()
  #last: { readonly plan: TablePlan; readonly ids: string; readonly grown: Grown } | undefined

  constructor(definition: TableDefinition, schemas: Schemas) {
    this.#definition = definition
    this.#schemas = schemas
  }

  /** `ids` in the order in which they come. Throws `schema.evolves`. */
  grown(plan: TablePlan, ids: readonly number[]): Grown {
    const text = ids.join()
    if (this.#last?.plan === plan && this.#last.ids === text) return this.#last.grown
    const wanted = ids.flatMap((id) => this.#of(this.#schemas.get(id)) ?? [])
    const grown = grownFor(this.#definition, plan, wanted)
    this.#last = { plan, ids: text, grown }
    return grown
  }

  /** Undefined of what is no schema of records: its records are judged one by one. */
  #of(entry: SchemaEntry | undefined): WantedColumns | undefined {
    if (entry?.kind !== 'schema') return undefined
    const known = this.#wanted.get(entry)
    if (known !== undefined) return known
    const wanted = wantedColumns(entry.schema, this.#definition)
    if (wanted !== undefined) this.#wanted.set(entry, wanted)
    return wanted
  }
}
