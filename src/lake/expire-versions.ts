import type { Clock } from '../clock.ts'
import { LakeError } from '../error.ts'
import type { Storage } from './storage/storage.ts'
import { putTag, readTags, type Tag } from './tags.ts'

/** A version file, as a listing tells of it. */
export interface VersionFile {
  readonly key: string
  /** The chain that it belongs to: its key up to the number. */
  readonly chain: string
  readonly number: bigint
  /** By the store's clock. */
  readonly modifiedMs: number
  /** A tag keeps it until then, by the store's clock; Infinity: until the tag is dropped. */
  readonly heldUntilMs?: number
}

const MINUTE_MS = 60_000
const HOUR_MS = 60 * MINUTE_MS
const DAY_MS = 24 * HOUR_MS
/** All version files are kept this long: a commit is checked against what stands after its base (chain.ts). */
const ALL_FOR_MS = DAY_MS
const HOURLY_FOR_MS = 30 * DAY_MS
/** All versions stay readable this long, one a minute for a day. */
const READABLE_FOR_MS = HOUR_MS
/** The head, and the one before it. */
const NEWEST = 2
const DELETES_AT_ONCE = 16

/**
 * Version files that are no longer needed: all stay for 24 hours, then the last of each hour for 30 days; never the
 * newest two of a chain, and none that a tag holds. Pure. Oldest first.
 */
export function planVersionExpiry(files: readonly VersionFile[], nowMs: number): readonly VersionFile[] {
  return chainsOf(files).flatMap((chain) => {
    const hourly = lastOfEach(HOUR_MS, chain)
    const newest = new Set(chain.slice(-NEWEST))
    return chain.filter((file) => {
      const ageMs = nowMs - file.modifiedMs
      if (isHeld(file, nowMs)) return false
      return ageMs >= ALL_FOR_MS && !newest.has(file) && !(ageMs < HOURLY_FOR_MS && hourly.has(file))
    })
  })
}

/**
 * Versions whose tables must stay readable: those of the last hour, then the last of each minute for a day, and always
 * the newest two of a chain and what a tag holds. Once a version has left this set it never comes back. Pure.
 */
export function readableVersions(files: readonly VersionFile[], nowMs: number): readonly VersionFile[] {
  return chainsOf(files).flatMap((chain) => {
    const minutely = lastOfEach(MINUTE_MS, chain)
    const newest = new Set(chain.slice(-NEWEST))
    return chain.filter((file) => {
      const ageMs = nowMs - file.modifiedMs
      const isYoung = ageMs < READABLE_FOR_MS || (ageMs < DAY_MS && minutely.has(file))
      return isYoung || newest.has(file) || isHeld(file, nowMs)
    })
  })
}

/** Deletes up to `max` version files of a pipeline that are no longer needed, forks included; resolves with their number. */
export async function expireVersions(storage: Storage, pipeline: string, clock: Clock, max: number): Promise<number> {
  const nowMs = await storeNowMs(storage, pipeline, clock)
  const expired = planVersionExpiry(await versionFiles(storage, pipeline), nowMs).slice(0, max)
  for (let start = 0; start < expired.length; start += DELETES_AT_ONCE)
    await Promise.all(expired.slice(start, start + DELETES_AT_ONCE).map(({ key }) => storage.delete(key)))
  return expired.length
}

/** All version files of a pipeline, those of its forks too, and how long tags hold them. */
export async function versionFiles(storage: Storage, pipeline: string): Promise<readonly VersionFile[]> {
  const heldMs = new Map<string, number>()
  for (const { version, untilMs = Infinity } of await readTags(storage, pipeline)) {
    const key = `pipelines/${pipeline}/v${String(version).padStart(16, '0')}.json`
    heldMs.set(key, Math.max(untilMs, heldMs.get(key) ?? 0))
  }
  const files: VersionFile[] = []
  for await (const { key, modifiedMs } of storage.list(`pipelines/${pipeline}/`)) {
    const [, chain, number] = /^(.*\/)v(\d{16})\.json$/.exec(key) ?? []
    if (chain === undefined) continue
    const heldUntilMs = heldMs.get(key)
    const held = heldUntilMs === undefined ? {} : { heldUntilMs }
    files.push({ key, chain, number: BigInt(number!), modifiedMs, ...held })
  }
  return files
}

/**
 * What time it is by the clock that dates the objects of the store: ours may be wrong by any amount. Writes an object
 * of a name that all processes share.
 */
export async function storeNowMs(storage: Storage, pipeline: string, clock: Clock): Promise<number> {
  const key = `pipelines/${pipeline}/clock`
  await storage.put(key, Buffer.from(clock.uuid()))
  const probe = await storage.head(key)
  if (probe === undefined) throw new LakeError('store.unavailable', `${key} was written and is not there`)
  return probe.modifiedMs
}

/** Holds a version for so long from now, by the store's clock. */
export async function holdFor(
  storage: Storage,
  pipeline: string,
  tag: Pick<Tag, 'name' | 'version'>,
  forMs: number,
  clock: Clock,
): Promise<void> {
  await putTag(storage, pipeline, { ...tag, untilMs: (await storeNowMs(storage, pipeline, clock)) + forMs })
}

function isHeld({ heldUntilMs }: VersionFile, nowMs: number): boolean {
  return heldUntilMs !== undefined && heldUntilMs > nowMs
}

function chainsOf(files: readonly VersionFile[]): readonly (readonly VersionFile[])[] {
  const chains = new Map<string, VersionFile[]>()
  for (const file of files) {
    const chain = chains.get(file.chain)
    if (chain === undefined) chains.set(file.chain, [file])
    else chain.push(file)
  }
  return [...chains.values()].map((chain) => chain.toSorted((a, b) => (a.number < b.number ? -1 : 1)))
}

/** By fixed periods, so that the last of one that is over stays the last. */
function lastOfEach(periodMs: number, chain: readonly VersionFile[]): ReadonlySet<VersionFile> {
  return new Set(new Map(chain.map((file) => [Math.floor(file.modifiedMs / periodMs), file])).values())
}
