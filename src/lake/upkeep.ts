import type { Clock } from '../clock.ts'
import { toErrorMessage } from '../error.ts'
import type { Observer } from '../event.ts'
import type { MaintenanceSettings } from '../settings.ts'
import type { Expired } from '../status.ts'
import { collectOrphans } from './collect.ts'
import { expireVersions } from './expire-versions.ts'
import type { Storage } from './storage/storage.ts'

/** Files that one step may delete before it is looked anew at what is needed. */
const DELETES_MAX = 10_000

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
