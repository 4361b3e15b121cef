/**
 * Doubles that are added up without loss (rule A5): an integer for each 32 exponents, added as integers. A finite
 * double is ±m · 2^(e − 1075), with its exponent bits e, subnormals as e = 1; it goes into bucket e // 32 with weight
 * ±m · 2^(e % 32). What comes out is rounded once, half to even, so it depends on no order.
 */
export const EXACT = {
  /** (list of {bucket, weight}) → DOUBLE. */
  sum: 'exact_sum',
  /** (list of {bucket, weight}, BIGINT count) → DOUBLE; null when the count is 0. */
  average: 'exact_average',
  /** (DECIMAL(38,0) sum, BIGINT count, INTEGER scale) → DOUBLE: sum / (count · 10^scale); null when the count is 0. */
  quotient: 'exact_quotient',
  /**
   * (BIGINT count, DECIMAL(38,0) sum, DECIMAL(38,0) high, DECIMAL(38,0) low, INTEGER scale) → DOUBLE: the variance of
   * a sample of integers that are `scale` digits too large, whose squares sum up to high · 2^64 + low; null below two.
   */
  variance: 'exact_variance',
} as const
