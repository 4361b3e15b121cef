import { isUtf8 } from 'node:buffer'
import type { OwnText } from './column-builder.ts'
import { RECORD_BYTES_MAX, type DeadLetterCode, type Reason } from './codes.ts'
import { ExtraText } from './extra-text.ts'
import { found, JsonText, KeySet, latin1, MISFIT } from './json-text.ts'
import type { FieldNames, Plan, PlanNode } from './plan.ts'
import type { JsonRule } from './redact-text.ts'
import { readScalar } from './scalar.ts'
import { SHAPE_KEYS_MAX } from './shape.ts'

/**
 * Reads one record's value into the builders of a plan, whatever the order of its keys, white space and escapes. This
 * is the reference for the generated reader, which hands over whatever it was not made for.
 *
 * Values by column type, and nothing else: boolean `true false` · int, long a number without a fraction (`1`, `1.0`,
 * `1e3`) in range · float, double a number that is finite there, `-0` as `0` · decimal a number, or text that is one,
 * held exactly · string, enum text · binary base64 (RFC 4648, standard, padded) · date `YYYY-MM-DD` · timestamp,
 * timestamptz RFC 3339 text (a blank for the T; without a zone only in `timestamp`), or a number when the column has a
 * unit; finer than microseconds is rounded toward −∞ · uuid the usual 36 characters · list an array · map, struct an
 * object. `null` is null everywhere, as is an absent field.
 */
export class JsonReader {
  readonly text: JsonText
  /** What a format reads in its own way. */
  readonly #dialect: Dialect | undefined
  readonly extra: ExtraText
  /** Whether fields that no column has are kept. */
  readonly keepsExtra: boolean
  readonly #plan: Plan
  readonly #unknown: 'extra' | 'ignore' | 'fail'
  /** Where the `_extra` text of the last record starts in our own buffer, −1 when it has none. */
  extraStart = -1
  /** Whether the last objects were written with a blank behind colons, and behind commas. */
  readonly blanks = { colon: false, comma: false }

  /** `redact`: fields of the record that `_extra` does not have as they are. */
  constructor(
    plan: Plan,
    own: OwnText,
    unknown: 'extra' | 'ignore' | 'fail',
    dialect?: Dialect,
    redact: ReadonlyMap<string, JsonRule> = new Map(),
  ) {
    this.extra = new ExtraText(redact)
    this.#dialect = dialect
    this.#plan = plan
    this.#unknown = unknown
    this.keepsExtra = unknown === 'extra'
    this.text = new JsonText(own)
  }

  /** Reads a whole record into `row`. The reason when it does not fit; the row is then to be reset. */
  record(bytes: Uint8Array, segment: number, start: number, end: number, row: number): Reason | undefined {
    return this.#read(bytes, segment, start, end, row, false)
  }

  /** The same; a value that is no object is that of the first column. */
  recordOrValue(bytes: Uint8Array, segment: number, start: number, end: number, row: number): Reason | undefined {
    return this.#read(bytes, segment, start, end, row, true)
  }

  #read(
    bytes: Uint8Array,
    segment: number,
    start: number,
    end: number,
    row: number,
    mayBeBare: boolean,
  ): Reason | undefined {
    if (end - start > RECORD_BYTES_MAX)
      return {
        code: 'decode.too_large',
        message: `the value has ${end - start} bytes, the limit is ${RECORD_BYTES_MAX}`,
      }
    if (!isUtf8(bytes.subarray(start, end))) return { code: 'decode.utf8', message: 'the value is not UTF-8' }
    const { text } = this
    text.open(bytes, segment, start, end)
    this.extra.begin()
    try {
      const isObject = text.token() === 123
      if (!isObject && !mayBeBare) this.#notAnObject()
      if (isObject) this.#object(this.#plan.root, this.#plan.fields, row)
      else this.value(this.#plan.root[0]!, row)
      text.finish()
      this.extraStart = this.extra.finish(text.own)
      return undefined
    } catch (error) {
      if (error !== MISFIT) throw error
      return this.#verdict(text.reason)
    }
  }

  /** Reads one value at `at` for the generated reader and gives where it ends. Throws MISFIT. */
  valueAt(node: PlanNode, at: number, row: number, depth: number): number {
    const { text } = this
    text.at = at
    text.depth = depth
    this.value(node, row)
    return text.at
  }

  /** A fault of the text itself comes before one that only the columns see. */
  #verdict(reason: Reason): Reason {
    if (TEXT_FAULTS.has(reason.code)) return reason
    const { text } = this
    text.open(text.bytes, text.segment, text.start, text.end)
    try {
      text.skip()
      text.finish()
      return reason
    } catch (error) {
      if (error !== MISFIT) throw error
      return text.reason
    }
  }

  #notAnObject(): never {
    const { text } = this
    const at = text.at
    if (text.at >= text.end || (text.bytes[text.at] === 0xef && text.at === text.start)) text.unexpected('an object')
    return text.fail('decode.type', `expected an object, found ${found(text.peek())}`, at)
  }

  value(node: PlanNode, row: number): void {
    const { text } = this
    const c = text.token()
    if (c === 110) {
      const { at } = text
      text.word('null')
      if (node.isRequired) text.fail(missing(node), `${node.path}: null in a required column`, at)
      node.builder.setNull(row)
      return
    }
    if (this.#dialect?.read(this, node, c, row) === true) return
    switch (node.type.kind) {
      case 'struct':
        if (c !== 123) this.#misfit(node, c)
        this.#object(node.children, node.fields!, row)
        node.builder.setValid(row)
        break
      case 'list':
        if (c !== 91) this.#misfit(node, c)
        this.#list(node, row)
        break
      case 'map':
        if (c !== 123) this.#misfit(node, c)
        this.#map(node, row)
        break
      default:
        readScalar(text, node, c, row)
    }
  }

  #misfit(node: PlanNode, c: number): never {
    if (found(c) === undefined) this.text.unexpected('a value')
    return this.text.fail('decode.type', `${node.path}: expected ${node.type.kind}, found ${found(c)}`)
  }

  #object(nodes: readonly PlanNode[], fields: FieldNames, row: number): void {
    const { text } = this
    const object = ++fields.object
    const { order, seenIn } = fields
    order.length = 0
    fields.next = 0
    let unknown: KeySet | undefined
    text.enter()
    if (text.token() !== 125)
      for (;;) {
        if (text.token() !== 34) text.unexpected('a key')
        const at = text.at
        const { used } = text.own
        const isEscaped = text.string()
        const field = fields.find(text.textBytes, text.textStart, text.textEnd, fields.next)
        if (field >= 0) {
          if (seenIn[field] === object) text.fail('decode.duplicate_key', `${nodes[field]!.path}: stands twice`, at)
          seenIn[field] = object
          order.push(field)
          fields.next = field + 1
        } else if (!(unknown ??= new KeySet()).add(text, isEscaped))
          text.fail('decode.duplicate_key', 'a key that stands twice', at)
        else if (order.length < SHAPE_KEYS_MAX) order.push(latin1(text.bytes, at, text.at))
        text.own.used = used
        const rawKey = this.#unknown === 'extra' ? text.bytes.subarray(at, text.at) : NO_KEY
        text.colon()
        this.blanks.colon = text.peek() === 32
        if (field >= 0) this.#field(nodes[field]!, rawKey, row)
        else this.#unknownField(rawKey, at)
        const c = text.token()
        if (c === 125) break
        if (c !== 44) text.unexpected('a comma or }')
        text.at++
        this.blanks.comma = text.peek() === 32
      }
    for (let k = 0; k < nodes.length; k++) {
      if (seenIn[k] === object) continue
      const node = nodes[k]!
      if (node.isKept) this.#plan.kept.add(node, row)
      else if (node.isRequired) text.fail(missing(node), `${node.path}: absent, a required column`)
      else node.builder.setNull(row)
    }
    text.leave()
  }

  #field(node: PlanNode, rawKey: Uint8Array, row: number): void {
    if (this.#unknown !== 'extra' || node.children.length === 0) return this.value(node, row)
    this.extra.enter(rawKey)
    this.value(node, row)
    this.extra.leave()
  }

  #unknownField(rawKey: Uint8Array, keyAt: number): void {
    const { text } = this
    if (this.#unknown === 'fail') text.fail('decode.unknown_field', 'a field that no column has', keyAt)
    text.token()
    const { at } = text
    text.skip()
    if (this.#unknown === 'extra') this.extra.add(rawKey, text.bytes.subarray(at, text.at))
  }

  #list(node: PlanNode, row: number): void {
    const { text } = this
    const element = node.children[0]!
    const entries = node.builder
    const first = element.builder.size
    text.enter()
    if (text.token() !== 93)
      for (;;) {
        const index = element.builder.add()
        const isNested = this.#unknown === 'extra' && element.children.length > 0
        if (isNested) this.extra.enter(Buffer.from(`"${index - first}"`))
        this.value(element, index)
        if (isNested) this.extra.leave()
        const c = text.token()
        if (c === 93) break
        if (c !== 44) text.unexpected('a comma or ]')
        text.at++
      }
    text.leave()
    setEntry(entries.i32, row, first, element.builder.size)
    entries.setValid(row)
  }

  #map(node: PlanNode, row: number): void {
    const { text } = this
    const value = node.children[0]!
    const entries = node.builder.children[0]!
    const first = entries.size
    const keys = new KeySet()
    text.enter()
    if (text.token() !== 125)
      for (;;) {
        if (text.token() !== 34) text.unexpected('a key')
        const at = text.at
        const isEscaped = text.string()
        if (!keys.add(text, isEscaped)) text.fail('decode.duplicate_key', `${node.path}: a key that stands twice`, at)
        const index = entries.add()
        entries.setValid(index)
        const key = entries.children[0]!
        key.setText(index, text.textBytes, text.textSegment, text.textStart, text.textEnd)
        key.setValid(index)
        const rawKey = text.bytes.subarray(at, text.at)
        text.colon()
        this.#field(value, rawKey, index)
        const c = text.token()
        if (c === 125) break
        if (c !== 44) text.unexpected('a comma or }')
        text.at++
      }
    text.leave()
    setEntry(node.builder.i32, row, first, entries.size)
    node.builder.setValid(row)
  }
}

/** Another way to write values than plain JSON has. */
export interface Dialect {
  /** Reads the value of `node` that begins with `c`, no null, or leaves it, and the text where it is, to the plain rules. */
  read(reader: JsonReader, node: PlanNode, c: number, row: number): boolean
}

const NO_KEY = new Uint8Array(0)
const TEXT_FAULTS = new Set(['decode.json', 'decode.utf8', 'decode.depth', 'decode.duplicate_key'])

function missing(node: PlanNode): DeadLetterCode {
  return node.isKey ? 'key.null' : 'decode.required'
}

function setEntry(i32: Int32Array, row: number, first: number, until: number): void {
  i32[row * 4] = first
  i32[row * 4 + 1] = 0
  i32[row * 4 + 2] = until - first
  i32[row * 4 + 3] = 0
}
