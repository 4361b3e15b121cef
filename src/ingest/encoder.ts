import { mkdir } from 'node:fs/promises'
import type { DuckDBConnection, DuckDBInstance } from '@duckdb/node-api'
import type { Clock } from '../clock.ts'
import type { TableDefinition } from '../define.ts'
import { needsRegistry } from '../define-avro.ts'
import type { WindowDefinition } from '../define-window.ts'
import { LakeError } from '../error.ts'
import type { DataFile, Storage, WritePlan } from '../lake/table.ts'
import type { RecordBatch } from '../log.ts'
import type { Clocks } from '../version.ts'
import { deadLetterColumns, deletesColumns, tableColumns } from './decode/columns.ts'
import { checkColumns, writeDataFile } from './decode/data-file-writer.ts'
import { openDuckDb } from './decode/open-duckdb.ts'
import { NativeText } from './decode/native-text.ts'
import { divide, type RowPlaces } from './decode/partition.ts'
import { RecordClock } from './decode/record-clock.ts'
import { Relation } from './decode/relation.ts'
import { RowTransform } from './decode/row-transform.ts'
import { SlabPool, type Slab } from './decode/slab.ts'
import { TableDecoder, type Decoded } from './decode/table-decoder.ts'
import type { Encoder, StagedTable, TablePlan } from './lane.ts'
import type { SchemaRegistry } from './registry.ts'
import { checkRowWise } from './row-wise.ts'
import { SchemaBook } from './schema-book.ts'
import { LaneWindows } from './window/lane-windows.ts'
import { removeLocal } from './window/partial-files.ts'
import { RowChanges } from './window/row-changes.ts'
import type { StagedWindow } from './window/window.ts'

export interface EncoderOptions {
  readonly tables: readonly TableDefinition[]
  /** Over these tables. */
  readonly windows?: readonly WindowDefinition[]
  readonly storage: Storage
  readonly clock: Clock
  /** Of tables whose values name their schemas. */
  readonly registry?: SchemaRegistry | undefined
  /** Where partials of windows go, on this machine: it must outlive this process's part in them. Default: the scratch. */
  readonly partialsFolder?: string | undefined
  /** What DuckDB may take; the raw batches and decoded columns come on top. Default: 512 MiB. */
  readonly memoryMaxBytes?: number | undefined
}

/**
 * The encoder of a lane: JSON to columns by generated code, columns to Parquet by DuckDB. It has a DuckDB of its own
 * with one thread and no access to the network; a lane's parallelism is other lanes. Throws `transform.not_row_wise`
 * before anything is ingested.
 */
export async function openEncoder(options: EncoderOptions): Promise<Encoder> {
  await mkdir(options.storage.scratch, { recursive: true })
  const instance = await openDuckDb({ memoryMaxBytes: options.memoryMaxBytes ?? 512 * 1024 * 1024 })
  const connection = await instance.connect()
  // What an expression makes of a time must not depend on where the lane runs.
  await connection.run(`SET TimeZone = 'UTC'`)
  try {
    await checkRowWise(options.tables, options.windows ?? [], connection)
  } catch (error) {
    connection.closeSync()
    instance.closeSync()
    throw error
  }
  return new DuckEncoder(instance, connection, options)
}

interface Table {
  readonly definition: TableDefinition
  readonly decoder: TableDecoder
  readonly rows: Relation
  readonly deadLetters: Relation
  /** Of a table with a version. */
  readonly markers: Relation | undefined
  /** Of a table with a filter or computed columns. */
  readonly transform: RowTransform | undefined
  /** Of such a table, and of one that feeds windows: decoders move the clocks of all others. */
  readonly clock: RecordClock | undefined
  readonly windows: LaneWindows | undefined
  /** Of a table that feeds windows over its rows. */
  readonly changes: RowChanges | undefined
}

class DuckEncoder implements Encoder {
  readonly #instance: DuckDBInstance
  readonly #connection: DuckDBConnection
  readonly #storage: Storage
  readonly #partialsFolder: string
  readonly #clock: Clock
  readonly #schemas: SchemaBook
  readonly #native = new NativeText()
  readonly #pool = new SlabPool()
  readonly #tables: ReadonlyMap<string, Table>
  #isBusy = false

  constructor(instance: DuckDBInstance, connection: DuckDBConnection, options: EncoderOptions) {
    const { tables, windows = [], storage, clock } = options
    this.#instance = instance
    this.#connection = connection
    this.#storage = storage
    this.#partialsFolder = options.partialsFolder ?? storage.scratch
    this.#clock = clock
    this.#schemas = new SchemaBook(options.registry, clock)
    this.#tables = new Map(
      tables.map((definition, k) => {
        const fed = windows.filter(({ source }) => source === definition.name)
        return [definition.name, this.#table(definition, fed, k)]
      }),
    )
  }

  #table(definition: TableDefinition, fed: readonly WindowDefinition[], k: number): Table {
    const columns = tableColumns(definition)
    const rows = new Relation(this.#connection, `rows_${k}`, columns)
    const hasLaneColumns = fed.length > 0
    const events = fed.filter(({ input }) => input === 'events')
    const over = fed.filter(({ input }) => input === 'rows')
    const parts = {
      connection: this.#connection,
      storage: this.#storage,
      clock: this.#clock,
      partialsFolder: this.#partialsFolder,
      name: `fed_${k}`,
    }
    const transform = RowTransform.of(definition, this.#connection, `inputs_${k}`, this.#native, this.#pool)
    return {
      definition,
      decoder: new TableDecoder(definition, this.#native, this.#pool, {
        hasLaneColumns,
        schemas: this.#schemas.schemas,
      }),
      rows,
      transform,
      clock:
        transform === undefined && !hasLaneColumns ? undefined : new RecordClock(definition, columns, hasLaneColumns),
      windows: events.length > 0 ? new LaneWindows(definition, events, rows, parts) : undefined,
      changes: over.length > 0 ? new RowChanges(definition, over, rows, parts) : undefined,
      deadLetters: new Relation(this.#connection, `dead_letters_${k}`, deadLetterColumns),
      markers:
        definition.version === undefined
          ? undefined
          : new Relation(this.#connection, `markers_${k}`, deletesColumns(definition)),
    }
  }

  async encode(
    plan: TablePlan,
    batches: readonly RecordBatch[],
    fatal: ReadonlySet<string>,
    baseless: ReadonlySet<string> = new Set(),
    clocksMs?: Clocks[string],
  ): Promise<StagedTable> {
    const table = this.#tables.get(plan.table)
    if (table === undefined) throw new LakeError('internal', `the lane has no definition of ${plan.table}`)
    if (this.#isBusy) throw new LakeError('internal', 'an encoder encodes one micro-batch at a time')
    checkColumns(plan.data, table.rows.columns)
    checkColumns(plan.deadLetters, deadLetterColumns)
    this.#isBusy = true
    try {
      if (needsRegistry(table.definition)) await this.#schemas.learn(table.definition, batches)
      const { decoded, lagMsMax } = await this.#judged(
        table,
        table.decoder.decode(batches, fatal, { uuid: plan.data.uuid, baseless }),
        batches,
        clocksMs,
      )
      const { rows, deadLetters, counts, operations } = decoded
      // Before rows are divided: their slabs are used again.
      const windows = await this.#windows(table, decoded, lagMsMax, plan, clocksMs)
      const isUnwritten = plan.isUnwritten === true
      if (isUnwritten) for (const slab of deadLetters) this.#pool.give(slab)
      const deadLetterFiles = await this.#write(plan.deadLetters, table.deadLetters, isUnwritten ? [] : deadLetters)
      const fed = { table: plan.table, deadLetterFiles, counts, ...(windows === undefined ? {} : { windows }) }
      if (isUnwritten || !table.definition.store) {
        for (const slab of [...rows, ...decoded.markers]) this.#pool.give(slab)
        return { ...fed, files: [], isStored: false, isUnwritten }
      }
      const places = operations === undefined ? undefined : rowPlaces(rows)
      const staged = { ...fed, files: await this.#write(plan.data, table.rows, rows, places) }
      if (places === undefined) return staged
      const keys = operations!.staged(places)
      if (plan.deletes === undefined) return { ...staged, keys }
      return { ...staged, keys, deleteFiles: await this.#write(plan.deletes, table.markers!, decoded.markers) }
    } finally {
      this.#native.clear()
      this.#isBusy = false
    }
  }

  /** What computed columns, the filter and the clocks make of the rows, in this order (rule T4). */
  async #judged(
    { definition, transform, clock, windows, changes }: Table,
    decoded: Decoded,
    batches: readonly RecordBatch[],
    clocksMs: Clocks[string] | undefined,
  ): Promise<{ readonly decoded: Decoded; readonly lagMsMax: number }> {
    if (clock === undefined || batches.length === 0) return { decoded, lagMsMax: 0 }
    if ((windows !== undefined || changes !== undefined) && clocksMs === undefined)
      throw new LakeError('internal', `${definition.name} feeds windows: its clocks must be known`)
    const judged = transform === undefined ? decoded : await transform.apply(decoded, batches)
    const lagMsMax = clock.judge(judged.rows, judged.kept, batches[0]!.topic, judged.counts, clocksMs ?? {})
    return { decoded: judged, lagMsMax }
  }

  /** In the order of the plan; undefined when the table feeds none. */
  async #windows(
    { windows, changes }: Table,
    decoded: Decoded,
    lagMsMax: number,
    plan: TablePlan,
    clocksMs: Clocks[string] | undefined,
  ): Promise<readonly StagedWindow[] | undefined> {
    if (windows === undefined && changes === undefined) return undefined
    const events = (await windows?.stage({ slabs: decoded.rows, kept: decoded.kept, lagMsMax }, plan)) ?? []
    try {
      const staged = [...events, ...((await changes?.stage(decoded, clocksMs ?? {})) ?? [])]
      const order = (plan.windows ?? []).map(({ window }) => window)
      return staged.toSorted((a, b) => order.indexOf(a.window) - order.indexOf(b.window))
    } catch (error) {
      for (const { partials } of events) await removeLocal(partials)
      throw error
    }
  }

  async #write(
    plan: WritePlan,
    relation: Relation,
    slabs: readonly Slab[],
    places?: RowPlaces,
  ): Promise<readonly DataFile[]> {
    const files: DataFile[] = []
    if (slabs.length === 0) return files
    for (const { tuple, slabs: part } of divide(slabs, relation.columns, plan, this.#pool, places)) {
      files.push(await writeDataFile(this.#connection, this.#storage, this.#clock, plan, relation, part, tuple))
      for (const slab of part) this.#pool.give(slab)
    }
    return files
  }

  async close(): Promise<void> {
    this.#native.clear()
    this.#connection.closeSync()
    this.#instance.closeSync()
  }
}

function rowPlaces(slabs: readonly Slab[]): RowPlaces {
  const count = slabs.reduce((sum, { rows }) => sum + rows, 0)
  return { files: new Int32Array(count), rows: new Uint32Array(count) }
}
