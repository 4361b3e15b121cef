import { isUtf8 } from 'node:buffer'
import type { DeadLetterCode, Reason } from './codes.ts'
import { MISFIT } from './json-text.ts'

/** How the bytes of a field are told apart from those behind it. */
export const WIRE = { varint: 0, fixed64: 1, bytes: 2, group: 3, endGroup: 4, fixed32: 5 } as const

/**
 * A place in a message of Protocol Buffers: the encoding, without any meaning. Methods begin at `at`, leave it behind
 * what they read, and throw MISFIT after setting `code` and `message`.
 */
export class ProtobufBytes {
  bytes: Uint8Array = new Uint8Array(0)
  view = new DataView(this.bytes.buffer)
  segment = 0
  at = 0
  end = 0
  /** What was read last, as the two halves of 64 bits. */
  low = 0
  high = 0
  /** Of the last tag. */
  field = 0
  wire = 0
  code: DeadLetterCode = 'decode.protobuf'
  message = ''
  #failedAt = 0

  open(bytes: Uint8Array, segment: number, start: number, end: number): void {
    if (bytes !== this.bytes) {
      this.bytes = bytes
      this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
    }
    this.segment = segment
    this.at = start
    this.end = end
  }

  fail(code: DeadLetterCode, message: string, at = this.at): never {
    this.code = code
    this.message = message
    this.#failedAt = at
    throw MISFIT
  }

  /** Why the last record does not fit, whose value begins at `start`. */
  reason(start: number): Reason {
    return { code: this.code, message: `${this.message} at byte ${Math.max(0, this.#failedAt - start)}` }
  }

  /** Reads the number of a field, and how it is written. */
  tag(): void {
    const { at } = this
    this.varint()
    const { low, high } = this
    this.field = low >>> 3
    this.wire = low & 7
    if (high !== 0 || this.field === 0) this.fail('decode.protobuf', 'a field without a number', at)
    if (this.wire === WIRE.group || this.wire === WIRE.endGroup) this.fail('decode.protobuf', 'a group', at)
    if (this.wire > WIRE.fixed32) this.fail('decode.protobuf', `a field of the unknown wire type ${this.wire}`, at)
  }

  /** 7 bits a byte, lowest first; at most 64 bits. */
  varint(): void {
    const { bytes, end } = this
    const first = this.at
    let at = first
    let byte = at < end ? bytes[at++]! : this.fail('decode.protobuf', 'the bytes end before a number', first)
    let low = byte & 127
    let high = 0
    for (let shift = 7; byte > 127; shift += 7) {
      if (at === end) this.fail('decode.protobuf', 'the bytes end in a number', first)
      byte = bytes[at++]!
      if (shift < 28) low |= (byte & 127) << shift
      else if (shift === 28) {
        low |= (byte & 127) << 28
        high = (byte & 127) >>> 4
      } else high |= (byte & 127) << (shift - 32)
      if (shift === 63 && byte > 1) this.fail('decode.protobuf', 'a number of more than 64 bits', first)
    }
    this.low = low
    this.high = high
    this.at = at
  }

  /** Four bytes as an unsigned number. */
  fixed32(): void {
    this.#need(4)
    this.low = this.view.getInt32(this.at, true)
    this.high = 0
    this.at += 4
  }

  fixed64(): void {
    this.#need(8)
    this.low = this.view.getInt32(this.at, true)
    this.high = this.view.getInt32(this.at + 4, true)
    this.at += 8
  }

  double(): number {
    this.#need(8)
    const value = this.view.getFloat64(this.at, true)
    this.at += 8
    return value
  }

  float(): number {
    this.#need(4)
    const value = this.view.getFloat32(this.at, true)
    this.at += 4
    return value
  }

  /** Reads the length of what follows and gives where that ends; `at` is where it begins. */
  length(): number {
    const { at } = this
    this.varint()
    if (this.high !== 0 || this.low < 0 || this.low > this.end - this.at)
      this.fail('decode.protobuf', 'a length beyond the end', at)
    return this.at + this.low
  }

  /** Passes over the value of the last tag. */
  skip(): void {
    if (this.wire === WIRE.varint) this.varint()
    else if (this.wire === WIRE.bytes) this.at = this.length()
    else {
      const size = this.wire === WIRE.fixed32 ? 4 : 8
      this.#need(size)
      this.at += size
    }
  }

  /** The last two halves as a signed number of 64 bits, or an unsigned one. */
  long(isUnsigned: boolean): bigint {
    const value = (BigInt(this.high) << 32n) | BigInt(this.low >>> 0)
    return isUnsigned ? BigInt.asUintN(64, value) : BigInt.asIntN(64, value)
  }

  utf8(start: number, end: number, path: string): void {
    if (!isUtf8(this.bytes.subarray(start, end))) this.fail('decode.utf8', `${path}: not UTF-8`, start)
  }

  text(start: number, end: number): string {
    return Buffer.from(this.bytes.buffer, this.bytes.byteOffset + start, end - start).toString('utf8')
  }

  #need(size: number): void {
    if (this.end - this.at < size) this.fail('decode.protobuf', 'the bytes end in a value')
  }
}
