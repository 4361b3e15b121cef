import type { Column } from '../../batch.ts'
import { wantedColumns } from '../../define-avro.ts'
import { declaredColumns, type TableDefinition } from '../../define.ts'
import { evolveColumns } from '../../evolve-columns.ts'
import { AvroBytes } from './avro-bytes.ts'
import { generateAvro, type OpenAvro } from './avro-generate.ts'
import { resolveAvro } from './avro-resolve.ts'
import { CompiledSchemas, FRAME_BYTES, Unusable, type Schemas } from './avro-schemas.ts'
import { AvroValues } from './avro-values.ts'
import type { OwnText } from './column-builder.ts'
import { RECORD_BYTES_MAX, type Reason } from './codes.ts'
import type { ReadRecord } from './compiled-reader.ts'
import type { ExtraText } from './extra-text.ts'
import { nodesWithout, type Plan } from './plan.ts'

/** Reads rows into the builders of a plan. */
export interface RowReader {
  /** The reader for the records of one buffer. Valid until the next call. */
  open(bytes: Uint8Array, segment: number): ReadRecord
  /** Where the `_extra` text of the last row starts in our own buffer, −1 when it has none. */
  extraStart: number
  /** Why the last record does not fit. */
  readonly reason: Reason
}

/** What a reader of rows works with. */
export interface RowParts {
  readonly plan: Plan
  readonly own: OwnText
  /** Where fields go that no column has. */
  readonly extra: ExtraText
  readonly schemas: Schemas
  /** Of a table whose columns come from a registry: all that are known, which a schema must agree with. */
  readonly known?: readonly Column[] | undefined
}

/** Reads the values of a table in Avro into the builders of its plan. */
export class AvroReader implements RowReader {
  extraStart = -1
  reason: Reason = NO_REASON
  readonly #table: TableDefinition
  readonly #own: OwnText
  readonly #source = new AvroBytes()
  readonly #extra: ExtraText
  readonly #compiled: CompiledSchemas<OpenAvro>
  /** The reader of all records; undefined where each names its schema. */
  readonly #fixed: OpenAvro | undefined

  /** Throws `schema.incompatible` when the schema of the definition does not fit the columns. */
  constructor(table: TableDefinition, { plan, own, extra, schemas, known }: RowParts) {
    this.#table = table
    this.#own = own
    this.#extra = extra
    const values = new AvroValues(this.#source, own, extra)
    this.#compiled = new CompiledSchemas(table, schemas, (schema) => {
      const wanted = table.evolve && wantedColumns(schema, table)
      const evolved = wanted && known && evolveColumns(known, wanted, table.evolve!)
      if (evolved?.kind === 'incompatible') return evolved.problems
      const declared = known && new Set(declaredColumns(table).map(({ name }) => name))
      const root = nodesWithout(plan.root, wanted?.others ?? [])
      const resolved = resolveAvro(root, schema, false, declared)
      if (resolved.kind === 'incompatible') return resolved.problems
      return generateAvro(resolved.record, values, plan.kept, table.unknown)
    })
    const schema = table.avro?.schema
    this.#fixed = schema === undefined ? undefined : this.#compiled.fixed(schema)
  }

  /** Its reader may throw `schema.incompatible`. */
  open(bytes: Uint8Array, segment: number): ReadRecord {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
    if (this.#fixed !== undefined) {
      const read = this.#fixed(bytes, view, segment)
      return (start, end, row) => this.#read(read, start, start, end, row)
    }
    let last = -1
    let read: ReadRecord | Unusable = NOTHING
    return (start, end, row) => {
      if (end - start < FRAME_BYTES || bytes[start] !== 0) return this.#refuse(NO_FRAME)
      const id = view.getInt32(start + 1)
      if (id !== last || read === NOTHING) {
        const made = this.#compiled.of(id)
        read = made instanceof Unusable ? made : made(bytes, view, segment)
        last = id
      }
      return read instanceof Unusable
        ? this.#refuse(read.reason)
        : this.#read(read, start, start + FRAME_BYTES, end, row)
    }
  }

  #read(read: ReadRecord, first: number, start: number, end: number, row: number): boolean {
    if (end - first > RECORD_BYTES_MAX) return this.#refuse(tooLarge(end - first))
    this.#extra.begin()
    if (!read(start, end, row)) return this.#refuse(this.#source.reason(first))
    if (this.#table.unknown === 'extra') this.extraStart = this.#extra.finish(this.#own)
    return true
  }

  #refuse(reason: Reason): false {
    this.reason = reason
    return false
  }
}

const NO_REASON: Reason = { code: 'decode.avro', message: '' }
const NOTHING = new Unusable(NO_REASON)
export const NO_FRAME: Reason = {
  code: 'decode.avro',
  message: 'the value does not begin with a zero and the id of a schema',
}

export function tooLarge(bytes: number): Reason {
  return { code: 'decode.too_large', message: `the value has ${bytes} bytes, the limit is ${RECORD_BYTES_MAX}` }
}
