import type { Reason } from './codes.ts'
import { found, latin1, type JsonText, MISFIT } from './json-text.ts'
import type { Dialect, JsonReader } from './json-reader.ts'
import { exactNumber, scaledFloor } from './number.ts'
import type { Plan, PlanNode } from './plan.ts'
import { fits, MICROS_MAX, misfit, range, setUnscaled } from './scalar.ts'
import { SCALE_MAX, type Encoding, type Encodings } from './debezium-schema.ts'
import { isUnavailableList, isUnavailableMap, isUnavailableText } from './debezium-unavailable.ts'
import { parseBase64, parseDate } from './text.ts'

/**
 * The values of a change event, where they differ from plain JSON:
 *
 * - decimal, int, long: base64 of an unscaled integer (its scale from the schema, else the column's own), or an object of
 *   `scale` and `value`; decimals also as text. Text that could be both, eight digits say, is refused without a schema.
 * - string: also such a decimal, whose scale is known, in plain digits.
 * - date: days since 1970; timestamps: ms, µs or ns since 1970, as the schema says, else in the column's unit, rounded
 *   toward −∞. The far ends that stand for infinity are out of range.
 * - float, double: also `"NaN"`, `"Infinity"`, `"-Infinity"`; boolean: also 0 and 1.
 * - list, map, struct: also as JSON text.
 *
 * A text that stands for an unchanged large value leaves a hole, not a value.
 */
export class ChangeValues implements Dialect {
  /** What the schema of the current record says; undefined without one. */
  encodings: Encodings | undefined
  /** Columns of the current record whose values it does not carry, wholly or in part. */
  readonly #lacking = new Set<PlanNode>()
  readonly #plan: Plan
  readonly #columnOf = new Map<PlanNode, PlanNode>()

  /** Whether rows can keep what a record does not carry. */
  readonly #isKeyed: boolean

  constructor(plan: Plan) {
    this.#plan = plan
    this.#isKeyed = plan.root.some((node) => node.isKey)
    for (const node of plan.root) this.#note(node, node)
  }

  #note(node: PlanNode, column: PlanNode): void {
    this.#columnOf.set(node, column)
    for (const child of node.children) this.#note(child, column)
  }

  /** Forgets what the record read last, or in vain, did not carry. */
  begin(): void {
    this.#lacking.clear()
  }

  /** The record is a row: what it does not carry is kept. */
  finish(row: number): void {
    for (const node of this.#lacking) this.#plan.kept.add(node, row)
  }

  /** The record does not carry this part of a column. The reason when the row cannot keep it. */
  lacks(node: PlanNode): Reason | undefined {
    const column = this.#columnOf.get(node)!
    if (column.isKey) return { code: 'key.null', message: `${node.path}: unavailable in a column of the key` }
    if (!this.#isKeyed)
      return {
        code: 'cdc.unavailable_without_base',
        message: `${node.path}: unavailable, in a table without a key`,
      }
    this.#lacking.add(column)
    return undefined
  }

  read(reader: JsonReader, node: PlanNode, c: number, row: number): boolean {
    const { text } = reader
    if (this.#isUnavailable(text, c)) {
      const reason = this.lacks(node)
      if (reason !== undefined) text.fail(reason.code, reason.message)
      node.builder.setNull(row)
      return true
    }
    const encoding = this.encodings?.of.get(node)
    switch (node.type.kind) {
      case 'decimal':
      case 'int':
      case 'long':
        return (c === 34 || c === 123) && this.#exact(text, node, encoding, c, row)
      case 'string':
        return (c === 123 || (c === 34 && encoding?.kind === 'decimal')) && digits(text, node, encoding, c, row)
      case 'date':
        return c === 34 ? dateWithZone(text, node, row) : isNumber(c) && days(text, node, encoding, row)
      case 'timestamp':
      case 'timestamptz':
        return isNumber(c) && instant(text, node, encoding, row)
      case 'float':
      case 'double':
        return c === 34 && special(text, node, row)
      case 'boolean':
        return isNumber(c) && bit(text, node, row)
      case 'list':
      case 'map':
      case 'struct':
        return c === 34 && nested(reader, node, row)
      default:
        return false
    }
  }

  /** Passes over the value when it only stands for one. */
  #isUnavailable(text: JsonText, c: number): boolean {
    const { at, own } = text
    const { used } = own
    if (c === 34) {
      text.string()
      own.used = used
      if (isUnavailableText(text.textBytes, text.textStart, text.textEnd)) return true
      text.at = at
      return false
    }
    const length = c === 91 ? isUnavailableList(text.bytes, at) : c === 123 ? isUnavailableMap(text.bytes, at) : 0
    if (length === 0 || at + length > text.end) return false
    text.at = at + length
    return true
  }

  /** An integer or decimal that is not written as a number. */
  #exact(text: JsonText, node: PlanNode, encoding: Encoding | undefined, c: number, row: number): boolean {
    const { type, builder } = node
    const { at } = text
    const scale = type.kind === 'decimal' ? type.scale : 0
    if (c === 34 && type.kind !== 'decimal' && encoding?.kind === 'plain') return false
    if (c === 34 && type.kind === 'decimal' && encoding?.kind !== 'decimal') {
      const form = encoding === undefined ? formOf(text) : 'text'
      if (form === 'both')
        text.fail('decode.type', `${node.path}: could be digits or base64, which only a schema tells`, at)
      if (form === 'text') return false
    }
    const number = c === 123 ? variable(text, node) : base64(text, node, encoding, scale)
    const value = rescaled(number, scale)
    if (value === undefined) return range(text, node, at)
    if (type.kind === 'decimal') setUnscaled(text, node, value, at, row)
    else if (!fits(type, value, node.limit)) range(text, node, at)
    else if (type.kind === 'int') builder.i32[row] = Number(value)
    else builder.i64[row] = value
    builder.setValid(row)
    return true
  }
}

/** `unscaled × 10^-scale`. */
interface Unscaled {
  readonly unscaled: bigint
  readonly scale: number
}

function rescaled({ unscaled, scale }: Unscaled, to: number): bigint | undefined {
  if (to >= scale)
    return to - scale > DIGITS_MAX && unscaled !== 0n
      ? undefined
      : unscaled * 10n ** BigInt(Math.min(to - scale, DIGITS_MAX + 1))
  const unit = 10n ** BigInt(scale - to)
  return unscaled % unit === 0n ? unscaled / unit : undefined
}

/** More than any column holds. */
const DIGITS_MAX = 40
/** Bytes of an unscaled value; PostgreSQL's longest numeric has 147,455 digits. */
const UNSCALED_BYTES_MAX = 1 << 16

function base64(text: JsonText, node: PlanNode, encoding: Encoding | undefined, scale: number): Unscaled {
  return { unscaled: unscaledText(text, node), scale: encoding?.kind === 'decimal' ? encoding.scale : scale }
}

/** `{"scale":9,"value":"XODp"}`: a decimal that brings its scale along. */
function variable(text: JsonText, node: PlanNode): Unscaled {
  const { at } = text
  let scale: number | undefined
  let unscaled: bigint | undefined
  text.enter()
  for (;;) {
    if (text.token() !== 34) text.unexpected('a key')
    const keyAt = text.at
    const { used } = text.own
    text.string()
    const key = latin1(text.textBytes, text.textStart, text.textEnd)
    text.own.used = used
    text.colon()
    const c = text.token()
    if ((key === 'scale' && scale !== undefined) || (key === 'value' && unscaled !== undefined))
      text.fail('decode.duplicate_key', `${node.path}: a key that stands twice`, keyAt)
    if (key === 'scale' && isNumber(c)) scale = scaleIn(text)
    else if (key === 'value' && c === 34) unscaled = unscaledText(text, node)
    else misfit(text, node, 123, at)
    const next = text.token()
    if (next === 125) break
    if (next !== 44) text.unexpected('a comma or }')
    text.at++
  }
  text.leave()
  if (scale === undefined || unscaled === undefined) return misfit(text, node, 123, at)
  return { unscaled, scale }
}

function scaleIn(text: JsonText): number | undefined {
  const { at } = text
  text.number()
  const scale = Number(latin1(text.bytes, at, text.at))
  return Number.isInteger(scale) && Math.abs(scale) <= SCALE_MAX ? scale : undefined
}

/** Base64 of an integer, big endian, two's complement; of no bytes it is none. */
function unscaledText(text: JsonText, node: PlanNode): bigint {
  const { at, own } = text
  const { used } = own
  text.string()
  const { textStart: start, textEnd: end } = text
  if (end - start > UNSCALED_BYTES_MAX) range(text, node, at)
  const to = own.reserve(end - start)
  const from = text.textSegment === 0 ? to : text.textBytes
  const length = parseBase64(from, start, end, to, own.used)
  if (length <= 0) text.fail('decode.type', `${node.path}: expected base64 of an integer`, at)
  const value = BigInt(`0x${Buffer.from(to.buffer, to.byteOffset + own.used, length).toString('hex')}`)
  own.used = used
  return BigInt.asIntN(8 * length, value)
}

/** What the text at hand can be: only digits are both, when a whole number of base64's groups. */
function formOf(text: JsonText): 'base64' | 'text' | 'both' {
  const { at, own } = text
  const { used } = own
  text.string()
  const value = latin1(text.textBytes, text.textStart, text.textEnd)
  text.at = at
  own.used = used
  const isBase64 = value.length % 4 === 0 && /^[A-Za-z0-9+/]*={0,2}$/.test(value)
  if (!isBase64) return 'text'
  return /^\d+(?:[eE]\+?\d+)?$/.test(value) ? 'both' : 'base64'
}

/** A decimal, whose scale is known, for a string column. */
function digits(text: JsonText, node: PlanNode, encoding: Encoding | undefined, c: number, row: number): boolean {
  const { own, at } = text
  const { unscaled, scale } = c === 123 ? variable(text, node) : base64(text, node, encoding, 0)
  if (scale < -DIGITS_MAX * 10) range(text, node, at)
  const isNegative = unscaled < 0n
  const whole = scale < 0 ? unscaled * 10n ** BigInt(-scale) : unscaled
  const all = String(isNegative ? -whole : whole).padStart(Math.max(scale, 0) + 1, '0')
  const point = all.length - Math.max(scale, 0)
  const plain = `${isNegative ? '-' : ''}${all.slice(0, point)}${scale > 0 ? `.${all.slice(point)}` : ''}`
  const start = own.append(Buffer.from(plain, 'latin1'))
  node.builder.setText(row, own.bytes, 0, start, own.used)
  node.builder.setValid(row)
  return true
}

function days(text: JsonText, node: PlanNode, encoding: Encoding | undefined, row: number): boolean {
  if (encoding?.kind === 'instant') return misfit(text, node, 48)
  const { at } = text
  text.number()
  const value = Number(latin1(text.bytes, at, text.at))
  if (!Number.isInteger(value)) return misfit(text, node, 48, at)
  if (Math.abs(value) > DAYS_MAX) return range(text, node, at)
  node.builder.i32[row] = value + 0
  node.builder.setValid(row)
  return true
}

/** That of a JavaScript date: what lies beyond stands for infinity. */
const DAYS_MAX = 100_000_000

/** `2026-02-28Z`; without the zone the plain rules read it. */
function dateWithZone(text: JsonText, node: PlanNode, row: number): boolean {
  const { at, bytes, end } = text
  if (at + 13 > end || bytes[at + 11] !== 90 || bytes[at + 12] !== 34) return false
  const value = parseDate(bytes, at + 1, at + 11)
  if (Number.isNaN(value)) return false
  text.at = at + 13
  node.builder.i32[row] = value
  node.builder.setValid(row)
  return true
}

/** A number of the unit that the schema tells; without one the plain rules read it in that of the column. */
function instant(text: JsonText, node: PlanNode, encoding: Encoding | undefined, row: number): boolean {
  if (encoding === undefined || encoding.kind === 'plain') return false
  if (encoding.kind !== 'instant') return misfit(text, node, 48)
  const { at } = text
  text.number()
  const number = exactNumber(latin1(text.bytes, at, text.at))
  const micros = scaledFloor(number, encoding.unit === 'ms' ? 3 : encoding.unit === 'us' ? 0 : -3)
  if (micros === undefined || micros > MICROS_MAX || micros < -MICROS_MAX) return range(text, node, at)
  node.builder.i64[row] = micros
  node.builder.setValid(row)
  return true
}

function special(text: JsonText, node: PlanNode, row: number): boolean {
  const { at, own } = text
  const { used } = own
  text.string()
  own.used = used
  const word = latin1(text.textBytes, text.textStart, text.textEnd)
  if (word !== 'NaN' && word !== 'Infinity' && word !== '-Infinity') return misfit(text, node, 34, at)
  if (node.type.kind === 'float') node.builder.f32[row] = Number(word)
  else node.builder.f64[row] = Number(word)
  node.builder.setValid(row)
  return true
}

function bit(text: JsonText, node: PlanNode, row: number): boolean {
  const { at } = text
  text.number()
  const value = text.at - at === 1 ? text.bytes[at]! - 48 : 2
  if (value > 1) return misfit(text, node, 48, at)
  node.builder.u8[row] = value
  node.builder.setValid(row)
  return true
}

/** A list, map or struct whose JSON text is the value. */
function nested(reader: JsonReader, node: PlanNode, row: number): boolean {
  const { text } = reader
  const { depth } = text
  text.string()
  const { bytes, segment, start, end, at, sawHighByte } = text
  try {
    text.open(text.textBytes, text.textSegment, text.textStart, text.textEnd)
    text.depth = depth
    const c = text.token()
    if (c === 34 || found(c) === undefined) text.unexpected('a list or an object')
    reader.value(node, row)
    text.finish()
  } catch (error) {
    if (error !== MISFIT) throw error
    if (text.reason.code === 'decode.json') text.reason = { code: 'decode.type', message: `${node.path}: no JSON text` }
    throw error
  } finally {
    text.bytes = bytes
    text.segment = segment
    text.start = start
    text.end = end
    text.at = at
    text.depth = depth
    text.sawHighByte ||= sawHighByte
  }
  return true
}

function isNumber(c: number): boolean {
  return c === 45 || (c >= 48 && c <= 57)
}
