import type { TableDefinition } from '../../define.ts'
import type { ProtoSchema } from '../../protobuf-schema.ts'
import { OWN_SEGMENT, type OwnText } from './column-builder.ts'
import { RECORD_BYTES_MAX, type Reason } from './codes.ts'
import type { ReadRecord } from './compiled-reader.ts'
import { tooLarge, type RowReader } from './avro-reader.ts'
import { NO_FRAME } from './framing.ts'
import { MISFIT } from './json-text.ts'
import type { Plan } from './plan.ts'
import { ProtobufBytes } from './protobuf-bytes.ts'
import { ProtobufExtra } from './protobuf-extra.ts'
import { mergedMessage } from './protobuf-merge.ts'
import type { ProtobufContext } from './protobuf-context.ts'
import { MessageReader } from './protobuf-message.ts'

/** Reads the values of a table in Protocol Buffers into the builders of its plan. */
export class ProtobufReader implements RowReader {
  extraStart = -1
  reason: Reason = NO_FRAME
  readonly #schema: ProtoSchema
  /** Whether the number of a message stands before each. */
  readonly #isFramed: boolean
  readonly #plan: Plan
  readonly #own: OwnText
  readonly #context: ProtobufContext
  readonly #root: MessageReader
  readonly #extra: ProtobufExtra | undefined
  readonly #sizes: Float64Array

  constructor(
    { unknown, framing }: Pick<TableDefinition, 'unknown' | 'framing'>,
    schema: ProtoSchema,
    plan: Plan,
    own: OwnText,
  ) {
    this.#schema = schema
    this.#isFramed = framing !== undefined
    this.#plan = plan
    this.#own = own
    const source = new ProtobufBytes()
    this.#context = { source, own, schema, kept: plan.kept, unknown, hasExtra: false, isRepeated: false }
    this.#root = new MessageReader(this.#context, schema.message, plan.root)
    this.#extra = unknown === 'extra' ? new ProtobufExtra(source, schema) : undefined
    this.#sizes = new Float64Array(plan.elements.length)
  }

  open(bytes: Uint8Array, segment: number): ReadRecord {
    const { source } = this.#context
    return (start, end, row) => {
      this.extraStart = -1
      if (end - start > RECORD_BYTES_MAX) return this.#refuse(tooLarge(end - start))
      try {
        const from = this.#isFramed ? this.#messageAt(bytes, segment, start, end) : start
        this.#message(bytes, segment, from, end, row, false)
        return true
      } catch (error) {
        if (error !== MISFIT) throw error
        return this.#refuse(source.reason(start))
      }
    }
  }

  #message(bytes: Uint8Array, segment: number, start: number, end: number, row: number, isMerged: boolean): void {
    const context = this.#context
    const { source, schema } = context
    this.#mark()
    context.hasExtra = false
    context.isRepeated = false
    source.open(bytes, segment, start, end)
    try {
      this.#root.read(end, row)
    } catch (error) {
      if (error !== MISFIT || !context.isRepeated) throw error
      if (isMerged) source.fail('decode.protobuf', 'a field that stands twice')
      // The merged message stands in our own buffer, and has nothing twice.
      this.#undo(row)
      const fields = schema.messages[schema.message] ?? []
      const merged = mergedMessage(source, schema, fields, bytes.subarray(start, end))
      const at = this.#own.append(merged)
      return this.#message(this.#own.bytes, OWN_SEGMENT, at, at + merged.length, row, true)
    }
    if (this.#extra === undefined || !context.hasExtra) return
    source.open(bytes, segment, start, end)
    const text = this.#extra.text(schema.message, this.#plan.root, end)
    if (text !== undefined) this.extraStart = this.#own.append(Buffer.from(text))
  }

  /** Where the message begins behind its number in its file: how many numbers, then each; a single zero is the first. */
  #messageAt(bytes: Uint8Array, segment: number, at: number, end: number): number {
    const { source } = this.#context
    source.open(bytes, segment, at, end)
    const index: number[] = []
    let count = this.#number()
    if (count === 0) index.push(0)
    if (count < 0 || count > INDEX_MAX) source.fail('decode.protobuf', 'no number of a message', at)
    for (; count > 0; count--) index.push(this.#number())
    const { index: own, message } = this.#schema
    if (index.length !== own.length || index.some((k, i) => k !== own[i]))
      source.fail('decode.type', `message ${index.join('.')} of its schema, not ${message}`, at)
    return source.at
  }

  #number(): number {
    const { source } = this.#context
    source.varint()
    return (source.low >>> 1) ^ -(source.low & 1)
  }

  #refuse(reason: Reason): false {
    this.reason = reason
    return false
  }

  #mark(): void {
    const { elements } = this.#plan
    for (let k = 0; k < elements.length; k++) this.#sizes[k] = elements[k]!.size
  }

  #undo(row: number): void {
    const { builders, elements, kept } = this.#plan
    kept.columns.length = 0
    for (let k = 0; k < elements.length; k++) elements[k]!.size = this.#sizes[k]!
    for (const builder of builders) builder.resetRow(row)
  }
}

/** Messages around a message. */
const INDEX_MAX = 100
