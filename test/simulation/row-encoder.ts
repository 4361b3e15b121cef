import type { DataFile } from '../../src/lake/data-file.ts'
import type { WritePlan } from '../../src/lake/table.ts'
import type { Encoder, StagedCounts, StagedTable, TablePlan } from '../../src/ingest/lane.ts'
import { keyOf, valueOf } from '../../src/ingest/record-batch.ts'
import { partitionId, type PartitionId, type RecordBatch } from '../../src/log.ts'
import type { Storage } from '../../src/lake/storage/storage.ts'
import { readChange, type SimChange } from './change.ts'
import { KeyStage } from './key-stage.ts'
import { isDropped, type SimTable } from './plan.ts'
import type { SimProcess } from './process.ts'

/** A row of a simulated data file: where it came from, and what it says. */
export interface SimRow {
  readonly p: number
  readonly o: string
  readonly v: string
  /** Of keyed tables. */
  readonly k?: string
  n?: number | null
  a?: string | null
  b?: string | null
}

/** Data files are arrays of rows in JSON: what is simulated is what refers to them. */
export class RowEncoder implements Encoder {
  readonly #process: SimProcess
  readonly #storage: Storage
  readonly #tables: readonly SimTable[]

  constructor(process: SimProcess, storage: Storage, tables: readonly SimTable[]) {
    this.#process = process
    this.#storage = storage
    this.#tables = tables
  }

  async encode(
    plan: TablePlan,
    batches: readonly RecordBatch[],
    fatal: ReadonlySet<string>,
    baseless: ReadonlySet<string> = new Set(),
  ): Promise<StagedTable> {
    const table = this.#tables.find(({ name }) => name === plan.table)!
    const sink = table.keyed === undefined ? new AppendSink() : new KeyedSink(table, plan)
    const deadLetters: SimRow[] = []
    const counts = new Map<PartitionId, StagedCounts>()
    const forgotten = this.#process.happens('P9e', plan.table) ? 1 : 0
    for (const batch of batches) {
      const id = partitionId(batch.topic, batch.partition)
      const count = { rows: 0, deadLetters: 0, tombstones: 0, skipped: 0, clockMs: undefined as number | undefined }
      for (let i = forgotten; i < batch.count; i++) {
        const [bytes, offset] = [valueOf(batch, i), batch.offsets[i]!]
        const change = bytes === undefined ? undefined : readChange(bytes)
        const record = `${id}@${offset}`
        const isLost = (bytes !== undefined && change === undefined) || fatal.has(record) || baseless.has(record)
        const key = Buffer.from(keyOf(batch, i) ?? []).toString()
        const isLeftOut = change !== undefined && isDropped(table, change)
        const outcome = isLost ? 'lost' : isLeftOut ? 'none' : sink.take(change, key, batch.partition, offset)
        if (outcome === 'none') count.tombstones++
        else if (outcome === 'row') {
          count.rows++
          count.clockMs = Math.max(count.clockMs ?? -Infinity, batch.timestampsMs[i]!)
        } else if (table.onError === 'skip') count.skipped++
        else {
          deadLetters.push({ p: batch.partition, o: String(offset), v: Buffer.from(bytes ?? []).toString() })
          count.deadLetters++
        }
      }
      counts.set(id, add(counts.get(id), count))
    }
    return {
      table: plan.table,
      files: await this.#write(plan.data, sink.files),
      deadLetterFiles: await this.#write(plan.deadLetters, [deadLetters]),
      counts,
      ...(sink instanceof KeyedSink ? { keys: sink.stage.keys() } : {}),
      ...(sink instanceof KeyedSink && plan.deletes !== undefined
        ? { deleteFiles: await this.#write(plan.deletes, [sink.stage.deletes]) }
        : {}),
    }
  }

  close(): Promise<void> {
    return Promise.resolve()
  }

  #write(plan: WritePlan, files: readonly (readonly SimRow[])[]): Promise<DataFile[]> {
    return Promise.all(
      files
        .filter((rows) => rows.length > 0)
        .map((rows) => {
          // A writer that ran out of something says how many rows it wrote, and they are fewer than were counted.
          const isCut = this.#process.happens('P9d', plan.table)
          const written = isCut ? rows.slice(0, this.#process.random.int(rows.length)) : rows
          return writeRows(this.#process, this.#storage, plan, written)
        }),
    )
  }
}

export async function writeRows(
  process: SimProcess,
  storage: Storage,
  plan: WritePlan,
  rows: readonly SimRow[],
): Promise<DataFile> {
  const key = `${plan.dataPrefix}${process.clock.uuid()}.parquet`
  const bytes = Buffer.from(JSON.stringify(rows))
  await storage.put(key, bytes)
  return { key, recordCount: rows.length, fileSizeBytes: bytes.length, partition: [], metrics: new Map() }
}

type Outcome = 'row' | 'none' | 'lost'

/** Every record that can be read is a row. */
class AppendSink {
  readonly files: SimRow[][] = [[]]

  take(change: SimChange | undefined, _key: string, partition: number, offset: bigint): Outcome {
    if (change === undefined) return 'none'
    this.files[0]!.push({ p: partition, o: String(offset), v: change.v })
    return 'row'
  }
}

class KeyedSink {
  readonly stage: KeyStage

  constructor(table: SimTable, plan: TablePlan) {
    this.stage = new KeyStage(table.keyed!, plan.data.uuid)
  }

  get files(): readonly SimRow[][] {
    return this.stage.files
  }

  take(change: SimChange | undefined, key: string, partition: number, offset: bigint): Outcome {
    if (change?.op === 'u') return this.stage.put(change, partition, offset) ? 'row' : 'lost'
    if (change?.op === 't') this.stage.truncate(partition, offset)
    else this.stage.delete(change?.k ?? key, change?.n, partition, offset)
    return 'none'
  }
}

function add(a: StagedCounts | undefined, b: StagedCounts): StagedCounts {
  if (a === undefined) return b
  return {
    rows: a.rows + b.rows,
    deadLetters: a.deadLetters + b.deadLetters,
    tombstones: a.tombstones + b.tombstones,
    skipped: a.skipped + b.skipped,
    clockMs: a.clockMs === undefined ? b.clockMs : Math.max(a.clockMs, b.clockMs ?? -Infinity),
  }
}
