import type { ColumnType } from '../../batch.ts'
import { found, latin1, type JsonText } from './json-text.ts'
import { exactNumber, scaled, scaledFloor, type ExactNumber } from './number.ts'
import type { PlanNode } from './plan.ts'
import { parseBase64, parseDate, parseInstant, parseUuid, type Instant } from './text.ts'

/** Largest distance from 1970 that an instant may have, in microseconds: that of a JavaScript date. */
export const MICROS_MAX = 8_640_000_000_000_000_000n

/** Reads one scalar, whose first byte is `c`, into a row. Throws MISFIT through `text`. */
export function readScalar(text: JsonText, node: PlanNode, c: number, row: number): void {
  const isNumber = c === 45 || (c >= 48 && c <= 57)
  const { kind } = node.type
  if (kind === 'boolean') {
    if (c !== 116 && c !== 102) return misfit(text, node, c)
    text.word(c === 116 ? 'true' : 'false')
    node.builder.u8[row] = c === 116 ? 1 : 0
  } else if (isNumber) readNumber(text, node, row)
  else if (c === 34) readText(text, node, row)
  else return misfit(text, node, c)
  node.builder.setValid(row)
}

function readNumber(text: JsonText, node: PlanNode, row: number): void {
  const { at } = text
  const { type, builder } = node
  text.number()
  switch (type.kind) {
    case 'double':
    case 'float': {
      const value = Number(latin1(text.bytes, at, text.at))
      const kept = type.kind === 'float' ? Math.fround(value) : value
      if (!Number.isFinite(kept)) range(text, node, at)
      // Zero has one sign: readers compare statistics and dictionaries with +0.
      if (type.kind === 'float') builder.f32[row] = kept + 0
      else builder.f64[row] = kept + 0
      return
    }
    case 'int':
    case 'long': {
      const value = scaled(numberIn(text, at), 0)
      if (value === 'fraction') text.fail('decode.type', `${node.path}: expected ${type.kind}, found a fraction`, at)
      if (value === 'range' || !fits(type, value, node.limit)) range(text, node, at)
      if (type.kind === 'int') builder.i32[row] = Number(value)
      else builder.i64[row] = value as bigint
      return
    }
    case 'decimal':
      return setDecimal(text, node, numberIn(text, at), at, row)
    case 'timestamp':
    case 'timestamptz': {
      if (type.unit === undefined) return misfit(text, node, 48, at)
      const micros = scaledFloor(numberIn(text, at), type.unit === 's' ? 6 : type.unit === 'ms' ? 3 : 0)
      if (micros === undefined || micros > MICROS_MAX || micros < -MICROS_MAX) range(text, node, at)
      builder.i64[row] = micros!
      return
    }
    default:
      misfit(text, node, 48, at)
  }
}

function readText(text: JsonText, node: PlanNode, row: number): void {
  const { at, own } = text
  const { type, builder } = node
  const { used } = own
  text.string()
  const { textBytes: bytes, textStart: start, textEnd: end } = text
  switch (type.kind) {
    case 'string':
      builder.setText(row, bytes, text.textSegment, start, end)
      return
    case 'enum':
      if (!isSymbol(type, Buffer.from(bytes.buffer, bytes.byteOffset + start, end - start).toString('utf8')))
        text.fail('decode.range', `${node.path}: none of the symbols`, at)
      builder.setText(row, bytes, text.textSegment, start, end)
      return
    case 'binary': {
      // Decoded behind the text when that was escaped: both lie in our own buffer, which may move when it grows.
      const to = own.reserve(end - start)
      const from = text.textSegment === 0 ? to : bytes
      const length = parseBase64(from, start, end, to, own.used)
      if (length < 0) text.fail('decode.type', `${node.path}: expected base64`, at)
      builder.setText(row, to, 0, own.used, own.used + length)
      own.used += length
      return
    }
    case 'date': {
      const days = parseDate(bytes, start, end)
      if (Number.isNaN(days)) text.fail('decode.type', `${node.path}: expected a date, YYYY-MM-DD`, at)
      builder.i32[row] = days
      break
    }
    case 'timestamp':
    case 'timestamptz':
      if (!parseInstant(bytes, start, end, type.kind === 'timestamp' ? 'optional' : 'required', instant))
        text.fail('decode.type', `${node.path}: expected an RFC 3339 ${type.kind}`, at)
      setInstant(builder.i64, row, instant)
      break
    case 'uuid':
      if (!parseUuid(bytes, start, end, builder.u8, row * 16))
        text.fail('decode.type', `${node.path}: expected a UUID`, at)
      break
    case 'decimal': {
      const value = latin1(bytes, start, end)
      if (!NUMBER.test(value)) text.fail('decode.type', `${node.path}: expected decimal, found other text`, at)
      setDecimal(text, node, exactNumber(value), at, row)
      break
    }
    default:
      misfit(text, node, 34, at)
  }
  own.used = used
}

const NUMBER = /^-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?$/
const instant: Instant = { seconds: 0, micros: 0 }

export function setInstant(i64: BigInt64Array, row: number, { seconds, micros }: Instant): void {
  i64[row] = BigInt(seconds) * 1_000_000n + BigInt(micros)
}

function setDecimal(text: JsonText, node: PlanNode, number: ExactNumber, at: number, row: number): void {
  if (node.type.kind !== 'decimal') return
  const value = scaled(number, node.type.scale)
  if (typeof value === 'string') return range(text, node, at)
  setUnscaled(text, node, value, at, row)
}

/** Writes an unscaled value into a decimal column. Throws MISFIT when it has more digits than the column. */
export function setUnscaled(text: JsonText, node: PlanNode, value: bigint, at: number, row: number): void {
  if (node.type.kind !== 'decimal') return
  const { precision } = node.type
  const limit = 10n ** BigInt(precision)
  if (value >= limit || value <= -limit) range(text, node, at)
  const { i16, i32, i64 } = node.builder
  if (precision <= 4) i16[row] = Number(value)
  else if (precision <= 9) i32[row] = Number(value)
  else if (precision <= 18) i64[row] = value
  else {
    i64[2 * row] = BigInt.asIntN(64, value)
    i64[2 * row + 1] = value >> 64n
  }
}

function numberIn(text: JsonText, at: number): ExactNumber {
  return exactNumber(latin1(text.bytes, at, text.at))
}

export function fits(type: ColumnType, value: bigint, limit: bigint | undefined): boolean {
  if (limit !== undefined && (value > limit || value < -limit)) return false
  const bits = type.kind === 'int' ? 32 : 64
  return BigInt.asIntN(bits, value) === value
}

function isSymbol(type: ColumnType, value: string): boolean {
  return type.kind === 'enum' && type.symbols.includes(value)
}

export function range(text: JsonText, node: PlanNode, at: number): never {
  return text.fail('decode.range', `${node.path}: does not fit ${node.type.kind}`, at)
}

export function misfit(text: JsonText, node: PlanNode, c: number, at = text.at): never {
  const what = found(c)
  if (what === undefined) text.unexpected('a value')
  return text.fail('decode.type', `${node.path}: expected ${node.type.kind}, found ${what}`, at)
}
