import { mkdir } from 'node:fs/promises'
import { DuckDBInstance, type DuckDBConnection } from '@duckdb/node-api'
import type { Clock } from '../clock.ts'
import type { TableDefinition } from '../define.ts'
import { LakeError } from '../error.ts'
import type { DataFile, Storage, WritePlan } from '../lake/table.ts'
import type { RecordBatch } from '../log.ts'
import { deadLetterColumns, deletesColumns, tableColumns } from './decode/columns.ts'
import { checkColumns, writeDataFile } from './decode/data-file-writer.ts'
import { NativeText } from './decode/native-text.ts'
import { divide, type RowPlaces } from './decode/partition.ts'
import { Relation } from './decode/relation.ts'
import { SlabPool, type Slab } from './decode/slab.ts'
import { TableDecoder } from './decode/table-decoder.ts'
import type { Encoder, StagedTable, TablePlan } from './lane.ts'

export interface EncoderOptions {
  readonly tables: readonly TableDefinition[]
  readonly storage: Storage
  readonly clock: Clock
  /** What DuckDB may take; the raw batches and decoded columns come on top. Default: 512 MiB. */
  readonly memoryMaxBytes?: number | undefined
}

/**
 * The encoder of a lane: JSON to columns by generated code, columns to Parquet by DuckDB. It has a DuckDB of its own
 * with one thread and no access to the network; a lane's parallelism is other lanes.
 */
export async function openEncoder(options: EncoderOptions): Promise<Encoder> {
  await mkdir(options.storage.scratch, { recursive: true })
  const megabytes = Math.ceil((options.memoryMaxBytes ?? 512 * 1024 * 1024) / (1024 * 1024))
  const instance = await DuckDBInstance.create(':memory:', {
    threads: '1',
    memory_limit: `${megabytes}MiB`,
    temp_directory: '',
    autoinstall_known_extensions: 'false',
    autoload_known_extensions: 'false',
  })
  const connection = await instance.connect()
  return new DuckEncoder(instance, connection, options)
}

interface Table {
  readonly definition: TableDefinition
  readonly decoder: TableDecoder
  readonly rows: Relation
  readonly deadLetters: Relation
  /** Of a table with a version. */
  readonly markers: Relation | undefined
}

class DuckEncoder implements Encoder {
  readonly #instance: DuckDBInstance
  readonly #connection: DuckDBConnection
  readonly #storage: Storage
  readonly #clock: Clock
  readonly #native = new NativeText()
  readonly #pool = new SlabPool()
  readonly #tables: ReadonlyMap<string, Table>
  #isBusy = false

  constructor(instance: DuckDBInstance, connection: DuckDBConnection, { tables, storage, clock }: EncoderOptions) {
    this.#instance = instance
    this.#connection = connection
    this.#storage = storage
    this.#clock = clock
    this.#tables = new Map(tables.map((definition, k) => [definition.name, this.#table(definition, k)]))
  }

  #table(definition: TableDefinition, k: number): Table {
    return {
      definition,
      decoder: new TableDecoder(definition, this.#native, this.#pool),
      rows: new Relation(this.#connection, `rows_${k}`, tableColumns(definition)),
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
  ): Promise<StagedTable> {
    const table = this.#tables.get(plan.table)
    if (table === undefined) throw new LakeError('internal', `the lane has no definition of ${plan.table}`)
    if (this.#isBusy) throw new LakeError('internal', 'an encoder encodes one micro-batch at a time')
    checkColumns(plan.data, table.rows.columns)
    checkColumns(plan.deadLetters, deadLetterColumns)
    this.#isBusy = true
    try {
      const decoded = table.decoder.decode(batches, fatal, { uuid: plan.data.uuid, baseless })
      const { rows, deadLetters, counts, operations } = decoded
      const places = operations === undefined ? undefined : rowPlaces(rows)
      const files = await this.#write(plan.data, table.rows, rows, places)
      const deadLetterFiles = await this.#write(plan.deadLetters, table.deadLetters, deadLetters)
      const staged = { table: plan.table, files, deadLetterFiles, counts }
      if (places === undefined) return staged
      const keys = operations!.staged(places)
      if (plan.deletes === undefined) return { ...staged, keys }
      return { ...staged, keys, deleteFiles: await this.#write(plan.deletes, table.markers!, decoded.markers) }
    } finally {
      this.#native.clear()
      this.#isBusy = false
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
