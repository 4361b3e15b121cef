import { LakeError } from '../error.ts'
import { KeyIndex } from '../lake/key-index.ts'
import { DeletedRank, DeletedRows, type AddedFile, type FileDeletes, type StoredFile } from '../lake/table.ts'
import type { Stands } from './fillings.ts'
import { Forwarding } from './forwarding.ts'
import {
  DELETE,
  stretchesOf,
  TRUNCATE,
  type ConcatenateInput,
  type KeyRun,
  type KeyStretch,
  type StagedKeys,
  type StoredKeys,
} from './keys.ts'
import type { StagedTable } from './lane.ts'
import { joinRuns, LiveFile, Partitions, type LiveRow } from './live-file.ts'
import { Markers } from './markers.ts'
import { VersionedFold } from './versioned-fold.ts'

/** Keys whose places in the index are asked for together. */
const TOUCHED_AT_ONCE = 64

/**
 * A keyed table as its committer sees it: where the live row of each key stands, and which rows of each file are dead.
 * A cache of what the files say, built from them at start; `fold` moves it on by one staged batch.
 *
 *   operation of key k ──▶ index: k stood at (file, row) ──▶ that row is dead ──▶ k stands at the new row
 */
export class KeyedTable {
  readonly name: string
  readonly #index: KeyIndex
  readonly #files = new Map<number, LiveFile>()
  readonly #byKey = new Map<string, LiveFile>()
  readonly #moved = new Forwarding()
  readonly #touched = new Set<LiveFile>()
  readonly #versioned: VersionedFold | undefined
  /** What came and went since the last commit: staged files, files that hold the rows of others, files that left. */
  readonly #added = new Set<LiveFile>()
  readonly #swapped = new Set<LiveFile>()
  readonly #removed = new Set<string>()
  readonly #gone = new Set<string>()
  /** Rows of all files, and those of them that are dead. */
  rows = 0
  deadRows = 0
  #numbers = 0

  constructor(name: string, isVersioned: boolean) {
    this.name = name
    this.#index = new KeyIndex(isVersioned)
    if (!isVersioned) return
    const rows = { at: this.#resolve.bind(this), die: this.#die.bind(this) }
    this.#versioned = new VersionedFold(this.#index, rows)
  }

  get keys(): number {
    return this.#index.size
  }

  get indexBytes(): number {
    return this.#index.bytes
  }

  /** Files that are gone and that the index may still name. */
  get forwarded(): number {
    return this.#moved.size
  }

  get files(): readonly LiveFile[] {
    return [...this.#byKey.values()]
  }

  /** Before anything is loaded. */
  reserve(keys: number): void {
    this.#index.reserve(keys)
  }

  /** Takes up stored files: their live rows are their keys' rows. Gives how many keys were taken up after each stretch. */
  *loading(stored: readonly StoredRows[], keys: StoredKeys): Generator<number, void, undefined> {
    const files = stored.map((each, k) => this.#liveOf(each, new Partitions(joinRuns(keys.runs[k]!))))
    for (const stretch of stretchesOf(keys)) {
      this.#load(files[stretch.file]!, keys, stretch)
      yield stretch.until - stretch.from
    }
  }

  /** The same for files with markers of deleted keys: all of them before any row. */
  loadingMarkers(keys: StoredKeys): Generator<number, void, undefined> {
    return this.#versioned!.loadingMarkers(keys)
  }

  /** What the key of a staged operation has now. */
  standing({ hashes }: StagedKeys, operation: number): Stands | undefined {
    const index = this.#index
    if (!index.find(hashes, 4 * operation)) return undefined
    const { version } = index
    if (Markers.isMarker(index.file)) return { row: undefined, version, partition: index.row }
    const { live, row } = this.#resolve(index.file, index.row)
    return { row: { key: live.file.key, row }, version, partition: live.partitions.at(row) }
  }

  /**
   * Operations that are `stale` lost against records that came before them here, and later in the log. Throws
   * `upsert.key_in_two_partitions`; the table is useless then, as after any other error.
   */
  fold(staged: StagedTable, stale?: ReadonlySet<number>): void {
    for (const _ of this.folding(staged, stale, Infinity));
  }

  /** `fold` in stretches of so many operations. Nothing else may be asked of the table before the last one. */
  *folding(
    { table, files, keys, deleteFiles = [] }: StagedTable,
    stale: ReadonlySet<number> | undefined,
    operationsAtOnce: number,
  ): Generator<void, void, undefined> {
    if (keys === undefined) throw new LakeError('internal', `${table}: a batch came without its keys`)
    const partitions = partitionsOf(keys, files.length)
    const staged = files.map((file, k) => {
      if (partitions[k]!.rows !== file.recordCount)
        throw new LakeError('lane.failed', `${table}: ${file.key} has rows without a key`, { retryable: true })
      return new LiveFile(this.#numbers++, file, new DeletedRows(file.recordCount), partitions[k]!)
    })
    for (const live of staged) {
      this.#keep(live)
      this.#added.add(live)
    }
    this.markers?.open(deleteFiles)
    let [operation, restsAt] = [0, operationsAtOnce]
    for (const { partition, count } of keys.runs)
      for (const end = operation + count; operation < end; operation++) {
        if (operation === restsAt) {
          restsAt += operationsAtOnce
          yield
        }
        if (operation % TOUCHED_AT_ONCE === 0) this.#touch(keys.hashes, operation, keys.count)
        if (stale?.has(operation) === true) this.#lose(keys, operation, staged)
        else if (this.#versioned === undefined) this.#foldOrdered(keys, operation, partition, staged)
        else this.#versioned.fold(keys, operation, partition, staged)
      }
  }

  /** What is to be written since the last commit, beside the files that were added. */
  changes(): KeyedChanges {
    return {
      deletes: [...this.#touched].map(({ file, deleted }) => ({ file, rows: deleted })),
      swapped: [...this.#swapped].map(({ file }) => file),
      removed: [...this.#removed],
      gone: this.#gone,
    }
  }

  /** Whether rows died or files went that no staged file tells of. */
  get hasChanged(): boolean {
    return (
      this.#touched.size > 0 ||
      this.#removed.size > 0 ||
      this.#gone.size > 0 ||
      (this.markers?.changes().length ?? 0) > 0
    )
  }

  /** Whether the next commit writes the table in any case. */
  get isWritten(): boolean {
    return this.#added.size > 0 || this.hasChanged
  }

  get markers(): Markers | undefined {
    return this.#versioned?.markers
  }

  /** Operations that lost against a later version, since the last commit. */
  get stale(): number {
    return this.#versioned?.stale ?? 0
  }

  /** Tombstones that had no say, since the last commit. */
  get unordered(): number {
    return this.#versioned?.unordered ?? 0
  }

  /** A version holds all of it now. */
  committed(): void {
    for (const live of this.#touched) live.isTouched = false
    this.#touched.clear()
    for (const changed of [this.#added, this.#swapped, this.#removed, this.#gone]) changed.clear()
    this.#versioned?.committed()
  }

  /**
   * Swaps files for the one that holds their rows, less those that were dead when it was begun. Rows that died since
   * are dead in it too. Returns its dead rows.
   */
  replace(inputs: readonly ConcatenateInput[], output: AddedFile | undefined): DeletedRows | undefined {
    const deleted = output === undefined ? undefined : new DeletedRows(output.recordCount)
    const number = this.#numbers++
    const runs: KeyRun[] = []
    let base = 0
    for (const input of inputs) {
      const live = this.#byKey.get(input.file.key)
      if (live === undefined) throw new LakeError('internal', `${input.file.key} was replaced before`)
      const rank = new DeletedRank(input.deleted)
      const from = base
      const rowOf = (row: number): number => from + row - rank.rank(row)
      live.deleted.eachSince(input.deleted, (row) => deleted!.add(rowOf(row)))
      // One by one: a file may have more runs than a call takes arguments.
      for (const run of live.partitions.without(rank)) runs.push(run)
      const left = live.file.recordCount - input.deleted.count
      base += left
      this.#leave(live)
      this.#touched.delete(live)
      this.#moved.add(live.number, left, { file: number, rowOf })
    }
    if (base !== (output?.recordCount ?? 0))
      throw new LakeError('lane.failed', `${this.name}: ${base} rows became ${output?.recordCount ?? 0}`, {
        retryable: true,
      })
    if (output === undefined) return undefined
    const live = new LiveFile(number, output, deleted!, new Partitions(joinRuns(runs)))
    this.#keep(live)
    this.#swapped.add(live)
    if (deleted!.count > 0) this.#mark(live)
    return deleted
  }

  /** Whether the files are still there to be replaced: a truncation may have taken them. */
  holds(inputs: readonly ConcatenateInput[]): boolean {
    return inputs.every(({ file }) => this.#byKey.has(file.key))
  }

  /** Lets part of the index follow rows that moved; cheap when none did. */
  sweep(shards: number): void {
    this.#moved.sweep(this.#index, shards)
  }

  #load({ file, number }: LiveFile, { cells, versions }: StoredKeys, { shard, from, until }: KeyStretch): void {
    for (let key = from; key < until; key++) {
      if ((key - from) % TOUCHED_AT_ONCE === 0)
        this.#index.touchIn(shard, cells, 4 * key, 4 * Math.min(key + TOUCHED_AT_ONCE, until))
      const row = cells[4 * key + 3]!
      const isKnown = this.#index.put(cells, 4 * key, number, row, versions?.[key], shard)
      if (isKnown && !Markers.isMarker(this.#index.file))
        throw new LakeError('store.corrupt', `${this.name}: two rows have one key: ${file.key}, row ${row}`, {
          context: { table: this.name, file: file.key, row },
        })
    }
  }

  #liveOf({ file, deleted }: StoredRows, partitions: Partitions): LiveFile {
    if (partitions.rows !== file.recordCount || deleted.rows !== file.recordCount)
      throw new LakeError(
        'store.corrupt',
        `${file.key} holds ${partitions.rows} rows, its manifest says ${file.recordCount}`,
      )
    const live = new LiveFile(this.#numbers++, file, deleted, partitions)
    this.#keep(live)
    return live
  }

  #touch(hashes: Uint32Array, key: number, keys: number): void {
    this.#index.touch(hashes, 4 * key, 4 * Math.min(key + TOUCHED_AT_ONCE, keys))
  }

  #foldOrdered(keys: StagedKeys, operation: number, partition: number, staged: readonly LiveFile[]): void {
    const { hashes, files, rows } = keys
    const target = files[operation]!
    if (target === TRUNCATE) return this.#truncate(keys, operation, staged)
    if (target === DELETE) {
      if (this.#index.remove(hashes, 4 * operation)) this.#kill(partition)
      return
    }
    if (this.#index.put(hashes, 4 * operation, staged[target]!.number, rows[operation]!)) this.#kill(partition)
  }

  /** The operation changes nothing: its row is dead where it stands, its marker is none. */
  #lose({ files, rows }: StagedKeys, operation: number, staged: readonly LiveFile[]): void {
    const target = files[operation]!
    if (target >= 0) this.#die({ live: staged[target]!, row: rows[operation]! })
    else if (target === DELETE) this.#versioned?.lose()
  }

  /** The row that the index last told of is replaced by an operation of `partition`. */
  #kill(partition: number): void {
    const { file, row } = this.#index
    // The usual case without an object for each row.
    const live = this.#files.get(file)
    const stood = live === undefined ? this.#resolve(file, row) : undefined
    const at = stood?.row ?? row
    const of = stood?.live ?? live!
    const before = of.partitions.at(at)
    if (before !== partition) throw this.#inTwo(before, partition, of, at)
    this.#dieAt(of, at)
  }

  #inTwo(before: number, partition: number, { file }: LiveFile, row: number): LakeError {
    return new LakeError(
      'upsert.key_in_two_partitions',
      `${this.name}: a key came from partitions ${before} and ${partition}`,
      {
        context: { table: this.name, partitions: [before, partition], row: { file: file.key, row } },
        fix: 'No log says which of its records is the later one: declare a version column, or key the topic by the same columns.',
      },
    )
  }

  #die({ live, row }: LiveRow): void {
    this.#dieAt(live, row)
  }

  #dieAt(live: LiveFile, row: number): void {
    if (live.deleted.add(row)) this.deadRows++
    this.#mark(live)
  }

  /** Its dead rows are to be written. */
  #mark(live: LiveFile): void {
    if (live.isTouched) return
    live.isTouched = true
    this.#touched.add(live)
  }

  #resolve(file: number, row: number): LiveRow {
    for (;;) {
      const live = this.#files.get(file)
      if (live !== undefined) return { live, row }
      const move = this.#moved.get(file)
      if (move === undefined)
        throw new LakeError('internal', `${this.name}: the index names file ${file}, which is gone`)
      row = move.rowOf(row)
      file = move.file
    }
  }

  /** All files go but those of the batch itself, of which the rows so far are dead. */
  #truncate({ files, rows }: StagedKeys, operation: number, staged: readonly LiveFile[]): void {
    this.#index.clear()
    for (const live of this.files.filter((live) => !staged.includes(live))) this.#leave(live)
    this.#touched.clear()
    for (let before = 0; before < operation; before++)
      if (files[before]! >= 0) this.#die({ live: staged[files[before]!]!, row: rows[before]! })
    for (const live of staged) if (live.isTouched) this.#touched.add(live)
    this.#moved.clear()
  }

  #keep(live: LiveFile): void {
    this.#files.set(live.number, live)
    this.#byKey.set(live.file.key, live)
    this.rows += live.file.recordCount
    this.deadRows += live.deleted.count
  }

  /** Takes a file out of the table. Of one that no version has held yet, no version tells. */
  #leave(live: LiveFile): void {
    if (this.#added.delete(live)) this.#gone.add(live.file.key)
    else if (!this.#swapped.delete(live)) this.#removed.add(live.file.key)
    this.#files.delete(live.number)
    this.#byKey.delete(live.file.key)
    this.rows -= live.file.recordCount
    this.deadRows -= live.deleted.count
  }
}

/** A file of a version, and which of its rows that holds for dead. */
export interface StoredRows {
  readonly file: StoredFile
  readonly deleted: DeletedRows
}

/** What a table's keys ask of its next commit. */
export interface KeyedChanges {
  readonly deletes: readonly FileDeletes[]
  /** Files that hold the rows of others, which are among those that left. */
  readonly swapped: readonly AddedFile[]
  /** Files of the table that a truncation or a compaction took out. */
  readonly removed: readonly string[]
  /** Files that were to be added, and were taken out before. */
  readonly gone: ReadonlySet<string>
}

/** The Kafka partitions of the rows of each staged file. */
function partitionsOf({ files, runs }: StagedKeys, count: number): readonly Partitions[] {
  const rows = new Uint32Array(count)
  const runsOf: KeyRun[][] = Array.from({ length: count }, () => [])
  let operation = 0
  for (const run of runs) {
    rows.fill(0)
    for (const end = operation + run.count; operation < end; operation++)
      if (files[operation]! >= 0) rows[files[operation]!]!++
    for (const [file, count] of rows.entries()) if (count > 0) runsOf[file]!.push({ partition: run.partition, count })
  }
  return runsOf.map((runs) => new Partitions(runs))
}
