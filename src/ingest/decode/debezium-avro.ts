import type { AvroRecord, AvroSchema } from '../../avro-schema.ts'
import type { TableDefinition } from '../../define.ts'
import { AvroBytes } from './avro-bytes.ts'
import { generateAvro, type OpenAvro } from './avro-generate.ts'
import { NO_FRAME, tooLarge, type RowParts, type RowReader } from './avro-reader.ts'
import { resolveAvro } from './avro-resolve.ts'
import { CompiledSchemas, FRAME_BYTES, Unusable } from './avro-schemas.ts'
import { AvroValues } from './avro-values.ts'
import { AvroWalk } from './avro-walk.ts'
import type { OwnText } from './column-builder.ts'
import { RECORD_BYTES_MAX, type Reason } from './codes.ts'
import type { ReadRecord } from './compiled-reader.ts'
import { versionFieldOf } from './debezium.ts'
import { kindOf, type Change, type ChangeKind, type Range } from './debezium-envelope.ts'
import { ChangeValues } from './debezium-values.ts'
import { fileFieldOf, fileNumber, versionInFile } from './debezium-version.ts'
import type { ExtraText } from './extra-text.ts'
import { JsonReader } from './json-reader.ts'
import { MISFIT } from './json-text.ts'
import type { PlanNode } from './plan.ts'

/** What is made of the schema of an envelope. */
interface Compiled {
  readonly envelope: AvroRecord
  /** Undefined: its events have no rows, as messages do. */
  readonly row: OpenAvro | undefined
}

/**
 * The records of a change stream in Avro, one at a time: first the envelope, whose rows are only passed over, then the row
 * after the change, as the columns have it.
 */
export class AvroChanges implements RowReader {
  /** What the last record asks for, with places in its buffer. */
  readonly envelope = new AvroChange()
  /** What a row does not carry. */
  readonly values: ChangeValues
  /** Rows are read as they stand. */
  readonly isPlain = true
  extraStart = -1
  reason: Reason = NO_FRAME
  readonly #table: TableDefinition
  readonly #own: OwnText
  readonly #source = new AvroBytes()
  readonly #walk = new AvroWalk(this.#source)
  readonly #extra: ExtraText
  readonly #versionField: string | undefined
  readonly #fileField: string | undefined
  readonly #compiled: CompiledSchemas<Compiled>
  readonly #fixed: Compiled | undefined
  #current: Compiled | undefined
  /** The reader of rows of the last schema in the current buffer. */
  #row: ReadRecord | undefined
  #id = -1
  #first = 0

  /** Throws `schema.incompatible` when the schema of the definition does not fit. */
  constructor(table: TableDefinition, { plan, own, extra, schemas }: RowParts) {
    this.#table = table
    this.#own = own
    this.#extra = extra
    this.#versionField = versionFieldOf(table.version)
    this.#fileField = fileFieldOf(this.#versionField)
    this.values = new ChangeValues(plan)
    const json = new JsonReader(plan, own, 'ignore', this.values)
    const changes = { json, lacks: (node: PlanNode) => this.values.lacks(node) }
    const values = new AvroValues(this.#source, own, extra, changes)
    this.#compiled = new CompiledSchemas<Compiled>(table, schemas, (schema) => {
      if (schema.kind !== 'record' || !schema.fields.some(({ name }) => name === 'op'))
        return ['it is no change envelope: it has no operation']
      const row = rowOf(schema, 'after')
      const resolved = row && resolveAvro(plan.root, row, true)
      if (resolved?.kind === 'incompatible') return resolved.problems
      return { envelope: schema, row: resolved && generateAvro(resolved.record, values, plan.kept, table.unknown) }
    })
    const schema = table.avro?.schema
    this.#fixed = schema === undefined ? undefined : this.#compiled.fixed(schema)
  }

  /** The reader of rows in one buffer; each call of it follows one of `change`. */
  open(bytes: Uint8Array, segment: number): ReadRecord {
    this.#source.open(bytes, new DataView(bytes.buffer, bytes.byteOffset, bytes.length), segment)
    this.#current = undefined
    this.#row = undefined
    this.#id = -1
    return (start, end, row) => {
      this.#extra.begin()
      this.#row ??= this.#current!.row!(bytes, this.#source.view, segment)
      if (!this.#row(start, end, row)) {
        this.reason = this.#source.reason(this.#first)
        return false
      }
      if (this.#table.unknown === 'extra') this.extraStart = this.#extra.finish(this.#own)
      return true
    }
  }

  /** Reads one record's envelope. The reason when it is no change event. May throw `schema.incompatible`. */
  change(_bytes: Uint8Array, _segment: number, start: number, end: number): Reason | undefined {
    if (end - start > RECORD_BYTES_MAX) return tooLarge(end - start)
    this.#first = start
    const unusable = this.#fixed === undefined ? this.#useFramed(start, end) : this.#use(this.#fixed)
    if (unusable !== undefined) return unusable
    this.values.begin()
    try {
      return this.#read(this.#current!.envelope, this.#fixed === undefined ? start + FRAME_BYTES : start, end)
    } catch (error) {
      if (error !== MISFIT) throw error
      return this.#source.reason(start)
    }
  }

  #useFramed(start: number, end: number): Reason | undefined {
    const { bytes, view } = this.#source
    if (end - start < FRAME_BYTES || bytes[start] !== 0) return NO_FRAME
    const id = view.getInt32(start + 1)
    if (id === this.#id && this.#current !== undefined) return undefined
    const made = this.#compiled.of(id)
    if (made instanceof Unusable) return made.reason
    this.#id = id
    return this.#use(made)
  }

  #use(compiled: Compiled): undefined {
    if (compiled === this.#current) return
    this.#current = compiled
    this.#row = undefined
  }

  #read(envelope: AvroRecord, p: number, end: number): Reason | undefined {
    const source = this.#source
    const change = this.envelope
    change.clear()
    let op = 0
    for (const { name, type } of envelope.fields) {
      if (name === 'before' || name === 'after') p = this.#rowRange(type, change[name], p, end)
      else if (name === 'op') {
        const until = this.#walk.write(type, p, end)
        // One letter in quotes.
        op = this.#walk.used === 3 ? this.#walk.text[1]! : 0
        p = until
      } else if (name === 'source' && type.kind === 'record' && this.#versionField !== undefined)
        p = this.#sourceFields(type, p, end)
      else p = this.#walk.skip(type, p, end)
    }
    if (p !== end) source.broken(p, 'bytes behind the value')
    const kind = kindOf(op, change.after.start >= 0)
    if (typeof kind !== 'string') return kind
    change.kind = kind
    if (change.before.start >= 0) change.beforeSchema = rowOf(envelope, 'before')
    return undefined
  }

  /** Where the row stands; nowhere when it is null. */
  #rowRange(type: AvroSchema, range: Range, p: number, end: number): number {
    const row = rowIn(type)
    let start = p
    if (type.kind === 'union') {
      start = this.#source.varint(p, end)
      const [low, high] = [this.#source.words[0]!, this.#source.words[1]!]
      if (high !== 0 || type.branches[low] !== row) return this.#walk.skip(type, p, end)
    }
    if (row === undefined) return this.#walk.skip(type, p, end)
    range.start = start
    range.end = this.#walk.skip(row, start, end)
    return range.end
  }

  /** The source's fields, one of which orders changes. */
  #sourceFields({ fields }: AvroRecord, p: number, end: number): number {
    const walk = this.#walk
    const change = this.envelope
    let file = -1
    for (const { name, type } of fields) {
      if (name === this.#versionField) {
        p = walk.write(type, p, end)
        change.version = longIn(walk.text.toString('latin1', 0, Math.min(walk.used, 21)))
      } else if (name === this.#fileField) {
        p = walk.write(type, p, end)
        // Behind its name is a quote; null has no digits.
        file = fileNumber(walk.text.toString('latin1', 0, walk.used - 1))
      } else p = walk.skip(type, p, end)
    }
    change.version = versionInFile(change.version, file)
    return p
  }
}

/** What a change event in Avro asks for. */
export class AvroChange implements Change {
  kind: ChangeKind = 'message'
  readonly after: Range = { start: -1, end: -1 }
  readonly before: Range = { start: -1, end: -1 }
  version: bigint | undefined
  /** How the row before the change is written; undefined without one. */
  beforeSchema: AvroRecord | undefined

  clear(): void {
    this.kind = 'message'
    this.after.start = this.after.end = this.before.start = this.before.end = -1
    this.version = undefined
    this.beforeSchema = undefined
  }
}

function rowOf(schema: AvroSchema, part: 'before' | 'after'): AvroRecord | undefined {
  if (schema.kind !== 'record') return undefined
  const field = schema.fields.find(({ name }) => name === part)
  return field && rowIn(field.type)
}

/** The record that a field has, or has when it is not null. */
function rowIn(type: AvroSchema): AvroRecord | undefined {
  const branches = type.kind === 'union' ? type.branches : [type]
  const records = branches.filter((branch) => branch.kind === 'record')
  return records.length === 1 ? records[0] : undefined
}

function longIn(text: string): bigint | undefined {
  if (!/^-?\d{1,19}$/.test(text)) return undefined
  const value = BigInt(text)
  return BigInt.asIntN(64, value) === value ? value : undefined
}
