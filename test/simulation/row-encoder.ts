import type { DataFile } from '../../src/lake/data-file.ts'
import type { WritePlan } from '../../src/lake/table.ts'
import type { Encoder, StagedCounts, StagedTable, TablePlan } from '../../src/ingest/lane.ts'
import type { StagedWindow } from '../../src/ingest/window/window.ts'
import { keyOf, valueOf } from '../../src/ingest/record-batch.ts'
import { parsePartitionId, partitionId, type PartitionId, type RecordBatch } from '../../src/log.ts'
import type { Storage } from '../../src/lake/storage/storage.ts'
import { readChange, type SimChange } from './change.ts'
import { KeyStage } from './key-stage.ts'
import { isDropped, type SimTable, type SimWindow } from './plan.ts'
import type { SimProcess } from './process.ts'
import { writePartials } from './window-fold.ts'
import { groupOf, isLate, spanOf, type Cell } from './window-rules.ts'

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
  /** Of a dead letter: what became of it, nothing while it is pending; how often it was read again. */
  s?: 'resolved' | 'discarded'
  t?: number
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
    clocksMs: Readonly<Record<PartitionId, number>> = {},
  ): Promise<StagedTable> {
    const table = this.#tables.find(({ name }) => name === plan.table)!
    const sink = table.keyed === undefined ? new AppendSink() : new KeyedSink(table, plan)
    const deadLetters: SimRow[] = []
    const counts = new Map<PartitionId, StagedCounts>()
    const windows = table.windows.map((window) => new WindowStage(window, clocksMs))
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
          for (const window of windows) window.take(id, offset, change!.v, batch.timestampsMs[i]!)
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
      ...(windows.length === 0 ? {} : { windows: await this.#stageWindows(plan, windows) }),
      ...(sink instanceof KeyedSink ? { keys: sink.stage.keys() } : {}),
      ...(sink instanceof KeyedSink && plan.deletes !== undefined
        ? { deleteFiles: await this.#write(plan.deletes, [sink.stage.deletes]) }
        : {}),
    }
  }

  close(): Promise<void> {
    return Promise.resolve()
  }

  #stageWindows(plan: TablePlan, windows: readonly WindowStage[]): Promise<StagedWindow[]> {
    return Promise.all(
      windows.map(async ({ window, late, cells }) => {
        const target = plan.windows!.find((each) => each.window === window.name)!.late
        return {
          window: window.name,
          partials: writePartials(cells),
          lateFiles: late.length === 0 ? [] : [await writeRows(this.#process, this.#storage, target, late)],
          late: late.length,
          lateAssignments: late.length,
          failed: 0,
        }
      }),
    )
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

/** What rows bring to a window, judged by the clock of their own partition. */
class WindowStage {
  readonly window: SimWindow
  readonly cells: Cell[] = []
  readonly late: SimRow[] = []
  readonly #clocks: Map<PartitionId, number>

  constructor(window: SimWindow, clocksMs: Readonly<Record<PartitionId, number>>) {
    this.window = window
    this.#clocks = new Map(Object.entries(clocksMs) as [PartitionId, number][])
  }

  take(id: PartitionId, offset: bigint, v: string, atMs: number): void {
    const clockMs = this.#clocks.get(id)
    this.#clocks.set(id, Math.max(clockMs ?? -Infinity, atMs))
    const span = spanOf(this.window, groupOf(v), atMs)
    if (isLate(this.window, span, clockMs)) this.late.push({ p: parsePartitionId(id).partition, o: String(offset), v })
    else this.cells.push({ ...span, count: 1, last: atMs })
  }
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
