import type { Reason } from './codes.ts'
import type { OwnText } from './column-builder.ts'
import { ChangeEnvelope, type Range } from './debezium-envelope.ts'
import { encodingsOf, type Encodings } from './debezium-schema.ts'
import { ChangeValues } from './debezium-values.ts'
import { JsonReader } from './json-reader.ts'
import { JsonText, latin1, MISFIT } from './json-text.ts'
import type { Plan } from './plan.ts'

/** What the records of a change stream say, one at a time. */
export class ChangeReader {
  readonly envelope: ChangeEnvelope
  /** How the values of `after` are read. */
  readonly values: ChangeValues
  readonly #plan: Plan
  #schema = 0
  #encodings: Encodings | undefined

  /** `version`: what orders changes, `source.lsn` when it is a field of the source. */
  constructor(plan: Plan, own: OwnText, version: string | undefined) {
    this.#plan = plan
    this.envelope = new ChangeEnvelope(own, versionFieldOf(version))
    this.values = new ChangeValues(plan)
  }

  /** Opens a record: `envelope` has its parts, `values` its schema. The reason when it is no change event. */
  change(bytes: Uint8Array, segment: number, start: number, end: number): Reason | undefined {
    const reason = this.envelope.read(bytes, segment, start, end)
    if (reason !== undefined) return reason
    const { schema, schemaText } = this.envelope
    if (schema !== this.#schema) {
      this.#schema = schema
      this.#encodings = schema === 0 ? undefined : encodingsOf(schemaText, 'after', this.#plan)
    }
    this.values.encodings = this.#encodings
    this.values.begin()
    return undefined
  }

  /** Whether `after` is written as the columns alone tell, so that the generated reader understands it. */
  get isPlain(): boolean {
    return !this.envelope.mayLackValues && (this.#encodings === undefined || this.#encodings.agrees)
  }
}

const SOURCE = 'source.'

/** Name of the field of the source that orders changes; undefined when none does. */
export function versionFieldOf(version: string | undefined): string | undefined {
  return version?.startsWith(SOURCE) === true ? version.slice(SOURCE.length) : undefined
}

/**
 * The key of a change: that of its record, an object of the key's columns, or the value of the only one, bare or beside
 * its schema; else the columns of the row before the change.
 */
export class ChangeKey {
  readonly #plan: Plan
  readonly #json: JsonReader
  readonly #values: ChangeValues
  readonly #text: JsonText
  readonly #payload: Range = { start: -1, end: -1 }
  #schemaBytes: Uint8Array = new Uint8Array(0)
  #encodings: Encodings | undefined
  #beforeSchema = 0
  #beforeEncodings: Encodings | undefined

  /** `plan` has the key's columns alone. */
  constructor(plan: Plan, own: OwnText) {
    this.#plan = plan
    this.#text = new JsonText(own)
    this.#values = new ChangeValues(plan)
    this.#json = new JsonReader(plan, own, 'ignore', this.#values)
  }

  /** Reads a record's key into row 0 of the plan. The reason when it does not name a row. */
  read(bytes: Uint8Array, segment: number, start: number, end: number): Reason | undefined {
    this.#values.begin()
    this.#values.encodings = undefined
    this.#find(bytes, segment, start, end)
    const { start: from, end: until } = this.#payload
    return this.#plan.root.length === 1
      ? this.#json.recordOrValue(bytes, segment, from, until, 0)
      : this.#json.record(bytes, segment, from, until, 0)
  }

  /** The same from the row before the change, for a record without a key. */
  readBefore(bytes: Uint8Array, segment: number, { before, schema, schemaText }: ChangeEnvelope): Reason | undefined {
    if (before.start < 0) return { code: 'key.null', message: 'a delete without a key and without the row before it' }
    if (schema !== this.#beforeSchema) {
      this.#beforeSchema = schema
      this.#beforeEncodings = schema === 0 ? undefined : encodingsOf(schemaText, 'before', this.#plan)
    }
    this.#values.begin()
    this.#values.encodings = this.#beforeEncodings
    return this.#json.record(bytes, segment, before.start, before.end, 0)
  }

  /** Where the key itself stands. Text that is no JSON is left as it is to the reader, which says so. */
  #find(bytes: Uint8Array, segment: number, start: number, end: number): void {
    const text = this.#text
    const { used } = text.own
    this.#payload.start = start
    this.#payload.end = end
    text.open(bytes, segment, start, end)
    try {
      if (text.token() === 123) this.#unwrap()
    } catch (error) {
      if (error !== MISFIT) throw error
    } finally {
      text.own.used = used
    }
  }

  /** Only an object of exactly `schema`, an object, and `payload` is a wrapper: a key may have columns of these names. */
  #unwrap(): void {
    const text = this.#text
    let [schemaStart, schemaEnd, payloadStart, payloadEnd, fields] = [-1, -1, -1, -1, 0]
    text.enter()
    if (text.token() !== 125)
      for (;;) {
        if (text.token() !== 34) text.unexpected('a key')
        text.string()
        const name = latin1(text.textBytes, text.textStart, text.textEnd)
        text.colon()
        const isObject = text.token() === 123
        const { at } = text
        text.skip()
        fields++
        if (name === 'schema' && isObject) [schemaStart, schemaEnd] = [at, text.at]
        if (name === 'payload') [payloadStart, payloadEnd] = [at, text.at]
        const c = text.token()
        if (c === 125) break
        if (c !== 44) text.unexpected('a comma or }')
        text.at++
      }
    text.leave()
    text.finish()
    if (schemaStart < 0 || payloadStart < 0 || fields !== 2) return
    this.#payload.start = payloadStart
    this.#payload.end = payloadEnd
    this.#learn(text.bytes.subarray(schemaStart, schemaEnd))
  }

  #learn(schema: Uint8Array): void {
    if (Buffer.compare(schema, this.#schemaBytes) !== 0) {
      this.#schemaBytes = schema.slice()
      this.#encodings = encodingsOf(Buffer.from(schema).toString('utf8'), undefined, this.#plan)
    }
    this.#values.encodings = this.#encodings
  }
}
