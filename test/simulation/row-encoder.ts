import type { DataFile } from '../../src/lake/data-file.ts'
import type { WritePlan } from '../../src/lake/table.ts'
import type { Encoder, StagedCounts, StagedTable, TablePlan } from '../../src/ingest/lane.ts'
import type { StagedWindow } from '../../src/ingest/window/window.ts'
import { keyOf, valueOf } from '../../src/ingest/record-batch.ts'
import { parsePartitionId, partitionId, type PartitionId, type RecordBatch } from '../../src/log.ts'
import type { Storage } from '../../src/lake/storage/storage.ts'
import { readChange, type SimChange } from './change.ts'
import { KeyStage } from './key-stage.ts'
import { isDropped, type KeyedPlan, type SimTable, type SimWindow } from './plan.ts'
import type { SimProcess } from './process.ts'
import { writeRows } from './row-files.ts'
import { writePartials } from './window-fold.ts'
import { writeOperations, type RowOperation } from './row-operations.ts'
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
  /** Of keyed tables, the event time. */
  readonly at?: number
  /** Of a dead letter: what became of it, nothing while it is pending; how often it was read again. */
  s?: 'resolved' | 'discarded'
  attempts?: number
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
    const windows = table.windows.map((window) =>
      window.input === 'rows' ? new OperationStage(window, clocksMs, table.keyed!) : new EventStage(window, clocksMs),
    )
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
        const atMs = batch.timestampsMs[i]!
        const outcome = isLost ? 'lost' : isLeftOut ? 'none' : sink.take(change, key, batch.partition, offset, atMs)
        if (outcome !== 'lost' && !isLeftOut)
          for (const window of windows) window.take({ id, offset, change, key, atMs, isRow: outcome === 'row' })
        if (outcome === 'none') count.tombstones++
        else if (outcome === 'row') {
          count.rows++
          count.clockMs = Math.max(count.clockMs ?? -Infinity, atMs)
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
      windows.map(async ({ window, late, partials }) => {
        const target = plan.windows!.find((each) => each.window === window.name)!.late
        return {
          window: window.name,
          partials,
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

/** A record that is a row, or does something to rows. */
interface Taken {
  readonly id: PartitionId
  readonly offset: bigint
  /** Undefined: a null value. */
  readonly change: SimChange | undefined
  readonly key: string
  readonly atMs: number
  /** Otherwise it removes what its key has. */
  readonly isRow: boolean
}

interface WindowStage {
  readonly window: SimWindow
  readonly late: readonly SimRow[]
  readonly partials: string | undefined
  take(record: Taken): void
}

/** What rows bring to a window over events, judged by the clock of their own partition. */
class EventStage implements WindowStage {
  readonly window: SimWindow
  readonly late: SimRow[] = []
  readonly #cells: Cell[] = []
  readonly #clocks: Map<PartitionId, number>

  constructor(window: SimWindow, clocksMs: Readonly<Record<PartitionId, number>>) {
    this.window = window
    this.#clocks = new Map(Object.entries(clocksMs) as [PartitionId, number][])
  }

  get partials(): string | undefined {
    return writePartials(this.#cells)
  }

  take({ id, offset, change, atMs, isRow }: Taken): void {
    if (!isRow) return
    const { v } = change!
    const clockMs = this.#clocks.get(id)
    this.#clocks.set(id, Math.max(clockMs ?? -Infinity, atMs))
    const span = spanOf(this.window, groupOf(v), atMs)
    if (isLate(this.window, span, clockMs)) this.late.push({ p: parsePartitionId(id).partition, o: String(offset), v })
    else this.#cells.push({ ...span, count: 1, last: atMs })
  }
}

/** What records do to rows, each with the clock of its partition: what that takes back, the fold knows. */
class OperationStage implements WindowStage {
  readonly window: SimWindow
  readonly late: readonly SimRow[] = []
  readonly #plan: KeyedPlan
  readonly #operations: RowOperation[] = []
  readonly #clocks: Map<PartitionId, number>

  constructor(window: SimWindow, clocksMs: Readonly<Record<PartitionId, number>>, plan: KeyedPlan) {
    this.window = window
    this.#plan = plan
    this.#clocks = new Map(Object.entries(clocksMs) as [PartitionId, number][])
  }

  get partials(): string | undefined {
    return writeOperations(this.#operations)
  }

  take({ id, offset, change, key, atMs, isRow }: Taken): void {
    const clockMs = this.#clocks.get(id)
    const isLacking = this.#plan.isKeeping && change?.a === undefined
    this.#operations.push({
      kind: change === undefined ? 'tombstone' : OPERATIONS[change.op],
      p: parsePartitionId(id).partition,
      o: String(offset),
      k: change?.k ?? key,
      n: change?.n ?? 0,
      ...(isLacking ? {} : { a: change?.a ?? null }),
      atMs,
      clockMs,
    })
    if (isRow) this.#clocks.set(id, Math.max(clockMs ?? -Infinity, atMs))
  }
}

const OPERATIONS = { u: 'upsert', d: 'delete', t: 'truncate' } as const

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

  take(change: SimChange | undefined, key: string, partition: number, offset: bigint, at: number): Outcome {
    if (change?.op === 'u') return this.stage.put(change, partition, offset, at) ? 'row' : 'lost'
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
