import { quoted } from '../sql-text.ts'
import type { AggregateSql, DetailSql, PartialSql } from './aggregate.ts'
import { PIECE_KINDS, piecesOf } from './double-pieces.ts'
import { EXACT } from './exact-names.ts'
import { countPartial, type Operand, SIGN } from './operand.ts'

/** Without the implicit one. */
const MANTISSA_BITS = 52
const HALF_BITS = MANTISSA_BITS / 2
const HALF = 2 ** HALF_BITS

/** Floats and doubles: the sum of all as if in unlimited precision, rounded once (rule A5). */
export function doubleSum(operand: Operand): AggregateSql {
  return summed(operand, (weights) => `${EXACT.sum}(${weights})`)
}

/** That sum, not yet rounded, divided by the count. */
export function doubleAverage(operand: Operand): AggregateSql {
  return summed(operand, (weights, count) => `${EXACT.average}(${weights}, ${count})`)
}

/** What is not finite is counted apart, as in IEEE 754: NaN wins, and so do both infinities together. */
function summed(operand: Operand, rounded: (weights: string, count: string) => string): AggregateSql {
  const { name, value, input, bucket } = operand
  const partial = (part: string, isCounted: string, isKey: string): PartialSql => ({
    ...countPartial(name, part, isCounted, input),
    ...(bucket === undefined ? {} : { ofGroup: `CASE WHEN (${bucket}) ${isKey} THEN count(*) ELSE 0 END` }),
  })
  const { nan: nanKey, positiveInfinity, negativeInfinity } = PIECE_KINDS
  const partials = [
    partial('count', `(${value}) IS NOT NULL`, 'IS NOT NULL'),
    partial('nan', `isnan(${value})`, `= ${nanKey}`),
    partial('positive_infinity', `(${value}) = CAST('Infinity' AS DOUBLE)`, `= ${positiveInfinity}`),
    partial('negative_infinity', `(${value}) = CAST('-Infinity' AS DOUBLE)`, `= ${negativeInfinity}`),
  ]
  const [count, nan, positive, negative] = partials.map(({ column }) => quoted(column.name))
  const detail = bucketDetail(operand)
  const weights = quoted(detail.reduced)
  return {
    result: { name, type: { kind: 'double' } },
    partials,
    detail,
    finish: `CASE WHEN coalesce(${count}, 0) <= 0 THEN NULL
WHEN ${nan} > 0 OR (${positive} > 0 AND ${negative} > 0) THEN CAST('NaN' AS DOUBLE)
WHEN ${positive} > 0 THEN CAST('Infinity' AS DOUBLE)
WHEN ${negative} > 0 THEN CAST('-Infinity' AS DOUBLE)
WHEN ${weights} IS NULL THEN CAST(0 AS DOUBLE)
ELSE ${rounded(weights, count!)} END`,
  }
}

/** Buckets and weights as `registerExact` reads them. */
function bucketDetail(operand: Operand): DetailSql {
  const [bucket, weight] = [`${operand.name}__value`, `${operand.name}__weight`]
  const pair = `{'bucket': ${quoted(bucket)}, 'weight': ${quoted(weight)}}`
  return {
    isFew: true,
    addsUp: true,
    value: { name: bucket, type: { kind: 'int' } },
    weight: { name: weight, type: { kind: 'decimal', precision: 38, scale: 0 } },
    ofRows: operand.bucket === undefined ? bucketOfBits(operand) : bucketOfPieces(operand, operand.bucket),
    reduce: `list(${pair}) FILTER (WHERE ${quoted(weight)} <> 0)`,
    reduced: `${operand.name}__reduced`,
  }
}

function bucketOfPieces({ column }: Operand, bucket: string): DetailSql['ofRows'] {
  const { high, low } = piecesOf(column.name)
  const isThere = `(${bucket}) >= 0`
  return { key: bucket, value: bucket, weight: weightOf(quoted(high), quoted(low)), isThere }
}

/** Sign, mantissa and exponent by shifts of the double's bits. DuckDB computes equal texts once. */
function bucketOfBits({ value, input }: Operand): DetailSql['ofRows'] {
  const bits = `CAST(CAST(CAST(${value} AS DOUBLE) AS BIT) AS BIGINT)`
  const exponentBits = `((${bits} >> ${MANTISSA_BITS}) & 2047)`
  const exponent = `greatest(${exponentBits}, 1)`
  const high = `((${bits} >> ${HALF_BITS}) & ${HALF - 1} | CASE WHEN ${exponentBits} > 0 THEN ${HALF} ELSE 0 END)`
  const low = `(${bits} & ${HALF - 1})`
  const isNegative = input === 'events' ? `${bits} < 0` : `(${bits} < 0) <> (${SIGN} < 0)`
  // Negative numbers cannot be shifted.
  const unit = `(CASE WHEN ${isNegative} THEN -1 ELSE 1 END * (CAST(1 AS BIGINT) << (${exponent} % 32)))`
  const isThere = `(${value}) <> 0 AND isfinite(${value})`
  const bucket = `${exponent} // 32`
  return {
    key: `CASE WHEN ${isThere} THEN ${bucket} END`,
    value: bucket,
    weight: weightOf(`${high} * ${unit}`, `${low} * ${unit}`),
    isThere,
  }
}

/** Each half has 64 bits: to add up halves takes less than to add up numbers of 128 bits. */
function weightOf(high: string, low: string): string {
  return `(sum(${high}) * ${HALF} + sum(${low}))`
}
