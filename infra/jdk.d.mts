export function findJdk(least: number, what: string, folders?: readonly string[], own?: string): string
