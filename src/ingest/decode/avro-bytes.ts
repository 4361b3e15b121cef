import type { DeadLetterCode, Reason } from './codes.ts'
import { MISFIT } from './json-text.ts'
import { isUtf8At } from './utf8.ts'

/** The record whose value is being read: where its bytes are, and why it does not fit. */
export class AvroBytes {
  bytes: Uint8Array = new Uint8Array(0)
  view = new DataView(this.bytes.buffer)
  segment = 0
  /** What `varint` read last: the low and the high half of 64 bits. */
  readonly words = new Int32Array(2)
  code: DeadLetterCode = 'decode.avro'
  message = ''
  at = 0

  open(bytes: Uint8Array, view: DataView, segment: number): void {
    this.bytes = bytes
    this.view = view
    this.segment = segment
  }

  /** Throws MISFIT; `reason` tells why. `at` is a place in the buffer. */
  fail(code: DeadLetterCode, message: string, at: number): never {
    this.code = code
    this.message = message
    this.at = at
    throw MISFIT
  }

  /** The bytes are not what the schema says, or end too early. */
  broken(at: number, what = 'the bytes are not of the schema'): never {
    return this.fail('decode.avro', what, at)
  }

  /** Why the last record does not fit, whose value begins at `start`. */
  reason(start: number): Reason {
    return { code: this.code, message: `${this.message} at byte ${this.at - start}` }
  }

  /** Reads a number of variable length into `words` and gives where it ends. */
  varint(p: number, end: number): number {
    const { bytes, words } = this
    const first = p
    let [low, high, byte, shift] = [0, 0, 0, 0]
    do {
      if (p >= end || shift === 70) this.broken(first, p >= end ? 'the bytes end in a number' : 'a number too long')
      byte = bytes[p++]!
      if (shift < 28) low |= (byte & 127) << shift
      else if (shift === 28) {
        low |= (byte & 127) << 28
        high = (byte & 127) >>> 4
      } else high |= (byte & 127) << (shift - 32)
      shift += 7
    } while (byte > 127)
    if (shift === 70 && byte > 1) this.broken(first, 'a number of more than 64 bits')
    const sign = -(low & 1)
    words[0] = ((low >>> 1) | (high << 31)) ^ sign
    words[1] = (high >>> 1) ^ sign
    return p
  }

  /** Reads a length of bytes that are there, into the first of `words`. */
  length(p: number, end: number): number {
    const behind = this.varint(p, end)
    const [length, high] = [this.words[0]!, this.words[1]!]
    if (high !== 0 || length < 0 || length > end - behind) this.broken(p, 'a length beyond the end')
    return behind
  }

  utf8(start: number, end: number, path: string): void {
    if (!isUtf8At(this.bytes, start, end)) this.fail('decode.utf8', `${path}: not UTF-8`, start)
  }
}

/** Items of no bytes in one value: no count may ask for more than the bytes pay for. */
export const EMPTY_ITEMS_MAX = 64

/** Cells that the items of one list or map of one record may fill: 256 MiB of texts. */
export const CELLS_MAX = 1 << 24

/** Bytes of an unscaled value that are computed with. */
export const UNSCALED_BYTES_MAX = 1 << 16

/** The unscaled value of a decimal: big endian, two's complement. */
export function unscaledOf(bytes: Uint8Array, start: number, end: number): bigint {
  if (start === end) return 0n
  const hex = Buffer.from(bytes.buffer, bytes.byteOffset + start, end - start).toString('hex')
  return BigInt.asIntN(8 * (end - start), BigInt(`0x${hex}`))
}

/** `-12345` of scale 2 is `-123.45`; a negative scale adds zeros. */
export function digitsOf(unscaled: bigint, scale: number): string {
  const isNegative = unscaled < 0n
  const whole = (isNegative ? -unscaled : unscaled) * (scale < 0 ? 10n ** BigInt(-scale) : 1n)
  const all = String(whole).padStart(Math.max(scale, 0) + 1, '0')
  const point = all.length - Math.max(scale, 0)
  return `${isNegative ? '-' : ''}${all.slice(0, point)}${scale > 0 ? `.${all.slice(point)}` : ''}`
}
