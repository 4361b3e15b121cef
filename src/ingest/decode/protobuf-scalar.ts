import type { ProtoScalar } from '../../protobuf-schema.ts'
import type { OwnText } from './column-builder.ts'
import { exactNumber, scaled } from './number.ts'
import type { PlanNode } from './plan.ts'
import { WIRE, type ProtobufBytes } from './protobuf-bytes.ts'
import { setOwnText } from './raw.ts'
import { fits, MICROS_MAX, setInstant } from './scalar.ts'
import { parseDate, parseInstant, parseUuid, type Instant } from './text.ts'

/** Reads a value at the current place into a row. Throws MISFIT. */
export type ReadValue = (row: number) => void

/** How the values of each scalar are written. */
export function wireOf(scalar: ProtoScalar): number {
  switch (scalar) {
    case 'double':
    case 'fixed64':
    case 'sfixed64':
      return WIRE.fixed64
    case 'float':
    case 'fixed32':
    case 'sfixed32':
      return WIRE.fixed32
    case 'string':
    case 'bytes':
      return WIRE.bytes
    default:
      return WIRE.varint
  }
}

/** The reader of a scalar into a column that takes it, which the definition made sure of. */
export function scalarReader(source: ProtobufBytes, node: PlanNode, scalar: ProtoScalar): ReadValue {
  const { builder } = node
  switch (scalar) {
    case 'double':
      return (row) => {
        builder.f64[row] = one(source.double())
        builder.setValid(row)
      }
    case 'float':
      return (row) => {
        const value = one(source.float())
        if (node.type.kind === 'float') builder.f32[row] = value
        else builder.f64[row] = value
        builder.setValid(row)
      }
    case 'bool':
      return (row) => {
        source.varint()
        builder.u8[row] = (source.low | source.high) === 0 ? 0 : 1
        builder.setValid(row)
      }
    case 'string':
    case 'bytes': {
      const set = scalar === 'string' ? textSetter(source, node) : bytesSetter(source, node)
      return (row) => {
        const until = source.length()
        set(row, source.at, until)
        builder.setValid(row)
        source.at = until
      }
    }
    default: {
      const [read, set] = [integerOf(source, node.path, scalar), integerSetter(source, node, isUnsigned(scalar))]
      return (row) => {
        const { at } = source
        read()
        set(row, at)
        builder.setValid(row)
      }
    }
  }
}

/** The reader of an enum: its symbol as text, or its number. A number without a symbol is its digits. */
export function enumReader(
  source: ProtobufBytes,
  own: OwnText,
  node: PlanNode,
  numbers: Readonly<Record<string, number>>,
): ReadValue {
  const { builder, type } = node
  const read = integerOf(source, node.path, 'int32')
  if (type.kind === 'int' || type.kind === 'long') {
    const set = integerSetter(source, node, false)
    return (row) => {
      const { at } = source
      read()
      set(row, at)
      builder.setValid(row)
    }
  }
  const symbols = symbolsOf(numbers)
  const texts = new Map([...symbols].map(([number, symbol]) => [number, Buffer.from(symbol)]))
  return (row) => {
    const { at } = source
    read()
    const text = texts.get(source.low)
    if (type.kind === 'enum' && !(text !== undefined && type.symbols.includes(symbols.get(source.low)!)))
      source.fail('decode.range', `${node.path}: none of the symbols`, at)
    setOwnText(builder, row, text ?? Buffer.from(String(source.low)), own)
  }
}

/** Names by number; of several names of one number the first. */
export function symbolsOf(numbers: Readonly<Record<string, number>>): ReadonlyMap<number, string> {
  return new Map(
    Object.entries(numbers)
      .map(([symbol, number]) => [number, symbol] as const)
      .toReversed(),
  )
}

/** Reads an integer into `low` and `high`, as 64 bits with its sign. */
export function integerOf(source: ProtobufBytes, path: string, scalar: ProtoScalar): () => void {
  const short = (fitsShort: () => boolean) => () => {
    const { at } = source
    source.varint()
    if (!fitsShort()) source.fail('decode.range', `${path}: more than 32 bits in ${scalar}`, at)
  }
  switch (scalar) {
    case 'int32':
      return short(() => source.high === source.low >> 31)
    case 'uint32':
      return short(() => source.high === 0)
    case 'sint32': {
      const read = short(() => source.high === 0)
      return () => {
        read()
        source.low = (source.low >>> 1) ^ -(source.low & 1)
        source.high = source.low >> 31
      }
    }
    case 'sint64':
      return () => {
        source.varint()
        const { low, high } = source
        const sign = -(low & 1)
        source.low = ((low >>> 1) | (high << 31)) ^ sign
        source.high = (high >>> 1) ^ sign
      }
    case 'fixed32':
      return () => source.fixed32()
    case 'sfixed32':
      return () => {
        source.fixed32()
        source.high = source.low >> 31
      }
    case 'fixed64':
    case 'sfixed64':
      return () => source.fixed64()
    default:
      return () => source.varint()
  }
}

/** Of 64 bits: only these have numbers beyond the signed ones. */
export function isUnsigned(scalar: ProtoScalar): boolean {
  return scalar === 'uint64' || scalar === 'fixed64'
}

function integerSetter(source: ProtobufBytes, node: PlanNode, unsigned: boolean): (row: number, at: number) => void {
  const { builder, type } = node
  const range = (at: number): never => source.fail('decode.range', `${node.path}: does not fit ${type.kind}`, at)
  switch (type.kind) {
    case 'int':
      return (row, at) => {
        if (source.high !== source.low >> 31) range(at)
        builder.i32[row] = source.low
      }
    case 'long':
      return (row, at) => {
        if (unsigned && source.high < 0) range(at)
        if (node.limit !== undefined && !fits(type, source.long(unsigned), node.limit)) range(at)
        builder.i32[2 * row] = source.low
        builder.i32[2 * row + 1] = source.high
      }
    case 'double':
      return (row, at) => {
        const value = source.long(unsigned)
        if (BigInt(Number(value)) !== value) range(at)
        builder.f64[row] = Number(value)
      }
    case 'timestamp':
    case 'timestamptz': {
      const factor = { s: 1_000_000n, ms: 1_000n, us: 1n }[type.unit ?? 'us']
      return (row, at) => {
        const micros = source.long(unsigned) * factor
        if (micros > MICROS_MAX || micros < -MICROS_MAX) range(at)
        builder.i64[row] = micros
      }
    }
    default: {
      const scale = type.kind === 'decimal' ? 10n ** BigInt(type.scale) : 1n
      return (row, at) => setDecimal(source, node, source.long(unsigned) * scale, row, at)
    }
  }
}

/** Writes an unscaled value. Throws MISFIT when it has more digits than the column. */
function setDecimal(
  source: ProtobufBytes,
  { type, builder, path }: PlanNode,
  value: bigint,
  row: number,
  at: number,
): void {
  if (type.kind !== 'decimal') return
  const limit = 10n ** BigInt(type.precision)
  if (value >= limit || value <= -limit) source.fail('decode.range', `${path}: does not fit decimal`, at)
  if (type.precision <= 4) builder.i16[row] = Number(value)
  else if (type.precision <= 9) builder.i32[row] = Number(value)
  else if (type.precision <= 18) builder.i64[row] = value
  else {
    builder.i64[2 * row] = BigInt.asIntN(64, value)
    builder.i64[2 * row + 1] = value >> 64n
  }
}

type SetRange = (row: number, start: number, end: number) => void

function textSetter(source: ProtobufBytes, node: PlanNode): SetRange {
  const { builder, type, path } = node
  const other = (start: number): never =>
    source.fail('decode.type', `${path}: expected ${type.kind}, found other text`, start)
  const set = ((): SetRange => {
    switch (type.kind) {
      case 'uuid':
        return (row, start, end) => {
          if (!parseUuid(source.bytes, start, end, builder.u8, row * 16)) other(start)
        }
      case 'date':
        return (row, start, end) => {
          const days = parseDate(source.bytes, start, end)
          if (Number.isNaN(days)) other(start)
          builder.i32[row] = days
        }
      case 'timestamp':
      case 'timestamptz':
        return (row, start, end) => {
          const zone = type.kind === 'timestamp' ? 'optional' : 'required'
          if (!parseInstant(source.bytes, start, end, zone, instant)) other(start)
          setInstant(builder.i64, row, instant)
        }
      case 'decimal':
        return (row, start, end) => {
          const text = source.text(start, end)
          if (!NUMBER.test(text)) other(start)
          const value = scaled(exactNumber(text), type.scale)
          if (typeof value === 'string') return source.fail('decode.range', `${path}: does not fit decimal`, start)
          setDecimal(source, node, value, row, start)
        }
      case 'enum':
        return (row, start, end) => {
          if (!type.symbols.includes(source.text(start, end)))
            source.fail('decode.range', `${path}: none of the symbols`, start)
          builder.setText(row, source.bytes, source.segment, start, end)
        }
      default:
        return (row, start, end) => builder.setText(row, source.bytes, source.segment, start, end)
    }
  })()
  return (row, start, end) => {
    source.utf8(start, end, path)
    set(row, start, end)
  }
}

const NUMBER = /^-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?$/
const instant: Instant = { seconds: 0, micros: 0 }

function bytesSetter(source: ProtobufBytes, { builder, type, path }: PlanNode): SetRange {
  if (type.kind !== 'uuid') return (row, start, end) => builder.setText(row, source.bytes, source.segment, start, end)
  return (row, start, end) => {
    if (end - start !== 16) source.fail('decode.type', `${path}: a uuid has 16 bytes, not ${end - start}`, start)
    const to = 16 * row
    // Big endian; DuckDB has the least significant byte first, and flips the highest bit.
    for (let k = 0; k < 16; k++) builder.u8[to + 15 - k] = source.bytes[start + k]!
    builder.u8[to + 15]! ^= 0x80
  }
}

/** Zero has one sign, and NaN one form: readers compare statistics and dictionaries. */
function one(value: number): number {
  return Number.isNaN(value) ? Number.NaN : value + 0
}
