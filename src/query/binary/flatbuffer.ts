// As much of FlatBuffers as Arrow's messages take. A buffer is written from its end: what a table refers to comes first, and
// a place is known by its distance from the end.

/** Writes something that a table or vector refers to; returns its place. */
export type Part = (writer: FlatWriter) => number

/** A number that stands in a table itself. */
export interface Scalar {
  readonly bytes: 1 | 2 | 4 | 8
  readonly value: number
}

export const int8 = (value: number): Scalar => ({ bytes: 1, value })
export const int16 = (value: number): Scalar => ({ bytes: 2, value })
export const int32 = (value: number): Scalar => ({ bytes: 4, value })
export const int64 = (value: number): Scalar => ({ bytes: 8, value })
export const flag = (value: boolean): Scalar => int8(value ? 1 : 0)

/** Fields by their number in the schema; one that is absent has its default. */
export function table(...fields: readonly (Scalar | Part | undefined)[]): Part {
  return (writer) => {
    // Parts go before the table that they belong to, since nothing may stand inside of it.
    const places = fields.map((field) => (typeof field === 'function' ? field(writer) : undefined))
    return writer.table(fields.map((field, index) => places[index] ?? (field as Scalar | undefined)))
  }
}

export function tables(parts: readonly Part[]): Part {
  return (writer) => writer.places(parts.map((part) => part(writer)))
}

/** Structs of two 64-bit integers. */
export function pairs(values: readonly (readonly [number, number])[]): Part {
  return (writer) => writer.pairs(values)
}

export function text(value: string): Part {
  return (writer) => writer.text(value)
}

/** The finished buffer, whose length is a multiple of eight. */
export function flatBuffer(root: Part): Uint8Array {
  const writer = new FlatWriter()
  return writer.finish(root(writer))
}

const BYTES_MIN = 1_024

export class FlatWriter {
  #buffer = Buffer.alloc(BYTES_MIN)
  /** Bytes that are written, counted from the end. */
  #length = 0

  table(fields: readonly (Scalar | number | undefined)[]): number {
    const start = this.#length
    const places = fields.map((field) => {
      if (field === undefined) return 0
      if (typeof field === 'number') this.#place(field)
      else this.#scalar(field)
      return this.#length
    })
    this.#scalar(int32(0)) // where the list of places is, which follows
    const own = this.#length
    for (const place of places.toReversed()) this.#scalar(int16(place === 0 ? 0 : own - place))
    this.#scalar(int16(own - start))
    this.#scalar(int16((fields.length + 2) * 2))
    this.#buffer.writeInt32LE(this.#length - own, this.#buffer.length - own)
    return own
  }

  places(targets: readonly number[]): number {
    this.#align(4, targets.length * 4)
    for (const target of targets.toReversed()) this.#place(target)
    return this.#count(targets.length)
  }

  pairs(values: readonly (readonly [number, number])[]): number {
    this.#align(8, values.length * 16)
    for (const [first, second] of values.toReversed()) {
      this.#scalar(int64(second))
      this.#scalar(int64(first))
    }
    return this.#count(values.length)
  }

  text(value: string): number {
    const bytes = Buffer.from(`${value}\0`)
    this.#align(4, bytes.length)
    this.#length += bytes.length
    bytes.copy(this.#buffer, this.#buffer.length - this.#length)
    return this.#count(bytes.length - 1)
  }

  finish(root: number): Uint8Array {
    this.#align(8, 4)
    this.#place(root)
    return this.#buffer.subarray(this.#buffer.length - this.#length)
  }

  #count(count: number): number {
    this.#scalar(int32(count))
    return this.#length
  }

  /** A reference is the distance from itself to its target. */
  #place(target: number): void {
    this.#align(4, 0)
    this.#scalar(int32(this.#length + 4 - target))
  }

  #scalar({ bytes, value }: Scalar): void {
    this.#align(bytes, bytes)
    this.#length += bytes
    const at = this.#buffer.length - this.#length
    if (bytes === 1) this.#buffer.writeInt8(value, at)
    else if (bytes === 2) this.#buffer.writeInt16LE(value, at)
    else if (bytes === 4) this.#buffer.writeInt32LE(value, at)
    else this.#buffer.writeBigInt64LE(BigInt(value), at)
  }

  /** Leaves zeros, so that what is as long as `following` begins at a multiple of `size`. */
  #align(size: number, following: number): void {
    this.#length += -(this.#length + following) & (size - 1)
    while (this.#length + following + 8 > this.#buffer.length) {
      const larger = Buffer.alloc(this.#buffer.length * 2)
      this.#buffer.copy(larger, this.#buffer.length)
      this.#buffer = larger
    }
  }
}
