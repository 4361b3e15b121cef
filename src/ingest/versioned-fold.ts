import type { KeyIndex } from '../lake/key-index.ts'
import { DELETE, isBare, stretchesOf, type StagedKeys, type StoredKeys } from './keys.ts'
import { Partitions, type LiveFile, type LiveRow } from './live-file.ts'
import { Markers } from './markers.ts'

/** The rows of a keyed table, as its index names them. */
export interface FoldedRows {
  at(file: number, row: number): LiveRow
  die(row: LiveRow): void
}

/**
 * The fold of a table with a version column: the greater (version, partition, offset) wins, so a deleted key leaves a
 * marker in the index, and a file of deletes keeps it.
 */
export class VersionedFold {
  readonly markers = new Markers()
  /** Operations that lost against a later version, and tombstones that had no say: since the last commit. */
  stale = 0
  unordered = 0
  readonly #index: KeyIndex
  readonly #rows: FoldedRows

  constructor(index: KeyIndex, rows: FoldedRows) {
    this.#index = index
    this.#rows = rows
  }

  /** Takes up markers of deleted keys, all of them before any row. Gives how many after each stretch. */
  *loadingMarkers(keys: StoredKeys): Generator<number, void, undefined> {
    const { runs, cells, versions } = keys
    const partitions = runs.map((each) => new Partitions(each))
    for (const { shard, file, from, until } of stretchesOf(keys)) {
      for (let key = from; key < until; key++) {
        const [version, partition] = [versions![key]!, partitions[file]!.at(cells[4 * key + 3]!)]
        const isKnown = this.#index.find(cells, 4 * key, shard)
        if (isKnown && isLater(this.#index.version, this.#index.row, version, partition)) continue
        this.#index.put(cells, 4 * key, Markers.FILE, partition, version, shard)
      }
      yield until - from
    }
  }

  /** One operation of a batch; offsets of one partition come in order. */
  fold(keys: StagedKeys, operation: number, partition: number, staged: readonly LiveFile[]): void {
    const [index, markers, at] = [this.#index, this.markers, 4 * operation]
    const target = keys.files[operation]!
    const isDelete = target === DELETE
    const hasNoVersion = isBare(keys, operation)
    const marker = isDelete ? markers.next() : undefined
    const isKnown = index.find(keys.hashes, at)
    const stood = isKnown && !Markers.isMarker(index.file) ? this.#rows.at(index.file, index.row) : undefined
    if (hasNoVersion) {
      // It has no version of its own, so it can only speak for a row of its own partition.
      if (stood === undefined || stood.live.partitions.at(stood.row) !== partition) {
        if (stood !== undefined) this.unordered++
        return markers.drop(marker!)
      }
      markers.take(marker!, { key: stood.live.file.key, row: stood.row })
      const { version } = index
      this.#rows.die(stood)
      index.put(keys.hashes, at, Markers.FILE, partition, version)
      return
    }
    const version = keys.versions![operation]!
    const before = stood === undefined ? index.row : stood.live.partitions.at(stood.row)
    if (isKnown && isLater(index.version, before, version, partition)) {
      this.stale++
      if (isDelete) markers.drop(marker!)
      else this.#rows.die({ live: staged[target]!, row: keys.rows[operation]! })
      return
    }
    if (stood !== undefined) this.#rows.die(stood)
    if (isDelete) {
      markers.take(marker!, undefined)
      index.put(keys.hashes, at, Markers.FILE, partition, version)
    } else index.put(keys.hashes, at, staged[target]!.number, keys.rows[operation]!, version)
  }

  /** A delete that is known to have lost: its marker is dropped. */
  lose(): void {
    this.stale++
    this.markers.drop(this.markers.next())
  }

  /** A version holds all of it now. */
  committed(): void {
    this.markers.clear()
    this.stale = this.unordered = 0
  }
}

/** Whether what stands, of (version, partition), comes after (`version`, `partition`). Equal partitions: the new one has the later offset. */
export function isLater(standsVersion: bigint, standsPartition: number, version: bigint, partition: number): boolean {
  return standsVersion > version || (standsVersion === version && standsPartition > partition)
}
