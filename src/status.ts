import type { SettledCounts, SettleRequest } from './dead-letters.ts'
import type { ErrorMessage } from './error.ts'
import type { PipelineState } from './event.ts'
import type { PartitionId } from './log.ts'
import type { Version } from './version.ts'

/** How a pipeline stands, as this process knows it. Plain values. */
export interface PipelineStatus {
  readonly name: string
  readonly state: PipelineState
  readonly reason: ErrorMessage | undefined
  /** Newest version that this process has seen; undefined before the first. */
  readonly head: Version | undefined
  /** Wall clock of the last commit that this process saw. */
  readonly lastCommitMs: number | undefined
  readonly partitions: readonly PartitionStatus[]
  /** Source tables first, then their companions. */
  readonly tables: readonly string[]
  /** Tables with change topics, as far as this process publishes them. */
  readonly publishing?: readonly PublishingStatus[]
}

export interface PublishingStatus {
  readonly table: string
  readonly topic: string
  /** All changes up to this version were sent. */
  readonly version: bigint | undefined
  readonly lagVersions: number
  /** Why the last attempt failed; undefined when it did not. */
  readonly error: ErrorMessage | undefined
}

export interface PartitionStatus {
  readonly partition: PartitionId
  /** Committed position. */
  readonly position: bigint
  /** End of the log when it was last asked; undefined before. */
  readonly end: bigint | undefined
  /** Committed records a second over the last ten seconds. */
  readonly ratePerSecond: number
  /** Largest guarded event time, when a table over it has one. */
  readonly clockMs: number | undefined
  /** Whether the watermark does not wait for it (rule C6); undefined where this process does not read it. */
  readonly isIdle?: boolean | undefined
  /** The record that it waits at for a person, and why; undefined where it does not. */
  readonly held?: { readonly offset: bigint; readonly reason: ErrorMessage } | undefined
}

/** What people and programs may ask of a running pipeline. Every verb is idempotent. */
export interface PipelineControl {
  readonly name: string
  status(): PipelineStatus
  /** Resolves when the version that says so is committed. Throws `pipeline.not_owner` on a standby. */
  pause(reason: string): Promise<void>
  resume(): Promise<void>
  /** Commits everything that the log held at the time of the call; resolves with the version that holds it. */
  flush(signal?: AbortSignal): Promise<Version>
  /** Tries again after a state that waits for an operator (`stopped`, `failed`). */
  restart(): Promise<void>
  /** Compacts a table until nothing is left to do. Throws `pipeline.not_owner`, `pipeline.paused`. */
  compact(table: string): Promise<Compacted>
  /** Lets go of what is kept no longer: version files of the pipeline, and files of the table that nothing refers to. */
  expire(table: string): Promise<Expired>
  /**
   * Settles dead letters that are pending: reads their records again, or discards them. `job` names it: what a process
   * before this one has done of it is not done again. Throws `pipeline.not_owner`, `pipeline.paused`.
   */
  settle(job: string, request: SettleRequest): Promise<SettledCounts>
  /**
   * Makes the tables, positions and clocks of an older version those of a new one. With the same code it leaves the pipeline
   * paused; with other code it lets go of it, so that a process of that code goes on.
   * Resolves with the new version, also when a commit of this id has done it before. Throws `version.unknown`,
   * `rollback.not_kept`, `rollback.offsets_expired`, and what proves that the log is another one.
   */
  rollback(to: bigint, commitId: string): Promise<Version>
  /**
   * Of a pipeline that is `superseded` since this process has another definition than the head: adds a version that says
   * that rows are made by this one from here on, and goes on. The rows that are there stay. Resolves with the head where it
   * is of this definition. Throws `code.not_continuable` {tables}, `pipeline.not_owner`.
   */
  acceptCode(): Promise<Version>
}

/** What keeps the store of a pipeline tidy, beside its commits. */
export interface Upkeep {
  expire(table: string, signal: AbortSignal): Promise<Expired>
}

export interface Compacted {
  /** Data files that left, and that came in their place. */
  readonly removedFiles: number
  readonly addedFiles: number
  /** Of those that came. */
  readonly bytes: number
}

export interface Expired {
  /** Version files that were deleted. */
  readonly versions: number
  /** Other files that were deleted, and their bytes. */
  readonly files: number
  readonly bytes: number
}
