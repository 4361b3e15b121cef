import type { Snapshot, TableMetadata } from './metadata.ts'

/** Snapshots that stay without a tag. */
const RECENT_SNAPSHOTS = 100
const HOUR_MS = 3_600_000
const DAY_MS = 24 * HOUR_MS
const HOURLY_FOR_MS = DAY_MS
const DAILY_FOR_MS = 30 * DAY_MS

/**
 * Drops old snapshots from the metadata, so that it stays small: the last hundred stay, and of the older ones the last
 * of each hour for a day and of each day for a month, as tags; what a branch or tag of somebody else names stays too. Only names go; the collector of files is another.
 */
export function expireSnapshots(metadata: TableMetadata): TableMetadata {
  const { snapshots, refs } = metadata
  if (snapshots.length <= RECENT_SNAPSHOTS) return metadata
  const nowMs = metadata['last-updated-ms']
  const [old, recent] = [snapshots.slice(0, -RECENT_SNAPSHOTS), snapshots.slice(-RECENT_SNAPSHOTS)]
  const tags = tagsOf(old, nowMs)
  const foreign = Object.entries(refs).filter(([name]) => !OURS.test(name))
  const wanted = new Set([
    ...recent.map((snapshot) => snapshot['snapshot-id']),
    ...tags.keys(),
    ...foreign.map(([, ref]) => ref['snapshot-id']),
  ])
  const kept = snapshots.filter((snapshot) => wanted.has(snapshot['snapshot-id']))
  const log = metadata['snapshot-log']
  // Readers want an unbroken log: where an entry goes, all before it go.
  const lastGone = log.findLastIndex((entry) => !wanted.has(entry['snapshot-id']))
  return {
    ...metadata,
    snapshots: kept,
    'snapshot-log': log.slice(lastGone + 1),
    refs: Object.fromEntries([
      ...foreign,
      ...[...tags].map(([id, name]) => [name, { 'snapshot-id': id, type: 'tag' as const }]),
    ]),
  }
}

const OURS = /^(hour|day)-\d{4}-/

/** The last old snapshot of each hour and day that is still wanted, with its tag's name. */
function tagsOf(old: readonly Snapshot[], nowMs: number): ReadonlyMap<bigint, string> {
  const lastOf = new Map<string, bigint>()
  for (const snapshot of old) {
    const atMs = snapshot['timestamp-ms']
    const text = new Date(atMs).toISOString()
    const name =
      nowMs - atMs < HOURLY_FOR_MS
        ? `hour-${text.slice(0, 13)}`
        : nowMs - atMs < DAILY_FOR_MS
          ? `day-${text.slice(0, 10)}`
          : ''
    if (name !== '') lastOf.set(name, snapshot['snapshot-id'])
  }
  return new Map([...lastOf].map(([name, id]) => [id, name]))
}
