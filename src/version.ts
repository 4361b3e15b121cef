import type { Retried } from './dead-letters.ts'
import type { PartitionId, Positions, Tail } from './log.ts'

/** Largest `formatVersion` this code reads. A newer one is refused, never guessed. */
export const FORMAT_VERSION = 1

/** `repair`: settles dead letters. `fork`: begins a fork where a version of main stands, or one of its stages. */
export type VersionKind = 'ingest' | 'maintenance' | 'repair' | 'cutover' | 'rollback' | 'fork'

/** Code of a table that was not in the definition while its topic was read on: that of no definition. */
export const LEFT_BEHIND = 'left-behind'

export interface TableVersion {
  /** Key of the table's Iceberg metadata file in the store. */
  readonly metadata: string
  /** Current Iceberg snapshot; undefined while the table is empty. */
  readonly snapshot: bigint | undefined
  /** Hash of the code (normalised definition) that made the rows, or `LEFT_BEHIND`. */
  readonly code: string
}

/** Largest guarded event time per source table and partition, milliseconds. */
export type Clocks = Readonly<Record<string, Readonly<Record<PartitionId, number>>>>

export interface Hole {
  readonly from: bigint
  readonly until: bigint
}

/** What a version of a fork knows of why it is there (docs/adr/0011). Plain values. */
export interface Fork {
  /** Of the replay: 64 hexadecimal digits. */
  readonly id: string
  /** S: the version of the main chain that it began at. */
  readonly base: { readonly number: bigint; readonly commitId: string }
  /** Tables that are built from the log, companions included; the others are shared with main. */
  readonly rebuilt: readonly string[]
  /** Undefined once the fork has reached S. */
  readonly building: Building | undefined
}

export interface Building {
  /** `seeding`: event times are read, for the clocks that the rows from `from` on are judged by. */
  readonly stage: 'seeding' | 'tables'
  /** Where rows begin, and where this ends: positions of S, and of topics that S does not know their end at the start. */
  readonly from: Positions
  readonly until: Positions
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
  /** The first position of each partition: where the history of the tables begins. */
  readonly origins: Positions
  readonly clocksMs: Clocks
  /** C of each source table that feeds windows, milliseconds: what their rows are final by. It never goes back. */
  readonly watermarksMs: Readonly<Record<string, number>>
  /** The least of them; undefined while one is not known. */
  readonly watermarkMs: number | undefined
  readonly topicIds: Readonly<Record<string, string>>
  readonly tails: ReadonlyMap<PartitionId, Tail>
  /** Offsets that the log had lost and that `onDataLoss: record-gap` passed over. */
  readonly holes: ReadonlyMap<PartitionId, readonly Hole[]>
  /** By table with a change topic: the last version whose changes were sent before this one was written. */
  readonly published: Readonly<Record<string, bigint>>
  readonly recentCommits: readonly string[]
  /** The newest version, up to this one, that did not go on from the one before it: no ingestion and no maintenance. */
  readonly jump: bigint | undefined
  /** Set while the pipeline is paused; restarts and standbys honour it. */
  readonly paused: { readonly reason: string } | undefined
  /** The writer stopped cleanly: a standby may take over at once. */
  readonly released: boolean
  /** Of versions of a fork, and of the cut-over that made it the main chain. */
  readonly fork: Fork | undefined
  /** The last job on dead letters, as far as it has come. */
  readonly retried?: Retried
}

/**
 * What a version is asked for by: its number, the time it was the head, an offset it must cover, or positions that it must
 * not have passed in any partition; of the last, the newest of those that went on to the head without a jump.
 */
export type VersionSelector =
  | { readonly kind: 'head' }
  | { readonly kind: 'number'; readonly number: bigint }
  | { readonly kind: 'time'; readonly timeMs: number }
  | { readonly kind: 'offset'; readonly partition: PartitionId; readonly offset: bigint }
  | { readonly kind: 'within'; readonly positions: Positions }
