import type { Clock } from '../clock.ts'
import { LakeError } from '../error.ts'
import { readDeletedRows, storedFiles } from '../lake/scan.ts'
import type { DeletedRows, LakeTable, Side, Storage, StoredFile } from '../lake/table.ts'
import type { QuerySettings } from '../settings.ts'
import { aliveFile, aliveFileBytes } from './alive-file.ts'
import { without } from './changes.ts'
import { FileCache, type Leased } from './file-cache.ts'
import type { PartialFiles, TableUse, View } from './messages.ts'
import { survivors } from './prune.ts'
import { Recent } from './recent.ts'
import { viewOf } from './view-columns.ts'

/** How the lake tells files and what was deleted of them. */
export interface Scan {
  storedFiles(storage: Storage, table: LakeTable): Promise<readonly StoredFile[]>
  readDeletedRows(storage: Storage, file: StoredFile): Promise<DeletedRows>
}

export interface TableFilesOptions {
  readonly storage: Storage
  readonly settings: QuerySettings
  readonly clock: Clock
  readonly scan?: Scan | undefined
  /** Files with fewer rows are never read with one beside them that says which are there. Default: 25,000. */
  readonly besideRowsMin?: number | undefined
}

/** A view's files are on this machine until `release`. */
export interface LeasedView {
  readonly view: View
  release(): void
}

interface Torn {
  readonly kind: PartialFiles['kind']
  readonly files: readonly StoredFile[]
  /** Empty with `alive`: paths of the files that say which rows are there. */
  readonly positions: readonly Uint32Array[]
  readonly alive?: readonly string[]
}

/** File lists that are kept: they never change. */
const LISTS_KEPT = 64
/** Positions that are kept: of the files read last. 32 MiB. */
const POSITIONS_KEPT = 8 * 1024 * 1024
const READS_AT_ONCE = 8
/** Deleted rows in the files that one query opens: the query process takes about 60 bytes for each. */
export const POSITIONS_MAX = 4_000_000

/** The files of tables at one version each, as a query process can read them. */
export class TableFiles {
  readonly #storage: Storage
  readonly #scan: Scan
  readonly #cache: FileCache
  readonly #besideRowsMin: number
  readonly #lists = new Recent<readonly StoredFile[]>(LISTS_KEPT)
  readonly #positions = new Recent<Uint32Array>(POSITIONS_KEPT, ({ length }) => length)

  constructor({
    storage,
    settings,
    clock,
    scan = { storedFiles, readDeletedRows },
    besideRowsMin = BESIDE_ROWS_MIN,
  }: TableFilesOptions) {
    this.#besideRowsMin = besideRowsMin
    this.#storage = storage
    this.#scan = scan
    this.#cache = new FileCache({ storage, clock, folder: settings.cacheDir, bytesMax: settings.cacheBytesMax })
  }

  get cacheBytes(): number {
    return this.#cache.bytes
  }

  list(table: LakeTable): Promise<readonly StoredFile[]> {
    return this.#lists.get(table.metadata, () => this.#scan.storedFiles(this.#storage, table))
  }

  /** What a statement needs of a table. */
  async view(table: LakeTable, use: TableUse, signal: AbortSignal): Promise<LeasedView> {
    const all = await this.list(table)
    if (use.isCount) {
      const rows = all.reduce((sum, file) => sum + BigInt(file.recordCount - (file.deletes?.count ?? 0)), 0n)
      return { view: { ...viewOf(table), files: [], rows }, release: () => undefined }
    }
    const needed = survivors(table, all, use).filter(({ recordCount, deletes }) => deletes?.count !== recordCount)
    const whole = needed.filter(({ deletes }) => deletes === undefined)
    const torn = needed.filter(({ deletes }) => deletes !== undefined)
    const { beside, rest } = sidesOf(torn, use, this.#besideRowsMin)
    const alive = await this.#aliveOf(beside, signal)
    const byPosition = alive === undefined ? torn : rest
    const positions = await this.#positionsOf(byPosition, signal).catch((error) => {
      alive?.release()
      throw error
    })
    const parts: Torn[] = [{ kind: 'without', files: byPosition, positions }]
    if (alive !== undefined) parts.push({ kind: 'without', files: beside, positions: [], alive: alive.paths })
    return this.#lease(viewOf(table), whole, parts, signal, alive?.release)
  }

  /** The rows of one side of a comparison, under a name of its own. */
  async side(columns: View['columns'], name: string, { own, shared }: Side, signal: AbortSignal): Promise<LeasedView> {
    const torn = own.filter(({ deletes }) => deletes !== undefined)
    const positions = await this.#positionsOf([...torn, ...shared.flatMap(({ file, other }) => [file, other])], signal)
    const rest = positions.slice(torn.length)
    const only = shared.map((_, index) => without(rest[2 * index + 1]!, rest[2 * index]!))
    return this.#lease(
      { name, columns },
      own.filter(({ deletes }) => deletes === undefined),
      [
        { kind: 'without', files: torn, positions: positions.slice(0, torn.length) },
        { kind: 'only', files: shared.map(({ file }) => file), positions: only },
      ],
      signal,
    )
  }

  /** Positions of the deleted rows of each file. Throws `sql.failed` when they are too many for one query. */
  async #positionsOf(files: readonly StoredFile[], signal: AbortSignal): Promise<readonly Uint32Array[]> {
    checkCount(files.reduce((sum, { deletes }) => sum + (deletes?.count ?? 0), 0))
    const all: Uint32Array[] = []
    const queue = files.entries()
    const work = async (): Promise<void> => {
      for (const [index, file] of queue) {
        signal.throwIfAborted()
        all[index] = await this.#deletedOf(file)
      }
    }
    await Promise.all(Array.from({ length: READS_AT_ONCE }, work))
    return all
  }

  /** `releaseAlive` is called with the view's own release, and when there is none. */
  async #lease(
    view: Pick<View, 'name' | 'columns'>,
    whole: readonly StoredFile[],
    partial: readonly Torn[],
    signal: AbortSignal,
    releaseAlive: () => void = () => undefined,
  ): Promise<LeasedView> {
    const files = [...whole, ...partial.flatMap((each) => each.files)]
    const leased = await this.#leased(files, signal).catch((error) => {
      releaseAlive()
      throw error
    })
    const { paths } = leased
    const release = () => [leased.release, releaseAlive].forEach((each) => each())
    let at = whole.length
    const parts = partial.map(({ kind, files, positions, alive }): PartialFiles => {
      at += files.length
      const rows = {
        kind,
        files: paths.slice(at - files.length, at),
        fileRows: rowsOf(files),
        fileBytes: this.#bytesOf(files),
        ...joined(positions),
      }
      return alive === undefined ? rows : { ...rows, alive }
    })
    return {
      view: {
        ...view,
        files: paths.slice(0, whole.length),
        fileRows: rowsOf(whole),
        fileBytes: this.#bytesOf(whole),
        partial: parts.filter((each) => each.files.length > 0),
      },
      release,
    }
  }

  async #leased(files: readonly StoredFile[], signal: AbortSignal): Promise<Leased> {
    if (!this.#storage.isLocal) return this.#cache.lease(files, signal)
    return { paths: files.map(({ key }) => this.#pathOf(key)), release: () => undefined }
  }

  /** Of files in a cache the sizes were looked at when they came. */
  #bytesOf(files: readonly StoredFile[]): readonly number[] | undefined {
    return this.#storage.isLocal ? files.map(({ fileSizeBytes }) => fileSizeBytes) : undefined
  }

  /** For each file the one that says which of its rows are there. Undefined without files, and where they find no room. */
  async #aliveOf(files: readonly StoredFile[], signal: AbortSignal): Promise<Leased | undefined> {
    if (files.length === 0) return undefined
    const kept = files.map((file) => ({
      key: `${file.deletes!.key}@${file.deletes!.offset}`,
      fileSizeBytes: aliveFileBytes(file.recordCount),
      make: async () => aliveFile(await this.#scan.readDeletedRows(this.#storage, file)),
    }))
    try {
      return await this.#cache.lease(kept, signal)
    } catch (error) {
      // A vector that cannot be read is as bad for the other way, which needs no disk.
      if (error instanceof LakeError && error.code !== 'store.disk_full') throw error
      signal.throwIfAborted()
      return undefined
    }
  }

  #deletedOf(file: StoredFile): Promise<Uint32Array> {
    const { deletes } = file
    if (deletes === undefined) return Promise.resolve(new Uint32Array(0))
    return this.#positions.get(`${deletes.key}@${deletes.offset}`, async () => {
      const rows = await this.#scan.readDeletedRows(this.#storage, file)
      return positionsIn(rows)
    })
  }

  /** The URI of a local store is its path: roots that would need escapes are refused. */
  #pathOf(key: string): string {
    return `${this.#storage.url.slice('file://'.length)}/${key}`
  }
}

/** A file read with another beside it costs the planner a third of a millisecond: as much as looking up so many positions. */
const BESIDE_ROWS_MIN = 25_000
const BESIDE_FILES_MAX = 256

/**
 * Files that are best read with one beside them: where all rows are read anyway, since nothing reaches into such a scan;
 * and where positions would be too many.
 */
function sidesOf(
  torn: readonly StoredFile[],
  { scans, isPlaced = false }: TableUse,
  rowsMin: number,
): { readonly beside: readonly StoredFile[]; readonly rest: readonly StoredFile[] } {
  const isScan = !isPlaced && scans.every((filters) => filters.length === 0)
  const dead = torn.reduce((sum, { deletes }) => sum + (deletes?.count ?? 0), 0)
  if (!isScan && dead <= POSITIONS_MAX) return { beside: [], rest: torn }
  const large = torn.filter(({ recordCount }) => recordCount >= rowsMin).slice(0, BESIDE_FILES_MAX)
  const beside = new Set(large)
  return { beside: large, rest: torn.filter((file) => !beside.has(file)) }
}

export function checkCount(count: number): void {
  if (count <= POSITIONS_MAX) return
  throw new LakeError('sql.failed', `${count} deleted rows lie in the files that the query reads`, {
    fix: `Add a condition that leaves files out: one query takes ${POSITIONS_MAX}.`,
    context: { deletedRows: count, deletedRowsMax: POSITIONS_MAX },
  })
}

function rowsOf(files: readonly StoredFile[]): number {
  return files.reduce((sum, { recordCount }) => sum + recordCount, 0)
}

function positionsIn(rows: DeletedRows): Uint32Array {
  const positions = new Uint32Array(rows.count)
  let index = 0
  for (const position of rows.positions()) positions[index++] = position
  return positions
}

function joined(lists: readonly Uint32Array[]): Pick<PartialFiles, 'ends' | 'positions'> {
  const ends = new Uint32Array(lists.length)
  const positions = new Uint32Array(lists.reduce((sum, { length }) => sum + length, 0))
  let at = 0
  for (const [index, list] of lists.entries()) {
    positions.set(list, at)
    at += list.length
    ends[index] = at
  }
  return { ends, positions }
}
