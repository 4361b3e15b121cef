import {
  DuckDBTimestampMillisecondsValue,
  DuckDBTimestampNanosecondsValue,
  DuckDBTimestampSecondsValue,
  type DuckDBArrayValue,
  type DuckDBBlobValue,
  type DuckDBDateValue,
  type DuckDBDecimalValue,
  type DuckDBListValue,
  type DuckDBMapValue,
  type DuckDBStructValue,
  type DuckDBTimestampValue,
  type DuckDBTimeValue,
  type DuckDBValue,
} from '@duckdb/node-api'
import { LakeError } from '../../error.ts'
import { jsonStyle, plainValue } from '../../values.ts'
import { widthOf, type BinaryField, type BinaryType } from './types.ts'

/** Values of one column of a batch, laid out as Arrow has them; Parquet is made from the same. */
export interface Column {
  readonly name: string
  readonly type: BinaryType
  readonly length: number
  readonly nulls: number
  /** One byte a value: 1 where there is one, 0 where there is null. */
  readonly valid: Uint8Array
  /** Little-endian values of one width (booleans are bytes); of text and bytes, all of them one behind the other. */
  readonly data: Uint8Array
  /** Of text, bytes, lists and maps: where each value begins in `data` or in `children`, and where the last one ends. */
  readonly offsets: Int32Array
  /** Item of a list, key and value of a map, fields of a struct; a struct's are as long as it is. */
  readonly children: readonly Column[]
}

/** A HUGEINT may have 39 digits. */
const DECIMAL_END = 10n ** 38n

/** Collects the values of one column. */
export class ColumnBuilder {
  readonly #name: string
  readonly #type: BinaryType
  readonly #width: number | undefined
  readonly #children: readonly ColumnBuilder[]
  #length = 0
  #nulls = 0
  #valid = new Bytes()
  #data = new Bytes()
  #offsets = [0]

  constructor({ name, type }: BinaryField) {
    this.#name = name
    this.#type = type
    this.#width = widthOf(type)
    this.#children = childrenOf(type).map((field) => new ColumnBuilder(field))
  }

  get length(): number {
    return this.#length
  }

  /** Returns how many bytes the value takes. Throws `sql.failed` for an integer that no decimal can hold. */
  append(value: DuckDBValue | undefined): number {
    this.#length++
    this.#valid.byte(value === null || value === undefined ? 0 : 1)
    if (value === null || value === undefined) {
      this.#nulls++
      return 1 + this.#appendNull()
    }
    return 1 + this.#appendValue(value)
  }

  /** The values so far; those that follow are another batch. */
  take(): Column {
    const column: Column = {
      name: this.#name,
      type: this.#type,
      length: this.#length,
      nulls: this.#nulls,
      valid: this.#valid.bytes,
      data: this.#data.bytes,
      offsets: Int32Array.from(this.#offsets),
      children: this.#children.map((child) => child.take()),
    }
    this.#length = 0
    this.#nulls = 0
    this.#valid = new Bytes()
    this.#data = new Bytes()
    this.#offsets = [0]
    return column
  }

  #appendNull(): number {
    if (this.#width !== undefined) {
      this.#data.skip(this.#width)
      return this.#width
    }
    if (this.#type.kind === 'struct') return this.#appendFields({})
    this.#offsets.push(this.#offsets.at(-1)!)
    return 4
  }

  #appendValue(value: DuckDBValue): number {
    switch (this.#type.kind) {
      case 'text':
        return this.#endOf(this.#data.text(textOf(value)))
      case 'bytes':
        return this.#endOf(this.#data.append((value as DuckDBBlobValue).bytes))
      case 'list':
        return this.#appendItems((value as DuckDBListValue | DuckDBArrayValue).items)
      case 'map':
        return this.#appendEntries(value as DuckDBMapValue)
      case 'struct':
        return this.#appendFields((value as DuckDBStructValue).entries)
      default:
        this.#put(this.#data.skip(this.#width!), value)
        return this.#width!
    }
  }

  #endOf(bytes: number): number {
    this.#offsets.push(this.#data.length)
    return 4 + bytes
  }

  #appendItems(items: readonly DuckDBValue[]): number {
    const [child] = this.#children
    let bytes = 4
    for (const item of items) bytes += child!.append(item)
    this.#offsets.push(child!.length)
    return bytes
  }

  #appendEntries({ entries }: DuckDBMapValue): number {
    const [keys, values] = this.#children
    let bytes = 4
    for (const { key, value } of entries) bytes += keys!.append(key) + values!.append(value)
    this.#offsets.push(keys!.length)
    return bytes
  }

  #appendFields(values: DuckDBStructValue['entries']): number {
    let bytes = 0
    for (const child of this.#children) bytes += child.append(values[child.#name])
    return bytes
  }

  /** Writes a value of one width where `skip` has made room for it. */
  #put(at: number, value: DuckDBValue): void {
    const { view } = this.#data
    const type = this.#type
    switch (type.kind) {
      case 'boolean':
        return view.setUint8(at, value === true ? 1 : 0)
      case 'integer':
        if (type.bits === 64) return view.setBigInt64(at, value as bigint, true)
        if (type.bits === 32) return view.setInt32(at, value as number, true)
        if (type.bits === 16) return view.setInt16(at, value as number, true)
        return view.setInt8(at, value as number)
      case 'float':
        return type.bits === 64
          ? view.setFloat64(at, value as number, true)
          : view.setFloat32(at, value as number, true)
      case 'date':
        return view.setInt32(at, (value as DuckDBDateValue).days, true)
      case 'time':
        return view.setBigInt64(at, (value as DuckDBTimeValue).micros, true)
      case 'timestamp':
        return view.setBigInt64(at, instantOf(value), true)
      case 'decimal': {
        const whole = unscaledOf(value)
        view.setBigInt64(at, whole, true)
        view.setBigInt64(at + 8, whole >> 64n, true)
      }
    }
  }
}

function childrenOf(type: BinaryType): readonly BinaryField[] {
  switch (type.kind) {
    case 'list':
      return [{ name: 'element', type: type.item }]
    case 'map':
      return [
        { name: 'key', type: type.key },
        { name: 'value', type: type.value },
      ]
    case 'struct':
      return type.fields
    default:
      return []
  }
}

function unscaledOf(value: DuckDBValue): bigint {
  const whole = typeof value === 'bigint' ? value : (value as DuckDBDecimalValue).value
  if (whole < DECIMAL_END && whole > -DECIMAL_END) return whole
  throw new LakeError('sql.failed', 'an integer of 39 digits has no place in this format', {
    fix: 'Cast the column to VARCHAR or DOUBLE, or ask for json.',
  })
}

function instantOf(value: DuckDBValue): bigint {
  if (value instanceof DuckDBTimestampSecondsValue) return value.seconds * 1_000n
  if (value instanceof DuckDBTimestampMillisecondsValue) return value.millis
  if (value instanceof DuckDBTimestampNanosecondsValue) return value.nanos
  return (value as DuckDBTimestampValue).micros // with a zone, too
}

function textOf(value: DuckDBValue): string {
  if (typeof value === 'string') return value
  const plain = plainValue(value, jsonStyle)
  return typeof plain === 'string' ? plain : JSON.stringify(plain)
}

/** Bits of bytes that are 0 or 1, the lowest first. */
export function packBits(flags: Uint8Array): Uint8Array {
  const bits = new Uint8Array((flags.length + 7) >> 3)
  for (let i = 0; i < flags.length; i++) bits[i >> 3]! |= flags[i]! << (i & 7)
  return bits
}

const BYTES_MIN = 256
/** Characters of a text that is not measured before it is written. */
const SHORT_TEXT = 1_024

/** Bytes that grow at their end; what is skipped is zero. */
class Bytes {
  #buffer = Buffer.alloc(BYTES_MIN)
  #view = viewOf(this.#buffer)
  length = 0

  get bytes(): Uint8Array {
    return this.#buffer.subarray(0, this.length)
  }

  get view(): DataView {
    return this.#view
  }

  byte(value: number): void {
    this.#reserve(1)
    this.#buffer[this.length++] = value
  }

  /** Returns where the bytes are that were passed over. */
  skip(count: number): number {
    this.#reserve(count)
    this.length += count
    return this.length - count
  }

  /** Returns how many they are. */
  append(bytes: Uint8Array): number {
    this.#reserve(bytes.length)
    this.#buffer.set(bytes, this.length)
    this.length += bytes.length
    return bytes.length
  }

  /** Returns how many bytes it takes. */
  text(text: string): number {
    this.#reserve(text.length < SHORT_TEXT ? text.length * 3 : Buffer.byteLength(text))
    const bytes = this.#buffer.write(text, this.length, 'utf8')
    this.length += bytes
    return bytes
  }

  #reserve(count: number): void {
    if (this.length + count <= this.#buffer.length) return
    const larger = Buffer.alloc(Math.max(this.#buffer.length * 2, this.length + count))
    larger.set(this.bytes)
    this.#buffer = larger
    this.#view = viewOf(larger)
  }
}

function viewOf(buffer: Buffer): DataView {
  return new DataView(buffer.buffer, buffer.byteOffset, buffer.byteLength)
}
