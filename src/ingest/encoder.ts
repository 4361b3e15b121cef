import { mkdir } from 'node:fs/promises'
import type { DuckDBConnection, DuckDBInstance } from '@duckdb/node-api'
import type { Column } from '../batch.ts'
import type { Clock } from '../clock.ts'
import type { TableDefinition } from '../define.ts'
import { needsRegistry } from '../define-avro.ts'
import type { Salts } from '../define-redact.ts'
import type { WindowDefinition } from '../define-window.ts'
import { LakeError } from '../error.ts'
import type { DataFile, Storage, WritePlan } from '../lake/table.ts'
import type { RecordBatch } from '../log.ts'
import type { Clocks } from '../version.ts'
import { deadLetterColumns, deletesColumns, LETTER_CLOCK, tableColumns } from './decode/columns.ts'
import { checkColumns, writeDataFile } from './decode/data-file-writer.ts'
import { FilePuts } from './decode/file-puts.ts'
import { openDuckDb } from './decode/open-duckdb.ts'
import { NativeText } from './decode/native-text.ts'
import { divide, type RowPlaces } from './decode/partition.ts'
import { RecordClock } from './decode/record-clock.ts'
import { RedactRows } from './decode/redact-rows.ts'
import { Relation } from './decode/relation.ts'
import { RowTransform } from './decode/row-transform.ts'
import { SlabPool, type Slab } from './decode/slab.ts'
import { TableDecoder, type Decoded } from './decode/table-decoder.ts'
import { located } from './located.ts'
import { GrowingReader } from './growing-reader.ts'
import type { Encoder, StagedTable, TablePlan } from './lane.ts'
import type { SchemaRegistry } from './registry.ts'
import { loadLookups, type Lookup, type Lookups } from './lookup.ts'
import { MapRecords, withMapped } from './map/mapped-records.ts'
import type { RetriedRecords } from './letters/letters.ts'
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
  /** What is hashed of tables that redact is hashed with them, by name. */
  readonly salts?: Salts | undefined
  /** What DuckDB may take; the raw batches and decoded columns come on top. Default: 512 MiB. */
  readonly memoryMaxBytes?: number | undefined
}

/**
 * The encoder of a lane: JSON to columns by generated code, columns to Parquet by DuckDB. It has a DuckDB of its own
 * with one thread and no access to the network; a lane's parallelism is other lanes. Throws
 * `transform.not_row_wise`, `transform.map_refused`, `lookup.*` before anything is ingested.
 */
export async function openEncoder(options: EncoderOptions): Promise<Encoder> {
  await mkdir(options.storage.scratch, { recursive: true })
  const instance = await openDuckDb({ memoryMaxBytes: options.memoryMaxBytes ?? 512 * 1024 * 1024 })
  const connection = await instance.connect()
  // What an expression makes of a time must not depend on where the lane runs.
  await connection.run(`SET TimeZone = 'UTC'`)
  try {
    const { tables, windows = [], storage, clock } = options
    const lookups = await loadLookups(tables, { connection, storage, clock })
    await checkRowWise(tables, windows, connection, lookups)
    return new DuckEncoder(instance, connection, options, lookups)
  } catch (error) {
    connection.closeSync()
    instance.closeSync()
    throw error
  }
}

interface Table {
  readonly definition: TableDefinition
  /** Of a table with a function. */
  readonly map: MapRecords | undefined
  readonly decoder: TableDecoder
  readonly rows: Relation
  readonly deadLetters: Relation
  /** Of a table with a version. */
  readonly markers: Relation | undefined
  /** Of a table with a filter or computed columns. */
  readonly transform: RowTransform | undefined
  /** Of a table whose columns are redacted. */
  readonly redact: RedactRows | undefined
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
  readonly #options: EncoderOptions
  readonly #lookups: Lookups
  readonly #definitions: ReadonlyMap<string, TableDefinition>
  readonly #growing: ReadonlyMap<string, GrowingReader>
  /** By name; of a growing table one for each of the columns that batches needed. */
  readonly #tables = new Map<string, Table>()
  #made = 0
  /** Ends with the micro-batch that is encoded, whatever comes of it. */
  #encoding: Promise<unknown> | undefined
  #isClosed = false

  constructor(instance: DuckDBInstance, connection: DuckDBConnection, options: EncoderOptions, lookups: Lookups) {
    const { tables, storage, clock } = options
    this.#options = options
    this.#lookups = lookups
    this.#instance = instance
    this.#connection = connection
    this.#storage = storage
    this.#partialsFolder = options.partialsFolder ?? storage.scratch
    this.#clock = clock
    this.#schemas = new SchemaBook(options.registry, clock)
    this.#definitions = new Map(tables.map((definition) => [definition.name, definition]))
    const growing = tables.filter(({ evolve }) => evolve !== undefined)
    this.#growing = new Map(growing.map((table) => [table.name, new GrowingReader(table, this.#schemas.schemas)]))
    // What a definition has wrong is told before a record is read.
    for (const table of tables) if (table.evolve === undefined) this.#tableOf(table)
  }

  /** What reads and writes a table with these columns. */
  #tableOf(definition: TableDefinition, known?: readonly Column[]): Table {
    const { name } = definition
    const id = known === undefined ? name : `${name} ${JSON.stringify([definition.columns, known])}`
    const there = this.#tables.get(id)
    if (there !== undefined) return there
    const fed = (this.#options.windows ?? []).filter(({ source }) => source === name)
    const made = this.#table(definition, fed, this.#made++, this.#lookups.get(name), this.#options.salts, known)
    this.#tables.set(id, made)
    return made
  }

  #table(
    definition: TableDefinition,
    fed: readonly WindowDefinition[],
    k: number,
    lookups: readonly Lookup[] = [],
    salts: Salts = {},
    known?: readonly Column[],
  ): Table {
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
    const transform = RowTransform.of(definition, this.#connection, `inputs_${k}`, this.#native, this.#pool, lookups)
    return {
      definition,
      map: MapRecords.of(definition, this.#native, this.#pool),
      decoder: new TableDecoder(definition, this.#native, this.#pool, {
        hasLaneColumns,
        schemas: this.#schemas.schemas,
        known,
        salts,
      }),
      rows,
      transform,
      redact: RedactRows.of(definition, salts, this.#native),
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

  async encode(...request: Parameters<Encoder['encode']>): Promise<StagedTable> {
    if (this.#isClosed) throw new LakeError('internal', 'a micro-batch that came after the end of its encoder')
    if (this.#encoding !== undefined) throw new LakeError('internal', 'an encoder encodes one micro-batch at a time')
    const now = this.#encodeInto(new FilePuts(this.#storage), request)
    this.#encoding = now.catch(() => undefined)
    return now.finally(() => {
      this.#encoding = undefined
    })
  }

  async #encodeInto(puts: FilePuts, request: Parameters<Encoder['encode']>): Promise<StagedTable> {
    try {
      const staged = await this.#encode(puts, ...request)
      await puts.done()
      return staged
    } finally {
      await puts.ended()
      this.#native.clear()
    }
  }

  async #encode(
    puts: FilePuts,
    plan: TablePlan,
    batches: readonly RecordBatch[],
    fatal: ReadonlySet<string>,
    baseless: ReadonlySet<string> = new Set(),
    clocksMs?: Clocks[string],
    retried?: RetriedRecords,
  ): Promise<StagedTable> {
    const definition = this.#definitions.get(plan.table)
    if (definition === undefined) throw new LakeError('internal', `the lane has no definition of ${plan.table}`)
    checkLetters(plan.deadLetters)
    const ids = needsRegistry(definition) ? await this.#schemas.learn(definition, batches) : []
    const grown = this.#growing.get(plan.table)?.grown(plan, ids)
    const table = this.#tableOf(grown?.definition ?? definition, grown?.known)
    const data = grown?.data ?? plan.data
    checkColumns(data, table.rows.columns)
    const mapped = table.map?.apply(batches, fatal, retried)
    const records = mapped?.batches ?? batches
    const decode: Decode = (unmade, more = []) => {
      const keys = { uuid: plan.data.uuid, baseless: unmade ? new Set([...baseless, ...more]) : baseless, unmade }
      return withMapped(
        located(records, () => table.decoder.decode(records, fatal, keys, retried)),
        mapped,
      )
    }
    const { decoded, lagMsMax } = await this.#judged(table, decode, records, clocksMs, retried)
    const { rows, deadLetters, counts, operations } = decoded
    if (plan.isKeysOnly === true) return this.#keysOnly(plan, decoded)
    table.redact?.apply(rows)
    // Before rows are divided: their slabs are used again.
    const windows = await this.#windows(table, decoded, lagMsMax, plan, clocksMs, retried)
    const isUnwritten = plan.isUnwritten === true
    if (isUnwritten) for (const slab of deadLetters) this.#pool.give(slab)
    const deadLetterFiles = await this.#write(puts, plan.deadLetters, table.deadLetters, isUnwritten ? [] : deadLetters)
    const needed = grown?.needed === undefined ? {} : { needed: grown.needed }
    const fed = {
      table: plan.table,
      deadLetterFiles,
      counts,
      ...needed,
      ...(windows === undefined ? {} : { windows }),
    }
    if (isUnwritten || !table.definition.store) {
      for (const slab of [...rows, ...decoded.markers]) this.#pool.give(slab)
      return { ...fed, files: [], isStored: false, isUnwritten }
    }
    const places = operations === undefined ? undefined : rowPlaces(rows)
    const staged = { ...fed, files: await this.#write(puts, data, table.rows, rows, places) }
    if (places === undefined) return staged
    const keys = operations!.staged(places)
    if (plan.deletes === undefined) return { ...staged, keys }
    return { ...staged, keys, deleteFiles: await this.#write(puts, plan.deletes, table.markers!, decoded.markers) }
  }

  /** What computed columns, the filter and the clocks make of the rows, in this order (rule T4). */
  async #judged(
    { definition, transform, clock, windows, changes }: Table,
    decode: Decode,
    batches: readonly RecordBatch[],
    clocksMs: Clocks[string] | undefined,
    retried: RetriedRecords | undefined,
  ): Promise<{ readonly decoded: Decoded; readonly lagMsMax: number }> {
    const decoded = decode()
    if (clock === undefined || batches.length === 0) return { decoded, lagMsMax: 0 }
    if ((windows !== undefined || changes !== undefined) && clocksMs === undefined)
      throw new LakeError('internal', `${definition.name} feeds windows: its clocks must be known`)
    const judged = transform === undefined ? decoded : await transformed(transform, decoded, decode, batches, retried)
    const { rows, kept, counts, deadLetters } = judged
    const lagMsMax = clock.judge(rows, kept, batches[0]!.topic, counts, clocksMs ?? {}, retried)
    clock.placeLetters(deadLetters, rows, batches[0]!.topic, counts, clocksMs ?? {}, retried)
    return { decoded: judged, lagMsMax }
  }

  /** In the order of the plan; undefined when the table feeds none. */
  async #windows(
    { windows, changes }: Table,
    decoded: Decoded,
    lagMsMax: number,
    plan: TablePlan,
    clocksMs: Clocks[string] | undefined,
    retried: RetriedRecords | undefined,
  ): Promise<readonly StagedWindow[] | undefined> {
    if (windows === undefined && changes === undefined) return undefined
    const events = (await windows?.stage({ slabs: decoded.rows, kept: decoded.kept, lagMsMax }, plan)) ?? []
    try {
      const staged = [...events, ...((await changes?.stage(decoded, clocksMs ?? {}, retried)) ?? [])]
      const order = (plan.windows ?? []).map(({ window }) => window)
      return staged.toSorted((a, b) => order.indexOf(a.window) - order.indexOf(b.window))
    } catch (error) {
      for (const { partials } of events) await removeLocal(partials)
      throw error
    }
  }

  #keysOnly({ table }: TablePlan, { rows, deadLetters, markers, operations, counts }: Decoded): StagedTable {
    const keys = operations?.staged(rowPlaces(rows))
    for (const slab of [...rows, ...deadLetters, ...markers]) this.#pool.give(slab)
    return { table, files: [], deadLetterFiles: [], counts, isStored: false, isUnwritten: true, keys }
  }

  async #write(
    puts: FilePuts,
    plan: WritePlan,
    relation: Relation,
    slabs: readonly Slab[],
    places?: RowPlaces,
  ): Promise<readonly DataFile[]> {
    const files: DataFile[] = []
    if (slabs.length === 0) return files
    for (const { tuple, slabs: part } of divide(slabs, relation.columns, plan, this.#pool, places)) {
      files.push(await writeDataFile(this.#connection, puts, this.#clock, plan, relation, part, tuple))
      for (const slab of part) this.#pool.give(slab)
    }
    return files
  }

  /** Waits for what is encoded: DuckDB does not outlive a database that ends below it. */
  async close(): Promise<void> {
    this.#isClosed = true
    await this.#encoding
    this.#native.clear()
    this.#connection.closeSync()
    this.#instance.closeSync()
  }
}

/** Decodes a micro-batch: `unmade` are records that nobody keeps values of, `more` such as lack values that no row has. */
type Decode = (unmade?: ReadonlySet<string>, more?: Iterable<string>) => Decoded

/** First it is found whose SQL fails, which depends on no other record, then who lacks values without those; then no more. */
const DECODED_MAX = 3

async function transformed(
  transform: RowTransform,
  decoded: Decoded,
  decode: Decode,
  batches: readonly RecordBatch[],
  retried: RetriedRecords | undefined,
): Promise<Decoded> {
  const baseless = new Set<string>()
  for (let times = 1; ; times++) {
    const result = await transform.apply(decoded, batches, retried)
    if (result.kind === 'judged') return result.decoded
    if (times === DECODED_MAX) throw new LakeError('internal', 'what records lack depends on who asks')
    for (const record of result.baseless) baseless.add(record)
    decoded = decode(result.unmade, baseless)
  }
}

/** What a table of dead letters has is written: one that was made before may lack what came last. */
function checkLetters(plan: WritePlan): void {
  checkColumns(
    plan,
    deadLetterColumns.filter(({ name }) => name !== LETTER_CLOCK || hasColumn(plan, name)),
  )
}

function hasColumn({ schema }: WritePlan, column: string): boolean {
  return schema.fields.some(({ name }) => name === column)
}

function rowPlaces(slabs: readonly Slab[]): RowPlaces {
  const count = slabs.reduce((sum, { rows }) => sum + rows, 0)
  return { files: new Int32Array(count), rows: new Uint32Array(count) }
}
