import { parseAvro, type AvroSchema } from '../../avro-schema.ts'
import type { TableDefinition } from '../../define.ts'
import { LakeError } from '../../error.ts'
import type { Reason } from './codes.ts'

/** What a registry has under an id. */
export type SchemaEntry =
  | { readonly kind: 'schema'; readonly schema: AvroSchema }
  /** Of Protocol Buffers: the text of its file, and those that it imports, by their names. */
  | ProtobufEntry
  /** There is no such id. */
  | { readonly kind: 'unknown' }
  /** It is there, and no Avro schema that can be read. */
  | { readonly kind: 'unreadable'; readonly message: string }

export interface ProtobufEntry {
  readonly kind: 'protobuf'
  readonly text: string
  readonly imports: Readonly<Record<string, string>>
}

/** Entries by id, of all ids that stand in the records at hand: they were asked for before. */
export type Schemas = ReadonlyMap<number, SchemaEntry>

/** Bytes before a value: a zero, and the id, big endian. */
export const FRAME_BYTES = 5

/** The id that a value names; undefined where it names none. */
export function schemaIdAt(view: DataView, start: number, end: number): number | undefined {
  return start < 0 || end - start < FRAME_BYTES || view.getUint8(start) !== 0 ? undefined : view.getInt32(start + 1)
}

/** What is made of each schema that a table's records are written with, and of those that cannot be used the reason why. */
export class CompiledSchemas<T> {
  readonly #table: Pick<TableDefinition, 'name' | 'avro' | 'protobuf'>
  readonly #schemas: Schemas
  readonly #compile: (schema: AvroSchema) => T | readonly string[]
  readonly #compileMessage: ((entry: ProtobufEntry) => T | readonly string[]) | undefined
  readonly #compiled = new Map<number, { readonly entry: SchemaEntry; readonly made: T | Unusable }>()

  /** `compile` gives what makes the schema incompatible, or what is made of it; so does `compileMessage`. */
  constructor(
    table: Pick<TableDefinition, 'name' | 'avro' | 'protobuf'>,
    schemas: Schemas,
    compile: (schema: AvroSchema) => T | readonly string[],
    compileMessage?: (entry: ProtobufEntry) => T | readonly string[],
  ) {
    this.#table = table
    this.#schemas = schemas
    this.#compile = compile
    this.#compileMessage = compileMessage
  }

  /** The one of all records. Throws `schema.incompatible`. */
  fixed(text: string): T {
    const made = this.#make(parseAvro(text), 'the schema of the definition')
    if (made instanceof Unusable) throw this.#incompatible(made.reason.message)
    return made
  }

  /** What is made of the schema with this id. Throws `schema.incompatible` in a table that stops for it. */
  of(id: number): T | Unusable {
    const entry = this.#schemas.get(id)
    if (entry === undefined) throw new LakeError('internal', `schema ${id} was not asked for`)
    const known = this.#compiled.get(id)
    const made = known !== undefined && known.entry === entry ? known.made : this.#ofEntry(id, entry)
    if (known?.entry !== entry) {
      if (this.#compiled.size === COMPILED_MAX) this.#compiled.clear()
      this.#compiled.set(id, { entry, made })
    }
    if (made instanceof Unusable && made.reason.code === 'schema.incompatible')
      if ((this.#table.avro ?? this.#table.protobuf)?.onIncompatible !== 'dead-letter')
        throw this.#incompatible(made.reason.message, id)
    return made
  }

  #ofEntry(id: number, entry: SchemaEntry): T | Unusable {
    if (entry.kind === 'schema') return this.#make(entry.schema, `schema ${id}`)
    if (entry.kind === 'protobuf') {
      const made = this.#compileMessage?.(entry) ?? ['it is one of Protocol Buffers']
      return this.#usable(made, `schema ${id}`)
    }
    if (entry.kind === 'unreadable')
      return new Unusable({ code: 'schema.incompatible', message: `schema ${id}: ${entry.message}` })
    return new Unusable({ code: 'schema.unknown', message: `the registry has no schema ${id}` })
  }

  #make(schema: AvroSchema, what: string): T | Unusable {
    return this.#usable(this.#compile(schema), what)
  }

  #usable(made: T | readonly string[], what: string): T | Unusable {
    if (!Array.isArray(made)) return made as T
    return new Unusable({ code: 'schema.incompatible', message: `${what}: ${made.join('; ')}` })
  }

  #incompatible(problem: string, id?: number): LakeError {
    const { name } = this.#table
    return new LakeError('schema.incompatible', `${name}: ${problem}`, {
      context: { table: name, ...(id === undefined ? {} : { schemaId: id }) },
      fix: 'Mend the producer and let such records be dead letters with onIncompatible: dead-letter, or declare columns that take what the schema has: with --accept-code, or by a replay.',
    })
  }
}

/** Why records of a schema are none of the table. */
export class Unusable {
  readonly reason: Reason

  constructor(reason: Reason) {
    this.reason = reason
  }
}

/** Generated readers of one table; the ids of a topic are few. */
const COMPILED_MAX = 256
