/**
 * Kafka's primitive types, in the compact forms of its flexible protocol versions (KIP-482): lengths are unsigned
 * varints of length + 1, and every structure ends with a section of tagged fields.
 */
export class WireWriter {
  #buffer: Buffer
  #end = 0

  constructor(bytes = 256) {
    this.#buffer = Buffer.allocUnsafe(bytes)
  }

  int8(value: number): this {
    this.#reserve(1)
    this.#end = this.#buffer.writeInt8(value, this.#end)
    return this
  }

  int16(value: number): this {
    this.#reserve(2)
    this.#end = this.#buffer.writeInt16BE(value, this.#end)
    return this
  }

  int32(value: number): this {
    this.#reserve(4)
    this.#end = this.#buffer.writeInt32BE(value, this.#end)
    return this
  }

  int64(value: bigint): this {
    this.#reserve(8)
    this.#end = this.#buffer.writeBigInt64BE(value, this.#end)
    return this
  }

  unsignedVarint(value: number): this {
    this.#reserve(5)
    let rest = value
    for (; rest > 127; rest >>>= 7) this.#buffer[this.#end++] = (rest & 127) | 128
    this.#buffer[this.#end++] = rest
    return this
  }

  bytes(value: Uint8Array): this {
    this.#reserve(value.length)
    this.#buffer.set(value, this.#end)
    this.#end += value.length
    return this
  }

  string(value: string | undefined): this {
    if (value === undefined) return this.unsignedVarint(0)
    const bytes = Buffer.from(value)
    return this.unsignedVarint(bytes.length + 1).bytes(bytes)
  }

  /** Each item ends with its own, empty, section of tagged fields. */
  array<T>(items: readonly T[], write: (item: T) => unknown): this {
    this.unsignedVarint(items.length + 1)
    for (const item of items) {
      write(item)
      this.noTags()
    }
    return this
  }

  noTags(): this {
    return this.unsignedVarint(0)
  }

  finish(): Buffer {
    return this.#buffer.subarray(0, this.#end)
  }

  #reserve(bytes: number): void {
    if (this.#end + bytes <= this.#buffer.length) return
    const grown = Buffer.allocUnsafe(Math.max(2 * this.#buffer.length, this.#end + bytes))
    this.#buffer.copy(grown, 0, 0, this.#end)
    this.#buffer = grown
  }
}

/** Reads what WireWriter writes. Throws a RangeError when a value lies beyond the end. */
export class WireReader {
  readonly buffer: Buffer
  at = 0

  constructor(buffer: Buffer) {
    this.buffer = buffer
  }

  int8(): number {
    return this.buffer.readInt8(this.#step(1))
  }

  int16(): number {
    return this.buffer.readInt16BE(this.#step(2))
  }

  int32(): number {
    return this.buffer.readInt32BE(this.#step(4))
  }

  int64(): bigint {
    return this.buffer.readBigInt64BE(this.#step(8))
  }

  unsignedVarint(): number {
    let value = 0
    for (let shift = 0; shift < 35; shift += 7) {
      const byte = this.buffer.readUInt8(this.#step(1))
      value |= (byte & 127) << shift
      if (byte < 128) return value >>> 0
    }
    throw new RangeError('a varint is longer than five bytes')
  }

  /** A view, not a copy. */
  bytes(length: number): Buffer {
    if (length < 0 || this.at + length > this.buffer.length) throw new RangeError(`${length} bytes lie beyond the end`)
    return this.buffer.subarray(this.#step(length), this.at)
  }

  string(): string | undefined {
    const length = this.unsignedVarint()
    return length === 0 ? undefined : this.bytes(length - 1).toString()
  }

  /** A null array reads as an empty one. The tagged fields that end each item are skipped. */
  array<T>(read: () => T): T[] {
    const length = this.unsignedVarint() - 1
    const items: T[] = []
    for (let i = 0; i < length; i++) {
      items.push(read())
      this.tags()
    }
    return items
  }

  /** Tagged fields: `read` is called with each tag and must not read beyond the field; unknown ones are skipped. */
  tags(read?: (tag: number) => void): void {
    for (let count = this.unsignedVarint(); count > 0; count--) {
      const tag = this.unsignedVarint()
      const length = this.unsignedVarint()
      const end = this.at + length
      read?.(tag)
      this.at = end
    }
  }

  #step(bytes: number): number {
    const at = this.at
    this.at += bytes
    return at
  }
}
