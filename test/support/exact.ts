/** Numbers as fractions of big integers: what exact arithmetic is checked against. */

const LAST = 1_074n

/** A finite double times 2^1074: an integer. */
export function integerOf(value: number): bigint {
  const view = new DataView(new ArrayBuffer(8))
  view.setFloat64(0, value)
  const bits = view.getBigUint64(0)
  const exponent = (bits >> 52n) & 2047n
  const mantissa = bits & ((1n << 52n) - 1n)
  const size = exponent === 0n ? mantissa : (mantissa | (1n << 52n)) << (exponent - 1n)
  return value < 0 ? -size : size
}

/**
 * Whether no double is nearer to numerator / denominator, and of two as near it is the even one. Beyond the largest
 * double comes 2^1024, which is called infinity.
 */
export function isNearest(value: number, numerator: bigint, denominator: bigint): boolean {
  if (Number.isNaN(value) || Object.is(value, -0)) return false
  const distance = (other: bigint): bigint => {
    const difference = other * denominator - (numerator << LAST)
    return difference < 0n ? -difference : difference
  }
  const here = distance(place(value))
  return [-1, 1].every((step) => {
    const next = neighbour(value, step)
    if (next === undefined) return true
    const there = distance(place(next))
    return here < there || (here === there && isEven(value))
  })
}

/** Infinity stands where the next double would be. */
function place(value: number): bigint {
  if (Number.isFinite(value)) return integerOf(value)
  return (value < 0 ? -1n : 1n) << (1_024n + LAST)
}

/** The next double below or above. */
function neighbour(value: number, step: number): number | undefined {
  if (value === 0) return step * Number.MIN_VALUE
  if (value === step * Infinity) return undefined
  const view = new DataView(new ArrayBuffer(8))
  view.setFloat64(0, value)
  view.setBigUint64(0, view.getBigUint64(0) + BigInt(step * Math.sign(value)))
  return view.getFloat64(0) + 0
}

function isEven(value: number): boolean {
  const view = new DataView(new ArrayBuffer(8))
  view.setFloat64(0, value)
  return (view.getUint8(7) & 1) === 0
}
