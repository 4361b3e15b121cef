import duckdb from '@duckdb/node-bindings'
import {
  BIGINT,
  DECIMAL,
  DOUBLE,
  DuckDBScalarFunction,
  INTEGER,
  LIST,
  STRUCT,
  type DuckDBConnection,
  type DuckDBType,
} from '@duckdb/node-api'
import { EXACT } from './exact-names.ts'

const BUCKET_EXPONENTS = 32
const LOWEST = 1_075
const INTEGER_38 = DECIMAL(38, 0)
const WEIGHTS = LIST(STRUCT({ bucket: INTEGER, weight: INTEGER_38 }))

/** Makes the functions of `EXACT` known to the statements of a connection's database. Null arguments give null. */
export function registerExact(connection: DuckDBConnection): void {
  register(connection, EXACT.sum, [WEIGHTS], ([weights]) => {
    const [sums, single] = [readWeights(weights!), readSingle(weights!)]
    return (row) => single(row) ?? nearest(sums(row))
  })
  register(connection, EXACT.average, [WEIGHTS, BIGINT], ([weights, counts]) => {
    const sums = readWeights(weights!)
    const count = readLongs(counts!)
    return (row) => (count(row) === 0n ? null : divided(sums(row), count(row)))
  })
  register(connection, EXACT.quotient, [INTEGER_38, BIGINT, INTEGER], ([sums, counts, scales]) => {
    const [sum, count, scale] = [readHuge(sums!), readLongs(counts!), readInts(scales!)]
    return (row) => (count(row) === 0n ? null : quotient(sum(row), count(row) * 10n ** BigInt(scale(row))))
  })
  const parameters = [BIGINT, INTEGER_38, INTEGER_38, INTEGER_38, INTEGER]
  register(connection, EXACT.variance, parameters, ([counts, sums, highs, lows, scales]) => {
    const [count, scale] = [readLongs(counts!), readInts(scales!)]
    const [sum, high, low] = [readHuge(sums!), readHuge(highs!), readHuge(lows!)]
    return (row) => {
      const n = count(row)
      if (n < 2n) return null
      const squares = (high(row) << 64n) + low(row)
      return quotient(n * squares - sum(row) ** 2n, n * (n - 1n) * 10n ** BigInt(2 * scale(row)))
    }
  })
}

/** numerator / denominator (> 0) as the nearest double, of two as near the even one; ±∞ beyond the largest. Never −0. */
export function quotient(numerator: bigint, denominator: bigint): number {
  if (numerator < 0n) return 0 - quotient(-numerator, denominator)
  if (numerator === 0n) return 0
  const exponent = bitLength(numerator) - bitLength(denominator)
  // 2^(exponent − 1) < quotient < 2^(exponent + 1): the last of 53 bits stands for 2^(exponent − 52) or for half of it.
  const lower = rounded(numerator, denominator, Math.max(exponent - 53, -1_074))
  if (lower.digits <= 1n << 53n) return scaled(lower)
  return scaled(rounded(numerator, denominator, Math.max(exponent - 52, -1_074)))
}

/** digits · 2^exponent. */
interface BinarySum {
  readonly digits: bigint
  readonly exponent: number
}

/** As `quotient` by 1. A bigint becomes the nearest double, and powers of two change only the exponent of one. */
function nearest(sum: BinarySum): number {
  const result = Number(sum.digits) * 2 ** sum.exponent
  const isNormal = Math.abs(result) > 2 ** -1_000 && Math.abs(result) < 2 ** 1_000 && sum.exponent > -1_000
  return isNormal ? result : divided(sum, 1n)
}

function divided({ digits, exponent }: BinarySum, count: bigint): number {
  return exponent < 0 ? quotient(digits, count << BigInt(-exponent)) : quotient(digits << BigInt(exponent), count)
}

interface Rounded {
  readonly digits: bigint
  readonly last: number
}

/** quotient / 2^last as the nearest integer. */
function rounded(numerator: bigint, denominator: bigint, last: number): Rounded {
  const above = last < 0 ? numerator << BigInt(-last) : numerator
  const below = last > 0 ? denominator << BigInt(last) : denominator
  const digits = above / below
  const twice = 2n * (above % below)
  const isUp = twice > below || (twice === below && (digits & 1n) === 1n)
  return { digits: isUp ? digits + 1n : digits, last }
}

/** Both factors and, unless it is too large, their product are doubles. */
function scaled({ digits, last }: Rounded): number {
  return last > 971 ? Infinity : Number(digits) * 2 ** last
}

function bitLength(value: bigint): number {
  const hex = value.toString(16)
  return 4 * hex.length - (Math.clz32(Number.parseInt(hex[0]!, 16)) - 28)
}

type Reader<T> = (row: number) => T

interface Argument {
  readonly vector: duckdb.Vector
  readonly rows: number
}

function register(
  connection: DuckDBConnection,
  name: string,
  parameters: readonly DuckDBType[],
  /** Once per chunk; what it gives is asked for rows without a null argument. */
  open: (inputs: readonly Argument[]) => Reader<number | null>,
): void {
  const scalar = new DuckDBScalarFunction()
  scalar.setName(name)
  for (const parameter of parameters) scalar.addParameter(parameter)
  scalar.setReturnType(DOUBLE)
  duckdb.scalar_function_set_function(scalar.scalar_function, (_info, input, output) => {
    const rows = duckdb.data_chunk_get_size(input)
    const inputs = parameters.map((_, k) => ({ vector: duckdb.data_chunk_get_vector(input, k), rows }))
    const valid = inputs.map(({ vector }) => duckdb.vector_get_validity(vector, Math.ceil(rows / 64) * 8))
    const compute = open(inputs)
    const results = new Float64Array(rows)
    const isThere = new Uint8Array(Math.ceil(rows / 64) * 8)
    for (let row = 0; row < rows; row++) {
      const bit = 1 << (row & 7)
      if (!valid.every((bits) => bits === null || (bits[row >> 3]! & bit) !== 0)) continue
      const result = compute(row)
      if (result === null) continue
      results[row] = result
      isThere[row >> 3]! |= bit
    }
    duckdb.copy_data_to_vector(output, 0, results.buffer, 0, results.byteLength)
    duckdb.vector_ensure_validity_writable(output)
    duckdb.copy_data_to_vector_validity(output, 0, isThere.buffer, 0, isThere.byteLength)
  })
  connection.registerScalarFunction(scalar)
}

/** Σ weight · 2^(32 · bucket − 1075) of each row's list. */
function readWeights({ vector, rows }: Argument): Reader<BinarySum> {
  const entries = view(vector, rows, 16)
  const pairs = duckdb.list_vector_get_child(vector)
  const child = (k: number): Argument => ({
    vector: duckdb.struct_vector_get_child(pairs, k),
    rows: duckdb.list_vector_get_size(vector),
  })
  const [bucket, weight] = [readInts(child(0)), readHuge(child(1))]
  return (row) => {
    const first = Number(entries.getBigUint64(16 * row, true))
    const until = first + Number(entries.getBigUint64(16 * row + 8, true))
    let [digits, lowest] = [0n, Infinity]
    for (let k = first; k < until; k++) lowest = Math.min(lowest, bucket(k))
    for (let k = first; k < until; k++) digits += weight(k) << BigInt(BUCKET_EXPONENTS * (bucket(k) - lowest))
    return { digits, exponent: first === until ? 0 : BUCKET_EXPONENTS * lowest - LOWEST }
  }
}

/** Halves of 48 bits of so many weights can be added up as doubles. */
const SINGLE_MAX = 16

/**
 * As `readWeights` and `nearest`, of rows whose weights are of one bucket and of at most 96 bits, as most are; undefined
 * of others. Halves of weights, and their sums, are doubles, so that the sum of both is rounded once.
 */
function readSingle({ vector, rows }: Argument): Reader<number | undefined> {
  const entries = words(view(vector, rows, 16))
  const pairs = duckdb.list_vector_get_child(vector)
  const size = duckdb.list_vector_get_size(vector)
  const buckets = words(view(duckdb.struct_vector_get_child(pairs, 0), size, 4))
  const weights = words(view(duckdb.struct_vector_get_child(pairs, 1), size, 16))
  return (row) => {
    const [first, count] = [entries[4 * row]!, entries[4 * row + 2]!]
    if (count === 0 || count > SINGLE_MAX) return undefined
    const bucket = buckets[first]!
    let [high, low] = [0, 0]
    for (let k = first; k < first + count; k++) {
      const [second, top] = [weights[4 * k + 1]!, weights[4 * k + 3]! | 0]
      if (buckets[k] !== bucket || (top !== 0 && top !== -1)) return undefined
      high += top * 2 ** 48 + weights[4 * k + 2]! * 2 ** 16 + (second >>> 16)
      low += (second & 0xffff) * 2 ** 32 + weights[4 * k]!
    }
    const result = (high * 2 ** 48 + low) * 2 ** (BUCKET_EXPONENTS * bucket - LOWEST)
    return isPlain(result) ? result : undefined
  }
}

/** Far from what is subnormal or infinite: a power of two changes nothing but the exponent of such a double. */
function isPlain(value: number): boolean {
  const size = Math.abs(value)
  return size > 2 ** -900 && size < 2 ** 900
}

function words({ buffer, byteOffset, byteLength }: DataView): Uint32Array {
  return new Uint32Array(buffer, byteOffset, byteLength / 4)
}

function readInts({ vector, rows }: Argument): Reader<number> {
  const data = view(vector, rows, 4)
  return (row) => data.getInt32(4 * row, true)
}

function readLongs({ vector, rows }: Argument): Reader<bigint> {
  const data = view(vector, rows, 8)
  return (row) => data.getBigInt64(8 * row, true)
}

function readHuge({ vector, rows }: Argument): Reader<bigint> {
  const data = view(vector, rows, 16)
  return (row) => (data.getBigInt64(16 * row + 8, true) << 64n) + data.getBigUint64(16 * row, true)
}

function view(vector: duckdb.Vector, rows: number, width: number): DataView {
  const { buffer, byteOffset, byteLength } = duckdb.vector_get_data(vector, rows * width)
  return new DataView(buffer, byteOffset, byteLength)
}
