import type { TableDefinition } from '../../define.ts'
import { keyColumns, type KeyFormat } from '../../define-record-key.ts'
import { fieldsProblem, type ProtoSchema } from '../../protobuf-schema.ts'
import { CompiledSchemas, Unusable, type Schemas } from './avro-schemas.ts'
import type { OwnText } from './column-builder.ts'
import type { Reason } from './codes.ts'
import { frameEnd, NO_FRAME } from './framing.ts'
import type { Plan } from './plan.ts'
import { ProtobufReader } from './protobuf-reader.ts'
import { messageOf } from './protobuf-registry.ts'

/** Keys in Protocol Buffers, into row 0 of a plan that has the key's columns alone. */
export class ProtobufKey {
  /** Of the definition's schema; undefined: each key names its own. */
  readonly #fixed: ProtobufReader | undefined
  readonly #compiled: CompiledSchemas<ProtobufReader>
  /** Whether a zero and the id of a schema stand before each key. */
  readonly #isFramed: boolean

  constructor(definition: TableDefinition, format: KeyFormat, plan: Plan, own: OwnText, schemas: Schemas) {
    const { schema, message, framing } = format
    const reader = (of: ProtoSchema, isFramed: boolean) =>
      new ProtobufReader({ unknown: 'ignore', ...(isFramed ? { framing: 'confluent' } : {}) }, of, plan, own)
    this.#isFramed = schema === undefined || framing !== undefined
    this.#fixed = schema && reader(schema, this.#isFramed)
    // A null value with a key that cannot be read is one record that does not fit, not a schema that nobody can use.
    const table = { name: definition.name, protobuf: { onIncompatible: 'dead-letter' } } as const
    const other = () => ['it is one of Avro']
    this.#compiled = new CompiledSchemas<ProtobufReader>(table, schemas, other, (entry) => {
      const found = messageOf(entry, message)
      if (typeof found === 'string') return [found]
      const problem = fieldsProblem(found, found.message, keyColumns(definition))
      return problem === undefined ? reader(found, true) : [problem]
    })
  }

  /** A message with a field for each column of the key. */
  read(bytes: Uint8Array, segment: number, start: number, end: number): Reason | undefined {
    const from = this.#isFramed ? frameEnd(bytes, start, end) : start
    if (from < 0) return NO_FRAME
    const reader = this.#fixed ?? this.#compiled.of(idAt(bytes, start))
    if (reader instanceof Unusable) return reader.reason
    return reader.open(bytes, segment)(from, end, 0) ? undefined : reader.reason
  }
}

function idAt(bytes: Uint8Array, start: number): number {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length).getInt32(start + 1)
}
