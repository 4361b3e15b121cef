import type { Clock } from '../clock.ts'
import { toErrorMessage } from '../error.ts'
import type { Observer } from '../event.ts'
import type { MaintenanceSettings } from '../settings.ts'
import type { Expired } from '../status.ts'
import { collectOrphans } from './collect.ts'
import { expireVersions, storeNowMs } from './expire-versions.ts'
import { dropFork, forkIds } from './forks.ts'
import { openJobs } from './job-store.ts'
import type { Storage } from './storage/storage.ts'
import { baseTag, dropTag, readTags } from './tags.ts'

/** Files that one step may delete before it is looked anew at what is needed. */
const DELETES_MAX = 10_000
/** The fork of a replay that failed or was forgotten stays so long. */
const FORK_KEPT_MS = 7 * 24 * 3_600_000

/** Lets go of what a pipeline keeps no longer; of one table, or of all. Ends early when `signal` aborts. */
export async function expire(
  storage: Storage,
  pipeline: string,
  graceMs: number,
  clock: Clock,
  signal: AbortSignal,
  table?: string,
): Promise<Expired> {
  let [versions, files, bytes] = [0, 0, 0]
  await forgetForks(storage, pipeline, clock)
  for (let count = DELETES_MAX; count === DELETES_MAX && !signal.aborted; versions += count)
    count = await expireVersions(storage, pipeline, clock, DELETES_MAX)
  let from: string | undefined
  do {
    const step = await collectOrphans(storage, pipeline, clock, { graceMs, deletesMax: DELETES_MAX, table, from })
    files += step.deleted
    bytes += step.bytes
    from = step.next
  } while (from !== undefined && !signal.aborted)
  return { versions, files, bytes }
}

/**
 * Lets go of forks whose replay is gone or over for long, of the tags of their bases, and of tags that are over. A fork
 * is made after its job, and its job outlives it unless somebody deletes it.
 */
async function forgetForks(storage: Storage, pipeline: string, clock: Clock): Promise<void> {
  const nowMs = await storeNowMs(storage, pipeline, clock)
  const tags = await readTags(storage, pipeline)
  for (const { name, untilMs = Infinity } of tags) if (untilMs <= nowMs) await dropTag(storage, pipeline, name)
  const ids = new Set(await forkIds(storage, pipeline))
  for (const { name } of tags) if (name.startsWith(baseTag(''))) ids.add(name.slice(baseTag('').length))
  const jobs = openJobs(storage, clock)
  for (const id of ids) {
    // One that cannot be read may need its fork.
    const job = await jobs.get(id).catch(() => 'unreadable' as const)
    if (job === 'unreadable') continue
    if (job !== undefined && (job.endedMs === null || clock.nowMs() - job.endedMs <= FORK_KEPT_MS)) continue
    await dropFork(storage, pipeline, id)
    await dropTag(storage, pipeline, baseTag(id))
  }
}

/** Expires again and again while `isOwner` holds, until `signal` aborts. Never throws: what went wrong is an event. */
export async function keepExpiring(
  storage: Storage,
  pipeline: string,
  settings: MaintenanceSettings,
  clock: Clock,
  observer: Observer,
  isOwner: () => boolean,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    // Processes that start together do not all list the store at once.
    await clock.sleep(settings.expireEveryMs * (0.5 + clock.random()), signal)
    if (signal.aborted || !settings.isExpiring || !isOwner()) continue
    try {
      observer({ kind: 'expired', pipeline, ...(await expire(storage, pipeline, settings.graceMs, clock, signal)) })
    } catch (error) {
      observer({ kind: 'expired', pipeline, versions: 0, files: 0, bytes: 0, error: toErrorMessage(error) })
    }
  }
}
