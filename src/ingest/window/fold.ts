import { mkdir } from 'node:fs/promises'
import type { Clock } from '../../clock.ts'
import type { WindowDefinition } from '../../define-window.ts'
import type { TableDefinition } from '../../define.ts'
import { asLakeError, LakeError } from '../../error.ts'
import type { DataFile, Storage } from '../../lake/table.ts'
import type { ConcatenateInput } from '../keys.ts'
import { FoldDatabase } from './fold-database.ts'
import { relationsOf } from './fold-relations.ts'
import { FoldedRows } from './fold-rows.ts'
import { OpenWindow } from './open-window.ts'
import { removeLocalFiles } from './partial-files.ts'
import type { FoldedWindow, FoldRequest, StoredWindow, WindowFold } from './window.ts'
import { isOverflow } from '../../window/sql.ts'

export interface WindowFoldOptions {
  readonly windows: readonly WindowDefinition[]
  /** With the sources of all windows. */
  readonly tables: readonly TableDefinition[]
  readonly storage: Storage
  readonly clock: Clock
  /** What DuckDB may take before it writes to the scratch folder. Default: 512 MiB. */
  readonly memoryMaxBytes?: number | undefined
  /** Rows that are aggregated at once. Default: as many as the memory has room for. */
  readonly rowsMax?: number | undefined
}

/** The open windows of a pipeline in a DuckDB of their own: for a process that may die of it. */
export async function openWindowFold(options: WindowFoldOptions): Promise<WindowFold> {
  const { windows, tables, storage, clock, memoryMaxBytes, rowsMax } = options
  await mkdir(storage.scratch, { recursive: true })
  const database = await FoldDatabase.open(storage, clock, memoryMaxBytes, rowsMax)
  try {
    const open = new Map<string, OpenWindow>()
    for (const [number, definition] of windows.entries()) {
      const source = tables.find(({ name }) => name === definition.source)
      if (source?.eventTime === undefined)
        throw new LakeError('internal', `${definition.name}: its source has no event time, or is not there`)
      const relations = relationsOf(definition, source, number)
      const rows = definition.input === 'rows' ? new FoldedRows(database, relations, number) : undefined
      const window = new OpenWindow(database, relations, rows, storage, clock)
      await window.open()
      open.set(definition.name, window)
    }
    return new DuckWindowFold(database, open)
  } catch (error) {
    await database.close()
    throw error
  }
}

class DuckWindowFold implements WindowFold {
  readonly #database: FoldDatabase
  readonly #windows: ReadonlyMap<string, OpenWindow>
  #before: Promise<unknown> = Promise.resolve()

  constructor(database: FoldDatabase, windows: ReadonlyMap<string, OpenWindow>) {
    this.#database = database
    this.#windows = windows
  }

  load(window: string, stored: StoredWindow): Promise<void> {
    return this.#inTurn(() => this.#window(window).load(stored))
  }

  fold(window: string, request: FoldRequest): Promise<FoldedWindow> {
    return this.#inTurn(async () => {
      try {
        return await this.#window(window).fold(request)
      } finally {
        await removeLocalFiles(request.partials)
      }
    })
  }

  moved(
    window: string,
    table: 'results' | 'state',
    inputs: readonly ConcatenateInput[],
    output: DataFile | undefined,
  ): Promise<void> {
    return this.#inTurn(() => this.#window(window).moved(table, inputs, output))
  }

  discard(partials: readonly string[]): Promise<void> {
    return removeLocalFiles(partials)
  }

  async close(): Promise<void> {
    await this.#before
    await this.#database.close()
  }

  #window(name: string): OpenWindow {
    const found = this.#windows.get(name)
    if (found === undefined) throw new LakeError('internal', `the fold has no definition of ${name}`)
    return found
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const now = this.#before.then(work).catch((error: unknown) => {
      throw foldError(error, this.#database.memoryMaxBytes)
    })
    this.#before = now.catch(() => undefined)
    return now
  }
}

/** What is spilled needs a disk, and is tried again; what cannot be spilled would fail again with the same limit. */
function foldError(error: unknown, memoryMaxBytes: number): LakeError {
  if (error instanceof LakeError || !(error instanceof Error)) return asLakeError(error)
  if (isOverflow(error)) return new LakeError('aggregate.overflow', error.message, { cause: error })
  if (/could not write|no space left|failed to (offload|write)|max_temp_directory_size/i.test(error.message))
    return new LakeError('window.fold_failed', error.message, { retryable: true, cause: error })
  if (!/out of memory/i.test(error.message)) return asLakeError(error)
  const mebibytes = Math.ceil(memoryMaxBytes / (1024 * 1024))
  return new LakeError('window.memory_max', `the open windows need more than ${mebibytes} MiB at once`, {
    context: { memoryMaxBytes, reason: error.message.split('\n')[0]! },
    fix: 'Raise windows.memory and restart the pipeline, or group by fewer values.',
    cause: error,
  })
}
