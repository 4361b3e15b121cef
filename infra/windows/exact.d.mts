/** The double nearest to the sum; null of nothing. */
export function exactSum(values: readonly number[]): number | null
/** The double nearest to the sum over the number of values; null of nothing. */
export function average(values: readonly number[]): number | null
