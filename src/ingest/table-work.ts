import { mkdir } from 'node:fs/promises'
import type { DuckDBConnection, DuckDBInstance } from '@duckdb/node-api'
import type { Clock } from '../clock.ts'
import type { TableDefinition } from '../define.ts'
import { LakeError } from '../error.ts'
import type { Tail } from '../log.ts'
import type { DataFile, DeletedRows, Storage, WritePlan } from '../lake/table.ts'
import { tableColumns, versionColumn } from './decode/columns.ts'
import { askIndex, type Archive, type ArchiveQuestion, type ArchiveWork } from './archive/archive.ts'
import { openArchiveLog } from './archive/stored-archive.ts'
import { openDuckDb } from './decode/open-duckdb.ts'
import { KeyHasher } from './key-hash.ts'
import type {
  ChangedRows,
  ChangeFile,
  ChangesRequest,
  CompareRequest,
  Comparison,
  ConcatenateInput,
  Filling,
  OffsetRange,
  StoredKeys,
  TableWork,
} from './keys.ts'
import type { TablePlan } from './lane.ts'
import { byShard, type FileKeys } from './table-work/by-shard.ts'
import { writeChanges } from './table-work/changes.ts'
import { compareRows, type CompareLimits } from './table-work/compare.ts'
import { AliveRows, concatenate } from './table-work/concatenate.ts'
import { fill, sourceKeys } from './table-work/fill.ts'
import { withLocalFiles } from './table-work/local-files.ts'
import { MarkedRows } from './table-work/marked-rows.ts'
import { readKeys } from './table-work/read-keys.ts'
import { rowsWithin } from './table-work/rows-within.ts'

export interface TableWorkOptions {
  readonly tables: readonly TableDefinition[]
  readonly storage: Storage
  readonly clock: Clock
  /** What DuckDB may take; hashes and bitmaps come on top. Default: 512 MiB. */
  readonly memoryMaxBytes?: number | undefined
  /** Called while long work gets on, at least every few seconds. */
  readonly onStep?: () => void
  readonly compareLimits?: CompareLimits
}

/**
 * Work on stored files with a DuckDB of its own, which is made when there is something to do: one thread, no
 * extensions, nothing spilled. One piece of work runs at a time, others wait.
 */
export async function openTableWork(
  options: TableWorkOptions,
): Promise<TableWork & ArchiveWork & { close(): Promise<void> }> {
  await mkdir(options.storage.scratch, { recursive: true })
  return new DuckTableWork(options)
}

interface Duck {
  readonly instance: DuckDBInstance
  readonly connection: DuckDBConnection
  readonly alive: AliveRows
  readonly marked: MarkedRows
}

class DuckTableWork implements TableWork, ArchiveWork {
  readonly #options: TableWorkOptions
  #duck: Promise<Duck> | undefined
  #before: Promise<unknown> = Promise.resolve()
  #isClosed = false

  constructor(options: TableWorkOptions) {
    this.#options = options
  }

  readKeys(plan: TablePlan, files: readonly ChangedRows[]): Promise<StoredKeys> {
    const { storage, clock, onStep = () => undefined } = this.#options
    return this.#inTurn(async ({ connection }) => {
      const definition = this.#definition(plan)
      const columns = tableColumns(definition)
      const keys = definition.key.map((name) => columns.find((column) => column.name === name)!)
      const hasher = new KeyHasher(plan.data.uuid, keys)
      const names = { key: definition.key, version: versionColumn(definition) }
      const read: { readonly keys: FileKeys; readonly deleted: DeletedRows }[] = []
      for (const { file, deleted } of files) {
        const isMarkers = plan.deletes !== undefined && file.key.startsWith(plan.deletes.dataPrefix)
        const of = isMarkers ? plan.deletes : plan.data
        const keys = await withLocalFiles(storage, clock, [file], ([path]) =>
          readKeys(connection, of, names, file, path!, hasher, deleted),
        )
        read.push({ keys, deleted })
        onStep()
      }
      return byShard(read)
    })
  }

  rowsWithin(plan: WritePlan, file: DataFile, ranges: readonly OffsetRange[]): Promise<Uint32Array> {
    const { storage, clock } = this.#options
    return this.#inTurn(({ connection }) =>
      withLocalFiles(storage, clock, [file], ([path]) => rowsWithin(connection, plan, path!, ranges)),
    )
  }

  concatenate(plan: WritePlan, inputs: readonly ConcatenateInput[]): Promise<DataFile> {
    const { storage, clock } = this.#options
    const files = inputs.map(({ file }) => file)
    return this.#inTurn(({ connection, alive }) =>
      withLocalFiles(storage, clock, files, (paths) =>
        concatenate(connection, alive, storage, clock, plan, inputs, paths),
      ),
    )
  }

  fill(plan: WritePlan, file: DataFile, fillings: readonly Filling[], from = plan): Promise<DataFile> {
    if (fillings.length === 0) return Promise.resolve(file)
    const { storage, clock } = this.#options
    return this.#inTurn(({ connection }) =>
      withLocalFiles(storage, clock, [file, ...sourceKeys(fillings).map((key) => ({ key }))], ([path, ...sources]) =>
        fill(connection, storage, clock, plan, file, path!, fillings, { plan: from, paths: sources }),
      ),
    )
  }

  changes(plan: WritePlan, request: ChangesRequest): Promise<ChangeFile> {
    const { storage, clock, onStep = () => undefined } = this.#options
    const files = [...request.before, ...request.after].map(({ file }) => file)
    return this.#inTurn(({ connection, alive }) =>
      withLocalFiles(storage, clock, files, (paths) =>
        writeChanges({ connection, alive, storage, clock, onStep }, plan, request, paths),
      ),
    )
  }

  /** With a DuckDB of its own, which is gone again afterwards: nobody asks often. */
  async lookUp(archives: readonly Archive[], question: ArchiveQuestion): Promise<Tail | bigint | undefined> {
    const { storage, clock } = this.#options
    const log = openArchiveLog(archives, storage, clock)
    try {
      return await askIndex(log, question)
    } finally {
      await log.close()
    }
  }

  compare(request: CompareRequest): Promise<Comparison> {
    const { storage, clock, compareLimits, onStep = () => undefined } = this.#options
    return this.#inTurn(({ connection, marked }) =>
      compareRows({ connection, storage, clock, onStep }, marked, request, compareLimits),
    )
  }

  /** Waits for what is under way. */
  async close(): Promise<void> {
    this.#isClosed = true
    await this.#before
    const duck = await this.#duck?.catch(() => undefined)
    duck?.connection.closeSync()
    duck?.instance.closeSync()
  }

  #definition({ table }: TablePlan): TableDefinition {
    const found = this.#options.tables.find(({ name }) => name === table)
    if (found === undefined || found.key.length === 0)
      throw new LakeError('internal', `the lane has no definition of a key of ${table}`)
    return found
  }

  #inTurn<T>(work: (duck: Duck) => Promise<T>): Promise<T> {
    const now = this.#before.then(async () => {
      if (this.#isClosed) throw new LakeError('internal', 'work on files that came after the end of its lane')
      this.#duck ??= openDuck(this.#options.memoryMaxBytes)
      return work(await this.#duck)
    })
    this.#before = now.catch(() => undefined)
    return now
  }
}

async function openDuck(memoryMaxBytes = 512 * 1024 * 1024): Promise<Duck> {
  const instance = await openDuckDb({ memoryMaxBytes })
  const connection = await instance.connect()
  // What an expression makes of a time must not depend on where this runs.
  await connection.run(`SET TimeZone = 'UTC'`)
  return { instance, connection, alive: new AliveRows(connection), marked: new MarkedRows(connection) }
}
