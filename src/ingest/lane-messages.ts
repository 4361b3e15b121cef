import type { TableDefinition } from '../define.ts'
import type { WindowDefinition } from '../define-window.ts'
import type { ErrorMessage } from '../error.ts'
import type { PartitionId } from '../log.ts'
import type { RegistrySettings, SourceSettings, StoreSettings } from '../settings.ts'
import type { Archive } from './archive/archive.ts'
import type { Assignment, Staged } from './lane.ts'
import type { WorkCall } from './work-messages.ts'

/** What the pool and a lane process say to each other; structured clone carries maps, bigints and bytes. */
export type ToLane =
  | {
      readonly kind: 'assign'
      readonly pipeline: string
      readonly task: number
      readonly tables: readonly TableDefinition[]
      readonly windows: readonly WindowDefinition[]
      /** What is kept of the log, of topics that have an archive. */
      readonly archives: readonly Archive[]
      readonly assignment: Assignment
    }
  /** One more batch may be staged and sent. */
  | { readonly kind: 'credit'; readonly pipeline: string; readonly task: number }
  | { readonly kind: 'release'; readonly pipeline: string }
  /** Work on files, beside the staging: one job at a time. `run` tells for whom, who has these tables. */
  | {
      readonly kind: 'work'
      readonly job: number
      readonly run: number
      readonly tables: readonly TableDefinition[]
      readonly call: WorkCall
    }

export type FromLane =
  | { readonly kind: 'staged'; readonly pipeline: string; readonly task: number; readonly staged: Staged }
  | { readonly kind: 'ended'; readonly pipeline: string; readonly task: number }
  | { readonly kind: 'failed'; readonly pipeline: string; readonly task: number; readonly error: ErrorMessage }
  /** Sent before records are touched: whoever dies now, dies of one of these. */
  | { readonly kind: 'encoding'; readonly pipeline: string; readonly task: number; readonly spans: readonly Span[] }
  | { readonly kind: 'encoded'; readonly pipeline: string; readonly task: number }
  /** Long work gets on. */
  | { readonly kind: 'working'; readonly job: number }
  | { readonly kind: 'worked'; readonly job: number; readonly result: unknown }
  | { readonly kind: 'work-failed'; readonly job: number; readonly error: ErrorMessage }
  | { readonly kind: 'alive' }

/** Records [first, last] of a partition, both included. */
export interface Span {
  readonly partition: PartitionId
  readonly first: bigint
  readonly last: bigint
  readonly records: number
}

/** Handed to a lane process when it starts, as JSON in its environment: nothing secret is ever on a command line. */
export interface LaneSettings {
  readonly source: SourceSettings
  readonly store: StoreSettings
  readonly registry?: RegistrySettings
  readonly memoryBytesMax: number
  /** A folder of the process that starts the lanes, for partials of windows. Default: the lane's own scratch. */
  readonly partialsFolder?: string
}
