import type { PartitionValue } from './data-file.ts'
import { decimalOf, type IcebergType } from './schema.ts'

/** Iceberg's binary form of one value (specification, appendix D): what bounds and partition summaries hold. */
export function singleValue(type: IcebergType, value: Exclude<PartitionValue, null>): Uint8Array {
  switch (type) {
    case 'boolean':
      return Uint8Array.of(value === true ? 1 : 0)
    case 'int':
    case 'date':
      return fixed(4, (view) => view.setInt32(0, Number(value), true))
    case 'long':
    case 'time':
    case 'timestamp':
    case 'timestamptz':
      return fixed(8, (view) => view.setBigInt64(0, BigInt(value as bigint), true))
    case 'float':
      return fixed(4, (view) => view.setFloat32(0, value as number, true))
    case 'double':
      return fixed(8, (view) => view.setFloat64(0, value as number, true))
    case 'string':
      return Buffer.from(value as string, 'utf8')
  }
  if (decimalOf(type) !== undefined) return unscaledBytes(value as bigint)
  return value as Uint8Array // binary, uuid (16 bytes, most significant first)
}

/** The fewest big-endian bytes of a two's complement integer. */
export function unscaledBytes(value: bigint): Uint8Array {
  let length = 1
  while (BigInt.asIntN(8 * length, value) !== value) length++
  return unscaledFixed(value, length)
}

export function unscaledFixed(value: bigint, length: number): Uint8Array {
  const bytes = new Uint8Array(length)
  for (let index = length - 1, rest = value; index >= 0; index--, rest >>= 8n) bytes[index] = Number(rest & 0xffn)
  return bytes
}

/** Bytes of the fixed that holds every decimal of this precision. */
export function decimalLength(precision: number): number {
  return unscaledBytes(10n ** BigInt(precision) - 1n).length
}

/** Order of two values of one type as Iceberg has it: strings and binaries by bytes, not by UTF-16. */
export function compareValues(a: Exclude<PartitionValue, null>, b: Exclude<PartitionValue, null>): number {
  if (typeof a === 'string' && typeof b === 'string') return Buffer.compare(Buffer.from(a), Buffer.from(b))
  if (a instanceof Uint8Array && b instanceof Uint8Array) return Buffer.compare(a, b)
  return a < b ? -1 : a > b ? 1 : 0
}

const TRUNCATED_LENGTH = 16

/**
 * The lower bound of a column, from its least value in binary form. A prefix is never above the value; of the two zeros
 * of a float it is the negative one; NaN, which is no bound, becomes minus infinity, which always is.
 */
export function lowerBound(type: IcebergType, bytes: Uint8Array): Uint8Array {
  if (type === 'float' || type === 'double') {
    const number = floatOf(bytes)
    return number === 0 ? singleValue(type, -0) : Number.isNaN(number) ? singleValue(type, -Infinity) : bytes
  }
  if (type === 'string') return cut(bytes).bytes
  return type === 'binary' ? bytes.subarray(0, TRUNCATED_LENGTH) : bytes
}

/**
 * The upper bound of a column, from its greatest value in binary form: a cut value is raised at its last place that can
 * be. Undefined when none can, and for NaN. A float column that holds a NaN must have no upper bound at all: readers
 * that sort NaN above all numbers prune by it.
 */
export function upperBound(type: IcebergType, bytes: Uint8Array): Uint8Array | undefined {
  if (type === 'float' || type === 'double') {
    const number = floatOf(bytes)
    return number === 0 ? singleValue(type, 0) : Number.isNaN(number) ? undefined : bytes
  }
  if (type === 'string') {
    const prefix = cut(bytes)
    return prefix.isWhole ? bytes : raisedText(prefix.bytes)
  }
  if (type !== 'binary' || bytes.length <= TRUNCATED_LENGTH) return bytes
  const raised = bytes.slice(0, TRUNCATED_LENGTH)
  for (let index = raised.length - 1; index >= 0; index--)
    if (raised[index]! < 0xff) {
      raised[index]!++
      return raised.subarray(0, index + 1)
    }
  return undefined
}

/** The first 16 code points of UTF-8 bytes. */
function cut(bytes: Uint8Array): { readonly bytes: Uint8Array; readonly isWhole: boolean } {
  let points = 0
  for (let index = 0; index < bytes.length; index++) {
    if ((bytes[index]! & 0xc0) === 0x80) continue
    if (points === TRUNCATED_LENGTH) return { bytes: bytes.subarray(0, index), isWhole: false }
    points++
  }
  return { bytes, isWhole: true }
}

function raisedText(prefix: Uint8Array): Uint8Array | undefined {
  const points = Array.from(Buffer.from(prefix).toString('utf8'), (char) => char.codePointAt(0)!)
  while (points.length > 0) {
    const last = points.pop()!
    if (last === 0x10ffff) continue
    // Surrogates are no code points of UTF-8.
    points.push(last === 0xd7ff ? 0xe000 : last + 1)
    return Buffer.from(String.fromCodePoint(...points), 'utf8')
  }
  return undefined
}

function floatOf(bytes: Uint8Array): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  return bytes.length === 4 ? view.getFloat32(0, true) : view.getFloat64(0, true)
}

function fixed(length: number, write: (view: DataView) => void): Uint8Array {
  const bytes = new Uint8Array(length)
  write(new DataView(bytes.buffer))
  return bytes
}
