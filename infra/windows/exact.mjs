// Sums of doubles without rounding on the way, in whole numbers: the last rounding is the only one (rule A5).

/** Doubles here have no bits below 2^-SCALE. */
const SCALE = 80
/** Bits that a quotient is carried on for, before it is rounded. */
const EXTRA = 200n

/** The double nearest to the sum; null of nothing. */
export function exactSum(values) {
  return values.length === 0 ? null : Number(scaledSum(values)) / 2 ** SCALE
}

/** The double nearest to the sum over the number of values; null of nothing. */
export function average(values) {
  if (values.length === 0) return null
  const [sum, count] = [scaledSum(values), BigInt(values.length)]
  const magnitude = sum < 0n ? -sum : sum
  const quotient = (magnitude << EXTRA) / count
  // What was cut off decides ties.
  const sticky = quotient * count === magnitude << EXTRA ? quotient : quotient | 1n
  return (Math.sign(Number(sum)) * Number(sticky)) / 2 ** (SCALE + Number(EXTRA))
}

function scaledSum(values) {
  return values.reduce((sum, value) => sum + BigInt(value * 2 ** SCALE), 0n)
}
