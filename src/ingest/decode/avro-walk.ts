import { sizeMin, type AvroSchema, type IntegerLogical, type TextLogical } from '../../avro-schema.ts'
import { digitsOf, EMPTY_ITEMS_MAX, UNSCALED_BYTES_MAX, unscaledOf, type AvroBytes } from './avro-bytes.ts'
import { DEPTH_MAX } from './codes.ts'

/**
 * Values that no column has, one by one as their schema says: passed over, which checks them, or written down as JSON for
 * `_extra`. Binary becomes base64, decimals numbers, times the text forms of RFC 3339: what the JSON reader takes for the
 * same types. NaN and the infinities, which JSON lacks, are texts.
 */
export class AvroWalk {
  readonly #source: AvroBytes
  /** The JSON of the last value. */
  text = Buffer.allocUnsafe(256)
  used = 0
  #isWriting = false
  #depth = 0
  /** Types of no bytes cost time only: what one value may still take of it. */
  #steps = 0

  constructor(source: AvroBytes) {
    this.#source = source
  }

  /** Passes over a value and gives where it ends. Throws MISFIT. */
  skip(schema: AvroSchema, p: number, end: number): number {
    return this.#walk(schema, p, end, false)
  }

  /** The same, with its JSON in `text`, as long as `used` says. */
  write(schema: AvroSchema, p: number, end: number): number {
    return this.#walk(schema, p, end, true)
  }

  get isNull(): boolean {
    return this.used === 4 && this.text[0] === 110
  }

  #walk(schema: AvroSchema, p: number, end: number, isWriting: boolean): number {
    this.#isWriting = isWriting
    this.used = 0
    this.#depth = 0
    this.#steps = 1_000 + 4 * (end - p)
    return this.#value(schema, p, end)
  }

  #value(schema: AvroSchema, p: number, end: number): number {
    const source = this.#source
    if (--this.#steps < 0) source.broken(p, 'too many values of no bytes')
    switch (schema.kind) {
      case 'null':
        this.#put('null')
        return p
      case 'boolean':
        if (p >= end || source.bytes[p]! > 1) source.broken(p)
        if (this.#isWriting) this.#put(source.bytes[p] === 1 ? 'true' : 'false')
        return p + 1
      case 'int':
      case 'long':
        return this.#integer(schema, p, end)
      case 'float':
      case 'double': {
        const size = schema.kind === 'float' ? 4 : 8
        if (p + size > end) source.broken(p)
        if (this.#isWriting) {
          const value = size === 4 ? source.view.getFloat32(p, true) : source.view.getFloat64(p, true)
          this.#put(Number.isFinite(value) ? String(value + 0) : `"${value}"`)
        }
        return p + size
      }
      case 'string':
      case 'bytes': {
        const start = source.length(p, end)
        const until = start + source.words[0]!
        if (schema.kind === 'string') source.utf8(start, until, 'a text')
        if (this.#isWriting) this.#bytes(start, until, schema.kind === 'string', schema.logical)
        return until
      }
      case 'fixed':
        if (schema.size > end - p) source.broken(p)
        if (this.#isWriting) this.#bytes(p, p + schema.size, false, schema.logical)
        return p + schema.size
      case 'enum': {
        const until = source.varint(p, end)
        const symbol = source.words[1] === 0 ? schema.symbols[source.words[0]!] : undefined
        if (symbol === undefined) source.broken(p, 'no symbol of this number')
        if (this.#isWriting) this.#put(JSON.stringify(symbol))
        return until
      }
      case 'union': {
        const until = source.varint(p, end)
        const branch = source.words[1] === 0 ? schema.branches[source.words[0]!] : undefined
        if (branch === undefined) source.broken(p, 'no branch of this number')
        return this.#value(branch!, until, end)
      }
      default: {
        if (++this.#depth > DEPTH_MAX) source.fail('decode.depth', `nested deeper than ${DEPTH_MAX}`, p)
        const until = schema.kind === 'record' ? this.#record(schema, p, end) : this.#items(schema, p, end)
        this.#depth--
        return until
      }
    }
  }

  #integer(schema: Extract<AvroSchema, { readonly kind: 'int' | 'long' }>, p: number, end: number): number {
    const source = this.#source
    const until = source.varint(p, end)
    const [low, high] = [source.words[0]!, source.words[1]!]
    if (schema.kind === 'int' && high !== low >> 31) source.broken(p, 'an int of more than 32 bits')
    if (this.#isWriting) this.#put(integerText((BigInt(high) << 32n) | BigInt(low >>> 0), schema.logical))
    return until
  }

  #record({ fields }: Extract<AvroSchema, { readonly kind: 'record' }>, p: number, end: number): number {
    this.#put('{')
    for (const [k, { name, type }] of fields.entries()) {
      if (this.#isWriting) this.#put(`${k === 0 ? '' : ','}${JSON.stringify(name)}:`)
      p = this.#value(type, p, end)
    }
    this.#put('}')
    return p
  }

  /** Blocks of items, each with its count and, when that is negative, its bytes. */
  #items(schema: Extract<AvroSchema, { readonly kind: 'array' | 'map' }>, p: number, end: number): number {
    const source = this.#source
    const isMap = schema.kind === 'map'
    const item = isMap ? schema.values : schema.items
    const bytesMin = sizeMin(item) + (isMap ? 1 : 0)
    const keys = isMap ? new Set<string>() : undefined
    let [done, empty] = [0, 0]
    this.#put(isMap ? '{' : '[')
    for (;;) {
      const from = p
      p = source.varint(p, end)
      let count = source.words[0]!
      let until = -1
      if (source.words[1] !== count >> 31 || count === -2147483648) source.broken(from, 'a count beyond the end')
      if (count < 0) {
        count = -count
        p = source.length(p, end)
        until = p + source.words[0]!
      }
      if (count === 0) break
      if (count * bytesMin > end - p) source.broken(from, 'a count beyond the end')
      if (bytesMin === 0 && (empty += count) > EMPTY_ITEMS_MAX) source.broken(from, 'too many items of no bytes')
      for (let k = 0; k < count; k++) {
        if (done++ > 0) this.#put(',')
        if (keys !== undefined) p = this.#key(keys, p, end)
        p = this.#value(item, p, end)
      }
      if (until >= 0 && p !== until) source.broken(from, 'a block of another length')
    }
    this.#put(isMap ? '}' : ']')
    return p
  }

  #key(keys: Set<string>, p: number, end: number): number {
    const source = this.#source
    const start = source.length(p, end)
    const until = start + source.words[0]!
    source.utf8(start, until, 'a key')
    const key = Buffer.from(source.bytes.buffer, source.bytes.byteOffset + start, until - start).toString('utf8')
    if (keys.has(key)) source.fail('decode.duplicate_key', 'a key that stands twice', start)
    keys.add(key)
    if (this.#isWriting) this.#put(`${JSON.stringify(key)}:`)
    return until
  }

  #bytes(start: number, end: number, isText: boolean, logical: TextLogical | undefined): void {
    const { bytes } = this.#source
    const value = Buffer.from(bytes.buffer, bytes.byteOffset + start, end - start)
    if (isText) this.#put(JSON.stringify(value.toString('utf8')))
    else if (logical?.kind === 'decimal' && end - start <= UNSCALED_BYTES_MAX)
      this.#put(digitsOf(unscaledOf(bytes, start, end), logical.scale))
    else if (logical?.kind === 'uuid')
      this.#put(`"${value.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-')}"`)
    else this.#put(`"${value.toString('base64')}"`)
  }

  #put(text: string): void {
    if (!this.#isWriting) return
    const lengthMax = 3 * text.length
    if (this.used + lengthMax > this.text.length) {
      const grown = Buffer.allocUnsafe(Math.max(2 * this.text.length, this.used + lengthMax))
      grown.set(this.text.subarray(0, this.used))
      this.text = grown
    }
    this.used += this.text.write(text, this.used, 'utf8')
  }
}

const MS_MAX = 253_402_300_799_999n
const MS_MIN = -62_167_219_200_000n
const UNITS = { ms: 1n, us: 1_000n, ns: 1_000_000n } as const

/** A date or an instant of the years 0 to 9999 as its text, all else as the number. */
function integerText(value: bigint, logical: IntegerLogical | undefined): string {
  if (logical === undefined) return String(value)
  const unit = logical.kind === 'date' ? 1n : UNITS[logical.unit]
  const ms = logical.kind === 'date' ? value * 86_400_000n : (value - (((value % unit) + unit) % unit)) / unit
  if (ms < MS_MIN || ms > MS_MAX) return String(value)
  const iso = new Date(Number(ms)).toISOString()
  if (logical.kind === 'date') return `"${iso.slice(0, 10)}"`
  const finer = String(((value % unit) + unit) % unit).padStart(String(unit).length - 1, '0')
  return `"${iso.slice(0, -1)}${unit === 1n ? '' : finer}${logical.kind === 'local' ? '' : 'Z'}"`
}
