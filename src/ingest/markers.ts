import { LakeError } from '../error.ts'
import { DeletedRows, type DataFile } from '../lake/table.ts'
import type { Filling } from './keys.ts'

/** A row of a staged file of deletes. */
export interface Marker {
  readonly file: DataFile
  readonly row: number
  readonly deleted: DeletedRows
}

export interface StagedMarkers {
  readonly file: DataFile
  readonly deleted: DeletedRows
  /** Rows whose version is that of another row. */
  readonly fillings: (readonly [row: number, from: Filling['from']])[]
}

/**
 * Markers of deleted keys since the last commit, of one table with a version column. A lane stages a row for every
 * delete; those without effect are dead from the start, and bare ones take their version from the row they removed.
 */
export class Markers {
  /** In place of a file's number, where the index keeps a marker: its row is then the Kafka partition of the delete. */
  static readonly FILE = 0xffff_fffe
  readonly #staged: StagedMarkers[] = []
  #file = 0
  #row = 0

  static isMarker(file: number): boolean {
    return file === Markers.FILE
  }

  /** Files of deletes of the next batch: one row for each DELETE, in the order of the operations. */
  open(files: readonly DataFile[]): void {
    this.#file = this.#staged.length
    this.#row = 0
    for (const file of files) this.#staged.push({ file, deleted: new DeletedRows(file.recordCount), fillings: [] })
  }

  /** The row of the next delete. */
  next(): Marker {
    while (this.#file < this.#staged.length && this.#row === this.#staged[this.#file]!.file.recordCount) {
      this.#file++
      this.#row = 0
    }
    const staged = this.#staged[this.#file]
    if (staged === undefined)
      throw new LakeError('lane.failed', 'a delete was staged without its marker', { retryable: true })
    return { file: staged.file, deleted: staged.deleted, row: this.#row++ }
  }

  /** The delete had an effect; `versionOf` is the row that it removed, when it brought no version itself. */
  take({ file, row }: Marker, versionOf: Filling['from'] | undefined): void {
    if (versionOf === undefined) return
    this.#staged.find((staged) => staged.file === file)!.fillings.push([row, versionOf])
  }

  /** The delete had none. */
  drop({ row, deleted }: Marker): void {
    deleted.add(row)
  }

  /** Files with the rows that count for nothing, and what has to be filled in first. */
  changes(): readonly StagedMarkers[] {
    return this.#staged.filter(({ deleted, file }) => deleted.count < file.recordCount)
  }

  clear(): void {
    this.#staged.length = 0
  }
}
