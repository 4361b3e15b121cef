import type { PartitionId } from './log.ts'
import type { ErrorMessage } from './error.ts'

/** Why a pipeline is where it is. `reason` of the failing states is a LakeErrorCode with a message and a fix. */
export type PipelineState =
  | 'starting'
  | 'running'
  | 'paused'
  | 'standby'
  | 'waiting'
  | 'stopped'
  | 'superseded'
  | 'failed'

/** What happened, for metrics, logs and the event stream. Plain values; never record contents. */
export type LakeEvent =
  | { readonly kind: 'state'; readonly pipeline: string; readonly state: PipelineState; readonly reason?: ErrorMessage }
  | {
      readonly kind: 'staged'
      readonly pipeline: string
      readonly lane: number
      readonly records: number
      readonly bytes: number
      /** Time the lane took to decode and encode the micro-batch. */
      readonly encodeMs: number
    }
  | {
      readonly kind: 'commit'
      readonly pipeline: string
      readonly outcome: 'ok' | 'conflict' | 'stale' | 'superseded' | 'unknown' | 'failed'
      readonly version: bigint | undefined
      readonly durationMs: number
      readonly tables: Readonly<Record<string, TableCounts>>
    }
  | {
      readonly kind: 'progress'
      readonly pipeline: string
      readonly partition: PartitionId
      readonly position: bigint
      readonly end: bigint
    }
  /** Files of a table became one; or that failed, and is tried again. */
  | {
      readonly kind: 'compaction'
      readonly pipeline: string
      readonly table: string
      readonly filesIn: number
      readonly rowsOut: number
      readonly error?: ErrorMessage
    }
  /** What a committer holds in memory for a keyed table, after a commit. */
  | {
      readonly kind: 'keys'
      readonly pipeline: string
      readonly table: string
      readonly keys: number
      readonly indexBytes: number
      readonly rows: number
      readonly deadRows: number
      /** In this commit: operations that lost against a later version, tombstones that had no say. */
      readonly stale: number
      readonly unordered: number
    }
  /** What a commit did to a window table, and what is held for it. */
  | {
      readonly kind: 'windows'
      readonly pipeline: string
      /** The window table. */
      readonly table: string
      /** C of its source table; undefined while nothing is known of some partition. */
      readonly watermarkMs: number | undefined
      /** Cells that are not settled, and the bytes that they take in memory and spilled. */
      readonly openRows: number
      readonly stateBytes: number
      /** In this commit: records that were late for all their windows, and (record, window) pairs that were late. */
      readonly late: number
      readonly lateAssignments: number
      /** Records on which an expression of the window failed. */
      readonly failed: number
      /** Rows that were final and were written again, and retractions of rows that nobody knows. */
      readonly corrected: number
      readonly retractOfUnknown: number
    }
  /** Changes of a table were sent to its topic; or could not be, which is tried again. */
  | {
      readonly kind: 'published'
      readonly pipeline: string
      readonly table: string
      readonly topic: string
      /** All changes up to this version were sent; undefined while none were. */
      readonly version: bigint | undefined
      /** Records sent since the last such event. */
      readonly records: number
      /** Versions that are still to be sent. */
      readonly lagVersions: number
      /** All rows were sent: the files of the version that was sent last are gone. */
      readonly isWhole: boolean
      readonly error?: ErrorMessage
    }
  /** A partition waits at a record for a person; all others go on. */
  | {
      readonly kind: 'held'
      readonly pipeline: string
      readonly partition: PartitionId
      readonly offset: bigint
      readonly reason: ErrorMessage
    }
  | {
      readonly kind: 'lane'
      readonly lane: number
      readonly what: 'started' | 'died' | 'hung' | 'restarted'
    }
  | {
      /** Version files and other files that were deleted; or why it could not be made sure what is needed. */
      readonly kind: 'expired'
      readonly pipeline: string
      readonly versions: number
      readonly files: number
      readonly bytes: number
      readonly error?: ErrorMessage
    }
  /** How a replay that this process does gets on. Its commits and what its lanes do are no news of the live pipeline. */
  | {
      readonly kind: 'replay'
      readonly pipeline: string
      readonly id: string
      /** From 0 to 1; undefined: it is over. */
      readonly ratio: number | undefined
      /** Offsets that the fork is behind the log; undefined before it catches up. */
      readonly lag: bigint | undefined
    }
  /** A request over HTTP without a key that counts (401), without the right (403), or beyond a limit (429). */
  | { readonly kind: 'refused'; readonly status: number }
  | {
      readonly kind: 'query'
      readonly id: string
      readonly outcome: 'ok' | 'error' | 'timeout' | 'cancelled' | 'crashed'
      readonly durationMs: number
      readonly format: string
    }

/** Records of one table in one commit, by what became of them. Their sum is the offsets that held a record. */
export interface TableCounts {
  readonly rows: number
  readonly deadLetters: number
  readonly tombstones: number
  readonly skipped: number
  /** Dropped by the table's `where`. */
  readonly filtered?: number
  readonly files: number
  readonly bytes: number
  /** Of tables with event time: rows too far ahead of their record to move the clock (rule C8). */
  readonly futureEvents?: number
}

export type Observer = (event: LakeEvent) => void
