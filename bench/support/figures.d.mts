export function rounded(value: number): number
