import type { Clock } from '../clock.ts'
import { LakeError } from '../error.ts'
import type { DataFile, WritePlan } from '../lake/table.ts'
import { partitionId, type Cursor, type PartitionId, type RecordBatch, type Source, type Tail } from '../log.ts'
import { tailOf } from './record-batch.ts'

/** What a lane is told to do: which partitions from where, and how its output must look. A lane keeps nothing else. */
export interface Assignment {
  readonly lane: number
  readonly from: ReadonlyMap<PartitionId, Cursor>
  readonly tables: readonly TablePlan[]
  readonly microBatch: MicroBatchLimits
  /** Records that killed a lane twice, `topic/partition@offset`: dead letters without a look inside. */
  readonly fatal: ReadonlySet<string>
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
  readonly deadLetters: WritePlan
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
}

/** What became of the records of one partition in one table: the four numbers add up to its records. */
export interface StagedCounts {
  readonly rows: number
  readonly deadLetters: number
  /** Null values in an append table. */
  readonly tombstones: number
  /** Undecodable records that `onError: skip` leaves out. */
  readonly skipped: number
  /** Largest guarded event time, when a row had one. */
  readonly clockMs: number | undefined
}

/** Turns the raw records of one micro-batch into files: DuckDB and Parquet in production, row arrays in the simulation. */
export interface Encoder {
  /** `batches` are of the table's topic, grouped by partition, offsets ascending within each. */
  encode(plan: TablePlan, batches: readonly RecordBatch[], fatal: ReadonlySet<string>): Promise<StagedTable>
  close(): Promise<void>
}

/**
 * The lane: from a range of the log to staged files. A pure function of the log, the assignment and the code, so it may
 * be killed at any moment and run again. Yields when a micro-batch is full or old enough; pulling is the back-pressure.
 */
export async function* stage(
  source: Source,
  assignment: Assignment,
  encoder: Encoder,
  clock: Clock,
  signal: AbortSignal,
): AsyncGenerator<Staged, void, undefined> {
  let micro = new MicroBatch(assignment, assignment.from)
  for await (const batch of source.read(assignment.from, signal)) {
    for (const piece of split(batch, assignment.microBatch.recordsMax)) {
      micro.add(piece, clock.monotonicMs())
      if (!micro.isDue(clock.monotonicMs())) continue
      yield await micro.encode(encoder, clock)
      micro = new MicroBatch(assignment, micro.cursors)
    }
  }
  if (!signal.aborted && micro.hasMoved) yield await micro.encode(encoder, clock)
}

/** Records on their way into one file per table, and how far each partition has come with them. */
class MicroBatch {
  readonly cursors: Map<PartitionId, Cursor>
  readonly #assignment: Assignment
  readonly #from: ReadonlyMap<PartitionId, Cursor>
  readonly #batches = new Map<PartitionId, RecordBatch[]>()
  readonly #ends = new Map<PartitionId, bigint>()
  #records = 0
  #bytes = 0
  #startedMs: number | undefined

  constructor(assignment: Assignment, from: ReadonlyMap<PartitionId, Cursor>) {
    this.#assignment = assignment
    this.#from = from
    this.cursors = new Map(from)
  }

  get hasMoved(): boolean {
    return this.#startedMs !== undefined
  }

  add(batch: RecordBatch, nowMs: number): void {
    const id = partitionId(batch.topic, batch.partition)
    const before = this.cursors.get(id)
    if (
      before === undefined ||
      (batch.count > 0 && batch.offsets[0]! < before.offset) ||
      batch.nextOffset < before.offset
    )
      throw new Error(`${id}: the source delivered ${batch.nextOffset} where ${before?.offset} was due`)
    if (batch.nextOffset > before.offset) {
      this.#startedMs ??= nowMs
      this.cursors.set(id, {
        offset: batch.nextOffset,
        leaderEpoch: Math.max(batch.leaderEpoch, before.leaderEpoch),
        topicId: batch.topicId,
      })
      this.#ends.set(id, batch.end)
    }
    if (batch.count === 0) return
    const list = this.#batches.get(id)
    if (list === undefined) this.#batches.set(id, [batch])
    else list.push(batch)
    this.#records += batch.count
    this.#bytes += batch.buffer.length
  }

  isDue(nowMs: number): boolean {
    if (this.#startedMs === undefined) return false
    const { bytesMax, recordsMax, ageMsMax } = this.#assignment.microBatch
    return this.#bytes >= bytesMax || this.#records >= recordsMax || nowMs - this.#startedMs >= ageMsMax
  }

  async encode(encoder: Encoder, clock: Clock): Promise<Staged> {
    const startMs = clock.monotonicMs()
    const tables: StagedTable[] = []
    for (const plan of this.#assignment.tables) {
      const batches = [...this.#batches.values()].flat().filter((batch) => batch.topic === plan.topic)
      if (batches.length === 0) continue
      const staged = await encoder.encode(plan, batches, this.#assignment.fatal)
      assertComplete(staged, batches)
      tables.push(staged)
    }
    return {
      lane: this.#assignment.lane,
      ranges: this.#ranges(),
      tables,
      records: this.#records,
      bytes: this.#bytes,
      encodeMs: clock.monotonicMs() - startMs,
    }
  }

  #ranges(): StagedRange[] {
    const ranges: StagedRange[] = []
    for (const [partition, { offset: until, leaderEpoch }] of this.cursors) {
      const from = this.#from.get(partition)!.offset
      if (until === from) continue
      const last = this.#batches.get(partition)?.at(-1)
      const tail = last === undefined ? undefined : tailOf(last)
      ranges.push({ partition, from, until, leaderEpoch, tail, end: this.#ends.get(partition)! })
    }
    return ranges
  }
}

/** Every record is a row, a dead letter, a tombstone or skipped: one that is none of them would be lost in silence. */
function assertComplete({ table, counts }: StagedTable, batches: readonly RecordBatch[]): void {
  const records = batches.reduce((total, { count }) => total + count, 0)
  let counted = 0
  for (const { rows, deadLetters, tombstones, skipped } of counts.values())
    counted += rows + deadLetters + tombstones + skipped
  if (counted !== records)
    throw new LakeError('lane.failed', `${table}: ${records} records were read, ${counted} were accounted for`, {
      retryable: true,
      context: { table, records, counted },
    })
}

/** Cuts a batch so that no micro-batch holds more than `recordsMax`: what bisecting a poisonous batch needs. */
function* split(batch: RecordBatch, recordsMax: number): Generator<RecordBatch> {
  if (batch.count <= recordsMax) return yield batch
  for (let start = 0; start < batch.count; start += recordsMax) {
    const end = Math.min(start + recordsMax, batch.count)
    yield {
      ...batch,
      nextOffset: end === batch.count ? batch.nextOffset : batch.offsets[end]!,
      count: end - start,
      offsets: batch.offsets.subarray(start, end),
      timestampsMs: batch.timestampsMs.subarray(start, end),
      keyRanges: batch.keyRanges.subarray(2 * start, 2 * end),
      valueRanges: batch.valueRanges.subarray(2 * start, 2 * end),
      headers: (index) => batch.headers(start + index),
    }
  }
}
