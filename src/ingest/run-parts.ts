import type { PartitionId } from '../log.ts'
import type { Version } from '../version.ts'
import type { CompactionRequest } from './compactor.ts'
import type { Holds } from './holds.ts'
import type { SettleJob } from './letters/settle-job.ts'

/** A run on a fork. While it is building, the log is bounded and where it ends nothing is closed. */
export interface ForkRun {
  /** Source tables that only feed windows while it is built: their rows and dead letters are not written. */
  readonly unwritten: ReadonlySet<string>
  /**
   * Of source tables whose code did not change: their watermark in the base, undefined where it had none. What was final
   * at the end of the bounded log stays final, and no more is.
   */
  readonly watermarksMsMin: Readonly<Record<string, number | undefined>>
}

/** What others ask of a run while it is under way; it looks here between two batches. */
export interface Control {
  pauseReason: string | undefined
  isHurried: boolean
  /** Compactions that somebody waits for, by table. */
  readonly compactions: Map<string, CompactionRequest>
  /** Partitions that wait for a person. */
  readonly holds?: Holds
  /** Jobs on dead letters, by their ids. */
  readonly settling?: Map<string, SettleJob>
  /**
   * Called with each new head; with the topics that do not exist yet, whenever they were looked for; and with which of
   * the partitions that feed windows are idle (rule C6).
   */
  onHead(head: Version, missingTopics: readonly string[] | undefined, idle: ReadonlyMap<PartitionId, boolean>): void
}

/** Why a run ended. Everything else that stops it is thrown as a LakeError. */
export type RunResult =
  | { readonly kind: 'drained' | 'stopped' | 'paused' | 'stale' | 'superseded'; readonly head: Version }
  | { readonly kind: 'gap'; readonly partition: PartitionId; readonly from: bigint; readonly until: bigint }
