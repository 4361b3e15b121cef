import type { AvroRecord } from '../../avro-schema.ts'
import type { TableDefinition } from '../../define.ts'
import { AvroBytes } from './avro-bytes.ts'
import { generateAvro, generateAvroValue, type OpenAvro } from './avro-generate.ts'
import { resolveAvro, resolveAvroValue } from './avro-resolve.ts'
import { CompiledSchemas, FRAME_BYTES, Unusable, type Schemas } from './avro-schemas.ts'
import { AvroValues } from './avro-values.ts'
import type { OwnText } from './column-builder.ts'
import type { Reason } from './codes.ts'
import { ExtraText } from './extra-text.ts'
import type { Plan } from './plan.ts'

/** Keys in Avro, into row 0 of a plan that has the key's columns alone. */
export class AvroKey {
  readonly #source = new AvroBytes()
  readonly #compiled: CompiledSchemas<OpenAvro>
  readonly #befores = new WeakMap<AvroRecord, OpenAvro | Reason>()
  readonly #make: (schema: AvroRecord) => OpenAvro | readonly string[]

  constructor({ name }: TableDefinition, plan: Plan, own: OwnText, schemas: Schemas) {
    const values = new AvroValues(this.#source, own, new ExtraText())
    this.#make = (schema) => {
      const resolved = resolveAvro(plan.root, schema)
      if (resolved.kind === 'incompatible') return resolved.problems
      return generateAvro(resolved.record, values, plan.kept, 'ignore')
    }
    // A null value with a key that cannot be read is one record that does not fit, not a schema that nobody can use.
    const table = { name, avro: { schema: undefined, onIncompatible: 'dead-letter' } } as const
    this.#compiled = new CompiledSchemas(table, schemas, (schema) => {
      if (schema.kind === 'record') return this.#make(schema)
      if (plan.root.length !== 1) return [`the schema is of type ${schema.kind}, and the key has several columns`]
      const read = resolveAvroValue(plan.root[0]!, schema)
      return 'kind' in read ? generateAvroValue(read, values, plan.kept) : read
    })
  }

  /** A record with the key's columns, or the value of the only one, behind the id of its schema. */
  read(bytes: Uint8Array, segment: number, start: number, end: number): Reason | undefined {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
    if (end - start < FRAME_BYTES || bytes[start] !== 0)
      return { code: 'decode.avro', message: 'it does not begin with a zero and the id of a schema' }
    const open = this.#compiled.of(view.getInt32(start + 1))
    if (open instanceof Unusable) return open.reason
    return this.#read(open, bytes, view, segment, start, start + FRAME_BYTES, end)
  }

  /** From the row before a change. */
  readBefore(
    bytes: Uint8Array,
    segment: number,
    schema: AvroRecord,
    range: { readonly start: number; readonly end: number },
  ): Reason | undefined {
    let open = this.#befores.get(schema)
    if (open === undefined) {
      const made = this.#make(schema)
      open = typeof made === 'function' ? made : { code: 'key.unmappable', message: made.join('; ') }
      this.#befores.set(schema, open)
    }
    if (typeof open !== 'function') return open
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
    return this.#read(open, bytes, view, segment, range.start, range.start, range.end)
  }

  #read(
    open: OpenAvro,
    bytes: Uint8Array,
    view: DataView,
    segment: number,
    first: number,
    start: number,
    end: number,
  ): Reason | undefined {
    return open(bytes, view, segment)(start, end, 0) ? undefined : this.#source.reason(first)
  }
}
