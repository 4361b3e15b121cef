import fc from 'fast-check'
import type { ColumnType } from '../../src/batch.ts'
import type { AggregateFunction } from '../../src/define-window.ts'
import { integerOf, isNearest } from './exact.ts'

/** Values of all primitive types, and aggregates of them computed one row after the other, with big integers. */

export interface Kind {
  readonly name: string
  readonly type: ColumnType
  /** SQL of one value. */
  readonly values: fc.Arbitrary<Value>
}

export interface Value {
  readonly sql: string
  /** Orders values of a kind; equal keys are equal values. */
  readonly key: bigint | Uint8Array
  /** Of numbers, times 10^scale; of floats their value. */
  readonly number?: bigint | number
}

export interface Row {
  readonly id: number
  readonly group: number | null
  readonly start: number
  readonly event: number
  readonly partition: number
  readonly isCounted: boolean | null
  readonly value: Value | null
}

const LONG_MIN = -(1n << 63n)
const integers = (min: bigint, max: bigint): fc.Arbitrary<bigint> =>
  fc.oneof(fc.bigInt({ min: -3n, max: 3n }), fc.bigInt({ min, max }), fc.constantFrom(min, max))

export const KINDS: readonly Kind[] = [
  {
    name: 'int',
    type: { kind: 'int' },
    values: integers(-(1n << 31n), (1n << 31n) - 1n).map((n) => exact(n, 'INTEGER')),
  },
  { name: 'long', type: { kind: 'long' }, values: integers(LONG_MIN, -LONG_MIN - 1n).map((n) => exact(n, 'BIGINT')) },
  decimals(9, 2, 10n ** 9n - 1n),
  decimals(10, 0, 10n ** 10n - 1n),
  decimals(12, 7, 10n ** 12n - 1n),
  decimals(18, 6, 10n ** 18n - 1n),
  decimals(38, 10, 10n ** 18n),
  decimals(38, 0, 10n ** 18n),
  decimals(38, 38, 10n ** 18n),
  { name: 'float', type: { kind: 'float' }, values: floating(fc.float(), 'FLOAT') },
  { name: 'double', type: { kind: 'double' }, values: floating(fc.double(), 'DOUBLE') },
  {
    name: 'string',
    type: { kind: 'string' },
    values: fc.string({ unit: 'binary', maxLength: 20 }).map((text) => {
      const key = new TextEncoder().encode(text)
      return { sql: `decode(unhex('${Buffer.from(key).toString('hex')}'))`, key }
    }),
  },
  {
    name: 'binary',
    type: { kind: 'binary' },
    values: fc
      .uint8Array({ maxLength: 20 })
      .map((key) => ({ sql: `unhex('${Buffer.from(key).toString('hex')}')`, key })),
  },
  {
    name: 'uuid',
    type: { kind: 'uuid' },
    values: fc
      .uuid()
      .map((text) => ({ sql: `CAST('${text}' AS UUID)`, key: Buffer.from(text.replaceAll('-', ''), 'hex') })),
  },
  {
    name: 'boolean',
    type: { kind: 'boolean' },
    values: fc.boolean().map((is) => ({ sql: String(is), key: BigInt(is) })),
  },
  {
    name: 'date',
    type: { kind: 'date' },
    values: fc
      .integer({ min: -1e6, max: 1e6 })
      .map((days) => ({ sql: `DATE '1970-01-01' + ${days}`, key: BigInt(days) })),
  },
  { name: 'timestamp', type: { kind: 'timestamp' }, values: instants('TIMESTAMP') },
  { name: 'timestamptz', type: { kind: 'timestamptz' }, values: instants('TIMESTAMPTZ') },
]

function exact(number: bigint, type: string): Value {
  return { sql: `CAST('${number}' AS ${type})`, key: number, number }
}

function decimals(precision: number, scale: number, max: bigint): Kind {
  const text = (number: bigint): string => {
    const digits = String(number < 0n ? -number : number).padStart(scale + 1, '0')
    const point = digits.length - scale
    return `${number < 0n ? '-' : ''}${digits.slice(0, point)}.${digits.slice(point)}`
  }
  return {
    name: `decimal(${precision},${scale})`,
    type: { kind: 'decimal', precision, scale },
    values: integers(-max, max).map((number) => ({
      sql: `CAST('${text(number)}' AS DECIMAL(${precision}, ${scale}))`,
      key: number,
      number,
    })),
  }
}

function floating(numbers: fc.Arbitrary<number>, type: string): fc.Arbitrary<Value> {
  const small = type === 'FLOAT' ? 2 ** -149 : Number.MIN_VALUE
  const likely = [0, -0, 1, -1, 0.5, small, -small, Infinity, -Infinity, NaN]
  return fc.oneof(numbers, fc.constantFrom(...likely)).map((number) => ({
    sql: `CAST('${Object.is(number, -0) ? '-0' : number}' AS ${type})`,
    key: Number.isNaN(number)
      ? 1n << 3_000n
      : Number.isFinite(number)
        ? integerOf(number)
        : BigInt(Math.sign(number)) << 2_500n,
    number,
  }))
}

function instants(type: string): fc.Arbitrary<Value> {
  return fc
    .bigInt({ min: -(10n ** 17n), max: 10n ** 17n })
    .map((us) => ({ sql: `CAST(make_timestamp(${us}) AS ${type})`, key: us }))
}

/** Of the values of a cell that are not null. */
export interface Expected {
  /** Ids of rows that hold the value, or values, of the result: one of each list; null for SQL null. */
  readonly ids?: readonly (readonly number[])[] | null
  /** What the result must be. */
  readonly holds?: (result: unknown) => boolean
}

export function expected(fn: AggregateFunction, rows: readonly Row[], scale: number, n = 0): Expected {
  const there = rows.filter(({ value }) => value !== null)
  const sorted = there.toSorted((a, b) => compare(a.value!.key, b.value!.key))
  const inTime = there.toSorted((a, b) => a.event - b.event || a.partition - b.partition || a.id - b.id)
  const equal = (row: Row): number[] =>
    there.filter(({ value }) => compare(value!.key, row.value!.key) === 0).map(({ id }) => id)
  const one = (row: Row | undefined, ids = equal): Expected => ({ ids: row === undefined ? null : [ids(row)] })
  switch (fn) {
    case 'count':
      return { holds: (result) => result === String(there.length) }
    case 'count_distinct': {
      const values = sorted.filter((row, k) => k === 0 || compare(row.value!.key, sorted[k - 1]!.value!.key) !== 0)
      return { holds: (result) => result === String(values.length) }
    }
    case 'min':
      return one(sorted[0])
    case 'max':
      return one(sorted.at(-1))
    case 'first':
      return one(inTime[0], (row) => [row.id])
    case 'last':
      return one(inTime.at(-1), (row) => [row.id])
    case 'top':
      return { ids: sorted.length === 0 ? null : sorted.toReversed().slice(0, n).map(equal) }
    default:
      return {
        holds: (result) =>
          holds(
            fn,
            there.map(({ value }) => value!.number!),
            scale,
            result,
          ),
      }
  }
}

function holds(
  fn: 'sum' | 'avg' | 'var',
  numbers: readonly (bigint | number)[],
  scale: number,
  result: unknown,
): boolean {
  const count = BigInt(numbers.length)
  if (count < (fn === 'var' ? 2n : 1n)) return result === null
  if (typeof numbers[0] === 'number') return holdsFloating(fn, numbers as readonly number[], result)
  const values = numbers as readonly bigint[]
  const sum = values.reduce((a, b) => a + b)
  const one = 10n ** BigInt(scale)
  if (fn === 'sum') return typeof result === 'string' && integerText(result, scale) === sum
  if (fn === 'avg') return isNearest(toNumber(result), sum, count * one)
  const squares = values.reduce((a, b) => a + b * b, 0n)
  return isNearest(toNumber(result), count * squares - sum * sum, count * (count - 1n) * one * one)
}

function holdsFloating(fn: string, numbers: readonly number[], result: unknown): boolean {
  const strange = numbers.filter((number) => !Number.isFinite(number)).reduce((a, b) => a + b, 0)
  if (strange !== 0) return Object.is(toNumber(result), strange)
  const sum = numbers.map(integerOf).reduce((a, b) => a + b)
  return isNearest(toNumber(result), sum, (fn === 'avg' ? BigInt(numbers.length) : 1n) << 1_074n)
}

/** As DuckDB's JSON has it: what is no finite number is a text. */
function toNumber(result: unknown): number {
  return result === null ? Number.NaN : Number(result)
}

function integerText(text: string, scale: number): bigint {
  const [whole, fraction = ''] = text.replace('-', '').split('.')
  const size = BigInt(whole! + fraction.padEnd(scale, '0'))
  return text.startsWith('-') ? -size : size
}

function compare(a: bigint | Uint8Array, b: bigint | Uint8Array): number {
  if (typeof a === 'bigint') return a < (b as bigint) ? -1 : a === b ? 0 : 1
  return Buffer.compare(a, b as Uint8Array)
}
