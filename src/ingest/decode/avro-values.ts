import type { AvroSchema } from '../../avro-schema.ts'
import type { AvroBytes } from './avro-bytes.ts'
import { digitsOf, UNSCALED_BYTES_MAX, unscaledOf } from './avro-bytes.ts'
import { AvroWalk } from './avro-walk.ts'
import type { ColumnBuilder, OwnText } from './column-builder.ts'
import type { Reason } from './codes.ts'
import { isUnavailableText } from './debezium-unavailable.ts'
import type { ExtraText } from './extra-text.ts'
import type { JsonReader } from './json-reader.ts'
import { MISFIT } from './json-text.ts'
import type { PlanNode } from './plan.ts'
import { setOwnText } from './raw.ts'
import { fits, MICROS_MAX, setInstant } from './scalar.ts'
import { parseDate, parseInstant, parseUuid, type Instant } from './text.ts'

/** What rows of a change stream have beyond Avro. */
export interface ChangeRows {
  /** A text only stands for the value of this part of a column. The reason when the row cannot keep what it has. */
  lacks(node: PlanNode): Reason | undefined
  /** Reads lists, maps and structs that are JSON text. */
  readonly json: JsonReader
}

/** What the generated reader calls where a value needs more than a glance. Places are those of the record's buffer. */
export class AvroValues {
  readonly source: AvroBytes
  readonly walk: AvroWalk
  /** Of a change stream. */
  readonly changes: ChangeRows | undefined
  readonly #own: OwnText
  readonly #extra: ExtraText
  readonly #instant: Instant = { seconds: 0, micros: 0 }

  constructor(source: AvroBytes, own: OwnText, extra: ExtraText, changes?: ChangeRows) {
    this.source = source
    this.#own = own
    this.#extra = extra
    this.changes = changes
    this.walk = new AvroWalk(source)
  }

  range(node: PlanNode, at: number): never {
    return this.source.fail('decode.range', `${node.path}: does not fit ${node.type.kind}`, at)
  }

  misfit(node: PlanNode, at: number, found = 'a branch of the union that it does not take'): never {
    return this.source.fail('decode.type', `${node.path}: expected ${node.type.kind}, found ${found}`, at)
  }

  missing(node: PlanNode, at: number): never {
    return this.source.fail(node.isKey ? 'key.null' : 'decode.required', `${node.path}: null in a required column`, at)
  }

  /** Whether a long may be the event time. */
  limit(node: PlanNode, low: number, high: number, at: number): void {
    const value = (BigInt(high) << 32n) | BigInt(low >>> 0)
    if (!fits(node.type, value, node.limit)) this.range(node, at)
  }

  /** An integer that a double cannot hold for sure. */
  whole(node: PlanNode, low: number, high: number, at: number): number {
    const value = (BigInt(high) << 32n) | BigInt(low >>> 0)
    if (BigInt(Number(value)) !== value) this.range(node, at)
    return Number(value)
  }

  /** An integer into a decimal. */
  decimal(node: PlanNode, low: number, high: number, row: number, at: number): void {
    const { type, builder } = node
    // A product that a double holds exactly.
    const value = type.kind === 'decimal' ? (high * 4294967296 + (low >>> 0)) * 10 ** type.scale : Number.NaN
    if (Math.abs(value) <= 9e15 && type.kind === 'decimal' && type.scale <= 15) {
      if (isBeyond(type.precision, value)) this.range(node, at)
      return setDigits(builder, type.precision, value, row)
    }
    this.#setUnscaled(node, (BigInt(high) << 32n) | BigInt(low >>> 0), 0, row, at)
  }

  /** An instant in a unit since 1970, as microseconds, that a double may not hold. */
  instant(node: PlanNode, low: number, high: number, unit: 's' | 'ms' | 'us', row: number, at: number): void {
    const micros = ((BigInt(high) << 32n) | BigInt(low >>> 0)) * FACTORS[unit]
    if (micros > MICROS_MAX || micros < -MICROS_MAX) this.range(node, at)
    node.builder.i64[row] = micros
  }

  instantText(node: PlanNode, start: number, end: number, row: number): void {
    const { kind } = node.type
    if (!parseInstant(this.source.bytes, start, end, kind === 'timestamp' ? 'optional' : 'required', this.#instant))
      this.misfit(node, start, 'other text')
    setInstant(node.builder.i64, row, this.#instant)
  }

  dateText(node: PlanNode, start: number, end: number, row: number): void {
    // Connect writes a date with the zone of an instant.
    const until = end - start === 11 && this.source.bytes[end - 1] === 90 ? end - 1 : end
    const days = parseDate(this.source.bytes, start, until)
    if (Number.isNaN(days)) this.misfit(node, start, 'other text')
    node.builder.i32[row] = days
  }

  uuidText(node: PlanNode, start: number, end: number, row: number): void {
    if (!parseUuid(this.source.bytes, start, end, node.builder.u8, row * 16)) this.misfit(node, start, 'other text')
  }

  /** Sixteen bytes, big endian; DuckDB has the least significant first, and flips the highest bit. */
  uuidBytes(node: PlanNode, start: number, row: number): void {
    const { u8 } = node.builder
    const to = 16 * row
    for (let k = 0; k < 16; k++) u8[to + 15 - k] = this.source.bytes[start + k]!
    u8[to + 15]! ^= 0x80
  }

  /** Text of one of the column's symbols. */
  symbolText(node: PlanNode, start: number, end: number): void {
    if (node.type.kind !== 'enum') return
    const { bytes } = this.source
    const text = Buffer.from(bytes.buffer, bytes.byteOffset + start, end - start).toString('utf8')
    if (!node.type.symbols.includes(text)) this.source.fail('decode.range', `${node.path}: none of the symbols`, start)
  }

  /** A symbol that does not fit into the cell: a text of our own. */
  symbol(node: PlanNode, symbol: string, row: number): void {
    setOwnText(node.builder, row, Buffer.from(symbol), this.#own)
  }

  /** A symbol of the writer that is none of the column. */
  noSymbol(node: PlanNode, at: number): never {
    return this.source.fail('decode.range', `${node.path}: none of the symbols`, at)
  }

  utf8(node: PlanNode, start: number, end: number): void {
    this.source.utf8(start, end, node.path)
  }

  /** Big endian bytes of an unscaled integer, into a decimal, an integer or, as digits, a string. */
  unscaled(node: PlanNode, start: number, end: number, scale: number, row: number): void {
    if (end - start > UNSCALED_BYTES_MAX) this.range(node, start)
    if (node.type.kind === 'decimal' && node.type.scale === scale && end - start <= 8)
      if (this.#setSmall(node, start, end, row)) return
    const value = unscaledOf(this.source.bytes, start, end)
    if (node.type.kind === 'string')
      setOwnText(node.builder, row, Buffer.from(digitsOf(value, scale), 'latin1'), this.#own)
    else this.#setUnscaled(node, value, scale, row, start)
  }

  /** `{scale, value}`: where it ends. */
  variable(node: PlanNode, p: number, end: number, row: number): number {
    const { source } = this
    let until = source.varint(p, end)
    const [scale, high] = [source.words[0]!, source.words[1]!]
    if (high !== scale >> 31 || Math.abs(scale) > VARIABLE_SCALE_MAX) this.range(node, p)
    until = source.length(until, end)
    const start = until
    until += source.words[0]!
    this.unscaled(node, start, until, scale, row)
    return until
  }

  /** Passes over a value that no column has. */
  pass(schema: AvroSchema, p: number, end: number): number {
    return this.walk.skip(schema, p, end)
  }

  /** The same, kept for `_extra` unless it is null. */
  keep(rawKey: Uint8Array, schema: AvroSchema, p: number, end: number): number {
    const until = this.walk.write(schema, p, end)
    if (!this.walk.isNull) this.#extra.add(rawKey, this.walk.text.subarray(0, this.walk.used))
    return until
  }

  unknown(at: number): never {
    return this.source.fail('decode.unknown_field', 'a field that no column has', at)
  }

  enter(rawKey: Uint8Array): void {
    this.#extra.enter(rawKey)
  }

  enterItem(item: number): void {
    this.#extra.enter(Buffer.from(`"${item}"`))
  }

  /** The last key of a map. */
  enterKey(start: number, end: number): void {
    const { bytes } = this.source
    const key = Buffer.from(bytes.buffer, bytes.byteOffset + start, end - start).toString('utf8')
    this.#extra.enter(Buffer.from(JSON.stringify(key)))
  }

  leave(): void {
    this.#extra.leave()
  }

  /** Whether a text stands for an unchanged large value; the column is then null in this row. */
  isLacking(node: PlanNode, start: number, end: number, row: number): boolean {
    if (this.changes === undefined || !isUnavailableText(this.source.bytes, start, end)) return false
    const reason = this.changes.lacks(node)
    if (reason !== undefined) this.source.fail(reason.code, reason.message, start)
    node.builder.setNull(row)
    return true
  }

  /** JSON text, of a column that is a list, a map or a struct. */
  json(node: PlanNode, start: number, end: number, row: number): void {
    const { source } = this
    const { json } = this.changes!
    source.utf8(start, end, node.path)
    json.text.open(source.bytes, source.segment, start, end)
    try {
      json.value(node, row)
      json.text.finish()
    } catch (error) {
      if (error !== MISFIT) throw error
      const { code, message } = json.text.reason
      source.fail(code === 'decode.json' ? 'decode.type' : code, `${node.path}, as JSON text: ${message}`, start)
    }
  }

  tooMany(node: PlanNode, at: number): never {
    return this.source.broken(at, `${node.path}: too many items`)
  }

  /** At most 64 bits, of which most need no 64-bit arithmetic; whether these did not. */
  #setSmall(node: PlanNode, start: number, end: number, row: number): boolean {
    if (node.type.kind !== 'decimal') return false
    const { bytes } = this.source
    const { builder } = node
    const { precision } = node.type
    const isNegative = start < end && bytes[start]! > 127
    if (end - start <= 6) {
      let value = isNegative ? -1 : 0
      for (let p = start; p < end; p++) value = value * 256 + bytes[p]!
      if (isBeyond(precision, value)) this.range(node, start)
      setDigits(builder, precision, value, row)
      return true
    }
    let [high, low] = [isNegative ? -1 : 0, 0]
    for (let p = start; p < end - 4; p++) high = (high << 8) | bytes[p]!
    for (let p = end - 4; p < end; p++) low = (low << 8) | bytes[p]!
    // A double is close to the value: what is near the limit is for exact arithmetic.
    if (precision < 10 || precision > 18 || Math.abs(high * 4294967296 + (low >>> 0)) > 10 ** precision * 0.999)
      return false
    builder.i32[2 * row] = low
    builder.i32[2 * row + 1] = high
    return true
  }

  #setUnscaled(node: PlanNode, unscaled: bigint, scale: number, row: number, at: number): void {
    const { type, builder } = node
    const to = type.kind === 'decimal' ? type.scale : 0
    const isFiner = scale > to
    const unit = 10n ** BigInt(unscaled === 0n ? 0 : Math.abs(scale - to))
    if (isFiner && unscaled % unit !== 0n) this.range(node, at)
    const value = isFiner ? unscaled / unit : unscaled * unit
    if (type.kind !== 'decimal') {
      if (!fits(type, value, node.limit)) this.range(node, at)
      if (type.kind === 'int') builder.i32[row] = Number(value)
      else builder.i64[row] = value
      return
    }
    const limit = 10n ** BigInt(type.precision)
    if (value >= limit || value <= -limit) this.range(node, at)
    if (type.precision <= 4) builder.i16[row] = Number(value)
    else if (type.precision <= 9) builder.i32[row] = Number(value)
    else if (type.precision <= 18) builder.i64[row] = value
    else {
      builder.i64[2 * row] = BigInt.asIntN(64, value)
      builder.i64[2 * row + 1] = value >> 64n
    }
  }
}

/** Whether an unscaled value that a double holds exactly has more digits than a decimal of this precision. */
function isBeyond(precision: number, value: number): boolean {
  return precision < 16 && Math.abs(value) >= 10 ** precision
}

function setDigits(builder: ColumnBuilder, precision: number, value: number, row: number): void {
  if (precision <= 4) builder.i16[row] = value
  else if (precision <= 9) builder.i32[row] = value
  else if (precision <= 18) builder.setLong(row, value)
  else {
    builder.setLong(2 * row, value)
    builder.i32[4 * row + 2] = builder.i32[4 * row + 3] = value < 0 ? -1 : 0
  }
}

const FACTORS = { s: 1_000_000n, ms: 1_000n, us: 1n } as const
/** No database has decimals of more digits behind the point. */
const VARIABLE_SCALE_MAX = 20_000

/** Keys of the map that is being read, compared where they lie. */
export class MapKeys {
  #ranges = new Int32Array(64)
  #size = 0
  #more: Set<string> | undefined

  clear(): void {
    this.#size = 0
    this.#more = undefined
  }

  /** False when the key was there before. */
  add(bytes: Uint8Array, start: number, end: number): boolean {
    const ranges = this.#ranges
    if (this.#more !== undefined || this.#size === ranges.length) return this.#addToMany(bytes, start, end)
    for (let k = 0; k < this.#size; k += 2) {
      const from = ranges[k]!
      if (ranges[k + 1]! - from !== end - start) continue
      let at = start
      while (at < end && bytes[from + at - start] === bytes[at]) at++
      if (at === end) return false
    }
    ranges[this.#size++] = start
    ranges[this.#size++] = end
    return true
  }

  #addToMany(bytes: Uint8Array, start: number, end: number): boolean {
    const ranges = this.#ranges
    if (this.#more === undefined) {
      this.#more = new Set()
      for (let k = 0; k < this.#size; k += 2) this.#more.add(textOf(bytes, ranges[k]!, ranges[k + 1]!))
    }
    const { size } = this.#more
    return this.#more.add(textOf(bytes, start, end)).size > size
  }
}

function textOf(bytes: Uint8Array, start: number, end: number): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset + start, end - start).toString('latin1')
}
