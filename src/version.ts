import { LakeError } from './error.ts'
import type { PartitionId, Positions, Tail } from './log.ts'

/** Largest `formatVersion` this code reads. A newer one is refused, never guessed. */
export const FORMAT_VERSION = 1

export type VersionKind = 'ingest' | 'maintenance' | 'repair' | 'cutover' | 'rollback'

export interface TableVersion {
  /** Key of the table's Iceberg metadata file in the store. */
  readonly metadata: string
  /** Current Iceberg snapshot; undefined while the table is empty. */
  readonly snapshot: bigint | undefined
  /** Hash of the code (normalised definition) that made the rows. */
  readonly code: string
}

/** Largest guarded event time per source table and partition, milliseconds. */
export type Clocks = Readonly<Record<string, Readonly<Record<PartitionId, number>>>>

export interface Hole {
  readonly from: bigint
  readonly until: bigint
}

/**
 * One element of a pipeline's chain: the whole durable truth of the pipeline. It is created if absent, once, and
 * never changed. Stored at `pipelines/<p>/v<16 digits>.json` (docs/format.md).
 */
export interface Version {
  readonly formatVersion: number
  readonly number: bigint
  readonly kind: VersionKind
  /** Unique per commit: decides "was that us?" after an unknown outcome. */
  readonly commitId: string
  /** Commit id of version `number - 1`; empty for the first. */
  readonly parent: string
  /** Name of the process that wrote it, from the settings. */
  readonly writer: string
  /** RFC 3339, UTC. Information only: it orders nothing. */
  readonly time: string
  readonly tables: Readonly<Record<string, TableVersion>>
  readonly positions: Positions
  readonly clocksMs: Clocks
  readonly watermarkMs: number | undefined
  readonly topicIds: Readonly<Record<string, string>>
  readonly tails: ReadonlyMap<PartitionId, Tail>
  /** Offsets that the log had lost and that `onDataLoss: record-gap` passed over. */
  readonly holes: ReadonlyMap<PartitionId, readonly Hole[]>
  readonly recentCommits: readonly string[]
  /** Set while the pipeline is paused; restarts and standbys honour it. */
  readonly paused: { readonly reason: string } | undefined
  /** The writer stopped cleanly: a standby may take over at once. */
  readonly released: boolean
}

/** What a version is asked for by: its number, the time it was the head, or an offset it must cover. */
export type VersionSelector =
  | { readonly kind: 'head' }
  | { readonly kind: 'number'; readonly number: bigint }
  | { readonly kind: 'time'; readonly timeMs: number }
  | { readonly kind: 'offset'; readonly partition: PartitionId; readonly offset: bigint }

const pairs = <V, W>(map: ReadonlyMap<PartitionId, V>, to: (value: V) => W): Record<string, W> =>
  Object.fromEntries([...map].toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([id, value]) => [id, to(value)]))

const unpairs = <V, W>(object: Record<string, W> | undefined, to: (value: W) => V): Map<PartitionId, V> =>
  new Map(Object.entries(object ?? {}).map(([id, value]) => [id as PartitionId, to(value)]))

/** UTF-8 JSON; 64-bit integers are strings. The bytes are a pure function of the version. */
export function encodeVersion(version: Version): Uint8Array {
  const { number, tables, positions, tails, holes, ...rest } = version
  const text = JSON.stringify(
    {
      ...rest,
      number: String(number),
      tables: Object.fromEntries(
        Object.entries(tables).map(([name, t]) => [
          name,
          { ...t, snapshot: t.snapshot === undefined ? undefined : String(t.snapshot) },
        ]),
      ),
      positions: pairs(positions, String),
      tails: pairs(tails, (tail) => ({ ...tail, offset: String(tail.offset) })),
      holes: pairs(holes, (list) => list.map((hole) => ({ from: String(hole.from), until: String(hole.until) }))),
    },
    undefined,
    1,
  )
  return Buffer.from(text, 'utf8')
}

/** Throws `store.corrupt` when the bytes are not a version, or are one of a newer format. */
export function decodeVersion(bytes: Uint8Array): Version {
  let raw: any
  try {
    raw = JSON.parse(Buffer.from(bytes).toString('utf8'))
  } catch (cause) {
    throw new LakeError('store.corrupt', 'a version file is not JSON', { cause })
  }
  if (typeof raw?.formatVersion !== 'number' || typeof raw.number !== 'string' || typeof raw.commitId !== 'string')
    throw new LakeError('store.corrupt', 'a version file lacks formatVersion, number or commitId')
  if (raw.formatVersion > FORMAT_VERSION)
    throw new LakeError('store.corrupt', `version file format ${raw.formatVersion} is newer than ${FORMAT_VERSION}`, {
      fix: 'Upgrade this process to the release that wrote the store.',
    })
  return {
    formatVersion: raw.formatVersion,
    number: BigInt(raw.number),
    kind: raw.kind,
    commitId: raw.commitId,
    parent: raw.parent,
    writer: raw.writer,
    time: raw.time,
    tables: Object.fromEntries(
      Object.entries<any>(raw.tables).map(([name, t]) => [
        name,
        { metadata: t.metadata, snapshot: t.snapshot === undefined ? undefined : BigInt(t.snapshot), code: t.code },
      ]),
    ),
    positions: unpairs(raw.positions, (offset: string) => BigInt(offset)),
    clocksMs: raw.clocksMs ?? {},
    watermarkMs: raw.watermarkMs,
    topicIds: raw.topicIds ?? {},
    tails: unpairs(raw.tails, (tail: any) => ({
      offset: BigInt(tail.offset),
      leaderEpoch: tail.leaderEpoch,
      hash: tail.hash,
    })),
    holes: unpairs(raw.holes, (list: any[]) =>
      list.map((hole) => ({ from: BigInt(hole.from), until: BigInt(hole.until) })),
    ),
    recentCommits: raw.recentCommits ?? [],
    paused: raw.paused,
    released: raw.released ?? false,
  }
}
