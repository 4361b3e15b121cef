import type { DataFile, IcebergType } from '../../lake/table.ts'

type Value = DataFile['partition'][number]

/** One value of a partition tuple in its Iceberg result type: `identity`, `bucket[N]`, `truncate[W]`, time units. */
export function applyTransform(transform: string, source: IcebergType, value: Value): Value {
  if (value === null || transform === 'identity') return value
  const width = Number(/\[(\d+)\]$/.exec(transform)?.[1] ?? 0)
  if (transform.startsWith('bucket')) return (murmur3(hashedBytes(source, value)) & 0x7fff_ffff) % width
  if (transform.startsWith('truncate')) return truncate(source, value, width)
  const days = source === 'date' ? (value as number) : Number(floorDiv(value as bigint, 86_400_000_000n))
  if (transform === 'day') return days
  if (transform === 'hour') return Number(floorDiv(value as bigint, 3_600_000_000n))
  const date = new Date(days * 86_400_000)
  const years = date.getUTCFullYear() - 1970
  return transform === 'year' ? years : years * 12 + date.getUTCMonth()
}

function truncate(source: IcebergType, value: Exclude<Value, null>, width: number): Value {
  if (typeof value === 'string') return Array.from(value).slice(0, width).join('')
  if (value instanceof Uint8Array) return value.slice(0, width)
  const whole = BigInt(value)
  const rest = whole % BigInt(width)
  const floored = whole - (rest < 0n ? rest + BigInt(width) : rest)
  // As in Java, the smallest integers wrap around.
  if (source === 'int') return Number(BigInt.asIntN(32, floored))
  return source === 'long' ? BigInt.asIntN(64, floored) : floored
}

/** An int hashes as a long, a decimal as its fewest bytes. */
function hashedBytes(source: IcebergType, value: Exclude<Value, null>): Uint8Array {
  if (typeof value === 'string') return Buffer.from(value)
  if (value instanceof Uint8Array) return value
  if (typeof source === 'string' && source.startsWith('decimal')) return fewestBytes(value as bigint)
  const bytes = Buffer.alloc(8)
  bytes.writeBigInt64LE(BigInt(value))
  return bytes
}

/** Two's complement, big endian. */
export function fewestBytes(value: bigint): Uint8Array {
  let length = 1
  while (BigInt.asIntN(length * 8, value) !== value) length++
  const bytes = Buffer.alloc(length)
  for (let k = length - 1, rest = value; k >= 0; k--, rest >>= 8n) bytes[k] = Number(BigInt.asUintN(8, rest))
  return bytes
}

/** murmur3_x86_32 with seed 0. */
export function murmur3(bytes: Uint8Array): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  const whole = bytes.length & ~3
  let hash = 0
  for (let k = 0; k < whole; k += 4) {
    hash ^= mix(view.getInt32(k, true))
    hash = (Math.imul((hash << 13) | (hash >>> 19), 5) + 0xe654_6b64) | 0
  }
  let tail = 0
  for (let k = bytes.length - 1; k >= whole; k--) tail = (tail << 8) | bytes[k]!
  if (whole < bytes.length) hash ^= mix(tail)
  hash ^= bytes.length
  hash = Math.imul(hash ^ (hash >>> 16), 0x85eb_ca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2_ae35)
  return (hash ^ (hash >>> 16)) | 0
}

function mix(word: number): number {
  const scrambled = Math.imul(word, 0xcc9e_2d51)
  return Math.imul((scrambled << 15) | (scrambled >>> 17), 0x1b87_3593)
}

function floorDiv(value: bigint, by: bigint): bigint {
  const quotient = value / by
  return value < 0n && quotient * by !== value ? quotient - 1n : quotient
}
