/**
 * A JSON number as it stands in the text, exactly: `(-1)^isNegative × digits × 10^exponent`.
 * `digits` has no leading or trailing zeros and is empty for zero.
 */
export interface ExactNumber {
  readonly isNegative: boolean
  readonly digits: string
  readonly exponent: number
}

/** More digits than any column holds: longer integers are out of range without being computed. */
const DIGITS_MAX = 40

/** The text must match the number grammar of JSON. */
export function exactNumber(text: string): ExactNumber {
  const isNegative = text.startsWith('-')
  const e = text.search(/[eE]/)
  const mantissa = text.slice(isNegative ? 1 : 0, e < 0 ? undefined : e)
  const point = mantissa.indexOf('.')
  const fraction = point < 0 ? '' : mantissa.slice(point + 1)
  const all = (point < 0 ? mantissa : mantissa.slice(0, point)) + fraction
  let start = 0
  while (start < all.length && all.charCodeAt(start) === 48) start++
  let end = all.length
  while (end > start && all.charCodeAt(end - 1) === 48) end--
  const power = e < 0 ? 0 : clamp(Number(text.slice(e + 1)))
  return { isNegative, digits: all.slice(start, end), exponent: power - fraction.length + (all.length - end) }
}

/** The number times 10^scale as an integer; `fraction` when it is none, `range` when it has more than 40 digits. */
export function scaled(number: ExactNumber, scale: number): bigint | 'fraction' | 'range' {
  const { digits, isNegative } = number
  if (digits === '') return 0n
  const exponent = number.exponent + scale
  if (digits.length + exponent > DIGITS_MAX) return 'range'
  if (exponent < 0) return 'fraction'
  const value = BigInt(digits) * 10n ** BigInt(exponent)
  return isNegative ? -value : value
}

/** The number times 10^scale, rounded toward −∞; undefined when it has more than 40 digits. */
export function scaledFloor(number: ExactNumber, scale: number): bigint | undefined {
  const { digits, isNegative } = number
  if (digits === '') return 0n
  const exponent = number.exponent + scale
  const whole = digits.length + exponent
  if (whole > DIGITS_MAX) return undefined
  if (exponent >= 0) {
    const value = BigInt(digits) * 10n ** BigInt(exponent)
    return isNegative ? -value : value
  }
  const value = whole <= 0 ? 0n : BigInt(digits.slice(0, whole))
  return isNegative ? -value - 1n : value
}

/** Far beyond every column, and still an integer that sums exactly. */
function clamp(power: number): number {
  return Math.max(-1e12, Math.min(1e12, power))
}
