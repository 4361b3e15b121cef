import { wantedColumns } from '../define-avro.ts'
import { wantedOfMessage } from '../define-protobuf.ts'
import type { TableDefinition } from '../define.ts'
import type { WantedColumns } from '../evolve-columns.ts'
import { messageOf } from './decode/protobuf-registry.ts'
import type { SchemaEntry, Schemas } from './decode/avro-schemas.ts'
import { grownFor, type Grown } from './growing.ts'
import type { TablePlan } from './lane.ts'

/** What an entry of a registry asks of a table; undefined of what is no schema of its format. */
export function wantedOfEntry(entry: SchemaEntry, table: TableDefinition): WantedColumns | undefined {
  if (entry.kind === 'schema' && table.avro !== undefined) return wantedColumns(entry.schema, table)
  if (entry.kind !== 'protobuf' || table.protobuf === undefined) return undefined
  const schema = messageOf(entry, table.protobuf.message)
  return typeof schema === 'string' ? undefined : wantedOfMessage(schema, table)
}

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
    if (entry === undefined) return undefined
    const known = this.#wanted.get(entry)
    if (known !== undefined) return known
    const wanted = wantedOfEntry(entry, this.#definition)
    if (wanted !== undefined) this.#wanted.set(entry, wanted)
    return wanted
  }
}
