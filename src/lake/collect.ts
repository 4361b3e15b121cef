import type { Clock } from '../clock.ts'
import { LakeError } from '../error.ts'
import { storeNowMs, versionFiles, type VersionFile } from './expire-versions.ts'
import { reachable, readVersion } from './reachable.ts'
import type { ObjectInfo, Storage } from './storage/storage.ts'

export interface CollectOptions {
  /** Files younger than this may belong to a commit under way. At least one hour. */
  readonly graceMs: number
  /** Files that one run may delete. */
  readonly deletesMax: number
  /** Only of this table. */
  readonly table?: string | undefined
  /** Where an earlier run ended: its `next`. */
  readonly from?: string | undefined
}

export interface Collected {
  readonly deleted: number
  readonly bytes: number
  /** Where to go on; undefined when all was looked through. */
  readonly next: string | undefined
}

const GRACE_MS_MIN = 3_600_000
const DELETES_AT_ONCE = 16
/** After so many deletions it is asked again whether they are still right. */
const DELETES_A_ROUND = 128
/** What we write under a table, and readers of Iceberg; whatever else lies there is somebody's, and stays. */
const OURS = /^tables\/[^/]+\/(?:data\/.*\.(?:parquet|puffin)|metadata\/.*\.(?:metadata\.json|avro|puffin))$/

/**
 * Deletes files of a pipeline's tables that no readable version refers to and that are older than the grace: what
 * failed commits left, and what compaction and expiry let go. Tables of other pipelines are not looked at. It may be
 * stopped or killed anywhere. Throws when it cannot be sure of everything that is needed; nothing is deleted then.
 *
 * It is right beside commits under way, of any process: what they add is younger than the grace, and what they take
 * over is referred to by the head that they build on. A version that goes back to an older one is neither, so a run
 * ends when it meets one, and such a version takes only what is readable (`readableVersions`).
 */
export async function collectOrphans(
  storage: Storage,
  pipeline: string,
  clock: Clock,
  options: CollectOptions,
): Promise<Collected> {
  const graceMs = Math.max(options.graceMs, GRACE_MS_MIN)
  const nowMs = await storeNowMs(storage, pipeline, clock)
  const files = await versionFiles(storage, pipeline)
  const { tables, keys } = await reachable(storage, files, nowMs)
  const isOrphan = ({ key, modifiedMs }: ObjectInfo) => nowMs - modifiedMs > graceMs && OURS.test(key) && !keys.has(key)
  let [deleted, bytes] = [0, 0]
  for (const table of tables) {
    if (options.table !== undefined && options.table !== table) continue
    const prefix = `tables/${table}/`
    if (options.from !== undefined && prefix < options.from && !options.from.startsWith(prefix)) continue
    const startAfter = options.from?.startsWith(prefix) === true ? { startAfter: options.from } : {}
    let round: ObjectInfo[] = []
    const flush = async () => {
      if (round.length > 0) await assertNoJump(storage, files)
      for (let start = 0; start < round.length; start += DELETES_AT_ONCE)
        await Promise.all(round.slice(start, start + DELETES_AT_ONCE).map(({ key }) => storage.delete(key)))
      deleted += round.length
      bytes += round.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0)
      round = []
    }
    for await (const object of storage.list(prefix, startAfter)) {
      if (!isOrphan(object)) continue
      round.push(object)
      const isOver = deleted + round.length >= options.deletesMax
      if (isOver || round.length === DELETES_A_ROUND) await flush()
      if (isOver) return { deleted, bytes, next: object.key }
    }
    await flush()
  }
  return { deleted, bytes, next: undefined }
}

/** Throws `commit.stale` when a chain went elsewhere than on from where it was when `files` were listed. */
async function assertNoJump(storage: Storage, files: readonly VersionFile[]): Promise<void> {
  const newest = new Map(files.map((file) => [file.chain, file]))
  for (const { chain, key } of newest.values())
    for await (const added of storage.list(`${chain}v`, { startAfter: key })) {
      const { kind, number } = await readVersion(storage, added.key)
      if (kind !== 'ingest' && kind !== 'maintenance')
        throw new LakeError('commit.stale', `version ${number} is a ${kind}: what is needed is to be found out anew`, {
          retryable: true,
        })
    }
}
