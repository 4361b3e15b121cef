import type { HttpSettings } from './settings.ts'

/** Addresses that only this machine reaches. */
const LOOPBACK: readonly string[] = ['127.0.0.1', 'localhost', '::1']

/** Whether the API asks its callers for keys. */
export function asksForKeys({ keys = [] }: Pick<HttpSettings, 'keys'>): boolean {
  return keys.length > 0
}

/** Without keys the API is for this machine, unless somebody said that it is for everybody. */
export function isServedSafely(http: HttpSettings): boolean {
  return LOOPBACK.includes(http.host) || asksForKeys(http) || http.insecure === true
}

/** What is wrong otherwise, and what to do. */
export const UNSAFE_HOST = [
  'is an address that other machines reach, and no keys are asked for',
  `Add http.keys ("kappalake key new" makes one), take one of ${LOOPBACK.join(', ')}, or say --insecure where everybody may do everything.`,
] as const
