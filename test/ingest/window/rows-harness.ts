import { mkdtempSync, rmSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import {
  DuckDBDecimalValue,
  DuckDBInstance,
  DuckDBListValue,
  DuckDBStructValue,
  DuckDBTimestampTZValue,
  type DuckDBConnection,
  type DuckDBValue,
} from '@duckdb/node-api'
import type { TableDefinition } from '../../../src/define.ts'
import type { WindowDefinition } from '../../../src/define-window.ts'
import { advancedBy } from '../../../src/ingest/clocks.ts'
import { deletesColumns, tableColumns } from '../../../src/ingest/decode/columns.ts'
import { openEncoder } from '../../../src/ingest/encoder.ts'
import { fillingsOf } from '../../../src/ingest/fillings.ts'
import type { Encoder, StagedTable, TablePlan } from '../../../src/ingest/lane.ts'
import { openTableWork } from '../../../src/ingest/table-work.ts'
import { KeyedTable } from '../../../src/ingest/upsert.ts'
import { lateColumns, partialColumns, resultColumns } from '../../../src/window/sql.ts'
import { openWindowFold, type WindowFoldOptions } from '../../../src/ingest/window/fold.ts'
import { shapeOf } from '../../../src/ingest/window/shape.ts'
import type { FoldedWindow, StoredRows, TableDelta, WindowFold } from '../../../src/ingest/window/window.ts'
import { LocalStorage } from '../../../src/lake/storage/local.ts'
import { DeletedRows, type DataFile, type WritePlan } from '../../../src/lake/table.ts'
import type { RecordBatch } from '../../../src/log.ts'
import type { Clocks } from '../../../src/version.ts'
import { InstantClock } from '../../support/instant-clock.ts'
import { tablePlan, writePlan } from '../../support/lake-table.ts'

export type Row = Record<string, unknown>

type Work = Awaited<ReturnType<typeof openTableWork>>

interface Stored {
  readonly file: DataFile
  readonly deleted: DeletedRows
  readonly rows: readonly Row[]
}

/**
 * One window over the rows of a keyed table, from records to results: real lanes' encoder, real index of keys, real fold.
 * What the tables hold is kept from what these say and nothing else.
 */
export class RowsHarness {
  readonly late: Row[] = []
  retractOfUnknown = 0
  /** By the monotonic clock. */
  nowMs = 0
  readonly #source: TableDefinition
  readonly #window: WindowDefinition
  readonly #storage: LocalStorage
  readonly #folder: string
  readonly #clock: InstantClock
  readonly #connection: DuckDBConnection
  readonly #encoder: Encoder
  readonly #work: Work
  readonly #plan: TablePlan
  readonly #plans: { readonly results: WritePlan; readonly state: WritePlan; readonly late: WritePlan }
  readonly #results = new Map<string, Stored>()
  readonly #state = new Map<string, Stored>()
  readonly #keyed: KeyedTable
  readonly #deletes: StoredRows[] = []
  #watermarkMs: number | undefined
  #fold: WindowFold
  #clocksMs: Clocks = {}

  private constructor(
    source: TableDefinition,
    window: WindowDefinition,
    folder: string,
    parts: {
      storage: LocalStorage
      clock: InstantClock
      connection: DuckDBConnection
      encoder: Encoder
      work: Work
      fold: WindowFold
    },
  ) {
    this.#source = source
    this.#window = window
    this.#folder = folder
    this.#storage = parts.storage
    // Names of files are its: one for all folds.
    this.#clock = parts.clock
    this.#connection = parts.connection
    this.#encoder = parts.encoder
    this.#work = parts.work
    this.#fold = parts.fold
    this.#keyed = new KeyedTable(source.name, source.version !== undefined)
    const shape = shapeOf(window, source)
    this.#plans = {
      results: writePlan('w', resultColumns(shape)),
      state: writePlan('w__state', partialColumns(shape)),
      late: writePlan('w__late', lateColumns(tableColumns(source))),
    }
    const plan = tablePlan(source)
    const { version } = source
    this.#plan = {
      ...plan,
      ...(version === undefined
        ? {}
        : { version, deletes: writePlan(`${source.name}__deletes`, deletesColumns(source)) }),
      windows: [{ window: window.name, late: this.#plans.late }],
    }
  }

  static async open(
    source: TableDefinition,
    window: WindowDefinition,
    options: Partial<WindowFoldOptions> = {},
  ): Promise<RowsHarness> {
    const folder = mkdtempSync(path.join(os.tmpdir(), 'kappalake-rows-'))
    const storage = await LocalStorage.open(folder)
    const clock = new InstantClock()
    const connection = await (await DuckDBInstance.create(':memory:', { threads: '1' })).connect()
    const tables = [source]
    const encoder = await openEncoder({ tables, windows: [window], storage, clock })
    const work = await openTableWork({ tables, storage, clock })
    const fold = await openWindowFold({ windows: [window], tables, storage, clock, ...options })
    return new RowsHarness(source, window, folder, { storage, clock, connection, encoder, work, fold })
  }

  get results(): Row[] {
    return rowsOf(this.#results)
  }

  get state(): Row[] {
    return rowsOf(this.#state)
  }

  /** The rows of the source table. */
  async sourceRows(): Promise<Row[]> {
    const rows: Row[] = []
    for (const { file, deleted } of this.#keyed.files)
      rows.push(...(await this.#read(file)).filter((_, k) => !deleted.has(k)))
    return rows
  }

  /** One commit of several micro-batches. */
  async commit(
    micro: readonly (readonly RecordBatch[])[],
    watermarkMs?: number,
    clockMsMin?: number,
  ): Promise<FoldedWindow> {
    const partials: string[] = []
    for (const batches of micro) {
      const staged = await this.#stage(batches)
      for (const window of staged.windows ?? []) if (window.partials !== undefined) partials.push(window.partials)
    }
    await this.#keepDeletes()
    this.#watermarkMs = watermarkMs
    const times = { head: undefined, watermarkMs, clockMsMin, nowMs: this.nowMs, isLast: false }
    const folded = await this.#fold.fold(this.#window.name, { partials, ...times, ...this.#plans })
    await this.#apply(this.#results, folded.results)
    await this.#apply(this.#state, folded.state)
    for (const file of folded.lateFiles) this.late.push(...(await this.#read(file)))
    this.retractOfUnknown += folded.retractOfUnknown
    this.#keyed.committed()
    return folded
  }

  /** What the tables of the window hold. */
  get stored(): { readonly results: readonly StoredRows[]; readonly state: readonly StoredRows[] } {
    return { results: stored(this.#results.values()), state: stored(this.#state.values()) }
  }

  /** A new fold, that knows what the tables hold, or held at another time. */
  async restart({ results, state } = this.stored): Promise<void> {
    await this.#fold.close()
    const [storage, clock] = [this.#storage, this.#clock]
    this.#fold = await openWindowFold({ windows: [this.#window], tables: [this.#source], storage, clock })
    const { deletes } = this.#plan
    await this.#fold.load(this.#window.name, {
      results,
      state,
      watermarkMs: this.#watermarkMs,
      source: {
        plan: this.#plan.data,
        rows: stored(this.#keyed.files),
        deletes: deletes && { plan: deletes, rows: stored(this.#deletes) },
      },
    })
  }

  async close(): Promise<void> {
    await this.#fold.close()
    await this.#encoder.close()
    await this.#work.close()
    await this.#storage.close()
    this.#connection.closeSync()
    rmSync(this.#folder, { recursive: true, force: true })
  }

  /** As the committer takes up a batch: values that rows lack are filled in, then keys are folded. */
  async #stage(batches: readonly RecordBatch[]): Promise<StagedTable> {
    const { name } = this.#source
    const staged = await this.#encoder.encode(this.#plan, batches, new Set(), new Set(), this.#clocksMs[name] ?? {})
    this.#clocksMs = advancedBy({ tables: [staged] }, this.#clocksMs)
    let { files } = staged
    if (staged.keys?.holes !== undefined) {
      const { keys } = staged
      const { passes, baseless } = fillingsOf(staged, (operation) => this.#keyed.standing(keys, operation))
      if (baseless.length > 0) throw new Error('a record keeps values of a row that is not there')
      files = await Promise.all(
        files.map(async (file, k) => {
          let filled = file
          for (const pass of passes.get(k) ?? []) filled = await this.#work.fill(this.#plan.data, filled, pass)
          return filled
        }),
      )
    }
    this.#keyed.fold({ ...staged, files })
    return staged
  }

  async #keepDeletes(): Promise<void> {
    const { deletes, version } = this.#plan
    for (const { file, deleted, fillings } of this.#keyed.markers?.changes() ?? []) {
      const rows = fillings.map(([row, from]) => ({ row, columns: [version!], from }))
      this.#deletes.push({
        file: await this.#work.fill(deletes!, file, rows, this.#plan.data),
        deleted: deleted.clone(),
      })
    }
  }

  async #apply(table: Map<string, Stored>, { files, superseded }: TableDelta): Promise<void> {
    for (const { key, rows } of superseded)
      for (const row of rows)
        if (!table.get(key)!.deleted.add(row)) throw new Error(`row ${row} of ${key} is superseded twice`)
    for (const file of files)
      table.set(file.key, { file, deleted: new DeletedRows(file.recordCount), rows: await this.#read(file) })
  }

  async #read({ key }: DataFile): Promise<Row[]> {
    const answer = await this.#connection.runAndReadAll(`SELECT * FROM read_parquet('${this.#folder}/${key}')`)
    return answer
      .getRowObjects()
      .map((row) => Object.fromEntries(Object.entries(row).map(([name, value]) => [name, plain(value)])))
  }
}

function stored(of: Iterable<StoredRows>): StoredRows[] {
  return Array.from(of, ({ file, deleted }) => ({ file, deleted: deleted.clone() }))
}

function rowsOf(table: ReadonlyMap<string, Stored>): Row[] {
  return [...table.values()].flatMap(({ rows, deleted }) => rows.filter((_, k) => !deleted.has(k)))
}

/** Numbers for whatever counts, milliseconds for instants. */
function plain(value: DuckDBValue): unknown {
  if (typeof value === 'bigint') return Number(value)
  if (value instanceof DuckDBDecimalValue) return Number(value.toString())
  if (value instanceof DuckDBTimestampTZValue) return Number(value.micros / 1_000n)
  if (value instanceof DuckDBListValue) return value.items.map(plain)
  if (value instanceof DuckDBStructValue)
    return Object.fromEntries(Object.entries(value.entries).map(([name, entry]) => [name, plain(entry)]))
  return value
}
