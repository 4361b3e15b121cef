import type { PartitionValue } from './data-file.ts'
import { decimalOf, type IcebergType } from './schema.ts'
import { unscaledBytes } from './single-value.ts'

const US_PER_DAY = 86_400_000_000n
const US_PER_HOUR = 3_600_000_000n

/** The type of a transform's values, for a column of type `source`. */
export function resultType(transform: string, source: IcebergType): IcebergType {
  if (transform.startsWith('bucket') || ['year', 'month', 'hour'].includes(transform)) return 'int'
  return transform === 'day' ? 'date' : source
}

/** Whether Iceberg allows the transform on columns of this type, and its readers understand it. */
export function isApplicable(transform: string, source: IcebergType): boolean {
  if (typeof source !== 'string') return false
  // Readers disagree about NaN and about the order of UUIDs, so with such tuples some of them would lose rows.
  if (transform === 'identity') return !['float', 'double', 'uuid'].includes(source)
  const isTimestamp = source === 'timestamp' || source === 'timestamptz'
  if (transform === 'hour') return isTimestamp
  if (['year', 'month', 'day'].includes(transform)) return isTimestamp || source === 'date'
  if (transform.startsWith('truncate'))
    return ['int', 'long', 'string', 'binary'].includes(source) || decimalOf(source) !== undefined
  if (transform.startsWith('bucket')) return !['boolean', 'float', 'double'].includes(source)
  return true
}

/**
 * One value of a partition tuple: `identity`, `bucket[N]`, `truncate[W]`, `year`, `month`, `day`, `hour`. Input and
 * result in the forms of `PartitionValue`; a null stays null.
 */
export function applyTransform(transform: string, source: IcebergType, value: PartitionValue): PartitionValue {
  if (value === null || transform === 'identity') return value
  const width = Number(/\[(\d+)\]$/.exec(transform)?.[1] ?? 0)
  if (transform.startsWith('bucket')) return (bucketHash(source, value) & 0x7fff_ffff) % width
  if (transform.startsWith('truncate')) return truncate(source, value, width)
  return timePart(transform, source, value)
}

function timePart(transform: string, source: IcebergType, value: Exclude<PartitionValue, null>): number {
  const isDate = source === 'date'
  const days = isDate ? (value as number) : Number(floorDiv(value as bigint, US_PER_DAY))
  if (transform === 'day') return days
  if (transform === 'hour') return Number(floorDiv(value as bigint, US_PER_HOUR))
  const date = new Date(days * 86_400_000)
  const years = date.getUTCFullYear() - 1970
  return transform === 'year' ? years : years * 12 + date.getUTCMonth()
}

function truncate(source: IcebergType, value: Exclude<PartitionValue, null>, width: number): PartitionValue {
  if (typeof value === 'string') return Array.from(value).slice(0, width).join('')
  if (value instanceof Uint8Array) return value.slice(0, width)
  const whole = BigInt(value as number | bigint)
  const floored = whole - modulo(whole, BigInt(width))
  // As in Java, the smallest integers wrap around.
  if (source === 'int') return Number(BigInt.asIntN(32, floored))
  return source === 'long' ? BigInt.asIntN(64, floored) : floored
}

/** murmur3_x86_32 with seed 0 over the value's bytes; an int hashes as a long, a decimal as its fewest bytes. */
export function bucketHash(source: IcebergType, value: Exclude<PartitionValue, null>): number {
  if (typeof value === 'string') return murmur3(Buffer.from(value, 'utf8'))
  if (value instanceof Uint8Array) return murmur3(value)
  if (decimalOf(source) !== undefined) return murmur3(unscaledBytes(value as bigint))
  const bytes = Buffer.alloc(8)
  bytes.writeBigInt64LE(BigInt(value as number | bigint))
  return murmur3(bytes)
}

function murmur3(bytes: Uint8Array): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const blocks = bytes.length >>> 2
  let hash = 0
  for (let block = 0; block < blocks; block++) {
    hash ^= mix(view.getUint32(4 * block, true))
    hash = Math.imul(rotate(hash, 13), 5) + 0xe654_6b64
  }
  let tail = 0
  for (let index = bytes.length - 1; index >= 4 * blocks; index--) tail = (tail << 8) | bytes[index]!
  if (bytes.length % 4 !== 0) hash ^= mix(tail)
  hash ^= bytes.length
  hash = Math.imul(hash ^ (hash >>> 16), 0x85eb_ca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2_ae35)
  return (hash ^ (hash >>> 16)) | 0
}

function mix(word: number): number {
  return Math.imul(rotate(Math.imul(word, 0xcc9e_2d51), 15), 0x1b87_3593)
}

function rotate(word: number, bits: number): number {
  return (word << bits) | (word >>> (32 - bits))
}

function floorDiv(value: bigint, by: bigint): bigint {
  return (value - modulo(value, by)) / by
}

function modulo(value: bigint, by: bigint): bigint {
  return ((value % by) + by) % by
}
