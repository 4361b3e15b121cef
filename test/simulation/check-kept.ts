import { openChain } from '../../src/lake/chain.ts'
import { expire } from '../../src/lake/upkeep.ts'
import type { Storage } from '../../src/lake/storage/storage.ts'
import type { Version } from '../../src/version.ts'
import { PIPELINE } from './definition.ts'
import { Random } from './random.ts'
import { TableReader } from './reader.ts'
import { stretched } from './stretched-storage.ts'
import { EPOCH_MS, World } from './world.ts'

const HOUR_MS = 3_600_000
const DAY_MS = 24 * HOUR_MS

/**
 * Lets production code expire versions and delete what nobody needs, at a clock so fast that most of it is old, and
 * reads every version that must stay readable anew. Returns what is wrong.
 */
export async function checkKept(storage: Storage, versions: readonly Version[], seed: number): Promise<string[]> {
  const random = new Random(seed, 'kept')
  const factor = random.pick([60, 360, 1_200, 3_600])
  const fast = stretched(storage, factor)
  const keyOfVersion = ({ number }: Version) => `pipelines/${PIPELINE}/v${String(number).padStart(16, '0')}.json`
  const modified = new Map<Version, number>()
  for (const version of versions) modified.set(version, (await fast.head(keyOfVersion(version)))!.modifiedMs)
  const reader = new TableReader(storage)
  const before = new Map<Version, string>()
  const nowMs = await dateOf(fast)
  const kept = versions.filter((version, index) => {
    const atMs = modified.get(version)!
    const isLast = (periodMs: number) => {
      const next = versions[index + 1]
      return next === undefined || Math.floor(modified.get(next)! / periodMs) !== Math.floor(atMs / periodMs)
    }
    const ageMs = nowMs - atMs
    return index >= versions.length - 2 || ageMs < HOUR_MS || (ageMs < DAY_MS && isLast(60_000))
  })
  for (const version of kept) before.set(version, await contentOf(reader, version))
  const clock = { ...new World().clock(random), sleep: () => Promise.resolve() }
  await expire(fast, PIPELINE, HOUR_MS, clock, new AbortController().signal)
  const violations: string[] = []
  const afresh = new TableReader(storage)
  for (const version of kept) {
    const now = await contentOf(afresh, version).catch((error) => String(error))
    if (now !== before.get(version))
      violations.push(`E1 v${version.number} can no longer be read: ${now.slice(0, 200)}`)
  }
  for (const version of versions.slice(-2))
    if ((await storage.head(keyOfVersion(version))) === undefined) violations.push(`E2 v${version.number} is gone`)
  // Somebody who comes much later, to a chain with holes.
  const head = await openChain(fast, PIPELINE, { ...clock, nowMs: () => nowMs + DAY_MS }).head()
  if (head?.number !== versions.at(-1)?.number) violations.push(`E3 whoever comes later finds the head ${head?.number}`)
  return violations
}

/** What time it is in the store. */
async function dateOf(storage: Storage): Promise<number> {
  const key = `pipelines/${PIPELINE}/now`
  await storage.put(key, new Uint8Array(1))
  const { modifiedMs } = (await storage.head(key))!
  await storage.delete(key)
  return Math.max(EPOCH_MS, modifiedMs)
}

async function contentOf(reader: TableReader, version: Version): Promise<string> {
  const parts: string[] = []
  for (const [name, { metadata }] of Object.entries(version.tables)) {
    const { files } = await reader.table(metadata)
    const rows = await Promise.all(files.map((file) => reader.liveRows(file)))
    parts.push(`${name} ${rows.flat().length}`, ...rows.flat().map(({ p, o }) => `${p}@${o}`))
  }
  return parts.join(' ')
}
