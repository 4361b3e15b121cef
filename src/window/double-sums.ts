import { quoted } from '../sql-text.ts'
import type { AggregateSql, DetailSql } from './aggregate.ts'
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
  const { name, value, input } = operand
  const partials = [
    countPartial(name, 'count', `(${value}) IS NOT NULL`, input),
    countPartial(name, 'nan', `isnan(${value})`, input),
    countPartial(name, 'positive_infinity', `(${value}) = CAST('Infinity' AS DOUBLE)`, input),
    countPartial(name, 'negative_infinity', `(${value}) = CAST('-Infinity' AS DOUBLE)`, input),
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

/**
 * Sign, mantissa and exponent by shifts of the double's bits; buckets and weights as `registerExact` reads them. Each
 * half of the mantissa, shifted, has 64 bits: to add up halves takes less than to shift and add numbers of 128. DuckDB
 * computes equal texts once.
 */
function bucketDetail({ name, value, input }: Operand): DetailSql {
  const bits = `CAST(CAST(CAST(${value} AS DOUBLE) AS BIT) AS BIGINT)`
  const exponentBits = `((${bits} >> ${MANTISSA_BITS}) & 2047)`
  const exponent = `greatest(${exponentBits}, 1)`
  const high = `((${bits} >> ${HALF_BITS}) & ${HALF - 1} | CASE WHEN ${exponentBits} > 0 THEN ${HALF} ELSE 0 END)`
  const low = `(${bits} & ${HALF - 1})`
  const isNegative = input === 'events' ? `${bits} < 0` : `(${bits} < 0) <> (${SIGN} < 0)`
  // Negative numbers cannot be shifted.
  const unit = `(CASE WHEN ${isNegative} THEN -1 ELSE 1 END * (CAST(1 AS BIGINT) << (${exponent} % 32)))`
  const [bucket, weight] = [`${name}__value`, `${name}__weight`]
  const pair = `{'bucket': ${quoted(bucket)}, 'weight': ${quoted(weight)}}`
  return {
    isFew: true,
    value: { name: bucket, type: { kind: 'int' } },
    weight: { name: weight, type: { kind: 'decimal', precision: 38, scale: 0 } },
    ofRows: {
      value: `${exponent} // 32`,
      weight: `(sum(${high} * ${unit}) * ${HALF} + sum(${low} * ${unit}))`,
      isThere: `(${value}) <> 0 AND isfinite(${value})`,
    },
    reduce: `list(${pair}) FILTER (WHERE ${quoted(weight)} <> 0)`,
    reduced: `${name}__reduced`,
  }
}
