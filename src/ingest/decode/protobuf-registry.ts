import { wantedOfMessage } from '../../define-protobuf.ts'
import type { TableDefinition } from '../../define.ts'
import { asLakeError } from '../../error.ts'
import { columnsWithout, evolveColumns } from '../../evolve-columns.ts'
import { fieldsProblem, type ProtoSchema } from '../../protobuf-schema.ts'
import { readProtobuf } from '../../protobuf-text.ts'
import { NO_FRAME, type RowParts, type RowReader } from './avro-reader.ts'
import { CompiledSchemas, FRAME_BYTES, schemaIdAt, Unusable, type ProtobufEntry } from './avro-schemas.ts'
import type { Reason } from './codes.ts'
import type { ReadRecord } from './compiled-reader.ts'
import { nodesWithout } from './plan.ts'
import { ProtobufReader } from './protobuf-reader.ts'

/** What reads the values of a table in Protocol Buffers: of the definition's schema, or of those that they name. */
export function protobufReader(table: TableDefinition, parts: RowParts): RowReader {
  const schema = table.protobuf?.schema
  return schema === undefined
    ? new RegistryMessages(table, parts)
    : new ProtobufReader(table, schema, parts.plan, parts.own)
}

const schemas = new WeakMap<ProtobufEntry, Map<string | undefined, ProtoSchema | string>>()

/** The message of a schema of a registry; a text says why there is none. */
export function messageOf(entry: ProtobufEntry, message: string | undefined): ProtoSchema | string {
  const known = schemas.get(entry) ?? new Map<string | undefined, ProtoSchema | string>()
  schemas.set(entry, known)
  const made = known.get(message) ?? readMessage(entry, message)
  known.set(message, made)
  return made
}

function readMessage({ text, imports }: ProtobufEntry, message: string | undefined): ProtoSchema | string {
  try {
    const schema = readProtobuf(text, message, imports)
    return schema.index.length > 0 ? schema : `${schema.message} is a message of another file`
  } catch (error) {
    return asLakeError(error).message
  }
}

/** Values that name their schemas, each read by what was made of its own. */
class RegistryMessages implements RowReader {
  extraStart = -1
  reason: Reason = NO_FRAME
  readonly #compiled: CompiledSchemas<ProtobufReader>

  constructor(table: TableDefinition, { plan, own, schemas, known }: RowParts) {
    const other = () => ['it is one of Avro']
    this.#compiled = new CompiledSchemas<ProtobufReader>(table, schemas, other, (entry) => {
      const schema = messageOf(entry, table.protobuf?.message)
      if (typeof schema === 'string') return [schema]
      const wanted = table.evolve && wantedOfMessage(schema, table)
      const evolved = wanted && known && evolveColumns(known, wanted, table.evolve!)
      if (evolved?.kind === 'incompatible') return evolved.problems
      const others = wanted?.others ?? []
      const problem = fieldsProblem(schema, schema.message, columnsWithout(table.columns, others), '', true)
      if (problem !== undefined) return [problem]
      const seen = { ...plan, root: nodesWithout(plan.root, others) }
      return new ProtobufReader({ unknown: table.unknown, framing: 'confluent' }, schema, seen, own)
    })
  }

  /** Its reader may throw `schema.incompatible`. */
  open(bytes: Uint8Array, segment: number): ReadRecord {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
    const opened = new Map<ProtobufReader, ReadRecord>()
    return (start, end, row) => {
      this.extraStart = -1
      const id = schemaIdAt(view, start, end)
      const made = id === undefined ? NO_ID : this.#compiled.of(id)
      if (made instanceof Unusable) {
        this.reason = made.reason
        return false
      }
      let read = opened.get(made)
      if (read === undefined) opened.set(made, (read = made.open(bytes, segment)))
      const isRow = read(start + FRAME_BYTES, end, row)
      this.extraStart = made.extraStart
      this.reason = made.reason
      return isRow
    }
  }
}

const NO_ID = new Unusable(NO_FRAME)
