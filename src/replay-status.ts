import type { PartitionId } from './log.ts'

/**
 * Replays, as people and programs ask for them and look at them. Plain JSON throughout: it stands in the store and is
 * answered over HTTP. Offsets and numbers of versions are text.
 */

/** Where a replay begins or ends. Resolved once, when its fork is made. */
export type ReplayPoint =
  /** The first position of the pipeline: the beginning of its tables. Not for an end. */
  | { readonly kind: 'earliest' }
  /** The first record of each partition that is not older. */
  | { readonly kind: 'timestamp'; readonly timestampMs: number }
  /** Partitions that are not named begin at the first position of the pipeline, and end where the main chain stands. */
  | { readonly kind: 'offsets'; readonly offsets: Readonly<Record<PartitionId, string>> }

export type ReplayMode =
  /** Rebuilds tables, and puts them in the place of the live ones. */
  | 'reprocess'
  /** Rebuilds and compares, and changes nothing. */
  | 'verify'
  /** Of append tables that feed no window: rows of a range of offsets are read again, the others stay. */
  | 'range'

export type AutoCutover = 'never' | 'ifEqual' | 'always'

export interface ReplayOptions {
  readonly mode: ReplayMode
  /** Tables and windows to rebuild; null: those whose code changed, or with `verify` all. */
  readonly tables: readonly string[] | null
  readonly from: ReplayPoint
  /** Of a range; null: where the main chain stands. */
  readonly to: ReplayPoint | null
  /** Records a second; null: as fast as it goes. */
  readonly rateLimit: number | null
  readonly autoCutover: AutoCutover
  /** A compacted topic does not have the history of a table without a key: said to be known. */
  readonly acceptCompacted: boolean
  /** How long the versions before a cut-over can be gone back to. */
  readonly keepOldMs: number
}

export const REPLAY: ReplayOptions = {
  mode: 'reprocess',
  tables: null,
  from: { kind: 'earliest' },
  to: null,
  rateLimit: null,
  autoCutover: 'never',
  acceptCompacted: false,
  keepOldMs: 7 * 24 * 3_600_000,
}

export type ReplayPhase =
  | 'seeding'
  | 'rebuilding'
  | 'verifying'
  | 'catching-up'
  /** Waits for a cut-over. */
  | 'ready'
  | 'cutting-over'
  /** Main names its tables; it can be rolled back for `keepOldMs`. */
  | 'cut-over'
  | 'rolled-back'

/** How a replay gets on. `done` counts offsets that were passed, gaps included. */
export interface ReplayProgress {
  readonly phase: ReplayPhase
  readonly isPaused: boolean
  /** Offsets; the total is fixed at the start, so that `done` reaches it. */
  readonly done: string
  readonly total: string
  /** Never falls; 100 only when all is rebuilt. */
  readonly percent: number
  /** Over the last 30 seconds; null while unknown. */
  readonly ratePerSecond: number | null
  readonly etaSeconds: number | null
  /** Offsets that the fork is behind the log; null before it catches up. */
  readonly lag: string | null
  readonly partitions: readonly ReplayPartition[]
}

export interface ReplayPartition {
  readonly partition: PartitionId
  readonly from: string
  readonly until: string
  readonly position: string
}

/** What the rebuilt tables are, against those of the version that the fork began at. */
export interface ReplayDifference {
  /** Names what was found: an approval of one difference is none of another. */
  readonly id: string
  /** No table is `different`. */
  readonly isEqual: boolean
  /** The version of the main chain that was compared with. */
  readonly version: string
  readonly tables: readonly TableDifference[]
}

export interface TableDifference {
  readonly table: string
  /**
   * `equal`: neither rows nor columns differ, apart from what `leftOut` says. `new`: the version has no such table; all of
   * it is added. `different` is also a table that a cut-over would take rows away from, because the replay began later.
   */
  readonly kind: 'equal' | 'different' | 'new'
  readonly columns: {
    readonly added: readonly string[]
    readonly removed: readonly string[]
    /** `name: before → after` */
    readonly retyped: readonly string[]
  }
  readonly rowsBefore: string
  readonly rowsAfter: string
  /** Σ of the hashes of all rows modulo 2^128, 32 hexadecimal digits, over the columns that both have. */
  readonly digestBefore: string
  readonly digestAfter: string
  /** Groups (Kafka partitions, windows) of which one side differs, the first of them; and how many there are. */
  readonly groupsCompared: number
  readonly groupsDifferent: number
  readonly groups: readonly GroupDifference[]
  /** By key. */
  readonly added: string
  readonly removed: string
  readonly changed: string
  readonly samples: readonly RowDifference[]
  /** What was left out of the comparison, and why: in words for a person. */
  readonly leftOut: readonly string[]
}

export interface GroupDifference {
  /** `partition 3`, `2026-11-21T10:00:00.000000Z`. */
  readonly group: string
  readonly rowsBefore: string
  readonly rowsAfter: string
}

export interface RowDifference {
  readonly change: 'added' | 'removed' | 'changed'
  /** Columns that say which row it is, and the values on both sides; values as the HTTP API writes them. */
  readonly key: Readonly<Record<string, unknown>>
  readonly before: Readonly<Record<string, unknown>> | null
  readonly after: Readonly<Record<string, unknown>> | null
  /** Where the record stands that a row of a source table came from: `topic/partition@offset`. */
  readonly record: string | null
}

/** A replay as anybody sees it: the job, how it gets on, and what was found. */
export interface ReplayStatus {
  readonly id: string
  readonly pipeline: string
  readonly options: ReplayOptions
  /** Of source tables and windows: the definition that it was asked for with. */
  readonly codes: Readonly<Record<string, string>>
  readonly state: 'queued' | 'running' | 'done' | 'failed' | 'cancelled'
  readonly createdMs: number
  readonly endedMs: number | null
  /** The process that does it, and the version S of the main chain that it began at. */
  readonly writer: string | null
  readonly version: string | null
  readonly rebuilt: readonly string[]
  readonly shared: readonly string[]
  readonly progress: ReplayProgress | null
  /** Null before it was compared. The whole of it is asked for by itself. */
  readonly difference: { readonly id: string; readonly isEqual: boolean } | null
  /** Of a replay that was cut over: the version that says so, and the one that a rollback goes back to. */
  readonly cutover: { readonly version: string; readonly before: string } | null
  readonly error: { readonly code: string; readonly message: string; readonly fix?: string | undefined } | null
}

/** What a person asks of a replay that is under way. */
export type ReplayOrder =
  | { readonly kind: 'pause' | 'resume' | 'cancel' | 'rollback' }
  /** `approve`: the id of the difference, when there is one. */
  | { readonly kind: 'cutover'; readonly approve: string | null }

/** The replays of a store: asked for in any process, done by one whose definition made the request. */
export interface Replays {
  /**
   * Throws `pipeline.unknown`, `table.unknown`, `replay.running` {replay}, `replay.range_keyed`, `replay.nothing_changed`,
   * `idempotency.mismatch`.
   */
  start(pipeline: string, options: Partial<ReplayOptions>, idempotencyKey?: string): Promise<ReplayStatus>
  /** The newest first. */
  list(): Promise<readonly ReplayStatus[]>
  /** Throws `replay.unknown`. */
  get(id: string): Promise<ReplayStatus>
  /** Throws `replay.unknown`, and `replay.state` before it was compared. */
  difference(id: string): Promise<ReplayDifference>
  /**
   * Resolves when the order is recorded; what becomes of it, the status says. Throws `replay.unknown`, `replay.state`
   * {state, phase} when it does not apply, `replay.diff_unapproved` {difference}.
   */
  order(id: string, order: ReplayOrder): Promise<ReplayStatus>
  /** Yields the status now and whenever it changes, until it is over or `signal` aborts. */
  watch(id: string, signal?: AbortSignal): AsyncIterable<ReplayStatus>
}

/** Nothing more is done for it; one that was cut over can still be rolled back. */
export function isOver({ state }: ReplayStatus): boolean {
  return state !== 'queued' && state !== 'running'
}
