import type { Column } from '../batch.ts'
import type { Clock } from '../clock.ts'
import type { DataFile, WritePlan } from '../lake/table.ts'
import type { Cursor, PartitionId, Positions, RecordBatch, Source, Tail } from '../log.ts'
import type { Clocks } from '../version.ts'
import type { StagedKeys } from './keys.ts'
import type { RetriedRecords } from './letters/letters.ts'
import { heldAt, MicroBatch, split } from './micro-batch.ts'
import type { StagedWindow, WindowPlan } from './window/window.ts'

/** What a lane is told to do: which partitions from where, and how its output must look. A lane keeps nothing else. */
export interface Assignment {
  readonly lane: number
  readonly from: ReadonlyMap<PartitionId, Cursor>
  /** Where a bounded log ends; undefined: it does not. */
  readonly until?: Positions
  /** Offsets at which partitions wait, whatever the log has behind them. */
  readonly holds?: Positions
  readonly tables: readonly TablePlan[]
  readonly microBatch: MicroBatchLimits
  /** Records that killed a lane twice, `topic/partition@offset`: dead letters without a look inside. */
  readonly fatal: ReadonlySet<string>
  /** Records whose missing values no row of a table has, `table topic/partition@offset`: dead letters of that table alone. */
  readonly baseless?: ReadonlySet<string>
  /** M_p of each source table at `from`, as in `Version.clocksMs`. Pipelines with windows need them. */
  readonly clocksMs?: Clocks
  /** Records that are read again, and move no clock: the only ones of the assignment. */
  readonly retried?: RetriedRecords
}

export interface MicroBatchLimits {
  readonly bytesMax: number
  readonly recordsMax: number
  readonly ageMsMax: number
}

/** One source table as the lane writes it. */
export interface TablePlan {
  readonly table: string
  readonly topic: string
  readonly data: WritePlan
  /** Of a table whose columns come from a registry: with those that are known and not in it yet. */
  readonly grown?: WritePlan
  readonly deadLetters: WritePlan
  /** Of a table with a version column: its name, and how the markers of deleted keys are written. */
  readonly version?: string
  readonly deletes?: WritePlan
  /** Of the windows that it feeds. */
  readonly windows?: readonly WindowPlan[]
  /** It only feeds windows and moves clocks: its rows and dead letters are counted, and no file has them. */
  readonly isUnwritten?: boolean
  /** What its records do to keys is all that is wanted: no file is written. */
  readonly isKeysOnly?: boolean
}

/** Files that nobody refers to yet, and what the committer must know about them. Plain values. */
export interface Staged {
  readonly lane: number
  /** One per partition that moved, each [from, until). */
  readonly ranges: readonly StagedRange[]
  readonly tables: readonly StagedTable[]
  readonly records: number
  readonly bytes: number
  readonly encodeMs: number
}

export interface StagedRange {
  readonly partition: PartitionId
  readonly from: bigint
  readonly until: bigint
  readonly leaderEpoch: number
  /** Last data record below `until`, when this range held one. */
  readonly tail: Tail | undefined
  /** End of the log when it was last asked. */
  readonly end: bigint
}

export interface StagedTable {
  readonly table: string
  readonly files: readonly DataFile[]
  readonly deadLetterFiles: readonly DataFile[]
  readonly counts: ReadonlyMap<PartitionId, StagedCounts>
  /** Of keyed tables: what becomes of the rows of their keys. */
  readonly keys?: StagedKeys | undefined
  /** Of tables with a version column: a row for each DELETE of `keys`, in its order. The version of bare ones is null. */
  readonly deleteFiles?: readonly DataFile[]
  /** Of the windows that the table feeds, in the order of its plan. */
  readonly windows?: readonly StagedWindow[]
  /** Columns of a registry that the table must have to have the files; undefined: it has them. */
  readonly needed?: readonly Column[] | undefined
  /** False: its rows are counted, and no file has them. Default: true. */
  readonly isStored?: boolean
  /** The same of its dead letters. */
  readonly isUnwritten?: boolean
}

/** What became of the records of one partition in one table: the numbers add up to its records. */
export interface StagedCounts {
  readonly rows: number
  readonly deadLetters: number
  /** Null values, delete and truncate events: no row of their own. */
  readonly tombstones: number
  /** Undecodable records that `onError: skip` leaves out, and messages of a change stream that are no change. */
  readonly skipped: number
  /** Records that the table's `where` or its function drops; absent when it has none. */
  readonly filtered?: number
  /** Events that the future guard (rule C8) kept from moving the clock; absent when there were none. */
  readonly futureEvents?: number
  /** Largest guarded event time, when a row had one. */
  readonly clockMs: number | undefined
}

/** Turns the raw records of one micro-batch into files: DuckDB and Parquet in production, row arrays in the simulation. */
export interface Encoder {
  /**
   * `batches` are of the table's topic, grouped by partition, offsets ascending within each. `clocksMs` are the clocks
   * of its partitions before them; a table that feeds windows needs them. `retried`: each record has its own.
   */
  encode(
    plan: TablePlan,
    batches: readonly RecordBatch[],
    fatal: ReadonlySet<string>,
    baseless?: ReadonlySet<string>,
    clocksMs?: Clocks[string],
    retried?: RetriedRecords,
  ): Promise<StagedTable>
  close(): Promise<void>
}

/**
 * The lane: from a range of the log to staged files. A pure function of the log, the assignment and the code, so it may
 * be killed at any moment and run again. Yields when a micro-batch is full or old enough; pulling is the back-pressure.
 */
export async function* stage(
  source: Pick<Source, 'read'>,
  assignment: Assignment,
  encoder: Encoder,
  clock: Clock,
  signal: AbortSignal,
): AsyncGenerator<Staged, void, undefined> {
  let micro = new MicroBatch(assignment, assignment.from, assignment.clocksMs)
  for await (const batch of source.read(assignment.from, signal)) {
    for (const piece of split(heldAt(batch, assignment.holds), assignment.microBatch.recordsMax)) {
      micro.add(piece, clock.monotonicMs())
      if (!micro.isDue(clock.monotonicMs())) continue
      yield await micro.encode(encoder, clock)
      micro = new MicroBatch(assignment, micro.cursors, micro.clocksMs)
    }
  }
  if (!signal.aborted && micro.hasMoved) yield await micro.encode(encoder, clock)
}
