import { parseAvro, type AvroSchema } from '../avro-schema.ts'
import type { SchemaEntry } from '../ingest/decode/avro-schemas.ts'
import type { Subjects } from '../ingest/first-columns.ts'
import type { SchemaUse } from '../ingest/holds.ts'
import type { SchemaRegistry } from '../ingest/registry.ts'

/** A version of a subject, and the id that its records name. */
export interface Registered {
  readonly id: number
  readonly schema: AvroSchema
}

/** A registry in memory, of Avro. A schema has one id, under whatever subjects it stands; ids count from 1. */
export class LabRegistry implements SchemaRegistry, Subjects {
  readonly #subjects = new Map<string, Registered[]>()
  readonly #ids = new Map<string, Registered>()

  /** A subject's next version, as text or as the JSON itself. Gives its id. Throws `config.invalid`. */
  register(subject: string, given: unknown): number {
    const schema = parseAvro(given)
    const text = typeof given === 'string' ? given : JSON.stringify(given)
    const registered = this.#ids.get(text) ?? { id: this.#ids.size + 1, schema }
    this.#ids.set(text, registered)
    this.#subjects.set(subject, [...(this.#subjects.get(subject) ?? []), registered])
    return registered.id
  }

  /** The newest version of a subject, with which rows are written. */
  writing(subject: string): Registered | undefined {
    return this.#subjects.get(subject)?.at(-1)
  }

  schema(id: number): Promise<SchemaEntry> {
    return Promise.resolve(entryOf([...this.#ids.values()].find((each) => each.id === id)))
  }

  newest(subject: string): Promise<SchemaEntry> {
    return Promise.resolve(entryOf(this.writing(subject)))
  }

  usesOf(id: number): Promise<readonly SchemaUse[]> {
    const uses = [...this.#subjects].flatMap(([subject, versions]) =>
      versions.flatMap((each, k) => (each.id === id ? [{ subject, version: k + 1 }] : [])),
    )
    return Promise.resolve(uses)
  }
}

function entryOf(registered: Registered | undefined): SchemaEntry {
  return registered === undefined ? { kind: 'unknown' } : { kind: 'schema', schema: registered.schema }
}
