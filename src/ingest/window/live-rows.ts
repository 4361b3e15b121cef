import { LakeError } from '../../error.ts'
import { DeletedRank, DeletedRows, type AddedFile, type FileDeletes, type TableChange } from '../../lake/table.ts'
import type { ConcatenateInput } from '../keys.ts'
import type { StoredRows, TableDelta } from './window.ts'

/**
 * A table whose rows are replaced by position: which rows of each file are dead. A cache of what the table's deletion
 * vectors say; a delta of the fold moves it on.
 */
export class LiveRows {
  readonly name: string
  readonly #files = new Map<string, StoredRows>()
  readonly #touched = new Set<string>()
  #added: AddedFile[] = []
  #removed: string[] = []
  /** Rows of all files, and those of them that are dead. */
  rows = 0
  deadRows = 0

  constructor(name: string, stored: readonly StoredRows[]) {
    this.name = name
    for (const each of stored) this.#keep(each)
  }

  get files(): readonly StoredRows[] {
    return [...this.#files.values()]
  }

  /** Takes up what a fold did. Throws `internal` when it names rows that are not there: it has lost track of the table. */
  apply({ files, superseded }: TableDelta): void {
    for (const { key, rows } of superseded) {
      const stored = this.#files.get(key)
      if (stored === undefined) throw this.#astray(`rows of ${key}, which is no file of it`)
      for (const row of rows)
        if (row >= stored.file.recordCount || !stored.deleted.add(row)) throw this.#astray(`row ${row} of ${key}`)
      this.deadRows += rows.length
      if (stored.deleted.count === stored.file.recordCount) {
        this.#forget(stored)
        this.#removed.push(key)
      } else this.#touched.add(key)
    }
    for (const file of files) {
      this.#keep({ file, deleted: new DeletedRows(file.recordCount) })
      this.#added.push(file)
    }
  }

  /** All that happened since the last commit. */
  change(): TableChange {
    const deletes = [...this.#touched].map((key): FileDeletes => {
      const { file, deleted } = this.#files.get(key)!
      return { file, rows: deleted }
    })
    return { kind: 'write', added: this.#added, deletes, removed: this.#removed }
  }

  /** A version holds all of it now. */
  committed(): void {
    this.#touched.clear()
    this.#added = []
    this.#removed = []
  }

  /** Whether the files are still there to be replaced: all their rows may have died meanwhile. */
  holds(inputs: readonly ConcatenateInput[]): boolean {
    return inputs.every(({ file }) => this.#files.has(file.key))
  }

  /**
   * Swaps files for the one that holds their rows, less those that were dead when it was begun. Rows that died since
   * are dead in it too. Returns its dead rows.
   */
  replace(inputs: readonly ConcatenateInput[], output: AddedFile | undefined): DeletedRows | undefined {
    const dead = output === undefined ? undefined : new DeletedRows(output.recordCount)
    let base = 0
    for (const input of inputs) {
      const stored = this.#files.get(input.file.key)
      if (stored === undefined) throw new LakeError('internal', `${input.file.key} was replaced before`)
      const rank = new DeletedRank(input.deleted)
      stored.deleted.eachSince(input.deleted, (row) => dead!.add(base + row - rank.rank(row)))
      base += stored.file.recordCount - input.deleted.count
      this.#forget(stored)
    }
    if (base !== (output?.recordCount ?? 0))
      throw new LakeError('lane.failed', `${this.name}: ${base} rows became ${output?.recordCount ?? 0}`, {
        retryable: true,
      })
    if (output !== undefined) this.#keep({ file: output, deleted: dead! })
    return dead
  }

  #astray(what: string): LakeError {
    return new LakeError('internal', `${this.name}: the fold replaces ${what}`, { context: { table: this.name } })
  }

  #keep(stored: StoredRows): void {
    this.#files.set(stored.file.key, stored)
    this.rows += stored.file.recordCount
    this.deadRows += stored.deleted.count
  }

  #forget({ file, deleted }: StoredRows): void {
    this.#files.delete(file.key)
    this.#touched.delete(file.key)
    this.rows -= file.recordCount
    this.deadRows -= deleted.count
  }
}
