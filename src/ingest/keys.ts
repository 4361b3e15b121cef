import type { DataFile, DeletedRows, WritePlan } from '../lake/table.ts'
import type { TablePlan } from './lane.ts'
import type { PublishedField } from '../define-topic.ts'

/**
 * Keys on their way from lanes to the committer, as columns. A key is known by 128 bits of hash over the canonical
 * encoding of its columns (key-hash.ts): four words a key, in `hashes[4 * i]` and on.
 */

/** `StagedKeys.files`: the operation writes no row, it removes that of its key. */
export const DELETE = -1
/** `StagedKeys.files`: the operation removes all rows of the table. Its hash is 0. */
export const TRUNCATE = -2

/**
 * What a micro-batch does to the keys of one table: one element per operation, grouped by Kafka partition as in `runs`,
 * offsets ascending within each.
 */
export interface StagedKeys {
  readonly count: number
  readonly hashes: Uint32Array
  /** Index into `StagedTable.files` of the row that is written; DELETE or TRUNCATE when there is none. */
  readonly files: Int32Array
  /** Position of that row in its file. Rows of one file ascend within a Kafka partition, and its partitions follow each other. */
  readonly rows: Uint32Array
  readonly offsets: BigInt64Array
  /** Kafka partitions in their order, with the operations of each. */
  readonly runs: readonly KeyRun[]
  /** Values of the version column, as 64-bit integers; undefined without one. 0 for bare tombstones, which have none. */
  readonly versions: BigInt64Array | undefined
  /** Bit set: the operation is a tombstone without a version of its own. Words of 32 operations; undefined when none is. */
  readonly bare: Uint32Array | undefined
  readonly holes: StagedHoles | undefined
  /** Between two processes: the local file that has the columns, which are empty here; see key-files.ts. */
  readonly keyFile?: string
}

/** Whether an operation is a tombstone without a version of its own. */
export function isBare({ bare }: StagedKeys, operation: number): boolean {
  return bare !== undefined && (bare[operation >>> 5]! & (1 << (operation & 31))) !== 0
}

export interface KeyRun {
  readonly partition: number
  readonly count: number
}

/**
 * Rows that came without the values of some columns (an unchanged large value, a partial image): those of the row that
 * the key had are theirs. What the batch itself can answer, its lane has filled in where the later record always wins;
 * with versions only the committer knows which record that is.
 */
export interface StagedHoles {
  /** Operations that have holes, ascending. */
  readonly operations: Uint32Array
  /** Which of `columns` each of them lacks. */
  readonly lacking: Uint32Array
  /** Sets of column names. */
  readonly columns: readonly (readonly string[])[]
}

/**
 * Keys of the live rows of some stored data files, in the order of the index that they go to (key-index.ts): by shard,
 * then by file, then by row. Whoever takes them up stays in one part of a large index at a time.
 */
export interface StoredKeys {
  /** By file: Kafka partitions of its rows, dead ones too, in runs. */
  readonly runs: readonly (readonly KeyRun[])[]
  /** Where the keys of a file in a shard end, which follow each other: element `shard * files + file`. */
  readonly ends: Uint32Array
  /** Four words a key: three of its hash, then its row. */
  readonly cells: Uint32Array
  /** Values of the version column. */
  readonly versions: BigInt64Array | undefined
}

/** Keys [from, until) of one file in one shard. */
export interface KeyStretch {
  readonly shard: number
  readonly file: number
  readonly from: number
  readonly until: number
}

export function* stretchesOf({ ends, runs }: StoredKeys): Generator<KeyStretch, void, undefined> {
  let from = 0
  for (const [k, until] of ends.entries()) {
    if (until > from) yield { shard: Math.floor(k / runs.length), file: k % runs.length, from, until }
    from = until
  }
}

/** A data file of which some rows are left out. */
export interface ConcatenateInput {
  readonly file: DataFile
  /** Row id of its first row, and the sequence number of its rows: what a rewritten row carries along. */
  readonly firstRowId: bigint | undefined
  readonly sequenceNumber: bigint
  /** Rows that are dead already. */
  readonly deleted: DeletedRows
}

/** Offsets [from, until) of one Kafka partition. */
export interface OffsetRange {
  readonly partition: number
  readonly from: bigint
  readonly until: bigint
}

/** Where the values of one row's missing columns stand. */
export interface Filling {
  /** Position of the row that lacks them. */
  readonly row: number
  readonly columns: readonly string[]
  readonly from: { readonly key: string; readonly row: number }
}

/** Rows of data files of two states of a table: those that may not stand in the other one. */
export interface ChangesRequest {
  readonly before: readonly ChangedRows[]
  readonly after: readonly ChangedRows[]
  /** Columns that name a row; undefined: a row is named by the record that it came from, and none is ever gone. */
  readonly key: readonly string[] | undefined
  /** SQL, row-wise over the table's columns: only rows for which it is true count. */
  readonly where: string | undefined
  /** Without a key: columns whose values are printed as one. Default: none. */
  readonly keyed?: readonly string[] | undefined
  /** What is printed of a row; undefined: all of it. */
  readonly select?: readonly PublishedField[] | undefined
  /** Only rows that came from these offsets on count, and those of other Kafka partitions. */
  readonly since?: readonly SourcePlace[] | undefined
  /** Where the file before ended: without a key a place, else the number of a share of the keys. */
  readonly from?: SourcePlace | number | undefined
}

/** An offset of a Kafka partition of the topic that a table reads. */
export interface SourcePlace {
  readonly partition: number
  readonly offset: bigint
}

export interface ChangedRows {
  readonly file: DataFile
  /** Rows that are not looked at. */
  readonly deleted: DeletedRows
}

/**
 * Changes of rows as lines of JSON in a file of this machine, `[key, value]`, both texts; a deleted row's value is null.
 * Where rows have no key there is the number of the Kafka partition that they came from.
 */
export interface ChangeFile {
  /** Undefined without any. Whoever asked deletes it. */
  readonly path: string | undefined
  readonly count: number
  /** There are more, to be asked for with this `from`. */
  readonly next?: SourcePlace | number
}

/** One state of a table. */
export interface CompareSide {
  readonly plan: WritePlan
  readonly rows: readonly ChangedRows[]
}

/** Two states of a table, possibly of two schemas, whose rows are compared. */
export interface CompareRequest {
  readonly before: CompareSide
  readonly after: CompareSide
  /** Columns whose values count: both sides have them, with one name and type. */
  readonly columns: readonly string[]
  /** Columns that say which row is which; none: rows are summed and not told apart. Both sides have them, as of `group`. */
  readonly key: readonly string[]
  /** Columns whose values make the groups that are summed one by one. */
  readonly group: readonly string[]
  /** Only rows whose timestamps are in each of these are looked at. */
  readonly within?: readonly CompareRange[]
  /** Only rows that came from these offsets on are looked at, and those of other Kafka partitions. */
  readonly since?: readonly SourcePlace[]
  /** Rows of which a column has this text are not looked at. */
  readonly except?: { readonly column: string; readonly text: string }
  readonly samplesMax: number
  readonly groupsMax: number
}

/** [fromUs, untilUs] of a timestamp column; a bound that is left out is none. */
export interface CompareRange {
  readonly column: string
  readonly fromUs?: bigint
  readonly untilUs?: bigint
}

/** What `compare` found. Plain values; bigint where a number may be large. */
export interface Comparison {
  readonly rowsBefore: bigint
  readonly rowsAfter: bigint
  /** Σ of 128-bit hashes modulo 2^128, 32 hexadecimal digits. */
  readonly digestBefore: string
  readonly digestAfter: string
  readonly groupsCompared: number
  readonly groupsDifferent: number
  /** The first `groupsMax` that differ, in the order of their values, which are as the HTTP API writes them. */
  readonly groups: readonly {
    readonly values: readonly unknown[]
    readonly rowsBefore: bigint
    readonly rowsAfter: bigint
  }[]
  /** By key; rows of one key are paired as they come, those that are the same with each other first. */
  readonly added: bigint
  readonly removed: bigint
  readonly changed: bigint
  /** The first `samplesMax` in the order of the key. Rows have all columns of their side, as the HTTP API writes them. */
  readonly samples: readonly {
    readonly before: Readonly<Record<string, unknown>> | undefined
    readonly after: Readonly<Record<string, unknown>> | undefined
  }[]
}

/** Work on data files beside the staging, done by whichever lane is free. Pure: results are files that nobody refers to yet. */
export interface TableWork {
  /** Hashes and versions of the live rows of stored data files: of the table, or of its `__deletes`. */
  readKeys(plan: TablePlan, files: readonly ChangedRows[]): Promise<StoredKeys>
  /** Positions of the rows of a stored file that came of the ranges, ascending; dead ones too. */
  rowsWithin(plan: WritePlan, file: DataFile, ranges: readonly OffsetRange[]): Promise<Uint32Array>
  /** One file with the rows of all inputs, in their order, without the deleted ones, whose rows keep ids and sequence numbers. */
  concatenate(plan: WritePlan, inputs: readonly ConcatenateInput[]): Promise<DataFile>
  /**
   * The same file with its holes filled: row for row in the same order. `from` is the plan of the files that values are
   * taken from, when they are another table's: its columns have other ids.
   */
  fill(plan: WritePlan, file: DataFile, fillings: readonly Filling[], from?: WritePlan): Promise<DataFile>
  /**
   * What became of rows by their key, as text that is a pure function of the files: those that are new or other ones, in
   * the order of `after`, then the keys that are gone, in the order of `before`; of many rows one share of the keys after
   * the other. Without a key the rows of each Kafka partition in the order of their offsets.
   */
  changes(plan: WritePlan, request: ChangesRequest): Promise<ChangeFile>
  /** What two states of a table do not have in common. Nothing is written; what is found depends on no order of rows. */
  compare(request: CompareRequest): Promise<Comparison>
}
