import type { DataFile } from '../../src/lake/data-file.ts'
import type { WritePlan } from '../../src/lake/table.ts'
import type { Encoder, StagedCounts, StagedTable, TablePlan } from '../../src/ingest/lane.ts'
import { valueOf } from '../../src/ingest/record-batch.ts'
import { partitionId, type PartitionId, type RecordBatch } from '../../src/log.ts'
import type { Storage } from '../../src/lake/storage/storage.ts'
import type { SimProcess } from './process.ts'

/** A row of a simulated data file: where it came from, and what it says. */
export interface SimRow {
  readonly p: number
  readonly o: string
  readonly v: string
}

/** Data files are arrays of rows in JSON: what is simulated is what refers to them. */
export class RowEncoder implements Encoder {
  readonly #process: SimProcess
  readonly #storage: Storage

  constructor(process: SimProcess, storage: Storage) {
    this.#process = process
    this.#storage = storage
  }

  async encode(plan: TablePlan, batches: readonly RecordBatch[], fatal: ReadonlySet<string>): Promise<StagedTable> {
    const rows: SimRow[] = []
    const deadLetters: SimRow[] = []
    const counts = new Map<PartitionId, StagedCounts>()
    const isSkipping = this.#process.plan.tables.find(({ name }) => name === plan.table)?.onError === 'skip'
    const forgotten = this.#process.happens('P9e', plan.table) ? 1 : 0
    for (const batch of batches) {
      const id = partitionId(batch.topic, batch.partition)
      const count = { rows: 0, deadLetters: 0, tombstones: 0, skipped: 0, clockMs: undefined as number | undefined }
      for (let i = forgotten; i < batch.count; i++) {
        const [bytes, offset] = [valueOf(batch, i), batch.offsets[i]!]
        const value = bytes === undefined ? undefined : readValue(bytes)
        const at = { p: batch.partition, o: String(offset) }
        if (bytes === undefined) count.tombstones++
        else if (value === undefined || fatal.has(`${id}@${offset}`)) {
          if (isSkipping) count.skipped++
          else deadLetters.push({ ...at, v: Buffer.from(bytes).toString() })
          if (!isSkipping) count.deadLetters++
        } else {
          rows.push({ ...at, v: value })
          count.rows++
          count.clockMs = Math.max(count.clockMs ?? -Infinity, batch.timestampsMs[i]!)
        }
      }
      counts.set(id, add(counts.get(id), count))
    }
    return {
      table: plan.table,
      files: await this.#write(plan.data, rows),
      deadLetterFiles: await this.#write(plan.deadLetters, deadLetters),
      counts,
    }
  }

  close(): Promise<void> {
    return Promise.resolve()
  }

  async #write(plan: WritePlan, rows: readonly SimRow[]): Promise<DataFile[]> {
    if (rows.length === 0) return []
    // A writer that ran out of something says how many rows it wrote, and they are fewer than were counted.
    const written = this.#process.happens('P9d', plan.table)
      ? rows.slice(0, this.#process.random.int(rows.length))
      : rows
    const key = `${plan.dataPrefix}${this.#process.clock.uuid()}.json`
    const bytes = Buffer.from(JSON.stringify(written))
    await this.#storage.put(key, bytes)
    return [{ key, recordCount: written.length, fileSizeBytes: bytes.length, partition: [], metrics: new Map() }]
  }
}

function readValue(bytes: Uint8Array): string | undefined {
  try {
    return String((JSON.parse(Buffer.from(bytes).toString()) as { v: number }).v)
  } catch {
    return undefined
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
