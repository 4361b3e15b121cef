import type { DataFile } from './data-file.ts'
import type { DeletedRows } from './deleted-rows.ts'

/** What one commit does to a table. Nobody sees any of it until a version names the metadata file that it makes. */
export interface TableChange {
  /** append: rows come and go by the stream. replace: compaction, the same rows in other files. */
  readonly kind: 'write' | 'replace'
  /** New data files, in order. */
  readonly added: readonly AddedFile[]
  /** All deleted rows, old and new, of each data file that lost some in this commit, added here or before. */
  readonly deletes: readonly FileDeletes[]
  /** Keys of the data files that leave the table; what was deleted of them leaves with them. */
  readonly removed: readonly string[]
}

export interface AddedFile extends DataFile {
  /** Of rewritten rows: that of the snapshot they were taken from. Undefined: the commit's own. */
  readonly sequenceNumber?: bigint
}

export interface FileDeletes {
  readonly file: DataFile
  readonly rows: DeletedRows
}

/** A data file as it stands in a snapshot. */
export interface StoredFile extends DataFile {
  readonly sequenceNumber: bigint
  /** v3: row id of its first row. */
  readonly firstRowId: bigint | undefined
  /** Where its deleted rows are listed; undefined when none is deleted. */
  readonly deletes: DeletionVectorRef | undefined
}

export interface DeletionVectorRef {
  /** Key of the Puffin file. */
  readonly key: string
  /** Bytes of the blob in it. */
  readonly offset: number
  readonly length: number
  /** Rows that it deletes. */
  readonly count: number
}
