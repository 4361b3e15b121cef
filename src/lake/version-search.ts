import type { Version, VersionSelector } from '../version.ts'

/** Kept versions of a chain, by number. */
export interface Versions {
  get(number: bigint): Promise<Version | undefined>
  /** The oldest kept one whose number is not below. */
  atOrAfter(number: bigint): Promise<Version | undefined>
  /** The newest kept one whose number is below. */
  before(number: bigint): Promise<Version | undefined>
}

/** First step back where version files were thinned out: as many as one listing gives at once. */
const STEP_BACK = 1_000n

/** The largest number below `number` that is listed; `listing` gives all above its argument, ascending. */
export async function lastBelow(
  number: bigint,
  listing: (after: bigint) => AsyncIterable<bigint>,
): Promise<bigint | undefined> {
  for (let step = STEP_BACK, until = number; until > 1n; step *= 4n) {
    const from = until > step ? until - step : 1n
    let found: bigint | undefined
    for await (const each of listing(from - 1n)) {
      if (each >= until) break
      found = each
    }
    if (found !== undefined) return found
    until = from
  }
  return undefined
}

/** The version that a selector means; undefined when it is not kept. */
export async function findVersion(
  versions: Versions,
  head: Version,
  when: VersionSelector,
): Promise<Version | undefined> {
  switch (when.kind) {
    case 'head':
      return head
    case 'number':
      return versions.get(when.number)
    case 'time': {
      const after = await first(versions, head, (version) => Date.parse(version.time) > when.timeMs)
      return after === undefined ? head : versions.before(after.number)
    }
    case 'offset':
      return first(versions, head, (version) => (version.positions.get(when.partition) ?? 0n) > when.offset)
    case 'within': {
      const jump = head.jump ?? 1n
      const isBeyond = ({ positions }: Version) =>
        [...when.positions].some(([id, position]) => (positions.get(id) ?? 0n) > position)
      const after = await first(versions, head, (version) => version.number >= jump && isBeyond(version))
      const found = after === undefined ? head : await versions.before(after.number)
      // What stands behind a jump has passed other positions.
      return found !== undefined && found.number >= jump ? found : undefined
    }
  }
}

/** The oldest kept version for which `holds`, which must be false up to some version and true from there on. */
async function first(
  versions: Versions,
  head: Version,
  holds: (version: Version) => boolean,
): Promise<Version | undefined> {
  if (!holds(head)) return undefined
  let [low, high, found] = [1n, head.number, head]
  while (low < high) {
    const middle = (low + high) / 2n
    const version = await versions.atOrAfter(middle)
    if (version === undefined || version.number >= high || holds(version)) {
      if (version !== undefined && version.number < high) found = version
      high = middle
    } else low = version.number + 1n
  }
  const last = await versions.get(low)
  return last !== undefined && holds(last) ? last : found
}

/** For messages. */
export function selectorText(when: VersionSelector): string {
  switch (when.kind) {
    case 'head':
      return 'the head'
    case 'number':
      return `number ${when.number}`
    case 'time':
      return new Date(when.timeMs).toISOString()
    case 'offset':
      return `${when.partition}@${when.offset}`
    case 'within':
      return [...when.positions].map(([id, position]) => `${id}@${position}`).join(', ')
  }
}

/** Of the key of a version. */
export function numberOf(key: string): bigint {
  return BigInt(key.slice(key.lastIndexOf('/v') + 2, -'.json'.length))
}
