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
import { systemClock, type Clock } from '../../../src/clock.ts'
import { InstantClock } from '../../support/instant-clock.ts'
import { definition as tableOf, writePlan } from '../../support/lake-table.ts'
import type { AggregateDefinition, WindowDefinition } from '../../../src/define-window.ts'
import type { TableDefinition } from '../../../src/define.ts'
import { tableColumns } from '../../../src/ingest/decode/columns.ts'
import { lateColumns, partialColumns, resultColumns } from '../../../src/window/columns.ts'
import { registerExact } from '../../../src/window/exact-double.ts'
import { startFold } from '../../../src/ingest/window/fold-pool.ts'
import { openWindowFold } from '../../../src/ingest/window/fold.ts'
import { shapeOf } from '../../../src/ingest/window/shape.ts'
import { partialsSql } from '../../../src/window/long-rows.ts'
import type { FoldedWindow, StoredRows, TableDelta, WindowFold } from '../../../src/ingest/window/window.ts'
import { LocalStorage } from '../../../src/lake/storage/local.ts'
import { DeletedRows, type DataFile, type Storage, type WritePlan } from '../../../src/lake/table.ts'

export const B = 5

/** A table of `g`, `v`, `x` and `d`, out of order by at most 5 ms. */
export const source: TableDefinition = tableOf({
  name: 'events',
  columns: [
    { name: 'g', type: { kind: 'string' } },
    { name: 'v', type: { kind: 'long' } },
    { name: 'x', type: { kind: 'double' } },
    { name: 'd', type: { kind: 'decimal', precision: 38, scale: 0 } },
    { name: 'at', type: { kind: 'timestamptz', unit: 'ms' } },
  ],
  eventTime: { column: 'at', unit: 'ms', outOfOrdernessMs: B, idleAfterMs: 30_000, maxFutureSkewMs: 300_000 },
})

export function aggregate(name: string, fn: AggregateDefinition['fn'], column?: string): AggregateDefinition {
  return { name, fn, column, n: undefined, where: undefined }
}

export function windowOf(parts: Partial<WindowDefinition>): WindowDefinition {
  return {
    kind: 'window',
    name: 'w',
    source: 'events',
    window: { kind: 'tumbling', sizeMs: 10, offsetMs: 0 },
    allowedLatenessMs: 0,
    input: 'events',
    groupBy: ['g'],
    nullGroup: 'keep',
    where: undefined,
    select: [aggregate('n', 'count')],
    emit: 'update',
    earlyMs: 0,
    openRowsMax: 1_000_000,
    oldValuesMax: 1_000_000,
    computed: [],
    retainMs: undefined,
    to: undefined,
    ...parts,
  }
}

/** A record that counts, in one cell of its micro-batch. */
export interface Counted {
  readonly g: string | null
  readonly v: number
  readonly x?: number
  /** Digits of a decimal. */
  readonly d?: string
  readonly ts: number
  readonly start: number
  readonly end: number
  readonly minEnd?: number
}

export interface Step {
  /** One micro-batch each. */
  readonly batches?: readonly (readonly Counted[])[]
  readonly watermarkMs?: number
  readonly clockMsMin?: number
  readonly nowMs?: number
  readonly isLast?: boolean
}

type Row = Record<string, unknown>

/** The rows of a table, as its snapshots would have them. */
class StoredTable {
  readonly files = new Map<string, { readonly file: DataFile; deleted: DeletedRows; readonly rows: readonly Row[] }>()

  get rows(): Row[] {
    return [...this.files.values()].flatMap(({ rows, deleted }) => rows.filter((_, k) => !deleted.has(k)))
  }

  get stored(): StoredRows[] {
    return Array.from(this.files.values(), ({ file, deleted }) => ({ file, deleted: deleted.clone() }))
  }
}

/** Folds one window, and keeps its tables from what the fold answers and nothing else. */
export class FoldHarness {
  readonly definition: WindowDefinition
  readonly results = new StoredTable()
  readonly state = new StoredTable()
  readonly late: Row[] = []
  readonly #folder = mkdtempSync(path.join(os.tmpdir(), 'kappalake-fold-'))
  readonly #clock: Clock
  readonly #connection: DuckDBConnection
  readonly #plans: { readonly results: WritePlan; readonly state: WritePlan; readonly late: WritePlan }
  readonly #storage: Storage
  readonly #start: () => Promise<WindowFold>
  #watermarkMs: number | undefined
  #fold: WindowFold
  #offset = 0

  private constructor(
    definition: WindowDefinition,
    storage: Storage,
    clock: Clock,
    start: () => Promise<WindowFold>,
    fold: WindowFold,
    connection: DuckDBConnection,
  ) {
    this.#clock = clock
    this.definition = definition
    this.#storage = storage
    this.#start = start
    this.#fold = fold
    this.#connection = connection
    const shape = shapeOf(definition, source)
    this.#plans = {
      results: writePlan('w', resultColumns(shape)),
      state: writePlan('w__state', partialColumns(shape)),
      late: writePlan('w__late', lateColumns(tableColumns(source))),
    }
  }

  /** `childPath`: the fold runs in a process of its own. `rowsMax`: rows that it aggregates at once. */
  static async open(parts: Partial<WindowDefinition>, childPath?: string, rowsMax?: number): Promise<FoldHarness> {
    const definition = windowOf(parts)
    const store = mkdtempSync(path.join(os.tmpdir(), 'kappalake-fold-store-'))
    const storage = await LocalStorage.open(store)
    const clock = new InstantClock()
    const options = { windows: [definition], tables: [source], storage, clock, rowsMax }
    const settings = { store: { url: `file:${store}` }, memoryBytesMax: 1 << 28 }
    const start = (): Promise<WindowFold> =>
      childPath === undefined
        ? openWindowFold(options)
        : startFold({ ...options, childPath, settings, clock: systemClock })
    const connection = await (await DuckDBInstance.create(':memory:', { threads: '1' })).connect()
    registerExact(connection)
    return new FoldHarness(definition, storage, clock, start, await start(), connection)
  }

  async fold(step: Step): Promise<FoldedWindow> {
    const partials = []
    for (const batch of step.batches ?? []) partials.push(await this.#partials(batch))
    this.#watermarkMs = step.watermarkMs
    const folded = await this.#fold.fold('w', {
      head: undefined,
      partials,
      watermarkMs: step.watermarkMs,
      clockMsMin: step.clockMsMin,
      nowMs: step.nowMs ?? 0,
      isLast: step.isLast ?? false,
      ...this.#plans,
    })
    await this.#apply(this.results, folded.results)
    await this.#apply(this.state, folded.state)
    for (const file of folded.lateFiles) this.late.push(...(await this.#read(file)))
    return folded
  }

  /** A new fold, that knows what the tables hold. */
  async restart(): Promise<void> {
    await this.#fold.close()
    this.#fold = await this.#start()
    const [results, state] = [this.results.stored, this.state.stored]
    await this.#fold.load('w', { results, state, watermarkMs: this.#watermarkMs })
  }

  /** Puts all files of a table into one. */
  async compact(table: 'results' | 'state'): Promise<void> {
    const { files } = this[table]
    const inputs = Array.from(files.values(), ({ file, deleted }) => ({
      file,
      deleted: deleted.clone(),
      firstRowId: undefined,
      sequenceNumber: 0n,
    }))
    if (inputs.length === 0) return
    const rows = this[table].rows
    const url = this.#storage.url.slice('file://'.length)
    const alive = inputs.map(({ file, deleted }) => {
      const dead = [...deleted.positions()]
      const where = dead.length === 0 ? 'true' : `file_row_number NOT IN (${dead.join(', ')})`
      return `SELECT * EXCLUDE file_row_number FROM (SELECT *, file_row_number FROM read_parquet('${url}/${file.key}') WHERE ${where} ORDER BY file_row_number)`
    })
    let output: DataFile | undefined
    if (rows.length > 0) {
      const key = `tables/${table}/data/${this.#clock.uuid()}.compacted.parquet`
      const plan = this.#plans[table]
      const ids = plan.schema.fields.map(({ name, id }) => `'${name}': ${id}`).join(', ')
      const local = path.join(this.#folder, `${this.#clock.uuid()}.parquet`)
      await this.#connection.run(
        `COPY (${alive.join(' UNION ALL ')}) TO '${local}' (FORMAT parquet, FIELD_IDS {${ids}})`,
      )
      await this.#storage.putFile(key, local)
      const { sizeBytes: fileSizeBytes } = (await this.#storage.head(key))!
      output = { ...inputs[0]!.file, key, recordCount: rows.length, fileSizeBytes, metrics: new Map() }
    }
    await this.#fold.moved('w', table, inputs, output)
    files.clear()
    if (output !== undefined)
      files.set(output.key, { file: output, deleted: new DeletedRows(rows.length), rows: await this.#read(output) })
  }

  /** Tells the fold that its result rows are nowhere any more. */
  async loseResults(): Promise<void> {
    const inputs = this.results.stored.map((rows) => ({ ...rows, firstRowId: undefined, sequenceNumber: 0n }))
    await this.#fold.moved('w', 'results', inputs, undefined)
  }

  async close(): Promise<void> {
    await this.#fold.close()
    await this.#storage.close()
    this.#connection.closeSync()
    rmSync(this.#folder, { recursive: true, force: true })
    rmSync(this.#storage.url.slice('file://'.length), { recursive: true, force: true })
  }

  async #partials(batch: readonly Counted[]): Promise<string> {
    const shape = shapeOf(this.definition, source)
    const text = (g: string | null): string => (g === null ? 'NULL' : `'${g}'`)
    const rows = batch.map(
      ({ g, v, x, d, ts, start, end, minEnd }) =>
        `(${text(g)}, ${v}, ${x ?? v}, ${d ?? 'NULL'}, ${start}, ${end}, ${minEnd ?? 'NULL'}, ${ts}, 0, ${this.#offset++})`,
    )
    await this.#connection
      .run(`CREATE OR REPLACE TABLE counted (g VARCHAR, v BIGINT, x DOUBLE, d DECIMAL(38, 0), __start BIGINT, __end BIGINT,
__min_end BIGINT, __event_ms BIGINT, _kafka_partition INTEGER, _offset BIGINT)`)
    if (rows.length > 0) await this.#connection.run(`INSERT INTO counted VALUES ${rows.join(', ')}`)
    const file = path.join(this.#folder, `${this.#clock.uuid()}.parquet`)
    await this.#connection.run(
      `COPY (${partialsSql(shape, this.definition.input, 'counted')}) TO '${file}' (FORMAT parquet)`,
    )
    return file
  }

  async #apply(table: StoredTable, { files, superseded }: TableDelta): Promise<void> {
    for (const { key, rows } of superseded) {
      const { deleted } = table.files.get(key)!
      let before = -1
      for (const row of rows) {
        if (row <= before || !deleted.add(row))
          throw new Error(`row ${row} of ${key} is superseded twice, or not in order`)
        before = row
      }
    }
    for (const file of files)
      table.files.set(file.key, { file, deleted: new DeletedRows(file.recordCount), rows: await this.#read(file) })
  }

  async #read({ key, recordCount }: DataFile): Promise<Row[]> {
    const url = this.#storage.url.slice('file://'.length)
    const reader = await this.#connection.runAndReadAll(`SELECT * FROM read_parquet('${url}/${key}')`)
    const rows = reader
      .getRowObjects()
      .map((row) => Object.fromEntries(Object.entries(row).map(([name, value]) => [name, plain(value)])))
    if (rows.length !== recordCount) throw new Error(`${key} has ${rows.length} rows`)
    return rows
  }
}

/** Numbers for whatever counts, milliseconds for instants. */
function plain(value: DuckDBValue): unknown {
  if (typeof value === 'bigint') return Number(value)
  if (value instanceof DuckDBTimestampTZValue) return Number(value.micros / 1_000n)
  if (value instanceof DuckDBDecimalValue) return Number(value.toString())
  if (value instanceof DuckDBListValue) return value.items.map(plain)
  if (value instanceof DuckDBStructValue)
    return Object.fromEntries(Object.entries(value.entries).map(([name, entry]) => [name, plain(entry)]))
  return value
}
