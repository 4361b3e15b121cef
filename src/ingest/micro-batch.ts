import type { Clock } from '../clock.ts'
import { LakeError } from '../error.ts'
import { partitionId, type Cursor, type PartitionId, type Positions, type RecordBatch } from '../log.ts'
import type { Assignment, Encoder, Staged, StagedRange, StagedTable } from './lane.ts'
import type { Clocks } from '../version.ts'
import { advancedBy, clocksOf } from './clocks.ts'
import { tailOf } from './record-batch.ts'

/** Records on their way into one file per table, and how far each partition has come with them. */
export class MicroBatch {
  readonly cursors: Map<PartitionId, Cursor>
  /** The clocks before the records; once they are encoded, behind them. */
  clocksMs: Clocks | undefined
  readonly #assignment: Assignment
  readonly #from: ReadonlyMap<PartitionId, Cursor>
  readonly #batches = new Map<PartitionId, RecordBatch[]>()
  readonly #ends = new Map<PartitionId, bigint>()
  #records = 0
  #bytes = 0
  #startedMs: number | undefined

  /** `clocksMs` are the clocks at `from`. */
  constructor(assignment: Assignment, from: ReadonlyMap<PartitionId, Cursor>, clocksMs?: Clocks) {
    this.#assignment = assignment
    this.#from = from
    this.clocksMs = clocksMs
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
        // Of records that another than the log delivered no epoch is known, and an older one would prove what is not so.
        leaderEpoch: batch.leaderEpoch < 0 ? -1 : Math.max(batch.leaderEpoch, before.leaderEpoch),
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
      const { fatal, retried } = this.#assignment
      const baseless = baselessOf(plan.table, this.#assignment)
      const clocksMs = clocksOf(this.clocksMs, plan.table)
      const staged = await encoder.encode(plan, batches, fatal, baseless, clocksMs, retried)
      assertComplete(staged, batches)
      tables.push(staged)
    }
    if (this.clocksMs !== undefined) this.clocksMs = advancedBy({ tables }, this.clocksMs)
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

/** Of the records without a base those of one table: another over the same topic may have it, or need none. */
function baselessOf(table: string, { baseless = new Set() }: Assignment): ReadonlySet<string> {
  const mine = [...baseless].filter((record) => record.startsWith(`${table} `))
  return new Set(mine.map((record) => record.slice(table.length + 1)))
}

/** Every record is a row, a dead letter, a tombstone, filtered or skipped: one that is none of them would be lost in silence. */
function assertComplete({ table, counts }: StagedTable, batches: readonly RecordBatch[]): void {
  const records = batches.reduce((total, { count }) => total + count, 0)
  let counted = 0
  for (const { rows, deadLetters, tombstones, skipped, filtered = 0 } of counts.values())
    counted += rows + deadLetters + tombstones + skipped + filtered
  if (counted !== records)
    throw new LakeError('lane.failed', `${table}: ${records} records were read, ${counted} were accounted for`, {
      retryable: true,
      context: { table, records, counted },
    })
}

/** What a batch has before the record that its partition waits at. */
export function heldAt(batch: RecordBatch, holds: Positions | undefined): RecordBatch {
  const hold = holds?.get(partitionId(batch.topic, batch.partition))
  if (hold === undefined || batch.nextOffset <= hold) return batch
  const found = batch.offsets.subarray(0, batch.count).findIndex((offset) => offset >= hold)
  return pieceOf(batch, 0, found < 0 ? batch.count : found, hold)
}

/** Cuts a batch so that no micro-batch holds more than `recordsMax`: what bisecting a poisonous batch needs. */
export function* split(batch: RecordBatch, recordsMax: number): Generator<RecordBatch> {
  if (batch.count <= recordsMax) return yield batch
  for (let start = 0; start < batch.count; start += recordsMax) {
    const end = Math.min(start + recordsMax, batch.count)
    yield pieceOf(batch, start, end, end === batch.count ? batch.nextOffset : batch.offsets[end]!)
  }
}

/** Records [start, end) of a batch. */
function pieceOf(batch: RecordBatch, start: number, end: number, nextOffset: bigint): RecordBatch {
  return {
    ...batch,
    nextOffset,
    count: end - start,
    offsets: batch.offsets.subarray(start, end),
    timestampsMs: batch.timestampsMs.subarray(start, end),
    ...(batch.appendTimes === undefined ? {} : { appendTimes: batch.appendTimes.subarray(start, end) }),
    keyRanges: batch.keyRanges.subarray(2 * start, 2 * end),
    valueRanges: batch.valueRanges.subarray(2 * start, 2 * end),
    headers: (index) => batch.headers(start + index),
  }
}
