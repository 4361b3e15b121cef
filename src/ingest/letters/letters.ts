import type { DeadLetterFilter, LetterPosition } from '../../dead-letters.ts'
import type { TableDefinition } from '../../define.ts'
import type { WindowDefinition } from '../../define-window.ts'
import type { DataFile, DeletedRows, WritePlan } from '../../lake/table.ts'
import type { Cursor, PartitionId, Positions, RecordBatch } from '../../log.ts'
import type { Archive } from '../archive/archive.ts'
import type { StagedTable, TablePlan } from '../lane.ts'

/** What was known of a record where it stands in the log, when it became a dead letter, and now. */
export interface RetriedRecord {
  /** M_p: what it is late by. Undefined: its partition had no clock. */
  readonly clockMs: number | undefined
  /** How often it was read in vain. */
  readonly attempts: number
  /** Its key has what a later record made of it: of the record only events count, and nothing of its row. */
  readonly isStale: boolean
}

/** Records that are read again, each at its own place: by `topic/partition@offset`. */
export type RetriedRecords = ReadonlyMap<string, RetriedRecord>

/** A dead letter, and where its row stands. */
export interface FoundLetter {
  /** Key of the data file of the dead letters' table, and the row in it. */
  readonly file: string
  readonly row: number
  /** Of Kafka. */
  readonly partition: number
  readonly offset: bigint
  readonly code: string
  readonly attempts: number
  readonly clockMs: number | undefined
}

/** Rows of a table of dead letters. */
export interface LetterFile {
  readonly file: DataFile
  readonly deleted: DeletedRows
}

export interface FindRequest {
  /** Whether their records are to be read: those of which there is none are left out. */
  readonly isReadAgain: boolean
  readonly files: readonly LetterFile[]
  readonly status: 'pending' | 'discarded'
  readonly where: DeadLetterFilter
  /** Those behind it alone. */
  readonly behind: Pick<LetterPosition, 'partition' | 'offset'> | undefined
  readonly limit: number
  /** Bytes of their records, after the first of which no more are taken. */
  readonly bytesMax: number
}

/** Some rows of one file. */
export interface LetterRows {
  readonly file: DataFile
  readonly rows: readonly number[]
}

/** What a lane needs to read records of one table again. */
export interface RestageRequest {
  readonly definition: TableDefinition
  /** Over the table. */
  readonly windows: readonly WindowDefinition[]
  readonly plan: TablePlan
  readonly letters: readonly LetterRows[]
  readonly records: RetriedRecords
  /** As in `Assignment`, of this table. */
  readonly baseless: ReadonlySet<string>
}

/** Records of dead letters as staged files, and their dead letters as they will stand. Nobody refers to them yet. */
export interface Restaged {
  /** `deadLetterFiles` has those that failed again. */
  readonly staged: StagedTable
  /** Those that did not fail, with their status. */
  readonly resolved: DataFile | undefined
  /** Records that failed again, `topic/partition@offset`. */
  readonly failed: readonly string[]
}

/** Operations on keys of which it is asked whether the log removes the key later, each in its own partition. */
export interface LaterRequest {
  readonly definition: TableDefinition
  readonly plan: TablePlan
  readonly archives: readonly Archive[]
  /** Where each partition is read from, and until where. */
  readonly from: ReadonlyMap<PartitionId, Cursor>
  readonly until: Positions
  /** Only null values without a version of their own count: all else is ordered by its version. */
  readonly isBareOnly: boolean
  /** Of the keys, four words each, as `StagedKeys.hashes` has them. */
  readonly hashes: Uint32Array
  readonly partitions: Int32Array
  readonly offsets: BigInt64Array
}

export interface LaterAnswer {
  /** By the order in which they were asked: 1 where there is one. */
  readonly isLater: Uint8Array
  /** Partitions of which the log has lost some of what was to be read: nothing is known of them. */
  readonly lost: readonly PartitionId[]
}

/** Work on dead letters, done by whichever lane is free. Pure: results are files that nobody refers to yet. */
export interface LetterWork {
  /** Dead letters in the order of partitions and offsets. */
  find(plan: WritePlan, request: FindRequest): Promise<readonly FoundLetter[]>
  /** Reads records again: the same path as that of any record. */
  restage(request: RestageRequest): Promise<Restaged>
  /** Those rows with another status, as a new file. */
  settle(plan: WritePlan, letters: readonly LetterRows[], status: 'discarded'): Promise<DataFile>
  /** The offsets of rows of a source table, in the order of the files and, in each, of the rows. */
  offsetsOf(plan: WritePlan, rows: readonly LetterRows[]): Promise<BigInt64Array>
  later(request: LaterRequest): Promise<LaterAnswer>
}

export function recordText(topic: string, { partition, offset }: Pick<FoundLetter, 'partition' | 'offset'>): string {
  return `${topic}/${partition}@${offset}`
}

/** What was known of record `i` of a batch, when it is read again. */
export function retriedAt(
  retried: RetriedRecords | undefined,
  { topic, partition, offsets }: RecordBatch,
  i: number,
): RetriedRecord | undefined {
  return retried?.get(recordText(topic, { partition, offset: offsets[i]! }))
}

/** Dead letters that have no record: nothing can be read again. */
export const NEVER_RETRIED: readonly string[] = ['decode.too_large']
/** A record that ended its lanes is read again only where it is asked for by its code. */
export const RETRIED_BY_NAME: readonly string[] = ['decode.fatal']
