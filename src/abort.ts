/** What a signal was made of, for as long as somebody has it. */
const parts = new WeakMap<AbortSignal, readonly AbortSignal[]>()

/**
 * Aborts with the first of `signals`. Node's own `AbortSignal.any` does not keep what it is made of: an
 * `AbortSignal.timeout` that nobody else holds is collected with the next garbage, and never fires.
 */
export function anyOf(...signals: readonly AbortSignal[]): AbortSignal {
  const first = AbortSignal.any([...signals])
  parts.set(first, signals)
  return first
}
